//! What is legal in a topology file but is probably not meant.

use std::fmt;
use std::net::IpAddr;

use thiserror::Error;

use super::place::Place;
use crate::ids::{AcquisitionId, ChannelId, HostId, InputId};

/// One remark; the topology is used all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What.
    pub kind: WarningKind,
    /// Where.
    pub place: Place,
}

/// What is remarkable.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WarningKind {
    /// No push server lists the channel.
    #[error("no push server carries channel {0}, so nobody can see it")]
    ChannelNotCarried(ChannelId),
    /// No channel comes from the acquisition server.
    #[error("no channel comes from acquisition server `{0}`")]
    UnusedAcquisitionServer(AcquisitionId),
    /// No channel comes from the input.
    #[error("no channel comes from input `{input}` of acquisition server `{server}`")]
    UnusedInput {
        /// Its server.
        server: AcquisitionId,
        /// The input.
        input: InputId,
    },
    /// A push host without channels.
    #[error("push server `{0}` carries no channel")]
    HostWithoutChannels(HostId),
    /// A push host that neither sends nor records.
    #[error("push server `{0}` has no destination and records nothing, so it has nothing to do")]
    HostWithoutPurpose(HostId),
    /// Two channels of one name, which commands that take names cannot tell apart.
    #[error("channel {second} has the name of channel {first}; viewers can tell them apart by number only")]
    RepeatedName {
        /// The one that comes first in the file.
        first: ChannelId,
        /// The one that the warning points at.
        second: ChannelId,
    },
    /// A time for changing the source of a channel that has one only.
    #[error("channel {channel} has no [[channel.backup]], so `{key}` says nothing")]
    NothingToFailOverTo {
        /// The channel.
        channel: ChannelId,
        /// `hold_off` or `return_after`.
        key: &'static str,
    },
    /// A plain host outside the prefixes that it is on the channel lists of; perhaps a mistyped broadcast address.
    #[error("{0} lies in none of the prefixes that it serves; it is sent to as a single host")]
    UnicastElsewhere(IpAddr),
    /// A group of 224.0.0.0/24, which switches flood to every port (RFC 4541 §2.1.2).
    #[error("switches send {0} to every port, watched or not; take a group of 239.0.0.0/8")]
    FloodedGroup(IpAddr),
}

/// `file:line:column: warning: …`, then the line with carets.
impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: warning: {}", self.place, self.kind)?;
        self.place.write_excerpt(f)
    }
}
