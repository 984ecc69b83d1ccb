//! Pictures: from start codes (ITU-T H.264 annex B) to samples with lengths, and the parameter sets that describe them.

use super::boxes::Writer;
use super::{h264, h265};
use crate::picture_start::{self, PictureStart, Verdict};
use crate::start_code;

/// Parameter sets of one kind that are kept; further ones stay in the samples.
pub const SETS_MAX: usize = 16;

/// A video coding that fragmented MP4 can carry here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// ITU-T H.264.
    H264,
    /// ITU-T H.265.
    H265,
}

/// Width and height, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Width.
    pub width: u16,
    /// Height.
    pub height: u16,
}

impl Size {
    /// One that a track header can hold, and neither side of which is 0.
    pub fn new(width: u32, height: u32) -> Option<Self> {
        let side = |side: u32| u16::try_from(side).ok().filter(|side| *side > 0);
        Some(Self { width: side(width)?, height: side(height)? })
    }
}

/// What a decoder must know before the first picture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParameterSets {
    vps: Vec<Vec<u8>>,
    sps: Vec<Vec<u8>>,
    pps: Vec<Vec<u8>>,
}

impl ParameterSets {
    /// Whether a decoder can begin with them.
    pub fn is_complete(&self, coding: Coding) -> bool {
        let has_vps = coding == Coding::H264 || !self.vps.is_empty();
        has_vps && !self.sps.is_empty() && !self.pps.is_empty()
    }

    /// How large pictures are.
    pub fn size(&self, coding: Coding) -> Option<Size> {
        let sps = self.sps.first()?;
        match coding {
            Coding::H264 => h264::size(sps),
            Coding::H265 => h265::size(sps),
        }
    }

    /// As RFC 6381 names the coding.
    pub fn codec(&self, coding: Coding) -> String {
        let sps = self.sps.first().map_or(&[][..], |sps| &sps[..]);
        match coding {
            Coding::H264 => h264::codec(sps),
            Coding::H265 => h265::codec(sps),
        }
    }

    /// `avcC` or `hvcC`.
    pub fn write(&self, coding: Coding, w: &mut Writer) {
        match coding {
            Coding::H264 => h264::configuration(w, &self.sps, &self.pps),
            Coding::H265 => h265::configuration(w, [&self.vps, &self.sps, &self.pps]),
        }
    }

    /// With those of `newer`, which replace all of a kind that it has.
    #[must_use]
    pub fn replaced_by(&self, newer: &Self) -> Self {
        let pick =
            |old: &Vec<Vec<u8>>, new: &Vec<Vec<u8>>| if new.is_empty() { old.clone() } else { new.clone() };
        Self {
            vps: pick(&self.vps, &newer.vps),
            sps: pick(&self.sps, &newer.sps),
            pps: pick(&self.pps, &newer.pps),
        }
    }
}

/// One picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Its NAL units, each behind its length of four bytes; parameter sets and padding are left out.
    pub sample: Vec<u8>,
    /// The parameter sets that came with it.
    pub sets: ParameterSets,
    /// Whether decoding may begin with it.
    pub is_random: bool,
}

/// The picture of a whole PES packet.
pub fn picture(coding: Coding, pes: &[u8], payload: &[u8]) -> Picture {
    let mut picture = Picture {
        sample: Vec::with_capacity(payload.len()),
        sets: ParameterSets::default(),
        is_random: false,
    };
    for nal in nal_units(payload) {
        let sets = &mut picture.sets;
        let list = match (coding, kind(coding, nal)) {
            (Coding::H264, h264::SPS) | (Coding::H265, h265::SPS) => Some(&mut sets.sps),
            (Coding::H264, h264::PPS) | (Coding::H265, h265::PPS) => Some(&mut sets.pps),
            (Coding::H265, h265::VPS) => Some(&mut sets.vps),
            (Coding::H264, h264::DELIMITER | h264::FILLER)
            | (Coding::H265, h265::DELIMITER | h265::FILLER) => {
                continue;
            }
            _ => None,
        };
        match list {
            Some(list) if list.iter().any(|known| known == nal) => {}
            Some(list) if list.len() < SETS_MAX => list.push(nal.to_vec()),
            _ => {
                picture.is_random |= coding == Coding::H264 && kind(coding, nal) == h264::IDR;
                let len = u32::try_from(nal.len()).unwrap_or(u32::MAX);
                picture.sample.extend_from_slice(&len.to_be_bytes());
                picture.sample.extend_from_slice(nal);
            }
        }
    }
    let codec = match coding {
        Coding::H264 => picture_start::Codec::H264,
        Coding::H265 => picture_start::Codec::H265,
    };
    picture.is_random |= PictureStart::new(codec).push(pes) == Verdict::Random;
    picture
}

fn kind(coding: Coding, nal: &[u8]) -> u8 {
    match coding {
        Coding::H264 => h264::kind(nal),
        Coding::H265 => h265::kind(nal),
    }
}

/// The NAL units of a picture, without the zeros behind them (annex B.1).
fn nal_units(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    start_code::units(payload).map(without_zeros).filter(|nal| !nal.is_empty())
}

fn without_zeros(mut unit: &[u8]) -> &[u8] {
    while let [shorter @ .., 0] = unit {
        unit = shorter;
    }
    unit
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn start_codes_become_lengths_and_parameter_sets_go_aside() {
        let payload = [
            0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x68, 3, 0, 0, 1, 0x65, 4, 0, 0, 3, 1, 0,
            0, 0, 1, 0x65, 5,
        ];
        let pes = [&[0, 0, 1, 0xe0, 0, 0, 0x80, 0, 0][..], &payload].concat();
        let picture = picture(Coding::H264, &pes, &payload);
        assert_eq!(picture.sample, [0, 0, 0, 6, 0x65, 4, 0, 0, 3, 1, 0, 0, 0, 2, 0x65, 5]);
        assert!(picture.is_random && picture.sets.is_complete(Coding::H264));
        assert_eq!(
            (picture.sets.sps.clone(), picture.sets.pps.clone()),
            (vec![vec![0x67, 1, 2]], vec![vec![0x68, 3]])
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(0_u8..4, 0..200)) {
            let _ = picture(Coding::H264, &bytes, &bytes);
            let _ = picture(Coding::H265, &bytes, &bytes);
            let _ = (h264::size(&bytes), h265::size(&bytes), h265::codec(&bytes));
        }
    }
}
