//! When to send what comes faster than it plays: files, the test card, a program's output.
//!
//! The first packet fixes where media time stands on the caller's clock; each later one is due as much later as its
//! media time is. After a stall the debt is paid back at [`CATCH_UP_FACTOR`] times the rate, never in one burst; a debt
//! above [`STALL_LIMIT`] is forgiven and time goes on from there.

use std::time::Duration;

use crate::time::MediaTime;

/// How much faster than real time a debt is paid back.
pub const CATCH_UP_FACTOR: u32 = 2;

/// The longest debt that is paid back at all.
pub const STALL_LIMIT: Duration = Duration::from_secs(1);

/// How late a caller's timer may fire without that being a debt: what falls due within it goes out at once.
pub const TIMER_SLACK: Duration = Duration::from_millis(5);

/// Decides when packets are due. One `schedule` call per packet or group of packets, in order.
#[derive(Debug, Default)]
pub struct FilePacer {
    origin: Option<(Duration, MediaTime)>,
    last: Option<(Duration, MediaTime)>,
    stalls: u64,
}

impl FilePacer {
    /// A pacer that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// When the next packet, meant for media time `time`, is to be sent; not later than `now` means at once. The
    /// caller sends it then, and calls for the one after only afterwards.
    pub fn schedule(&mut self, now: Duration, time: MediaTime) -> Duration {
        let (origin, origin_time) = *self.origin.get_or_insert((now, time));
        let ideal = origin + time.since(origin_time);
        if now > ideal + STALL_LIMIT {
            self.stalls += 1;
            self.origin = Some((now, time));
            self.last = Some((now, time));
            return now;
        }
        let due = match self.last {
            Some((last_due, last_time)) => {
                // What the caller missed beyond its timer's slack is not made up for at once.
                let from = last_due.max(now.saturating_sub(TIMER_SLACK));
                ideal.max(from + time.since(last_time) / CATCH_UP_FACTOR)
            }
            None => ideal,
        };
        self.last = Some((due, time));
        due
    }

    /// When the packet scheduled last is due; `None` before the first.
    pub fn deadline(&self) -> Option<Duration> {
        self.last.map(|(due, _)| due)
    }

    /// Begins anew: the next packet is due at once.
    pub fn restart(&mut self) {
        self.origin = None;
        self.last = None;
    }

    /// Debts forgiven because they were above [`STALL_LIMIT`].
    pub fn stalls(&self) -> u64 {
        self.stalls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Media time of 10 ms steps.
    fn media(step: u64) -> MediaTime {
        MediaTime::from_ticks(500) + ms(step * 10)
    }

    /// Sends steps from `from` on until `count` are out, the caller waking at the due time; answers the send times.
    fn play(pacer: &mut FilePacer, mut now: Duration, steps: std::ops::Range<u64>) -> Vec<Duration> {
        let mut sent = Vec::new();
        for step in steps {
            now = now.max(pacer.schedule(now, media(step)));
            sent.push(now);
        }
        sent
    }

    #[test]
    fn packets_are_due_as_their_media_time_says() {
        let sent = play(&mut FilePacer::new(), ms(70), 0..4);
        assert_eq!(sent, [ms(70), ms(80), ms(90), ms(100)]);
    }

    #[test]
    fn a_short_stall_is_caught_up_at_the_stated_factor() {
        let mut pacer = FilePacer::new();
        play(&mut pacer, ms(0), 0..10);
        // 500 ms of nothing, then on: step 10 was due at 100.
        let sent = play(&mut pacer, ms(600), 10..150);
        assert_eq!(sent[0], ms(600));
        for window in sent.windows(21) {
            // 20 steps are 200 ms of media, so 100 ms at twice the rate, less the slack.
            assert!(window[20] + TIMER_SLACK >= window[0] + ms(100), "{window:?}");
        }
        assert_eq!(*sent.last().unwrap(), ms(1490));
        assert_eq!(pacer.stalls(), 0);
    }

    #[test]
    fn a_long_stall_is_forgiven() {
        let mut pacer = FilePacer::new();
        play(&mut pacer, ms(0), 0..10);
        let sent = play(&mut pacer, ms(10_000), 10..13);
        assert_eq!(sent, [ms(10_000), ms(10_010), ms(10_020)]);
        assert_eq!(pacer.stalls(), 1);
    }
}
