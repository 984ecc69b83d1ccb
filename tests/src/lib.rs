//! What the end-to-end tests stand on: a laboratory of real processes on real networks.
//!
//! The tests themselves are in `tests/live` (real daemons, sockets and players; root) beside this folder; `tests/run` runs
//! them all, and its header says how to run a few.

pub mod lab;
pub mod world;
