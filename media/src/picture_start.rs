//! Whether decoding may begin with a picture, told from the first bytes of its PES packet: the headers before its first
//! slice (ISO/IEC 13818-2 §6.2, ITU-T H.264 §7.3, ITU-T H.265 §7.3).
//!
//! ```text
//! PES header ─► Search ──00 00 01──► Unit ──picture or slice──► Random, or Ordinary
//!                 ▲                   │ └──SEI──► Message
//!                 └──another unit─────┴──────────────┘
//! ```

/// Bytes looked at before a picture is taken for an ordinary one: far more than headers and messages are.
pub(crate) const SCANNED_BYTES_MAX: u16 = 16_384;

const PES_FIXED_BYTES: u16 = 9;
/// SEI payload type of a recovery point (H.264 §D.1.1).
const RECOVERY_POINT: u16 = 6;

/// A coding whose picture headers are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// MPEG-1 and MPEG-2 video.
    Mpeg2,
    /// ITU-T H.264.
    H264,
    /// ITU-T H.265.
    H265,
}

/// What is known of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// More bytes are needed.
    Undecided,
    /// Decoding may begin here.
    Random,
    /// It needs pictures before it.
    Ordinary,
}

/// One picture's beginning, byte by byte.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PictureStart {
    codec: Codec,
    stage: Stage,
    scanned_bytes: u16,
    /// Zeros that came last: two and a one make a start code.
    zeros: u8,
    /// A sequence header or sequence parameter set came: whoever begins here knows the format.
    sequence: bool,
    /// A recovery point message came.
    recovery: bool,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// In the PES header, of which so many bytes were read and so many are known to be.
    Header { read: u16, len: u16 },
    /// Before a start code.
    Search,
    /// Behind it: the unit's first bytes, and how many.
    Unit { word: u32, count: u8 },
    /// In a supplemental enhancement information message.
    Message(Message),
}

#[derive(Debug, Clone, Copy)]
enum Message {
    Type(u16),
    Size { size: u16 },
    Body { left: u16 },
}

impl PictureStart {
    /// A picture of which nothing has come.
    pub(crate) fn new(codec: Codec) -> Self {
        let stage = Stage::Header { read: 0, len: PES_FIXED_BYTES };
        Self { codec, stage, scanned_bytes: 0, zeros: 0, sequence: false, recovery: false }
    }

    /// Takes the payload of its next transport packet.
    pub(crate) fn push(&mut self, payload: &[u8]) -> Verdict {
        for byte in payload {
            match self.byte(*byte) {
                Verdict::Undecided => {}
                decided => return decided,
            }
        }
        Verdict::Undecided
    }

    fn byte(&mut self, byte: u8) -> Verdict {
        if let Stage::Header { read, len } = self.stage {
            let read = read + 1;
            // The ninth byte tells how many more there are.
            let len = if read == PES_FIXED_BYTES { len + u16::from(byte) } else { len };
            self.stage = if read < len { Stage::Header { read, len } } else { Stage::Search };
            return Verdict::Undecided;
        }
        self.scanned_bytes = self.scanned_bytes.saturating_add(1);
        if self.scanned_bytes > SCANNED_BYTES_MAX {
            return Verdict::Ordinary;
        }
        let zeros = self.zeros;
        self.zeros = if byte == 0 { (zeros + 1).min(2) } else { 0 };
        match byte {
            1 if zeros == 2 => {
                self.stage = Stage::Unit { word: 0, count: 0 };
                Verdict::Undecided
            }
            // Put in by the encoder, lest a start code come about (H.264 §7.4.1).
            3 if zeros == 2 && self.codec != Codec::Mpeg2 => Verdict::Undecided,
            _ => self.within(byte),
        }
    }

    /// A byte that is no start code's.
    fn within(&mut self, byte: u8) -> Verdict {
        match self.stage {
            Stage::Unit { word, count } => {
                let (word, count) = ((word << 8) | u32::from(byte), count + 1);
                self.stage = Stage::Unit { word, count };
                match self.codec {
                    Codec::Mpeg2 => self.mpeg2(word, count),
                    Codec::H264 => self.h264(word, count),
                    Codec::H265 => self.h265(byte),
                }
            }
            Stage::Message(message) => {
                self.message(message, byte);
                Verdict::Undecided
            }
            Stage::Header { .. } | Stage::Search => Verdict::Undecided,
        }
    }

    /// Start codes of ISO/IEC 13818-2 table 6-1: a picture of type I behind a sequence header.
    fn mpeg2(&mut self, word: u32, count: u8) -> Verdict {
        match (count, word) {
            (1, 0x00) | (2, _) => return Verdict::Undecided,
            (1, 0x01..=0xaf) => return Verdict::Ordinary,
            (1, 0xb3) => self.sequence = true,
            (3, _) => {
                let intra = (word >> 3) & 7 == 1;
                return if self.sequence && intra { Verdict::Random } else { Verdict::Ordinary };
            }
            _ => {}
        }
        self.stage = Stage::Search;
        Verdict::Undecided
    }

    /// Units of H.264 table 7-1: an IDR picture; or one that begins with a sequence parameter set or a recovery point
    /// and is intra, as encoders with open groups of pictures make them; or, with both, is refreshed gradually.
    fn h264(&mut self, word: u32, count: u8) -> Verdict {
        let unit = (word >> (8 * (u32::from(count) - 1))) & 0x1f;
        match unit {
            5 => return Verdict::Random,
            1 if self.sequence && self.recovery => return Verdict::Random,
            1 if (self.sequence || self.recovery) && count < 4 => return Verdict::Undecided,
            1 if self.sequence || self.recovery => {
                return if intra_slice(word << 8) { Verdict::Random } else { Verdict::Ordinary };
            }
            1..=4 => return Verdict::Ordinary,
            6 => self.stage = Stage::Message(Message::Type(0)),
            7 => {
                self.sequence = true;
                self.stage = Stage::Search;
            }
            _ => self.stage = Stage::Search,
        }
        Verdict::Undecided
    }

    /// Units of H.265 table 7-1: 16 to 23 are intra random access points, the other slices are below 32.
    fn h265(&mut self, byte: u8) -> Verdict {
        self.stage = Stage::Search;
        match (byte >> 1) & 0x3f {
            16..=23 => Verdict::Random,
            0..=31 => Verdict::Ordinary,
            _ => Verdict::Undecided,
        }
    }

    /// Messages of H.264 §7.3.2.3.1: type and size, each in bytes that add up while they are 255, and as many bytes.
    fn message(&mut self, message: Message, byte: u8) {
        let more = byte == 0xff;
        let next = match message {
            Message::Type(kind) if more => Message::Type(kind.saturating_add(255)),
            Message::Type(kind) => {
                self.recovery |= kind.saturating_add(u16::from(byte)) == RECOVERY_POINT;
                Message::Size { size: 0 }
            }
            Message::Size { size } if more => Message::Size { size: size.saturating_add(255) },
            Message::Size { size } => match size.saturating_add(u16::from(byte)) {
                0 => Message::Type(0),
                left => Message::Body { left },
            },
            Message::Body { left: 1 } => Message::Type(0),
            Message::Body { left } => Message::Body { left: left - 1 },
        };
        self.stage = Stage::Message(next);
    }
}

/// Whether the slice header in the upper 24 bits of `word` is an I or SI slice's: `first_mb_in_slice`, `slice_type`
/// (H.264 §7.3.3), both in Exp-Golomb codes. False where 24 bits do not hold both.
fn intra_slice(word: u32) -> bool {
    let after_first = |word: u32| {
        let len = 2 * word.leading_zeros() + 1;
        (len < 24).then(|| (word << len, len))
    };
    let Some((word, used)) = after_first(word) else { return false };
    let zeros = word.leading_zeros();
    if used + 2 * zeros + 1 > 24 {
        return false;
    }
    let kind = (word >> (31 - 2 * zeros)) - 1;
    matches!(kind % 5, 2 | 4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A PES packet of video that begins like this, its header with a PTS.
    fn verdict(codec: Codec, units: &[&[u8]]) -> Verdict {
        let mut pes = vec![0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5, 0x21, 0, 1, 0, 1];
        for unit in units {
            pes.extend([0, 0, 0, 1]);
            pes.extend(*unit);
        }
        let whole = PictureStart::new(codec).push(&pes);
        let mut bytewise = PictureStart::new(codec);
        let cut =
            pes.iter().map(|byte| bytewise.push(&[*byte])).find(|verdict| *verdict != Verdict::Undecided);
        assert_eq!(cut.unwrap_or(Verdict::Undecided), whole, "however it is cut");
        whole
    }

    const AUD: &[u8] = &[9, 0xf0];
    const SPS: &[u8] = &[0x67, 0x4d, 0x40, 0x1e];
    const PPS: &[u8] = &[0x68, 0xee, 0x3c];
    const IDR: &[u8] = &[0x65, 0x88, 0x84];
    /// `first_mb_in_slice` 0 and `slice_type` 7: `1 0001000`, or 5: `1 00110`.
    const I_SLICE: &[u8] = &[0x41, 0b1000_1000, 0, 9];
    const P_SLICE: &[u8] = &[0x41, 0b1001_1000, 0, 9];

    #[test]
    fn of_h264_an_idr_picture_is_a_random_access_point_and_others_are_not() {
        assert_eq!(verdict(Codec::H264, &[AUD, SPS, PPS, IDR]), Verdict::Random);
        assert_eq!(verdict(Codec::H264, &[AUD, IDR]), Verdict::Random);
        assert_eq!(verdict(Codec::H264, &[AUD, P_SLICE]), Verdict::Ordinary);
        assert_eq!(verdict(Codec::H264, &[AUD, I_SLICE]), Verdict::Ordinary);
        assert_eq!(verdict(Codec::H264, &[AUD, SPS]), Verdict::Undecided);
    }

    #[test]
    fn of_h264_an_intra_picture_with_its_parameters_counts_and_parameters_alone_do_not() {
        assert_eq!(verdict(Codec::H264, &[AUD, SPS, PPS, I_SLICE]), Verdict::Random);
        assert_eq!(verdict(Codec::H264, &[AUD, SPS, PPS, P_SLICE]), Verdict::Ordinary);
        let recovery: &[u8] = &[6, 1, 2, 0xaa, 0xbb, 6, 1, 0x80, 0x80];
        assert_eq!(verdict(Codec::H264, &[AUD, recovery, I_SLICE]), Verdict::Random);
        assert_eq!(verdict(Codec::H264, &[AUD, recovery, P_SLICE]), Verdict::Ordinary);
        assert_eq!(verdict(Codec::H264, &[AUD, SPS, PPS, recovery, P_SLICE]), Verdict::Random);
        // A six within another message, and behind bytes that were put in, is none.
        let other: &[u8] = &[6, 4, 5, 0, 0, 3, 0, 6, 1, 0x80];
        assert_eq!(verdict(Codec::H264, &[AUD, other, I_SLICE]), Verdict::Ordinary);
    }

    #[test]
    fn of_h265_every_intra_random_access_picture_counts() {
        let unit = |kind: u8| [kind << 1, 1, 0x80];
        let (vps, sps) = (unit(32), unit(33));
        for kind in 0..=31 {
            let expected = if (16..=23).contains(&kind) { Verdict::Random } else { Verdict::Ordinary };
            assert_eq!(verdict(Codec::H265, &[&unit(35), &vps, &sps, &unit(kind)]), expected, "{kind}");
        }
    }

    #[test]
    fn of_mpeg2_an_intra_picture_behind_a_sequence_header_counts() {
        let sequence: &[u8] = &[0xb3, 0x2d, 0x02, 0x40, 0x33];
        let group: &[u8] = &[0xb8, 0, 8, 0, 0x40];
        let picture = |kind: u8| [0, 0, kind << 3, 0xff];
        assert_eq!(verdict(Codec::Mpeg2, &[sequence, group, &picture(1)]), Verdict::Random);
        assert_eq!(verdict(Codec::Mpeg2, &[sequence, group, &picture(2)]), Verdict::Ordinary);
        assert_eq!(verdict(Codec::Mpeg2, &[&picture(1)]), Verdict::Ordinary);
        assert_eq!(verdict(Codec::Mpeg2, &[&[1, 0x22]]), Verdict::Ordinary);
    }

    #[test]
    fn a_picture_without_a_slice_is_given_up() {
        let mut start = PictureStart::new(Codec::H264);
        let undecided = (0..200).take_while(|_| start.push(&[0xff; 184]) == Verdict::Undecided).count();
        assert_eq!(undecided, (usize::from(SCANNED_BYTES_MAX) + 9 + 255) / 184);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(prop_oneof![Just(0), Just(1), Just(6), Just(0xff), any::<u8>()], 0..400)) {
            for codec in [Codec::Mpeg2, Codec::H264, Codec::H265] {
                PictureStart::new(codec).push(&bytes);
            }
        }

        #[test]
        fn no_slice_header_panics(word: u32) {
            intra_slice(word);
        }
    }
}
