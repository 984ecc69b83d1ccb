//! The push server as its neighbours see it: machines with literal times, and whole hosts on loopback.
//!
//! One program, since each one links all of the push server; what counts a process of its own is beside it.

#[expect(clippy::disallowed_methods, reason = "a real host on real sockets")]
#[expect(clippy::unwrap_used, reason = "what a test itself has made unwraps")]
#[path = "../host/mod.rs"]
mod host;
#[expect(clippy::unwrap_used, reason = "what a test itself has made unwraps")]
mod site;

mod control;
mod data_path;
mod dating;
mod history;
mod holding;
mod interest_model;
mod live_loopback;
mod live_requests;
mod live_sessions;
mod loopback;
mod moving;
mod playback;
mod recorded;
mod recording;
mod repair;
mod repair_requests;
mod resending;
