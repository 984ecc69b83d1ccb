//! What people are shown: the site, what is recorded, whether this server is ready.

use std::collections::BTreeMap;

use protocols::health::{HealthReport, HealthState, IndicatorReport, SignalReport};
use protocols::ids::{AcquisitionId, ChannelId};
use protocols::p1_registration::{FeedReport, FeedState, InputState};
use protocols::p2_directory::ChannelStatus;
use protocols::time::Time;
use protocols::topology::{self, Destination, DestinationKind, NetworkId, PushHost, Topology};

use super::DatabaseServer;
use super::settle::fault_text;
use crate::mode::Mode;
use crate::presence::Host;
use crate::recordings_view::RecordingsView;
use crate::site_view::{
    AcquisitionServerView, BackupView, CarriedView, ChannelView, DestinationKindView, DestinationView,
    FeedStateView, FeedView, HealthStateView, HealthView, IndicatorView, InputStateView, InputView,
    ListedView, ModeView, NetworkView, PresenceView, PushServerView, RegistrationView, SentView, SignalView,
    SiteHead, SiteView, StatusView,
};

/// Bits of transport stream in a full packet: seven of 188 bytes (RFC 2250).
const BITS_PER_PACKET: u64 = 7 * 188 * 8;

impl DatabaseServer {
    /// The site as it is at `now`, with the addresses of inputs.
    pub fn site_view(&self, now: Time) -> SiteView {
        let site = SiteHead {
            name: self.topology.as_ref().map(|topology| topology.database_server.name.clone()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            generation: self.generation.0,
            mode: match self.mode {
                Mode::Online => ModeView::Live,
                Mode::Offline => ModeView::Offline,
            },
            time_ms: self.cluster_time(now).0,
        };
        let Some(topology) = self.topology.as_deref() else {
            return SiteView { site, ..SiteView::default() };
        };
        // By acquisition server and input: whose own input it is, and whose backup.
        let mut by_input: BTreeMap<(&AcquisitionId, &str), [Vec<u32>; 2]> = BTreeMap::new();
        for channel in topology.channels.values() {
            for (rank, input) in channel.inputs().enumerate() {
                let [own, backup] =
                    by_input.entry((&channel.acquisition_server, input.as_str())).or_default();
                if rank == 0 { own } else { backup }.push(channel.id.0);
            }
        }
        let acquisition_server = |server: &topology::AcquisitionServer| AcquisitionServerView {
            id: server.id.to_string(),
            state: if self.registrations.is_registered(&server.id) {
                RegistrationView::Registered
            } else {
                RegistrationView::Away
            },
            software: self.registrations.software(&server.id).map(str::to_owned),
            inputs: server
                .inputs
                .values()
                .map(|input| {
                    let users = by_input.get(&(&server.id, input.id.as_str())).cloned();
                    let [channels, backup_of] = users.unwrap_or_default();
                    let (id, url) = (input.id.to_string(), Some(input.url.to_string()));
                    InputView { id, url, channels, backup_of }
                })
                .collect(),
        };
        let viewers = self.directory.viewers();
        SiteView {
            site,
            acquisition_servers: topology.acquisition_servers.values().map(acquisition_server).collect(),
            channels: self.channel_views(topology),
            push_servers: topology.hosts.values().map(|host| self.push_server_view(host)).collect(),
            networks: topology
                .networks
                .keys()
                .map(|network| {
                    let viewers = viewers.get(network).copied().unwrap_or_default();
                    self.network_view(network, viewers, topology)
                })
                .collect(),
        }
    }

    /// All that is recorded and ordered, of all channels.
    pub fn recordings_view(&mut self, now: Time) -> RecordingsView {
        let Some(topology) = self.topology.clone() else { return RecordingsView::default() };
        let all = topology.channels.keys().copied().collect();
        let (catalogue, sight, _) = self.catalogue_and_sight(now, &topology);
        RecordingsView::of(catalogue.list(&all, None, sight))
    }

    /// Whether this server can tell everybody where to go; otherwise why not, for people.
    pub fn readiness(&self, now: Time) -> Result<(), &'static str> {
        if self.topology.is_none() {
            Err("no topology is in force yet")
        } else if now < self.grace_end {
            Err("this server has just started: it may not have heard of all push servers yet")
        } else {
            Ok(())
        }
    }

    fn channel_views(&self, topology: &Topology) -> Vec<ChannelView> {
        let mut hosts: BTreeMap<ChannelId, Vec<&PushHost>> = BTreeMap::new();
        for host in topology.hosts.values() {
            host.channels.iter().for_each(|channel| hosts.entry(*channel).or_default().push(host));
        }
        let view = |channel: &topology::Channel| {
            let report = self.registrations.report(channel.id);
            let (input_state, cause) = match report.map(|report| &report.input) {
                None => (None, None),
                Some(InputState::Starting) => (Some(InputStateView::Starting), None),
                Some(InputState::Delivering) => (Some(InputStateView::Delivering), None),
                Some(InputState::Failed { cause }) => (Some(InputStateView::Failed), Some(cause.clone())),
            };
            let hosts = hosts.get(&channel.id).map_or(&[][..], Vec::as_slice);
            let reported: BTreeMap<_, _> =
                report.into_iter().flat_map(|report| &report.feeds).map(|feed| (&feed.host, feed)).collect();
            ChannelView {
                id: channel.id.0,
                name: channel.name.clone(),
                group: channel.group.clone(),
                logo: channel.logo.clone(),
                port: channel.port,
                acquisition_server: channel.acquisition_server.to_string(),
                input: channel.input.to_string(),
                service: channel.service,
                backups: channel
                    .backups
                    .iter()
                    .map(|backup| BackupView { input: backup.input.to_string(), service: backup.service })
                    .collect(),
                input_in_use: report
                    .and_then(|report| channel.inputs().nth(report.source.into()))
                    .map(ToString::to_string),
                switches: report.map(|report| report.switches),
                input_state,
                cause,
                rate_bps: report.map(|report| report.rate_bps),
                packets: report.map(|report| report.packets),
                health: report.map(|report| health_view(&report.health)),
                signal: report.and_then(|report| report.signal).map(signal_view),
                recorded: hosts.iter().any(|host| host.record.is_some()),
                feeds: hosts.iter().map(|host| feed_view(host, reported.get(&host.id).copied())).collect(),
            }
        };
        topology.channels.values().map(view).collect()
    }

    fn push_server_view(&self, host: &PushHost) -> PushServerView {
        let known = self.presence.get(&host.id);
        let carried = |channel: &ChannelId| {
            let report = known.and_then(|known| known.server(*channel));
            CarriedView {
                channel: channel.0,
                fed: report.is_some_and(|report| report.fed),
                packets: report.map(|report| report.packets),
            }
        };
        let destination = |destination: &Destination| DestinationView {
            address: destination.address,
            kind: match destination.kind {
                DestinationKind::Multicast => DestinationKindView::Multicast,
                DestinationKind::Broadcast => DestinationKindView::Broadcast,
                DestinationKind::Unicast => DestinationKindView::Unicast,
            },
            network: destination.network.to_string(),
            channels: host
                .channels_at(destination)
                .map(|channel| self.sent_view(channel, host, destination, known))
                .collect(),
        };
        PushServerView {
            id: host.id.to_string(),
            address: host.address,
            state: if known.is_some_and(|known| known.alive) {
                PresenceView::Answers
            } else {
                PresenceView::Away
            },
            draining: host.drain,
            recorder_fault: self.catalogue.recorder_fault(&host.id).map(|fault| fault.text().to_owned()),
            channels: host.channels.iter().map(carried).collect(),
            destinations: host.destinations.iter().map(destination).collect(),
        }
    }

    fn sent_view(
        &self,
        channel: ChannelId,
        host: &PushHost,
        destination: &Destination,
        known: Option<&Host>,
    ) -> SentView {
        let row = self.receptions.get(&(channel, destination.network.clone()));
        let assigned = row.and_then(|row| row.assigned.as_ref());
        let report = known.and_then(|known| known.destination(channel, destination.address));
        let sending = report.is_some_and(|report| report.sending) && known.is_some_and(|known| known.alive);
        let rate = known.and_then(|known| known.rate(channel, destination.address, BITS_PER_PACKET));
        SentView {
            channel: channel.0,
            assigned: assigned.is_some_and(|assigned| {
                assigned.host == host.id && assigned.destination == destination.address
            }),
            sending,
            packets: report.map(|report| report.packets),
            rate_bps: if sending { rate } else { report.map(|_| 0) },
            fault: report.and_then(|report| report.fault).map(|fault| fault_text(fault).to_owned()),
        }
    }

    fn network_view(&self, network: &NetworkId, viewers: u64, topology: &Topology) -> NetworkView {
        let listed = |channel: &ChannelId| {
            let place = (*channel, network.clone());
            let row = self.receptions.get(&place)?;
            let assigned = row.assigned.as_ref();
            let (status, cause) = match &row.status {
                ChannelStatus::Active => (StatusView::Active, None),
                ChannelStatus::Inactive { cause } => (StatusView::Inactive, Some(cause.clone())),
            };
            let sending = assigned.is_some_and(|assigned| {
                let host = self.presence.get(&assigned.host).filter(|host| host.alive);
                let report = host.and_then(|host| host.destination(*channel, assigned.destination));
                report.is_some_and(|report| report.sending)
            });
            Some(ListedView {
                channel: channel.0,
                status,
                cause,
                push_server: assigned.map(|assigned| assigned.host.to_string()),
                sending,
                viewers: self.directory.watching(&place),
            })
        };
        NetworkView {
            id: network.to_string(),
            viewers,
            channels: topology.channels_of(network).iter().filter_map(listed).collect(),
        }
    }
}

fn health_view(report: &HealthReport) -> HealthView {
    let indicator = |seen: &IndicatorReport| IndicatorView {
        name: seen.indicator.name(),
        number: seen.indicator.number(),
        count: seen.count,
        last_ms: seen.last.0,
    };
    HealthView {
        state: match report.state {
            HealthState::Unknown => HealthStateView::Unknown,
            HealthState::Good => HealthStateView::Good,
            HealthState::Impaired => HealthStateView::Impaired,
            HealthState::Bad => HealthStateView::Bad,
        },
        indicators: report.indicators.iter().map(indicator).collect(),
        lost_packets: report.lost_packets,
        delay_factor_us: report.delivery.map(|index| index.delay_factor_us),
        media_loss_rate: report.delivery.map(|index| index.lost_packets),
        pcr_accuracy_judged: report.accuracy_judged,
    }
}

fn signal_view(report: SignalReport) -> SignalView {
    let SignalReport { locked, strength_percent, quality_percent } = report;
    SignalView { locked, strength_percent, quality_percent }
}

fn feed_view(host: &PushHost, report: Option<&FeedReport>) -> FeedView {
    let (state, cause) = match report.map(|report| &report.state) {
        None => (None, None),
        Some(FeedState::Connecting) => (Some(FeedStateView::Connecting), None),
        Some(FeedState::Connected) => (Some(FeedStateView::Connected), None),
        Some(FeedState::Unreachable { cause }) => (Some(FeedStateView::Unreachable), Some(cause.clone())),
    };
    FeedView {
        push_server: host.id.to_string(),
        state,
        cause,
        dropped_packets: report.map(|report| report.dropped_packets),
    }
}
