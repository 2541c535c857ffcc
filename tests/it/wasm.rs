//! The sandbox against components that want to break out of it, hold it up or fill it; and against the shop.

mod answers;
mod files;
pub mod handmade;
mod limits;
mod neighbours;
mod reading;
mod shop;
