//! HTTP Live Streaming (RFC 8216, and its second edition draft-pantos-hls-rfc8216bis for low latency): a channel as pieces with
//! names, and a list of them that is asked for again and again.
//!
//! | module | owns |
//! |---|---|
//! | [`window`] | [`window::Window`]: the newest segments, numbered, bounded in time and bytes |
//! | [`ts_segmenter`] | [`ts_segmenter::TsSegmenter`]: cuts a transport stream at random access points |
//! | [`fmp4_segmenter`] | [`fmp4_segmenter::Fmp4Segmenter`]: segments and parts of fragmented MP4 |
//! | [`playlist`] | playlists as text |

pub mod fmp4_segmenter;
pub mod playlist;
pub mod ts_segmenter;
pub mod window;

/// A segment is at least so long, where random access points allow: 2 s.
pub const SEGMENT_MIN_90K: u64 = 180_000;
/// Longest duration of a segment, as playlists tell it, s. It must hold for ever (RFC 8216 §4.3.3.1).
pub const TARGET_DURATION_S: u64 = 4;
/// A segment is cut here though no random access point is in sight: what rounds to the target duration.
pub const SEGMENT_MAX_90K: u64 = 396_000;
/// After such a cut the next random access point begins a segment as soon as this has passed.
pub const FORCED_MIN_90K: u64 = 36_000;
