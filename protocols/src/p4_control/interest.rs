//! Interest: a client keeps a channel alive at a destination, and what a push server says to that.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::padded::seal_padded;
use super::{DatagramError, HEADER_BYTES, Kind, Sealed};
use crate::authority::{Lease, MacKey, Tag};
use crate::codec::{self, CodecError};
use crate::ids::ChannelId;
use crate::time::ClusterTime;

/// A (channel, destination) without interest for this long is suspended.
pub const INTEREST_TIMEOUT: Duration = Duration::from_secs(5);
/// A lone client sends interest this often when it hears no announcement.
pub const INTEREST_INTERVAL: Duration = Duration::from_secs(1);
/// Length of every interest datagram: longer than any answer to it, so that nothing is amplified.
pub const INTEREST_BYTES: usize = 160;

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
        seal_padded::<_, INTEREST_BYTES>(Kind::Interest, self, secret)
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
    use crate::p4_control::seal;

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
    fn a_masked_secret_opens_with_the_old_one() {
        let old = cluster().announce_key(ChannelId(1));
        let masked = mask_secret(&old, ClusterTime(5), [9; 32]);
        assert_ne!(masked, [9; 32]);
        assert_eq!(mask_secret(&old, ClusterTime(5), masked), [9; 32]);
    }
}
