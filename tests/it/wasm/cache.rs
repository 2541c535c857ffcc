//! The compiled cache: what is in it need not be compiled, and whatever is wrong with it is compiled again.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use docmill::edges::Failure;
use docmill::wasm::{CompiledCache, Compiler, Limits, Runtime, RuntimeOptions, WasmBuilder};
use serde_json::json;

use super::handmade::{assemble, harmless};

/// A directory for a cache.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("docmill/compiled")
    }

    fn runtime(&self, compiler: Compiler, bytes_max: u64) -> Arc<Runtime> {
        let cache = Some(CompiledCache { directory: self.path(), bytes_max });
        Runtime::new(RuntimeOptions { compiler, cache, calls_at_once: 4, ..RuntimeOptions::default() }).unwrap()
    }

    /// As at a start: nothing in memory, a compiler at hand.
    async fn load(&self, bytes: &[u8]) -> Arc<WasmBuilder> {
        let runtime = self.runtime(Compiler::InProcess, CompiledCache::BYTES_MAX);
        load(&runtime, bytes).await.unwrap_or_else(|failure| panic!("{}", failure.chain()))
    }

    /// Whether it can be loaded where nothing can be compiled.
    async fn has(&self, bytes: &[u8]) -> bool {
        let compiler = Compiler::Child { program: "/nowhere/docmill".into(), arguments: Vec::new() };
        match load(&self.runtime(compiler, CompiledCache::BYTES_MAX), bytes).await {
            Ok(builder) => {
                assert_eq!(assemble(&builder, 3).await.unwrap().len(), 3);
                true
            }
            Err(failure) => {
                assert!(failure.message().contains("could not be started"), "{}", failure.chain());
                false
            }
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    fn only_file(&self) -> PathBuf {
        let files = self.files();
        assert_eq!(files.len(), 1, "{files:?}");
        files.into_iter().next().unwrap()
    }
}

async fn load(runtime: &Arc<Runtime>, bytes: &[u8]) -> Result<Arc<WasmBuilder>, Failure> {
    WasmBuilder::load(runtime, bytes, json!({}), Limits::default(), "test").await
}

/// One that differs from others by its number.
fn component(number: u8) -> Vec<u8> {
    [&harmless().wasm()[..], &[0, 2, 1, number]].concat()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_compiled_once_is_there_at_the_next_start() {
    let place = Place::new();
    place.load(&component(1)).await;
    assert_eq!((mode(&place.path()), mode(&place.only_file())), (0o700, 0o600));
    let name = place.only_file().file_name().unwrap().to_string_lossy().into_owned();
    let parts = name.strip_suffix(".cwasm").and_then(|name| name.split_once('-')).map(|(a, b)| (a.len(), b.len()));
    assert_eq!(parts, Some((64, 16)), "{name}");
    assert!(place.has(&component(1)).await);
    assert!(!place.has(&component(2)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_or_truncated_file_is_compiled_again_and_replaced() {
    let place = Place::new();
    place.load(&component(1)).await;
    let file = place.only_file();
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let engine = wasmtime::Engine::default();
    for damaged in [
        &whole[..whole.len() - 1],
        &whole[..10],
        b"",
        &flipped,
        // Without its checksum.
        &engine.precompile_component(&component(1)).unwrap(),
    ] {
        fs::write(&file, damaged).unwrap();
        assert!(!place.has(&component(1)).await);
        place.load(&component(1)).await;
        assert!(place.has(&component(1)).await, "it was not replaced");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_file_of_another_engine_is_compiled_again() {
    use sha2::Digest;
    let place = Place::new();
    place.load(&component(1)).await;
    let file = place.only_file();
    // Made without canonical NaNs, epochs and all.
    let native = wasmtime::Engine::default().precompile_component(&component(1)).unwrap();
    let checksum = sha2::Sha256::digest(&native);
    fs::write(&file, [b"docmill compiled 1\n", &checksum[..], &native].concat()).unwrap();
    assert!(!place.has(&component(1)).await);
    place.load(&component(1)).await;
    assert!(place.has(&component(1)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_file_is_never_loaded() {
    let place = Place::new();
    place.load(&component(1)).await;
    let file = place.only_file();
    let aside = place.0.path().join("aside");

    fs::rename(&file, &aside).unwrap();
    symlink(&aside, &file).unwrap();
    assert!(!place.has(&component(1)).await, "a link was followed");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(!place.has(&component(1)).await, "a directory");
    fs::remove_dir(&file).unwrap();
    fs::rename(&aside, &file).unwrap();
    for open in [0o644, 0o660, 0o602] {
        fs::set_permissions(&file, Permissions::from_mode(open)).unwrap();
        assert!(!place.has(&component(1)).await, "mode {open:o}");
    }
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    // Only root can make a file somebody else's, and CI and this test's author are.
    if std::os::unix::fs::chown(&file, Some(65534), None).is_ok() {
        assert!(!place.has(&component(1)).await, "of another user");
        std::os::unix::fs::chown(&file, Some(0), None).unwrap();
    }
    assert!(place.has(&component(1)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_not_ours_alone_is_not_used() {
    let place = Place::new();
    place.load(&component(1)).await;
    for open in [0o755, 0o701, 0o720] {
        fs::set_permissions(place.path(), Permissions::from_mode(open)).unwrap();
        assert!(!place.has(&component(1)).await, "mode {open:o}");
        // It is compiled without.
        place.load(&component(2)).await;
        assert_eq!(place.files().len(), 1);
    }
    fs::set_permissions(place.path(), Permissions::from_mode(0o700)).unwrap();
    assert!(place.has(&component(1)).await);
    let aside = place.0.path().join("aside");
    fs::rename(place.path(), &aside).unwrap();
    symlink(&aside, place.path()).unwrap();
    assert!(!place.has(&component(1)).await, "a link");
    fs::remove_file(place.path()).unwrap();
    fs::write(place.path(), "a file").unwrap();
    place.load(&component(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_bounded_and_what_was_not_used_for_longest_goes_first() {
    let place = Place::new();
    place.load(&component(1)).await;
    let one = fs::metadata(place.only_file()).unwrap().len();
    place.load(&component(2)).await;
    // Used again, it is younger than the other.
    assert!(place.has(&component(1)).await);
    let small = place.runtime(Compiler::InProcess, one * 5 / 2);
    load(&small, &component(3)).await.unwrap();
    assert_eq!(place.files().len(), 2);
    let mut left = Vec::new();
    for number in 1..=3 {
        if place.has(&component(number)).await {
            left.push(number);
        }
    }
    assert_eq!(left, [1, 3]);
    let nothing = place.runtime(Compiler::InProcess, 0);
    load(&nothing, &component(4)).await.unwrap();
    assert_eq!(place.files().len(), 2);
}
