//! Two processes on one slot: the second waits, and takes over when the first is gone.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_second_process_says_that_it_waits_and_takes_over_when_the_first_ends() {
    let scene = Scene::shared("").await;
    let second = scene.shop.again();
    let first = scene.in_step().await;
    let second = second.run();
    second.await_status("waiting_on", "slot in use", PATIENCE).await;
    scene.run(&changes(1)).await;
    scene.equal().await;
    assert!(first.is_running() && second.is_running());
    first.kill();
    scene.run(&changes(2)).await;
    second.await_live(PATIENCE).await;
    scene.equal().await;
    assert!(second.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_started_at_once_on_an_empty_source_are_one_that_runs_and_one_that_waits() {
    let scene = Scene::shared("").await;
    let again = scene.shop.again();
    let (first, second) = (scene.shop.run(), again.run());
    scene.equal().await;
    scene.run(&changes(1)).await;
    scene.equal().await;
    assert!(first.is_running(), "{}", first.log());
    assert!(second.is_running(), "{}", second.log());
    let status = (first.status().await.unwrap_or_default(), second.status().await.unwrap_or_default());
    let waiting = [&status.0, &status.1].iter().filter(|status| status["waiting_on"] == "slot in use").count();
    assert_eq!(waiting, 1, "{status:?}");
    first.kill();
    second.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stands_still_loses_the_slot_to_the_second_and_writes_nothing_when_it_goes_on() {
    let cluster = Cluster::start(&[("wal_sender_timeout", "2s")]).await;
    let scene = Scene::of(&cluster, "").await;
    let first = scene.in_step().await;
    let again = scene.shop.again();
    let second = again.run();
    second.await_status("waiting_on", "slot in use", PATIENCE).await;
    first.freeze();
    // Held by the frozen one when it was cut: it comes to the second.
    scene.run(&changes(1)).await;
    second.await_live(PATIENCE).await;
    scene.equal().await;
    first.thaw();
    scene.run(&changes(2)).await;
    scene.equal().await;
    // It either waits for the slot or has noticed that the state has another owner; it is not in the way.
    let noticed = async {
        while first.is_running() && first.status().await.is_none_or(|status| status["waiting_on"] != "slot in use") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, noticed).await.unwrap_or_else(|_| panic!("it goes on: {}", first.log()));
    scene.run(&changes(3)).await;
    scene.equal().await;
    assert!(second.is_running(), "{}", second.log());
    first.kill();
    assert!(second.terminate().success());
}
