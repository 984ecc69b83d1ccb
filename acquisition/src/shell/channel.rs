//! One channel, as the inputs that it is taken from see it: a capture fed by whichever of them is selected.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use link::clock::Clock;
use link::random;
use media::health::{Extent, SyncErrors};
use media::{PacketBytes, RtpPacket};
use protocols::ids::ChannelId;
use protocols::p1_registration::InputState;
use protocols::time::Time;
use tokio::sync::watch;

use crate::ChannelCounters;
use crate::access_points::AccessPoints;
use crate::capture::{Capture, Condition};
use crate::feed_queues::{FeedQueues, Moment};
use crate::signal::Signal;
use crate::splitter::Outlet;

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

/// A channel. Each input that it is taken from calls it with an outlet of its own; only the selected one is heard, so
/// that the change from one input to another falls between two packets.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) id: ChannelId,
    clock: Clock,
    shared: Arc<Shared>,
    path: Mutex<Path>,
}

/// The data path. Who has a choice of inputs makes it here.
#[derive(Debug)]
struct Path {
    capture: Capture,
    points: AccessPoints,
    packets: Vec<RtpPacket>,
    /// The state that the machine knows.
    told: InputState,
    selected: Option<Outlet>,
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
            selected: None,
        };
        let shared = Arc::new(Shared { ssrc, queues: Mutex::default(), changed: watch::Sender::new(()) });
        Self { id, clock, shared, path: Mutex::new(path) }
    }

    /// What the feeds need.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// From now on the channel is taken from `outlet`.
    pub(crate) fn select(&self, outlet: Outlet) {
        let mut path = self.path();
        if path.selected != Some(outlet) {
            let Path { capture, packets, .. } = &mut *path;
            capture.closed(packets);
            self.publish(&mut path);
            path.selected = Some(outlet);
        }
    }

    /// The outlet's input was opened.
    pub(crate) fn opened(&self, outlet: Outlet, now: Time, extent: Extent) {
        if let Some(mut path) = self.selected(outlet) {
            path.capture.opened(now, extent);
            path.points = AccessPoints::new(None);
            path.told = InputState::Starting;
        }
    }

    /// The outlet's input closed: what is still held of it goes out.
    pub(crate) fn closed(&self, outlet: Outlet) {
        if let Some(mut path) = self.selected(outlet) {
            let Path { capture, packets, .. } = &mut *path;
            capture.closed(packets);
            self.publish(&mut path);
        }
    }

    /// Takes the next packets of an outlet, and how the channel's part of the input fares.
    pub(crate) fn take(&self, outlet: Outlet, now: Time, packets: &[PacketBytes], condition: Condition) {
        if let Some(mut path) = self.selected(outlet) {
            let Path { capture, packets: made, .. } = &mut *path;
            capture.condition(now, condition);
            capture.packets(now, packets, made);
            self.publish(&mut path);
        }
    }

    /// The outlet's input brought something: to be told before the packets that came with it.
    pub(crate) fn arrived(&self, outlet: Outlet, now: Time, arrival: &Arrival) {
        let Some(mut path) = self.selected(outlet) else { return };
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
        self.selected(outlet)?.capture.deadline()
    }

    /// Sends what has waited long enough, notices a stall.
    pub(crate) fn tick(&self, outlet: Outlet, now: Time) {
        if let Some(mut path) = self.selected(outlet) {
            let Path { capture, packets, .. } = &mut *path;
            capture.tick(now, packets);
            self.publish(&mut path);
        }
    }

    /// The channel's state, if the machine does not know it yet.
    pub(crate) fn news(&self, outlet: Outlet) -> Option<InputState> {
        let mut path = self.selected(outlet)?;
        if *path.capture.state() == path.told {
            return None;
        }
        path.told = path.capture.state().clone();
        Some(path.told.clone())
    }

    /// What was counted, asked by one outlet for all.
    pub(crate) fn counters(&self, outlet: Outlet, signal: Option<Signal>) -> Option<ChannelCounters> {
        let mut path = self.selected(outlet)?;
        Some(ChannelCounters {
            packets: path.capture.counters().rtp_packets,
            rate_bps: path.capture.rate_bps(),
            health: path.capture.health(self.clock.now(), Clock::wall()),
            signal: signal.map(Signal::report),
            dropped_packets: self.shared.queues().dropped_packets().clone(),
        })
    }

    fn path(&self) -> MutexGuard<'_, Path> {
        self.path.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn selected(&self, outlet: Outlet) -> Option<MutexGuard<'_, Path>> {
        Some(self.path()).filter(|path| path.selected == Some(outlet))
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
