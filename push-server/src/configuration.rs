//! What the database server ordered: configurations put together from their parts, the highest revision in force.
//!
//! ```text
//! Configure part ──► assembly (channel, revision) ──all parts in──► in force, when above the one held
//!                                                └─ 0 parts ─────► released
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;

use protocols::ids::{ChannelId, Revision};
use protocols::p4_control::{
    Configure, DESTINATIONS_PER_PART, DestinationOrder, MAX_WINDOW_MS, PEERS_PER_PART, RecordPart,
    SPANS_PER_PART, SessionOrder,
};
use protocols::recording::{MAX_PEERS, MAX_PROGRAMMES_PER_CHANNEL, RecordOrder, RecordPeer, Span};
use protocols::topology::MAX_NAME_BYTES;

/// Channels that one host carries at most; a configuration of one more is not put in force, which its
/// acknowledgement shows (`in_force` stays 0).
pub const MAX_CHANNELS: usize = 4_096;
/// Destinations of one push server at most; a configuration that claims more is dropped.
pub const MAX_DESTINATIONS: usize = 1_024;
/// Half-received configurations kept at most; beyond it the one of the lowest revision is given up, and comes again
/// with the next repetition of its parts.
pub const MAX_PENDING: usize = 64;
/// Longest interface name or address, in bytes.
pub const MAX_INTERFACE_BYTES: usize = 45;

const MAX_PARTS: usize = MAX_DESTINATIONS.div_ceil(DESTINATIONS_PER_PART)
    + MAX_PROGRAMMES_PER_CHANNEL.div_ceil(SPANS_PER_PART)
    + MAX_PEERS.div_ceil(PEERS_PER_PART);

/// One push server's configuration in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configuration {
    /// Its version.
    pub revision: Revision,
    /// UDP port of the channel.
    pub port: u16,
    /// Destinations by address.
    pub destinations: BTreeMap<IpAddr, DestinationOrder>,
    /// What to record; `None`: nothing.
    pub record: Option<Box<RecordOrder>>,
    /// What is said of the channel where it is announced.
    pub session: Option<SessionOrder>,
}

impl Configuration {
    /// Whether this push server is the one that serves `destination`.
    pub fn assigned(&self, destination: IpAddr) -> bool {
        self.destinations.get(&destination).is_some_and(|order| order.assigned)
    }
}

/// What a part of a configuration led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Effect {
    /// The configuration is complete and in force from now on.
    Applied,
    /// The host carries the channel no more.
    Released,
    /// Nothing: other parts are missing, or it is in force already, or a higher one is.
    Unchanged,
    /// Not taken: [`MAX_CHANNELS`] are carried.
    Full,
    /// Not taken: it breaks a rule of P4.
    Invalid,
}

/// All configurations of a host.
#[derive(Debug, Default)]
pub struct Configurations {
    in_force: BTreeMap<ChannelId, Configuration>,
    pending: BTreeMap<ChannelId, Assembly>,
    given_up: u64,
}

#[derive(Debug)]
struct Assembly {
    revision: Revision,
    parts: u8,
    received: BTreeMap<u8, Part>,
}

#[derive(Debug)]
struct Part {
    destinations: Vec<DestinationOrder>,
    record: Option<RecordPart>,
    session: Option<SessionOrder>,
}

impl Configurations {
    /// Takes one part.
    pub fn take(&mut self, configure: Configure) -> Effect {
        if !valid(&configure) {
            return Effect::Invalid;
        }
        let channel = configure.channel;
        let held = self.in_force.get(&channel).map(|held| held.revision);
        if held.is_some_and(|held| held >= configure.revision) {
            return Effect::Unchanged;
        }
        if configure.parts == 0 {
            self.pending.remove(&channel);
            return self.in_force.remove(&channel).map_or(Effect::Unchanged, |_| Effect::Released);
        }
        if held.is_none() && self.in_force.len() >= MAX_CHANNELS {
            return Effect::Full;
        }
        let (revision, port) = (configure.revision, configure.port);
        match self.assemble(configure) {
            Some((destinations, record, session)) => {
                let configuration = Configuration { revision, port, destinations, record, session };
                self.in_force.insert(channel, configuration);
                Effect::Applied
            }
            None => Effect::Unchanged,
        }
    }

    /// The destinations and what to record, once the last part is in.
    fn assemble(&mut self, part: Configure) -> Option<Whole> {
        let fresh = || Assembly { revision: part.revision, parts: part.parts, received: BTreeMap::new() };
        let assembly = self.pending.entry(part.channel).or_insert_with(fresh);
        if assembly.revision > part.revision {
            return None;
        }
        if assembly.revision < part.revision || assembly.parts != part.parts {
            *assembly = fresh();
        }
        let Configure { destinations, record, session, .. } = part;
        assembly.received.insert(part.part, Part { destinations, record, session });
        if assembly.received.len() < usize::from(assembly.parts) {
            self.bound_pending();
            return None;
        }
        Some(self.pending.remove(&part.channel)?.whole())
    }

    fn bound_pending(&mut self) {
        if self.pending.len() > MAX_PENDING
            && let Some(oldest) =
                self.pending.iter().min_by_key(|(_, assembly)| assembly.revision).map(|(id, _)| *id)
        {
            self.pending.remove(&oldest);
            self.given_up += 1;
        }
    }

    /// The configuration of `channel` in force.
    pub fn get(&self, channel: ChannelId) -> Option<&Configuration> {
        self.in_force.get(&channel)
    }

    /// All in force, by channel.
    pub fn iter(&self) -> impl Iterator<Item = (ChannelId, &Configuration)> {
        self.in_force.iter().map(|(channel, configuration)| (*channel, configuration))
    }

    /// Half-received configurations given up so far.
    pub fn given_up(&self) -> u64 {
        self.given_up
    }
}

type Whole = (BTreeMap<IpAddr, DestinationOrder>, Option<Box<RecordOrder>>, Option<SessionOrder>);

impl Assembly {
    /// What all parts say together. Parts that do not agree whether to record: then it is recorded.
    fn whole(self) -> Whole {
        let (mut destinations, mut keep_s, mut session) = (BTreeMap::new(), None, None);
        let (mut spans, mut peers): (Vec<Span>, BTreeMap<_, RecordPeer>) = (Vec::new(), BTreeMap::new());
        for part in self.received.into_values() {
            destinations.extend(part.destinations.into_iter().map(|order| (order.address, order)));
            session = part.session.or(session);
            if let Some(record) = part.record {
                keep_s = Some(record.keep_s);
                spans.extend(record.protected);
                peers.extend(record.peers.into_iter().map(|peer| (peer.host.clone(), peer)));
            }
        }
        let order = |keep_s| {
            let (protected, peers) = (Span::merged(spans), peers.into_values().collect());
            Box::new(RecordOrder { keep_s, protected, peers })
        };
        (destinations, keep_s.map(order), session)
    }
}

fn valid(configure: &Configure) -> bool {
    if configure.channel.0 == 0 {
        return false;
    }
    if configure.parts == 0 {
        return configure.destinations.is_empty()
            && configure.record.is_none()
            && configure.session.is_none();
    }
    usize::from(configure.parts) <= MAX_PARTS
        && configure.part < configure.parts
        && configure.port != 0
        && configure.destinations.len() <= DESTINATIONS_PER_PART
        && configure.destinations.iter().all(valid_order)
        && configure.record.as_ref().is_none_or(valid_record)
        && configure.session.as_ref().is_none_or(valid_session)
}

fn valid_session(session: &SessionOrder) -> bool {
    !session.name.is_empty()
        && session.name.len() <= MAX_NAME_BYTES
        && !session.name.chars().any(char::is_control)
}

fn valid_record(record: &RecordPart) -> bool {
    record.keep_s > 0
        && record.protected.len() <= SPANS_PER_PART
        && !record.protected.iter().any(|span| span.is_empty())
        && record.peers.len() <= PEERS_PER_PART
}

fn valid_order(order: &DestinationOrder) -> bool {
    order.ttl > 0
        && order.dscp < 64
        && order.window_ms <= MAX_WINDOW_MS
        && order.interface.as_ref().is_none_or(|name| !name.is_empty() && name.len() <= MAX_INTERFACE_BYTES)
        && (order.address.is_ipv4() || !order.broadcast)
        && (order.address.is_multicast() || !order.membership && !order.announce)
}

#[cfg(test)]
mod tests {
    use protocols::time::ClusterTime;

    use super::*;

    fn order(last: u8) -> DestinationOrder {
        DestinationOrder {
            address: IpAddr::from([239, 192, 1, last]),
            interface: None,
            ttl: 1,
            dscp: 0,
            window_ms: 10,
            broadcast: false,
            assigned: true,
            membership: false,
            announce: false,
        }
    }

    fn part(channel: u32, revision: u64, part: u8, parts: u8) -> Configure {
        Configure {
            channel: ChannelId(channel),
            revision: Revision(revision),
            part,
            parts,
            port: 7601,
            destinations: vec![order(part)],
            record: None,
            session: None,
        }
    }

    #[test]
    fn a_configuration_counts_once_all_its_parts_are_in_whatever_their_order() {
        let mut all = Configurations::default();
        assert_eq!(all.take(part(1, 5, 1, 2)), Effect::Unchanged);
        assert_eq!(all.take(part(1, 5, 1, 2)), Effect::Unchanged);
        assert!(all.get(ChannelId(1)).is_none());
        assert_eq!(all.take(part(1, 5, 0, 2)), Effect::Applied);
        assert_eq!(all.get(ChannelId(1)).unwrap().destinations.len(), 2);
        assert_eq!(all.take(part(1, 5, 0, 2)), Effect::Unchanged);
    }

    #[test]
    fn an_order_to_record_is_put_together_from_its_parts() {
        let mut all = Configurations::default();
        let span = |from| Span { from: ClusterTime(from), to: ClusterTime(from + 10) };
        let peer =
            |id: &str| RecordPeer { host: id.parse().unwrap(), feed: "10.0.0.1:7403".parse().unwrap() };
        let record = |spans: &[u64], peers: &[&str]| {
            let protected = spans.iter().copied().map(span).collect();
            Some(RecordPart { keep_s: 60, protected, peers: peers.iter().copied().map(peer).collect() })
        };
        let first = Configure { record: record(&[50, 5], &["yard"]), ..part(1, 5, 0, 2) };
        let second = Configure { record: record(&[15], &["attic"]), ..part(1, 5, 1, 2) };
        assert_eq!((all.take(second), all.take(first)), (Effect::Unchanged, Effect::Applied));
        let order = all.get(ChannelId(1)).unwrap().record.clone().unwrap();
        assert_eq!(order.protected, [Span { to: ClusterTime(25), ..span(5) }, span(50)]);
        assert_eq!(order.peers, [peer("attic"), peer("yard")]);
        assert!(order.protects(span(24)) && !order.protects(span(25)));
    }

    #[test]
    fn parts_of_two_revisions_are_never_mixed() {
        let mut all = Configurations::default();
        assert_eq!(all.take(part(1, 5, 0, 2)), Effect::Unchanged);
        assert_eq!(all.take(part(1, 6, 1, 2)), Effect::Unchanged);
        assert_eq!(all.take(part(1, 5, 1, 2)), Effect::Unchanged);
        assert!(all.get(ChannelId(1)).is_none());
        assert_eq!(all.take(part(1, 6, 0, 2)), Effect::Applied);
        assert_eq!(all.get(ChannelId(1)).unwrap().revision, Revision(6));
    }

    #[test]
    fn a_lower_revision_changes_nothing_and_no_parts_release() {
        let mut all = Configurations::default();
        assert_eq!(all.take(part(1, 5, 0, 1)), Effect::Applied);
        assert_eq!(all.take(part(1, 4, 0, 1)), Effect::Unchanged);
        let release = Configure { destinations: vec![], ..part(1, 6, 0, 0) };
        assert_eq!(all.take(release.clone()), Effect::Released);
        assert_eq!(all.take(release), Effect::Unchanged);
        assert!(all.get(ChannelId(1)).is_none());
    }

    #[test]
    fn half_received_configurations_are_bounded() {
        let mut all = Configurations::default();
        for channel in 1..=200 {
            assert_eq!(all.take(part(channel, u64::from(channel), 0, 2)), Effect::Unchanged);
        }
        assert_eq!(all.pending.len(), MAX_PENDING);
        assert_eq!(all.given_up(), 200 - MAX_PENDING as u64);
        assert_eq!(all.take(part(200, 200, 1, 2)), Effect::Applied);
    }

    #[test]
    fn channels_are_bounded() {
        let mut all = Configurations::default();
        for channel in 1..=u32::try_from(MAX_CHANNELS).unwrap() {
            assert_eq!(all.take(part(channel, 1, 0, 1)), Effect::Applied);
        }
        assert_eq!(all.take(part(9_999, 1, 0, 1)), Effect::Full);
        assert_eq!(all.take(part(7, 2, 0, 1)), Effect::Applied);
    }

    fn record(spans: usize) -> RecordPart {
        let span = Span { from: ClusterTime(1), to: ClusterTime(2) };
        RecordPart { keep_s: 60, protected: vec![span; spans], peers: vec![] }
    }

    #[test]
    fn rules_of_p4_are_held() {
        let mut all = Configurations::default();
        let bad = [
            part(0, 1, 0, 1),
            part(1, 1, 1, 1),
            part(1, 1, 0, u8::try_from(MAX_PARTS + 1).unwrap()),
            Configure { port: 0, ..part(1, 1, 0, 1) },
            Configure { destinations: vec![order(1); DESTINATIONS_PER_PART + 1], ..part(1, 1, 0, 1) },
            Configure { destinations: vec![DestinationOrder { ttl: 0, ..order(1) }], ..part(1, 1, 0, 1) },
            Configure { destinations: vec![DestinationOrder { dscp: 64, ..order(1) }], ..part(1, 1, 0, 1) },
            Configure {
                destinations: vec![DestinationOrder { window_ms: 51, ..order(1) }],
                ..part(1, 1, 0, 1)
            },
            Configure { destinations: vec![order(1)], ..part(1, 1, 0, 0) },
            Configure { record: Some(RecordPart::default()), ..part(1, 1, 0, 1) },
            Configure { destinations: vec![], record: Some(record(1)), ..part(1, 1, 0, 0) },
            Configure { record: Some(record(SPANS_PER_PART + 1)), ..part(1, 1, 0, 1) },
        ];
        for configure in bad {
            assert_eq!(all.take(configure.clone()), Effect::Invalid, "{configure:?}");
        }
    }
}
