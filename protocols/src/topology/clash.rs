//! Two that cannot share: servers that listen at one address and port, channels that go to one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use toml::Spanned;

use super::check::Channels;
use super::destination::DestinationKind;
use super::draft::{Draft, HostDraft, ListenPort};
use super::fault::FaultKind;
use super::findings::Findings;
use super::network::NetworkId;
use super::reach::{Placed, Reach};
use crate::ids::ChannelId;

/// Tells servers that listen at one address and port.
pub(super) fn listeners(draft: &Draft, findings: &mut Findings<'_>) {
    let mut taken: BTreeMap<(IpAddr, &str, u16), (String, usize)> = BTreeMap::new();
    let mut listen = |address: IpAddr, transport, port: &Option<ListenPort>, who: String| {
        let Some(port) = port else { return };
        let key = (address, transport, *port.get_ref());
        if let Some((first, first_line)) = taken.get(&key) {
            let kind = FaultKind::SharedListener {
                first: first.clone(),
                second: who,
                address,
                transport,
                port: *port.get_ref(),
                first_line: *first_line,
            };
            findings.fault(port.span(), kind);
        } else {
            taken.insert(key, (who, findings.source.line(port.span().start)));
        }
    };
    if let Some(database) = &draft.database_server
        && let Some(address) = database.address
    {
        listen(address, "TCP", &database.registration, "the database server's registration".to_owned());
        listen(address, "TCP", &database.directory, "the database server's directory".to_owned());
        listen(address, "TCP", &database.http, "the database server's console".to_owned());
    }
    for host in &draft.hosts {
        let (Some(id), Some(address)) = (&host.id, host.address) else { continue };
        listen(address, "TCP", &host.feed, format!("the feed of push server `{}`", id.get_ref()));
        listen(address, "UDP", &host.control, format!("the control of push server `{}`", id.get_ref()));
    }
}

/// Where packets meet: a group on a network; any other address is the same place for everybody.
type Target = (Option<NetworkId>, IpAddr);

/// Who sends where, by the place where packets meet.
type Targets<'d> = BTreeMap<Target, Vec<(&'d HostDraft, &'d Placed)>>;

fn targets<'d>(draft: &'d Draft, reach: &'d Reach) -> Targets<'d> {
    let mut targets = Targets::new();
    for (host, destinations) in draft.hosts.iter().zip(&reach.destinations) {
        for placed in destinations {
            let destination = &placed.destination;
            let on_one_network = destination.kind == DestinationKind::Multicast
                || matches!(destination.address, IpAddr::V4(v4) if v4.is_broadcast());
            let network = on_one_network.then(|| destination.network.clone());
            targets.entry((network, destination.address)).or_default().push((host, placed));
        }
    }
    targets
}

/// Tells groups whose members count as viewers and that carry more than one channel: of whom would they be viewers?
pub(super) fn memberships(draft: &Draft, reach: &Reach, findings: &mut Findings<'_>) {
    for ((_, address), senders) in targets(draft, reach) {
        let Some((_, placed)) = senders.iter().find(|(_, placed)| placed.destination.membership) else {
            continue;
        };
        let sent = senders.iter().flat_map(|(host, placed)| {
            let channels = host.channels.iter().map(|channel| *channel.get_ref());
            channels.filter(|channel| placed.destination.carries(*channel))
        });
        let channels: BTreeSet<ChannelId> = sent.collect();
        let mut channels = channels.into_iter();
        if let (Some(first), Some(second)) = (channels.next(), channels.next()) {
            let kind = FaultKind::SharedMembership { address, first, second };
            findings.fault(placed.span.clone(), kind);
        }
    }
}

/// Tells channels that viewers could not tell apart: one address, one port. The same channel from two hosts is meant.
pub(super) fn channel_ports(
    draft: &Draft,
    channels: &Channels<'_>,
    reach: &Reach,
    findings: &mut Findings<'_>,
) {
    let targets = targets(draft, reach);
    // One mistake is told once, however many destinations it meets.
    let mut told = BTreeSet::new();
    for senders in targets.values() {
        tell_shared_ports(senders, channels, &mut told, findings);
    }
}

fn tell_shared_ports(
    senders: &[(&HostDraft, &Placed)],
    channels: &Channels<'_>,
    told: &mut BTreeSet<(ChannelId, ChannelId)>,
    findings: &mut Findings<'_>,
) {
    let mut taken: HashMap<u16, &Spanned<ChannelId>> = HashMap::new();
    for (host, Placed { destination, .. }) in senders {
        for channel in host.channels.iter().filter(|channel| destination.carries(*channel.get_ref())) {
            let Some(port) = channels.get(channel.get_ref()).and_then(|channel| channel.port) else {
                continue;
            };
            let holder = *taken.entry(port).or_insert(channel);
            let (first, second) = (*holder.get_ref(), *channel.get_ref());
            if first != second && told.insert((first.min(second), first.max(second))) {
                let kind = FaultKind::SharedPort {
                    first,
                    second,
                    address: destination.address,
                    port,
                    network: destination.network.clone(),
                    first_line: findings.source.line(holder.span().start),
                };
                findings.fault(channel.span(), kind);
            }
        }
    }
}
