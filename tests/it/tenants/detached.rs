//! A pipeline that does not keep up: its neighbours do not notice, and it catches up. With `DOCMILL_TRIAL=1` its sink is down for ten
//! minutes.

use super::*;

/// Whoever is behind gets a copy, whether its queue was full or its flow began again.
fn copies() -> SharingOptions {
    SharingOptions { rewind_within: 0, ..sharing() }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_sink_of_one_is_down_the_others_go_on_and_then_it_catches_up() {
    let (house, mut tenants) = in_step_sharing(&["a", "b", "c"], 20, copies()).await;
    tenants[0].sink_goes_down();
    // More than all its queues hold.
    write(&house, &tenants[0], 0, 5000).await;
    house.await_slots(2).await;
    // The shared slot moves on without it.
    house.await_confirmed().await;
    let down_for = Duration::from_secs(if std::env::var_os("DOCMILL_TRIAL").is_some() { 600 } else { 0 });
    let (begin, mut probes) = (Instant::now(), 0);
    while probes < 20 || begin.elapsed() < down_for {
        let took = tenants[1].probe(&house, &format!("p{probes}")).await;
        assert!(took < Duration::from_secs(2), "{took:?} after {:?}", begin.elapsed());
        write(&house, &tenants[0], 5000 + 10 * probes, 10).await;
        probes += 1;
        tokio::time::sleep(down_for / 600).await;
    }
    write(&house, &tenants[2], 0, 1000).await;
    tenants[2].equal(&house).await;
    tenants[0].sink_comes_back();
    write(&house, &tenants[0], 5000 + 10 * probes, 1000).await;
    for tenant in &tenants {
        tenant.equal(&house).await;
        assert!(tenant.seen.passes().is_empty(), "{}: {:?}", tenant.name, tenant.seen.passes());
    }
    assert!(tenants[1].seen.errors().is_empty(), "{:?}", tenants[1].seen.errors());
    // It is among the others again.
    house.await_slots(1).await;
    house.await_confirmed().await;
    tenants[0].probe(&house, "again").await;
    for tenant in &mut tenants {
        tenant.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_one_goes_by_itself_loses_nothing_and_assembles_nothing_again() {
    let (house, mut tenants) = in_step_sharing(&["a", "b"], 20, copies()).await;
    tenants[0].sink_goes_down();
    write(&house, &tenants[0], 0, 5000).await;
    house.await_slots(2).await;
    house.await_confirmed().await;
    for tenant in &mut tenants {
        tenant.cut_off().await;
    }
    let again = House::on(&house.database, copies());
    drop(house);
    write(&again, &tenants[1], 0, 300).await;
    tenants[0].sink_comes_back();
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
async fn a_pipeline_further_behind_than_max_lag_is_parked_and_returns_with_a_pass() {
    let database = Database::fresh().await;
    let mut tenants = vec![Tenant::new(&database, "a", 20).await, Tenant::new(&database, "b", 20).await];
    let house = House::on(&database, sharing());
    run(&house, &mut tenants, 4 << 20).await;
    for tenant in &tenants {
        tenant.equal(&house).await;
    }
    house.await_confirmed().await;
    while tenants.iter().any(|tenant| tenant.seen.passes().is_empty()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tenants.iter().for_each(|tenant| tenant.seen.forget());
    tenants[0].sink_goes_down();
    house.sql("create table noise (filler text); alter table noise alter filler set storage external").await;
    write(&house, &tenants[0], 0, 3000).await;
    for _ in 0..4 {
        house.sql("insert into noise select repeat('x', 8000) from generate_series(1, 300)").await;
    }
    // Nothing is kept for it any more, neither by the slot nor by a copy.
    house.await_confirmed().await;
    house.await_slots(1).await;
    house.sql("delete from a.things where id = '7'").await;
    tenants[1].probe(&house, "p").await;
    tenants[0].sink_comes_back();
    for tenant in &tenants {
        tenant.equal(&house).await;
    }
    while tenants[0].seen.passes().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(tenants[0].seen.passes(), [PassReason::LostPosition]);
    assert!(tenants[1].seen.passes().is_empty());
    for tenant in &mut tenants {
        tenant.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_is_always_behind_catches_up_again_and_again() {
    let (house, mut tenants) = in_step(&["loud", "quiet"], 20).await;
    for round in 0..6 {
        tenants[0].sink_goes_down();
        write(&house, &tenants[0], round * 2000, 2000).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        tenants[0].sink_comes_back();
        let took = tenants[1].probe(&house, &format!("p{round}")).await;
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
    for tenant in &tenants {
        tenant.equal(&house).await;
        assert!(tenant.seen.passes().is_empty(), "{}: {:?}", tenant.name, tenant.seen.passes());
    }
    house.await_slots(1).await;
    house.await_confirmed().await;
    for tenant in &mut tenants {
        tenant.stop().await;
    }
}
