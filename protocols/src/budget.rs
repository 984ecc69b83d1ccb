//! How much may be sent again, or asked for: a token bucket whose rate is a share of a stream's.

use std::time::Duration;

use crate::time::Time;

/// A share of a stream, and how much of it may be used at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Of its packets.
    pub percent: u32,
    /// Packets at once, at least.
    pub burst_packets: u32,
    /// So much of the stream at once, where that is more.
    pub burst: Duration,
}

impl Share {
    /// What that is for a stream with `spacing` between two packets.
    pub fn of(self, spacing: Duration) -> Allowance {
        let each = spacing * 100 / self.percent;
        Allowance { each, holds: (each * self.burst_packets).max(self.burst * 100 / self.percent) }
    }
}

/// How fast a bucket fills, and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Time that makes up for one packet.
    each: Duration,
    /// Time that makes up for all that may be used at once.
    holds: Duration,
}

impl Allowance {
    /// `each` makes up for one packet, `holds` for all that may be used at once.
    pub fn new(each: Duration, holds: Duration) -> Self {
        Self { each, holds }
    }
}

/// What is left of a budget, kept as the time when nothing will have been used of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    full_at: Time,
}

impl Budget {
    /// Whether one packet more may be used.
    pub fn has_room(&mut self, now: Time, allowance: Allowance) -> bool {
        // Never emptier than empty, also by the measure of a stream that has become faster.
        self.full_at = self.full_at.clamp(now, now + allowance.holds);
        self.full_at + allowance.each <= now + allowance.holds
    }

    /// One packet more is used, for which there was room.
    pub fn use_one(&mut self, allowance: Allowance) {
        self.full_at += allowance.each;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: Share = Share { percent: 25, burst_packets: 20, burst: Duration::from_millis(500) };

    fn taken(budget: &mut Budget, now_ms: u64, allowance: Allowance) -> u32 {
        let mut taken = 0;
        while budget.has_room(Time::from_ms(now_ms), allowance) {
            budget.use_one(allowance);
            taken += 1;
        }
        taken
    }

    #[test]
    fn a_budget_gives_its_burst_at_once_and_its_share_from_then_on() {
        let mut budget = Budget::default();
        let allowance = SHARE.of(Duration::from_millis(2));
        assert_eq!(taken(&mut budget, 1_000, allowance), 250);
        assert_eq!((taken(&mut budget, 1_000, allowance), taken(&mut budget, 1_400, allowance)), (0, 50));
        assert_eq!(taken(&mut budget, 60_000, allowance), 250);
        assert_eq!(taken(&mut Budget::default(), 0, SHARE.of(Duration::from_millis(100))), 20);
    }

    #[test]
    fn a_stream_that_becomes_faster_is_not_held_to_its_old_pace() {
        let mut budget = Budget::default();
        assert_eq!(taken(&mut budget, 0, SHARE.of(Duration::from_millis(100))), 20);
        assert_eq!(taken(&mut budget, 1_000, SHARE.of(Duration::from_millis(2))), 0);
        assert_eq!(taken(&mut budget, 2_000, SHARE.of(Duration::from_millis(2))), 125);
    }
}
