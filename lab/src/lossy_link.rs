//! A link between two machines that loses what it carries, both ways: numbers drawn from a seed, on whatever clock its
//! user has.
//!
//! Each direction loses by itself. Losses are independent, or come in bursts (Gilbert and Elliott): the direction is bad
//! for a while, and then loses some of what it carries; the times are exponential.

use std::time::Duration;

use protocols::time::Time;

/// How a direction loses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    /// Each datagram with this chance, 0 to 1.
    Independent(f64),
    /// In bursts.
    Bursts {
        /// Of all datagrams, 0 to `bad_loss`.
        share: f64,
        /// How long a bad time is, on average.
        bad: Duration,
        /// Of those in a bad time, 0 to 1.
        bad_loss: f64,
    },
}

impl Loss {
    /// Of all datagrams, 0 to 1.
    pub fn share(self) -> f64 {
        match self {
            Self::Independent(share) | Self::Bursts { share, .. } => share,
        }
    }
}

/// What a link is like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nature {
    /// Of each direction.
    pub loss: Loss,
    /// There and back, at least.
    pub round_trip: Duration,
    /// Added to each way, evenly up to this.
    pub jitter: Duration,
}

/// One direction of a link.
#[derive(Debug)]
pub struct Direction {
    nature: Nature,
    random: fastrand::Rng,
    is_bad: bool,
    /// When it turns from good to bad, or back.
    turns: Time,
    carried: u64,
    lost: u64,
}

impl Direction {
    /// A direction that is good to begin with.
    pub fn new(nature: Nature, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        let mut direction = Self { nature, random, is_bad: true, turns: Time::ZERO, carried: 0, lost: 0 };
        direction.turn();
        direction
    }

    /// When a datagram that leaves at `now`, never before an earlier one, arrives; `None`: never.
    pub fn carry(&mut self, now: Time) -> Option<Time> {
        self.carried += 1;
        if self.random.f64() < self.chance(now) {
            self.lost += 1;
            return None;
        }
        Some(self.spare(now))
    }

    /// Datagrams given to it, and how many of them it lost.
    pub fn counted(&self) -> (u64, u64) {
        (self.carried, self.lost)
    }

    /// When a datagram arrives that is never lost.
    pub fn spare(&mut self, now: Time) -> Time {
        now + self.nature.round_trip / 2 + self.nature.jitter.mul_f64(self.random.f64())
    }

    fn chance(&mut self, now: Time) -> f64 {
        match self.nature.loss {
            Loss::Independent(chance) => chance,
            Loss::Bursts { bad_loss, .. } => {
                while self.turns <= now {
                    self.turn();
                }
                if self.is_bad { bad_loss } else { 0.0 }
            }
        }
    }

    fn turn(&mut self) {
        let Loss::Bursts { share, bad, bad_loss } = self.nature.loss else { return };
        self.is_bad = !self.is_bad;
        let of_time = share / bad_loss;
        let mean = if self.is_bad { bad } else { bad.mul_f64((1.0 - of_time) / of_time) };
        // Above zero, so that its logarithm is a number.
        self.turns += mean.mul_f64(-(1.0 - self.random.f64()).ln());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost_share(loss: Loss) -> f64 {
        let nature = Nature { loss, round_trip: Duration::from_millis(20), jitter: Duration::ZERO };
        let mut direction = Direction::new(nature, 7);
        for n in 0..1_000_000 {
            if let Some(arrives) = direction.carry(Time::from_ms(2 * n)) {
                assert_eq!(arrives, Time::from_ms(2 * n + 10));
            }
        }
        let (carried, lost) = direction.counted();
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let share = lost as f64 / carried as f64;
        share
    }

    #[test]
    fn a_direction_loses_what_it_is_told_to() {
        let bursts = Loss::Bursts { share: 0.05, bad: Duration::from_millis(100), bad_loss: 0.5 };
        for (loss, least, most) in [(Loss::Independent(0.05), 0.049, 0.051), (bursts, 0.047, 0.053)] {
            let share = lost_share(loss);
            assert!((least..most).contains(&share), "{loss:?}: {share}");
        }
    }
}
