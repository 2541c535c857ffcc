//! The destination misbehaves, is restored, deleted, closed, taken by another process, or loses what was recorded: each test
//! ends in documents that are what SQL says.

mod builders;
mod configured;
mod outages;
mod owners;
mod passes;
mod rejected;
mod restored;
