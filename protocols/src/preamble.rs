//! How every TCP protocol opens, and how its messages are framed.
//!
//! ```text
//! preamble   "MAST" | protocol u8 (1, 2, 3) | version u8 | 0 u16           8 bytes, each side sends its own first
//! frame      length u32 little-endian | body                               P1, P2 and the opening of P3
//! ```
//!
//! A side that reads a wrong preamble sends a [`Refusal`] frame that names both versions, and closes.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Length of a preamble.
pub const PREAMBLE_BYTES: usize = 8;
/// Length of a frame's header.
pub const FRAME_HEADER_BYTES: usize = 4;
/// Largest body of a P1 frame: 1,000 channels with long URLs and 20 push servers each fit.
pub const MAX_P1_FRAME_BYTES: usize = 4 << 20;
/// Largest body of a P2 frame from the database server: 10,000 channels with their tunings fit.
pub const MAX_P2_ANSWER_BYTES: usize = 8 << 20;
/// Largest body of a P2 frame from a client.
pub const MAX_P2_REQUEST_BYTES: usize = 1 << 10;
/// Largest body of a handshake or opening frame.
pub const MAX_OPENING_BYTES: usize = 512;

const MAGIC: [u8; 4] = *b"MAST";

/// The TCP protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// P1, acquisition server to database server.
    Registration,
    /// P2, client to database server.
    Directory,
    /// P3, acquisition server to push server.
    Feed,
}

impl Protocol {
    /// Its number in the list of protocols.
    pub const fn number(self) -> u8 {
        match self {
            Self::Registration => 1,
            Self::Directory => 2,
            Self::Feed => 3,
        }
    }

    /// The version that this program speaks.
    pub const fn version(self) -> u8 {
        match self {
            // 2: P2's channel list has groups and logos; P1's plans have backups.
            Self::Directory | Self::Registration => 2,
            Self::Feed => 1,
        }
    }

    /// The eight bytes with which each side opens.
    pub const fn preamble(self) -> [u8; PREAMBLE_BYTES] {
        let [a, b, c, d] = MAGIC;
        [a, b, c, d, self.number(), self.version(), 0, 0]
    }

    /// Checks the other side's opening bytes.
    pub fn check(self, bytes: [u8; PREAMBLE_BYTES]) -> Result<(), PreambleError> {
        let [a, b, c, d, protocol, version, ..] = bytes;
        if [a, b, c, d] != MAGIC {
            return Err(PreambleError::NotMasthead);
        }
        if protocol != self.number() {
            return Err(PreambleError::Protocol { ours: self.number(), theirs: protocol });
        }
        if version != self.version() {
            return Err(PreambleError::Version { protocol, ours: self.version(), theirs: version });
        }
        Ok(())
    }
}

/// Why a connection's first eight bytes are refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PreambleError {
    /// Some other program.
    #[error("the peer does not speak Masthead's protocols")]
    NotMasthead,
    /// The right program at the wrong port.
    #[error("the peer speaks protocol P{theirs} to a port of P{ours}: check the port numbers")]
    Protocol {
        /// What this port serves.
        ours: u8,
        /// What the peer wants.
        theirs: u8,
    },
    /// Another version.
    #[error(
        "the peer speaks version {theirs} of P{protocol}, this program version {ours}: update the older one"
    )]
    Version {
        /// The protocol.
        protocol: u8,
        /// This program's version.
        ours: u8,
        /// The peer's version.
        theirs: u8,
    },
}

/// The last frame before a server closes on purpose, in any TCP protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum Refusal {
    /// The preamble was wrong; the text is the [`PreambleError`].
    #[error("{0}")]
    Preamble(String),
    /// The handshake showed another cluster key or none.
    #[error("not authenticated: the two servers do not hold the same cluster key (see `masthead key`)")]
    Key,
    /// The topology does not know the caller's id.
    #[error("the topology declares no server `{0}`")]
    UnknownServer(String),
    /// The channel is not one that this push server carries now.
    #[error("channel {0} is not configured at this push server")]
    NotConfigured(crate::ids::ChannelId),
    /// A frame broke a rule of the protocol; the text says which.
    #[error("{0}")]
    Protocol(String),
    /// A limit is reached; the text names it.
    #[error("{0}")]
    Busy(String),
    /// A newer connection of the same server took over.
    #[error("a newer connection of the same server took this one's place")]
    Replaced,
}

/// Checks the length in a frame's header against `limit`.
pub fn frame_len(header: [u8; FRAME_HEADER_BYTES], limit: usize) -> Result<usize, FrameError> {
    let len = u32::from_le_bytes(header) as usize;
    if len > limit { Err(FrameError { len, limit }) } else { Ok(len) }
}

/// A frame longer than the limit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a frame of {len} bytes where at most {limit} are allowed")]
pub struct FrameError {
    /// Claimed length.
    pub len: usize,
    /// Allowed length.
    pub limit: usize,
}

/// `body` as a frame, appended to `out`.
///
/// # Panics
/// When `body` has 4 GiB or more, which no encoder of this crate makes.
pub fn write_frame(out: &mut Vec<u8>, body: &[u8]) {
    let len = u32::try_from(body.len()).expect("message limits are far below 4 GiB");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preambles_on_the_wire() {
        assert_eq!(Protocol::Directory.preamble(), *b"MAST\x02\x02\0\0");
        assert_eq!(Protocol::Feed.check(*b"MAST\x03\x01\0\0"), Ok(()));
    }

    #[test]
    fn a_wrong_version_is_refused_with_both_versions_named() {
        let error = Protocol::Feed.check(*b"MAST\x03\x09\0\0").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the peer speaks version 9 of P3, this program version 1: update the older one"
        );
        assert_eq!(Protocol::Feed.check(*b"GET / HT"), Err(PreambleError::NotMasthead));
    }

    #[test]
    fn oversized_frames_are_refused_by_their_header() {
        assert_eq!(frame_len([1, 2, 0, 0], 513), Ok(513));
        assert_eq!(frame_len([1, 2, 0, 0], 512), Err(FrameError { len: 513, limit: 512 }));
    }
}
