//! `masthead bench`: what Masthead costs and how well it does it, measured on this machine in one run beside a reference
//! sender that only makes the system calls (the ceiling) and beside the programs that people use today.
//!
//! ```text
//! measures/*  ──► Bench (options, ground, progress, rows) ──► report: table, JSON, Markdown, SVG
//!     │ start and stop
//!     ▼
//! rig: feeder (P3), database and viewers (P4) ──► masthead-push-server ─┐
//! reference: the same bytes, only system calls                         ├──► ground: a device that discards and counts
//! peers: GStreamer, multicat, ffmpeg, ...                              ─┘
//! ```
//!
//! Everything runs in network namespaces made for the run. A measure is a file in `measures/` and a line in
//! [`measures::ALL`]. Each repeats all senders in turn, so that a ratio compares runs of the same minute.
#![expect(clippy::disallowed_methods, reason = "a bench is all effects: processes, clocks, sockets")]
#![expect(
    clippy::missing_panics_doc,
    reason = "a broken laboratory panics; `Bench` turns that into a failed measure"
)]

pub mod arrivals;
pub mod audience;
pub mod cbr;
pub mod cpu;
pub mod crowd;
pub mod directory_site;
pub mod feeder;
pub mod figure;
pub mod film;
pub mod ground;
pub mod house;
pub mod machine;
pub mod measures;
pub mod options;
pub mod peers;
pub mod plot;
pub mod receiver;
pub mod recorded;
pub mod reference;
pub mod report;
pub mod rig;
pub mod run;
pub mod source;
pub mod stand_ins;

pub use figure::Figure;
pub use ground::Ground;
pub use options::Options;
pub use report::{Report, Row};
pub use run::Bench;
