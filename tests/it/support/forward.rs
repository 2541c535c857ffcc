//! A port that stays the same while the server behind it changes: what a DNS name or a virtual address is to a fail-over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Passes connections on to a port of 127.0.0.1. Dropped, it cuts them all.
#[derive(Debug)]
pub struct Forward {
    port: u16,
    to: Arc<AtomicU16>,
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
        let accepting = accept(listener, Arc::clone(&to), turns.subscribe());
        Self { port, to, turns, _accepting: AbortOnDropHandle::new(tokio::spawn(accepting)) }
    }

    /// `url` with this port in place of its own.
    pub fn url(&self, url: &str) -> String {
        let (before, rest) = url.rsplit_once(':').expect("a URL with a port");
        let (_, database) = rest.split_once('/').expect("a URL with a database");
        format!("{before}:{}/{database}", self.port)
    }

    /// From now on to another port; what is open is cut.
    pub fn turn(&self, to: u16) {
        self.to.store(to, Ordering::SeqCst);
        self.turns.send_modify(|turn| *turn += 1);
    }
}

async fn accept(listener: TcpListener, to: Arc<AtomicU16>, turns: watch::Receiver<u64>) {
    let mut open = tokio::task::JoinSet::new();
    loop {
        let Ok((mut client, _)) = listener.accept().await else { continue };
        let (to, mut turns) = (to.load(Ordering::SeqCst), turns.clone());
        turns.mark_unchanged();
        open.spawn(async move {
            let Ok(mut server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                _ = turns.changed() => {}
            }
        });
        while open.try_join_next().is_some() {}
    }
}
