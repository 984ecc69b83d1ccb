//! Everything that can wake the database server.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use protocols::authority::ClusterKey;
use protocols::ids::{AcquisitionId, BootId};
use protocols::time::ClusterTime;
use protocols::topology::Topology;
use protocols::{p1_registration as p1, p2_directory as p2};

use crate::record::Remembered;

/// One TCP connection, of P1 or P2; never used again by the shell within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// What a database server is started with. It does nothing before its first [`Input::Topology`].
#[derive(Debug, Clone)]
pub struct Config {
    /// The site's key.
    pub cluster_key: ClusterKey,
    /// Number of this start: above that of every start before.
    pub start: u32,
    /// The wall clock when the machine's clock showed `Time::ZERO`: cluster time counts from there.
    pub clock_base: ClusterTime,
    /// What earlier lives left in the store; the default at the very first start.
    pub remembered: Remembered,
}

/// All that can happen to a database server.
#[derive(Debug, Clone)]
pub enum Input {
    /// The topology, at the start and at each reload. One with the content of the present one changes nothing.
    Topology(Arc<Topology>),
    /// An acquisition server has called and shown that it holds the key.
    AcquisitionConnected {
        /// Its connection.
        connection: ConnectionId,
        /// Who it is.
        id: AcquisitionId,
        /// Its boot id.
        boot_id: BootId,
    },
    /// It says something.
    AcquisitionMessage {
        /// Its connection.
        connection: ConnectionId,
        /// What it says.
        message: p1::ToDatabase,
    },
    /// Its connection has ended, whoever ended it.
    AcquisitionClosed {
        /// Its connection.
        connection: ConnectionId,
    },
    /// A client has called.
    ClientConnected {
        /// Its connection.
        connection: ConnectionId,
        /// The address that it calls from; an IPv4-mapped IPv6 address is the IPv4 address.
        address: IpAddr,
    },
    /// It asks something.
    ClientMessage {
        /// Its connection.
        connection: ConnectionId,
        /// What it asks.
        message: p2::ToDatabase,
    },
    /// Its connection has ended, whoever ended it.
    ClientClosed {
        /// Its connection.
        connection: ConnectionId,
    },
    /// Something has come to the P4 socket.
    Datagram {
        /// From where it claims to be.
        from: SocketAddr,
        /// All of it.
        bytes: Vec<u8>,
    },
    /// The deadline has been reached.
    Tick,
}

/// Why the database server wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A host is to be queried, or taken for dead.
    Host,
    /// A configuration has not been acknowledged.
    Configuration,
    /// An acquisition server is silent.
    Registration,
    /// An assignment that had to wait is decided.
    Assignment,
    /// Who handed a channel over stops.
    Handover,
    /// A channel's recording may have become thin.
    Catalogue,
    /// Programmes that are over may be dropped.
    Guide,
    /// A client is silent, or owed an answer or a change of its list.
    Directory,
}
