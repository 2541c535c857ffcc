//! S7, one of 100 hostile, or loud: how long changes of the other pipelines take from commit to document while it is and while it
//! is not. The windows take turns, since no two minutes of a shared machine are alike.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::MissedTickBehavior;

use crate::figure::{Course, Figure, Meter};
use crate::ground::{Ground, Place};
use crate::machine;
use crate::support::guest;
use crate::support::postgres::connect;
use crate::system::Running;
use crate::tenants::{self, Tenants};

/// How it is asked for among systems.
pub const NAME: &str = "neighbours";

pub const SCENARIO: &str = "S7 latency of 98 quiet pipelines, 60 a second";

/// The pipelines of the shop; the last of a hundred is the hostile one.
const SHOPS: u32 = 99;
const USERS: u32 = 50;
const WINDOW: Duration = Duration::from_secs(2);
/// Of all quiet pipelines together, each a transaction, beside the probes.
const LOAD: u64 = 40;
const PROBES: u64 = 20;
/// Changes of the hostile row, each of which uses up the CPU budget of two calls.
const MISDEEDS: u64 = 10;
/// Changes of the loud pipeline, in transactions of 20.
const LOUD: u64 = 2_000;
const LOUD_AT_ONCE: u64 = 20;
/// What was begun by the hostile or the loud one is over once the process used less than that of a core for a while.
const AT_REST_CPU: f64 = 0.1;
const AT_REST_FOR: Duration = Duration::from_millis(500);
const LOOK_LEAST: Duration = Duration::from_micros(500);
const PATIENCE: Duration = Duration::from_secs(120);

/// What the hundredth, or the first, does meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    Hostile,
    Loud,
}

impl Meanwhile {
    fn name(self) -> &'static str {
        match self {
            Meanwhile::Nothing => "docmill, 100 pipelines at rest but these",
            Meanwhile::Hostile => "docmill, one of 100 pipelines hostile",
            Meanwhile::Loud => "docmill, one of 100 pipelines loud",
        }
    }
}

/// What was seen in the windows of one kind.
#[derive(Default)]
struct Seen {
    took: Vec<Duration>,
    lasted: Duration,
    cpu: [f64; 3],
    changes: u64,
}

/// For that many seconds of each kind, about; nothing is done in half of all windows.
pub async fn measure(ground: &Ground, seconds: u64) -> Vec<Figure> {
    let place = ground.bare_place("neighbours").await;
    tenants::create(&place, SHOPS, USERS).await;
    let client = connect(&place.database.url).await;
    let hostile = "create schema hostile; create table hostile.evil (id text primary key, name text not null); \
                   insert into hostile.evil select 'good-' || g, 'row ' || g from generate_series(1, 20) g; \
                   insert into hostile.evil values ('evil-1', 'row')";
    client.batch_execute(hostile).await.expect("a table");
    let pipeline = format!(
        "[pipelines.hostile]\nbuilder = \"evil.wasm\"\nschema = \"hostile\"\nindex_prefix = \"{}hostile-\"\n\
         on_rejected = \"skip\"\nconfig = {{ misdeed = \"endless loop in assemble\" }}\n\n",
        place.search.prefix
    );
    let shop = tenants::configure(&place, SHOPS, &pipeline);
    std::fs::copy(guest::built("evil").await, shop.path().join("evil.wasm")).expect("the component");
    let mut running = Tenants { docmill: shop.run(), count: SHOPS };
    tenants::live(&running.docmill, SHOPS + 1).await;
    place.settled().await;

    let mut probed = 0;
    let mut seen: [(Meanwhile, Seen); 3] =
        [Meanwhile::Nothing, Meanwhile::Hostile, Meanwhile::Loud].map(|meanwhile| (meanwhile, Seen::default()));
    // The first window pays for connections and caches.
    window(ground, &place, &running, Meanwhile::Nothing, &mut probed).await;
    at_rest(ground, &running).await;
    for _ in 0..(seconds / WINDOW.as_secs()).max(1) {
        for meanwhile in [Meanwhile::Nothing, Meanwhile::Hostile, Meanwhile::Nothing, Meanwhile::Loud] {
            let found = window(ground, &place, &running, meanwhile, &mut probed).await;
            at_rest(ground, &running).await;
            for (_, seen) in seen.iter_mut().filter(|(kind, _)| *kind == meanwhile) {
                seen.took.extend(&found.took);
                seen.lasted += found.lasted;
                seen.changes += found.changes;
                (0..3).for_each(|at| seen.cpu[at] += found.cpu[at]);
            }
        }
    }
    let rss_mib = machine::peak_memory_mib(running.docmill.pid());
    let wrong = tenants::arrived(&mut running, &place, SHOPS).await;
    assert!(running.docmill.terminate().success(), "it ends when told to");
    ground.clear(place).await;
    let figure = |(meanwhile, Seen { mut took, lasted, cpu, changes }): (Meanwhile, Seen)| {
        took.sort_unstable();
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
        let latency = Some([at(0.50), at(0.99)]);
        let course = Course { took: lasted, cpu, rss_mib };
        Figure { latency, wrong, ..Figure::new(SCENARIO, meanwhile.name(), changes, course) }
    };
    seen.into_iter().map(figure).collect()
}

/// Waits until nothing is left of the last window.
async fn at_rest(ground: &Ground, running: &Tenants) {
    let begin = Instant::now();
    loop {
        let meter = Meter::start(ground, &[running.docmill.pid()]);
        tokio::time::sleep(AT_REST_FOR).await;
        let [own, ..] = meter.used();
        if own < AT_REST_CPU * AT_REST_FOR.as_secs_f64() {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "it is never at rest: {own:.2} s of CPU in {AT_REST_FOR:?}");
    }
}

async fn window(ground: &Ground, place: &Place, running: &Tenants, meanwhile: Meanwhile, probed: &mut u64) -> Seen {
    let (meter, begin) = (Meter::start(ground, &[running.docmill.pid()]), Instant::now());
    let until = begin + WINDOW;
    let load = tokio::spawn(load(place.database.url.clone(), *probed, until));
    let disturbance = tokio::spawn(disturb(place.database.url.clone(), meanwhile, until));
    let prober = connect(&place.database.url).await;
    let probe = async |number: u64| {
        let (tenant, name) = (quiet(number), format!("probe {number}"));
        // The last user is the probes': each of them is another change of it than the one before.
        let sql = format!("update t{tenant}.users set name = $1 where id = {USERS}");
        prober.execute(&sql, &[&name]).await.expect("an update");
        let committed = Instant::now();
        let index = format!("t{tenant}-users");
        loop {
            let found = place.search.document(&index, &USERS.to_string()).await;
            if found.is_some_and(|user| user["name"] == name) {
                return committed.elapsed();
            }
            assert!(committed.elapsed() < PATIENCE, "{name} never arrives");
            tokio::time::sleep(LOOK_LEAST.max(committed.elapsed() / 20)).await;
        }
    };
    let (mut took, mut probes) = (Vec::new(), FuturesUnordered::new());
    let mut ticks = ticks(PROBES);
    while Instant::now() < until || !probes.is_empty() {
        tokio::select! {
            _ = ticks.tick(), if Instant::now() < until => {
                running.must_run();
                probes.push(probe(*probed));
                *probed += 1;
            }
            Some(waited) = probes.next() => took.push(waited),
        }
    }
    drop(probes);
    let changes = load.await.expect("the load") + disturbance.await.expect("the disturbance") + took.len() as u64;
    Seen { took, lasted: begin.elapsed(), cpu: meter.used(), changes }
}

fn ticks(a_second: u64) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 / a_second));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    ticks
}

/// Any but the first, which is the loud one.
fn quiet(number: u64) -> u64 {
    1 + number * 37 % u64::from(SHOPS - 1)
}

async fn load(url: String, salt: u64, until: Instant) -> u64 {
    let client = connect(&url).await;
    let (mut ticks, mut done) = (ticks(LOAD), 0);
    while Instant::now() < until {
        ticks.tick().await;
        done += 1;
        let (tenant, id) = (quiet(done + salt), 1 + done * 7919 % u64::from(USERS - 1));
        let sql = format!("update t{tenant}.users set name = 'load {salt} {done}' where id = {id}");
        client.batch_execute(&sql).await.expect("an update");
    }
    done
}

async fn disturb(url: String, meanwhile: Meanwhile, until: Instant) -> u64 {
    let client = connect(&url).await;
    let (a_second, at_once) = match meanwhile {
        Meanwhile::Nothing => return 0,
        Meanwhile::Hostile => (MISDEEDS, 1),
        Meanwhile::Loud => (LOUD / LOUD_AT_ONCE, LOUD_AT_ONCE),
    };
    let (mut ticks, mut done) = (ticks(a_second), 0);
    while Instant::now() < until {
        ticks.tick().await;
        done += at_once;
        let sql = match meanwhile {
            Meanwhile::Loud => format!("update t0.users set name = 'loud {done}' where id <= {at_once}"),
            _ => format!("update hostile.evil set name = 'row {done}' where id = 'evil-1'"),
        };
        client.batch_execute(&sql).await.expect("an update");
    }
    done
}
