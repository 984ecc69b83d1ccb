//! What follows from a change: assignments, statuses, offers, configurations; each touched thing once.

use protocols::ids::{ChannelId, HostId, PushServerId};
use protocols::p2_directory::ChannelStatus;
use protocols::p4_control::{DestinationFault, DestinationOrder, SessionOrder};
use protocols::time::Time;
use protocols::topology::{Carrier, DestinationKind, NetworkId, Topology};
use tracing::{debug, info};

use super::DatabaseServer;
use crate::assignment::{Decision, Moment, Rival, decide, rank};
use crate::command::Wire;
use crate::configuration::{Desired, Peer};
use crate::mode::Mode;
use crate::output::Output;
use crate::presence::Presence;
use crate::reception::{Assigned, Offer, Place, Reception, Target};
use crate::record::{Assignment, Record};
use crate::status::{Facts, PushState, status};

impl DatabaseServer {
    /// Brings everything that was touched up to date.
    pub(super) fn settle(&mut self, now: Time, out: &mut Vec<Output>) {
        let Some(topology) = self.topology.clone() else { return };
        if self.mode.follow(self.registrations.registered()) {
            self.mode_changed(now, &topology, out);
        }
        for place in std::mem::take(&mut self.touched_places) {
            self.reassign(now, &place, &topology, out);
            self.republish(now, &place, &topology, out);
        }
        for (host, channel) in std::mem::take(&mut self.touched_servers) {
            let desired = self.desired(&host, channel, &topology);
            self.configuration.want(&host, channel, desired, &mut self.minter);
            self.touched_hosts.insert(host);
        }
        let time = self.cluster_time(now);
        for host in std::mem::take(&mut self.touched_hosts) {
            let Some(known) = self.presence.get(&host) else { continue };
            let peer = Peer { id: &host, address: known.address, key: &known.key };
            let (commander, counters) = (&mut self.commander, &mut self.counters);
            self.configuration.pump(peer, &mut Wire { now, time, commander, counters, out });
            if known.leaving_until.is_some() && known.alive && self.configuration.is_settled(&host) {
                info!(%host, "push server host has left the topology and released its channels");
                self.presence.released(&host);
                self.configuration.forget(&host);
            }
        }
    }

    fn mode_changed(&mut self, now: Time, topology: &Topology, out: &mut Vec<Output>) {
        let text = match self.mode {
            Mode::Online => "on-line: live broadcasting is available",
            Mode::Offline => "off-line: no acquisition server is registered",
        };
        info!("{text}");
        out.push(Output::event(self.cluster_time(now), &"site", text.to_owned()));
        for network in topology.networks.keys() {
            self.directory.list_changed(now, network, &mut self.counters);
        }
    }

    /// Decides who serves `place`.
    fn reassign(&mut self, now: Time, place: &Place, topology: &Topology, out: &mut Vec<Output>) {
        let (channel, network) = place;
        let carriers = topology.carriers(*channel, network);
        let Some(row) = self.receptions.get_mut(place) else { return };
        let rivals: Vec<Rival<'_>> =
            carriers.iter().map(|carrier| rival(&self.presence, *channel, carrier, topology)).collect();
        let present = row.assigned.as_ref().and_then(|assigned| position(assigned, carriers, topology));
        let serves = |rival: &Rival<'_>| rival.alive && rival.fit;
        let undecided = rivals.iter().any(serves) && !present.is_some_and(|index| serves(&rivals[index]));
        row.undecided_since = if undecided { row.undecided_since.or(Some(now)) } else { None };
        let moment = Moment { now, grace_end: self.grace_end, undecided_since: row.undecided_since };
        let by_rank = |host: &HostId| rank(*channel, network.as_str(), host);
        match decide(&rivals, present, moment, by_rank) {
            Decision::Keep => self.waits.cancel(place),
            Decision::Wait(until) => self.waits.set(place.clone(), until),
            Decision::Assign(index) => {
                let hands_over =
                    present.is_some_and(|index| serves(&rivals[index]) && rivals[index].draining);
                let outgoing = row.assigned.clone().filter(|_| hands_over);
                let sending = rivals[index].sending;
                self.waits.cancel(place);
                self.assign(place, &carriers[index], topology, out);
                self.hand_over(now, place, outgoing, sending);
            }
        }
    }

    fn assign(&mut self, place: &Place, carrier: &Carrier, topology: &Topology, out: &mut Vec<Output>) {
        let (Some(row), Some(destination)) = (self.receptions.get_mut(place), topology.destination(carrier))
        else {
            return;
        };
        let (channel, network) = place.clone();
        let (host, destination) = (carrier.0.clone(), destination.address);
        let revision = self.minter.mint();
        row.undecided_since = None;
        let before = row.assigned.replace(Assigned { host: host.clone(), destination, revision });
        self.counters.assignments += 1;
        if let Some(before) = before {
            self.counters.reassignments += 1;
            info!(%channel, %network, from = %before.host, to = %host, %revision, "push server reassigned");
            self.touched_servers.insert((before.host, channel));
        } else {
            debug!(%channel, %network, %host, %revision, "push server assigned");
        }
        self.touched_servers.insert((host.clone(), channel));
        let assignment = Assignment { channel, network, host, destination, revision };
        out.push(Output::Store(Record::Assigned(assignment)));
    }

    /// Works out what viewers of `place` are shown and told, and tells them where it is news.
    fn republish(&mut self, now: Time, place: &Place, topology: &Topology, out: &mut Vec<Output>) {
        let Some(row) = self.receptions.get(place) else { return };
        let status = self.status_of(place, topology);
        let offer = self.offer_of(place, row, &status, topology);
        let news = row.status != status || row.offer.target() != offer.target();
        let retune = row.offer != offer;
        if let Some(row) = self.receptions.get_mut(place) {
            row.status = status;
            row.offer = offer;
        }
        if news {
            self.directory.list_changed(now, &place.1, &mut self.counters);
        }
        if retune {
            let (directory, view, counters) = self.directory_and_view(now, topology);
            directory.offer_changed(place, view, counters, out);
        }
    }

    fn status_of(&self, (channel, network): &Place, topology: &Topology) -> ChannelStatus {
        let Some(declared) = topology.channels.get(channel) else {
            return ChannelStatus::Inactive { cause: format!("channel {channel} is not declared") };
        };
        let (mut push, mut push_cause) = (PushState::Dead, String::new());
        for carrier in topology.carriers(*channel, network) {
            let (state, cause) = self.push_state(*channel, carrier, topology);
            if state > push {
                (push, push_cause) = (state, cause);
            }
        }
        status(&Facts {
            acquisition: &declared.acquisition_server,
            registered: self.registrations.is_registered(&declared.acquisition_server),
            input: self.registrations.input(*channel),
            network: network.as_str(),
            push,
            push_cause: &push_cause,
        })
    }

    /// How far one push server has come, and for people, why no further.
    fn push_state(&self, channel: ChannelId, carrier: &Carrier, topology: &Topology) -> (PushState, String) {
        let rival = rival(&self.presence, channel, carrier, topology);
        if !rival.alive {
            return (PushState::Dead, String::new());
        }
        if rival.fit {
            return (PushState::Fit, String::new());
        }
        let host = &carrier.0;
        if let Some(fault) = fault(&self.presence, channel, carrier, topology) {
            return (PushState::Faulty, format!(": push server `{host}`: {}", fault_text(fault)));
        }
        let cause = self.registrations.feed_cause(channel, host);
        let cause = cause.map(|cause| format!(": feed to push server `{host}`: {cause}"));
        (PushState::Unfed, cause.unwrap_or_default())
    }

    fn offer_of(
        &self,
        (channel, network): &Place,
        row: &Reception,
        status: &ChannelStatus,
        topology: &Topology,
    ) -> Offer {
        let reason = || match status {
            ChannelStatus::Inactive { cause } => cause.clone(),
            ChannelStatus::Active => {
                format!("another push server takes over channel {channel} for {network}")
            }
        };
        let carriers = topology.carriers(*channel, network);
        let assigned = row.assigned.as_ref();
        let carrier = assigned.and_then(|assigned| Some(&carriers[position(assigned, carriers, topology)?]));
        let (Some(assigned), Some(carrier)) = (assigned, carrier) else {
            return Offer::Unavailable(reason());
        };
        let rival = rival(&self.presence, *channel, carrier, topology);
        let (Some(declared), Some(host)) = (topology.channels.get(channel), topology.hosts.get(&carrier.0))
        else {
            return Offer::Unavailable(reason());
        };
        if !rival.alive {
            return Offer::Unavailable(reason());
        }
        let target = Target {
            name: declared.name.clone(),
            destination: assigned.destination,
            port: declared.port,
            push_server: PushServerId { host: assigned.host.clone(), channel: *channel },
            control: host.control(),
            revision: assigned.revision,
        };
        if rival.fit { Offer::Tune(target) } else { Offer::Later(target, reason()) }
    }

    /// What the push server of `channel` at `host` shall do.
    fn desired(&self, host: &HostId, channel: ChannelId, topology: &Topology) -> Desired {
        let declared = topology.hosts.get(host).filter(|declared| declared.channels.contains(&channel));
        let (Some(declared), Some(declared_channel)) = (declared, topology.channels.get(&channel)) else {
            return Desired::Release;
        };
        let sent = declared.destinations.iter().enumerate().filter(|(_, to)| to.carries(channel));
        let destinations: Vec<_> = sent
            .map(|(index, destination)| DestinationOrder {
                address: destination.address,
                interface: destination.interface.as_ref().map(ToString::to_string),
                ttl: destination.ttl,
                dscp: destination.dscp,
                window_ms: destination.window_ms,
                broadcast: destination.kind == DestinationKind::Broadcast,
                assigned: self.is_to_send(channel, &destination.network, &(host.clone(), index), topology),
                membership: destination.membership,
                announce: destination.announce,
            })
            .collect();
        let announced = destinations.iter().any(|order| order.announce);
        let session = announced.then(|| SessionOrder {
            origin: topology.database_server.address,
            name: declared_channel.name.clone(),
        });
        let record = declared
            .record
            .as_ref()
            .map(|record| Box::new(self.record_order(host, channel, record, topology)));
        Desired::Carry { port: declared_channel.port, destinations, record, session }
    }

    /// Whether `carrier` is assigned, or still sends until the one that is has taken over.
    fn is_to_send(
        &self,
        channel: ChannelId,
        network: &NetworkId,
        carrier: &Carrier,
        topology: &Topology,
    ) -> bool {
        let Some(row) = self.receptions.get(&(channel, network.clone())) else { return false };
        let carriers = topology.carriers(channel, network);
        row.assigned
            .iter()
            .chain(&row.outgoing)
            .any(|sent| position(sent, carriers, topology).is_some_and(|index| carriers[index] == *carrier))
    }
}

/// Where among `carriers` the assigned one is.
pub(super) fn position(assigned: &Assigned, carriers: &[Carrier], topology: &Topology) -> Option<usize> {
    carriers.iter().position(|carrier| {
        carrier.0 == assigned.host
            && topology.destination(carrier).is_some_and(|known| known.address == assigned.destination)
    })
}

fn rival<'a>(
    presence: &Presence,
    channel: ChannelId,
    carrier: &'a Carrier,
    topology: &Topology,
) -> Rival<'a> {
    let (host, address) = (&carrier.0, topology.destination(carrier).map(|known| known.address));
    let known = presence.get(host);
    let alive = known.is_some_and(|known| known.alive);
    let fed = known.and_then(|known| known.server(channel)).is_some_and(|report| report.fed);
    let destination = known.zip(address).and_then(|(known, address)| known.destination(channel, address));
    let sending = destination.is_some_and(|report| report.sending);
    // Who cannot hear members can serve everybody else.
    let fit = fed
        && destination.is_none_or(|report| report.fault.is_none_or(|fault| fault == DestinationFault::Deaf));
    let draining = topology.hosts.get(host).is_some_and(|declared| declared.drain);
    Rival { host, alive, fit, sending, draining }
}

fn fault(
    presence: &Presence,
    channel: ChannelId,
    carrier: &Carrier,
    topology: &Topology,
) -> Option<DestinationFault> {
    let address = topology.destination(carrier)?.address;
    presence.get(&carrier.0)?.destination(channel, address)?.fault
}

/// For people.
pub(super) fn fault_text(fault: DestinationFault) -> &'static str {
    match fault {
        DestinationFault::NoInterface => "it has no such interface as the topology names",
        DestinationFault::NotPermitted => "its operating system forbids it",
        DestinationFault::Unreachable => "no route there, or the interface is down",
        DestinationFault::Overloaded => "it has more to send than it can, and sheds its newest channels",
        DestinationFault::Deaf => {
            "it cannot hear who joins the group: it needs CAP_NET_RAW and an interface that is up"
        }
        DestinationFault::Other => "its operating system reports an error",
    }
}
