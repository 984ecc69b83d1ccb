//! What happens next: events in the order of their time, and of their posting where times are equal.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use protocols::time::Time;

/// Events that wait for their time. Same postings, same order: nothing here depends on addresses or hashing.
#[derive(Debug)]
pub struct Queue<E> {
    heap: BinaryHeap<Entry<E>>,
    posted: u64,
}

#[derive(Debug)]
struct Entry<E> {
    at: Time,
    number: u64,
    event: E,
}

impl<E> Queue<E> {
    /// An empty queue.
    pub fn new() -> Self {
        Self { heap: BinaryHeap::with_capacity(1024), posted: 0 }
    }

    /// Lets `event` happen at `at`, after all that were posted for the same moment before.
    pub fn post(&mut self, at: Time, event: E) {
        self.posted += 1;
        self.heap.push(Entry { at, number: self.posted, event });
    }

    /// Takes the next event when it is not later than `until`.
    pub fn next(&mut self, until: Time) -> Option<(Time, E)> {
        if self.heap.peek()?.at > until {
            return None;
        }
        self.heap.pop().map(|entry| (entry.at, entry.event))
    }

    /// Events that wait.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing will happen any more.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self::new()
    }
}

// The heap gives the greatest entry first, so the earliest has to be the greatest.
impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<E> Eq for Entry<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_the_order_of_posting() {
        let mut queue = Queue::new();
        for (ms, name) in [(5, 'b'), (3, 'a'), (5, 'c'), (9, 'd')] {
            queue.post(Time::from_ms(ms), name);
        }
        let order: String =
            std::iter::from_fn(|| queue.next(Time::from_ms(8))).map(|(_, name)| name).collect();
        assert_eq!(order, "abc");
        assert_eq!(queue.len(), 1);
    }
}
