//! Component bombs, and files that are no builder: each is refused with what it met, no compiling process is left, and whoever loads
//! next does not notice. Compiled by a child process, as in the program.

mod bombs;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use docmill::edges::{Failure, FailureClass};
use docmill::wasm::{COMPILE_COMMAND, Compiler, Limits, Runtime, RuntimeOptions, WasmBuilder};
use serde_json::json;

use crate::wasm::handmade::{assemble, harmless};

fn compiling_with(program: &str, arguments: &[&str]) -> Arc<Runtime> {
    let arguments = arguments.iter().map(Into::into).collect();
    let compiler = Compiler::Child { program: PathBuf::from(program), arguments };
    Runtime::new(RuntimeOptions { compiler, ..RuntimeOptions::default() }).expect("a runtime for guests")
}

/// A runtime whose components are compiled as in the program.
fn runtime() -> &'static Arc<Runtime> {
    static RUNTIME: OnceLock<Arc<Runtime>> = OnceLock::new();
    RUNTIME.get_or_init(|| compiling_with(env!("CARGO_BIN_EXE_docmill"), &[COMPILE_COMMAND]))
}

async fn refused_on(runtime: &Arc<Runtime>, bytes: &[u8], limits: Limits) -> Failure {
    let loaded = WasmBuilder::load(runtime, bytes, json!({}), limits, "hostile").await;
    let failure = loaded.expect_err("it must be refused");
    assert_eq!(failure.class, FailureClass::Fatal, "{}", failure.chain());
    assert!(failure.message().starts_with("builder of pipeline hostile: "), "{failure}");
    assert!(failure.advice().is_some(), "{failure} does not say what to do");
    failure
}

async fn refused(bytes: &[u8], limits: Limits) -> Failure {
    let failure = refused_on(runtime(), bytes, limits).await;
    a_neighbour_loads_and_works().await;
    failure
}

/// A component that nobody has seen before, so that it has to be compiled.
async fn a_neighbour_loads_and_works() {
    static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let mut bytes = harmless().wasm();
    bytes.extend(custom_section(&format!("{} {number}", std::process::id())));
    let loaded = WasmBuilder::load(runtime(), &bytes, json!({}), Limits::default(), "neighbour").await;
    let neighbour = loaded.unwrap_or_else(|failure| panic!("the neighbour: {}", failure.chain()));
    assert_eq!(assemble(&neighbour, 3).await.expect("the neighbour works").len(), 3);
}

/// A section that changes nothing but the bytes.
fn custom_section(text: &str) -> Vec<u8> {
    let name = [&[text.len() as u8], text.as_bytes()].concat();
    [&[0, name.len() as u8], &name[..]].concat()
}

#[track_caller]
fn says(failure: &Failure, part: &str) {
    assert!(failure.chain().contains(part), "{part:?} is not in {:?}", failure.chain());
}

fn within(seconds: u64) -> Limits {
    Limits { compile: Duration::from_secs(seconds), ..Limits::default() }
}

/// Processes that this one started and that compile with `mark` in their arguments.
fn compiling(mark: &str) -> usize {
    let us = format!("PPid:\t{}\n", std::process::id());
    let processes = std::fs::read_dir("/proc").expect("processes").filter_map(Result::ok);
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    processes
        .filter(|process| read(process.path().join("status")).contains(&us))
        .filter(|process| read(process.path().join("cmdline")).contains(mark))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn types_in_types_in_types_are_refused() {
    for depth in [200, 10_000, 100_000] {
        says(&refused(&bombs::nested_types(depth), within(60)).await, "type nesting is too deep");
    }
    says(&refused(&bombs::doubled_types(40), within(60)).await, "effective type size exceeds the limit of 1000000");
}

#[tokio::test(flavor = "multi_thread")]
async fn components_in_components_without_end_meet_the_memory_limit_of_the_compiler() {
    let limits = Limits { compile_memory_bytes: 512 << 20, ..within(60) };
    let failure = refused(&bombs::nested_components(50_000), limits).await;
    says(&failure, "compiling it needs more memory than the limit compile_memory_bytes of 536870912");
    says(&failure, "raise `compile_memory` in the pipeline's limits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_functions_are_refused_in_time() {
    // Reading and compiling them takes seconds.
    let limits = Limits { compile: Duration::from_millis(300), ..Limits::default() };
    let began = Instant::now();
    let failure = refused_on(runtime(), &bombs::functions(100_000), limits).await;
    says(&failure, "compiling it takes longer than the limit compile of 300ms; make the component");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    a_neighbour_loads_and_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_60_mb_is_refused_before_anything_reads_it() {
    let mut bytes = harmless().wasm();
    bytes.resize(60_000_000, 0);
    let began = Instant::now();
    let failure = refused(&bytes, Limits::default()).await;
    says(&failure, "its file of 60000000 bytes is over the limit component_bytes of 33554432; strip it");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_compiles_for_minutes_is_killed_in_time() {
    let slow = compiling_with(env!("CARGO_BIN_EXE_docmill"), &[COMPILE_COMMAND, "--log-level=trace"]);
    let began = Instant::now();
    let failure = refused_on(&slow, &bombs::loops(4, 850, 850), within(2)).await;
    says(&failure, "compiling it takes longer than the limit compile of 2s");
    says(&failure, "raise `compile` in the pipeline's limits");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!(compiling("--log-level=trace"), 0, "it compiles on");
    a_neighbour_loads_and_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compiler_whose_asker_is_gone_is_gone_too() {
    let left = compiling_with(env!("CARGO_BIN_EXE_docmill"), &[COMPILE_COMMAND, "--log-level=debug"]);
    let bomb = bombs::loops(4, 850, 850);
    let asking = refused_on(&left, &bomb, within(60));
    assert!(tokio::time::timeout(Duration::from_secs(1), asking).await.is_err());
    let until = Instant::now() + Duration::from_secs(5);
    while compiling("--log-level=debug") > 0 {
        assert!(Instant::now() < until, "it compiles on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The turn is free again.
    let loaded = WasmBuilder::load(&left, &harmless().wasm(), json!({}), within(60), "next").await;
    assert!(loaded.is_ok());
}

#[test]
fn a_compiler_whose_parent_is_killed_ends() {
    use std::io::Write;
    let mut command = Command::new(env!("CARGO_BIN_EXE_docmill"));
    let mut child = command.arg(COMPILE_COMMAND).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let bomb = bombs::loops(4, 850, 850);
    input.write_all(&(bomb.len() as u64).to_le_bytes()).unwrap();
    input.write_all(&bomb).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(child.try_wait().unwrap(), None, "it compiles");
    // As the system does when a process ends, however it ends.
    drop(input);
    let until = Instant::now() + Duration::from_secs(10);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > until {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it compiles on");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_wants_gigabytes_while_it_compiles_meets_the_limit() {
    let limits = Limits { compile_memory_bytes: 256 << 20, ..within(60) };
    let failure = refused(&bombs::loops(1, 850, 850), limits).await;
    says(
        &failure,
        "compiling it needs more memory than the limit compile_memory_bytes of 268435456; make the component",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compiler_that_crashes_is_killed_or_is_not_there_is_a_clear_failure() {
    let with = async |program: &str, arguments: &[&str]| {
        refused_on(&compiling_with(program, arguments), &harmless().wasm(), within(60)).await
    };
    let failure = with("/bin/sh", &["-c", "printf 'row\\033[2J' >&2; exit 101"]).await;
    says(&failure, "it crashes the compiler (exit status: 101); it may be hostile or damaged");
    says(&failure, "row\\u{1b}[2J");
    let failure = with("/bin/sh", &["-c", "kill -SEGV $$"]).await;
    says(&failure, "it crashes the compiler (signal: 11 (SIGSEGV))");
    let failure = with("/bin/sh", &["-c", "kill -KILL $$"]).await;
    says(&failure, "its compiler was killed from outside; see whether the system ran out of memory");
    let failure = with("/nowhere/docmill", &[]).await;
    says(&failure, "the compiler /nowhere/docmill could not be started; see that the program is there");
    // Something that is no native code of this engine's is not loaded.
    says(&with("/bin/echo", &["\u{7f}ELF"]).await, "the component is damaged");
    a_neighbour_loads_and_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_compiler_has_limits_from_the_system_and_nothing_in_its_environment() {
    let look = "printf '[%s] ' \"$(cat /proc/$$/environ | tr '\\0' ' ')\" >&2; \
        cat /proc/$$/limits | tr -s ' ' | tr '\\n' '|' >&2; ls /proc/$$/fd | tr '\\n' ' ' >&2; exit 1";
    let limits = Limits { compile_memory_bytes: 256 << 20, ..within(60) };
    let failure = refused_on(&compiling_with("/bin/sh", &["-c", look]), &harmless().wasm(), limits).await;
    for part in [
        ": [] Limit",
        "|Max data size 268435456 268435456 bytes",
        "|Max core file size 0 0 bytes",
        "|Max file size 0 0 bytes",
        "|Max open files 32 32 files",
    ] {
        says(&failure, part);
    }
    // What others left open is not handed on.
    assert!(failure.chain().ends_with("|0 1 2"), "{}", failure.chain());
    for unlimited in ["Max cpu time unlimited", "Max address space unlimited"] {
        assert!(!failure.chain().contains(unlimited), "{}", failure.chain());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_compiler_s_own_words_reach_the_author() {
    let mut damaged = harmless().wasm();
    damaged.truncate(damaged.len() / 2);
    let failure = refused(&damaged, within(60)).await;
    says(&failure, "the component is damaged, or uses features that are switched off; `wasm-tools validate` says");
    says(&failure, "invalid module section: section range");
}

#[tokio::test(flavor = "multi_thread")]
async fn native_code_offered_as_a_component_is_refused() {
    let engine = wasmtime::Engine::default();
    let native = engine.precompile_component(&harmless().wasm()).unwrap();
    says(&refused(&native, within(60)).await, "precompiled native code, which is never run; give the .wasm");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_module_is_refused() {
    says(&refused(&wat::parse_str("(module)").unwrap(), within(60)).await, "a core module, not a component; link it");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_no_builder_is_given_is_refused_by_name_with_what_to_do() {
    for (import, found, advice) in [
        ("wasi:sockets/tcp@0.2.0", "wasi:sockets/tcp@0.2.0", "wasm32-unknown-unknown"),
        // Neither a clock nor random numbers: the same rows give the same document.
        ("wasi:clocks/monotonic-clock@0.2.0", "wasi:clocks/monotonic-clock@0.2.0", "build it without WASI"),
        ("wasi:random/random@0.2.0", "wasi:random/random@0.2.0", "build it without WASI"),
        ("wasi:filesystem/types@0.2.3", "wasi:filesystem/types@0.2.3", "build it without WASI"),
        ("docmill:builder/host@0.2.0", "docmill:builder/host@0.2.0", "this docmill serves the contract 0.1.0"),
        ("evil:host/shell", "evil:host/shell", "may import the host and source of docmill:builder, nothing else"),
    ] {
        let mut guest = harmless();
        let text = format!("(import \"{import}\" (instance))");
        guest.imports = text.leak();
        let failure = refused(&guest.wasm(), within(60)).await;
        says(&failure, &format!("it imports {found}, which no builder is given"));
        says(&failure, advice);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_lacks_an_export_is_refused_by_its_name() {
    let empty = wat::parse_str("(component)").unwrap();
    says(
        &refused(&empty, within(60)).await,
        "it exports nothing and not docmill:builder/guest@0.1.0; build it against",
    );
    let lacks = r#"(component (instance $guest) (export "docmill:builder/guest@0.1.0" (instance $guest)))"#;
    let failure = refused(&wat::parse_str(lacks).unwrap(), within(60)).await;
    says(&failure, "lacks describe, lacks resolve, lacks assemble");
}
