//! The push server host: one process beside one or more local networks that carries many *push servers*, one per
//! channel, each sending its channel to its destinations only while somebody there watches.
//!
//! In: P3 feeds (the channels' RTP packets), P4 datagrams (commands of the database server, interest of clients).
//! Out: P6 (those very packets, and announcements of held interest), P4 answers and reports.
//!
//! ```text
//!                 P4                                      plans                            P6
//! database, clients ──► [`server::PushServer`] (control) ───────► [`path::ChannelPath`] (data) ──► LANs
//!                                     ▲        counters, feed events      ▲ P3
//!                                     └─────────────────────────────┴── acquisition
//!
//! one (channel, destination):   not assigned ──configure──► Suspended ──interest──► Sending
//!                                    ▲  configure               ▲   5 s without           │
//!                                    └──────────────────────────┴─────────────────────────┘
//! ```
//!
//! It must never send to a destination without valid interest or, where the topology has them count, members, alter a packet, send one twice, or answer a datagram
//! that carries no authority.
//!
//! | module | owns |
//! |---|---|
//! | [`server`] | the root machine |
//! | [`configuration`] | what the database server ordered, put together from its parts |
//! | [`interest`], [`announcement`] | who is watched, until when, and when that is announced |
//! | [`membership`] | which groups have members, who count as viewers |
//! | [`session_announcement`] | which channels are announced to players by SAP, and when |
//! | [`admission`], `claim` | who may ask for packets again, or order a session about |
//! | [`repair`], [`protocols::budget`] | which of them are sent again, and how many |
//! | [`holding`] | which feeds are held, since nobody watches |
//! | [`live`] | who is sent a channel by P5, from its newest random access point on |
//! | [`archive`] | what of each channel is recorded here, as it is reported |
//! | [`report`] | what the database server has not heard yet |
//! | [`plan`] | what control hands to the data plane |
//! | [`path`], [`ring`], [`pacer`], [`lane`], [`deframer`] | the data plane of one channel |
//! | [`dating`] | which number and date each of its packets has |
//! | [`session`], [`timer_wheel`] | who is sent which recording, and which packet when |
//! | [`placement`], [`overload`] | which thread carries which channel, and what it sheds when it cannot |
//! | [`recording`] | what is kept of a channel: segments, their index, what of it may go |
//! | [`replication`] | what of it is fetched from other hosts, when, and how fast |
//! | [`counters`] | why datagrams and packets were dropped |

pub mod admission;
pub mod announcement;
pub mod archive;
mod claim;
pub mod configuration;
pub mod counters;
pub mod dating;
pub mod deframer;
pub mod holding;
pub mod interest;
pub mod lane;
pub mod live;
pub mod membership;
pub mod overload;
pub mod pacer;
pub mod path;
pub mod placement;
pub mod plan;
pub mod recording;
pub mod repair;
pub mod replication;
pub mod report;
pub mod ring;
mod search;
pub mod server;
pub mod session;
pub mod session_announcement;
pub mod shell;
pub mod timer_wheel;

pub use server::{Config, FeedId, Input, Output, PushServer, Reason};
