//! One multiplex in, many services out: each output is a transport stream of one programme.
//!
//! ```text
//!                     ┌─ PID 0 ────► Association ── changed ──► each output's PMT PID
//! packets ─► route ───┼─ PMT PID ──► Output (section) ── changed ──► its PIDs
//!            by PID   └─ others ───► the outputs that list the PID, as they came
//!
//! Searching --PAT--> Announced --PMT--> Flowing <--> Scrambled
//!     └─────PAT──> Missing <───gone from the PAT──────┘
//! ```
//!
//! Of a service its elementary streams, its entitlement messages and its PCR come out on the PIDs that they came on and
//! unaltered. The PAT is made anew for the one programme; the PMT is sent on section by section, whole, with a counter of
//! its own, so that services that share a PMT PID do not see each other's. Where a PCR is on another service's stream, its
//! packets come without that stream. All else is left out: null packets, SI, what no PMT lists.
//!
//! A new PMT is in force from the packet on that completes it. A PID that was given up and comes again is announced by
//! `discontinuity_indicator`.

mod association;
mod programme_map;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use programme_map::SERVICE_PIDS_MAX;

use crate::packet::{self, PACKET_BYTES, PID_COUNT, Packet, PacketBytes, SYNC_BYTE};
use crate::psi::PAT_PID;
use crate::section::{Section, SectionAssembler, crc32};
use crate::splice::Splicer;

use association::{Association, News};
use programme_map::{ProgrammeMap, Share};

/// Outputs of one multiplex; one more is refused.
pub const OUTPUTS_MAX: usize = 128;
/// A service of which all sound and pictures come scrambled for this long is scrambled.
pub const SCRAMBLED_AFTER: Duration = Duration::from_secs(1);

const TABLE_PMT: u8 = 0x02;
/// Bytes of payload that a packet has.
const PAYLOAD_BYTES: usize = PACKET_BYTES - 4;

/// One output's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u8);

/// All [`OUTPUTS_MAX`] outputs are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("all {OUTPUTS_MAX} outputs of the multiplex are taken")]
pub struct Full;

/// How a service fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No PAT has come yet.
    Searching,
    /// The PAT lists it; its PMT has not come yet.
    Announced,
    /// Its packets come out as they come in.
    Flowing,
    /// The same, but nobody can see or hear them.
    Scrambled,
    /// The PAT does not list it.
    Missing,
}

/// What a demultiplexer counts, from its beginning on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Sections of PAT and PMT thrown away because of their CRC or their syntax.
    pub broken_sections: u64,
    /// Services of the PAT left out because it lists more than [`crate::psi::PROGRAMMES_MAX`].
    pub ignored_services: u64,
    /// PIDs of PMTs left out: reserved ones, and those over [`SERVICE_PIDS_MAX`].
    pub refused_pids: u64,
    /// PMTs that changed a service's PIDs.
    pub changed_maps: u64,
}

/// The services of one multiplex, taken apart. Allocates where tables change, not by packet.
#[derive(Debug)]
pub struct Demultiplexer {
    association: Association,
    outputs: Vec<Option<Output>>,
    /// By PID.
    routes: Box<[Route]>,
    revision: u64,
    counters: Counters,
}

/// Who takes the packets of a PID: a bit for each slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Route {
    /// Those whose PMT is there.
    tables: u128,
    /// Those that take all packets, and those of them that a scrambled one concerns.
    streams: u128,
    watched: u128,
    /// Those that take the PCRs only.
    clocks: u128,
}

/// One service's stream.
#[derive(Debug)]
struct Output {
    service: u16,
    pmt_pid: Option<u16>,
    assembler: SectionAssembler,
    /// The PMT in force; empty before it was read.
    section: Vec<u8>,
    shares: BTreeMap<u16, Share>,
    splicer: Splicer,
    /// What the last PAT said: transport stream and PMT PID.
    stated: Option<(u16, u16)>,
    pat_version: u8,
    /// Counters of the packets that come next.
    pat_counter: u8,
    pmt_counter: u8,
    scrambled_since: Option<Duration>,
    scrambled: bool,
}

impl Default for Demultiplexer {
    fn default() -> Self {
        Self {
            association: Association::default(),
            outputs: Vec::new(),
            routes: vec![Route::default(); PID_COUNT].into_boxed_slice(),
            revision: 0,
            counters: Counters::default(),
        }
    }
}

impl Demultiplexer {
    /// A demultiplexer without outputs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an output for a service, which may have others.
    pub fn add(&mut self, service: u16) -> Result<Slot, Full> {
        let free = self.outputs.iter().position(Option::is_none).unwrap_or(self.outputs.len());
        let slot = u8::try_from(free).ok().filter(|_| free < OUTPUTS_MAX).map(Slot).ok_or(Full)?;
        if free == self.outputs.len() {
            self.outputs.push(None);
        }
        self.outputs[free] = Some(Output::new(service));
        self.associate(slot);
        self.revision += 1;
        Ok(slot)
    }

    /// Gives an output up.
    pub fn remove(&mut self, slot: Slot) {
        self.route(slot, BTreeMap::new());
        self.listen(slot, None);
        if let Some(place) = self.outputs.get_mut(slot.index()) {
            *place = None;
        }
        self.revision += 1;
    }

    /// The input was opened anew: what is known of it no longer counts. Outputs go on with their own counters.
    pub fn interrupt(&mut self) {
        self.association.forget();
        for slot in self.slots() {
            self.associate(slot);
        }
    }

    /// Takes the next packet and calls `emit` for each packet that comes out of it, in order.
    pub fn push(&mut self, now: Duration, packet: Packet<'_>, mut emit: impl FnMut(Slot, &PacketBytes)) {
        let pid = packet.pid();
        if pid == PAT_PID {
            return self.table_of_services(packet, emit);
        }
        let Some(&route) = self.routes.get(usize::from(pid)) else { return };
        if route == Route::default() {
            return;
        }
        for slot in members(route.tables) {
            self.table_of_streams(slot, packet, &mut emit);
        }
        for slot in members(route.streams) {
            let Some(Some(output)) = self.outputs.get_mut(slot.index()) else { continue };
            if route.watched >> slot.0 & 1 != 0 {
                output.note_scrambling(now, packet);
            }
            spliced(&mut output.splicer, packet.bytes(), &mut |bytes| emit(slot, bytes));
        }
        if route.clocks != 0 && packet.pcr().is_some() && !packet.transport_error() {
            for slot in members(route.clocks) {
                let Some(Some(output)) = self.outputs.get_mut(slot.index()) else { continue };
                output.clock(packet, |bytes| emit(slot, bytes));
            }
        }
    }

    /// How an output's service fares.
    pub fn state(&self, slot: Slot) -> State {
        match self.output(slot) {
            _ if !self.association.is_known() => State::Searching,
            Some(Output { pmt_pid: Some(_), section, scrambled, .. }) => match scrambled {
                _ if section.is_empty() => State::Announced,
                true => State::Scrambled,
                false => State::Flowing,
            },
            _ => State::Missing,
        }
    }

    /// The services that the PAT lists, in order; none before it was read.
    pub fn services(&self) -> impl Iterator<Item = u16> {
        self.association.services()
    }

    /// The PIDs that the outputs need as far as that is known; PID 0 always.
    pub fn pids(&self) -> BTreeSet<u16> {
        let outputs = self.outputs.iter().flatten();
        let needed = outputs.flat_map(|output| output.shares.keys().copied().chain(output.pmt_pid));
        needed.chain([PAT_PID]).collect()
    }

    /// Changes whenever [`Demultiplexer::pids`] may have.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        Counters {
            broken_sections: self.counters.broken_sections + self.association.broken(),
            ignored_services: self.association.ignored(),
            ..self.counters
        }
    }
}

/// Tables.
impl Demultiplexer {
    fn table_of_services(&mut self, packet: Packet<'_>, mut emit: impl FnMut(Slot, &PacketBytes)) {
        let news = self.association.push(packet);
        if news == News::Nothing {
            return;
        }
        for slot in self.slots() {
            if news == News::Changed {
                self.associate(slot);
            }
            let stream = self.association.transport_stream_id();
            let output = self.outputs.get_mut(slot.index()).and_then(Option::as_mut);
            if let Some(packet) = output.and_then(|output| output.pat(stream)) {
                emit(slot, &packet);
            }
        }
    }

    fn table_of_streams(
        &mut self,
        slot: Slot,
        packet: Packet<'_>,
        emit: &mut impl FnMut(Slot, &PacketBytes),
    ) {
        let Some(output) = self.output_mut(slot) else { return };
        let mut assembler = std::mem::take(&mut output.assembler);
        assembler.push(packet, |section| {
            if self.programme_map(slot, section) {
                let stream = self.association.transport_stream_id();
                let Some(output) = self.output_mut(slot) else { return };
                // Who begins to read here needs the PAT before it.
                if output.stated.is_none()
                    && let Some(packet) = output.pat(stream)
                {
                    emit(slot, &packet);
                }
                output.pmt(section, |packet| emit(slot, packet));
            }
        });
        if let Some(output) = self.output_mut(slot) {
            output.assembler = assembler;
        }
    }

    /// Whether `bytes` is the output's PMT, which is then in force.
    fn programme_map(&mut self, slot: Slot, bytes: &[u8]) -> bool {
        let Some(output) = self.output(slot) else { return false };
        if output.section == bytes {
            return true;
        }
        let Some(section) = Section::parse(bytes) else {
            self.counters.broken_sections += 1;
            return false;
        };
        let ours = section.table_id == TABLE_PMT && section.extension == output.service;
        // The map of a programme is one section (§2.4.4.9).
        if !ours || !section.current || section.number != 0 {
            return false;
        }
        let Some(map) = output.pmt_pid.and_then(|pid| ProgrammeMap::parse(pid, section.body)) else {
            self.counters.broken_sections += 1;
            return false;
        };
        self.counters.refused_pids += map.refused;
        if let Some(output) = self.output_mut(slot) {
            output.section.clear();
            output.section.extend_from_slice(bytes);
        }
        self.route(slot, map.shares);
        true
    }

    /// Follows what the PAT says of an output's service.
    fn associate(&mut self, slot: Slot) {
        let Some(output) = self.output(slot) else { return };
        let pmt_pid = self.association.pmt_pid(output.service);
        if pmt_pid == output.pmt_pid {
            return;
        }
        // A PMT that merely moved is in force until the one at the new place was read.
        let moved = pmt_pid.is_some_and(|pid| !output.shares.contains_key(&pid));
        if !moved {
            self.route(slot, BTreeMap::new());
        }
        self.listen(slot, pmt_pid);
    }

    fn listen(&mut self, slot: Slot, pmt_pid: Option<u16>) {
        let Some(output) = self.output_mut(slot) else { return };
        let before = std::mem::replace(&mut output.pmt_pid, pmt_pid);
        output.assembler = SectionAssembler::default();
        output.section.clear();
        if let Some(before) = before {
            output.splicer.cut_pid(before);
            self.routes[usize::from(before)].tables &= !slot.bit();
        }
        if let Some(pid) = pmt_pid {
            self.routes[usize::from(pid)].tables |= slot.bit();
        }
        self.revision += 1;
    }

    fn route(&mut self, slot: Slot, shares: BTreeMap<u16, Share>) {
        let Some(Some(output)) = self.outputs.get_mut(slot.index()) else { return };
        if output.shares == shares {
            return;
        }
        let before = std::mem::replace(&mut output.shares, shares);
        for (&pid, share) in &before {
            if output.shares.get(&pid).copied().map(Share::is_whole) != Some(share.is_whole()) {
                output.splicer.cut_pid(pid);
            }
            self.routes[usize::from(pid)].forget(slot);
        }
        for (&pid, share) in &output.shares {
            self.routes[usize::from(pid)].take(slot, *share);
        }
        output.scrambled_since = None;
        output.scrambled = false;
        self.counters.changed_maps += 1;
        self.revision += 1;
    }

    fn output(&self, slot: Slot) -> Option<&Output> {
        self.outputs.get(slot.index())?.as_ref()
    }

    fn output_mut(&mut self, slot: Slot) -> Option<&mut Output> {
        self.outputs.get_mut(slot.index())?.as_mut()
    }

    fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        let taken = (0..).zip(&self.outputs).filter(|(_, output)| output.is_some());
        members(taken.fold(0, |all, (n, _)| all | Slot(n).bit()))
    }
}

impl Slot {
    /// Its number, below [`OUTPUTS_MAX`].
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    fn bit(self) -> u128 {
        1 << self.0
    }
}

impl Route {
    fn forget(&mut self, slot: Slot) {
        self.streams &= !slot.bit();
        self.watched &= !slot.bit();
        self.clocks &= !slot.bit();
    }

    fn take(&mut self, slot: Slot, share: Share) {
        match share {
            Share::Whole { watched } => {
                self.streams |= slot.bit();
                self.watched |= if watched { slot.bit() } else { 0 };
            }
            Share::Clock => self.clocks |= slot.bit(),
        }
    }
}

impl Share {
    fn is_whole(self) -> bool {
        matches!(self, Self::Whole { .. })
    }
}

impl Output {
    fn new(service: u16) -> Self {
        Self {
            service,
            pmt_pid: None,
            assembler: SectionAssembler::default(),
            section: Vec::new(),
            shares: BTreeMap::new(),
            splicer: Splicer::new(),
            stated: None,
            pat_version: 0,
            pat_counter: 0,
            pmt_counter: 0,
            scrambled_since: None,
            scrambled: false,
        }
    }

    /// The next packet of PID 0, which lists this programme alone; `None` while there is none.
    fn pat(&mut self, transport_stream_id: u16) -> Option<PacketBytes> {
        let stating = (transport_stream_id, self.pmt_pid?);
        if self.stated.replace(stating).is_some_and(|stated| stated != stating) {
            self.pat_version = (self.pat_version + 1) & 0x1f;
        }
        let [stream_high, stream_low] = transport_stream_id.to_be_bytes();
        let [number_high, number_low] = self.service.to_be_bytes();
        let [pid_high, pid_low] = (0xe000 | stating.1).to_be_bytes();
        let mut section = [0; 16];
        section[..12].copy_from_slice(&[
            0x00,
            0xb0,
            13,
            stream_high,
            stream_low,
            0xc1 | (self.pat_version << 1),
            0,
            0,
            number_high,
            number_low,
            pid_high,
            pid_low,
        ]);
        let crc = crc32(&section[..12]).to_be_bytes();
        section[12..].copy_from_slice(&crc);
        let mut packet = None;
        packetise(PAT_PID, &mut self.pat_counter, &section, |bytes| packet = Some(*bytes));
        packet
    }

    /// The next packets of the PMT.
    fn pmt(&mut self, section: &[u8], mut emit: impl FnMut(&PacketBytes)) {
        let Some(pid) = self.pmt_pid else { return };
        let Self { pmt_counter, splicer, .. } = self;
        packetise(pid, pmt_counter, section, |bytes| spliced(splicer, bytes, &mut emit));
    }

    /// A packet's PCR without its payload, whose counter stands still (§2.4.3.3).
    fn clock(&mut self, packet: Packet<'_>, mut emit: impl FnMut(&PacketBytes)) {
        let mut bytes = *packet.bytes();
        packet::strip_payload(&mut bytes);
        bytes[3] &= 0x3f;
        let on_our_table = self.pmt_pid == Some(packet.pid());
        let counter = if on_our_table { self.pmt_counter.wrapping_sub(1) } else { 0 };
        packet::set_continuity_counter(&mut bytes, counter);
        spliced(&mut self.splicer, &bytes, &mut emit);
    }

    fn note_scrambling(&mut self, now: Duration, packet: Packet<'_>) {
        if !packet.has_payload() || packet.transport_error() {
            return;
        }
        if !packet.is_scrambled() {
            self.scrambled_since = None;
            self.scrambled = false;
            return;
        }
        let since = *self.scrambled_since.get_or_insert(now);
        self.scrambled |= now.saturating_sub(since) >= SCRAMBLED_AFTER;
    }
}

fn spliced(splicer: &mut Splicer, bytes: &PacketBytes, emit: &mut impl FnMut(&PacketBytes)) {
    if let Some(announcement) = Packet::parse(bytes).ok().and_then(|packet| splicer.push(packet)) {
        emit(&announcement);
    }
    emit(bytes);
}

/// Cuts a section into packets of its own, filled up with stuffing.
fn packetise(pid: u16, counter: &mut u8, section: &[u8], mut emit: impl FnMut(&PacketBytes)) {
    let [high, low] = pid.to_be_bytes();
    let mut rest = section;
    let mut first = true;
    while first || !rest.is_empty() {
        let mut bytes = [0xff; PACKET_BYTES];
        bytes[..4].copy_from_slice(&[SYNC_BYTE, high, low, 0x10 | *counter]);
        let mut from = PACKET_BYTES - PAYLOAD_BYTES;
        if first {
            // `payload_unit_start_indicator`, and a pointer to the next byte.
            bytes[1] |= 0x40;
            bytes[from] = 0;
            from += 1;
        }
        let (part, after) = rest.split_at(rest.len().min(PACKET_BYTES - from));
        bytes[from..from + part.len()].copy_from_slice(part);
        emit(&bytes);
        *counter = (*counter + 1) & 15;
        (rest, first) = (after, false);
    }
}

/// The slots whose bits are set, lowest first.
fn members(mut mask: u128) -> impl Iterator<Item = Slot> {
    std::iter::from_fn(move || {
        let lowest = u8::try_from(mask.trailing_zeros()).ok().filter(|_| mask != 0)?;
        mask &= mask - 1;
        Some(Slot(lowest))
    })
}

#[cfg(test)]
mod tests;
