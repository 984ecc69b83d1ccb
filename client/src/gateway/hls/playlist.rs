//! Playlists as text (RFC 8216 §4; the parts of draft-pantos-hls-rfc8216bis §4.4).

use std::fmt::Write;

use protocols::time::ClusterTime;

use super::TARGET_DURATION_S;
use super::window::{Segment, Window};
use crate::when::rfc3339;

/// Longest part, s, as playlists tell it: 0.5.
pub const PART_TARGET_S: f64 = 0.5;
/// A player stays so far behind the newest part: three of them at least (§4.4.3.8).
const PART_HOLD_BACK_S: f64 = 1.5;
/// Parts are listed of so many of the newest complete segments: three target durations of the shortest (§4.4.4.9).
const SEGMENTS_WITH_PARTS: usize = 3;

/// The playlist of transport stream segments, `N.ts`.
pub fn transport_stream(window: &Window) -> String {
    let mut text = head(3, window);
    for segment in window.listed() {
        separate(&mut text, segment);
        let _ = writeln!(text, "#EXTINF:{},\n{}.ts", seconds(segment.duration_90k()), segment.sequence);
    }
    text
}

/// The playlist of fragmented MP4 segments, `N.m4s`, their parts, `N.P.m4s`, and their initialisation segments, `init-K.mp4`.
pub fn fragmented(window: &Window) -> String {
    let mut text = head(6, window);
    let _ = writeln!(
        text,
        "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={PART_HOLD_BACK_S}\n#EXT-X-PART-INF:PART-TARGET={PART_TARGET_S}"
    );
    let complete = window.listed().count();
    let mut init = None;
    for (place, segment) in window.listed().chain(window.open_segment()).enumerate() {
        separate(&mut text, segment);
        if segment.init != init {
            init = segment.init;
            let _ = writeln!(text, "#EXT-X-MAP:URI=\"init-{}.mp4\"", init.unwrap_or(0));
        }
        if place + SEGMENTS_WITH_PARTS >= complete {
            for (number, part) in segment.parts.iter().enumerate() {
                let independent = if part.is_independent { ",INDEPENDENT=YES" } else { "" };
                let _ = writeln!(
                    text,
                    "#EXT-X-PART:DURATION={},URI=\"{}.{number}.m4s\"{independent}",
                    seconds(part.duration_90k),
                    segment.sequence
                );
            }
        }
        if place < complete {
            let _ = writeln!(text, "#EXTINF:{},\n{}.m4s", seconds(segment.duration_90k()), segment.sequence);
        }
    }
    let (sequence, part) = next_part(window);
    let _ = writeln!(text, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{sequence}.{part}.m4s\"");
    text
}

/// A master playlist of one rendition. `codecs` as RFC 6381 names them; `None`: unknown.
pub fn master(uri: &str, rate_bps: u64, codecs: Option<&str>, size: Option<(u32, u32)>) -> String {
    let mut text = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-STREAM-INF:".to_owned();
    // The peak is not known; a half more than the mean is near it for what is broadcast.
    let _ = write!(text, "BANDWIDTH={}", (rate_bps + rate_bps / 2).max(1));
    if rate_bps > 0 {
        let _ = write!(text, ",AVERAGE-BANDWIDTH={rate_bps}");
    }
    if let Some(codecs) = codecs {
        let _ = write!(text, ",CODECS=\"{codecs}\"");
    }
    if let Some((width, height)) = size {
        let _ = write!(text, ",RESOLUTION={width}x{height}");
    }
    let _ = write!(text, "\n{uri}\n");
    text
}

/// Number of the segment and of its part that comes next.
pub fn next_part(window: &Window) -> (u64, usize) {
    let parts = window.open_segment().map_or(0, |open| open.parts.len());
    (window.next_complete(), parts)
}

fn head(version: u8, window: &Window) -> String {
    let first = window.listed().next().map_or_else(|| window.next_complete(), |segment| segment.sequence);
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:{version}\n#EXT-X-TARGETDURATION:{TARGET_DURATION_S}\n#EXT-X-MEDIA-SEQUENCE:{first}\n"
    );
    let discontinuities = window.discontinuity_sequence();
    if discontinuities > 0 {
        let _ = writeln!(text, "#EXT-X-DISCONTINUITY-SEQUENCE:{discontinuities}");
    }
    let independent = |segment: &Segment| segment.parts.first().is_some_and(|part| part.is_independent);
    if window.listed().all(independent) {
        text.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    text
}

fn separate(text: &mut String, segment: &Segment) {
    if segment.is_discontinuous {
        text.push_str("#EXT-X-DISCONTINUITY\n");
    }
    let _ = writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{}", rfc3339(ClusterTime(segment.date_ms)));
}

/// In decimals, rounded up at the fifth: a part must not be told shorter than it is.
fn seconds(duration_90k: u64) -> String {
    let micros_10 = (duration_90k * 10).div_ceil(9);
    format!("{}.{:05}", micros_10 / 100_000, micros_10 % 100_000)
}

#[cfg(test)]
mod tests {
    use super::super::window::{Opening, Part};
    use super::*;

    fn window() -> Window {
        let mut window = Window::new(7);
        for (place, parts) in [2, 2, 1].into_iter().enumerate() {
            let is_discontinuous = place == 1;
            window.open(Opening {
                now_ms: 1_800_000_000_000,
                is_discontinuous,
                init: Some(u64::from(is_discontinuous)),
            });
            for part in 0..parts {
                window.push(Part {
                    bytes: vec![0; 10].into(),
                    duration_90k: 90_000,
                    is_independent: part == 0,
                });
            }
        }
        window
    }

    #[test]
    fn a_transport_stream_playlist_has_the_complete_segments() {
        assert_eq!(
            transport_stream(&window()),
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-INDEPENDENT-SEGMENTS\n\
             #EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:00Z\n#EXTINF:2.00000,\n7.ts\n\
             #EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:00Z\n#EXTINF:2.00000,\n8.ts\n"
        );
    }

    #[test]
    fn a_fragmented_playlist_has_parts_maps_and_what_comes_next() {
        assert_eq!(
            fragmented(&window()),
            "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-INDEPENDENT-SEGMENTS\n\
             #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.5\n#EXT-X-PART-INF:PART-TARGET=0.5\n\
             #EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:00Z\n#EXT-X-MAP:URI=\"init-0.mp4\"\n\
             #EXT-X-PART:DURATION=1.00000,URI=\"7.0.m4s\",INDEPENDENT=YES\n#EXT-X-PART:DURATION=1.00000,URI=\"7.1.m4s\"\n\
             #EXTINF:2.00000,\n7.m4s\n\
             #EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:00Z\n#EXT-X-MAP:URI=\"init-1.mp4\"\n\
             #EXT-X-PART:DURATION=1.00000,URI=\"8.0.m4s\",INDEPENDENT=YES\n#EXT-X-PART:DURATION=1.00000,URI=\"8.1.m4s\"\n\
             #EXTINF:2.00000,\n8.m4s\n\
             #EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:02Z\n#EXT-X-MAP:URI=\"init-0.mp4\"\n\
             #EXT-X-PART:DURATION=1.00000,URI=\"9.0.m4s\",INDEPENDENT=YES\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"9.1.m4s\"\n"
        );
    }

    #[test]
    fn durations_are_never_told_too_short() {
        assert_eq!(
            (seconds(1), seconds(90_000), seconds(43_200)),
            ("0.00002".into(), "1.00000".into(), "0.48000".into())
        );
    }

    #[test]
    fn a_master_playlist_names_what_is_known() {
        assert_eq!(
            master("fmp4.m3u8", 1_000_000, Some("avc1.4d401e,mp4a.40.2"), Some((640, 360))),
            "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-STREAM-INF:BANDWIDTH=1500000,AVERAGE-BANDWIDTH=1000000,\
             CODECS=\"avc1.4d401e,mp4a.40.2\",RESOLUTION=640x360\nfmp4.m3u8\n"
        );
    }
}
