//! One input's task: opens it as ordered and hands its packets to all channels that are taken from it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use link::clock::Clock;
use media::Packet;
use protocols::time::Time;
use protocols::topology::InputUrl;
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tracing::debug;

use crate::Input;
use crate::capture::STALL_TIMEOUT;
use crate::guide::GuideCollector;
use crate::shell::Context;
use crate::shell::channel::{Arrival, Channel};
use crate::shell::driver::{Event, Run};
use crate::shell::inputs::{Batch, End, OpenInput};
use crate::shell::task::Task;
use crate::signal::Signal;
use crate::splitter::{Outlet, Splitter};

/// How often counters are handed to the machine.
const COUNTERS_INTERVAL: Duration = Duration::from_secs(1);
/// How long an input gets to close before another is opened, which may need the same tuner or port.
pub(crate) const CLOSING_PATIENCE: Duration = Duration::from_secs(2);

/// How many inputs are being closed.
pub(crate) type Closing = watch::Sender<usize>;

/// What an input's task is to do; newer orders replace those not yet begun.
#[derive(Default)]
struct Orders {
    /// The attempt that counts; 0: none yet.
    run: Run,
    outlets: BTreeMap<Outlet, Part>,
}

/// One channel's part.
struct Part {
    channel: Arc<Channel>,
    service: Option<u16>,
}

/// An input's task.
pub(crate) struct InputHandle {
    /// The attempt that counts.
    pub(crate) run: Run,
    orders: watch::Sender<Orders>,
    task: Task,
}

impl InputHandle {
    /// Starts an input that nobody takes and that is not open.
    pub(crate) fn start(
        url: String,
        context: Arc<Context>,
        events: mpsc::Sender<Event>,
        closing: &Closing,
    ) -> Self {
        let (orders, received) = watch::channel(Orders::default());
        let work = Work {
            url,
            context,
            events,
            closing: closing.subscribe(),
            splitter: Splitter::new(),
            outlets: BTreeMap::new(),
            guide: GuideCollector::new(),
            flow: Flow::Opened(Time::ZERO),
            told: Flow::Opened(Time::ZERO),
        };
        Self { run: 0, orders, task: Task::start(work.run(received)) }
    }

    /// Opens the input; one that is open is closed first.
    pub(crate) fn open(&mut self, run: Run) {
        self.run = run;
        self.orders.send_modify(|orders| orders.run = run);
    }

    /// Takes a channel from the input, open or not.
    pub(crate) fn attach(&self, outlet: Outlet, channel: Arc<Channel>, service: Option<u16>) {
        self.orders.send_modify(|orders| {
            orders.outlets.insert(outlet, Part { channel, service });
        });
    }

    /// Takes it no more.
    pub(crate) fn detach(&self, outlet: Outlet) {
        self.orders.send_if_modified(|orders| orders.outlets.remove(&outlet).is_some());
    }

    /// Closes the input and ends the task, which may take it a moment.
    async fn end(self, patience: Duration) {
        drop(self.orders);
        self.task.finish(patience).await;
    }

    /// The same, without anybody waiting but the inputs that are opened meanwhile, and who ends the daemon.
    pub(crate) fn leave(self, closing: &Closing, patience: Duration) {
        let closing = closing.clone();
        closing.send_modify(|count| *count += 1);
        tokio::spawn(async move {
            self.end(patience).await;
            closing.send_modify(|count| *count = count.saturating_sub(1));
        });
    }
}

/// Whether packets come from an open input, for whichever channels.
#[derive(Debug, Clone, Copy)]
enum Flow {
    /// None yet, since then.
    Opened(Time),
    /// The last came then.
    Flows(Time),
    /// None for [`STALL_TIMEOUT`].
    Stalled,
}

impl Flow {
    fn stalls_at(self) -> Option<Time> {
        match self {
            Self::Opened(since) | Self::Flows(since) => Some(since + STALL_TIMEOUT),
            Self::Stalled => None,
        }
    }

    fn is_like(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

/// The task's own state.
struct Work {
    url: String,
    context: Arc<Context>,
    events: mpsc::Sender<Event>,
    closing: watch::Receiver<usize>,
    splitter: Splitter,
    outlets: BTreeMap<Outlet, Arc<Channel>>,
    guide: GuideCollector,
    flow: Flow,
    /// What the machine knows of it.
    told: Flow,
}

impl Work {
    async fn run(mut self, mut orders: watch::Receiver<Orders>) {
        let mut done = 0;
        loop {
            let run = self.follow(&mut orders);
            if run == done {
                if orders.changed().await.is_err() {
                    return;
                }
                continue;
            }
            done = run;
            let mut input = None;
            let end = self.capture(run, &mut orders, &mut input).await;
            let cause = match &end {
                Some(End::Closed(cause) | End::Finished(cause)) => Some(cause.as_str()),
                None => None,
            };
            self.outlets.iter().for_each(|(outlet, channel)| channel.closed(*outlet, cause));
            if let Some(input) = input {
                debug!(counters = ?self.splitter.counters(), guide = ?self.guide.counters(), "closing input");
                input.close().await;
            }
            self.count(None);
            let url = self.url.clone();
            match end {
                Some(End::Closed(cause)) => self.send(run, Input::InputClosed { url, cause }).await,
                Some(End::Finished(cause)) => self.send(run, Input::InputFinished { url, cause }).await,
                None => {}
            }
        }
    }

    /// Captures until the input ends, or another run is ordered. It stands in `input` meanwhile, to be closed by the
    /// caller.
    async fn capture(
        &mut self,
        run: Run,
        orders: &mut watch::Receiver<Orders>,
        input: &mut Option<OpenInput>,
    ) -> Option<End> {
        let clock = self.context.clock;
        let opened = tokio::select! {
            opened = open(self.url.clone(), self.closing.clone()) => opened,
            () = other_run(orders, run) => return None,
        };
        let input = match opened {
            Ok(open) => input.insert(open),
            Err(cause) => return Some(End::Closed(cause)),
        };
        // Ordered anew while it was opened.
        if self.follow(orders) != run {
            return None;
        }
        self.opened(clock.now());
        let mut selected = None;
        let mut batch = Batch::default();
        let mut seconds = seconds();
        loop {
            let needed = (self.splitter.revision(), self.guide.revision());
            if selected.replace(needed) != Some(needed) {
                input.select(&self.splitter.pids().with(self.guide.pids()));
            }
            let deadline = self.deadline();
            tokio::select! {
                result = input.next(&clock, &mut batch) => {
                    self.distribute(clock.now(), &mut batch, input.comes_by_network());
                    if let Err(end) = result {
                        return Some(end);
                    }
                }
                () = clock.reach(deadline) => self.tick(clock.now()),
                _ = seconds.tick() => {
                    self.count(input.signal());
                    self.announce(run).await;
                }
                changed = orders.changed() => {
                    let before: Vec<Outlet> = self.outlets.keys().copied().collect();
                    if changed.is_err() || self.follow(orders) != run {
                        return None;
                    }
                    let new = self.outlets.iter().filter(|(outlet, _)| !before.contains(outlet));
                    new.for_each(|(outlet, channel)| {
                        channel.opened(*outlet, clock.now(), self.splitter.extent(*outlet));
                    });
                }
            }
            self.tell(run).await;
        }
    }

    /// Takes over who is to be served; answers which run is to be open.
    fn follow(&mut self, orders: &mut watch::Receiver<Orders>) -> Run {
        let orders = orders.borrow_and_update();
        let Self { outlets, splitter, .. } = self;
        outlets.retain(|outlet, channel| {
            let stays = orders.outlets.contains_key(outlet);
            if !stays {
                channel.closed(*outlet, None);
                splitter.remove(*outlet);
            }
            stays
        });
        for (&outlet, part) in &orders.outlets {
            outlets.entry(outlet).or_insert_with(|| {
                splitter.add(outlet, part.service);
                part.channel.clone()
            });
        }
        let channels = orders.outlets.values().map(|part| (part.channel.id, part.service)).collect();
        self.guide.set_channels(channels);
        orders.run
    }

    fn opened(&mut self, now: Time) {
        (self.flow, self.told) = (Flow::Opened(now), Flow::Opened(now));
        self.splitter.interrupt();
        for (&outlet, channel) in &self.outlets {
            channel.opened(outlet, now, self.splitter.extent(outlet));
        }
    }

    /// Hands a batch to the channels. Every packet of the input passes here once, whoever takes it: what reads tables of
    /// the whole multiplex, or judges it, belongs here; what judges a channel belongs into [`Channel::take`].
    fn distribute(&mut self, now: Time, batch: &mut Batch, by_network: bool) {
        let arrival = Arrival {
            strange: batch.strange.take(),
            sync_errors: std::mem::take(&mut batch.sync_errors),
            by_network: by_network.then_some(batch.packets.len()),
        };
        self.outlets.iter().for_each(|(outlet, channel)| channel.arrived(*outlet, now, &arrival));
        if batch.packets.is_empty() {
            return;
        }
        self.flow = Flow::Flows(now);
        self.splitter.push(now, &batch.packets);
        let packets = batch.packets.iter().filter_map(|bytes| Packet::parse(bytes).ok());
        packets.for_each(|packet| self.guide.push(packet));
        for (&outlet, channel) in &self.outlets {
            let packets = self.splitter.packets(outlet, &batch.packets);
            channel.take(outlet, now, packets, self.splitter.condition(now, outlet));
        }
        batch.packets.clear();
    }

    fn deadline(&self) -> Option<Time> {
        let channels = self.outlets.iter().filter_map(|(outlet, channel)| channel.deadline(*outlet));
        channels.chain(self.flow.stalls_at()).min()
    }

    fn tick(&mut self, now: Time) {
        self.outlets.iter().for_each(|(outlet, channel)| channel.tick(*outlet, now));
        if self.flow.stalls_at().is_some_and(|at| at <= now) {
            self.flow = Flow::Stalled;
        }
    }

    /// Tells the machine what it does not know.
    async fn tell(&mut self, run: Run) {
        if !self.flow.is_like(self.told) {
            self.told = self.flow;
            let url = self.url.clone();
            match self.flow {
                Flow::Opened(_) => {}
                Flow::Flows(_) => self.send(run, Input::InputFlows { url }).await,
                Flow::Stalled => self.send(run, Input::InputStalled { url }).await,
            }
        }
        for (&outlet, channel) in &self.outlets {
            while let Some(news) = channel.news(outlet) {
                self.send(run, news).await;
            }
        }
    }

    fn count(&self, signal: Option<Signal>) {
        for (&outlet, channel) in &self.outlets {
            if let Some(counters) = channel.counters(outlet, signal) {
                let input = Input::Counters { channel: channel.id, counters };
                // Left out when too much is going on: the next ones hold the same and more.
                let _ = self.events.try_send(Event { run: 0, input });
            }
        }
    }

    /// Tells what the guide has to say, as far as nothing else has to wait for it.
    async fn announce(&mut self, run: Run) {
        let (now, wall) = (self.context.clock.now(), Clock::wall());
        self.guide.wall(now, wall);
        let schedules = self.guide.take(now, self.events.capacity() / 2);
        let unix_s = i64::try_from(wall.0 / 1000).unwrap_or(i64::MAX);
        for schedule in schedules {
            self.send(run, Input::Guide { schedule, unix_s }).await;
        }
    }

    async fn send(&self, run: Run, input: Input) {
        // Nobody hears it when the driver has ended.
        let _ = self.events.send(Event { run, input }).await;
    }
}

/// Opens an input when those before it, which may have the same tuner or port, are closed.
async fn open(url: String, mut closing: watch::Receiver<usize>) -> Result<OpenInput, String> {
    // One that does not end is no reason to wait any longer; without a sender the daemon ends.
    let _ = timeout(CLOSING_PATIENCE, closing.wait_for(|count| *count == 0)).await;
    debug!(url = InputUrl::without_secrets(&url), "opening input");
    OpenInput::open(&url).await
}

/// Returns when another run is ordered than `run`, or no order can come any more.
async fn other_run(orders: &watch::Receiver<Orders>, run: Run) {
    let _ = orders.clone().wait_for(|orders| orders.run != run).await;
}

fn seconds() -> Interval {
    let mut seconds = interval(COUNTERS_INTERVAL);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    seconds
}
