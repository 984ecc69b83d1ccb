//! Joins the packets of one source of a channel to those of another, so that they are one legal transport stream.
//!
//! ```text
//! cut ─► PAT, PMT ─► first PCR ─► each PID from its next PES packet or section on, pictures from a random access point on
//! ```
//!
//! Continuity counters go on across a cut (ISO/IEC 13818-1 §2.4.3.3), so that no break of them has to be announced; a
//! gap within a source stays a gap. The first PCR of a new time base says `discontinuity_indicator`, and nothing that is
//! dated by that time base comes before it (§2.4.3.5). PAT and PMT are sent on section by section, each with the next
//! `version_number` where it says something else than the one before (§2.4.4.5, §2.4.4.9).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

use media::Packet;
use media::packet::{self, NULL_PID, PACKET_BYTES, PID_COUNT, PacketBytes, SYNC_BYTE};
use media::psi::PAT_PID;
use media::random_access::{Place, RandomAccessFinder};
use media::section::{Section, SectionAssembler, crc32};
use protocols::time::Time;

use crate::source_watch::Tables;

/// After a cut, pictures begin without a random access point, and packets without a PCR, when none came for this long.
pub const JOIN_PATIENCE: Duration = Duration::from_secs(2);
/// Packets held at most until it is known whether a picture that begins is a random access point; then they go on as if
/// it were none.
pub const HELD_PACKETS_MAX: usize = 64;
/// PIDs of PMTs followed; sections on further ones are passed on as packets.
pub const PMT_PIDS_MAX: usize = 256;
/// Sections of one PID whose versions are followed; further ones keep the version that they have.
pub const SECTIONS_MAX: usize = 64;

const TABLE_PAT: u8 = 0;
const TABLE_PMT: u8 = 2;
const UNSEEN: u8 = 0xff;
/// Where the flags of an adaptation field stand in a packet.
const FLAGS_AT: usize = 5;
const DISCONTINUITY: u8 = 0x80;
/// Every `stream_type` of pictures in which random access points are found (§2.4.4.9, table 2-34).
const PICTURES: [u8; 13] = [0x01, 0x02, 0x10, 0x1b, 0x21, 0x24, 0x32, 0x33, 0x35, 0x42, 0xd2, 0xd4, 0xea];

/// Joins the sources of one channel.
#[derive(Debug)]
pub struct Seam {
    pids: Box<[Pid]>,
    /// Number of the newest cut.
    epoch: u16,
    tables: BTreeMap<u16, Table>,
    /// Where the PCRs are, by the newest PMT.
    pcr_pid: Option<u16>,
    /// Where the pictures are, likewise.
    pictures: Option<u16>,
    /// The next PCR begins a new time base.
    base_due: bool,
    joining: Option<Joining>,
}

/// What was sent on a PID.
#[derive(Debug, Clone, Copy)]
struct Pid {
    /// The counter that was sent last, or [`UNSEEN`].
    sent: u8,
    /// Added to the counters that come.
    shift: u8,
    /// The cut after which its packets pass.
    epoch: u16,
}

/// Sections on a PID.
#[derive(Debug, Default)]
struct Table {
    assembler: SectionAssembler,
    sent: BTreeMap<(u8, u16), Sent>,
    newest: Option<Sent>,
}

/// What was sent of a section: its version, and a hash of all else.
#[derive(Debug, Clone, Copy)]
struct Sent {
    version: u8,
    hash: u64,
}

/// Behind a cut, until the pictures are there.
#[derive(Debug)]
struct Joining {
    since: Time,
    /// The PMT was sent.
    mapped: bool,
    finder: RandomAccessFinder,
    /// Packets that the finder has seen.
    seen: u64,
    /// Packets from a picture's beginning on, until it is known of which kind it is.
    held: Vec<PacketBytes>,
    /// Number of the first of them.
    held_from: u64,
}

impl Default for Seam {
    fn default() -> Self {
        Self::new()
    }
}

impl Seam {
    /// At the beginning of the first source, all of whose packets pass.
    pub fn new() -> Self {
        Self {
            pids: vec![Pid { sent: UNSEEN, shift: 0, epoch: 0 }; PID_COUNT].into_boxed_slice(),
            epoch: 0,
            tables: BTreeMap::from([(PAT_PID, Table::default())]),
            pcr_pid: None,
            pictures: None,
            base_due: false,
            joining: None,
        }
    }

    /// The packets that come next are of another source, of which `service` counts, or of one that was opened anew. Where
    /// its tables are known they are sent first. Where nothing was sent yet there is nothing to join.
    pub fn cut(
        &mut self,
        now: Time,
        service: Option<u16>,
        tables: Option<Tables<'_>>,
        out: &mut Vec<PacketBytes>,
    ) {
        if self.is_fresh() {
            return;
        }
        self.epoch = self.epoch.wrapping_add(1);
        (self.pcr_pid, self.pictures, self.base_due) = (None, None, true);
        for table in self.tables.values_mut() {
            table.assembler = SectionAssembler::default();
            table.sent.clear();
        }
        let finder = RandomAccessFinder::new(service);
        let joining = Joining { since: now, mapped: false, finder, seen: 0, held: Vec::new(), held_from: 0 };
        let joining = self.joining.insert(joining);
        if let Some(Tables { pat, pmt_pid, pmt }) = tables {
            for (pid, section) in [(PAT_PID, pat), (pmt_pid, pmt)] {
                // Each has packets of its own, which begin a section.
                packetise(pid, &mut 0, section, |bytes| {
                    joining.look(bytes);
                });
            }
            self.section(PAT_PID, pat, out);
            self.section(pmt_pid, pmt, out);
        }
    }

    /// Takes the next packet and appends what becomes of it.
    pub fn push(&mut self, now: Time, bytes: &PacketBytes, out: &mut Vec<PacketBytes>) {
        let Ok(packet) = Packet::parse(bytes) else { return };
        if packet.pid() == NULL_PID {
            out.push(*bytes);
        } else if self.tables.contains_key(&packet.pid()) {
            if let Some(joining) = &mut self.joining {
                joining.look(bytes);
            }
            self.table(packet, out);
        } else if self.joining.is_some() {
            self.join(now, packet, out);
        } else {
            self.admit(packet, out);
        }
    }

    /// Whether nothing was sent yet.
    pub fn is_fresh(&self) -> bool {
        self.pids.iter().all(|pid| pid.sent == UNSEEN)
    }

    /// A packet behind a cut, before the pictures are there.
    fn join(&mut self, now: Time, packet: Packet<'_>, out: &mut Vec<PacketBytes>) {
        let Some(joining) = &mut self.joining else { return };
        if now >= joining.since + JOIN_PATIENCE {
            let held = std::mem::take(&mut joining.held);
            self.joining = None;
            held.iter().filter_map(|bytes| Packet::parse(bytes).ok()).for_each(|held| self.admit(held, out));
            return self.admit(packet, out);
        }
        let number = joining.seen;
        let picture = joining.look(packet.bytes());
        let begins_picture = self.pictures == Some(packet.pid()) && begins(packet);
        if begins_picture {
            // What was held before was no picture to begin with.
            self.release(Pictures::Wait, out);
        }
        let Some(joining) = &mut self.joining else { return };
        if begins_picture {
            joining.held_from = number;
        } else if joining.held.is_empty() {
            return self.settle(packet, Pictures::Wait, out);
        }
        joining.held.push(*packet.bytes());
        if picture.is_some_and(|picture| picture >= joining.held_from) {
            self.release(Pictures::Begin, out);
        } else if joining.held.len() >= HELD_PACKETS_MAX {
            self.release(Pictures::Wait, out);
        }
    }

    /// What was held goes on.
    fn release(&mut self, pictures: Pictures, out: &mut Vec<PacketBytes>) {
        let held = self.joining.as_mut().map(|joining| std::mem::take(&mut joining.held));
        for bytes in held.unwrap_or_default() {
            if let Ok(packet) = Packet::parse(&bytes) {
                self.settle(packet, pictures, out);
            }
        }
    }

    /// Sends what of a packet may be sent behind a cut.
    fn settle(&mut self, packet: Packet<'_>, pictures: Pictures, out: &mut Vec<PacketBytes>) {
        let Some(joining) = &self.joining else { return self.admit(packet, out) };
        if self.base_due && !(joining.mapped && self.is_clock(packet)) {
            return;
        }
        let is_picture = self.pictures == Some(packet.pid());
        if is_picture && pictures == Pictures::Wait {
            return self.clock(packet, out);
        }
        self.admit(packet, out);
        if is_picture || self.pictures.is_none() {
            self.joining = None;
        }
    }

    /// Sends a packet if its PID has begun, or begins with it; otherwise only its PCR.
    fn admit(&mut self, packet: Packet<'_>, out: &mut Vec<PacketBytes>) {
        let epoch = self.epoch;
        let Some(pid) = self.pids.get_mut(usize::from(packet.pid())) else { return };
        if pid.epoch != epoch {
            if !begins(packet) {
                return self.clock(packet, out);
            }
            let counter = packet.continuity_counter();
            let next = if pid.sent == UNSEEN { counter } else { pid.sent.wrapping_add(1) };
            *pid = Pid { sent: pid.sent, shift: next.wrapping_sub(counter) & 15, epoch };
        }
        pid.sent = packet.continuity_counter().wrapping_add(pid.shift) & 15;
        let counter = pid.sent;
        self.send(packet, *packet.bytes(), counter, out);
    }

    /// A packet's PCR without its payload, whose counter stands still (§2.4.3.3).
    fn clock(&mut self, packet: Packet<'_>, out: &mut Vec<PacketBytes>) {
        let Some(pid) = self.pids.get_mut(usize::from(packet.pid())) else { return };
        if packet.pcr().is_none() || packet.transport_error() {
            return;
        }
        if pid.sent == UNSEEN {
            pid.sent = packet.continuity_counter().wrapping_sub(u8::from(packet.has_payload())) & 15;
        }
        let (mut bytes, counter) = (*packet.bytes(), pid.sent);
        if packet.has_payload() {
            packet::strip_payload(&mut bytes);
        }
        self.send(packet, bytes, counter, out);
    }

    fn send(&mut self, packet: Packet<'_>, mut bytes: PacketBytes, counter: u8, out: &mut Vec<PacketBytes>) {
        packet::set_continuity_counter(&mut bytes, counter);
        if self.base_due && self.is_clock(packet) {
            // A PCR stands behind the flags of an adaptation field, so there are some.
            bytes[FLAGS_AT] |= DISCONTINUITY;
            self.base_due = false;
        }
        out.push(bytes);
    }

    fn is_clock(&self, packet: Packet<'_>) -> bool {
        let here = self.pcr_pid.is_none_or(|pid| pid == packet.pid());
        here && packet.pcr().is_some() && !packet.transport_error()
    }
}

/// Tables.
impl Seam {
    fn table(&mut self, packet: Packet<'_>, out: &mut Vec<PacketBytes>) {
        let Some(table) = self.tables.get_mut(&packet.pid()) else { return };
        if let Some(pid) = self.pids.get_mut(usize::from(packet.pid()))
            && pid.sent == UNSEEN
        {
            // Numbers go on also where the packets before did not come this way.
            pid.sent = packet.continuity_counter().wrapping_sub(1) & 15;
        }
        let mut assembler = std::mem::take(&mut table.assembler);
        assembler.push(packet, |section| self.section(packet.pid(), section, out));
        if let Some(table) = self.tables.get_mut(&packet.pid()) {
            table.assembler = assembler;
        }
    }

    /// Sends a section, in packets of its own. One whose CRC is wrong says nothing and is left out.
    fn section(&mut self, pid: u16, bytes: &[u8], out: &mut Vec<PacketBytes>) {
        let Some(section) = Section::parse(bytes) else { return };
        let mut bytes = bytes.to_vec();
        match (pid, section.table_id) {
            (PAT_PID, TABLE_PAT) if section.current => self.associate(&section),
            (_, TABLE_PMT) if section.current => self.map(&section),
            _ => {}
        }
        let epoch = self.epoch;
        if section.current
            && section.last_number == 0
            && let Some(table) = self.table_of(pid)
        {
            let version = table.version(&section, epoch > 0);
            set_version(&mut bytes, version);
        }
        let Some(state) = self.pids.get_mut(usize::from(pid)) else { return };
        let mut counter = if state.sent == UNSEEN { 0 } else { state.sent.wrapping_add(1) & 15 };
        packetise(pid, &mut counter, &bytes, |bytes| out.push(*bytes));
        *state = Pid { sent: counter.wrapping_sub(1) & 15, shift: 0, epoch };
    }

    fn table_of(&mut self, pid: u16) -> Option<&mut Table> {
        let full = self.tables.len() > PMT_PIDS_MAX;
        match self.tables.entry(pid) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(_) if full => None,
            Entry::Vacant(place) => Some(place.insert(Table::default())),
        }
    }

    /// Follows the PAT: where sections are looked for.
    fn associate(&mut self, section: &Section<'_>) {
        let listed: BTreeSet<u16> = section
            .body
            .chunks_exact(4)
            .filter(|entry| entry[..2] != [0, 0])
            .map(|entry| u16::from_be_bytes([entry[2] & 0x1f, entry[3]]))
            .filter(|pid| *pid != NULL_PID)
            .collect();
        if section.last_number == 0 {
            self.tables.retain(|pid, _| *pid == PAT_PID || listed.contains(pid));
        }
        for pid in listed {
            self.table_of(pid);
        }
    }

    /// Follows a PMT; of several behind a cut the first counts.
    fn map(&mut self, section: &Section<'_>) {
        let is_first = self.joining.as_ref().is_some_and(|joining| !joining.mapped);
        if !is_first {
            return;
        }
        let Some((&[high, low, info_high, info_low], rest)) = section.body.split_first_chunk::<4>() else {
            return;
        };
        self.pcr_pid = Some(u16::from_be_bytes([high & 0x1f, low])).filter(|pid| *pid != NULL_PID);
        let mut rest = rest.get(length_of(info_high, info_low)..).unwrap_or_default();
        while let Some((&[stream_type, high, low, info_high, info_low], behind)) =
            rest.split_first_chunk::<5>()
        {
            if PICTURES.contains(&stream_type) {
                self.pictures = Some(u16::from_be_bytes([high & 0x1f, low]));
                break;
            }
            rest = behind.get(length_of(info_high, info_low)..).unwrap_or_default();
        }
        if let Some(joining) = &mut self.joining {
            joining.mapped = true;
        }
    }
}

/// What becomes of a picture that begins behind a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pictures {
    /// It is not one to begin with.
    Wait,
    /// The stream of pictures begins with it.
    Begin,
}

impl Joining {
    /// Shows the finder the next packet; the number of the picture that it says is a random access point.
    fn look(&mut self, bytes: &PacketBytes) -> Option<u64> {
        let at = Place { number: self.seen, timestamp_90k: 0 };
        self.seen += 1;
        self.finder.push(at, bytes).point.map(|point| point.picture)
    }
}

impl Table {
    /// The version to send a section with; the next one where it says something new.
    fn version(&mut self, section: &Section<'_>, joined: bool) -> u8 {
        let key = (section.table_id, section.extension);
        let hash = hash(section);
        // Behind a cut a section continues whatever was sent last on its PID.
        let before = self.sent.get(&key).copied().or_else(|| self.newest.filter(|_| joined));
        let version = match before {
            Some(before) if before.hash == hash => before.version,
            Some(before) => (before.version + 1) & 0x1f,
            None => section.version,
        };
        let sent = Sent { version, hash };
        self.newest = Some(sent);
        if self.sent.len() < SECTIONS_MAX || self.sent.contains_key(&key) {
            self.sent.insert(key, sent);
        }
        version
    }
}

/// Whether a PES packet or a section begins in it.
fn begins(packet: Packet<'_>) -> bool {
    packet.payload_unit_start() && packet.has_payload() && !packet.transport_error()
}

fn hash(section: &Section<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u8(section.table_id);
    hasher.write_u16(section.extension);
    hasher.write(section.body);
    hasher.finish()
}

/// Writes `version_number`, and the CRC anew.
fn set_version(section: &mut [u8], version: u8) {
    let Some(end) = section.len().checked_sub(4) else { return };
    if let Some(byte) = section.get_mut(5) {
        *byte = (*byte & 0xc1) | (version << 1);
    }
    let crc = crc32(&section[..end]).to_be_bytes();
    section[end..].copy_from_slice(&crc);
}

fn length_of(high: u8, low: u8) -> usize {
    usize::from(u16::from_be_bytes([high & 0x0f, low]))
}

/// Cuts a section into packets of its own, filled up with stuffing (§2.4.4).
fn packetise(pid: u16, counter: &mut u8, section: &[u8], mut emit: impl FnMut(&PacketBytes)) {
    let [high, low] = pid.to_be_bytes();
    let mut rest = section;
    while !rest.is_empty() {
        let first = rest.len() == section.len();
        let mut bytes = [0xff; PACKET_BYTES];
        // `payload_unit_start_indicator`, and a pointer to the next byte.
        let begins = if first { 0x40 } else { 0 };
        bytes[..4].copy_from_slice(&[SYNC_BYTE, begins | high, low, 0x10 | *counter]);
        let from = if first { 5 } else { 4 };
        bytes[4] = if first { 0 } else { bytes[4] };
        let (part, after) = rest.split_at(rest.len().min(PACKET_BYTES - from));
        bytes[from..from + part.len()].copy_from_slice(part);
        emit(&bytes);
        *counter = (*counter + 1) & 15;
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use media::continuity::ContinuityCheck;
    use media::pes::PesTimes;
    use media::psi::ProgrammeTable;
    use proptest::prelude::*;

    use super::*;
    use crate::source_watch::SourceWatch;
    use crate::trial_source::{Flaw, TrialSource};

    fn views(packets: &[PacketBytes]) -> Vec<Packet<'_>> {
        packets.iter().map(|bytes| Packet::parse(bytes).unwrap()).collect()
    }

    fn continuity_errors(packets: &[PacketBytes]) -> u64 {
        let mut check = ContinuityCheck::new();
        views(packets).into_iter().for_each(|packet| {
            check.push(packet);
        });
        check.errors() + check.duplicates()
    }

    /// What goes out while `sources` follow each other, each for so many turns of 20 ms, all warm.
    fn joined(mut sources: Vec<TrialSource>, turns: &[(usize, usize)]) -> Vec<Vec<PacketBytes>> {
        let mut watches: Vec<SourceWatch> =
            sources.iter().map(|_| SourceWatch::new(Time::ZERO, None)).collect();
        let (mut seam, mut pieces, mut now) = (Seam::new(), Vec::new(), Time::ZERO);
        for &(source, count) in turns {
            let mut out = Vec::new();
            if !pieces.is_empty() {
                seam.cut(now, None, watches[source].tables(), &mut out);
            }
            for _ in 0..count {
                for (n, each) in sources.iter_mut().enumerate() {
                    let turn = each.turn();
                    watches[n].packets(now, &turn);
                    if n == source {
                        turn.iter().for_each(|packet| seam.push(now, packet, &mut out));
                    }
                }
                now += Duration::from_millis(20);
            }
            pieces.push(out);
        }
        pieces
    }

    #[test]
    fn the_first_source_passes_as_it_comes() {
        let (mut source, mut same) = (TrialSource::new(1, 7), TrialSource::new(1, 7));
        let (mut seam, mut out, mut expected) = (Seam::new(), Vec::new(), Vec::new());
        for _ in 0..100 {
            source.turn().iter().for_each(|packet| seam.push(Time::ZERO, packet, &mut out));
            expected.extend(same.turn());
        }
        let [pmt_pid, ..] = source.pids();
        let is_table =
            |bytes: &&PacketBytes| [PAT_PID, pmt_pid].contains(&Packet::parse(bytes).unwrap().pid());
        let no_tables = |packets: &[PacketBytes]| -> Vec<PacketBytes> {
            packets.iter().filter(|bytes| !is_table(bytes)).copied().collect()
        };
        assert!(no_tables(&out) == no_tables(&expected));
        assert_eq!((out.len(), continuity_errors(&out)), (expected.len(), 0));
    }

    #[test]
    fn another_source_begins_with_its_tables_its_clock_and_whole_units() {
        let (one, mut two) = (TrialSource::new(1, 7), TrialSource::new(2, 8));
        let pids = one.pids();
        two.set_pids(pids);
        let pieces = joined(vec![one, two], &[(0, 60), (1, 60)]);
        let after = views(&pieces[1]);
        assert_eq!(after[0].pid(), PAT_PID);
        let (mut table, both) = (ProgrammeTable::new(), pieces.concat());
        views(&both).into_iter().for_each(|packet| {
            table.push(packet);
        });
        assert_eq!(table.programmes().keys().copied().collect::<Vec<_>>(), [2]);
        let clock = after.iter().position(|packet| packet.pcr().is_some()).unwrap();
        assert!(after[clock].discontinuity());
        let dated = after.iter().position(|packet| PesTimes::parse(packet.payload()).is_some()).unwrap();
        assert!(clock <= dated);
        let announced = after.iter().filter(|packet| packet.discontinuity()).count();
        assert_eq!((announced, continuity_errors(&both)), (1, 0));
        let picture = after.iter().find(|packet| packet.pid() == pids[1] && packet.has_payload()).unwrap();
        assert!(picture.random_access() && picture.payload_unit_start());
    }

    #[test]
    fn versions_tell_that_tables_changed_and_only_then() {
        let mut sources = vec![TrialSource::new(1, 7), TrialSource::new(2, 8), TrialSource::new(2, 8)];
        let first = sources[0].pids();
        for source in &mut sources {
            source.set_pids(first);
        }
        let pieces = joined(sources, &[(0, 9), (1, 9), (2, 9), (0, 9)]);
        let mut versions = Vec::new();
        for packet in views(&pieces.concat()).into_iter().filter(|packet| packet.pid() == PAT_PID) {
            let version = packet.payload()[6] >> 1 & 0x1f;
            if versions.last() != Some(&version) {
                versions.push(version);
            }
        }
        assert_eq!(versions, [0, 1, 2]);
    }

    #[test]
    fn pictures_without_random_access_points_begin_when_patience_ends() {
        let (one, mut two) = (TrialSource::new(1, 7), TrialSource::new(2, 8));
        two.flaws.insert(Flaw::NoAccessPoints);
        let [_, pictures_pid, _] = two.pids();
        let pieces = joined(vec![one, two], &[(0, 60), (1, 120)]);
        let pictures = |packets: &[PacketBytes]| {
            views(packets)
                .iter()
                .filter(|packet| packet.pid() == pictures_pid && packet.has_payload())
                .count()
        };
        let (before, _) = pieces[1].split_at(pieces[1].len() / 2);
        assert_eq!(pictures(before), 0);
        assert!(pictures(&pieces[1]) > 0);
        assert_eq!(continuity_errors(&pieces.concat()), 0);
    }

    #[test]
    fn a_stream_without_pictures_goes_on_with_its_sound() {
        let (one, mut two) = (TrialSource::new(1, 7), TrialSource::new(2, 8));
        two.flaws.insert(Flaw::NoPictures);
        let pieces = joined(vec![one, two], &[(0, 60), (1, 5)]);
        assert!(views(&pieces[1]).iter().any(|packet| PesTimes::parse(packet.payload()).is_some()));
        assert_eq!(continuity_errors(&pieces.concat()), 0);
    }

    proptest! {
        /// Whatever follows whatever, on PIDs of their own or on the same ones, and however soon.
        #[test]
        fn what_goes_out_is_legal(turns in proptest::collection::vec((0usize..3, 1usize..40), 1..12), shared: bool) {
            let mut sources = vec![TrialSource::new(1, 3), TrialSource::new(1, 4), TrialSource::new(2, 5)];
            if shared {
                let pids = sources[0].pids();
                sources.iter_mut().for_each(|source| source.set_pids(pids));
            }
            let pieces = joined(sources, &turns);
            prop_assert_eq!(continuity_errors(&pieces.concat()), 0);
            for piece in &pieces[1..] {
                let after = views(piece);
                let clock = after.iter().position(|packet| packet.pcr().is_some()).unwrap_or(after.len());
                prop_assert!(after.get(clock).is_none_or(|packet| packet.discontinuity()));
                prop_assert!(after[..clock].iter().all(|packet| PesTimes::parse(packet.payload()).is_none()));
                prop_assert!(after.iter().filter(|packet| packet.discontinuity()).count() <= 1);
            }
        }

        #[test]
        fn no_packets_panic(seed: u64) {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut seam, mut source, mut out) = (Seam::new(), TrialSource::new(1, 7), Vec::new());
            for ms in 0..200 {
                let now = Time::from_ms(ms * 20);
                if random.u8(..8) == 0 {
                    seam.cut(now, None, None, &mut out);
                }
                for mut packet in source.turn() {
                    for _ in 0..random.usize(..5) {
                        packet[random.usize(1..188)] = random.u8(..);
                    }
                    seam.push(now, &packet, &mut out);
                }
                prop_assert!(seam.tables.len() <= PMT_PIDS_MAX + 1);
            }
        }
    }
}
