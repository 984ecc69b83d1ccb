//! Playback: a client has a recording sent to it by P5, and says how.
//!
//! A *session* is one client's presentation of one recording. The client draws its number; each order to it carries a sequence
//! that grows, so that repeating one is harmless. Each request has [`PLAY_BYTES`], more than any answer.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::padded::seal_padded;
use super::{DatagramError, Kind, Sealed};
use crate::authority::{MacKey, RecordingLease};
use crate::time::ClusterTime;

/// Length of every play datagram: longer than any answer to it, so that nothing is amplified but what a lease allows.
pub const PLAY_BYTES: usize = 160;
/// A session whose client has said nothing for this long ends.
pub const PLAY_TIMEOUT: Duration = Duration::from_secs(5);
/// A client that has nothing else to say says so this often; the answer tells it where the session is.
pub const PLAY_KEEPALIVE: Duration = Duration::from_secs(1);
/// An order that is not answered is repeated after this.
pub const PLAY_RETRY: Duration = Duration::from_millis(200);
/// Shortest time between two packets that may be asked for: 1.05 Gb/s of payload.
pub const DELTA_P_MIN: Duration = Duration::from_micros(10);
/// Longest: 10.5 kb/s. To have nothing sent there is a pause.
pub const DELTA_P_MAX: Duration = Duration::from_secs(1);

/// A session's number, drawn at random by its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub u64);

impl SessionId {
    /// What its P5 datagrams show.
    #[expect(clippy::cast_possible_truncation, reason = "the low half is what is meant")]
    pub fn low(self) -> u32 {
        self.0 as u32
    }
}

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One order to one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayRequest {
    /// Names client, channel and dates.
    pub lease: RecordingLease,
    /// Date, in cluster time.
    pub time: ClusterTime,
    /// The session, new with [`PlayOrder::Play`].
    pub session: SessionId,
    /// Grows by one with each order of the session; the same when one is repeated.
    pub sequence: u32,
    /// What to do.
    pub order: PlayOrder,
}

/// What a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlayOrder {
    /// Begins the session.
    Play {
        /// Where.
        start: PlayStart,
        /// Where it ends: a date within the lease.
        until: ClusterTime,
        /// Time from one packet to the next, ns; [`DELTA_P_MIN`] to [`DELTA_P_MAX`].
        delta_p_ns: u32,
    },
    /// Send nothing until told.
    Pause,
    /// Go on where it is, at ordinary speed.
    Resume,
    /// Go on at the random access point at or before a date, at ordinary speed; a paused session stays paused.
    Seek {
        /// The date.
        at: ClusterTime,
    },
    /// Another time from one packet to the next; a paused session stays paused.
    Rate {
        /// As in [`PlayOrder::Play`].
        delta_p_ns: u32,
    },
    /// Random access pictures only, at a multiple of the ordinary speed, until [`PlayOrder::Resume`] or [`PlayOrder::Seek`].
    Trick {
        /// How fast, and which way.
        speed: TrickSpeed,
    },
    /// Ends the session.
    Stop,
    /// "I am here, where are we?"
    Keepalive,
}

impl PlayOrder {
    /// Why it makes no sense, whatever the recording.
    pub fn fault(&self) -> Option<PlayRefusal> {
        let delta_p = match self {
            Self::Play { delta_p_ns, .. } | Self::Rate { delta_p_ns } => {
                Duration::from_nanos(u64::from(*delta_p_ns))
            }
            _ => return None,
        };
        (!(DELTA_P_MIN..=DELTA_P_MAX).contains(&delta_p)).then_some(PlayRefusal::Rate)
    }
}

/// Where a session begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlayStart {
    /// At the random access point at or before this date.
    Date(ClusterTime),
    /// At this very packet: a session that another push server had served goes on.
    Packet(PacketName),
}

/// One packet of a recording: the same on every push server that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PacketName {
    /// Its synchronisation source.
    pub ssrc: u32,
    /// Its number, counted from the beginning of the source; the low 16 bits are its sequence number.
    pub number: u64,
}

/// Speeds of a fast forward or rewind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TrickSpeed {
    /// Forward, 4 times.
    Forward4,
    /// Forward, 16 times.
    Forward16,
    /// Forward, 64 times.
    Forward64,
    /// Back, 4 times.
    Back4,
    /// Back, 16 times.
    Back16,
    /// Back, 64 times.
    Back64,
}

impl TrickSpeed {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Forward4, Self::Forward16, Self::Forward64, Self::Back4, Self::Back16, Self::Back64];

    /// How many times the ordinary speed.
    pub fn factor(self) -> u32 {
        match self {
            Self::Forward4 | Self::Back4 => 4,
            Self::Forward16 | Self::Back16 => 16,
            Self::Forward64 | Self::Back64 => 64,
        }
    }

    /// Whether it goes towards the end.
    pub fn is_forward(self) -> bool {
        matches!(self, Self::Forward4 | Self::Forward16 | Self::Forward64)
    }
}

/// What a push server says to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayAnswer {
    /// The session.
    pub session: SessionId,
    /// The order's.
    pub sequence: u32,
    /// The host's cluster time, by which the client sets its own.
    pub time: ClusterTime,
    /// What came of it.
    pub verdict: PlayVerdict,
}

/// What came of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlayVerdict {
    /// Done; so it stands.
    Done {
        /// What the session does.
        state: PlayState,
        /// Where it is; `None` before its first packet has been found.
        position: Option<PlayPosition>,
    },
    /// Not done, and no state kept of it.
    Refused(PlayRefusal),
}

/// What a session does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlayState {
    /// Packets leave.
    Playing,
    /// They do not.
    Paused,
    /// Random access pictures leave.
    Trick(TrickSpeed),
    /// It has sent all that is recorded so far and goes on when there is more.
    AtEdge,
    /// It has sent its last packet, or was stopped.
    Ended,
}

/// Where a session is: the next packet that it will send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayPosition {
    /// The packet's date.
    pub date: ClusterTime,
    /// The packet.
    pub packet: PacketName,
    /// The number that its P5 datagram will carry.
    pub number: u32,
}

/// Why an order is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Error)]
pub enum PlayRefusal {
    /// The date is off. Set the clock by the answer's time and send again.
    #[error("the clock is off")]
    Clock,
    /// The lease is over. Ask P2.
    #[error("the lease is over")]
    Expired,
    /// Nothing of the lease's recording is held here.
    #[error("this push server does not have the recording")]
    Unknown,
    /// What is asked for is missing here, though other parts of the recording are not.
    #[error("this push server lacks that part of the recording")]
    Incomplete,
    /// A date outside the lease, or an end before the beginning.
    #[error("outside the recording")]
    Outside,
    /// No time between packets, or one outside [`DELTA_P_MIN`] to [`DELTA_P_MAX`].
    #[error("a rate that cannot be sent at")]
    Rate,
    /// The session is there already, and this is another beginning of it.
    #[error("the session plays already")]
    Begun,
    /// There is no such session; begin it.
    #[error("no such session")]
    NoSession,
    /// The session was begun with another lease.
    #[error("the session belongs to another lease")]
    Foreign,
    /// This client, or this push server, has as many sessions as it may. Ask another.
    #[error("too many sessions")]
    Full,
}

impl PlayRequest {
    /// Its datagram, of [`PLAY_BYTES`], tagged with the lease's secret.
    pub fn seal(&self, secret: &MacKey) -> Vec<u8> {
        seal_padded::<_, PLAY_BYTES>(Kind::Play, self, secret)
    }

    /// The lease that `sealed` shows, *unverified*: to find the secret to verify the request with.
    pub fn peek_lease(sealed: &Sealed<'_>) -> Result<RecordingLease, DatagramError> {
        sealed.peek_padded_front::<_, PLAY_BYTES>()
    }

    /// The request that `sealed` claims to be, *unverified*.
    pub fn peek(sealed: &Sealed<'_>) -> Result<Self, DatagramError> {
        sealed.peek_padded::<_, PLAY_BYTES>()
    }

    /// The request, once its tag is shown to be `secret`'s.
    pub fn open(sealed: &Sealed<'_>, secret: &MacKey) -> Result<Self, DatagramError> {
        sealed.verify(secret)?;
        Self::peek(sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::{ClusterKey, Tag};
    use crate::codec;
    use crate::ids::ChannelId;
    use crate::p4_control::{HEADER_BYTES, VERSION, seal};

    fn request(client: &str, order: PlayOrder) -> PlayRequest {
        let lease = RecordingLease {
            client: client.parse().unwrap(),
            channel: ChannelId(1),
            from: ClusterTime(0x0a),
            to: ClusterTime(0x0b),
            expires: ClusterTime(0x0c),
        };
        PlayRequest { lease, time: ClusterTime(0x0d), session: SessionId(0x0e), sequence: 0x0f, order }
    }

    fn secret(request: &PlayRequest) -> MacKey {
        ClusterKey::new([7; 32]).lease_key().recording_secret(&request.lease)
    }

    fn orders() -> Vec<PlayOrder> {
        let packet = PlayStart::Packet(PacketName { ssrc: u32::MAX, number: u64::MAX });
        let mut orders = vec![
            PlayOrder::Play { start: packet, until: ClusterTime(9), delta_p_ns: 8 },
            PlayOrder::Pause,
            PlayOrder::Resume,
            PlayOrder::Seek { at: ClusterTime(7) },
            PlayOrder::Rate { delta_p_ns: 6 },
            PlayOrder::Stop,
            PlayOrder::Keepalive,
        ];
        orders.extend(TrickSpeed::ALL.map(|speed| PlayOrder::Trick { speed }));
        orders
    }

    #[test]
    fn a_request_on_the_wire() {
        let start = PlayStart::Date(ClusterTime(0x10));
        let request =
            request("10.0.1.7", PlayOrder::Play { start, until: ClusterTime(0x11), delta_p_ns: 0x1234 });
        let bytes = request.seal(&secret(&request));
        let mut expected = vec![b'M', b'4', 1, 8, 0, 0, 0, 0, 10, 0, 1, 7, 1, 0, 0, 0];
        for long in [0x0a, 0x0b, 0x0c, 0x0d, 0x0e_u64] {
            expected.extend(long.to_le_bytes());
        }
        expected.extend([0x0f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([0x10, 0, 0, 0, 0, 0, 0, 0, 0x11, 0, 0, 0, 0, 0, 0, 0, 0x34, 0x12, 0, 0]);
        expected.resize(PLAY_BYTES - Tag::BYTES, 0);
        assert_eq!(bytes[..PLAY_BYTES - Tag::BYTES], expected[..]);
        assert_eq!(PlayRequest::open(&Sealed::parse(&bytes).unwrap(), &secret(&request)).unwrap(), request);
    }

    #[test]
    fn an_answer_on_the_wire() {
        let packet = PacketName { ssrc: 5, number: 6 };
        let position = Some(PlayPosition { date: ClusterTime(4), packet, number: 7 });
        let verdict = PlayVerdict::Done { state: PlayState::Trick(TrickSpeed::Back16), position };
        let answer = PlayAnswer { session: SessionId(1), sequence: 2, time: ClusterTime(3), verdict };
        let key = secret(&request("10.0.1.7", PlayOrder::Pause));
        let bytes = seal(Kind::PlayAnswer, &answer, &key);
        let mut expected = vec![b'M', b'4', 1, 9, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0];
        expected.extend([0, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 1, 4, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([5, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0]);
        assert_eq!(bytes[..bytes.len() - Tag::BYTES], expected[..]);
        assert_eq!(Sealed::parse(&bytes).unwrap().open::<PlayAnswer>(&key).unwrap(), answer);
    }

    #[test]
    fn every_order_of_either_family_reads_as_written_and_no_answer_is_longer() {
        for client in ["10.0.1.7", "fd00::7"] {
            for order in orders() {
                let request = request(client, order);
                let bytes = request.seal(&secret(&request));
                let sealed = Sealed::parse(&bytes).unwrap();
                assert_eq!(bytes.len(), PLAY_BYTES);
                assert_eq!(PlayRequest::peek_lease(&sealed).unwrap(), request.lease);
                assert_eq!(PlayRequest::open(&sealed, &secret(&request)).unwrap(), request);
            }
        }
        let position =
            PlayPosition { date: ClusterTime(1), packet: PacketName { ssrc: 1, number: 1 }, number: 1 };
        let verdict =
            PlayVerdict::Done { state: PlayState::Trick(TrickSpeed::Back64), position: Some(position) };
        let answer = PlayAnswer { session: SessionId(1), sequence: 1, time: ClusterTime(1), verdict };
        let key = secret(&request("fd00::7", PlayOrder::Stop));
        assert!(seal(Kind::PlayAnswer, &answer, &key).len() <= PLAY_BYTES);
    }

    #[test]
    fn a_request_with_another_lease_length_or_padding_is_refused() {
        let request = request("10.0.1.7", PlayOrder::Pause);
        let key = secret(&request);
        let mut forged = request;
        forged.lease.to = ClusterTime(u64::MAX);
        let bytes = forged.seal(&key);
        let sealed = Sealed::parse(&bytes).unwrap();
        let wide = secret(&PlayRequest { lease: PlayRequest::peek_lease(&sealed).unwrap(), ..request });
        assert!(matches!(PlayRequest::open(&sealed, &wide), Err(DatagramError::Tag)));

        let short = seal(Kind::Play, &request, &key);
        assert!(PlayRequest::peek_lease(&Sealed::parse(&short).unwrap()).is_err());
        assert!(PlayRequest::open(&Sealed::parse(&short).unwrap(), &key).is_err());

        let mut padded = codec::encode(&request);
        padded.resize(PLAY_BYTES - HEADER_BYTES - Tag::BYTES, 1);
        let mut bytes = vec![b'M', b'4', VERSION, Kind::Play as u8];
        bytes.extend(padded);
        let tag = key.tag(Kind::Play.context(), &[&bytes]);
        bytes.extend(tag.0);
        assert!(PlayRequest::open(&Sealed::parse(&bytes).unwrap(), &key).is_err());
    }

    #[test]
    fn rates_that_cannot_be_sent_at_are_told_from_those_that_can() {
        for absurd in [0, 9_999, 1_000_000_001, u32::MAX, 0_u32.wrapping_sub(2_000_000)] {
            assert_eq!(PlayOrder::Rate { delta_p_ns: absurd }.fault(), Some(PlayRefusal::Rate), "{absurd}");
        }
        for sound in [10_000, 2_105_600, 1_000_000_000] {
            assert_eq!(PlayOrder::Rate { delta_p_ns: sound }.fault(), None, "{sound}");
        }
        assert_eq!(PlayOrder::Stop.fault(), None);
    }
}
