//! What an edge says when it could not do what was asked, and the class that decides what the flow does about it.

use std::error::Error;
use std::fmt;

use super::Waiting;

/// What a failure means for the flow.
///
/// | class | the flow |
/// |---|---|
/// | `Transient` | tries the same again, with backoff, for ever |
/// | `Oversize` | halves the call; a call of one id becomes `Deterministic` |
/// | `Time` | once more alone in a fresh instance, then `Deterministic` |
/// | `Deterministic` | narrows it down to the document and rejects that one |
/// | `Restart` | begins again: opens its edges anew and compares what it finds with what it remembers |
/// | `Fatal` | stops: a person must act |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// The world was in the way (connection, load, restart): the same call can work later.
    Transient,
    /// The call met a limit that a smaller call may not meet.
    Oversize,
    /// The builder used up its CPU or wall-clock budget.
    Time,
    /// This input fails, and will again.
    Deterministic,
    /// What the flow stands on is not what it was (the source, its slot, an index): only the comparison at a start can say
    /// what follows from that.
    Restart,
    /// Nothing will change until a person acts.
    Fatal,
}

/// How a guest ended its own call: what failures of builders are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestEnd {
    /// It met the limit of that name.
    Limit(&'static str),
    /// It trapped, for that reason.
    Trap(&'static str),
    /// It answered with an error.
    Error,
    /// Its answer is none that the contract allows.
    Answer,
}

/// A failure at an edge.
///
/// `Display` says what was tried, on what, what was found and, where a person can act, what to do; causes are in
/// [`Error::source`]. Row values and secrets are in none of them: what a guest said in its own words, which may quote a row, is
/// kept apart ([`Failure::full`]).
#[derive(Debug)]
pub struct Failure {
    /// What it means.
    pub class: FailureClass,
    message: String,
    advice: Option<String>,
    waiting: Option<Waiting>,
    guest: Option<GuestEnd>,
    words: Option<Box<str>>,
    pauses: bool,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure of that class; `message` is lowercase, without a full stop.
    pub fn new(class: FailureClass, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { class, message, advice: None, waiting: None, guest: None, words: None, pauses: false, source: None }
    }

    /// [`FailureClass::Transient`].
    pub fn transient(message: impl Into<String>) -> Self {
        Self::new(FailureClass::Transient, message)
    }

    /// [`FailureClass::Deterministic`].
    pub fn deterministic(message: impl Into<String>) -> Self {
        Self::new(FailureClass::Deterministic, message)
    }

    /// [`FailureClass::Fatal`].
    pub fn fatal(message: impl Into<String>) -> Self {
        Self::new(FailureClass::Fatal, message)
    }

    /// [`FailureClass::Restart`].
    pub fn restart(message: impl Into<String>) -> Self {
        Self::new(FailureClass::Restart, message)
    }

    /// What the pipeline waits on while this is tried again, where it is more than that the edge cannot be reached.
    pub fn waiting_on(mut self, waiting: Waiting) -> Self {
        self.waiting = Some(waiting);
        self
    }

    /// How the guest ended, where it was a guest's call.
    pub fn of_guest(mut self, end: GuestEnd) -> Self {
        self.guest = Some(end);
        self
    }

    /// What the guest said in its own words: bounded and escaped by whoever gives them.
    pub fn with_words(mut self, words: impl Into<Box<str>>) -> Self {
        self.words = Some(words.into());
        self
    }

    /// What the guest said becomes part of the message: where it had no rows to quote.
    pub fn with_words_shown(mut self) -> Self {
        if let Some(words) = self.words.take() {
            self.message = format!("{}: it said: {words}", self.message);
        }
        self
    }

    /// It ends the flow until an operator resumes it or gives it another builder: trying the same again helps nobody.
    pub fn pausing(mut self) -> Self {
        self.pauses = true;
        self
    }

    /// What a person can do about it.
    pub fn with_advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// What caused it.
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What was tried, on what, and what was found.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What a person can do about it.
    pub fn advice(&self) -> Option<&str> {
        self.advice.as_deref()
    }

    /// What the pipeline waits on, where it is known.
    pub fn waiting(&self) -> Option<Waiting> {
        self.waiting
    }

    /// How the guest ended, where it was a guest's call.
    pub fn guest(&self) -> Option<GuestEnd> {
        self.guest
    }

    /// Whether the pipeline pauses, rather than fails.
    pub fn pauses(&self) -> bool {
        self.pauses
    }

    /// The message with all causes, for a log line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }

    /// The same, with what the guest said in its own words. These may quote a row: for the quarantine record, and for an author who
    /// runs a builder on rows of their own; never for a log.
    pub fn full(&self) -> String {
        let mut text = self.chain();
        let mut next: Option<&(dyn Error + 'static)> = Some(self);
        while let Some(error) = next {
            if let Some(words) = error.downcast_ref::<Failure>().and_then(|failure| failure.words.as_deref()) {
                text.push_str(": it said: ");
                text.push_str(words);
            }
            next = error.source();
        }
        text
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.advice {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_said_is_in_the_full_text_only_however_deep_it_lies() {
        let inner = Failure::deterministic("it trapped").with_words("ada@example.com");
        let outer = Failure::fatal("could not resolve").with_advice("mend it").with_source(inner);
        assert_eq!(outer.chain(), "could not resolve; mend it: it trapped");
        assert_eq!(outer.full(), "could not resolve; mend it: it trapped: it said: ada@example.com");
    }
}
