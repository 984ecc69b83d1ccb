//! What is to be done when: at most one time for each reason.

use std::collections::{BTreeMap, BTreeSet};

use protocols::time::Time;

/// A table of deadlines, each with the reason that it was asked for.
#[derive(Debug)]
pub(crate) struct Timers<R> {
    by_time: BTreeSet<(Time, R)>,
    by_reason: BTreeMap<R, Time>,
}

impl<R: Ord + Clone> Timers<R> {
    /// An empty table.
    pub(crate) fn new() -> Self {
        Self { by_time: BTreeSet::new(), by_reason: BTreeMap::new() }
    }

    /// Asks for `reason` at `at`, and no longer at any other time.
    pub(crate) fn set(&mut self, reason: R, at: Time) {
        self.clear(&reason);
        self.by_reason.insert(reason.clone(), at);
        self.by_time.insert((at, reason));
    }

    /// Brings `reason` forward to `at`; no effect when it is due earlier.
    pub(crate) fn set_earlier(&mut self, reason: R, at: Time) {
        if self.by_reason.get(&reason).is_none_or(|&due| due > at) {
            self.set(reason, at);
        }
    }

    /// Forgets `reason`.
    pub(crate) fn clear(&mut self, reason: &R) {
        if let Some(at) = self.by_reason.remove(reason) {
            self.by_time.remove(&(at, reason.clone()));
        }
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<(Time, R)> {
        self.by_time.first().cloned()
    }

    /// Takes the earliest deadline out when it is not later than `now`.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<R> {
        if self.by_time.first()?.0 > now {
            return None;
        }
        let (_, reason) = self.by_time.pop_first()?;
        self.by_reason.remove(&reason);
        Some(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_one_time_and_comes_out_once() {
        let mut timers = Timers::new();
        timers.set('a', Time::from_ms(5));
        timers.set('b', Time::from_ms(4));
        timers.set('a', Time::from_ms(3));
        assert_eq!(timers.next(), Some((Time::from_ms(3), 'a')));
        assert_eq!(timers.pop_due(Time::from_ms(2)), None);
        assert_eq!(timers.pop_due(Time::from_ms(9)), Some('a'));
        timers.clear(&'b');
        assert_eq!(timers.pop_due(Time::from_ms(9)), None);
    }
}
