//! Configure and configured: what a push server is to carry, and that it does.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{ChannelId, Revision};
use crate::recording::{RecordPeer, Span};

/// A configuration not acknowledged is repeated after this.
pub const CONFIGURE_RETRY: Duration = Duration::from_millis(100);
/// Destinations in one configure datagram.
pub const DESTINATIONS_PER_PART: usize = 10;
/// Peers in one configure datagram, which then has no destinations and no spans.
pub const PEERS_PER_PART: usize = 10;
/// Protected spans in one configure datagram, which then has no destinations and no peers.
pub const SPANS_PER_PART: usize = 40;
/// Window of a destination unless set: 10 ms, five packets of a 5 Mb/s channel.
pub const DEFAULT_WINDOW_MS: u8 = 10;
/// Longest window of a destination.
pub const MAX_WINDOW_MS: u8 = 50;

/// The whole configuration of one push server, or one part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configure {
    /// The channel; with the host it names the push server.
    pub channel: ChannelId,
    /// Applied when it is above the one held; acknowledged in any case.
    pub revision: Revision,
    /// Index of this part, from 0.
    pub part: u8,
    /// Number of parts; applied when all have come. 0: the host carries this channel no more.
    pub parts: u8,
    /// UDP port of the channel.
    pub port: u16,
    /// This part's destinations, at most [`DESTINATIONS_PER_PART`].
    pub destinations: Vec<DestinationOrder>,
    /// What to record, the same in each part but for its lists; `None`: nothing.
    pub record: Option<RecordPart>,
    /// What is said of the channel where it is announced, the same in each part; `None`: it is announced nowhere.
    pub session: Option<SessionOrder>,
}

/// What a channel's session announcements (RFC 2974) say beside where it is sent. All push servers of a channel are told
/// the same, so that one that takes over goes on with the session of the one before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionOrder {
    /// Who made the session: the database server's address.
    pub origin: IpAddr,
    /// The channel's name, at most [`crate::topology::MAX_NAME_BYTES`] bytes.
    pub name: String,
}

/// One part of a [`crate::recording::RecordOrder`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordPart {
    /// Age at which a segment may be deleted, in s.
    pub keep_s: u32,
    /// This part's protected spans, at most [`SPANS_PER_PART`].
    pub protected: Vec<Span>,
    /// This part's peers, at most [`PEERS_PER_PART`].
    pub peers: Vec<RecordPeer>,
}

/// One destination of a push server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "a message: each is a byte of its own on the wire")]
pub struct DestinationOrder {
    /// Where to send.
    pub address: IpAddr,
    /// By which interface, name or address as in the topology, at most 32 bytes; `None`: the routing table's.
    pub interface: Option<String>,
    /// Multicast TTL or unicast hop limit, 1..=255.
    pub ttl: u8,
    /// Differentiated services code point, 0..=63.
    pub dscp: u8,
    /// Longest time that packets wait to leave together, in ms, 0..=[`MAX_WINDOW_MS`]; 0: each leaves as it comes.
    pub window_ms: u8,
    /// Whether `address` is a directed broadcast address.
    pub broadcast: bool,
    /// Whether this push server is the one of its rivals that serves the network (one of them is).
    pub assigned: bool,
    /// Whether hosts that join the group count as viewers.
    pub membership: bool,
    /// Whether the channel is announced there, as [`Configure::session`] says.
    pub announce: bool,
}

/// Acknowledges a [`Configure`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configured {
    /// The channel.
    pub channel: ChannelId,
    /// The part received.
    pub part: u8,
    /// Its revision.
    pub revision: Revision,
    /// The revision that is in force now; above the other when that was an old one.
    pub in_force: Revision,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::ClusterKey;
    use crate::codec::encode;
    use crate::ids::{BootId, HostId};
    use crate::p4_control::{Command, CommandOrder, Kind, MAX_DATAGRAM_BYTES, seal};
    use crate::time::ClusterTime;

    fn cluster() -> ClusterKey {
        ClusterKey::new([7; 32])
    }

    #[test]
    fn the_largest_parts_fit_a_datagram() {
        let host: HostId = "h".repeat(32).parse().unwrap();
        let key = cluster().host_key(&host);
        let order = CommandOrder { start: 1, sequence: 1 };
        let destination = DestinationOrder {
            address: "ff15::1".parse().unwrap(),
            interface: Some("i".repeat(45)),
            ttl: 1,
            dscp: 0,
            window_ms: DEFAULT_WINDOW_MS,
            broadcast: false,
            assigned: true,
            membership: true,
            announce: true,
        };
        let span = Span { from: ClusterTime(1), to: ClusterTime(2) };
        let peer = RecordPeer { host: host.clone(), feed: "[ff15::1]:1".parse().unwrap() };
        let record = RecordPart { keep_s: 60, ..RecordPart::default() };
        let parts = [
            (vec![destination; DESTINATIONS_PER_PART], record.clone()),
            (vec![], RecordPart { protected: vec![span; SPANS_PER_PART], ..record.clone() }),
            (vec![], RecordPart { peers: vec![peer; PEERS_PER_PART], ..record }),
        ];
        for (destinations, record) in parts {
            let (channel, revision, record) = (ChannelId(1), Revision(1), Some(record));
            let session = Some(SessionOrder {
                origin: "ff15::1".parse().unwrap(),
                name: "n".repeat(crate::topology::MAX_NAME_BYTES),
            });
            let body =
                Configure { channel, revision, part: 0, parts: 1, port: 1, destinations, record, session };
            let command = Command { host: host.clone(), host_boot: BootId(1), order, body };
            assert!(seal(Kind::Configure, &command, &key).len() <= MAX_DATAGRAM_BYTES);
        }
    }

    #[test]
    fn an_order_to_record_on_the_wire() {
        let span = Span { from: ClusterTime(1), to: ClusterTime(2) };
        let peer = RecordPeer { host: "h".parse().unwrap(), feed: "10.0.0.1:7403".parse().unwrap() };
        let record = Some(RecordPart { keep_s: 60, protected: vec![span], peers: vec![peer] });
        let (channel, revision) = (ChannelId(7), Revision(8));
        let body = Configure {
            channel,
            revision,
            part: 0,
            parts: 1,
            port: 9,
            destinations: vec![],
            record,
            session: None,
        };
        let mut expected = vec![7, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        expected.extend([60, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([
            1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, b'h', 0, 0, 0, 0, 10, 0, 0, 1, 0xeb, 0x1c, 0,
        ]);
        assert_eq!(encode(&body), expected);
    }

    #[test]
    fn an_order_to_hear_members_and_to_announce_on_the_wire() {
        let destination = DestinationOrder {
            address: "239.192.1.7".parse().unwrap(),
            interface: None,
            ttl: 1,
            dscp: 0,
            window_ms: 10,
            broadcast: false,
            assigned: true,
            membership: true,
            announce: false,
        };
        let session = Some(SessionOrder { origin: "10.0.0.2".parse().unwrap(), name: "A".to_owned() });
        let (channel, revision, destinations) = (ChannelId(7), Revision(8), vec![destination]);
        let body =
            Configure { channel, revision, part: 0, parts: 1, port: 9, destinations, record: None, session };
        let mut expected = vec![7, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 9, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        expected.extend([0, 0, 0, 0, 239, 192, 1, 7, 0, 1, 0, 10, 0, 1, 1, 0]);
        expected.extend([0, 1, 0, 0, 0, 0, 10, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, b'A']);
        assert_eq!(encode(&body), expected);
    }
}
