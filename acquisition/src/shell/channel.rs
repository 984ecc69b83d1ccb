//! One channel's task: opens its input as ordered, drives the capture, hands packets to the feeds' queues.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use link::clock::Clock;
use link::random;
use media::RtpPacket;
use protocols::ids::ChannelId;
use protocols::p1_registration::InputState;
use protocols::topology::InputUrl;
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::debug;

use crate::access_points::AccessPoints;
use crate::capture::Capture;
use crate::feed_queues::{FeedQueues, Moment};
use crate::pids::Pids;
use crate::shell::Context;
use crate::shell::driver::{Event, Run};
use crate::shell::inputs::{Batch, End, OpenInput};
use crate::shell::task::Task;
use crate::signal::Signal;
use crate::{ChannelCounters, Input};

/// How often counters are handed to the machine.
const COUNTERS_INTERVAL: Duration = Duration::from_secs(1);

/// What a channel's task and its feeds share.
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
        self.queues.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Tells when packets were queued.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

/// What to open; a newer order replaces one that was not yet begun.
#[derive(Debug, Clone)]
struct Order {
    run: Run,
    url: String,
    service: Option<u16>,
}

/// A channel's task.
pub(crate) struct ChannelHandle {
    /// The order that counts.
    pub(crate) run: Run,
    orders: watch::Sender<Option<Order>>,
    shared: Arc<Shared>,
    task: Task,
}

impl ChannelHandle {
    /// Starts a channel without an input.
    pub(crate) fn start(channel: ChannelId, context: Arc<Context>, events: mpsc::Sender<Event>) -> Self {
        let capture = Capture::new(&mut fastrand::Rng::with_seed(random::seed()));
        let shared = Arc::new(Shared {
            ssrc: capture.ssrc(),
            queues: Mutex::default(),
            changed: watch::Sender::new(()),
        });
        let (orders, received) = watch::channel(None);
        let work = Channel {
            id: channel,
            context,
            shared: shared.clone(),
            events,
            capture,
            points: AccessPoints::new(None),
            packets: Vec::new(),
            told: InputState::Starting,
        };
        Self { run: 0, orders, shared, task: Task::start(work.run(received)) }
    }

    /// Opens an input; one that is open is closed first.
    pub(crate) fn open(&mut self, run: Run, url: String, service: Option<u16>) {
        self.run = run;
        self.orders.send_replace(Some(Order { run, url, service }));
    }

    /// What the feeds need.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// Closes the input and ends the task, which may take it a moment.
    pub(crate) async fn end(self, patience: Duration) {
        drop(self.orders);
        self.task.finish(patience).await;
    }

    /// The same, without anybody waiting.
    pub(crate) fn leave(self) {
        tokio::spawn(self.end(Duration::from_secs(2)));
    }
}

/// The task's own state.
struct Channel {
    id: ChannelId,
    context: Arc<Context>,
    shared: Arc<Shared>,
    events: mpsc::Sender<Event>,
    capture: Capture,
    points: AccessPoints,
    packets: Vec<RtpPacket>,
    /// The state that the machine knows.
    told: InputState,
}

impl Channel {
    async fn run(mut self, mut orders: watch::Receiver<Option<Order>>) {
        while orders.changed().await.is_ok() {
            let Some(order) = orders.borrow_and_update().clone() else { continue };
            let mut input = None;
            let end = tokio::select! {
                // A newer order ends this input; without a sender the channel ends.
                () = newer(&orders) => None,
                end = self.capture_from(&order, &mut input) => Some(end),
            };
            self.capture.closed(&mut self.packets);
            self.publish();
            if let Some(input) = input {
                input.close().await;
            }
            self.count(None);
            let channel = self.id;
            match end {
                Some(End::Closed(cause)) => {
                    self.send(order.run, Input::InputClosed { channel, cause }).await;
                }
                Some(End::Finished(cause)) => {
                    self.send(order.run, Input::InputFinished { channel, cause }).await;
                }
                None => {}
            }
        }
    }

    /// Captures until the input ends. It stands in `input` meanwhile, to be closed by the caller.
    async fn capture_from(&mut self, order: &Order, input: &mut Option<OpenInput>) -> End {
        let clock = self.context.clock;
        debug!(channel = %self.id, url = InputUrl::without_secrets(&order.url), "opening input");
        let input = match OpenInput::open(&order.url).await {
            Ok(open) => input.insert(open),
            Err(cause) => return End::Closed(cause),
        };
        input.select(&Pids::All);
        self.capture.opened(clock.now(), order.service);
        self.points = AccessPoints::new(order.service);
        self.told = InputState::Starting;
        let mut batch = Batch::default();
        let mut seconds = seconds();
        loop {
            tokio::select! {
                result = input.next(&clock, &mut batch) => {
                    let now = clock.now();
                    if let Some(strange) = batch.strange.take() {
                        self.capture.strange(&strange);
                    }
                    self.capture.synchronised(now, std::mem::take(&mut batch.sync_errors));
                    if input.comes_by_network() {
                        self.capture.arrived(now, batch.packets.len());
                    }
                    let taken = self.capture.packets(now, &batch.packets, &mut self.packets);
                    batch.packets.clear();
                    self.publish();
                    if let Err(unusable) = taken {
                        return End::Closed(format!("{}: {unusable}", InputUrl::without_secrets(&order.url)));
                    }
                    if let Err(end) = result {
                        return end;
                    }
                }
                () = clock.reach(self.capture.deadline()) => {
                    self.capture.tick(clock.now(), &mut self.packets);
                    self.publish();
                }
                _ = seconds.tick() => self.count(input.signal()),
            }
            self.tell(order.run).await;
        }
    }

    /// Hands the packets made to the feeds.
    fn publish(&mut self) {
        if self.packets.is_empty() {
            return;
        }
        let moment = Moment { now: self.context.clock.now(), wall: Clock::wall() };
        let mut queues = self.shared.queues();
        for packet in self.packets.drain(..) {
            let point = self.points.push(&packet);
            queues.push(moment, packet);
            point.into_iter().for_each(|back| queues.access_point(back));
        }
        drop(queues);
        self.shared.changed.send_replace(());
    }

    async fn tell(&mut self, run: Run) {
        if *self.capture.state() != self.told {
            self.told = self.capture.state().clone();
            let state = self.told.clone();
            self.send(run, Input::InputState { channel: self.id, state }).await;
        }
    }

    fn count(&mut self, signal: Option<Signal>) {
        let counters = ChannelCounters {
            packets: self.capture.counters().rtp_packets,
            rate_bps: self.capture.rate_bps(),
            health: self.capture.health(self.context.clock.now(), Clock::wall()),
            signal: signal.map(Signal::report),
            dropped_packets: self.shared.queues().dropped_packets().clone(),
        };
        let input = Input::Counters { channel: self.id, counters };
        // Left out when too much is going on: the next ones hold the same and more.
        let _ = self.events.try_send(Event { run: 0, input });
    }

    async fn send(&self, run: Run, input: Input) {
        // Nobody hears it when the driver has ended.
        let _ = self.events.send(Event { run, input }).await;
    }
}

/// Returns when another order has come, or none can come any more.
async fn newer(orders: &watch::Receiver<Option<Order>>) {
    let _ = orders.clone().changed().await;
}

fn seconds() -> Interval {
    let mut seconds = interval(COUNTERS_INTERVAL);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    seconds
}
