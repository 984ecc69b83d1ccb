//! Taking up a topology, the first or a later one: what changed is told to whom it concerns, and nobody else hears of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use protocols::ids::{ChannelId, Generation, HostId};
use protocols::p1_registration::ToAcquisition;
use protocols::preamble::Refusal;
use protocols::time::Time;
use protocols::topology::{NetworkId, Topology};
use tracing::info;

use super::DatabaseServer;
use super::settle::position;
use crate::assignment::START_GRACE;
use crate::output::Output;
use crate::reception::{Assigned, Place, Reception};
use crate::record::{Assignment, Record};

impl DatabaseServer {
    /// Takes up `topology`; one with the content of the present one changes nothing.
    pub(super) fn take_up(&mut self, now: Time, topology: &Arc<Topology>, out: &mut Vec<Output>) {
        let fingerprint = topology.fingerprint();
        let first = self.topology.is_none();
        if !first && self.fingerprint == Some(fingerprint) {
            info!(generation = %self.generation, "the topology says what it said before");
            return;
        }
        if self.fingerprint != Some(fingerprint) {
            self.generation = Generation(self.generation.0 + 1);
            self.fingerprint = Some(fingerprint);
            out.push(Output::Store(Record::Topology { generation: self.generation, fingerprint }));
        }
        if first {
            self.grace_end = now + START_GRACE;
        }
        let (channels, networks) = (topology.channels.len(), topology.networks.len());
        info!(generation = %self.generation, channels, hosts = topology.hosts.len(), networks, "topology taken up");
        let old = self.topology.replace(Arc::clone(topology));
        self.take_up_hosts(now, old.as_deref(), topology);
        self.take_up_sources(now, old.as_deref(), topology, out);
        out.extend(self.catalogue.take_up(now, topology).into_iter().map(Output::Store));
        let mut gone = Vec::new();
        self.guide.retain(|channel| topology.channels.contains_key(&channel), &mut gone);
        out.extend(gone.into_iter().map(Output::Store));
        let removed = self.take_up_places(topology, out);
        self.settle(now, out);
        self.take_up_lists(now, old.as_deref(), topology);
        for place in removed {
            let (directory, view, counters) = self.directory_and_view(now, topology);
            directory.offer_changed(&place, view, counters, out);
        }
        let (directory, view, counters) = self.directory_and_view(now, topology);
        directory.take_up(view, counters, out);
    }

    /// Hosts and what each carries.
    fn take_up_hosts(&mut self, now: Time, old: Option<&Topology>, topology: &Topology) {
        for (id, host) in old.map(|old| &old.hosts).into_iter().flatten() {
            let moved = topology.hosts.get(id).is_some_and(|declared| declared.control() != host.control());
            if moved {
                self.configuration.host_down(id);
            }
            let dropped = self.configuration.channels(id).into_iter();
            self.touched_servers.extend(dropped.map(|channel| (id.clone(), channel)));
        }
        self.presence.take_up(now, topology, &self.key, self.seed);
        for (id, host) in &topology.hosts {
            let before = old.and_then(|old| old.hosts.get(id));
            let other = before.is_some_and(|before| {
                before.record.is_some() != host.record.is_some() || before.channels != host.channels
            });
            if other && host.record.is_some() {
                self.presence.ask_anew(id);
            }
        }
        for (id, host) in &topology.hosts {
            self.touched_servers.extend(host.channels.iter().map(|channel| (id.clone(), *channel)));
        }
    }

    /// Acquisition servers: plans, commands, connections of those that are no more declared.
    fn take_up_sources(
        &mut self,
        now: Time,
        old: Option<&Topology>,
        topology: &Topology,
        out: &mut Vec<Output>,
    ) {
        let (changed, dropped) = self.feeding.take_up(topology, self.generation);
        out.extend(dropped.into_iter().map(|id| Output::Store(Record::CommandDone { id })));
        for (id, channel) in old.map(|old| &old.channels).into_iter().flatten() {
            let same = |new: &protocols::topology::Channel| {
                new.acquisition_server == channel.acquisition_server && new.inputs().eq(channel.inputs())
            };
            if !topology.channels.get(id).is_some_and(same) {
                self.registrations.forget_reports([*id]);
                let mut gone = Vec::new();
                self.guide.forget(*id, &mut gone);
                out.extend(gone.into_iter().map(Output::Store));
            }
        }
        for server in old.map(|old| old.acquisition_servers.keys()).into_iter().flatten() {
            if topology.acquisition_servers.contains_key(server) {
                continue;
            }
            if let Some((connection, _)) = self.registrations.of(server) {
                let refusal = Refusal::UnknownServer(server.to_string());
                out.push(Output::RefuseAcquisition { connection, refusal });
                self.acquisition_closed(now, connection, topology, out);
            }
        }
        for server in changed {
            if let Some((connection, state)) = self.registrations.of(&server)
                && state.registered
            {
                let message = ToAcquisition::Plan(self.feeding.plan(&server));
                out.push(Output::SendToAcquisition { connection, message });
            }
        }
    }

    /// Rows of the table: new ones, those that are no more listed (returned), and all to be looked at.
    fn take_up_places(&mut self, topology: &Topology, out: &mut Vec<Output>) -> Vec<Place> {
        let listed = |(channel, network): &Place| topology.channels_of(network).contains(channel);
        let removed: Vec<Place> = self.receptions.keys().filter(|place| !listed(place)).cloned().collect();
        for place in &removed {
            self.receptions.remove(place);
            self.waits.cancel(place);
            self.handovers.cancel(place);
            let (channel, network) = place.clone();
            out.push(Output::Store(Record::Unassigned { channel, network }));
        }
        for row in std::mem::take(&mut self.remembered) {
            let Assignment { channel, network, host, destination, revision } = row;
            self.minter.above(revision);
            let place = (channel, network);
            if listed(&place) {
                let assigned = Assigned { host, destination, revision };
                self.receptions.insert(place, Reception::new(Some(assigned)));
            } else {
                out.push(Output::Store(Record::Unassigned { channel, network: place.1 }));
            }
        }
        for network in topology.networks.keys() {
            for channel in topology.channels_of(network) {
                let place = (*channel, network.clone());
                let row = self.receptions.entry(place.clone()).or_insert_with(|| Reception::new(None));
                let carriers = topology.carriers(*channel, network);
                if row
                    .assigned
                    .as_ref()
                    .is_some_and(|assigned| position(assigned, carriers, topology).is_none())
                {
                    row.assigned = None;
                }
                self.touched_places.insert(place);
            }
        }
        removed
    }

    /// Networks on whose list a channel was added, removed or renamed.
    fn take_up_lists(&mut self, now: Time, old: Option<&Topology>, topology: &Topology) {
        let Some(old) = old else { return };
        let name = |topology: &Topology, id| topology.channels.get(&id).map(|channel| channel.name.clone());
        let renamed: BTreeSet<ChannelId> =
            topology.channels.keys().filter(|id| name(old, **id) != name(topology, **id)).copied().collect();
        let networks: BTreeSet<&NetworkId> = old.networks.keys().chain(topology.networks.keys()).collect();
        for network in networks {
            let (before, after) = (old.channels_of(network), topology.channels_of(network));
            if before != after || !after.is_disjoint(&renamed) {
                self.directory.list_changed(now, network, &mut self.counters);
            }
        }
    }

    /// The revision of the configuration of `channel` at `host`; for checks that a reload left it alone.
    pub fn configured_revision(&self, host: &HostId, channel: ChannelId) -> Option<protocols::ids::Revision> {
        self.configuration.revision(host, channel)
    }
}
