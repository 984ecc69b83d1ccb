//! What the database server ordered: configurations put together from their parts, the highest revision in force.
//!
//! ```text
//! Configure part ──► assembly (channel, revision) ──all parts in──► in force, when above the one held
//!                                                └─ 0 parts ─────► released
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;

use protocols::ids::{ChannelId, Revision};
use protocols::p4_control::{Configure, DESTINATIONS_PER_PART, DestinationOrder, MAX_WINDOW_MS};

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

const MAX_PARTS: usize = MAX_DESTINATIONS.div_ceil(DESTINATIONS_PER_PART);

/// One push server's configuration in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configuration {
    /// Its version.
    pub revision: Revision,
    /// UDP port of the channel.
    pub port: u16,
    /// Destinations by address.
    pub destinations: BTreeMap<IpAddr, DestinationOrder>,
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
    received: BTreeMap<u8, Vec<DestinationOrder>>,
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
            Some(destinations) => {
                self.in_force.insert(channel, Configuration { revision, port, destinations });
                Effect::Applied
            }
            None => Effect::Unchanged,
        }
    }

    /// The destinations, once the last part is in.
    fn assemble(&mut self, part: Configure) -> Option<BTreeMap<IpAddr, DestinationOrder>> {
        let fresh = || Assembly { revision: part.revision, parts: part.parts, received: BTreeMap::new() };
        let assembly = self.pending.entry(part.channel).or_insert_with(fresh);
        if assembly.revision > part.revision {
            return None;
        }
        if assembly.revision < part.revision || assembly.parts != part.parts {
            *assembly = fresh();
        }
        assembly.received.insert(part.part, part.destinations);
        if assembly.received.len() < usize::from(assembly.parts) {
            self.bound_pending();
            return None;
        }
        let assembly = self.pending.remove(&part.channel)?;
        Some(assembly.received.into_values().flatten().map(|order| (order.address, order)).collect())
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

fn valid(configure: &Configure) -> bool {
    if configure.channel.0 == 0 {
        return false;
    }
    if configure.parts == 0 {
        return configure.destinations.is_empty();
    }
    usize::from(configure.parts) <= MAX_PARTS
        && configure.part < configure.parts
        && configure.port != 0
        && configure.destinations.len() <= DESTINATIONS_PER_PART
        && configure.destinations.iter().all(valid_order)
}

fn valid_order(order: &DestinationOrder) -> bool {
    order.ttl > 0
        && order.dscp < 64
        && order.window_ms <= MAX_WINDOW_MS
        && order.interface.as_ref().is_none_or(|name| !name.is_empty() && name.len() <= MAX_INTERFACE_BYTES)
        && (order.address.is_ipv4() || !order.broadcast)
}

#[cfg(test)]
mod tests {
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
        ];
        for configure in bad {
            assert_eq!(all.take(configure.clone()), Effect::Invalid, "{configure:?}");
        }
    }
}
