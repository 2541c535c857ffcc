//! SIGTERM and Ctrl-C: the first drains, the second exits at once. SIGHUP: the configuration is read again.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use crate::telemetry::Screen;

/// Cancels `shutdown` at the first signal and says `first`; ends the process at the second. Whoever calls keeps the guard:
/// dropped, signals are no longer waited for.
///
/// # Errors
///
/// The system does not let us wait for signals.
pub(super) fn heed(
    shutdown: &CancellationToken,
    screen: &Screen,
    first: &'static str,
) -> std::io::Result<tokio::task::JoinSet<()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (shutdown, screen) = (shutdown.clone(), screen.clone());
    let mut waiting = tokio::task::JoinSet::new();
    waiting.spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if shutdown.is_cancelled() {
                screen.beside(|| {
                    eprintln!("docmill: stopped at once; what was not confirmed comes again at the next start")
                });
                std::process::exit(Exit::Failed as i32);
            }
            screen.beside(|| eprintln!("docmill: {first}"));
            shutdown.cancel();
        }
    });
    Ok(waiting)
}

/// Tells `reload` of every SIGHUP, for as long as the guard is kept.
///
/// # Errors
///
/// The system does not let us wait for signals.
pub(super) fn hang_ups(reload: &Arc<Notify>) -> std::io::Result<tokio::task::JoinSet<()>> {
    let mut hang_up = signal(SignalKind::hangup())?;
    let reload = Arc::clone(reload);
    let mut waiting = tokio::task::JoinSet::new();
    waiting.spawn(async move {
        while hang_up.recv().await.is_some() {
            reload.notify_one();
        }
    });
    Ok(waiting)
}
