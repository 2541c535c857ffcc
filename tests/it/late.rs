//! Requests that arrive late: a proxy holds them and delivers them when their client has long given up or is dead, on a real
//! search engine that has forgotten the deletions in between.

mod hands;
mod labels;
mod sweeps;
mod windows;
