//! What is wrong with a configuration file: all of it at once, each with its place.
//!
//! A line of the file is never quoted: it may hold a password.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The line in the file, from 1; 0 for the file as a whole.
    pub line: usize,
    /// The column in it in characters, from 1.
    pub column: usize,
    /// Where in the configuration, such as `sinks.search.url`; empty for the file as a whole.
    pub key: String,
    /// What was expected, what was found, and what to do.
    pub message: String,
}

/// Everything that is wrong with a file. Prints a line each, `file:line:column: key: message`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problems {
    /// The file.
    pub file: PathBuf,
    /// Its problems in the order of their places.
    pub problems: Vec<Problem>,
}

impl Problems {
    /// Lines as they are printed, one for each problem.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.problems.iter().map(|problem| problem.in_file(&self.file))
    }
}

impl Problem {
    /// The line as it is printed.
    pub fn in_file(&self, file: &Path) -> String {
        let Self { line, column, key, message } = self;
        let place = match line {
            0 => file.display().to_string(),
            _ => format!("{}:{line}:{column}", file.display()),
        };
        match key.as_str() {
            "" => format!("{place}: {message}"),
            key => format!("{place}: {key}: {message}"),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.lines().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&line)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Gathers problems while a file is read. Everything reads on after a problem, so that all come out at once.
#[derive(Debug)]
pub(super) struct Collector<'i> {
    text: &'i str,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
}

impl<'i> Collector<'i> {
    pub(super) fn new(text: &'i str) -> Self {
        Self { text, problems: RefCell::default(), warnings: RefCell::default() }
    }

    /// Something that must be put right.
    pub(super) fn problem(&self, at: Range<usize>, key: impl Into<String>, message: impl Into<String>) {
        let problem = self.place(at, key.into(), message.into());
        self.problems.borrow_mut().push(problem);
    }

    /// Something that works, and may surprise.
    pub(super) fn warning(&self, at: Range<usize>, key: impl Into<String>, message: impl Into<String>) {
        let warning = self.place(at, key.into(), message.into());
        self.warnings.borrow_mut().push(warning);
    }

    /// Problems, then warnings, each in the order of the file.
    pub(super) fn finish(self) -> (Vec<Problem>, Vec<Problem>) {
        let in_order = |list: RefCell<Vec<Problem>>| {
            let mut list = list.into_inner();
            list.sort_by_key(|problem| (problem.line, problem.column));
            list.dedup();
            list
        };
        (in_order(self.problems), in_order(self.warnings))
    }

    fn place(&self, at: Range<usize>, key: String, message: String) -> Problem {
        // What is missing from the document as a whole has no place in it.
        if at == (0..0) {
            return Problem { line: 0, column: 0, key, message };
        }
        let before = self.text.get(..at.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Problem { line, column, key, message }
    }
}
