//! The newest seconds of a channel: readers begin at its newest random access point and go on at their own pace; one that is
//! slower than the channel loses its place, and nobody else anything.
//!
//! ```text
//!   dropped │ chunk … chunk  ◄ reader that lags   point ▼  … chunk ◄ readers that keep up
//!           └──────────────────── TAPE_BYTES_MAX ─────────────────┘
//! ```

use std::collections::VecDeque;

use hyper::body::Bytes;
use media::random_access::RandomAccess;

use crate::gateway::line::{Placed, pat_at};

/// Bytes kept of one channel: 16 MiB, 27 s of 5 Mb/s. A reader that is further behind is disconnected.
pub const TAPE_BYTES_MAX: usize = 16 << 20;
/// Time kept beyond the newest random access point: 8 s. What is older goes although there is room for it.
pub const TAPE_SPAN_90K: u32 = 720_000;
/// What a reader is given at once, at most, where more waits.
pub const READ_BYTES_MAX: usize = 64 << 10;

/// A reader's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    chunk: u64,
    offset: usize,
}

/// What a reader gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// These bytes; there may be more.
    Bytes(Bytes),
    /// Nothing for the time being.
    Nothing,
    /// What comes next for it is gone: it was too slow.
    TooSlow,
}

/// The tape.
#[derive(Debug, Default)]
pub struct Tape {
    chunks: VecDeque<Chunk>,
    /// Number of the first chunk held.
    first: u64,
    bytes: usize,
    /// The newest random access point, and the tables before it where it has none of its own.
    point: Option<(Cursor, Bytes)>,
}

/// What came at once.
#[derive(Debug)]
struct Chunk {
    bytes: Bytes,
    timestamp_90k: u32,
    /// Number of each packet, and where it begins.
    packets: Vec<(u64, usize)>,
}

impl Tape {
    /// Takes what came at once, in order. `tables`: PAT and PMT as they came last.
    pub fn push(&mut self, packets: &[Placed<'_>], tables: &[u8]) {
        let Some(first) = packets.first() else { return };
        let mut bytes = Vec::with_capacity(packets.iter().map(|packet| packet.payload.len()).sum());
        let mut places = Vec::with_capacity(packets.len());
        for packet in packets {
            places.push((packet.place.number, bytes.len()));
            bytes.extend_from_slice(packet.payload);
        }
        self.bytes += bytes.len();
        let chunk =
            Chunk { bytes: Bytes::from(bytes), timestamp_90k: first.place.timestamp_90k, packets: places };
        self.chunks.push_back(chunk);
        for packet in packets {
            if !packet.continues {
                self.point = None;
            }
            if let Some(point) = packet.point {
                self.point = self.place(point, tables).or(self.point.take());
            }
        }
        self.trim();
    }

    /// Where a reader begins, and what it gets first; `None` while no random access point is known.
    pub fn begin(&self) -> Option<(Cursor, Bytes)> {
        self.point.clone()
    }

    /// Where a reader begins that takes whatever there is; `None` while there is nothing.
    pub fn begin_anywhere(&self) -> Option<Cursor> {
        (!self.chunks.is_empty()).then_some(Cursor { chunk: self.first, offset: 0 })
    }

    /// What is next for a reader; its place moves on.
    pub fn read(&self, cursor: &mut Cursor) -> Read {
        let Some(place) = cursor.chunk.checked_sub(self.first).and_then(|place| usize::try_from(place).ok())
        else {
            return Read::TooSlow;
        };
        let Some(chunk) = self.chunks.get(place) else { return Read::Nothing };
        let first = chunk.bytes.slice(cursor.offset.min(chunk.bytes.len())..);
        *cursor = Cursor { chunk: cursor.chunk + 1, offset: 0 };
        let follows = self.chunks.get(place + 1).is_some_and(|next| fits(first.len(), next));
        if !follows {
            return Read::Bytes(first);
        }
        // A reader that lags, or begins, takes many at once.
        let mut bytes = first.to_vec();
        for next in self.chunks.range(place + 1..) {
            if !fits(bytes.len(), next) {
                break;
            }
            bytes.extend_from_slice(&next.bytes);
            cursor.chunk += 1;
        }
        Read::Bytes(Bytes::from(bytes))
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn place(&self, point: RandomAccess, tables: &[u8]) -> Option<(Cursor, Bytes)> {
        // It is among the newest.
        let (back, chunk, offset) = self.chunks.iter().rev().enumerate().find_map(|(back, chunk)| {
            let found = chunk.packets.binary_search_by_key(&point.start, |(number, _)| *number).ok()?;
            Some((back, chunk, chunk.packets[found].1))
        })?;
        let number = self.first + (self.chunks.len() - 1 - back) as u64;
        let payload = &chunk.bytes[offset..];
        let (skipped, prefix) = match pat_at(payload.get(..PAYLOAD_SEARCH).unwrap_or(payload)) {
            Some(at) => (at, Bytes::new()),
            None => (0, Bytes::copy_from_slice(tables)),
        };
        Some((Cursor { chunk: number, offset: offset + skipped }, prefix))
    }

    /// Drops the oldest: all that is beyond the limit, and what is neither young nor needed by who begins.
    fn trim(&mut self) {
        let Some(newest_90k) = self.chunks.back().map(|chunk| chunk.timestamp_90k) else { return };
        while let Some(oldest) = self.chunks.front() {
            let is_old = newest_90k.wrapping_sub(oldest.timestamp_90k) > TAPE_SPAN_90K;
            let is_needed = self.point.as_ref().is_some_and(|(cursor, _)| cursor.chunk <= self.first);
            if self.bytes <= TAPE_BYTES_MAX && (!is_old || is_needed) {
                break;
            }
            if is_needed {
                self.point = None;
            }
            self.bytes -= oldest.bytes.len();
            self.chunks.pop_front();
            self.first += 1;
        }
    }
}

/// The PAT of a random access point is in the RTP packet where it begins.
const PAYLOAD_SEARCH: usize = media::rtp::PAYLOAD_BYTES_MAX;

fn fits(held: usize, next: &Chunk) -> bool {
    held + next.bytes.len() <= READ_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use media::packet::PACKET_BYTES;
    use media::random_access::Place;
    use media::rtp::PAYLOAD_BYTES_MAX;

    use super::*;
    use crate::gateway::line::Line;
    use crate::gateway::line::tests::testcard;

    fn recorded(count: usize) -> (Tape, Vec<u8>) {
        let (mut line, mut tape) = (Line::new(), Tape::default());
        let packets = testcard(count);
        for group in packets.chunks(3) {
            let placed: Vec<Placed<'_>> = group.iter().map(|packet| line.push(packet)).collect();
            tape.push(&placed, &line.tables());
        }
        (tape, packets.iter().flat_map(|packet| packet.payload().to_vec()).collect())
    }

    fn read_all(tape: &Tape, cursor: &mut Cursor) -> Vec<u8> {
        let mut all = Vec::new();
        while let Read::Bytes(bytes) = tape.read(cursor) {
            all.extend_from_slice(&bytes);
        }
        all
    }

    #[test]
    fn a_reader_begins_with_a_pat_at_the_newest_random_access_point_and_gets_all_from_there() {
        let (tape, stream) = recorded(3_000);
        let (mut cursor, prefix) = tape.begin().unwrap();
        let got = [prefix.to_vec(), read_all(&tape, &mut cursor)].concat();
        assert_eq!(pat_at(&got), Some(0));
        assert!(stream.ends_with(&got[prefix.len()..]), "what is there, without a gap, to its end");
        assert!(got.len() < stream.len() / 4, "the newest: {} of {}", got.len(), stream.len());
        assert_eq!(tape.read(&mut cursor), Read::Nothing);
    }

    fn plain(number: u64, timestamp_90k: u32, payload: &[u8]) -> Placed<'_> {
        Placed { place: Place { number, timestamp_90k }, continues: true, point: None, payload }
    }

    #[test]
    fn a_reader_that_lags_beyond_the_limit_is_too_slow_and_one_that_does_not_loses_nothing() {
        let payload = vec![0x47; PAYLOAD_BYTES_MAX];
        let mut tape = Tape::default();
        tape.push(&[plain(0, 0, &payload)], &[]);
        let (mut slow, mut quick) = (tape.begin_anywhere().unwrap(), tape.begin_anywhere().unwrap());
        let mut taken = 0;
        for number in 1..20_000 {
            tape.push(&[plain(number, 0, &payload)], &[]);
            taken += read_all(&tape, &mut quick).len();
            assert!(tape.bytes() <= TAPE_BYTES_MAX);
        }
        assert_eq!(taken, 20_000 * PAYLOAD_BYTES_MAX);
        assert_eq!(tape.read(&mut slow), Read::TooSlow);
    }

    #[test]
    fn what_is_old_goes_but_not_what_a_newcomer_needs() {
        let payload = vec![0x47; PACKET_BYTES];
        let mut tape = Tape::default();
        for number in 0..2_000_u32 {
            let mut placed = plain(u64::from(number), number * 9_000, &payload);
            if number == 1_900 {
                placed.point = Some(RandomAccess { start: 1_900, picture: 1_900 });
            }
            tape.push(&[placed], &[]);
        }
        let (mut cursor, _) = tape.begin().unwrap();
        assert_eq!(tape.bytes(), 100 * PACKET_BYTES, "10 s since the point, of which 8 are young");
        assert_eq!(read_all(&tape, &mut cursor).len(), 100 * PACKET_BYTES);
    }
}
