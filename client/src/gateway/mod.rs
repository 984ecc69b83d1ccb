//! A channel for many local players by HTTP, as plain data: what is kept of it, how it is cut and described.
//!
//! ```text
//!  packets of one     ┌─► Tape ──────────► /channel/ID.ts   any number of readers, each at its own place
//!  subscription ─► Line├─► TsSegmenter ───► index.m3u8       segments of transport stream
//!  in order           └─► Fmp4Segmenter ─► fmp4.m3u8        segments and parts of fragmented MP4
//! ```
//!
//! | module | owns |
//! |---|---|
//! | [`mod@line`] | [`line::Line`]: numbers packets, finds where decoding may begin and where nothing continues |
//! | [`tape`] | [`tape::Tape`]: the newest seconds of a channel, for readers that begin and readers that lag |
//! | [`hls`] | segments and playlists |
//! | [`scale`] | [`scale::Scale`]: which byte of a recording stands for which time |
//! | [`lineup`] | the channel list as M3U and as an HDHomeRun's |
//! | [`hdhomerun`] | how an HDHomeRun tuner is discovered and controlled |
//! | [`tenancy`] | [`tenancy::Tenancy`]: when a channel that nobody wants is released |

pub mod hdhomerun;
pub mod hls;
pub mod line;
pub mod lineup;
pub mod scale;
pub mod tape;
pub mod tenancy;
