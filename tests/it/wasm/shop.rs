//! The shop's component, as users write them, without a database: rows in, documents out.

use docmill::edges::{AssembleRequest, DocumentBuilder};
use docmill::model::{CellKind, Column, ColumnBuilder, Outcome, Rows, Value as Cell};
use docmill::wasm::{Limits, WasmBuilder};
use serde_json::{Value, json};

use super::handmade::{Source, ids, runtime};

const SHOP: &[u8] = include_bytes!("../../../src/embedded/shop/shop.wasm");

fn column(name: &str, kind: CellKind, values: impl Iterator<Item = Cell>) -> Column {
    let mut column = ColumnBuilder::new(name, kind);
    values.for_each(|value| column.push(&value));
    column.finish()
}

fn texts(name: &str, count: u32, value: impl Fn(u32) -> String) -> Column {
    column(name, CellKind::Text, (0..count).map(|row| Cell::Text(value(row).into())))
}

fn integers(name: &str, count: u32, value: impl Fn(u32) -> u32) -> Column {
    column(name, CellKind::Integer, (0..count).map(|row| Cell::Integer(value(row).into())))
}

/// So many users with three orders of two lines each, as the declared reads answer.
fn reads(users: u32) -> Vec<Rows> {
    let (orders, lines) = (users * 3, users * 6);
    let notes = (0..orders).map(|row| if row % 2 == 0 { Cell::Null } else { Cell::Text("left \"here\"".into()) });
    vec![
        Rows::new(
            users,
            vec![
                integers("id", users, |row| row),
                texts("name", users, |row| format!("User {row}")),
                texts("email", users, |row| format!("user{row}@example.com")),
                texts("country", users, |_| "NO".to_owned()),
                texts("created_at", users, |_| "2026-02-01T09:30:00Z".to_owned()),
            ],
        ),
        Rows::new(
            orders,
            vec![
                integers("id", orders, |row| row),
                integers("user_id", orders, |row| row / 3),
                texts("status", orders, |row| ["paid", "shipped", "cancelled"][row as usize % 3].to_owned()),
                texts("placed_at", orders, |_| "2026-02-02T10:00:00Z".to_owned()),
                column("note", CellKind::Text, notes),
            ],
        ),
        Rows::new(
            lines,
            vec![
                integers("order_id", lines, |row| row / 2),
                integers("quantity", lines, |row| row % 2 + 1),
                texts("unit_price", lines, |_| "12.50".to_owned()),
            ],
        ),
    ]
    .into_iter()
    .map(|rows| rows.expect("as many values as rows"))
    .collect()
}

async fn shop() -> std::sync::Arc<WasmBuilder> {
    let loaded = WasmBuilder::load(runtime(), SHOP, json!({}), Limits::default(), "shop").await;
    loaded.unwrap_or_else(|failure| panic!("{}", failure.chain()))
}

async fn assemble(shop: &WasmBuilder, users: u32) -> Vec<Outcome> {
    // One more than there are: that one is gone.
    let request = AssembleRequest {
        index: "users".into(),
        ids: (0..=users).map(|user| user.to_string()).collect(),
        reads: reads(users),
        source: Box::new(Source::Rows(0)),
    };
    shop.assemble(request).await.unwrap_or_else(|failure| panic!("{}", failure.chain()))
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_become_the_documents_that_the_shop_describes() {
    let shop = shop().await;
    let outcomes = assemble(&shop, 2).await;
    assert_eq!(outcomes.len(), 3);
    assert_eq!(outcomes[2], Outcome::Absent);
    let Outcome::Document(document) = &outcomes[1] else { panic!("{outcomes:?}") };
    let order = |id: u32, status: &str, note: Value| {
        let placed_at = "2026-02-02T10:00:00Z";
        json!({ "id": id, "status": status, "placed_at": placed_at, "note": note, "total": 37.5, "lines": 2 })
    };
    assert_eq!(
        serde_json::from_slice::<Value>(document).unwrap(),
        json!({
            "id": 1, "name": "User 1", "email": "user1@example.com", "country": "NO",
            "created_at": "2026-02-01T09:30:00Z", "order_count": 3, "total_spent": 75.0,
            "orders": [
                order(3, "paid", json!("left \"here\"")), order(4, "shipped", Value::Null),
                order(5, "cancelled", json!("left \"here\"")),
            ],
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_leads_to_ids_or_to_a_query() {
    let shop = shop().await;
    let affected = shop.resolve("users", "users", ids(3)).await.unwrap();
    assert_eq!((affected.ids.as_slice(), affected.queries.len()), (["0", "1", "2"].map(str::to_owned).as_slice(), 0));
    let keys = column("order_id", CellKind::Integer, [7, 7, 9].into_iter().map(Cell::Integer));
    let affected = shop.resolve("users", "order_items", Rows::new(3, vec![keys]).unwrap()).await.unwrap();
    assert!(affected.ids.is_empty());
    assert_eq!(affected.queries[0].name, "user-of-order");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_rows_make_the_same_bytes_again() {
    let shop = shop().await;
    assert_eq!(assemble(&shop, 300).await, assemble(&shop, 300).await);
}
