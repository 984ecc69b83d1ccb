//! One source of a channel: whether it is good, and since when, or what is wrong with it.
//!
//! ```text
//! Bad --PAT, PMT and a PCR read, nothing wrong--> Good --no lock, no packets, no PCR, no service, closed--> Bad
//! ```
//!
//! It looks at every packet of the source, whether the channel is taken from it or not, and keeps its tables, so that a
//! change to it need not wait for them.

use std::fmt;
use std::time::Duration;

use media::Packet;
use media::packet::PacketBytes;
use media::psi::PAT_PID;
use media::section::{Section, SectionAssembler};
use protocols::time::Time;

/// Without a packet, or a new PCR, for this long a source is bad. MPEG has a PCR every 100 ms (ISO/IEC 13818-1 annex D).
pub const PATIENCE: Duration = Duration::from_millis(500);

const TABLE_PAT: u8 = 0;
const TABLE_PMT: u8 = 2;
/// `PCR_PID` of a programme without PCR (§2.4.4.9), and PID of null packets.
const NO_PID: u16 = 0x1fff;

/// What is wrong with a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It could not be opened, or ended; the text says why.
    Closed(String),
    /// The tuner has no lock.
    Lock,
    /// No packets come.
    Packets,
    /// The service is not there, or of no use; the text says why.
    Service(String),
    /// Packets come without the programme's PCR.
    Pcr,
    /// PAT and PMT have not been read yet.
    Tables,
}

/// Whether a source is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Nothing is wrong.
    Good {
        /// From then on without a break.
        since: Time,
    },
    /// Something is.
    Bad {
        /// When it was last good, or was opened first.
        since: Time,
        /// What is wrong now.
        fault: Fault,
    },
}

/// The tables of the programme that a source carries, as they came last; each a whole section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tables<'a> {
    /// The PAT.
    pub pat: &'a [u8],
    /// PID of the PMT.
    pub pmt_pid: u16,
    /// The PMT.
    pub pmt: &'a [u8],
}

/// Watches one source.
#[derive(Debug)]
pub struct SourceWatch {
    programme: Programme,
    opened: Time,
    closed: Option<(Time, String)>,
    unlocked: Option<Time>,
    /// What the demultiplexer says is wrong with the service.
    faulty: Option<(Time, String)>,
    packet: Option<Time>,
    /// The newest PCR, and when it came.
    pcr: Option<(u64, Time)>,
    health: Health,
}

/// The programme's tables.
#[derive(Debug, Default)]
struct Programme {
    /// Its number; `None`: the lowest in the PAT.
    wanted: Option<u16>,
    pat: Table,
    /// Number and PID of the PMT that the PAT names.
    found: Option<(u16, u16)>,
    /// The PAT was read and does not list it.
    missing_since: Option<Time>,
    pmt: Table,
}

#[derive(Debug, Default)]
struct Table {
    assembler: SectionAssembler,
    section: Vec<u8>,
}

impl SourceWatch {
    /// A source that is being opened; of its programmes `service` counts, or the one of the lowest number.
    pub fn new(now: Time, service: Option<u16>) -> Self {
        Self {
            programme: Programme { wanted: service, ..Programme::default() },
            opened: now,
            closed: None,
            unlocked: None,
            faulty: None,
            packet: None,
            pcr: None,
            health: Health::Bad { since: now, fault: Fault::Packets },
        }
    }

    /// It was opened anew: what was read of it before no longer counts.
    pub fn opened(&mut self, now: Time) {
        self.tick(now);
        let wanted = self.programme.wanted;
        self.programme = Programme { wanted, ..Programme::default() };
        (self.closed, self.unlocked, self.faulty) = (None, None, None);
        (self.opened, self.packet, self.pcr) = (now, None, None);
        self.tick(now);
    }

    /// It could not be opened, or ended.
    pub fn closed(&mut self, now: Time, cause: &str) {
        self.tick(now);
        self.closed.get_or_insert_with(|| (now, cause.to_owned()));
        self.tick(now);
    }

    /// What the tuner says of its lock.
    pub fn lock(&mut self, now: Time, locked: bool) {
        self.tick(now);
        self.unlocked = if locked { None } else { self.unlocked.or(Some(now)) };
        self.tick(now);
    }

    /// What is wrong with the service, by its demultiplexer; `None`: nothing.
    pub fn service(&mut self, now: Time, fault: Option<&str>) {
        self.tick(now);
        self.faulty = fault.map(|cause| match self.faulty.take() {
            Some((at, known)) if known == cause => (at, known),
            Some((at, _)) => (at, cause.to_owned()),
            None => (now, cause.to_owned()),
        });
        self.tick(now);
    }

    /// Takes the source's next packets.
    pub fn packets(&mut self, now: Time, packets: &[PacketBytes]) {
        self.tick(now);
        for packet in packets.iter().filter_map(|bytes| Packet::parse(bytes).ok()) {
            self.packet(now, packet);
        }
        self.tick(now);
    }

    /// Notices what has become of it by itself.
    pub fn tick(&mut self, now: Time) {
        let wrong = self.wrong(now);
        self.health = match (std::mem::replace(&mut self.health, Health::Good { since: now }), wrong) {
            (good @ Health::Good { .. }, None) => good,
            (Health::Bad { .. }, None) => Health::Good { since: now },
            (Health::Good { since }, Some((from, fault))) => Health::Bad { since: from.max(since), fault },
            (Health::Bad { since, .. }, Some((_, fault))) => Health::Bad { since, fault },
        };
    }

    /// When [`SourceWatch::tick`] is due.
    pub fn deadline(&self) -> Option<Time> {
        let Health::Good { .. } = self.health else { return None };
        let pcr = self.pcr.map(|(_, at)| at);
        self.packet.into_iter().chain(pcr).min().map(|at| at + PATIENCE)
    }

    /// Whether it is good, as of the last call.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The programme's tables; `None` until both were read.
    pub fn tables(&self) -> Option<Tables<'_>> {
        self.programme.tables()
    }

    fn packet(&mut self, now: Time, packet: Packet<'_>) {
        if packet.transport_error() || packet.pid() == NO_PID {
            return;
        }
        self.packet = Some(now);
        self.programme.push(now, packet);
        let pid = self.programme.pcr_pid();
        if let Some(pcr) = packet.pcr().filter(|_| pid.is_none_or(|pid| pid == packet.pid())) {
            // A clock that stands still is none.
            if self.pcr.is_none_or(|(before, _)| before != pcr) {
                self.pcr = Some((pcr, now));
            }
        }
    }

    /// What is wrong, and since when.
    fn wrong(&self, now: Time) -> Option<(Time, Fault)> {
        let late = |at: Option<Time>| {
            let at = at.unwrap_or(self.opened);
            (now >= at + PATIENCE).then_some(at)
        };
        if let Some((at, cause)) = &self.closed {
            return Some((*at, Fault::Closed(cause.clone())));
        }
        if let Some(at) = self.unlocked {
            return Some((at, Fault::Lock));
        }
        if let Some((at, cause)) = &self.faulty {
            return Some((*at, Fault::Service(cause.clone())));
        }
        if let Some(at) = late(self.packet) {
            return Some((at, Fault::Packets));
        }
        if let Some(at) = self.programme.missing_since {
            return Some((at, Fault::Service(self.programme.missing())));
        }
        if let Some(at) = late(self.pcr.map(|(_, at)| at)) {
            return Some((at, Fault::Pcr));
        }
        // Before anything is late, what has not come yet is no reason to call it good.
        match (self.packet, self.tables(), self.pcr) {
            (None, ..) => Some((self.opened, Fault::Packets)),
            (_, None, _) => Some((self.opened, Fault::Tables)),
            (.., None) => Some((self.opened, Fault::Pcr)),
            _ => None,
        }
    }
}

impl Programme {
    fn push(&mut self, now: Time, packet: Packet<'_>) {
        if packet.pid() == PAT_PID {
            if self.pat.push(packet, |section| section.table_id == TABLE_PAT) {
                self.associate(now);
            }
        } else if let Some((number, pid)) = self.found
            && packet.pid() == pid
        {
            self.pmt.push(packet, |section| section.table_id == TABLE_PMT && section.extension == number);
        }
    }

    /// Reads the PAT. One of several sections is looked for in whichever lists the programme.
    fn associate(&mut self, now: Time) {
        let Some(section) = Section::parse(&self.pat.section) else { return };
        let listed = section.body.chunks_exact(4).filter_map(|entry| {
            let number = u16::from_be_bytes([entry[0], entry[1]]);
            let pid = u16::from_be_bytes([entry[2] & 0x1f, entry[3]]);
            (number != 0).then_some((number, pid))
        });
        let found = match self.wanted {
            Some(wanted) => listed.into_iter().find(|(number, _)| *number == wanted),
            None => listed.into_iter().min(),
        };
        if found.is_none() && section.last_number > 0 {
            return;
        }
        if found != self.found {
            self.pmt = Table::default();
        }
        self.found = found;
        self.missing_since = if found.is_some() { None } else { self.missing_since.or(Some(now)) };
    }

    fn missing(&self) -> String {
        match self.wanted {
            Some(wanted) => format!("the multiplex does not list service {wanted}"),
            None => "the multiplex lists no service".to_owned(),
        }
    }

    fn tables(&self) -> Option<Tables<'_>> {
        let (_, pmt_pid) = self.found?;
        let (pat, pmt) = (&self.pat.section[..], &self.pmt.section[..]);
        (!pat.is_empty() && !pmt.is_empty()).then_some(Tables { pat, pmt_pid, pmt })
    }

    /// Where its PCRs are; `None` where nothing says so.
    fn pcr_pid(&self) -> Option<u16> {
        let [high, low] = *self.pmt.section.get(8..10)?.first_chunk()?;
        Some(u16::from_be_bytes([high & 0x1f, low])).filter(|pid| *pid != NO_PID)
    }
}

impl Table {
    /// Takes the PID's next packet; true when another section came that `counts`.
    fn push(&mut self, packet: Packet<'_>, counts: impl Fn(&Section<'_>) -> bool) -> bool {
        let Self { assembler, section: kept } = self;
        let mut changed = false;
        assembler.push(packet, |bytes| {
            // Tables are repeated many times a second.
            if kept == bytes {
                return;
            }
            if Section::parse(bytes).is_some_and(|section| section.current && counts(&section)) {
                kept.clear();
                kept.extend_from_slice(bytes);
                changed = true;
            }
        });
        changed
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(cause) | Self::Service(cause) => f.write_str(cause),
            Self::Lock => f.write_str("the tuner has no lock"),
            Self::Packets => f.write_str("no packets"),
            Self::Pcr => f.write_str("packets without PCR"),
            Self::Tables => f.write_str("no PAT and PMT yet"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::trial_source::{Flaw, TrialSource};

    fn at(ms: u64) -> Time {
        Time::from_ms(ms)
    }

    /// Packets every 20 ms from `from` to before `to`.
    fn play(watch: &mut SourceWatch, source: &mut TrialSource, from: u64, to: u64) {
        for ms in (from..to).step_by(20) {
            watch.packets(at(ms), &source.turn());
        }
    }

    fn good_source() -> (SourceWatch, TrialSource) {
        let (mut watch, mut source) = (SourceWatch::new(at(0), None), TrialSource::new(1, 7));
        play(&mut watch, &mut source, 0, 1_000);
        assert_eq!(*watch.health(), Health::Good { since: at(0) });
        (watch, source)
    }

    fn bad(since: u64, fault: Fault) -> Health {
        Health::Bad { since: at(since), fault }
    }

    #[test]
    fn a_source_is_good_once_its_tables_and_a_pcr_were_read() {
        let (mut watch, mut source) = (SourceWatch::new(at(0), None), TrialSource::new(1, 7));
        assert_eq!(*watch.health(), bad(0, Fault::Packets));
        let turn = source.turn();
        watch.packets(at(20), &turn[..1]);
        assert_eq!(*watch.health(), bad(0, Fault::Tables));
        watch.packets(at(25), &turn[1..2]);
        assert_eq!(*watch.health(), bad(0, Fault::Pcr));
        watch.packets(at(30), &turn[2..]);
        assert_eq!(*watch.health(), Health::Good { since: at(30) });
    }

    #[test]
    fn silence_is_noticed_half_a_second_after_the_last_packet_and_counts_from_it() {
        let (mut watch, mut source) = good_source();
        assert_eq!(watch.deadline(), Some(at(1_480)));
        watch.tick(at(1_479));
        assert_eq!(*watch.health(), Health::Good { since: at(0) });
        watch.tick(at(1_480));
        assert_eq!((watch.health(), watch.deadline()), (&bad(980, Fault::Packets), None));
        watch.packets(at(3_000), &source.turn());
        assert_eq!(*watch.health(), Health::Good { since: at(3_000) });
    }

    #[test]
    fn packets_without_pcr_and_a_pcr_that_stands_still_are_no_clock() {
        for flaw in [Flaw::NoPcr, Flaw::StandingPcr] {
            let (mut watch, mut source) = good_source();
            source.flaws.insert(flaw);
            play(&mut watch, &mut source, 1_000, 2_000);
            assert_eq!(*watch.health(), bad(980, Fault::Pcr));
        }
    }

    #[test]
    fn a_service_that_the_pat_drops_is_missing_and_is_found_again() {
        let (mut watch, mut source) = good_source();
        source.flaws.insert(Flaw::Unlisted);
        watch.packets(at(1_000), &source.turn());
        assert_eq!(*watch.health(), bad(1_000, Fault::Service("the multiplex lists no service".into())));
        source.flaws.clear();
        play(&mut watch, &mut source, 1_020, 1_100);
        assert_eq!(*watch.health(), Health::Good { since: at(1_020) });
    }

    #[test]
    fn another_service_than_the_wanted_one_is_no_service() {
        let (mut watch, mut source) = (SourceWatch::new(at(0), Some(9)), TrialSource::new(1, 7));
        play(&mut watch, &mut source, 0, 100);
        assert_eq!(*watch.health(), bad(0, Fault::Service("the multiplex does not list service 9".into())));
    }

    #[test]
    fn lock_scrambling_and_the_end_of_an_input_count_at_once() {
        let (mut watch, mut source) = good_source();
        watch.lock(at(1_000), false);
        watch.packets(at(1_010), &source.turn());
        assert_eq!(*watch.health(), bad(1_000, Fault::Lock));
        watch.lock(at(1_020), true);
        assert_eq!(*watch.health(), Health::Good { since: at(1_020) });
        watch.service(at(1_030), Some("scrambled"));
        watch.service(at(1_035), Some("scrambled"));
        assert_eq!(*watch.health(), bad(1_030, Fault::Service("scrambled".into())));
        watch.service(at(1_040), None);
        watch.closed(at(1_050), "exit status 1");
        assert_eq!(*watch.health(), bad(1_050, Fault::Closed("exit status 1".into())));
        watch.opened(at(1_100));
        assert_eq!(*watch.health(), bad(1_050, Fault::Packets));
        watch.packets(at(1_120), &source.turn());
        assert_eq!(*watch.health(), Health::Good { since: at(1_120) });
    }

    proptest! {
        #[test]
        fn no_packets_panic(seed: u64, rounds in 1usize..60) {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut watch, mut source) = (SourceWatch::new(at(0), None), TrialSource::new(1, 7));
            for ms in 0..rounds {
                let mut packets = source.turn();
                for packet in &mut packets {
                    for _ in 0..random.usize(..6) {
                        packet[random.usize(1..188)] = random.u8(..);
                    }
                }
                watch.packets(at(ms as u64 * 90), &packets);
                prop_assert!(watch.deadline().is_none_or(|due| due >= at(ms as u64 * 90)));
            }
        }
    }
}
