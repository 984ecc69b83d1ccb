//! Where decoding may begin in a transport stream, told from its RTP packets as they come.
//!
//! ```text
//! packets   … PAT PMT ▓▓▓▓▓▓▓▓▓▓▓▓▓▓ ▒▒▒▒ ▒▒▒ …
//!              │      │              └ the next picture begins: the one before is whole
//!              │      └ `picture`: the PES packet of an I, IDR or IRAP picture, or one said to be for random access
//!              └ `start`: the PAT before it, if it is near
//! ```
//!
//! What it finds follows from the packets alone: two hosts that get the same packets find the same points. Nothing is
//! allocated once a programme's tables have been read; a packet of another PID costs a few comparisons.
//!
//! Not found: a point within a PES packet that begins with another picture, which broadcast rules out (ETSI TS 101 154
//! §4.1.5.1, §4.3.6); and scrambled ones without `random_access_indicator`.

use crate::packet::{PACKET_BYTES, Packet, PacketBytes};
use crate::pes;
use crate::picture_start::{Codec, PictureStart, Verdict};
use crate::psi::{ElementaryStream, PAT_PID, Programme, ProgrammeTable};

/// A PAT so long before the picture is where decoding begins: 100 ms, in which DVB repeats it (ETSI TS 101 211 §4.4).
pub const PAT_WITHIN_90K: u32 = 9_000;
/// The same in RTP packets, for streams whose time stands still: 100 ms at 50 Mb/s.
pub const PAT_WITHIN_PACKETS: u64 = 512;
/// Sound alone has a random access point in each second of RTP time.
pub const AUDIO_POINTS_90K: u32 = 90_000;

/// An RTP packet's place in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its number, which counts packets and never wraps. A number left out is a packet lost.
    pub number: u64,
    /// Its timestamp.
    pub timestamp_90k: u32,
}

/// A random access point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomAccess {
    /// Number of the RTP packet where decoding should begin.
    pub start: u64,
    /// Number of the RTP packet in which the picture begins; the same as `start`, or after it.
    pub picture: u64,
}

/// What an RTP packet showed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use]
pub struct Found {
    /// A random access point was recognised, mostly in the packet where it begins, otherwise a few behind. The newest, if
    /// there were several.
    pub point: Option<RandomAccess>,
    /// The picture of this point has come to its end without loss.
    pub whole: Option<RandomAccess>,
}

/// Finds the random access points of one programme.
#[derive(Debug)]
pub struct RandomAccessFinder {
    service: Option<u16>,
    table: ProgrammeTable,
    /// PID of the programme's PMT; that of the PAT until it is known.
    pmt_pid: u16,
    main: MainStream,
    /// Place of the RTP packet after which the next is expected.
    newest: Option<Place>,
    pat: Option<Place>,
    /// A picture that may be a random access point.
    starting: Option<(RandomAccess, PictureStart)>,
    /// A random access point whose picture has not ended.
    open: Option<RandomAccess>,
    audio_slot: Option<u32>,
}

/// The elementary stream whose pictures count, or whose sound does where there is no picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MainStream {
    pid: u16,
    content: Content,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// `None`: points are found by `random_access_indicator` only.
    Video(Option<Codec>),
    Audio,
}

/// No packet has such a PID.
const NO_STREAM: MainStream = MainStream { pid: u16::MAX, content: Content::Audio };
/// `payload_unit_start_indicator` in a packet's second byte.
const UNIT_START: u8 = 0x40;

impl RandomAccessFinder {
    /// A finder that has seen nothing. Of a multiplex it follows `service`, or the programme of the lowest number.
    pub fn new(service: Option<u16>) -> Self {
        Self {
            service,
            table: ProgrammeTable::new(),
            pmt_pid: PAT_PID,
            main: NO_STREAM,
            newest: None,
            pat: None,
            starting: None,
            open: None,
            audio_slot: None,
        }
    }

    /// Takes the payload of the next RTP packet: whole transport packets; others in it are passed over.
    pub fn push(&mut self, at: Place, payload: &[u8]) -> Found {
        if self.newest.is_some_and(|newest| newest.number.wrapping_add(1) != at.number) {
            self.interrupt();
        }
        self.newest = Some(at);
        let mut found = Found::default();
        for bytes in payload.as_chunks::<PACKET_BYTES>().0 {
            if self.concerns(bytes) {
                self.packet(at, bytes, &mut found);
            }
        }
        found
    }

    /// Whether the programme's stream of pictures, or of sound, is known: only then are points found.
    pub fn is_ready(&self) -> bool {
        self.main != NO_STREAM
    }

    /// Packets are missing here: no picture that has begun is whole.
    fn interrupt(&mut self) {
        (self.pat, self.starting, self.open) = (None, None, None);
    }

    /// Whether there is anything in a transport packet to look at: most have a stream's middle, or another stream.
    #[inline]
    fn concerns(&self, bytes: &PacketBytes) -> bool {
        let pid = u16::from_be_bytes([bytes[1] & 0x1f, bytes[2]]);
        if pid == self.main.pid {
            return bytes[1] & UNIT_START != 0 || self.starting.is_some();
        }
        pid == PAT_PID || pid == self.pmt_pid
    }

    fn packet(&mut self, at: Place, bytes: &PacketBytes, found: &mut Found) {
        let Ok(packet) = Packet::parse(bytes) else { return };
        let pid = packet.pid();
        if pid != self.main.pid {
            if pid == PAT_PID && packet.payload_unit_start() {
                self.pat = Some(at);
            }
            if self.table.push(packet) {
                self.choose();
            }
        } else if packet.payload_unit_start() && packet.has_payload() {
            self.unit(at, packet, found);
        } else {
            self.look(packet.payload(), found);
        }
    }

    /// A PES packet begins.
    fn unit(&mut self, at: Place, packet: Packet<'_>, found: &mut Found) {
        self.starting = None;
        found.whole = self.open.take().or(found.whole);
        let point = RandomAccess { start: self.start(at), picture: at.number };
        match self.main.content {
            Content::Video(_) if packet.random_access() => self.recognise(point, found),
            Content::Video(Some(codec)) if !packet.is_scrambled() && pes::starts(packet.payload()) => {
                self.starting = Some((point, PictureStart::new(codec)));
                self.look(packet.payload(), found);
            }
            Content::Video(_) => {}
            Content::Audio => {
                let slot = at.timestamp_90k / AUDIO_POINTS_90K;
                if self.audio_slot.replace(slot) != Some(slot) {
                    self.recognise(point, found);
                }
            }
        }
    }

    /// Looks further into a picture that has begun.
    fn look(&mut self, payload: &[u8], found: &mut Found) {
        let Some((point, start)) = &mut self.starting else { return };
        let (point, verdict) = (*point, start.push(payload));
        if verdict != Verdict::Undecided {
            self.starting = None;
        }
        if verdict == Verdict::Random {
            self.recognise(point, found);
        }
    }

    fn recognise(&mut self, point: RandomAccess, found: &mut Found) {
        self.open = Some(point);
        found.point = Some(point);
    }

    /// Number of the packet where decoding of a picture at `at` should begin.
    fn start(&self, at: Place) -> u64 {
        let near = |pat: &Place| {
            at.timestamp_90k.wrapping_sub(pat.timestamp_90k) <= PAT_WITHIN_90K
                && at.number.wrapping_sub(pat.number) <= PAT_WITHIN_PACKETS
        };
        self.pat.filter(near).map_or(at.number, |pat| pat.number)
    }

    /// The tables have changed.
    fn choose(&mut self) {
        let programmes = self.table.programmes();
        let programme = match self.service {
            Some(number) => programmes.get(&number),
            None => programmes.values().next(),
        };
        self.pmt_pid = programme.map_or(PAT_PID, |programme| programme.pmt_pid);
        // While a table is read anew, what was known before still holds.
        let main = programme.and_then(main_stream).unwrap_or(self.main);
        if main != self.main {
            (self.main, self.starting, self.open, self.audio_slot) = (main, None, None, None);
        }
    }
}

/// The first stream of pictures; without one the first of sound, or else the one with the clock.
fn main_stream(programme: &Programme) -> Option<MainStream> {
    let stream = |content: fn(ElementaryStream) -> Option<Content>| {
        let mut known = programme.streams.iter();
        known.find_map(|stream| Some(MainStream { pid: stream.pid, content: content(*stream)? }))
    };
    let clock = || {
        let pid =
            programme.pcr_pid.filter(|pid| programme.streams.iter().any(|stream| stream.pid == *pid))?;
        Some(MainStream { pid, content: Content::Audio })
    };
    stream(video).or_else(|| stream(audio)).or_else(clock)
}

/// ISO/IEC 13818-1 table 2-34.
fn video(stream: ElementaryStream) -> Option<Content> {
    match stream.stream_type {
        0x01 | 0x02 => Some(Content::Video(Some(Codec::Mpeg2))),
        0x1b => Some(Content::Video(Some(Codec::H264))),
        0x24 => Some(Content::Video(Some(Codec::H265))),
        // MPEG-4 part 2, JPEG 2000, JPEG XS, VVC, EVC, AVS, AVS2, AVS3, VC-1.
        0x10 | 0x21 | 0x32 | 0x33 | 0x35 | 0x42 | 0xd2 | 0xd4 | 0xea => Some(Content::Video(None)),
        _ => None,
    }
}

/// ISO/IEC 13818-1 table 2-34, and AC-3 and E-AC-3 as ATSC has them; what DVB has as private data is told by its descriptors.
fn audio(stream: ElementaryStream) -> Option<Content> {
    let is_typed = matches!(stream.stream_type, 0x03 | 0x04 | 0x0f | 0x11 | 0x1c | 0x2d | 0x2e | 0x81 | 0x87);
    (is_typed || stream.private.is_some()).then_some(Content::Audio)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packet::NULL_PACKET;
    use crate::packet::tests::packet;
    use crate::section::tests::{packets, section};

    const PID: u16 = 0x100;
    const IDR: &[u8] = &[0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x65, 0x88];
    const P: &[u8] = &[0, 0, 0, 1, 9, 0xf0, 0, 0, 1, 0x41, 0x98];

    fn pat() -> PacketBytes {
        packets(0, &section(0, 1, &[0, 1, 0xe0, 0x20]))[0]
    }

    fn pmt(stream_type: u8) -> PacketBytes {
        packets(0x20, &section(2, 1, &[0xe1, 0, 0xf0, 0, stream_type, 0xe1, 0, 0xf0, 0]))[0]
    }

    /// The first packet of a PES packet that holds this.
    fn begins(data: &[u8]) -> PacketBytes {
        let mut bytes = packet(PID, 0, None, 0xff);
        bytes[1] |= 0x40;
        bytes[4..18].copy_from_slice(&[0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5, 0x21, 0, 1, 0, 1]);
        bytes[18..18 + data.len()].copy_from_slice(data);
        bytes
    }

    /// The same, said to be for random access.
    fn indicated(data: &[u8]) -> PacketBytes {
        let mut bytes = begins(data);
        bytes.copy_within(4..186, 6);
        bytes[3] |= 0x20;
        bytes[4..6].copy_from_slice(&[1, 0x40]);
        bytes
    }

    fn more() -> PacketBytes {
        packet(PID, 1, None, 0xff)
    }

    /// RTP packets numbered from 100, one a millisecond; the timestamps wrap at the sixth.
    struct Stream {
        finder: RandomAccessFinder,
        next: Place,
    }

    impl Stream {
        fn of(stream_type: u8) -> Self {
            let next = Place { number: 100, timestamp_90k: u32::MAX - 500 };
            let mut stream = Self { finder: RandomAccessFinder::new(None), next };
            assert_eq!(stream.push(&[pat(), pmt(stream_type)]), Found::default());
            assert!(stream.finder.is_ready());
            stream
        }

        fn push(&mut self, packets: &[PacketBytes]) -> Found {
            let at = self.next;
            self.pass(1, 90);
            self.finder.push(at, packets.as_flattened())
        }

        /// Numbers and time go on without a packet.
        fn pass(&mut self, numbers: u64, ticks_90k: u32) {
            self.next.number += numbers;
            self.next.timestamp_90k = self.next.timestamp_90k.wrapping_add(ticks_90k);
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "it is compared with what is found")]
    fn point(start: u64, picture: u64) -> Option<RandomAccess> {
        Some(RandomAccess { start, picture })
    }

    #[test]
    fn a_point_begins_at_the_tables_before_it_and_is_whole_when_the_next_picture_begins() {
        let mut stream = Stream::of(0x1b);
        assert_eq!(stream.push(&[begins(P), more()]), Found::default());
        assert_eq!(stream.push(&[more(), pat(), pmt(0x1b), more()]), Found::default());
        assert_eq!(stream.push(&[NULL_PACKET, begins(IDR)]), Found { point: point(102, 103), whole: None });
        assert_eq!(stream.push(&[more(); 7]), Found::default());
        assert_eq!(stream.push(&[more(), begins(P)]), Found { point: None, whole: point(102, 103) });
        assert_eq!(stream.push(&[begins(P)]), Found::default());
    }

    #[test]
    fn a_pat_of_more_than_100_ms_ago_is_left_where_it_is() {
        let mut stream = Stream::of(0x1b);
        (0..99).for_each(|_| assert_eq!(stream.push(&[more()]), Found::default()));
        assert_eq!(stream.push(&[begins(IDR)]).point, point(100, 200));
        assert_eq!(stream.push(&[begins(IDR)]).point, point(201, 201));
    }

    #[test]
    fn the_headers_of_a_picture_may_be_cut_anywhere_and_the_point_is_where_it_began() {
        let mut stream = Stream::of(0x1b);
        let mut early = begins(&[]);
        early.copy_within(4..18, 174);
        early[3] |= 0x20;
        early[4..6].copy_from_slice(&[169, 0]);
        assert_eq!(stream.push(&[early]), Found::default());
        let mut headers = more();
        headers[4..4 + IDR.len()].copy_from_slice(IDR);
        assert_eq!(stream.push(&[NULL_PACKET, headers]).point, point(100, 101));
    }

    #[test]
    fn what_is_said_to_be_for_random_access_is_taken_for_it_in_any_coding() {
        for stream_type in [0x02, 0x1b, 0x24, 0x33] {
            let mut stream = Stream::of(stream_type);
            assert_eq!(stream.push(&[indicated(P)]).point, point(100, 101), "{stream_type:#x}");
        }
        let mut scrambled = indicated(P);
        scrambled[3] |= 0x80;
        assert_eq!(Stream::of(0x1b).push(&[scrambled]).point, point(100, 101));
        let mut dark = begins(IDR);
        dark[3] |= 0x80;
        assert_eq!(Stream::of(0x1b).push(&[dark]), Found::default());
    }

    #[test]
    fn a_picture_with_a_hole_is_never_whole() {
        let mut stream = Stream::of(0x1b);
        assert_eq!(stream.push(&[begins(IDR)]).point, point(100, 101));
        stream.pass(1, 90);
        assert_eq!(stream.push(&[more()]), Found::default());
        assert_eq!(stream.push(&[begins(P)]), Found::default());
        assert_eq!(stream.push(&[begins(IDR)]).point, point(105, 105), "no tables since the hole");
    }

    #[test]
    fn sound_alone_has_a_point_in_each_second_of_its_timestamps() {
        let mut stream = Stream::of(0x0f);
        let points: Vec<u64> = (0..300)
            .filter_map(|_| {
                stream.pass(0, 900);
                stream.push(&[begins(&[0xff, 0xf1])]).point
            })
            .map(|point| point.picture)
            .collect();
        // 990 ticks apart: the first, and then each that is first behind a multiple of 90,000.
        assert_eq!(points, [101, 192, 283, 374]);
    }

    #[test]
    fn of_several_programmes_the_one_that_is_asked_for_is_followed() {
        let two = packets(0, &section(0, 1, &[0, 1, 0xe0, 0x20, 0, 2, 0xe0, 0x21]))[0];
        let second = packets(0x21, &section(2, 2, &[0xe1, 0, 0xf0, 0, 0x1b, 0xe2, 0, 0xf0, 0]))[0];
        let stream = [two, second, pmt(0x1b), begins(IDR)];
        let at = Place { number: 7, timestamp_90k: 0 };
        for (service, found) in
            [(None, point(7, 7)), (Some(1), point(7, 7)), (Some(2), None), (Some(3), None)]
        {
            let mut finder = RandomAccessFinder::new(service);
            assert_eq!(finder.push(at, stream.as_flattened()).point, found, "{service:?}");
            assert_eq!(finder.is_ready(), service != Some(3));
        }
    }

    #[test]
    fn a_programme_that_changes_its_stream_is_followed() {
        let mut stream = Stream::of(0x0f);
        let mut changed = pmt(0x1b);
        changed[3] |= 1;
        assert_eq!(stream.push(&[changed, begins(P), begins(IDR)]).point, point(100, 101));
    }

    proptest! {
        #[test]
        fn no_stream_panics(packets in proptest::collection::vec((0..4_usize, any::<[u8; 24]>(), any::<u64>()), 0..40)) {
            let mut stream = Stream::of(0x1b);
            for (pid, bytes, number) in packets {
                let mut packet = begins(&bytes);
                packet[..3].copy_from_slice([[0x47, 0x41, 0], [0x47, 0x40, 0], [0x47, 0x40, 0x20], [0x47, 0x01, 0]].get(pid).unwrap());
                packet[3] = bytes[0];
                let at = Place { number, timestamp_90k: u32::from(bytes[1]) << 24 };
                let _ = stream.finder.push(at, &packet);
            }
        }
    }
}
