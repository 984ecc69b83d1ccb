//! Live sessions: a client has a channel that is on air sent to itself by P5, from the newest random access point on.
//!
//! First a burst, faster than the channel, then the packets as they come: until P6 has arrived at the client (fast
//! start), or for as long as the client says that it goes on (live without multicast). The client draws the session's
//! number. Each request has [`LIVE_BYTES`], more than any answer.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::padded::seal_padded;
use super::{DatagramError, Kind, Sealed};
use crate::authority::{Lease, MacKey};
use crate::time::ClusterTime;

/// Length of every live datagram: longer than any answer to it, so that nothing is amplified but what a lease allows.
pub const LIVE_BYTES: usize = 160;
/// A client says [`LiveOrder::Keep`] this often.
pub const LIVE_KEEP: Duration = Duration::from_secs(1);
/// A session whose client has said nothing for this long ends.
pub const LIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// An order that is not answered, [`LiveOrder::Begin`], or not followed by silence, [`LiveOrder::End`], is repeated after this.
pub const LIVE_RETRY: Duration = Duration::from_millis(100);
/// So long a session waits for the first random access point, of a feed that was held for instance; then it begins with the
/// newest packet, or ends where there is none.
pub const LIVE_WAIT: Duration = Duration::from_secs(1);
/// Slowest burst, in percent of the channel's rate: it never catches up.
pub const LEAST_BURST_PERCENT: u16 = 100;
/// Fastest burst.
pub const MOST_BURST_PERCENT: u16 = 1_000;
/// A burst's rate unless the client knows better.
pub const BURST_PERCENT: u16 = 500;

/// A live session's number, drawn at random by its client; it holds for the address and port that began it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LiveId(pub u32);

impl fmt::Display for LiveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// One order to one live session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveRequest {
    /// Names client, channel and destination; the same that its interest shows.
    pub lease: Lease,
    /// Date, in cluster time.
    pub time: ClusterTime,
    /// The session, new with [`LiveOrder::Begin`].
    pub session: LiveId,
    /// What to do.
    pub order: LiveOrder,
}

/// What a client wants of a live session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LiveOrder {
    /// Begins it at the channel's newest random access point. Repeated, it is answered the same and begins nothing again.
    Begin {
        /// Rate of the burst in percent of the channel's, [`LEAST_BURST_PERCENT`] to [`MOST_BURST_PERCENT`].
        burst_percent: u16,
    },
    /// "I am here."
    Keep,
    /// Ends it: what comes before a packet that P6 has brought is still sent. To leave at once, the packet named is
    /// the session's first.
    End {
        /// Synchronisation source of that packet.
        ssrc: u32,
        /// Its sequence number.
        first: u16,
    },
}

impl LiveOrder {
    /// Why it makes no sense, whatever the channel.
    pub fn fault(&self) -> Option<LiveVerdict> {
        match self {
            Self::Begin { burst_percent } => (!(LEAST_BURST_PERCENT..=MOST_BURST_PERCENT)
                .contains(burst_percent))
            .then_some(LiveVerdict::Rate),
            Self::Keep | Self::End { .. } => None,
        }
    }
}

/// What a push server says to a live request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveAnswer {
    /// The session.
    pub session: LiveId,
    /// The host's cluster time, by which the client sets its own.
    pub time: ClusterTime,
    /// What there is to say.
    pub verdict: LiveVerdict,
}

/// What a push server says to a live request; all but [`LiveVerdict::Begun`] mean that there is no such session now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LiveVerdict {
    /// Packets leave.
    Begun {
        /// Synchronisation source of the packets.
        ssrc: u32,
        /// Sequence number of the first: a random access point begins there, if one is known.
        first: u16,
        /// That of the newest when it began: once it has come, the client has caught up.
        newest: u16,
    },
    /// This client, or this push server, has as many sessions as it may. Said to a [`LiveOrder::Keep`] too, where
    /// there is room for bursts but not for viewers that stay.
    Full,
    /// Not assigned here, not fed, shed, or nothing came within [`LIVE_WAIT`].
    NotCarried,
    /// The date is off. Set the clock by `time` and send again.
    Clock,
    /// The lease is over. Ask P2.
    Expired,
    /// To a [`LiveOrder::Keep`]: there is no such session; begin one.
    NoSession,
    /// A burst that is slower than the channel, or absurdly fast.
    Rate,
}

impl LiveRequest {
    /// Its datagram, of [`LIVE_BYTES`], tagged with the lease's secret.
    pub fn seal(&self, secret: &MacKey) -> Vec<u8> {
        seal_padded::<_, LIVE_BYTES>(Kind::Live, self, secret)
    }

    /// The lease that `sealed` shows, *unverified*: to find the secret to verify the request with.
    pub fn peek_lease(sealed: &Sealed<'_>) -> Result<Lease, DatagramError> {
        sealed.peek_padded_front::<_, LIVE_BYTES>()
    }

    /// The request that `sealed` claims to be, *unverified*.
    pub fn peek(sealed: &Sealed<'_>) -> Result<Self, DatagramError> {
        sealed.peek_padded::<_, LIVE_BYTES>()
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
    use crate::p4_control::{VERSION, seal};

    fn request(client: &str, destination: &str, order: LiveOrder) -> LiveRequest {
        let lease = Lease {
            client: client.parse().unwrap(),
            channel: ChannelId(1),
            destination: destination.parse().unwrap(),
            expires: ClusterTime(0x0a),
        };
        LiveRequest { lease, time: ClusterTime(0x0b), session: LiveId(0x0c), order }
    }

    fn secret(request: &LiveRequest) -> MacKey {
        ClusterKey::new([7; 32]).lease_key().secret(&request.lease)
    }

    fn orders() -> [LiveOrder; 3] {
        [
            LiveOrder::Begin { burst_percent: u16::MAX },
            LiveOrder::Keep,
            LiveOrder::End { ssrc: u32::MAX, first: u16::MAX },
        ]
    }

    fn verdicts() -> [LiveVerdict; 7] {
        [
            LiveVerdict::Begun { ssrc: u32::MAX, first: u16::MAX, newest: u16::MAX },
            LiveVerdict::Full,
            LiveVerdict::NotCarried,
            LiveVerdict::Clock,
            LiveVerdict::Expired,
            LiveVerdict::NoSession,
            LiveVerdict::Rate,
        ]
    }

    #[test]
    fn requests_on_the_wire() {
        let front = [
            b'M', b'4', 1, 11, 0, 0, 0, 0, 10, 0, 1, 7, 1, 0, 0, 0, 0, 0, 0, 0, 239, 192, 1, 1, 0x0a, 0, 0,
            0, 0, 0, 0, 0, 0x0b, 0, 0, 0, 0, 0, 0, 0, 0x0c, 0, 0, 0,
        ];
        let cases: [(LiveOrder, &[u8]); 3] = [
            (LiveOrder::Begin { burst_percent: 500 }, &[0, 0, 0, 0, 0xf4, 0x01]),
            (LiveOrder::Keep, &[1, 0, 0, 0]),
            (
                LiveOrder::End { ssrc: 0x1234_5678, first: 0x9abc },
                &[2, 0, 0, 0, 0x78, 0x56, 0x34, 0x12, 0xbc, 0x9a],
            ),
        ];
        for (order, back) in cases {
            let request = request("10.0.1.7", "239.192.1.1", order);
            let bytes = request.seal(&secret(&request));
            let mut expected = [&front[..], back].concat();
            expected.resize(LIVE_BYTES - Tag::BYTES, 0);
            assert_eq!(bytes[..LIVE_BYTES - Tag::BYTES], expected[..]);
            assert_eq!(
                LiveRequest::open(&Sealed::parse(&bytes).unwrap(), &secret(&request)).unwrap(),
                request
            );
        }
    }

    #[test]
    fn an_answer_on_the_wire() {
        let verdict = LiveVerdict::Begun { ssrc: 0x1234_5678, first: 0x0102, newest: 0x0304 };
        let answer = LiveAnswer { session: LiveId(1), time: ClusterTime(2), verdict };
        let key = secret(&request("10.0.1.7", "239.192.1.1", LiveOrder::Keep));
        let bytes = seal(Kind::LiveAnswer, &answer, &key);
        let mut expected = vec![b'M', b'4', 1, 12, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        expected.extend([0x78, 0x56, 0x34, 0x12, 0x02, 0x01, 0x04, 0x03]);
        assert_eq!(bytes[..bytes.len() - Tag::BYTES], expected[..]);
        assert_eq!(Sealed::parse(&bytes).unwrap().open::<LiveAnswer>(&key).unwrap(), answer);
        for (index, verdict) in (0_u8..).zip(verdicts()) {
            let bytes = seal(Kind::LiveAnswer, &LiveAnswer { verdict, ..answer }, &key);
            assert_eq!(bytes[16..20], [index, 0, 0, 0]);
        }
    }

    #[test]
    fn every_order_of_either_family_reads_as_written_and_no_answer_is_longer() {
        for (client, destination) in [("10.0.1.7", "10.0.1.255"), ("fd00::7", "ff15::1")] {
            for order in orders() {
                let request = request(client, destination, order);
                let bytes = request.seal(&secret(&request));
                let sealed = Sealed::parse(&bytes).unwrap();
                assert_eq!(bytes.len(), LIVE_BYTES);
                assert_eq!(LiveRequest::peek_lease(&sealed).unwrap(), request.lease);
                assert_eq!(LiveRequest::open(&sealed, &secret(&request)).unwrap(), request);
            }
            let key = secret(&request(client, destination, LiveOrder::Keep));
            for verdict in verdicts() {
                let answer = LiveAnswer { session: LiveId(u32::MAX), time: ClusterTime(u64::MAX), verdict };
                assert!(seal(Kind::LiveAnswer, &answer, &key).len() <= LIVE_BYTES);
            }
        }
    }

    #[test]
    fn a_request_with_another_lease_length_or_padding_is_refused() {
        let request = request("10.0.1.7", "239.192.1.1", LiveOrder::Keep);
        let key = secret(&request);
        let mut forged = request;
        forged.lease.channel = ChannelId(2);
        let bytes = forged.seal(&key);
        let sealed = Sealed::parse(&bytes).unwrap();
        let other = secret(&LiveRequest { lease: LiveRequest::peek_lease(&sealed).unwrap(), ..request });
        assert!(matches!(LiveRequest::open(&sealed, &other), Err(DatagramError::Tag)));

        let short = seal(Kind::Live, &request, &key);
        assert!(LiveRequest::peek_lease(&Sealed::parse(&short).unwrap()).is_err());
        assert!(LiveRequest::open(&Sealed::parse(&short).unwrap(), &key).is_err());

        let mut bytes = vec![b'M', b'4', VERSION, Kind::Live as u8];
        bytes.extend(codec::encode(&request));
        bytes.resize(LIVE_BYTES - Tag::BYTES, 1);
        let tag = key.tag(Kind::Live.context(), &[&bytes]);
        bytes.extend(tag.0);
        assert!(LiveRequest::open(&Sealed::parse(&bytes).unwrap(), &key).is_err());
    }

    #[test]
    fn bursts_slower_than_the_channel_or_absurdly_fast_are_told_from_others() {
        for absurd in [0, 99, 1_001, u16::MAX] {
            assert_eq!(
                LiveOrder::Begin { burst_percent: absurd }.fault(),
                Some(LiveVerdict::Rate),
                "{absurd}"
            );
        }
        for sound in [100, BURST_PERCENT, 1_000] {
            assert_eq!(LiveOrder::Begin { burst_percent: sound }.fault(), None, "{sound}");
        }
    }
}
