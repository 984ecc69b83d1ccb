use media::packet::{PACKET_BYTES, PacketBytes, SYNC_BYTE};
use media::section::crc32;
use proptest::prelude::*;

use super::*;

/// 2026-11-22 00:00:00 UTC.
const DAY_UNIX_S: i64 = 1_795_305_600;
/// The Modified Julian Date of that day.
const DAY_MJD: u16 = 61_366;

/// Sections of one PID as packets, counters going on.
struct Carousel {
    pid: u16,
    counter: u8,
}

impl Carousel {
    fn new(pid: u16) -> Self {
        Self { pid, counter: 0 }
    }

    fn packets(&mut self, section: &[u8]) -> Vec<PacketBytes> {
        let bytes: Vec<u8> = std::iter::once(0).chain(section.iter().copied()).collect();
        let mut packets = Vec::new();
        for (n, part) in bytes.chunks(PACKET_BYTES - 4).enumerate() {
            let [high, low] = self.pid.to_be_bytes();
            let mut packet = [0xff; PACKET_BYTES];
            let start = if n == 0 { 0x40 } else { 0 };
            packet[..4].copy_from_slice(&[SYNC_BYTE, high | start, low, 0x10 | self.counter]);
            packet[4..4 + part.len()].copy_from_slice(part);
            self.counter = (self.counter + 1) & 15;
            packets.push(packet);
        }
        packets
    }

    fn send(&mut self, collector: &mut GuideCollector, section: &[u8]) {
        for bytes in self.packets(section) {
            collector.push(Packet::parse(&bytes).unwrap());
        }
    }
}

/// A section in the long syntax; `numbers` are version, number and last number.
fn section(table_id: u8, extension: u16, numbers: [u8; 3], body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![table_id];
    bytes.extend((u16::try_from(body.len() + 9).unwrap() | 0xf000).to_be_bytes());
    bytes.extend(extension.to_be_bytes());
    bytes.extend([0xc1 | numbers[0] << 1, numbers[1], numbers[2]]);
    bytes.extend(body);
    bytes.extend(crc32(&bytes).to_be_bytes());
    bytes
}

fn bcd(number: u32) -> u8 {
    u8::try_from(number / 10 * 16 + number % 10).unwrap()
}

/// An event of so many hours, from an hour of the day on.
fn event(id: u16, start_hour: u32, hours: u32, title: &str) -> Vec<u8> {
    let day = DAY_MJD + u16::try_from(start_hour / 24).unwrap();
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend(day.to_be_bytes());
    bytes.extend([bcd(start_hour % 24), 0, 0, bcd(hours), 0, 0]);
    let length = u8::try_from(title.len() + 7).unwrap();
    bytes.extend([0x80, length, 0x4d, length - 2]);
    bytes.extend(b"deu");
    bytes.push(length - 7);
    bytes.extend(title.as_bytes());
    bytes.push(0);
    bytes
}

fn eit(table_id: u8, service: u16, numbers: [u8; 3], events: &[Vec<u8>]) -> Vec<u8> {
    let body = [vec![0, 1, 0, 2, numbers[2], table_id], events.concat()].concat();
    section(table_id, service, numbers, &body)
}

fn collector(channels: &[(u32, Option<u16>)]) -> GuideCollector {
    let mut collector = GuideCollector::new();
    collector
        .set_channels(channels.iter().map(|(channel, service)| (ChannelId(*channel), *service)).collect());
    collector
}

/// All that is told, second by second.
fn take_all(collector: &mut GuideCollector) -> Vec<Schedule> {
    let mut told = Vec::new();
    let mut now = collector.next_take;
    loop {
        let schedules = collector.take(now, usize::MAX);
        if schedules.is_empty() {
            return told;
        }
        assert!(schedules.len() <= SCHEDULES_PER_SECOND && schedules.iter().all(Schedule::is_sound));
        told.extend(schedules);
        now += INTERVAL;
    }
}

fn titles(told: &[Schedule]) -> Vec<(u32, String)> {
    let events = told
        .iter()
        .flat_map(|schedule| schedule.events.iter().map(|event| (schedule.channel.0, event.title.clone())));
    events.collect()
}

#[test]
fn a_channels_events_are_told_once_and_again_when_they_change() {
    let mut collector = collector(&[(1, Some(10)), (2, Some(11))]);
    let mut carousel = Carousel::new(eit::PID);
    let first = eit(0x50, 10, [0, 0, 0], &[event(1, 20, 1, "News"), event(2, 21, 2, "Film")]);
    carousel.send(&mut collector, &first);
    carousel.send(&mut collector, &eit(0x50, 12, [0, 0, 0], &[event(1, 20, 1, "Nobody's")]));
    let told = take_all(&mut collector);
    let [schedule] = &told[..] else { panic!("{told:?}") };
    assert_eq!((schedule.channel, schedule.from_unix_s), (ChannelId(1), DAY_UNIX_S + 20 * 3600));
    assert_eq!(schedule.until_unix_s, DAY_UNIX_S + 23 * 3600);
    assert_eq!(schedule.events[1].duration_s, 7200);
    assert_eq!(schedule.events[0].language.as_deref(), Some("deu"));
    carousel.send(&mut collector, &first);
    assert!(take_all(&mut collector).is_empty(), "it is known");
    carousel.send(&mut collector, &eit(0x50, 10, [1, 0, 0], &[event(1, 20, 3, "Match")]));
    assert_eq!(titles(&take_all(&mut collector)), [(1, "Match".to_owned())]);
}

#[test]
fn all_is_told_again_when_the_hosts_clock_leaps_to_another_day_and_not_when_it_is_set_right_by_seconds() {
    let mut collector = collector(&[(1, Some(10))]);
    let mut carousel = Carousel::new(eit::PID);
    let section = eit(0x50, 10, [0, 0, 0], &[event(1, 20, 1, "News")]);
    let clock = |s: u64| (Time::from_ms(s * 1_000), ClusterTime((1_000_000 + s) * 1_000));
    let mut told_at = |(now, wall): (Time, ClusterTime)| {
        collector.wall(now, wall);
        carousel.send(&mut collector, &section);
        take_all(&mut collector).len()
    };
    assert_eq!((told_at(clock(1)), told_at(clock(2))), (1, 0));
    let later = |s, ahead_s: u64| (clock(s).0, ClusterTime(clock(s).1.0 + ahead_s * 1_000));
    assert_eq!(told_at(later(3, 3_000)), 0, "50 minutes");
    assert_eq!(
        (told_at(later(4, 800_000_000)), told_at(later(5, 800_000_000))),
        (1, 0),
        "a battery is missing"
    );
    assert_eq!(told_at(clock(6)), 1, "back");
}

#[test]
fn what_is_on_goes_before_what_will_be() {
    let mut collector = collector(&[(1, Some(10))]);
    let mut carousel = Carousel::new(eit::PID);
    carousel.send(&mut collector, &eit(0x50, 10, [0, 0, 0], &[event(9, 30, 1, "Tomorrow")]));
    carousel.send(&mut collector, &eit(0x4e, 10, [0, 0, 1], &[event(1, 20, 1, "Now")]));
    let told = titles(&take_all(&mut collector));
    assert_eq!(told, [(1, "Now".to_owned()), (1, "Tomorrow".to_owned())]);
}

#[test]
fn a_channel_without_a_service_has_the_guide_of_the_only_one() {
    let mut collector = collector(&[(1, None)]);
    let mut guide = Carousel::new(eit::PID);
    let events = eit(0x4e, 10, [0, 0, 0], &[event(1, 20, 1, "Now")]);
    guide.send(&mut collector, &events);
    assert!(take_all(&mut collector).is_empty(), "nobody knows whose it is");
    let mut pat = Carousel::new(PAT_PID);
    pat.send(&mut collector, &section(0, 1, [0, 0, 0], &[0, 10, 0xe1, 0]));
    guide.send(&mut collector, &events);
    assert_eq!(titles(&take_all(&mut collector)).len(), 1);
    pat.send(&mut collector, &section(0, 1, [1, 0, 0], &[0, 10, 0xe1, 0, 0, 11, 0xe2, 0]));
    guide.send(&mut collector, &eit(0x4e, 10, [1, 0, 0], &[event(2, 21, 1, "Next")]));
    assert!(take_all(&mut collector).is_empty(), "there are two");
}

#[test]
fn a_channel_that_comes_later_is_told_what_came_before() {
    let mut collector = collector(&[(1, Some(10))]);
    let mut carousel = Carousel::new(eit::PID);
    let now = eit(0x4e, 10, [0, 0, 0], &[event(1, 20, 1, "Now")]);
    carousel.send(&mut collector, &now);
    assert_eq!(take_all(&mut collector).len(), 1);
    collector.set_channels([(ChannelId(1), Some(10)), (ChannelId(2), Some(10))].into());
    carousel.send(&mut collector, &now);
    assert_eq!(titles(&take_all(&mut collector)), [(1, "Now".to_owned()), (2, "Now".to_owned())]);
}

/// Seven days of 200 services, as a multiplex repeats them: all is told, within a bounded memory.
#[test]
fn a_week_of_two_hundred_services_comes_through_with_bounded_memory() {
    let channels: Vec<(u32, Option<u16>)> = (1..=200).map(|n| (n, Some(u16::try_from(n).unwrap()))).collect();
    let mut collector = collector(&channels);
    let mut carousel = Carousel::new(eit::PID);
    let mut told: BTreeMap<(u32, i64), u64> = BTreeMap::new();
    let mut now = Time::ZERO;
    let mut rounds = 0;
    while told.len() < 200 * 7 * 48 {
        rounds += 1;
        assert!(rounds < 20, "{} events after {rounds} rounds", told.len());
        for segment in 0..56_u32 {
            // Four days a table, three hours a segment; six half-hour events, here as six sections of one.
            let (table, number) = (0x50 + segment / 32, segment % 32 * 8);
            for service in 1..=200_u16 {
                let six: Vec<u8> = (0..6_u16)
                    .flat_map(|n| {
                        let hour = segment * 3 + u32::from(n) / 2;
                        let mut bytes = event(segment_id(segment, n), hour, 0, "A title of some length");
                        bytes[5] = if n % 2 == 0 { 0 } else { 0x30 };
                        bytes[8] = 0x30;
                        bytes
                    })
                    .collect();
                let numbers = [0, u8::try_from(number).unwrap(), 248];
                let bytes = eit(u8::try_from(table).unwrap(), service, numbers, &[six]);
                carousel.send(&mut collector, &bytes);
                assert!(collector.pending.len() <= PENDING_MAX);
            }
            // As many sections as a second of a fast multiplex brings.
            for _ in 0..4 {
                now += INTERVAL;
                for schedule in collector.take(now, usize::MAX) {
                    for event in schedule.events {
                        *told.entry((schedule.channel.0, event.start_unix_s)).or_default() += 1;
                    }
                }
            }
        }
    }
    assert!(told.values().all(|times| *times == 1), "nothing is told twice");
    assert_eq!(collector.seen.tables().count(), 400);
    assert_eq!(collector.counters().events, 67_200);
}

fn segment_id(segment: u32, n: u16) -> u16 {
    u16::try_from(segment).unwrap() * 6 + n
}

#[test]
fn one_service_that_flaps_leaves_room_for_the_others() {
    let mut collector = collector(&[(1, Some(10)), (2, Some(11))]);
    let mut carousel = Carousel::new(eit::PID);
    for n in 0..10_000_u16 {
        let version = u8::try_from(n % 32).unwrap();
        carousel.send(&mut collector, &eit(0x50, 10, [version, 0, 0], &[event(n, 20, 1, "Flap")]));
        assert!(collector.pending.len() <= PENDING_PER_SERVICE_MAX);
    }
    carousel.send(&mut collector, &eit(0x50, 11, [0, 0, 0], &[event(1, 20, 1, "Calm")]));
    assert!(titles(&take_all(&mut collector)).contains(&(2, "Calm".to_owned())));
    assert!(collector.counters().deferred >= 9_000);
}

#[test]
fn a_wrong_crc_changes_nothing_and_is_counted() {
    let mut collector = collector(&[(1, Some(10))]);
    let mut carousel = Carousel::new(eit::PID);
    let good = eit(0x4e, 10, [0, 0, 0], &[event(1, 20, 1, "Now")]);
    let mut bad = good.clone();
    bad[30] ^= 1;
    carousel.send(&mut collector, &bad);
    assert!(take_all(&mut collector).is_empty());
    assert_eq!(collector.counters().bad_sections, 1);
    carousel.send(&mut collector, &good);
    assert_eq!(take_all(&mut collector).len(), 1);
}

/// The tables of an ATSC multiplex, one channel of source 7 and programme 3.
struct AtscCarousel {
    base: Carousel,
    events: Carousel,
    texts: Carousel,
}

impl AtscCarousel {
    fn new() -> Self {
        Self {
            base: Carousel::new(psip::BASE_PID),
            events: Carousel::new(0x1d00),
            texts: Carousel::new(0x1e00),
        }
    }

    fn round(&mut self, collector: &mut GuideCollector) {
        let mut guide = vec![0, 0, 2, 0x01, 0x00, 0xfd, 0x00, 0xe0, 0, 0, 0, 0, 0xf0, 0];
        guide.extend([0x02, 0x00, 0xfe, 0x00, 0xe0, 0, 0, 0, 0, 0xf0, 0, 0xf0, 0]);
        self.base.send(collector, &section(mgt::TABLE, 0, [0, 0, 0], &guide));
        let mut channels = vec![0, 1];
        channels.extend("KING".encode_utf16().chain([0, 0, 0]).flat_map(u16::to_be_bytes));
        channels.extend([0xf0, 0x14, 0x01, 4, 0, 0, 0, 0, 0, 9, 0, 3, 0x0d, 0xc2, 0, 7, 0xfc, 0, 0xfc, 0]);
        self.base.send(collector, &section(vct::TABLE_TERRESTRIAL, 9, [0, 0, 0], &channels));
        let time = [0, 0x56, 0x51, 0, 0, 18, 0x60, 0];
        self.base.send(collector, &section(psip::stt::TABLE, 0, [0, 0, 0], &time));
        // One event with a text: 2025-11-26 00:00:00 UTC, an hour.
        let mut events = vec![0, 1, 0xc0, 5];
        events.extend(1_448_150_418_u32.to_be_bytes());
        events.extend([0xd0, 0x0e, 0x10]);
        events.extend(counted_string("News"));
        events.extend([0xf0, 0]);
        self.events.send(collector, &section(atsc::TABLE, 7, [0, 0, 0], &events));
        let mut text = vec![0, 0, 7, 0, 5 << 2 | 2];
        text.extend(&counted_string("What happened.")[1..]);
        self.texts.send(collector, &section(psip::ett::TABLE, 0, [0, 0, 0], &text));
    }
}

/// A multiple string structure behind its length.
fn counted_string(text: &str) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(text.len() + 8).unwrap(), 1, b'e', b'n', b'g', 1, 0, 0];
    bytes.push(u8::try_from(text.len()).unwrap());
    bytes.extend(text.as_bytes());
    bytes
}

#[test]
fn events_of_atsc_are_told_and_again_with_their_text() {
    let mut collector = collector(&[(1, Some(3))]);
    let mut carousel = AtscCarousel::new();
    carousel.round(&mut collector);
    assert!(collector.pids().contains(&0x1d00) && collector.pids().contains(&0x1e00));
    // The first round may have come before whose it is was known.
    carousel.round(&mut collector);
    carousel.round(&mut collector);
    let told = take_all(&mut collector);
    let [title, text] = &told[..] else { panic!("{told:?}") };
    assert_eq!((title.from_unix_s, title.until_unix_s), (1_764_115_200, 1_764_118_800));
    assert_eq!((title.events[0].title.as_str(), title.events[0].description.as_str()), ("News", ""));
    assert_eq!(
        (text.events[0].title.as_str(), text.events[0].description.as_str()),
        ("News", "What happened.")
    );
}

#[test]
fn a_storm_of_atsc_events_is_bounded() {
    let mut collector = collector(&[(1, Some(3))]);
    let mut carousel = AtscCarousel::new();
    carousel.round(&mut collector);
    for n in 0..5_000_u16 {
        let mut events = vec![0, 1];
        events.extend((0xc000 | n).to_be_bytes());
        events.extend((1_448_150_418 + u32::from(n) * 60).to_be_bytes());
        events.extend([0xd0, 0, 60]);
        events.extend(counted_string("Storm"));
        events.extend([0xf0, 0]);
        let numbers = [u8::try_from(n % 32).unwrap(), 0, 0];
        carousel.events.send(&mut collector, &section(atsc::TABLE, 7, numbers, &events));
        take_all(&mut collector);
        assert!(collector.atsc.held.len() <= HELD_EVENTS_MAX);
    }
    assert!(collector.counters().unheld_events > 0);
}

#[test]
fn an_endless_section_is_given_up_and_the_next_is_read() {
    let mut collector = collector(&[(1, Some(10))]);
    let mut carousel = Carousel::new(eit::PID);
    let mut endless = vec![0x4e, 0xff, 0xff];
    endless.resize(10_000, 0);
    carousel.send(&mut collector, &endless);
    carousel.send(&mut collector, &eit(0x4e, 10, [0, 0, 0], &[event(1, 20, 1, "Now")]));
    assert_eq!(take_all(&mut collector).len(), 1);
}

proptest! {
    /// Good packets of both systems with bit errors, in any order, some twice, some lost.
    #[test]
    fn damaged_guides_never_panic_and_what_is_told_is_sound(
        damage in proptest::collection::vec((any::<usize>(), 4..PACKET_BYTES, any::<u8>()), 0..40),
        order in proptest::collection::vec(any::<usize>(), 0..60),
    ) {
        let mut collector = collector(&[(1, Some(10)), (2, Some(3)), (3, None)]);
        AtscCarousel::new().round(&mut collector);
        let mut carousel = Carousel::new(eit::PID);
        let mut packets = Vec::new();
        for number in 0..4 {
            let events = [event(1, 20, 1, "News"), event(2, 21, 2, "A film of which much is said"), event(3, 23, 9, "")];
            packets.extend(carousel.packets(&eit(0x50, 10, [0, number, 3], &events)));
        }
        for (index, at, byte) in damage {
            let index = index % packets.len();
            packets[index][at] = byte;
        }
        for index in order {
            collector.push(Packet::parse(&packets[index % packets.len()]).unwrap());
        }
        take_all(&mut collector);
    }
}
