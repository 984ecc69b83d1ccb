//! Which requests of viewers reach the data plane and the sessions: those that show a lease, and generic NACKs for a
//! stream that is fed here.
//!
//! Nothing is kept of who asks. What a viewer may have is decided beside the ring ([`crate::repair`]); here it is only
//! shown that it may ask.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use media::rtcp::Compound;
use protocols::authority::{ClusterKey, Lease, LeaseKey, MacKey, RecordingLease};
use protocols::budget::{Allowance, Budget, Share};
use protocols::ids::ChannelId;
use protocols::p4_control::{
    LiveRequest, LiveVerdict, MAX_DATAGRAM_BYTES, MAX_MISSING_PER_PLAY_REPAIR, MAX_MISSING_PER_REPAIR,
    Missing, PlayRepair, PlayRequest, Repair, Sealed,
};
use protocols::time::{ClusterTime, Time};

use crate::claim::{self, Flaw};
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
        let repair = self.live_repair(clock, from, sealed, assigned);
        let repair = repair.map_err(|flaw| flaw.count(counters)).ok()?;
        counters.repairs_heard += 1;
        let Repair { lease, rtt_us, ssrc, missing, .. } = repair;
        let round_trip = Duration::from_micros(rtt_us.into());
        let from = Requester::Viewer { address: from, destination: lease.destination, round_trip };
        Some((lease.channel, Request { from, ssrc, missing }))
    }

    /// A datagram of kind [`Kind::Play`](protocols::p4_control::Kind::Play), if it is genuine. Whether it is in time is not
    /// asked here: who is not is told so.
    pub fn play(
        &self,
        clock: Option<ClusterTime>,
        from: SocketAddr,
        sealed: &Sealed<'_>,
        counters: &mut Counters,
    ) -> Option<Played> {
        let genuine = || {
            let lease = PlayRequest::peek_lease(sealed).map_err(|_| Flaw::Malformed)?;
            claim::genuine(&lease, from, sealed, &self.leases)?;
            let request = PlayRequest::peek(sealed).map_err(|_| Flaw::Malformed)?;
            Ok(Played { from, request, cluster: clock.ok_or(Flaw::ClockUnknown)? })
        };
        let played = genuine().map_err(|flaw: Flaw| flaw.count(counters)).ok()?;
        counters.plays_heard += 1;
        Some(played)
    }

    /// A datagram of kind [`Kind::PlayRepair`](protocols::p4_control::Kind::PlayRepair), if it is genuine and in time.
    pub fn play_repair(
        &self,
        clock: Option<ClusterTime>,
        from: SocketAddr,
        sealed: &Sealed<'_>,
        counters: &mut Counters,
    ) -> Option<PlayMissed> {
        let genuine = || {
            // The list behind the lease is not read before the tag is right.
            let lease: RecordingLease = sealed.peek_front().map_err(|_| Flaw::Malformed)?;
            claim::genuine(&lease, from, sealed, &self.leases)?;
            let request: PlayRepair = sealed.peek().map_err(|_| Flaw::Malformed)?;
            let cluster = clock.ok_or(Flaw::ClockUnknown)?;
            claim::in_time(&lease, request.time, cluster)?;
            let bounded = request.missing.len() <= MAX_MISSING_PER_PLAY_REPAIR;
            bounded.then_some(PlayMissed { from, request, cluster }).ok_or(Flaw::Malformed)
        };
        let missed = genuine().map_err(|flaw: Flaw| flaw.count(counters)).ok()?;
        counters.play_repairs_heard += 1;
        Some(missed)
    }

    /// A datagram of kind [`Kind::Live`](protocols::p4_control::Kind::Live), if it is genuine. What else is wrong with it is
    /// answered.
    pub fn live(
        &self,
        clock: Option<ClusterTime>,
        from: SocketAddr,
        sealed: &Sealed<'_>,
        counters: &mut Counters,
    ) -> Option<LiveAsked> {
        let genuine = || {
            let lease = LiveRequest::peek_lease(sealed).map_err(|_| Flaw::Malformed)?;
            let secret = claim::genuine(&lease, from, sealed, &self.leases)?;
            let request = LiveRequest::peek(sealed).map_err(|_| Flaw::Malformed)?;
            Ok(LiveAsked { from, request, secret, flaw: None, cluster: clock.ok_or(Flaw::ClockUnknown)? })
        };
        let asked = genuine().map_err(|flaw: Flaw| flaw.count(counters)).ok()?;
        let flaw = match claim::in_time(&asked.request.lease, asked.request.time, asked.cluster) {
            Ok(()) => asked.request.order.fault(),
            Err(flaw) => {
                flaw.count(counters);
                Some(if flaw == Flaw::Expired { LiveVerdict::Expired } else { LiveVerdict::Clock })
            }
        };
        counters.live_heard += u64::from(flaw.is_none());
        Some(LiveAsked { flaw, ..asked })
    }

    fn live_repair(
        &self,
        clock: Option<ClusterTime>,
        from: SocketAddr,
        sealed: &Sealed<'_>,
        assigned: impl FnOnce(ChannelId, IpAddr) -> bool,
    ) -> Result<Repair, Flaw> {
        // The list behind the lease is not read before the tag is right.
        let lease: Lease = sealed.peek_front().map_err(|_| Flaw::Malformed)?;
        claim::genuine(&lease, from, sealed, &self.leases)?;
        let repair: Repair = sealed.peek().map_err(|_| Flaw::Malformed)?;
        if repair.missing.len() > MAX_MISSING_PER_REPAIR {
            return Err(Flaw::Malformed);
        }
        claim::in_time(&lease, repair.time, clock.ok_or(Flaw::ClockUnknown)?)?;
        if assigned(lease.channel, lease.destination) { Ok(repair) } else { Err(Flaw::NotAssigned) }
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

/// A genuine order to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Played {
    /// Where it came from.
    pub from: SocketAddr,
    /// The order.
    pub request: PlayRequest,
    /// The cluster's time.
    pub cluster: ClusterTime,
}

/// A genuine order to a live session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveAsked {
    /// Where it came from.
    pub from: SocketAddr,
    /// The order.
    pub request: LiveRequest,
    /// The secret of its lease, for the answer.
    pub secret: MacKey,
    /// Why it is not carried out, as its sender is told.
    pub flaw: Option<LiveVerdict>,
    /// The cluster's time.
    pub cluster: ClusterTime,
}

/// A genuine request for what a session's client has missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayMissed {
    /// Where it came from.
    pub from: SocketAddr,
    /// The request.
    pub request: PlayRepair,
    /// The cluster's time.
    pub cluster: ClusterTime,
}

/// [`NACKS_PER_SECOND`], a tenth of them at once.
fn allowance() -> Allowance {
    let all = Share { percent: 100, burst_packets: NACKS_PER_SECOND / 10, burst: Duration::ZERO };
    all.of(Duration::from_secs(1) / NACKS_PER_SECOND)
}
