//! End-to-end tests: real processes and players on networks made of namespaces. Root; one at a time; `tests/run --only live`.
#![expect(clippy::unwrap_used, reason = "helpers of tests too: what cannot be unwrapped fails the test")]

mod acquisition_away;
mod administration;
mod bad_input;
mod bench;
mod browser;
mod bytes;
mod captions;
mod console;
mod database_away;
mod discovery;
mod foreign;
mod gateway;
mod holding;
mod judges;
mod kills;
mod laboratory;
mod membership;
mod newcomer;
mod order;
mod package;
mod playback;
mod players;
mod push_server_away;
mod recording;
mod repair;
mod replication;
mod resuming;
mod silence;
mod srt;
mod storm;
mod terminal;
mod unicast;
mod up;
mod viewing;
mod zap;
