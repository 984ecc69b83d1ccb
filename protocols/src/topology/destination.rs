//! A destination: the address on one network to which a push host sends its channels.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::network::NetworkId;
use crate::ids::ChannelId;

/// Where one push host sends its channels on one network; the port is each channel's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Destination {
    /// Multicast group, directed broadcast address or a plain host; never unspecified, never IPv4-mapped IPv6.
    pub address: IpAddr,
    /// How packets reach the viewers.
    pub kind: DestinationKind,
    /// Which interface sends; always there for multicast, otherwise the routing table decides.
    pub interface: Option<Interface>,
    /// Time to live or hop limit, 1 to 255; by default 1 for multicast, 64 otherwise.
    pub ttl: u8,
    /// Differentiated services code point (RFC 2474), 0 to 63; 0 by default.
    pub dscp: u8,
    /// Longest time that packets wait to leave together, 0 to 50 ms; 0: each as it comes. 10 by default.
    pub window_ms: u8,
    /// Whose channel lists this destination is on.
    pub network: NetworkId,
    /// Which of its push host's channels are sent there; `None`: all of them.
    pub channels: Option<BTreeSet<ChannelId>>,
    /// Whether hosts that join the group count as viewers (IGMP, MLD): such a group carries one channel only.
    pub membership: bool,
    /// Whether its channels are announced there by SAP (RFC 2974).
    pub announce: bool,
}

impl Destination {
    /// Whether `channel`, one of its push host's, is sent there.
    pub fn carries(&self, channel: ChannelId) -> bool {
        self.channels.as_ref().is_none_or(|channels| channels.contains(&channel))
    }
}

/// How a destination's packets reach viewers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DestinationKind {
    /// An IPv4 or IPv6 group: those who joined hear it.
    Multicast,
    /// The broadcast address of a served prefix, or 255.255.255.255: the whole IPv4 network hears it.
    Broadcast,
    /// One host.
    Unicast,
}

impl DestinationKind {
    /// What `address` is for viewers in `serves`.
    pub fn of(address: IpAddr, serves: &[IpNet]) -> Self {
        if address.is_multicast() {
            return Self::Multicast;
        }
        let IpAddr::V4(v4) = address else { return Self::Unicast };
        // In a /31 (RFC 3021) and a /32 the last address is a host.
        let ends = |prefix: &IpNet| prefix.prefix_len() < 31 && prefix.broadcast() == address;
        if v4.is_broadcast() || serves.iter().any(ends) { Self::Broadcast } else { Self::Unicast }
    }

    /// Time to live when the topology gives none.
    pub fn default_ttl(self) -> u8 {
        match self {
            Self::Multicast => 1,
            Self::Broadcast | Self::Unicast => 64,
        }
    }
}

impl fmt::Display for DestinationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Unicast => "unicast",
        })
    }
}

/// A network interface, as the administrator names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Interface {
    /// Its name, such as `eth0`; 1 to [`MAX_INTERFACE_BYTES`] bytes.
    Name(String),
    /// One of its own addresses.
    Address(IpAddr),
}

impl Interface {
    /// The address, where the interface is given by one.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Name(_) => None,
            Self::Address(address) => Some(*address),
        }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.pad(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// What parses as an address is one; everything else is a name.
impl FromStr for Interface {
    type Err = InterfaceError;

    fn from_str(text: &str) -> Result<Self, InterfaceError> {
        if let Ok(address) = text.parse::<IpAddr>() {
            let address = address.to_canonical();
            let usable = !address.is_unspecified() && !address.is_multicast();
            return if usable { Ok(Self::Address(address)) } else { Err(InterfaceError::NotAHost(address)) };
        }
        let nameable = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '/' | ':');
        if text.is_empty() || text.len() > MAX_INTERFACE_BYTES || !text.chars().all(nameable) {
            let shown = text.chars().take(2 * MAX_INTERFACE_BYTES).collect();
            return Err(InterfaceError::NotAName(shown));
        }
        Ok(Self::Name(text.to_owned()))
    }
}

impl TryFrom<String> for Interface {
    type Error = InterfaceError;

    fn try_from(text: String) -> Result<Self, InterfaceError> {
        text.parse()
    }
}

impl From<Interface> for String {
    fn from(interface: Interface) -> Self {
        interface.to_string()
    }
}

/// Why a text names no interface.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InterfaceError {
    /// An unspecified or multicast address.
    #[error(
        "{0} is no interface's own address; write the address that the server itself has on that network"
    )]
    NotAHost(IpAddr),
    /// Neither an address nor a possible name.
    #[error(
        "`{0}` is neither an address nor an interface name (1 to {MAX_INTERFACE_BYTES} bytes without blanks, `/` and `:`)"
    )]
    NotAName(String),
}

/// Longest interface name (Linux keeps 16 bytes with the closing zero).
pub const MAX_INTERFACE_BYTES: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(address: &str, serves: &[&str]) -> DestinationKind {
        let serves: Vec<IpNet> = serves.iter().map(|text| text.parse().unwrap()).collect();
        DestinationKind::of(address.parse().unwrap(), &serves)
    }

    #[test]
    fn the_served_prefixes_tell_broadcast_from_unicast() {
        assert_eq!(kind("239.1.1.1", &["10.0.1.0/24"]), DestinationKind::Multicast);
        assert_eq!(kind("ff15::1", &["fd00::/64"]), DestinationKind::Multicast);
        assert_eq!(kind("10.0.1.255", &["10.0.9.0/24", "10.0.1.0/24"]), DestinationKind::Broadcast);
        assert_eq!(kind("10.0.1.255", &["10.0.0.0/16"]), DestinationKind::Unicast);
        assert_eq!(kind("10.0.1.7", &["10.0.1.7/32"]), DestinationKind::Unicast);
        assert_eq!(kind("10.0.1.7", &["10.0.1.6/31"]), DestinationKind::Unicast);
        assert_eq!(kind("255.255.255.255", &["10.0.1.0/24"]), DestinationKind::Broadcast);
        assert_eq!(kind("fd00::ffff:ffff:ffff:ffff", &["fd00::/64"]), DestinationKind::Unicast);
    }

    #[test]
    fn an_interface_is_an_address_or_a_name() {
        assert_eq!("eth0".parse(), Ok(Interface::Name("eth0".to_owned())));
        assert_eq!("10.0.1.1".parse(), Ok(Interface::Address("10.0.1.1".parse().unwrap())));
        assert_eq!("::ffff:10.0.1.1".parse(), Ok(Interface::Address("10.0.1.1".parse().unwrap())));
        assert!("239.1.1.1".parse::<Interface>().is_err());
        for wrong in ["", "eth 0", "a/b", "longer-than-fifteen"] {
            assert!(wrong.parse::<Interface>().is_err(), "{wrong}");
        }
    }
}
