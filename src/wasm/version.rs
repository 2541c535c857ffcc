//! Which builder it is: the hash of a component and its configuration.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::model::BuilderVersion;

/// Component and configuration together: another configuration makes other documents.
pub(super) fn version(component: &[u8], config: &str) -> BuilderVersion {
    let mut hash = Sha256::new();
    // The length keeps the two apart.
    hash.update((component.len() as u64).to_le_bytes());
    hash.update(component);
    hash.update(config.as_bytes());
    BuilderVersion(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The configuration as text: without spaces and with the keys of every object sorted, so that moving lines in a file
/// changes no version.
pub(super) fn canonical(config: &Value) -> String {
    sorted(config).to_string()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            fields.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_keys_is_no_part_of_a_version_and_their_values_are() {
        let of = |config: Value| version(b"component", &canonical(&config));
        assert_eq!(of(json!({"a": {"x": 1, "y": [2, 3]}, "b": 2})), of(json!({"b": 2, "a": {"y": [2, 3], "x": 1}})));
        assert_ne!(of(json!({"a": [1, 2]})), of(json!({"a": [2, 1]})));
        assert_ne!(version(b"ab", "c"), version(b"a", "bc"));
    }
}
