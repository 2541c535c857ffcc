//! Pipelines that come, go and come again while the others run.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_with_new_tables_is_added_while_the_others_run() {
    let (house, mut tenants) = in_step(&["a", "b"], 20).await;
    let mut late = Tenant::new(&house.database, "late", 500).await;
    // An open transaction that wrote to its table before it is published: its rows must arrive, and nobody waits for it but the
    // one that comes.
    let writer = house.database.connect().await;
    writer.batch_execute("begin; insert into late.things values ('open', 'before it was published')").await.unwrap();
    late.run(house.capture(&late, ANY_LAG)).await;
    for number in 0..10 {
        let took = tenants[0].probe(&house, &format!("p{number}")).await;
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
    writer.batch_execute("commit").await.unwrap();
    write(&house, &late, 0, 500).await;
    tenants.push(late);
    for tenant in &tenants {
        tenant.equal(&house).await;
    }
    for tenant in &tenants[..2] {
        assert!(tenant.seen.passes().is_empty() && tenant.seen.errors().is_empty(), "{:?}", tenant.seen);
    }
    house.await_slots(1).await;
    for tenant in &mut tenants {
        tenant.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_stops_and_comes_again_goes_on_where_it_was() {
    let (house, mut tenants) = in_step(&["a", "b"], 20).await;
    for round in 0..3 {
        tenants[0].stop().await;
        write(&house, &tenants[0], round * 500, 500).await;
        write(&house, &tenants[1], round * 500, 500).await;
        tenants[1].equal(&house).await;
        let capture = house.capture(&tenants[0], ANY_LAG);
        tenants[0].run(capture).await;
        tenants[0].equal(&house).await;
    }
    for tenant in &tenants {
        assert!(tenant.seen.passes().is_empty(), "{}: {:?}", tenant.name, tenant.seen.passes());
    }
    assert!(tenants[1].seen.errors().is_empty(), "{:?}", tenants[1].seen.errors());
    for tenant in &mut tenants {
        tenant.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_missed_much_catches_up_on_a_copy_of_the_slot() {
    let database = Database::fresh().await;
    let mut tenants = vec![Tenant::new(&database, "a", 20).await, Tenant::new(&database, "b", 20).await];
    let house = House::on(&database, SharingOptions { rewind_within: 0, ..sharing() });
    run(&house, &mut tenants, ANY_LAG).await;
    for tenant in &tenants {
        tenant.equal(&house).await;
    }
    while tenants.iter().any(|tenant| tenant.seen.passes().is_empty()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tenants.iter().for_each(|tenant| tenant.seen.forget());
    tenants[0].stop().await;
    write(&house, &tenants[0], 0, 1000).await;
    write(&house, &tenants[1], 0, 1000).await;
    tenants[1].equal(&house).await;
    let capture = house.capture(&tenants[0], ANY_LAG);
    tenants[0].run(capture).await;
    for tenant in &tenants {
        tenant.equal(&house).await;
        assert!(tenant.seen.passes().is_empty(), "{}: {:?}", tenant.name, tenant.seen.passes());
    }
    house.await_slots(1).await;
    tenants[0].probe(&house, "again").await;
    for tenant in &mut tenants {
        tenant.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_for_a_pipeline_that_is_removed() {
    let (house, mut tenants) = in_step(&["a", "b"], 20).await;
    tenants[0].stop().await;
    write(&house, &tenants[0], 0, 200).await;
    write(&house, &tenants[1], 0, 200).await;
    tenants[1].equal(&house).await;
    house.shared.remove("a");
    house.await_confirmed().await;
    // Put back, it knows that it missed something.
    let capture = house.capture(&tenants[0], ANY_LAG);
    tenants[0].run(capture).await;
    tenants[0].equal(&house).await;
    while tenants[0].seen.passes().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(tenants[0].seen.passes(), [PassReason::LostPosition]);
    for tenant in &mut tenants {
        tenant.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_whose_table_is_refused_fails_alone() {
    let database = Database::fresh().await;
    let mut tenants = vec![Tenant::new(&database, "a", 20).await, Tenant::new(&database, "b", 20).await];
    database.connect().await.batch_execute("alter table b.things drop constraint things_pkey").await.unwrap();
    let house = House::on(&database, sharing());
    run(&house, &mut tenants, ANY_LAG).await;
    tenants[0].equal(&house).await;
    // It is not in the publication: the application's UPDATE and DELETE would fail with it there.
    let published = "select count(*)::text from pg_publication_tables where schemaname = 'b'";
    assert_eq!(house.ask(published).await, "0");
    house.sql("delete from b.things where id = '1'").await;
    house.sql("alter table b.things add primary key (id)").await;
    tenants[1].cut_off().await;
    let capture = house.capture(&tenants[1], ANY_LAG);
    tenants[1].run(capture).await;
    tenants[1].equal(&house).await;
    tenants[0].probe(&house, "p").await;
    for tenant in &mut tenants {
        tenant.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_goes_away_under_one_pipeline_stops_that_one_alone() {
    let (house, mut tenants) = in_step(&["a", "b"], 20).await;
    house.sql("drop table b.things").await;
    // Whatever follows for the shared stream: it is opened again without the table.
    house
        .sql(
            "select pg_terminate_backend(active_pid) from pg_replication_slots \
             where database = current_database() and active_pid is not null",
        )
        .await;
    write(&house, &tenants[0], 0, 500).await;
    tenants[0].equal(&house).await;
    tenants[1].cut_off().await;
    tenants[0].stop().await;
}
