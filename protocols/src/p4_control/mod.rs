//! P4 control: everyone → push server, UDP 7404, and the answers.
//!
//! ```text
//! datagram   "M4" | version u8 | kind u8 | body (bincode) | tag 16 bytes          at most MAX_DATAGRAM_BYTES
//! ```
//!
//! | kind | from → to | body | key of the tag |
//! |---|---|---|---|
//! | 1 query | database → host | [`Command`] with [`Query`] | the host's |
//! | 2 configure | database → host | [`Command`] with [`Configure`] | the host's |
//! | 3 report | host → database | [`Response`] with [`Report`] | the host's |
//! | 4 configured | host → database | [`Response`] with [`Configured`] | the host's |
//! | 5 interest | client → host | [`Interest`] | the lease's secret |
//! | 6 interest answer | host → client | [`InterestAnswer`] | the lease's secret |
//! | 7 repair | client → host | [`Repair`] | the lease's secret |
//! | 8 play | client → host | [`PlayRequest`] | the recording lease's secret |
//! | 9 play answer | host → client | [`PlayAnswer`] | the recording lease's secret |
//! | 10 play repair | client → host | [`PlayRepair`] | the recording lease's secret |
//! | 11 live | client → host | [`LiveRequest`] | the lease's secret |
//! | 12 live answer | host → client | [`LiveAnswer`] | the lease's secret |
//!
//! **Replay.** A command counts when it names the host's present boot id and its order (database start number, sequence)
//! is above the last that counted. A command with another boot id changes nothing and is answered by an empty report,
//! shorter than itself, from which the database server learns the boot id. A response counts when it echoes the order of
//! a command that still waits. An interest, a repair, a play or a live request counts when its date is within [`crate::authority::CLOCK_TOLERANCE`] of cluster time.
//!
//! Datagrams that fail any check are dropped and counted, never answered.

mod command;
mod configure;
mod interest;
mod live;
mod padded;
mod play;
mod play_repair;
mod repair;
mod report;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::authority::{MacKey, Tag};
use crate::codec::{self, CodecError};

pub use command::{Command, CommandOrder, Response};
pub use configure::{
    CONFIGURE_RETRY, Configure, Configured, DEFAULT_WINDOW_MS, DESTINATIONS_PER_PART, DestinationOrder,
    MAX_WINDOW_MS, PEERS_PER_PART, RecordPart, SPANS_PER_PART, SessionOrder,
};
pub use interest::{
    INTEREST_BYTES, INTEREST_INTERVAL, INTEREST_TIMEOUT, Interest, InterestAnswer, InterestVerdict,
    mask_secret,
};
pub use live::{
    BURST_PERCENT, LEAST_BURST_PERCENT, LIVE_BYTES, LIVE_KEEP, LIVE_RETRY, LIVE_TIMEOUT, LIVE_WAIT,
    LiveAnswer, LiveId, LiveOrder, LiveRequest, LiveVerdict, MOST_BURST_PERCENT,
};
pub use play::{
    DELTA_P_MAX, DELTA_P_MIN, PLAY_BYTES, PLAY_KEEPALIVE, PLAY_RETRY, PLAY_TIMEOUT, PacketName, PlayAnswer,
    PlayOrder, PlayPosition, PlayRefusal, PlayRequest, PlayStart, PlayState, PlayVerdict, SessionId,
    TrickSpeed,
};
pub use play_repair::{MAX_MISSING_PER_PLAY_REPAIR, MissingNumbers, PlayRepair};
pub use repair::{
    AGGREGATION_WINDOW, LEAST_REPEAT, MAX_MISSING_PER_REPAIR, Missing, REPAIR_BUDGET_PERCENT,
    REPAIR_BURST_PACKETS, REPAIR_BURST_TIME, REPEAT_AFTER_PERCENT, Repair,
};
pub use report::{
    DestinationFault, HOST_TIMEOUT, ITEMS_PER_REPORT, QUERY_INTERVAL, Query, Report, ReportItem,
};

/// Largest P4 datagram; fits every path without fragmentation.
pub const MAX_DATAGRAM_BYTES: usize = 1_200;

const MAGIC: [u8; 2] = *b"M4";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 4;

/// Kind byte of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Database server asks a host how it is.
    Query = 1,
    /// Database server configures one push server.
    Configure = 2,
    /// Host answers a query.
    Report = 3,
    /// Host acknowledges a configuration.
    Configured = 4,
    /// Client: somebody here watches.
    Interest = 5,
    /// Host: something about that interest.
    InterestAnswer = 6,
    /// Client: send me these packets again.
    Repair = 7,
    /// Client: have a recording sent.
    Play = 8,
    /// Host: what came of that.
    PlayAnswer = 9,
    /// Client: send me these packets of my session again.
    PlayRepair = 10,
    /// Client: have a channel that is on air sent to me.
    Live = 11,
    /// Host: what came of that.
    LiveAnswer = 12,
}

impl Kind {
    fn parse(byte: u8) -> Option<Self> {
        let kinds = [
            Self::Query,
            Self::Configure,
            Self::Report,
            Self::Configured,
            Self::Interest,
            Self::InterestAnswer,
            Self::Repair,
            Self::Play,
            Self::PlayAnswer,
            Self::PlayRepair,
            Self::Live,
            Self::LiveAnswer,
        ];
        kinds.into_iter().find(|kind| *kind as u8 == byte)
    }

    const fn context(self) -> &'static str {
        match self {
            Self::Query => "P4 query",
            Self::Configure => "P4 configure",
            Self::Report => "P4 report",
            Self::Configured => "P4 configured",
            Self::Interest => "P4 interest",
            Self::InterestAnswer => "P4 interest answer",
            Self::Repair => "P4 repair",
            Self::Play => "P4 play",
            Self::PlayAnswer => "P4 play answer",
            Self::PlayRepair => "P4 play repair",
            Self::Live => "P4 live",
            Self::LiveAnswer => "P4 live answer",
        }
    }
}

/// Why a datagram is dropped; each reason has a counter.
#[derive(Debug, Error)]
pub enum DatagramError {
    /// Shorter than header and tag, longer than the limit, or not ours.
    #[error("no P4 datagram")]
    NotP4,
    /// Another version.
    #[error("P4 version {0}, this program speaks {VERSION}")]
    Version(u8),
    /// A kind of a later version, or not one that this receiver takes.
    #[error("P4 kind {0} is not for this receiver")]
    Kind(u8),
    /// The body breaks the layout.
    #[error(transparent)]
    Body(#[from] CodecError),
    /// The tag is not the key's.
    #[error("not authenticated")]
    Tag,
}

/// A datagram whose header is right and whose tag has not been checked yet.
#[derive(Debug, Clone, Copy)]
pub struct Sealed<'a> {
    /// What it claims to be.
    pub kind: Kind,
    signed: &'a [u8],
    tag: Tag,
}

impl<'a> Sealed<'a> {
    /// Reads the header.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, DatagramError> {
        if datagram.len() > MAX_DATAGRAM_BYTES {
            return Err(DatagramError::NotP4);
        }
        let (signed, tag) = datagram.split_last_chunk::<{ Tag::BYTES }>().ok_or(DatagramError::NotP4)?;
        let [a, b, version, kind] = *signed.first_chunk::<HEADER_BYTES>().ok_or(DatagramError::NotP4)?;
        if [a, b] != MAGIC {
            return Err(DatagramError::NotP4);
        }
        if version != VERSION {
            return Err(DatagramError::Version(version));
        }
        let kind = Kind::parse(kind).ok_or(DatagramError::Kind(kind))?;
        Ok(Self { kind, signed, tag: Tag(*tag) })
    }

    /// The body, *unverified*: only to find out which key to verify with.
    pub fn peek<T: DeserializeOwned>(&self) -> Result<T, DatagramError> {
        Ok(codec::decode::<T, MAX_DATAGRAM_BYTES>(&self.signed[HEADER_BYTES..])?)
    }

    /// What the body begins with, *unverified*: to find out which key to verify with at no more than that cost.
    pub fn peek_front<T: DeserializeOwned>(&self) -> Result<T, DatagramError> {
        Ok(codec::decode_front::<T, MAX_DATAGRAM_BYTES>(&self.signed[HEADER_BYTES..])?)
    }

    /// The body, once the tag is shown to be `key`'s.
    pub fn open<T: DeserializeOwned>(&self, key: &MacKey) -> Result<T, DatagramError> {
        self.verify(key)?;
        self.peek()
    }

    /// Checks the tag.
    pub fn verify(&self, key: &MacKey) -> Result<(), DatagramError> {
        if key.verifies(&self.tag, self.kind.context(), &[self.signed]) {
            Ok(())
        } else {
            Err(DatagramError::Tag)
        }
    }
}

fn header(kind: Kind) -> Vec<u8> {
    vec![MAGIC[0], MAGIC[1], VERSION, kind as u8]
}

/// The datagram of `body`.
pub fn seal<T: Serialize>(kind: Kind, body: &T, key: &MacKey) -> Vec<u8> {
    let mut bytes = header(kind);
    bytes.extend_from_slice(&codec::encode(body));
    let tag = key.tag(kind.context(), &[&bytes]);
    bytes.extend_from_slice(&tag.0);
    debug_assert!(bytes.len() <= MAX_DATAGRAM_BYTES, "{kind:?} of {} bytes", bytes.len());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::ClusterKey;
    use crate::ids::HostId;

    fn cluster() -> ClusterKey {
        ClusterKey::new([7; 32])
    }

    #[test]
    fn a_tag_of_another_kind_or_key_is_refused() {
        let host: HostId = "hall".parse().unwrap();
        let key = cluster().host_key(&host);
        let mut bytes = seal(Kind::Report, &host, &key);
        assert_eq!(Sealed::parse(&bytes).unwrap().open::<HostId>(&key).unwrap(), host);
        bytes[3] = Kind::Configured as u8;
        assert!(matches!(Sealed::parse(&bytes).unwrap().open::<HostId>(&key), Err(DatagramError::Tag)));
    }
}
