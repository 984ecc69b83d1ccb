//! A transport stream of constant rate, endless and real: the test card's pictures and sound, or a film's, stuffed up to the
//! rate.
//!
//! Every packet has a number. A null packet carries its own, so that whoever finds one later, wherever it has been carried,
//! knows when it was made. PCRs are those of the packets' own places: at a receiver without jitter they are exact. There are
//! more of them than the test card has, in packets of their own (§2.4.3.5), at a distance that shares no factor with anybody's
//! window.

use std::borrow::Cow;
use std::collections::VecDeque;

use media::Packet;
use media::looper::Looper;
use media::packet::{
    NULL_PACKET, NULL_PID, PACKET_BYTES, PacketBytes, payload_mut, set_continuity_counter, set_pcr,
    strip_payload,
};
use media::pcr::PcrClock;
use media::time::{PCR_MODULUS, TICKS_PER_SECOND};

/// Transport stream packets in one datagram.
pub const PACKETS: usize = 7;
/// Bytes of transport stream in one datagram.
pub const DATAGRAM_BYTES: usize = PACKETS * PACKET_BYTES;

const CLIP: &[u8] = include_bytes!("../../acquisition/testcard/clip.ts");
/// From one PCR of our own to the next, at 5 Mb/s 17.7 ms; TR 101 290 §5.2.2 wants 40 ms at most.
const PCR_EVERY: u64 = 59;
/// Place of the adaptation field's flags (§2.4.3.4), and these saying that there is a PCR and nothing else.
const FLAGS: usize = 5;
const PCR_ALONE: u8 = 0x10;
const PACKET_BITS: u64 = PACKET_BYTES as u64 * 8;

/// The stream, from its first packet on.
#[derive(Debug)]
pub struct Cbr {
    rate_bps: u64,
    clip: Looper<Cow<'static, [u8]>>,
    clock: PcrClock,
    /// Packets of the clip that wait for their place, with their times in ticks of 27 MHz since the clip's first.
    waiting: VecDeque<(u64, PacketBytes)>,
    first: Option<Base>,
    /// A packet with nothing but a PCR, once the clip has shown one.
    bare: Option<PacketBytes>,
    pcr_due: u64,
    number: u64,
}

/// Where the stream's time begins.
#[derive(Debug, Clone, Copy)]
struct Base {
    /// On the clock's timeline.
    ticks: u64,
    /// The PCR there.
    pcr: u64,
}

impl Cbr {
    /// The test card at `rate_bps`, at least its own 0.9 Mb/s or it falls behind.
    pub fn new(rate_bps: u64) -> Self {
        Self::playing(Cow::Borrowed(CLIP), rate_bps)
    }

    /// Another `clip` of one programme, at least at its own rate.
    ///
    /// # Panics
    /// When it is no transport stream that can be looped.
    pub fn playing(clip: Cow<'static, [u8]>, rate_bps: u64) -> Self {
        let clip = Looper::new(clip).expect("a clip with pictures and PCRs");
        Self {
            rate_bps,
            clip,
            clock: PcrClock::automatic(),
            waiting: VecDeque::new(),
            first: None,
            bare: None,
            pcr_due: PCR_EVERY,
            number: 0,
        }
    }

    /// The next seven packets.
    pub fn datagram(&mut self) -> [u8; DATAGRAM_BYTES] {
        let mut bytes = [0; DATAGRAM_BYTES];
        for place in bytes.as_chunks_mut::<PACKET_BYTES>().0 {
            *place = self.packet();
        }
        bytes
    }

    /// Ticks of 27 MHz from the first packet to the `number`-th.
    pub fn ticks_of(&self, number: u64) -> u64 {
        number * PACKET_BITS * TICKS_PER_SECOND / self.rate_bps
    }

    fn packet(&mut self) -> PacketBytes {
        while self.waiting.is_empty() {
            self.take_from_clip();
        }
        let (number, here) = (self.number, self.ticks_of(self.number));
        self.number += 1;
        let pcr = (self.first.map_or(0, |base| base.pcr) + here) % PCR_MODULUS;
        if self.waiting.front().is_some_and(|(due, _)| *due <= here) {
            let (_, mut packet) = self.waiting.pop_front().expect("it was just seen");
            if set_pcr(&mut packet, pcr) {
                self.bare = Some(packet);
            }
            self.keep_count(&packet);
            packet
        } else if let Some(mut packet) = self.bare.filter(|_| number >= self.pcr_due) {
            self.pcr_due = number + PCR_EVERY;
            strip_payload(&mut packet);
            packet[FLAGS] = PCR_ALONE;
            set_pcr(&mut packet, pcr);
            packet
        } else {
            null_packet(number)
        }
    }

    /// A packet without payload has the continuity counter of the one before it on its PID (§2.4.3.3).
    fn keep_count(&mut self, packet: &PacketBytes) {
        let Ok(packet) = Packet::parse(packet) else { return };
        if self.clock.pid() == Some(packet.pid())
            && let Some(bare) = &mut self.bare
        {
            set_continuity_counter(bare, packet.continuity_counter());
        }
    }

    fn take_from_clip(&mut self) {
        let packet = self.clip.next_packet();
        let Ok(view) = Packet::parse(&packet) else { return };
        // Stuffing is made anew. Before the first PCR there is no time: tables, which come again.
        let Some(stamp) = self.clock.stamp(view) else { return };
        let ticks = stamp.time.ticks();
        if view.pid() == NULL_PID {
            return;
        }
        let base = *self.first.get_or_insert(Base { ticks, pcr: view.pcr().unwrap_or(0) });
        self.waiting.push_back((ticks - base.ticks, packet));
    }
}

fn null_packet(number: u64) -> PacketBytes {
    let mut packet = NULL_PACKET;
    payload_mut(&mut packet)[..8].copy_from_slice(&number.to_be_bytes());
    packet
}

/// The last numbered packet in `transport` (whole packets): its place there and its number.
pub fn numbered(transport: &[u8]) -> Option<(usize, u64)> {
    let packets = transport.as_chunks::<PACKET_BYTES>().0;
    packets.iter().enumerate().rev().find_map(|(place, bytes)| {
        let packet = Packet::parse(bytes).ok().filter(|packet| packet.pid() == NULL_PID)?;
        let number = u64::from_be_bytes(*packet.payload().first_chunk()?);
        // Stuffing of others is all ones.
        (number != u64::MAX).then_some((place, number))
    })
}

/// The first PCR in `transport`: the packet's place there and the value, in ticks of 27 MHz.
pub fn first_pcr(transport: &[u8]) -> Option<(usize, u64)> {
    let packets = transport.as_chunks::<PACKET_BYTES>().0;
    packets.iter().enumerate().find_map(|(place, bytes)| Some((place, Packet::parse(bytes).ok()?.pcr()?)))
}

#[cfg(test)]
mod tests {
    use media::continuity::ContinuityCheck;

    use super::*;

    #[test]
    fn pcrs_are_those_of_the_packets_places_beyond_the_clips_end() {
        let mut stream = Cbr::new(5_000_000);
        let mut first = None;
        let mut found = 0;
        for datagram in 0..16 * 475_u64 {
            let bytes = stream.datagram();
            let Some((place, pcr)) = first_pcr(&bytes) else { continue };
            let ticks = stream.ticks_of(datagram * 7 + u64::try_from(place).unwrap());
            let (from, base) = *first.get_or_insert((ticks, pcr));
            assert_eq!((pcr + PCR_MODULUS - base) % PCR_MODULUS, ticks - from);
            found += 1;
        }
        assert!(found > 800, "{found} PCRs in 16 s");
    }

    #[test]
    fn the_stream_is_whole_and_most_datagrams_are_numbered() {
        let mut stream = Cbr::new(5_000_000);
        let mut check = ContinuityCheck::new();
        let mut known = 0;
        for datagram in 0..2_000_u64 {
            let bytes = stream.datagram();
            for packet in bytes.as_chunks().0 {
                check.push(Packet::parse(packet).unwrap());
            }
            if let Some((place, number)) = numbered(&bytes) {
                assert_eq!(number, datagram * 7 + u64::try_from(place).unwrap());
                known += 1;
            }
        }
        assert_eq!(check.errors(), 0);
        assert!(known > 1_500, "{known}");
    }
}
