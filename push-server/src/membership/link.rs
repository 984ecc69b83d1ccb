//! One interface: who asks there, when we do, and the groups that are listened to.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use protocols::time::Time;

use super::group::{Asked, Group, Rules};
use super::timing::Timing;
use super::wire::{self, About, Flaw, Heard, Message, Query};

/// Longest time between two advertisements to switches (RFC 4286 §3.2).
pub const MAX_ADVERTISEMENT_INTERVAL: Duration = Duration::from_secs(20);
/// Longest time between the first ones.
pub const MAX_INITIAL_ADVERTISEMENT_INTERVAL: Duration = Duration::from_secs(2);
/// How many those are.
pub const MAX_INITIAL_ADVERTISEMENTS: u32 = 3;

/// An interface that works.
#[derive(Debug)]
pub(super) struct Link {
    own: IpAddr,
    source: IpAddr,
    prefixes: Vec<IpNet>,
    configured: Timing,
    /// The timing in force: the querier's, where that is another.
    timing: Timing,
    /// The querier, when it is another, and until when it is taken to be there.
    other: Option<(IpAddr, Time)>,
    next_query: Time,
    first_queries_left: u32,
    next_advertisement: Time,
    first_advertisements_left: u32,
    groups: BTreeMap<IpAddr, Group>,
}

/// What is known of an interface.
#[derive(Debug)]
pub(super) struct Addresses {
    /// From which we ask.
    pub(super) own: IpAddr,
    /// From which channels come.
    pub(super) source: IpAddr,
    /// Whose addresses are there.
    pub(super) prefixes: Vec<IpNet>,
}

/// A packet to be sent on the interface.
pub(super) type Said = (IpAddr, Vec<u8>);

impl Link {
    /// An interface at which we begin to ask, with the groups that are listened to.
    pub(super) fn new(
        now: Time,
        addresses: Addresses,
        timing: Timing,
        groups: impl Iterator<Item = IpAddr>,
    ) -> Self {
        let Addresses { own, source, prefixes } = addresses;
        Self {
            own,
            source,
            prefixes,
            configured: timing,
            timing,
            other: None,
            next_query: now,
            first_queries_left: timing.query_count(),
            next_advertisement: now,
            first_advertisements_left: MAX_INITIAL_ADVERTISEMENTS,
            groups: groups.map(|group| (group, Group::default())).collect(),
        }
    }

    /// Listens to a group from now on.
    pub(super) fn add(&mut self, now: Time, group: IpAddr) {
        self.groups.entry(group).or_default().ask_who_is_there(now);
    }

    /// Listens to it no more.
    pub(super) fn remove(&mut self, group: IpAddr) {
        self.groups.remove(&group);
    }

    /// Whether somebody there wants the group from us.
    pub(super) fn wanted(&self, group: IpAddr) -> bool {
        self.groups.get(&group).is_some_and(Group::wanted)
    }

    /// Whether we are the querier.
    pub(super) fn is_querier(&self) -> bool {
        self.other.is_none()
    }

    /// Takes a packet.
    pub(super) fn hear(&mut self, now: Time, packet: &[u8]) -> Result<Kind, Flaw> {
        let Heard { source, message } = wire::parse(packet, self.source)?;
        if source == self.own {
            return Ok(Kind::Own);
        }
        if !source.is_unspecified() && !self.prefixes.iter().any(|prefix| prefix.contains(&source)) {
            return Err(Flaw::Source);
        }
        match message {
            Message::Query(query) => {
                self.query(now, source, query);
                Ok(Kind::Query)
            }
            Message::Report(records) => {
                let rules = Rules { timing: &self.timing, querier: self.other.is_none() };
                let mut kind = Kind::Stranger;
                for record in records {
                    if let Some(group) = self.groups.get_mut(&record.group) {
                        group.hear(now, record, rules);
                        kind = Kind::Report;
                    }
                }
                Ok(kind)
            }
            Message::Solicitation => {
                // A flood of them is answered no oftener than the first advertisements come.
                let soon = now + MAX_INITIAL_ADVERTISEMENT_INTERVAL;
                self.next_advertisement = self.next_advertisement.min(soon);
                Ok(Kind::Other)
            }
            Message::Other => Ok(Kind::Other),
        }
    }

    fn query(&mut self, now: Time, source: IpAddr, query: Query) {
        // A switch that asks without an address of its own is no querier (RFC 4541 §2.1.1).
        if source.is_unspecified() {
            return;
        }
        if source < self.own {
            self.timing = Timing {
                robustness: query.robustness.unwrap_or(self.configured.robustness).max(1),
                query_interval: query.interval.unwrap_or(self.configured.query_interval),
                ..self.configured
            };
            if self.other.is_none() {
                tracing::info!(querier = %source, own = %self.own, "another asks for members here");
            }
            self.other = Some((source, now + self.timing.other_querier_present_interval()));
        }
        if let Some(group) = query.group.and_then(|group| self.groups.get_mut(&group))
            && !query.suppress
            && self.other.is_some()
        {
            group.overhear(now, query.sources, &self.timing);
        }
    }

    /// Does what is due.
    pub(super) fn advance(&mut self, now: Time, out: &mut Vec<Said>) {
        if self.other.is_some_and(|(_, until)| until <= now) {
            self.other = None;
            self.timing = self.configured;
            self.next_query = now;
            tracing::info!(own = %self.own, "nobody else asks for members here any more");
        }
        if self.other.is_none() && self.next_query <= now {
            out.push(wire::query(self.own, About::All, false, &self.timing));
            self.first_queries_left = self.first_queries_left.saturating_sub(1);
            let startup = self.first_queries_left > 0;
            let interval =
                if startup { self.timing.startup_query_interval() } else { self.timing.query_interval };
            self.next_query = now + interval;
        }
        if self.next_advertisement <= now {
            self.first_advertisements_left = self.first_advertisements_left.saturating_sub(1);
            let initial = self.first_advertisements_left > 0;
            let max = if initial { MAX_INITIAL_ADVERTISEMENT_INTERVAL } else { MAX_ADVERTISEMENT_INTERVAL };
            out.push(wire::advertisement(self.own, MAX_ADVERTISEMENT_INTERVAL, &self.configured));
            self.next_advertisement = now + jittered(max, self.own);
        }
        let rules = Rules { timing: &self.timing, querier: self.other.is_none() };
        for (address, group) in &mut self.groups {
            for asked in group.advance(now, rules) {
                let (about, suppress) = match asked {
                    Asked::Group(suppress) => (About::Group(*address), suppress),
                    Asked::Source(suppress) => (About::Source { group: *address, us: self.source }, suppress),
                };
                out.push(wire::query(self.own, about, suppress, &self.timing));
            }
        }
    }

    /// When [`Self::advance`] has something to do next.
    pub(super) fn deadline(&self) -> Option<Time> {
        let query = match self.other {
            Some((_, until)) => until,
            None => self.next_query,
        };
        let groups = self.groups.values().filter_map(Group::deadline);
        groups.chain([query, self.next_advertisement]).min()
    }

    /// What is said when the interface is listened to no more.
    pub(super) fn farewell(&self) -> Said {
        wire::termination(self.own)
    }
}

/// What a packet was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A report about at least one group that is listened to.
    Report,
    /// A report about others' groups only.
    Stranger,
    /// A query.
    Query,
    /// Our own, come back.
    Own,
    /// Another message.
    Other,
}

/// Three to four quarters of the longest interval, so that routers of one network do not speak together.
fn jittered(max: Duration, own: IpAddr) -> Duration {
    let last = match own {
        IpAddr::V4(v4) => v4.octets()[3],
        IpAddr::V6(v6) => v6.octets()[15],
    };
    max * 3 / 4 + max / 4 * u32::from(last) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn link(own: &str) -> Link {
        let groups = [ip("239.1.1.1")];
        let addresses =
            Addresses { own: ip(own), source: ip(own), prefixes: vec!["10.0.1.0/24".parse().unwrap()] };
        Link::new(Time::ZERO, addresses, Timing::default(), groups.into_iter())
    }

    fn at(s: u64) -> Time {
        Time::from_ms(s * 1000)
    }

    /// What is said at `now`, by its IGMP type.
    fn said(link: &mut Link, s: u64) -> Vec<u8> {
        let mut out = Vec::new();
        link.advance(at(s), &mut out);
        out.iter().map(|(_, packet)| packet[24]).collect()
    }

    fn general(from: &str) -> Vec<u8> {
        wire::query(ip(from), About::All, false, &Timing::default()).1
    }

    #[test]
    fn a_querier_asks_twice_after_31_s_and_then_every_125_s() {
        let mut link = link("10.0.1.5");
        let asked: Vec<u64> = (0..400).filter(|s| said(&mut link, *s).contains(&0x11)).collect();
        assert_eq!(asked, [0, 32, 157, 282]);
    }

    #[test]
    fn switches_are_told_of_a_router_three_times_and_then_every_20_s() {
        let mut link = link("10.0.1.255");
        let told: Vec<u64> = (0..50).filter(|s| said(&mut link, *s).contains(&0x30)).collect();
        assert_eq!(told, [0, 2, 4, 24, 44]);
    }

    #[test]
    fn the_lower_address_asks_and_the_higher_again_255_s_after_it_fell_silent() {
        let mut link = link("10.0.1.5");
        assert!(said(&mut link, 0).contains(&0x11));
        assert_eq!(link.hear(at(1), &general("10.0.1.9")), Ok(Kind::Query));
        assert!(link.is_querier());
        assert_eq!(link.hear(at(2), &general("10.0.1.4")), Ok(Kind::Query));
        assert!(!link.is_querier());
        let asked: Vec<u64> = (2..300).filter(|s| said(&mut link, *s).contains(&0x11)).collect();
        assert_eq!(asked, [257]);
        assert!(link.is_querier());
    }

    #[test]
    fn a_switch_without_an_address_is_no_querier() {
        let mut link = link("10.0.1.5");
        assert_eq!(link.hear(at(1), &general("0.0.0.0")), Ok(Kind::Query));
        assert!(link.is_querier());
    }

    #[test]
    fn a_query_from_elsewhere_is_refused() {
        let mut link = link("10.0.1.5");
        assert_eq!(link.hear(at(1), &general("10.0.0.1")), Err(Flaw::Source));
        assert!(link.is_querier());
    }

    #[test]
    fn the_queriers_own_timing_counts() {
        let mut link = link("10.0.1.5");
        let slow = Timing { query_interval: Duration::from_mins(1), robustness: 3, ..Timing::default() };
        let (_, query) = wire::query(ip("10.0.1.1"), About::All, false, &slow);
        link.hear(at(0), &query).unwrap();
        assert_eq!(link.timing.group_membership_interval(), Duration::from_secs(190));
    }
}
