//! What PostgreSQL and the drivers say, as a [`Failure`] with its class.
//!
//! | what | class |
//! |---|---|
//! | the connection ended; classes 08, 40, 53, 57, 58, XX; `55P03` (lock), `55006` (in use), `25P03` (idle) | `Transient` |
//! | `57014` after the statement's time was up | `Oversize` (decided where the time is known) |
//! | classes 42 (names, privileges, syntax), 28, 3D, 0A, 25 | `Fatal`: no other row would fare better |
//! | all others: 22 (data), 21, P0, 54, … | `Deterministic` |
//!
//! Only messages of classes that cannot quote row values are passed on; of all others the code alone.

use std::error::Error as _;

use pgwire_replication::PgWireError;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, ErrorPosition, SqlState};

use crate::edges::{Failure, FailureClass};

/// What a SQLSTATE means for the flow.
pub(super) fn class_of(state: &SqlState) -> FailureClass {
    match state.code() {
        // A lock, a slot in use, a transaction that was idle or open for longer than the server's settings allow; a statement that a function
        // of the database has let go of in our session.
        "55P03" | "55006" | "25P03" | "25P04" | "26000" => return FailureClass::Transient,
        _ => {}
    }
    match state.code().get(..2) {
        Some("08" | "40" | "53" | "57" | "58" | "XX") => FailureClass::Transient,
        Some("42" | "28" | "3D" | "0A" | "25") => FailureClass::Fatal,
        _ => FailureClass::Deterministic,
    }
}

/// A failure of `tried` ("read the catalog of table shop.orders").
pub(super) fn failed(tried: impl AsRef<str>, error: Error) -> Failure {
    let tried = tried.as_ref();
    match error.as_db_error() {
        Some(database) => Failure::new(class_of(database.code()), format!("failed to {tried}: {}", said(database))),
        None => Failure::transient(format!("failed to {tried}: {}", without_code(&error))).with_source_of(error),
    }
}

/// The server's message and code, where the message holds no values.
pub(super) fn said(error: &DbError) -> String {
    let code = error.code().code();
    match code.get(..2) {
        Some("08" | "0A" | "25" | "26" | "28" | "3D" | "3F" | "40" | "42" | "53" | "54" | "55" | "57" | "58") => {
            format!("{} (SQLSTATE {code})", error.message())
        }
        // Any other may be a function's own, and quote what it was given.
        _ => format!("the server refused a value (SQLSTATE {code})"),
    }
}

/// Which line of `statement` the server points at, with its text.
pub(super) fn line_of(error: &DbError, statement: &str) -> Option<String> {
    let Some(ErrorPosition::Original(position)) = error.position() else {
        return None;
    };
    // It counts characters, from 1.
    let before: String = statement.chars().take((*position as usize).saturating_sub(1)).collect();
    let number = before.matches('\n').count();
    let line = statement.lines().nth(number)?.trim();
    Some(format!("line {}: {line}", number + 1))
}

/// A failure of the replication connection.
pub(super) fn replication_failed(tried: &str, error: PgWireError) -> Failure {
    let message = format!("failed to {tried}: {error}");
    match &error {
        PgWireError::MessageTooLarge { .. } => {
            Failure::fatal(message).with_advice("one row is larger than that; raise the limit stream_message_bytes_max")
        }
        // A handshake that was merely cut off is like any lost connection.
        PgWireError::Tls(text) if ["certificate", "config", "rejected"].iter().any(|word| text.contains(word)) => {
            Failure::fatal(message)
                .with_advice("let the url name the host as the server's certificate does, and sslrootcert its signer's")
        }
        PgWireError::Auth(_) => Failure::fatal(message),
        PgWireError::Server(text) => {
            // Its text ends in "(SQLSTATE 55006)". Nothing in a stream is about one document, and opening again finds out
            // what has become of the slot.
            let state = text.rsplit_once("SQLSTATE ").and_then(|(_, rest)| rest.get(..5));
            match state.map(|code| class_of(&SqlState::from_code(code))) {
                Some(FailureClass::Fatal) => Failure::fatal(message),
                _ => Failure::transient(message),
            }
        }
        _ => Failure::transient(message),
    }
}

fn without_code(error: &Error) -> String {
    // The driver wraps what happened on the socket in a sentence of its own.
    error.source().map_or_else(|| error.to_string(), |_| "the connection failed".to_owned())
}

trait WithSourceOf {
    fn with_source_of(self, error: Error) -> Self;
}

impl WithSourceOf for Failure {
    fn with_source_of(self, error: Error) -> Self {
        match error.into_source() {
            Some(source) => self.with_source(source),
            None => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_has_the_class_that_the_table_says() {
        for (code, class) in [
            ("57P01", FailureClass::Transient),
            ("40001", FailureClass::Transient),
            ("53300", FailureClass::Transient),
            ("55P03", FailureClass::Transient),
            ("55006", FailureClass::Transient),
            ("25P03", FailureClass::Transient),
            ("42P01", FailureClass::Fatal),
            ("42501", FailureClass::Fatal),
            ("28P01", FailureClass::Fatal),
            ("22P02", FailureClass::Deterministic),
            ("21000", FailureClass::Deterministic),
        ] {
            assert_eq!(class_of(&SqlState::from_code(code)), class, "{code}");
        }
    }
}
