//! [`Progress`]: how far passes are. A bar with rate and time left on a terminal; elsewhere a line every few seconds.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};

use super::logging::Screen;
use crate::edges::{Observer, PassReport};

/// Between two lines of one pass, where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
const BAR: &str = "{prefix} [{bar:30}] {human_pos}/{human_len} documents, {rate}/s, {eta} left";
const SPINNER: &str = "{prefix} {spinner} {human_pos} documents, {rate}/s";

/// Shows the passes of one pipeline.
pub struct Progress {
    pipeline: String,
    screen: Screen,
    passes: Mutex<HashMap<u64, Shown>>,
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("pipeline", &self.pipeline).finish_non_exhaustive()
    }
}

enum Shown {
    Bar(ProgressBar),
    Lines(Lines),
}

/// What is known for lines.
struct Lines {
    begun: Instant,
    documents_then: u64,
    said: Instant,
}

impl Progress {
    /// For a pipeline of that name.
    pub fn new(pipeline: impl Into<String>, screen: Screen) -> Self {
        Self { pipeline: pipeline.into(), screen, passes: Mutex::default() }
    }

    fn begin(&self, report: &PassReport) -> Shown {
        if !self.screen.is_terminal() {
            let now = Instant::now();
            return Shown::Lines(Lines { begun: now, documents_then: report.documents, said: now });
        }
        let bar = self.screen.bars().add(ProgressBar::no_length());
        bar.set_prefix(format!("{} {} {}", self.pipeline, report.index, report.reason));
        set_style(&bar, SPINNER);
        bar.enable_steady_tick(Duration::from_millis(250));
        Shown::Bar(bar)
    }
}

fn set_style(bar: &ProgressBar, template: &str) {
    let rate = |state: &ProgressState, text: &mut dyn fmt::Write| {
        // Into a text in memory: it does not fail.
        let _ = write!(text, "{:.0}", state.per_sec());
    };
    // The templates are the two above, which are sound.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.with_key("rate", rate).progress_chars("=> "));
    }
}

impl Observer for Progress {
    fn on_start(&self) {
        let mut passes = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, shown) in passes.drain() {
            if let Shown::Bar(bar) = shown {
                bar.finish_and_clear();
                self.screen.bars().remove(&bar);
            }
        }
    }

    fn on_pass(&self, report: &PassReport) {
        let mut passes = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        if report.done {
            if let Some(Shown::Bar(bar)) = passes.remove(&report.id) {
                bar.finish_and_clear();
                self.screen.bars().remove(&bar);
            }
            return;
        }
        match passes.entry(report.id).or_insert_with(|| self.begin(report)) {
            Shown::Bar(bar) => {
                // An estimate that turned out too low would show more than all of it.
                let of = report.of.map(|of| of.max(report.documents));
                if let Some(of) = of {
                    if bar.length().is_none() {
                        set_style(bar, BAR);
                    }
                    bar.set_length(of);
                }
                bar.set_position(report.documents);
            }
            Shown::Lines(lines) => {
                if let Some(line) = lines.line(report, Instant::now()) {
                    tracing::info!(pipeline = %self.pipeline, index = %report.index, "{}: {line}", report.reason);
                }
            }
        }
    }
}

impl Lines {
    fn line(&mut self, report: &PassReport, now: Instant) -> Option<String> {
        if now.duration_since(self.said) < LINE_EVERY {
            return None;
        }
        self.said = now;
        let took = now.duration_since(self.begun).as_secs_f64();
        let rate = report.documents.saturating_sub(self.documents_then) as f64 / took.max(0.001);
        let mut line = match report.of {
            Some(of) => format!("{} of about {of} documents", report.documents),
            None => format!("{} documents", report.documents),
        };
        line.push_str(&format!(", {rate:.0}/s"));
        if let Some(left) = report.of.map(|of| of.saturating_sub(report.documents))
            && rate >= 1.0
        {
            let left = Duration::from_secs_f64(left as f64 / rate);
            line.push_str(&format!(", {} left", HumanDuration(left)));
        }
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PassReason;

    #[test]
    fn a_line_says_how_far_how_fast_and_how_long_yet() {
        let start = Instant::now();
        let mut lines = Lines { begun: start, documents_then: 0, said: start };
        let report = PassReport {
            id: 1,
            index: "users".into(),
            reason: PassReason::Backfill,
            documents: 1_000,
            of: Some(5_000),
            settling: false,
            done: false,
        };
        assert_eq!(lines.line(&report, start + Duration::from_secs(4)), None);
        let line = lines.line(&report, start + Duration::from_secs(10));
        assert_eq!(line.as_deref(), Some("1000 of about 5000 documents, 100/s, 40 seconds left"));
        assert_eq!(lines.line(&report, start + Duration::from_secs(14)), None);
    }
}
