//! [`FenceSnapshot`]: which transactions are visible, as `pg_current_snapshot()` says.

use std::str::FromStr;

/// `xmin:xmax:xip,…`, all 64-bit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FenceSnapshot {
    /// Everything before it has ended.
    pub xmin: u64,
    /// It and everything after it is not visible.
    pub xmax: u64,
    /// What was running in between, ascending.
    running: Vec<u64>,
}

impl FenceSnapshot {
    /// Whether the snapshot shows what the transaction with these low 32 bits of its id did, given that it committed.
    ///
    /// The bits are widened to the id nearest to `xmax`. Casting them would pass everything, silently, after 2^32
    /// transactions.
    pub fn shows(&self, xid: u32) -> bool {
        let xid = self.widen(xid);
        xid < self.xmin || (xid < self.xmax && self.running.binary_search(&xid).is_err())
    }

    /// The whole id of the transaction with these low 32 bits.
    pub fn widen(&self, xid: u32) -> u64 {
        const EPOCH: u64 = 1 << 32;
        let same = (self.xmax & !(EPOCH - 1)) | u64::from(xid);
        [same.checked_sub(EPOCH), Some(same), same.checked_add(EPOCH)]
            .into_iter()
            .flatten()
            .min_by_key(|candidate| candidate.abs_diff(self.xmax))
            .unwrap_or(same)
    }
}

/// The text was not that of a snapshot.
#[derive(Debug, thiserror::Error)]
#[error("expected a snapshot such as 10:20:10,14, found something else")]
pub(super) struct ParseSnapshotError;

impl FromStr for FenceSnapshot {
    type Err = ParseSnapshotError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| text.parse::<u64>().map_err(|_| ParseSnapshotError);
        let mut parts = text.splitn(3, ':');
        let mut part = || parts.next().ok_or(ParseSnapshotError);
        let (xmin, xmax) = (number(part()?)?, number(part()?)?);
        let mut running =
            part()?.split(',').filter(|xid| !xid.is_empty()).map(number).collect::<Result<Vec<_>, _>>()?;
        running.sort_unstable();
        Ok(Self { xmin, xmax, running })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> FenceSnapshot {
        text.parse().expect("a snapshot")
    }

    #[test]
    fn running_transactions_and_later_ones_are_not_shown() {
        let snapshot = snapshot("10:20:10,14");
        let shown: Vec<u32> = (8..22).filter(|xid| snapshot.shows(*xid)).collect();
        assert_eq!(shown, [8, 9, 11, 12, 13, 15, 16, 17, 18, 19]);
    }

    #[test]
    fn an_xid_is_widened_to_the_nearest_epoch() {
        // As on a cluster after `pg_resetwal -e 1`: cast to 64 bits, 735 would be long gone.
        let open = snapshot("4294968031:4294968032:4294968031");
        assert!(!open.shows(735));
        assert!(open.shows(734));
        // Just after the counter wrapped, ids from before it are not in the future.
        let wrapped = snapshot("4294967298:4294967300:4294967298");
        assert!(wrapped.shows(u32::MAX));
        assert!(!wrapped.shows(2));
        assert!(!wrapped.shows(7));
        // Just before it wraps, small ids are in the future.
        assert!(!snapshot("4294967290:4294967290:").shows(3));
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "1", "1:2", "a:2:", "1:2:x", "-1:2:"] {
            assert!(text.parse::<FenceSnapshot>().is_err(), "{text}");
        }
    }
}
