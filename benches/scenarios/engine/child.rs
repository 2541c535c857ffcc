//! The child: one engine from start to end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::docmill::Engine;
use ::docmill::edges::{DocumentBuilder, Sink};
use ::docmill::opensearch::{OpenSearch, OpenSearchOptions};
use ::docmill::postgres::{Postgres, PostgresOptions};
use ::docmill::telemetry::Metrics;
use ::docmill::wasm::{Limits, Runtime, RuntimeOptions, WasmBuilder};
use clap::Args;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::native::Native;
use super::null::Null;
use crate::support::running::SHOP_WASM;

/// Between two lines that say how much was written.
pub const TELL_EVERY: Duration = Duration::from_millis(20);

/// What the child is started with.
#[derive(Debug, Args)]
pub struct ChildArguments {
    #[arg(long)]
    database: String,
    #[arg(long)]
    slot: String,
    #[arg(long)]
    native: bool,
    /// Where the null sink's documents are put
    #[arg(long, conflicts_with = "search")]
    keep: Option<PathBuf>,
    #[arg(long)]
    search: Option<String>,
    #[arg(long, default_value = "")]
    prefix: String,
}

/// Runs until its input ends.
pub async fn run(arguments: ChildArguments) {
    let options = PostgresOptions {
        url: arguments.database,
        slot: arguments.slot,
        publication: "docmill".to_owned(),
        ..Default::default()
    };
    let source = Postgres::new(options).expect("a source");
    let null = arguments.keep.map(|file| Null::open(&file));
    let sink: Arc<dyn Sink> = match (&null, arguments.search) {
        (Some(null), _) => Arc::clone(null) as _,
        (None, url) => {
            let url = url.expect("--keep or --search");
            let options = OpenSearchOptions { url, index_prefix: arguments.prefix, ..Default::default() };
            OpenSearch::connect(options).await.expect("a search engine")
        }
    };
    let runtime = Runtime::new(RuntimeOptions::default()).expect("a runtime");
    let config = serde_json::json!({ "indexes": ["users"] });
    let component = WasmBuilder::load(&runtime, SHOP_WASM, config, Limits::default(), "shop").await.expect("the shop");
    let builder: Arc<dyn DocumentBuilder> =
        if arguments.native { Arc::new(Native { like: component }) } else { component };

    let shutdown = CancellationToken::new();
    // Watched as the command watches its pipelines.
    let metrics = Metrics::new("measured");
    let engine = Engine::new(source, builder, sink)
        .with_name("shop")
        .with_observer(Arc::new(metrics.pipeline("shop")))
        .with_shutdown(shutdown.clone());
    let mut engine = tokio::spawn(engine.run());
    let mut words = words();
    let mut ticks = tokio::time::interval(TELL_EVERY);
    loop {
        tokio::select! {
            ended = &mut engine => panic!("the engine ended: {ended:?}"),
            word = words.recv() => match word {
                Some(word) if word == "dump" => {
                    null.as_ref().expect("only a null sink is asked").dump();
                    println!("dumped");
                }
                _ => break,
            },
            _ = ticks.tick() => if let Some(null) = &null {
                println!("documents {}", null.written());
            },
        }
    }
    shutdown.cancel();
    engine.await.expect("it does not panic").expect("the engine ends in order");
    if let Some(null) = null {
        null.dump();
    }
}

/// What the harness says.
fn words() -> mpsc::UnboundedReceiver<String> {
    let (says, words) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            let Ok(line) = line else { break };
            if says.send(line).is_err() {
                break;
            }
        }
    });
    words
}
