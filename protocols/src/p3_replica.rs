//! P3 replica: one push server host asks another for what it has recorded, TCP 7403; one connection per look.
//!
//! | when | who asks | who has |
//! |---|---|---|
//! | connected | preamble, [`crate::handshake`] as [`Caller::Host`] | the same |
//! | then, as often as it likes | a frame with [`Ask`], sealed as in P1 | a frame with [`Answer`], sealed likewise |
//! | behind [`Answer::Bytes`] | | so many bytes in frames of [`PIECE_BYTES`] at most, each sealed, nothing else in them |
//!
//! What was fetched counts once its packets have the hash that the list gave.

use serde::{Deserialize, Serialize};

use crate::authority::MacKey;
use crate::handshake::Hello;
use crate::ids::{AcquisitionId, ChannelId, HostId};
use crate::preamble::Refusal;

/// Largest body of an [`Ask`].
pub const MAX_ASK_BYTES: usize = 128;
/// Largest body of an [`Answer`].
pub const MAX_ANSWER_BYTES: usize = 64 * 1_024;
/// Segments in one [`Answer::Page`] at most.
pub const SEGMENTS_PER_PAGE: usize = 512;
/// Bytes of a file in one frame at most.
pub const PIECE_BYTES: usize = 64 * 1_024;

/// Stands before a host's id where an acquisition server would give its own, which cannot hold a colon.
const HOST_PREFIX: &str = "host:";

/// Who opens a connection to a push server's P3 port, as [`Hello::caller`] has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// One that feeds a channel: its id.
    Acquisition(AcquisitionId),
    /// Another push server host, that asks for recordings: `host:` and its id.
    Host(HostId),
}

impl Caller {
    /// Who `hello` says is calling; `None`: nobody can be called that.
    pub fn of(hello: &Hello) -> Option<Self> {
        match hello.caller.strip_prefix(HOST_PREFIX) {
            Some(host) => host.parse().ok().map(Self::Host),
            None => hello.caller.parse().ok().map(Self::Acquisition),
        }
    }

    /// As [`Hello::caller`] has it.
    pub fn to_text(&self) -> String {
        match self {
            Self::Acquisition(id) => id.to_string(),
            Self::Host(id) => format!("{HOST_PREFIX}{id}"),
        }
    }

    /// The key that both sides should hold: the called host's own for a feed; for a peer one derived from it and the caller's
    /// id, so that no handshake of the one kind is worth anything in the other.
    #[must_use]
    pub fn key(&self, callee: &MacKey) -> MacKey {
        match self {
            Self::Acquisition(_) => callee.clone(),
            Self::Host(id) => callee.derive("replica", &[id.as_str().as_bytes()]),
        }
    }
}

/// Which segment of a channel. Their order is that of dates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Name {
    /// Date of its first packet in s since 1970.
    pub date_s: u64,
    /// Source of its packets.
    pub ssrc: u32,
    /// Number of its first packet.
    pub number: u64,
}

/// A complete segment that a host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Source of its packets.
    pub ssrc: u32,
    /// Number of its first packet.
    pub number: u64,
    /// Date of that, ms since 1970.
    pub date_ms: u64,
    /// Where it ends, ms since 1970.
    pub end_date_ms: u64,
    /// RTP packets.
    pub packets: u32,
    /// Numbers without one between the first and the last.
    pub missing: u32,
    /// Bytes of transport packets.
    pub length_bytes: u64,
    /// BLAKE3 over the RTP packets.
    pub hash: [u8; 32],
}

/// What a host asks of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// The complete segments of a channel, ascending from this name on: a page of them.
    List {
        /// The channel.
        channel: ChannelId,
        /// The first name that may be in it.
        from: Name,
    },
    /// A segment's index, whole.
    Index(Wanted),
    /// A segment's transport packets from this byte on.
    Packets {
        /// Which segment.
        wanted: Wanted,
        /// Bytes that are there already.
        from_bytes: u64,
    },
}

/// A segment that a list gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Its channel.
    pub channel: ChannelId,
    /// Its name.
    pub name: Name,
    /// Its hash: with another it is not what was listed.
    pub hash: [u8; 32],
}

/// What the other says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Segments.
    Page {
        /// Ascending, [`SEGMENTS_PER_PAGE`] at most.
        segments: Vec<Listed>,
        /// Others follow them.
        more: bool,
    },
    /// So many bytes follow.
    Bytes(u64),
    /// That segment is not here, or not as it was listed.
    Gone,
    /// Not now, or never; the connection closes.
    Refused(Refusal),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::ClusterKey;
    use crate::codec::{decode, encode};
    use crate::ids::BootId;

    fn hello(caller: &str) -> Hello {
        Hello { caller: caller.to_owned(), callee: "hall".to_owned(), boot_id: BootId(1), nonce: [1; 16] }
    }

    #[test]
    fn a_host_that_calls_is_never_taken_for_an_acquisition_server() {
        let host = Caller::Host("attic".parse().unwrap());
        let feeder = Caller::Acquisition("attic".parse().unwrap());
        for caller in [&host, &feeder] {
            assert_eq!(Caller::of(&hello(&caller.to_text())).as_ref(), Some(caller));
        }
        for nobody in ["", "host:", "host:a b", "host:host:a", "a:b"] {
            assert_eq!(Caller::of(&hello(nobody)), None, "{nobody}");
        }
        let callee = ClusterKey::new([1; 32]).host_key(&"hall".parse().unwrap());
        assert_eq!(feeder.key(&callee), callee);
        assert_ne!(host.key(&callee), callee);
        assert_ne!(host.key(&callee), Caller::Host("loft".parse().unwrap()).key(&callee));
    }

    #[test]
    fn what_is_asked_on_the_wire() {
        let name = Name { date_s: 1, ssrc: 2, number: 3 };
        let wanted = Wanted { channel: ChannelId(7), name, hash: [9; 32] };
        let mut expected = vec![0, 0, 0, 0, 7, 0, 0, 0];
        let name_bytes = [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0];
        expected.extend(name_bytes);
        assert_eq!(encode(&Ask::List { channel: ChannelId(7), from: name }), expected);
        expected[0] = 1;
        expected.extend([9; 32]);
        assert_eq!(encode(&Ask::Index(wanted)), expected);
        expected[0] = 2;
        expected.extend([5, 0, 0, 0, 0, 0, 0, 0]);
        let longest = Ask::Packets { wanted, from_bytes: 5 };
        assert_eq!(encode(&longest), expected);
        assert_eq!(decode::<Ask, MAX_ASK_BYTES>(&expected).unwrap(), longest);
    }

    #[test]
    fn what_is_answered_on_the_wire() {
        let listed = Listed {
            ssrc: 2,
            number: 3,
            date_ms: 4,
            end_date_ms: 5,
            packets: 6,
            missing: 7,
            length_bytes: 8,
            hash: [9; 32],
        };
        let page = Answer::Page { segments: vec![listed], more: true };
        let mut expected = vec![0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        expected.extend([2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([9; 32]);
        expected.push(1);
        assert_eq!(encode(&page), expected);
        assert_eq!(decode::<Answer, MAX_ANSWER_BYTES>(&expected).unwrap(), page);
        let largest = Answer::Page { segments: vec![listed; SEGMENTS_PER_PAGE], more: false };
        assert!(encode(&largest).len() <= MAX_ANSWER_BYTES);
        assert_eq!(encode(&Answer::Bytes(1)), [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(encode(&Answer::Gone), [2, 0, 0, 0]);
        assert_eq!(encode(&Answer::Refused(Refusal::Key)), [3, 0, 0, 0, 1, 0, 0, 0]);
    }
}
