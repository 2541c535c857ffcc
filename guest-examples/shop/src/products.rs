//! The index `products`: a product with its place in the category tree, its tags, and what buyers made of it.

mod categories;

use crate::undeclared;
use categories::Categories;
use docmill_builder::{Affected, Decimal, Descriptor, Groups, Ids, Index, Json, Outcome, Reads, Result, Rows, Table};
use serde::Serialize;
use serde_json::{Value, json};

/// Figures are grouped before they are joined, so that a well-sold product costs one row all the same.
const PRODUCTS: &str = "
    select p.id, p.category_id, p.sku, p.name, p.description, p.price, p.attributes, p.discontinued,
           coalesce(r.review_count, 0) as review_count, r.stars, coalesce(s.units_sold, 0) as units_sold
    from products p
    left join (
        select product_id, count(*) as review_count, round(avg(stars), 2) as stars
        from reviews where product_id = any($1) group by product_id
    ) r on r.product_id = p.id
    left join (
        select i.product_id, sum(i.quantity) as units_sold
        from order_items i join orders o on o.id = i.order_id
        where i.product_id = any($1) and o.status <> 'cancelled' group by i.product_id
    ) s on s.product_id = p.id
    where p.id = any($1)";

const TAGS: &str = "
    select pt.product_id, t.name
    from product_tags pt join tags t on t.id = pt.tag_id
    where pt.product_id = any($1)";

#[derive(Serialize)]
struct Product<'a> {
    id: &'a str,
    sku: &'a str,
    name: &'a str,
    description: &'a str,
    price: Decimal,
    attributes: Json<'a>,
    category: Category<'a>,
    tags: Vec<&'a str>,
    review_count: i64,
    stars: Option<Decimal>,
    units_sold: i64,
}

#[derive(Serialize)]
struct Category<'a> {
    id: i64,
    path: Vec<&'a str>,
}

pub(crate) fn declare(descriptor: Descriptor) -> Descriptor {
    let index = Index::new("products", mapping())
        .table(Table::root("products", ["id"]))
        .table(Table::new("categories", ["id"]).columns(["parent_id", "name"]))
        .table(Table::new("product_tags", ["product_id"]).columns(["tag_id"]))
        .table(Table::new("tags", ["id"]).columns(["name"]))
        .table(Table::new("reviews", ["product_id"]).columns(["stars"]))
        .table(Table::new("order_items", ["product_id"]).columns(["order_id", "quantity"]))
        .table(Table::new("orders", ["id"]).columns(["status"]))
        .reads(["products", "categories", "tags"]);
    descriptor
        .index(index)
        .query("products", PRODUCTS)
        .query("categories", categories::ABOVE)
        .query("tags", TAGS)
        .query("products-below", categories::PRODUCTS_BELOW)
        .query(
            "products-of-tag",
            "select product_id::text from product_tags where tag_id = any($1)",
        )
        .query(
            "products-of-order",
            "select product_id::text from order_items where order_id = any($1)",
        )
}

fn mapping() -> Value {
    json!({ "dynamic": "strict", "properties": {
        "id": { "type": "keyword" },
        "sku": { "type": "keyword" },
        "name": { "type": "text" },
        "description": { "type": "text" },
        "price": { "type": "double" },
        "attributes": { "type": "flat_object" },
        "category": { "properties": { "id": { "type": "integer" }, "path": { "type": "keyword" } } },
        "tags": { "type": "keyword" },
        "review_count": { "type": "integer" },
        "stars": { "type": "double" },
        "units_sold": { "type": "long" },
    } })
}

pub(crate) fn resolve(table: &str, rows: &Rows) -> Result<Affected> {
    match table {
        "products" => Ok(Affected::new().ids(rows.keys("id")?)),
        "product_tags" | "reviews" | "order_items" => Ok(Affected::new().ids(rows.keys("product_id")?)),
        "categories" => Ok(Affected::new().hop("products-below", &rows.keys("id")?)),
        "tags" => Ok(Affected::new().hop("products-of-tag", &rows.keys("id")?)),
        "orders" => Ok(Affected::new().hop("products-of-order", &rows.keys("id")?)),
        _ => Err(undeclared("table", table)),
    }
}

pub(crate) fn assemble(ids: &Ids, reads: Reads) -> Result<Vec<Outcome>> {
    let [products, categories, tags] = reads.into_array()?;
    let categories = Categories::read(&categories)?;
    let tags_of = Groups::by(&tags.column::<&str>("product_id")?);
    let tag_name = tags.column::<&str>("name")?;

    let id = products.column::<&str>("id")?;
    let product_row = Groups::by(&id);
    let category_id = products.column::<i64>("category_id")?;
    let sku = products.column("sku")?;
    let name = products.column("name")?;
    let description = products.column("description")?;
    let price = products.column("price")?;
    let attributes = products.column("attributes")?;
    let discontinued = products.column::<bool>("discontinued")?;
    let review_count = products.column("review_count")?;
    let stars = products.column("stars")?;
    let units_sold = products.column("units_sold")?;

    Ok(ids.outcomes(|product| {
        let Some(row) = product_row.first(product) else {
            return Outcome::Absent;
        };
        // A category that hangs on no root is on no path, and neither is what is in it.
        let Some(path) = categories.path(category_id[row]) else {
            return Outcome::Absent;
        };
        if discontinued[row] {
            return Outcome::Absent;
        }
        let mut tags: Vec<&str> = tags_of.rows(product).map(|row| tag_name[row]).collect();
        tags.sort_unstable();
        Outcome::document(&Product {
            id: id[row],
            sku: sku[row],
            name: name[row],
            description: description[row],
            price: price[row],
            attributes: attributes[row],
            category: Category {
                id: category_id[row],
                path,
            },
            tags,
            review_count: review_count[row],
            stars: stars[row],
            units_sold: units_sold[row],
        })
    }))
}
