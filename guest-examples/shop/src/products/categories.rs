//! The category tree: the part of it above some products, and the products below a part of it.

use docmill_builder::{Groups, Result, Rows};

/// Every category above the products, each once. `union` rather than `union all` ends a circle too.
pub(super) const ABOVE: &str = "
    with recursive above as (
        select c.id, c.parent_id, c.name from categories c
        where c.id in (select category_id from products where id = any($1))
        union
        select c.id, c.parent_id, c.name from above a join categories c on c.id = a.parent_id
    )
    select id, parent_id, name from above";

/// The products of these categories and of all below them.
pub(super) const PRODUCTS_BELOW: &str = "
    with recursive below as (
        select id from categories where id = any($1)
        union
        select c.id from below b join categories c on c.parent_id = b.id
    )
    select p.id::text from below b join products p on p.category_id = b.id";

/// The categories above some products.
pub(super) struct Categories<'a> {
    row_of: Groups<i64>,
    parent: Vec<Option<i64>>,
    name: Vec<&'a str>,
}

impl<'a> Categories<'a> {
    pub(super) fn read(rows: &'a Rows) -> Result<Self> {
        let row_of = Groups::by(&rows.column::<i64>("id")?);
        Ok(Self {
            row_of,
            parent: rows.column("parent_id")?,
            name: rows.column("name")?,
        })
    }

    /// The names from the root to this category; `None` where the way up ends in no root.
    pub(super) fn path(&self, category: i64) -> Option<Vec<&'a str>> {
        let mut names = Vec::new();
        let mut next = Some(category);
        while let Some(id) = next {
            let row = self.row_of.first(&id)?;
            if names.len() == self.name.len() {
                return None;
            }
            names.push(self.name[row]);
            next = self.parent[row];
        }
        names.reverse();
        Some(names)
    }
}
