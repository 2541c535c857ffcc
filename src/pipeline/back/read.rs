//! Read: the declared reads of an index for some ids, all of one moment.

use std::sync::Arc;

use super::Back;
use crate::edges::{Failure, Snapshot};
use crate::model::{Query, Rows, Task};

/// Rows of one moment, and that moment for further queries.
pub(super) struct Fetched {
    pub(super) ids: Arc<[String]>,
    pub(super) reads: Vec<Rows>,
    pub(super) source: Box<dyn Snapshot>,
}

/// Begins a snapshot and answers the index's reads in it.
pub(super) async fn read(back: &Back, task: &Task, ids: &[String]) -> Result<Fetched, Failure> {
    let index = back.builder.declaration().index(&task.index).ok_or_else(|| {
        Failure::fatal(format!(
            "task for index {} of builder {}, which the running builder {} does not declare",
            task.index,
            task.builder_version.short(),
            back.builder.version().short()
        ))
    })?;
    if task.builder_version != *back.builder.version() {
        return Err(Failure::fatal(format!(
            "task for builder {} came to a worker that runs {}",
            task.builder_version.short(),
            back.builder.version().short()
        )));
    }
    let param = serde_json::to_string(ids)
        .map_err(|error| Failure::fatal("ids could not be written as a parameter").with_source(error))?;
    let queries: Vec<Query> =
        index.reads.iter().map(|name| Query { name: name.clone(), params: vec![Some(param.clone())] }).collect();
    let (reads, source) = back.queries.snapshot(&queries).await?;
    Ok(Fetched { ids: ids.into(), reads, source })
}
