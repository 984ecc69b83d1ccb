//! A recording's bytes by HTTP: byte n stands for the time n / rate (docs/decisions/0012). A response has exactly the length that was
//! promised: null packets fill it, and keep bytes and time together on the way.
//!
//! ```text
//! asked for byte n ─► time n / rate ─► the random access point before it ─► packets, nulls between them ─► … to the promised end
//! ```

use std::collections::VecDeque;

use media::packet::{NULL_PACKET, PACKET_BYTES, Packet};
use media::time::{PCR_MODULUS, TICKS_PER_SECOND};
use protocols::p2_directory::PlayTarget;
use protocols::recording::Span;
use protocols::time::ClusterTime;

/// A recording whose rate nobody knows is taken for one of 5 Mb/s.
const RATE_GUESS_BYTES_PER_S: u64 = 625_000;
/// A clock that leaps by more than this, or runs backwards, is begun with anew: 5 s.
const LEAP_TICKS: u64 = 5 * TICKS_PER_SECOND;
/// Null packets put in at once, at most: a hole in the recording does not become minutes of nothing.
const FILL_PACKETS_MAX: u64 = 4_096;
/// Files of which the rate is remembered; beyond that the oldest is forgotten, and told anew when it is asked for.
const RATES_MAX: usize = 256;

/// How bytes stand for time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    span: Span,
    rate_bytes_per_s: u64,
}

impl Scale {
    /// Of a recording of this mean rate; 0: unknown.
    pub fn new(span: Span, mean_bytes_per_s: u64) -> Self {
        let mean = if mean_bytes_per_s == 0 { RATE_GUESS_BYTES_PER_S } else { mean_bytes_per_s };
        // A little room, lest the end does not fit where the rate is above its mean for long.
        let roomy = mean + mean / 20;
        let packet = PACKET_BYTES as u64;
        Self { span, rate_bytes_per_s: roomy.div_ceil(packet) * packet }
    }

    /// Bytes of all of it: whole packets.
    pub fn len(&self) -> u64 {
        let ms = self.span.to.0.saturating_sub(self.span.from.0);
        let packet = PACKET_BYTES as u64;
        (ms.saturating_mul(self.rate_bytes_per_s) / 1_000).div_ceil(packet) * packet
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a byte stands for.
    pub fn time(&self, byte: u64) -> ClusterTime {
        let ms = u128::from(byte) * 1_000 / u128::from(self.rate_bytes_per_s.max(1));
        ClusterTime(
            self.span.from.0.saturating_add(u64::try_from(ms).unwrap_or(u64::MAX)).min(self.span.to.0),
        )
    }

    /// What fills a response from `first` to `last`, both included.
    pub fn filler(&self, first: u64, last: u64) -> Filler {
        Filler {
            rate_bytes_per_s: self.rate_bytes_per_s,
            at: first,
            end: last.saturating_add(1),
            clock: None,
        }
    }
}

/// The rates that files were told with first. What is held of a stretch is reported bit by bit, and its mean rate changes with that, from
/// an unknown one on; but a player asks for a file by parts, and its bytes must not stand for other times with each.
#[derive(Debug, Default)]
pub struct Rates {
    told: VecDeque<(PlayTarget, u64)>,
}

impl Rates {
    /// The rate of a file that does not grow, `told` where it was not asked for before.
    pub fn first_told(&mut self, target: PlayTarget, told: u64) -> u64 {
        if let Some((_, known)) = self.told.iter().find(|(known, _)| *known == target) {
            return *known;
        }
        if self.told.len() == RATES_MAX {
            self.told.pop_front();
        }
        self.told.push_back((target, told));
        told
    }
}

/// Makes a response of a recording's packets.
#[derive(Debug)]
pub struct Filler {
    rate_bytes_per_s: u64,
    at: u64,
    end: u64,
    clock: Option<Clock>,
}

#[derive(Debug, Clone, Copy)]
struct Clock {
    pid: u16,
    /// A clock reference, and the byte that it belongs to.
    first: (u64, u64),
    last: u64,
}

impl Filler {
    /// The next bytes of the response for the next transport packets.
    pub fn push(&mut self, packets: &[u8]) -> Vec<u8> {
        let mut out = self.align();
        for bytes in packets.as_chunks::<PACKET_BYTES>().0 {
            let nulls = Packet::parse(bytes).ok().map_or(0, |packet| self.nulls_before(packet));
            for _ in 0..nulls {
                self.put(&NULL_PACKET, &mut out);
            }
            self.put(bytes, &mut out);
        }
        out
    }

    /// Null packets, at most `bytes_max` of them, where the recording has ended before the response; empty at its end.
    pub fn finish(&mut self, bytes_max: usize) -> Vec<u8> {
        let mut out = self.align();
        while out.len() < bytes_max && !self.is_full() {
            self.put(&NULL_PACKET, &mut out);
        }
        out
    }

    /// Whether the response has its length.
    pub fn is_full(&self) -> bool {
        self.at >= self.end
    }

    /// A response that begins within a packet begins with the rest of a null packet.
    fn align(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let within = usize::try_from(self.at % PACKET_BYTES as u64).unwrap_or(0);
        if within > 0 {
            self.put(&NULL_PACKET[within..], &mut out);
        }
        out
    }

    fn put(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let room = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let fits = bytes.get(..room).unwrap_or(bytes);
        out.extend_from_slice(fits);
        self.at += fits.len() as u64;
    }

    /// So many null packets keep a packet from coming before its byte.
    fn nulls_before(&mut self, packet: Packet<'_>) -> u64 {
        let Some(pcr) = packet.pcr() else { return 0 };
        let at = self.at;
        let clock = self.clock.get_or_insert(Clock { pid: packet.pid(), first: (pcr, at), last: pcr });
        if clock.pid != packet.pid() {
            return 0;
        }
        let step = (pcr + PCR_MODULUS - clock.last) % PCR_MODULUS;
        clock.last = pcr;
        if step > LEAP_TICKS {
            clock.first = (pcr, at);
            return 0;
        }
        let (first, byte) = clock.first;
        let ticks = (pcr + PCR_MODULUS - first) % PCR_MODULUS;
        let due = byte
            + u64::try_from(
                u128::from(ticks) * u128::from(self.rate_bytes_per_s) / u128::from(TICKS_PER_SECOND),
            )
            .unwrap_or(0);
        (due.saturating_sub(at) / PACKET_BYTES as u64).min(FILL_PACKETS_MAX)
    }
}

/// What part of a file a request wants (RFC 9110 §14.1.2), of `len` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// All of it.
    All,
    /// From the one to the other, both included.
    Part(u64, u64),
    /// Nothing that is there.
    Nothing,
}

/// Reads a `Range`; one that makes no sense, or has several parts, is as if it was not there (§14.2).
pub fn wanted(range: Option<&str>, len: u64) -> Wanted {
    let parts =
        range.and_then(|range| range.trim().strip_prefix("bytes=")).and_then(|range| range.split_once('-'));
    let Some((first, last)) = parts else { return Wanted::All };
    let end = len.saturating_sub(1);
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first > last => Wanted::All,
        (Ok(first), _) if first >= len => Wanted::Nothing,
        (Ok(first), Ok(last)) => Wanted::Part(first, last.min(end)),
        (Ok(first), Err(_)) if last.is_empty() => Wanted::Part(first, end),
        (Err(_), Ok(0)) if first.is_empty() => Wanted::Nothing,
        (Err(_), Ok(count)) if first.is_empty() && len > 0 => Wanted::Part(len.saturating_sub(count), end),
        _ => Wanted::All,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocols::recording::RecordingId;

    use super::*;
    use crate::gateway::line::tests::testcard;

    fn scale(ms: u64, rate: u64) -> Scale {
        Scale::new(Span { from: ClusterTime(1_000_000), to: ClusterTime(1_000_000 + ms) }, rate)
    }

    #[test]
    fn bytes_stand_for_time() {
        let scale = scale(60_000, 100_000);
        assert_eq!((scale.len() % 188, scale.time(0)), (0, ClusterTime(1_000_000)));
        let half = scale.time(scale.len() / 2).0;
        assert!((1_029_990..=1_030_010).contains(&half), "{half}");
        assert_eq!(scale.time(u64::MAX), ClusterTime(1_060_000));
    }

    #[test]
    fn a_file_keeps_the_rate_that_it_was_told_with_first() {
        let target = |id| PlayTarget::Programme(RecordingId(id));
        let mut rates = Rates::default();
        assert_eq!([0, 7, 8].map(|told| rates.first_told(target(1), told)), [0; 3]);
        assert_eq!(rates.first_told(target(2), 7), 7);
        for id in (0..).take(RATES_MAX) {
            let _ = rates.first_told(target(100 + id), 9);
        }
        assert_eq!((rates.told.len(), rates.first_told(target(1), 8)), (RATES_MAX, 8));
    }

    #[test]
    fn packets_are_kept_in_order_and_at_their_bytes() {
        let card: Vec<u8> = testcard(800).iter().flat_map(|packet| packet.payload().to_vec()).collect();
        // 600 transport packets a second.
        let scale = scale(20_000, 600 * 188);
        let mut filler = scale.filler(0, scale.len() - 1);
        let out: Vec<u8> = card.chunks(188 * 50).flat_map(|piece| filler.push(piece)).collect();
        let packets = |bytes: &[u8]| {
            bytes
                .as_chunks::<188>()
                .0
                .iter()
                .filter(|it| **it != NULL_PACKET)
                .flatten()
                .copied()
                .collect::<Vec<u8>>()
        };
        assert!(packets(&out) == packets(&card), "nothing is lost");
        let lasts_s = 800.0 * 7.0 / 600.0;
        #[expect(clippy::cast_precision_loss, reason = "numbers of a short test")]
        let stands_for_s =
            scale.time(out.len() as u64).since(ClusterTime(1_000_000)).as_millis() as f64 / 1e3;
        assert!((stands_for_s - lasts_s).abs() < 0.1, "{stands_for_s} {lasts_s}");
    }

    #[test]
    fn ranges_mean_what_the_standard_says() {
        for (range, expected) in [
            ("bytes=0-", Wanted::Part(0, 99)),
            ("bytes=10-19", Wanted::Part(10, 19)),
            ("bytes=90-500", Wanted::Part(90, 99)),
            ("bytes=-10", Wanted::Part(90, 99)),
            ("bytes=-500", Wanted::Part(0, 99)),
            ("bytes=100-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=5-4", Wanted::All),
            ("bytes=0-1,5-6", Wanted::All),
            ("items=0-1", Wanted::All),
        ] {
            assert_eq!(wanted(Some(range), 100), expected, "{range}");
        }
        assert_eq!(wanted(None, 100), Wanted::All);
    }

    proptest! {
        /// Whatever is asked for and whatever comes, the length is the one that was promised.
        #[test]
        fn a_response_has_its_length(first in 0_u64..200_000, count in 1_u64..200_000, pieces in 0_usize..200) {
            let scale = scale(60_000, 50_000);
            let mut filler = scale.filler(first, first + count - 1);
            let mut len = 0;
            for packet in testcard(pieces) {
                len += filler.push(packet.payload()).len();
            }
            while !filler.is_full() {
                len += filler.finish(10_000).len();
            }
            prop_assert_eq!(len as u64, count);
        }
    }
}
