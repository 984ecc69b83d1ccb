//! Sound: frames out of PES packets, and what a decoder must know before the first.

use super::boxes::Writer;

/// A coding of sound that fragmented MP4 can carry here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// AAC in ADTS (ISO/IEC 14496-3 §1.A.2.2).
    Aac,
    /// MPEG-1 and MPEG-2 audio (ISO/IEC 11172-3 §2.4.1, 13818-3).
    Mpeg,
    /// AC-3 (ETSI TS 102 366 §4.3).
    Ac3,
}

/// What a frame's header says of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// Samples of each channel per second.
    pub rate_hz: u32,
    /// Channels; 0: the stream says it elsewhere.
    pub channels: u16,
    /// Samples of each channel in a frame.
    pub samples: u32,
    /// What else the sample entry says.
    pub detail: Detail,
}

/// What else the sample entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// `AudioSpecificConfig`.
    Aac([u8; 2]),
    /// `objectTypeIndication` 0x6b or 0x69.
    Mpeg(u8),
    /// The body of `dac3`.
    Ac3([u8; 3]),
}

/// Bytes of an unfinished frame that are kept; no frame is longer.
pub const FRAME_BYTES_MAX: usize = 8_192;

const AAC_RATES_HZ: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    format: Format,
    /// Bytes before what goes into the sample.
    skipped: usize,
    /// Bytes of the whole frame.
    len: usize,
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// When the PES packet that it begins in is to be presented, where it is the first of it.
    pub pts_90k: Option<u64>,
    /// What it is.
    pub format: Format,
    /// What goes into the sample.
    pub sample: Vec<u8>,
}

/// Takes PES packets apart.
#[derive(Debug)]
pub struct Frames {
    coding: Coding,
    bytes: Vec<u8>,
    /// A time that belongs to the first frame that begins at this byte or behind it.
    stamp: Option<(usize, u64)>,
    skipped_bytes: u64,
}

impl Frames {
    /// Of a stream of this coding.
    pub fn new(coding: Coding) -> Self {
        Self { coding, bytes: Vec::new(), stamp: None, skipped_bytes: 0 }
    }

    /// Takes what a PES packet carries, and its time; the frames that are whole now.
    pub fn push(&mut self, pts_90k: Option<u64>, payload: &[u8], mut each: impl FnMut(Frame)) {
        if let Some(pts_90k) = pts_90k {
            self.stamp = Some((self.bytes.len(), pts_90k));
        }
        self.bytes.extend_from_slice(payload);
        let mut at = 0;
        while let Some(rest) = self.bytes.get(at..).filter(|rest| rest.len() >= HEADER_BYTES) {
            let Some(header) = header(self.coding, rest) else {
                at += 1;
                self.skipped_bytes += 1;
                continue;
            };
            let Some(frame) = rest.get(..header.len) else { break };
            let stamp = self.stamp.take_if(|(from, _)| *from <= at);
            each(Frame {
                pts_90k: stamp.map(|(_, pts_90k)| pts_90k),
                format: header.format,
                sample: frame[header.skipped.min(header.len)..].to_vec(),
            });
            at += header.len;
        }
        self.bytes.drain(..at);
        self.stamp = self.stamp.map(|(from, pts_90k)| (from.saturating_sub(at), pts_90k));
        debug_assert!(self.bytes.len() <= FRAME_BYTES_MAX, "a whole frame has been taken");
    }

    /// Nothing that follows continues what came.
    pub fn restart(&mut self) {
        self.bytes.clear();
        self.stamp = None;
    }

    /// Bytes that belong to no frame.
    pub fn skipped_bytes(&self) -> u64 {
        self.skipped_bytes
    }
}

/// Bytes that any header is told by.
const HEADER_BYTES: usize = 7;

fn header(coding: Coding, bytes: &[u8]) -> Option<Header> {
    let head: [u8; HEADER_BYTES] = *bytes.first_chunk()?;
    match coding {
        Coding::Aac => adts(head),
        Coding::Mpeg => mpeg(head),
        Coding::Ac3 => ac3(head),
    }
}

fn adts(head: [u8; HEADER_BYTES]) -> Option<Header> {
    if head[0] != 0xff || head[1] & 0xf6 != 0xf0 {
        return None;
    }
    let (object, index) = ((head[2] >> 6) + 1, (head[2] >> 2) & 15);
    let rate_hz = *AAC_RATES_HZ.get(usize::from(index))?;
    let channels = (head[2] & 1) << 2 | head[3] >> 6;
    let len = usize::from(head[3] & 3) << 11 | usize::from(head[4]) << 3 | usize::from(head[5] >> 5);
    let skipped = if head[1] & 1 == 1 { 7 } else { 9 };
    let blocks = u32::from(head[6] & 3) + 1;
    let config = [object << 3 | index >> 1, index << 7 | channels << 3];
    let format = Format {
        rate_hz,
        channels: if channels == 7 { 8 } else { u16::from(channels) },
        samples: 1_024 * blocks,
        detail: Detail::Aac(config),
    };
    (len > skipped).then_some(Header { format, skipped, len })
}

/// Bit rates in kb/s by version (MPEG-1 or not), layer and index (11172-3 §2.4.2.3, 13818-3 §2.4.2.3).
fn mpeg_rate_kbps(is_first: bool, layer: u8, index: u8) -> Option<u32> {
    const V1_L1: [u32; 14] = [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448];
    const V1_L2: [u32; 14] = [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384];
    const V1_L3: [u32; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const V2_L1: [u32; 14] = [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256];
    const V2_L23: [u32; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let table = match (is_first, layer) {
        (true, 1) => V1_L1,
        (true, 2) => V1_L2,
        (true, _) => V1_L3,
        (false, 1) => V2_L1,
        (false, _) => V2_L23,
    };
    table.get(usize::from(index).checked_sub(1)?).copied()
}

fn mpeg(head: [u8; HEADER_BYTES]) -> Option<Header> {
    let (version, layer) = ((head[1] >> 3) & 3, 4 - ((head[1] >> 1) & 3));
    if head[0] != 0xff || head[1] & 0xe0 != 0xe0 || version == 1 || layer == 4 {
        return None;
    }
    let is_first = version == 3;
    let base_hz = *[44_100, 48_000, 32_000].get(usize::from((head[2] >> 2) & 3))?;
    let rate_hz = base_hz
        >> match version {
            3 => 0,
            2 => 1,
            _ => 2,
        };
    let rate_bps = mpeg_rate_kbps(is_first, layer, head[2] >> 4)? * 1_000;
    let padding = u32::from(head[2] >> 1 & 1);
    let samples = match layer {
        1 => 384,
        3 if !is_first => 576,
        _ => 1_152,
    };
    let len = if layer == 1 {
        (12 * rate_bps / rate_hz + padding) * 4
    } else {
        samples / 8 * rate_bps / rate_hz + padding
    };
    let channels = if head[3] >> 6 == 3 { 1 } else { 2 };
    let detail = Detail::Mpeg(if is_first { 0x6b } else { 0x69 });
    let format = Format { rate_hz, channels, samples, detail };
    Some(Header { format, skipped: 0, len: usize::try_from(len).ok()? })
}

/// TS 102 366 table F.7.1: bit rates in kb/s by half of `frmsizecod`.
const AC3_RATES_KBPS: [u32; 19] =
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640];

fn ac3(head: [u8; HEADER_BYTES]) -> Option<Header> {
    if head[..2] != [0x0b, 0x77] {
        return None;
    }
    let (rate_code, size_code) = (head[4] >> 6, head[4] & 0x3f);
    let rate_hz = *[48_000, 44_100, 32_000].get(usize::from(rate_code))?;
    let rate_kbps = *AC3_RATES_KBPS.get(usize::from(size_code / 2))?;
    let words = match rate_hz {
        48_000 => rate_kbps * 2,
        44_100 => rate_kbps * 320 / 147 + u32::from(size_code & 1),
        _ => rate_kbps * 3,
    };
    let (id, mode) = (head[5] >> 3, head[5] & 7);
    let acmod = head[6] >> 5;
    // Before lfeon stand two bits for each of: three front channels, surround, Dolby surround (§4.3).
    let mut skipped = 3;
    skipped += if acmod & 1 != 0 && acmod != 1 { 2 } else { 0 };
    skipped += if acmod & 4 != 0 { 2 } else { 0 };
    skipped += if acmod == 2 { 2 } else { 0 };
    let lfe = (head[6] >> (7 - skipped)) & 1;
    let channels = [2, 1, 2, 3, 3, 4, 4, 5][usize::from(acmod)] + u16::from(lfe);
    let bits = u32::from(rate_code) << 22
        | u32::from(id) << 17
        | u32::from(mode) << 14
        | u32::from(acmod) << 11
        | u32::from(lfe) << 10
        | u32::from(size_code / 2) << 5;
    let [_, config @ ..] = bits.to_be_bytes();
    let format = Format { rate_hz, channels, samples: 1_536, detail: Detail::Ac3(config) };
    (id <= 8).then_some(Header { format, skipped: 0, len: usize::try_from(words * 2).ok()? })
}

impl Format {
    /// As RFC 6381 names it.
    pub fn codec(&self) -> String {
        match self.detail {
            Detail::Aac(config) => format!("mp4a.40.{}", config[0] >> 3),
            Detail::Mpeg(object) => format!("mp4a.{object:02X}"),
            Detail::Ac3(_) => "ac-3".to_owned(),
        }
    }

    /// The sample entry (ISO/IEC 14496-12 §12.2.3) with `esds` (14496-14 §5.6) or `dac3` (TS 102 366 annex F).
    pub fn write(&self, w: &mut Writer) {
        let name = if matches!(self.detail, Detail::Ac3(_)) { *b"ac-3" } else { *b"mp4a" };
        w.put(name, |w| {
            w.zeros(6);
            w.u16(1);
            w.zeros(8);
            w.u16(self.channels.max(1));
            w.u16(16);
            w.zeros(4);
            // 16.16; rates beyond its range are told by the stream itself.
            w.u32(if self.rate_hz <= 0xffff { self.rate_hz << 16 } else { 0 });
            match self.detail {
                Detail::Aac(config) => elementary_stream(w, 0x40, &config),
                Detail::Mpeg(object) => elementary_stream(w, object, &[]),
                Detail::Ac3(config) => w.put(*b"dac3", |w| w.bytes(&config)),
            }
        });
    }
}

/// `esds`: descriptors, each a tag and a length (14496-1 §7.2.6).
fn elementary_stream(w: &mut Writer, object: u8, config: &[u8]) {
    let config_len = u8::try_from(config.len()).unwrap_or(0);
    let specific_len = if config.is_empty() { 0 } else { 2 + config_len };
    w.put_full(*b"esds", (0, 0), |w| {
        w.bytes(&[3, 3 + 2 + 13 + specific_len + 3, 0, 0, 0]);
        w.bytes(&[4, 13 + specific_len, object, 0x15, 0, 0, 0]);
        w.zeros(8);
        if !config.is_empty() {
            w.bytes(&[5, config_len]);
            w.bytes(config);
        }
        w.bytes(&[6, 1, 2]);
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 48 kHz, stereo, of so many bytes with its header.
    fn aac(len: usize) -> Vec<u8> {
        let mut frame = vec![0xff, 0xf1, 0x4c, 0x80, 0, 0x1f, 0xfc];
        frame[3] |= u8::try_from(len >> 11).unwrap();
        frame[4] = u8::try_from((len >> 3) & 0xff).unwrap();
        frame[5] |= u8::try_from((len & 7) << 5).unwrap();
        frame.resize(len, 0xaa);
        frame
    }

    #[test]
    fn frames_go_over_packets_and_the_first_of_each_has_its_time() {
        let mut frames = Frames::new(Coding::Aac);
        let stream = [aac(100), aac(50), aac(70)].concat();
        let mut got = Vec::new();
        frames.push(Some(1_000), &stream[..120], |frame| got.push((frame.pts_90k, frame.sample.len())));
        frames.push(Some(2_000), &stream[120..], |frame| got.push((frame.pts_90k, frame.sample.len())));
        assert_eq!(got, [(Some(1_000), 93), (None, 43), (Some(2_000), 63)]);
    }

    #[test]
    fn headers_tell_rate_channels_and_length() {
        let told = |coding, bytes: [u8; 7]| {
            let header = header(coding, &bytes).unwrap();
            (
                header.format.rate_hz,
                header.format.channels,
                header.format.samples,
                header.len,
                header.format.codec(),
            )
        };
        assert_eq!(
            told(Coding::Aac, [0xff, 0xf1, 0x4c, 0x80, 0x20, 0x1f, 0xfc]),
            (48_000, 2, 1_024, 256, "mp4a.40.2".into())
        );
        // MPEG-1 layer II, 192 kb/s, 48 kHz, stereo; MPEG-1 layer III, 128 kb/s, 44.1 kHz, padded.
        assert_eq!(
            told(Coding::Mpeg, [0xff, 0xfd, 0xa4, 0, 0, 0, 0]),
            (48_000, 2, 1_152, 576, "mp4a.6B".into())
        );
        assert_eq!(
            told(Coding::Mpeg, [0xff, 0xfb, 0x92, 0, 0, 0, 0]),
            (44_100, 2, 1_152, 418, "mp4a.6B".into())
        );
        // MPEG-2 layer II, 64 kb/s, 24 kHz, mono.
        assert_eq!(
            told(Coding::Mpeg, [0xff, 0xf5, 0x84, 0xc0, 0, 0, 0]),
            (24_000, 1, 1_152, 384, "mp4a.69".into())
        );
        // AC-3, 384 kb/s, 48 kHz, 3/2 and a low frequency channel.
        assert_eq!(
            told(Coding::Ac3, [0x0b, 0x77, 0, 0, 0x1c, 0x40, 0xe1]),
            (48_000, 6, 1_536, 1_536, "ac-3".into())
        );
    }

    #[test]
    fn the_elementary_stream_descriptor_is_as_the_standard_lays_it_out() {
        let mut w = Writer::new();
        adts([0xff, 0xf1, 0x4c, 0x80, 0x20, 0x1f, 0xfc]).unwrap().format.write(&mut w);
        let bytes = w.finish();
        assert_eq!(bytes.len(), 8 + 28 + 39);
        let esds: [u8; 39] = [
            0, 0, 0, 39, b'e', b's', b'd', b's', 0, 0, 0, 0, 3, 25, 0, 0, 0, 4, 17, 0x40, 0x15, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 5, 2, 0x11, 0x90, 6, 1, 2,
        ];
        assert_eq!(bytes[36..], esds);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_little_is_kept(bytes in proptest::collection::vec(any::<u8>(), 0..20_000), coding in 0..3) {
            let coding = [Coding::Aac, Coding::Mpeg, Coding::Ac3][usize::try_from(coding).unwrap()];
            let mut frames = Frames::new(coding);
            for piece in bytes.chunks(997) {
                frames.push(None, piece, |_| ());
                prop_assert!(frames.bytes.len() <= FRAME_BYTES_MAX);
            }
        }
    }
}
