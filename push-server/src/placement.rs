//! Which data thread carries which channel: a new one goes where least is carried, and one is moved when the threads
//! have come to differ.
//!
//! A channel's load is packets a second, in and out, as [`crate::path::ChannelPath::load`] counts them.

use std::collections::BTreeMap;
use std::time::Duration;

use protocols::ids::ChannelId;
use protocols::time::Time;

/// Threads are compared so often at most.
pub const COMPARE_INTERVAL: Duration = Duration::from_secs(1);
/// The heaviest thread may carry this much of what the lightest does, in percent, before a channel is moved.
pub const UNBALANCED_PERCENT: u64 = 125;
/// Differences below this, in packets a second, are not worth a move.
pub const LEAST_GAIN: u64 = 2_000;
/// What a channel is taken for before its load is known, and at least: reading it costs something too.
const IDLE_LOAD: u64 = 50;

/// A channel is to be carried by another thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// Which.
    pub channel: ChannelId,
    /// The thread that has it.
    pub from: usize,
    /// The thread that takes it.
    pub to: usize,
}

/// The places of all channels.
#[derive(Debug)]
pub struct Placement {
    places: BTreeMap<ChannelId, Place>,
    loads: Vec<u64>,
    compared: Time,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    thread: usize,
    load: u64,
}

impl Placement {
    /// Nothing on `threads` threads, at least one.
    pub fn new(threads: usize) -> Self {
        Self { places: BTreeMap::new(), loads: vec![0; threads.max(1)], compared: Time::ZERO }
    }

    /// The thread of `channel`; a channel that has none is given one.
    pub fn thread(&mut self, channel: ChannelId) -> usize {
        if let Some(place) = self.places.get(&channel) {
            return place.thread;
        }
        let thread = self.lightest();
        self.places.insert(channel, Place { thread, load: IDLE_LOAD });
        self.loads[thread] += IDLE_LOAD;
        thread
    }

    /// `channel` is carried no more.
    pub fn release(&mut self, channel: ChannelId) {
        if let Some(place) = self.places.remove(&channel) {
            self.loads[place.thread] -= place.load;
        }
    }

    /// `channel` was found to have `load`.
    pub fn loaded(&mut self, channel: ChannelId, load: u64) {
        if let Some(place) = self.places.get_mut(&channel) {
            let load = load.max(IDLE_LOAD);
            self.loads[place.thread] = self.loads[place.thread] - place.load + load;
            place.load = load;
        }
    }

    /// The move that makes the threads most alike, when they have come to differ; it is taken for made.
    pub fn rebalance(&mut self, now: Time) -> Option<Move> {
        if now.since(self.compared) < COMPARE_INTERVAL {
            return None;
        }
        self.compared = now;
        let from = (0..self.loads.len()).max_by_key(|thread| self.loads[*thread])?;
        let to = self.lightest();
        let gap = self.loads[from] - self.loads[to];
        if gap < LEAST_GAIN || self.loads[from] * 100 < self.loads[to] * UNBALANCED_PERCENT {
            return None;
        }
        let movable = self.places.iter_mut().filter(|(_, place)| place.thread == from && place.load < gap);
        let (channel, place) = movable.min_by_key(|(_, place)| place.load.abs_diff(gap / 2))?;
        place.thread = to;
        self.loads[from] -= place.load;
        self.loads[to] += place.load;
        Some(Move { channel: *channel, from, to })
    }

    fn lightest(&self) -> usize {
        (0..self.loads.len()).min_by_key(|thread| self.loads[*thread]).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(s: u64) -> Time {
        Time::from_ms(s * 1_000)
    }

    #[test]
    fn new_channels_go_round_and_stay_where_they_are() {
        let mut placement = Placement::new(3);
        let threads: Vec<usize> = (1..=7).map(|id| placement.thread(ChannelId(id))).collect();
        assert_eq!(threads, [0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(placement.thread(ChannelId(5)), 1);
        placement.release(ChannelId(2));
        assert_eq!(placement.thread(ChannelId(8)), 1);
        assert_eq!(placement.rebalance(seconds(10)), None);
    }

    #[test]
    fn a_heavy_thread_gives_up_the_channel_that_evens_it_out_and_then_rests() {
        let mut placement = Placement::new(2);
        for (id, load) in [(1, 10_000), (2, 100), (3, 6_000), (4, 100), (5, 8_000), (6, 100)] {
            placement.thread(ChannelId(id));
            placement.loaded(ChannelId(id), load);
        }
        // The second and later channels saw the loads of those before them.
        let loads = placement.loads.clone();
        assert_eq!(loads.iter().sum::<u64>(), 24_300);
        let mut moves = 0;
        for s in 1..10 {
            moves += usize::from(placement.rebalance(seconds(s)).is_some());
        }
        assert!(moves <= 2, "{moves}");
        assert!(placement.loads[0].abs_diff(placement.loads[1]) < 4_500, "{:?}", placement.loads);
    }

    #[test]
    fn threads_are_compared_once_a_second() {
        let mut placement = Placement::new(2);
        for id in 1..=4 {
            placement.thread(ChannelId(id));
        }
        placement.loaded(ChannelId(1), 5_000);
        placement.loaded(ChannelId(3), 5_000);
        let moved = placement.rebalance(seconds(5)).unwrap();
        assert_eq!((moved.from, moved.to), (0, 1));
        placement.loaded(moved.channel, 30_000);
        placement.loaded(ChannelId(2), 30_000);
        assert_eq!(placement.rebalance(seconds(5)), None);
        assert!(placement.rebalance(seconds(6)).is_some());
    }

    #[test]
    fn one_channel_that_is_all_the_load_is_not_tossed_about() {
        let mut placement = Placement::new(2);
        placement.thread(ChannelId(1));
        placement.loaded(ChannelId(1), 50_000);
        assert_eq!(placement.rebalance(seconds(5)), None);
    }
}
