//! The tables of a stream as an analyser reads them: which came, which were damaged, and what the PMTs name.

use std::collections::BTreeMap;
use std::time::Duration;

use super::indicator::{Indicator, Tallies};
use super::pids::{Carries, FIRST_FREE_PID};
use crate::packet::{NULL_PID, Packet};
use crate::psi::{PAT_PID, PrivateData, Programme, parse_pmt};
use crate::section::{Section, SectionAssembler, crc32};

/// Longest interval between two PATs, and between two sections of each PMT PID (TR 101 290, 1.3.a and 1.5.a).
pub const TABLE_INTERVAL: Duration = Duration::from_millis(500);

/// Programmes of one stream whose PMTs are followed; further ones in a PAT are ignored.
pub const PROGRAMMES_MAX: usize = 64;

const TABLE_PAT: u8 = 0x00;
const TABLE_CAT: u8 = 0x01;
const TABLE_PMT: u8 = 0x02;
/// NIT (actual, other), SDT (actual, other), BAT, and all of the EIT (EN 300 468 §5.1.3, table 2).
const CHECKED: [std::ops::RangeInclusive<u8>; 5] =
    [0x40..=0x41, 0x42..=0x42, 0x46..=0x46, 0x4a..=0x4a, 0x4e..=0x6f];
/// Time offset table: the one short section that has a CRC.
const TABLE_TOT: u8 = 0x73;

/// What a packet's sections brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Brought {
    /// The programmes are others than before.
    pub(super) programmes: bool,
    /// A CAT was there.
    pub(super) cat: bool,
}

/// The tables of one stream.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pids: BTreeMap<u16, TablePid>,
    programmes: BTreeMap<u16, Programme>,
}

/// One PID's sections.
#[derive(Debug, Default)]
struct TablePid {
    assembler: SectionAssembler,
    /// The section that was read last.
    read: Vec<u8>,
    /// When its table came last, or its absence was counted last; `None` where it is not missed.
    since: Option<Duration>,
}

impl Tables {
    /// Takes a packet of a PID that carries tables.
    pub(super) fn push(
        &mut self,
        now: Duration,
        carries: Carries,
        packet: Packet<'_>,
        tallies: &mut Tallies,
    ) -> Brought {
        let pid = packet.pid();
        let TablePid { mut assembler, mut read, mut since } =
            std::mem::take(self.pids.entry(pid).or_default());
        let mut brought = Brought::default();
        assembler.push(packet, |bytes| {
            let table = bytes.first().copied().unwrap_or(u8::MAX);
            let known = read == bytes;
            if !known && has_crc(carries, bytes) && crc32(bytes) != 0 {
                tallies.raise(Indicator::Crc, now);
                return;
            }
            match (carries, table) {
                (Carries::Pat, TABLE_PAT) | (Carries::Pmt, TABLE_PMT) => {
                    let overdue = since.is_some_and(|since| now.saturating_sub(since) > TABLE_INTERVAL);
                    tallies.raise_by(missed(carries), now, u64::from(overdue));
                    since = Some(now);
                }
                (Carries::Pat, _) => tallies.raise(Indicator::Pat, now),
                (Carries::Cat, TABLE_CAT) => brought.cat = true,
                (Carries::Cat, _) => tallies.raise(Indicator::Cat, now),
                _ => {}
            }
            // Tables are repeated many times a second: what was read just before says nothing new.
            if !known {
                brought.programmes |= self.section(now, pid, bytes);
                read.clear();
                read.extend_from_slice(bytes);
            }
        });
        // It may have gone with its programme.
        if let Some(place) = self.pids.get_mut(&pid) {
            *place = TablePid { assembler, read, since };
        }
        brought
    }

    /// From `now` on PAT and PMTs are missed; torn sections are forgotten.
    pub(super) fn restart(&mut self, now: Duration) {
        self.pids.entry(PAT_PID).or_default();
        for (pid, table) in &mut self.pids {
            table.assembler = SectionAssembler::default();
            let is_missed =
                *pid == PAT_PID || self.programmes.values().any(|programme| programme.pmt_pid == *pid);
            table.since = is_missed.then_some(now);
        }
    }

    /// Counts tables that have not come.
    pub(super) fn sweep(&mut self, now: Duration, tallies: &mut Tallies) {
        for (pid, table) in &mut self.pids {
            if table.since.is_some_and(|since| now.saturating_sub(since) > TABLE_INTERVAL) {
                tallies.raise(if *pid == PAT_PID { Indicator::Pat } else { Indicator::Pmt }, now);
                table.since = Some(now);
            }
        }
    }

    /// The programmes as PAT and PMTs describe them.
    pub(super) fn programmes(&self) -> impl Iterator<Item = &Programme> {
        self.programmes.values()
    }

    /// Reads a section whose CRC is right; true when the programmes change.
    fn section(&mut self, now: Duration, pid: u16, bytes: &[u8]) -> bool {
        let Some(section) = Section::parse(bytes).filter(|section| section.current) else { return false };
        match (section.table_id, pid) {
            (TABLE_PAT, PAT_PID) => self.pat(now, &section),
            (TABLE_PMT, _) => self.pmt(pid, &section),
            _ => false,
        }
    }

    fn pat(&mut self, now: Duration, section: &Section<'_>) -> bool {
        let mut listed = BTreeMap::new();
        if section.number > 0 {
            listed.extend(self.programmes.iter().map(|(&number, programme)| (number, programme.pmt_pid)));
        }
        for entry in section.body.chunks_exact(4) {
            let number = u16::from_be_bytes([entry[0], entry[1]]);
            let pmt_pid = u16::from_be_bytes([entry[2] & 0x1f, entry[3]]);
            // Number 0 is the network PID (§2.4.4.5).
            let names_pmt = number != 0 && (FIRST_FREE_PID..NULL_PID).contains(&pmt_pid);
            if names_pmt && (listed.len() < PROGRAMMES_MAX || listed.contains_key(&number)) {
                listed.insert(number, pmt_pid);
            }
        }
        if listed.iter().eq(self.programmes.iter().map(|(number, programme)| (number, &programme.pmt_pid))) {
            return false;
        }
        self.pids.retain(|pid, _| *pid < FIRST_FREE_PID || listed.values().any(|listed| listed == pid));
        let mut before = std::mem::take(&mut self.programmes);
        for (number, pmt_pid) in listed {
            let table = self.pids.entry(pmt_pid).or_default();
            table.since.get_or_insert(now);
            // A programme that is listed anew has to be read anew, though its section be the same.
            table.read.clear();
            let kept = before.remove(&number).filter(|programme| programme.pmt_pid == pmt_pid);
            self.programmes.insert(number, kept.unwrap_or(Programme { pmt_pid, ..Programme::default() }));
        }
        true
    }

    fn pmt(&mut self, pid: u16, section: &Section<'_>) -> bool {
        let Some(programme) = self.programmes.get_mut(&section.extension) else { return false };
        let Some((read, _)) = parse_pmt(pid, section.body) else { return false };
        if programme.pmt_pid != pid || *programme == read {
            return false;
        }
        *programme = read;
        true
    }
}

/// What is counted when a PID's table does not come.
fn missed(carries: Carries) -> Indicator {
    if carries == Carries::Pat { Indicator::Pat } else { Indicator::Pmt }
}

/// Whether the section is one of those whose CRC counts (TR 101 290, 2.2).
fn has_crc(carries: Carries, bytes: &[u8]) -> bool {
    let (Some(&table), Some(&flags)) = (bytes.first(), bytes.get(1)) else { return false };
    let long = flags & 0x80 != 0;
    match carries {
        Carries::Data => false,
        Carries::Pat => long && table == TABLE_PAT,
        Carries::Cat => long && table == TABLE_CAT,
        Carries::Pmt => long && table == TABLE_PMT,
        Carries::Information => {
            table == TABLE_TOT || long && CHECKED.iter().any(|tables| tables.contains(&table))
        }
    }
}

/// What a stream is, as far as it is expected to come steadily.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Steady {
    /// Sound or pictures: packets and PTS.
    Presented,
    /// Subtitles, data, signalling: as they please.
    No,
}

/// By stream type (§2.4.4.9, table 2-34; ATSC A/53 part 3 for 0x81 and 0x87) and, for private data, its descriptors.
pub(super) fn steady(stream_type: u8, private: Option<PrivateData>) -> Steady {
    match stream_type {
        0x01..=0x04 | 0x0f | 0x10 | 0x11 | 0x1b | 0x1c | 0x20 | 0x24 | 0x2d | 0x33 | 0x81 | 0x87 | 0xd1 => {
            Steady::Presented
        }
        0x06 => match private {
            Some(PrivateData::Ac3 | PrivateData::EnhancedAc3 | PrivateData::Dts) => Steady::Presented,
            _ => Steady::No,
        },
        _ => Steady::No,
    }
}
