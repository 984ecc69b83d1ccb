//! Whom the destinations reach: each one's kind and network, and the networks that all of them make.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;
use toml::Spanned;

use super::MAX_NETWORKS;
use super::destination::{Destination, DestinationKind};
use super::draft::{DestinationDraft, Draft, HostDraft};
use super::fault::FaultKind;
use super::findings::Findings;
use super::network::NetworkId;
use super::warning::WarningKind;
use crate::p4_control::DEFAULT_WINDOW_MS;

/// What the destinations come to.
pub(super) struct Reach {
    /// One list for each push host of the draft, in its order; destinations with faults are left out.
    pub(super) destinations: Vec<Vec<Destination>>,
    pub(super) networks: BTreeMap<NetworkId, BTreeSet<IpNet>>,
}

/// Resolves every destination of every host.
pub(super) fn resolve(draft: &Draft, findings: &mut Findings<'_>) -> Reach {
    let mut networks = Networks::default();
    let destinations = draft
        .hosts
        .iter()
        .map(|host| {
            tell_repeated_destinations(host, findings);
            let resolved = host.destinations.iter().filter_map(|one| {
                let network = networks.network_of(one, findings);
                resolve_one(host, one, network?, findings)
            });
            resolved.collect()
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

fn resolve_one(
    host: &HostDraft,
    draft: &DestinationDraft,
    network: NetworkId,
    findings: &mut Findings<'_>,
) -> Option<Destination> {
    let address = draft.address.as_ref()?;
    let serves: Vec<IpNet> = draft.serves.iter().map(|prefix| *prefix.get_ref()).collect();
    let kind = DestinationKind::of(*address.get_ref(), &serves);
    tell_wrong_address(address, &serves, findings);
    tell_wrong_family(address, draft, &serves, findings);
    warn_of_doubtful_address(address, kind, &serves, findings);
    if kind == DestinationKind::Multicast && !draft.names_interface {
        let on_network = |own: &IpAddr| serves.iter().any(|prefix| prefix.contains(own));
        let example =
            host.address.filter(on_network).map_or_else(|| "eth0".to_owned(), |own| own.to_string());
        let fault = FaultKind::MulticastWithoutInterface { address: *address.get_ref(), example };
        findings.fault(address.span(), fault);
    }
    Some(Destination {
        address: *address.get_ref(),
        kind,
        interface: draft.interface.as_ref().map(|interface| interface.get_ref().clone()),
        ttl: draft.ttl.unwrap_or_else(|| kind.default_ttl()),
        dscp: draft.dscp.unwrap_or(0),
        window_ms: draft.window_ms.unwrap_or(DEFAULT_WINDOW_MS),
        network,
    })
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

/// Destinations of one host are told apart by their address, in leases and in reports.
fn tell_repeated_destinations(host: &HostDraft, findings: &mut Findings<'_>) {
    let mut seen: BTreeMap<IpAddr, Range<usize>> = BTreeMap::new();
    for draft in &host.destinations {
        let (Some(address), Some(id)) = (&draft.address, &host.id) else { continue };
        if let Some(first) = seen.get(address.get_ref()) {
            let kind = FaultKind::DuplicateDestination {
                host: id.get_ref().clone(),
                address: *address.get_ref(),
                first_line: findings.source.line(first.start),
            };
            findings.fault(address.span(), kind);
        } else {
            seen.insert(*address.get_ref(), address.span());
        }
    }
}
