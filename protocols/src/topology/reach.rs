//! Whom the destinations reach: each one's kind and network, and the networks that all of them make.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use ipnet::IpNet;
use toml::Spanned;

use super::destination::{Destination, DestinationKind};
use super::draft::{DestinationAddress, DestinationDraft, Draft, HostDraft};
use super::fault::FaultKind;
use super::findings::Findings;
use super::network::NetworkId;
use super::warning::WarningKind;
use super::{MAX_DESTINATIONS_PER_HOST, MAX_NETWORKS};
use crate::ids::ChannelId;
use crate::p4_control::DEFAULT_WINDOW_MS;

/// What the destinations come to.
pub(super) struct Reach {
    /// One list for each push host of the draft, in its order; destinations with faults are left out.
    pub(super) destinations: Vec<Vec<Placed>>,
    pub(super) networks: BTreeMap<NetworkId, BTreeSet<IpNet>>,
}

/// A destination, and where the file says its address.
pub(super) struct Placed {
    pub(super) destination: Destination,
    pub(super) span: Range<usize>,
}

/// Resolves every destination of every host.
pub(super) fn resolve(draft: &Draft, findings: &mut Findings<'_>) -> Reach {
    let mut networks = Networks::default();
    let destinations = draft
        .hosts
        .iter()
        .map(|host| {
            let groups = Groups::of(host, findings);
            groups.tell_repeated(host, findings);
            let mut resolved = Vec::new();
            for (draft, sites) in host.destinations.iter().zip(groups.0) {
                if let Some(network) = networks.network_of(draft, findings) {
                    resolve_one(host, draft, &sites, &network, findings, &mut resolved);
                }
            }
            resolved
        })
        .collect();
    Reach { destinations, networks: networks.known }
}

/// Networks found so far, and who had each prefix first.
#[derive(Default)]
struct Networks {
    known: BTreeMap<NetworkId, BTreeSet<IpNet>>,
    owners: BTreeMap<IpNet, (NetworkId, Range<usize>)>,
}

impl Networks {
    /// The network that the prefixes of `serves` make; nothing when they are faulty or belong elsewhere.
    fn network_of(&mut self, draft: &DestinationDraft, findings: &mut Findings<'_>) -> Option<NetworkId> {
        let mut prefixes = BTreeSet::new();
        let mut sound = draft.serves_is_whole;
        for prefix in &draft.serves {
            if !prefixes.insert(*prefix.get_ref()) {
                findings.fault(prefix.span(), FaultKind::RepeatedPrefix(*prefix.get_ref()));
                sound = false;
            }
        }
        if !sound {
            return None;
        }
        let network = NetworkId::of(&prefixes);
        if self.known.contains_key(&network) {
            return Some(network);
        }
        for prefix in &draft.serves {
            if let Some((first, span)) = self.owners.get(prefix.get_ref()) {
                let kind = FaultKind::PrefixInTwoNetworks {
                    prefix: *prefix.get_ref(),
                    network,
                    first: first.clone(),
                    first_line: findings.source.line(span.start),
                };
                findings.fault(prefix.span(), kind);
                return None;
            }
        }
        for prefix in &draft.serves {
            self.owners.insert(*prefix.get_ref(), (network.clone(), prefix.span()));
        }
        self.known.insert(network.clone(), prefixes);
        if self.known.len() == MAX_NETWORKS + 1 {
            let what = "networks (different `serves`)";
            let kind = FaultKind::TooMany { what, found: self.known.len(), limit: MAX_NETWORKS };
            findings.fault(draft.span.clone(), kind);
        }
        Some(network)
    }
}

/// One address of a destination, and the channels that are sent there; `None`: all of the push host's.
struct Site {
    address: IpAddr,
    channels: Option<BTreeSet<ChannelId>>,
}

/// The addresses of each destination of one push host, in the order of the draft: one, or a group for each channel.
struct Groups(Vec<Vec<Site>>);

impl Groups {
    fn of(host: &HostDraft, findings: &mut Findings<'_>) -> Self {
        let all: BTreeSet<ChannelId> = host.channels.iter().map(|channel| *channel.get_ref()).collect();
        let mut room = MAX_DESTINATIONS_PER_HOST;
        let sites = host.destinations.iter().map(|draft| {
            let named: Option<BTreeSet<ChannelId>> =
                draft.channels.as_ref().map(|list| list.iter().map(|channel| *channel.get_ref()).collect());
            let Some(address) = &draft.address else { return Vec::new() };
            let sites = match *address.get_ref() {
                DestinationAddress::One(address) => {
                    vec![Site { address, channels: named.filter(|named| *named != all) }]
                }
                DestinationAddress::GroupPerChannel(groups) => {
                    group_per_channel(groups, &address.span(), named.as_ref().unwrap_or(&all), findings)
                }
            };
            if sites.len() > room {
                let what = "destinations of one push server, with one for each channel of a prefix";
                let found = MAX_DESTINATIONS_PER_HOST - room + sites.len();
                let kind = FaultKind::TooMany { what, found, limit: MAX_DESTINATIONS_PER_HOST };
                findings.fault(address.span(), kind);
                return Vec::new();
            }
            room -= sites.len();
            sites
        });
        Self(sites.collect())
    }

    /// Destinations of one host are told apart by their address, in leases and in reports.
    fn tell_repeated(&self, host: &HostDraft, findings: &mut Findings<'_>) {
        let Some(id) = &host.id else { return };
        let mut seen: BTreeMap<IpAddr, Range<usize>> = BTreeMap::new();
        for (draft, sites) in host.destinations.iter().zip(&self.0) {
            let Some(span) = draft.address.as_ref().map(Spanned::span) else { continue };
            let repeated =
                sites.iter().find_map(|site| Some((site.address, seen.get(&site.address)?.clone())));
            if let Some((address, first)) = repeated {
                let first_line = findings.source.line(first.start);
                let kind =
                    FaultKind::DuplicateDestination { host: id.get_ref().clone(), address, first_line };
                findings.fault(span.clone(), kind);
            }
            for site in sites {
                seen.entry(site.address).or_insert_with(|| span.clone());
            }
        }
    }
}

/// The groups behind the first address of `groups`: that of channel N is the N-th.
fn group_per_channel(
    groups: IpNet,
    span: &Range<usize>,
    channels: &BTreeSet<ChannelId>,
    findings: &mut Findings<'_>,
) -> Vec<Site> {
    let free_bits = u32::from(groups.max_prefix_len() - groups.prefix_len());
    let last = u32::try_from((1_u64 << free_bits.min(32)) - 1).unwrap_or(u32::MAX);
    if let Some(channel) = channels.iter().find(|channel| channel.0 > last).copied() {
        findings.fault(span.clone(), FaultKind::NoGroup { channel, groups, last });
    }
    let site = |channel: &ChannelId| Site {
        address: match groups.network() {
            IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits() + channel.0).into(),
            IpAddr::V6(first) => Ipv6Addr::from_bits(first.to_bits() + u128::from(channel.0)).into(),
        },
        channels: Some(BTreeSet::from([*channel])),
    };
    channels.iter().filter(|channel| channel.0 <= last).map(site).collect()
}

/// Checks what the draft says of all its sites by the first of them, which is told in its place.
fn resolve_one(
    host: &HostDraft,
    draft: &DestinationDraft,
    sites: &[Site],
    network: &NetworkId,
    findings: &mut Findings<'_>,
    out: &mut Vec<Placed>,
) {
    let (Some(written), Some(first)) = (&draft.address, sites.first()) else { return };
    let span = written.span();
    let address = Spanned::new(span.clone(), first.address);
    let serves: Vec<IpNet> = draft.serves.iter().map(|prefix| *prefix.get_ref()).collect();
    let kind = DestinationKind::of(first.address, &serves);
    tell_wrong_address(&address, &serves, findings);
    tell_wrong_family(&address, draft, &serves, findings);
    warn_of_doubtful_address(&address, kind, &serves, findings);
    if kind == DestinationKind::Multicast && !draft.names_interface {
        let on_network = |own: &IpAddr| serves.iter().any(|prefix| prefix.contains(own));
        let example =
            host.address.filter(on_network).map_or_else(|| "eth0".to_owned(), |own| own.to_string());
        let fault = FaultKind::MulticastWithoutInterface { address: first.address, example };
        findings.fault(span.clone(), fault);
    }
    for (key, at) in [("membership", &draft.membership), ("announce", &draft.announce)] {
        if let Some(at) = at
            && kind != DestinationKind::Multicast
        {
            findings.fault(at.clone(), FaultKind::NotAGroup { key, address: first.address });
        }
    }
    out.extend(sites.iter().map(|site| {
        let destination = Destination {
            address: site.address,
            kind,
            interface: draft.interface.as_ref().map(|interface| interface.get_ref().clone()),
            ttl: draft.ttl.unwrap_or_else(|| kind.default_ttl()),
            dscp: draft.dscp.unwrap_or(0),
            window_ms: draft.window_ms.unwrap_or(DEFAULT_WINDOW_MS),
            network: network.clone(),
            channels: site.channels.clone(),
            membership: draft.membership.is_some(),
            announce: draft.announce.is_some(),
        };
        Placed { destination, span: span.clone() }
    }));
}

/// The first and the last address of a prefix are no hosts.
fn tell_wrong_address(address: &Spanned<IpAddr>, serves: &[IpNet], findings: &mut Findings<'_>) {
    let ip = *address.get_ref();
    for prefix in serves {
        if ip.is_ipv6() && prefix.prefix_len() < 127 && prefix.broadcast() == ip {
            findings.fault(address.span(), FaultKind::Ipv6Broadcast { address: ip, prefix: *prefix });
        }
        if ip.is_ipv4() && prefix.prefix_len() < 31 && prefix.network() == ip {
            let why = format!(
                "is the address of the network {prefix} itself; write {} to reach everybody there",
                prefix.broadcast()
            );
            findings.fault(address.span(), FaultKind::BadAddress { written: ip.to_string(), why });
        }
    }
}

/// Viewers, interface and address have to speak one version of IP.
fn tell_wrong_family(
    address: &Spanned<IpAddr>,
    draft: &DestinationDraft,
    serves: &[IpNet],
    findings: &mut Findings<'_>,
) {
    let ip = *address.get_ref();
    if let Some(interface) = &draft.interface
        && let Some(own) = interface.get_ref().address()
        && own.is_ipv4() != ip.is_ipv4()
    {
        let other = format!("interface {own}");
        let advice = "name the interface, or write its address of the same family";
        findings.fault(interface.span(), FaultKind::FamilyMismatch { address: ip, other, advice });
    }
    let same_family = |prefix: &IpNet| prefix.addr().is_ipv4() == ip.is_ipv4();
    if let Some(first) = draft.serves.first()
        && !serves.iter().any(same_family)
    {
        let other = format!("prefix {}", first.get_ref());
        let advice = "serve a prefix of the same family, or write a destination of the other";
        findings.fault(first.span(), FaultKind::FamilyMismatch { address: ip, other, advice });
    }
}

fn warn_of_doubtful_address(
    address: &Spanned<IpAddr>,
    kind: DestinationKind,
    serves: &[IpNet],
    findings: &mut Findings<'_>,
) {
    let ip = *address.get_ref();
    if kind == DestinationKind::Unicast && !serves.iter().any(|prefix| prefix.contains(&ip)) {
        findings.warn(address.span(), WarningKind::UnicastElsewhere(ip));
    }
    if matches!(ip, IpAddr::V4(v4) if v4.octets().starts_with(&[224, 0, 0])) {
        findings.warn(address.span(), WarningKind::FloodedGroup(ip));
    }
}
