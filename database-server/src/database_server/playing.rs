//! Playback as the root machine sees it: who may play what, by which lease, and whom to ask for it.

use protocols::authority::{LEASE_LIFETIME, RecordingLease};
use protocols::p2_directory::{PlayTarget, Presentation, PresentationRefusal, ToClient};
use protocols::time::Time;
use protocols::topology::Topology;
use tracing::debug;

use super::DatabaseServer;
use crate::catalogue::{Playable, Question};
use crate::input::ConnectionId;

impl DatabaseServer {
    /// A client wants to play something. Whoever is on a network of the channel may.
    pub(super) fn play(
        &mut self,
        now: Time,
        connection: ConnectionId,
        target: PlayTarget,
        topology: &Topology,
    ) -> ToClient {
        match self.presentation(now, connection, target, topology) {
            Ok(presentation) => {
                self.counters.presentations_served += 1;
                ToClient::Playing(Box::new(presentation))
            }
            Err(refusal) => {
                self.counters.presentations_refused += 1;
                debug!(%refusal, ?target, "playback refused");
                ToClient::PlayRefused(refusal)
            }
        }
    }

    fn presentation(
        &mut self,
        now: Time,
        connection: ConnectionId,
        target: PlayTarget,
        topology: &Topology,
    ) -> Result<Presentation, PresentationRefusal> {
        let stranger = match target {
            PlayTarget::Programme(id) => PresentationRefusal::UnknownRecording(id),
            PlayTarget::Channel { channel, .. } => PresentationRefusal::UnknownChannel(channel),
        };
        let client = self.directory.address(connection).ok_or(stranger)?;
        let network = self.directory.network(connection).ok_or(stranger)?.clone();
        let in_grace = now < self.grace_end;
        let question = Question { target, client, network: &network, in_grace };
        let (catalogue, sight, _) = self.catalogue_and_sight(now, topology);
        let Playable { channel, title, asked, span, growing, holes, rate_bytes_per_s, servers } =
            catalogue.playable(&question, sight)?;
        let time = sight.time;
        let expires = time + LEASE_LIFETIME;
        let lease = RecordingLease { client, channel, from: asked.from, to: asked.to, expires };
        Ok(Presentation {
            channel,
            name: topology.channels.get(&channel).map(|known| known.name.clone()).unwrap_or_default(),
            title,
            span,
            growing,
            holes,
            secret: self.key.lease_key().recording_secret(&lease),
            lease,
            rate_bytes_per_s,
            servers,
            time,
        })
    }
}
