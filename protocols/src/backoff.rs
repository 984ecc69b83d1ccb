//! How long to wait before trying a link again: doubling, capped, jittered, so that a returning server is not stormed.

use std::time::Duration;

/// Wait after the first failure.
pub const FIRST: Duration = Duration::from_millis(200);
/// Longest wait.
pub const CAP: Duration = Duration::from_secs(5);

/// The waits of one link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure. `random` is uniform over `u32`; the wait is uniform between half and all of
    /// [`FIRST`] × 2ⁿ, at most [`CAP`].
    pub fn next(&mut self, random: u32) -> Duration {
        let full = FIRST.saturating_mul(1 << self.failures.min(16)).min(CAP);
        self.failures = self.failures.saturating_add(1);
        full / 2 + full.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0)
    }

    /// The link holds: the next failure starts at [`FIRST`] again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_start_over_after_success() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..7).map(|_| backoff.next(u32::MAX).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 5000, 5000]);
        backoff.reset();
        assert_eq!(backoff.next(0), FIRST / 2);
    }
}
