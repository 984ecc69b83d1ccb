//! Repair: a client asks for packets that it has missed, and is sent them by P5 while that makes sense.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Kind, seal};
use crate::authority::{Lease, MacKey};
use crate::time::ClusterTime;

/// Entries of one request; more missing packets take more requests.
pub const MAX_MISSING_PER_REPAIR: usize = 64;
/// A packet is sent to one client again at the earliest after this share of the round-trip time that it states.
pub const REPEAT_AFTER_PERCENT: u32 = 80;
/// No packet is sent to one client twice within this, whatever round-trip time it states.
pub const LEAST_REPEAT: Duration = Duration::from_millis(2);
/// Two viewers of one destination who miss the same packet within this have it broadcast to them, once.
pub const AGGREGATION_WINDOW: Duration = Duration::from_millis(10);
/// Repairs that one client gets, and asks for, in percent of its stream's packets: to mend 10 % of loss on the way there
/// and back takes 11 % of repairs and 12 % of requests.
pub const REPAIR_BUDGET_PERCENT: u32 = 25;
/// Packets of that budget that may be used at once, at least.
pub const REPAIR_BURST_PACKETS: u32 = 20;
/// As much of the stream may be used at once: what a bad moment of a link takes.
pub const REPAIR_BURST_TIME: Duration = Duration::from_millis(500);

/// "Send me these again."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// Names client, channel and destination; the same that its interest shows.
    pub lease: Lease,
    /// Date, in cluster time.
    pub time: ClusterTime,
    /// Round-trip time as the client knows it, µs; 0 while it knows none.
    pub rtt_us: u32,
    /// Synchronisation source of the packets.
    pub ssrc: u32,
    /// What is missing, at most [`MAX_MISSING_PER_REPAIR`].
    pub missing: Vec<Missing>,
}

/// Up to 17 packets, as a generic NACK names them (RFC 4585 §6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Missing {
    /// Sequence number of the first.
    pub first: u16,
    /// Bit n: `first + n + 1` is missing too.
    pub following: u16,
}

impl Missing {
    /// Names all of `sequences` (ascending, wrapping), in as few entries as they take.
    pub fn cover(sequences: impl IntoIterator<Item = u16>) -> Vec<Self> {
        let mut entries: Vec<Self> = Vec::new();
        for sequence in sequences {
            match entries.last_mut() {
                Some(last) if (1..=16).contains(&sequence.wrapping_sub(last.first)) => {
                    last.following |= 1 << (sequence.wrapping_sub(last.first) - 1);
                }
                Some(last) if last.first == sequence => {}
                _ => entries.push(Self { first: sequence, following: 0 }),
            }
        }
        entries
    }

    /// The sequence numbers, ascending.
    pub fn sequences(self) -> impl Iterator<Item = u16> {
        let also = (0..16).filter(move |bit| self.following & (1 << bit) != 0);
        std::iter::once(self.first).chain(also.map(move |bit| self.first.wrapping_add(bit + 1)))
    }
}

impl Repair {
    /// Its datagram, tagged with the lease's secret.
    pub fn seal(&self, secret: &MacKey) -> Vec<u8> {
        seal(Kind::Repair, self, secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::ClusterKey;
    use crate::ids::ChannelId;
    use crate::p4_control::{MAX_DATAGRAM_BYTES, Sealed};

    fn repair(missing: Vec<Missing>) -> Repair {
        let lease = Lease {
            client: "10.0.1.7".parse().unwrap(),
            channel: ChannelId(1),
            destination: "239.192.1.1".parse().unwrap(),
            expires: ClusterTime(0x0a),
        };
        Repair { lease, time: ClusterTime(0x0b), rtt_us: 0x0c, ssrc: 0x0d, missing }
    }

    #[test]
    fn a_repair_on_the_wire() {
        let repair = repair(vec![Missing { first: 0x1234, following: 0x8001 }]);
        let bytes = repair.seal(&ClusterKey::new([7; 32]).lease_key().secret(&repair.lease));
        let mut expected =
            vec![b'M', b'4', 1, 7, 0, 0, 0, 0, 10, 0, 1, 7, 1, 0, 0, 0, 0, 0, 0, 0, 239, 192, 1, 1];
        expected.extend([0x0a, 0, 0, 0, 0, 0, 0, 0, 0x0b, 0, 0, 0, 0, 0, 0, 0, 0x0c, 0, 0, 0, 0x0d, 0, 0, 0]);
        expected.extend([1, 0, 0, 0, 0, 0, 0, 0, 0x34, 0x12, 0x01, 0x80]);
        assert_eq!(bytes[..bytes.len() - 16], expected[..]);
        let secret = ClusterKey::new([7; 32]).lease_key().secret(&repair.lease);
        assert_eq!(Sealed::parse(&bytes).unwrap().open::<Repair>(&secret).unwrap(), repair);
    }

    #[test]
    fn the_largest_repair_fits_a_datagram() {
        let mut repair = repair(vec![Missing { first: 0, following: 0 }; MAX_MISSING_PER_REPAIR]);
        repair.lease.client = "fd00::7".parse().unwrap();
        repair.lease.destination = "ff15::1".parse().unwrap();
        let bytes = repair.seal(&ClusterKey::new([7; 32]).lease_key().secret(&repair.lease));
        assert!(bytes.len() <= MAX_DATAGRAM_BYTES);
    }

    #[test]
    fn entries_cover_what_is_missing_across_the_wrap_and_nothing_else() {
        let missing = [65_530, 65_531, 65_535, 0, 10, 11, 12, 400];
        let entries = Missing::cover(missing);
        assert_eq!(entries.len(), 3);
        assert_eq!(entries.iter().flat_map(|entry| entry.sequences()).collect::<Vec<_>>(), missing);
        assert!(Missing::cover([]).is_empty());
    }
}
