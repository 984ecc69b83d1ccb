//! End-to-end tests: real processes and players on networks made of namespaces. Root; one at a time; `tests/run --only live`.
#![expect(clippy::unwrap_used, reason = "helpers of tests too: what cannot be unwrapped fails the test")]

mod judges;
mod laboratory;
mod newcomer;
