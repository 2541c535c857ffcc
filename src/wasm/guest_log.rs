//! What a guest logs: lines for the operator, bounded for each call and each builder, and unable to steer a terminal.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::bindings::docmill::builder::types::Level;
use super::limits::Limits;
use super::limits_met::LimitsMet;
use super::printable::printable;

/// The last lines of a call that its error repeats.
const LAST_LINES: usize = 5;

/// The log of one call.
#[derive(Debug)]
pub(super) struct GuestLog {
    pipeline: Arc<str>,
    rate: Arc<LogRate>,
    met: Arc<LimitsMet>,
    line_bytes: usize,
    bytes_left: usize,
    bytes_per_second: usize,
    last: VecDeque<String>,
}

impl GuestLog {
    pub(super) fn new(pipeline: Arc<str>, rate: Arc<LogRate>, met: Arc<LimitsMet>, limits: &Limits) -> Self {
        Self {
            pipeline,
            rate,
            met,
            line_bytes: limits.log_line_bytes,
            bytes_left: limits.log_bytes,
            bytes_per_second: limits.log_bytes_per_second,
            last: VecDeque::with_capacity(LAST_LINES),
        }
    }

    /// One line of the guest. Past the limit of the call lines are dropped; past that of the builder they are kept for
    /// the call's error only.
    pub(super) fn line(&mut self, level: Level, message: &str) {
        if self.bytes_left == 0 {
            return;
        }
        let line = printable(message, self.line_bytes);
        if message.len() > self.line_bytes {
            self.met.count("log_line_bytes");
        }
        self.bytes_left = self.bytes_left.saturating_sub(line.len() + 1);
        if self.bytes_left == 0 {
            self.met.count("log_bytes");
        }
        if self.rate.admits(line.len() + 1, self.bytes_per_second) {
            forward(&self.pipeline, level, &line);
            if self.bytes_left == 0 {
                forward(&self.pipeline, Level::Warn, "limit log_bytes met: further lines of this call are dropped");
            }
        } else {
            self.met.count("log_bytes_per_second");
        }
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// The last lines, oldest first.
    pub(super) fn into_last_lines(self) -> impl Iterator<Item = String> {
        self.last.into_iter()
    }
}

fn forward(pipeline: &str, level: Level, line: &str) {
    match level {
        Level::Debug => tracing::debug!(target: "docmill::guest", pipeline, "{line}"),
        Level::Info => tracing::info!(target: "docmill::guest", pipeline, "{line}"),
        Level::Warn => tracing::warn!(target: "docmill::guest", pipeline, "{line}"),
        Level::Error => tracing::error!(target: "docmill::guest", pipeline, "{line}"),
    }
}

/// How much all calls of one builder log in the present second.
#[derive(Debug)]
pub(super) struct LogRate(Mutex<Second>);

#[derive(Debug)]
struct Second {
    began: Instant,
    bytes: usize,
}

impl LogRate {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Second { began: Instant::now(), bytes: 0 }))
    }

    fn admits(&self, bytes: usize, bytes_per_second: usize) -> bool {
        let mut second = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if second.began.elapsed() >= Duration::from_secs(1) {
            *second = Second { began: Instant::now(), bytes: 0 };
        }
        second.bytes = second.bytes.saturating_add(bytes);
        second.bytes <= bytes_per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_bounded_for_the_call_and_for_the_builder() {
        let limits = Limits { log_bytes: 100, log_line_bytes: 10, log_bytes_per_second: 50, ..Limits::default() };
        let rate = Arc::new(LogRate::new());
        let mut log = GuestLog::new("p".into(), Arc::clone(&rate), Arc::default(), &limits);
        for line in 0..1000 {
            log.line(Level::Info, &format!("{line:0>40}"));
        }
        let last: Vec<String> = log.into_last_lines().collect();
        assert_eq!(last.len(), LAST_LINES);
        assert!(last.iter().all(|line| line.len() <= 10 + '…'.len_utf8()));
        assert!(!rate.admits(1, limits.log_bytes_per_second));
    }
}
