//! The shop's builder without a sandbox: the same code, compiled into this program. What it gives is not checked, since nobody
//! hostile wrote it: the difference is all that a sandbox costs.

use std::sync::Arc;

use ::docmill::edges::{AssembleRequest, DocumentBuilder, Failure};
use ::docmill::model::{self, BuilderVersion, Declaration};
use async_trait::async_trait;
use docmill_builder::bindings::docmill::builder::types as wit;
use docmill_builder::bindings::exports::docmill::builder::guest::Guest;
use docmill_builder::export::Exported;
use shop::Shop;

/// See the module.
#[derive(Debug)]
pub struct Native {
    /// The component that it stands for.
    pub like: Arc<dyn DocumentBuilder>,
}

#[async_trait]
impl DocumentBuilder for Native {
    fn version(&self) -> &BuilderVersion {
        self.like.version()
    }

    fn declaration(&self) -> &Declaration {
        self.like.declaration()
    }

    async fn resolve(&self, index: &str, table: &str, rows: model::Rows) -> Result<model::Affected, Failure> {
        let wit::Affected { ids, queries } =
            Exported::<Shop>::resolve(index.to_owned(), table.to_owned(), rowset(rows))
                .map_err(Failure::deterministic)?;
        let queries = queries.into_iter().map(|wit::Query { name, params }| model::Query { name, params });
        Ok(model::Affected { ids, queries: queries.collect() })
    }

    async fn assemble(&self, request: AssembleRequest) -> Result<Vec<model::Outcome>, Failure> {
        let AssembleRequest { index, ids, reads, source } = request;
        let reads = reads.into_iter().map(rowset).collect();
        let outcomes =
            Exported::<Shop>::assemble(index.to_string(), ids.to_vec(), reads).map_err(Failure::deterministic)?;
        drop(source);
        let outcome = |outcome| match outcome {
            wit::Outcome::Document(text) => model::Outcome::Document(text.into()),
            wit::Outcome::Absent => model::Outcome::Absent,
            wit::Outcome::Rejected(reason) => {
                model::Outcome::Rejected(model::Rejection { kind: "builder".to_owned(), reason, detail: None })
            }
        };
        Ok(outcomes.into_iter().map(outcome).collect())
    }
}

fn rowset(rows: model::Rows) -> wit::Rowset {
    let count = rows.count();
    wit::Rowset::Columns(wit::Table { count, columns: rows.into_columns().into_iter().map(column).collect() })
}

fn column(model::Column { name, nulls, cells }: model::Column) -> wit::Column {
    let texts = |model::Texts { bytes, ends }| wit::Texts { bytes, ends };
    let cells = match cells {
        model::Cells::Booleans(cells) => wit::Cells::Booleans(cells),
        model::Cells::Integers(cells) => wit::Cells::Integers(cells),
        model::Cells::Floats(cells) => wit::Cells::Floats(cells),
        model::Cells::Numerics(cells) | model::Cells::Texts(cells) => wit::Cells::Texts(texts(cells)),
        model::Cells::Json(cells) => wit::Cells::Json(texts(cells)),
        model::Cells::Binary(cells) => wit::Cells::Binary(texts(cells)),
    };
    wit::Column { name, nulls, cells }
}
