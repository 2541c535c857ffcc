//! The layout is held by a test: who may import whom, that every file says what lives in it, and names that say something.

use std::fs;
use std::path::{Path, PathBuf};

/// Folder or file under `src/`, and what of this crate it may import. A new edge is a deliberate edit of this table.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("edges", &["model"]),
    ("postgres", &["model", "edges", "fail_points"]),
    ("wasm", &["model", "edges"]),
    ("opensearch", &["model", "edges"]),
    ("ndjson", &["model", "edges"]),
    ("pipeline", &["model", "edges", "fail_points"]),
    // Rules that tests switch off: who holds a rule asks it.
    ("fail_points", &[]),
    ("engine", &["model", "edges", "pipeline"]),
    ("tenants", &["model", "edges", "pipeline", "engine"]),
    ("embedded", &["model", "edges"]),
    ("config", &["model", "edges", "pipeline", "engine", "postgres", "wasm", "opensearch", "ndjson"]),
    ("telemetry", &["model", "edges", "pipeline", "engine"]),
    ("server", &["model", "edges", "telemetry"]),
    (
        "wiring",
        &[
            "model",
            "edges",
            "pipeline",
            "engine",
            "postgres",
            "wasm",
            "opensearch",
            "ndjson",
            "tenants",
            "config",
            "telemetry",
            "server",
        ],
    ),
    (
        "cli",
        &[
            "model",
            "edges",
            "pipeline",
            "engine",
            "postgres",
            "wasm",
            "opensearch",
            "ndjson",
            "embedded",
            "config",
            "telemetry",
            "server",
            "wiring",
        ],
    ),
    ("lib", &[]),
    ("main", &["cli"]),
];

/// Inside the pipeline the halves meet only at the work queue.
const HALVES: [(&str, &str); 2] = [("src/pipeline/front", "back"), ("src/pipeline/back", "front")];

const SAYS_NOTHING: [&str; 7] = ["util", "utils", "common", "helpers", "misc", "manager", "shared"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                rust_files(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<(String, String)> {
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    assert!(files.len() > 50, "the sources were not found");
    files
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (path.strip_prefix(root()).unwrap().display().to_string(), text)
        })
        .collect()
}

/// The folder (or file) under `src/` that a path belongs to.
fn module(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap();
    inside.split('/').next().unwrap().trim_end_matches(".rs")
}

/// The code of a file, without comments and without its tests.
fn code(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]").next().unwrap_or_default();
    before_tests.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The modules of this crate that some code names after `crate::` (or, in the binary, `docmill::`).
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (place, prefix) in code.match_indices("crate::").chain(code.match_indices("docmill::")) {
        // `$crate`-like and longer words are other things.
        if code[..place].chars().next_back().is_some_and(|before| before.is_alphanumeric() || before == '_') {
            continue;
        }
        let rest = &code[place + prefix.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 1usize;
            let mut word = String::new();
            for character in group.chars() {
                match character {
                    '{' => depth += 1,
                    '}' if depth == 1 => break,
                    '}' => depth -= 1,
                    ',' if depth == 1 => found.push(std::mem::take(&mut word)),
                    _ if depth == 1 => word.push(character),
                    _ => {}
                }
            }
            found.push(word);
        } else {
            found.push(rest.chars().take_while(|next| next.is_alphanumeric() || *next == '_').collect());
        }
    }
    found
        .into_iter()
        .map(|word| word.trim().split("::").next().unwrap_or_default().trim().to_owned())
        .filter(|word| !word.is_empty())
        .collect()
}

#[test]
fn a_module_imports_only_what_the_table_allows() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let own = module(&path);
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == own) else {
            wrong.push(format!("{path}: `{own}` is not in the table of tests/it/tidy.rs"));
            continue;
        };
        for import in imports(&code(&text)) {
            let known = MAY_IMPORT.iter().any(|(name, _)| *name == import);
            if known && import != own && !allowed.contains(&import.as_str()) {
                wrong.push(format!("{path} imports `{import}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_halves_of_the_flow_never_import_each_other() {
    for (path, text) in sources() {
        for (folder, other) in HALVES {
            if path.starts_with(folder) {
                for form in
                    [format!("pipeline::{other}::"), format!("super::super::{other}"), format!("super::{other}::")]
                {
                    assert!(!code(&text).contains(&form), "{path} names the other half: {form}");
                }
            }
        }
    }
}

#[test]
fn every_file_says_in_its_first_line_what_lives_there() {
    for (path, text) in sources() {
        assert!(text.starts_with("//! "), "{path} does not begin with a `//!` line");
    }
}

#[test]
fn no_name_says_nothing() {
    for (path, _) in sources() {
        for part in Path::new(&path).iter().filter_map(|part| part.to_str()) {
            assert!(!SAYS_NOTHING.contains(&part.trim_end_matches(".rs")), "{path}: what is in it?");
        }
    }
}

#[test]
fn the_reader_of_imports_sees_groups_and_paths() {
    let code = "use crate::{edges::{Sink, Write}, model::Position};\nfn f() { crate::wasm::load() }";
    assert_eq!(imports(code), ["edges", "model", "wasm"]);
}
