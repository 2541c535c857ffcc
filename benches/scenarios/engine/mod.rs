//! docmill as a library in a process of its own, this program again: with a sink that keeps nothing beyond the comparison,
//! so that the engine's own cost is seen, and with the shop's builder compiled natively, so that the sandbox's is.
//!
//! ```text
//! harness ── `dump`, end of input ──▶ child: Engine(source, wasm | native, search | null)
//!         ◀── `documents N`, `dumped` ──
//! ```

pub mod child;
mod native;
mod null;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;

use crate::ground::Place;
use crate::system::{LOOK_EVERY, Running};

/// Which engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub native: bool,
    pub null_sink: bool,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self.native {
            true => "docmill, builder compiled natively",
            false => "docmill, as a library",
        }
    }
}

struct Started {
    kind: Kind,
    child: Child,
    stdin: ChildStdin,
    written: Arc<AtomicU64>,
    said: mpsc::UnboundedReceiver<String>,
}

pub fn start(kind: Kind, place: &Place) -> Box<dyn Running> {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.args(["engine", "--database", &place.database.url, "--slot", &format!("docmill_{}", place.database.name)]);
    if kind.native {
        command.arg("--native");
    }
    match kind.null_sink {
        true => command.arg("--keep").arg(place.folder.path().join("kept")),
        false => command.args(["--search", &place.search.url, "--prefix", &place.search.prefix]),
    };
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("this program starts again");
    let stdin = child.stdin.take().expect("piped");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let (says, said) = mpsc::unbounded_channel();
    let written = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&written);
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            match line.strip_prefix("documents ").and_then(|count| count.parse().ok()) {
                Some(count) => counted.store(count, Ordering::Relaxed),
                None => drop(says.send(line)),
            }
        }
    });
    Box::new(Started { kind, child, stdin, written, said })
}

/// How many documents that a null sink was given last are not what SQL says.
pub async fn wrong(running: &mut dyn Running, place: &Place) -> usize {
    let file = kept(place);
    running.dump().await;
    let text = std::fs::read_to_string(&file).expect("what the child wrote");
    let documents: BTreeMap<i64, Value> = text
        .lines()
        .map(|line| {
            let (id, document) = line.split_once('\t').expect("an id and a document");
            (id.parse().expect("a number"), serde_json::from_str(document).expect("JSON"))
        })
        .collect();
    let found =
        async |from, to| documents.range(from..=to).map(|(id, document)| (id.to_string(), document.clone())).collect();
    let wrong = crate::check::against_sql(place, &crate::check::users_by_sql(), found).await;
    wrong + documents.len().saturating_sub(place.rows.documents() as usize)
}

fn kept(place: &Place) -> PathBuf {
    place.folder.path().join("kept")
}

impl Started {
    async fn ask(&mut self, word: &str, answer: &str) {
        self.stdin.write_all(format!("{word}\n").as_bytes()).await.expect("the child listens");
        loop {
            let line = self.said.recv().await.unwrap_or_else(|| panic!("the child ended before it said {answer:?}"));
            if line == answer {
                return;
            }
        }
    }
}

#[async_trait]
impl Running for Started {
    fn pids(&self) -> Vec<u32> {
        self.child.id().into_iter().collect()
    }

    fn must_run(&self) {
        assert!(!self.said.is_closed() || !self.said.is_empty(), "the child ended");
    }

    fn look_every(&self) -> Duration {
        // It tells by itself.
        if self.kind.null_sink { child::TELL_EVERY } else { LOOK_EVERY }
    }

    async fn written(&mut self, place: &Place) -> u64 {
        self.must_run();
        match self.kind.null_sink {
            true => self.written.load(Ordering::Relaxed),
            false => place.writes().await,
        }
    }

    /// What it has it does not tell: the slot does.
    async fn has(&mut self, place: &Place, _: i64, _: &str) -> bool {
        place.confirmed().await
    }

    async fn end(mut self: Box<Self>, _: &Place) {
        drop(self.stdin);
        let ended = self.child.wait().await.expect("it ends");
        assert!(ended.success(), "the child ended with {ended}");
    }

    async fn dump(&mut self) {
        self.ask("dump", "dumped").await;
    }
}
