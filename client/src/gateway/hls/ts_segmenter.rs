//! Cuts a channel's transport stream into segments, each of which begins with PAT and PMT at a random access point (RFC 8216 §3.2).

use hyper::body::Bytes;

use super::window::{Opening, Part, Window};
use super::{FORCED_MIN_90K, SEGMENT_MAX_90K, SEGMENT_MIN_90K};
use crate::gateway::line::{Placed, pat_at};

/// The segmenter.
#[derive(Debug)]
pub struct TsSegmenter {
    window: Window,
    current: Option<Current>,
    /// The next segment does not continue the last.
    is_broken: bool,
}

/// The segment that is being made.
#[derive(Debug)]
struct Current {
    bytes: Vec<u8>,
    begin_90k: u32,
    /// It begins at no random access point.
    is_forced: bool,
    /// Number and time of each packet, and where it begins.
    packets: Vec<(u64, u32, usize)>,
}

impl Current {
    fn since_90k(&self, timestamp_90k: u32) -> u64 {
        u64::from(timestamp_90k.wrapping_sub(self.begin_90k))
    }
}

impl TsSegmenter {
    /// One whose first segment has the number `first`.
    pub fn new(first: u64) -> Self {
        Self { window: Window::new(first), current: None, is_broken: true }
    }

    /// What has been made.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Takes the next packet. `tables`: PAT and PMT as they came last; `now_ms`: the wall clock.
    pub fn push(&mut self, packet: &Placed<'_>, tables: &[u8], now_ms: u64) {
        if !packet.continues {
            self.finish(None, now_ms);
            self.is_broken = true;
        }
        let timestamp_90k = packet.place.timestamp_90k;
        match &mut self.current {
            Some(current) => {
                current.packets.push((packet.place.number, timestamp_90k, current.bytes.len()));
                current.bytes.extend_from_slice(packet.payload);
            }
            // A point that began earlier than the packet by which it was known cannot be begun with any more.
            None if packet.point.is_some_and(|point| point.start == packet.place.number) => {
                self.begin(packet.place.number, timestamp_90k, packet.payload, tables);
                return;
            }
            None => return,
        }
        if let Some(point) = packet.point {
            self.cut_at(point.start, tables, now_ms);
        }
        let is_overlong = |current: &Current| current.since_90k(timestamp_90k) >= SEGMENT_MAX_90K;
        if self.current.as_ref().is_some_and(is_overlong) {
            self.finish(Some(timestamp_90k), now_ms);
            let current = Current {
                bytes: tables.to_vec(),
                begin_90k: timestamp_90k,
                is_forced: true,
                packets: Vec::new(),
            };
            self.current = Some(current);
        }
    }

    /// Cuts before the packet with this number, where the segment is long enough.
    fn cut_at(&mut self, number: u64, tables: &[u8], now_ms: u64) {
        let Some(current) = &mut self.current else { return };
        let Ok(place) = current.packets.binary_search_by_key(&number, |(number, ..)| *number) else { return };
        let (_, timestamp_90k, at) = current.packets[place];
        let min_90k = if current.is_forced { FORCED_MIN_90K } else { SEGMENT_MIN_90K };
        if current.since_90k(timestamp_90k) < min_90k {
            return;
        }
        // What stands before the PAT in the packet belongs to the pictures before.
        let cut = at + pat_at(&current.bytes[at..]).unwrap_or(0);
        let rest = current.bytes.split_off(cut.min(current.bytes.len()));
        let moved: Vec<(u64, u32, usize)> = current.packets.split_off(place);
        self.finish(Some(timestamp_90k), now_ms);
        self.begin(number, timestamp_90k, &rest, tables);
        if let Some(current) = &mut self.current {
            let offset = current.bytes.len() - rest.len();
            current.packets = moved
                .into_iter()
                .map(|(number, timestamp_90k, at)| (number, timestamp_90k, at.saturating_sub(cut) + offset))
                .collect();
        }
    }

    fn begin(&mut self, number: u64, begin_90k: u32, payload: &[u8], tables: &[u8]) {
        let (skipped, mut bytes) = match pat_at(payload) {
            Some(at) => (at, Vec::new()),
            None => (0, tables.to_vec()),
        };
        bytes.extend_from_slice(&payload[skipped..]);
        let packets = vec![(number, begin_90k, 0)];
        self.current = Some(Current { bytes, begin_90k, is_forced: false, packets });
    }

    /// Completes the segment that is being made; it ends with `end_90k`, or with its last packet.
    fn finish(&mut self, end_90k: Option<u32>, now_ms: u64) {
        let Some(current) = self.current.take() else { return };
        let end_90k = end_90k.or_else(|| current.packets.last().map(|(_, timestamp_90k, _)| *timestamp_90k));
        let duration_90k = end_90k.map_or(0, |end_90k| current.since_90k(end_90k));
        if duration_90k == 0 {
            return;
        }
        let is_discontinuous = std::mem::take(&mut self.is_broken);
        self.window.open(Opening {
            now_ms: now_ms.saturating_sub(duration_90k / 90),
            is_discontinuous,
            init: None,
        });
        let bytes = Bytes::from(current.bytes);
        self.window.push(Part { bytes, duration_90k, is_independent: !current.is_forced });
        self.window.close();
    }
}

#[cfg(test)]
mod tests {
    use media::packet::{PACKET_BYTES, Packet};
    use media::rtp::RtpHeader;
    use media::{RtpPacket, psi::PAT_PID};

    use super::*;
    use crate::gateway::line::Line;
    use crate::gateway::line::tests::testcard;

    fn segmented(packets: &[RtpPacket]) -> TsSegmenter {
        let (mut line, mut segmenter) = (Line::new(), TsSegmenter::new(10));
        for packet in packets {
            let placed = line.push(packet);
            segmenter.push(&placed, &line.tables(), 1_000_000);
        }
        segmenter
    }

    #[test]
    fn segments_begin_with_a_pat_follow_each_other_and_leave_nothing_out() {
        let packets = testcard(9_000);
        let segmenter = segmented(&packets);
        let segments: Vec<_> = segmenter.window().listed().collect();
        assert!(segments.len() >= 6, "{}", segments.len());
        let mut joined = Vec::new();
        for segment in &segments {
            let bytes = segment.bytes();
            let first = Packet::from_slice(&bytes[..PACKET_BYTES]).unwrap();
            assert_eq!((first.pid(), first.payload_unit_start()), (PAT_PID, true));
            assert!(
                (SEGMENT_MIN_90K..=SEGMENT_MAX_90K).contains(&segment.duration_90k()),
                "{}",
                segment.duration_90k()
            );
            assert!(segment.parts[0].is_independent && !segment.is_discontinuous);
            joined.extend_from_slice(&bytes);
        }
        let stream: Vec<u8> = packets.iter().flat_map(|packet| packet.payload().to_vec()).collect();
        let at = stream
            .windows(4 * PACKET_BYTES)
            .step_by(PACKET_BYTES)
            .position(|run| run == &joined[..4 * PACKET_BYTES]);
        assert!(stream[at.unwrap() * PACKET_BYTES..].starts_with(&joined), "not a byte more or less");
    }

    #[test]
    fn another_source_begins_a_segment_that_is_said_to_be_discontinuous() {
        let mut packets = testcard(1_000);
        let again = testcard(1_000).into_iter().map(|packet| {
            let header = RtpHeader { ssrc: 9, ..packet.header() };
            RtpPacket::new(&header, packet.payload()).unwrap()
        });
        packets.extend(again);
        let segmenter = segmented(&packets);
        let discontinuous = segmenter.window().listed().filter(|segment| segment.is_discontinuous).count();
        assert_eq!(discontinuous, 1);
    }

    #[test]
    fn without_random_access_points_segments_are_cut_all_the_same() {
        let mut line = Line::new();
        let mut segmenter = TsSegmenter::new(0);
        for (place, packet) in testcard(12_000).iter().enumerate() {
            let mut placed = line.push(packet);
            placed.point = placed.point.filter(|_| place < 1_000);
            segmenter.push(&placed, &line.tables(), 0);
        }
        let segments: Vec<_> = segmenter.window().listed().collect();
        assert!(segments.len() > 3);
        assert!(
            segments
                .iter()
                .all(|segment| (segment.duration_90k() + 45_000) / 90_000 <= super::super::TARGET_DURATION_S)
        );
        assert!(segments.iter().all(|segment| pat_at(&segment.bytes()) == Some(0)));
    }
}
