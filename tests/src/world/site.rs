//! The site that a world simulates: its topology as the text of `topology.toml`, and who has which address.
//!
//! ```text
//! database 10.0.0.2   acquisition servers 10.0.0.10…   hosts 10.0.0.100…
//! LAN l  10.1.l.0/24  viewers 10.1.l.10…  hosts' interfaces 10.1.l.200…   even l: multicast 239.192.1.l, odd l: broadcast
//! ```

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use protocols::authority::ClusterKey;
use protocols::ids::{AcquisitionId, ChannelId, HostId};
use protocols::topology::Topology;

use super::{MAX_NODES, NodeId};

/// How many of each there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dimensions {
    /// Acquisition servers; channel c comes from server c modulo this.
    pub acquisitions: usize,
    /// Push server hosts.
    pub hosts: usize,
    /// Networks.
    pub lans: usize,
    /// Hosts that serve each network, at most `hosts`.
    pub rivals: usize,
    /// Channels, each carried by every host.
    pub channels: usize,
    /// Viewers; viewer v sits on network v modulo `lans`.
    pub viewers: usize,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The database server.
    Database,
    /// The acquisition server of this number.
    Acquisition(usize),
    /// The push server host of this number.
    Host(usize),
    /// The viewer of this number.
    Viewer(usize),
}

/// The site.
#[derive(Debug)]
pub struct Site {
    /// Its size.
    pub size: Dimensions,
    /// Its cluster key.
    pub key: ClusterKey,
    /// The topology in its variants; the first one is loaded at the start.
    pub topologies: Vec<Arc<Topology>>,
    /// Ids of the acquisition servers.
    pub acquisitions: Vec<AcquisitionId>,
    /// Ids of the hosts.
    pub hosts: Vec<HostId>,
    /// P3 addresses of the hosts.
    pub feeds: Vec<SocketAddr>,
}

impl Site {
    /// A site of this size.
    ///
    /// # Panics
    /// When it has more than [`MAX_NODES`] nodes or 200 of one kind on a network.
    pub fn new(size: Dimensions) -> Self {
        assert!(size.nodes() <= MAX_NODES, "{size:?}");
        let topologies = (0..VARIANTS)
            .map(|variant| {
                let text = text(size, variant);
                let parsed = Topology::parse("topology.toml", &text);
                let (topology, _) = parsed.unwrap_or_else(|faults| panic!("{faults}\n{text}"));
                Arc::new(topology)
            })
            .collect();
        Self {
            size,
            key: ClusterKey::new([7; 32]),
            topologies,
            acquisitions: (0..size.acquisitions).map(|a| id(&acquisition_name(a))).collect(),
            hosts: (0..size.hosts).map(|h| id(&host_name(h))).collect(),
            feeds: (0..size.hosts).map(|h| SocketAddr::new(size.address(Role::Host(h)), FEED_PORT)).collect(),
        }
    }

    /// The number of a host.
    pub fn host(&self, id: &HostId) -> Option<usize> {
        self.hosts.iter().position(|host| host == id)
    }
}

impl Dimensions {
    /// All nodes.
    pub fn nodes(self) -> usize {
        1 + self.acquisitions + self.hosts + self.viewers
    }

    /// The node of a role.
    pub fn node(self, role: Role) -> NodeId {
        let index = match role {
            Role::Database => 0,
            Role::Acquisition(a) => 1 + a,
            Role::Host(h) => 1 + self.acquisitions + h,
            Role::Viewer(v) => 1 + self.acquisitions + self.hosts + v,
        };
        NodeId(u16::try_from(index).expect("a world has few nodes"))
    }

    /// The role of a node.
    pub fn role(self, node: NodeId) -> Role {
        let index = node.index();
        if index == 0 {
            Role::Database
        } else if index <= self.acquisitions {
            Role::Acquisition(index - 1)
        } else if index <= self.acquisitions + self.hosts {
            Role::Host(index - 1 - self.acquisitions)
        } else {
            Role::Viewer(index - 1 - self.acquisitions - self.hosts)
        }
    }

    /// The address of a role's node.
    pub fn address(self, role: Role) -> IpAddr {
        match role {
            Role::Database => v4(10, 0, 0, 2),
            Role::Acquisition(a) => v4(10, 0, 0, byte(10 + a)),
            Role::Host(h) => v4(10, 0, 0, byte(100 + h)),
            Role::Viewer(v) => v4(10, 1, byte(v % self.lans), byte(10 + v / self.lans)),
        }
    }

    /// Whose address this is.
    pub fn role_of(self, address: IpAddr) -> Option<Role> {
        let IpAddr::V4(address) = address else { return None };
        let role = match address.octets() {
            [10, 0, 0, 2] => Role::Database,
            [10, 0, 0, last @ 10..100] => Role::Acquisition(usize::from(last) - 10),
            [10, 0, 0, last @ 100..=255] => Role::Host(usize::from(last) - 100),
            [10, 1, lan, last @ 10..200] => {
                Role::Viewer((usize::from(last) - 10) * self.lans + usize::from(lan))
            }
            _ => return None,
        };
        Some(role)
    }

    /// The network of a viewer.
    pub fn lan_of(self, viewer: usize) -> usize {
        viewer % self.lans
    }

    /// The viewers on a network.
    pub fn viewers_on(self, lan: usize) -> impl Iterator<Item = usize> {
        (lan..self.viewers).step_by(self.lans)
    }

    /// The destination's address on a network.
    pub fn destination(self, lan: usize) -> IpAddr {
        if lan.is_multiple_of(2) { v4(239, 192, 1, byte(lan)) } else { v4(10, 1, byte(lan), 255) }
    }

    /// The network that a destination is on.
    pub fn lan_at(self, destination: IpAddr) -> Option<usize> {
        match destination {
            IpAddr::V4(address) => match address.octets() {
                [239, 192, 1, lan] | [10, 1, lan, 255] if usize::from(lan) < self.lans => {
                    Some(usize::from(lan))
                }
                _ => None,
            },
            IpAddr::V6(_) => None,
        }
    }

    /// Whether a host serves a network in the first variant of the topology.
    pub fn serves(self, host: usize, lan: usize) -> bool {
        (host + self.hosts - lan % self.hosts) % self.hosts < self.rivals
    }

    /// The channel of this number.
    pub fn channel(self, number: usize) -> ChannelId {
        ChannelId(u32::try_from(number + 1).expect("a world has few channels"))
    }

    /// The number of a channel.
    pub fn number(self, channel: ChannelId) -> Option<usize> {
        let number = usize::try_from(channel.0).ok()?.checked_sub(1)?;
        (number < self.channels).then_some(number)
    }
}

/// Variants of the topology: as first loaded; the first channel has another name; the last host serves nothing;
/// the last channel is at no host but the first.
pub const VARIANTS: usize = 4;

/// The text of a site's `topology.toml`.
pub fn text(size: Dimensions, variant: usize) -> String {
    let mut text = format!("[database_server]\naddress = \"{}\"\n", size.address(Role::Database));
    for a in 0..size.acquisitions {
        let _ = write!(text, "\n[[acquisition_server]]\nid = \"{}\"\n", acquisition_name(a));
        for c in (a..size.channels).step_by(size.acquisitions) {
            let _ = write!(text, "[[acquisition_server.input]]\nid = \"in-{c}\"\nurl = \"testcard:\"\n");
        }
    }
    for c in 0..size.channels {
        let name = if variant == 1 && c == 0 { "Renamed".to_owned() } else { format!("Channel {c}") };
        let _ = write!(
            text,
            "\n[[channel]]\nid = {}\nname = \"{name}\"\nacquisition_server = \"{}\"\ninput = \"in-{c}\"\n",
            size.channel(c),
            acquisition_name(c % size.acquisitions),
        );
    }
    for h in 0..size.hosts {
        host_text(&mut text, size, variant, h);
    }
    text
}

fn host_text(text: &mut String, size: Dimensions, variant: usize, host: usize) {
    let last_host = host + 1 == size.hosts && size.hosts > 1;
    if variant == 2 && last_host {
        return;
    }
    let channels: Vec<String> = (0..size.channels)
        .filter(|c| !(variant == 3 && c + 1 == size.channels && last_host && size.channels > 1))
        .map(|c| size.channel(c).to_string())
        .collect();
    let _ = write!(
        text,
        "\n[[push_server]]\nid = \"{}\"\naddress = \"{}\"\nchannels = [{}]\n",
        host_name(host),
        size.address(Role::Host(host)),
        channels.join(", "),
    );
    for lan in (0..size.lans).filter(|lan| size.serves(host, *lan)) {
        let _ = write!(
            text,
            "[[push_server.destination]]\naddress = \"{}\"\ninterface = \"10.1.{lan}.{}\"\nserves = [\"10.1.{lan}.0/24\"]\n",
            size.destination(lan),
            200 + host,
        );
    }
}

fn acquisition_name(number: usize) -> String {
    format!("roof-{number}")
}

fn host_name(number: usize) -> String {
    format!("hall-{number}")
}

fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("ids made here follow the alphabet")
}

fn byte(number: usize) -> u8 {
    u8::try_from(number).expect("at most 200 of a kind on a network")
}

fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const FEED_PORT: u16 = protocols::topology::DEFAULT_FEED_PORT;

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Dimensions =
        Dimensions { acquisitions: 2, hosts: 3, lans: 2, rivals: 2, channels: 3, viewers: 5 };

    #[test]
    fn roles_nodes_and_addresses_belong_together() {
        for index in 0..SIZE.nodes() {
            let node = NodeId(u16::try_from(index).unwrap());
            let role = SIZE.role(node);
            assert_eq!(SIZE.node(role), node);
            assert_eq!(SIZE.role_of(SIZE.address(role)), Some(role));
        }
    }

    #[test]
    fn every_variant_parses_and_each_network_has_its_rivals() {
        let site = Site::new(SIZE);
        assert_eq!(site.topologies.len(), VARIANTS);
        for lan in 0..SIZE.lans {
            assert_eq!((0..SIZE.hosts).filter(|host| SIZE.serves(*host, lan)).count(), SIZE.rivals);
            assert_eq!(SIZE.lan_at(SIZE.destination(lan)), Some(lan));
        }
    }
}
