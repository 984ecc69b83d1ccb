//! Configure and configured: what a push server is to carry, and that it does.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{ChannelId, Revision};

/// A configuration not acknowledged is repeated after this.
pub const CONFIGURE_RETRY: Duration = Duration::from_millis(100);
/// Destinations in one configure datagram.
pub const DESTINATIONS_PER_PART: usize = 10;
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
}

/// One destination of a push server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    use crate::ids::{BootId, HostId};
    use crate::p4_control::{Command, CommandOrder, Kind, MAX_DATAGRAM_BYTES, seal};

    fn cluster() -> ClusterKey {
        ClusterKey::new([7; 32])
    }

    #[test]
    fn the_largest_part_fits_a_datagram() {
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
        };
        let body = Configure {
            channel: ChannelId(1),
            revision: Revision(1),
            part: 0,
            parts: 1,
            port: 1,
            destinations: vec![destination; DESTINATIONS_PER_PART],
        };
        let command = Command { host: host.clone(), host_boot: BootId(1), order, body };
        assert!(seal(Kind::Configure, &command, &key).len() <= MAX_DATAGRAM_BYTES);
    }
}
