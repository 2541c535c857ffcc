//! Snapshots of an index on a private node, and going back to one.

use reqwest::Method;
use serde_json::json;

use super::opensearch::OpenSearch;

/// A folder that snapshots go to; give [`setting`](Self::setting) to the node.
#[derive(Debug)]
pub struct Snapshots {
    folder: tempfile::TempDir,
}

impl Snapshots {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    /// The node's setting that allows the folder.
    pub fn setting(&self) -> String {
        format!("path.repo={}", self.folder.path().display())
    }

    /// Takes the one snapshot, of these indexes.
    pub async fn take(&self, search: &OpenSearch, indexes: &str) {
        let location = self.folder.path().join("snapshots");
        let repository = json!({"type": "fs", "settings": {"location": location}});
        search.must(Method::PUT, "_snapshot/kept", Some(&repository)).await;
        let what = json!({"indices": indexes, "include_global_state": false});
        let path = "_snapshot/kept/one?wait_for_completion=true";
        let taken = search.must(Method::PUT, path, Some(&what)).await;
        assert_eq!(taken["snapshot"]["state"], "SUCCESS", "{taken}");
    }

    /// Puts these indexes back to the snapshot; they must be closed or gone.
    pub async fn restore(&self, search: &OpenSearch, indexes: &str) {
        let what = json!({"indices": indexes, "include_global_state": false});
        let path = "_snapshot/kept/one/_restore?wait_for_completion=true";
        let restored = search.must(Method::POST, path, Some(&what)).await;
        assert_eq!(restored["snapshot"]["shards"]["failed"], 0, "{restored}");
    }
}
