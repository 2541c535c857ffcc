//! One thing that was looked at without changing anything: what `docmill check` prints, a line each.

use serde::Serialize;

/// How a finding is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// It works, and may surprise.
    Warning,
    /// `docmill run` would refuse, or wait for this.
    Error,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How to take it.
    pub severity: Severity,
    /// What was looked at, such as `publication docmill`.
    pub subject: String,
    /// What was found.
    pub found: String,
    /// What puts it right: a command or statement to copy.
    pub remedy: Option<String>,
}

impl Finding {
    /// All is well with `subject`.
    pub fn ok(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self { severity: Severity::Ok, subject: subject.into(), found: found.into(), remedy: None }
    }

    /// `subject` works, and may surprise.
    pub fn warning(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::ok(subject, found) }
    }

    /// `subject` must be put right.
    pub fn error(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self { severity: Severity::Error, ..Self::ok(subject, found) }
    }

    /// What puts it right.
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}
