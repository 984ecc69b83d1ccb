//! What is missing, when to ask for it, and when asking makes no sense any more.
//!
//! ```text
//! a later packet shows a gap ──REORDER_GRACE──► asked ──retry──► asked again … ──► it came (repaired)
//!                                                                     └──now + rtt > deadline──► waited for, no more asked
//! ```
//!
//! The deadline of a gap is the end of the reassembly's hold. Nothing is done for a packet that comes while nothing is
//! missing: the machine looks at the reassembly only while that waits.

mod asking;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use media::reassembly::Reassembly;
use protocols::time::{Time, earliest};

use asking::{Asking, Hearing};
pub use asking::{
    BUDGET_PER_SECOND, BUDGET_PERCENT, BUDGET_SPAN, PROBE_EVERY, START_BUDGET, UNANSWERED_FOR,
    UNANSWERED_PACKETS,
};

/// A gap that closes within this was a reordering, and nobody is asked.
pub const REORDER_GRACE: Duration = Duration::from_millis(2);
/// A first request may go this much before its time, along with another one.
pub const COALESCE: Duration = Duration::from_millis(1);
/// Least time between two requests for one packet.
pub const LEAST_RETRY: Duration = Duration::from_millis(3);
/// Time between two requests for one packet while no round-trip time is known.
pub const START_RETRY: Duration = Duration::from_millis(20);
/// So many answers in a row of which it is not known which request they answer are believed to answer the first one:
/// a round-trip time that has grown beyond the retry would never be seen otherwise.
pub const AMBIGUOUS_AT_MOST: u32 = 8;
/// Packets whose repair is thought of at once, as many as a reassembly can hold; beyond that the oldest are forgotten.
pub const TRACKED_PACKETS: usize = 3_000;
/// A budget that is used up is looked at again after this.
const BUDGET_WAIT: Duration = Duration::from_millis(5);
/// How often a missing packet is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Never.
    Off,
    /// Once.
    One,
    /// Until it comes or could not come in time.
    #[default]
    Deadline,
}

/// By which way a packet came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// P6, to everybody.
    Broadcast,
    /// P5, to this client.
    Stream,
}

/// What happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets asked for, each as often as it was.
    pub asked: u64,
    /// Packets that came in time after they had been asked for.
    pub repaired: u64,
    /// Packets that were missing and did not come in time.
    pub given_up: u64,
    /// Packets that were not asked for in time because the budget was used up, each as often as it was.
    pub deferred: u64,
    /// Packets that were not asked for because the push server answers nothing.
    pub withheld: u64,
    /// Packets forgotten because more than [`TRACKED_PACKETS`] were missing.
    pub forgotten: u64,
}

/// Decides which packets to ask for.
#[derive(Debug)]
pub struct Repairer {
    mode: Mode,
    hold: Duration,
    gaps: BTreeMap<u64, Gap>,
    /// Numbers up to this one are known to have come or to be missing.
    seen: u64,
    /// Numbers that come by themselves: see [`Repairer::expect`].
    coming: Range<u64>,
    /// Nothing is to be done before.
    next: Option<Time>,
    round_trip: RoundTrip,
    asking: Asking,
    hearing: Hearing,
    counters: Counters,
}

/// A packet that is missing.
#[derive(Debug, Clone, Copy)]
struct Gap {
    detected: Time,
    /// When to ask (again); `None`: no more.
    due: Option<Time>,
    first_asked: Time,
    last_asked: Time,
    times_asked: u32,
}

impl Repairer {
    /// One that has seen nothing. `hold` is that of the reassembly: how long a gap may stay open.
    pub fn new(mode: Mode, hold: Duration) -> Self {
        Self {
            mode,
            hold,
            gaps: BTreeMap::new(),
            seen: 0,
            coming: 0..0,
            next: None,
            round_trip: RoundTrip::default(),
            asking: Asking::new(),
            hearing: Hearing::default(),
            counters: Counters::default(),
        }
    }

    /// Looks for new gaps, and forgets those that the reassembly waits for no longer. To be called when the reassembly
    /// waits, or this does.
    pub fn observe(&mut self, now: Time, reassembly: &Reassembly) {
        let heads = reassembly.next_extended().zip(reassembly.highest_extended());
        let Some((next, highest)) = heads.filter(|_| self.mode != Mode::Off) else { return };
        while let Some(gap) = self.gaps.first_entry().filter(|gap| *gap.key() < next) {
            gap.remove();
            self.counters.given_up += 1;
        }
        for extended in next.max(self.seen + 1)..highest {
            if reassembly.is_missing(extended) {
                self.miss(now, extended);
            }
        }
        self.seen = self.seen.max(highest);
    }

    /// These numbers are on their way, by a live session that has not reached them yet: they are not asked for. What was
    /// expected before and is not any more is missing from now on.
    pub fn expect(&mut self, now: Time, coming: Range<u64>) {
        let before = std::mem::replace(&mut self.coming, coming);
        if before.is_empty() {
            return;
        }
        let mut due = None;
        for (_, gap) in self.gaps.range_mut(before).filter(|(n, _)| !self.coming.contains(n)) {
            (gap.detected, gap.due) = (now, Some(now + REORDER_GRACE));
            due = gap.due;
        }
        self.next = sooner(self.next, due);
    }

    /// A packet came that may have been missing.
    pub fn came(&mut self, now: Time, extended: u64, way: Way) {
        let Some(gap) = self.gaps.remove(&extended) else { return };
        if gap.times_asked == 0 {
            return;
        }
        self.counters.repaired += 1;
        self.hearing.answered();
        if way == Way::Stream {
            self.round_trip.answered(now, &gap);
        }
    }

    /// Another push server is asked from now on: nothing is known of whether it answers.
    pub fn moved(&mut self) {
        self.hearing = Hearing::default();
    }

    /// Another stream begins: nothing of this one is missing any more. The path is the same: the round-trip time stays.
    pub fn reset(&mut self) {
        self.gaps.clear();
        self.coming = 0..0;
        self.next = None;
        self.asking = Asking::new();
    }

    /// Appends what is to be asked for now, ascending.
    pub fn poll(&mut self, now: Time, out: &mut Vec<u64>) {
        if self.next.is_none_or(|next| next > now) {
            return;
        }
        self.asking.observe(now, self.seen);
        let (retry, rtt) = (self.round_trip.retry(), self.round_trip.smoothed.unwrap_or_default());
        let (mode, hold) = (self.mode, self.hold);
        self.next = None;
        for (&extended, gap) in &mut self.gaps {
            let Some(due) = gap.due else { continue };
            let ahead = if gap.times_asked == 0 { COALESCE } else { Duration::ZERO };
            if now + rtt > gap.detected + hold {
                gap.due = None;
            } else if due > now + ahead {
                // Its time will come.
            } else if !self.hearing.allows(now) {
                gap.due = None;
                self.counters.withheld += 1;
            } else if self.asking.take(now) {
                self.hearing.asked(now);
                gap.ask(now);
                gap.due = (mode == Mode::Deadline).then_some(now + retry);
                self.counters.asked += 1;
                out.push(extended);
            } else {
                gap.due = Some(now + BUDGET_WAIT);
                self.counters.deferred += 1;
            }
            self.next = sooner(self.next, gap.due);
        }
    }

    /// When to call [`Repairer::poll`].
    pub fn deadline(&self) -> Option<Time> {
        self.next.filter(|_| !self.gaps.is_empty())
    }

    /// Whether a packet is missing.
    pub fn is_waiting(&self) -> bool {
        !self.gaps.is_empty()
    }

    /// Whether `extended` is missing and was asked for.
    pub fn has_asked_for(&self, extended: u64) -> bool {
        self.gaps.get(&extended).is_some_and(|gap| gap.times_asked > 0)
    }

    /// The round-trip time to the push server, as far as it is known.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip.smoothed
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn miss(&mut self, now: Time, extended: u64) {
        if self.gaps.len() >= TRACKED_PACKETS {
            self.gaps.pop_first();
            self.counters.forgotten += 1;
        }
        let due = (!self.coming.contains(&extended)).then_some(now + REORDER_GRACE);
        let gap = Gap { detected: now, due, first_asked: now, last_asked: now, times_asked: 0 };
        self.gaps.insert(extended, gap);
        self.next = sooner(self.next, due);
    }
}

impl Gap {
    fn ask(&mut self, now: Time) {
        if self.times_asked == 0 {
            self.first_asked = now;
        }
        self.last_asked = now;
        self.times_asked += 1;
    }
}

/// Smoothed round-trip time and its variation (RFC 6298 §2), of answers to packets asked for once only (Karn).
#[derive(Debug, Default)]
struct RoundTrip {
    smoothed: Option<Duration>,
    variation: Duration,
    /// Since a sample was taken of a packet asked for once.
    ambiguous: u32,
    /// The only sample is one that may be too long.
    is_guess: bool,
}

impl RoundTrip {
    fn answered(&mut self, now: Time, gap: &Gap) {
        let clear = gap.times_asked == 1;
        self.ambiguous = if clear { 0 } else { self.ambiguous + 1 };
        if !clear && self.smoothed.is_some() && self.ambiguous < AMBIGUOUS_AT_MOST {
            return;
        }
        let sample = now.since(gap.first_asked);
        if std::mem::replace(&mut self.is_guess, false) && clear {
            self.smoothed = None;
        }
        self.is_guess |= !clear && self.smoothed.is_none();
        self.ambiguous = 0;
        match self.smoothed {
            None => (self.smoothed, self.variation) = (Some(sample), sample / 2),
            Some(smoothed) => {
                self.variation = (self.variation * 3 + smoothed.abs_diff(sample)) / 4;
                self.smoothed = Some((smoothed * 7 + sample) / 8);
            }
        }
    }

    fn retry(&self) -> Duration {
        let known = self.smoothed.map(|smoothed| smoothed * 5 / 4 + self.variation * 2);
        known.unwrap_or(START_RETRY).max(LEAST_RETRY)
    }
}

fn sooner(a: Option<Time>, b: Option<Time>) -> Option<Time> {
    earliest(a.map(|at| (at, ())), b.map(|at| (at, ()))).map(|(at, ())| at)
}

#[cfg(test)]
mod tests {
    use media::Sequence;
    use media::reassembly::Limits;
    use media::rtp::{RtpHeader, RtpPacket};

    use super::*;

    const HOLD: Duration = Duration::from_millis(200);

    /// A repairer and the reassembly that it looks at.
    struct Receiver {
        reassembly: Reassembly,
        repairer: Repairer,
    }

    impl Receiver {
        /// One that has had packet 0.
        fn new(mode: Mode) -> Self {
            let reassembly = Reassembly::new(Limits { hold: HOLD, ..Limits::default() });
            let mut receiver = Self { reassembly, repairer: Repairer::new(mode, HOLD) };
            receiver.gets(0, &[0], Way::Broadcast);
            receiver
        }

        /// One that knows a round-trip time of 20 ms, has had packets up to 2, and is 1 s old.
        fn knowing(mode: Mode) -> Self {
            let mut receiver = Self::new(mode);
            receiver.gets(0, &[2], Way::Broadcast);
            assert_eq!(receiver.asks(2), [1]);
            receiver.gets(22, &[1], Way::Stream);
            assert_eq!(receiver.repairer.round_trip(), Some(Duration::from_millis(20)));
            receiver
        }

        fn gets(&mut self, at_ms: u64, numbers: &[u16], way: Way) {
            let now = Time::from_ms(at_ms);
            for &n in numbers {
                let header = RtpHeader {
                    marker: false,
                    payload_type: 33,
                    sequence: Sequence(n),
                    timestamp_90k: 0,
                    ssrc: 1,
                };
                let packet = RtpPacket::new(&header, &[0x47; 188]).unwrap();
                self.reassembly.packet(now.since_origin(), &packet, &mut Vec::new());
                self.repairer.came(now, (1 << 16) + u64::from(n), way);
                self.repairer.observe(now, &self.reassembly);
            }
        }

        /// What is asked for at this time.
        fn asks(&mut self, at_ms: u64) -> Vec<u64> {
            let now = Time::from_ms(at_ms);
            self.reassembly.expire(now.since_origin(), &mut Vec::new());
            self.repairer.observe(now, &self.reassembly);
            let mut out = Vec::new();
            self.repairer.poll(now, &mut out);
            out.into_iter().map(|extended| extended - (1 << 16)).collect()
        }

        /// When anything is asked for up to `until_ms`, in ms.
        fn asks_at(&mut self, until_ms: u64) -> Vec<u64> {
            let mut times = Vec::new();
            while let Some(at) = self.repairer.deadline().filter(|at| *at <= Time::from_ms(until_ms)) {
                let mut out = Vec::new();
                self.repairer.poll(at, &mut out);
                times.extend((!out.is_empty()).then_some(at.as_us() / 1_000));
            }
            times
        }
    }

    #[test]
    fn what_comes_by_itself_is_not_asked_for_until_it_has_been_passed() {
        let mut receiver = Receiver::new(Mode::Deadline);
        let of = |from: u64, to: u64| (1 << 16) + from..(1 << 16) + to;
        receiver.repairer.expect(Time::from_ms(1), of(1, 5));
        receiver.gets(1, &[5], Way::Broadcast);
        assert_eq!(receiver.asks(100), [0_u64; 0]);
        receiver.gets(100, &[3], Way::Stream);
        receiver.repairer.expect(Time::from_ms(100), of(4, 5));
        assert_eq!(receiver.asks(102), [1, 2], "3 has come, so these are lost");
        receiver.repairer.expect(Time::from_ms(103), 0..0);
        assert_eq!(receiver.asks(105), [4]);
    }

    #[test]
    fn nothing_is_done_while_nothing_is_missing() {
        let mut receiver = Receiver::new(Mode::Deadline);
        receiver.gets(1, &[1, 2, 3], Way::Broadcast);
        assert_eq!((receiver.repairer.deadline(), receiver.repairer.is_waiting()), (None, false));
        assert_eq!(receiver.repairer.counters(), Counters::default());
    }

    #[test]
    fn a_gap_is_asked_for_after_the_grace_and_a_reordering_is_not() {
        let mut receiver = Receiver::new(Mode::Deadline);
        receiver.gets(10, &[3], Way::Broadcast);
        assert_eq!(receiver.repairer.deadline(), Some(Time::from_ms(12)));
        receiver.gets(11, &[1], Way::Broadcast);
        assert_eq!(receiver.asks(11), [0_u64; 0]);
        assert_eq!(receiver.asks(12), [2]);
        assert_eq!(receiver.repairer.counters(), Counters { asked: 1, ..Counters::default() });
    }

    #[test]
    fn what_falls_due_within_a_millisecond_is_asked_for_together() {
        let mut receiver = Receiver::new(Mode::Deadline);
        receiver.gets(10, &[2], Way::Broadcast);
        receiver.gets(11, &[4], Way::Broadcast);
        receiver.gets(12, &[6], Way::Broadcast);
        assert_eq!(receiver.asks(12), [1, 3]);
        assert_eq!(receiver.asks(13), [0_u64; 0]);
        assert_eq!(receiver.asks(14), [5]);
    }

    #[test]
    fn while_no_round_trip_is_known_it_asks_each_twenty_milliseconds() {
        let mut receiver = Receiver::new(Mode::Deadline);
        receiver.gets(0, &[2], Way::Broadcast);
        assert_eq!(receiver.asks_at(100), [2, 22, 42, 62, 82]);
    }

    #[test]
    fn it_asks_again_after_the_retry_until_it_could_not_come_in_time() {
        let mut receiver = Receiver::knowing(Mode::Deadline);
        receiver.gets(1_000, &[4], Way::Broadcast);
        // 1.25 × 20 ms + 2 × 10 ms; the hold ends at 1,200 ms.
        assert_eq!(receiver.asks_at(2_000), [1_002, 1_047, 1_092, 1_137]);
        assert_eq!(receiver.repairer.deadline(), None);
        assert!(receiver.repairer.is_waiting());
        receiver.gets(1_199, &[3], Way::Stream);
        assert_eq!(receiver.repairer.counters().given_up, 0);
        assert!(!receiver.repairer.is_waiting());
    }

    #[test]
    fn what_the_reassembly_gives_up_is_counted() {
        let mut receiver = Receiver::knowing(Mode::Deadline);
        receiver.gets(1_000, &[5], Way::Broadcast);
        assert_eq!(receiver.asks(1_002), [3, 4]);
        assert_eq!(receiver.asks(1_200), [0_u64; 0]);
        let counters = Counters { asked: 3, repaired: 1, given_up: 2, ..Counters::default() };
        assert_eq!(receiver.repairer.counters(), counters);
        assert!(!receiver.repairer.is_waiting());
    }

    #[test]
    fn mode_one_asks_once_and_mode_off_never() {
        let mut receiver = Receiver::knowing(Mode::One);
        receiver.gets(1_000, &[4], Way::Broadcast);
        assert_eq!(receiver.asks_at(2_000), [1_002]);
        let mut receiver = Receiver::new(Mode::Off);
        receiver.gets(0, &[2], Way::Broadcast);
        assert_eq!((receiver.asks(100), receiver.repairer.is_waiting()), (vec![], false));
    }

    #[test]
    fn an_answer_to_one_of_two_requests_is_no_sample_but_a_first_guess() {
        let mut receiver = Receiver::new(Mode::Deadline);
        receiver.gets(0, &[2], Way::Broadcast);
        assert_eq!(receiver.asks_at(30), [2, 22]);
        receiver.gets(42, &[1], Way::Stream);
        assert_eq!(receiver.repairer.round_trip(), Some(Duration::from_millis(40)));
        receiver.gets(100, &[4], Way::Broadcast);
        assert_eq!(receiver.asks(102), [3]);
        receiver.gets(132, &[3], Way::Stream);
        assert_eq!(receiver.repairer.round_trip(), Some(Duration::from_millis(30)));
        receiver.gets(200, &[6], Way::Broadcast);
        assert_eq!(receiver.asks_at(300), [202, 269]);
        receiver.gets(300, &[5], Way::Stream);
        assert_eq!(receiver.repairer.round_trip(), Some(Duration::from_millis(30)));
    }

    #[test]
    fn a_round_trip_that_grew_beyond_the_retry_is_seen_after_a_while() {
        let mut receiver = Receiver::knowing(Mode::Deadline);
        for n in 1..=9_u16 {
            let at = 1_000 * u64::from(n);
            receiver.gets(at, &[2 * n + 2], Way::Broadcast);
            receiver.asks_at(at + 100);
            receiver.gets(at + 102, &[2 * n + 1], Way::Stream);
        }
        assert!(receiver.repairer.round_trip() > Some(Duration::from_millis(25)));
    }

    #[test]
    fn a_packet_that_comes_by_broadcast_is_repaired_but_no_sample() {
        let mut receiver = Receiver::new(Mode::Deadline);
        receiver.gets(0, &[2], Way::Broadcast);
        assert_eq!(receiver.asks(2), [1]);
        receiver.gets(3, &[1], Way::Broadcast);
        assert_eq!(receiver.repairer.counters().repaired, 1);
        assert_eq!(receiver.repairer.round_trip(), None);
    }

    #[test]
    fn a_budget_that_is_used_up_defers() {
        let mut receiver = Receiver::new(Mode::Deadline);
        receiver.gets(0, &[202], Way::Broadcast);
        assert_eq!(receiver.asks(2).len(), 64);
        let asked: usize = (3..=198).map(|at| receiver.asks(at).len()).sum();
        // The stream stands still: what each second allows is all there is.
        assert_eq!(asked, 3);
        assert!(receiver.repairer.counters().deferred > 0);
    }

    #[test]
    fn a_push_server_that_answers_nothing_is_hardly_asked_and_asked_again_once_it_does() {
        let mut receiver = Receiver::new(Mode::Deadline);
        // Every second packet of 500 a second is lost.
        let at_ms = |receiver: &mut Receiver, at: u64| {
            if at.is_multiple_of(4) {
                receiver.gets(at, &[u16::try_from((at / 2 + 2) % 65_536).unwrap()], Way::Broadcast);
            }
            receiver.asks(at)
        };
        let mut asked =
            |from: u64, to: u64| -> usize { (from..to).map(|at| at_ms(&mut receiver, at).len()).sum() };
        assert!((64..1_000).contains(&asked(0, 2_100)));
        assert_eq!(asked(2_100, 30_000), 2);
        let probe =
            (30_000..60_000).map(|at| (at, at_ms(&mut receiver, at))).find(|(_, asked)| !asked.is_empty());
        let (at, asked) = probe.unwrap();
        assert!(asked.len() == 1 && receiver.repairer.counters().withheld > 6_000);
        receiver.gets(at, &[u16::try_from(asked[0] % 65_536).unwrap()], Way::Stream);
        let asked: usize = (at + 1..at + 101).map(|at| at_ms(&mut receiver, at).len()).sum();
        assert!(asked >= 20, "{asked}");
    }

    #[test]
    fn another_stream_has_no_gaps_of_the_one_before() {
        let mut receiver = Receiver::knowing(Mode::Deadline);
        receiver.gets(1_000, &[4], Way::Broadcast);
        receiver.repairer.reset();
        assert_eq!((receiver.repairer.deadline(), receiver.repairer.is_waiting()), (None, false));
        assert_eq!(receiver.repairer.round_trip(), Some(Duration::from_millis(20)));
    }
}
