//! Which captions and subtitles a programme says it has: the descriptors of its PMT.

use super::user_data::Coding;
use super::{TRACKS_MAX, Track};
use crate::section::{Section, length_of};

/// PIDs with teletext that are read of one programme.
pub(super) const TELETEXT_PIDS_MAX: usize = 8;

/// Teletext (ETSI EN 300 468 §6.2.43).
const DESCRIPTOR_TELETEXT: u8 = 0x56;
/// DVB subtitles (§6.2.41).
const DESCRIPTOR_SUBTITLING: u8 = 0x59;
/// Closed captions (ATSC A/65 §6.9.2).
const DESCRIPTOR_CAPTION_SERVICE: u8 = 0x86;

/// One track as a programme lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Which.
    pub track: Track,
    /// ISO 639-2, three letters; `None`: it is not said.
    pub language: Option<String>,
    /// What it is for.
    pub kind: Kind,
    /// The PMT names it; it was merely seen otherwise.
    pub is_announced: bool,
    /// It has said something.
    pub is_heard: bool,
}

/// What a track is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// What is said, for who does not understand it.
    #[default]
    Subtitles,
    /// What is heard, for who does not hear it well.
    HardOfHearing,
}

/// What a PMT says about captions.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Announced {
    /// The first video stream that is known.
    pub(super) video: Option<(u16, Coding)>,
    /// PIDs with teletext, and their pages with subtitles.
    pub(super) teletext: Vec<(u16, Vec<u16>)>,
    pub(super) listings: Vec<Listing>,
}

/// The first programme of a PAT: its number, and the PID of its PMT.
pub(super) fn first_programme(pat: &Section<'_>) -> Option<(u16, u16)> {
    let entries = pat.body.as_chunks::<4>().0.iter();
    let mut programmes = entries.map(|&[high, low, pid_high, pid_low]| {
        (u16::from_be_bytes([high, low]), u16::from_be_bytes([pid_high & 0x1f, pid_low]))
    });
    programmes.find(|(number, _)| *number != 0)
}

impl Announced {
    /// Reads the body of a PMT's section (ISO/IEC 13818-1 §2.4.4.8); `None` where it is torn.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let (head, rest) = body.split_first_chunk::<4>()?;
        let (descriptors, mut rest) = rest.split_at_checked(length_of([head[2], head[3]]))?;
        let mut announced = Self::default();
        announced.descriptors(0, descriptors);
        while let Some((entry, after)) = rest.split_first_chunk::<5>() {
            let (descriptors, next) = after.split_at_checked(length_of([entry[3], entry[4]]))?;
            rest = next;
            let pid = u16::from_be_bytes([entry[1] & 0x1f, entry[2]]);
            let coding = match entry[0] {
                0x01 | 0x02 => Some(Coding::Mpeg2),
                0x1b => Some(Coding::H264),
                0x24 => Some(Coding::H265),
                _ => None,
            };
            announced.video = announced.video.or(coding.map(|coding| (pid, coding)));
            announced.descriptors(pid, descriptors);
        }
        Some(announced)
    }

    fn descriptors(&mut self, pid: u16, mut rest: &[u8]) {
        while let Some((&[tag, len], after)) = rest.split_first_chunk::<2>() {
            let Some((body, next)) = after.split_at_checked(usize::from(len)) else { return };
            rest = next;
            match tag {
                DESCRIPTOR_TELETEXT => self.teletext(pid, body),
                DESCRIPTOR_SUBTITLING => {
                    for entry in body.as_chunks::<8>().0 {
                        let kind = if matches!(entry[3], 0x20..=0x26) {
                            Kind::HardOfHearing
                        } else {
                            Kind::Subtitles
                        };
                        self.list(Track::DvbSubtitles(pid), language(entry), kind);
                    }
                }
                DESCRIPTOR_CAPTION_SERVICE => {
                    let services = body.get(1..).unwrap_or(&[]).as_chunks::<6>().0;
                    for entry in services {
                        let track = match entry[3] {
                            // digital_cc, and its service number or the field of line 21.
                            digital @ 0x80.. => Track::Service(digital & 0x3f),
                            analogue if analogue & 1 == 0 => Track::Line21(1),
                            _ => Track::Line21(3),
                        };
                        self.list(track, language(entry), Kind::HardOfHearing);
                    }
                }
                _ => {}
            }
        }
    }

    fn teletext(&mut self, pid: u16, body: &[u8]) {
        if self.teletext.len() >= TELETEXT_PIDS_MAX {
            return;
        }
        let mut pages = Vec::new();
        for entry in body.as_chunks::<5>().0 {
            let kind = match entry[3] >> 3 {
                2 => Kind::Subtitles,
                5 => Kind::HardOfHearing,
                // Whole pages, further information, programme schedules.
                _ => continue,
            };
            // Magazine 8 is written as 0.
            let hundreds = match entry[3] & 7 {
                0 => 8,
                magazine => u16::from(magazine),
            };
            let page = hundreds << 8 | u16::from(entry[4]);
            pages.push(page);
            self.list(Track::Teletext(page), language(entry), kind);
        }
        self.teletext.push((pid, pages));
    }

    fn list(&mut self, track: Track, language: Option<String>, kind: Kind) {
        if self.listings.len() < TRACKS_MAX {
            self.listings.push(Listing { track, language, kind, is_announced: true, is_heard: false });
        }
    }
}

fn language(entry: &[u8]) -> Option<String> {
    let letters = entry.get(..3).filter(|letters| letters.iter().all(u8::is_ascii_alphabetic))?;
    Some(letters.iter().map(|&letter| char::from(letter)).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tracks_are_listed_with_their_language_and_kind() {
        let captions = b"\x86\x0d\xc2eng\xc1\x3f\xffspa\x7e\x3f\xff";
        let teletext = b"\x56\x0adeu\x09\x00deu\x10\x88";
        let subtitles = b"\x59\x08fra\x22\x00\x01\x00\x02";
        let stream = |stream_type: u8, pid: u8, descriptors: &[u8]| {
            [&[stream_type, 0xe1, pid, 0xf0, u8::try_from(descriptors.len()).unwrap()], descriptors].concat()
        };
        let body = [
            vec![0xe1, 0, 0xf0, 0],
            stream(0x1b, 0, captions),
            stream(6, 1, teletext),
            stream(6, 2, subtitles),
        ];
        let announced = Announced::parse(&body.concat()).unwrap();
        assert_eq!(announced.video, Some((0x100, Coding::H264)));
        assert_eq!(announced.teletext, [(0x101, vec![0x888])]);
        let listed: Vec<_> = announced
            .listings
            .iter()
            .map(|listing| (listing.track, listing.language.as_deref().unwrap_or(""), listing.kind))
            .collect();
        let expected = [
            (Track::Service(1), "eng", Kind::HardOfHearing),
            (Track::Line21(1), "spa", Kind::HardOfHearing),
            (Track::Teletext(0x888), "deu", Kind::Subtitles),
            (Track::DvbSubtitles(0x102), "fra", Kind::HardOfHearing),
        ];
        assert_eq!(listed, expected);
    }

    proptest! {
        #[test]
        fn no_body_panics(
            body in proptest::collection::vec(any::<u8>(), 0..300),
            tag in prop_oneof![Just(0x56_u8), Just(0x59), Just(0x86)],
        ) {
            let _ = Announced::parse(&body);
            let mut announced = Announced::default();
            let len = u8::try_from(body.len().min(255)).unwrap();
            announced.descriptors(1, &[&[tag, len], &body[..]].concat());
            prop_assert!(announced.listings.len() <= TRACKS_MAX && announced.teletext.len() <= TELETEXT_PIDS_MAX);
        }
    }
}
