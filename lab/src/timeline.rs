//! Waiting: the only place of the tests that lets time pass.
//!
//! Nothing else sleeps. A wait has a claim in words, a limit, and says how long it took.

use std::io::Write as _;
use std::time::{Duration, Instant};

/// How often a condition is looked at: often enough to time a resume in milliseconds by.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Waits until `condition` holds and returns how long that took. Fails the test after `limit`, naming `claim`.
pub fn until(claim: &str, limit: Duration, mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    obtain(claim, limit, || condition().then_some(()));
    start.elapsed()
}

/// Waits until `attempt` gives a value. Fails the test after `limit`, naming `claim`.
pub fn obtain<T>(claim: &str, limit: Duration, attempt: impl FnMut() -> Option<T>) -> T {
    obtain_or(claim, limit, attempt, String::new)
}

/// As [`obtain`]; a failure also says what `circumstances` gives, such as the end of a log.
pub fn obtain_or<T>(
    claim: &str,
    limit: Duration,
    mut attempt: impl FnMut() -> Option<T>,
    circumstances: impl FnOnce() -> String,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {claim}\n{}", circumstances());
        pause(LOOK_EVERY);
    }
}

/// Watches for the whole of `period` that `condition` holds. Fails the test the moment that it does not.
pub fn stays(claim: &str, period: Duration, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while start.elapsed() < period {
        assert!(condition(), "no longer true after {:?}: {claim}", start.elapsed());
        pause(LOOK_EVERY);
    }
    assert!(condition(), "no longer true after {:?}: {claim}", start.elapsed());
}

/// Lets `period` pass because the scenario says so ("for 30 s"), not to wait for anything.
pub fn lasts(period: Duration) {
    pause(period);
}

/// Prints how long something took, uncaptured.
pub fn report(what: &str, took: Duration) {
    let _ = writeln!(std::io::stderr(), "    {what}: {:.1} ms", took.as_secs_f64() * 1e3);
}

pub(crate) fn pause(period: Duration) {
    std::thread::sleep(period);
}
