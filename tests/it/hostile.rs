//! What a hostile builder can try, one test a case: each ends as it must, and neither the host nor a neighbour notices.

mod components;
pub mod failing;
