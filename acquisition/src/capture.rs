//! One channel's data path: transport stream in, RTP packets out, and whether the channel is delivered.
//!
//! ```text
//! Starting --packets--> Delivering --none for STALL_TIMEOUT, Faulty--> Failed --packets, not Faulty--> Delivering
//!     └──none for STALL_TIMEOUT, Faulty────────────────────────────────────┘
//! ```
//!
//! The transport packets are passed on as they came, all of them and in order. At the start of an input they are held
//! until its clock is known, so that the first RTP packet already has its right time. Where another input, or the same
//! opened anew, goes on for the one before, a packet of its own announces the break on each PID.

use std::collections::VecDeque;
use std::time::Duration;

use media::health::{Delivery, Extent, Health, SyncErrors};
use media::packet::{PACKET_BYTES, PacketBytes};
use media::pcr::{PcrClock, Stamp};
use media::rtp::{Packetizer, PacketizerStart};
use media::splice::Splicer;
use media::time::MediaTime;
use media::{Packet, RtpPacket, Sequence};
use protocols::health::HealthReport;
use protocols::p1_registration::InputState;
use protocols::time::{ClusterTime, Time};

use crate::health_report::Reporter;

/// Without a packet for this long an input has stalled.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(2);
/// An input without any PCR for this long gets its RTP timestamps from the packets' arrival.
pub const PCR_PATIENCE: Duration = Duration::from_secs(1);
/// Packets held at an input's start; when more come, the oldest is dropped and counted. 1.5 MB.
pub const MAX_HELD_PACKETS: usize = 8192;

/// What is known of a channel's part of its input, beside the packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// All that comes of it is there.
    Flowing,
    /// It is being looked for in an input that delivers, so that no packet is no stall.
    Waiting,
    /// It is not there, or of no use to anybody; the text says why and what to do.
    Faulty(String),
}

/// The data path of one channel.
#[derive(Debug)]
pub struct Capture {
    clock: PcrClock,
    packetizer: Packetizer,
    ssrc: u32,
    splicer: Splicer,
    held: VecDeque<PacketBytes>,
    /// When the first packet of this input came.
    begun: Option<Time>,
    released: bool,
    by_arrival: bool,
    quiet_since: Time,
    strange: Option<String>,
    faulty: bool,
    state: InputState,
    counters: Counters,
    extent: Extent,
    health: Health,
    delivery: Delivery,
    reporter: Reporter,
}

/// What a capture counts, from the channel's beginning on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Transport packets passed on.
    pub transport_packets: u64,
    /// RTP packets made.
    pub rtp_packets: u64,
    /// Transport packets dropped at an input's start because too many were held.
    pub dropped_packets: u64,
}

impl Capture {
    /// A data path whose RTP packets begin with the numbers that `random` draws; none is open.
    pub fn new(random: &mut fastrand::Rng) -> Self {
        let start = PacketizerStart {
            ssrc: random.u32(..),
            sequence: Sequence(random.u16(..)),
            timestamp_offset_90k: random.u32(..),
        };
        Self {
            clock: PcrClock::automatic(),
            packetizer: Packetizer::new(start),
            ssrc: start.ssrc,
            splicer: Splicer::new(),
            held: VecDeque::new(),
            begun: None,
            released: false,
            by_arrival: false,
            quiet_since: Time::ZERO,
            strange: None,
            faulty: false,
            state: InputState::Starting,
            counters: Counters::default(),
            extent: Extent::Input,
            health: Health::new(Extent::Input),
            delivery: Delivery::new(),
            reporter: Reporter::default(),
        }
    }

    /// An input was opened: forgets what is left of the one before, save sequence numbers, SSRC and timeline. `extent`: how
    /// much of a multiplex comes of it.
    pub fn opened(&mut self, now: Time, extent: Extent) {
        self.clock.interrupt();
        self.splicer.cut();
        self.health.interrupt(extent);
        self.delivery = Delivery::new();
        self.extent = extent;
        self.held.clear();
        self.begun = None;
        self.released = false;
        self.by_arrival = false;
        self.strange = None;
        self.faulty = false;
        self.quiet_since = now;
        self.state = InputState::Starting;
    }

    /// The channel goes on with another of its sources, whose packets join those before: what waits goes out, numbers and
    /// timeline go on. `extent`: how much of its multiplex comes of it.
    pub fn rejoin(&mut self, now: Time, extent: Extent, out: &mut Vec<RtpPacket>) {
        self.flush(out);
        self.extent = extent;
        self.health.set_extent(extent);
        self.clock.interrupt();
        self.delivery = Delivery::new();
        self.strange = None;
        self.faulty = false;
        self.quiet_since = now;
        self.state = InputState::Starting;
    }

    /// The input closed: the packets still held of it go out.
    pub fn closed(&mut self, out: &mut Vec<RtpPacket>) {
        self.flush(out);
    }

    /// Takes whole transport packets and appends the RTP packets that they complete.
    pub fn packets(&mut self, now: Time, packets: &[PacketBytes], out: &mut Vec<RtpPacket>) {
        for bytes in packets {
            let Ok(packet) = Packet::parse(bytes) else { continue };
            if let Some(announcement) = self.splicer.push(packet) {
                self.packet(now, &announcement, out);
            }
            self.packet(now, bytes, out);
        }
    }

    /// What is known of the channel's part of the input, told whenever the input has brought something.
    pub fn condition(&mut self, now: Time, condition: Condition) {
        self.faulty = matches!(condition, Condition::Faulty(_));
        match condition {
            Condition::Flowing => {}
            Condition::Waiting => self.quiet_since = now,
            Condition::Faulty(cause) => self.fail(cause),
        }
    }

    /// What came at `now` came by a network, so many transport packets of the whole input together.
    pub fn arrived(&mut self, now: Time, packets: usize) {
        let rate_bps = if self.extent == Extent::Input { self.clock.bitrate_bps() } else { None };
        self.delivery.arrived(now.since_origin(), packets * PACKET_BYTES, rate_bps);
    }

    /// The input's bytes were cut into packets with so many errors since this was told last.
    pub fn synchronised(&mut self, now: Time, errors: SyncErrors) {
        self.health.synchronised(now.since_origin(), errors);
    }

    /// Errors in the stream as known at `now`, which is `wall` on the wall clock. To be asked about once a second: what
    /// does not come is looked for then.
    pub fn health(&mut self, now: Time, wall: ClusterTime) -> HealthReport {
        self.health.tick(now.since_origin());
        self.reporter.report(now, wall, &self.health, self.delivery.latest())
    }

    /// Something came that is no transport stream; `what` explains a stall that follows.
    pub fn strange(&mut self, what: &str) {
        if self.strange.as_deref() != Some(what) {
            self.strange = Some(what.to_owned());
        }
    }

    /// When [`Capture::tick`] is due.
    pub fn deadline(&self) -> Option<Time> {
        let flush = self.packetizer.deadline().map(|at| Time::ZERO + at);
        let stall = self.watches_for_stall().then(|| self.quiet_since + STALL_TIMEOUT);
        flush.into_iter().chain(stall).min()
    }

    /// Sends what has waited long enough, notices a stall.
    pub fn tick(&mut self, now: Time, out: &mut Vec<RtpPacket>) {
        if self.packetizer.deadline().is_some_and(|at| Time::ZERO + at <= now) {
            self.flush(out);
        }
        if self.watches_for_stall() && now >= self.quiet_since + STALL_TIMEOUT {
            let seconds = STALL_TIMEOUT.as_secs();
            let text = match &self.strange {
                Some(strange) => format!("no packets for {seconds} s; {strange}"),
                None => format!("no packets for {seconds} s"),
            };
            self.fail(text);
        }
    }

    /// Whether the input delivers.
    pub fn state(&self) -> &InputState {
        &self.state
    }

    /// The synchronisation source of all packets.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Bitrate of the transport stream over the last second; 0 while the input does not deliver.
    pub fn rate_bps(&self) -> u64 {
        if self.state == InputState::Delivering { self.clock.bitrate_bps().unwrap_or(0) } else { 0 }
    }

    fn packet(&mut self, now: Time, bytes: &PacketBytes, out: &mut Vec<RtpPacket>) {
        let Ok(packet) = Packet::parse(bytes) else { return };
        let begun = *self.begun.get_or_insert(now);
        self.quiet_since = now;
        let lost = self.health.lost_packets();
        self.health.push(now.since_origin(), packet);
        self.delivery.lost(self.health.lost_packets() - lost);
        let stamp = self.clock.stamp(packet);
        if self.released {
            let stamp = self.timed(now, stamp);
            return self.emit(now, bytes, stamp, out);
        }
        if self.held.len() == MAX_HELD_PACKETS {
            self.held.pop_front();
            self.counters.dropped_packets += 1;
        }
        self.held.push_back(*bytes);
        if stamp.is_some() || now.since(begun) >= PCR_PATIENCE {
            self.release(now, stamp, out);
        }
    }

    /// The time of the first PCR is the time of all that was held before it.
    fn release(&mut self, now: Time, stamp: Option<Stamp>, out: &mut Vec<RtpPacket>) {
        self.released = true;
        let mut stamp = self.timed(now, stamp);
        for bytes in std::mem::take(&mut self.held) {
            self.emit(now, &bytes, stamp, out);
            stamp.rebased = false;
        }
    }

    /// The packet's time; by arrival as long as the input has shown no PCR.
    fn timed(&mut self, now: Time, stamp: Option<Stamp>) -> Stamp {
        let was_by_arrival = std::mem::replace(&mut self.by_arrival, stamp.is_none());
        match stamp {
            Some(stamp) => Stamp { rebased: stamp.rebased || was_by_arrival, ..stamp },
            None => Stamp { time: MediaTime::default() + now.since_origin(), rebased: false },
        }
    }

    fn emit(&mut self, now: Time, bytes: &PacketBytes, stamp: Stamp, out: &mut Vec<RtpPacket>) {
        self.counters.transport_packets += 1;
        if let Some(packet) = self.packetizer.push(now.since_origin(), bytes, stamp) {
            self.counters.rtp_packets += 1;
            out.push(packet);
        }
        if self.state != InputState::Delivering && !self.faulty {
            self.state = InputState::Delivering;
            self.strange = None;
        }
    }

    fn flush(&mut self, out: &mut Vec<RtpPacket>) {
        if let Some(packet) = self.packetizer.flush() {
            self.counters.rtp_packets += 1;
            out.push(packet);
        }
    }

    fn fail(&mut self, cause: String) {
        self.state = InputState::Failed { cause };
    }

    fn watches_for_stall(&self) -> bool {
        !matches!(self.state, InputState::Failed { .. })
    }
}

#[cfg(test)]
mod tests {
    use media::continuity::ContinuityCheck;
    use media::packet::{NULL_PACKET, PACKET_BYTES};
    use media::reassembly::{Limits, Output, Reassembly};
    use media::sync::Synchroniser;
    use proptest::prelude::*;
    use protocols::health::{HealthState, Indicator, IndicatorReport};

    use super::*;

    const CLIP: &[u8] = include_bytes!("../testcard/clip.ts");
    const SECOND: Duration = Duration::from_secs(1);

    fn clip() -> &'static [PacketBytes] {
        CLIP.as_chunks().0
    }

    fn capture() -> Capture {
        Capture::new(&mut fastrand::Rng::with_seed(1))
    }

    /// The transport stream that a receiver of `packets` has.
    fn received(packets: &[RtpPacket]) -> Vec<u8> {
        let mut reassembly = Reassembly::new(Limits::default());
        let mut out = Vec::new();
        for packet in packets {
            reassembly.packet(Duration::ZERO, packet, &mut out);
        }
        out.iter()
            .flat_map(|output| match output {
                Output::Packet { packet, .. } => packet.payload().to_vec(),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn failed(cause: &str) -> InputState {
        InputState::Failed { cause: cause.into() }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn what_comes_out_is_what_went_in(cuts in proptest::collection::vec(1usize..3000, 1..200), nulls in 0usize..50) {
            let mut stream = CLIP[..200 * PACKET_BYTES].to_vec();
            for n in 0..nulls {
                let at = n * 3 * PACKET_BYTES;
                stream.splice(at..at, NULL_PACKET);
            }
            let mut capture = capture();
            capture.opened(Time::ZERO, Extent::Input);
            let (mut rest, mut out, mut synchroniser) = (&stream[..], Vec::new(), Synchroniser::new());
            for (ms, cut) in (0..).zip(cuts.iter().cycle()) {
                let (chunk, after) = rest.split_at(rest.len().min(*cut));
                let mut packets = Vec::new();
                synchroniser.push(chunk, |packet| packets.push(*packet)).unwrap();
                capture.packets(Time::from_ms(ms), &packets, &mut out);
                rest = after;
                if rest.is_empty() { break }
                if capture.deadline().is_some_and(|at| at <= Time::from_ms(ms)) {
                    capture.tick(Time::from_ms(ms), &mut out);
                }
            }
            capture.closed(&mut out);
            prop_assert!(received(&out) == stream);
            prop_assert_eq!(capture.counters().transport_packets, (200 + nulls) as u64);
        }

        #[test]
        fn no_packets_panic(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..900), 0..40)) {
            let mut capture = capture();
            capture.opened(Time::ZERO, Extent::Input);
            for (ms, mut chunk) in (0..).zip(chunks) {
                chunk.iter_mut().step_by(PACKET_BYTES).for_each(|byte| *byte = 0x47);
                let mut out = Vec::new();
                capture.packets(Time::from_ms(ms * 100), chunk.as_chunks().0, &mut out);
                capture.tick(Time::from_ms(ms * 100), &mut out);
            }
        }
    }

    #[test]
    fn packets_before_the_first_pcr_wait_for_its_time() {
        let first_pcr =
            clip().iter().position(|bytes| Packet::parse(bytes).unwrap().pcr().is_some()).unwrap();
        let null_packets = [NULL_PACKET; 20];
        let (mut capture, mut out) = (capture(), Vec::new());
        capture.opened(Time::ZERO, Extent::Input);
        capture.packets(Time::ZERO, &null_packets, &mut out);
        assert_eq!((out.len(), capture.state()), (0, &InputState::Starting));
        capture.packets(Time::ZERO, &clip()[..=first_pcr], &mut out);
        assert!(out.len() >= 2);
        assert_eq!(out[0].header().timestamp_90k, out[1].header().timestamp_90k);
        assert_eq!(capture.state(), &InputState::Delivering);
    }

    #[test]
    fn a_stream_without_pcr_goes_out_by_arrival() {
        let (mut capture, mut out) = (capture(), Vec::new());
        capture.opened(Time::ZERO, Extent::Input);
        for ms in (0..1500).step_by(10) {
            capture.packets(Time::from_ms(ms), &[NULL_PACKET], &mut out);
        }
        let last = out.last().unwrap().header();
        let before = out[out.len() - 2].header();
        assert_eq!(last.timestamp_90k.wrapping_sub(before.timestamp_90k), 70 * 90);
    }

    #[test]
    fn what_is_held_goes_out_when_its_time_is_over() {
        let (mut capture, mut out) = (capture(), Vec::new());
        capture.opened(Time::ZERO, Extent::Input);
        capture.packets(Time::ZERO, &clip()[..10], &mut out);
        let before = out.len();
        let at = capture.deadline().unwrap();
        assert!(at <= Time::from_ms(100));
        capture.tick(at, &mut out);
        assert_eq!(out.len(), before + 1);
        assert_eq!(received(&out), CLIP[..10 * PACKET_BYTES]);
        assert_eq!(capture.deadline(), Some(Time::ZERO + STALL_TIMEOUT));
    }

    #[test]
    fn an_input_that_brings_nothing_or_stops_has_stalled_and_may_come_back() {
        let (mut capture, mut out) = (capture(), Vec::new());
        capture.opened(Time::from_ms(500), Extent::Input);
        assert_eq!(capture.deadline(), Some(Time::from_ms(2500)));
        capture.tick(Time::from_ms(2500), &mut out);
        assert_eq!(capture.state(), &failed("no packets for 2 s"));
        capture.packets(Time::from_ms(9000), &clip()[..100], &mut out);
        assert_eq!(capture.state(), &InputState::Delivering);
        capture.tick(Time::from_ms(10_999), &mut out);
        assert_eq!(capture.state(), &InputState::Delivering);
        capture.tick(Time::from_ms(11_000), &mut out);
        assert_eq!(capture.state(), &failed("no packets for 2 s"));
        assert_eq!(capture.deadline(), None);
    }

    #[test]
    fn a_stall_is_explained_by_what_came_instead() {
        let (mut capture, mut out) = (capture(), Vec::new());
        capture.opened(Time::ZERO, Extent::Input);
        capture.strange("datagrams of 7 bytes arrive, which are no MPEG-TS");
        capture.tick(Time::from_ms(2000), &mut out);
        assert_eq!(
            capture.state(),
            &failed("no packets for 2 s; datagrams of 7 bytes arrive, which are no MPEG-TS")
        );
    }

    #[test]
    fn sequence_numbers_and_time_go_on_over_a_restart_of_the_input() {
        let (mut capture, mut out) = (capture(), Vec::new());
        capture.opened(Time::ZERO, Extent::Input);
        capture.packets(Time::ZERO, &clip()[..703], &mut out);
        capture.closed(&mut out);
        let restarted_at = out.len();
        capture.opened(Time::ZERO + SECOND, Extent::Input);
        assert_eq!(capture.state(), &InputState::Starting);
        capture.packets(Time::ZERO + SECOND, &clip()[..700], &mut out);
        for pair in out.windows(2) {
            let (a, b) = (pair[0].header(), pair[1].header());
            assert_eq!(b.sequence, a.sequence.next());
            assert!(b.timestamp_90k.wrapping_sub(a.timestamp_90k) < 45_000, "time never steps back");
        }
        let marked: Vec<usize> = (0..out.len()).filter(|&n| out[n].header().marker).collect();
        assert_eq!(marked.len(), 1);
        assert!(marked[0] >= restarted_at, "{marked:?} {restarted_at}");
    }

    #[test]
    fn errors_of_the_stream_are_reported_with_their_date_and_outlive_the_input() {
        let (mut capture, mut out) = (capture(), Vec::new());
        capture.opened(Time::ZERO, Extent::Input);
        assert_eq!(capture.health(Time::ZERO, ClusterTime(1_000)), HealthReport::default());
        let mut packets = clip()[..400].to_vec();
        packets.remove(200);
        for (ms, packet) in (0..).zip(&packets) {
            capture.packets(Time::from_us(ms * 1_667), std::slice::from_ref(packet), &mut out);
            capture.arrived(Time::from_us(ms * 1_667), 1);
        }
        let report = capture.health(Time::from_ms(700), ClusterTime(1_700));
        // The next packet of its PID comes at 359 ms.
        let seen = IndicatorReport { indicator: Indicator::Continuity, count: 1, last: ClusterTime(1_359) };
        assert_eq!((&report.indicators[..], report.lost_packets), (&[seen][..], 1));
        assert_eq!(report.state, HealthState::Bad);
        // Nothing comes: that is another error, and after a while none is recent any more.
        let later = capture.health(Time::from_ms(1_700), ClusterTime(2_700));
        assert_eq!(later.indicators[0].indicator, Indicator::SyncLoss);
        capture.closed(&mut out);
        capture.opened(Time::from_ms(20_000), Extent::Input);
        let later = capture.health(Time::from_ms(20_000), ClusterTime(21_000));
        assert_eq!((later.state, later.indicators.len()), (HealthState::Unknown, 2));
    }

    #[test]
    fn an_input_opened_anew_goes_on_with_its_break_announced() {
        let (mut capture, mut out) = (capture(), Vec::new());
        capture.opened(Time::ZERO, Extent::Input);
        capture.packets(Time::ZERO, &clip()[..140], &mut out);
        capture.closed(&mut out);
        capture.opened(Time::ZERO + SECOND, Extent::Input);
        capture.packets(Time::ZERO + SECOND, &clip()[35..175], &mut out);
        capture.closed(&mut out);
        let mut check = ContinuityCheck::new();
        for bytes in received(&out).as_chunks().0 {
            check.push(Packet::parse(bytes).unwrap());
        }
        assert!(check.packets() > 280);
        assert_eq!(check.errors(), 0);
    }

    #[test]
    fn a_channel_is_as_well_as_its_part_of_the_input() {
        let (mut capture, mut out) = (capture(), Vec::new());
        capture.opened(Time::ZERO, Extent::Input);
        // What is looked for in an input that delivers has not stalled.
        capture.condition(Time::from_ms(1900), Condition::Waiting);
        assert_eq!(capture.deadline(), Some(Time::from_ms(3900)));
        capture.condition(Time::from_ms(3000), Condition::Faulty("carries service 1, not 2".into()));
        assert_eq!((capture.state(), capture.deadline()), (&failed("carries service 1, not 2"), None));
        // Packets that are of no use do not make it well.
        capture.packets(Time::from_ms(3100), &clip()[..100], &mut out);
        assert_eq!(capture.state(), &failed("carries service 1, not 2"));
        capture.condition(Time::from_ms(3200), Condition::Flowing);
        capture.packets(Time::from_ms(3200), &clip()[100..110], &mut out);
        assert_eq!(capture.state(), &InputState::Delivering);
    }
}
