//! P2 directory: client → database server, TCP 7402.
//!
//! | when | client sends | database server sends |
//! |---|---|---|
//! | connected | preamble | preamble |
//! | any time | [`ToDatabase::List`] | [`ToClient::Channels`] |
//! | any time | [`ToDatabase::Watch`] | [`ToClient::Tuning`] or [`ToClient::Unavailable`], and again whenever it changes |
//! | any time | [`ToDatabase::Unwatch`] | nothing |
//! | every [`PING_INTERVAL`] | [`ToDatabase::Ping`] | [`ToClient::Pong`] |
//! | the list changes | | [`ToClient::ListChanged`], to those who have asked for a list |
//!
//! Frames are not sealed: the channel list is no secret, and what a viewer may do with an answer is bound to its own
//! address by the lease. The caller's network is that of the connection's source address. Requests are at most
//! [`crate::preamble::MAX_P2_REQUEST_BYTES`], answers [`crate::preamble::MAX_P2_ANSWER_BYTES`]. A client silent for
//! [`SILENCE_TIMEOUT`] is disconnected; a client that does not read its answers likewise.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::authority::{Lease, MacKey};
use crate::codec::Message;
use crate::ids::{ChannelId, Generation, PushServerId, Revision};
use crate::time::ClusterTime;

/// How often a client shows that it is there.
pub const PING_INTERVAL: Duration = Duration::from_secs(2);
/// Silence after which either side takes the other for dead.
pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(6);
/// Channels that one connection may watch at a time; one more is refused.
pub const MAX_WATCHES_PER_CONNECTION: usize = 64;

/// From the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToDatabase {
    /// Asks for the channels of the caller's network.
    List {
        /// Whether to send tunings too, to keep for the time when the database server is away.
        tunings: bool,
    },
    /// Asks where to tune, now and at each change until [`ToDatabase::Unwatch`].
    Watch {
        /// The channel.
        channel: ChannelId,
    },
    /// Ends a watch.
    Unwatch {
        /// The channel.
        channel: ChannelId,
    },
    /// "I am here."
    Ping,
}

impl Message for ToDatabase {
    const KINDS: u32 = 4;
}

/// From the database server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToClient {
    /// Answers a list request.
    Channels(ChannelList),
    /// Where to tune for a watched channel; replaces what was said of it before.
    Tuning(Box<Tuning>),
    /// A watched channel cannot be had now; a tuning follows when it can.
    Unavailable {
        /// The channel.
        channel: ChannelId,
        /// For people.
        reason: String,
    },
    /// Ask again: the list, or the status of a channel on it, has changed.
    ListChanged,
    /// Answers a ping.
    Pong,
    /// The last message before the connection is closed on purpose.
    Refused(crate::preamble::Refusal),
}

impl Message for ToClient {
    const KINDS: u32 = 6;
}

/// The channels of one network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ChannelList {
    /// Version of the topology.
    pub generation: Generation,
    /// The network that the caller's address is on, such as `10.0.1.0/24`; `None` when no destination serves it, and
    /// then the list is empty.
    pub network: Option<String>,
    /// Off-line mode: no acquisition server is registered, nothing is live.
    pub offline: bool,
    /// When the list was made.
    pub time: ClusterTime,
    /// The channels, by id, each once.
    pub channels: Vec<ChannelEntry>,
}

/// One channel as a viewer sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChannelEntry {
    /// The channel.
    pub id: ChannelId,
    /// Its name.
    pub name: String,
    /// Whether it could be had at the caller's network now.
    pub status: ChannelStatus,
    /// Where to tune; present when asked for and an operating push server is assigned.
    pub tuning: Option<Box<Tuning>>,
}

/// Status of a channel relative to one network. A channel with no destination there is not listed at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChannelStatus {
    /// It can be had; whether it is being sent is the push server's private business.
    Active,
    /// It cannot.
    Inactive {
        /// Why, for people.
        cause: String,
    },
}

/// All that a client needs to receive one channel and keep it alive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    /// The channel.
    pub channel: ChannelId,
    /// Its name.
    pub name: String,
    /// Group, broadcast or unicast address of the destination.
    pub destination: IpAddr,
    /// UDP port of the channel.
    pub port: u16,
    /// The push server that is assigned.
    pub push_server: PushServerId,
    /// Its P4 address.
    pub control: SocketAddr,
    /// Version of the assignment: a higher one replaces a lower.
    pub revision: Revision,
    /// Permission to keep the channel alive.
    pub lease: Lease,
    /// The lease's secret.
    pub secret: MacKey,
    /// Verifies the channel's announcements.
    pub announce_key: MacKey,
    /// The database server's time.
    pub time: ClusterTime,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode_message, encode};

    #[test]
    fn requests_on_the_wire() {
        assert_eq!(encode(&ToDatabase::List { tunings: true }), [0, 0, 0, 0, 1]);
        assert_eq!(encode(&ToDatabase::Watch { channel: ChannelId(7) }), [1, 0, 0, 0, 7, 0, 0, 0]);
        assert_eq!(encode(&ToDatabase::Ping), [3, 0, 0, 0]);
        let read: ToDatabase = decode_message::<_, 16>(&[2, 0, 0, 0, 7, 0, 0, 0]).unwrap();
        assert_eq!(read, ToDatabase::Unwatch { channel: ChannelId(7) });
    }
}
