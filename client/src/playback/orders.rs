//! The orders of one session: one on its way at a time, repeated until it is answered, others waiting.

use std::collections::VecDeque;
use std::time::Duration;

use protocols::p4_control::{PLAY_KEEPALIVE, PLAY_RETRY, PlayOrder};
use protocols::time::Time;

/// A push server that leaves an order unanswered for this long is taken for dead.
pub const SERVER_TIMEOUT: Duration = Duration::from_millis(700);

/// An order to send now.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speak {
    /// Its sequence.
    pub sequence: u32,
    /// The order.
    pub order: PlayOrder,
}

/// The desk at which orders wait.
#[derive(Debug)]
pub struct OrderDesk {
    sequence: u32,
    out: Option<Out>,
    /// At most one of each sort.
    waiting: VecDeque<PlayOrder>,
    /// When the last answer came, or the session was begun.
    heard: Time,
    /// Of the last order that was answered at once.
    rtt: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Out {
    order: PlayOrder,
    first: Time,
    again: Time,
}

impl OrderDesk {
    /// A new session, which `play` begins.
    pub fn new(now: Time, play: PlayOrder) -> Self {
        Self { sequence: 0, out: None, waiting: VecDeque::from([play]), heard: now, rtt: None }
    }

    /// Sends `order` when those before it have been answered; one of the same sort that waits is replaced.
    pub fn put(&mut self, order: PlayOrder) {
        self.waiting.retain(|other| sort(other) != sort(&order));
        self.waiting.push_back(order);
    }

    /// What to send now.
    pub fn poll(&mut self, now: Time) -> Option<Speak> {
        if self.out.is_none() {
            let quiet = self.heard + PLAY_KEEPALIVE <= now;
            let order = self.waiting.pop_front().or(quiet.then_some(PlayOrder::Keepalive))?;
            self.sequence += 1;
            self.out = Some(Out { order, first: now, again: now });
        }
        let out = self.out.as_mut().filter(|out| out.again <= now)?;
        out.again = now + PLAY_RETRY;
        Some(Speak { sequence: self.sequence, order: out.order })
    }

    /// Says something soon: the stream has fallen silent.
    pub fn ask(&mut self, now: Time) {
        if self.out.is_none() && self.waiting.is_empty() {
            self.waiting.push_back(PlayOrder::Keepalive);
        }
        self.heard = self.heard.min(now);
    }

    /// An answer came; gives the order that it answers.
    pub fn answered(&mut self, now: Time, sequence: u32) -> Option<PlayOrder> {
        if sequence != self.sequence {
            return None;
        }
        self.heard = now;
        let out = self.out.take()?;
        // Of one that was repeated nobody knows which was answered.
        if out.again == out.first + PLAY_RETRY {
            self.rtt = Some(now.since(out.first));
        }
        Some(out.order)
    }

    /// The order on its way is sent again at once.
    pub fn again(&mut self, now: Time, order: PlayOrder) {
        self.out = Some(Out { order, first: now, again: now });
    }

    /// Round-trip time, as far as is known.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// Whether an order has been unanswered for too long.
    pub fn is_dead(&self, now: Time) -> bool {
        self.out.is_some_and(|out| out.first + SERVER_TIMEOUT <= now)
    }

    /// When to look again.
    pub fn deadline(&self) -> Time {
        match self.out {
            Some(out) => out.again.min(out.first + SERVER_TIMEOUT),
            None if self.waiting.is_empty() => self.heard + PLAY_KEEPALIVE,
            None => self.heard,
        }
    }
}

/// Orders of one sort replace each other.
fn sort(order: &PlayOrder) -> u8 {
    match order {
        PlayOrder::Play { .. } => 0,
        PlayOrder::Pause | PlayOrder::Resume => 1,
        PlayOrder::Seek { .. } | PlayOrder::Trick { .. } => 2,
        PlayOrder::Rate { .. } => 3,
        PlayOrder::Stop => 4,
        PlayOrder::Keepalive => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Time {
        Time::from_ms(ms)
    }

    #[test]
    fn one_order_is_on_its_way_and_repeated_until_it_is_answered() {
        let mut desk = OrderDesk::new(ms(0), PlayOrder::Pause);
        desk.put(PlayOrder::Rate { delta_p_ns: 1 });
        desk.put(PlayOrder::Rate { delta_p_ns: 2 });
        assert_eq!(desk.poll(ms(0)), Some(Speak { sequence: 1, order: PlayOrder::Pause }));
        assert_eq!((desk.poll(ms(199)), desk.deadline()), (None, ms(200)));
        assert_eq!(desk.poll(ms(200)), Some(Speak { sequence: 1, order: PlayOrder::Pause }));
        assert_eq!(desk.answered(ms(210), 0), None);
        assert_eq!(desk.answered(ms(210), 1), Some(PlayOrder::Pause));
        assert_eq!(desk.poll(ms(210)), Some(Speak { sequence: 2, order: PlayOrder::Rate { delta_p_ns: 2 } }));
        assert!(!desk.is_dead(ms(909)) && desk.is_dead(ms(910)));
    }

    #[test]
    fn who_has_nothing_to_say_says_so_each_second() {
        let mut desk = OrderDesk::new(ms(0), PlayOrder::Pause);
        let _ = desk.poll(ms(0));
        desk.answered(ms(100), 1);
        assert_eq!((desk.poll(ms(1_099)), desk.deadline()), (None, ms(1_100)));
        assert_eq!(desk.poll(ms(1_100)), Some(Speak { sequence: 2, order: PlayOrder::Keepalive }));
    }
}
