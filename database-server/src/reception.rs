//! What each network can have of each channel: the table behind lists and tunings, one row per (channel, network).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use protocols::ids::{ChannelId, HostId, PushServerId, Revision};
use protocols::p2_directory::ChannelStatus;
use protocols::time::Time;
use protocols::topology::NetworkId;

/// A channel at a network.
pub(crate) type Place = (ChannelId, NetworkId);

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reception {
    /// The push server that is assigned.
    pub(crate) assigned: Option<Assigned>,
    /// Those before it that still send until it does: each at most once, and never the assigned one.
    pub(crate) outgoing: Vec<Assigned>,
    /// Since when a rival is fit and the assigned one is not.
    pub(crate) undecided_since: Option<Time>,
    /// What viewers are shown.
    pub(crate) status: ChannelStatus,
    /// What who tunes is told.
    pub(crate) offer: Offer,
}

/// The choice among a network's push servers for a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assigned {
    /// The push server's host.
    pub(crate) host: HostId,
    /// The destination by which it serves the network.
    pub(crate) destination: IpAddr,
    /// Version of the choice.
    pub(crate) revision: Revision,
}

/// Where to tune for a channel at a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Offer {
    /// There, now.
    Tune(Target),
    /// There, once it is back: the assigned push server operates but has nothing to send. Good enough to keep for the
    /// time when the database server is away.
    Later(Target, String),
    /// Nowhere.
    Unavailable(String),
}

/// All of a tuning that does not depend on who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The channel's name.
    pub(crate) name: String,
    /// Group, broadcast or unicast address.
    pub(crate) destination: IpAddr,
    /// The channel's UDP port.
    pub(crate) port: u16,
    /// The assigned push server.
    pub(crate) push_server: PushServerId,
    /// Its P4 address.
    pub(crate) control: SocketAddr,
    /// Version of the assignment.
    pub(crate) revision: Revision,
}

/// All rows.
pub(crate) type Receptions = BTreeMap<Place, Reception>;

impl Reception {
    /// A row about which nothing is known, with the assignment of an earlier life.
    pub(crate) fn new(assigned: Option<Assigned>) -> Self {
        let cause = "the database server has just started".to_owned();
        Self {
            assigned,
            outgoing: Vec::new(),
            undecided_since: None,
            status: ChannelStatus::Inactive { cause: cause.clone() },
            offer: Offer::Unavailable(cause),
        }
    }
}

impl Offer {
    /// The target, whether or not there is something to receive there now.
    pub(crate) fn target(&self) -> Option<&Target> {
        match self {
            Self::Tune(target) | Self::Later(target, _) => Some(target),
            Self::Unavailable(_) => None,
        }
    }
}
