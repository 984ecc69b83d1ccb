//! How much may be asked for, and whether anybody answers.
//!
//! ```text
//! answered ──UNANSWERED_PACKETS asked, the first UNANSWERED_FOR ago──► silent: one packet each PROBE_EVERY
//!     ▲                                                                  │
//!     └────────────────────────── one that was asked for came ◄──────────┘
//! ```

use std::time::Duration;

use protocols::budget::{Allowance, Budget};
use protocols::p4_control::REPAIR_BUDGET_PERCENT;
use protocols::time::Time;

/// Packets that may be asked for: this share of the stream, twice what a push server sends, since it is not to blame for
/// requests that the network loses …
pub const BUDGET_PERCENT: u64 = 2 * REPAIR_BUDGET_PERCENT as u64;
/// … and this many each second. What is not used is kept for [`BUDGET_SPAN`].
pub const BUDGET_PER_SECOND: u32 = 20;
/// The budget holds what this long a time brings, or [`START_BUDGET`].
pub const BUDGET_SPAN: Duration = Duration::from_secs(2);
/// Packets that may be asked for before the stream's rate is known.
pub const START_BUDGET: u32 = 64;
/// A push server that has answered none of so many packets …
pub const UNANSWERED_PACKETS: u32 = 64;
/// … for so long answers nothing: it does not serve P5, its answers are lost, or they come too late.
pub const UNANSWERED_FOR: Duration = Duration::from_secs(2);
/// Time between two packets that a silent push server is asked for, to see whether it has changed.
pub const PROBE_EVERY: Duration = Duration::from_secs(10);
/// The stream's rate is taken over this …
const RATE_SPAN: Duration = Duration::from_secs(1);
/// … and for the first time over this.
const FIRST_RATE_SPAN: Duration = Duration::from_millis(200);

/// What may be asked for of one stream.
#[derive(Debug)]
pub(super) struct Asking {
    budget: Budget,
    allowance: Option<Allowance>,
    /// Since when the rate is being taken, and what the highest number was.
    rate_from: Option<(Time, u64)>,
}

impl Asking {
    pub(super) fn new() -> Self {
        Self { budget: Budget::default(), allowance: None, rate_from: None }
    }

    /// The highest number of the stream is `highest` now.
    pub(super) fn observe(&mut self, now: Time, highest: u64) {
        let &mut (from, first) = self.rate_from.get_or_insert((now, highest));
        let least = if self.allowance.is_some() { RATE_SPAN } else { FIRST_RATE_SPAN };
        let span = now.since(from);
        if span >= least {
            self.allowance = Some(allowance(highest.saturating_sub(first), span));
            self.rate_from = Some((now, highest));
        }
    }

    /// Takes one packet; `false` when nothing is left.
    pub(super) fn take(&mut self, now: Time) -> bool {
        let allowance = self.allowance.unwrap_or_else(|| allowance(0, FIRST_RATE_SPAN));
        let has_room = self.budget.has_room(now, allowance);
        if has_room {
            self.budget.use_one(allowance);
        }
        has_room
    }
}

/// What a stream allows that has had `packets` within `span`.
fn allowance(packets: u64, span: Duration) -> Allowance {
    let span_us = u64::try_from(span.as_micros()).unwrap_or(u64::MAX).max(1);
    let of_stream = packets.saturating_mul(BUDGET_PERCENT).saturating_mul(10_000) / span_us;
    let per_second = u32::try_from(of_stream).unwrap_or(u32::MAX).saturating_add(BUDGET_PER_SECOND);
    let each = Duration::from_secs(1) / per_second;
    Allowance::new(each, BUDGET_SPAN.max(each * START_BUDGET))
}

/// Whether the push server answers.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    /// Asked for since one came that had been asked for.
    unanswered: u32,
    /// When the first of those was.
    since: Time,
    probed: Time,
}

impl Hearing {
    /// A packet is asked for.
    pub(super) fn asked(&mut self, now: Time) {
        if self.unanswered == 0 {
            self.since = now;
        }
        self.unanswered = self.unanswered.saturating_add(1);
        self.probed = now;
    }

    /// A packet came that had been asked for.
    pub(super) fn answered(&mut self) {
        self.unanswered = 0;
    }

    /// Whether a packet may be asked for now.
    pub(super) fn allows(&self, now: Time) -> bool {
        !self.is_silent(now) || now.since(self.probed) >= PROBE_EVERY
    }

    /// Whether the push server is taken for one that answers nothing.
    pub(super) fn is_silent(&self, now: Time) -> bool {
        self.unanswered >= UNANSWERED_PACKETS && now.since(self.since) >= UNANSWERED_FOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(asking: &mut Asking, now_ms: u64) -> u32 {
        let mut taken = 0;
        while asking.take(Time::from_ms(now_ms)) {
            taken += 1;
        }
        taken
    }

    #[test]
    fn little_may_be_asked_for_before_the_rate_is_known_and_half_of_the_stream_afterwards() {
        let mut asking = Asking::new();
        asking.observe(Time::from_ms(0), 1_000);
        assert_eq!((taken(&mut asking, 10), taken(&mut asking, 110)), (64, 2));
        asking.observe(Time::from_ms(200), 1_100);
        assert_eq!(taken(&mut asking, 10_000), 2 * (250 + 20));
        assert_eq!(taken(&mut asking, 10_100), 27);
    }

    #[test]
    fn a_push_server_that_never_answers_is_asked_for_one_packet_each_ten_seconds() {
        let mut hearing = Hearing::default();
        let mut times = Vec::new();
        for ms in (0..40_000).step_by(10) {
            let now = Time::from_ms(ms);
            if hearing.allows(now) {
                hearing.asked(now);
                times.push(ms);
            }
        }
        assert_eq!(times.iter().filter(|ms| **ms < 2_000).count(), 200);
        assert_eq!(times[200..], [11_990, 21_990, 31_990]);
        hearing.answered();
        assert!(hearing.allows(Time::from_ms(40_000)));
    }
}
