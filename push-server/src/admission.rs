//! Which requests for repair reach the data plane: those of viewers with a lease, and generic NACKs for a stream that is
//! fed here.
//!
//! Nothing is kept of who asks. What a viewer may have is decided beside the ring ([`crate::repair`]); here it is only
//! shown that it may ask.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use media::rtcp::Compound;
use protocols::authority::{CLOCK_TOLERANCE, ClusterKey, Lease, LeaseKey};
use protocols::ids::ChannelId;
use protocols::p4_control::{MAX_DATAGRAM_BYTES, MAX_MISSING_PER_REPAIR, Missing, Repair, Sealed};
use protocols::time::{ClusterTime, Time};

use crate::budget::{Budget, Share};
use crate::counters::Counters;
use crate::repair::{Request, Requester};

/// NACKs that a host looks at each second, whoever sends them; anybody can.
pub const NACKS_PER_SECOND: u32 = 1_000;

/// Lets requests for repair through.
#[derive(Debug)]
pub struct Admission {
    leases: LeaseKey,
    nacks: Budget,
}

impl Admission {
    /// One for the holder of `cluster`.
    pub fn new(cluster: &ClusterKey) -> Self {
        Self { leases: cluster.lease_key(), nacks: Budget::default() }
    }

    /// A datagram of kind [`Kind::Repair`](protocols::p4_control::Kind::Repair), if it is genuine and of a destination
    /// that is `assigned`. `clock` is the cluster's time, when known. It is never answered; what is wrong with it is counted.
    pub fn repair(
        &self,
        clock: Option<ClusterTime>,
        from: SocketAddr,
        sealed: &Sealed<'_>,
        assigned: impl FnOnce(ChannelId, IpAddr) -> bool,
        counters: &mut Counters,
    ) -> Option<(ChannelId, Request)> {
        let counter = match self.genuine(clock, from, sealed, assigned) {
            Ok(repair) => {
                counters.repairs_heard += 1;
                let Repair { lease, rtt_us, ssrc, missing, .. } = repair;
                let round_trip = Duration::from_micros(rtt_us.into());
                let from = Requester::Viewer { address: from, destination: lease.destination, round_trip };
                return Some((lease.channel, Request { from, ssrc, missing }));
            }
            Err(Flaw::Malformed) => &mut counters.malformed,
            Err(Flaw::OtherAddress) => &mut counters.other_address,
            Err(Flaw::Forged) => &mut counters.forged,
            Err(Flaw::ClockUnknown) => &mut counters.clock_unknown,
            Err(Flaw::ClockOff) => &mut counters.clock_off,
            Err(Flaw::Expired) => &mut counters.expired,
            Err(Flaw::NotAssigned) => &mut counters.not_assigned,
        };
        *counter += 1;
        None
    }

    fn genuine(
        &self,
        clock: Option<ClusterTime>,
        from: SocketAddr,
        sealed: &Sealed<'_>,
        assigned: impl FnOnce(ChannelId, IpAddr) -> bool,
    ) -> Result<Repair, Flaw> {
        // The list behind the lease is not read before the tag is right.
        let lease: Lease = sealed.peek_front().map_err(|_| Flaw::Malformed)?;
        if lease.client.to_canonical() != from.ip().to_canonical() {
            return Err(Flaw::OtherAddress);
        }
        sealed.verify(&self.leases.secret(&lease)).map_err(|_| Flaw::Forged)?;
        let repair: Repair = sealed.peek().map_err(|_| Flaw::Malformed)?;
        let clock = clock.ok_or(Flaw::ClockUnknown)?;
        if repair.missing.len() > MAX_MISSING_PER_REPAIR {
            Err(Flaw::Malformed)
        } else if repair.time.distance(clock) > CLOCK_TOLERANCE {
            Err(Flaw::ClockOff)
        } else if lease.expires <= clock {
            Err(Flaw::Expired)
        } else if !assigned(lease.channel, lease.destination) {
            Err(Flaw::NotAssigned)
        } else {
            Ok(repair)
        }
    }

    /// An RTCP datagram: what the first NACK in it misses of a stream that `channel_of` knows by its source. A receiver
    /// has one stream, and so one NACK, in a datagram.
    pub fn nack(
        &mut self,
        now: Time,
        from: SocketAddr,
        datagram: &[u8],
        channel_of: impl Fn(u32) -> Option<ChannelId>,
        counters: &mut Counters,
    ) -> Option<(ChannelId, Request)> {
        let Some(compound) = Compound::parse(datagram).ok().filter(|_| datagram.len() <= MAX_DATAGRAM_BYTES)
        else {
            counters.rtcp_malformed += 1;
            return None;
        };
        let Some(nack) = compound.nacks().next() else {
            counters.rtcp_without_nack += 1;
            return None;
        };
        let Some(channel) = channel_of(nack.media_ssrc) else {
            counters.nacks_of_no_stream += 1;
            return None;
        };
        if !self.nacks.has_room(now, allowance()) {
            counters.nacks_too_many += 1;
            return None;
        }
        self.nacks.use_one(allowance());
        counters.nacks_heard += 1;
        let entries = nack.entries().take(MAX_MISSING_PER_REPAIR);
        let missing = entries.map(|(first, following)| Missing { first, following }).collect();
        let from = Requester::Receiver { address: from.ip().to_canonical() };
        Some((channel, Request { from, ssrc: nack.media_ssrc, missing }))
    }
}

/// Why a repair does not count.
enum Flaw {
    Malformed,
    OtherAddress,
    Forged,
    ClockUnknown,
    ClockOff,
    Expired,
    NotAssigned,
}

/// [`NACKS_PER_SECOND`], a tenth of them at once.
fn allowance() -> crate::budget::Allowance {
    let all = Share { percent: 100, burst_packets: NACKS_PER_SECOND / 10, burst: Duration::ZERO };
    all.of(Duration::from_secs(1) / NACKS_PER_SECOND)
}
