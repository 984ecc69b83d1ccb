//! The tables of a DVB multiplex as a broadcaster makes them: names, numbers, time, and the guide (ETSI EN 300 468). Written from
//! the standard alone; it shares nothing with what it is there to test.

use std::collections::BTreeMap;

use crate::packets::PACKET_BYTES;

const NIT_PID: u16 = 0x10;
const SDT_PID: u16 = 0x11;
const EIT_PID: u16 = 0x12;
const TDT_PID: u16 = 0x14;
/// 1970-01-01 as a Modified Julian Date.
const UNIX_EPOCH_MJD: i64 = 40_587;
const SEGMENT_S: i64 = 3 * 3_600;
const DAY_S: i64 = 86_400;
/// Segments of one table of the schedule: four days.
const SEGMENTS_PER_TABLE: i64 = 32;
/// Sections of one segment at most.
const SECTIONS_PER_SEGMENT: usize = 8;
/// What a section of events holds beside head and CRC.
const EVENTS_BYTES: usize = 4_096 - 18;

/// A service with all that is announced of it.
#[derive(Debug, Clone)]
pub struct Service {
    /// The programme number.
    pub id: u16,
    /// What it is called.
    pub name: String,
    /// Its number on a remote control.
    pub number: u16,
    /// What it shows, by time.
    pub shows: Vec<Show>,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Show {
    /// `event_id`.
    pub id: u16,
    /// When it begins, seconds since 1970.
    pub start_unix_s: i64,
    /// How long it is.
    pub duration_s: u32,
    /// What it is called.
    pub title: String,
    /// A sentence about it.
    pub text: String,
    /// More about it.
    pub description: String,
}

/// The tables of a multiplex: each section with its PID.
pub fn tables(transport_stream_id: u16, services: &[Service], now_unix_s: i64) -> Vec<(u16, Vec<u8>)> {
    let mut sections = vec![
        (NIT_PID, nit(transport_stream_id, services)),
        (SDT_PID, sdt(transport_stream_id, services)),
        (TDT_PID, tdt(now_unix_s)),
    ];
    for service in services {
        sections.extend(
            present_following(transport_stream_id, service, now_unix_s).map(|section| (EIT_PID, section)),
        );
    }
    for service in services {
        let schedule = schedule(transport_stream_id, service, now_unix_s);
        sections.extend(schedule.into_iter().map(|section| (EIT_PID, section)));
    }
    sections
}

/// Puts the packets of `sections`, again and again, between those of `stream`: one behind each `every`. What the stream has on their
/// PIDs goes.
pub fn weave(stream: &[u8], sections: &[(u16, Vec<u8>)], every: usize) -> Vec<u8> {
    let mut counters: BTreeMap<u16, u8> = BTreeMap::new();
    let mut carousel = sections.iter().cycle().flat_map(|(pid, section)| packets(*pid, section));
    let of_tables = |packet: &&[u8]| {
        let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        sections.iter().any(|(table, _)| *table == pid)
    };
    let mut woven = Vec::new();
    for (n, packet) in stream.chunks(PACKET_BYTES).filter(|packet| !of_tables(packet)).enumerate() {
        woven.extend_from_slice(packet);
        if n % every == every - 1
            && let Some((pid, mut packet)) = carousel.next()
        {
            let counter = counters.entry(pid).or_default();
            packet[3] |= *counter;
            *counter = (*counter + 1) & 15;
            woven.extend(packet);
        }
    }
    woven
}

/// The packets of one section, counters 0.
fn packets(pid: u16, section: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let bytes = [&[0], section].concat();
    let cut = |(n, part): (usize, &[u8])| {
        let [high, low] = pid.to_be_bytes();
        let mut packet = vec![0x47, high | if n == 0 { 0x40 } else { 0 }, low, 0x10];
        packet.extend(part);
        packet.resize(PACKET_BYTES, 0xff);
        (pid, packet)
    };
    bytes.chunks(PACKET_BYTES - 4).enumerate().map(cut).collect()
}

/// §5.2.1, with a logical channel descriptor (IEC 62216).
fn nit(transport_stream_id: u16, services: &[Service]) -> Vec<u8> {
    let numbers: Vec<u8> = services
        .iter()
        .flat_map(|service| [service.id.to_be_bytes(), (0xfc00 | service.number).to_be_bytes()].concat())
        .collect();
    // 506 MHz, 8 MHz wide.
    let delivery = descriptor(0x5a, &[0x03, 0x04, 0x18, 0x40, 0x1f, 0x81, 0x08, 0xff, 0xff, 0xff, 0xff]);
    let inner = [delivery, descriptor(0x5f, &[0, 0, 0, 0x28]), descriptor(0x83, &numbers)].concat();
    let multiplex = [&transport_stream_id.to_be_bytes()[..], &[0, 1], &counted_12(&inner)].concat();
    let body = [counted_12(&descriptor(0x40, b"Laboratory")), counted_12(&multiplex)].concat();
    section(0x40, 0x3001, [0, 0], &body)
}

/// §5.2.3.
fn sdt(transport_stream_id: u16, services: &[Service]) -> Vec<u8> {
    let mut body = vec![0, 1, 0xff];
    for service in services {
        let names = [&[0x01][..], &counted(b"Lab"), &counted(&utf_8(&service.name, 60))].concat();
        let mut inner = counted_12(&descriptor(0x48, &names));
        // Running, free.
        inner[0] = inner[0] & 0x0f | 0x80;
        body.extend(service.id.to_be_bytes());
        body.push(0xff);
        body.extend(inner);
    }
    section(0x42, transport_stream_id, [0, 0], &body)
}

/// §5.2.5: short, without a CRC.
fn tdt(unix_s: i64) -> Vec<u8> {
    [&[0x70, 0x70, 5][..], &time(unix_s)].concat()
}

/// §5.2.4: present in section 0, following in section 1.
fn present_following(transport_stream_id: u16, service: &Service, now_unix_s: i64) -> [Vec<u8>; 2] {
    let end = |show: &Show| show.start_unix_s + i64::from(show.duration_s);
    let mut shows = service.shows.iter().skip_while(|show| end(show) <= now_unix_s).peekable();
    let present = shows.next_if(|show| show.start_unix_s <= now_unix_s);
    let following = shows.next();
    [(0, present, 4), (1, following, 1)].map(|(number, show, running)| {
        let event = show.map(|show| event(show, running)).unwrap_or_default();
        let body = [&eit_head(transport_stream_id, 1, 0x4e)[..], &event].concat();
        section(0x4e, service.id, [number, 1], &body)
    })
}

/// Segments of three hours from midnight on, four days to a table; one without events is an empty section.
fn schedule(transport_stream_id: u16, service: &Service, now_unix_s: i64) -> Vec<Vec<u8>> {
    let midnight = now_unix_s.div_euclid(DAY_S) * DAY_S;
    let mut segments: BTreeMap<i64, Vec<Vec<u8>>> = BTreeMap::new();
    for show in service.shows.iter().filter(|show| show.start_unix_s >= midnight) {
        let segment = (show.start_unix_s - midnight) / SEGMENT_S;
        segments.entry(segment).or_default().push(event(show, 1));
    }
    let Some(&last) = segments.keys().next_back() else { return Vec::new() };
    let mut parts_of: Vec<(u8, u8, u8, Vec<u8>)> = Vec::new();
    for segment in 0..=last {
        let parts = parts(segments.remove(&segment).unwrap_or_default());
        assert!(parts.len() <= SECTIONS_PER_SEGMENT, "three hours have room for eight sections");
        let first = u8::try_from(segment % SEGMENTS_PER_TABLE * 8).expect("32 segments of eight");
        let segment_last = first + u8::try_from(parts.len() - 1).expect("eight sections");
        parts_of
            .extend((first..).zip(parts).map(|(number, part)| (table(segment), number, segment_last, part)));
    }
    let last_numbers: BTreeMap<u8, u8> =
        parts_of.iter().map(|&(table, number, ..)| (table, number)).collect();
    let section_of = |(table_id, number, segment_last, part): (u8, u8, u8, Vec<u8>)| {
        let body = [eit_head(transport_stream_id, segment_last, table(last)), part].concat();
        section(table_id, service.id, [number, last_numbers[&table_id]], &body)
    };
    parts_of.into_iter().map(section_of).collect()
}

fn table(segment: i64) -> u8 {
    0x50 + u8::try_from(segment / SEGMENTS_PER_TABLE).expect("64 days at most")
}

/// Events by as many as a section holds; one part, if empty, at least.
fn parts(events: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new()];
    for event in events {
        if parts.last().is_some_and(|part: &Vec<u8>| part.len() + event.len() > EVENTS_BYTES) {
            parts.push(Vec::new());
        }
        if let Some(part) = parts.last_mut() {
            part.extend(event);
        }
    }
    parts
}

fn eit_head(transport_stream_id: u16, segment_last: u8, last_table: u8) -> Vec<u8> {
    [&transport_stream_id.to_be_bytes()[..], &[0, 1, segment_last, last_table]].concat()
}

fn event(show: &Show, running: u8) -> Vec<u8> {
    let short = [&b"deu"[..], &counted(&utf_8(&show.title, 100)), &counted(&utf_8(&show.text, 120))].concat();
    let mut descriptors = descriptor(0x4d, &short);
    let description: Vec<char> = show.description.chars().collect();
    // An extended descriptor each 60 characters, which are at most 240 bytes.
    let texts: Vec<String> = description.chunks(60).map(|part| part.iter().collect()).collect();
    for (number, text) in texts.iter().enumerate() {
        let numbers = u8::try_from(number << 4 | (texts.len() - 1)).expect("sixteen at most");
        let body = [&[numbers][..], b"deu", &[0], &counted(&utf_8(text, 245))].concat();
        descriptors.extend(descriptor(0x4e, &body));
    }
    let mut inner = counted_12(&descriptors);
    inner[0] = inner[0] & 0x0f | running << 5;
    let length = [show.duration_s / 3_600, show.duration_s / 60 % 60, show.duration_s % 60].map(decimals);
    [&show.id.to_be_bytes()[..], &time(show.start_unix_s), &length, &inner].concat()
}

/// Annex C: the date in 16 bits, the time in six decimals.
fn time(unix_s: i64) -> [u8; 5] {
    let date = u16::try_from(unix_s.div_euclid(DAY_S) + UNIX_EPOCH_MJD).expect("before 2038");
    let seconds = u32::try_from(unix_s.rem_euclid(DAY_S)).expect("less than a day");
    let [high, low] = date.to_be_bytes();
    [high, low, decimals(seconds / 3_600), decimals(seconds / 60 % 60), decimals(seconds % 60)]
}

fn decimals(number: u32) -> u8 {
    u8::try_from(number / 10 * 16 + number % 10).expect("two decimals")
}

/// Annex A: 0x15 says that UTF-8 follows.
fn utf_8(text: &str, most_bytes: usize) -> Vec<u8> {
    assert!(text.len() <= most_bytes, "{text}: more than {most_bytes} bytes");
    if text.is_empty() { Vec::new() } else { [&[0x15], text.as_bytes()].concat() }
}

fn counted(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).expect("a text is short")], bytes].concat()
}

fn counted_12(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a loop is short") | 0xf000;
    [&length.to_be_bytes()[..], bytes].concat()
}

fn descriptor(tag: u8, data: &[u8]) -> Vec<u8> {
    [&[tag], &counted(data)[..]].concat()
}

/// A section of version 0 with its number and the last one.
fn section(table_id: u8, extension: u16, numbers: [u8; 2], body: &[u8]) -> Vec<u8> {
    let mut bytes = crate::multiplex::section(table_id, extension, body);
    // Bits that are reserved for DVB, not for private data; then numbers, so the CRC is made anew.
    bytes.truncate(bytes.len() - 4);
    bytes[1] |= 0x40;
    bytes[6..8].copy_from_slice(&numbers);
    bytes.extend(crate::multiplex::crc32(&bytes).to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standards_example_of_a_time_is_made() {
        // 13 October 1993, 12:45:00 (annex C).
        assert_eq!(time(750_516_300), [0xc0, 0x79, 0x12, 0x45, 0x00]);
    }

    #[test]
    fn a_week_of_events_lies_in_its_segments() {
        let midnight = 1_795_305_600;
        let show = |n: i64| Show {
            id: u16::try_from(n).unwrap(),
            start_unix_s: midnight + n * 1_800,
            duration_s: 1_800,
            title: format!("Show {n}"),
            text: String::new(),
            description: "x".repeat(200),
        };
        let service = Service { id: 1, name: "One".into(), number: 1, shows: (0..336).map(show).collect() };
        let sections = schedule(9, &service, midnight + 5_000);
        assert_eq!(sections.len(), 56);
        assert!(
            sections.iter().all(|section| crate::multiplex::crc32(section) == 0 && section.len() <= 4_096)
        );
        assert_eq!(
            (sections[31][0], sections[31][6], sections[32][0], sections[32][6]),
            (0x50, 248, 0x51, 0)
        );
        let [present, following] = present_following(9, &service, midnight + 5_000);
        assert_eq!((&present[14..16], &following[14..16]), (&[0, 2][..], &[0, 3][..]));
    }
}
