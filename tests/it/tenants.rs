//! Pipelines that share one source: one slot, one decode, and nobody holds up a neighbour.

use std::time::{Duration, Instant};

use docmill::model::PassReason;
use docmill::tenants::SharingOptions;

use crate::support::house::{House, Tenant};
use crate::support::postgres::Database;

mod coming;
mod detached;
mod streams;
mod together;

/// Small, so that a test fills every queue in a moment.
fn sharing() -> SharingOptions {
    SharingOptions {
        gather_for: Duration::from_secs(5),
        detach_after: Duration::from_millis(300),
        park_after: Duration::from_secs(2),
        queue_events_max: 64,
        idle_every: Duration::from_millis(200),
        idle_every_more: Duration::ZERO,
        reopen_every: Duration::from_millis(500),
        ..SharingOptions::default()
    }
}

/// Nothing is too far behind.
const ANY_LAG: u64 = u64::MAX;

/// Pipelines of these names, in step.
async fn in_step(names: &[&str], rows: u32) -> (House, Vec<Tenant>) {
    in_step_sharing(names, rows, sharing()).await
}

async fn in_step_sharing(names: &[&str], rows: u32, sharing: SharingOptions) -> (House, Vec<Tenant>) {
    let database = Database::fresh().await;
    let mut tenants = Vec::new();
    for name in names {
        tenants.push(Tenant::new(&database, name, rows).await);
    }
    let house = House::on(&database, sharing);
    run(&house, &mut tenants, ANY_LAG).await;
    for tenant in &tenants {
        tenant.equal(&house).await;
    }
    // The end of a backfill is on record a moment after its last document.
    while tenants.iter().any(|tenant| tenant.seen.passes().is_empty()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    house.await_confirmed().await;
    tenants.iter().for_each(|tenant| tenant.seen.forget());
    (house, tenants)
}

/// Starts them together, as one process does.
async fn run(house: &House, tenants: &mut [Tenant], max_lag: u64) {
    let captures: Vec<_> = tenants.iter().map(|tenant| house.capture(tenant, max_lag)).collect();
    for (tenant, capture) in tenants.iter_mut().zip(captures) {
        tenant.run(capture).await;
    }
}

/// That many new rows of a pipeline, in transactions of a hundred.
async fn write(house: &House, tenant: &Tenant, from: u32, rows: u32) {
    let client = house.database.connect().await;
    for first in (from..from + rows).step_by(100) {
        let last = (first + 99).min(from + rows - 1);
        let sql = format!(
            "insert into {}.things select 'n' || g, 'new ' || g from generate_series({first}, {last}) g",
            tenant.name
        );
        client.batch_execute(&sql).await.expect("rows");
    }
}
