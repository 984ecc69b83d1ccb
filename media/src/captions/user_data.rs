//! `cc_data` out of coded pictures (ATSC A/53 part 4 §6.2.3): user data of MPEG-2 video, SEI messages of H.264 and H.265.

use crate::start_code::{unescaped, units};

/// How pictures are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// ISO/IEC 13818-2.
    Mpeg2,
    /// ITU-T H.264.
    H264,
    /// ITU-T H.265.
    H265,
}

/// Two bytes of captions and what they are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Triplet {
    pub(super) kind: TripletKind,
    pub(super) bytes: [u8; 2],
}

/// `cc_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TripletKind {
    /// CTA-608 in the first field: CC1 and CC2.
    FirstField,
    /// In the second: CC3 and CC4.
    SecondField,
    /// More of a CTA-708 packet.
    PacketData,
    /// A CTA-708 packet begins.
    PacketStart,
}

/// A coded picture that carries captions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Captioned {
    /// Pictures between the first of the PES packet and this one, in the order of presentation, and how long each lasts: not
    /// zero only where MPEG-2 video puts several into one PES packet.
    pub(super) offset_90k: i64,
    pub(super) triplets: Vec<Triplet>,
}

/// What all captions in user data begin with: ATSC's identifier, and the type of `cc_data`.
const USER_IDENTIFIER: &[u8] = b"GA94\x03";
/// `itu_t_t35_country_code` of the United States, `itu_t_t35_provider_code` of ATSC.
const T35_ATSC: &[u8] = &[0xb5, 0x00, 0x31];
const SEI_T35: usize = 4;
/// A frame's time where no sequence header told it, 30000/1001 a second.
const FRAME_90K: i64 = 3_003;

/// The captions in the coded pictures of one PES packet's `payload`; pictures that follow each other belong to one time.
pub(super) fn captions(coding: Coding, payload: &[u8]) -> Vec<Captioned> {
    match coding {
        Coding::Mpeg2 => mpeg2(payload),
        Coding::H264 | Coding::H265 => {
            let mut triplets = Vec::new();
            for unit in units(payload) {
                let header_len = match (coding, unit) {
                    (Coding::H264, [header, ..]) if header & 0x1f == 6 => 1,
                    // Prefix SEI.
                    (Coding::H265, [header, ..]) if header >> 1 & 0x3f == 39 => 2,
                    _ => continue,
                };
                sei(&unescaped(unit.get(header_len..).unwrap_or(&[])), &mut triplets);
            }
            if triplets.is_empty() { Vec::new() } else { vec![Captioned { offset_90k: 0, triplets }] }
        }
    }
}

fn mpeg2(payload: &[u8]) -> Vec<Captioned> {
    let mut found: Vec<Captioned> = Vec::new();
    let (mut first, mut frame_90k, mut offset_90k) = (None, FRAME_90K, 0);
    for unit in units(payload) {
        match unit {
            // sequence_header: frame_rate_code.
            [0xb3, _, _, _, rate, ..] => frame_90k = frame_time_90k(rate & 15),
            // picture_start_code: temporal_reference, ten bits.
            [0x00, high, low, ..] => {
                let reference = i64::from(u16::from_be_bytes([*high, *low]) >> 6);
                let first = *first.get_or_insert(reference);
                // It wraps, and begins anew with each group of pictures; what is in one PES packet is near.
                let step = (reference - first + 512).rem_euclid(1_024) - 512;
                offset_90k = step * frame_90k;
            }
            [0xb2, user_data @ ..] => {
                let mut triplets = Vec::new();
                cc_data(user_data, &mut triplets);
                match found.last_mut().filter(|last| last.offset_90k == offset_90k) {
                    Some(last) => last.triplets.extend(triplets),
                    None if triplets.is_empty() => {}
                    None => found.push(Captioned { offset_90k, triplets }),
                }
            }
            _ => {}
        }
    }
    found
}

/// `frame_rate_code` (ISO/IEC 13818-2 table 6-4).
fn frame_time_90k(code: u8) -> i64 {
    match code {
        1 => 3_754,
        2 => 3_750,
        3 => 3_600,
        5 => 3_000,
        6 => 1_800,
        7 => 1_502,
        8 => 1_500,
        _ => FRAME_90K,
    }
}

/// SEI messages (H.264 §7.3.2.3.1): type and size in bytes of 255 and a last one.
fn sei(mut rest: &[u8], triplets: &mut Vec<Triplet>) {
    // What is left behind the last message are its trailing bits.
    while rest.len() > 2 {
        let Some((kind, after)) = number(rest) else { return };
        let Some((size, after)) = number(after) else { return };
        let Some((message, next)) = after.split_at_checked(size) else { return };
        if kind == SEI_T35
            && let Some(user_data) = message.strip_prefix(T35_ATSC)
        {
            cc_data(user_data, triplets);
        }
        rest = next;
    }
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let full = bytes.iter().take_while(|&&byte| byte == 0xff).count();
    let (&last, rest) = bytes.get(full..)?.split_first()?;
    Some((full * 255 + usize::from(last), rest))
}

/// `cc_data` (A/53 part 4 table 6.10): the valid ones of its triplets.
fn cc_data(user_data: &[u8], triplets: &mut Vec<Triplet>) {
    let Some([flags, _em_data, rest @ ..]) = user_data.strip_prefix(USER_IDENTIFIER) else { return };
    if flags & 0x40 == 0 {
        return;
    }
    let read = rest.as_chunks::<3>().0.iter().take(usize::from(flags & 0x1f));
    triplets.extend(read.filter(|[head, ..]| head & 4 != 0).map(|&[head, first, second]| {
        let kind = match head & 3 {
            0 => TripletKind::FirstField,
            1 => TripletKind::SecondField,
            2 => TripletKind::PacketData,
            _ => TripletKind::PacketStart,
        };
        Triplet { kind, bytes: [first, second] }
    }));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `cc_data` of one pair of the first field, one that is not valid, and the beginning of a packet.
    const CC_DATA: &[u8] = b"GA94\x03\xc3\xff\xfc\x94\x20\xf9\x80\x80\xff\x02\x21\xff";

    fn expected() -> Vec<Triplet> {
        let triplet = |kind, bytes| Triplet { kind, bytes };
        vec![triplet(TripletKind::FirstField, [0x94, 0x20]), triplet(TripletKind::PacketStart, [0x02, 0x21])]
    }

    fn message() -> Vec<u8> {
        [&[4, 20][..], &[0xb5, 0, 0x31], CC_DATA, &[0x80]].concat()
    }

    #[test]
    fn captions_are_found_in_each_coding() {
        let slice = [0, 0, 1, 0x65, 0x88];
        let h264 = [&[0, 0, 0, 1, 0x09, 0xf0, 0, 0, 1, 0x06][..], &[5, 1, 7], &message(), &slice].concat();
        let h265 = [&[0, 0, 1, 0x4e, 0x01][..], &message(), &[0, 0, 1, 0x26, 1]].concat();
        let mpeg2 =
            [&[0, 0, 1, 0, 0, 0x0f, 0xff, 0xf8, 0, 0, 1, 0xb2][..], CC_DATA, &[0, 0, 1, 1, 9]].concat();
        for (coding, bytes) in [(Coding::H264, h264), (Coding::H265, h265), (Coding::Mpeg2, mpeg2)] {
            let found = captions(coding, &bytes);
            assert_eq!(found, [Captioned { offset_90k: 0, triplets: expected() }], "{coding:?}");
        }
    }

    #[test]
    fn emulation_prevention_is_undone() {
        let padded = [0xb5, 0, 0x31, b'G', b'A', b'9', b'4', 3, 0xc2, 0xff, 0xfe, 0, 0, 3, 1, 0xff, 0x02];
        let bytes = [&[0, 0, 1, 6, 4, 17][..], &padded, &[0x80]].concat();
        // Without it a triplet would read 00 00 and the next begin 03.
        let found = captions(Coding::H264, &bytes);
        assert_eq!(found[0].triplets[0].bytes, [0, 0]);
    }

    #[test]
    fn several_pictures_in_one_pes_packet_have_times_of_their_own() {
        // 25 a second; pictures 2, 0 and 1 of their group.
        let mut bytes = vec![0, 0, 1, 0xb3, 0x14, 0, 0xf0, 0x13];
        for reference in [2_u16, 0, 1] {
            bytes.extend([0, 0, 1, 0]);
            bytes.extend((reference << 6).to_be_bytes());
            bytes.extend([0, 0, 1, 0xb2]);
            bytes.extend(CC_DATA);
        }
        let found = captions(Coding::Mpeg2, &bytes);
        assert_eq!(found.iter().map(|picture| picture.offset_90k).collect::<Vec<_>>(), [0, -7_200, -3_600]);
    }

    proptest! {
        #[test]
        fn no_picture_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0_usize..40) {
            let message = message();
            for (coding, head) in
                [(Coding::Mpeg2, &[0, 0, 1, 0xb2][..]), (Coding::H264, &[0, 0, 1, 6]), (Coding::H265, &[0, 0, 1, 78, 1])]
            {
                let body = if coding == Coding::Mpeg2 { CC_DATA } else { &message };
                let whole = [&bytes, head, body.get(..cut).unwrap_or(body), &bytes].concat();
                let _ = captions(coding, &whole);
            }
        }
    }
}
