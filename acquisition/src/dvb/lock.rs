//! Whether a tuner has a signal, and when it is given up.
//!
//! ```text
//! Searching --lock--> Locked --no lock--> Fading --lock--> Locked
//!     └── none for the patience of the search ──┐    └── none for LOST_PATIENCE ──► given up
//!                                               └──► given up
//! ```

use std::time::Duration;

use protocols::time::Time;
use protocols::topology::DvbSystem;

/// `FE_HAS_LOCK`: everything works.
const HAS_LOCK: u32 = 0x10;
/// The steps before, in the order in which a demodulator takes them, with what their lack means.
const STEPS: [(u32, &str); 4] = [
    (0x01, "no signal at that frequency: look at the aerial, the cable and `frequency`"),
    (0x02, "a signal, but no carrier: look at `system`, `symbol_rate` and `bandwidth`"),
    (
        0x04,
        "a carrier, but its inner code does not decode: the signal is weak, or `fec` or `modulation` is another",
    ),
    (0x08, "data, but no packets in it: look at `system`, `modulation` and `plp` or `stream_id`"),
];
/// How long a tuner that had a lock may be without before it is tuned anew. Demodulators find back by themselves after a short fade.
pub const LOST_PATIENCE: Duration = Duration::from_secs(5);

/// How long a first lock is waited for. DVB-T2 and satellites with all parameters open take longest.
pub fn search_patience(system: DvbSystem) -> Duration {
    match system {
        DvbSystem::DvbT2 | DvbSystem::DvbS | DvbSystem::DvbS2 | DvbSystem::IsdbT => Duration::from_secs(8),
        DvbSystem::DvbT | DvbSystem::DvbC | DvbSystem::DvbCB | DvbSystem::Atsc => Duration::from_secs(5),
    }
}

/// Whether these bits of `FE_READ_STATUS` say that all works.
pub fn has_lock(status: u32) -> bool {
    status & HAS_LOCK != 0
}

/// How far a demodulator without lock has come, for people.
pub fn explain(status: u32) -> &'static str {
    let missing = STEPS.iter().find(|(bit, _)| status & bit == 0);
    missing.map_or("all but a lock", |(_, meaning)| meaning)
}

/// Watches for a lock that is lost for good.
#[derive(Debug)]
pub struct LockWatch {
    lost_since: Option<Time>,
}

impl LockWatch {
    /// Of a tuner that has a lock.
    pub fn locked() -> Self {
        Self { lost_since: None }
    }

    /// Takes a status; the answer says whether to tune anew.
    pub fn is_lost(&mut self, now: Time, status: u32) -> bool {
        if has_lock(status) {
            self.lost_since = None;
            return false;
        }
        let since = *self.lost_since.get_or_insert(now);
        now.since(since) >= LOST_PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKED: u32 = 0x1f;

    #[test]
    fn a_short_fade_is_survived_and_a_long_one_is_not() {
        let mut watch = LockWatch::locked();
        assert!(!watch.is_lost(Time::from_ms(0), LOCKED));
        assert!(!watch.is_lost(Time::from_ms(500), 0x03));
        assert!(!watch.is_lost(Time::from_ms(5_000), 0x03));
        assert!(!watch.is_lost(Time::from_ms(5_400), LOCKED));
        assert!(!watch.is_lost(Time::from_ms(6_000), 0));
        assert!(!watch.is_lost(Time::from_ms(10_999), 0));
        assert!(watch.is_lost(Time::from_ms(11_000), 0));
    }

    #[test]
    fn what_is_missing_is_told_by_the_first_step_not_taken() {
        assert!(explain(0).starts_with("no signal"));
        assert!(explain(0x01).starts_with("a signal, but no carrier"));
        assert!(explain(0x03).contains("inner code"));
        assert!(explain(0x07).starts_with("data, but no packets"));
        assert!(has_lock(LOCKED) && !has_lock(0x0f));
    }
}
