//! A stream that any player shows, out of the random access pictures of a fast forward or rewind.
//!
//! What a push server sends are packets of the recording, from a random access point to the end of its picture: pieces of sound and of the
//! next picture among them, and times that leap or run backwards. Here each picture becomes PAT, PMT and the whole picture, decoded and
//! shown when it comes: time stamps and clock references (ISO/IEC 13818-1 §2.4.3) are moved to the viewer's own time, continuity
//! counters count on.

use std::collections::BTreeMap;

use media::packet::{self, PACKET_BYTES, Packet, PacketBytes};
use media::pes::{self, PesTimes, TIMESTAMP_MODULUS};
use media::psi::{PAT_PID, ProgrammeTable};
use media::rtp::{PACKETS_MAX, PAYLOAD_TYPE_MP2T, RtpHeader, RtpView};
use media::{RtpPacket, Sequence};
use protocols::time::Time;

/// PCR ticks (27 MHz) in one of PTS and DTS.
const PCR_TICKS: u64 = 300;
/// PIDs whose counters are kept: PAT, PMTs and video; beyond that the oldest counter begins anew.
const PIDS_MAX: usize = 64;

/// The pictures of one fast forward or rewind.
#[derive(Debug, Default)]
pub struct PictureShow {
    programmes: ProgrammeTable,
    /// PAT and PMT as they last came, each in one packet.
    tables: BTreeMap<u16, PacketBytes>,
    counters: BTreeMap<u16, u8>,
    /// When the first picture came, and its decoding time.
    origin: Option<(Time, u64)>,
    source: Option<u32>,
    sequence: u16,
    shown: u64,
}

impl PictureShow {
    /// One that has shown nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The stream for one whole picture, which came at `now` by these RTP packets; nothing where there is no picture in them.
    pub fn picture(&mut self, now: Time, packets: &[Vec<u8>]) -> Vec<RtpPacket> {
        let views: Vec<RtpView<'_>> =
            packets.iter().filter_map(|packet| RtpView::parse(packet).ok()).collect();
        let all: Vec<&PacketBytes> =
            views.iter().flat_map(|view| view.payload.as_chunks::<PACKET_BYTES>().0).collect();
        for bytes in &all {
            self.read_tables(bytes);
        }
        let Some((video, dts_90k)) = all.iter().find_map(|bytes| video_start(bytes)) else {
            return Vec::new();
        };
        let shift_90k = self.shift(now, dts_90k);
        let source = views.first().map_or(0, |view| view.header.ssrc);
        let mut stream: Vec<PacketBytes> = self.tables.values().copied().collect();
        stream.extend(one_picture(&all, video).map(|bytes| moved(bytes, shift_90k)));
        for bytes in &mut stream {
            self.count(bytes);
        }
        self.shown += 1;
        #[expect(clippy::cast_possible_truncation, reason = "RTP's time wraps")]
        let timestamp_90k = (dts_90k.wrapping_add(shift_90k)) as u32;
        self.packetize(source, timestamp_90k, &stream)
    }

    /// Tells a decoder that counters and times leap between the pictures and what follows, `packets`: for each PID that has been
    /// counted here a packet without payload that says so (§2.4.3.5, `discontinuity_indicator`), its counter one short of the next.
    pub fn leap(&mut self, packets: &[Vec<u8>]) -> Vec<RtpPacket> {
        let views: Vec<RtpView<'_>> =
            packets.iter().filter_map(|packet| RtpView::parse(packet).ok()).collect();
        let timestamp_90k = views.first().map_or(0, |view| view.header.timestamp_90k);
        let mut leaps = BTreeMap::new();
        for bytes in views.iter().flat_map(|view| view.payload.as_chunks::<PACKET_BYTES>().0) {
            let Ok(packet) = Packet::parse(bytes) else { continue };
            if packet.has_payload() && self.counters.contains_key(&packet.pid()) {
                let counter = packet.continuity_counter().wrapping_sub(1) & 0x0f;
                leaps.entry(packet.pid()).or_insert_with(|| leap_of(packet.pid(), counter));
            }
        }
        let leaps: Vec<PacketBytes> = leaps.into_values().collect();
        self.packetize(0, timestamp_90k, &leaps)
    }

    /// Pictures shown so far.
    pub fn shown(&self) -> u64 {
        self.shown
    }

    fn read_tables(&mut self, bytes: &PacketBytes) {
        let Ok(packet) = Packet::parse(bytes) else { return };
        self.programmes.push(packet);
        let pid = packet.pid();
        let is_table = pid == PAT_PID || self.programmes.programmes().values().any(|it| it.pmt_pid == pid);
        if is_table && packet.payload_unit_start() && self.tables.len() < PIDS_MAX {
            self.tables.insert(pid, *bytes);
        }
    }

    /// By how much this picture's stamps are moved: the first keeps its time, the others come as much later as they do.
    fn shift(&mut self, now: Time, dts_90k: u64) -> u64 {
        let (begun, first_90k) = *self.origin.get_or_insert((now, dts_90k));
        let passed_90k = u64::try_from(now.since(begun).as_micros() * 9 / 100).unwrap_or(u64::MAX);
        (first_90k.wrapping_add(passed_90k) + TIMESTAMP_MODULUS - dts_90k) % TIMESTAMP_MODULUS
    }

    fn count(&mut self, bytes: &mut PacketBytes) {
        let Ok(packet) = Packet::parse(bytes) else { return };
        let (pid, has_payload) = (packet.pid(), packet.has_payload());
        if self.counters.len() >= PIDS_MAX && !self.counters.contains_key(&pid) {
            self.counters.pop_first();
        }
        let counter = self.counters.entry(pid).or_insert(0x0f);
        // §2.4.3.3: it counts packets with a payload only.
        *counter = counter.wrapping_add(u8::from(has_payload)) & 0x0f;
        packet::set_continuity_counter(bytes, *counter);
    }

    /// As a source of its own, lest the recording's numbers seem to leap.
    fn packetize(&mut self, source: u32, timestamp_90k: u32, stream: &[PacketBytes]) -> Vec<RtpPacket> {
        let ssrc = *self.source.get_or_insert(!source);
        let mut packets = Vec::with_capacity(stream.len().div_ceil(PACKETS_MAX));
        for payload in stream.chunks(PACKETS_MAX) {
            let header = RtpHeader {
                marker: packets.is_empty(),
                payload_type: PAYLOAD_TYPE_MP2T,
                sequence: Sequence(self.sequence),
                timestamp_90k,
                ssrc,
            };
            self.sequence = self.sequence.wrapping_add(1);
            packets.extend(RtpPacket::new(&header, payload.as_flattened()));
        }
        packets
    }
}

/// PID and decoding time of a picture that begins in this packet.
fn video_start(bytes: &PacketBytes) -> Option<(u16, u64)> {
    let packet = Packet::parse(bytes).ok().filter(|packet| packet.payload_unit_start())?;
    let times = PesTimes::parse(packet.payload()).filter(|times| times.is_video())?;
    Some((packet.pid(), times.dts_90k))
}

/// The packets of the first picture of `video`.
fn one_picture<'a>(all: &'a [&'a PacketBytes], video: u16) -> impl Iterator<Item = &'a PacketBytes> {
    let of_video =
        move |bytes: &&&PacketBytes| Packet::parse(bytes).is_ok_and(|packet| packet.pid() == video);
    let begins = |bytes: &&PacketBytes| Packet::parse(bytes).is_ok_and(Packet::payload_unit_start);
    let mut pictures = 0;
    all.iter().filter(of_video).copied().skip_while(move |bytes| !begins(bytes)).take_while(move |bytes| {
        pictures += u32::from(begins(bytes));
        pictures == 1
    })
}

/// A packet that is all adaptation field, with nothing in it but that what follows does not follow.
fn leap_of(pid: u16, counter: u8) -> PacketBytes {
    const DISCONTINUITY: u8 = 0x80;
    let [high, low] = pid.to_be_bytes();
    let mut bytes = [0xff; PACKET_BYTES];
    bytes[..6].copy_from_slice(&[0x47, high, low, 0x20 | counter, 183, DISCONTINUITY]);
    bytes
}

/// With its times moved forward by so much.
fn moved(bytes: &PacketBytes, shift_90k: u64) -> PacketBytes {
    let mut bytes = *bytes;
    let packet = Packet::parse(&bytes).ok();
    let (pcr, begins) = packet.map_or((None, false), |packet| (packet.pcr(), packet.payload_unit_start()));
    if let Some(pcr) = pcr {
        packet::set_pcr(&mut bytes, pcr + shift_90k * PCR_TICKS);
    }
    if begins {
        pes::shift(packet::payload_mut(&mut bytes), shift_90k);
    }
    packet::clear_discontinuity(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIDEO: u16 = 0x100;
    const SOUND: u16 = 0x101;

    /// A transport packet of `pid`; with a PES header when a picture begins in it.
    fn transport(pid: u16, dts_90k: Option<u64>, fill: u8) -> PacketBytes {
        let mut bytes = [fill; PACKET_BYTES];
        bytes[0] = 0x47;
        bytes[1..3].copy_from_slice(&pid.to_be_bytes());
        bytes[3] = 0x10;
        if let Some(dts_90k) = dts_90k {
            bytes[1] |= 0x40;
            let id = if pid == VIDEO { 0xe0 } else { 0xc0 };
            bytes[4..18].copy_from_slice(&[0, 0, 1, id, 0, 0, 0x80, 0x80, 5, 0x21, 0, 1, 0, 1]);
            pes::shift(packet::payload_mut(&mut bytes), dts_90k);
        }
        bytes
    }

    fn rtp(packets: &[PacketBytes]) -> Vec<u8> {
        let header = RtpHeader {
            marker: false,
            payload_type: PAYLOAD_TYPE_MP2T,
            sequence: Sequence(9),
            timestamp_90k: 0,
            ssrc: 1,
        };
        RtpPacket::new(&header, packets.as_flattened()).unwrap().as_bytes().to_vec()
    }

    /// Fill, counter and decoding time of what is shown.
    fn shown(packets: &[RtpPacket]) -> Vec<(u8, u8, Option<u64>)> {
        let packets = packets.iter().flat_map(RtpPacket::packets);
        packets
            .map(|bytes| {
                let packet = Packet::parse(bytes).unwrap();
                (bytes[187], packet.continuity_counter(), video_start(bytes).map(|(_, dts)| dts))
            })
            .collect()
    }

    fn picture(dts_90k: u64) -> Vec<Vec<u8>> {
        let begin = [
            transport(SOUND, Some(dts_90k), 1),
            transport(VIDEO, None, 2),
            transport(VIDEO, Some(dts_90k), 3),
            transport(SOUND, None, 4),
        ];
        let end = [
            transport(VIDEO, None, 5),
            transport(VIDEO, Some(dts_90k + 3_600), 6),
            transport(VIDEO, None, 7),
        ];
        vec![rtp(&begin), rtp(&end)]
    }

    #[test]
    fn a_picture_is_shown_whole_and_alone_when_it_comes() {
        let mut show = PictureShow::new();
        let first = show.picture(Time::from_ms(5_000), &picture(900_000));
        assert_eq!(shown(&first), [(3, 0, Some(900_000)), (5, 1, None)]);
        // Half a second later, from an hour before: backwards, at 64 times.
        let second = show.picture(Time::from_ms(5_500), &picture(100));
        assert_eq!(shown(&second), [(3, 2, Some(945_000)), (5, 3, None)]);
        assert_eq!((second[0].sequence(), show.shown()), (Sequence(1), 2));
    }

    #[test]
    fn what_follows_the_pictures_is_said_to_leap_where_they_were_of_the_same_pid() {
        let mut show = PictureShow::new();
        let _ = show.picture(Time::ZERO, &picture(900_000));
        let counted = |pid, counter| {
            let mut bytes = transport(pid, None, 8);
            packet::set_continuity_counter(&mut bytes, counter);
            bytes
        };
        let next = [counted(SOUND, 3), counted(VIDEO, 0), counted(VIDEO, 1)];
        let leaps = show.leap(&[rtp(&next)]);
        let told: Vec<(u16, u8, bool, bool)> = leaps
            .iter()
            .flat_map(RtpPacket::packets)
            .map(|bytes| Packet::parse(bytes).unwrap())
            .map(|packet| {
                (packet.pid(), packet.continuity_counter(), packet.has_payload(), packet.discontinuity())
            })
            .collect();
        assert_eq!(told, [(VIDEO, 15, false, true)]);
        assert_eq!(PictureShow::new().leap(&[rtp(&next)]), []);
    }

    #[test]
    fn packets_without_a_picture_show_nothing() {
        let mut show = PictureShow::new();
        assert_eq!(show.picture(Time::ZERO, &[rtp(&[transport(SOUND, Some(1), 1)]), vec![1, 2, 3]]), []);
        assert_eq!(show.picture(Time::ZERO, &[]), []);
    }
}
