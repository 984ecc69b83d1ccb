//! The root machine: takes every input to the sub-machine that it concerns, and settles what follows from it.
//!
//! ```text
//! input ──► presence, registration, feeding, directory, configuration
//!              └─ touched places (channel, network) and push servers (host, channel)
//! settle ──► assignment ─► status, offer ─► directory        every touched place, once
//!        └─► configuration ─► datagrams                      every touched push server, once
//! ```
//!
//! Work per input grows with what the input changes, not with the site: a poll costs its channels, a report its items, a
//! question its answer. Only a new topology, the end of the grace after the start and the loss of a whole server touch more.

mod commands;
mod control;
mod guide;
mod handover;
mod picture;
mod playing;
mod recordings;
mod reload;
#[cfg(test)]
mod scale;
mod settle;
#[cfg(test)]
mod tests;

pub use self::commands::SiteCommand;
use std::collections::BTreeSet;
use std::sync::Arc;

use protocols::authority::ClusterKey;
use protocols::ids::{AcquisitionId, BootId, ChannelId, Generation, HostId};
use protocols::p1_registration::{self as p1, CommandResult};
use protocols::p2_directory::ToDatabase as P2;
use protocols::preamble::Refusal;
use protocols::time::{ClusterClock, ClusterTime, Time, earliest};
use protocols::topology::{NetworkId, Topology};
use tracing::{info, warn};

use crate::catalogue::Catalogue;
use crate::command::{Commander, Wire};
use crate::configuration::{Configuration, Minter};
use crate::counters::Counters;
use crate::directory::{Directory, View};
use crate::feeding::Feeding;
use crate::guide::Guide;
use crate::input::{Config, ConnectionId, Input, Reason};
use crate::mode::Mode;
use crate::output::Output;
use crate::presence::Presence;
use crate::reception::{Place, Receptions};
use crate::record::{Assignment, Record, Server};
use crate::registration::{MAX_ACQUISITION_CONNECTIONS, MAX_SOFTWARE_BYTES, Registrations};
use crate::zaps::Figures;
use protocols::timers::Timers;

/// The database server, without its sockets, clock and disk.
#[derive(Debug)]
pub struct DatabaseServer {
    boot_id: BootId,
    seed: u64,
    key: ClusterKey,
    clock: ClusterClock,
    topology: Option<Arc<Topology>>,
    generation: Generation,
    fingerprint: Option<u64>,
    /// Assignments of earlier lives, until the first topology takes them up.
    remembered: Vec<Assignment>,
    grace_end: Time,
    commander: Commander,
    minter: Minter,
    presence: Presence,
    registrations: Registrations,
    feeding: Feeding,
    configuration: Configuration,
    catalogue: Catalogue,
    guide: Guide,
    directory: Directory,
    mode: Mode,
    receptions: Receptions,
    /// Places whose assignment has to wait.
    waits: Timers<Place>,
    /// Places whose former push servers still send, and until when at most.
    handovers: Timers<Place>,
    touched_places: BTreeSet<Place>,
    touched_servers: BTreeSet<(HostId, ChannelId)>,
    touched_hosts: BTreeSet<HostId>,
    counters: Counters,
}

impl DatabaseServer {
    /// A database server that begins its life; it waits for its topology. `seed` spreads what would otherwise happen at once.
    pub fn new(config: Config, boot_id: BootId, seed: u64) -> Self {
        let Config { cluster_key, start, clock_base, mut remembered } = config;
        Self {
            boot_id,
            seed,
            catalogue: Catalogue::new(&mut remembered),
            clock: ClusterClock::new(Time::ZERO, clock_base),
            topology: None,
            generation: remembered.topology.map(|(generation, _)| generation).unwrap_or_default(),
            fingerprint: remembered.topology.map(|(_, fingerprint)| fingerprint),
            remembered: remembered.assignments,
            grace_end: Time::ZERO,
            commander: Commander::new(start),
            minter: Minter::new(start),
            presence: Presence::new(),
            registrations: Registrations::default(),
            feeding: Feeding::new(start, remembered.commands),
            configuration: Configuration::new(),
            guide: Guide::new(remembered.guide),
            directory: Directory::new(cluster_key.clone()),
            key: cluster_key,
            mode: Mode::default(),
            receptions: Receptions::new(),
            waits: Timers::new(),
            handovers: Timers::new(),
            touched_places: BTreeSet::new(),
            touched_servers: BTreeSet::new(),
            touched_hosts: BTreeSet::new(),
            counters: Counters::default(),
        }
    }

    /// Takes one input at `now`; what must be done is appended to `out`. Everything but a topology is ignored before the first one.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        if let Input::Topology(topology) = input {
            self.take_up(now, &topology, out);
            return;
        }
        let Some(topology) = self.topology.clone() else { return };
        match input {
            Input::Topology(_) => {}
            Input::AcquisitionConnected { connection, id, boot_id } => {
                self.acquisition_connected(now, connection, &id, boot_id, &topology, out);
            }
            Input::AcquisitionMessage { connection, message } => {
                self.acquisition_message(now, connection, message, &topology, out);
            }
            Input::AcquisitionClosed { connection } => {
                self.acquisition_closed(now, connection, &topology, out);
            }
            Input::ClientConnected { connection, address } => {
                let counters = &mut self.counters;
                if let Err(refusal) = self.directory.connect(now, connection, address, &topology, counters) {
                    out.push(Output::CloseClient { connection, refusal });
                }
            }
            Input::ClientMessage {
                connection,
                message:
                    message @ (P2::Recordings { .. } | P2::Record { .. } | P2::Unrecord { .. } | P2::Play(_)),
            } => {
                self.recordings_message(now, connection, message, &topology, out);
            }
            Input::ClientMessage { connection, message: P2::Guide(query) } => {
                self.guide_message(now, connection, &query, &topology, out);
            }
            Input::ClientMessage { connection, message } => {
                let (directory, view, counters) = self.directory_and_view(now, &topology);
                directory.message(now, connection, &message, view, counters, out);
            }
            Input::ClientClosed { connection } => self.directory.close(connection),
            Input::Datagram { bytes, .. } => self.datagram(now, &bytes, out),
            Input::Tick => self.tick(now, &topology, out),
        }
        self.settle(now, out);
    }

    /// When [`Input::Tick`] is wanted next, and for what.
    pub fn deadline(&self) -> Option<(Time, Reason)> {
        let all = [
            (self.presence.deadline(), Reason::Host),
            (self.configuration.deadline(), Reason::Configuration),
            (self.registrations.deadline(), Reason::Registration),
            (self.waits.due(), Reason::Assignment),
            (self.handovers.due(), Reason::Handover),
            (self.catalogue.deadline(), Reason::Catalogue),
            (self.guide.deadline(), Reason::Guide),
            (self.directory.deadline(), Reason::Directory),
        ];
        all.into_iter().fold(None, |first, (time, reason)| earliest(first, time.map(|time| (time, reason))))
    }

    /// The boot id of this life.
    pub fn boot_id(&self) -> BootId {
        self.boot_id
    }

    /// Version of the topology that is in force.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Whether anything can be live.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// What has been counted since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The hosts, and what they reported.
    pub fn presence(&self) -> &Presence {
        &self.presence
    }

    /// The acquisition servers, and what they reported.
    pub fn registrations(&self) -> &Registrations {
        &self.registrations
    }

    /// What push servers are told, and whether they know it.
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// Clients connected.
    pub fn clients(&self) -> usize {
        self.directory.len()
    }

    /// How long clients have waited for pictures.
    pub fn zaps(&self) -> Figures {
        self.directory.zaps().figures()
    }

    /// Status of `channel` at `network`; `None`: not listed there.
    pub fn status(
        &self,
        channel: ChannelId,
        network: &NetworkId,
    ) -> Option<&protocols::p2_directory::ChannelStatus> {
        self.receptions.get(&(channel, network.clone())).map(|row| &row.status)
    }

    /// The push server that is assigned to `channel` at `network`.
    pub fn assignment(&self, channel: ChannelId, network: &NetworkId) -> Option<Assignment> {
        let assigned = self.receptions.get(&(channel, network.clone()))?.assigned.as_ref()?;
        Some(Assignment {
            channel,
            network: network.clone(),
            host: assigned.host.clone(),
            destination: assigned.destination,
            revision: assigned.revision,
        })
    }

    fn cluster_time(&self, now: Time) -> ClusterTime {
        self.clock.at(now)
    }

    fn directory_and_view<'a>(
        &'a mut self,
        now: Time,
        topology: &'a Topology,
    ) -> (&'a mut Directory, View<'a>, &'a mut Counters) {
        let view = View {
            topology,
            generation: self.generation,
            receptions: &self.receptions,
            offline: self.mode == Mode::Offline,
            time: self.clock.at(now),
            grace_end: self.grace_end,
        };
        (&mut self.directory, view, &mut self.counters)
    }

    fn tick(&mut self, now: Time, topology: &Topology, out: &mut Vec<Output>) {
        let time = self.cluster_time(now);
        let (commander, counters) = (&mut self.commander, &mut self.counters);
        let changes = self.presence.wake(&mut Wire { now, time, commander, counters, out });
        self.host_changes(now, changes, topology, out);
        while let Some(host) = self.configuration.due(now) {
            self.touched_hosts.insert(host);
        }
        for connection in self.registrations.silent(now) {
            self.counters.acquisition_silent += 1;
            let refusal = Refusal::Protocol("nothing heard for 2 s".to_owned());
            out.push(Output::RefuseAcquisition { connection, refusal });
            self.acquisition_closed(now, connection, topology, out);
        }
        while let Some(place) = self.waits.pop(now) {
            self.touched_places.insert(place);
        }
        self.end_handovers(now);
        self.look_at_recordings(now, topology, out);
        self.sweep_guide(now, out);
        // Clients last, so that they are told what the rest of this tick found out.
        self.settle(now, out);
        let (directory, view, counters) = self.directory_and_view(now, topology);
        directory.wake(now, view, counters, out);
    }

    fn acquisition_connected(
        &mut self,
        now: Time,
        connection: ConnectionId,
        id: &AcquisitionId,
        boot: BootId,
        topology: &Topology,
        out: &mut Vec<Output>,
    ) {
        let refusal = if !topology.acquisition_servers.contains_key(id) {
            Some(Refusal::UnknownServer(id.to_string()))
        } else if self.registrations.len() >= MAX_ACQUISITION_CONNECTIONS {
            let text = format!("{MAX_ACQUISITION_CONNECTIONS} acquisition servers are connected already");
            Some(Refusal::Busy(text))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            self.counters.acquisition_refused += 1;
            out.push(Output::RefuseAcquisition { connection, refusal });
            return;
        }
        self.counters.acquisition_accepted += 1;
        if let Some(old) = self.registrations.connect(now, connection, id, boot) {
            out.push(Output::RefuseAcquisition { connection: old, refusal: Refusal::Replaced });
            self.registrations.close(old);
            self.registrations.forget_reports(topology.channels_from(id).map(|channel| channel.id));
            self.touch_channels(topology.channels_from(id).map(|channel| channel.id));
        }
    }

    fn acquisition_message(
        &mut self,
        now: Time,
        connection: ConnectionId,
        message: p1::ToDatabase,
        topology: &Topology,
        out: &mut Vec<Output>,
    ) {
        self.registrations.heard(now, connection);
        let Some(known) = self.registrations.get(connection) else { return };
        let (id, boot, registered) = (known.server.clone(), known.boot, known.registered);
        match message {
            p1::ToDatabase::Register { mut software } => {
                software.truncate(software.floor_char_boundary(MAX_SOFTWARE_BYTES));
                if !self.registrations.register(connection, &software) {
                    self.counters.acquisition_faults += 1;
                    return;
                }
                info!(acquisition = %id, %boot, ?software, "acquisition server registered");
                let at = self.cluster_time(now);
                let server = Server::Acquisition(id.clone());
                out.push(Output::event(at, &server, format!("registered, boot id {boot}, {software:?}")));
                out.push(Output::Store(Record::Seen { server, boot_id: boot, at }));
                let message = p1::ToAcquisition::Plan(self.feeding.plan(&id));
                out.push(Output::SendToAcquisition { connection, message });
                self.touch_channels(topology.channels_from(&id).map(|channel| channel.id));
            }
            p1::ToDatabase::Poll(_) | p1::ToDatabase::Guide(_) if !registered => {
                self.counters.acquisition_faults += 1;
                let refusal = Refusal::Protocol("a report before the registration".to_owned());
                out.push(Output::RefuseAcquisition { connection, refusal });
                self.acquisition_closed(now, connection, topology, out);
            }
            p1::ToDatabase::Guide(schedule) => self.schedule(now, &id, schedule, topology, out),
            p1::ToDatabase::Poll(mut poll) => {
                let results = std::mem::take(&mut poll.done);
                self.command_results(now, &id, results, out);
                let changes = self.registrations.poll(&id, poll, topology);
                self.counters.acquisition_faults += changes.faults;
                self.touch_channels(changes.channels);
                let commands = self.feeding.collect(&id, connection);
                let message = p1::ToAcquisition::Polled { commands };
                out.push(Output::SendToAcquisition { connection, message });
            }
        }
    }

    fn command_results(
        &mut self,
        now: Time,
        id: &AcquisitionId,
        results: Vec<CommandResult>,
        out: &mut Vec<Output>,
    ) {
        for result in self.feeding.done(id, results) {
            self.counters.commands_done += 1;
            out.push(Output::Store(Record::CommandDone { id: result.id }));
            let text = match result.outcome {
                Ok(()) => format!("command {} carried out", result.id),
                Err(why) => format!("command {} failed: {}", result.id, p1::cause(why)),
            };
            out.push(Output::event(self.cluster_time(now), &Server::Acquisition(id.clone()), text));
        }
    }

    fn acquisition_closed(
        &mut self,
        now: Time,
        connection: ConnectionId,
        topology: &Topology,
        out: &mut Vec<Output>,
    ) {
        let Some(closed) = self.registrations.close(connection) else { return };
        if !closed.registered {
            return;
        }
        warn!(acquisition = %closed.server, "acquisition server is gone");
        let at = self.cluster_time(now);
        let server = Server::Acquisition(closed.server.clone());
        out.push(Output::event(at, &server, "gone".to_owned()));
        out.push(Output::Store(Record::Lost { server, at }));
        let channels: Vec<ChannelId> =
            topology.channels_from(&closed.server).map(|channel| channel.id).collect();
        self.registrations.forget_reports(channels.iter().copied());
        self.touch_channels(channels);
    }

    fn touch_channels(&mut self, channels: impl IntoIterator<Item = ChannelId>) {
        let first = NetworkId::of(&BTreeSet::new());
        for channel in channels {
            let rows = self.receptions.range((channel, first.clone())..);
            let own = rows.take_while(|((other, _), _)| *other == channel).map(|(place, _)| place.clone());
            self.touched_places.extend(own);
        }
    }
}
