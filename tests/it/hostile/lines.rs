//! What a file of lines says: documents, and what is in its quarantine.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

/// The documents of a file of lines: of each id the last line counts. A line that is not whole yet is not read.
pub fn documents(file: &Path) -> BTreeMap<String, Value> {
    let mut documents = BTreeMap::new();
    for mut line in lines(file) {
        let id = line["id"].as_str().expect("an id").to_owned();
        match line["document"].take() {
            Value::Null => documents.remove(&id),
            document => documents.insert(id, document),
        };
    }
    documents
}

/// Every document of an id that was ever written, in order.
pub fn history(file: &Path, id: &str) -> Vec<Value> {
    lines(file).into_iter().filter(|line| line["id"] == id).map(|mut line| line["document"].take()).collect()
}

/// Records in the quarantine beside a file of lines, by id.
pub fn quarantine(file: &Path) -> BTreeMap<String, Value> {
    let mut records = BTreeMap::new();
    for line in lines(&file.with_added_extension("quarantine.ndjson")) {
        let id = line["id"].as_str().expect("an id").to_owned();
        match line["cleared"] == true {
            true => records.remove(&id),
            false => records.insert(id, line),
        };
    }
    records
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read(file).unwrap_or_default();
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let lines = text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("a line is JSON")).collect()
}
