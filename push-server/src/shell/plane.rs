//! A data thread: waits once for all of its channels, and serves all that are due before it waits again.
//!
//! Per packet it does nothing but system calls and what [`ChannelPath`](crate::path::ChannelPath) does; orders,
//! counters, silence and retries are looked after between batches.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use link::clock::Clock;
use protocols::ids::ChannelId;
use protocols::time::Time;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;

use super::channel::{Channel, NEVER, Tools};
use super::data::{Inbox, Mailbox, Order};
use super::driver::News;
use super::queue::Queue;
use super::reader::FeedReader;
use super::tally::Tally;
use crate::overload::{self, Overload, Verdict};
use crate::path::ChannelPath;
use crate::server::FeedId;

/// How often silence, counters and retries are looked after.
const SWEEP_INTERVAL: Duration = Duration::from_millis(100);
/// Sockets opened ahead of need, or tried again, in one sweep: each costs a look at the interfaces.
const OPENINGS_PER_SWEEP: usize = 64;

/// Requests for repair carried out before packets have their turn.
const REPAIRS_PER_TURN: usize = 64;

/// Everything that one data thread owns.
pub(super) struct DataPlane {
    clock: Clock,
    queue: Queue,
    inbox: Inbox,
    news: mpsc::Sender<News>,
    /// News that did not fit; told before anything newer. Counters are not kept: newer ones follow.
    untold: VecDeque<News>,
    channels: Vec<Option<Channel>>,
    /// When each place is to be served; apart from the channels, since all of them are looked at each turn.
    dues: Vec<Time>,
    places: BTreeMap<ChannelId, usize>,
    tools: Tools,
    tally: Arc<Tally>,
    overload: Overload,
    /// Processor time that the thread had used at the end of its last turn.
    processor: Duration,
    next_sweep: Time,
    sweep_from: usize,
}

impl DataPlane {
    pub(super) fn new(
        clock: Clock,
        queue: Queue,
        inbox: Inbox,
        news: mpsc::Sender<News>,
        tally: Arc<Tally>,
        tools: Tools,
    ) -> Self {
        Self {
            clock,
            queue,
            inbox,
            news,
            untold: VecDeque::new(),
            channels: Vec::new(),
            dues: Vec::new(),
            places: BTreeMap::new(),
            tools,
            tally,
            overload: Overload::default(),
            processor: Duration::ZERO,
            next_sweep: Time::ZERO,
            sweep_from: 0,
        }
    }

    pub(super) fn run(&mut self) {
        loop {
            if let Err(error) = self.wait() {
                tracing::error!(%error, "the data plane cannot wait for its feeds");
                return;
            }
            let began = self.clock.now();
            if !self.obey() {
                return;
            }
            self.repair();
            let behind = self.serve_due(began);
            let now = self.clock.now();
            if now >= self.next_sweep {
                self.sweep(now);
            }
            self.weigh(began, behind);
            self.tools.counts.turns += 1;
            self.tally.show(&self.tools.counts);
        }
    }

    /// Waits until a channel is due, a feed that is awaited brings something, or an order comes.
    fn wait(&mut self) -> io::Result<()> {
        // A thread that carries nothing has nothing to look after.
        let idle = self.places.is_empty() && self.untold.is_empty();
        let sweep = if idle { NEVER } else { self.next_sweep };
        let due = self.dues.iter().copied().fold(sweep, Time::min);
        let Self { queue, dues, clock, .. } = self;
        queue.wait(due.since(clock.now()), |place| {
            if let Some(due) = dues.get_mut(place) {
                *due = Time::ZERO;
            }
        })
    }

    /// Carries out all waiting orders; false when the last is to stop.
    fn obey(&mut self) -> bool {
        while let Ok(order) = self.inbox.orders.try_recv() {
            let now = self.clock.now();
            match order {
                Order::Plan { channel, plan } => {
                    let place = self.place(channel);
                    let ended = self.with(place, |held, tools| held.apply(now, plan, tools)).flatten();
                    self.settle(place, now, ended);
                }
                Order::Record { channel, intake } => {
                    let place = self.place(channel);
                    self.with(place, |held, _| held.record(intake.map(|intake| *intake)));
                }
                Order::Release { channel } => self.release(channel),
                Order::Announce { channel, destination, bytes } => {
                    if let Some(place) = self.places.get(&channel).copied() {
                        let announced =
                            self.with(place, |held, tools| held.announce(now, destination, &bytes, tools));
                        self.dues[place] = self.dues[place].min(announced.unwrap_or(NEVER));
                    }
                }
                Order::Live { channel, order } => {
                    let place = self.place(channel);
                    let ended = self.with(place, |held, tools| held.live(now, order, tools)).flatten();
                    self.settle(place, now, ended);
                }
                Order::Feed { channel, feed, stream } => {
                    let place = self.place(channel);
                    let reader = FeedReader::new(feed, stream, now);
                    self.with(place, |held, _| held.take_feed(reader));
                    self.dues[place] = now;
                }
                Order::TellFeed { channel, feed, frame } => self.tell_feed(channel, feed, &frame),
                Order::CloseFeed { channel, feed, farewell } => self.close_feed(channel, feed, &farewell),
                Order::HandOver { channel, to } => self.hand_over(channel, &to),
                Order::Adopt(channel) => self.adopt(*channel, now),
                Order::Stop => return false,
            }
        }
        true
    }

    /// Sends again what is asked for; no more of it in a turn than fits the inbox, so that packets are not held up.
    fn repair(&mut self) {
        for _ in 0..REPAIRS_PER_TURN {
            let Ok((channel, request)) = self.inbox.repairs.try_recv() else { return };
            let Some(place) = self.places.get(&channel).copied() else { continue };
            let now = self.clock.now();
            self.with(place, |held, tools| held.repair(now, &request, tools));
        }
        if self.queue.waker().wake().is_err() {
            tracing::error!("a data thread cannot wake itself");
        }
    }

    /// Serves all channels that are due. Answers how long the packets wait that wait longest.
    fn serve_due(&mut self, began: Time) -> Duration {
        let mut behind = Duration::ZERO;
        for place in 0..self.dues.len() {
            if self.dues[place] > began {
                continue;
            }
            let now = self.clock.now();
            let served = self.with(place, |held, tools| held.serve(now, tools)).unwrap_or(Ok(false));
            let more = served == Ok(true);
            self.settle(place, now, served.err());
            if more {
                self.dues[place] = now;
            }
            if let Some(held) = &self.channels[place] {
                behind = behind.max(held.path().behind(now));
            }
        }
        behind
    }

    /// Calls `action` with the channel at `place`, if there is one.
    fn with<T>(&mut self, place: usize, action: impl FnOnce(&mut Channel, &mut Tools) -> T) -> Option<T> {
        let held = self.channels.get_mut(place)?.as_mut()?;
        Some(action(held, &mut self.tools))
    }

    /// After a channel was served: ends its feed if that has ended, tells its counters, and notes when it is due again.
    fn settle(&mut self, place: usize, now: Time, ended: Option<String>) {
        if let Some(why) = ended {
            self.end_feed(place, &why);
        }
        self.count(place, now);
        self.tell_live(place);
        let Some(held) = self.channels[place].as_mut() else {
            self.dues[place] = NEVER;
            return;
        };
        match held.schedule(now, place, &self.queue) {
            Ok(due) => self.dues[place] = due,
            Err(error) => {
                self.dues[place] = NEVER;
                self.end_feed(place, &format!("its socket cannot be waited for: {error}"));
            }
        }
    }

    /// The place of `channel`, made where it has none.
    fn place(&mut self, channel: ChannelId) -> usize {
        match self.places.get(&channel) {
            Some(place) => *place,
            None => self.seat(Channel::new(channel)),
        }
    }

    fn seat(&mut self, channel: Channel) -> usize {
        let place = self.channels.iter().position(Option::is_none).unwrap_or(self.channels.len());
        if place == self.channels.len() {
            self.channels.push(None);
            self.dues.push(NEVER);
        }
        self.places.insert(channel.id(), place);
        self.channels[place] = Some(channel);
        place
    }

    fn unseat(&mut self, channel: ChannelId) -> Option<Channel> {
        let place = self.places.remove(&channel)?;
        self.dues[place] = NEVER;
        self.channels[place].take()
    }

    fn release(&mut self, channel: ChannelId) {
        if let Some(held) = self.unseat(channel) {
            tracing::debug!(%channel, drops = ?held.path().drops(), repairs = ?held.path().repairs(), "data path ended");
        }
    }

    fn hand_over(&mut self, channel: ChannelId, to: &Mailbox) {
        let Some(mut held) = self.unseat(channel) else {
            self.tell(News::Adopted { channel });
            return;
        };
        held.detach(&self.queue);
        if let Err(Order::Adopt(held)) = to.put(Order::Adopt(Box::new(held))) {
            // Without its path the channel would be lost; the driver ends the host when that thread stays stuck.
            let place = self.seat(*held);
            self.settle(place, self.clock.now(), None);
        }
        if !to.wake() {
            tracing::error!(%channel, "the data thread that was to take the channel is gone");
        }
    }

    fn adopt(&mut self, channel: Channel, now: Time) {
        let id = channel.id();
        let place = self.seat(channel);
        self.dues[place] = now;
        self.tools.counts.channels_taken_over += 1;
        self.tell(News::Adopted { channel: id });
    }

    fn tell_feed(&mut self, channel: ChannelId, feed: FeedId, frame: &[u8]) {
        let Some(place) = self.places.get(&channel).copied() else { return };
        let told = self.with(place, |held, _| held.tell_feed(feed, frame));
        if told == Some(false) {
            self.end_feed(place, "the acquisition server does not take what it is told");
        }
    }

    fn close_feed(&mut self, channel: ChannelId, feed: FeedId, farewell: &[u8]) {
        let Some(place) = self.places.get(&channel).copied() else { return };
        let reader = self.with(place, |held, _| held.drop_feed(Some(feed))).flatten();
        if let Some(mut reader) = reader {
            reader.farewell(farewell);
        }
    }

    fn end_feed(&mut self, place: usize, why: &str) {
        let Some(held) = self.channels[place].as_mut() else { return };
        let Some(reader) = held.drop_feed(None) else { return };
        let (channel, feed) = (held.id(), reader.feed);
        tracing::info!(%channel, why, "feed ended");
        self.tell(News::FeedClosed { channel, feed });
    }

    fn count(&mut self, place: usize, now: Time) {
        let Some(held) = self.channels[place].as_mut() else { return };
        if let Some(counters) = held.counters_due(now) {
            let load = held.path().load();
            self.tell(News::Counters { counters, load });
        }
    }

    /// Tells what has become of the live sessions of the channel at `place`.
    fn tell_live(&mut self, place: usize) {
        let Some(held) = self.channels[place].as_mut().filter(|held| held.path().has_live()) else { return };
        let (channel, events) = (held.id(), held.path_mut().live_events());
        for event in events {
            self.tell(News::Live { channel, event });
        }
    }

    /// Sheds, or takes back, when the turns of late say so.
    fn weigh(&mut self, began: Time, behind: Duration) {
        let now = self.clock.now();
        let processor = Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
        let worked = processor.saturating_sub(std::mem::replace(&mut self.processor, processor));
        match self.overload.turn(overload::Turn { ended: now, lasted: now.since(began), worked, behind }) {
            Some(Verdict::Shed(percent)) => self.shed(percent, now),
            Some(Verdict::TakeBack(percent)) => self.take_back(percent, now),
            None => {}
        }
    }

    /// Sheds the channels watched most recently that make up `percent` of what is sent, but never the first.
    fn shed(&mut self, percent: u64, now: Time) {
        let mut sent: Vec<&mut ChannelPath> = self.watched().filter(|path| !path.is_shed()).collect();
        sent.sort_by_key(|path| path.watched_since());
        let total: u64 = sent.iter().map(|path| path.load()).sum();
        let (mut left, mut shed) = (total * percent, Vec::new());
        while left > 0 && sent.len() > 1 {
            let Some(path) = sent.pop() else { break };
            path.set_shed(true);
            left = left.saturating_sub(path.load() * 100);
            shed.push(path.channel());
        }
        self.tools.counts.channels_shed += shed.len() as u64;
        for channel in shed {
            tracing::warn!(%channel, "shed: this data thread has more to send than it can, and this channel is its newest");
            self.dues[self.places[&channel]] = now;
        }
    }

    /// Takes back the channels shed that have been watched longest, as far as they are `percent` of what is sent.
    fn take_back(&mut self, percent: u64, now: Time) {
        let sent: u64 = self.watched().filter(|path| !path.is_shed()).map(|path| path.load()).sum();
        let mut shed: Vec<&mut ChannelPath> = self.watched().filter(|path| path.is_shed()).collect();
        shed.sort_by_key(|path| path.watched_since());
        let (mut room, mut back) = (sent * percent, Vec::new());
        for path in shed {
            let Some(left) = room.checked_sub(path.load() * 100) else { break };
            room = left;
            path.set_shed(false);
            back.push(path.channel());
        }
        for channel in back {
            tracing::info!(%channel, "sent again: there is room");
            self.dues[self.places[&channel]] = now;
        }
    }

    fn watched(&mut self) -> impl Iterator<Item = &mut ChannelPath> {
        let paths = self.channels.iter_mut().flatten().map(Channel::path_mut);
        paths.filter(|path| path.watched_since().is_some())
    }

    /// Looks after what no packet brings about.
    fn sweep(&mut self, now: Time) {
        // At a multiple, when windows begin too: no turn of its own.
        self.next_sweep = (now + SWEEP_INTERVAL).floor(SWEEP_INTERVAL);
        let mut openings = OPENINGS_PER_SWEEP;
        let (first, places) = (self.sweep_from, self.channels.len());
        // Begins where the last sweep's budget ended, so that every destination has its turn.
        for place in (0..places).map(|step| (first + step) % places) {
            if openings > 0 {
                openings -= self.with(place, |held, _| held.open_ahead(now, openings)).unwrap_or(0);
                self.sweep_from = place;
            }
            if self.channels[place].as_ref().is_some_and(|held| held.silent(now)) {
                self.end_feed(place, "nothing was heard for the silence timeout");
            }
            self.with(place, |held, _| held.copy(now));
            self.count(place, now);
        }
        while let Some(news) = self.untold.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(news)) = self.news.try_send(news) {
                self.untold.push_front(news);
                break;
            }
        }
    }

    /// Tells the driver. What does not fit is told later, but for counters, which are overtaken by newer ones.
    fn tell(&mut self, news: News) {
        if !self.untold.is_empty() {
            self.untold.push_back(news);
        } else if let Err(mpsc::error::TrySendError::Full(news)) = self.news.try_send(news)
            && !matches!(news, News::Counters { .. })
        {
            self.untold.push_back(news);
        }
    }
}
