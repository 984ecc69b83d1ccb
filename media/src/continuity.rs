//! The continuity check: is every packet of a PID there, once, and in order (ISO/IEC 13818-1 §2.4.3.3).

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};

use crate::packet::{NULL_PID, Packet};

/// What a packet's continuity counter says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It continues its PID, begins it, or has no counter worth checking (null packets).
    Fine,
    /// The packet before, sent again: allowed once.
    Duplicate,
    /// The counter breaks, and `discontinuity_indicator` says so.
    Announced,
    /// Packets are missing, or out of order.
    Broken {
        /// The counter that would have continued.
        expected: u8,
        /// The counter found.
        found: u8,
    },
}

/// Checks all PIDs of one transport stream. At most 8191 entries: there are no more PIDs.
#[derive(Debug, Default)]
pub struct ContinuityCheck {
    pids: BTreeMap<u16, Last>,
    errors: u64,
    duplicates: u64,
    packets: u64,
}

#[derive(Debug)]
struct Last {
    counter: u8,
    payload_hash: u64,
    repeated: bool,
}

impl ContinuityCheck {
    /// A check that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next packet.
    pub fn push(&mut self, packet: Packet<'_>) -> Verdict {
        self.packets += 1;
        if packet.pid() == NULL_PID {
            return Verdict::Fine;
        }
        let found = packet.continuity_counter();
        let payload_hash = hash(packet.payload());
        let now = Last { counter: found, payload_hash, repeated: false };
        let Some(last) = self.pids.get_mut(&packet.pid()) else {
            self.pids.insert(packet.pid(), now);
            return Verdict::Fine;
        };
        let expected = (last.counter + u8::from(packet.has_payload())) & 15;
        // A duplicate has the same payload; fifteen lost packets give the same counter but hardly the same payload.
        let same = packet.has_payload() && found == last.counter && payload_hash == last.payload_hash;
        let verdict = match () {
            () if found == expected => Verdict::Fine,
            () if same && !last.repeated => Verdict::Duplicate,
            () if packet.discontinuity() => Verdict::Announced,
            () => Verdict::Broken { expected, found },
        };
        self.errors += u64::from(matches!(verdict, Verdict::Broken { .. }));
        self.duplicates += u64::from(verdict == Verdict::Duplicate);
        if packet.has_payload() {
            *last = Last { repeated: verdict == Verdict::Duplicate, ..now };
        } else {
            last.counter = found;
        }
        verdict
    }

    /// Breaks that nothing announced.
    pub fn errors(&self) -> u64 {
        self.errors
    }

    /// Packets sent twice.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Packets checked, null packets included.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Forgets where each PID was, as after a change of stream; counters stay.
    pub fn restart(&mut self) {
        self.pids.clear();
    }
}

fn hash(payload: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(payload);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::tests::packet;

    fn verdicts(packets: &[(u16, u8, u8)]) -> Vec<Verdict> {
        let mut check = ContinuityCheck::new();
        let one = |&(pid, counter, fill): &(u16, u8, u8)| {
            check.push(Packet::parse(&packet(pid, counter, None, fill)).unwrap())
        };
        packets.iter().map(one).collect()
    }

    #[test]
    fn counters_run_per_pid_and_wrap() {
        let verdicts =
            verdicts(&[(1, 15, 0), (2, 3, 0), (1, 0, 1), (2, 4, 1), (NULL_PID, 9, 0), (NULL_PID, 2, 0)]);
        assert_eq!(verdicts, [Verdict::Fine; 6]);
    }

    #[test]
    fn a_gap_is_one_error_and_the_count_goes_on_from_there() {
        let verdicts = verdicts(&[(1, 0, 0), (1, 2, 1), (1, 3, 2)]);
        assert_eq!(verdicts, [Verdict::Fine, Verdict::Broken { expected: 1, found: 2 }, Verdict::Fine]);
    }

    #[test]
    fn a_packet_may_come_twice_but_not_three_times() {
        let broken = Verdict::Broken { expected: 6, found: 5 };
        assert_eq!(verdicts(&[(1, 5, 7), (1, 5, 7), (1, 5, 7)])[1..], [Verdict::Duplicate, broken]);
        // The same counter with another payload is no copy.
        assert_eq!(verdicts(&[(1, 5, 7), (1, 5, 8)])[1], broken);
    }

    #[test]
    fn an_announced_break_and_a_packet_without_payload_are_no_errors() {
        let mut check = ContinuityCheck::new();
        check.push(Packet::parse(&packet(1, 0, None, 0)).unwrap());
        let mut bare = packet(1, 0, Some(5), 0);
        bare[3] &= !0x10;
        assert_eq!(check.push(Packet::parse(&bare).unwrap()), Verdict::Fine);
        let mut announced = packet(1, 9, Some(5), 0);
        announced[5] |= 0x80;
        assert_eq!(check.push(Packet::parse(&announced).unwrap()), Verdict::Announced);
        assert_eq!(check.errors(), 0);
    }
}
