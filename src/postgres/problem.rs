//! [`Problem`]: something about the source that keeps capture or reads from working, with what puts it right. `open` and
//! `prepare` make one failure of all of them; `check` makes a finding of each.

use crate::edges::{Failure, FailureClass, Finding};

/// One thing that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// What was looked at, such as `table public.orders`.
    pub subject: String,
    /// What was found.
    pub found: String,
    /// What puts it right: statements to copy.
    pub remedy: Option<String>,
}

impl Problem {
    pub fn new(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self { subject: subject.into(), found: found.into(), remedy: None }
    }

    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// As `docmill check` prints it.
    pub fn finding(self) -> Finding {
        let finding = Finding::error(self.subject, self.found);
        match self.remedy {
            Some(remedy) => finding.with_remedy(remedy),
            None => finding,
        }
    }
}

/// One failure of all problems; nothing when there are none.
pub(super) fn refuse(class: FailureClass, tried: &str, problems: &[Problem]) -> Result<(), Failure> {
    if problems.is_empty() {
        return Ok(());
    }
    let found =
        problems.iter().map(|problem| format!("{}: {}", problem.subject, problem.found)).collect::<Vec<_>>().join("; ");
    let mut remedies: Vec<&str> = problems.iter().filter_map(|problem| problem.remedy.as_deref()).collect();
    remedies.dedup();
    let failure = Failure::new(class, format!("failed to {tried}: {found}"));
    Err(match remedies.is_empty() {
        true => failure,
        false => failure.with_advice(format!("to put it right: {}", remedies.join(" "))),
    })
}
