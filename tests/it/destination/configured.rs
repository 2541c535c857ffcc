//! Rule R7, the configuration: a pipeline that was taken out of it and is put back has missed nothing, whatever became of its slot.

use crate::support::command::Shop;
use crate::support::opensearch::OpenSearch;
use crate::support::postgres::{Database, until_true};
use crate::support::shop::{self, await_equal};
use crate::support::stand::PATIENCE;

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_taken_out_of_the_configuration_and_put_back_misses_nothing() {
    let database = Database::fresh().await;
    shop::create(&database, 40, 15).await;
    let (search, second) = (OpenSearch::fresh().await, OpenSearch::fresh().await);
    let slot = format!("docmill_{}_second", database.name);
    let block = format!(
        "[pipelines.second]\nbuilder = \"shop.wasm\"\nslot = \"{slot}\"\nindex_prefix = \"{}\"\nlate_window = \"1s\"\n",
        second.prefix
    );
    let both = Shop::new(&database, &search, &format!("late_window = \"1s\"\n\n{block}"));
    let client = database.connect().await;
    let run = both.run();
    await_equal(&database, &search, PATIENCE).await;
    await_equal(&database, &second, PATIENCE).await;
    assert!(run.terminate().success());

    for slot_goes in [false, true] {
        both.configure(&block, "");
        let run = both.run();
        let changes = "update users set name = name || '!' where id % 3 = 0; delete from users where id % 10 = 1; \
                       delete from reviews where id % 2 = 0; update products set name = name || '!'";
        client.batch_execute(changes).await.expect("changes");
        await_equal(&database, &search, PATIENCE).await;
        assert!(run.terminate().success());
        if slot_goes {
            // Nobody reads it, and somebody wants the log that it keeps.
            client.batch_execute(&format!("select pg_drop_replication_slot('{slot}')")).await.expect("it is dropped");
        }
        both.configure("\n\n[server]", &format!("\n\n{block}\n\n[server]"));
        let run = both.run();
        await_equal(&database, &second, PATIENCE).await;
        client.batch_execute("update users set name = 'put back' where id = 2").await.expect("a change");
        await_equal(&database, &second, PATIENCE).await;
        await_equal(&database, &search, PATIENCE).await;
        until_true(&client, &format!("select active from pg_replication_slots where slot_name = '{slot}'")).await;
        assert!(run.terminate().success());
    }
}
