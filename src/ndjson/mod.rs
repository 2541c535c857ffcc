//! Documents as lines, to a file or to standard output: for pipes, for debugging, for the first run. Knows `model` and `edges`.
//!
//! ```text
//! {"index":"users","id":"7","version":"281474976710656","document":{…}}
//! {"index":"users","id":"8","version":"281474976710657","deleted":true}
//! ```
//!
//! One writer, in order: since an id is in one hand at a time, the last line of each id is what its rows are. Versions are
//! texts, because they exceed what many readers of JSON keep of a number.

mod file_state;
mod lines;
mod sink;

pub use sink::Ndjson;
