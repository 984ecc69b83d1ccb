//! One live session in its channel's data thread: how many packets it may be sent now.
//!
//! ```text
//! Waiting ──a random access point, or LIVE_WAIT──► Sending ──its seam is reached, or END_WITHIN after it was ordered──► gone
//!    └──LIVE_WAIT, and no packet──► gone
//! ```
//!
//! Its rate is that of its burst from beginning to end: caught up, it has nothing to send but what has just been released.

use std::time::Duration;

use protocols::p4_control::LIVE_WAIT;
use protocols::time::Time;

use super::Key;

/// No session is given more at once than it has in this time, at the rate of its burst.
pub(crate) const MOST_AT_ONCE: Duration = Duration::from_millis(10);
/// What a session could not use of its rate it may use later, so much of it: turns are not punctual.
const CARRIED: Duration = Duration::from_millis(2);
/// A session that has caught up is sent at this rate at least, in percent of the channel's, so that a late turn is made up for.
const LEAST_PERCENT: u16 = 150;
/// A session that was ordered to end is gone after this, whatever it has not sent.
pub(crate) const END_WITHIN: Duration = Duration::from_secs(1);

/// One session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session {
    pub(crate) key: Key,
    pub(crate) stage: Stage,
    /// Position of the first packet that it has not been given.
    pub(crate) next: u64,
    /// When it is to be gone, and the position before which it still gets packets.
    pub(crate) end: Option<(Time, u64)>,
    /// Up to when what it was given is paid for; packets are paid for by time.
    paid: Time,
    burst_percent: u16,
}

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// There is no random access point yet; given up then.
    Waiting(Time),
    /// It is behind the channel.
    Bursting,
    /// It has had all that there was.
    CaughtUp,
}

impl Session {
    pub(crate) fn new(now: Time, key: Key, burst_percent: u16) -> Self {
        let stage = Stage::Waiting(now + LIVE_WAIT);
        Self { key, stage, next: 0, end: None, paid: Time::ZERO, burst_percent }
    }

    /// The packet at `position` is its first.
    pub(crate) fn begin(&mut self, now: Time, position: u64) {
        (self.stage, self.next, self.paid) = (Stage::Bursting, position, now - MOST_AT_ONCE);
    }

    /// Position of the first packet that it may not have, of those before `released`.
    pub(crate) fn limit(&self, released: u64) -> u64 {
        self.end.map_or(released, |(_, position)| position.min(released))
    }

    /// How many packets of a channel with this time between two packets it may have now.
    pub(crate) fn allowed(&mut self, now: Time, spacing: Duration) -> u64 {
        let each = self.each(spacing);
        self.paid = self.paid.max(now - (MOST_AT_ONCE + CARRIED));
        whole(now.since(self.paid).min(MOST_AT_ONCE), each)
    }

    /// It was given `packets`.
    pub(crate) fn given(&mut self, packets: u64, spacing: Duration) {
        self.next += packets;
        self.paid += self.each(spacing) * u32::try_from(packets).unwrap_or(u32::MAX);
    }

    /// When it may have as many packets as `least`, or the most that it is given at once.
    pub(crate) fn allowed_at(&self, least: u32, spacing: Duration) -> Time {
        self.paid + (self.each(spacing) * least).min(MOST_AT_ONCE)
    }

    /// Time between two packets at its own rate.
    fn each(&self, spacing: Duration) -> Duration {
        let percent = match self.stage {
            Stage::CaughtUp => self.burst_percent.max(LEAST_PERCENT),
            _ => self.burst_percent,
        };
        spacing * 100 / u32::from(percent.max(1))
    }

    /// How much of the channel's rate it takes at present, in percent.
    pub(crate) fn percent(&self) -> u64 {
        match self.stage {
            Stage::Waiting(_) => 0,
            Stage::Bursting => self.burst_percent.into(),
            Stage::CaughtUp => 100,
        }
    }
}

/// How many times `each` goes into `time`.
fn whole(time: Duration, each: Duration) -> u64 {
    u64::try_from(time.as_nanos() / each.as_nanos().max(1)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use protocols::p4_control::LiveId;

    use super::*;

    /// Of a 5 Mb/s channel, about.
    const SPACING: Duration = Duration::from_millis(2);

    fn session(burst_percent: u16) -> Session {
        let key = Key { client: ([10, 0, 1, 7], 5_000).into(), id: LiveId(1) };
        let mut session = Session::new(Time::from_ms(1_000), key, burst_percent);
        session.begin(Time::from_ms(1_000), 0);
        session
    }

    /// Packets that it takes at these times of what never ends.
    fn taken(session: &mut Session, at_us: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let take = |at_us| {
            let allowed = session.allowed(Time::from_us(at_us), SPACING);
            session.given(allowed, SPACING);
            allowed
        };
        at_us.into_iter().map(take).collect()
    }

    #[test]
    fn five_times_the_rate_is_25_packets_each_10_ms_from_the_first_moment() {
        let mut session = session(500);
        assert_eq!(taken(&mut session, (0..5).map(|n| 1_000_000 + n * 10_000)), [25; 5]);
        assert_eq!(session.next, 125);
    }

    #[test]
    fn turns_that_are_late_by_a_little_cost_nothing_and_by_much_are_not_made_up_for() {
        let mut late = session(500);
        let at = [1_000_000, 1_010_300, 1_019_900, 1_030_400, 1_040_000, 1_050_000];
        assert_eq!(taken(&mut late, at).iter().sum::<u64>(), 25 * 6 - 1);
        assert_eq!(taken(&mut late, [2_000_000, 2_000_100, 2_000_500]), [25, 5, 1]);
    }

    #[test]
    fn a_session_that_has_caught_up_makes_up_for_late_turns_whatever_its_burst() {
        let mut slow = session(100);
        assert_eq!(taken(&mut slow, [1_000_000, 1_010_000]), [5, 5]);
        slow.stage = Stage::CaughtUp;
        assert_eq!(taken(&mut slow, [1_020_000, 1_030_000]), [7, 7]);
    }

    #[test]
    fn it_is_looked_after_when_it_may_have_eight_packets_or_ten_milliseconds_have_passed() {
        let mut session = session(500);
        let _ = taken(&mut session, [1_000_000]);
        assert_eq!(session.allowed_at(8, SPACING), Time::from_us(1_003_200));
        assert_eq!(session.allowed_at(8, SPACING * 100), Time::from_us(1_010_000));
    }

    #[test]
    fn a_session_costs_less_than_two_cache_lines() {
        assert!(size_of::<Session>() <= 112, "{}", size_of::<Session>());
    }
}
