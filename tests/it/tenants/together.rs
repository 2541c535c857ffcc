//! What pipelines have in common, and what each has for itself.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn pipelines_of_one_source_share_one_slot_and_each_is_given_its_own_changes() {
    let (house, mut tenants) = in_step(&["a", "b", "c"], 50).await;
    assert_eq!(house.slots().await.len(), 1);
    // One walsender for all of them.
    let senders = "select count(*)::text from pg_stat_replication where application_name = 'docmill' \
                   and pid in (select active_pid from pg_replication_slots where database = current_database())";
    assert_eq!(house.ask(senders).await, "1");
    for (place, tenant) in tenants.iter().enumerate() {
        write(&house, tenant, 0, 300 * (place as u32 + 1)).await;
        house.sql(&format!("delete from {}.things where id in ('1', '2')", tenant.name)).await;
    }
    for tenant in &tenants {
        tenant.equal(&house).await;
        assert!(tenant.seen.passes().is_empty() && tenant.seen.errors().is_empty(), "{:?}", tenant.seen);
    }
    house.await_confirmed().await;
    for tenant in &mut tenants {
        tenant.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelines_that_log_in_alike_use_the_same_read_connections_each_in_its_own_schema() {
    let database = Database::fresh().await;
    let mut tenants = Vec::new();
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        tenants.push(Tenant::new(&database, name, 20).await);
    }
    let house = House::reading(&database, sharing(), 3);
    run(&house, &mut tenants, ANY_LAG).await;
    for tenant in &tenants {
        tenant.equal(&house).await;
    }
    // The last statement of each is the one that cleans it.
    let readers = "select coalesce(string_agg(pid::text, ' ' order by pid), '') from pg_stat_activity \
                   where datname = current_database() and state = 'idle' and query like 'rollback; close all;%'";
    let before = house.ask(readers).await;
    assert!((1..=3).contains(&before.split_whitespace().count()), "{before}");
    for round in 0..3 {
        for tenant in &tenants {
            tenant.probe(&house, &format!("p{round}")).await;
        }
    }
    for tenant in &tenants {
        tenant.equal(&house).await;
        assert!(tenant.seen.errors().is_empty(), "{:?}", tenant.seen);
    }
    let after = house.ask(readers).await;
    let kept = before.split_whitespace().filter(|pid| after.split_whitespace().any(|other| other == *pid)).count();
    assert_eq!(kept, before.split_whitespace().count(), "{before} before, {after} after");
    for tenant in &mut tenants {
        tenant.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_at_the_fence_is_told_to_those_whom_it_concerns() {
    let (house, mut tenants) = in_step(&["a", "b"], 20).await;
    for tenant in &tenants {
        tenant.equal(&house).await;
    }
    house.await_confirmed().await;
    let fences = |tenants: &[Tenant]| tenants.iter().map(|tenant| tenant.seen.fences()).collect::<Vec<_>>();
    let before = fences(&tenants);
    for round in 0..20 {
        tenants[0].probe(&house, &format!("p{round}")).await;
    }
    tenants[0].equal(&house).await;
    let after = fences(&tenants);
    assert!(after[0] > before[0], "{before:?} {after:?}");
    assert_eq!(after[1], before[1], "transactions of another pipeline");
    for tenant in &mut tenants {
        tenant.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_several_pipelines_is_decoded_once_and_given_to_each() {
    let database = Database::fresh().await;
    let mut tenants = vec![Tenant::new(&database, "a", 20).await, Tenant::new(&database, "b", 0).await];
    // The rows of both are in one table.
    database.connect().await.batch_execute("drop table b.things; create view b.unused as select 1").await.unwrap();
    let house = House::on(&database, sharing());
    tenants[1].name = "a".to_owned();
    let first = house.capture(&tenants[0], ANY_LAG);
    // Under the schema of the first and a name of its own.
    let rows = docmill::postgres::PostgresTenant::new(house.postgres(), house.options("a")).unwrap();
    let second = house.shared.tenant("b", ANY_LAG, rows);
    tenants[0].run(first).await;
    tenants[1].run(second).await;
    write(&house, &tenants[0], 0, 500).await;
    for tenant in &tenants {
        tenant.equal(&house).await;
    }
    for tenant in &mut tenants {
        tenant.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_all_goes_on_where_each_was() {
    let (house, mut tenants) = in_step(&["a", "b", "c"], 50).await;
    write(&house, &tenants[0], 0, 1000).await;
    for tenant in &tenants {
        tenant.equal(&house).await;
    }
    // One after the other, with changes of the others in between.
    tenants[1].stop().await;
    write(&house, &tenants[0], 1000, 1000).await;
    write(&house, &tenants[1], 0, 100).await;
    tenants[0].equal(&house).await;
    tenants[0].stop().await;
    tenants[2].stop().await;
    write(&house, &tenants[2], 0, 100).await;
    let again = House::on(&house.database, sharing());
    drop(house);
    run(&again, &mut tenants, ANY_LAG).await;
    for tenant in &tenants {
        tenant.equal(&again).await;
        assert!(tenant.seen.passes().is_empty(), "{}: {:?}", tenant.name, tenant.seen.passes());
    }
    again.await_slots(1).await;
    for tenant in &mut tenants {
        tenant.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_pipeline_holds_back_neither_the_slot_nor_its_neighbours() {
    let (house, mut tenants) = in_step(&["loud", "q1", "q2", "q3", "q4"], 10).await;
    write(&house, &tenants[0], 0, 5000).await;
    house.await_confirmed().await;
    for tenant in &tenants[1..] {
        let took = tenant.probe(&house, "p").await;
        println!("{}: {took:?}", tenant.name);
        assert!(tenant.seen.passes().is_empty());
    }
    tenants[0].equal(&house).await;
    for tenant in &mut tenants {
        tenant.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_is_opened_again_for_all_of_them() {
    let (house, mut tenants) = in_step(&["a", "b", "c"], 20).await;
    for round in 0..3 {
        house
            .sql(
                "select pg_terminate_backend(active_pid) from pg_replication_slots \
                 where database = current_database() and active_pid is not null",
            )
            .await;
        for tenant in &tenants {
            write(&house, tenant, round * 200, 200).await;
        }
        for tenant in &tenants {
            tenant.equal(&house).await;
        }
    }
    for tenant in &mut tenants {
        assert!(tenant.seen.passes().is_empty(), "{}: {:?}", tenant.name, tenant.seen.passes());
        tenant.stop().await;
    }
}
