//! Keys: what must be in the replica identity of a table is refused where it is not, before anything is touched; what need not
//! be is not asked for; and what would be lost otherwise (R13).

mod needed;
mod refusals;
