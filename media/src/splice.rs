//! Where a stream is cut and goes on with other packets: each PID's break is announced, so that it is legal.
//!
//! ```text
//! seen PID --cut--> due --its next packet--> seen: a packet with `discontinuity_indicator` goes before it
//! ```
//!
//! The announcement is a packet of its own without payload, so that no packet of the stream is altered. Its counter is
//! the one that the packet behind it continues (ISO/IEC 13818-1 §2.4.3.3, §2.4.3.5).

use crate::packet::{NULL_PID, PACKET_BYTES, PID_COUNT, Packet, PacketBytes, SYNC_BYTE};

const WORDS: usize = PID_COUNT / 64;
/// Adaptation field length of a packet without payload (§2.4.3.5).
const ADAPTATION_BYTES: u8 = 183;
const DISCONTINUITY: u8 = 0x80;

/// Announces the breaks of one stream.
#[derive(Debug, Default)]
pub struct Splicer {
    seen: PidSet,
    due: PidSet,
}

/// Any of the 8192 PIDs.
#[derive(Debug, Clone)]
struct PidSet(Box<[u64; WORDS]>);

impl Splicer {
    /// At the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// The packets that come next do not continue those before, on any PID.
    pub fn cut(&mut self) {
        for (due, seen) in self.due.0.iter_mut().zip(self.seen.0.iter()) {
            *due |= seen;
        }
    }

    /// The same for one PID.
    pub fn cut_pid(&mut self, pid: u16) {
        if self.seen.contains(pid) {
            self.due.insert(pid);
        }
    }

    /// Takes the stream's next packet; the answer, if any, is to go before it.
    pub fn push(&mut self, packet: Packet<'_>) -> Option<PacketBytes> {
        let pid = packet.pid();
        if pid == NULL_PID {
            return None;
        }
        if !self.due.contains(pid) {
            self.seen.insert(pid);
            return None;
        }
        self.due.remove(pid);
        (!packet.discontinuity()).then(|| announcement(packet))
    }
}

impl Default for PidSet {
    fn default() -> Self {
        Self(Box::new([0; WORDS]))
    }
}

impl PidSet {
    fn contains(&self, pid: u16) -> bool {
        self.0.get(usize::from(pid / 64)).is_some_and(|word| word >> (pid % 64) & 1 != 0)
    }

    fn insert(&mut self, pid: u16) {
        if let Some(word) = self.0.get_mut(usize::from(pid / 64)) {
            *word |= 1 << (pid % 64);
        }
    }

    fn remove(&mut self, pid: u16) {
        if let Some(word) = self.0.get_mut(usize::from(pid / 64)) {
            *word &= !(1 << (pid % 64));
        }
    }
}

fn announcement(packet: Packet<'_>) -> PacketBytes {
    let counter = packet.continuity_counter().wrapping_sub(u8::from(packet.has_payload())) & 15;
    let [high, low] = packet.pid().to_be_bytes();
    let mut bytes = [0xff; PACKET_BYTES];
    bytes[..6].copy_from_slice(&[SYNC_BYTE, high, low, 0x20 | counter, ADAPTATION_BYTES, DISCONTINUITY]);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::continuity::ContinuityCheck;
    use crate::packet::tests::packet;

    fn push(splicer: &mut Splicer, out: &mut Vec<PacketBytes>, bytes: PacketBytes) {
        out.extend(splicer.push(Packet::parse(&bytes).unwrap()));
        out.push(bytes);
    }

    #[test]
    fn a_cut_is_announced_once_on_each_pid_that_was_there_and_no_packet_is_altered() {
        let (mut splicer, mut out) = (Splicer::new(), Vec::new());
        push(&mut splicer, &mut out, packet(0x100, 3, None, 1));
        splicer.cut();
        push(&mut splicer, &mut out, packet(0x101, 9, None, 2));
        push(&mut splicer, &mut out, packet(0x100, 0, None, 3));
        push(&mut splicer, &mut out, packet(0x100, 1, None, 4));
        let mut announced = [0xff; PACKET_BYTES];
        announced[..6].copy_from_slice(&[0x47, 0x01, 0x00, 0x2f, 183, 0x80]);
        assert_eq!(out.len(), 5);
        assert_eq!(out[2], announced);
        assert_eq!(out[3], packet(0x100, 0, None, 3));
    }

    #[test]
    fn one_pid_may_be_cut_alone_and_what_announces_itself_is_left_alone() {
        let (mut splicer, mut out) = (Splicer::new(), Vec::new());
        push(&mut splicer, &mut out, packet(0x100, 3, None, 1));
        push(&mut splicer, &mut out, packet(0x101, 3, None, 1));
        splicer.cut_pid(0x101);
        splicer.cut_pid(0x102);
        let mut itself = packet(0x101, 9, Some(5), 2);
        itself[5] |= 0x80;
        push(&mut splicer, &mut out, itself);
        push(&mut splicer, &mut out, packet(0x102, 9, None, 2));
        push(&mut splicer, &mut out, packet(0x100, 4, None, 2));
        assert_eq!(out.len(), 5);
    }

    proptest! {
        #[test]
        fn continuity_is_legal_wherever_streams_are_cut(
            pieces in proptest::collection::vec((proptest::collection::vec((0x20u16..0x24, any::<bool>()), 1..20), any::<u8>()), 1..12),
        ) {
            let (mut splicer, mut out, mut fill) = (Splicer::new(), Vec::new(), 0u8);
            for (piece, first) in pieces {
                splicer.cut();
                let mut counters = [first; 4];
                for (pid, payload) in piece {
                    let counter = &mut counters[usize::from(pid - 0x20)];
                    *counter = counter.wrapping_add(u8::from(payload));
                    fill = fill.wrapping_add(1);
                    let mut bytes = packet(pid, *counter & 15, None, fill);
                    if !payload {
                        bytes[3] = 0x20 | (*counter & 15);
                        bytes[4..6].copy_from_slice(&[183, 0]);
                    }
                    push(&mut splicer, &mut out, bytes);
                }
            }
            let mut check = ContinuityCheck::new();
            out.iter().for_each(|bytes| { check.push(Packet::parse(bytes).unwrap()); });
            prop_assert_eq!(check.errors(), 0);
        }
    }
}
