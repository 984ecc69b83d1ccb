//! One run of one test: its seed, how many inputs it takes, and the line that it prints.

use std::collections::BTreeMap;
use std::io::Write;

/// Inputs to each receiver.
const TRIALS: u64 = 1_000_000;

/// A run; prints its counts when it ends, and how to replay it when it fails.
pub(crate) struct Trial {
    name: &'static str,
    seed: u64,
    counts: BTreeMap<&'static str, u64>,
}

impl Trial {
    /// A run of test `name`, from `MASTHEAD_SEED` or a seed drawn at random.
    pub(crate) fn new(name: &'static str) -> Self {
        let seed = number("MASTHEAD_SEED").unwrap_or_else(|| fastrand::u64(..));
        Self { name, seed, counts: BTreeMap::new() }
    }

    /// A generator that gives the same numbers whenever the seed is the same.
    pub(crate) fn random(&self) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed)
    }

    /// Inputs to take: `MASTHEAD_TRIALS` or a million.
    pub(crate) fn inputs() -> u64 {
        number("MASTHEAD_TRIALS").unwrap_or(TRIALS)
    }

    /// One more of `what`.
    pub(crate) fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    /// `count` more of `what`.
    pub(crate) fn add(&mut self, what: &'static str, count: u64) {
        *self.counts.entry(what).or_default() += count;
    }

    /// Keeps the highest `value` of `what`.
    pub(crate) fn highest(&mut self, what: &'static str, value: i64) {
        let highest = self.counts.entry(what).or_default();
        *highest = (*highest).max(value.max(0).unsigned_abs());
    }

    /// How many of `what` so far.
    pub(crate) fn of(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or_default()
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        let outcome = if std::thread::panicking() { "FAILED with" } else { "with" };
        let counts: Vec<String> = self.counts.iter().map(|(what, count)| format!("{what} {count}")).collect();
        // Not by `println`, which the harness keeps to itself when all is well.
        let _ = writeln!(
            std::io::stdout().lock(),
            "{} {outcome} MASTHEAD_SEED={}: {}",
            self.name,
            self.seed,
            counts.join(", ")
        );
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
