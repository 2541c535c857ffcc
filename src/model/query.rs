//! A declared query to run, and the answer of a resolve.

/// A query of the declaration by name, with its parameters in order.
///
/// A parameter is the text that PostgreSQL reads for its type; one of an array type is a JSON array.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Query {
    /// Its name in the declaration.
    pub name: String,
    /// One text for each of its parameters.
    pub params: Vec<Option<String>>,
}

/// The documents of one index that rows lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affected {
    /// Known from the rows. Order and repetition do not matter.
    pub ids: Vec<String>,
    /// Found in the database: each yields ids, as text, in its only column.
    pub queries: Vec<Query>,
}
