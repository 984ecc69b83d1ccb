//! Answers that have to be quick: whose network an address is on, what is seen there, and who sends it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use super::network::{Network, NetworkId};
use super::{Carrier, PushHost};
use crate::ids::{ChannelId, HostId};

/// Built once for each topology; answers without allocating.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    /// Sorted; a network's position is its number here.
    networks: Vec<NetworkId>,
    v4: Steps,
    v6: Steps,
    /// By network number.
    views: Vec<View>,
}

/// The address line cut where the longest matching prefix changes: from each step's address on, its network.
type Steps = Vec<(u128, Option<usize>)>;

/// What one network's viewers see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct View {
    channels: BTreeSet<ChannelId>,
    /// Sorted by channel; the number is a position in `carriers`, since most channels share their carriers.
    carried_by: Vec<(ChannelId, usize)>,
    carriers: Vec<Vec<Carrier>>,
}

impl Index {
    pub(super) fn new(networks: &BTreeMap<NetworkId, Network>, hosts: &BTreeMap<HostId, PushHost>) -> Self {
        let ids: Vec<NetworkId> = networks.keys().cloned().collect();
        let prefixes = || {
            networks
                .values()
                .enumerate()
                .flat_map(|(number, network)| network.prefixes.iter().map(move |prefix| (*prefix, number)))
        };
        let mut senders: Vec<Vec<Carrier>> = vec![Vec::new(); ids.len()];
        for host in hosts.values() {
            for (position, destination) in host.destinations.iter().enumerate() {
                if let Ok(number) = ids.binary_search(&destination.network) {
                    senders[number].push((host.id.clone(), position));
                }
            }
        }
        Self {
            networks: ids,
            v4: steps(prefixes().filter(|(prefix, _)| prefix.addr().is_ipv4())),
            v6: steps(prefixes().filter(|(prefix, _)| prefix.addr().is_ipv6())),
            views: senders.into_iter().map(|senders| View::new(&senders, hosts)).collect(),
        }
    }

    pub(super) fn network_of(&self, address: IpAddr) -> Option<&NetworkId> {
        let steps = if address.to_canonical().is_ipv4() { &self.v4 } else { &self.v6 };
        let bits = bits(address);
        let after = steps.partition_point(|(start, _)| *start <= bits);
        let (_, network) = steps.get(after.checked_sub(1)?)?;
        self.networks.get((*network)?)
    }

    pub(super) fn channels_of(&self, network: &NetworkId) -> &BTreeSet<ChannelId> {
        self.view(network).map_or(&NO_CHANNELS, |view| &view.channels)
    }

    pub(super) fn carriers(&self, channel: ChannelId, network: &NetworkId) -> &[Carrier] {
        let Some(view) = self.view(network) else { return &[] };
        match view.carried_by.binary_search_by_key(&channel, |(id, _)| *id) {
            Ok(at) => &view.carriers[view.carried_by[at].1],
            Err(_) => &[],
        }
    }

    fn view(&self, network: &NetworkId) -> Option<&View> {
        self.networks.binary_search(network).ok().map(|number| &self.views[number])
    }
}

impl View {
    fn new(senders: &[Carrier], hosts: &BTreeMap<HostId, PushHost>) -> Self {
        let mut pairs: Vec<(ChannelId, usize)> = Vec::new();
        for (position, (host, destination)) in senders.iter().enumerate() {
            let host = &hosts[host];
            let sent = host.channels_at(&host.destinations[*destination]);
            pairs.extend(sent.map(|channel| (channel, position)));
        }
        pairs.sort_unstable();
        let mut known: HashMap<Vec<usize>, usize> = HashMap::new();
        let mut view = Self::default();
        for group in pairs.chunk_by(|(a, _), (b, _)| a == b) {
            let positions: Vec<usize> = group.iter().map(|(_, position)| *position).collect();
            let number = *known.entry(positions).or_insert_with_key(|positions| {
                view.carriers.push(positions.iter().map(|position| senders[*position].clone()).collect());
                view.carriers.len() - 1
            });
            view.carried_by.push((group[0].0, number));
        }
        view.channels = view.carried_by.iter().map(|(channel, _)| *channel).collect();
        view
    }
}

/// Cuts nested prefixes of one family into steps: an inner prefix interrupts the outer one, which goes on after it.
fn steps(prefixes: impl Iterator<Item = (IpNet, usize)>) -> Steps {
    let mut ranges: Vec<(u128, u8, u128, usize)> = prefixes
        .map(|(prefix, network)| {
            (bits(prefix.network()), prefix.prefix_len(), bits(prefix.broadcast()), network)
        })
        .collect();
    ranges.sort_unstable();
    let mut steps = Steps::new();
    let mut open: Vec<(u128, usize)> = Vec::new();
    for (start, _, end, network) in ranges {
        close(&mut steps, &mut open, |outer_end| outer_end < start);
        step(&mut steps, start, Some(network));
        open.push((end, network));
    }
    close(&mut steps, &mut open, |_| true);
    steps
}

/// Ends the innermost open prefixes for as long as `ended` says so.
fn close(steps: &mut Steps, open: &mut Vec<(u128, usize)>, ended: impl Fn(u128) -> bool) {
    while let Some((end, _)) = open.pop_if(|(end, _)| ended(*end)) {
        if let Some(next) = end.checked_add(1) {
            step(steps, next, open.last().map(|(_, network)| *network));
        }
    }
}

/// A later step at the same address replaces the earlier one.
fn step(steps: &mut Steps, start: u128, network: Option<usize>) {
    match steps.last_mut() {
        Some(last) if last.0 == start => last.1 = network,
        _ => steps.push((start, network)),
    }
}

/// An address as a number within its family; IPv4-mapped IPv6 as IPv4.
fn bits(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

static NO_CHANNELS: BTreeSet<ChannelId> = BTreeSet::new();

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Prefixes crowded into few bits, so that they nest, touch and end together.
    fn prefixes() -> impl Strategy<Value = Vec<IpNet>> {
        let v4 = (any::<u8>(), 22_u8..=32).prop_map(|(low, length)| {
            IpNet::new(IpAddr::from([255, 255, 255 - (low >> 6), low << 2]), length)
        });
        let v6 = (any::<u16>(), 112_u8..=128).prop_map(|(low, length)| {
            IpNet::new(IpAddr::from([0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, low]), length)
        });
        let everything = Just(IpNet::new(IpAddr::from([0, 0, 0, 0]), 0));
        vec(prop_oneof![8 => v4, 4 => v6, 1 => everything], 0..24)
            .prop_map(|all| all.into_iter().map(|prefix| prefix.unwrap().trunc()).collect())
    }

    proptest! {
        /// The oracle looks at every prefix and takes the longest that contains the address.
        #[test]
        fn the_longest_prefix_wins(prefixes in prefixes(), probes in vec(any::<u16>(), 32)) {
            let networks: BTreeMap<NetworkId, Network> = prefixes
                .iter()
                .map(|prefix| {
                    let prefixes = BTreeSet::from([*prefix]);
                    let id = NetworkId::of(&prefixes);
                    (id.clone(), Network { id, prefixes })
                })
                .collect();
            let index = Index::new(&networks, &BTreeMap::new());
            let edges = prefixes.iter().flat_map(|prefix| [prefix.network(), prefix.broadcast()]);
            let near = probes.iter().flat_map(|low| {
                let [high, low_byte] = low.to_be_bytes();
                [
                    IpAddr::from([255, 255, high | 0xfc, low_byte]),
                    IpAddr::from([0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, *low]),
                    IpAddr::from([10, 0, high, low_byte]),
                ]
            });
            for address in edges.chain(near) {
                let longest = prefixes
                    .iter()
                    .filter(|prefix| prefix.contains(&address))
                    .max_by_key(|prefix| prefix.prefix_len())
                    .map(|prefix| NetworkId::of(&BTreeSet::from([*prefix])));
                prop_assert_eq!(index.network_of(address), longest.as_ref(), "{}", address);
                if let IpAddr::V4(v4) = address {
                    prop_assert_eq!(index.network_of(v4.to_ipv6_mapped().into()), longest.as_ref());
                }
            }
        }
    }
}
