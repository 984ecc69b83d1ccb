//! Plain players as viewers: which groups have members, as their hosts report it by IGMP and MLD.
//!
//! For each interface over which a group with `membership` is sent this is a multicast router that routes nothing: it asks
//! when nobody else does (the lowest address does), hears who answers, and asks again before it takes somebody for gone.
//!
//! ```text
//! Listen ──► shell opens the interface ──Up──► Link: queries, reports ──► Joined / Left of a (channel, destination)
//!                                      └─Down, Denied─► nobody is known to be there
//! ```
//!
//! A report carries no authority and needs none: on a LAN whoever may join a group may have it sent. So nothing is kept but
//! for groups that the topology names, nothing is answered, and whatever comes is only counted.

mod group;
mod link;
pub mod timing;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use protocols::ids::ChannelId;
use protocols::p4_control::DestinationOrder;
use protocols::time::Time;

use crate::counters::Counters;
use link::{Addresses, Kind, Link};
use timing::Timing;
use wire::Flaw;

pub use link::{MAX_ADVERTISEMENT_INTERVAL, MAX_INITIAL_ADVERTISEMENT_INTERVAL, MAX_INITIAL_ADVERTISEMENTS};

/// Interfaces listened to at most; the groups of another one have no members.
pub const MAX_LINKS: usize = 64;

/// An interface and a version of IP.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId {
    /// Name or address, as in the topology.
    pub interface: String,
    /// Whether MLD is heard there, and not IGMP.
    pub ipv6: bool,
}

/// What the shell tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An interface is listened to.
    Up {
        /// Which.
        link: LinkId,
        /// The address that questions are sent from; of IPv6, the link-local one.
        own: IpAddr,
        /// The address that channels are sent from there.
        source: IpAddr,
        /// Whose addresses are reached there without a router.
        on_link: Vec<IpNet>,
    },
    /// An interface cannot be listened to, for now; the shell tries on.
    Down {
        /// Which.
        link: LinkId,
        /// Whether that is because this process may not.
        denied: bool,
    },
    /// A packet with IGMP, or with IPv6 hop-by-hop options, came.
    Packet {
        /// Where.
        link: LinkId,
        /// From its IP header on.
        bytes: Vec<u8>,
    },
}

/// What the shell shall do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Order {
    /// Listen at an interface, and tell.
    Listen(LinkId),
    /// Listen there no more.
    Deafen(LinkId),
    /// Send an IP packet there, as it is.
    Send {
        /// Where.
        link: LinkId,
        /// To which group.
        to: IpAddr,
        /// From its IP header on.
        packet: Vec<u8>,
    },
}

/// The members of all groups.
#[derive(Debug)]
pub struct Membership {
    timing: Timing,
    links: BTreeMap<LinkId, State>,
    /// The groups that are listened to: where, and the channels that are sent there, one by the topology's rules.
    groups: BTreeMap<IpAddr, (LinkId, BTreeSet<ChannelId>)>,
    /// Groups that have members now.
    joined: BTreeSet<IpAddr>,
    /// Something was heard or ordered since the last [`Self::advance`], which found `next` to be its next deadline.
    touched: bool,
    next: Option<Time>,
}

#[derive(Debug)]
enum State {
    /// The shell was asked, and has not told yet.
    Opening,
    /// It cannot be listened to.
    Deaf,
    Up(Box<Link>),
}

impl Membership {
    /// No groups yet.
    pub fn new(timing: Timing) -> Self {
        Self {
            timing,
            links: BTreeMap::new(),
            groups: BTreeMap::new(),
            joined: BTreeSet::new(),
            touched: false,
            next: None,
        }
    }

    /// `channel` is sent to `destinations` from now on: those with `membership` are listened to, no others of the channel.
    pub fn configure<'o>(
        &mut self,
        now: Time,
        channel: ChannelId,
        destinations: impl Iterator<Item = &'o DestinationOrder>,
        counters: &mut Counters,
        out: &mut Vec<Order>,
    ) {
        self.touched = true;
        let wanted: BTreeMap<IpAddr, LinkId> = destinations
            .filter(|order| order.membership && order.address.is_multicast())
            .filter_map(|order| {
                let interface = order.interface.clone()?;
                Some((order.address, LinkId { interface, ipv6: order.address.is_ipv6() }))
            })
            .collect();
        let gone = |(address, (link, channels)): (&IpAddr, &(LinkId, BTreeSet<ChannelId>))| {
            (channels.contains(&channel) && wanted.get(address) != Some(link)).then_some(*address)
        };
        let gone: Vec<IpAddr> = self.groups.iter().filter_map(gone).collect();
        for address in gone {
            self.forget(address, channel);
        }
        for (address, link) in wanted {
            let known = self.groups.entry(address).or_insert_with(|| (link.clone(), BTreeSet::new()));
            let fresh = known.1.is_empty();
            known.1.insert(channel);
            if let Some(state) = self.links.get_mut(&known.0) {
                if let State::Up(link) = state
                    && fresh
                {
                    link.add(now, address);
                }
            } else if self.links.len() < MAX_LINKS {
                self.links.insert(known.0.clone(), State::Opening);
                out.push(Order::Listen(known.0.clone()));
            } else {
                counters.members_links_full += 1;
            }
        }
        let used: BTreeSet<&LinkId> = self.groups.values().map(|(link, _)| link).collect();
        let idle: Vec<LinkId> = self.links.keys().filter(|link| !used.contains(link)).cloned().collect();
        for id in idle {
            if let Some(State::Up(link)) = self.links.remove(&id) {
                let (to, packet) = link.farewell();
                out.push(Order::Send { link: id.clone(), to, packet });
            }
            out.push(Order::Deafen(id));
        }
    }

    fn forget(&mut self, address: IpAddr, channel: ChannelId) {
        let Some((link, channels)) = self.groups.get_mut(&address) else { return };
        channels.remove(&channel);
        if channels.is_empty() {
            if let Some(State::Up(link)) = self.links.get_mut(link) {
                link.remove(address);
            }
            self.groups.remove(&address);
            self.joined.remove(&address);
        }
    }

    /// Takes what the shell tells.
    pub fn hear(&mut self, now: Time, event: Event, counters: &mut Counters) {
        self.touched = true;
        match event {
            Event::Up { link, own, source, on_link } => {
                let groups = self.groups.iter().filter(|(_, (at, _))| *at == link).map(|(group, _)| *group);
                let up = Link::new(now, Addresses { own, source, prefixes: on_link }, self.timing, groups);
                if let Some(state) = self.links.get_mut(&link) {
                    tracing::info!(interface = link.interface, ipv6 = link.ipv6, %own, "listening for members");
                    *state = State::Up(Box::new(up));
                }
            }
            Event::Down { link, denied } => {
                counters.members_denied += u64::from(denied);
                if let Some(state) = self.links.get_mut(&link) {
                    *state = State::Deaf;
                }
            }
            Event::Packet { link, bytes } => {
                let Some(State::Up(link)) = self.links.get_mut(&link) else { return };
                let counter = match link.hear(now, &bytes) {
                    Ok(Kind::Report) => &mut counters.members_reports,
                    Ok(Kind::Stranger) => &mut counters.members_strangers,
                    Ok(Kind::Query) => &mut counters.members_queries,
                    Ok(Kind::Own | Kind::Other) => &mut counters.members_other,
                    Err(Flaw::Length) => &mut counters.members_malformed,
                    Err(Flaw::Checksum) => &mut counters.members_checksum,
                    Err(Flaw::TimeToLive) => &mut counters.members_time_to_live,
                    Err(Flaw::RouterAlert) => &mut counters.members_router_alert,
                    Err(Flaw::Source) => &mut counters.members_source,
                    Err(Flaw::Destination) => &mut counters.members_destination,
                };
                *counter += 1;
            }
        }
    }

    /// Does what is due, and tells by `changed` which groups have members now, or have them no more.
    pub fn advance(&mut self, now: Time, out: &mut Vec<Order>, changed: &mut Vec<(ChannelId, IpAddr, bool)>) {
        if !self.touched && self.next.is_none_or(|next| next > now) {
            return;
        }
        for (id, state) in &mut self.links {
            let State::Up(link) = state else { continue };
            if link.deadline().is_some_and(|at| at <= now) {
                let mut said = Vec::new();
                link.advance(now, &mut said);
                out.extend(said.into_iter().map(|(to, packet)| Order::Send { link: id.clone(), to, packet }));
            }
        }
        for (address, (link, channels)) in &self.groups {
            let there = matches!(self.links.get(link), Some(State::Up(link)) if link.wanted(*address));
            if there != self.joined.contains(address) {
                changed.extend(channels.iter().map(|channel| (*channel, *address, there)));
                if there {
                    self.joined.insert(*address)
                } else {
                    self.joined.remove(address)
                };
            }
        }
        let up = self.links.values().filter_map(|state| match state {
            State::Up(link) => link.deadline(),
            State::Opening | State::Deaf => None,
        });
        (self.touched, self.next) = (false, up.min());
    }

    /// Whether the group has members.
    pub fn has_members(&self, group: IpAddr) -> bool {
        self.joined.contains(&group)
    }

    /// Whether members of the group cannot be heard at present.
    pub fn is_deaf(&self, group: IpAddr) -> bool {
        let Some((link, _)) = self.groups.get(&group) else { return false };
        matches!(self.links.get(link), Some(State::Deaf) | None)
    }

    /// When [`Self::advance`] has something to do next; it is to be called after each order and event.
    pub fn deadline(&self) -> Option<Time> {
        self.next
    }

    /// Interfaces at which we are the querier.
    pub fn querying(&self) -> usize {
        self.links.values().filter(|state| matches!(state, State::Up(link) if link.is_querier())).count()
    }

    /// What is said at each interface when the host ends.
    pub fn farewells(&self) -> Vec<Order> {
        let up = self.links.iter().filter_map(|(id, state)| match state {
            State::Up(link) => Some((id, link.farewell())),
            State::Opening | State::Deaf => None,
        });
        up.map(|(id, (to, packet))| Order::Send { link: id.clone(), to, packet }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ChannelId = ChannelId(1);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn order(group: &str) -> DestinationOrder {
        DestinationOrder {
            address: ip(group),
            interface: Some("e0".to_owned()),
            ttl: 1,
            dscp: 0,
            window_ms: 10,
            broadcast: false,
            assigned: true,
            membership: true,
            announce: false,
        }
    }

    fn link() -> LinkId {
        LinkId { interface: "e0".to_owned(), ipv6: false }
    }

    fn report(kind: u8, group: [u8; 4]) -> Event {
        let mut packet =
            vec![0x46, 0xc0, 0, 32, 0, 0, 0, 0, 1, 2, 0, 0, 10, 0, 1, 9, 224, 0, 0, 22, 0x94, 4, 0, 0];
        packet.extend([kind, 0, 0, 0]);
        packet.extend(group);
        for (from, to, at) in [(0, 24, 10), (24, 32, 26)] {
            let sum: u32 =
                packet[from..to].chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two[1])).sum();
            let folded = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
            packet[at..at + 2].copy_from_slice(&folded.to_be_bytes());
        }
        Event::Packet { link: link(), bytes: packet }
    }

    struct Bench {
        membership: Membership,
        counters: Counters,
        out: Vec<Order>,
    }

    impl Bench {
        fn new() -> Self {
            let membership = Membership::new(Timing::default());
            let mut bench = Self { membership, counters: Counters::default(), out: Vec::new() };
            bench.configure(0, ONE, &[order("239.1.1.1")]);
            assert_eq!(bench.out, [Order::Listen(link())]);
            bench.hear(
                0,
                Event::Up {
                    link: link(),
                    own: ip("10.0.1.1"),
                    source: ip("10.0.1.1"),
                    on_link: vec!["10.0.1.0/24".parse().unwrap()],
                },
            );
            bench
        }

        fn configure(&mut self, s: u64, channel: ChannelId, orders: &[DestinationOrder]) {
            self.out.clear();
            let now = Time::from_ms(s * 1000);
            self.membership.configure(now, channel, orders.iter(), &mut self.counters, &mut self.out);
        }

        fn hear(&mut self, s: u64, event: Event) {
            self.membership.hear(Time::from_ms(s * 1000), event, &mut self.counters);
        }

        fn changed(&mut self, s: u64) -> Vec<(ChannelId, IpAddr, bool)> {
            let mut changed = Vec::new();
            self.membership.advance(Time::from_ms(s * 1000), &mut self.out, &mut changed);
            changed
        }
    }

    #[test]
    fn a_join_is_told_once_and_a_leave_2_s_later() {
        let mut bench = Bench::new();
        assert_eq!(bench.changed(0), []);
        bench.hear(1, report(0x16, [239, 1, 1, 1]));
        assert_eq!(bench.changed(1), [(ONE, ip("239.1.1.1"), true)]);
        bench.hear(2, report(0x16, [239, 1, 1, 1]));
        assert_eq!(bench.changed(2), []);
        bench.hear(5, report(0x17, [239, 1, 1, 1]));
        assert_eq!(bench.changed(5), []);
        assert_eq!(bench.changed(6), []);
        assert_eq!(bench.changed(7), [(ONE, ip("239.1.1.1"), false)]);
        assert_eq!(bench.counters.members_reports, 3);
    }

    #[test]
    fn strangers_groups_make_no_state() {
        let mut bench = Bench::new();
        for last in 2..=255 {
            bench.hear(1, report(0x16, [239, 1, 1, last]));
        }
        assert_eq!(bench.changed(1), []);
        assert_eq!(bench.counters.members_strangers, 254);
        assert_eq!(bench.membership.groups.len(), 1);
    }

    #[test]
    fn a_group_that_is_configured_no_more_has_no_members_and_its_interface_is_left() {
        let mut bench = Bench::new();
        bench.hear(1, report(0x16, [239, 1, 1, 1]));
        assert_eq!(bench.changed(1).len(), 1);
        bench.configure(2, ONE, &[]);
        assert!(!bench.membership.has_members(ip("239.1.1.1")));
        assert!(matches!(&bench.out[..], [Order::Send { .. }, Order::Deafen(_)]), "{:?}", bench.out);
        assert_eq!(bench.changed(2), []);
        assert_eq!(bench.membership.deadline(), None);
    }

    #[test]
    fn who_may_not_listen_is_deaf_and_hears_when_it_may() {
        let mut bench = Bench::new();
        bench.hear(1, report(0x16, [239, 1, 1, 1]));
        assert_eq!(bench.changed(1).len(), 1);
        bench.hear(2, Event::Down { link: link(), denied: true });
        assert_eq!(bench.changed(2), [(ONE, ip("239.1.1.1"), false)]);
        assert!(bench.membership.is_deaf(ip("239.1.1.1")));
        assert_eq!(bench.counters.members_denied, 1);
    }

    #[test]
    fn one_interface_more_than_the_limit_is_not_listened_to() {
        let mut bench = Bench::new();
        let orders: Vec<_> = (2..=66_u8)
            .map(|n| DestinationOrder { interface: Some(format!("e{n}")), ..order(&format!("239.1.1.{n}")) })
            .collect();
        bench.configure(1, ChannelId(2), &orders);
        assert_eq!(bench.out.len(), MAX_LINKS - 1);
        assert_eq!(bench.counters.members_links_full, 2);
        assert!(bench.membership.is_deaf(ip("239.1.1.66")));
    }
}
