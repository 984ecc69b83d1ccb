//! The initialisation segment: which tracks there are and what a decoder must know of them (ISO/IEC 14496-12 §8).

use super::audio::Format;
use super::boxes::Writer;
use super::video::{Coding, ParameterSets, Size};

/// Ticks of a second of video.
pub const VIDEO_TIMESCALE: u32 = 90_000;
/// Number of the video track.
pub const VIDEO_TRACK: u32 = 1;
/// Number of the audio track.
pub const AUDIO_TRACK: u32 = 2;

/// A track of pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoTrack {
    /// How they are coded.
    pub coding: Coding,
    /// What describes them.
    pub sets: ParameterSets,
    /// How large they are.
    pub size: Size,
}

/// Bytes of the initialisation segment.
pub fn initialisation(video: Option<&VideoTrack>, audio: Option<&Format>) -> Vec<u8> {
    let mut w = Writer::new();
    w.put(*b"ftyp", |w| {
        w.bytes(b"iso6");
        w.u32(0);
        w.bytes(b"iso6cmfcmp41");
    });
    w.put(*b"moov", |w| {
        w.put_full(*b"mvhd", (0, 0), |w| {
            w.zeros(8);
            w.u32(1_000);
            w.u32(0);
            w.u32(0x0001_0000);
            w.u16(0x0100);
            w.zeros(10);
            matrix(w);
            w.zeros(24);
            w.u32(AUDIO_TRACK + 1);
        });
        if let Some(video) = video {
            track(w, &Kind::Video(video));
        }
        if let Some(audio) = audio {
            track(w, &Kind::Audio(audio));
        }
        w.put(*b"mvex", |w| {
            let tracks = [video.map(|_| VIDEO_TRACK), audio.map(|_| AUDIO_TRACK)];
            for id in tracks.into_iter().flatten() {
                w.put_full(*b"trex", (0, 0), |w| [id, 1, 0, 0, 0].into_iter().for_each(|value| w.u32(value)));
            }
        });
    });
    w.finish()
}

enum Kind<'a> {
    Video(&'a VideoTrack),
    Audio(&'a Format),
}

fn track(w: &mut Writer, kind: &Kind<'_>) {
    let (id, timescale, handler, size) = match kind {
        Kind::Video(video) => (VIDEO_TRACK, VIDEO_TIMESCALE, *b"vide", Some(video.size)),
        Kind::Audio(audio) => (AUDIO_TRACK, audio.rate_hz, *b"soun", None),
    };
    w.put(*b"trak", |w| {
        // Enabled, and part of the presentation (§8.3.2).
        w.put_full(*b"tkhd", (0, 3), |w| {
            w.zeros(8);
            w.u32(id);
            w.zeros(8 + 8 + 2);
            w.u16(u16::from(size.is_none()));
            w.u16(if size.is_none() { 0x0100 } else { 0 });
            w.u16(0);
            matrix(w);
            w.u32(size.map_or(0, |size| u32::from(size.width) << 16));
            w.u32(size.map_or(0, |size| u32::from(size.height) << 16));
        });
        w.put(*b"mdia", |w| {
            w.put_full(*b"mdhd", (0, 0), |w| {
                w.zeros(8);
                w.u32(timescale);
                w.u32(0);
                w.u16(0x55c4); // "und"
                w.u16(0);
            });
            w.put_full(*b"hdlr", (0, 0), |w| {
                w.u32(0);
                w.bytes(&handler);
                w.zeros(13);
            });
            w.put(*b"minf", |w| {
                match kind {
                    Kind::Video(_) => w.put_full(*b"vmhd", (0, 1), |w| w.zeros(8)),
                    Kind::Audio(_) => w.put_full(*b"smhd", (0, 0), |w| w.zeros(4)),
                }
                w.put(*b"dinf", |w| {
                    w.put_full(*b"dref", (0, 0), |w| {
                        w.u32(1);
                        w.put_full(*b"url ", (0, 1), |_| ());
                    });
                });
                samples(w, kind);
            });
        });
    });
}

fn samples(w: &mut Writer, kind: &Kind<'_>) {
    w.put(*b"stbl", |w| {
        w.put_full(*b"stsd", (0, 0), |w| {
            w.u32(1);
            match kind {
                Kind::Video(video) => picture_entry(w, video),
                Kind::Audio(audio) => audio.write(w),
            }
        });
        w.put_full(*b"stts", (0, 0), |w| w.u32(0));
        w.put_full(*b"stsc", (0, 0), |w| w.u32(0));
        w.put_full(*b"stsz", (0, 0), |w| w.zeros(8));
        w.put_full(*b"stco", (0, 0), |w| w.u32(0));
    });
}

/// §12.1.3.
fn picture_entry(w: &mut Writer, video: &VideoTrack) {
    let name = match video.coding {
        Coding::H264 => *b"avc1",
        Coding::H265 => *b"hvc1",
    };
    w.put(name, |w| {
        w.zeros(6);
        w.u16(1);
        w.zeros(16);
        w.u16(video.size.width);
        w.u16(video.size.height);
        w.u32(0x0048_0000);
        w.u32(0x0048_0000);
        w.u32(0);
        w.u16(1);
        w.zeros(32);
        w.u16(0x0018);
        w.u16(0xffff);
        video.sets.write(video.coding, w);
    });
}

/// Neither turned nor scaled.
fn matrix(w: &mut Writer) {
    [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000].into_iter().for_each(|value| w.u32(value));
}
