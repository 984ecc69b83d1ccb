//! Effects that the daemons share: sockets, clock, random source, signals, logging, the key file.
//!
//! What a daemon *decides* lives in its machines; what it *does* to the world through this crate or its own shell. Nothing
//! here knows a channel or a topology.
#![expect(
    clippy::disallowed_methods,
    reason = "this crate is the daemons' shell: clocks, sockets and randomness live here"
)]

pub mod clock;
pub mod discovery;
pub mod frames;
pub mod http;
pub mod intake;
pub mod interface;
pub mod key_file;
pub mod logging;
pub mod manual;
pub mod metrics;
pub mod metrics_port;
pub mod open_files;
pub mod openings;
pub mod random;
mod reading;
pub mod session;
pub mod shutdown;
pub mod supervision;
#[cfg(target_os = "linux")]
pub mod tap;
pub mod tls;
pub mod train;
pub mod udp;
pub mod volley;
pub mod whole_file;
