//! [`FairShare`]: a few permits among many tenants, so that none of them can hold up the others.
//!
//! Which tenant a free permit goes to:
//!
//! 1. To the waiting tenant that holds the fewest; among equals to the one that has waited longest. A tenant's own waits are
//!    answered in their order.
//! 2. Where there are several tenants, the last few permits ([`Shares::reserved`]) go only to those that hold none: a newcomer need
//!    not wait until a call of somebody else ends, however many the others hold.
//! 3. A tenant that holds its part ([`Shares::part`]) gets more only while no other one holds or waits. So whoever works
//!    alone has all but the reserve, and falls back to its part when others begin, as its permits come back.
//!
//! What is held is never taken back: a permit is kept for as long as its holder needs it, so holders need a limit of their own.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// How permits are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// All permits; at least 1.
    pub capacity: usize,
    /// What one tenant holds at most while others hold or wait; at least 1.
    pub part: usize,
    /// Permits that go only to tenants that hold none, where there are several tenants; fewer than `capacity`.
    pub reserved: usize,
}

impl Shares {
    /// Half of `capacity` for one tenant beside others, an eighth (at least one, where there are two) for newcomers.
    pub fn of(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self { capacity, part: (capacity / 2).max(1), reserved: (capacity / 8).max(1).min(capacity - 1) }
    }

    fn in_range(self) -> Self {
        let capacity = self.capacity.max(1);
        Self { capacity, part: self.part.max(1), reserved: self.reserved.min(capacity - 1) }
    }
}

/// See the module.
#[derive(Clone)]
pub struct FairShare(Arc<Mutex<State>>);

impl FairShare {
    /// Shares with nothing held. What is out of range is moved into it.
    pub fn new(shares: Shares) -> Self {
        Self(Arc::new(Mutex::new(State { shares: shares.in_range(), held: 0, turn: 0, tenants: HashMap::new() })))
    }

    /// From now on they are divided so. What is held beyond it is handed out no more when it comes back.
    pub fn set(&self, shares: Shares) {
        let mut state = self.state();
        state.shares = shares.in_range();
        self.give(&mut state);
    }

    /// How many are held.
    pub fn held(&self) -> usize {
        self.state().held
    }

    /// Whether nobody who holds some could have one more.
    pub fn is_used_up(&self) -> bool {
        let state = self.state();
        state.free() <= state.reserved()
    }

    /// The tenant of that name. Handles of one name are one tenant.
    pub fn tenant(&self, name: &str) -> Tenant {
        let name: Arc<str> = name.into();
        self.state().tenants.entry(Arc::clone(&name)).or_default().handles += 1;
        Tenant { share: self.clone(), name }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands out what can be handed out.
    fn give(&self, state: &mut State) {
        while let Some(name) = state.next() {
            let Some(tenant) = state.tenants.get_mut(&name) else { return };
            let Some(wait) = tenant.waiting.pop_front() else { return };
            let permit = Permit { share: self.clone(), tenant: Arc::clone(&name), counted: true };
            match wait.answer.send(permit) {
                Ok(()) => {
                    tenant.held += 1;
                    state.held += 1;
                }
                // Who waited is gone; its permit was never counted, and the lock is ours.
                Err(mut permit) => {
                    permit.counted = false;
                    state.forget(&name);
                }
            }
        }
    }
}

impl fmt::Debug for FairShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        let (shares, held, tenants) = (state.shares, state.held, state.tenants.len());
        f.debug_struct("FairShare").field("shares", &shares).field("held", &held).field("tenants", &tenants).finish()
    }
}

/// One tenant of a [`FairShare`].
#[derive(Debug)]
pub struct Tenant {
    share: FairShare,
    name: Arc<str>,
}

impl Tenant {
    /// Waits for a permit. When the future is dropped, the wait ends and nothing is lost.
    pub async fn acquire(&self) -> Permit {
        let permit = {
            let mut state = self.share.state();
            let turn = state.turn;
            state.turn += 1;
            let (answer, permit) = oneshot::channel();
            let tenant = state.tenants.entry(Arc::clone(&self.name)).or_default();
            // Waits that were given up would pile up while nothing is free.
            tenant.waiting.retain(|wait| !wait.answer.is_closed());
            tenant.waiting.push_back(Wait { turn, answer });
            self.share.give(&mut state);
            permit
        };
        match permit.await {
            Ok(permit) => permit,
            // The state outlives this handle and drops no wait unanswered unless its receiver is closed.
            Err(_) => unreachable!("a wait is answered while its tenant has a handle"),
        }
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        let mut state = self.share.state();
        if let Some(tenant) = state.tenants.get_mut(&self.name) {
            tenant.handles -= 1;
        }
        state.forget(&self.name);
    }
}

/// A permit. Dropped, it goes to who is next.
#[derive(Debug)]
pub struct Permit {
    share: FairShare,
    tenant: Arc<str>,
    counted: bool,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.counted {
            return;
        }
        let mut state = self.share.state();
        state.held -= 1;
        if let Some(tenant) = state.tenants.get_mut(&self.tenant) {
            tenant.held -= 1;
        }
        state.forget(&self.tenant);
        self.share.give(&mut state);
    }
}

struct State {
    shares: Shares,
    held: usize,
    /// Of the next wait.
    turn: u64,
    tenants: HashMap<Arc<str>, Standing>,
}

/// How a tenant stands.
#[derive(Default)]
struct Standing {
    handles: usize,
    held: usize,
    waiting: VecDeque<Wait>,
}

struct Wait {
    turn: u64,
    answer: oneshot::Sender<Permit>,
}

impl State {
    fn free(&self) -> usize {
        self.shares.capacity.saturating_sub(self.held)
    }

    fn reserved(&self) -> usize {
        if self.tenants.len() > 1 { self.shares.reserved } else { 0 }
    }

    /// Who gets a permit now, if anybody does. When the tenant that holds the fewest may have none, nobody may.
    fn next(&self) -> Option<Arc<str>> {
        let waiting =
            self.tenants.iter().filter_map(|(name, tenant)| Some((tenant, tenant.waiting.front()?.turn, name)));
        let (tenant, _, name) = waiting.min_by_key(|(tenant, turn, _)| (tenant.held, *turn))?;
        self.may(name, tenant.held).then(|| Arc::clone(name))
    }

    fn may(&self, name: &str, held: usize) -> bool {
        let alone = || self.tenants.iter().all(|(other, tenant)| **other == *name || tenant.idle());
        match held {
            0 => self.free() > 0,
            held if held < self.shares.part => self.free() > self.reserved(),
            _ => self.free() > self.reserved() && alone(),
        }
    }

    /// Names come and go with pipelines.
    fn forget(&mut self, name: &str) {
        if self.tenants.get(name).is_some_and(|tenant| tenant.handles == 0 && tenant.idle()) {
            self.tenants.remove(name);
        }
    }
}

impl Standing {
    fn idle(&self) -> bool {
        self.held == 0 && self.waiting.iter().all(|wait| wait.answer.is_closed())
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use proptest::prelude::*;

    use super::*;

    type Acquiring<'t> = Pin<Box<dyn Future<Output = Permit> + Send + 't>>;

    /// The permit, if it is there at once.
    fn now(acquiring: &mut Acquiring<'_>) -> Option<Permit> {
        match acquiring.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => None,
        }
    }

    fn begun(tenant: &Tenant) -> Acquiring<'_> {
        Box::pin(tenant.acquire())
    }

    fn taken(tenant: &Tenant) -> Option<Permit> {
        now(&mut begun(tenant))
    }

    /// As many as it gets.
    fn all(tenant: &Tenant) -> Vec<Permit> {
        std::iter::from_fn(|| taken(tenant)).collect()
    }

    #[test]
    fn one_alone_has_all_but_the_reserve_and_a_newcomer_never_waits_for_it() {
        let share = FairShare::new(Shares::of(16));
        let (hog, newcomer, another) = (share.tenant("hog"), share.tenant("newcomer"), share.tenant("another"));
        assert_eq!(all(&hog).len(), 14);
        let held = all(&hog);
        assert_eq!(held.len(), 14);
        let (first, second) = (taken(&newcomer), taken(&another));
        assert!(first.is_some() && second.is_some());
        assert!(taken(&newcomer).is_none(), "the reserve is for those that hold none");
    }

    #[test]
    fn beside_others_a_tenant_keeps_to_its_part() {
        let share = FairShare::new(Shares::of(16));
        let (one, other) = (share.tenant("one"), share.tenant("other"));
        let held = taken(&other);
        assert_eq!(all(&one).len(), 8);
        drop(held);
        assert_eq!(all(&one).len(), 14);
    }

    #[test]
    fn a_free_permit_goes_to_the_tenant_with_the_fewest_and_among_equals_to_the_first() {
        let share = FairShare::new(Shares { capacity: 3, part: 3, reserved: 0 });
        let (loud, quiet, late) = (share.tenant("loud"), share.tenant("quiet"), share.tenant("late"));
        let mut held = all(&loud);
        assert_eq!(held.len(), 3);
        let (mut again, mut once) = (begun(&loud), begun(&quiet));
        let (mut twice, mut last) = (begun(&quiet), begun(&late));
        assert!([&mut again, &mut once, &mut twice, &mut last].into_iter().all(|wait| now(wait).is_none()));
        held.pop();
        let of_quiet = now(&mut once);
        assert!(of_quiet.is_some());
        held.pop();
        assert!(now(&mut twice).is_none(), "quiet holds one already");
        assert!(now(&mut last).is_some());
        drop(of_quiet);
        // `last` was given back at once: it goes to quiet, which holds none now.
        assert!(now(&mut twice).is_some());
        assert!(now(&mut again).is_some());
    }

    #[test]
    fn a_wait_that_is_given_up_takes_nothing_with_it() {
        let share = FairShare::new(Shares::of(1));
        let (one, other) = (share.tenant("one"), share.tenant("other"));
        let held = taken(&one).expect("the only one");
        let (mut gone, mut answered) = (begun(&other), begun(&other));
        assert!(now(&mut gone).is_none() && now(&mut answered).is_none());
        drop(gone);
        drop(held);
        // Answered, and dropped before it looked.
        drop(answered);
        assert!(taken(&one).is_some());
    }

    #[test]
    fn names_are_forgotten_with_their_last_handle_and_permit() {
        let share = FairShare::new(Shares::of(4));
        let tenant = share.tenant("gone");
        let permit = taken(&tenant).expect("free");
        drop(tenant);
        assert_eq!(share.state().tenants.len(), 1);
        drop(permit);
        assert!(share.state().tenants.is_empty());
        assert_eq!(share.state().free(), 4);
    }

    #[test]
    fn fewer_permits_are_a_matter_of_waiting_and_more_are_there_at_once() {
        let share = FairShare::new(Shares { capacity: 4, part: 4, reserved: 1 });
        let one = share.tenant("one");
        let mut held = all(&one);
        assert_eq!(held.len(), 4, "nobody else is there to set one aside for");
        share.set(Shares { capacity: 2, part: 2, reserved: 0 });
        let mut waiting = begun(&one);
        assert!(now(&mut waiting).is_none());
        held.truncate(2);
        assert!(now(&mut waiting).is_none() && share.is_used_up());
        share.set(Shares { capacity: 3, part: 3, reserved: 0 });
        assert!(now(&mut waiting).is_some());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_thousand_waits_of_many_tenants_on_many_threads_are_all_answered() {
        let share = FairShare::new(Shares::of(4));
        let each = (0..1000).map(|number| {
            let tenant = share.tenant(&format!("tenant {}", number % 10));
            tokio::spawn(async move {
                let permit = tenant.acquire().await;
                tokio::task::yield_now().await;
                drop(permit);
            })
        });
        for done in futures_util::future::join_all(each).await {
            done.expect("it was answered");
        }
        assert_eq!(share.state().free(), 4);
        assert!(share.state().tenants.is_empty());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Ask(usize),
        GiveBack(usize),
        GiveUp(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (0..5usize).prop_map(Step::Ask),
            2 => any::<usize>().prop_map(Step::GiveBack),
            1 => any::<usize>().prop_map(Step::GiveUp),
        ];
        proptest::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn nothing_is_lost_nobody_starves_and_the_parts_hold(
            capacity in 1..20usize, part in 1..20usize, reserved in 0..20usize, steps in steps()
        ) {
            let share = FairShare::new(Shares { capacity, part, reserved });
            let reserved = reserved.min(capacity - 1);
            let tenants: Vec<Tenant> = (0..5).map(|number| share.tenant(&number.to_string())).collect();
            let mut held: Vec<(usize, Permit)> = Vec::new();
            let mut waiting: Vec<(usize, Acquiring<'_>)> = Vec::new();
            for step in steps {
                match step {
                    Step::Ask(tenant) => waiting.push((tenant, begun(&tenants[tenant]))),
                    Step::GiveBack(which) if !held.is_empty() => drop(held.swap_remove(which % held.len())),
                    Step::GiveUp(which) if !waiting.is_empty() => drop(waiting.remove(which % waiting.len())),
                    _ => {}
                }
                let before = |tenant: usize, held: &[(usize, Permit)]| held.iter().filter(|(one, _)| *one == tenant).count();
                let mut still = Vec::new();
                for (tenant, mut wait) in waiting {
                    match now(&mut wait) {
                        Some(permit) => held.push((tenant, permit)),
                        None => still.push((tenant, wait)),
                    }
                }
                waiting = still;
                let free = capacity - held.len();
                prop_assert_eq!(share.state().free(), free);
                for (tenant, _) in &waiting {
                    let has = before(*tenant, &held);
                    // Who waits has a reason to: nothing is free, what is left is the reserve and it holds some already, it has its
                    // part and others are there, or somebody with fewer stands before it, who then has such a reason.
                    let others = held.iter().any(|(one, _)| one != tenant) || waiting.iter().any(|(one, _)| one != tenant);
                    let reason = free == 0 || (has > 0 && free <= reserved) || (has >= part && others);
                    prop_assert!(reason, "tenant {} holds {} and waits while {} are free", tenant, has, free);
                }
            }
            drop(waiting);
            drop(held);
            prop_assert_eq!(share.state().free(), capacity);
        }
    }
}
