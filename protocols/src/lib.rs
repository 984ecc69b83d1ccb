//! The words that Masthead's daemons share: identifiers, time, authority, the six protocols and the topology.
//!
//! Everything here is pure: bytes in, values out, and the other way. No clock, socket, file or random source; callers
//! bring the time, the nonces and the keys. What a byte on the wire means is decided in this crate and nowhere else;
//! `docs/protocols/p1.md` … `p6.md` say the same in prose and are normative.
//!
//! | module | owns |
//! |---|---|
//! | [`ids`] | names of channels, servers, networks |
//! | [`time`] | [`time::Time`] (monotonic, local) and [`time::ClusterTime`] (the database server's clock) |
//! | [`authority`] | cluster key, derived keys, message tags, client leases |
//! | [`codec`] | bincode with limits; the one file that names it |
//! | [`timers`] | a machine's deadlines, each with its reason |
//! | [`backoff`] | when to try a lost link again |
//! | [`budget`] | how much may be sent again, or asked for |
//! | [`mod@counters`] | counters that say what they mean |
//! | [`preamble`], [`handshake`] | how every TCP protocol opens, and mutual authentication for P1 and P3 |
//! | [`p1_registration`] … [`p6_broadcast`] | the messages |
//! | [`administration`] | what people with an account may ask, and who may ask it |
//! | [`guide`] | programmes that broadcasters announce |
//! | [`hdhomerun`] | how HDHomeRun tuners are found and controlled |
//! | [`health`] | how a channel's stream fares at its source |
//! | [`recording`] | extents, spans, orders to record |
//! | [`topology`] | `topology.toml`, parsed and validated |

pub mod administration;
pub mod authority;
pub mod backoff;
pub mod budget;
pub mod codec;
pub mod counters;
pub mod guide;
pub mod handshake;
pub mod hdhomerun;
pub mod health;
pub mod ids;
pub mod p1_registration;
pub mod p2_directory;
pub mod p3_feed;
pub mod p3_replica;
pub mod p4_control;
pub mod p5_stream;
pub mod p6_broadcast;
pub mod preamble;
pub mod recording;
pub mod time;
pub mod timers;
pub mod topology;
