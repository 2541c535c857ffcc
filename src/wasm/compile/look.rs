//! What a file is, before anything parses it.

use wasmtime::Engine;

use crate::edges::Failure;
use crate::wasm::limits::Limits;

/// Says what is no component.
pub(super) fn at(what: &str, bytes: &[u8], limits: &Limits) -> Result<(), Failure> {
    let refused = |found: String, advice: &str| Err(Failure::fatal(format!("{what}: {found}")).with_advice(advice));
    if bytes.len() > limits.component_bytes {
        let limit = limits.component_bytes;
        return refused(
            format!("its file of {} bytes is over the limit component_bytes of {limit}", bytes.len()),
            "strip it (`strip = true` in the release profile), or raise the limit",
        );
    }
    if Engine::detect_precompiled(bytes).is_some() {
        return refused(
            "its file is precompiled native code, which is never run".to_owned(),
            "give the .wasm component that it was made from",
        );
    }
    match bytes.get(..8) {
        Some([0, b'a', b's', b'm', 0x0d, 0, 1, 0]) => Ok(()),
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => refused(
            "its file is a core module, not a component".to_owned(),
            "link it with wasm-component-ld (sdk/README.md), or run `wasm-tools component new` on it",
        ),
        Some([0, b'a', b's', b'm', ..]) => refused(
            "its file is WebAssembly of a version that this host does not know".to_owned(),
            "build a component with a current toolchain",
        ),
        _ => refused(format!("its file of {} bytes is not WebAssembly", bytes.len()), "give the .wasm component"),
    }
}
