//! The example builders, built from source.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::postgres::blocking;

/// Builds every example as its author would; fast when nothing changed.
pub async fn built(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    blocking(move || {
        let output = Command::new(root.join("guest-examples/build")).output().expect("guest-examples/build runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    })
    .await;
    root.join("target/guests").join(format!("{name}.wasm"))
}
