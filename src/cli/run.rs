//! `docmill run`: the pipelines of a configuration, until they are told to stop. SIGHUP reads the configuration again.

use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::exit::{self, Exit};
use super::{ConfigFile, signals};
use crate::config;
use crate::model::Position;
use crate::pipeline::Summary;
use crate::telemetry::Screen;
use crate::wiring::{self, Ended, Trouble};

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
}

pub(super) async fn run(arguments: Arguments, screen: &Screen) -> anyhow::Result<Exit> {
    let loaded = config::load(&arguments.file.config).map_err(|problems| exit::wrong_configuration(&problems))?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let shutdown = CancellationToken::new();
    let first = "stopping: what was captured is written and confirmed (again to stop at once)";
    let signals = signals::heed(&shutdown, screen, first).context("failed to wait for signals")?;
    let reload = Arc::new(Notify::new());
    let hang_ups = signals::hang_ups(&reload).context("failed to wait for signals")?;
    let ended = wiring::run(loaded.settings, screen.clone(), shutdown, reload).await?;
    drop((signals, hang_ups));
    screen.beside(|| ended.iter().for_each(|one| eprintln!("{}", report(one))));
    Ok(code(&ended))
}

fn report(ended: &Ended) -> String {
    let name = &ended.pipeline;
    match &ended.result {
        Ok(summary) => {
            let Summary { changes, documents, deleted, rejected, confirmed, .. } = summary;
            let confirmed = match *confirmed {
                Position::ZERO => "nothing was confirmed".to_owned(),
                position => format!("confirmed position {position}"),
            };
            format!(
                "pipeline {name}: {changes} changes, {documents} documents written, {deleted} deleted, \
                 {rejected} rejected; {confirmed}"
            )
        }
        Err(trouble) => format!("pipeline {name}: {}", trouble.failure().chain()),
    }
}

/// 1 when one failed while it ran, 2 when some never began for what their configuration says.
fn code(ended: &[Ended]) -> Exit {
    let troubles = || ended.iter().filter_map(|one| one.result.as_ref().err());
    match troubles().next() {
        None => Exit::Fine,
        Some(_) if troubles().any(|trouble| matches!(trouble, Trouble::Running(_))) => Exit::Failed,
        Some(_) => Exit::Usage,
    }
}
