//! Fault 7: the server restarted, connections ended, cut in the middle, slow. It reconnects, and nothing is lost.

use std::time::Instant;

use docmill::embedded::StopMode;

use super::*;
use crate::support::forward::Forward;
use crate::support::http::Fault;
use crate::support::stand::Stand;
use crate::support::writers::{Load, Writers};

#[tokio::test(flavor = "multi_thread")]
async fn restarts_ended_sessions_and_cut_connections_under_load_lose_nothing() {
    let mut cluster = Cluster::start(&[]).await;
    let database = cluster.database();
    shop::create(&database, 20, 10).await;
    let forward = Forward::to(cluster.port()).await;
    let through = Database { name: database.name.clone(), url: forward.url(&database.url) };
    let mut scene = Scene::of_shop_in(through, "").await;
    let docmill = scene.in_step().await;
    scene.database = database.clone();
    let load = Load { writers: 2, seed: 7, users: 20, products: 10, pause: Duration::from_millis(3) };
    let ended =
        "select count(pg_terminate_backend(pid))::text from pg_stat_activity where application_name = 'docmill'";
    for round in 0..6 {
        let writers = Writers::start(&database, &load);
        tokio::time::sleep(Duration::from_millis(250)).await;
        match round {
            0 | 3 => drop(scene.ask(ended).await),
            // In the middle of whatever is on its way.
            1 | 4 => forward.turn(cluster.port()),
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
        writers.stop().await;
        match round {
            2 => cluster.restart(StopMode::Fast).await,
            5 => cluster.restart(StopMode::Immediate).await,
            _ => {}
        }
        scene.run(&changes(round + 1)).await;
    }
    scene.equal().await;
    assert!(docmill.terminate().success());
}

/// A server that is shut down waits until whoever holds a walsender has confirmed what it was sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_of_the_source_is_not_held_up_by_what_cannot_be_confirmed() {
    let mut cluster = Cluster::start(&[]).await;
    let stand = Stand::of(cluster.database(), OpenSearch::fresh().await, 400, 10).await;
    let window = Duration::from_secs(2);
    let shop = stand.command(window, "batch = { max_changes = 20 }\nqueue_capacity = 50");
    let docmill = shop.run();
    stand.in_step(&docmill).await;
    stand.proxy.server().fail_always(|call| !call.items().is_empty(), Fault::Silence);
    // A few, so that it waits for more; and more than may be under way, so that it asks for none.
    for changed in ["id = 7", "id > 0"] {
        stand.sql(&format!("update users set name = 'waits ' || name where {changed}")).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        // It fails when the server has not ended by itself in a minute.
        cluster.restart(StopMode::Fast).await;
    }
    let active = "select (count(*) = 1)::text from pg_replication_slots where active";
    stand.until("the stream is open again", async || stand.ask(active).await == "true").await;
    // Told to end, it holds the stream for what is still to be written.
    let ending = tokio::task::spawn_blocking(move || docmill.terminate());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begin = Instant::now();
    cluster.restart(StopMode::Fast).await;
    // It would let go by itself after 30 s, when it gives up what it drains.
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    stand.proxy.heal();
    ending.await.expect("it ends");
    let docmill = shop.run();
    docmill.await_live(PATIENCE).await;
    stand.equal().await;
    assert!(docmill.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_network_only_takes_longer() {
    let cluster = Cluster::start(&[]).await;
    let database = cluster.database();
    shop::create(&database, 20, 10).await;
    let forward = Forward::to(cluster.port()).await;
    forward.slow(Duration::from_millis(15));
    let through = Database { name: database.name.clone(), url: forward.url(&database.url) };
    let mut scene = Scene::of_shop_in(through, "").await;
    // The oracle need not wait for it.
    scene.database = database;
    let docmill = scene.in_step().await;
    for n in 1..4 {
        scene.run(&changes(n)).await;
    }
    scene.equal().await;
    assert!(docmill.terminate().success());
}
