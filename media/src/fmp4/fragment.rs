//! One fragment: `moof`, which says what its samples are, and `mdat`, which has them (ISO/IEC 14496-12 §8.8).

use super::boxes::Writer;

/// A sample; times in the ticks of its track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// When it is to be decoded.
    pub decode_time: u64,
    /// How long it lasts.
    pub duration: u32,
    /// So much later it is to be presented.
    pub offset: i32,
    /// Whether decoding may begin with it.
    pub is_random: bool,
    /// What it is.
    pub bytes: Vec<u8>,
}

/// Samples of one track.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// Number of the track.
    pub track: u32,
    /// At least one.
    pub samples: &'a [Sample],
}

const DEFAULT_BASE_IS_MOOF: u32 = 0x02_0000;
/// Data offset; of each sample duration, size, flags and composition offset.
const RUN_FLAGS: u32 = 0x01 | 0x100 | 0x200 | 0x400 | 0x800;
/// Depends on no other sample (§8.8.3.1).
const RANDOM: u32 = 0x0200_0000;
/// Depends on others, and is none to begin with.
const ORDINARY: u32 = 0x0101_0000;

/// The fragment of this number; runs without samples are left out.
pub fn fragment(sequence: u32, runs: &[Run<'_>]) -> Vec<u8> {
    let runs: Vec<&Run<'_>> = runs.iter().filter(|run| !run.samples.is_empty()).collect();
    let mut w = Writer::new();
    let mut offsets = Vec::new();
    w.put(*b"moof", |w| {
        w.put_full(*b"mfhd", (0, 0), |w| w.u32(sequence));
        for run in &runs {
            w.put(*b"traf", |w| {
                w.put_full(*b"tfhd", (0, DEFAULT_BASE_IS_MOOF), |w| w.u32(run.track));
                let first = run.samples.first().map_or(0, |sample| sample.decode_time);
                w.put_full(*b"tfdt", (1, 0), |w| w.u64(first));
                w.put_full(*b"trun", (1, RUN_FLAGS), |w| {
                    w.u32(u32::try_from(run.samples.len()).unwrap_or(u32::MAX));
                    offsets.push(w.len());
                    w.u32(0);
                    for sample in run.samples {
                        w.u32(sample.duration);
                        w.u32(u32::try_from(sample.bytes.len()).unwrap_or(u32::MAX));
                        w.u32(if sample.is_random { RANDOM } else { ORDINARY });
                        w.bytes(&sample.offset.to_be_bytes());
                    }
                });
            });
        }
    });
    // From the beginning of `moof` to the first byte of each run.
    let mut at = w.len() + 8;
    for (run, place) in runs.iter().zip(offsets) {
        w.patch_u32(place, u32::try_from(at).unwrap_or(u32::MAX));
        at += run.samples.iter().map(|sample| sample.bytes.len()).sum::<usize>();
    }
    w.put(*b"mdat", |w| {
        for run in &runs {
            run.samples.iter().for_each(|sample| w.bytes(&sample.bytes));
        }
    });
    w.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fragment_is_as_the_standard_lays_it_out() {
        let sample = |decode_time, offset, bytes: &[u8]| Sample {
            decode_time,
            duration: 3_600,
            offset,
            is_random: offset == 0,
            bytes: bytes.to_vec(),
        };
        let video = [sample(0x1_0000_0002, 0, &[1, 2]), sample(0x1_0000_0e12, -1, &[3])];
        let audio = [sample(5, 0, &[9])];
        let bytes = fragment(7, &[Run { track: 1, samples: &video }, Run { track: 2, samples: &audio }]);
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!((word(0), &bytes[4..8], word(20)), (200, &b"moof"[..], 7));
        // traf of the video: tfhd, tfdt, trun.
        assert_eq!((word(24), &bytes[28..32], word(40), word(44)), (96, &b"traf"[..], 0x02_0000, 1));
        assert_eq!((&bytes[52..56], word(56), word(60), word(64)), (&b"tfdt"[..], 0x0100_0000, 1, 2));
        assert_eq!((&bytes[72..76], word(76), word(80), word(84)), (&b"trun"[..], 0x0100_0f01, 2, 208));
        assert_eq!([word(88), word(92), word(96), word(100)], [3_600, 2, RANDOM, 0]);
        assert_eq!([word(104), word(108), word(112), word(116)], [3_600, 1, ORDINARY, u32::MAX]);
        // The audio's data are behind the video's.
        assert_eq!(word(180), 211);
        assert_eq!(bytes[200..], [0, 0, 0, 12, b'm', b'd', b'a', b't', 1, 2, 3, 9]);
    }
}
