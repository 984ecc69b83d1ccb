//! A finite clip, played for ever without a seam: PCR, PTS, DTS and continuity counters run on from loop to loop.
//!
//! ```text
//! pass 1:  packets ─► ClipScan ─► Clip (period, PIDs)          pass 2, 3, …:  packets ─► Restamper ─► packets
//! ```
//!
//! A clip in memory has both in one, the [`Looper`]. A large file is read twice by the shell that owns it.
//!
//! The period is what each loop adds to every stamp. It is the video's length in DTS (last − first + the last frame's),
//! or the first audio stream's where there is no video, so that the picture's cadence is exact across the seam; where
//! that contradicts the PCR by more than [`PERIOD_TOLERANCE_TICKS`], it is the span of the PCR with the packets outside
//! it counted at the mean rate. Another stream that is a little longer or shorter than the video overlaps or leaves a
//! hole at the seam of that difference; in our own test card all lengths are equal and the seam is exact.
//!
//! Left as they are: OPCR, ESCR, splice countdowns (§2.4.3.4) and time codes inside elementary streams.

use std::collections::{BTreeMap, BTreeSet};

use crate::packet::{self, NULL_PACKET, NULL_PID, PACKET_BYTES, Packet, PacketBytes};
use crate::pcr::JUMP_TICKS;
use crate::pes::{self, PesTimes, TIMESTAMP_MODULUS};
use crate::time::{PCR_MODULUS, TICKS_PER_90K, TICKS_PER_SECOND};

/// How far the period by time stamps may be from the period by PCR: 400 ms.
pub const PERIOD_TOLERANCE_TICKS: u64 = TICKS_PER_SECOND * 2 / 5;

/// Streams with time stamps that are followed; more have their stamps moved all the same.
const STREAMS_MAX: usize = 64;

/// Why a clip cannot be looped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClipError {
    /// No packet at all.
    #[error("the clip holds no transport packet")]
    Empty,
    /// Bytes that do not begin with 0x47 where a packet should.
    #[error("the clip's packet {0} does not begin with 0x47")]
    Sync(u64),
    /// Fewer than two PCRs on one PID: there is no time in it.
    #[error("the clip of {0} packets has fewer than two PCRs on one PID, so it cannot be paced")]
    NoPcr(u64),
}

/// What the first pass found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clip {
    /// Packets of one loop.
    pub packets: u64,
    /// What a loop adds to every stamp: ticks of 27 MHz, a multiple of 300 so that PTS move by whole ticks.
    pub period_ticks: u64,
    /// PID of the PCRs that gave the period.
    pub pcr_pid: u16,
    /// False where a PES header is split over two packets: those stamps cannot be moved and will jump.
    pub seamless: bool,
    elementary: BTreeSet<u16>,
}

/// The first pass over a clip.
#[derive(Debug, Default)]
pub struct ClipScan {
    packets: u64,
    clocks: BTreeMap<u16, ClockSpan>,
    streams: BTreeMap<u16, StreamSpan>,
    elementary: BTreeSet<u16>,
    split_headers: u64,
}

/// The PCRs of one PID.
#[derive(Debug)]
struct ClockSpan {
    first: (u64, u64),
    last: (u64, u64),
    samples: u64,
    good_packets: u64,
    good_ticks: u64,
}

/// The DTS of one PID.
#[derive(Debug)]
struct StreamSpan {
    video: bool,
    first_90k: u64,
    last_90k: u64,
    step_90k: u64,
}

impl ClipScan {
    /// A scan that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the clip's next packet.
    pub fn push(&mut self, packet: Packet<'_>) {
        let index = self.packets;
        self.packets += 1;
        if let Some(pcr) = packet.pcr() {
            let clock = self.clocks.entry(packet.pid()).or_insert_with(|| ClockSpan::new(index, pcr));
            clock.sample(index, pcr);
        }
        let payload = packet.payload();
        if !packet.payload_unit_start()
            || packet.is_scrambled()
            || packet.pid() == NULL_PID
            || !pes::starts(payload)
        {
            return;
        }
        self.elementary.insert(packet.pid());
        // Moving nothing tells whether the stamps could be moved.
        let mut copy = *packet.bytes();
        self.split_headers += u64::from(!pes::shift(packet::payload_mut(&mut copy), 0));
        let Some(times) = PesTimes::parse(payload) else { return };
        let room = self.streams.len() < STREAMS_MAX;
        match self.streams.get_mut(&packet.pid()) {
            Some(stream) => stream.sample(times.dts_90k),
            None if room => {
                self.streams.insert(packet.pid(), StreamSpan::new(times));
            }
            None => {}
        }
    }

    /// What was found; refuses a clip without time.
    pub fn finish(self) -> Result<Clip, ClipError> {
        if self.packets == 0 {
            return Err(ClipError::Empty);
        }
        let busiest = self.clocks.iter().max_by_key(|(_, clock)| clock.samples);
        let (&pcr_pid, clock) =
            busiest.filter(|(_, clock)| clock.good_ticks > 0).ok_or(ClipError::NoPcr(self.packets))?;
        let by_pcr = clock.period_ticks(self.packets);
        let by_stamps = self
            .stamped_period_ticks()
            .filter(|&ticks| ticks.abs_diff(by_pcr) <= PERIOD_TOLERANCE_TICKS && ticks > clock.span_ticks());
        Ok(Clip {
            packets: self.packets,
            period_ticks: by_stamps.unwrap_or(by_pcr),
            pcr_pid,
            seamless: self.split_headers == 0,
            elementary: self.elementary,
        })
    }

    fn stamped_period_ticks(&self) -> Option<u64> {
        let stream =
            self.streams.values().find(|stream| stream.video).or_else(|| self.streams.values().next())?;
        let length_90k = stream.last_90k + TIMESTAMP_MODULUS - stream.first_90k + stream.step_90k;
        (stream.step_90k > 0).then_some(length_90k % TIMESTAMP_MODULUS * TICKS_PER_90K)
    }
}

impl ClockSpan {
    fn new(index: u64, pcr: u64) -> Self {
        Self { first: (index, pcr), last: (index, pcr), samples: 0, good_packets: 0, good_ticks: 0 }
    }

    fn sample(&mut self, index: u64, pcr: u64) {
        let step = (pcr + PCR_MODULUS - self.last.1) % PCR_MODULUS;
        // Jumps inside the clip say nothing about its rate; they come again in every loop.
        if step <= JUMP_TICKS {
            self.good_packets += index - self.last.0;
            self.good_ticks += step;
        }
        self.last = (index, pcr);
        self.samples += 1;
    }

    fn span_ticks(&self) -> u64 {
        (self.last.1 + PCR_MODULUS - self.first.1) % PCR_MODULUS
    }

    /// From the first PCR to where it comes again, a multiple of 300.
    fn period_ticks(&self, packets: u64) -> u64 {
        let outside = u128::from(packets - self.last.0 + self.first.0);
        let tail = outside * u128::from(self.good_ticks) / u128::from(self.good_packets.max(1));
        let tail = u64::try_from(tail).unwrap_or(JUMP_TICKS).max(TICKS_PER_90K);
        (self.span_ticks() + tail).next_multiple_of(TICKS_PER_90K)
    }
}

impl StreamSpan {
    fn new(times: PesTimes) -> Self {
        let dts = times.dts_90k;
        Self { video: times.is_video(), first_90k: dts, last_90k: dts, step_90k: 0 }
    }

    fn sample(&mut self, dts_90k: u64) {
        self.step_90k = (dts_90k + TIMESTAMP_MODULUS - self.last_90k) % TIMESTAMP_MODULUS;
        self.last_90k = dts_90k;
    }
}

/// The second and every later pass: moves a clip's packets to where they stand in the endless stream.
#[derive(Debug)]
pub struct Restamper {
    clip: Clip,
    loops: u64,
    /// Added to every PCR in this loop, modulo the PCR's wrap.
    shift_ticks: u64,
    pids: BTreeMap<u16, Counter>,
}

/// A PID's continuity counters, as read and as written.
#[derive(Debug)]
struct Counter {
    read: u8,
    written: u8,
    /// The loop in which a packet was last seen, and a PES packet begun.
    seen: u64,
    begun: Option<u64>,
}

impl Restamper {
    /// At the beginning of the first loop.
    pub fn new(clip: Clip) -> Self {
        Self { clip, loops: 0, shift_ticks: 0, pids: BTreeMap::new() }
    }

    /// Restamps the clip's next packet in place. A packet that belongs to a PES packet begun before the clip becomes a
    /// null packet from the second loop on: it would be taken for the end of the clip's last PES packet.
    pub fn restamp(&mut self, bytes: &mut PacketBytes) {
        let Ok(packet) = Packet::parse(bytes) else { return };
        let pid = packet.pid();
        if pid == NULL_PID {
            return;
        }
        let (read, has_payload) = (packet.continuity_counter(), packet.has_payload());
        let (begins, pcr) = (packet.payload_unit_start(), packet.pcr());
        let loops = self.loops;
        let unborn =
            Counter { read, written: read.wrapping_sub(u8::from(has_payload)), seen: loops, begun: None };
        let first_ever = !self.pids.contains_key(&pid);
        let counter = self.pids.entry(pid).or_insert(unborn);
        let first_in_loop = first_ever || std::mem::replace(&mut counter.seen, loops) != loops;
        if begins {
            counter.begun = Some(loops);
        }
        let orphan =
            loops > 0 && has_payload && counter.begun != Some(loops) && self.clip.elementary.contains(&pid);
        if orphan && pcr.is_none() {
            *bytes = NULL_PACKET;
            counter.read = read;
            return;
        }
        if orphan {
            packet::strip_payload(bytes);
        }
        let advances = has_payload && !orphan;
        let step = if first_in_loop || orphan { u8::from(advances) } else { read.wrapping_sub(counter.read) };
        counter.read = read;
        counter.written = counter.written.wrapping_add(step) & 15;
        packet::set_continuity_counter(bytes, counter.written);
        if loops == 0 {
            return;
        }
        if first_in_loop {
            packet::clear_discontinuity(bytes);
        }
        if let Some(pcr) = pcr {
            packet::set_pcr(bytes, (pcr + self.shift_ticks) % PCR_MODULUS);
        }
        if begins && self.clip.elementary.contains(&pid) {
            pes::shift(packet::payload_mut(bytes), self.shift_ticks / TICKS_PER_90K);
        }
    }

    /// The clip begins again.
    pub fn next_loop(&mut self) {
        self.loops += 1;
        self.shift_ticks = (self.shift_ticks + self.clip.period_ticks) % PCR_MODULUS;
    }

    /// Loops completed.
    pub fn loops(&self) -> u64 {
        self.loops
    }

    /// What is looped.
    pub fn clip(&self) -> &Clip {
        &self.clip
    }
}

/// A clip in memory, as an endless iterator of packets.
#[derive(Debug)]
pub struct Looper<B> {
    bytes: B,
    at: usize,
    restamper: Restamper,
}

impl<B: AsRef<[u8]>> Looper<B> {
    /// Scans the clip: whole packets from the first byte on; bytes after the last whole packet are left out.
    pub fn new(bytes: B) -> Result<Self, ClipError> {
        let mut scan = ClipScan::new();
        for (index, packet) in (0..).zip(bytes.as_ref().as_chunks::<PACKET_BYTES>().0) {
            scan.push(Packet::parse(packet).map_err(|_| ClipError::Sync(index))?);
        }
        Ok(Self { bytes, at: 0, restamper: Restamper::new(scan.finish()?) })
    }

    /// The next packet.
    pub fn next_packet(&mut self) -> PacketBytes {
        let packets = self.bytes.as_ref().as_chunks::<PACKET_BYTES>().0;
        if self.at >= packets.len() {
            self.at = 0;
            self.restamper.next_loop();
        }
        let mut packet = packets.get(self.at).copied().unwrap_or(NULL_PACKET);
        self.at += 1;
        self.restamper.restamp(&mut packet);
        packet
    }

    /// Loops completed.
    pub fn loops(&self) -> u64 {
        self.restamper.loops()
    }

    /// What is looped.
    pub fn clip(&self) -> &Clip {
        self.restamper.clip()
    }
}

impl<B: AsRef<[u8]>> Iterator for Looper<B> {
    type Item = PacketBytes;

    fn next(&mut self) -> Option<PacketBytes> {
        Some(self.next_packet())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::continuity::ContinuityCheck;
    use crate::packet::tests::packet;
    use crate::pcr::PcrClock;

    const PID: u16 = 0x100;
    const PACKET_TICKS: u64 = 108_000; // 4 ms

    /// `frames` of ten packets and 40 ms each, PCR on the first, PTS 500 ms ahead; the clip begins `lead` packets late.
    fn clip(frames: u64, lead: usize, first_pcr: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut counter = 0;
        for frame in 0..frames {
            let pcr = (first_pcr + frame * 10 * PACKET_TICKS) % PCR_MODULUS;
            for n in 0..10u8 {
                let mut packet = packet(PID, counter & 15, (n == 0).then_some(pcr), n);
                if n == 0 {
                    packet[1] |= 0x40;
                    packet[12..26].copy_from_slice(&[0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5, 0x21, 0, 1, 0, 1]);
                    pes::shift(&mut packet[12..], pcr / 300 + 45_000);
                }
                counter += 1;
                bytes.extend(packet);
            }
        }
        bytes.drain(..lead * PACKET_BYTES);
        bytes
    }

    fn pcrs_and_pts(packets: &[PacketBytes]) -> (Vec<u64>, Vec<u64>) {
        let views: Vec<_> = packets.iter().map(|bytes| Packet::parse(bytes).unwrap()).collect();
        let pcrs = views.iter().filter_map(|packet| packet.pcr()).collect();
        let starts = views.iter().filter(|packet| packet.payload_unit_start());
        (pcrs, starts.filter_map(|packet| Some(PesTimes::parse(packet.payload())?.pts_90k)).collect())
    }

    fn steps(values: &[u64], modulus: u64) -> BTreeSet<u64> {
        values.windows(2).map(|pair| (pair[1] + modulus - pair[0]) % modulus).collect()
    }

    fn continuity_errors(packets: &[PacketBytes]) -> u64 {
        let mut check = ContinuityCheck::new();
        for bytes in packets {
            check.push(Packet::parse(bytes).unwrap());
        }
        check.errors() + check.duplicates()
    }

    #[test]
    fn the_first_loop_is_the_clip_byte_for_byte() {
        let bytes = clip(7, 0, 12_345);
        let looper = Looper::new(&bytes).unwrap();
        let packets = usize::try_from(looper.clip().packets).unwrap();
        assert_eq!(looper.take(packets).collect::<Vec<_>>().concat(), bytes);
    }

    #[test]
    fn services_with_clocks_of_their_own_all_go_on() {
        const OTHER: u16 = PID + 1;
        let mut other = clip(7, 0, 90_000 * 27_000_000);
        for packet in other.chunks_exact_mut(PACKET_BYTES) {
            packet[2] = OTHER.to_be_bytes()[1];
        }
        let one = clip(7, 0, 0);
        let both: Vec<u8> = one
            .chunks(PACKET_BYTES)
            .zip(other.chunks(PACKET_BYTES))
            .flat_map(|(one, other)| [one, other].concat())
            .collect();
        let packets: Vec<_> = Looper::new(both).unwrap().take(140 * 4).collect();
        assert_eq!(continuity_errors(&packets), 0);
        for pid in [PID, OTHER] {
            let ours = |bytes: &&PacketBytes| Packet::parse(bytes).unwrap().pid() == pid;
            let ours: Vec<PacketBytes> = packets.iter().filter(ours).copied().collect();
            let (pcrs, pts) = pcrs_and_pts(&ours);
            assert_eq!(pcrs.len(), 28);
            assert_eq!(steps(&pcrs, PCR_MODULUS), [10 * PACKET_TICKS].into());
            assert_eq!(steps(&pts, TIMESTAMP_MODULUS), [3_600].into());
        }
    }

    #[test]
    fn a_clip_that_begins_inside_a_pes_packet_leaves_no_orphans_at_the_seam() {
        let looper = Looper::new(clip(7, 4, 0)).unwrap();
        let packets: Vec<_> = looper.take(66 * 3).collect();
        assert_eq!(continuity_errors(&packets), 0);
        assert!(packets[66..72].iter().all(|packet| *packet == NULL_PACKET));
        assert_ne!(packets[72], NULL_PACKET);
    }

    #[test]
    fn what_cannot_be_looped_is_refused_with_the_reason() {
        assert_eq!(Looper::new([0u8; 100]).unwrap_err(), ClipError::Empty);
        assert_eq!(Looper::new([0u8; 188]).unwrap_err(), ClipError::Sync(0));
        assert_eq!(Looper::new(packet(1, 0, Some(1), 0)).unwrap_err(), ClipError::NoPcr(1));
    }

    proptest! {
        /// Any length, any place on the PCR's circle (wraps inside the clip and between loops included): five loops on,
        /// every step of PCR and PTS is the clip's own, no counter breaks, and the clock sees one time base.
        #[test]
        fn five_loops_run_on_without_a_seam(frames in 2u64..20, first_pcr in 0..PCR_MODULUS, at_wrap: bool) {
            let first_pcr = if at_wrap { PCR_MODULUS - first_pcr % (40 * frames * PACKET_TICKS) - 1 } else { first_pcr };
            let looper = Looper::new(clip(frames, 0, first_pcr)).unwrap();
            prop_assert_eq!(looper.clip().period_ticks, frames * 10 * PACKET_TICKS);
            let packets: Vec<_> = looper.take(usize::try_from(frames).unwrap() * 50).collect();
            let (pcrs, pts) = pcrs_and_pts(&packets);
            prop_assert_eq!(steps(&pcrs, PCR_MODULUS), BTreeSet::from([10 * PACKET_TICKS]));
            prop_assert_eq!(steps(&pts, TIMESTAMP_MODULUS), BTreeSet::from([3600]));
            prop_assert_eq!(continuity_errors(&packets), 0);
            let mut clock = PcrClock::automatic();
            for bytes in &packets {
                clock.stamp(Packet::parse(bytes).unwrap());
            }
            prop_assert_eq!(clock.rebases(), 0);
        }

        #[test]
        fn no_clip_panics(mut bytes in proptest::collection::vec(any::<u8>(), 188 * 8)) {
            for packet in bytes.chunks_exact_mut(188) {
                packet[0] = 0x47;
                packet[1] &= 0xe0;
                packet[2] &= 1;
            }
            if let Ok(looper) = Looper::new(bytes) {
                prop_assert_eq!(looper.take(40).count(), 40);
            }
        }
    }
}
