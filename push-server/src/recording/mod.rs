//! What is kept of a channel, as plain data: where a recording is cut, how it is laid down, what of it is sound, what may
//! go. `docs/recording.md` says why. The effects are in [`crate::shell::recorder`].
//!
//! ```text
//! packets with number and date ──► [`segmenter`] ──► segments ──► [`index`] beside the transport packets
//!                                                                    │
//!   the very packets again ◄── [`packets`] ◄────────────────────────┤
//!   after a crash: what is sound ◄── [`recovery`] ◄─────────────────┤
//!   what the catalogue may list ◄── [`extents`] ◄───────────────────┤
//!   what has been kept long enough ◄── [`retention`] ◄──────────────┘
//! ```

pub mod byte_size;
pub mod chunk;
pub mod extents;
pub mod index;
pub mod packets;
pub mod recovery;
pub mod retention;
pub mod segment;
pub mod segmenter;
#[cfg(test)]
pub(crate) mod trial;

pub use segment::{Segment, SegmentName};
