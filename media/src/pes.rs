//! The time stamps of a PES packet's header (ISO/IEC 13818-1 §2.4.3.6), to read and to move.

/// Where PTS and DTS wrap.
pub const TIMESTAMP_MODULUS: u64 = 1 << 33;

/// Bytes from the start code to the end of a DTS: a payload this long holds both stamps whole.
pub const STAMPED_HEADER_BYTES: usize = 19;

const START_CODE: [u8; 3] = [0, 0, 1];
const PTS_AT: usize = 9;
const DTS_AT: usize = 14;
const STAMP_BYTES: usize = 5;

/// What a PES header says about time. 90 kHz, below 2^33.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PesTimes {
    /// 0xe0 to 0xef video, 0xc0 to 0xdf audio, 0xbd private, …
    pub stream_id: u8,
    /// When to present.
    pub pts_90k: u64,
    /// When to decode; equal to the PTS where the header leaves it out.
    pub dts_90k: u64,
}

impl PesTimes {
    /// The stamps at the beginning of a PES packet; `None` without start code, without PTS or when cut short.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (presents, decodes) = stamps(payload)?;
        let read = |at: usize| Some(decode(payload.get(at..at + STAMP_BYTES)?.try_into().ok()?));
        let pts_90k = if presents { read(PTS_AT)? } else { return None };
        let dts_90k = if decodes { read(DTS_AT)? } else { pts_90k };
        Some(Self { stream_id: payload[3], pts_90k, dts_90k })
    }

    /// Whether it is an audio stream's; AC-3 is private.
    pub fn is_audio(self) -> bool {
        matches!(self.stream_id, 0xc0..=0xdf)
    }

    /// Whether it is a video stream's.
    pub fn is_video(self) -> bool {
        matches!(self.stream_id, 0xe0..=0xef)
    }
}

/// Whether a PES packet begins here.
pub fn starts(payload: &[u8]) -> bool {
    payload.starts_with(&START_CODE)
}

/// The shortest way from one stamp to another, over the wrap where that is shorter: at least -2^32, below 2^32.
#[expect(clippy::cast_possible_wrap, reason = "stamps are below 2^33")]
pub fn signed_step(from_90k: u64, to_90k: u64) -> i64 {
    const MODULUS: i64 = TIMESTAMP_MODULUS as i64;
    let step_90k = (to_90k as i64 - from_90k as i64).rem_euclid(MODULUS);
    if step_90k >= MODULUS / 2 { step_90k - MODULUS } else { step_90k }
}

/// Moves PTS and DTS forward by `ticks_90k`, wrapping; false when a stamp that the header announces is cut off.
pub fn shift(payload: &mut [u8], ticks_90k: u64) -> bool {
    let Some((presents, decodes)) = stamps(payload) else {
        return payload.len() >= PTS_AT || !starts(payload);
    };
    [(presents, PTS_AT), (decodes, DTS_AT)].into_iter().filter(|&(present, _)| present).all(|(_, at)| {
        let Some(slot) = payload.get_mut(at..).and_then(<[u8]>::first_chunk_mut) else { return false };
        *slot = encode(slot[0] >> 4, decode(*slot) + ticks_90k % TIMESTAMP_MODULUS);
        true
    })
}

/// Which of PTS and DTS the header announces; `None` where there is no header with stamps.
fn stamps(payload: &[u8]) -> Option<(bool, bool)> {
    let head = payload.first_chunk::<PTS_AT>().filter(|_| starts(payload))?;
    // Programme stream map, padding, private 2, ECM, EMM, DSM-CC, H.222.1 E and directory have no such header.
    let plain = matches!(head[3], 0xbc | 0xbe | 0xbf | 0xf0 | 0xf1 | 0xf2 | 0xf8 | 0xff);
    (!plain && head[6] >> 6 == 2).then_some((head[7] & 0x80 != 0, head[7] & 0xc0 == 0xc0))
}

/// 3, 15 and 15 bits, each followed by a marker bit.
fn decode(bytes: [u8; STAMP_BYTES]) -> u64 {
    let word = bytes.iter().fold(0, |word, &byte| (word << 8) | u64::from(byte));
    ((word >> 3) & (7 << 30)) | ((word >> 2) & (0x7fff << 15)) | ((word >> 1) & 0x7fff)
}

fn encode(prefix: u8, stamp: u64) -> [u8; STAMP_BYTES] {
    let parts = ((stamp & (7 << 30)) << 3) | ((stamp & (0x7fff << 15)) << 2) | ((stamp & 0x7fff) << 1);
    let word = (u64::from(prefix) << 36) | parts | 0x01_0001_0001;
    let [_, _, _, bytes @ ..] = word.to_be_bytes();
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// PTS 2^33 − 1, DTS 900000.
    const HEADER: [u8; 20] =
        [0, 0, 1, 0xe0, 0, 0, 0x80, 0xc0, 10, 0x3f, 0xff, 0xff, 0xff, 0xff, 0x11, 0, 0x37, 0x77, 0x41, 9];

    #[test]
    fn golden_header_is_read_and_moved_across_the_wrap() {
        let times = PesTimes::parse(&HEADER).unwrap();
        assert_eq!((times.pts_90k, times.dts_90k), (TIMESTAMP_MODULUS - 1, 900_000));
        assert!(times.is_video());
        let mut moved = HEADER;
        assert!(shift(&mut moved, 3600));
        let times = PesTimes::parse(&moved).unwrap();
        assert_eq!((times.pts_90k, times.dts_90k), (3599, 903_600));
        assert!(shift(&mut moved, TIMESTAMP_MODULUS - 3600));
        assert_eq!(moved, HEADER);
    }

    #[test]
    fn a_header_cut_short_is_told() {
        assert!(!shift(&mut HEADER.to_vec()[..16], 1));
        assert_eq!(PesTimes::parse(&HEADER[..16]), None);
        assert!(!shift(&mut [0, 0, 1, 0xe0], 1));
        assert!(shift(&mut [7; 30], 1));
    }

    proptest! {
        #[test]
        fn no_payload_panics(mut payload in proptest::collection::vec(any::<u8>(), 0..40), ticks: u64) {
            if let Some(head) = payload.first_chunk_mut() { *head = START_CODE }
            shift(&mut payload, ticks);
            let _ = PesTimes::parse(&payload);
        }
    }
}
