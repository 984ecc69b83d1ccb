//! Fragmented MP4 (ISO/IEC 14496-12, as CMAF, ISO/IEC 23000-19, narrows it) out of a transport stream.
//!
//! ```text
//! packets ─► ProgrammeTable   ┌► PesAssembler ─► h264, h265 ─► samples ┐
//!            which streams ───┤                                       ├─► Muxer ─► Init, Part, Break
//!                             └► PesAssembler ─► audio frames ─────────┘
//! ```
//!
//! | module | owns |
//! |---|---|
//! | [`muxer`] | [`Muxer`]: which streams, when a part ends, what begins anew |
//! | [`video`], [`h264`], [`h265`] | pictures: parameter sets, start codes to lengths |
//! | [`audio`] | frames of AAC, MPEG audio and AC-3 |
//! | [`boxes`], [`track`], [`fragment`] | bytes |

pub mod audio;
mod bits;
pub mod boxes;
pub mod fragment;
pub mod h264;
pub mod h265;
pub mod muxer;
pub mod track;
pub mod video;

pub use muxer::{Event, Init, Muxer, Part};
