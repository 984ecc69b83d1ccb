//! When one data thread has more to send than it can: that it must shed, how much, and when it may take back.
//!
//! A thread that is busy all the time is no trouble yet: its turns grow longer and its batches fuller, which makes each
//! packet cheaper. Trouble begins when packets wait longer and longer. Then whole channels are shed, the most recently
//! watched first, in steps, as many as half the growth of the waiting time says; never a little of each, since a stream
//! with holes is of no use to anybody. The first channel is never shed.
//!
//! ```text
//! Fine ──behind ≥ BEHIND and growing, busy──► Shed(share) ──calm for RECOVERY──► TakeBack(room) ──► Fine
//! ```
//!
//! Busy is the processor time that the thread has used; one that others keep from the processor counts as busy too, once
//! its packets are [`STARVED`].

use std::time::Duration;

use protocols::time::Time;

/// How long one look lasts.
pub const LOOK: Duration = Duration::from_millis(250);
/// Packets that wait this long are a backlog that will not go by itself; well below
/// [`crate::path::LONGEST_BACKLOG`], at which they would be lost.
pub const BEHIND: Duration = Duration::from_millis(250);
/// The same for a thread that does not get the processor.
pub const STARVED: Duration = Duration::from_millis(500);
/// Busy for this share of a look, in percent: the thread is what the packets wait for.
pub const BUSY_PERCENT: u64 = 95;
/// Busy for less than this share, in percent: there may be room.
pub const CALM_PERCENT: u64 = 93;
/// As busy as this, in percent, a thread may become by what it takes back.
pub const FULL_PERCENT: u64 = 97;
/// A thread takes back what it shed, as many channels as there is room for, when it was calm for this long; twice as long
/// each time that it had to shed again, up to [`LONGEST_RECOVERY`].
pub const RECOVERY: Duration = Duration::from_secs(2);
/// What was shed waits this long at most before there is another try.
pub const LONGEST_RECOVERY: Duration = Duration::from_mins(1);

/// What to do about the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Shed channels that make up this share of what is sent, in percent, 1..=100; at least one.
    Shed(u64),
    /// Take channels back that together are at most this share of what is sent, in percent.
    TakeBack(u64),
}

/// One turn of a thread.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// When it ended.
    pub ended: Time,
    /// Time from the end of its waiting to its end.
    pub lasted: Duration,
    /// Processor time that it used.
    pub worked: Duration,
    /// How long those packets have waited, of all that still wait, that wait longest; zero: none do.
    pub behind: Duration,
}

/// The looks at one thread.
#[derive(Debug)]
pub struct Overload {
    began: Time,
    lasted: Duration,
    worked: Duration,
    behind: Duration,
    behind_before: Duration,
    calm_since: Option<Time>,
    recovery: Duration,
    taken_back: bool,
}

impl Default for Overload {
    fn default() -> Self {
        Self {
            began: Time::ZERO,
            lasted: Duration::ZERO,
            worked: Duration::ZERO,
            behind: Duration::ZERO,
            behind_before: Duration::ZERO,
            calm_since: None,
            recovery: RECOVERY,
            taken_back: false,
        }
    }
}

impl Overload {
    /// A turn has ended.
    pub fn turn(&mut self, turn: Turn) -> Option<Verdict> {
        self.lasted += turn.lasted;
        self.worked += turn.worked;
        self.behind = self.behind.max(turn.behind);
        let (now, look) = (turn.ended, turn.ended.since(self.began));
        if look < LOOK {
            return None;
        }
        let worked = percent(self.worked, look);
        let starved = percent(self.lasted, look) >= BUSY_PERCENT && self.behind >= STARVED;
        let exhausted = worked >= BUSY_PERCENT && self.behind >= BEHIND;
        let growth = percent(self.behind.saturating_sub(self.behind_before), look);
        let shrinking = self.behind < self.behind_before;
        (self.began, self.lasted, self.worked) = (now, Duration::ZERO, Duration::ZERO);
        (self.behind_before, self.behind) = (self.behind, Duration::ZERO);
        if (exhausted || starved) && !shrinking {
            return Some(self.shed(growth));
        }
        if worked >= CALM_PERCENT {
            self.calm_since = None;
        } else if now.since(*self.calm_since.get_or_insert(now)) >= self.recovery {
            (self.calm_since, self.taken_back) = (None, true);
            return Some(Verdict::TakeBack((FULL_PERCENT - worked) * 100 / worked.max(1)));
        }
        None
    }

    fn shed(&mut self, growth: u64) -> Verdict {
        if std::mem::take(&mut self.taken_back) {
            self.recovery = (self.recovery * 2).min(LONGEST_RECOVERY);
        }
        self.calm_since = None;
        Verdict::Shed((growth / 2).clamp(1, 100))
    }
}

fn percent(part: Duration, whole: Duration) -> u64 {
    u64::try_from(part.as_micros() * 100 / whole.as_micros().max(1)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns of 10 ms from `from` to `to`, of which `lasted` and `worked` percent; what each look said.
    fn turns(
        overload: &mut Overload,
        [from, to]: [u64; 2],
        [lasted, worked]: [u64; 2],
        behind_ms: impl Fn(u64) -> u64,
    ) -> Vec<(u64, Verdict)> {
        let turn = |ms: u64| {
            let turn = Turn {
                ended: Time::from_ms(ms),
                lasted: Duration::from_micros(lasted * 100),
                worked: Duration::from_micros(worked * 100),
                behind: Duration::from_millis(behind_ms(ms)),
            };
            overload.turn(turn).map(|verdict| (ms, verdict))
        };
        (from / 10..to / 10).map(|n| n * 10).filter_map(turn).collect()
    }

    #[test]
    fn a_busy_thread_whose_packets_do_not_wait_is_left_alone() {
        assert_eq!(turns(&mut Overload::default(), [10_000, 20_000], [100; 2], |_| 30), []);
    }

    #[test]
    fn packets_that_wait_while_the_thread_is_idle_are_not_its_fault() {
        assert_eq!(turns(&mut Overload::default(), [10_000, 11_900], [40; 2], |ms| ms - 10_000), []);
    }

    #[test]
    fn twice_too_much_is_shed_in_steps_that_begin_within_a_second() {
        let mut overload = Overload::default();
        let said = turns(&mut overload, [10_000, 11_000], [100; 2], |ms| (ms - 10_000) / 2);
        assert!(said[0].0 <= 10_800, "{said:?}");
        assert!(
            said.len() >= 2 && said.iter().all(|(_, verdict)| matches!(verdict, Verdict::Shed(24 | 25))),
            "{said:?}"
        );
    }

    #[test]
    fn a_thread_that_others_keep_from_the_processor_sheds_later() {
        let mut overload = Overload::default();
        let said = turns(&mut overload, [10_000, 12_000], [100, 50], |ms| (ms - 10_000) / 2);
        assert!((11_000..11_500).contains(&said[0].0), "{said:?}");
    }

    #[test]
    fn a_backlog_that_shrinks_is_left_to_shrink() {
        let mut overload = Overload::default();
        let _ = turns(&mut overload, [10_000, 10_760], [100; 2], |ms| (ms - 10_000) / 2);
        assert_eq!(turns(&mut overload, [10_760, 12_000], [100; 2], |ms| 370 - (ms - 10_760) / 10), []);
    }

    #[test]
    fn what_was_shed_is_taken_back_after_two_calm_seconds_and_only_what_fits() {
        let mut overload = Overload::default();
        let said = turns(&mut overload, [10_000, 15_000], [50; 2], |_| 0);
        assert_eq!(said.iter().map(|(_, verdict)| *verdict).collect::<Vec<_>>(), [Verdict::TakeBack(94); 2]);
        assert!(said[0].0 >= 12_000 && said[1].0 >= said[0].0 + 2_000, "{said:?}");
        assert_eq!(turns(&mut overload, [15_000, 40_000], [94; 2], |_| 0), []);
    }

    #[test]
    fn who_had_to_shed_again_waits_longer_before_the_next_try() {
        let mut overload = Overload::default();
        let first = |said: &[(u64, Verdict)]| {
            let back = said.iter().find(|(_, verdict)| matches!(verdict, Verdict::TakeBack(_)));
            back.map_or(0, |(at, _)| *at)
        };
        assert!(first(&turns(&mut overload, [10_000, 13_000], [50; 2], |_| 0)) < 12_600);
        let shed = turns(&mut overload, [13_000, 14_000], [100; 2], |ms| ms - 12_700);
        assert!(matches!(shed[0].1, Verdict::Shed(_)));
        let again = first(&turns(&mut overload, [14_000, 20_000], [50; 2], |_| 0));
        assert!((18_000..18_600).contains(&again), "{again}");
    }
}
