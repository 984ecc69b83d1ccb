//! From transport packets to what is said in them: which PIDs, on which clock, by which decoder.

use std::collections::BTreeMap;

use super::announced::{Announced, Kind, Listing, first_programme};
use super::dtvcc::Dtvcc;
use super::line21::Line21;
use super::reorder::Reorder;
use super::teletext::Teletext;
use super::user_data::{self, Coding, TripletKind};
use super::{Cue, Event, TRACKS_MAX, Track};
use crate::packet::Packet;
use crate::pes::{PesTimes, signed_step};
use crate::pes_assembler::{Pes, PesAssembler};
use crate::psi::PAT_PID;
use crate::section::{Section, SectionAssembler};

/// Time stamps that leap by more than this are another stream's: 10 s.
const LEAP_90K: i64 = 900_000;
/// A stream that begins so long after the first picture is not one that players count from: 5 s.
const BEGINNING_90K: i64 = 450_000;
/// Nor is one that is neither sound nor picture and begins so long before them, 1 s: the rule of ffmpeg, which many players use.
const PRIVATE_AHEAD_90K: i64 = 90_000;
/// Streams that are looked at for where they begin.
const BEGINNINGS_MAX: usize = 32;
const TABLE_PAT: u8 = 0x00;
const TABLE_PMT: u8 = 0x02;

/// Reads the captions of the first programme of a stream.
#[derive(Debug)]
pub struct Reader {
    pat: SectionAssembler,
    /// Number of the programme, PID of its PMT, and what of it is being put together.
    programme: Option<(u16, u16, SectionAssembler)>,
    announced: Announced,
    video: Option<Video>,
    teletext: BTreeMap<u16, (PesAssembler, Teletext)>,
    reorder: Reorder,
    first_field: Box<Line21>,
    second_field: Box<Line21>,
    dtvcc: Dtvcc,
    clock: Clock,
    beginning: Beginning,
    events: Vec<Event>,
}

/// What could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Pairs of CTA-608 with a byte of even parity.
    pub parity_errors: u64,
    /// CTA-708 packets that had no end.
    pub torn_packets: u64,
    /// Teletext packets that too many bits were wrong of.
    pub damaged_teletext: u64,
    /// PES packets given up: a gap, or too large.
    pub torn_pes: u64,
}

#[derive(Debug)]
struct Video {
    pid: u16,
    coding: Coding,
    assembler: PesAssembler,
}

/// Stamps, unwrapped and counted from the first picture.
#[derive(Debug, Default)]
struct Clock {
    /// The stamp at time 0.
    origin: Option<u64>,
    /// A stamp that came last, and its time.
    near: Option<(u64, i64)>,
    /// Latest time of all.
    latest_90k: i64,
}

/// Where players begin to count: at the earliest stamp that one of the streams begins with. That may be sound, which is sent
/// later than pictures of the same time, or a picture from before the tables.
#[derive(Debug, Default)]
struct Beginning {
    /// By PID, the first stamps.
    begun: BTreeMap<u16, PesTimes>,
}

/// When something is to be presented.
enum When {
    At(i64),
    /// At this time, but the stamps leapt there.
    Leapt(i64),
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader of a stream that begins.
    pub fn new() -> Self {
        Self {
            pat: SectionAssembler::default(),
            programme: None,
            announced: Announced::default(),
            video: None,
            teletext: BTreeMap::new(),
            reorder: Reorder::default(),
            first_field: Box::new(Line21::new(1)),
            second_field: Box::new(Line21::new(3)),
            dtvcc: Dtvcc::new(),
            clock: Clock::default(),
            beginning: Beginning::default(),
            events: Vec::new(),
        }
    }

    /// Takes the stream's next packet.
    pub fn push(&mut self, packet: Packet<'_>) {
        let pid = packet.pid();
        if packet.payload_unit_start() && self.clock.latest_90k < BEGINNING_90K {
            self.beginning.unit(packet);
        }
        if let Some(video) = self.video.as_mut().filter(|video| video.pid == pid) {
            let coding = video.coding;
            if let Some(pes) = video.assembler.push(packet) {
                self.pictures(coding, &pes);
            }
        } else if let Some((assembler, _)) = self.teletext.get_mut(&pid) {
            if let Some(pes) = assembler.push(packet) {
                self.teletext(pid, &pes);
            }
        } else {
            self.tables(pid, packet);
        }
    }

    /// What has come out since the last call, in order of time for each track.
    pub fn events(&mut self) -> impl Iterator<Item = Event> {
        let ahead_90k = self.beginning.ahead_90k(&self.clock);
        std::mem::take(&mut self.events).into_iter().map(move |event| match event {
            Event::Cue(cue) => Event::Cue(Cue {
                start_90k: cue.start_90k.saturating_add(ahead_90k),
                end_90k: cue.end_90k.saturating_add(ahead_90k),
                ..cue
            }),
            said @ Event::Said { .. } => said,
        })
    }

    /// The stream ends: what is shown is over. A new one may begin.
    pub fn finish(&mut self) {
        self.release(i64::MAX);
        self.end();
        if let Some(video) = &mut self.video {
            video.assembler.restart();
        }
        self.teletext.values_mut().for_each(|(assembler, _)| assembler.restart());
    }

    /// What the programme carries: what its PMT names, and what was heard beside that.
    pub fn tracks(&self) -> Vec<Listing> {
        let mut listings = self.announced.listings.clone();
        for track in self.heard() {
            let known = listings.iter_mut().filter(|listing| listing.track == track);
            if known.map(|listing| listing.is_heard = true).count() == 0 && listings.len() < TRACKS_MAX {
                let kind =
                    if matches!(track, Track::Teletext(_)) { Kind::Subtitles } else { Kind::HardOfHearing };
                listings.push(Listing { track, language: None, kind, is_announced: false, is_heard: true });
            }
        }
        listings.sort_by_key(|listing| listing.track);
        listings
    }

    /// What could not be read.
    pub fn counters(&self) -> Counters {
        let torn = self.teletext.values().map(|(assembler, _)| assembler.torn());
        Counters {
            parity_errors: self.first_field.parity_errors() + self.second_field.parity_errors(),
            torn_packets: self.dtvcc.torn(),
            damaged_teletext: self.teletext.values().map(|(_, teletext)| teletext.damaged()).sum(),
            torn_pes: self.video.as_ref().map_or(0, |video| video.assembler.torn()) + torn.sum::<u64>(),
        }
    }

    fn heard(&self) -> Vec<Track> {
        let channels = (1..).zip(self.first_field.heard().into_iter().chain(self.second_field.heard()));
        let channels = channels.filter(|(_, heard)| *heard).map(|(number, _)| Track::Line21(number));
        let pages = self.teletext.values().flat_map(|(_, teletext)| teletext.heard()).map(Track::Teletext);
        channels.chain(self.dtvcc.heard().map(Track::Service)).chain(pages).collect()
    }

    fn tables(&mut self, pid: u16, packet: Packet<'_>) {
        if pid == PAT_PID {
            let mut found = None;
            self.pat.push(packet, |bytes| {
                let pat =
                    Section::parse(bytes).filter(|section| section.current && section.table_id == TABLE_PAT);
                found = pat.and_then(|pat| first_programme(&pat)).or(found);
            });
            if let Some((number, pid)) = found
                && self.programme.as_ref().is_none_or(|programme| (programme.0, programme.1) != (number, pid))
            {
                self.programme = Some((number, pid, SectionAssembler::default()));
            }
            return;
        }
        let Some((number, _, assembler)) = self.programme.as_mut().filter(|programme| programme.1 == pid)
        else {
            return;
        };
        let mut found = None;
        assembler.push(packet, |bytes| {
            let pmt = Section::parse(bytes).filter(|section| {
                section.current && section.table_id == TABLE_PMT && section.extension == *number
            });
            found = pmt.and_then(|pmt| Announced::parse(pmt.body)).or(found.take());
        });
        if let Some(announced) = found.filter(|found| *found != self.announced) {
            self.announce(announced);
        }
    }

    /// The programme is made of other streams, or says other things of them.
    fn announce(&mut self, announced: Announced) {
        let video = self.video.as_ref().map(|video| (video.pid, video.coding));
        if video != announced.video {
            self.release(i64::MAX);
            self.end();
            let new = |(pid, coding)| Video { pid, coding, assembler: PesAssembler::default() };
            self.video = announced.video.map(new);
        }
        let mut before = std::mem::take(&mut self.teletext);
        for (pid, pages) in &announced.teletext {
            let mut kept = before.remove(pid).unwrap_or_else(|| (PesAssembler::default(), Teletext::new()));
            kept.1.announce(pages.iter().copied());
            self.teletext.insert(*pid, kept);
        }
        let now_90k = self.clock.latest_90k;
        before.values_mut().for_each(|(_, teletext)| teletext.end(now_90k, &mut self.events));
        self.announced = announced;
    }

    fn pictures(&mut self, coding: Coding, pes: &Pes) {
        let Some(times) = pes.times else {
            // Without stamps its captions go with the picture before it.
            let at_90k = self.clock.latest_90k;
            for captioned in user_data::captions(coding, pes.payload()) {
                self.reorder.push(at_90k, captioned.triplets);
            }
            return;
        };
        let (pts_90k, leapt) = match self.clock.picture(times) {
            When::At(pts_90k) => (pts_90k, false),
            When::Leapt(pts_90k) => (pts_90k, true),
        };
        if leapt {
            self.release(i64::MAX);
            self.end();
        }
        for captioned in user_data::captions(coding, pes.payload()) {
            self.reorder.push(pts_90k.saturating_add(captioned.offset_90k), captioned.triplets);
        }
        let ahead_90k = signed_step(times.dts_90k, times.pts_90k);
        self.release(pts_90k.saturating_sub(ahead_90k));
    }

    /// Decodes what is presented up to `dts_90k`.
    fn release(&mut self, dts_90k: i64) {
        let Self { reorder, first_field, second_field, dtvcc, events, .. } = self;
        while let Some((at_90k, triplets)) = reorder.pop(dts_90k) {
            dtvcc.pass(at_90k, events);
            for triplet in triplets {
                match triplet.kind {
                    TripletKind::FirstField => first_field.push(at_90k, triplet.bytes, events),
                    TripletKind::SecondField => second_field.push(at_90k, triplet.bytes, events),
                    kind => dtvcc.push(at_90k, kind, triplet.bytes, events),
                }
            }
        }
    }

    fn teletext(&mut self, pid: u16, pes: &Pes) {
        let is_beside_video = self.video.is_some();
        let at_90k = match pes.times {
            Some(times) => match self.clock.beside(times, is_beside_video) {
                Some(at_90k) => at_90k,
                // Before the first picture.
                None => return,
            },
            // EN 300 472 lets stamps be left out; then a page is shown when it comes.
            None => self.clock.latest_90k,
        };
        if let Some((_, teletext)) = self.teletext.get_mut(&pid) {
            teletext.push(at_90k, pes.payload(), &mut self.events);
        }
    }

    /// All screens are empty from now on.
    fn end(&mut self) {
        let now_90k = self.clock.latest_90k;
        let Self { first_field, second_field, dtvcc, teletext, events, .. } = self;
        [first_field, second_field].into_iter().for_each(|field| field.end(now_90k, events));
        dtvcc.end(now_90k, events);
        teletext.values_mut().for_each(|(_, teletext)| teletext.end(now_90k, events));
    }
}

impl Beginning {
    /// Something begins in this packet.
    fn unit(&mut self, packet: Packet<'_>) {
        if self.begun.len() == BEGINNINGS_MAX || self.begun.contains_key(&packet.pid()) {
            return;
        }
        if let Some(times) = PesTimes::parse(packet.payload()) {
            self.begun.insert(packet.pid(), times);
        }
    }

    /// How long before the clock's 0 that is.
    fn ahead_90k(&self, clock: &Clock) -> i64 {
        let Some(origin) = clock.origin else { return 0 };
        let ahead_90k = |times: &PesTimes| {
            let most_90k = if times.is_video() || times.is_audio() { LEAP_90K } else { PRIVATE_AHEAD_90K };
            Some(signed_step(times.pts_90k, origin)).filter(|step_90k| (0..=most_90k).contains(step_90k))
        };
        self.begun.values().filter_map(ahead_90k).max().unwrap_or(0)
    }
}

impl Clock {
    /// When a picture is to be presented. The first one is at 0; behind a leap times go on where they were.
    fn picture(&mut self, times: PesTimes) -> When {
        self.origin.get_or_insert(times.pts_90k);
        let ahead_90k = signed_step(times.dts_90k, times.pts_90k);
        let step_90k = self.near.map(|(stamp, _)| signed_step(stamp, times.dts_90k));
        let (dts_90k, leapt) = match (self.near, step_90k) {
            (Some((_, time_90k)), Some(step_90k)) if step_90k.abs() <= LEAP_90K => {
                (time_90k + step_90k, false)
            }
            (Some(_), _) => (self.latest_90k - ahead_90k, true),
            (None, _) => (-ahead_90k, false),
        };
        self.near = Some((times.dts_90k, dts_90k));
        let pts_90k = dts_90k + ahead_90k;
        self.latest_90k = self.latest_90k.max(pts_90k);
        if leapt { When::Leapt(pts_90k) } else { When::At(pts_90k) }
    }

    /// When something beside the pictures is to be presented; `None` while none has come though there will be some.
    fn beside(&mut self, times: PesTimes, is_beside_video: bool) -> Option<i64> {
        if let (None, false) = (self.near, is_beside_video) {
            self.origin = Some(times.pts_90k);
            self.near = Some((times.pts_90k, 0));
        }
        let (stamp, time_90k) = self.near?;
        let step_90k = signed_step(stamp, times.pts_90k);
        let at_90k = if step_90k.abs() <= LEAP_90K { time_90k + step_90k } else { self.latest_90k };
        if !is_beside_video {
            self.near = Some((times.pts_90k, at_90k));
            self.latest_90k = self.latest_90k.max(at_90k);
        }
        Some(at_90k)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packet::PacketBytes;
    use crate::packet::tests::packet;
    use crate::pes::TIMESTAMP_MODULUS;
    use crate::section::tests::{packets, section};

    const VIDEO: u16 = 0x100;

    /// PAT, and a PMT with MPEG-2 video.
    fn tables() -> Vec<PacketBytes> {
        let pmt = section(TABLE_PMT, 1, &[0xe1, 0, 0xf0, 0, 2, 0xe1, 0, 0xf0, 0]);
        [packets(0, &section(TABLE_PAT, 1, &[0, 1, 0xe0, 0x20])), packets(0x20, &pmt)].concat()
    }

    /// A packet with one picture that says `pair` in the first field.
    fn picture(counter: u8, pts_90k: u64, dts_90k: u64, pair: [u8; 2]) -> PacketBytes {
        let stamp = |prefix: u8, time: u64| {
            let bits = |shift: u32, mask: u64| u8::try_from(time >> shift & mask).unwrap();
            [
                prefix << 4 | bits(29, 14) | 1,
                bits(22, 255),
                bits(14, 254) | 1,
                bits(7, 255),
                bits(0, 127) << 1 | 1,
            ]
        };
        let head =
            [&[0, 0, 1, 0xe0, 0, 0, 0x80, 0xc0, 10][..], &stamp(3, pts_90k), &stamp(1, dts_90k)].concat();
        let data = [&[0, 0, 1, 0xb2][..], b"GA94\x03\xc1\xff\xfc", &pair, &[0xff]].concat();
        let mut bytes = packet(VIDEO, counter & 15, None, 0xff);
        bytes[1] |= 0x40;
        let whole = [head, data].concat();
        bytes[4..4 + whole.len()].copy_from_slice(&whole);
        bytes
    }

    fn read(reader: &mut Reader, packets: &[PacketBytes]) -> Vec<Cue> {
        packets.iter().for_each(|bytes| reader.push(Packet::parse(bytes).unwrap()));
        cues(reader)
    }

    fn cues(reader: &mut Reader) -> Vec<Cue> {
        let cue = |event| if let Event::Cue(cue) = event { Some(cue) } else { None };
        reader.events().filter_map(cue).collect()
    }

    /// RDC, row 15, `AB`, EDM with parity.
    const PAINT: [[u8; 2]; 4] = [[0x94, 0x29], [0x94, 0x70], [0xc1, 0xc2], [0x94, 0x2c]];

    #[test]
    fn captions_are_read_in_the_order_of_presentation_across_a_wrap_of_the_stamps() {
        let mut reader = Reader::new();
        read(&mut reader, &tables());
        let first = TIMESTAMP_MODULUS - 3_600;
        let at = |n: u64| (first + n * 3_600) % TIMESTAMP_MODULUS;
        // Decoded I P B B, and one more that lets the last leave; the P picture is presented as the fourth.
        let [rdc, row, text, erase] = PAINT;
        let coded = [
            picture(0, at(1), at(0), rdc),
            picture(1, at(4), at(1), erase),
            picture(2, at(2), at(2), row),
            picture(3, at(3), at(3), text),
            picture(4, at(5), at(5), [0x80, 0x80]),
            picture(5, at(6), at(6), [0x80, 0x80]),
        ];
        let cues = read(&mut reader, &coded);
        assert_eq!(cues.len(), 1, "{cues:?}");
        assert_eq!((cues[0].start_90k, cues[0].end_90k, &cues[0].lines[0].text[..]), (0, 10_800, "AB"));
        let tracks = reader.tracks();
        assert_eq!((tracks.len(), tracks[0].track, tracks[0].is_heard), (1, Track::Line21(1), true));
    }

    #[test]
    fn times_are_counted_from_the_stream_that_begins_first_even_before_the_tables() {
        const SOUND: u16 = 0x101;
        let at = |n: u64| 90_000 + n * 3_600;
        let begins = |pid: u16, n: u64| {
            let mut bytes = picture(0, at(n), at(n), [0x80; 2]);
            let [high, low] = pid.to_be_bytes();
            (bytes[1], bytes[2]) = (0x40 | high, low);
            bytes
        };
        let [rdc, row, text, erase] = PAINT;
        let said = [(10, rdc), (11, row), (12, text), (13, erase), (14, [0x80; 2])];
        let pictures: Vec<_> =
            (1..).zip(said).map(|(n, (time, pair))| picture(n, at(time), at(time), pair)).collect();
        for (before, after, expected) in [
            (vec![], vec![], (0, 10_800)),
            (vec![], vec![begins(SOUND, 5)], (18_000, 28_800)),
            (vec![begins(VIDEO, 9)], vec![begins(SOUND, 11)], (3_600, 14_400)),
            // Of another clock, before all else: no beginning of this stream.
            (vec![begins(0x102, 15_000), begins(SOUND, 5)], vec![], (18_000, 28_800)),
            (vec![], vec![begins(SOUND, 15_000)], (0, 10_800)),
        ] {
            let mut reader = Reader::new();
            let whole = [before, tables(), pictures[..2].to_vec(), after, pictures[2..].to_vec()].concat();
            let cues = read(&mut reader, &whole);
            assert_eq!(cues.iter().map(|cue| (cue.start_90k, cue.end_90k)).collect::<Vec<_>>(), [expected]);
        }
    }

    #[test]
    fn a_leap_of_the_stamps_ends_what_is_shown_and_times_go_on() {
        let mut reader = Reader::new();
        read(&mut reader, &tables());
        let [rdc, row, text, _] = PAINT;
        let at = |n: u64| 90_000 + n * 3_600;
        let before: Vec<_> = (0..)
            .zip([rdc, row, text, [0x80; 2]])
            .map(|(n, pair)| picture(n, at(n.into()), at(n.into()), pair))
            .collect();
        assert_eq!(read(&mut reader, &before), []);
        let far = |n: u64| 900_000_000 + n * 3_600;
        let after: Vec<_> = (4..)
            .zip([rdc, row, text, [0x80; 2], [0x80; 2]])
            .map(|(n, pair)| picture(n, far(n.into()), far(n.into()), pair))
            .collect();
        let cues_at_leap = read(&mut reader, &after);
        assert_eq!(cues_at_leap.len(), 1);
        reader.finish();
        let cues = cues(&mut reader);
        assert_eq!(cues.len(), 1);
        assert!(cues[0].start_90k >= cues_at_leap[0].end_90k, "{cues:?} behind {cues_at_leap:?}");
    }

    proptest! {
        #[test]
        fn no_packets_panic(
            bytes in proptest::collection::vec(any::<u8>(), 188 * 3),
            stamps in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<[u8; 2]>()), 0..30),
        ) {
            let mut reader = Reader::new();
            read(&mut reader, &tables());
            for (n, (pts, dts, pair)) in (0..).zip(stamps) {
                let modulo = |stamp| stamp % TIMESTAMP_MODULUS;
                read(&mut reader, &[picture(n, modulo(pts), modulo(dts), pair)]);
            }
            for (n, chunk) in bytes.chunks_exact(188).enumerate() {
                let mut packet: PacketBytes = chunk.try_into().unwrap();
                let pid = [0, 0x20, 0x100][n % 3];
                let [high, low] = u16::to_be_bytes(pid);
                let flags = packet[1] & 0xc0;
                packet[..3].copy_from_slice(&[0x47, flags | high, low]);
                read(&mut reader, &[packet]);
            }
            reader.finish();
        }
    }
}
