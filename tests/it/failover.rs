//! Another server than before under the same name, with the real binary: promoted standbys (up to date, behind, twice), copies
//! that were put back, an old primary that is still there. Every test ends in "index equals `documents.sql`" of the new one.

mod promoted;
mod put_back;

use super::slots::{PATIENCE, Scene, changes};
use super::support::cluster::Cluster;
use super::support::forward::Forward;
use super::support::postgres::Database;
use super::support::shop;

/// A shop on `cluster` that docmill reaches through a port that can be turned elsewhere.
async fn scene(cluster: &Cluster, more: &str) -> (Scene, Forward) {
    let database = cluster.database();
    shop::create(&database, 20, 10).await;
    let forward = Forward::to(cluster.port()).await;
    let through = Database { name: database.name.clone(), url: forward.url(&database.url) };
    let mut scene = Scene::of_shop_in(through, more).await;
    // The test itself knows where it writes.
    scene.database = database;
    (scene, forward)
}

/// From now on it is `cluster` that docmill reaches, and that the index is compared with.
fn turn(scene: &mut Scene, forward: &Forward, cluster: &Cluster) {
    scene.database = cluster.database();
    forward.turn(cluster.port());
}
