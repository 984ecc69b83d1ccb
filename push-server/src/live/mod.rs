//! Live sessions: a channel that is on air, sent to one client by P5 from its newest random access point on.
//!
//! ```text
//! P4 live ──► admission ──► table (control): who may have one, until when ──── orders ────► streaming (data thread):
//!                             ▲ answers                                                       burst, then as they come
//!                             └──────────────────── events: begun, ended ───────────────────┘
//! ```
//!
//! Control knows clients, leases and limits, and nothing of packets; the data thread knows packets and where they go. A
//! session lives in both, under the same [`Key`]. `docs/fast-start.md` says why so.

pub(crate) mod session;
pub mod table;

use std::net::SocketAddr;

use protocols::p4_control::LiveId;

/// What tells a session from all others: no client can speak for another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Where its client asked from, and where it is sent.
    pub client: SocketAddr,
    /// The number that the client drew.
    pub id: LiveId,
}

/// What control orders the data thread of a channel to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Begin a session at the newest random access point, or wait for one for [`protocols::p4_control::LIVE_WAIT`].
    Begin {
        /// Which.
        key: Key,
        /// Rate of its burst, in percent of the channel's.
        burst_percent: u16,
    },
    /// End a session; one that is not there has ended already.
    End {
        /// Which.
        key: Key,
        /// What is before this packet is still sent; `None`: nothing is.
        seam: Option<Seam>,
    },
}

/// A packet that P6 has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seam {
    /// Its synchronisation source.
    pub ssrc: u32,
    /// Its sequence number.
    pub first: u16,
}

/// What a data thread tells control of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It has begun.
    Begun {
        /// Which.
        key: Key,
        /// Where.
        beginning: Beginning,
    },
    /// It has ended.
    Ended {
        /// Which.
        key: Key,
        /// Why.
        why: End,
    },
}

/// Where a session begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beginning {
    /// Synchronisation source of its packets.
    pub ssrc: u32,
    /// Sequence number of its first packet.
    pub first: u16,
    /// Sequence number of the channel's newest packet then.
    pub newest: u16,
}

/// Why a session has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was ordered to, and has sent what it still had to.
    Ordered,
    /// There was nothing to begin with in time.
    NoPacket,
    /// The channel is shed.
    Shed,
}
