//! What the database server keeps across restarts, as the store is told it and as it gives it back.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use protocols::guide;
use protocols::ids::{AcquisitionId, BootId, ChannelId, Generation, HostId, Revision};
use protocols::p1_registration::Command;
use protocols::recording::{Extent, RecordingId, Span};
use protocols::time::ClusterTime;
use protocols::topology::NetworkId;

/// One fact to keep. The store applies them in order; a later one about the same thing replaces the earlier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A topology has been taken up.
    Topology {
        /// Its generation.
        generation: Generation,
        /// Its content's hash.
        fingerprint: u64,
    },
    /// A push server is assigned.
    Assigned(Assignment),
    /// A channel is no more listed at a network.
    Unassigned {
        /// The channel.
        channel: ChannelId,
        /// The network.
        network: NetworkId,
    },
    /// A server has come up: an acquisition server registered, a host answered.
    Seen {
        /// Which.
        server: Server,
        /// Its boot id.
        boot_id: BootId,
        /// When.
        at: ClusterTime,
    },
    /// A server is gone.
    Lost {
        /// Which.
        server: Server,
        /// When.
        at: ClusterTime,
    },
    /// A command waits for an acquisition server.
    CommandPosted {
        /// For whom.
        acquisition: AcquisitionId,
        /// The command.
        command: Command,
    },
    /// Its result has come, or it can no more be carried out.
    CommandDone {
        /// The command's id.
        id: u64,
    },
    /// A host holds this; a later one of the same host, channel and beginning replaces it.
    Extent {
        /// The host.
        host: HostId,
        /// What it holds.
        extent: Extent,
    },
    /// A host holds that no more.
    ExtentGone {
        /// The host.
        host: HostId,
        /// The channel.
        channel: ChannelId,
        /// Where the extent began.
        from: ClusterTime,
    },
    /// Somebody has ordered a recording.
    Programme(Programme),
    /// Nobody wants it any more.
    ProgrammeGone {
        /// Which.
        id: RecordingId,
    },
    /// A channel shows this; a later one of the same channel and beginning replaces it.
    GuideEvent {
        /// The channel.
        channel: ChannelId,
        /// What it shows; shared with the machine, so that waiting for the disk takes no room.
        event: Arc<guide::Event>,
    },
    /// A channel does not show what was to begin then.
    GuideGone {
        /// The channel.
        channel: ChannelId,
        /// When it was to begin, s since 1970.
        start_unix_s: i64,
    },
    /// A channel is no more declared, and nothing of its guide is kept.
    GuideChannelGone {
        /// The channel.
        channel: ChannelId,
    },
    /// What had ended by then is kept no more.
    GuideOver {
        /// S since 1970.
        before_unix_s: i64,
    },
    /// Something for people to read later.
    Event(Event),
}

/// Which push server serves a channel at a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The channel.
    pub channel: ChannelId,
    /// The network.
    pub network: NetworkId,
    /// The push server's host.
    pub host: HostId,
    /// The destination by which it serves the network.
    pub destination: IpAddr,
    /// Version of the assignment.
    pub revision: Revision,
}

/// A programme recording, as it was ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programme {
    /// Its id.
    pub id: RecordingId,
    /// Its channel.
    pub channel: ChannelId,
    /// Its dates.
    pub span: Span,
    /// What people call it.
    pub title: String,
}

/// A server that the database server knows by its boot id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// An acquisition server.
    Acquisition(AcquisitionId),
    /// A push server host.
    Host(HostId),
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acquisition(id) => write!(f, "acquisition server `{id}`"),
            Self::Host(id) => write!(f, "push server host `{id}`"),
        }
    }
}

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: ClusterTime,
    /// What it is about, such as `host hall` or `channel 7`.
    pub subject: String,
    /// What happened, for people.
    pub text: String,
}

/// What earlier lives left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remembered {
    /// The topology that was last taken up, with its fingerprint; `None` before the first.
    pub topology: Option<(Generation, u64)>,
    /// The assignments that held.
    pub assignments: Vec<Assignment>,
    /// Commands without a result.
    pub commands: Vec<(AcquisitionId, Command)>,
    /// What hosts held when they last told.
    pub extents: Vec<(HostId, Extent)>,
    /// The programme recordings.
    pub programmes: Vec<Programme>,
    /// The highest id that a programme recording ever had; 0: there was none.
    pub last_recording: RecordingId,
    /// What channels show.
    pub guide: Vec<(ChannelId, guide::Event)>,
}
