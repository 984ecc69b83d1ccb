//! Recordings as the root machine sees them: what hosts tell, what clients order, what push servers are to keep.

use std::collections::BTreeSet;

use protocols::ids::{ChannelId, HostId};
use protocols::p2_directory::{ProgrammeEntry, RecordRefusal, ToClient, ToDatabase};
use protocols::recording::{MAX_PEERS, RecordOrder, RecordPeer, RecordingFault, RecordingId, Span};
use protocols::time::Time;
use protocols::topology::{self, Topology};
use tracing::{debug, info, warn};

use super::DatabaseServer;
use crate::catalogue::{Catalogue, Sight, Verdict, recorders};
use crate::counters::Counters;
use crate::input::ConnectionId;
use crate::output::Output;
use crate::presence::Holding;
use crate::record::{Record, Server};

impl DatabaseServer {
    /// A client asks about recordings. Who may order one is not asked yet: whoever is on a network of the channel may.
    pub(super) fn recordings_message(
        &mut self,
        now: Time,
        connection: ConnectionId,
        message: ToDatabase,
        topology: &Topology,
        out: &mut Vec<Output>,
    ) {
        if !self.directory.heard(now, connection) {
            return;
        }
        let none = BTreeSet::new();
        let listed =
            self.directory.network(connection).map_or(&none, |network| topology.channels_of(network));
        let message = match message {
            ToDatabase::Recordings { channel } => {
                self.counters.recording_lists_served += 1;
                let (catalogue, sight, _) = self.catalogue_and_sight(now, topology);
                ToClient::Recordings(catalogue.list(listed, channel, sight))
            }
            ToDatabase::Record { channel, span, title } if listed.contains(&channel) => {
                match self.order_recording(now, channel, span, title, topology, out) {
                    Ok(entry) => ToClient::Recorded(Box::new(entry)),
                    Err(refusal) => self.record_refused(refusal),
                }
            }
            ToDatabase::Record { channel, .. } => self.record_refused(RecordRefusal::UnknownChannel(channel)),
            ToDatabase::Unrecord { id } => match self.remove_recording(now, id, listed, topology, out) {
                Ok(()) => ToClient::Unrecorded { id },
                Err(refusal) => self.record_refused(refusal),
            },
            ToDatabase::Play(target) => self.play(now, connection, target, topology),
            _ => return,
        };
        out.push(Output::SendToClient { connection, message });
    }

    fn record_refused(&mut self, refusal: RecordRefusal) -> ToClient {
        self.counters.programmes_refused += 1;
        debug!(%refusal, "recording refused");
        ToClient::RecordRefused(refusal)
    }

    pub(super) fn order_recording(
        &mut self,
        now: Time,
        channel: ChannelId,
        span: Span,
        title: String,
        topology: &Topology,
        out: &mut Vec<Output>,
    ) -> Result<ProgrammeEntry, RecordRefusal> {
        let (catalogue, sight, counters) = self.catalogue_and_sight(now, topology);
        let (programme, entry) = catalogue.record(now, channel, span, title, sight)?;
        counters.programmes_ordered += 1;
        info!(id = %programme.id, %channel, title = %programme.title, "recording ordered");
        let text = format!("recording {} ordered: {:?}", programme.id, programme.title);
        out.push(Output::event(self.cluster_time(now), &of(channel), text));
        out.push(Output::Store(Record::Programme(programme)));
        self.touch_recorders(channel, topology);
        Ok(entry)
    }

    pub(super) fn remove_recording(
        &mut self,
        now: Time,
        id: RecordingId,
        listed: &BTreeSet<ChannelId>,
        topology: &Topology,
        out: &mut Vec<Output>,
    ) -> Result<(), RecordRefusal> {
        let programme = self.catalogue.unrecord(now, id, listed)?;
        self.counters.programmes_removed += 1;
        info!(%id, channel = %programme.channel, title = %programme.title, "recording given up");
        let text = format!("recording {id} given up: {:?}", programme.title);
        out.push(Output::event(self.cluster_time(now), &of(programme.channel), text));
        out.push(Output::Store(Record::ProgrammeGone { id }));
        self.touch_recorders(programme.channel, topology);
        Ok(())
    }

    /// Push servers that record `channel` are to be told what to keep.
    fn touch_recorders(&mut self, channel: ChannelId, topology: &Topology) {
        let servers = recorders(channel, topology).map(|host| (host.id.clone(), channel));
        self.touched_servers.extend(servers);
    }

    /// A host tells something of what it holds.
    pub(super) fn held(&mut self, host: &HostId, channel: ChannelId, holding: Holding, topology: &Topology) {
        let wanted = recorders(channel, topology).any(|recorder| recorder.id == *host);
        if !wanted || !self.catalogue.said(host, channel, holding) {
            self.counters.extents_refused += 1;
        }
    }

    /// A host has told all.
    pub(super) fn host_told(&mut self, now: Time, host: &HostId, topology: &Topology, out: &mut Vec<Output>) {
        let mut records = Vec::new();
        let channels = self.catalogue.told(now, host, &mut records);
        out.extend(records.into_iter().map(Output::Store));
        for channel in channels {
            self.look_at(now, channel, topology, out);
        }
    }

    /// A host's recorder cannot write, or can again.
    pub(super) fn recorder_fault(
        &mut self,
        now: Time,
        host: &HostId,
        fault: Option<RecordingFault>,
        out: &mut Vec<Output>,
    ) {
        if !self.catalogue.fault(host, fault) {
            return;
        }
        let text = match fault {
            Some(fault) => format!("does not record: {}", fault.text()),
            None => "records again".to_owned(),
        };
        warn!(%host, "push server host {text}");
        out.push(Output::event(self.cluster_time(now), &Server::Host(host.clone()), text));
    }

    /// Looks at the channels whose recording may have become thin by the passing of time.
    pub(super) fn look_at_recordings(&mut self, now: Time, topology: &Topology, out: &mut Vec<Output>) {
        while let Some(channel) = self.catalogue.due(now) {
            self.look_at(now, channel, topology, out);
        }
    }

    fn look_at(&mut self, now: Time, channel: ChannelId, topology: &Topology, out: &mut Vec<Output>) {
        let (catalogue, sight, _) = self.catalogue_and_sight(now, topology);
        let Some(Verdict { thin, lacking, .. }) = catalogue.judge(channel, sight) else { return };
        let lacking: Vec<&str> = lacking.iter().map(HostId::as_str).collect();
        let text = match (thin, &lacking[..]) {
            (false, _) => "its recording is whole again at all push servers that record it".to_owned(),
            (true, []) => "its replicas differ: not all push servers recorded the same packets".to_owned(),
            (true, hosts) => format!(
                "its recording is held by too few: push servers without all of it: {}",
                hosts.join(", ")
            ),
        };
        if thin {
            warn!(%channel, "{text}");
        } else {
            info!(%channel, "{text}");
        }
        out.push(Output::event(self.cluster_time(now), &of(channel), text));
    }

    /// What the push server of `channel` at `host` is to record.
    pub(super) fn record_order(
        &self,
        host: &HostId,
        channel: ChannelId,
        record: &topology::Record,
        topology: &Topology,
    ) -> RecordOrder {
        let others = recorders(channel, topology).filter(|other| other.id != *host);
        let peer = |other: &topology::PushHost| RecordPeer { host: other.id.clone(), feed: other.feed() };
        RecordOrder {
            keep_s: u32::try_from(record.keep.as_secs()).unwrap_or(u32::MAX),
            protected: self.catalogue.protected(channel),
            peers: others.take(MAX_PEERS).map(peer).collect(),
        }
    }

    pub(super) fn catalogue_and_sight<'a>(
        &'a mut self,
        now: Time,
        topology: &'a Topology,
    ) -> (&'a mut Catalogue, Sight<'a>, &'a mut Counters) {
        let sight = Sight { topology, presence: &self.presence, time: self.clock.at(now) };
        (&mut self.catalogue, sight, &mut self.counters)
    }
}

/// What a line of the journal is about.
fn of(channel: ChannelId) -> String {
    format!("channel {channel}")
}
