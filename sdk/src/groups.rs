//! Finding rows by a key: what a join is in a builder.

/// Rows by a key; in a group they stand in the order in which they were read.
///
/// ```
/// # use docmill_builder::Groups;
/// let user_of_order = [7, 8, 7];
/// let orders_of = Groups::by(&user_of_order);
/// assert_eq!(orders_of.rows(&7).collect::<Vec<_>>(), [0, 2]);
/// assert_eq!(orders_of.first(&9), None);
/// ```
#[derive(Debug)]
pub struct Groups<K> {
    // Sorted rather than hashed: one allocation, and the same order every time.
    entries: Vec<(K, usize)>,
}

impl<K: Ord> Groups<K> {
    /// Rows by the values of a column, as [`Rows::column`](crate::Rows::column) reads it.
    pub fn by(keys: &[K]) -> Self
    where
        K: Clone,
    {
        Self::of(keys.iter().cloned().enumerate().map(|(row, key)| (key, row)).collect())
    }

    pub(crate) fn of(mut entries: Vec<(K, usize)>) -> Self {
        entries.sort();
        Self { entries }
    }

    /// The rows with this key.
    pub fn rows<Q: Ord + ?Sized>(&self, key: &Q) -> impl ExactSizeIterator<Item = usize> + '_
    where
        K: std::borrow::Borrow<Q>,
    {
        let start = self.entries.partition_point(|(other, _)| other.borrow() < key);
        let rest = &self.entries[start..];
        // Most groups are small, so the end is looked for from the beginning, in steps that double.
        let mut step = 1;
        while rest.get(step - 1).is_some_and(|(other, _)| other.borrow() == key) {
            step *= 2;
        }
        let within = &rest[..rest.len().min(step)];
        let length = within.partition_point(|(other, _)| other.borrow() == key);
        rest[..length].iter().map(|(_, row)| *row)
    }

    /// The first row with this key.
    pub fn first<Q: Ord + ?Sized>(&self, key: &Q) -> Option<usize>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.rows(key).next()
    }
}
