//! All that can wake the root machine, and all that it can ask for.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use protocols::guide::Schedule;
use protocols::health::{HealthReport, SignalReport};
use protocols::ids::{ChannelId, HostId};
use protocols::p1_registration::{InputState, ToAcquisition, ToDatabase};

use crate::failover::Policy;

/// All that can wake an acquisition server. Events of a connection or input that was meanwhile dropped by an
/// [`Output`] must not be handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The connection asked for by [`Output::ConnectDatabase`] is authenticated.
    DatabaseConnected,
    /// A message of the database server.
    DatabaseMessage(ToAcquisition),
    /// The attempt to connect failed, or the connection is gone.
    DatabaseClosed {
        /// Why, for people.
        cause: String,
    },
    /// The push server accepted the connection asked for by [`Output::ConnectFeed`].
    FeedConnected {
        /// The channel.
        channel: ChannelId,
        /// The push server host.
        host: HostId,
    },
    /// The attempt to connect failed, or the connection is gone.
    FeedFailed {
        /// The channel.
        channel: ChannelId,
        /// The push server host.
        host: HostId,
        /// Why, for people.
        cause: String,
    },
    /// The push server answered that it does not carry the channel (now); the connection is gone.
    FeedRefused {
        /// The channel.
        channel: ChannelId,
        /// The push server host.
        host: HostId,
        /// Why, for people.
        cause: String,
    },
    /// A channel is delivered, or not (any more), though its input be open; it may go on by itself.
    InputState {
        /// The channel.
        channel: ChannelId,
        /// How it fares.
        state: InputState,
    },
    /// A channel is taken from another of its sources from now on.
    Switched {
        /// The channel.
        channel: ChannelId,
        /// That source.
        source: Source,
        /// Such changes since the channel's beginning.
        switches: u64,
        /// What was wrong with the one before, for people; `None`: nothing, this one is better.
        cause: Option<String>,
    },
    /// Packets come from an open input, whichever channels they belong to.
    InputFlows {
        /// What is open.
        url: String,
    },
    /// No packet comes from an open input any more; it may go on by itself.
    InputStalled {
        /// What is open.
        url: String,
    },
    /// The input could not be opened, or closed by itself; it is to be tried again.
    InputClosed {
        /// What was to be open.
        url: String,
        /// What happened and what to do, for people.
        cause: String,
    },
    /// The input came to the end that it was meant to have; it is not tried again unless told.
    InputFinished {
        /// What was open.
        url: String,
        /// What happened, for people.
        cause: String,
    },
    /// What a channel shows, as its multiplex announces it.
    Guide {
        /// What was announced; one that is not sound is ignored and counted.
        schedule: Schedule,
        /// The wall clock, s since 1970: what is over is not told.
        unix_s: i64,
    },
    /// What a channel's data path counted.
    Counters {
        /// The channel.
        channel: ChannelId,
        /// The numbers.
        counters: ChannelCounters,
    },
    /// The deadline was reached.
    Tick,
}

/// What a channel's data path counts, from the server's start on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelCounters {
    /// RTP packets made.
    pub packets: u64,
    /// Bitrate of the transport stream over the last second.
    pub rate_bps: u64,
    /// Errors in the stream.
    pub health: HealthReport,
    /// How well its tuner receives; `None` where there is none.
    pub signal: Option<SignalReport>,
    /// Packets dropped per push server because its connection could not keep up.
    pub dropped_packets: BTreeMap<HostId, u64>,
}

/// Where a channel is taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The input. Sources of equal URL are one input, opened once.
    pub url: String,
    /// The service within the multiplex; `None`: all that the input brings.
    pub service: Option<u16>,
}

/// What the shell must do next, in order.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Connect to the database server's P1 port and authenticate.
    ConnectDatabase,
    /// Send on that connection.
    SendToDatabase(ToDatabase),
    /// Give that connection, or the attempt, up.
    DropDatabase,
    /// Take the channel from these inputs from now on, open or not. Its sequence numbers and feeds go on.
    Capture {
        /// The channel.
        channel: ChannelId,
        /// The inputs, the best first; never empty. One that is in use stays so if it is among them.
        sources: Vec<Source>,
        /// When it changes between them.
        policy: Policy,
    },
    /// Take the channel from nowhere any more and forget its numbers.
    Forget {
        /// The channel.
        channel: ChannelId,
    },
    /// Open an input for all the channels that are taken from it; one that is open is closed first.
    OpenInput {
        /// What to open.
        url: String,
    },
    /// Close an input, from which no channel is taken any more.
    CloseInput {
        /// What to close.
        url: String,
    },
    /// Connect to a push server, authenticate and offer the channel.
    ConnectFeed {
        /// The channel.
        channel: ChannelId,
        /// The push server host.
        host: HostId,
        /// Its P3 address.
        address: SocketAddr,
    },
    /// Give that connection, or the attempt, up.
    CloseFeed {
        /// The channel.
        channel: ChannelId,
        /// The push server host.
        host: HostId,
    },
}

/// Why a deadline was asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Connect to the database server.
    ConnectDatabase,
    /// The attempt to connect to it takes too long.
    DatabaseTimeout,
    /// It has been silent for too long.
    DatabaseSilence,
    /// Report to it.
    Poll,
    /// Open the input again.
    OpenInput(String),
    /// Connect the channel's feed to a host again.
    ConnectFeed(ChannelId, HostId),
    /// The attempt to connect that feed takes too long.
    FeedTimeout(ChannelId, HostId),
}
