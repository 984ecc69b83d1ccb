//! Each indicator at its limit, in literal times.

use proptest::prelude::*;

use super::*;
use crate::looper::Looper;
use crate::packet::PacketBytes;
use crate::packet::tests::packet;
use crate::pcr::PcrClock;
use crate::section::tests::{packets, section};
use crate::time::{MediaTime, TICKS_PER_SECOND};

const CLIP: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../acquisition/testcard/clip.ts"));
const MS: u64 = TICKS_PER_SECOND / 1000;
const PMT_PID: u16 = 0x30;
const VIDEO: u16 = 0x100;
const AUDIO: u16 = 0x101;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A programme of pictures and sound, a packet of each every 20 ms. PAT and PMT are sent every 100 ms, PCRs every 40 ms,
/// PTS of pictures every 40 ms and of sound every 200 ms.
struct Broadcast {
    health: Health,
    now_ms: u64,
    counters: BTreeMap<u16, u8>,
}

impl Broadcast {
    fn new(extent: Extent) -> Self {
        Self { health: Health::new(extent), now_ms: 0, counters: BTreeMap::new() }
    }

    /// Sends what is due until `until_ms`; `edit` may change a packet, or keep it back. A packet kept back leaves no gap.
    fn run(&mut self, until_ms: u64, mut edit: impl FnMut(u64, &mut PacketBytes) -> bool) {
        while self.now_ms < until_ms {
            let now = self.now_ms;
            for mut bytes in due(now) {
                let pid = Packet::parse(&bytes).unwrap().pid();
                let counter = self.counters.entry(pid).or_default();
                bytes[3] |= *counter;
                if edit(now, &mut bytes) {
                    *counter = (Packet::parse(&bytes).unwrap().continuity_counter() + 1) & 15;
                    self.health.push(ms(now), Packet::parse(&bytes).unwrap());
                }
            }
            self.now_ms += 20;
        }
    }

    fn clean(&mut self, until_ms: u64) {
        self.run(until_ms, |_, _| true);
    }

    /// What was seen, with the time of the last in milliseconds.
    fn seen(&self) -> Vec<(Indicator, u64, u128)> {
        let tallies = self.health.tallies().seen();
        tallies.map(|(indicator, tally)| (indicator, tally.count, tally.last.unwrap().as_millis())).collect()
    }
}

fn due(now: u64) -> Vec<PacketBytes> {
    let mut out = Vec::new();
    if now.is_multiple_of(100) {
        out.extend(packets(0, &section(0, 1, &[0, 1, 0xe0, 0x30])));
        let pmt = [0xe1, 0, 0xf0, 0, 0x1b, 0xe1, 0, 0xf0, 0, 0x0f, 0xe1, 1, 0xf0, 0];
        out.extend(packets(PMT_PID, &section(2, 1, &pmt)));
    }
    out.push(if now.is_multiple_of(40) {
        stamped(VIDEO, Some(now * MS))
    } else {
        packet(VIDEO, 0, None, 0x55)
    });
    out.push(if now.is_multiple_of(200) { stamped(AUDIO, None) } else { packet(AUDIO, 0, None, 0x55) });
    out
}

/// The beginning of a PES packet with a PTS.
fn stamped(pid: u16, pcr: Option<u64>) -> PacketBytes {
    let mut bytes = packet(pid, 0, pcr, 0x55);
    bytes[1] |= 0x40;
    let at = if pcr.is_some() { 12 } else { 4 };
    bytes[at..at + 14].copy_from_slice(&[0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5, 0x21, 0, 1, 0, 1]);
    bytes
}

fn pid(bytes: &PacketBytes) -> u16 {
    Packet::parse(bytes).unwrap().pid()
}

#[test]
fn a_clean_programme_shows_nothing() {
    for extent in [Extent::Input, Extent::Service] {
        let mut stream = Broadcast::new(extent);
        stream.clean(20_000);
        stream.health.tick(ms(20_000));
        assert_eq!(stream.seen(), []);
        assert_eq!(stream.health.lost_packets(), 0);
    }
}

/// Goal: a stream that ffmpeg muxed is in order. Method: the test card, three times round, each packet at its time.
#[test]
fn the_test_card_shows_nothing() {
    let (mut health, mut clock, mut origin) = (Health::new(Extent::Input), PcrClock::automatic(), None);
    let looper = Looper::new(CLIP).unwrap();
    for bytes in looper.take(CLIP.len() / 188 * 3) {
        let packet = Packet::parse(&bytes).unwrap();
        let time = clock.stamp(packet).map_or(MediaTime::default(), |stamp| stamp.time);
        let origin = *origin.get_or_insert(time);
        health.push(time.since(origin), packet);
    }
    assert_eq!(health.tallies(), &Tallies::default());
    assert!(health.judges_accuracy(), "it is of constant rate");
}

#[test]
fn ts_sync_loss_is_silence_of_more_than_a_second_and_nothing_else_with_it() {
    let mut stream = Broadcast::new(Extent::Input);
    stream.clean(1_000);
    // The last packet came at 980 ms.
    stream.health.tick(ms(1_980));
    assert!(!stream.seen().iter().any(|(indicator, ..)| *indicator == Indicator::SyncLoss));
    let before = stream.seen();
    for at in [1_981, 3_000, 9_000] {
        stream.health.tick(ms(at));
    }
    assert_eq!(stream.seen()[0], (Indicator::SyncLoss, 1, 1_981));
    assert_eq!(stream.seen()[1..], before[..]);
    stream.now_ms = 10_000;
    stream.clean(12_000);
    assert_eq!(stream.seen()[0], (Indicator::SyncLoss, 1, 1_981));
    assert_eq!(stream.seen()[1..], before[..]);
    // Without anybody looking in between it is noticed when packets come again.
    stream.now_ms = 14_000;
    stream.clean(15_000);
    assert_eq!(stream.seen()[0], (Indicator::SyncLoss, 2, 14_000));
}

#[test]
fn sync_errors_of_the_input_count_as_they_are_told() {
    let mut stream = Broadcast::new(Extent::Input);
    stream.health.synchronised(ms(7), SyncErrors { bytes: 3, losses: 1 });
    stream.health.synchronised(ms(9), SyncErrors::default());
    assert_eq!(stream.seen(), [(Indicator::SyncLoss, 1, 7), (Indicator::SyncByte, 3, 7)]);
}

#[test]
fn pat_error_is_a_pat_that_does_not_come_for_more_than_half_a_second() {
    let mut stream = Broadcast::new(Extent::Service);
    // At 0, then at 500 ms: as late as it may.
    stream.run(600, |now, bytes| pid(bytes) != 0 || now % 500 == 0);
    assert_eq!(stream.seen(), []);
    // After 500 ms at 1,100 ms only.
    stream.run(1_400, |now, bytes| pid(bytes) != 0 || now == 1_100);
    assert_eq!(stream.seen(), [(Indicator::Pat, 1, 1_020)]);
    // Never again: once for each half second, as seen every 50 ms at least.
    stream.run(4_000, |_, bytes| pid(bytes) != 0);
    assert_eq!(stream.seen()[0].1, 6);
}

#[test]
fn pat_error_is_another_table_or_a_scrambled_one() {
    let mut stream = Broadcast::new(Extent::Service);
    stream.run(200, |now, bytes| {
        if pid(bytes) == 0 && now == 100 {
            let counter = bytes[3] & 15;
            *bytes = packets(0, &section(0x72, 1, &[1]))[0];
            bytes[3] |= counter;
        }
        true
    });
    assert_eq!(stream.seen(), [(Indicator::Pat, 1, 100)]);
    stream.run(400, |now, bytes| {
        bytes[3] |= if pid(bytes) == 0 && now == 200 { 0x80 } else { 0 };
        true
    });
    assert_eq!(stream.seen(), [(Indicator::Pat, 2, 200)]);
}

#[test]
fn continuity_error_is_a_gap_a_swap_or_a_third_copy_and_no_announced_break() {
    let mut stream = Broadcast::new(Extent::Service);
    stream.clean(1_000);
    // Three packets missing.
    stream.run(1_200, |now, bytes| {
        bytes[3] = if now == 1_020 && pid(bytes) == VIDEO { 0x10 | (bytes[3] + 3) & 15 } else { bytes[3] };
        true
    });
    assert_eq!(stream.seen(), [(Indicator::Continuity, 1, 1_020)]);
    assert_eq!(stream.health.lost_packets(), 3);
    // Twice is allowed, thrice is not.
    let mut copy = packet(0x200, 5, None, 9);
    for (at, count) in [(1_200, 1), (1_201, 1), (1_202, 2)] {
        stream.health.push(ms(at), Packet::parse(&copy).unwrap());
        assert_eq!(
            stream.seen(),
            [(Indicator::Continuity, count, if count == 1 { 1_020 } else { at.into() })]
        );
    }
    // Another packet of the same counter is no copy.
    copy = packet(0x200, 6, None, 9);
    stream.health.push(ms(1_203), Packet::parse(&copy).unwrap());
    copy[187] = 1;
    stream.health.push(ms(1_204), Packet::parse(&copy).unwrap());
    assert_eq!(stream.seen(), [(Indicator::Continuity, 3, 1_204)]);
    // Without payload it stands still; with the indicator set it may jump.
    let mut bare = packet(0x200, 6, Some(0), 9);
    bare[3] &= !0x10;
    stream.health.push(ms(1_205), Packet::parse(&bare).unwrap());
    let mut announced = packet(0x200, 13, Some(0), 9);
    announced[5] |= 0x80;
    stream.health.push(ms(1_206), Packet::parse(&announced).unwrap());
    assert_eq!(stream.seen(), [(Indicator::Continuity, 3, 1_204)]);
}

#[test]
fn pmt_error_is_a_pmt_that_does_not_come_for_more_than_half_a_second_or_is_scrambled() {
    let mut stream = Broadcast::new(Extent::Service);
    stream.run(520, |now, bytes| pid(bytes) != PMT_PID || now % 500 == 0);
    assert_eq!(stream.seen(), []);
    stream.run(1_300, |now, bytes| pid(bytes) != PMT_PID || now == 1_200);
    assert_eq!(stream.seen(), [(Indicator::Pmt, 1, 1_020)]);
    stream.run(1_400, |_, bytes| {
        bytes[3] |= if pid(bytes) == PMT_PID { 0xc0 } else { 0 };
        true
    });
    assert_eq!(stream.seen(), [(Indicator::Pmt, 2, 1_300)]);
}

#[test]
fn pmt_error_is_a_pmt_that_the_pat_names_and_that_never_comes() {
    let mut stream = Broadcast::new(Extent::Service);
    stream.run(700, |_, bytes| pid(bytes) != PMT_PID);
    assert_eq!(stream.seen(), [(Indicator::Pmt, 1, 540)]);
}

#[test]
fn pid_error_is_sound_or_picture_that_does_not_come_for_more_than_five_seconds() {
    let mut stream = Broadcast::new(Extent::Service);
    stream.clean(1_000);
    let only = |stream: &Broadcast| stream.health.tallies().of(Indicator::Pid);
    // The last came at 980 ms.
    stream.run(5_990, |_, bytes| pid(bytes) != AUDIO);
    assert_eq!(only(&stream).count, 0);
    stream.run(7_000, |_, bytes| pid(bytes) != AUDIO);
    assert_eq!(only(&stream).count, 1);
    assert!(only(&stream).last.unwrap().abs_diff(ms(6_000)) <= SWEEP_INTERVAL);
}

#[test]
fn subtitles_and_data_may_keep_still() {
    let mut stream = Broadcast::new(Extent::Service);
    let pmt = [0xe1, 0, 0xf0, 0, 0x1b, 0xe1, 0, 0xf0, 0, 0x06, 0xe1, 1, 0xf0, 2, 0x56, 0];
    let pmt = packets(PMT_PID, &section(2, 1, &pmt))[0];
    stream.run(20_000, |_, bytes| {
        if pid(bytes) == PMT_PID {
            let counter = bytes[3];
            *bytes = pmt;
            bytes[3] |= counter;
        }
        pid(bytes) != AUDIO
    });
    assert_eq!(stream.seen(), []);
}

#[test]
fn transport_error_is_the_only_error_of_its_packet() {
    let mut stream = Broadcast::new(Extent::Service);
    stream.run(2_000, |now, bytes| {
        bytes[1] |= if now == 1_040 { 0x80 } else { 0 };
        true
    });
    assert_eq!(stream.seen(), [(Indicator::Transport, 2, 1_040)]);
}

#[test]
fn crc_error_is_counted_for_each_table_that_has_a_crc() {
    let mut stream = Broadcast::new(Extent::Input);
    stream.run(200, |now, bytes| {
        bytes[14] ^= u8::from(now == 100 && matches!(pid(bytes), 0 | PMT_PID));
        true
    });
    assert_eq!(stream.seen(), [(Indicator::Crc, 2, 100)]);
    for (at, pid, table, counts) in [
        (201, 0x10, 0x40, true),  // NIT
        (202, 0x11, 0x42, true),  // SDT
        (203, 0x11, 0x4a, true),  // BAT
        (204, 0x12, 0x50, true),  // EIT
        (205, 0x14, 0x73, true),  // TOT
        (206, 0x14, 0x70, false), // TDT has none
        (207, 0x10, 0x72, false), // stuffing
        (208, 0x300, 0x42, false),
    ] {
        let before = stream.health.tallies().of(Indicator::Crc).count;
        let mut damaged = section(table, 1, &[1, 2, 3]);
        damaged[9] ^= 1;
        let health = &mut Health::new(Extent::Input);
        health.push(ms(at), Packet::parse(&packets(pid, &damaged)[0]).unwrap());
        assert_eq!(health.tallies().of(Indicator::Crc).count, u64::from(counts), "{pid:#x} {table:#x}");
        assert_eq!(stream.health.tallies().of(Indicator::Crc).count, before);
    }
}

#[test]
fn pcr_repetition_error_is_more_than_100_ms_without_a_pcr() {
    let has_pcr = |bytes: &PacketBytes| Packet::parse(bytes).unwrap().pcr().is_some();
    let mut stream = Broadcast::new(Extent::Service);
    // Every 80 ms is as slow as these packets may be.
    stream.run(1_000, |now, bytes| !has_pcr(bytes) || now % 80 == 0);
    assert_eq!(stream.seen(), []);
    // From 960 to 1,080 ms there is none.
    stream.run(1_200, |now, bytes| !has_pcr(bytes) || now >= 1_080);
    let tally = stream.health.tallies().of(Indicator::PcrRepetition);
    assert_eq!((tally.count, tally.last), (1, Some(ms(1_080))));
}

#[test]
fn pcr_discontinuity_error_is_a_step_out_of_0_to_100_ms_that_nothing_announces() {
    let count = |from: u64, to: u64, announced: bool| {
        let mut stream = Broadcast::new(Extent::Service);
        stream.run(200, |now, bytes| {
            if Packet::parse(bytes).unwrap().pcr().is_some() {
                crate::packet::set_pcr(bytes, if now < 120 { from } else { to });
                bytes[5] |= if announced && now == 120 { 0x80 } else { 0 };
            }
            true
        });
        stream.health.tallies().of(Indicator::PcrDiscontinuity).count
    };
    assert_eq!(count(500 * MS, 600 * MS, false), 0);
    assert_eq!(count(500 * MS, 600 * MS + 1, false), 1);
    assert_eq!(count(500 * MS, 499 * MS, false), 1);
    assert_eq!(count(500 * MS, 9_999 * MS, true), 0);
    // The wrap is no step.
    assert_eq!(count(crate::time::PCR_MODULUS - MS, 30 * MS, false), 0);
}

/// Four seconds of a PCR every tenth of 1,000 packets a second, one of them so many ticks late.
fn accuracy(extent: Extent, off_ticks: u64, packet_ticks: impl Fn(u64) -> u64) -> (Health, u64) {
    let mut health = Health::new(extent);
    let pat = packets(0, &section(0, 1, &[0, 1, 0xe0, 0x30]))[0];
    let pmt = packets(PMT_PID, &section(2, 1, &[0xe1, 0, 0xf0, 0, 0x1b, 0xe1, 0, 0xf0, 0]))[0];
    for bytes in [pat, pmt] {
        health.push(Duration::ZERO, Packet::parse(&bytes).unwrap());
    }
    let (mut pcr, mut counter) = (0, 0);
    for n in 0..6_000 {
        let late = if n == 5_500 { off_ticks } else { 0 };
        let bytes = packet(VIDEO, counter, (n % 10 == 0).then_some(pcr + late), 0);
        counter = (counter + 1) & 15;
        health.push(ms(n), Packet::parse(&bytes).unwrap());
        pcr += packet_ticks(n);
    }
    let count = health.tallies().of(Indicator::PcrAccuracy).count;
    (health, count)
}

#[test]
fn pcr_accuracy_error_is_a_pcr_more_than_500_ns_out_of_its_place() {
    assert_eq!(accuracy(Extent::Input, 0, |_| MS).1, 0);
    assert_eq!(accuracy(Extent::Input, 13, |_| MS).1, 0);
    assert_eq!(accuracy(Extent::Input, 14, |_| MS).1, 1);
    assert_eq!(accuracy(Extent::Input, 1_000, |_| MS).1, 1);
}

#[test]
fn pcr_accuracy_is_not_judged_without_a_constant_rate_or_of_a_service() {
    let (health, count) = accuracy(Extent::Input, 1_000, |n| MS + n / 1_000 * 100);
    assert_eq!((health.judges_accuracy(), count), (false, 0));
    let (health, count) = accuracy(Extent::Service, 1_000, |_| MS);
    assert_eq!((health.judges_accuracy(), count), (false, 0));
}

#[test]
fn pts_error_is_more_than_700_ms_without_a_pts() {
    let mut stream = Broadcast::new(Extent::Service);
    // At 200 ms, then not: missed when it is looked for after 900 ms.
    stream.run(1_000, |now, bytes| pid(bytes) != AUDIO || bytes[1] & 0x40 == 0 || now <= 200);
    assert_eq!(stream.seen(), [(Indicator::Pts, 1, 960)]);
    stream.clean(3_000);
    assert_eq!(stream.seen(), [(Indicator::Pts, 1, 960)]);
    // Scrambled sound hides its stamps.
    stream.run(6_000, |_, bytes| {
        bytes[3] |= if pid(bytes) == AUDIO { 0x80 } else { 0 };
        true
    });
    assert_eq!(stream.seen(), [(Indicator::Pts, 1, 960)]);
}

#[test]
fn cat_error_is_scrambled_packets_without_a_cat_or_another_table_in_its_place() {
    let scramble = |_: u64, bytes: &mut PacketBytes| {
        bytes[3] |= if pid(bytes) == AUDIO { 0x80 } else { 0 };
        true
    };
    let mut stream = Broadcast::new(Extent::Input);
    stream.run(2_000, scramble);
    assert_eq!(stream.seen(), []);
    stream.run(2_200, scramble);
    assert_eq!(stream.seen(), [(Indicator::Cat, 1, 2_040)]);
    // With a CAT it is in order.
    for counter in 0..16 {
        let until = 2_200 + 1_000 * (u64::from(counter) + 1);
        let mut cat = packets(1, &section(1, 0xffff, &[9, 4, 0, 1, 0xe1, 0x77]))[0];
        cat[3] |= counter;
        stream.health.push(ms(stream.now_ms), Packet::parse(&cat).unwrap());
        stream.run(until, scramble);
    }
    assert_eq!(stream.seen(), [(Indicator::Cat, 1, 2_040)]);
    let other = packets(1, &section(0x42, 1, &[]))[0];
    stream.health.push(ms(stream.now_ms), Packet::parse(&other).unwrap());
    assert_eq!(stream.seen(), [(Indicator::Cat, 2, stream.now_ms.into())]);
    // A service comes without it.
    let mut service = Broadcast::new(Extent::Service);
    service.run(9_000, scramble);
    assert_eq!(service.seen(), []);
}

#[test]
fn an_input_opened_anew_is_no_error_of_its_stream() {
    let mut stream = Broadcast::new(Extent::Input);
    stream.clean(1_000);
    stream.health.interrupt(Extent::Input);
    stream.counters.values_mut().for_each(|counter| *counter += 7);
    stream.now_ms = 61_000;
    stream.run(62_000, |_, bytes| {
        if let Some(pcr) = Packet::parse(bytes).unwrap().pcr() {
            crate::packet::set_pcr(bytes, pcr + 9_999 * MS);
        }
        true
    });
    assert_eq!(stream.seen(), []);
}

#[test]
fn a_storm_of_pids_is_counted_and_costs_no_more_than_its_table() {
    let mut stream = Broadcast::new(Extent::Input);
    stream.clean(100);
    for pid in 0x200..0x1fff {
        stream.health.push(ms(100), Packet::parse(&packet(pid, 0, None, 0)).unwrap());
    }
    stream.clean(2_000);
    assert_eq!(stream.seen(), []);
    assert_eq!(stream.health.unwatched_packets(), 0x1fff - 0x200 - (PIDS_MAX as u64 - 4));
}

proptest! {
    #[test]
    fn no_packets_panic(
        extent in prop_oneof![Just(Extent::Input), Just(Extent::Service)],
        packets in proptest::collection::vec((0u64..3_000, proptest::sample::select(vec![0u16, 1, 0x10, 0x12, 0x14, PMT_PID, VIDEO, AUDIO, 0x1fff]), proptest::collection::vec(any::<u8>(), 40)), 0..60),
    ) {
        let mut stream = Broadcast::new(extent);
        stream.clean(60);
        let mut now = 60;
        for (later, pid, body) in packets {
            now += later;
            let mut bytes = packet(pid, 0, None, 0xff);
            bytes[3..43].copy_from_slice(&body);
            let [high, _] = pid.to_be_bytes();
            bytes[1] = high | body[39] & 0xe0;
            stream.health.push(ms(now), Packet::parse(&bytes).unwrap());
            stream.health.tick(ms(now + later));
        }
    }

    #[test]
    fn time_that_steps_back_does_no_harm(times in proptest::collection::vec(0u64..100_000, 1..60)) {
        let mut health = Health::new(Extent::Input);
        for at in times {
            for bytes in due(at / 20 * 20) {
                health.push(ms(at), Packet::parse(&bytes).unwrap());
            }
            health.tick(ms(at));
        }
    }
}
