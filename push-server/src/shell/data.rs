//! A data thread: waits once for all of its channels' feeds, and serves all that are ready before it waits again.
//!
//! Per packet it does nothing but system calls and what [`ChannelPath`] does; orders, counters, silence and retries
//! are looked after between batches.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use link::clock::Clock;
use mio::{Events, Interest, Poll, Token, Waker};
use protocols::ids::ChannelId;
use protocols::p3_feed::SILENCE_TIMEOUT;
use protocols::p6_broadcast::ANNOUNCEMENT_BYTES;
use protocols::time::Time;
use tokio::sync::mpsc;

use super::driver::News;
use super::outlet::Outlet;
use super::reader::{FeedReader, Turn};
use crate::path::ChannelPath;
use crate::plan::{ChannelCounters, Plan};
use crate::server::FeedId;

/// Orders that wait for a data thread at most; when full the host ends, since the thread is stuck.
const ORDERS_WAITING: usize = 65_536;
/// How often silence, counters and retries are looked after.
const SWEEP_INTERVAL: Duration = Duration::from_millis(50);
/// Sockets opened ahead of need, or tried again, in one sweep: each costs a look at the interfaces.
const OPENINGS_PER_SWEEP: usize = 16;
/// Feeds that become ready are told by the kernel so many at a time.
const EVENTS: usize = 256;
const WAKE: Token = Token(usize::MAX);

/// What the driver tells a data thread to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Put a plan in force.
    Plan { channel: ChannelId, plan: Arc<Plan> },
    /// Forget a channel.
    Release { channel: ChannelId },
    /// Send an announcement.
    Announce { channel: ChannelId, destination: IpAddr, bytes: [u8; ANNOUNCEMENT_BYTES] },
    /// Let the packets of a connection in.
    Feed { channel: ChannelId, feed: FeedId, stream: std::net::TcpStream },
    /// Say `farewell` and close.
    CloseFeed { channel: ChannelId, feed: FeedId, farewell: Vec<u8> },
    /// End.
    Stop,
}

/// The driver's end of one data thread.
#[derive(Debug)]
pub(super) struct DataThread {
    orders: SyncSender<Order>,
    waker: Arc<Waker>,
    thread: JoinHandle<()>,
}

impl DataThread {
    /// Hands an order over; false when the thread is stuck or gone.
    #[must_use]
    pub(super) fn order(&self, order: Order) -> bool {
        match self.orders.try_send(order) {
            Ok(()) => self.waker.wake().is_ok(),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    /// Ends it.
    pub(super) fn stop(self) {
        if self.order(Order::Stop) && self.thread.join().is_err() {
            tracing::error!("a data thread has panicked");
        }
    }
}

/// Starts `count` data threads that tell `news`.
pub(super) fn start(count: usize, clock: Clock, news: &mpsc::Sender<News>) -> io::Result<Vec<DataThread>> {
    let start_one = |number: usize| {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let (orders, received) = sync_channel(ORDERS_WAITING);
        let mut plane = DataPlane::new(clock, poll, received, news.clone());
        let thread = Builder::new().name(format!("data-{number}")).spawn(move || plane.run())?;
        Ok(DataThread { orders, waker, thread })
    };
    (0..count).map(start_one).collect()
}

/// Everything that one data thread owns.
struct DataPlane {
    clock: Clock,
    poll: Poll,
    orders: Receiver<Order>,
    news: mpsc::Sender<News>,
    /// News that did not fit; told before anything newer. Counters are not kept: newer ones follow.
    untold: VecDeque<News>,
    channels: Vec<Option<Channel>>,
    places: BTreeMap<ChannelId, usize>,
    /// Places whose feed may have more to read.
    ready: BTreeSet<usize>,
    /// Places with packets that wait to leave, by when.
    pacing: BTreeSet<(Time, usize)>,
    next_sweep: Time,
    sweep_from: usize,
}

struct Channel {
    id: ChannelId,
    path: ChannelPath,
    outlets: Vec<Outlet>,
    feed: Option<FeedReader>,
    paced: Option<Time>,
}

impl DataPlane {
    fn new(clock: Clock, poll: Poll, orders: Receiver<Order>, news: mpsc::Sender<News>) -> Self {
        Self {
            clock,
            poll,
            orders,
            news,
            untold: VecDeque::new(),
            channels: Vec::new(),
            places: BTreeMap::new(),
            ready: BTreeSet::new(),
            pacing: BTreeSet::new(),
            next_sweep: Time::ZERO,
            sweep_from: 0,
        }
    }

    fn run(&mut self) {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            if let Err(error) = self.poll.poll(&mut events, Some(self.patience()))
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "the data plane cannot wait for its feeds");
                return;
            }
            self.ready
                .extend(events.iter().map(mio::event::Event::token).filter(|at| *at != WAKE).map(|at| at.0));
            if !self.obey() {
                return;
            }
            for place in std::mem::take(&mut self.ready) {
                self.read(place);
            }
            let now = self.clock.now();
            while let Some((_, place)) = self.pacing.first().copied().filter(|(at, _)| *at <= now) {
                self.drain(place, now);
            }
            if now >= self.next_sweep {
                self.sweep(now);
            }
        }
    }

    /// How long to wait for feeds.
    fn patience(&self) -> Duration {
        if !self.ready.is_empty() {
            return Duration::ZERO;
        }
        let paced = self.pacing.first().map_or(self.next_sweep, |(at, _)| *at);
        paced.min(self.next_sweep).since(self.clock.now())
    }

    /// Carries out all waiting orders; false when the last is to stop.
    fn obey(&mut self) -> bool {
        while let Ok(order) = self.orders.try_recv() {
            let now = self.clock.now();
            match order {
                Order::Plan { channel, plan } => self.apply(channel, plan, now),
                Order::Release { channel } => self.release(channel),
                Order::Announce { channel, destination, bytes } => {
                    self.announce(channel, destination, &bytes, now);
                }
                Order::Feed { channel, feed, stream } => self.take_feed(channel, feed, stream, now),
                Order::CloseFeed { channel, feed, farewell } => {
                    let reader =
                        self.channel(channel).and_then(|held| held.feed.take_if(|held| held.feed == feed));
                    if let Some(mut reader) = reader {
                        reader.farewell(&farewell);
                    }
                }
                Order::Stop => return false,
            }
        }
        true
    }

    fn channel(&mut self, channel: ChannelId) -> Option<&mut Channel> {
        let place = *self.places.get(&channel)?;
        self.channels.get_mut(place)?.as_mut()
    }

    fn apply(&mut self, channel: ChannelId, plan: Arc<Plan>, now: Time) {
        let place = self.place(channel);
        let Some(held) = self.channels[place].as_mut() else { return };
        let outlets = std::mem::take(&mut held.outlets).into_iter();
        let mut before: BTreeMap<IpAddr, Outlet> = outlets.map(|outlet| (outlet.address(), outlet)).collect();
        let outlets = plan.targets.iter().map(|target| {
            let kept = before.remove(&target.address).filter(|outlet| outlet.fits(&plan, target));
            kept.unwrap_or_else(|| Outlet::new(channel, &plan, target))
        });
        held.outlets = outlets.collect();
        held.path.apply(now, plan);
        self.drain(place, now);
    }

    /// The place of `channel`, made where it has none.
    fn place(&mut self, channel: ChannelId) -> usize {
        if let Some(place) = self.places.get(&channel) {
            return *place;
        }
        let fresh = Channel {
            id: channel,
            path: ChannelPath::new(channel),
            outlets: Vec::new(),
            feed: None,
            paced: None,
        };
        let free = self.channels.iter().position(Option::is_none);
        let place = free.unwrap_or(self.channels.len());
        match free {
            Some(place) => self.channels[place] = Some(fresh),
            None => self.channels.push(Some(fresh)),
        }
        self.places.insert(channel, place);
        place
    }

    fn release(&mut self, channel: ChannelId) {
        if let Some(place) = self.places.remove(&channel)
            && let Some(held) = self.channels[place].take()
        {
            self.pacing.extract_if(.., |(_, at)| *at == place).for_each(drop);
            tracing::debug!(%channel, drops = ?held.path.drops(), "data path ended");
        }
    }

    fn announce(&mut self, channel: ChannelId, destination: IpAddr, bytes: &[u8], now: Time) {
        let Some(held) = self.channel(channel) else { return };
        let targets = &held.path.plan().targets;
        let found = targets.binary_search_by_key(&destination, |target| target.address).ok();
        if let Some(index) = found.filter(|index| targets[*index].sending) {
            let _ = held.outlets[index].send(now, bytes);
            held.path.set_fault(index, held.outlets[index].fault());
        }
    }

    /// Takes a connection in the place of the one before, whose packets end here.
    fn take_feed(&mut self, channel: ChannelId, feed: FeedId, stream: std::net::TcpStream, now: Time) {
        let place = self.place(channel);
        let mut reader = FeedReader::new(feed, mio::net::TcpStream::from_std(stream), now);
        if let Err(error) =
            self.poll.registry().register(&mut reader.stream, Token(place), Interest::READABLE)
        {
            tracing::warn!(%channel, %error, "the feed's socket cannot be waited for");
            self.tell(News::FeedClosed { channel, feed });
            return;
        }
        if let Some(held) = self.channels[place].as_mut() {
            held.path.feed_opened();
            held.feed = Some(reader);
        }
        self.ready.insert(place);
    }

    /// A turn of reading, and what came leaves.
    fn read(&mut self, place: usize) {
        let now = self.clock.now();
        let Some(held) = self.channels.get_mut(place).and_then(Option::as_mut) else { return };
        let Some(reader) = held.feed.as_mut() else { return };
        match reader.read(now, &mut held.path) {
            Turn::Dry => {}
            Turn::More => {
                self.ready.insert(place);
            }
            Turn::Ended(why) => self.end_feed(place, &why),
        }
        self.drain(place, now);
        self.count(place, now);
    }

    fn end_feed(&mut self, place: usize, why: &str) {
        let Some(held) = self.channels[place].as_mut() else { return };
        let Some(reader) = held.feed.take() else { return };
        let (channel, feed) = (held.id, reader.feed);
        tracing::info!(%channel, why, "feed ended");
        self.tell(News::FeedClosed { channel, feed });
    }

    fn drain(&mut self, place: usize, now: Time) {
        let Some(Channel { path, outlets, paced, .. }) = self.channels[place].as_mut() else { return };
        let mut faulty = false;
        path.drain(now, &mut |index, packet| {
            let outlet = &mut outlets[index];
            let before = outlet.fault();
            let fate = outlet.send(now, packet);
            faulty |= outlet.fault() != before;
            fate
        });
        if faulty {
            outlets.iter().enumerate().for_each(|(index, outlet)| path.set_fault(index, outlet.fault()));
        }
        let due = path.deadline();
        if due != *paced {
            if let Some(before) = std::mem::replace(paced, due) {
                self.pacing.remove(&(before, place));
            }
            self.pacing.extend(due.map(|at| (at, place)));
        }
    }

    fn count(&mut self, place: usize, now: Time) {
        let due = self.channels[place].as_mut().and_then(|held| held.path.counters_due(now));
        if let Some(counters) = due {
            self.tell(News::Counters(counters));
        }
    }

    /// Looks after what no packet brings about.
    fn sweep(&mut self, now: Time) {
        self.next_sweep = now + SWEEP_INTERVAL;
        let mut openings = OPENINGS_PER_SWEEP;
        let (first, places) = (self.sweep_from, self.channels.len());
        // Begins where the last sweep's budget ended, so that every destination has its turn.
        for place in (0..places).map(|step| (first + step) % places) {
            if openings > 0 {
                openings -= self.open_ahead(place, now, openings);
                self.sweep_from = place;
            }
            let silent = self.channels[place]
                .as_ref()
                .and_then(|held| held.feed.as_ref())
                .is_some_and(|reader| now.since(reader.heard) >= SILENCE_TIMEOUT);
            if silent {
                self.end_feed(place, "nothing was heard for the silence timeout");
            }
            self.count(place, now);
        }
        while let Some(news) = self.untold.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(news)) = self.news.try_send(news) {
                self.untold.push_front(news);
                break;
            }
        }
    }

    /// Opens at most `most` sockets of destinations that have none, so that a missing interface is known before
    /// somebody watches. Answers how many were tried.
    fn open_ahead(&mut self, place: usize, now: Time, most: usize) -> usize {
        let Some(Channel { path, outlets, .. }) = self.channels[place].as_mut() else { return 0 };
        let mut tried = 0;
        for (index, outlet) in outlets.iter_mut().enumerate().filter(|(_, outlet)| outlet.wants_open(now)) {
            if tried == most {
                break;
            }
            outlet.open(now, path.plan().targets[index].sending);
            path.set_fault(index, outlet.fault());
            tried += 1;
        }
        tried
    }

    /// Tells the driver. What does not fit is told later, but for counters, which are overtaken by newer ones.
    fn tell(&mut self, news: News) {
        if !self.untold.is_empty() {
            self.untold.push_back(news);
        } else if let Err(mpsc::error::TrySendError::Full(news)) = self.news.try_send(news)
            && !matches!(news, News::Counters(ChannelCounters { .. }))
        {
            self.untold.push_back(news);
        }
    }
}
