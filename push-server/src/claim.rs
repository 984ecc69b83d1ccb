//! What a datagram that shows a lease must be for it to count: sent by the lease's client, genuine, and in time.

use std::net::{IpAddr, SocketAddr};

use protocols::authority::{CLOCK_TOLERANCE, Lease, LeaseKey, MacKey, RecordingLease};
use protocols::p4_control::Sealed;
use protocols::time::ClusterTime;

use crate::counters::Counters;

/// A lease as it stands in a datagram: not to be believed before [`genuine`] says so.
pub(crate) trait Claim {
    /// Whose it is.
    fn client(&self) -> IpAddr;
    /// When it ends.
    fn expires(&self) -> ClusterTime;
    /// The secret that goes with it.
    fn secret(&self, leases: &LeaseKey) -> MacKey;
}

impl Claim for Lease {
    fn client(&self) -> IpAddr {
        self.client
    }

    fn expires(&self) -> ClusterTime {
        self.expires
    }

    fn secret(&self, leases: &LeaseKey) -> MacKey {
        leases.secret(self)
    }
}

impl Claim for RecordingLease {
    fn client(&self) -> IpAddr {
        self.client
    }

    fn expires(&self) -> ClusterTime {
        self.expires
    }

    fn secret(&self, leases: &LeaseKey) -> MacKey {
        leases.recording_secret(self)
    }
}

/// Why a datagram does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Its body breaks the layout.
    Malformed,
    /// It comes from another address than its lease names.
    OtherAddress,
    /// Its tag is not that of the lease's secret.
    Forged,
    /// This host has not heard the cluster's time.
    ClockUnknown,
    /// Its date is off by more than [`CLOCK_TOLERANCE`].
    ClockOff,
    /// Its lease is over.
    Expired,
    /// Its lease is for what this host does not serve.
    NotAssigned,
}

impl Flaw {
    /// Counts the datagram.
    pub(crate) fn count(self, counters: &mut Counters) {
        let counter = match self {
            Self::Malformed => &mut counters.malformed,
            Self::OtherAddress => &mut counters.other_address,
            Self::Forged => &mut counters.forged,
            Self::ClockUnknown => &mut counters.clock_unknown,
            Self::ClockOff => &mut counters.clock_off,
            Self::Expired => &mut counters.expired,
            Self::NotAssigned => &mut counters.not_assigned,
        };
        *counter += 1;
    }
}

/// Whether the lease's client is at `from`.
pub(crate) fn comes_from(claim: &impl Claim, from: SocketAddr) -> Result<(), Flaw> {
    let same = claim.client().to_canonical() == from.ip().to_canonical();
    if same { Ok(()) } else { Err(Flaw::OtherAddress) }
}

/// Whether `sealed`, which shows `claim`, was sent by its client. Answers the lease's secret.
pub(crate) fn genuine(
    claim: &impl Claim,
    from: SocketAddr,
    sealed: &Sealed<'_>,
    leases: &LeaseKey,
) -> Result<MacKey, Flaw> {
    // The address first, since that costs nothing.
    comes_from(claim, from)?;
    let secret = claim.secret(leases);
    sealed.verify(&secret).map_err(|_| Flaw::Forged)?;
    Ok(secret)
}

/// Whether what is dated `date` counts at `clock` by this lease.
pub(crate) fn in_time(claim: &impl Claim, date: ClusterTime, clock: ClusterTime) -> Result<(), Flaw> {
    if date.distance(clock) > CLOCK_TOLERANCE {
        Err(Flaw::ClockOff)
    } else if claim.expires() <= clock {
        Err(Flaw::Expired)
    } else {
        Ok(())
    }
}
