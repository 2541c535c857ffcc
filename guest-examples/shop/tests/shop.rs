//! The shop's rules, one by one, without a database.

use docmill_builder::{Affected, Fixture, Outcome, Query};
use serde_json::{Value, json};
use shop::Shop;

type Tested = Result<(), docmill_builder::Error>;

const PRODUCT: &str = "4fe85886-a25d-597a-9706-81bb24727f31";

fn users() -> Fixture<Shop> {
    let user = |id: i64| {
        json!({ "id": id, "name": "Ada", "email": "ada@example.com", "country": "DE",
                "created_at": "2026-02-01T09:30:00.250000Z" })
    };
    Fixture::new().rows("users", json!([user(8), user(7)]))
}

fn order(id: i64, status: &str) -> Value {
    json!({ "id": id, "user_id": 7, "status": status, "placed_at": "2026-02-02T00:00:00.000000Z", "note": null })
}

fn line(order_id: i64, quantity: i64, unit_price: &str) -> Value {
    json!({ "order_id": order_id, "quantity": quantity, "unit_price": unit_price })
}

fn product(change: impl FnOnce(&mut Value)) -> Fixture<Shop> {
    let mut product = json!({
        "id": PRODUCT, "category_id": 3, "sku": "SKU-4", "name": "product 4", "description": "", "price": "317.70",
        "attributes": { "colour": "green" }, "discontinued": false, "review_count": 0, "stars": null, "units_sold": 0,
    });
    change(&mut product);
    let categories = json!([
        { "id": 3, "parent_id": 2, "name": "leaf" },
        { "id": 1, "parent_id": null, "name": "root" },
        { "id": 2, "parent_id": 1, "name": "middle" },
    ]);
    let tag = |name: &str| json!({ "product_id": PRODUCT, "name": name });
    let tags = json!([tag("ärger"), tag("b"), tag("B"), tag("_")]);
    Fixture::new()
        .rows("products", json!([product]))
        .rows("categories", categories)
        .rows("tags", tags)
}

#[test]
fn a_user_has_their_orders_by_id_and_cancelled_ones_are_not_spent() -> Tested {
    let shop = users()
        .rows(
            "orders",
            json!([order(12, "cancelled"), order(11, "paid"), order(10, "open")]),
        )
        .rows(
            "lines",
            json!([line(11, 3, "0.10"), line(12, 1, "5.00"), line(11, 1, "0.20")]),
        );
    let document = shop.document("users", "7")?;
    let ids: Vec<&Value> = document["orders"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|order| &order["id"])
        .collect();
    assert_eq!(ids, [10, 11, 12]);
    assert_eq!(document["orders"][0]["total"], 0);
    assert_eq!(document["orders"][0]["lines"], 0);
    assert_eq!(document["orders"][1]["total"], 0.5);
    assert_eq!(document["orders"][1]["lines"], 2);
    assert_eq!(document["orders"][1]["note"], Value::Null);
    assert_eq!(
        (&document["order_count"], &document["total_spent"]),
        (&json!(3), &json!(0.5))
    );
    Ok(())
}

#[test]
fn a_user_without_orders_has_an_empty_list() -> Tested {
    let document = users().document("users", "8")?;
    assert_eq!((&document["orders"], &document["total_spent"]), (&json!([]), &json!(0)));
    assert_eq!(document["created_at"], "2026-02-01T09:30:00.250000Z");
    Ok(())
}

#[test]
fn outcomes_stand_in_the_order_of_the_ids_and_a_missing_row_is_absent() -> Tested {
    let outcomes = users().assemble("users", &["7", "9", "8"])?;
    assert!(
        matches!(&outcomes[..], [Outcome::Document(one), Outcome::Absent, Outcome::Document(two)]
        if one.starts_with(r#"{"id":7"#) && two.starts_with(r#"{"id":8"#))
    );
    Ok(())
}

#[test]
fn a_product_has_its_path_from_the_root_and_its_tags_by_byte() -> Tested {
    let document = product(|_| {}).document("products", PRODUCT)?;
    assert_eq!(
        document["category"],
        json!({ "id": 3, "path": ["root", "middle", "leaf"] })
    );
    assert_eq!(document["tags"], json!(["B", "_", "b", "ärger"]));
    assert_eq!((&document["price"], &document["stars"]), (&json!(317.7), &Value::Null));
    assert_eq!(document["attributes"], json!({ "colour": "green" }));
    Ok(())
}

#[test]
fn a_discontinued_product_is_absent() -> Tested {
    let shop = product(|product| product["discontinued"] = json!(true));
    assert_eq!(shop.assemble("products", &[PRODUCT])?, [Outcome::Absent]);
    Ok(())
}

#[test]
fn a_category_in_a_circle_ends_in_absence_rather_than_in_a_loop() -> Tested {
    let circle = json!([{ "id": 3, "parent_id": 2, "name": "a" }, { "id": 2, "parent_id": 3, "name": "b" }]);
    let shop = product(|_| {}).rows("categories", circle);
    assert_eq!(shop.assemble("products", &[PRODUCT])?, [Outcome::Absent]);
    Ok(())
}

#[test]
fn every_table_leads_to_its_documents() -> Tested {
    let hop = |query: &str, keys: &str| Affected::new().query(Query::new(query).text(keys));
    let ids = |ids: &[&str]| Affected::new().ids(ids.iter().copied());
    let by_product = json!([{ "product_id": PRODUCT }]);
    let cases = [
        ("users", "users", json!([{ "id": 7 }, { "id": 8 }]), ids(&["7", "8"])),
        ("users", "orders", json!([{ "user_id": 7 }]), ids(&["7"])),
        (
            "users",
            "order_items",
            json!([{ "order_id": 11 }]),
            hop("user-of-order", r#"["11"]"#),
        ),
        ("products", "products", json!([{ "id": PRODUCT }]), ids(&[PRODUCT])),
        (
            "products",
            "categories",
            json!([{ "id": 1 }]),
            hop("products-below", r#"["1"]"#),
        ),
        ("products", "product_tags", by_product.clone(), ids(&[PRODUCT])),
        (
            "products",
            "tags",
            json!([{ "id": 5 }]),
            hop("products-of-tag", r#"["5"]"#),
        ),
        ("products", "reviews", by_product.clone(), ids(&[PRODUCT])),
        ("products", "order_items", by_product, ids(&[PRODUCT])),
        (
            "products",
            "orders",
            json!([{ "id": 11 }]),
            hop("products-of-order", r#"["11"]"#),
        ),
    ];
    for (index, table, rows, expected) in cases {
        assert_eq!(
            Fixture::<Shop>::new().resolve(index, table, rows)?,
            expected,
            "{table} of {index}"
        );
    }
    Ok(())
}
