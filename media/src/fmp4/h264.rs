//! H.264: what its parameter sets say (ITU-T H.264 §7.3.2.1), and the configuration of its samples (ISO/IEC 14496-15 §5.3.3).

use super::bits::Bits;
use super::boxes::Writer;
use super::video::Size;

/// NAL unit types (table 7-1).
pub(super) const IDR: u8 = 5;
pub(super) const SPS: u8 = 7;
pub(super) const PPS: u8 = 8;
pub(super) const DELIMITER: u8 = 9;
pub(super) const FILLER: u8 = 12;

/// The type of a NAL unit.
pub(super) fn kind(nal: &[u8]) -> u8 {
    nal.first().map_or(0, |byte| byte & 0x1f)
}

/// Profiles whose parameter sets say how colour is sampled.
const HIGH_PROFILES: [u32; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
/// Frames of one parameter set's order; more are not allowed.
const ORDER_FRAMES_MAX: u32 = 255;

/// How large pictures are, as a sequence parameter set says.
pub(super) fn size(sps: &[u8]) -> Option<Size> {
    let mut bits = Bits::of(sps.get(1..)?);
    let profile = bits.take(8)?;
    bits.skip(16)?;
    bits.unsigned()?;
    let mut chroma = 1;
    if HIGH_PROFILES.contains(&profile) {
        chroma = bits.unsigned()?;
        if chroma == 3 {
            bits.skip(1)?;
        }
        bits.unsigned()?;
        bits.unsigned()?;
        bits.skip(1)?;
        if bits.flag()? {
            for list in 0..if chroma == 3 { 12 } else { 8 } {
                if bits.flag()? {
                    skip_scaling_list(&mut bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.unsigned()?;
    match bits.unsigned()? {
        0 => {
            bits.unsigned()?;
        }
        1 => {
            bits.skip(1)?;
            bits.signed()?;
            bits.signed()?;
            let frames = bits.unsigned().filter(|frames| *frames <= ORDER_FRAMES_MAX)?;
            (0..frames).try_for_each(|_| bits.signed().map(|_| ()))?;
        }
        _ => {}
    }
    bits.unsigned()?;
    bits.skip(1)?;
    let width = (bits.unsigned()?.checked_add(1)?).checked_mul(16)?;
    let map_units = bits.unsigned()?.checked_add(1)?;
    let frames_only = bits.flag()?;
    let height = map_units.checked_mul(if frames_only { 16 } else { 32 })?;
    if !frames_only {
        bits.skip(1)?;
    }
    bits.skip(1)?;
    let (mut cut_x, mut cut_y) = (0_u32, 0_u32);
    if bits.flag()? {
        let unit_x = if matches!(chroma, 1 | 2) { 2 } else { 1 };
        let unit_y = if chroma == 1 { 2 } else { 1 } * if frames_only { 1 } else { 2 };
        cut_x = bits.unsigned()?.checked_add(bits.unsigned()?)?.checked_mul(unit_x)?;
        cut_y = bits.unsigned()?.checked_add(bits.unsigned()?)?.checked_mul(unit_y)?;
    }
    Size::new(width.checked_sub(cut_x)?, height.checked_sub(cut_y)?)
}

/// §7.3.2.1.1.1.
fn skip_scaling_list(bits: &mut Bits, count: u32) -> Option<()> {
    let (mut last, mut next) = (8_i32, 8_i32);
    for _ in 0..count {
        if next != 0 {
            next = (last + bits.signed()? + 256).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Some(())
}

/// As RFC 6381 names it.
pub(super) fn codec(sps: &[u8]) -> String {
    let [profile, constraints, level] =
        sps.get(1..4).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; 3]);
    format!("avc1.{profile:02x}{constraints:02x}{level:02x}")
}

/// `avcC`.
pub(super) fn configuration(w: &mut Writer, sps: &[Vec<u8>], pps: &[Vec<u8>]) {
    let first = sps.first().map_or(&[][..], |sps| &sps[..]);
    w.put(*b"avcC", |w| {
        w.u8(1);
        w.bytes(first.get(1..4).unwrap_or(&[0; 3]));
        w.u8(0xff); // lengths of four bytes
        w.u8(0xe0 | u8::try_from(sps.len().min(31)).unwrap_or(31));
        sps.iter().take(31).for_each(|nal| sized(w, nal));
        w.u8(u8::try_from(pps.len().min(255)).unwrap_or(255));
        pps.iter().take(255).for_each(|nal| sized(w, nal));
        if first.get(1).is_some_and(|profile| matches!(profile, 100 | 110 | 122 | 144)) {
            extension(w, first);
        }
    });
}

/// Colour sampling and bit depths, which high profiles add.
fn extension(w: &mut Writer, sps: &[u8]) {
    let depths = || {
        let mut bits = Bits::of(sps.get(4..)?);
        bits.unsigned()?;
        let chroma = bits.unsigned()?;
        if chroma == 3 {
            bits.skip(1)?;
        }
        Some([chroma, bits.unsigned()?, bits.unsigned()?])
    };
    let [chroma, luma, colour] =
        depths().unwrap_or([1, 0, 0]).map(|value| u8::try_from(value & 7).unwrap_or(0));
    w.bytes(&[0xfc | (chroma & 3), 0xf8 | luma, 0xf8 | colour, 0]);
}

fn sized(w: &mut Writer, nal: &[u8]) {
    w.u16(u16::try_from(nal.len()).unwrap_or(u16::MAX));
    w.bytes(nal.get(..usize::from(u16::MAX)).unwrap_or(nal));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_set_tells_size_and_codec() {
        // x264, High, 1920 by 1080: cropped by 8 lines.
        let sps = [
            0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03,
            0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xc8, 0x3c, 0x60, 0xc6, 0x58,
        ];
        assert_eq!(size(&sps), Size::new(1920, 1080));
        assert_eq!(codec(&sps), "avc1.640028");
        let mut w = Writer::new();
        configuration(&mut w, &[sps.to_vec()], &[vec![0x68, 0xee]]);
        let bytes = w.finish();
        assert_eq!(&bytes[4..17], [b'a', b'v', b'c', b'C', 1, 0x64, 0, 0x28, 0xff, 0xe1, 0, 27, 0x67]);
        assert_eq!(&bytes[bytes.len() - 9..], [1, 0, 2, 0x68, 0xee, 0xfd, 0xf8, 0xf8, 0]);
    }

    #[test]
    fn a_parameter_set_that_is_cut_off_tells_nothing() {
        let sps = [0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78];
        (0..sps.len()).for_each(|len| assert_eq!(size(&sps[..len]), None));
    }
}
