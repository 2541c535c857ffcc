//! ALTER TABLE and other tables under the name.

use super::follows;

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_comes_back_with_a_default_is_noticed() {
    follows(
        "",
        &["alter table orders drop column note, add column note text default 'while running'"],
        &["alter table orders drop column note, add column note text default 'while stopped'"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_change_their_names_among_each_other_are_noticed() {
    let swap = "begin; alter table users rename column name to other; alter table users rename column email to name; \
                alter table users rename column other to email; commit";
    follows("", &[swap], &[swap]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_changed_by_an_expression_is_noticed_even_where_it_is_the_same_type() {
    // Junction rows are so narrow that their table has no other table for long values.
    let narrow =
        "alter table product_tags alter tag_id type int using case tag_id when 1 then 2 when 2 then 1 else tag_id end";
    follows(
        "alter table reviews drop constraint reviews_stars_check",
        &["alter table orders alter status type text using upper(status)", narrow],
        &["alter table orders alter status type text using lower(status)", narrow],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_renamed_away_and_made_again_is_noticed() {
    let again = |stars: u32, name: &str| {
        format!(
            "begin; alter table reviews rename to {name}; create table reviews (like {name} including constraints); \
             alter table reviews add primary key (id), replica identity full; \
             insert into reviews select id, product_id, user_id, {stars}, body from {name}; commit"
        )
    };
    follows("", &[&again(1, "first")], &[&again(2, "second")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_say_less_than_their_keys_make_a_pass() {
    // Reviews move to other products, and go, and their old rows do not say from which.
    let moved = "update reviews set product_id = (select max(id::text)::uuid from products) where id % 3 = 0; \
                 delete from reviews where id % 3 = 1";
    let lost = format!("alter table reviews replica identity default; {moved}");
    // Mended before anybody looks: only the stream tells.
    let mended = format!(
        "insert into reviews select 100 + g, (select id from products limit 1 offset g % 9), null, 4, '' \
         from generate_series(1, 30) g; alter table reviews replica identity default; {moved}; \
         alter table reviews replica identity using index reviews_identity"
    );
    let mend = "alter table reviews replica identity using index reviews_identity";
    follows(
        "",
        &[&lost, "delete from reviews where id % 3 = 2 and id > 10", mend, &mended],
        &[&mended.replace("100 +", "200 +")],
    )
    .await;
}
