//! Repair of playback: a client asks for packets of its session that it has missed, by the session's own numbers.

use serde::{Deserialize, Serialize};

use super::{Kind, SessionId, seal};
use crate::authority::{MacKey, RecordingLease};
use crate::time::ClusterTime;

/// Entries of one request; more missing packets take more requests.
pub const MAX_MISSING_PER_PLAY_REPAIR: usize = 64;

/// "Send me these again."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayRepair {
    /// The lease that the session was begun with.
    pub lease: RecordingLease,
    /// Date, in cluster time.
    pub time: ClusterTime,
    /// The session.
    pub session: SessionId,
    /// Round-trip time as the client knows it, µs; 0 while it knows none.
    pub rtt_us: u32,
    /// What is missing, at most [`MAX_MISSING_PER_PLAY_REPAIR`].
    pub missing: Vec<MissingNumbers>,
}

/// Up to 17 datagrams of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MissingNumbers {
    /// P5 number of the first.
    pub first: u32,
    /// Bit n: `first + n + 1` is missing too.
    pub following: u16,
}

impl MissingNumbers {
    /// Names all of `numbers` (ascending, wrapping), in as few entries as they take.
    pub fn cover(numbers: impl IntoIterator<Item = u32>) -> Vec<Self> {
        let mut entries: Vec<Self> = Vec::new();
        for number in numbers {
            match entries.last_mut() {
                Some(last) if (1..=16).contains(&number.wrapping_sub(last.first)) => {
                    last.following |= 1 << (number.wrapping_sub(last.first) - 1);
                }
                Some(last) if last.first == number => {}
                _ => entries.push(Self { first: number, following: 0 }),
            }
        }
        entries
    }

    /// The numbers, ascending.
    pub fn numbers(self) -> impl Iterator<Item = u32> {
        let also = (0..16).filter(move |bit| self.following & (1 << bit) != 0);
        std::iter::once(self.first).chain(also.map(move |bit| self.first.wrapping_add(bit + 1)))
    }
}

impl PlayRepair {
    /// Its datagram, tagged with the lease's secret.
    pub fn seal(&self, secret: &MacKey) -> Vec<u8> {
        seal(Kind::PlayRepair, self, secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::ClusterKey;
    use crate::ids::ChannelId;
    use crate::p4_control::{MAX_DATAGRAM_BYTES, Sealed};

    fn repair(client: &str, missing: Vec<MissingNumbers>) -> PlayRepair {
        let lease = RecordingLease {
            client: client.parse().unwrap(),
            channel: ChannelId(1),
            from: ClusterTime(0x0a),
            to: ClusterTime(0x0b),
            expires: ClusterTime(0x0c),
        };
        PlayRepair { lease, time: ClusterTime(0x0d), session: SessionId(0x0e), rtt_us: 0x0f, missing }
    }

    #[test]
    fn a_play_repair_on_the_wire() {
        let repair = repair("10.0.1.7", vec![MissingNumbers { first: 0x1234_5678, following: 0x8001 }]);
        let secret = ClusterKey::new([7; 32]).lease_key().recording_secret(&repair.lease);
        let bytes = repair.seal(&secret);
        let mut expected = vec![b'M', b'4', 1, 10, 0, 0, 0, 0, 10, 0, 1, 7, 1, 0, 0, 0];
        for long in [0x0a, 0x0b, 0x0c, 0x0d, 0x0e_u64] {
            expected.extend(long.to_le_bytes());
        }
        expected.extend([0x0f, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x78, 0x56, 0x34, 0x12, 0x01, 0x80]);
        assert_eq!(bytes[..bytes.len() - 16], expected[..]);
        assert_eq!(Sealed::parse(&bytes).unwrap().open::<PlayRepair>(&secret).unwrap(), repair);
    }

    #[test]
    fn the_largest_fits_a_datagram() {
        let missing = vec![MissingNumbers { first: 0, following: 0 }; MAX_MISSING_PER_PLAY_REPAIR];
        let repair = repair("fd00::7", missing);
        let secret = ClusterKey::new([7; 32]).lease_key().recording_secret(&repair.lease);
        assert!(repair.seal(&secret).len() <= MAX_DATAGRAM_BYTES);
    }

    #[test]
    fn entries_cover_what_is_missing_across_the_wrap_and_nothing_else() {
        let missing = [u32::MAX - 1, u32::MAX, 2, 30, 31, 400];
        let entries = MissingNumbers::cover(missing);
        assert_eq!(entries.len(), 3);
        assert_eq!(entries.iter().flat_map(|entry| entry.numbers()).collect::<Vec<_>>(), missing);
    }
}
