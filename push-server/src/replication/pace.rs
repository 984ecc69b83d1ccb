//! How fast is copied: so many bits a second, measured over what was copied of late.

use std::time::Duration;

use protocols::time::Time;

/// So much time may be made up for: after a pause the first bytes go at once, and no more than that.
const BURST: Duration = Duration::from_millis(100);

/// Spreads bytes over time.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    bits_per_s: u64,
    /// When what was taken so far is due.
    due: Time,
}

impl Pace {
    /// At most so many bits a second; 0 is taken for 1.
    pub fn new(bits_per_s: u64) -> Self {
        Self { bits_per_s: bits_per_s.max(1), due: Time::ZERO }
    }

    /// `bytes` were copied at `now`: how long to wait before the next.
    pub fn take(&mut self, now: Time, bytes: usize) -> Duration {
        let earliest = now - BURST;
        let lasts = u128::from(bytes as u64) * 8 * 1_000_000_000 / u128::from(self.bits_per_s);
        let lasts = Duration::from_nanos(u64::try_from(lasts).unwrap_or(u64::MAX));
        self.due = self.due.max(earliest) + lasts;
        self.due.since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_copied_takes_the_time_that_its_rate_says() {
        let mut pace = Pace::new(8_000_000);
        let mut now = Time::from_ms(5_000);
        let began = now;
        for _ in 0..1_000 {
            now = now + pace.take(now, 10_000);
        }
        let took = now.since(began);
        assert!((9_899..=10_000).contains(&took.as_millis()), "{took:?}");
    }

    #[test]
    fn a_pause_is_not_made_up_for() {
        let mut pace = Pace::new(8_000_000);
        assert_eq!(pace.take(Time::from_ms(60_000), 100_000), Duration::ZERO);
        assert_eq!(pace.take(Time::from_ms(60_000), 1_000), Duration::from_millis(1));
    }

    #[test]
    fn no_rate_and_no_size_is_too_much() {
        let mut pace = Pace::new(0);
        assert!(pace.take(Time::from_ms(1), 1) >= Duration::from_secs(7));
        let _ = Pace::new(1).take(Time::from_ms(1), usize::MAX);
    }
}
