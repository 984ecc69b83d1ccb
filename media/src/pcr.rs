//! From PCR samples to a transmission time for every packet.
//!
//! The output timeline never steps back and never jumps: it begins at the first PCR, follows the PCR's increments
//! through its 33-bit wrap, and where the PCR breaks (`discontinuity_indicator`, or a jump) it goes on from where it
//! was and says so on that packet. Between samples it extrapolates at the rate of the last interval, because live
//! input cannot wait for the next sample.

use crate::packet::{PACKET_BYTES, Packet};
use crate::psi::ProgrammeTable;
use crate::time::{MediaTime, PCR_MODULUS, TICKS_PER_SECOND};

/// A PCR this far from where the packet count expects it is a new time base: 500 ms in ticks of 27 MHz. Also the
/// furthest that time is extrapolated beyond the last sample.
pub const JUMP_TICKS: u64 = TICKS_PER_SECOND / 2;

/// PCRs on another PID, with none on the chosen one in between, after which the other one is chosen.
pub const RIVAL_SAMPLES: u32 = 25;

/// Media time over which the bit rate is averaged.
const RATE_WINDOW_TICKS: u64 = TICKS_PER_SECOND;

const PACKET_BITS: u128 = PACKET_BYTES as u128 * 8;

/// When a packet is to be sent, on the clock's timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Never earlier than that of the packet before.
    pub time: MediaTime,
    /// The stream's own time base broke at this packet; `time` merely goes on.
    pub rebased: bool,
}

/// Stamps the packets of one transport stream, in order.
#[derive(Debug)]
pub struct PcrClock {
    source: Source,
    anchor: Option<Anchor>,
    interval: Option<Span>,
    window: Span,
    bitrate_bps: Option<u64>,
    latest: MediaTime,
    rebase_next: bool,
    rebases: u64,
}

#[derive(Debug)]
enum Source {
    Fixed(u16),
    Automatic { table: ProgrammeTable, chosen: Option<u16>, rival: Option<(u16, u32)> },
}

/// The last sample, and the packets since.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    pcr: u64,
    time: MediaTime,
    packets_since: u64,
}

/// Some packets and how long they took.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    packets: u64,
    ticks: u64,
}

impl PcrClock {
    /// Follows the PCR PID of the only programme; where PSI does not say, the first PID that carries PCRs, as long as a
    /// programme has it.
    pub fn automatic() -> Self {
        Self::from(Source::Automatic { table: ProgrammeTable::new(), chosen: None, rival: None })
    }

    /// Follows the PCRs of one PID.
    pub fn of_pid(pid: u16) -> Self {
        Self::from(Source::Fixed(pid))
    }

    /// Takes the next packet; `None` before the first PCR, when there is no time yet.
    pub fn stamp(&mut self, packet: Packet<'_>) -> Option<Stamp> {
        let pcr = if packet.transport_error() { None } else { packet.pcr() };
        self.select(packet, pcr.is_some());
        let sample = pcr.filter(|_| self.pid() == Some(packet.pid()));
        let rebased = if let Some(pcr) = sample {
            self.sample(pcr, packet.discontinuity())
        } else {
            self.anchor.as_mut()?.packets_since += 1;
            false
        };
        let anchor = self.anchor?;
        // Monotonic even where the last interval promised more than the next one kept.
        self.latest = self.latest.max(self.extrapolated(&anchor));
        Some(Stamp { time: self.latest, rebased })
    }

    /// Makes the next sample a new time base, as after an interruption of the input.
    pub fn interrupt(&mut self) {
        self.rebase_next = self.anchor.is_some();
    }

    /// The PID whose PCRs are followed.
    pub fn pid(&self) -> Option<u16> {
        match &self.source {
            Source::Fixed(pid) => Some(*pid),
            Source::Automatic { chosen, .. } => *chosen,
        }
    }

    /// Bit rate of the whole transport stream over about the last second; `None` before the second PCR.
    pub fn bitrate_bps(&self) -> Option<u64> {
        self.bitrate_bps.or_else(|| self.window.bitrate_bps())
    }

    /// How often the time base broke.
    pub fn rebases(&self) -> u64 {
        self.rebases
    }

    /// The programmes seen, where the clock reads PSI itself.
    pub fn programmes(&self) -> Option<&ProgrammeTable> {
        match &self.source {
            Source::Fixed(_) => None,
            Source::Automatic { table, .. } => Some(table),
        }
    }

    fn from(source: Source) -> Self {
        Self {
            source,
            anchor: None,
            interval: None,
            window: Span::default(),
            bitrate_bps: None,
            latest: MediaTime::default(),
            rebase_next: false,
            rebases: 0,
        }
    }

    fn select(&mut self, packet: Packet<'_>, has_pcr: bool) {
        let Source::Automatic { table, chosen, rival } = &mut self.source else { return };
        let before = *chosen;
        if table.push(packet) {
            let mut clocks = table.programmes().values().filter_map(|programme| programme.pcr_pid);
            // Of several programmes any clock will do that one of them has.
            let is_left = |chosen: u16| table.is_complete() && clocks.clone().all(|pid| pid != chosen);
            if table.programmes().len() == 1 || chosen.is_some_and(is_left) {
                *chosen = clocks.next().or(*chosen);
            }
        }
        if has_pcr {
            let pid = packet.pid();
            let samples = match *rival {
                Some((known, samples)) if known == pid => samples + 1,
                _ => 1,
            };
            match *chosen {
                None => *chosen = Some(pid),
                Some(chosen) if chosen == pid => *rival = None,
                Some(_) if samples >= RIVAL_SAMPLES => (*chosen, *rival) = (Some(pid), None),
                Some(_) if rival.is_none_or(|(known, _)| known == pid) => *rival = Some((pid, samples)),
                Some(_) => {}
            }
        }
        if before.is_some() && *chosen != before {
            self.rebase_next = self.anchor.is_some();
        }
    }

    /// Takes a sample of the chosen PID; true when it begins a new time base.
    fn sample(&mut self, pcr: u64, announced: bool) -> bool {
        let Some(mut anchor) = self.anchor else {
            self.latest = MediaTime::from_ticks(pcr);
            self.anchor = Some(Anchor { pcr, time: self.latest, packets_since: 0 });
            return false;
        };
        anchor.packets_since += 1;
        let step = (pcr + PCR_MODULUS - anchor.pcr) % PCR_MODULUS;
        let expected = self.interval.map_or(0, |interval| interval.ticks_of(anchor.packets_since));
        let jumped = step > JUMP_TICKS && step.abs_diff(expected) > JUMP_TICKS;
        let rebased = std::mem::take(&mut self.rebase_next) || jumped || announced;
        if rebased {
            self.rebases += 1;
            self.anchor =
                Some(Anchor { pcr, time: self.extrapolated(&anchor).max(self.latest), packets_since: 0 });
            return true;
        }
        let span = Span { packets: anchor.packets_since, ticks: step };
        if step > 0 {
            self.interval = Some(span);
        }
        self.measure(span);
        let time = MediaTime::from_ticks(anchor.time.ticks() + step);
        self.anchor = Some(Anchor { pcr, time, packets_since: 0 });
        false
    }

    fn measure(&mut self, span: Span) {
        self.window.packets += span.packets;
        self.window.ticks += span.ticks;
        if self.window.ticks >= RATE_WINDOW_TICKS {
            self.bitrate_bps = self.window.bitrate_bps();
            self.window = Span::default();
        }
    }

    fn extrapolated(&self, anchor: &Anchor) -> MediaTime {
        let ahead = self.interval.map_or(0, |interval| interval.ticks_of(anchor.packets_since));
        MediaTime::from_ticks(anchor.time.ticks() + ahead.min(JUMP_TICKS))
    }
}

impl Span {
    /// How long `packets` take at this span's rate; saturates.
    fn ticks_of(self, packets: u64) -> u64 {
        let ticks = u128::from(packets) * u128::from(self.ticks) / u128::from(self.packets.max(1));
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    fn bitrate_bps(self) -> Option<u64> {
        let bits = u128::from(self.packets) * PACKET_BITS * u128::from(TICKS_PER_SECOND);
        u64::try_from(bits.checked_div(u128::from(self.ticks))?).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packet::PacketBytes;
    use crate::packet::tests::packet;
    use crate::section;

    const MS: u64 = 27_000;

    fn stamp(clock: &mut PcrClock, bytes: &PacketBytes) -> Option<Stamp> {
        clock.stamp(Packet::parse(bytes).unwrap())
    }

    /// A PCR, then nine packets without.
    fn group(clock: &mut PcrClock, pcr: u64) -> Vec<Stamp> {
        let packets = (0..10u8).map(|n| packet(0x100, n, (n == 0).then_some(pcr), 0));
        packets.filter_map(|bytes| stamp(clock, &bytes)).collect()
    }

    fn ticks(stamps: &[Stamp]) -> Vec<u64> {
        stamps.iter().map(|stamp| stamp.time.ticks()).collect()
    }

    #[test]
    fn there_is_no_time_before_the_first_pcr() {
        assert_eq!(stamp(&mut PcrClock::automatic(), &packet(0x100, 0, None, 0)), None);
    }

    #[test]
    fn packets_between_samples_go_on_at_the_last_rate() {
        let mut clock = PcrClock::automatic();
        group(&mut clock, 1000 * MS);
        let second = group(&mut clock, 1040 * MS);
        assert_eq!(ticks(&second)[..3], [1040 * MS, 1044 * MS, 1048 * MS]);
        assert_eq!(clock.bitrate_bps(), Some(10 * 1504 * 25));
    }

    #[test]
    fn the_wrap_is_no_break() {
        let mut clock = PcrClock::automatic();
        group(&mut clock, PCR_MODULUS - 20 * MS);
        let after = group(&mut clock, 20 * MS);
        assert_eq!(after[0], Stamp { time: MediaTime::from_ticks(PCR_MODULUS + 20 * MS), rebased: false });
    }

    #[test]
    fn a_pcr_with_an_impossible_extension_is_followed_by_any_other() {
        let mut clock = PcrClock::automatic();
        let mut bytes = packet(0x100, 0, Some(0), 0);
        bytes[6..12].fill(0xff);
        stamp(&mut clock, &bytes);
        let after = stamp(&mut clock, &packet(0x100, 1, Some(0), 0)).unwrap();
        assert!(after.rebased, "{after:?}");
    }

    #[test]
    fn a_jump_either_way_rebases_and_time_goes_on() {
        let mut clock = PcrClock::automatic();
        group(&mut clock, 1000 * MS);
        group(&mut clock, 1040 * MS);
        let after = group(&mut clock, 90_000 * MS);
        assert_eq!(after[0], Stamp { time: MediaTime::from_ticks(1080 * MS), rebased: true });
        let back = group(&mut clock, 5 * MS);
        assert_eq!(back[0], Stamp { time: MediaTime::from_ticks(1120 * MS), rebased: true });
        assert!(back[1..].iter().all(|stamp| !stamp.rebased));
        assert_eq!(clock.rebases(), 2);
    }

    #[test]
    fn an_announced_break_rebases_however_small() {
        let mut clock = PcrClock::automatic();
        group(&mut clock, 1000 * MS);
        let mut bytes = packet(0x100, 0, Some(1010 * MS), 0);
        bytes[5] |= 0x80;
        assert!(stamp(&mut clock, &bytes).unwrap().rebased);
    }

    #[test]
    fn the_only_programmes_pcr_pid_is_followed() {
        let mut clock = PcrClock::automatic();
        for bytes in section::tests::packets(0, &section::tests::section(0, 1, &[0, 1, 0xe0, 0x20])) {
            stamp(&mut clock, &bytes);
        }
        stamp(&mut clock, &packet(0x50, 0, Some(3 * MS), 0));
        assert_eq!(clock.pid(), Some(0x50));
        let pmt = [0xe1, 0x00, 0xf0, 0x00, 0x1b, 0xe1, 0x00, 0xf0, 0x00];
        for bytes in section::tests::packets(0x20, &section::tests::section(2, 1, &pmt)) {
            stamp(&mut clock, &bytes);
        }
        assert_eq!(clock.pid(), Some(0x100));
        let first = stamp(&mut clock, &packet(0x100, 0, Some(7000 * MS), 0)).unwrap();
        assert_eq!(first, Stamp { time: MediaTime::from_ticks(3 * MS), rebased: true });
    }

    #[test]
    fn of_several_programmes_a_clock_is_followed_as_long_as_one_of_them_has_it() {
        let mut clock = PcrClock::automatic();
        let pat = section::tests::section(0, 1, &[0, 1, 0xe0, 0x21, 0, 2, 0xe0, 0x22]);
        for bytes in section::tests::packets(0, &pat) {
            stamp(&mut clock, &bytes);
        }
        stamp(&mut clock, &packet(0x105, 0, Some(MS), 0));
        for (counter, pids, followed) in [(0, [4, 5], 0x105), (1, [4, 6], 0x104), (2, [7, 6], 0x107)] {
            for (programme, pid) in [1, 2].into_iter().zip(pids) {
                let pmt =
                    section::tests::section(2, programme, &[0xe1, pid, 0xf0, 0, 0x1b, 0xe1, pid, 0xf0, 0]);
                for mut bytes in section::tests::packets(0x20 + programme, &pmt) {
                    crate::packet::set_continuity_counter(&mut bytes, counter);
                    stamp(&mut clock, &bytes);
                }
            }
            assert_eq!(clock.pid(), Some(followed));
        }
    }

    #[test]
    fn a_pid_that_stopped_carrying_pcrs_is_given_up() {
        let mut clock = PcrClock::automatic();
        group(&mut clock, 0);
        for n in 0..u64::from(RIVAL_SAMPLES) {
            assert_eq!(clock.pid(), Some(0x100));
            stamp(&mut clock, &packet(0x200, 0, Some(n * 40 * MS), 0));
        }
        assert_eq!(clock.pid(), Some(0x200));
    }

    #[test]
    fn a_promise_of_the_last_interval_that_fails_is_waited_out_not_taken_back() {
        let mut clock = PcrClock::automatic();
        group(&mut clock, 0);
        group(&mut clock, 40 * MS);
        // The rate triples: thirty packets until the next PCR instead of ten.
        let ahead =
            (0..29).map(|n| stamp(&mut clock, &packet(0x100, n & 15, None, 0)).unwrap()).last().unwrap();
        assert_eq!(ahead.time.ticks(), 40 * MS + (9 + 29) * 4 * MS);
        let after = stamp(&mut clock, &packet(0x100, 0, Some(80 * MS), 0)).unwrap();
        assert_eq!(after, Stamp { time: ahead.time, rebased: false });
    }

    #[test]
    fn time_stops_half_a_second_after_the_last_pcr() {
        let mut clock = PcrClock::automatic();
        group(&mut clock, 0);
        group(&mut clock, 40 * MS);
        let ahead =
            (0..1000u16).filter_map(|_| stamp(&mut clock, &packet(0x100, 0, None, 0))).last().unwrap();
        assert_eq!(ahead.time.ticks(), 40 * MS + JUMP_TICKS);
    }

    proptest! {
        #[test]
        fn time_never_steps_back_nor_leaps(
            first in 0..PCR_MODULUS,
            steps in proptest::collection::vec((0..700 * MS, 0u8..30, proptest::bool::weighted(0.05)), 1..60),
        ) {
            let mut clock = PcrClock::automatic();
            let (mut pcr, mut stamps) = (first, Vec::new());
            for (step, packets, jumps) in steps {
                pcr = (pcr + if jumps { step * 100_000 } else { step }) % PCR_MODULUS;
                stamps.extend(stamp(&mut clock, &packet(0x100, 0, Some(pcr), 0)));
                stamps.extend((0..packets).filter_map(|_| stamp(&mut clock, &packet(0x100, 0, None, 0))));
            }
            for pair in stamps.windows(2) {
                prop_assert!(pair[0].time <= pair[1].time);
                prop_assert!(pair[1].time.ticks() - pair[0].time.ticks() <= 700 * MS);
            }
        }
    }
}
