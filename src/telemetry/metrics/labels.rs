//! The labels of metrics. None of them takes a value that grows with the data: no ids, no positions, no messages.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct OfPipeline {
    pub pipeline: Arc<str>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct OfIndex {
    pub pipeline: Arc<str>,
    pub index: Arc<str>,
}

/// What asked for a document: `live` or `pass`.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ByOrigin {
    pub pipeline: Arc<str>,
    pub index: Arc<str>,
    pub origin: &'static str,
}

/// Why a document was rejected.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ByKind {
    pub pipeline: Arc<str>,
    pub index: Arc<str>,
    pub kind: String,
}

/// Why a pass is run.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ByReason {
    pub pipeline: Arc<str>,
    pub index: Arc<str>,
    pub reason: &'static str,
}

/// What a pipeline waits on.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ByWait {
    pub pipeline: Arc<str>,
    pub on: &'static str,
}

/// The stage of a retry.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ByStage {
    pub pipeline: Arc<str>,
    pub stage: &'static str,
}

/// The name of a limit.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ByLimit {
    pub pipeline: Arc<str>,
    pub limit: &'static str,
}

/// What a guest trapped on.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ByTrap {
    pub pipeline: Arc<str>,
    pub trap: &'static str,
}

/// How a call of a guest failed.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ByEnd {
    pub pipeline: Arc<str>,
    pub by: &'static str,
}

/// The class of a failure.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ByClass {
    pub pipeline: Arc<str>,
    pub class: &'static str,
}
