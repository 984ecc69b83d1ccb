//! One channel in its data thread: its path, the feed that fills it, and the outlets that empty it.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use link::volley::Volley;
use protocols::ids::ChannelId;
use protocols::p3_feed::SILENCE_TIMEOUT;
use protocols::p6_broadcast::ANNOUNCEMENT_BYTES;
use protocols::time::Time;

use super::outlet::Outlet;
use super::queue::Queue;
use super::reader::{FeedReader, READ_BYTES, Turn};
use super::tally::Counts;
use crate::path::{ChannelPath, Pace};
use crate::plan::{ChannelCounters, Plan};
use crate::server::FeedId;

/// Windows begin at multiples of themselves, put off by a multiple of this, so that not all channels leave at once.
const PHASE: Duration = Duration::from_micros(2_500);
const PHASES: usize = 4;
/// Channels that share a phase before the next is begun: few channels are served by one turn, and leave as 0.5 ms of
/// a 1 Gb/s port.
const CHANNELS_PER_PHASE: usize = 8;
/// A channel with so many destinations is worth a turn of its own: those after it wait less.
const MANY_DESTINATIONS: usize = 32;
/// Later than everything: the channel waits for its feed or for an order.
pub(super) const NEVER: Time = Time::from_us(u64::MAX);

/// What a data thread's channels share.
pub(super) struct Tools {
    buffer: Box<[u8]>,
    volley: Volley,
    pub(super) counts: Counts,
}

impl Default for Tools {
    fn default() -> Self {
        Self {
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            volley: Volley::default(),
            counts: Counts::default(),
        }
    }
}

/// A channel and its sockets.
#[derive(Debug)]
pub(super) struct Channel {
    id: ChannelId,
    path: ChannelPath,
    outlets: Vec<Outlet>,
    feed: Option<FeedReader>,
    /// Whether the thread is woken when the feed brings something.
    awaited: bool,
    /// It is sent to [`MANY_DESTINATIONS`].
    wide: bool,
}

impl Channel {
    pub(super) fn new(id: ChannelId) -> Self {
        Self { id, path: ChannelPath::new(id), outlets: Vec::new(), feed: None, awaited: false, wide: false }
    }

    pub(super) fn id(&self) -> ChannelId {
        self.id
    }

    pub(super) fn path(&self) -> &ChannelPath {
        &self.path
    }

    pub(super) fn path_mut(&mut self) -> &mut ChannelPath {
        &mut self.path
    }

    /// Puts a plan in force. What its feed has brought by now comes first, so that who resumes is given what is newest.
    pub(super) fn apply(&mut self, now: Time, plan: Arc<Plan>, tools: &mut Tools) -> Option<String> {
        let ended = self.serve(now, tools).err();
        let outlets = std::mem::take(&mut self.outlets).into_iter();
        let mut before: BTreeMap<IpAddr, Outlet> = outlets.map(|outlet| (outlet.address(), outlet)).collect();
        let outlets = plan.targets.iter().map(|target| {
            let kept = before.remove(&target.address).filter(|outlet| outlet.fits(&plan, target));
            kept.unwrap_or_else(|| Outlet::new(self.id, &plan, target))
        });
        self.outlets = outlets.collect();
        self.wide = plan.targets.iter().filter(|target| target.sending).count() >= MANY_DESTINATIONS;
        self.path.apply(now, plan);
        self.send(now, tools);
        ended
    }

    /// Takes a connection in the place of the one before, whose packets end here.
    pub(super) fn take_feed(&mut self, reader: FeedReader) {
        self.path.feed_opened();
        (self.feed, self.awaited) = (Some(reader), false);
    }

    /// Gives up the connection: `feed`, or whichever it is.
    pub(super) fn drop_feed(&mut self, feed: Option<FeedId>) -> Option<FeedReader> {
        self.feed.take_if(|held| feed.is_none_or(|feed| held.feed == feed))
    }

    /// Says `frame` to whoever feeds; false when the socket does not take it.
    pub(super) fn tell_feed(&mut self, feed: FeedId, frame: &[u8]) -> bool {
        let reader = self.feed.as_mut().filter(|held| held.feed == feed);
        reader.is_none_or(|reader| reader.tell(frame))
    }

    /// Takes what the feed has brought, and sends what may leave. `Ok(true)`: the feed has more. The error says why the
    /// feed has ended; it is still held.
    pub(super) fn serve(&mut self, now: Time, tools: &mut Tools) -> Result<bool, String> {
        let turn = self.feed.as_mut().map_or(Turn::Dry, |reader| {
            tools.counts.reads += 1;
            let before = self.path.packets();
            let turn = reader.read(now, &mut self.path, &mut tools.buffer);
            tools.counts.packets_in += self.path.packets() - before;
            turn
        });
        self.send(now, tools);
        match turn {
            Turn::Dry => Ok(false),
            Turn::More => Ok(true),
            Turn::Ended(why) => Err(why),
        }
    }

    fn send(&mut self, now: Time, tools: &mut Tools) {
        let Self { path, outlets, .. } = self;
        let mut faulty = false;
        path.drain(now, &mut |index, runs| {
            let outlet = &mut outlets[index];
            let before = outlet.fault();
            let taken = outlet.send(now, runs, &mut tools.volley);
            tools.counts.sends += 1;
            tools.counts.packets_out += taken as u64;
            faulty |= outlet.fault() != before;
            taken
        });
        if faulty {
            outlets.iter().enumerate().for_each(|(index, outlet)| path.set_fault(index, outlet.fault()));
        }
    }

    /// Sends an announcement, if its destination is being sent to.
    pub(super) fn announce(&mut self, now: Time, destination: IpAddr, bytes: &[u8; ANNOUNCEMENT_BYTES]) {
        let targets = &self.path.plan().targets;
        let found = targets.binary_search_by_key(&destination, |target| target.address).ok();
        if let Some(index) = found.filter(|index| targets[*index].sending) {
            self.outlets[index].send_one(now, bytes);
            self.path.set_fault(index, self.outlets[index].fault());
        }
    }

    /// When to serve it again, and whether its feed wakes the thread until then. `place` is what it is called there.
    pub(super) fn schedule(&mut self, now: Time, place: usize, queue: &Queue) -> io::Result<Time> {
        let (due, awaited) = match self.path.pace(now) {
            Pace::Arrival => (self.path.deadline().unwrap_or(NEVER), true),
            Pace::Every(window) => {
                let turn = if self.wide { place } else { place / CHANNELS_PER_PHASE };
                (next_window(now, window, turn), false)
            }
        };
        let Some(reader) = &self.feed else {
            return Ok(self.path.deadline().unwrap_or(NEVER));
        };
        if awaited != self.awaited {
            if awaited {
                queue.add(&reader.stream, place)?;
            } else {
                queue.remove(&reader.stream)?;
            }
            self.awaited = awaited;
        }
        Ok(due)
    }

    /// Makes it wake this thread no more, before another takes it.
    pub(super) fn detach(&mut self, queue: &Queue) {
        if std::mem::take(&mut self.awaited)
            && let Some(reader) = &self.feed
        {
            // A socket that cannot be given up is one that is not waited for.
            let _ = queue.remove(&reader.stream);
        }
    }

    /// Whether its feed has said nothing for the silence timeout.
    pub(super) fn silent(&self, now: Time) -> bool {
        self.feed.as_ref().is_some_and(|reader| now.since(reader.heard) >= SILENCE_TIMEOUT)
    }

    pub(super) fn counters_due(&mut self, now: Time) -> Option<ChannelCounters> {
        self.path.counters_due(now)
    }

    /// Opens at most `most` sockets of destinations that have none, so that a missing interface is known before
    /// somebody watches. Answers how many were tried.
    pub(super) fn open_ahead(&mut self, now: Time, most: usize) -> usize {
        let mut tried = 0;
        for (index, outlet) in
            self.outlets.iter_mut().enumerate().filter(|(_, outlet)| outlet.wants_open(now))
        {
            if tried == most {
                break;
            }
            outlet.open(now, self.path.plan().targets[index].sending);
            self.path.set_fault(index, outlet.fault());
            tried += 1;
        }
        tried
    }
}

/// The next beginning of a `window` after `now`, in the phase of `turn`.
fn next_window(now: Time, window: Duration, turn: usize) -> Time {
    let phase = PHASE * u32::try_from(turn % PHASES).expect("below PHASES");
    (now - phase).floor(window) + window + phase
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_begin_at_multiples_of_themselves_in_four_phases() {
        let next = |now_us, turn| next_window(Time::from_us(now_us), Duration::from_millis(10), turn).as_us();
        assert_eq!((next(40_000, 0), next(49_999, 0)), (50_000, 50_000));
        assert_eq!((next(40_000, 1), next(42_500, 1), next(41_000, 2)), (42_500, 52_500, 45_000));
        assert_eq!((next(41_000, 3), next(41_000, 4)), (47_500, 50_000));
        let short = Duration::from_micros(1_250);
        assert_eq!(next_window(Time::from_us(40_000), short, 1).as_us(), 41_250);
    }
}
