//! The database server: it holds the static topology and tells everybody where to go.
//!
//! ```text
//! acquisition servers ──P1──►┐                       ┌──P4 query, configure──► push server hosts
//!                            ├── DatabaseServer ─────┤
//! clients ────────────P2────►┘   (one pure machine)  └──Store──► SQLite
//! ```
//!
//! *In*: the topology, registrations and reports by P1, questions by P2, answers of hosts by P4. *Out*: feed plans and
//! commands, channel lists, tunings with leases, configurations, and what to keep across restarts. It never sees a media
//! packet, and neither live viewing nor a feed stops when it is away: all that it knows is either in `topology.toml`, in its
//! store, or reported anew by those who called it.
//!
//! ```text
//! site      Offline ──first acquisition server registers──► Online ──last one is gone──► Offline
//! host      unknown ──any genuine answer──► alive ──silent for HOST_TIMEOUT──► dead ──answer──► alive
//! (channel, network)   unassigned ──fit rivals──► assigned ──dead or unfit──► assigned to a fit rival
//! ```
//!
//! | module | owns |
//! |---|---|
//! | [`DatabaseServer`] | the root machine; [`Input`], [`Output`], [`Config`] |
//! | [`presence`] | which hosts live, and what they report |
//! | [`registration`] | P1 connections, and what acquisition servers report |
//! | [`feeding`] | feed plans and commands |
//! | [`assignment`] | one of several push servers for each channel and network |
//! | [`status`], [`mode`] | active or inactive and why; on-line or off-line |
//! | [`configuration`] | what each push server must know, until it has acknowledged it |
//! | [`catalogue`] | which host holds what of which channel, and what people asked to keep |
//! | [`guide`] | what channels show when |
//! | [`directory`] | clients: lists, watches, tunings |
//! | [`site_view`], [`recordings_view`], [`guide_view`] | what people are shown |
//! | [`access`] | accounts, sessions, and the brake on guessing passwords |
//! | [`zaps`] | how long clients have waited for a picture |
//! | [`store`], [`shell`] | the effects: SQLite; sockets, signals, time |

pub mod access;
pub mod assignment;
pub mod catalogue;
mod command;
pub mod configuration;
mod counters;
mod database_server;
pub mod directory;
pub mod feeding;
pub mod guide;
pub mod guide_view;
mod input;
pub mod mode;
mod output;
pub mod presence;
mod rate_meter;
mod reception;
mod record;
pub mod recordings_view;
pub mod registration;
pub mod shell;
pub mod site_view;
pub mod status;
pub mod store;
pub mod zaps;

pub use counters::Counters;
pub use database_server::{DatabaseServer, SiteCommand};
pub use input::{Config, ConnectionId, Input, Reason};
pub use output::Output;
pub use record::{Assignment, Event, Programme, Record, Remembered, Server};
