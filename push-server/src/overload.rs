//! When one data thread has more to send than it can: that it must shed, how much, and when it may take back.
//!
//! A thread that is busy all the time is no trouble yet: its turns grow longer and its batches fuller, which makes each
//! packet cheaper. Trouble begins when packets wait longer and longer. Then whole channels are shed, the most recently
//! watched first, as many as the growth of the waiting time says; never a little of each, since a stream with holes is
//! of no use to anybody. The first channel is never shed.
//!
//! ```text
//! Fine ──behind ≥ BEHIND and growing, busy──► Shed(share) ──calm for RECOVERY──► TakeBack(room) ──► Fine
//! ```

use std::time::Duration;

use protocols::time::Time;

/// How long one look lasts.
pub const LOOK: Duration = Duration::from_millis(250);
/// Packets that wait this long are a backlog that will not go by itself; well below
/// [`crate::path::LONGEST_BACKLOG`], at which they would be lost.
pub const BEHIND: Duration = Duration::from_millis(250);
/// Busy for this share of a look, in percent: the thread is what the packets wait for.
pub const BUSY_PERCENT: u64 = 95;
/// Busy for less than this share, in percent: there is room.
pub const CALM_PERCENT: u64 = 75;
/// A thread takes back what it shed, one channel at a time, when it was calm for this long.
pub const RECOVERY: Duration = Duration::from_secs(5);

/// What to do about the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Shed channels that make up this share of what is sent, in percent, 1..=100; at least one.
    Shed(u64),
    /// Take one channel back, if it is at most this share of what is sent, in percent.
    TakeBack(u64),
}

/// The looks at one thread.
#[derive(Debug, Default)]
pub struct Overload {
    began: Time,
    busy: Duration,
    behind: Duration,
    behind_before: Duration,
    calm_since: Option<Time>,
}

impl Overload {
    /// A turn took `busy` and ended at `now`; the packets that still wait, `behind`, wait for so long (zero: none do).
    pub fn turn(&mut self, now: Time, busy: Duration, behind: Duration) -> Option<Verdict> {
        self.busy += busy;
        self.behind = self.behind.max(behind);
        let look = now.since(self.began);
        if look < LOOK {
            return None;
        }
        let busy_percent = percent(self.busy, look);
        let grown = self.behind.saturating_sub(self.behind_before);
        let (behind, shrinking) = (self.behind, self.behind < self.behind_before);
        (self.began, self.busy) = (now, Duration::ZERO);
        (self.behind_before, self.behind) = (behind, Duration::ZERO);
        if busy_percent >= CALM_PERCENT {
            self.calm_since = None;
        }
        if busy_percent >= BUSY_PERCENT && behind >= BEHIND && !shrinking {
            return Some(Verdict::Shed(percent(grown, look).clamp(1, 100)));
        }
        if busy_percent < CALM_PERCENT && now.since(*self.calm_since.get_or_insert(now)) >= RECOVERY {
            self.calm_since = None;
            let room = u64::midpoint(CALM_PERCENT, BUSY_PERCENT) - busy_percent;
            return Some(Verdict::TakeBack(room * 100 / busy_percent.max(1)));
        }
        None
    }
}

fn percent(part: Duration, whole: Duration) -> u64 {
    u64::try_from(part.as_micros() * 100 / whole.as_micros().max(1)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns of 10 ms from `from` to `to`, busy for `busy_percent`; what each look said.
    fn turns(
        overload: &mut Overload,
        from: u64,
        to: u64,
        busy_percent: u64,
        behind: impl Fn(u64) -> u64,
    ) -> Vec<(u64, Verdict)> {
        let turn = |ms: u64| {
            let busy = Duration::from_micros(busy_percent * 100);
            let behind = Duration::from_millis(behind(ms));
            overload.turn(Time::from_ms(ms), busy, behind).map(|verdict| (ms, verdict))
        };
        (from / 10..to / 10).map(|n| n * 10).filter_map(turn).collect()
    }

    #[test]
    fn a_busy_thread_whose_packets_do_not_wait_is_left_alone() {
        assert_eq!(turns(&mut Overload::default(), 10_000, 20_000, 100, |_| 30), []);
    }

    #[test]
    fn packets_that_wait_while_the_thread_is_idle_are_not_its_fault() {
        let said = turns(&mut Overload::default(), 10_000, 14_000, 40, |ms| ms - 10_000);
        assert_eq!(said, []);
    }

    #[test]
    fn twice_too_much_is_halved_within_a_second() {
        let mut overload = Overload::default();
        let said = turns(&mut overload, 10_000, 11_000, 100, |ms| (ms - 10_000) / 2);
        let (at, verdict) = said[0];
        assert!(at <= 10_800, "{said:?}");
        assert!(matches!(verdict, Verdict::Shed(48..=50)), "{said:?}");
    }

    #[test]
    fn a_backlog_that_shrinks_is_left_to_shrink() {
        let mut overload = Overload::default();
        let _ = turns(&mut overload, 10_000, 10_760, 100, |ms| (ms - 10_000) / 2);
        assert_eq!(turns(&mut overload, 10_760, 12_000, 100, |ms| 370 - (ms - 10_760) / 10), []);
    }

    #[test]
    fn what_was_shed_is_taken_back_after_five_calm_seconds_and_only_what_fits() {
        let mut overload = Overload::default();
        let said = turns(&mut overload, 10_000, 22_000, 50, |_| 0);
        assert_eq!(said.iter().map(|(_, verdict)| *verdict).collect::<Vec<_>>(), [Verdict::TakeBack(70); 2]);
        assert!(said[0].0 >= 15_000 && said[1].0 >= said[0].0 + 5_000, "{said:?}");
        assert_eq!(turns(&mut overload, 22_000, 40_000, 80, |_| 0), []);
    }
}
