//! The decoder of pgoutput messages: what real servers send, what any message means, and what becomes of damaged bytes.

mod damage;
mod real_bytes;
mod refused;
mod round_trip;
mod wire;
