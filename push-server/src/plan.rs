//! What the control machine hands to the data plane of one channel: where to send, how, and whether just now.

use std::net::IpAddr;
use std::time::Duration;

use protocols::ids::{ChannelId, Revision};
use protocols::p4_control::{DestinationFault, DestinationOrder};

/// Everything that the data plane of one channel needs; replaces the plan before it, between two batches of packets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The configuration that it was made from.
    pub revision: Revision,
    /// UDP port of the channel at every destination.
    pub port: u16,
    /// Every configured destination, ascending by address, each address once.
    pub targets: Vec<Target>,
}

/// One destination of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where to send.
    pub address: IpAddr,
    /// By which interface, name or address; `None`: the routing table's.
    pub interface: Option<String>,
    /// Multicast TTL or unicast hop limit, 1..=255.
    pub ttl: u8,
    /// Differentiated services code point, 0..=63.
    pub dscp: u8,
    /// Longest time that packets wait to leave together; zero: each leaves as it comes.
    pub window: Duration,
    /// Whether `address` is a directed broadcast address.
    pub broadcast: bool,
    /// Whether packets are sent there: it is assigned to this push server and interest holds.
    pub sending: bool,
}

impl Target {
    /// The target of an order.
    pub fn new(order: &DestinationOrder, sending: bool) -> Self {
        Self {
            address: order.address,
            interface: order.interface.clone(),
            ttl: order.ttl,
            dscp: order.dscp,
            window: Duration::from_millis(order.window_ms.into()),
            broadcast: order.broadcast,
            sending,
        }
    }
}

/// What the data plane of one channel has counted since the process started; told about once a second, and at once
/// when packets begin or cease to arrive and when a fault begins or ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelCounters {
    /// The channel.
    pub channel: ChannelId,
    /// RTP packets received by P3.
    pub packets: u64,
    /// Whether packets have arrived within [`protocols::p3_feed::STALL_TIMEOUT`].
    pub flowing: bool,
    /// One line per target of the plan in force.
    pub targets: Vec<TargetCounters>,
}

/// What was sent to one destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetCounters {
    /// The destination.
    pub address: IpAddr,
    /// RTP packets handed to the operating system.
    pub packets: u64,
    /// Why it cannot be sent to at present.
    pub fault: Option<DestinationFault>,
}
