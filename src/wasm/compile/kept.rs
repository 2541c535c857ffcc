//! Compiled components in memory: each as long as a builder uses it, and a few besides.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use wasmtime::component::Component;

/// The hash of a component's bytes.
pub(super) type Hash = [u8; 32];

/// Components that are kept although no builder uses them: those of the last loads, so that a file which is checked and then run, or
/// loaded again with another configuration, is compiled once.
const UNUSED_MAX: usize = 8;

#[derive(Default)]
pub(super) struct Kept(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Everything that some builder uses: the same file in many pipelines is one component, however many there are.
    known: HashMap<Hash, Weak<Component>>,
    /// The one asked for last at the end.
    lately: VecDeque<Arc<Component>>,
}

impl Kept {
    pub(super) fn get(&self, hash: &Hash) -> Option<Arc<Component>> {
        let mut inner = self.inner();
        let component = inner.known.get(hash)?.upgrade()?;
        inner.remember(Arc::clone(&component));
        Some(component)
    }

    pub(super) fn put(&self, hash: Hash, component: Component) -> Arc<Component> {
        let component = Arc::new(component);
        let mut inner = self.inner();
        inner.remember(Arc::clone(&component));
        inner.known.retain(|_, known| known.strong_count() > 0);
        inner.known.insert(hash, Arc::downgrade(&component));
        component
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn remember(&mut self, component: Arc<Component>) {
        self.lately.retain(|known| !Arc::ptr_eq(known, &component));
        if self.lately.len() == UNUSED_MAX {
            self.lately.pop_front();
        }
        self.lately.push_back(component);
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::Engine;

    use super::*;

    #[test]
    fn what_is_used_is_kept_and_of_the_rest_a_few() {
        let engine = Engine::default();
        let kept = Kept::default();
        let component = || Component::new(&engine, wat::parse_str("(component)").unwrap()).unwrap();
        let used: Vec<_> = (0..100).map(|number| kept.put([number; 32], component())).collect();
        (100..200).for_each(|number| drop(kept.put([number; 32], component())));
        assert!((0..100).all(|number| kept.get(&[number; 32]).is_some()));
        let unused = |kept: &Kept| (100..200).filter(|number| kept.get(&[*number; 32]).is_some()).count();
        // Looking at those that are used has made them the latest.
        assert_eq!(unused(&kept), 0);
        drop(used);
        kept.put([200; 32], component());
        assert_eq!(kept.inner().known.len(), UNUSED_MAX);
    }
}
