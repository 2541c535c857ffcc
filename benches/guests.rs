//! What many builders do to one process, without servers: how long a start with 100 of them takes when they are compiled already, and
//! what calls of one wait for while another one spins. `cargo bench --bench guests`, two minutes; prints a line for each.

#[allow(dead_code)]
#[path = "../tests/it/wasm/handmade.rs"]
mod handmade;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use docmill::wasm::{CompiledCache, Compiler, Limits, Runtime, RuntimeOptions, WasmBuilder};
use handmade::{assemble, harmless};

/// Builders of a start.
const BUILDERS: usize = 100;
/// Calls of the spinning builder at once.
const SPINNING: usize = 9;
/// How long short calls are made and timed.
const TIME: Duration = Duration::from_secs(15);

const SHOP: &[u8] = include_bytes!("../src/embedded/shop/shop.wasm");

fn main() {
    let tokio = tokio::runtime::Runtime::new().expect("a runtime");
    tokio.block_on(async {
        starts().await;
        // Before and after take turns, so that a drift of the machine meets both.
        let never = Duration::MAX;
        let soon = RuntimeOptions::default().long_call_cpu;
        println!("short calls, alone:                                    {}", short_calls(soon, 0).await);
        for _ in 0..2 {
            println!(
                "short calls beside {SPINNING} that spin, never moved:         {}",
                short_calls(never, SPINNING).await
            );
            println!(
                "short calls beside {SPINNING} that spin, moved after {soon:?}:    {}",
                short_calls(soon, SPINNING).await
            );
        }
    });
}

/// As many different components as a process may have, of the size that they have.
fn components() -> Vec<Vec<u8>> {
    // A section of its own makes it another component.
    (0..BUILDERS).map(|number| [SHOP, &[0, 2, 1, number as u8]].concat()).collect()
}

async fn starts() {
    let place = tempfile::tempdir().expect("a directory");
    let components = components();
    let begun = Instant::now();
    start(place.path(), Compiler::InProcess, &components).await;
    println!("start with {BUILDERS} builders that nobody has compiled yet:  {:.2?}", begun.elapsed());
    for _ in 0..3 {
        // One that cannot compile, so that all of them come out of the cache.
        let nobody = Compiler::Child { program: "/nowhere".into(), arguments: Vec::new() };
        let begun = Instant::now();
        start(place.path(), nobody, &components).await;
        println!("start with {BUILDERS} builders out of the cache:              {:.2?}", begun.elapsed());
    }
}

/// Loads them one after the other, as a start does.
async fn start(directory: &Path, compiler: Compiler, components: &[Vec<u8>]) {
    let cache = CompiledCache { directory: directory.join("compiled"), bytes_max: CompiledCache::BYTES_MAX };
    let options = RuntimeOptions { compiler, cache: Some(cache), ..RuntimeOptions::default() };
    let runtime = Runtime::new(options).expect("a runtime for guests");
    let mut builders = Vec::new();
    for (number, component) in components.iter().enumerate() {
        let name = format!("pipeline-{number}");
        let loaded = WasmBuilder::load(&runtime, component, serde_json::json!({}), Limits::default(), &name).await;
        builders.push(loaded.expect("the shop"));
    }
}

/// How long calls for three documents take, one after the other.
async fn short_calls(long_call_cpu: Duration, spinning: usize) -> String {
    let runtime =
        Runtime::new(RuntimeOptions { long_call_cpu, ..RuntimeOptions::default() }).expect("a runtime for guests");
    let mut spinner = harmless();
    spinner.assemble = "(loop $for-ever (br $for-ever)) unreachable";
    let load = async |bytes: &[u8], name| {
        let loaded = WasmBuilder::load(&runtime, bytes, serde_json::json!({}), Limits::default(), name).await;
        loaded.expect("a builder")
    };
    let (spinner, short) = (load(&spinner.wasm(), "spinner").await, load(&harmless().wasm(), "short").await);
    let spinners: Vec<_> = (0..spinning)
        .map(|_| {
            let spinner = Arc::clone(&spinner);
            tokio::spawn(async move {
                loop {
                    let _ = assemble(&spinner, 1).await;
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let begun = Instant::now();
    let mut took = Vec::new();
    while begun.elapsed() < TIME {
        let call = Instant::now();
        assemble(&short, 3).await.expect("documents");
        took.push(call.elapsed());
    }
    spinners.iter().for_each(tokio::task::JoinHandle::abort);
    took.sort();
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
    format!("p50 {:.2?}, p99 {:.2?}, highest {:.2?} of {} calls", at(0.5), at(0.99), at(1.0), took.len())
}
