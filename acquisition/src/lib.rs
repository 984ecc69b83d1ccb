//! The acquisition server: captures each channel once, makes its RTP packets, feeds every push server of the plan.
//!
//! ```text
//!  input ─► Splitter ─► Capture (PCR, RTP) ─► FeedQueue per push server ─► P3   one task per input and per feed
//!                per channel │ state, counters           │ connected, failed
//!             ▼                                     ▼
//!  P1 ◄────────────────────── Acquisition (the root machine) ──────────────►   one driver task
//!
//!  database link   Waiting --timer--> Connecting --> Connected --silence, closed--> Waiting
//!  each input      Starting --> Delivering <--> Failed --timer--> Starting
//!  each feed       Connecting --> Connected --failed--> Unreachable --timer--> Connecting
//! ```
//!
//! In: the plan and commands of the database server (P1), transport streams. Out: reports (P1), RTP packets (P3).
//! It never knows a destination, alters transport packets only where streams are taken apart or joined (tables, counters, the
//! mark of a new time base), and never stops capturing or feeding because the database server is away. A link that fails is
//! dropped and retried by itself; nothing else is touched.

pub mod access_points;
pub mod acquisition;
pub mod capture;
mod channel;
mod commands;
mod database_link;
pub mod dvb;
pub mod events;
pub mod failover;
mod feed;
pub mod feed_queues;
pub mod guide;
mod guide_book;
pub mod hdhomerun;
pub mod health_report;
mod input;
pub mod paced_stream;
mod packet_store;
pub mod pids;
pub mod probe;
pub mod relay;
mod retry;
pub mod satip;
pub mod scan;
pub mod seam;
pub mod server_address;
pub mod shell;
pub mod signal;
pub mod source_watch;
pub mod splitter;
#[cfg(test)]
mod trial_source;
pub mod tuner_session;
pub mod web_answer;

pub use acquisition::{Acquisition, Config};
pub use events::{ChannelCounters, Input, Output, Reason, Source};
