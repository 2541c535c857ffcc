//! The condition of an index or of a cluster, as its errors name it: no document's fault, it passes, and sometimes a person must
//! help. Plain functions.

/// Errors that are load or the cluster's condition: nothing was applied, and the same bytes may be sent again.
const NOTHING_APPLIED: [&str; 7] = [
    "es_rejected_execution_exception",
    "rejected_execution_exception",
    "opensearch_rejected_execution_exception",
    "circuit_breaking_exception",
    "cluster_block_exception",
    "index_closed_exception",
    "no_shard_available_action_exception",
];

/// Whether an error says that nothing was applied, and that it may be later.
pub(super) fn is_load(status: u64, kind: &str) -> bool {
    status == 429 || NOTHING_APPLIED.contains(&kind) || kind.ends_with("rejected_execution_exception")
}

/// What a person can look at while writes to an index wait for that reason.
pub(super) fn advice(kind: &str, index: &str) -> Option<String> {
    match kind {
        "index_closed_exception" => Some(format!("open it again: POST {index}/_open")),
        "cluster_block_exception" => Some(format!(
            "see what blocks it: index.blocks in GET {index}/_settings, cluster.blocks in GET _cluster/settings, and the \
             free space of the nodes in GET _cat/allocation"
        )),
        "unavailable_shards_exception" | "no_shard_available_action_exception" => {
            Some("see why its shards are not started: GET _cluster/allocation/explain".to_owned())
        }
        _ => None,
    }
}

/// Why writes to an index wait, with what can be done.
pub(super) fn why(kind: &str, index: &str) -> String {
    match advice(kind, index) {
        Some(advice) => format!("{kind} of index {index}; {advice}"),
        None => kind.to_owned(),
    }
}
