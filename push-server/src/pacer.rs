//! When packets may leave: as they come while they come evenly, and after a stall no faster than half as fast again as
//! the stream itself, so that a burst of TCP becomes none on a LAN.
//!
//! A token bucket: [`BURST_PACKETS`] back to back, or what a fast stream has in [`BURST_TIME`], refilled at [`OVERSPEED`]
//! times the stream's own rate. That rate is read from the RTP timestamps of the packets as they arrive, over the last 32
//! and the last 256 of them, whichever says faster; and as it would be wrong where timestamps are, it is never taken for
//! slower than what has in truth arrived.
//!
//! Figures: at 5 Mb/s a backlog leaves at 712 packets/s, at most 8 at once (0.9 ms of a 100 Mb/s port).

use std::time::Duration;

use protocols::time::Time;

/// Packets that may leave back to back.
pub const BURST_PACKETS: u32 = 8;
/// A fast stream may leave so much of a backlog back to back: turns that come late must not hold it up.
pub const BURST_TIME: Duration = Duration::from_millis(5);
/// How much faster than the stream a backlog leaves, as a fraction.
pub const OVERSPEED: (u32, u32) = (3, 2);
/// Spacing before anything is known of the stream: 5,000 packets/s, 53 Mb/s.
pub const UNKNOWN_SPACING: Duration = Duration::from_micros(200);
/// No stream is taken for faster than this: 50,000 packets/s, 530 Mb/s.
pub const LEAST_SPACING: Duration = Duration::from_micros(20);
/// No stream is taken for slower than this: below 50 packets/s a backlog does no harm, and a rate that was measured
/// across a stall of the input must not hold up what comes after it.
pub const MOST_SPACING: Duration = Duration::from_millis(20);

const MARKS: usize = 9;
const PACKETS_PER_MARK: u16 = 32;
const ARRIVAL_WINDOW: Duration = Duration::from_secs(4);

/// What of a packet's RTP header matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp, 90 kHz, wrapping.
    pub timestamp_90k: u32,
    /// The timestamp is discontinuous here.
    pub rebased: bool,
}

/// The pacing of one channel.
#[derive(Debug, Default)]
pub struct Pacer {
    /// When the bucket is full again; a packet may leave while that is less than a burst away.
    full_at: Time,
    marks: Marks,
    arrivals: Arrivals,
    rate: Rate,
}

/// What follows from the stream's own rate; reckoned when that changes, not with each packet.
#[derive(Debug)]
struct Rate {
    own: Option<Duration>,
    /// Time between two packets of a backlog.
    spacing: Duration,
    /// Packets that may leave back to back.
    burst: u32,
}

impl Default for Rate {
    fn default() -> Self {
        Self { own: None, spacing: UNKNOWN_SPACING, burst: BURST_PACKETS }
    }
}

impl Rate {
    fn of(own: Duration) -> Self {
        let spacing = (own * OVERSPEED.1 / OVERSPEED.0).clamp(LEAST_SPACING, MOST_SPACING);
        let in_time = BURST_TIME.as_micros() / spacing.as_micros();
        let burst = u32::try_from(in_time).unwrap_or(BURST_PACKETS).max(BURST_PACKETS);
        Self { own: Some(own), spacing, burst }
    }
}

impl Pacer {
    /// A packet arrived.
    pub fn arrived(&mut self, now: Time, stamp: Stamp) {
        self.marks.note(stamp);
        self.arrivals.note(now);
        let own = [self.marks.spacing(), self.arrivals.spacing].into_iter().flatten().min();
        if own != self.rate.own {
            self.rate = own.map_or_else(Rate::default, Rate::of);
        }
        // A bucket is never emptier than empty, also by the measure of a stream that has become faster.
        self.full_at = self.full_at.min(now + self.rate.spacing * self.rate.burst);
    }

    /// Another stream follows: nothing that is known of this one holds for it.
    pub fn restart(&mut self) {
        *self = Self::default();
    }

    /// When one more packet may leave, at the earliest; not after `now` when it may leave now.
    pub fn allowed_at(&self) -> Time {
        self.full_at - self.rate.spacing * (self.rate.burst - 1)
    }

    /// A packet leaves at `now`.
    pub fn left(&mut self, now: Time) {
        self.full_at = self.full_at.max(now) + self.rate.spacing;
    }

    /// Time between two packets of a backlog.
    pub fn spacing(&self) -> Duration {
        self.rate.spacing
    }

    /// Time between two packets of the stream itself, once it is known.
    pub fn own_spacing(&self) -> Option<Duration> {
        self.rate.own
    }
}

/// Every 32nd packet of the last 256.
#[derive(Debug, Default)]
struct Marks {
    ring: [Option<Stamp>; MARKS],
    newest: usize,
    spacing: Option<Duration>,
}

impl Marks {
    fn note(&mut self, stamp: Stamp) {
        let Some(last) = self.ring[self.newest] else {
            self.ring[self.newest] = Some(stamp);
            return;
        };
        let ticks = stamp.timestamp_90k.wrapping_sub(last.timestamp_90k);
        // More than 10 s within 32 packets, or backwards: the time base was broken without a mark.
        if stamp.rebased || ticks > 900_000 {
            self.ring = [None; MARKS];
            self.ring[self.newest] = Some(stamp);
            return;
        }
        if stamp.sequence.wrapping_sub(last.sequence) < PACKETS_PER_MARK {
            return;
        }
        self.newest = (self.newest + 1) % MARKS;
        let oldest = self.ring[self.newest];
        self.ring[self.newest] = Some(stamp);
        let first = oldest
            .or_else(|| self.ring.iter().cycle().skip(self.newest + 1).take(MARKS).find_map(|mark| *mark));
        let over = [Some(last), first].into_iter().flatten().filter_map(|from| mean_spacing(from, stamp));
        self.spacing = over.min().or(self.spacing);
    }

    fn spacing(&self) -> Option<Duration> {
        self.spacing
    }
}

/// Mean time between packets by their timestamps; `None` when they say nothing.
pub(crate) fn mean_spacing(from: Stamp, to: Stamp) -> Option<Duration> {
    let packets = u32::from(to.sequence.wrapping_sub(from.sequence));
    let ticks = to.timestamp_90k.wrapping_sub(from.timestamp_90k);
    (packets > 0).then(|| Duration::from_nanos(u64::from(ticks) * 100_000 / 9 / u64::from(packets)))
}

/// Mean time between packets as they arrived, over whole windows of at least four seconds.
#[derive(Debug, Default)]
struct Arrivals {
    since: Option<Time>,
    packets: u32,
    spacing: Option<Duration>,
}

impl Arrivals {
    fn note(&mut self, now: Time) {
        let since = *self.since.get_or_insert(now);
        let window = now.since(since);
        if window >= ARRIVAL_WINDOW {
            self.spacing = window.checked_div(self.packets);
            (self.since, self.packets) = (Some(now), 0);
        }
        self.packets += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream of `rate` packets a second by its timestamps.
    fn stamp(n: u32, rate: u32) -> Stamp {
        Stamp {
            sequence: u16::try_from(n % 65_536).unwrap(),
            timestamp_90k: u32::try_from(u64::from(n) * 90_000 / u64::from(rate)).unwrap(),
            rebased: false,
        }
    }

    #[test]
    fn an_even_stream_is_never_held_up() {
        let mut pacer = Pacer::default();
        for n in 0..5_000_u32 {
            let now = Time::from_us(10_000_000 + u64::from(n) * 1_000_000 / 475);
            pacer.arrived(now, stamp(n, 475));
            assert!(pacer.allowed_at() <= now, "packet {n}");
            pacer.left(now);
        }
    }

    #[test]
    fn a_stream_that_comes_five_at_a_time_is_not_held_up_either() {
        let mut pacer = Pacer::default();
        for n in 0..5_000_u32 {
            let now = Time::from_us(10_000_000 + u64::from(n / 5) * 5_000_000 / 475);
            pacer.arrived(now, stamp(n, 475));
            assert!(pacer.allowed_at() <= now, "packet {n}");
            pacer.left(now);
        }
    }

    #[test]
    fn a_burst_leaves_eight_at_once_and_then_half_as_fast_again_as_the_stream() {
        let mut pacer = Pacer::default();
        for n in 0..400 {
            pacer.arrived(Time::from_ms(1_000), stamp(n, 475));
        }
        let mut now = Time::from_ms(1_000);
        let mut left = Vec::new();
        while left.len() < 400 {
            now = now.max(pacer.allowed_at());
            pacer.left(now);
            left.push(now);
        }
        assert_eq!(left.iter().filter(|at| **at == Time::from_ms(1_000)).count(), BURST_PACKETS as usize);
        let took = left[399].since(left[8]);
        let own = Duration::from_secs_f64(391.0 / 475.0);
        assert!(took.as_secs_f64() * 1.5 > own.as_secs_f64() * 0.99, "{took:?}");
        assert!(took.as_secs_f64() * 1.5 < own.as_secs_f64() * 1.01, "{took:?}");
    }

    #[test]
    fn a_fast_stream_is_not_held_up_by_turns_that_come_late() {
        let mut pacer = Pacer::default();
        let (mut waiting, mut most) = (0, 0);
        for turn in 0..2_000_u32 {
            // 40 Mb/s: 15 packets in 4 ms, three times what a window of 1.25 ms has.
            let now = Time::from_us(10_000_000 + u64::from(turn) * 4_000);
            for n in 0..15 {
                pacer.arrived(now, stamp(turn * 15 + n, 3_750));
                waiting += 1;
            }
            while waiting > 0 && pacer.allowed_at() <= now {
                pacer.left(now);
                waiting -= 1;
            }
            most = most.max(if turn > 100 { waiting } else { 0 });
        }
        assert_eq!(most, 0, "packets that wait");
    }

    #[test]
    fn a_stall_of_the_input_does_not_hold_up_what_comes_after_it() {
        let mut pacer = Pacer::default();
        let mut now = Time::from_ms(1_000);
        for (n, gap_ms) in [0, 100, 6_000, 100, 100, 100, 5_000, 100, 100, 100, 100].into_iter().enumerate() {
            now += Duration::from_millis(gap_ms);
            pacer.arrived(now, stamp(u32::try_from(n).unwrap(), 10));
            assert!(pacer.allowed_at() <= now, "packet {n}");
            pacer.left(now);
        }
    }

    #[test]
    fn a_stream_that_becomes_ten_times_faster_is_followed_within_32_packets() {
        let mut pacer = Pacer::default();
        for n in 0..300 {
            pacer.arrived(Time::from_ms(1_000), stamp(n, 100));
        }
        let base = stamp(300, 100).timestamp_90k;
        for n in 0..64 {
            let fast = Stamp { timestamp_90k: base + n * 90, ..stamp(300 + n, 100) };
            pacer.arrived(Time::from_ms(1_000), fast);
        }
        assert!(pacer.spacing() < Duration::from_micros(800), "{:?}", pacer.spacing());
    }

    #[test]
    fn what_was_spent_at_a_slow_pace_is_not_owed_at_a_fast_one() {
        let mut pacer = Pacer::default();
        let now = Time::from_ms(1_000);
        for n in 0..64 {
            pacer.arrived(now, stamp(n, 50));
        }
        while pacer.allowed_at() <= now {
            pacer.left(now);
        }
        let base = stamp(64, 50).timestamp_90k;
        for n in 0..64 {
            pacer.arrived(now, Stamp { timestamp_90k: base + n * 90, ..stamp(64 + n, 50) });
        }
        let wait = pacer.allowed_at().since(now);
        assert!(wait <= Duration::from_millis(1), "{wait:?}");
    }

    #[test]
    fn timestamps_that_claim_a_slower_stream_than_arrives_are_not_believed() {
        let mut pacer = Pacer::default();
        for n in 0..5_000_u32 {
            pacer.arrived(Time::from_ms(u64::from(n)), stamp(n, 100));
        }
        assert!(pacer.spacing() < Duration::from_micros(700), "{:?}", pacer.spacing());
    }

    #[test]
    fn a_broken_time_base_keeps_the_pace() {
        let mut pacer = Pacer::default();
        for n in 0..400 {
            pacer.arrived(Time::from_ms(1_000), stamp(n, 475));
        }
        let before = pacer.spacing();
        for n in 400..420 {
            pacer.arrived(Time::from_ms(1_000), Stamp { timestamp_90k: n, ..stamp(n, 475) });
        }
        assert_eq!(pacer.spacing(), before);
    }
}
