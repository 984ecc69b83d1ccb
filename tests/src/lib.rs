//! What the tests of the whole system stand on: `world`, real machines on a virtual clock; `lossy_link`, one link that loses.
//!
//! The live tests (`tests/live`: real daemons, sockets and players; root) stand on the crate `lab` instead; `tests/run` runs
//! them all, and its header says how to run a few.

pub use lab::lossy_link;

pub mod world;
