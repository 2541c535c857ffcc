//! A whole builder: every row of the table `tags` is a document of the index `tags`.

use docmill_builder::{Affected, Builder, Descriptor, Ids, Index, Outcome, Reads, Result, Rows, Table};
use serde_json::json;

struct Tags;

impl Builder for Tags {
    fn describe() -> Result<Descriptor> {
        let properties = json!({ "id": { "type": "integer" }, "name": { "type": "keyword" } });
        let mapping = json!({ "dynamic": "strict", "properties": properties });
        let tags = Index::new("tags", mapping)
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
        let [tags] = reads.into_array()?;
        let row_of = tags.by_text("id")?;
        let (id, name) = (tags.column::<i64>("id")?, tags.column::<&str>("name")?);
        Ok(ids.outcomes(|tag| match row_of.first(tag) {
            Some(row) => Outcome::document(&json!({ "id": id[row], "name": name[row] })),
            None => Outcome::Absent,
        }))
    }
}

docmill_builder::export!(Tags);
