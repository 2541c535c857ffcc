//! What is told to people and to machines: observers of pipelines, and the set-up of logs. Knows `model` and `edges`.
//!
//! ```text
//! Observer ◀─ All ─┬─ Log        what a person must see, through `tracing`
//!                  ├─ Metrics    Prometheus; every name in metrics/names.rs
//!                  ├─ Status     how the pipeline stands now, for /ready and /api/v1/status
//!                  └─ Progress   a bar on a terminal, a line every few seconds elsewhere
//! ```

mod all;
mod log;
mod logging;
pub mod metrics;
mod pace;
mod progress;
mod roster;
mod status;

pub use all::All;
pub use log::Log;
pub use logging::{LogForm, LoggingError, Screen, start_logging};
pub use metrics::{Metrics, PipelineMetrics};
pub use progress::Progress;
pub use roster::Roster;
pub use status::{PausedBy, Phase, PipelineView, Status};

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long ago that was, by this machine's clock; nothing when it seems to be in the future.
pub fn since(committed_at_us: i64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let then = Duration::from_micros(u64::try_from(committed_at_us).unwrap_or_default());
    now.saturating_sub(then)
}
