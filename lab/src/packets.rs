//! MPEG-TS as bytes only: is what arrived what was sent, and how to damage it. Knows nothing of our own parsers on purpose.

use std::collections::BTreeMap;

/// Bytes of one transport stream packet.
pub const PACKET_BYTES: usize = 188;

/// Packets that must match in a row for a place in the stream to be recognised.
const RECOGNISED_BY: usize = 24;

/// How far ahead, in packets, a place is looked for after a gap.
const LOOK_AHEAD: usize = 20_000;

/// Packet identifier of null packets (ISO/IEC 13818-1 §2.4.3.3).
const NULL_PID: u16 = 0x1fff;

/// How `received` compares with what the source sent.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// Index in the sent stream of the first packet received.
    pub first: usize,
    /// Packets received that are the very ones sent, in order.
    pub same: usize,
    /// Packets sent between the first and the last received that did not arrive.
    pub missing: usize,
    /// Packets received that were not sent at that place: changed, repeated, or out of order.
    pub foreign: usize,
}

impl Comparison {
    /// Whether every packet is the one sent, in order, none missing.
    pub fn is_exact(&self) -> bool {
        self.missing == 0 && self.foreign == 0 && self.same > 0
    }
}

/// Compares streams by bytes: `received` may begin and end anywhere within `sent`. All foreign when it begins nowhere in it.
pub fn compare(sent: &[u8], received: &[u8]) -> Comparison {
    let sent: Vec<&[u8]> = sent.chunks(PACKET_BYTES).collect();
    let received: Vec<&[u8]> = received.chunks(PACKET_BYTES).collect();
    // Null packets are all alike: those at the beginning say nothing of where it is.
    let nulls = received.iter().take_while(|packet| pid(packet) == NULL_PID).count();
    let first = find(&sent, &received[nulls..]).map(|at| at.saturating_sub(nulls));
    let Some(first) = first.or_else(|| find(&sent, &received)) else {
        return Comparison { foreign: received.len(), ..Comparison::default() };
    };
    let mut comparison = Comparison { first, ..Comparison::default() };
    let (mut expected, mut at) = (first, 0);
    while at < received.len() {
        if sent.get(expected) == Some(&received[at]) {
            comparison.same += 1;
            expected += 1;
        } else {
            let ahead = sent.get(expected..).unwrap_or_default();
            let ahead = &ahead[..ahead.len().min(LOOK_AHEAD)];
            match find(ahead, &received[at..]) {
                Some(skipped) => {
                    comparison.missing += skipped;
                    expected += skipped;
                    continue;
                }
                None => comparison.foreign += 1,
            }
        }
        at += 1;
    }
    comparison
}

/// The part of `received` from the place on at which `sent` begins: for a viewer whose pictures began by unicast before there
/// was anything on the wire that a witness saw. All of it when that place is not in it.
pub fn since_beginning_of<'a>(sent: &[u8], received: &'a [u8]) -> &'a [u8] {
    let packets: Vec<&[u8]> = received.chunks(PACKET_BYTES).collect();
    let sent: Vec<&[u8]> = sent.chunks(PACKET_BYTES).take(RECOGNISED_BY).collect();
    &received[find(&packets, &sent).unwrap_or(0) * PACKET_BYTES..]
}

/// Where the beginning of `needle` is in `stack`. Null packets are all alike, hence several packets must match.
fn find(stack: &[&[u8]], needle: &[&[u8]]) -> Option<usize> {
    let beginning = &needle[..needle.len().min(RECOGNISED_BY)];
    if beginning.is_empty() {
        return None;
    }
    stack.windows(beginning.len()).position(|window| window == beginning)
}

/// The part of `stream` that a decoder can take without missing anything: its tables, then everything from the first random
/// access point on, and of each packet identifier nothing after the beginning of its last, perhaps unfinished, unit.
pub fn decodable(stream: &[u8]) -> Vec<u8> {
    let packets: Vec<&[u8]> = stream.chunks_exact(PACKET_BYTES).collect();
    let Some(start) = packets.iter().position(|packet| is_random_access_point(packet)) else {
        return Vec::new();
    };
    let last_unit: BTreeMap<u16, usize> = packets
        .iter()
        .enumerate()
        .filter(|(_, packet)| begins_unit(packet))
        .map(|(at, packet)| (pid(packet), at))
        .collect();
    let programme_map = packets.iter().find(|packet| pid(packet) == 0 && begins_unit(packet)).map(|table| {
        let at = 4 + 1 + usize::from(table[4]) + 8 + 2; // header, pointer, section header, programme number
        u16::from_be_bytes([table[at] & 0x1f, table[at + 1]])
    });
    let is_table = |packet: &[u8]| pid(packet) == 0 || Some(pid(packet)) == programme_map;
    let kept = packets.iter().enumerate().filter(|(at, packet)| {
        is_table(packet) || (*at >= start && last_unit.get(&pid(packet)).is_none_or(|last| at < last))
    });
    kept.flat_map(|(_, packet)| packet.iter().copied()).collect()
}

fn pid(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[1] & 0x1f, packet[2]])
}

fn begins_unit(packet: &[u8]) -> bool {
    packet[1] & 0x40 != 0
}

/// The start of a unit whose adaptation field says that decoding may begin here, in a stream that begins with video.
fn is_random_access_point(packet: &[u8]) -> bool {
    let has_adaptation = packet[3] & 0x20 != 0 && packet[4] > 0;
    // Audio units are all random access points; that of the video also carries the clock.
    let (random_access, clock) = (packet[5] & 0x40 != 0, packet[5] & 0x10 != 0);
    begins_unit(packet) && has_adaptation && random_access && clock
}

/// `stream` without the packet at `index`.
pub fn without(stream: &[u8], index: usize) -> Vec<u8> {
    let mut damaged = stream.to_vec();
    damaged.drain(index * PACKET_BYTES..(index + 1) * PACKET_BYTES);
    damaged
}

/// `stream` with the continuity counter of the packet at `index` changed.
pub fn with_wrong_counter(stream: &[u8], index: usize) -> Vec<u8> {
    let mut damaged = stream.to_vec();
    damaged[index * PACKET_BYTES + 3] ^= 0x05;
    damaged
}

/// Index of the `n`th packet (from 0) that carries payload of packet identifier `pid`.
pub fn nth_of_pid(stream: &[u8], pid: u16, n: usize) -> usize {
    let carries = |packet: &[u8]| self::pid(packet) == pid && packet[3] & 0x10 != 0;
    let found = stream.chunks(PACKET_BYTES).enumerate().filter(|(_, packet)| carries(packet)).nth(n);
    found.unwrap_or_else(|| panic!("fewer than {n} packets of {pid}")).0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(packets: u8) -> Vec<u8> {
        (0..packets).flat_map(|n| std::iter::repeat_n(n, PACKET_BYTES)).collect()
    }

    #[test]
    fn what_came_before_the_wire_carried_anything_is_passed_over_and_nothing_else() {
        let all = stream(200);
        let wire = &all[50 * PACKET_BYTES..];
        assert_eq!(compare(wire, &all).same, 0);
        assert!(compare(wire, since_beginning_of(wire, &all)).is_exact());
        let later = &all[70 * PACKET_BYTES..];
        assert_eq!(since_beginning_of(wire, later), later);
        let damaged = without(&all, 120);
        assert_eq!(compare(wire, since_beginning_of(wire, &damaged)).missing, 1);
    }

    #[test]
    fn a_part_of_the_stream_is_exact() {
        let sent = stream(200);
        let comparison = compare(&sent, &sent[50 * PACKET_BYTES..150 * PACKET_BYTES]);
        assert!(comparison.is_exact());
        assert_eq!((comparison.first, comparison.same), (50, 100));
    }

    #[test]
    fn a_part_that_begins_with_null_packets_is_found_where_it_was_and_not_at_earlier_ones() {
        let null = [&[0x47, 0x1f, 0xff, 0x10][..], &[0xff; 184]].concat();
        let nulls = null.repeat(40);
        let whole = stream(200);
        let (early, late) = whole.split_at(100 * PACKET_BYTES);
        let sent = [&nulls, early, &nulls, late].concat();
        let comparison = compare(&sent, &sent[150 * PACKET_BYTES..]);
        assert!(comparison.is_exact(), "{comparison:?}");
        assert_eq!(comparison.first, 150);
    }

    #[test]
    fn a_missing_packet_is_counted_once() {
        let sent = stream(200);
        assert_eq!(
            compare(&sent, &without(&sent, 100)),
            Comparison { same: 199, missing: 1, ..Default::default() }
        );
    }

    #[test]
    fn a_changed_packet_is_foreign_and_missing() {
        let sent = stream(200);
        let comparison = compare(&sent, &with_wrong_counter(&sent, 100));
        assert_eq!((comparison.same, comparison.missing, comparison.foreign), (199, 1, 1));
    }

    #[test]
    fn another_stream_is_foreign_throughout() {
        assert_eq!(compare(&stream(50), &stream(200)[100 * PACKET_BYTES..]).foreign, 100);
    }

    #[test]
    fn a_repeated_packet_is_foreign() {
        let sent = stream(200);
        let mut received = sent[..101 * PACKET_BYTES].to_vec();
        received.extend_from_slice(&sent[100 * PACKET_BYTES..]);
        let comparison = compare(&sent, &received);
        assert_eq!((comparison.same, comparison.missing, comparison.foreign), (200, 0, 1));
    }
}
