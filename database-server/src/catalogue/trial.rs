//! A catalogue with two hosts that record, driven by hand.

use std::collections::BTreeSet;

use protocols::authority::ClusterKey;
use protocols::ids::{ChannelId, HostId};
use protocols::p2_directory::{
    PlayTarget, PresentationRefusal, Range, RangeState, RecordRefusal, RecordingList,
};
use protocols::recording::{Digest, Extent, Span};
use protocols::time::{ClusterTime, Time};
use protocols::topology::Topology;

use super::{Catalogue, Playable, Question, Sight, Verdict};
use crate::presence::{Holding, Presence};
use crate::record::{Programme, Record, Remembered};

pub(super) const MINUTE: u64 = 60_000;
pub(super) const HOUR: u64 = 60 * MINUTE;
/// Now, on the clock of the cluster.
pub(super) const NOW: ClusterTime = ClusterTime(10_000 * HOUR);
pub(super) const ONE: ChannelId = ChannelId(1);

pub(super) const SITE: &str = r#"
[database_server]
address = "10.0.0.2"
[[acquisition_server]]
id = "roof"
  [[acquisition_server.input]]
  id = "card"
  url = "testcard:"
[[channel]]
id = 1
name = "One"
acquisition_server = "roof"
input = "card"
[[channel]]
id = 2
name = "Two"
acquisition_server = "roof"
input = "card"
[[push_server]]
id = "hall"
address = "10.0.1.1"
channels = [1, 2]
record = { keep = "7d" }
  [[push_server.destination]]
  address = "239.192.1.1"
  interface = "10.0.1.1"
  serves = ["10.0.1.0/24"]
[[push_server]]
id = "yard"
address = "10.0.1.2"
channels = [1]
record = { keep = "7d" }
  [[push_server.destination]]
  address = "239.192.1.1"
  interface = "10.0.1.2"
  serves = ["10.0.1.0/24"]
"#;

pub(super) struct Bench {
    pub(super) catalogue: Catalogue,
    pub(super) topology: Topology,
    pub(super) presence: Presence,
    pub(super) now: Time,
    pub(super) stored: Vec<Record>,
}

impl Bench {
    pub(super) fn new(mut remembered: Remembered) -> Self {
        let topology = Topology::parse("topology.toml", SITE).expect("the text is right").0;
        let mut catalogue = Catalogue::new(&mut remembered);
        let stored = catalogue.take_up(Time::ZERO, &topology);
        Self { catalogue, topology, presence: Presence::new(), now: Time::ZERO, stored }
    }

    /// `host` tells all that it holds of channel 1: slots and spans in minutes before now.
    pub(super) fn tell(&mut self, host: &str, spans: &[(u16, u64, u64)]) -> Vec<ChannelId> {
        let host: HostId = host.parse().unwrap();
        for slot in 0..8 {
            let found = spans.iter().find(|(own, ..)| *own == slot);
            let holding = match found {
                Some((slot, from, to)) => Holding::Extent(*slot, extent(*from, *to)),
                None => Holding::Vacant(slot),
            };
            assert!(self.catalogue.said(&host, ONE, holding));
        }
        assert!(self.catalogue.said(&host, ONE, Holding::Known));
        self.catalogue.told(self.now, &host, &mut self.stored)
    }

    pub(super) fn list(&mut self) -> RecordingList {
        let listed = BTreeSet::from([ONE, ChannelId(2)]);
        let sight = Sight { topology: &self.topology, presence: &self.presence, time: NOW };
        self.catalogue.list(&listed, None, sight)
    }

    /// Ranges of channel 1: minutes before now, replicas, state, who lacks it.
    pub(super) fn ranges(&mut self) -> Vec<(u64, u64, u16, RangeState, String)> {
        let ago = |time: ClusterTime| (NOW.0 - time.0) / MINUTE;
        let line = |range: &Range| {
            let lacking: Vec<&str> = range.lacking.iter().map(HostId::as_str).collect();
            (ago(range.span.from), ago(range.span.to), range.replicas, range.state, lacking.join(" "))
        };
        self.list().channels[0].ranges.iter().map(line).collect()
    }

    pub(super) fn judge(&mut self) -> Option<Verdict> {
        let sight = Sight { topology: &self.topology, presence: &self.presence, time: NOW };
        self.catalogue.judge(ONE, sight)
    }

    /// The hosts of `site` are known, and may still speak up: they count as answering and recording.
    pub(super) fn await_hosts(&mut self, site: &str) {
        self.topology = Topology::parse("topology.toml", site).expect("the text is right").0;
        self.presence = Presence::new();
        self.presence.take_up(self.now, &self.topology, &ClusterKey::new([7; 32]), 1);
    }

    /// What `client` can play of `target`.
    pub(super) fn playable(
        &mut self,
        client: &str,
        target: PlayTarget,
    ) -> Result<Playable, PresentationRefusal> {
        let client = client.parse().unwrap();
        let network = self.topology.network_of(client).expect("the client is on a network");
        let sight = Sight { topology: &self.topology, presence: &self.presence, time: NOW };
        self.catalogue.playable(&Question { target, client, network, in_grace: true }, sight)
    }

    pub(super) fn record(&mut self, from: u64, to: u64) -> Result<Programme, RecordRefusal> {
        let sight = Sight { topology: &self.topology, presence: &self.presence, time: NOW };
        let ordered = self.catalogue.record(self.now, ONE, span(from, to), "News".to_owned(), sight);
        ordered.map(|(programme, _)| programme)
    }
}

/// From so many minutes before now to so many.
pub(super) fn span(from: u64, to: u64) -> Span {
    Span { from: ClusterTime(NOW.0 - from * MINUTE), to: ClusterTime(NOW.0 - to * MINUTE) }
}

/// Of channel 1, from so many minutes before now to so many, a byte and a segment for each.
pub(super) fn extent(from: u64, to: u64) -> Extent {
    let Span { from, to } = span(from, to);
    let segments = u32::try_from(to.since(from).as_secs() / 60).unwrap();
    Extent { channel: ONE, from, to, segments, bytes: u64::from(segments), digest: Digest::default() }
}
