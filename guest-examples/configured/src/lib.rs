//! A builder that its pipeline configures: every row of the table `tags` is a document of the index `tags`, under the label that
//! `config = { label = "..." }` gives. Another label is another version of the builder.

use docmill_builder::{Affected, Builder, Descriptor, Ids, Index, Outcome, Reads, Result, Rows, Table};
use serde::Deserialize;
use serde_json::json;

struct Tags;

/// The pipeline's `config`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    label: String,
}

impl Builder for Tags {
    fn describe() -> Result<Descriptor> {
        // Whoever misspells it hears so before anything runs.
        docmill_builder::config::<Config>()?;
        let properties = json!({ "name": { "type": "keyword" }, "label": { "type": "keyword" } });
        let tags = Index::new("tags", json!({ "dynamic": "strict", "properties": properties }))
            .table(Table::root("tags", ["id"]))
            .reads(["tags"]);
        Ok(Descriptor::new()
            .index(tags)
            .query("tags", "select id, name from tags where id = any($1)"))
    }

    fn resolve(_index: &str, _table: &str, rows: &Rows) -> Result<Affected> {
        Ok(Affected::new().ids(rows.keys("id")?))
    }

    fn assemble(_index: &str, ids: &Ids, reads: Reads) -> Result<Vec<Outcome>> {
        let Config { label } = docmill_builder::config()?;
        let [tags] = reads.into_array()?;
        let (row_of, name) = (tags.by_text("id")?, tags.column::<&str>("name")?);
        Ok(ids.outcomes(|tag| match row_of.first(tag) {
            Some(row) => Outcome::document(&json!({ "name": name[row], "label": label })),
            None => Outcome::Absent,
        }))
    }
}

docmill_builder::export!(Tags);
