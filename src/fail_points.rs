//! Fail points: single rules of delivery switched off, and steps at which the process ends, so that tests can show what each
//! rule is for. They exist only in builds with the feature `fail-points` (the tests' builds) and are set by the environment
//! variable `DOCMILL_FAIL_POINTS`, a list such as `two-hands,kill:pass.recorded:3`. In every other build they are constants.

/// A rule that a test may switch off.
#[cfg_attr(not(feature = "fail-points"), allow(dead_code))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Transactions are published only once a snapshot shows them.
    Fence,
    /// Transactions are published in commit order.
    Order,
    /// The label is taken before the reading transaction's first statement.
    LabelFirst,
    /// Only the batch that holds a transaction's end completes it.
    EndMark,
    /// An id is in one hand at a time.
    OneHand,
    /// Deletions within a late window are looked at again when it closes.
    SecondLook,
    /// The record of a pass is durable before the ack that it allows.
    RecordFirst,
    /// Declared keys are in the replica identity.
    Keys,
}

/// Whether a test switched `rule` off.
#[inline]
pub fn off(rule: Rule) -> bool {
    #[cfg(feature = "fail-points")]
    {
        set::is_off(rule)
    }
    #[cfg(not(feature = "fail-points"))]
    {
        let _ = rule;
        false
    }
}

/// Something was published up to that position.
#[inline]
pub fn published(position: u64) {
    #[cfg(feature = "fail-points")]
    set::PUBLISHED.fetch_max(position, std::sync::atomic::Ordering::AcqRel);
    #[cfg(not(feature = "fail-points"))]
    let _ = position;
}

/// The highest position that any flow of the process published: the label that nobody may take.
#[inline]
pub fn latest_published() -> u64 {
    #[cfg(feature = "fail-points")]
    {
        set::PUBLISHED.load(std::sync::atomic::Ordering::Acquire)
    }
    #[cfg(not(feature = "fail-points"))]
    0
}

/// The process has come to a step of that name: a test may want it to end here, at once, the first or the n-th time.
#[inline]
pub fn reached(step: &str) {
    #[cfg(feature = "fail-points")]
    set::reached(step);
    #[cfg(not(feature = "fail-points"))]
    let _ = step;
}

#[cfg(feature = "fail-points")]
mod set {
    use std::collections::HashMap;
    use std::sync::atomic::AtomicU64;
    use std::sync::{LazyLock, Mutex, PoisonError};

    use super::Rule;

    #[derive(Default)]
    struct Points {
        off: Vec<String>,
        kill: Mutex<HashMap<String, u32>>,
    }

    pub(super) static PUBLISHED: AtomicU64 = AtomicU64::new(0);
    static POINTS: LazyLock<Points> = LazyLock::new(|| {
        let mut points = Points::default();
        let mut kill = HashMap::new();
        for point in
            std::env::var("DOCMILL_FAIL_POINTS").unwrap_or_default().split(',').filter(|point| !point.is_empty())
        {
            match point.strip_prefix("kill:") {
                Some(step) => {
                    let (name, time) = step.rsplit_once(':').unwrap_or((step, "1"));
                    kill.insert(name.to_owned(), time.parse().unwrap_or(1));
                }
                None => points.off.push(point.to_owned()),
            }
        }
        points.kill = Mutex::new(kill);
        points
    });

    pub(super) fn is_off(rule: Rule) -> bool {
        let name = match rule {
            Rule::Fence => "fence-off",
            Rule::Order => "order-off",
            Rule::LabelFirst => "label-after-snapshot",
            Rule::EndMark => "no-end-mark",
            Rule::OneHand => "two-hands",
            Rule::SecondLook => "no-second-look",
            Rule::RecordFirst => "record-late",
            Rule::Keys => "keys-unchecked",
        };
        POINTS.off.iter().any(|off| off == name)
    }

    pub(super) fn reached(step: &str) {
        let mut kill = POINTS.kill.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = kill.get_mut(step) {
            *left -= 1;
            if *left == 0 {
                // As kill -9 would: nothing is flushed, nothing is said.
                std::process::abort();
            }
        }
    }
}
