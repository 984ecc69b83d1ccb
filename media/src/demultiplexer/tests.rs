use proptest::prelude::*;

use super::*;
use crate::continuity::ContinuityCheck;
use crate::packet::NULL_PACKET;
use crate::packet::tests::packet;
use crate::psi::ProgrammeTable;
use crate::section::tests::{packets, section};

/// PAT body: (service, PMT PID).
fn pat_body(services: &[(u16, u16)]) -> Vec<u8> {
    services
        .iter()
        .flat_map(|(number, pid)| [number.to_be_bytes(), (0xe000 | pid).to_be_bytes()].concat())
        .collect()
}

/// PMT body: PCR PID, (stream type, PID).
fn pmt_body(pcr_pid: u16, streams: &[(u8, u16)]) -> Vec<u8> {
    let mut body = [(0xe000 | pcr_pid).to_be_bytes(), [0xf0, 0]].concat();
    for (stream_type, pid) in streams {
        body.push(*stream_type);
        body.extend((0xe000 | pid).to_be_bytes());
        body.extend([0xf0, 0]);
    }
    body
}

/// A multiplexer for tests: counts continuity by PID.
#[derive(Default)]
struct Source {
    counters: BTreeMap<u16, u8>,
    fill: u8,
}

impl Source {
    fn counter(&mut self, pid: u16) -> u8 {
        let counter = self.counters.entry(pid).or_default();
        *counter = (*counter + 1) & 15;
        *counter
    }

    fn table(&mut self, pid: u16, section: &[u8]) -> Vec<PacketBytes> {
        let mut packets = packets(pid, section);
        packets.iter_mut().for_each(|bytes| packet::set_continuity_counter(bytes, self.counter(pid)));
        packets
    }

    fn pat(&mut self, services: &[(u16, u16)]) -> Vec<PacketBytes> {
        self.table(PAT_PID, &section(0, 7, &pat_body(services)))
    }

    fn pmt(&mut self, pid: u16, service: u16, pcr_pid: u16, streams: &[(u8, u16)]) -> Vec<PacketBytes> {
        self.table(pid, &section(2, service, &pmt_body(pcr_pid, streams)))
    }

    fn es(&mut self, pid: u16, pcr: Option<u64>) -> PacketBytes {
        self.fill = self.fill.wrapping_add(1);
        packet(pid, self.counter(pid), pcr, self.fill)
    }
}

fn push(demultiplexer: &mut Demultiplexer, packets: &[PacketBytes]) -> Vec<(Slot, PacketBytes)> {
    push_at(demultiplexer, Duration::ZERO, packets)
}

fn push_at(
    demultiplexer: &mut Demultiplexer,
    now: Duration,
    packets: &[PacketBytes],
) -> Vec<(Slot, PacketBytes)> {
    let mut out = Vec::new();
    for bytes in packets {
        demultiplexer.push(now, Packet::parse(bytes).unwrap(), |slot, bytes| out.push((slot, *bytes)));
    }
    out
}

fn of(slot: Slot, out: &[(Slot, PacketBytes)]) -> Vec<PacketBytes> {
    out.iter().filter(|(to, _)| *to == slot).map(|(_, bytes)| *bytes).collect()
}

fn pids(packets: &[PacketBytes]) -> Vec<u16> {
    packets.iter().map(|bytes| Packet::parse(bytes).unwrap().pid()).collect()
}

/// Errors of continuity that nothing announces.
fn errors(packets: &[PacketBytes]) -> u64 {
    let mut check = ContinuityCheck::new();
    packets.iter().for_each(|bytes| {
        check.push(Packet::parse(bytes).unwrap());
    });
    check.errors()
}

/// Two services: 1 on PMT PID 0x20 with streams 0x100 and 0x101, 2 on 0x30 with 0x200.
fn two_services(source: &mut Source) -> Vec<PacketBytes> {
    let mut packets = source.pat(&[(1, 0x20), (2, 0x30)]);
    packets.extend(source.pmt(0x20, 1, 0x100, &[(0x1b, 0x100), (0x0f, 0x101)]));
    packets.extend(source.pmt(0x30, 2, 0x200, &[(0x02, 0x200)]));
    packets
}

#[test]
fn each_output_is_a_stream_of_its_one_programme_and_nothing_else() {
    let (mut source, mut demultiplexer) = (Source::default(), Demultiplexer::new());
    let (one, two) = (demultiplexer.add(1).unwrap(), demultiplexer.add(2).unwrap());
    assert_eq!(demultiplexer.state(one), State::Searching);
    let mut all = two_services(&mut source);
    let streams = [
        source.es(0x100, Some(5)),
        source.es(0x200, Some(9)),
        source.es(0x101, None),
        source.es(0x300, None),
    ];
    all.extend(streams);
    all.push(NULL_PACKET);
    all.extend(source.table(0x11, &section(0x42, 7, &[0; 20])));
    let out = push(&mut demultiplexer, &all);
    assert_eq!((demultiplexer.state(one), demultiplexer.state(two)), (State::Flowing, State::Flowing));
    let first = of(one, &out);
    assert_eq!(pids(&first), [0, 0x20, 0x100, 0x101]);
    assert_eq!(first[2..], [streams[0], streams[2]]);
    assert_eq!(pids(&of(two, &out)), [0, 0x30, 0x200]);
    let mut table = ProgrammeTable::new();
    first.iter().for_each(|bytes| {
        table.push(Packet::parse(bytes).unwrap());
    });
    assert_eq!(table.programmes().keys().copied().collect::<Vec<_>>(), [1]);
    assert_eq!(table.programmes()[&1].streams.len(), 2);
    assert_eq!(demultiplexer.pids(), [0, 0x20, 0x30, 0x100, 0x101, 0x200].into());
}

#[test]
fn the_new_pat_is_a_literal_packet_and_its_version_counts_changes() {
    let (mut source, mut demultiplexer) = (Source::default(), Demultiplexer::new());
    let slot = demultiplexer.add(2).unwrap();
    let before = of(slot, &push(&mut demultiplexer, &source.pat(&[(1, 0x20), (2, 0x30)])));
    let again = of(slot, &push(&mut demultiplexer, &source.pat(&[(1, 0x20), (2, 0x30)])));
    let moved = of(slot, &push(&mut demultiplexer, &source.pat(&[(1, 0x20), (2, 0x31)])));
    let mut expected = [0xff; PACKET_BYTES];
    let head = [0x47, 0x40, 0, 0x10, 0, 0, 0xb0, 13, 0, 7, 0xc1, 0, 0, 0, 2, 0xe0, 0x30];
    expected[..17].copy_from_slice(&head);
    expected[17..21].copy_from_slice(&crc32(&head[5..]).to_be_bytes());
    assert_eq!(before, [expected]);
    assert_eq!((again[0][3], again[0][10]), (0x11, 0xc1));
    assert_eq!((moved[0][3], moved[0][10]), (0x12, 0xc3));
}

#[test]
fn a_new_pmt_is_in_force_from_the_packet_that_completes_it() {
    let (mut source, mut demultiplexer) = (Source::default(), Demultiplexer::new());
    let slot = demultiplexer.add(1).unwrap();
    push(&mut demultiplexer, &two_services(&mut source));
    // So long that it takes two packets.
    let many: Vec<(u8, u16)> = (0x400..0x430).map(|pid| (0x0f, pid)).collect();
    let new = source.pmt(0x20, 1, 0x400, &many);
    assert_eq!(new.len(), 2);
    let old = [source.es(0x100, Some(1)), source.es(0x400, Some(1))];
    let out = of(slot, &push(&mut demultiplexer, &[new[0], old[0], old[1]]));
    assert_eq!(pids(&out), [0x100]);
    let after = [source.es(0x100, Some(2)), source.es(0x400, Some(2))];
    let out = of(slot, &push(&mut demultiplexer, &[new[1], after[0], after[1]]));
    assert_eq!(pids(&out), [0x20, 0x20, 0x400]);
}

#[test]
fn a_pid_that_was_given_up_comes_again_with_an_announced_break() {
    let (mut source, mut demultiplexer) = (Source::default(), Demultiplexer::new());
    let slot = demultiplexer.add(1).unwrap();
    let mut all = two_services(&mut source);
    for streams in [&[(0x1b, 0x100)][..], &[(0x1b, 0x100), (0x0f, 0x101)]] {
        all.extend((0..5).flat_map(|_| [source.es(0x100, None), source.es(0x101, None)]));
        all.extend(source.pmt(0x20, 1, 0x100, streams));
    }
    all.push(source.es(0x101, None));
    let out = of(slot, &push(&mut demultiplexer, &all));
    assert_eq!(errors(&out), 0);
    assert!(Packet::parse(&out[out.len() - 2]).unwrap().discontinuity());
}

#[test]
fn services_that_share_pids_each_get_their_own_pmt_and_all_of_the_rest() {
    let (mut source, mut demultiplexer) = (Source::default(), Demultiplexer::new());
    let slots = [demultiplexer.add(1).unwrap(), demultiplexer.add(2).unwrap(), demultiplexer.add(2).unwrap()];
    let mut all = source.pat(&[(1, 0x20), (2, 0x20)]);
    for _ in 0..3 {
        all.extend(source.pmt(0x20, 1, 0x100, &[(0x1b, 0x100), (0x0f, 0x101)]));
        all.extend(source.pmt(0x20, 2, 0x100, &[(0x1b, 0x100)]));
        all.extend([source.es(0x100, Some(1)), source.es(0x101, None)]);
    }
    let out = push(&mut demultiplexer, &all);
    for (slot, service, streams) in [(slots[0], 1, 2), (slots[1], 2, 1), (slots[2], 2, 1)] {
        let ours = of(slot, &out);
        let mut table = ProgrammeTable::new();
        ours.iter().for_each(|bytes| {
            table.push(Packet::parse(bytes).unwrap());
        });
        assert_eq!(table.programmes()[&service].streams.len(), streams);
        assert_eq!(errors(&ours), 0);
        assert_eq!(ours.iter().filter(|bytes| Packet::parse(bytes).unwrap().pid() == 0x100).count(), 3);
    }
}

#[test]
fn a_pcr_on_anothers_stream_comes_without_that_stream() {
    let (mut source, mut demultiplexer) = (Source::default(), Demultiplexer::new());
    let (radio, odd) = (demultiplexer.add(1).unwrap(), demultiplexer.add(2).unwrap());
    let mut all = source.pat(&[(1, 0x20), (2, 0x30)]);
    all.extend(source.pmt(0x20, 1, 0x200, &[(0x03, 0x100)]));
    all.extend(source.pmt(0x30, 2, 0x30, &[(0x03, 0x110)]));
    all.extend([
        source.es(0x200, Some(77)),
        source.es(0x200, None),
        source.es(0x200, Some(88)),
        source.es(0x100, None),
    ]);
    all.extend(source.pmt(0x30, 2, 0x30, &[(0x03, 0x110)]));
    let out = push(&mut demultiplexer, &all);
    let ours = of(radio, &out);
    assert_eq!(pids(&ours), [0, 0x20, 0x200, 0x200, 0x100]);
    let clock = Packet::parse(&ours[2]).unwrap();
    assert_eq!((clock.pcr(), clock.has_payload(), clock.payload().len()), (Some(77), false, 0));
    assert_eq!(errors(&ours), 0);
    // A PCR among the PMT's own packets does not disturb their counter.
    let pcr = packet(0x30, 9, Some(5), 0xff);
    let mut of_odd = of(odd, &out);
    of_odd.extend(of(odd, &push(&mut demultiplexer, &[pcr])));
    of_odd.extend(of(odd, &push(&mut demultiplexer, &source.pmt(0x30, 2, 0x30, &[(0x03, 0x110)]))));
    assert!(of_odd.iter().any(|bytes| Packet::parse(bytes).unwrap().pcr() == Some(5)));
    assert_eq!(errors(&of_odd), 0);
}

#[test]
fn entitlement_messages_come_along() {
    let (mut source, mut demultiplexer) = (Source::default(), Demultiplexer::new());
    let slot = demultiplexer.add(1).unwrap();
    let mut body = vec![0xe1, 0x00, 0xf0, 6, 9, 4, 0x0b, 0, 0xe5, 0x00];
    body.extend([0x1b, 0xe1, 0x00, 0xf0, 6, 9, 4, 0x0b, 0, 0xe5, 0x01]);
    let mut all = source.pat(&[(1, 0x20)]);
    all.extend(source.table(0x20, &section(2, 1, &body)));
    all.extend([source.es(0x500, None), source.es(0x501, None), source.es(0x502, None)]);
    assert_eq!(pids(&of(slot, &push(&mut demultiplexer, &all))), [0, 0x20, 0x500, 0x501]);
}

#[test]
fn a_service_is_scrambled_when_all_its_pictures_and_sound_are_for_a_second() {
    let (mut source, mut demultiplexer) = (Source::default(), Demultiplexer::new());
    let slot = demultiplexer.add(1).unwrap();
    push(&mut demultiplexer, &source.pat(&[(1, 0x20)]));
    push(&mut demultiplexer, &source.pmt(0x20, 1, 0x100, &[(0x1b, 0x100), (0x06, 0x101)]));
    let mut at = |source: &mut Source, ms, scrambled| {
        let mut bytes = [source.es(0x100, None), source.es(0x101, None)];
        // Teletext may stay clear.
        bytes[0][3] |= if scrambled { 0xc0 } else { 0 };
        assert_eq!(push_at(&mut demultiplexer, Duration::from_millis(ms), &bytes).len(), 2);
        demultiplexer.state(slot)
    };
    assert_eq!(at(&mut source, 0, true), State::Flowing);
    assert_eq!(at(&mut source, 900, true), State::Flowing);
    assert_eq!(at(&mut source, 950, false), State::Flowing);
    assert_eq!(at(&mut source, 1000, true), State::Flowing);
    assert_eq!(at(&mut source, 2000, true), State::Scrambled);
    assert_eq!(at(&mut source, 2100, false), State::Flowing);
}

#[test]
fn a_service_that_leaves_the_pat_is_missing_and_returns_by_itself() {
    let (mut source, mut demultiplexer) = (Source::default(), Demultiplexer::new());
    let slot = demultiplexer.add(1).unwrap();
    let mut all = two_services(&mut source);
    all.push(source.es(0x100, Some(1)));
    let mut out = of(slot, &push(&mut demultiplexer, &all));
    push(&mut demultiplexer, &source.pat(&[(2, 0x30)]));
    assert_eq!(demultiplexer.state(slot), State::Missing);
    assert_eq!(demultiplexer.services().collect::<Vec<_>>(), [2]);
    assert!(push(&mut demultiplexer, &[source.es(0x100, Some(2)), source.es(0x101, None)]).is_empty());
    out.extend(of(slot, &push(&mut demultiplexer, &source.pat(&[(1, 0x20), (2, 0x30)]))));
    assert_eq!(demultiplexer.state(slot), State::Announced);
    let mut back = source.pmt(0x20, 1, 0x100, &[(0x1b, 0x100), (0x0f, 0x101)]);
    back.extend([source.es(0x100, Some(3)), source.es(0x101, None)]);
    out.extend(of(slot, &push(&mut demultiplexer, &back)));
    assert_eq!(demultiplexer.state(slot), State::Flowing);
    assert_eq!(errors(&out), 0);
    assert!(out.contains(&back[back.len() - 1]));
}

#[test]
fn a_pat_of_several_sections_counts_when_it_is_whole() {
    let (mut source, mut demultiplexer) = (Source::default(), Demultiplexer::new());
    let slot = demultiplexer.add(2).unwrap();
    let mut part = |number: u8, services: &[(u16, u16)]| {
        let mut bytes = section(0, 7, &pat_body(services));
        bytes.truncate(bytes.len() - 4);
        (bytes[6], bytes[7]) = (number, 1);
        bytes.extend(crc32(&bytes).to_be_bytes());
        source.table(PAT_PID, &bytes)
    };
    let (first, second) = (part(0, &[(1, 0x20)]), part(1, &[(2, 0x30)]));
    assert!(push(&mut demultiplexer, &first).is_empty());
    assert_eq!(demultiplexer.state(slot), State::Searching);
    assert_eq!(push(&mut demultiplexer, &second).len(), 1);
    assert_eq!(demultiplexer.state(slot), State::Announced);
    assert_eq!(demultiplexer.services().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn outputs_come_and_go_while_the_multiplex_runs() {
    let (mut source, mut demultiplexer) = (Source::default(), Demultiplexer::new());
    let one = demultiplexer.add(1).unwrap();
    push(&mut demultiplexer, &two_services(&mut source));
    let two = demultiplexer.add(2).unwrap();
    assert_eq!(demultiplexer.state(two), State::Announced);
    let revision = demultiplexer.revision();
    // It began behind the PAT, and yet begins with one.
    let out = push(&mut demultiplexer, &source.pmt(0x30, 2, 0x200, &[(0x02, 0x200)]));
    assert_eq!(pids(&of(two, &out)), [0, 0x30]);
    assert_ne!(demultiplexer.revision(), revision);
    demultiplexer.remove(one);
    assert!(push(&mut demultiplexer, &[source.es(0x100, Some(1))]).is_empty());
    assert_eq!(demultiplexer.pids(), [0, 0x30, 0x200].into());
    assert_eq!(demultiplexer.add(1), Ok(one));
    for _ in 2..OUTPUTS_MAX {
        demultiplexer.add(9).unwrap();
    }
    assert_eq!(demultiplexer.add(9), Err(Full));
}

#[test]
fn an_input_that_was_opened_anew_is_read_anew() {
    let (mut source, mut demultiplexer) = (Source::default(), Demultiplexer::new());
    let slot = demultiplexer.add(1).unwrap();
    let mut all = two_services(&mut source);
    all.push(source.es(0x100, Some(1)));
    let mut out = of(slot, &push(&mut demultiplexer, &all));
    demultiplexer.interrupt();
    assert_eq!(demultiplexer.state(slot), State::Searching);
    let mut other = Source::default();
    let mut all = two_services(&mut other);
    all.extend((0..7).map(|_| other.es(0x100, Some(1))));
    out.extend(of(slot, &push(&mut demultiplexer, &all)));
    assert_eq!(errors(&out), 0);
}

/// Goal: damage to one service's tables and PIDs leaves the other whole. Method: one damage after the other before and
/// between the packets of a sound service, which must all come out.
#[test]
fn a_damaged_multiplex_hurts_only_what_is_damaged() {
    let (mut source, mut demultiplexer) = (Source::default(), Demultiplexer::new());
    let (sick, sound) = (demultiplexer.add(1).unwrap(), demultiplexer.add(2).unwrap());
    push(&mut demultiplexer, &two_services(&mut source));
    let mut wrong_crc = source.pmt(0x20, 1, 0x100, &[(0x1b, 0x200)]);
    wrong_crc[0][20] ^= 4;
    let mut truncated =
        source.pmt(0x20, 1, 0x100, &(0x400..0x430).map(|pid| (0x0f, pid)).collect::<Vec<_>>());
    truncated.truncate(1);
    let mut endless = source.table(0x20, &section(2, 1, &[]));
    endless[0][6..8].copy_from_slice(&[0xbf, 0xfd]);
    let contradicting = source.table(0x20, &section(2, 1, &[0xe1, 0, 0xff, 0xff, 0x1b, 0xe1, 0, 0xff, 0xff]));
    let mut wrong_pat = source.pat(&[(1, 0x20)]);
    wrong_pat[0][14] ^= 1;
    let storm: Vec<PacketBytes> = (0..0x2000)
        .filter(|pid| ![0, 0x20, 0x30, 0x200].contains(pid))
        .map(|pid| source.es(pid, None))
        .collect();
    let mut error = source.es(0x100, None);
    error[1] |= 0x80;
    let (mut sent, mut got) = (0, Vec::new());
    for damage in [wrong_crc, truncated, endless, contradicting, wrong_pat, storm, vec![error]] {
        for bytes in damage {
            got.extend(of(sound, &push(&mut demultiplexer, &[bytes, source.es(0x200, Some(sent))])));
            sent += 1;
        }
    }
    assert_eq!(got.len() as u64, sent);
    assert_eq!(errors(&got), 0);
    assert_eq!((demultiplexer.state(sick), demultiplexer.state(sound)), (State::Flowing, State::Flowing));
    assert!(demultiplexer.counters().broken_sections >= 3, "{:?}", demultiplexer.counters());
    // The sick service is well with its next PMT.
    push(&mut demultiplexer, &source.pmt(0x20, 1, 0x110, &[(0x1b, 0x110)]));
    assert_eq!(of(sick, &push(&mut demultiplexer, &[source.es(0x110, Some(1))])).len(), 1);
}

#[test]
fn a_service_cannot_claim_reserved_pids_nor_all_of_them() {
    let (mut source, mut demultiplexer) = (Source::default(), Demultiplexer::new());
    let slot = demultiplexer.add(1).unwrap();
    push(&mut demultiplexer, &source.pat(&[(1, 0x20)]));
    let mut claims = vec![(0x1b, 0), (0x1b, 0x20), (0x1b, 0x1fff)];
    claims.extend((0x100..0x190).map(|pid| (0x1b, pid)));
    push(&mut demultiplexer, &source.pmt(0x20, 1, 0x100, &claims));
    assert_eq!(demultiplexer.pids().len(), 2 + SERVICE_PIDS_MAX);
    assert_eq!(demultiplexer.counters().refused_pids, 3 + 0x90 - SERVICE_PIDS_MAX as u64);
    assert_eq!(demultiplexer.state(slot), State::Flowing);
}

proptest! {
    #[test]
    fn no_packets_panic(chunks in proptest::collection::vec((0u8..6, proptest::collection::vec(any::<u8>(), 184)), 0..50)) {
        let mut demultiplexer = Demultiplexer::new();
        let slots = [demultiplexer.add(1).unwrap(), demultiplexer.add(0x0101).unwrap()];
        push(&mut demultiplexer, &two_services(&mut Source::default()));
        for (kind, payload) in chunks {
            let pid = [0, 0x20, 0x30, 0x100, 0x200, u16::from(payload[0])][usize::from(kind)];
            let mut bytes = packet(pid, payload[1] & 15, None, 0);
            bytes[1] |= payload[2] & 0xc0;
            bytes[3] |= payload[3] & 0xe0;
            bytes[4..].copy_from_slice(&payload);
            push(&mut demultiplexer, &[bytes]);
            let _ = slots.map(|slot| demultiplexer.state(slot));
        }
    }

    #[test]
    fn no_sections_panic(sections in proptest::collection::vec((0u8..3, any::<bool>(), proptest::collection::vec(any::<u8>(), 0..80)), 0..60)) {
        let (mut source, mut demultiplexer) = (Source::default(), Demultiplexer::new());
        demultiplexer.add(1).unwrap();
        for (table_id, at_pat, body) in sections {
            push(&mut demultiplexer, &source.pat(&[(1, 0x20)]));
            let pid = if at_pat { 0 } else { 0x20 };
            push(&mut demultiplexer, &source.table(pid, &section(table_id, 1, &body)));
        }
    }

    /// Whatever becomes of the tables, each output is legal; and of streams that are listed all the while nothing is
    /// missing.
    #[test]
    fn continuity_is_legal_and_what_is_selected_comes_out_whole(
        steps in proptest::collection::vec((0u8..8, 0u16..4, 0u16..4), 1..150),
    ) {
        let (mut source, mut demultiplexer) = (Source::default(), Demultiplexer::new());
        let slots = [demultiplexer.add(1).unwrap(), demultiplexer.add(2).unwrap()];
        let steady = demultiplexer.add(9).unwrap();
        let mut start = source.pat(&[(1, 0x20), (2, 0x30), (9, 0x90)]);
        start.extend(source.pmt(0x90, 9, 0x900, &[(0x1b, 0x900)]));
        let (mut out, mut sent) = (push(&mut demultiplexer, &start), Vec::new());
        for (kind, a, b) in steps {
            let mut packets = match kind {
                0 => source.pat(&[(1, 0x20 + a), (2, 0x20 + b), (9, 0x90)]),
                1 => source.pat(&[(2, 0x20 + b), (9, 0x90)]),
                2 => source.pmt(0x20 + a, 1, 0x100 + b, &[(0x1b, 0x100 + a)]),
                3 => source.pmt(0x20 + a, 2, 0x20 + b, &[(0x1b, 0x100 + a), (0x0f, 0x100 + b)]),
                4 => source.pmt(0x20 + a, 1, 0x100 + a, &[(0x1b, 0x100 + a), (0x0f, 0x20 + b)]),
                5 => vec![source.es(0x20 + a, Some(u64::from(b)))],
                _ => vec![source.es(0x100 + a, Some(1)), source.es(0x100 + b, None)],
            };
            let whole = source.es(0x900, None);
            sent.push(whole);
            packets.push(whole);
            out.extend(push(&mut demultiplexer, &packets));
        }
        for slot in slots {
            prop_assert_eq!(errors(&of(slot, &out)), 0);
        }
        let got = of(steady, &out);
        prop_assert_eq!(errors(&got), 0);
        let streams: Vec<PacketBytes> = got.into_iter().filter(|bytes| Packet::parse(bytes).unwrap().pid() == 0x900).collect();
        prop_assert_eq!(streams, sent);
    }
}
