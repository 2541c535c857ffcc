//! A port that stays the same while the server behind it changes: what a DNS name or a virtual address is to a fail-over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Passes connections on to a port of 127.0.0.1. Dropped, it cuts them all.
#[derive(Debug)]
pub struct Forward {
    port: u16,
    to: Arc<AtomicU16>,
    /// Milliseconds before a piece of what was sent arrives.
    delay: Arc<AtomicU64>,
    /// Goes up when everything that is open must be cut.
    turns: watch::Sender<u64>,
    _accepting: AbortOnDropHandle<()>,
}

impl Forward {
    /// To `to`, for now.
    pub async fn to(to: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let to = Arc::new(AtomicU16::new(to));
        let turns = watch::Sender::new(0);
        let delay = Arc::new(AtomicU64::new(0));
        let accepting = accept(listener, Arc::clone(&to), Arc::clone(&delay), turns.subscribe());
        Self { port, to, delay, turns, _accepting: AbortOnDropHandle::new(tokio::spawn(accepting)) }
    }

    /// `url` with this port in place of its own.
    pub fn url(&self, url: &str) -> String {
        let (before, rest) = url.rsplit_once(':').expect("a URL with a port");
        let (_, database) = rest.split_once('/').expect("a URL with a database");
        format!("{before}:{}/{database}", self.port)
    }

    /// Everything takes that much longer, a piece of it at a time.
    pub fn slow(&self, delay: Duration) {
        self.delay.store(u64::try_from(delay.as_millis()).expect("a short delay"), Ordering::SeqCst);
    }

    /// From now on to another port; what is open is cut.
    pub fn turn(&self, to: u16) {
        self.to.store(to, Ordering::SeqCst);
        self.turns.send_modify(|turn| *turn += 1);
    }
}

async fn accept(listener: TcpListener, to: Arc<AtomicU16>, delay: Arc<AtomicU64>, turns: watch::Receiver<u64>) {
    let mut open = tokio::task::JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let (to, mut turns, delay) = (to.load(Ordering::SeqCst), turns.clone(), Arc::clone(&delay));
        turns.mark_unchanged();
        open.spawn(async move {
            let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::select! {
                _ = pass_on(from_client, to_server, &delay) => {}
                _ = pass_on(from_server, to_client, &delay) => {}
                _ = turns.changed() => {}
            }
        });
        while open.try_join_next().is_some() {}
    }
}

async fn pass_on(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: &AtomicU64,
) -> std::io::Result<()> {
    let mut piece = vec![0; 4096];
    loop {
        let length = from.read(&mut piece).await?;
        if length == 0 {
            return Ok(());
        }
        let delay = delay.load(Ordering::SeqCst);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        to.write_all(&piece[..length]).await?;
    }
}
