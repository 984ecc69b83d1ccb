//! H.265: what its parameter sets say (ITU-T H.265 §7.3.2.2), and the configuration of its samples (ISO/IEC 14496-15 §8.3.3).

use std::fmt::Write as _;

use super::bits::Bits;
use super::boxes::Writer;
use super::video::Size;

/// NAL unit types (table 7-1).
pub(super) const VPS: u8 = 32;
pub(super) const SPS: u8 = 33;
pub(super) const PPS: u8 = 34;
pub(super) const DELIMITER: u8 = 35;
pub(super) const FILLER: u8 = 38;

/// The type of a NAL unit.
pub(super) fn kind(nal: &[u8]) -> u8 {
    nal.first().map_or(0, |byte| (byte >> 1) & 0x3f)
}

/// Profile, tier and level, as they stand in the parameter set.
const PROFILE_BYTES: usize = 12;

/// What a sequence parameter set says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sequence {
    profile: [u8; PROFILE_BYTES],
    layers: u32,
    is_nested: bool,
    chroma: u32,
    depths: [u32; 2],
    size: Size,
}

impl Sequence {
    fn parse(sps: &[u8]) -> Option<Self> {
        let mut bits = Bits::of(sps.get(2..)?);
        bits.skip(4)?;
        let layers = bits.take(3)?;
        let is_nested = bits.flag()?;
        let mut profile = [0; PROFILE_BYTES];
        for byte in &mut profile {
            *byte = u8::try_from(bits.take(8)?).ok()?;
        }
        skip_sub_layers(&mut bits, layers)?;
        bits.unsigned()?;
        let chroma = bits.unsigned()?;
        if chroma == 3 {
            bits.skip(1)?;
        }
        let (mut width, mut height) = (bits.unsigned()?, bits.unsigned()?);
        if bits.flag()? {
            let unit_x = if matches!(chroma, 1 | 2) { 2 } else { 1 };
            let unit_y = if chroma == 1 { 2 } else { 1 };
            let mut cut = |unit: u32| bits.unsigned()?.checked_add(bits.unsigned()?)?.checked_mul(unit);
            width = width.checked_sub(cut(unit_x)?)?;
            height = height.checked_sub(cut(unit_y)?)?;
        }
        let depths = [bits.unsigned()?, bits.unsigned()?];
        Some(Self { profile, layers: layers + 1, is_nested, chroma, depths, size: Size::new(width, height)? })
    }
}

/// §7.3.3, behind the general part.
fn skip_sub_layers(bits: &mut Bits, layers: u32) -> Option<()> {
    if layers == 0 {
        return Some(());
    }
    let mut skipped = 0;
    for _ in 0..layers {
        skipped += if bits.flag()? { 88 } else { 0 };
        skipped += if bits.flag()? { 8 } else { 0 };
    }
    bits.skip(2 * (8 - usize::try_from(layers).ok()?))?;
    bits.skip(skipped)
}

/// How large pictures are.
pub(super) fn size(sps: &[u8]) -> Option<Size> {
    Sequence::parse(sps).map(|sequence| sequence.size)
}

/// As ISO/IEC 14496-15 annex E names it.
pub(super) fn codec(sps: &[u8]) -> String {
    let Some(Sequence { profile, .. }) = Sequence::parse(sps) else { return "hvc1".to_owned() };
    let space = ["", "A", "B", "C"][usize::from(profile[0] >> 6)];
    let tier = if profile[0] & 0x20 == 0 { 'L' } else { 'H' };
    let compatible = u32::from_be_bytes([profile[1], profile[2], profile[3], profile[4]]).reverse_bits();
    let mut constraints = &profile[5..11];
    while let [rest @ .., 0] = constraints {
        constraints = rest;
    }
    let mut codec = format!("hvc1.{space}{}.{compatible:x}.{tier}{}", profile[0] & 0x1f, profile[11]);
    for byte in constraints {
        let _ = write!(codec, ".{byte:x}");
    }
    codec
}

/// `hvcC`. `sets`: VPS, SPS and PPS.
pub(super) fn configuration(w: &mut Writer, sets: [&[Vec<u8>]; 3]) {
    let sequence = sets[1].first().and_then(|sps| Sequence::parse(sps));
    w.put(*b"hvcC", |w| {
        let low = |value: u32, mask: u32| u8::try_from(value & mask).unwrap_or(0);
        let (chroma, depths) = sequence.map_or((1, [0; 2]), |it| (it.chroma, it.depths));
        w.u8(1);
        w.bytes(&sequence.map_or([0; PROFILE_BYTES], |it| it.profile));
        w.u16(0xf000);
        w.bytes(&[0xfc, 0xfc | low(chroma, 3), 0xf8 | low(depths[0], 7), 0xf8 | low(depths[1], 7)]);
        w.u16(0);
        let layers = sequence.map_or(1, |it| it.layers);
        let nested = sequence.is_some_and(|it| it.is_nested);
        w.u8(low(layers, 7) << 3 | u8::from(nested) << 2 | 3); // lengths of four bytes
        w.u8(3);
        for (kind, nals) in [VPS, SPS, PPS].into_iter().zip(sets) {
            w.u8(0x80 | kind);
            w.u16(u16::try_from(nals.len()).unwrap_or(u16::MAX));
            for nal in nals {
                w.u16(u16::try_from(nal.len()).unwrap_or(u16::MAX));
                w.bytes(nal);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_set_tells_size_and_codec() {
        // x265, Main, level 3.1, 1280 by 720.
        let sps = [
            0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03,
            0x00, 0x5d, 0xa0, 0x02, 0x80, 0x80, 0x2d, 0x16, 0x59, 0x59, 0xa4, 0x93, 0x2b, 0xc0, 0x40,
        ];
        assert_eq!(size(&sps), Size::new(1280, 720));
        assert_eq!(codec(&sps), "hvc1.1.6.L93.90");
        (0..20).for_each(|len| assert_eq!(size(&sps[..len]), None));
    }
}
