//! Fault 7: the server restarted, connections ended, cut in the middle, slow. It reconnects, and nothing is lost.

use docmill::embedded::StopMode;

use super::*;
use crate::support::forward::Forward;
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
