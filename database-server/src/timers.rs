//! Many deadlines, one for each key: the table from which every machine here reads when it must act next.

use std::collections::{BTreeMap, BTreeSet};

use protocols::time::Time;

/// At most one deadline per key; setting it again replaces it. All operations are logarithmic.
#[derive(Debug, Clone)]
pub(crate) struct Timers<K> {
    by_time: BTreeSet<(Time, K)>,
    by_key: BTreeMap<K, Time>,
}

impl<K: Ord> Default for Timers<K> {
    fn default() -> Self {
        Self { by_time: BTreeSet::new(), by_key: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Timers<K> {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// `key` is due at `time`, whatever was said of it before.
    pub(crate) fn set(&mut self, key: K, time: Time) {
        if let Some(old) = self.by_key.insert(key.clone(), time) {
            if old == time {
                return;
            }
            self.by_time.remove(&(old, key.clone()));
        }
        self.by_time.insert((time, key));
    }

    /// `key` is due no more.
    pub(crate) fn cancel(&mut self, key: &K) {
        if let Some(time) = self.by_key.remove(key) {
            self.by_time.remove(&(time, key.clone()));
        }
    }

    /// Takes out one key that is due at `now`, the longest due first.
    pub(crate) fn pop(&mut self, now: Time) -> Option<K> {
        if self.by_time.first()?.0 > now {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }

    /// Whether `key` is due at some time.
    pub(crate) fn is_set(&self, key: &K) -> bool {
        self.by_key.contains_key(key)
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Time> {
        self.by_time.first().map(|(time, _)| *time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_due_once_at_the_time_last_set() {
        let mut timers = Timers::new();
        timers.set("a", Time::from_ms(5));
        timers.set("b", Time::from_ms(3));
        timers.set("a", Time::from_ms(1));
        assert_eq!(timers.next(), Some(Time::from_ms(1)));
        assert_eq!(timers.pop(Time::from_ms(4)), Some("a"));
        assert_eq!(timers.pop(Time::from_ms(2)), None);
        timers.cancel(&"b");
        assert_eq!(timers.next(), None);
    }
}
