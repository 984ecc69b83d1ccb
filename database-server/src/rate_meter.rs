//! How fast a counter grows, as successive reports of it tell.
//!
//! Reports come when something changes and in turn otherwise, so the time between two of one counter varies: a rate is taken
//! over [`WINDOW`] at least.

use std::time::Duration;

use protocols::time::Time;

/// A rate is the growth over at least this.
pub(crate) const WINDOW: Duration = Duration::from_secs(1);

/// One counter's growth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RateMeter {
    /// Where the present window began.
    base: Option<(Time, u64)>,
    /// Growth per 1,000 s of the last whole window.
    per_1000_s: Option<u64>,
}

impl RateMeter {
    /// The counter was reported. One that has fallen has begun anew.
    pub(crate) fn report(&mut self, now: Time, count: u64) {
        let Some((begun, base)) = self.base.filter(|(_, base)| count >= *base) else {
            *self = Self { base: Some((now, count)), per_1000_s: None };
            return;
        };
        let window = now.since(begun);
        if window >= WINDOW {
            let grown = u128::from(count - base) * 1_000_000 / window.as_millis().max(1);
            self.per_1000_s = Some(u64::try_from(grown).unwrap_or(u64::MAX));
            self.base = Some((now, count));
        }
    }

    /// Growth per second, times `factor`; `None` before a window is over.
    pub(crate) fn per_second(&self, factor: u64) -> Option<u64> {
        self.per_1000_s.map(|rate| rate.saturating_mul(factor) / 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(reports: &[(u64, u64)]) -> RateMeter {
        let mut meter = RateMeter::default();
        reports.iter().for_each(|(ms, count)| meter.report(Time::from_ms(*ms), *count));
        meter
    }

    #[test]
    fn a_rate_is_the_growth_over_a_second_at_least() {
        assert_eq!(meter(&[(0, 100)]).per_second(1), None);
        assert_eq!(meter(&[(0, 100), (250, 200)]).per_second(1), None);
        assert_eq!(meter(&[(0, 100), (250, 200), (2_000, 1_100)]).per_second(8), Some(4_000));
        // The next window begins there, and does not count before it is over.
        assert_eq!(meter(&[(0, 0), (1_000, 500), (1_500, 5_000)]).per_second(1), Some(500));
        assert_eq!(meter(&[(0, 0), (1_000, 500), (2_000, 500)]).per_second(1), Some(0));
    }

    #[test]
    fn a_counter_that_falls_has_begun_anew() {
        let mut meter = meter(&[(0, 0), (1_000, 1_000), (1_250, 10)]);
        assert_eq!(meter.per_second(1), None);
        meter.report(Time::from_ms(2_250), 30);
        assert_eq!(meter.per_second(1), Some(20));
    }

    #[test]
    fn no_counter_is_too_large() {
        assert_eq!(meter(&[(0, 0), (1_000, u64::MAX)]).per_second(u64::MAX), Some(u64::MAX / 1_000));
    }
}
