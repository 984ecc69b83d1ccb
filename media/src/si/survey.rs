//! A survey of a multiplex: its services with names, codings and numbers, and the other multiplexes of its network.
//!
//! ```text
//! packets ─► PAT, PMT ─┬─► services
//!            SDT, VCT ─┤   names, types, numbers
//!            NIT ──────┘   numbers, other multiplexes
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::nit::{self, Nit};
use super::psip::{self, stt::Stt, vct};
use super::sdt::{self, Sdt};
use super::seen::{SectionName, SeenSections};
use super::time::TimeTable;
use super::{cat, codec};
use crate::packet::{NULL_PID, Packet};
use crate::psi::{Programme, ProgrammeTable};
use crate::section::{Section, SectionAssembler};

/// Services told of one multiplex; further ones are ignored and counted.
pub const SERVICES_MAX: usize = crate::psi::PROGRAMMES_MAX;
/// Multiplexes kept of a network; further ones are ignored and counted.
pub const MULTIPLEXES_MAX: usize = 256;
/// Conditional access systems kept; further ones are ignored and counted.
pub const SYSTEMS_MAX: usize = 32;
/// Tables that are told apart; far more than one multiplex has of those that are read here.
const TABLES_MAX: usize = 512;

/// The PIDs that are read beside those of the PAT.
const PIDS: [u16; 5] = [cat::PID, nit::PID, sdt::PID, super::time::PID, psip::BASE_PID];

/// What is found out about a multiplex, from its packets.
#[derive(Debug)]
pub struct Survey {
    programmes: ProgrammeTable,
    assemblers: BTreeMap<u16, SectionAssembler>,
    seen: SeenSections,
    described: BTreeMap<u16, Described>,
    scrambled_pids: BTreeSet<u16>,
    packets: u64,
    found: Multiplex,
    sections_bad: u64,
    ignored: u64,
}

/// What a multiplex says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Multiplex {
    /// Which it is, as its SDT or VCT says.
    pub transport_stream_id: Option<u16>,
    /// Its network, as the NIT calls it; may be empty.
    pub network: String,
    /// The multiplexes of its network.
    pub multiplexes: Vec<nit::Multiplex>,
    /// What time it is, seconds since 1970-01-01.
    pub unix_s: Option<i64>,
    /// The conditional access systems of the CAT.
    pub systems: BTreeSet<u16>,
}

/// What SDT and VCT say of a service.
#[derive(Debug, Clone, Default)]
struct Described {
    name: String,
    provider: String,
    kind: Option<&'static str>,
    number: Option<String>,
    conditional_access: bool,
    hidden: bool,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The programme number.
    pub id: u16,
    /// What it is called; may be empty.
    pub name: String,
    /// Who provides it; may be empty.
    pub provider: String,
    /// `television`, `radio`, …; `None`: not said.
    pub kind: Option<&'static str>,
    /// Its number on a remote control: `7`, or `7.1` in ATSC.
    pub number: Option<String>,
    /// What its streams are coded with, in the order of the PMT; `data` stands there once for all that have no name.
    pub codecs: Vec<&'static str>,
    /// Whether everybody can see it.
    pub access: Access,
    /// Whether viewers are not to see it in lists.
    pub hidden: bool,
    /// Whether the PAT lists it; a service that only the SDT has is not on the air.
    pub on_air: bool,
}

/// Who can see a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Free,
    /// The tables say that access is controlled; no packet of it was scrambled so far.
    Controlled,
    /// It is scrambled now.
    Scrambled,
}

impl Default for Survey {
    fn default() -> Self {
        Self::new()
    }
}

impl Survey {
    /// A survey of which nothing was seen.
    pub fn new() -> Self {
        Self {
            programmes: ProgrammeTable::new(),
            assemblers: PIDS.iter().map(|&pid| (pid, SectionAssembler::default())).collect(),
            seen: SeenSections::with_limit(TABLES_MAX),
            described: BTreeMap::new(),
            scrambled_pids: BTreeSet::new(),
            packets: 0,
            found: Multiplex::default(),
            sections_bad: 0,
            ignored: 0,
        }
    }

    /// Takes the next packet of the multiplex.
    pub fn push(&mut self, packet: Packet<'_>) {
        let pid = packet.pid();
        if pid == NULL_PID || packet.transport_error() {
            return;
        }
        self.packets += 1;
        if packet.is_scrambled() {
            self.scrambled_pids.insert(pid);
            return;
        }
        self.programmes.push(packet);
        let Some(assembler) = self.assemblers.get_mut(&pid) else { return };
        let mut assembler = std::mem::take(assembler);
        assembler.push(packet, |bytes| self.section(pid, bytes));
        self.assemblers.insert(pid, assembler);
    }

    /// Whether the programmes, their names and the network are known: more will not come.
    pub fn is_complete(&self) -> bool {
        let complete = |table_id| {
            let mut tables = self.seen.tables().filter(move |table| table.table_id == table_id).peekable();
            tables.peek().is_some() && tables.all(|table| self.seen.is_complete(table))
        };
        let names = complete(sdt::TABLE_ACTUAL) && complete(nit::TABLE_ACTUAL);
        self.programmes.is_complete()
            && (names || complete(vct::TABLE_TERRESTRIAL) || complete(vct::TABLE_CABLE))
    }

    /// What the multiplex says of itself.
    pub fn multiplex(&self) -> &Multiplex {
        &self.found
    }

    /// The services by their ids.
    pub fn services(&self) -> Vec<Service> {
        let programmes = self.programmes.programmes();
        let ids: BTreeSet<u16> = programmes.keys().chain(self.described.keys()).copied().collect();
        ids.into_iter().map(|id| self.service(id, programmes.get(&id))).collect()
    }

    /// Packets seen, without null packets and those with errors.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Sections thrown away: a wrong CRC, or torn inside.
    pub fn sections_bad(&self) -> u64 {
        self.sections_bad + self.programmes.crc_errors()
    }

    /// Services, multiplexes and tables left out because there are too many.
    pub fn ignored(&self) -> u64 {
        self.ignored + self.seen.ignored() + self.programmes.ignored()
    }

    fn service(&self, id: u16, programme: Option<&Programme>) -> Service {
        let described = self.described.get(&id).cloned().unwrap_or_default();
        let streams = programme.map_or(&[][..], |programme| &programme.streams);
        let mut codecs = Vec::new();
        for stream in streams {
            let name = codec::name(stream);
            if name != "data" || !codecs.contains(&name) {
                codecs.push(name);
            }
        }
        Service {
            id,
            name: described.name,
            provider: described.provider,
            kind: described.kind,
            number: described.number.or_else(|| self.logical_number(id)),
            codecs,
            access: if streams.iter().any(|stream| self.scrambled_pids.contains(&stream.pid)) {
                Access::Scrambled
            } else if described.conditional_access {
                Access::Controlled
            } else {
                Access::Free
            },
            hidden: described.hidden,
            on_air: programme.is_some(),
        }
    }

    /// The number that the NIT gives a service of this multiplex.
    fn logical_number(&self, id: u16) -> Option<String> {
        let is_this = |multiplex: &&nit::Multiplex| {
            self.found.transport_stream_id.is_none_or(|this| this == multiplex.transport_stream_id)
        };
        let mut numbers =
            self.found.multiplexes.iter().filter(is_this).flat_map(|multiplex| &multiplex.numbers);
        numbers.find(|number| number.service_id == id).map(|number| number.number.to_string())
    }

    fn section(&mut self, pid: u16, bytes: &[u8]) {
        if pid == super::time::PID {
            match TimeTable::parse(bytes) {
                Some(table) => self.found.unix_s = Some(table.unix_s),
                None => self.sections_bad += 1,
            }
            return;
        }
        let Some(name) = SectionName::read(pid, bytes).filter(|name| !self.seen.knows(name)) else { return };
        let read = match Section::parse(bytes) {
            Some(section) => self.table(&section),
            None => None,
        };
        match read {
            Some(()) => _ = self.seen.note(&name),
            None => self.sections_bad += 1,
        }
    }

    /// Takes a section of any table; `None` when it is torn.
    fn table(&mut self, section: &Section<'_>) -> Option<()> {
        match section.table_id {
            sdt::TABLE_ACTUAL => {
                let sdt = Sdt::parse(section)?;
                self.found.transport_stream_id = Some(sdt.transport_stream_id);
                sdt.services.into_iter().for_each(|service| self.describe(service));
            }
            nit::TABLE_ACTUAL => self.network(Nit::parse(section)?),
            vct::TABLE_TERRESTRIAL | vct::TABLE_CABLE => {
                self.found.transport_stream_id = Some(section.extension);
                vct::parse(section)?
                    .into_iter()
                    .for_each(|channel| self.describe_virtual(channel, section.extension));
            }
            psip::stt::TABLE => self.found.unix_s = Some(Stt::parse(section)?.unix_s()),
            cat::TABLE => {
                for system in cat::parse(section)? {
                    if self.found.systems.len() < SYSTEMS_MAX {
                        self.found.systems.insert(system);
                    } else {
                        self.ignored += 1;
                    }
                }
            }
            _ => {}
        }
        Some(())
    }

    fn describe(&mut self, service: sdt::Service) {
        let described = Described {
            name: service.name,
            provider: service.provider,
            kind: service.service_type.map(sdt::type_name),
            number: None,
            conditional_access: service.conditional_access,
            hidden: false,
        };
        self.keep(service.id, described);
    }

    fn describe_virtual(&mut self, channel: vct::VirtualChannel, transport_stream_id: u16) {
        // Channels of other multiplexes, analogue ones, and those that are off the air have no programme here.
        let is_here = channel.transport_stream_id == transport_stream_id;
        if !is_here || [0, 0xffff].contains(&channel.programme) {
            return;
        }
        let kind = match channel.service_type {
            1 | 2 => "television",
            3 => "radio",
            4 => "data",
            _ => "other",
        };
        let described = Described {
            name: channel.name,
            provider: String::new(),
            kind: Some(kind),
            number: Some(channel.number.to_string()),
            conditional_access: channel.conditional_access,
            hidden: channel.hidden,
        };
        self.keep(channel.programme, described);
    }

    fn keep(&mut self, id: u16, described: Described) {
        if self.described.len() < SERVICES_MAX || self.described.contains_key(&id) {
            self.described.insert(id, described);
        } else {
            self.ignored += 1;
        }
    }

    fn network(&mut self, nit: Nit) {
        if !nit.name.is_empty() {
            self.found.network = nit.name;
        }
        for multiplex in nit.multiplexes {
            let room = self.found.multiplexes.len() < MULTIPLEXES_MAX;
            let key =
                |multiplex: &nit::Multiplex| (multiplex.original_network_id, multiplex.transport_stream_id);
            match self.found.multiplexes.iter_mut().find(|known| key(known) == key(&multiplex)) {
                Some(known) => *known = multiplex,
                None if room => self.found.multiplexes.push(multiplex),
                None => self.ignored += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packet::PacketBytes;
    use crate::packet::tests::packet;
    use crate::section::tests::packets;
    use crate::si::descriptors::{LOGICAL_CHANNEL, NETWORK_NAME, SERVICE};
    use crate::si::tests::{descriptor, long, numbered, with_length};

    fn push(survey: &mut Survey, packets: &[PacketBytes]) {
        packets.iter().for_each(|bytes| survey.push(Packet::parse(bytes).unwrap()));
    }

    fn pat(programmes: &[(u16, u16)]) -> Vec<PacketBytes> {
        let body: Vec<u8> = programmes
            .iter()
            .flat_map(|(number, pid)| [number.to_be_bytes(), (pid | 0xe000).to_be_bytes()].concat())
            .collect();
        packets(0, &long(0, 1, &body))
    }

    fn pmt(pid: u16, programme: u16, stream: (u8, u16)) -> Vec<PacketBytes> {
        let [high, low] = (stream.1 | 0xe000).to_be_bytes();
        packets(pid, &long(2, programme, &[high, low, 0xf0, 0, stream.0, high, low, 0xf0, 0]))
    }

    fn sdt_section(id: u16, name: &str, numbers: [u8; 3]) -> Vec<u8> {
        let mut names = vec![0x01, 1, b'P', u8::try_from(name.len()).unwrap()];
        names.extend(name.as_bytes());
        let mut body = vec![0, 9, 0xff];
        body.extend(id.to_be_bytes());
        body.push(0xff);
        body.extend(with_length(&descriptor(SERVICE, &names)));
        numbered(sdt::TABLE_ACTUAL, 1, numbers, &body)
    }

    fn nit_packets() -> Vec<PacketBytes> {
        let inner = descriptor(LOGICAL_CHANNEL, &[0, 10, 0xfc, 7]);
        let multiplex = [vec![0, 1, 0, 9], with_length(&inner)].concat();
        let body = [with_length(&descriptor(NETWORK_NAME, b"Net")), with_length(&multiplex)].concat();
        packets(nit::PID, &long(nit::TABLE_ACTUAL, 5, &body))
    }

    #[test]
    fn a_multiplex_is_surveyed_to_its_end() {
        let mut survey = Survey::new();
        push(&mut survey, &pat(&[(0, 0x10), (10, 0x100), (11, 0x200)]));
        push(&mut survey, &pmt(0x100, 10, (0x1b, 0x101)));
        push(&mut survey, &pmt(0x200, 11, (0x02, 0x201)));
        push(&mut survey, &packets(sdt::PID, &sdt_section(10, "Ten", [0, 0, 1])));
        push(&mut survey, &nit_packets());
        assert!(!survey.is_complete());
        let mut second = packets(sdt::PID, &sdt_section(11, "Eleven", [0, 1, 1]));
        second[0][3] |= 1;
        push(&mut survey, &second);
        assert!(survey.is_complete());
        let mut scrambled = packet(0x201, 0, None, 0);
        scrambled[3] |= 0x80;
        push(&mut survey, &[scrambled]);
        let services = survey.services();
        let told: Vec<_> =
            services.iter().map(|s| (s.id, s.name.as_str(), s.codecs.join("+"), s.access)).collect();
        assert_eq!(
            told,
            [
                (10, "Ten", "H.264".to_owned(), Access::Controlled),
                (11, "Eleven", "MPEG-2".to_owned(), Access::Scrambled)
            ]
        );
        assert_eq!((services[0].number.as_deref(), services[1].number.as_deref()), (Some("7"), None));
        assert_eq!((survey.multiplex().network.as_str(), survey.sections_bad()), ("Net", 0));
    }

    #[test]
    fn channels_of_atsc_have_names_and_two_part_numbers() {
        let mut survey = Survey::new();
        push(&mut survey, &pat(&[(3, 0x30)]));
        push(&mut survey, &pmt(0x30, 3, (0x02, 0x31)));
        let mut body = vec![0, 1];
        body.extend(vct::tests::entry("KING-DT", 5 << 10 | 1, 3, 7));
        body.extend([0xfc, 0, 0xfc, 0]);
        push(&mut survey, &packets(psip::BASE_PID, &long(vct::TABLE_TERRESTRIAL, 3000, &body)));
        assert!(survey.is_complete());
        let [service] = &survey.services()[..] else { panic!() };
        assert_eq!((service.name.as_str(), service.number.as_deref()), ("KING-DT", Some("5.1")));
    }

    #[test]
    fn a_wrong_crc_is_counted_and_read_when_it_comes_again() {
        let mut survey = Survey::new();
        let good = sdt_section(10, "Ten", [0, 0, 0]);
        let mut bad = good.clone();
        bad[20] ^= 0x10;
        push(&mut survey, &packets(sdt::PID, &bad));
        assert_eq!((survey.services().len(), survey.sections_bad()), (0, 1));
        let mut again = packets(sdt::PID, &good);
        again[0][3] |= 1;
        push(&mut survey, &again);
        assert_eq!((survey.services().len(), survey.sections_bad()), (1, 1));
    }

    #[test]
    fn a_storm_of_services_is_bounded() {
        let mut survey = Survey::new();
        for id in 0..2000_u16 {
            let version = u8::try_from(id % 32).unwrap();
            let mut storm = packets(sdt::PID, &sdt_section(id, "Storm", [version, 0, 0]));
            storm[0][3] = storm[0][3] & 0xf0 | u8::try_from(id & 15).unwrap();
            push(&mut survey, &storm);
        }
        assert_eq!((survey.services().len(), survey.ignored()), (SERVICES_MAX, 2000 - 256));
    }

    proptest! {
        /// Good packets with a few bytes changed: bit errors, wrong lengths, torn sections.
        #[test]
        fn damaged_packets_never_panic(
            damage in proptest::collection::vec((0..8_usize, 4..188_usize, any::<u8>()), 0..30),
        ) {
            let mut survey = Survey::new();
            let mut all = [pat(&[(10, 0x100)]), pmt(0x100, 10, (0x1b, 0x101)), nit_packets()].concat();
            all.extend(packets(sdt::PID, &sdt_section(10, "Ten", [0, 0, 0])));
            for (index, at, byte) in damage {
                let index = index % all.len();
                all[index][at] = byte;
            }
            push(&mut survey, &all);
            prop_assert!(survey.services().len() <= SERVICES_MAX);
        }
    }
}
