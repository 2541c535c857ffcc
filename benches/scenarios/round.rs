//! A round: what is measured once, scenario by scenario.

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use crate::arguments::{Run, Scenario};
use crate::engine::Kind;
use crate::figure::Figure;
use crate::ground::{Ground, Rows};
use crate::limits::{load, perfect, slot};
use crate::scenario::{ALL_ORDERS, BACKFILL, BACKFILL_NULL, CHILDREN, Changes, ROOTS, ROOTS_OF_100};
use crate::system::System;
use crate::{latency, scenario, table};

/// The engine as a library, with each builder and each sink.
const LIBRARY: System = System::Engine(Kind { native: false, null_sink: false });
const NATIVE: System = System::Engine(Kind { native: true, null_sink: false });
const LIBRARY_NULL: System = System::Engine(Kind { native: false, null_sink: true });
const NATIVE_NULL: System = System::Engine(Kind { native: true, null_sink: true });

/// One figure, not begun yet.
pub type Measurement<'a> = LocalBoxFuture<'a, Figure>;

/// How much work.
pub struct Sizes {
    pub users: u32,
    pub changes: u32,
    /// Of what a slower system needs minutes for.
    pub changes_of_peers: u32,
    /// Of load where latency is measured.
    pub seconds: u64,
    pub growth: usize,
    /// Where one change leads to many.
    pub products: u32,
}

/// Who is measured.
pub struct Systems {
    pub docmill: Vec<System>,
    pub peers: Vec<System>,
}

/// On what.
#[derive(Clone, Copy)]
pub struct Round<'a> {
    pub run: &'a Run,
    pub sizes: &'a Sizes,
    pub systems: &'a Systems,
    pub ground: &'a Ground,
    pub rows: &'a Rows,
    /// From 1. In even ones the last system is first, so that none always has what another leaves behind; peers are measured
    /// in the first alone, since they differ by far more than rounds do.
    pub number: u32,
}

impl<'a> Round<'a> {
    /// Everything that is wanted, in order.
    pub fn measurements(self) -> Vec<Measurement<'a>> {
        let Self { run, sizes, systems, ground, rows, .. } = self;
        let mut all = Vec::new();
        let sandbox = run.wants(Scenario::Sandbox);
        if run.wants(Scenario::Backfill) || sandbox {
            let limits = self.limits(vec![
                (table::BARE_LOAD, load::backfill(ground, rows).boxed_local()),
                (table::PERFECT, perfect::backfill(ground, rows).boxed_local()),
            ]);
            let library = if sandbox { &[NATIVE, LIBRARY][..] } else { &[] };
            let own = [&systems.docmill[..], library, &systems.peers].concat();
            all.extend(self.beside(limits, self.of(own, |system| scenario::backfill(ground, rows, system, BACKFILL))));
            let limits = self.limits(vec![(table::BARE_READ, perfect::read(ground, rows).boxed_local())]);
            let own = if sandbox { vec![LIBRARY_NULL, NATIVE_NULL] } else { vec![LIBRARY_NULL] };
            let own = self.of(own, |system| scenario::backfill(ground, rows, system, BACKFILL_NULL));
            all.extend(self.beside(limits, own));
        }
        let kinds = [(Scenario::Roots, ROOTS), (Scenario::Roots, ROOTS_OF_100), (Scenario::Children, CHILDREN)];
        let wanted = kinds.map(|(of, changes)| (run.wants(of) || sandbox && changes.is_single()).then_some(changes));
        let mut limits = Vec::new();
        if wanted.iter().any(Option::is_some) {
            limits.push((table::BARE_UPDATES, load::updates(ground, rows).boxed_local()));
        }
        if run.wants(Scenario::Roots) {
            limits.push((table::RAW_SLOT, slot::drain(ground, rows, sizes.changes).boxed_local()));
            limits.push((table::BARE_READ, perfect::read_changed(ground, rows, sizes.changes).boxed_local()));
        }
        let mut updates = Vec::new();
        for changes in wanted.into_iter().flatten().filter(|changes| changes.is_single() || !run.quick) {
            updates.extend(self.of(self.takers(&changes, sandbox), move |system| {
                let count = if systems.peers.contains(&system) { sizes.changes_of_peers } else { sizes.changes };
                scenario::updates(ground, rows, system, changes, count)
            }));
        }
        all.extend(self.beside(self.limits(limits), updates));
        if run.wants(Scenario::Latency) {
            let own = [&systems.docmill[..], &systems.peers].concat();
            all.extend(self.of(own, |system| latency::measure(ground, rows, system, sizes.seconds)));
        }
        if run.wants(Scenario::Transaction) {
            let orders = rows.users * 5;
            let own = systems.docmill.clone();
            all.extend(self.of(own, |system| scenario::updates(ground, rows, system, ALL_ORDERS, orders)));
        }
        all
    }

    /// Who takes these changes. Peers make no difference between one and a hundred of them in a transaction.
    fn takers(self, changes: &Changes, sandbox: bool) -> Vec<System> {
        let mut takers = self.systems.docmill.clone();
        if changes.is_single() {
            takers.push(LIBRARY_NULL);
            takers.extend(sandbox.then_some(NATIVE_NULL));
            takers.extend(&self.systems.peers);
        }
        takers
    }

    fn limits(self, limits: Vec<(&str, Measurement<'a>)>) -> Vec<Measurement<'a>> {
        let wanted = limits.into_iter().filter(|(name, _)| self.run.wants_system(name));
        wanted.map(|(_, measurement)| measurement).collect()
    }

    /// Limits in front of what is measured against them, and behind it in even rounds.
    fn beside(self, limits: Vec<Measurement<'a>>, others: Vec<Measurement<'a>>) -> Vec<Measurement<'a>> {
        let (first, last) = if self.number.is_multiple_of(2) { (others, limits) } else { (limits, others) };
        first.into_iter().chain(last).collect()
    }

    fn of<F: Future<Output = Figure> + 'a>(
        self,
        mut systems: Vec<System>,
        measure: impl Fn(System) -> F,
    ) -> Vec<Measurement<'a>> {
        systems.retain(|system| self.run.wants_system(system.name()));
        if self.number > 1 {
            systems.retain(|system| !self.systems.peers.contains(system));
        }
        if self.number.is_multiple_of(2) {
            systems.reverse();
        }
        if self.run.quick {
            // One round has no other of the same to be told apart from.
            systems.extend(
                self.systems.docmill.iter().filter(|again| systems.contains(again)).copied().collect::<Vec<_>>(),
            );
        }
        systems.into_iter().map(|system| measure(system).boxed_local()).collect()
    }
}
