//! When to try a link again that failed, and when it has held long enough to be trusted anew.

use std::time::Duration;

use protocols::backoff::Backoff;
use protocols::time::Time;

/// A link that held this long starts over with the shortest wait; one that keeps failing sooner waits longer and
/// longer, also when each attempt seemed to succeed.
pub(crate) const HEALTHY_AFTER: Duration = Duration::from_secs(5);

/// The attempts of one link.
#[derive(Debug, Default)]
pub(crate) struct Retry {
    backoff: Backoff,
    up_since: Option<Time>,
}

impl Retry {
    /// The link is up since `now`; no effect when it was up already.
    pub(crate) fn up(&mut self, now: Time) {
        self.up_since.get_or_insert(now);
    }

    /// The link failed at `now`: when to try again. `random` is uniform over `u32`.
    pub(crate) fn failed(&mut self, now: Time, random: u32) -> Time {
        if self.up_since.take().is_some_and(|since| now.since(since) >= HEALTHY_AFTER) {
            self.backoff.reset();
        }
        now + self.backoff.next(random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_start_over_only_after_a_link_that_held() {
        let mut retry = Retry::default();
        assert_eq!(retry.failed(Time::ZERO, u32::MAX), Time::from_ms(200));
        retry.up(Time::from_ms(200));
        assert_eq!(retry.failed(Time::from_ms(300), u32::MAX), Time::from_ms(700));
        retry.up(Time::from_ms(700));
        retry.up(Time::from_ms(5000));
        assert_eq!(retry.failed(Time::from_ms(5700), u32::MAX), Time::from_ms(5900));
    }
}
