//! Many deadlines, at most one for each reason: the table that tells a machine when it must act next, and why.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Time;

/// At most one deadline per reason; setting it again replaces it. All operations are logarithmic.
#[derive(Debug, Clone)]
pub struct Timers<R> {
    by_time: BTreeSet<(Time, R)>,
    by_reason: BTreeMap<R, Time>,
}

impl<R: Ord + Clone> Default for Timers<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Ord + Clone> Timers<R> {
    /// An empty table.
    pub fn new() -> Self {
        Self { by_time: BTreeSet::new(), by_reason: BTreeMap::new() }
    }

    /// `reason` is due at `time`, whatever was said of it before.
    pub fn set(&mut self, reason: R, time: Time) {
        if let Some(old) = self.by_reason.insert(reason.clone(), time) {
            if old == time {
                return;
            }
            self.by_time.remove(&(old, reason.clone()));
        }
        self.by_time.insert((time, reason));
    }

    /// Brings `reason` forward to `time`; no effect when it is due earlier.
    pub fn set_earlier(&mut self, reason: R, time: Time) {
        if self.of(&reason).is_none_or(|due| due > time) {
            self.set(reason, time);
        }
    }

    /// `reason` is due no more.
    pub fn cancel(&mut self, reason: &R) {
        if let Some(time) = self.by_reason.remove(reason) {
            self.by_time.remove(&(time, reason.clone()));
        }
    }

    /// Takes out one reason that is due at `now`, the longest due first.
    pub fn pop(&mut self, now: Time) -> Option<R> {
        if self.by_time.first()?.0 > now {
            return None;
        }
        let (_, reason) = self.by_time.pop_first()?;
        self.by_reason.remove(&reason);
        Some(reason)
    }

    /// The earliest deadline and its reason.
    pub fn next(&self) -> Option<(Time, R)> {
        self.by_time.first().cloned()
    }

    /// When the earliest is due.
    pub fn due(&self) -> Option<Time> {
        self.by_time.first().map(|(time, _)| *time)
    }

    /// When `reason` is due.
    pub fn of(&self, reason: &R) -> Option<Time> {
        self.by_reason.get(reason).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_due_once_at_the_time_last_set() {
        let mut timers = Timers::new();
        timers.set("a", Time::from_ms(5));
        timers.set("b", Time::from_ms(3));
        timers.set("a", Time::from_ms(1));
        timers.set_earlier("a", Time::from_ms(2));
        assert_eq!(timers.next(), Some((Time::from_ms(1), "a")));
        assert_eq!(timers.pop(Time::from_ms(2)), Some("a"));
        assert_eq!(timers.pop(Time::from_ms(2)), None);
        timers.cancel(&"b");
        assert_eq!(timers.next(), None);
    }
}
