//! Component bombs, and files that are no builder: refused, and whoever loads next does not notice.

mod bombs;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use docmill::edges::{Failure, FailureClass};
use docmill::wasm::{COMPILE_COMMAND, Compiler, Limits, Runtime, RuntimeOptions, WasmBuilder};
use serde_json::json;

use crate::wasm::handmade::{assemble, harmless};

/// A runtime whose components are compiled as in the program.
fn runtime() -> &'static Arc<Runtime> {
    static RUNTIME: OnceLock<Arc<Runtime>> = OnceLock::new();
    let compiler = || Compiler::Child {
        program: PathBuf::from(env!("CARGO_BIN_EXE_docmill")),
        arguments: vec![COMPILE_COMMAND.into()],
    };
    let made = || Runtime::new(RuntimeOptions { compiler: compiler(), ..RuntimeOptions::default() });
    RUNTIME.get_or_init(|| made().expect("a runtime for guests"))
}

async fn load(bytes: &[u8], limits: Limits) -> Result<Arc<WasmBuilder>, Failure> {
    WasmBuilder::load(runtime(), bytes, json!({}), limits, "hostile").await
}

#[tokio::test(flavor = "multi_thread")]
async fn explore() {
    for (name, bytes) in [
        ("harmless", harmless().wasm()),
        ("functions", bombs::functions(100_000)),
        ("types 1000", bombs::nested_types(1000)),
        ("types 90", bombs::nested_types(90)),
        ("types 50000", bombs::nested_types(50_000)),
        ("components", bombs::nested_components(1000)),
        ("components", bombs::nested_components(50_000)),
        ("doubled", bombs::doubled_types(30)),
        ("loops", bombs::loops(1, 100, 100)),
        ("loops", bombs::loops(1, 300, 300)),
        ("loops", bombs::loops(1, 900, 900)),
        ("loops", bombs::loops(4, 900, 900)),
    ] {
        let began = Instant::now();
        let loaded = load(&bytes, Limits { compile: Duration::from_secs(25), ..Limits::default() }).await;
        println!(
            "{name} {} bytes: {:?} {}",
            bytes.len(),
            began.elapsed(),
            match loaded {
                Ok(_) => "loaded".to_owned(),
                Err(f) => f.chain(),
            }
        );
    }
    let b = harmless();
    let _ = (assemble, FailureClass::Fatal, b);
}
