//! One channel, as the inputs that it is taken from see it: a capture fed by whichever of them is in use.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use link::clock::Clock;
use link::random;
use media::health::{Extent, SyncErrors};
use media::{PacketBytes, RtpPacket};
use protocols::ids::ChannelId;
use protocols::p1_registration::InputState;
use protocols::time::Time;
use tokio::sync::watch;

use crate::access_points::AccessPoints;
use crate::capture::{Capture, Condition};
use crate::failover::{Policy, Switch};
use crate::feed_queues::{FeedQueues, Moment};
use crate::relay::Relay;
use crate::signal::Signal;
use crate::splitter::Outlet;
use crate::{ChannelCounters, Input, Source};

/// What a channel and its feeds share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The synchronisation source of the channel's packets.
    pub(crate) ssrc: u32,
    queues: Mutex<FeedQueues>,
    changed: watch::Sender<()>,
}

impl Shared {
    /// The feeds' queues; held for the time of a copy only.
    pub(crate) fn queues(&self) -> MutexGuard<'_, FeedQueues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells when packets were queued.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

/// What an input brought at a time, for whichever channels.
#[derive(Debug, Default)]
pub(crate) struct Arrival {
    /// Something that is no transport stream.
    pub(crate) strange: Option<String>,
    /// How its bytes were cut into packets.
    pub(crate) sync_errors: SyncErrors,
    /// How many packets came by a network just now; `None`: they came otherwise.
    pub(crate) by_network: Option<usize>,
}

/// A channel. Each input that it may be taken from calls it with an outlet of its own; of those one is in use, and the
/// change from one to another falls between two packets.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) id: ChannelId,
    clock: Clock,
    shared: Arc<Shared>,
    path: Mutex<Path>,
}

/// The data path.
#[derive(Debug)]
struct Path {
    capture: Capture,
    points: AccessPoints,
    packets: Vec<RtpPacket>,
    /// The state that the machine knows.
    told: InputState,
    /// The best first.
    sources: Vec<(Outlet, Source)>,
    /// Chooses among them; `None` as long as there was never more than one.
    relay: Option<Relay>,
    /// A change that the machine does not know.
    switched: Option<Switch>,
}

impl Channel {
    /// A channel that is taken from nowhere.
    pub(crate) fn new(id: ChannelId, clock: Clock) -> Self {
        let capture = Capture::new(&mut fastrand::Rng::with_seed(random::seed()));
        let ssrc = capture.ssrc();
        let path = Path {
            capture,
            points: AccessPoints::new(None),
            packets: Vec::new(),
            told: InputState::Starting,
            sources: Vec::new(),
            relay: None,
            switched: None,
        };
        let shared = Arc::new(Shared { ssrc, queues: Mutex::default(), changed: watch::Sender::new(()) });
        Self { id, clock, shared, path: Mutex::new(path) }
    }

    /// What the feeds need.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// From now on the channel is taken from these, the best first. Of those that it was taken from before the one in use
    /// stays so.
    pub(crate) fn set_sources(&self, sources: Vec<(Outlet, Source)>, policy: Policy) {
        let now = self.clock.now();
        let mut path = self.path();
        let used = path.in_use();
        let Path { capture, packets, relay, sources: before, .. } = &mut *path;
        if relay.is_none() && sources.len() > 1 {
            let known = if before.is_empty() { &sources } else { &*before };
            *relay = Some(Relay::new(now, policy, known.iter().map(|(_, source)| source.service)));
        }
        let position = |outlet| before.iter().position(|(known, _)| *known == outlet);
        match relay {
            Some(relay) if !before.is_empty() => {
                let kept = sources.iter().map(|(outlet, source)| (position(*outlet), source.service));
                relay.set_sources(now, policy, kept, capture, packets);
            }
            Some(_) => {}
            None => capture.closed(packets),
        }
        // Packets of the source before go by its own access points.
        self.publish(&mut path);
        path.sources = sources;
        if used.is_some() && path.in_use() == used {
            // A change that was not told yet is told by its new number.
            let to = path.relay.as_ref().map_or(0, Relay::selected);
            path.switched = path.switched.take().map(|switch| Switch { to, ..switch });
        } else {
            path.switched = None;
            path.begin();
        }
    }

    /// Which outlet is in use.
    pub(crate) fn in_use(&self) -> Option<Outlet> {
        self.path().in_use()
    }

    /// The outlet's input was opened.
    pub(crate) fn opened(&self, outlet: Outlet, now: Time, extent: Extent) {
        let mut path = self.path();
        let Some(source) = path.source(outlet) else { return };
        let Path { capture, packets, relay, .. } = &mut *path;
        match relay {
            Some(relay) => relay.opened(now, source, extent, capture, packets),
            None => capture.opened(now, extent),
        }
        if path.in_use() == Some(outlet) {
            path.begin();
        }
        self.publish(&mut path);
    }

    /// The outlet's input closed: what is still held of it goes out. `cause`: why, if it was not told to.
    pub(crate) fn closed(&self, outlet: Outlet, cause: Option<&str>) {
        let now = self.clock.now();
        let mut path = self.path();
        let Some(source) = path.source(outlet) else { return };
        if path.in_use() == Some(outlet) {
            let Path { capture, packets, .. } = &mut *path;
            capture.closed(packets);
        }
        if let Some((relay, cause)) = path.relay.as_mut().zip(cause) {
            relay.closed(now, source, cause);
        }
        path.choose(now);
        self.publish(&mut path);
    }

    /// Takes the next packets of an outlet, and how the channel's part of the input fares.
    pub(crate) fn take(&self, outlet: Outlet, now: Time, packets: &[PacketBytes], condition: Condition) {
        let mut path = self.path();
        let Some(source) = path.source(outlet) else { return };
        let in_use = path.in_use() == Some(outlet);
        let Path { capture, packets: made, relay, .. } = &mut *path;
        if let Some(relay) = relay {
            let fault = match &condition {
                Condition::Faulty(cause) => Some(cause.as_str()),
                Condition::Flowing | Condition::Waiting => None,
            };
            relay.service(now, source, fault);
        }
        if in_use {
            capture.condition(now, condition);
        }
        match relay {
            Some(relay) => relay.packets(now, source, packets, capture, made),
            None => capture.packets(now, packets, made),
        }
        path.choose(now);
        self.publish(&mut path);
    }

    /// The outlet's input brought something: to be told before the packets that came with it.
    pub(crate) fn arrived(&self, outlet: Outlet, now: Time, arrival: &Arrival) {
        let Some(mut path) = self.using(outlet) else { return };
        if let Some(strange) = &arrival.strange {
            path.capture.strange(strange);
        }
        path.capture.synchronised(now, arrival.sync_errors);
        if let Some(packets) = arrival.by_network {
            path.capture.arrived(now, packets);
        }
    }

    /// When [`Channel::tick`] is due.
    pub(crate) fn deadline(&self, outlet: Outlet) -> Option<Time> {
        let path = self.path();
        path.source(outlet)?;
        let capture = path.capture.deadline().filter(|_| path.in_use() == Some(outlet));
        // Each input watches for all, since any of them may be the one that is still open.
        capture.into_iter().chain(path.relay.as_ref().and_then(Relay::deadline)).min()
    }

    /// Sends what has waited long enough, notices a stall, changes the source.
    pub(crate) fn tick(&self, outlet: Outlet, now: Time) {
        let mut path = self.path();
        if path.source(outlet).is_none() {
            return;
        }
        if path.in_use() == Some(outlet) {
            let Path { capture, packets, .. } = &mut *path;
            capture.tick(now, packets);
        }
        path.choose(now);
        self.publish(&mut path);
    }

    /// What the machine does not know yet; to be asked until there is nothing.
    pub(crate) fn news(&self, outlet: Outlet) -> Option<Input> {
        let mut path = self.using(outlet)?;
        if let Some(switch) = path.switched.take() {
            let (_, source) = path.sources.get(switch.to)?;
            return Some(Input::Switched {
                channel: self.id,
                source: source.clone(),
                switches: path.relay.as_ref().map_or(0, Relay::switches),
                cause: switch.fault.map(|fault| fault.to_string()),
            });
        }
        if *path.capture.state() == path.told {
            return None;
        }
        path.told = path.capture.state().clone();
        Some(Input::InputState { channel: self.id, state: path.told.clone() })
    }

    /// What was counted, asked by one outlet for all; `signal`: what its tuner says.
    pub(crate) fn counters(&self, outlet: Outlet, signal: Option<Signal>) -> Option<ChannelCounters> {
        let now = self.clock.now();
        let mut path = self.path();
        let source = path.source(outlet)?;
        if let Some((relay, signal)) = path.relay.as_mut().zip(signal) {
            relay.lock(now, source, signal.lock);
        }
        if path.in_use() != Some(outlet) {
            return None;
        }
        Some(ChannelCounters {
            packets: path.capture.counters().rtp_packets,
            rate_bps: path.capture.rate_bps(),
            health: path.capture.health(now, Clock::wall()),
            signal: signal.map(Signal::report),
            dropped_packets: self.shared.queues().dropped_packets().clone(),
        })
    }

    fn path(&self) -> MutexGuard<'_, Path> {
        self.path.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn using(&self, outlet: Outlet) -> Option<MutexGuard<'_, Path>> {
        Some(self.path()).filter(|path| path.in_use() == Some(outlet))
    }

    /// Hands the packets made to the feeds.
    fn publish(&self, path: &mut Path) {
        let Path { packets, points, .. } = path;
        if packets.is_empty() {
            return;
        }
        let moment = Moment { now: self.clock.now(), wall: Clock::wall() };
        let mut queues = self.shared.queues();
        for packet in packets.drain(..) {
            let point = points.push(&packet);
            queues.push(moment, packet);
            point.into_iter().for_each(|back| queues.access_point(back));
        }
        drop(queues);
        self.shared.changed.send_replace(());
    }
}

impl Path {
    /// Number of the source that calls by `outlet`.
    fn source(&self, outlet: Outlet) -> Option<usize> {
        self.sources.iter().position(|(known, _)| *known == outlet)
    }

    fn in_use(&self) -> Option<Outlet> {
        let source = self.relay.as_ref().map_or(0, Relay::selected);
        self.sources.get(source).map(|(outlet, _)| *outlet)
    }

    /// Changes the source where it is time to.
    fn choose(&mut self, now: Time) {
        let Self { capture, packets, relay, .. } = self;
        if let Some(switch) = relay.as_mut().and_then(|relay| relay.choose(now, capture, packets)) {
            self.switched = Some(switch);
            self.begin();
        }
    }

    /// Another source, or the same anew, begins.
    fn begin(&mut self) {
        self.points = AccessPoints::new(None);
        self.told = InputState::Starting;
    }
}
