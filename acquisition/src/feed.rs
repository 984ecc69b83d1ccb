//! One feed: the P3 connection of a channel to one push server host, as the machine sees it.

use std::net::SocketAddr;
use std::time::Duration;

use protocols::ids::HostId;
use protocols::p1_registration::{FeedReport, FeedState, FeedTarget};

use crate::retry::Retry;

/// A push server that answers but does not want the channel yet (the database server has still to configure it) is
/// asked again this soon.
pub(crate) const REFUSED_RETRY: Duration = Duration::from_millis(500);

/// Where the connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// Asked the shell to connect.
    Connecting,
    /// Accepted by the push server.
    Connected,
    /// Failed; a timer runs.
    Waiting,
}

/// One feed.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) address: SocketAddr,
    pub(crate) link: Link,
    pub(crate) state: FeedState,
    pub(crate) retry: Retry,
    pub(crate) dropped_packets: u64,
}

impl Feed {
    /// A feed whose first connection is being made.
    pub(crate) fn new(target: &FeedTarget) -> Self {
        Self {
            address: target.address,
            link: Link::Connecting,
            state: FeedState::Connecting,
            retry: Retry::default(),
            dropped_packets: 0,
        }
    }

    /// What a poll says of it.
    pub(crate) fn report(&self, host: &HostId) -> FeedReport {
        FeedReport { host: host.clone(), state: self.state.clone(), dropped_packets: self.dropped_packets }
    }
}
