//! Compares what the file says in different places, and makes the topology of it if nothing is wrong.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;

use super::draft::{BackupDraft, ChannelDraft, Draft, HostDraft, InputDraft};
use super::fault::{FaultKind, Noun};
use super::findings::Findings;
use super::nearest::nearest;
use super::reach::{self, Reach};
use super::warning::WarningKind;
use super::{
    AcquisitionServer, Backup, Channel, DEFAULT_GATEWAY, DEFAULT_HOLD_OFF, DEFAULT_RETURN_AFTER,
    DEFAULT_SITE_NAME, DatabaseServer, Failover, Index, Input, MAX_PLAN_BYTES, Network, PushHost, Topology,
    clash,
};
use crate::ids::{AcquisitionId, ChannelId, HostId, InputId};

/// The topology, or nothing when there were faults, which are then in `findings`.
pub(super) fn topology(draft: &Draft, findings: &mut Findings<'_>) -> Option<Topology> {
    let servers = declare_servers(draft, findings);
    let channels = declare_channels(draft, &servers, findings);
    let carried = check_hosts(draft, &channels, findings);
    warn_of_unused(draft, &servers, &channels, &carried, findings);
    warn_of_repeated_names(&channels, findings);
    check_plans(draft, findings);
    let reach = reach::resolve(draft, findings);
    clash::listeners(draft, findings);
    clash::channel_ports(draft, &channels, &reach, findings);
    clash::memberships(draft, &reach, findings);
    if findings.has_faults() { None } else { assemble(draft, reach) }
}

/// Acquisition servers and their inputs by id, with the place of the id.
type Servers<'d> = BTreeMap<&'d AcquisitionId, (Range<usize>, BTreeMap<&'d InputId, Range<usize>>)>;
/// Channels by id, the first of each.
pub(super) type Channels<'d> = HashMap<ChannelId, &'d ChannelDraft>;

fn declare_servers<'d>(draft: &'d Draft, findings: &mut Findings<'_>) -> Servers<'d> {
    let mut servers = Servers::new();
    for server in &draft.acquisition_servers {
        let mut inputs = BTreeMap::new();
        for id in server.inputs.iter().filter_map(|input| input.id.as_ref()) {
            match inputs.get(id.get_ref()) {
                Some(first) => duplicate(Noun::Input, id, first, findings),
                None => drop(inputs.insert(id.get_ref(), id.span())),
            }
        }
        let Some(id) = &server.id else { continue };
        match servers.get(id.get_ref()) {
            Some((first, _)) => duplicate(Noun::AcquisitionServer, id, first, findings),
            None => drop(servers.insert(id.get_ref(), (id.span(), inputs))),
        }
    }
    servers
}

fn declare_channels<'d>(
    draft: &'d Draft,
    servers: &Servers<'d>,
    findings: &mut Findings<'_>,
) -> Channels<'d> {
    let mut channels = Channels::new();
    for channel in &draft.channels {
        check_source(channel, servers, findings);
        let Some(id) = &channel.id else { continue };
        let Some(first) = channels.get(id.get_ref()).copied() else {
            channels.insert(*id.get_ref(), channel);
            continue;
        };
        let first_span = first.id.as_ref().map_or(0..0, Spanned::span);
        if source(first).zip(source(channel)).is_some_and(|(first, second)| first != second) {
            let first_line = findings.source.line(first_span.start);
            findings.fault(id.span(), FaultKind::TwoSources { channel: *id.get_ref(), first_line });
        } else {
            duplicate(Noun::Channel, id, &first_span, findings);
        }
    }
    channels
}

/// Where a channel comes from.
fn source(channel: &ChannelDraft) -> Option<(&AcquisitionId, &InputId)> {
    Some((channel.acquisition_server.as_ref()?.get_ref(), channel.input.as_ref()?.get_ref()))
}

fn check_source(channel: &ChannelDraft, servers: &Servers<'_>, findings: &mut Findings<'_>) {
    let Some(server) = &channel.acquisition_server else { return };
    let Some((_, inputs)) = servers.get(server.get_ref()) else {
        let suggestion = nearest(server.get_ref().as_str(), servers.keys().map(|id| id.as_str()));
        let kind = FaultKind::UnknownReference {
            noun: Noun::AcquisitionServer,
            id: server.get_ref().to_string(),
            owner: None,
            suggestion: suggestion.map(str::to_owned),
        };
        return findings.fault(server.span(), kind);
    };
    let mut named = BTreeSet::new();
    for input in inputs_of(channel) {
        check_input(input, server.get_ref(), inputs, findings);
        if !named.insert(input.get_ref()) {
            findings.fault(input.span(), FaultKind::InputTwice(input.get_ref().clone()));
        }
    }
}

/// The inputs that a channel may come from, best first.
fn inputs_of(channel: &ChannelDraft) -> impl Iterator<Item = &Spanned<InputId>> {
    channel.input.iter().chain(channel.backups.iter().filter_map(|backup| backup.input.as_ref()))
}

fn check_input(
    input: &Spanned<InputId>,
    server: &AcquisitionId,
    inputs: &BTreeMap<&InputId, Range<usize>>,
    findings: &mut Findings<'_>,
) {
    if !inputs.contains_key(input.get_ref()) {
        let suggestion = nearest(input.get_ref().as_str(), inputs.keys().map(|id| id.as_str()));
        let kind = FaultKind::UnknownReference {
            noun: Noun::Input,
            id: input.get_ref().to_string(),
            owner: Some(server.to_string()),
            suggestion: suggestion.map(str::to_owned),
        };
        findings.fault(input.span(), kind);
    }
}

/// Checks that what each acquisition server is told ([`crate::p1_registration::FeedPlan`]) fits a frame of P1. The numbers are
/// what [`crate::codec`] writes beside texts and addresses.
fn check_plans(draft: &Draft, findings: &mut Findings<'_>) {
    let mut feeds: HashMap<ChannelId, usize> = HashMap::new();
    for host in &draft.hosts {
        let id = host.id.as_ref().map_or(0, |id| id.get_ref().as_str().len());
        let address = if host.address.is_some_and(|address| address.is_ipv6()) { 16 } else { 4 };
        for channel in &host.channels {
            *feeds.entry(*channel.get_ref()).or_default() += 14 + id + address;
        }
    }
    let mut channels: BTreeMap<&AcquisitionId, Vec<&ChannelDraft>> = BTreeMap::new();
    for channel in &draft.channels {
        if let Some(server) = &channel.acquisition_server {
            channels.entry(server.get_ref()).or_default().push(channel);
        }
    }
    for server in &draft.acquisition_servers {
        let Some(server_id) = &server.id else { continue };
        let sources: HashMap<&InputId, usize> = server.inputs.iter().filter_map(source_bytes).collect();
        let told = |channel: &&ChannelDraft| {
            let fed = channel.id.as_ref().and_then(|id| feeds.get(id.get_ref())).copied().unwrap_or(0);
            let named = inputs_of(channel).filter_map(|input| sources.get(input.get_ref()));
            28 + fed + named.sum::<usize>()
        };
        let found: usize = channels.get(server_id.get_ref()).into_iter().flatten().map(told).sum();
        if found > MAX_PLAN_BYTES {
            let what = "bytes of channels, with their backups and push servers, for one acquisition server";
            findings.fault(server_id.span(), FaultKind::TooMany { what, found, limit: MAX_PLAN_BYTES });
        }
    }
}

/// What a plan says of a channel's source.
fn source_bytes(input: &InputDraft) -> Option<(&InputId, usize)> {
    let (id, url) = (input.id.as_ref()?.get_ref(), input.url.as_ref()?);
    Some((id, 19 + id.as_str().len() + url.to_string().len()))
}

/// Checks ids and channel lists of the push hosts; gives the channels that at least one of them lists.
fn check_hosts(draft: &Draft, channels: &Channels<'_>, findings: &mut Findings<'_>) -> BTreeSet<ChannelId> {
    let mut declared: BTreeMap<&HostId, Range<usize>> = BTreeMap::new();
    let mut carried = BTreeSet::new();
    for host in &draft.hosts {
        if let Some(id) = &host.id {
            match declared.get(id.get_ref()) {
                Some(first) => duplicate(Noun::PushServer, id, first, findings),
                None => drop(declared.insert(id.get_ref(), id.span())),
            }
            warn_of_idle_host(host, id, findings);
        }
        let mut listed = BTreeSet::new();
        for channel in &host.channels {
            let id = *channel.get_ref();
            if !channels.contains_key(&id) {
                let noun = Noun::Channel;
                let kind =
                    FaultKind::UnknownReference { noun, id: id.to_string(), owner: None, suggestion: None };
                findings.fault(channel.span(), kind);
            }
            if !listed.insert(id)
                && let Some(host) = &host.id
            {
                let kind = FaultKind::RepeatedChannel { host: host.get_ref().clone(), channel: id };
                findings.fault(channel.span(), kind);
            }
        }
        check_destinations(host, &listed, findings);
        carried.append(&mut listed);
    }
    carried
}

/// Checks the channels that destinations name against those of their push host.
fn check_destinations(host: &HostDraft, of_host: &BTreeSet<ChannelId>, findings: &mut Findings<'_>) {
    for destination in &host.destinations {
        let mut listed = BTreeSet::new();
        for channel in destination.channels.iter().flatten() {
            let id = *channel.get_ref();
            if !of_host.contains(&id) {
                findings.fault(channel.span(), FaultKind::ChannelNotOfHost(id));
            }
            if !listed.insert(id) {
                findings.fault(channel.span(), FaultKind::ChannelTwice(id));
            }
        }
    }
}

fn warn_of_idle_host(host: &HostDraft, id: &Spanned<HostId>, findings: &mut Findings<'_>) {
    if host.channels.is_empty() {
        findings.warn(id.span(), WarningKind::HostWithoutChannels(id.get_ref().clone()));
    }
    if host.destinations.is_empty() && host.record.is_none() {
        findings.warn(id.span(), WarningKind::HostWithoutPurpose(id.get_ref().clone()));
    }
}

fn warn_of_unused(
    draft: &Draft,
    servers: &Servers<'_>,
    channels: &Channels<'_>,
    carried: &BTreeSet<ChannelId>,
    findings: &mut Findings<'_>,
) {
    for (id, channel) in draft.channels.iter().filter_map(|channel| Some((channel.id.as_ref()?, channel))) {
        if !carried.contains(id.get_ref()) {
            findings.warn(id.span(), WarningKind::ChannelNotCarried(*id.get_ref()));
        }
        let times = [("hold_off", &channel.hold_off), ("return_after", &channel.return_after)];
        for (key, time) in times.into_iter().filter(|_| channel.backups.is_empty()) {
            if let Some(time) = time {
                let kind = WarningKind::NothingToFailOverTo { channel: *id.get_ref(), key };
                findings.warn(time.span(), kind);
            }
        }
    }
    let used: BTreeSet<_> = channels
        .values()
        .filter_map(|channel| Some((channel.acquisition_server.as_ref()?.get_ref(), *channel)))
        .flat_map(|(server, channel)| inputs_of(channel).map(move |input| (server, input.get_ref())))
        .collect();
    let used_servers: BTreeSet<_> = used.iter().map(|(server, _)| *server).collect();
    for (server, (span, inputs)) in servers {
        if !used_servers.contains(*server) {
            findings.warn(span.clone(), WarningKind::UnusedAcquisitionServer((*server).clone()));
            continue;
        }
        for (input, span) in inputs {
            if !used.contains(&(*server, *input)) {
                let kind = WarningKind::UnusedInput { server: (*server).clone(), input: (*input).clone() };
                findings.warn(span.clone(), kind);
            }
        }
    }
}

fn warn_of_repeated_names(channels: &Channels<'_>, findings: &mut Findings<'_>) {
    let in_file_order: BTreeMap<usize, (ChannelId, &Spanned<String>)> = channels
        .iter()
        .filter_map(|(id, channel)| channel.name.as_ref().map(|name| (name.span().start, (*id, name))))
        .collect();
    let mut named: HashMap<String, ChannelId> = HashMap::new();
    for (second, name) in in_file_order.into_values() {
        let first = *named.entry(name.get_ref().to_lowercase()).or_insert(second);
        if first != second {
            findings.warn(name.span(), WarningKind::RepeatedName { first, second });
        }
    }
}

fn duplicate<T: ToString>(noun: Noun, id: &Spanned<T>, first: &Range<usize>, findings: &mut Findings<'_>) {
    let first_line = findings.source.line(first.start);
    findings.fault(id.span(), FaultKind::DuplicateId { noun, id: id.get_ref().to_string(), first_line });
}

/// Everything in its place. `None` only where something is missing, which has been told as a fault before.
fn assemble(draft: &Draft, reach: Reach) -> Option<Topology> {
    let database = draft.database_server.as_ref()?;
    let database_server = DatabaseServer {
        address: database.address?,
        registration_port: *database.registration.as_ref()?.get_ref(),
        directory_port: *database.directory.as_ref()?.get_ref(),
        http_port: *database.http.as_ref()?.get_ref(),
        name: database.name.clone().unwrap_or_else(|| DEFAULT_SITE_NAME.to_owned()),
        console: database.console,
        gateway: database.gateway.unwrap_or(DEFAULT_GATEWAY),
    };
    let mut acquisition_servers = BTreeMap::new();
    for server in &draft.acquisition_servers {
        let id = server.id.as_ref()?.get_ref().clone();
        let mut inputs = BTreeMap::new();
        for input in &server.inputs {
            let id = input.id.as_ref()?.get_ref().clone();
            inputs.insert(id.clone(), Input { id, url: input.url.clone()? });
        }
        acquisition_servers.insert(id.clone(), AcquisitionServer { id, inputs });
    }
    let channels = draft.channels.iter().map(channel).collect::<Option<BTreeMap<_, _>>>()?;
    let mut hosts = BTreeMap::new();
    for (host, placed) in draft.hosts.iter().zip(reach.destinations) {
        let mut destinations: Vec<_> = placed.into_iter().map(|placed| placed.destination).collect();
        let id = host.id.as_ref()?.get_ref().clone();
        destinations.sort_unstable();
        let host = PushHost {
            id: id.clone(),
            address: host.address?,
            feed_port: *host.feed.as_ref()?.get_ref(),
            control_port: *host.control.as_ref()?.get_ref(),
            channels: host.channels.iter().map(|channel| *channel.get_ref()).collect(),
            destinations,
            record: host.record,
            drain: host.drain,
        };
        hosts.insert(id, host);
    }
    let networks: BTreeMap<_, _> =
        reach.networks.into_iter().map(|(id, prefixes)| (id.clone(), Network { id, prefixes })).collect();
    let index = Index::new(&networks, &hosts);
    Some(Topology { database_server, acquisition_servers, channels, hosts, networks, index })
}

fn channel(draft: &ChannelDraft) -> Option<(ChannelId, Channel)> {
    let id = *draft.id.as_ref()?.get_ref();
    let backup = |draft: &BackupDraft| {
        Some(Backup { input: draft.input.as_ref()?.get_ref().clone(), service: draft.service })
    };
    let time = |time: &Option<Spanned<Duration>>, usual| time.as_ref().map_or(usual, |time| *time.get_ref());
    let channel = Channel {
        id,
        name: draft.name.as_ref()?.get_ref().clone(),
        acquisition_server: draft.acquisition_server.as_ref()?.get_ref().clone(),
        input: draft.input.as_ref()?.get_ref().clone(),
        service: draft.service,
        backups: draft.backups.iter().map(backup).collect::<Option<_>>()?,
        failover: Failover {
            hold_off: time(&draft.hold_off, DEFAULT_HOLD_OFF),
            return_after: time(&draft.return_after, DEFAULT_RETURN_AFTER),
        },
        port: draft.port?,
        logo: draft.logo.clone(),
        group: draft.group.clone(),
    };
    Some((id, channel))
}
