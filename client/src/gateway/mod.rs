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
//! | [`line`] | [`line::Line`]: numbers packets, finds where decoding may begin and where nothing continues |
//! | [`tape`] | [`tape::Tape`]: the newest seconds of a channel, for readers that begin and readers that lag |
//! | [`hls`] | segments and playlists |
//! | [`tenancy`] | [`tenancy::Tenancy`]: when a channel that nobody wants is released |

pub mod hls;
pub mod line;
pub mod tape;
pub mod tenancy;
