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
//!
//! **Replay.** A command counts when it names the host's present boot id and its order (database start number, sequence)
//! is above the last that counted. A command with another boot id changes nothing and is answered by an empty report,
//! shorter than itself, from which the database server learns the boot id. A response counts when it echoes the order of
//! a command that still waits. An interest counts when its date is within [`crate::authority::CLOCK_TOLERANCE`] of cluster time.
//!
//! Datagrams that fail any check are dropped and counted, never answered.

use std::net::IpAddr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::authority::{Lease, MacKey, Tag};
use crate::codec::{self, CodecError};
use crate::ids::{BootId, ChannelId, HostId, Revision};
use crate::time::ClusterTime;

/// Largest P4 datagram; fits every path without fragmentation.
pub const MAX_DATAGRAM_BYTES: usize = 1_200;
/// A (channel, destination) without interest for this long is suspended.
pub const INTEREST_TIMEOUT: Duration = Duration::from_secs(5);
/// A lone client sends interest this often when it hears no announcement.
pub const INTEREST_INTERVAL: Duration = Duration::from_secs(1);
/// How often the database server queries each host.
pub const QUERY_INTERVAL: Duration = Duration::from_millis(250);
/// A host that has answered nothing for this long is taken for dead.
pub const HOST_TIMEOUT: Duration = Duration::from_secs(1);
/// A configuration not acknowledged is repeated after this.
pub const CONFIGURE_RETRY: Duration = Duration::from_millis(100);
/// Destinations in one configure datagram.
pub const DESTINATIONS_PER_PART: usize = 10;
/// Window of a destination unless set: 10 ms, five packets of a 5 Mb/s channel.
pub const DEFAULT_WINDOW_MS: u8 = 10;
/// Longest window of a destination.
pub const MAX_WINDOW_MS: u8 = 50;
/// Items in one report.
pub const ITEMS_PER_REPORT: usize = 18;
/// Length of every interest datagram: longer than any answer to it, so that nothing is amplified.
pub const INTEREST_BYTES: usize = 160;

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

/// The datagram of `body`.
pub fn seal<T: Serialize>(kind: Kind, body: &T, key: &MacKey) -> Vec<u8> {
    let mut bytes = vec![MAGIC[0], MAGIC[1], VERSION, kind as u8];
    bytes.extend_from_slice(&codec::encode(body));
    let tag = key.tag(kind.context(), &[&bytes]);
    bytes.extend_from_slice(&tag.0);
    debug_assert!(bytes.len() <= MAX_DATAGRAM_BYTES, "{kind:?} of {} bytes", bytes.len());
    bytes
}

/// Place of a command in the order of all commands of a cluster: compared first by start, then by sequence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CommandOrder {
    /// Start number of the database server: grows with each of its starts.
    pub start: u32,
    /// Grows with each command.
    pub sequence: u64,
}

/// From the database server to one push server host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command<B> {
    /// The host that it is for.
    pub host: HostId,
    /// The boot id that the database server knows of it; 0 while it knows none.
    pub host_boot: BootId,
    /// Against replay, and echoed by the response.
    pub order: CommandOrder,
    /// What to do.
    pub body: B,
}

/// From a push server host to the database server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response<B> {
    /// The host that speaks.
    pub host: HostId,
    /// Its boot id.
    pub host_boot: BootId,
    /// The command that it answers.
    pub order: CommandOrder,
    /// The answer.
    pub body: B,
}

/// "How are you, and what has changed?"
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// The cluster's time, by which the host sets its cluster clock.
    pub time: ClusterTime,
    /// The highest [`Report::up_to`] that the database server has.
    pub since: u64,
    /// Makes the query as long as the empty report that may answer it.
    pub padding: [u8; 16],
}

/// What has changed at a host, oldest change first, and a few unchanged items in turn so that counters stay fresh.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Number of the newest change in this report; give it back in the next query.
    pub up_to: u64,
    /// More changes wait: query again at once.
    pub more: bool,
    /// At most [`ITEMS_PER_REPORT`].
    pub items: Vec<ReportItem>,
}

/// One line of a report. Counters run from the host's start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReportItem {
    /// A push server.
    Server {
        /// Its channel.
        channel: ChannelId,
        /// The configuration that it carries out.
        revision: Revision,
        /// Whether packets arrive by P3.
        fed: bool,
        /// RTP packets received by P3.
        packets: u64,
    },
    /// One of its destinations.
    Destination {
        /// The channel.
        channel: ChannelId,
        /// The destination.
        address: IpAddr,
        /// Whether packets are being sent: interest holds.
        sending: bool,
        /// RTP packets sent.
        packets: u64,
        /// Why it cannot be sent to, though it should be: a missing interface, no permission.
        fault: Option<DestinationFault>,
    },
}

/// Why a destination cannot be sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DestinationFault {
    /// The interface named in the topology does not exist at the host.
    NoInterface,
    /// The operating system forbids it.
    NotPermitted,
    /// No route, or the interface is down.
    Unreachable,
    /// Another error of the operating system.
    Other,
    /// The host has more to send than it can, and sheds whole channels, the newest first.
    Overloaded,
}

/// The whole configuration of one push server, or one part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configure {
    /// The channel; with the host it names the push server.
    pub channel: ChannelId,
    /// Applied when it is above the one held; acknowledged in any case.
    pub revision: Revision,
    /// Index of this part, from 0.
    pub part: u8,
    /// Number of parts; applied when all have come. 0: the host carries this channel no more.
    pub parts: u8,
    /// UDP port of the channel.
    pub port: u16,
    /// This part's destinations, at most [`DESTINATIONS_PER_PART`].
    pub destinations: Vec<DestinationOrder>,
}

/// One destination of a push server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationOrder {
    /// Where to send.
    pub address: IpAddr,
    /// By which interface, name or address as in the topology, at most 32 bytes; `None`: the routing table's.
    pub interface: Option<String>,
    /// Multicast TTL or unicast hop limit, 1..=255.
    pub ttl: u8,
    /// Differentiated services code point, 0..=63.
    pub dscp: u8,
    /// Longest time that packets wait to leave together, in ms, 0..=[`MAX_WINDOW_MS`]; 0: each leaves as it comes.
    pub window_ms: u8,
    /// Whether `address` is a directed broadcast address.
    pub broadcast: bool,
    /// Whether this push server is the one of its rivals that serves the network (one of them is).
    pub assigned: bool,
}

/// Acknowledges a [`Configure`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configured {
    /// The channel.
    pub channel: ChannelId,
    /// The part received.
    pub part: u8,
    /// Its revision.
    pub revision: Revision,
    /// The revision that is in force now; above the other when that was an old one.
    pub in_force: Revision,
}

/// "Somebody here watches."
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interest {
    /// Names client, channel and destination.
    pub lease: Lease,
    /// Date, in cluster time.
    pub time: ClusterTime,
}

impl Interest {
    /// Its datagram, of [`INTEREST_BYTES`], tagged with the lease's secret.
    pub fn seal(&self, secret: &MacKey) -> Vec<u8> {
        let body = codec::encode(self);
        let padding = INTEREST_BYTES - HEADER_BYTES - Tag::BYTES - body.len();
        let mut bytes = vec![MAGIC[0], MAGIC[1], VERSION, Kind::Interest as u8];
        bytes.extend_from_slice(&body);
        bytes.resize(bytes.len() + padding, 0);
        let tag = secret.tag(Kind::Interest.context(), &[&bytes]);
        bytes.extend_from_slice(&tag.0);
        bytes
    }

    /// The interest that `sealed` claims to be, *unverified*: verify with the secret of its lease.
    pub fn peek(sealed: &Sealed<'_>) -> Result<Self, DatagramError> {
        let malformed = || CodecError::Malformed("no interest".to_owned());
        if sealed.signed.len() + Tag::BYTES != INTEREST_BYTES {
            return Err(malformed().into());
        }
        let padded = &sealed.signed[HEADER_BYTES..];
        // A v4 and a v6 address differ in length: try the exact lengths rather than trust a prefix.
        for len in [4 + 4 + 4 + 4 + 4 + 8 + 8, 4 + 16 + 4 + 4 + 16 + 8 + 8] {
            if let Ok(interest) = codec::decode::<Self, INTEREST_BYTES>(&padded[..len])
                && padded[len..].iter().all(|byte| *byte == 0)
            {
                return Ok(interest);
            }
        }
        Err(malformed().into())
    }
}

/// Said to a client whose interest is genuine, when there is something to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterestAnswer {
    /// The channel of the interest.
    pub channel: ChannelId,
    /// The host's cluster time, by which the client sets its own.
    pub time: ClusterTime,
    /// What there is to say.
    pub verdict: InterestVerdict,
}

/// What a push server says to an interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InterestVerdict {
    /// Heard, and the lease now ends later. The secret is that of the new lease, masked by [`mask_secret`].
    Extended {
        /// The new end of the lease.
        expires: ClusterTime,
        /// The masked secret.
        masked_secret: [u8; 32],
    },
    /// Not heard: the date is off. Set the clock by `time` and send again.
    Clock,
    /// Not heard: this push server does not serve the destination now. Ask P2.
    NotAssigned,
    /// Not heard: the lease is over. Ask P2.
    Expired,
}

/// Masks or unmasks the secret of an extended lease with a pad that only holders of the old secret can make.
pub fn mask_secret(old: &MacKey, expires: ClusterTime, secret: [u8; 32]) -> [u8; 32] {
    let pad = old.derive("lease extension pad", &[&expires.0.to_le_bytes()]).to_bytes();
    std::array::from_fn(|i| secret[i] ^ pad[i])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::ClusterKey;

    fn cluster() -> ClusterKey {
        ClusterKey::new([7; 32])
    }

    fn interest(client: &str, destination: &str) -> Interest {
        Interest {
            lease: Lease {
                client: client.parse().unwrap(),
                channel: ChannelId(1),
                destination: destination.parse().unwrap(),
                expires: ClusterTime(0x0a),
            },
            time: ClusterTime(0x0b),
        }
    }

    #[test]
    fn an_interest_on_the_wire() {
        let interest = interest("10.0.1.7", "239.192.1.1");
        let secret = cluster().lease_key().secret(&interest.lease);
        let bytes = interest.seal(&secret);
        assert_eq!(bytes.len(), INTEREST_BYTES);
        let mut expected =
            vec![b'M', b'4', 1, 5, 0, 0, 0, 0, 10, 0, 1, 7, 1, 0, 0, 0, 0, 0, 0, 0, 239, 192, 1, 1];
        expected.extend([0x0a, 0, 0, 0, 0, 0, 0, 0, 0x0b, 0, 0, 0, 0, 0, 0, 0]);
        expected.resize(INTEREST_BYTES - Tag::BYTES, 0);
        assert_eq!(bytes[..INTEREST_BYTES - Tag::BYTES], expected[..]);
    }

    #[test]
    fn interest_of_either_family_reads_as_written_and_verifies() {
        for interest in [interest("10.0.1.7", "10.0.1.255"), interest("fd00::7", "ff15::1")] {
            let secret = cluster().lease_key().secret(&interest.lease);
            let bytes = interest.seal(&secret);
            let sealed = Sealed::parse(&bytes).unwrap();
            assert_eq!(Interest::peek(&sealed).unwrap(), interest);
            assert!(sealed.verify(&secret).is_ok());
        }
    }

    #[test]
    fn no_answer_is_longer_than_the_interest() {
        let interest = interest("fd00::7", "ff15::1");
        let secret = cluster().lease_key().secret(&interest.lease);
        let verdict = InterestVerdict::Extended { expires: ClusterTime(1), masked_secret: [0; 32] };
        let answer = InterestAnswer { channel: ChannelId(1), time: ClusterTime(1), verdict };
        assert!(seal(Kind::InterestAnswer, &answer, &secret).len() <= INTEREST_BYTES);
    }

    #[test]
    fn an_empty_report_is_no_longer_than_the_query() {
        let host: HostId = "hall".parse().unwrap();
        let key = cluster().host_key(&host);
        let query = Query { time: ClusterTime(1), since: 0, padding: [0; 16] };
        let order = CommandOrder { start: 1, sequence: 1 };
        let command = Command { host: host.clone(), host_boot: BootId(0), order, body: query };
        let response = Response { host, host_boot: BootId(1), order, body: Report::default() };
        assert!(seal(Kind::Report, &response, &key).len() <= seal(Kind::Query, &command, &key).len());
    }

    #[test]
    fn the_largest_parts_and_reports_fit_a_datagram() {
        let host: HostId = "h".repeat(32).parse().unwrap();
        let key = cluster().host_key(&host);
        let order = CommandOrder { start: 1, sequence: 1 };
        let destination = DestinationOrder {
            address: "ff15::1".parse().unwrap(),
            interface: Some("i".repeat(45)),
            ttl: 1,
            dscp: 0,
            window_ms: DEFAULT_WINDOW_MS,
            broadcast: false,
            assigned: true,
        };
        let body = Configure {
            channel: ChannelId(1),
            revision: Revision(1),
            part: 0,
            parts: 1,
            port: 1,
            destinations: vec![destination; DESTINATIONS_PER_PART],
        };
        let command = Command { host: host.clone(), host_boot: BootId(1), order, body };
        assert!(seal(Kind::Configure, &command, &key).len() <= MAX_DATAGRAM_BYTES);
        let item = ReportItem::Destination {
            channel: ChannelId(1),
            address: "ff15::1".parse().unwrap(),
            sending: true,
            packets: 1,
            fault: Some(DestinationFault::Other),
        };
        let body = Report { up_to: 1, more: true, items: vec![item; ITEMS_PER_REPORT] };
        let response = Response { host, host_boot: BootId(1), order, body };
        assert!(seal(Kind::Report, &response, &key).len() <= MAX_DATAGRAM_BYTES);
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

    #[test]
    fn a_masked_secret_opens_with_the_old_one() {
        let old = cluster().announce_key(ChannelId(1));
        let masked = mask_secret(&old, ClusterTime(5), [9; 32]);
        assert_ne!(masked, [9; 32]);
        assert_eq!(mask_secret(&old, ClusterTime(5), masked), [9; 32]);
    }
}
