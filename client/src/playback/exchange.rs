//! What wakes a playback, and what it wants done.

use std::net::SocketAddr;

use protocols::authority::RecordingLease;
use protocols::p4_control::{PlayAnswer, PlayRefusal, PlayRepair, PlayRequest, TrickSpeed};
use protocols::p5_stream::Header;
use protocols::time::ClusterTime;

use crate::flow;

/// How a playback is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// What may be played.
    pub lease: RecordingLease,
    /// The cluster's time when the playback is made.
    pub cluster: ClusterTime,
    /// P4 addresses of the push servers that hold it, the best first.
    pub servers: Vec<SocketAddr>,
    /// Where to begin.
    pub start: ClusterTime,
    /// Where to end.
    pub until: ClusterTime,
    /// Buffer and law.
    pub flow: flow::Config,
    /// Draws the sessions' numbers; different for each playback.
    pub seed: u64,
}

/// What wakes a playback.
#[derive(Debug)]
pub enum Input {
    /// A genuine answer came.
    Answer(PlayAnswer),
    /// A P5 datagram came.
    Stream {
        /// Its header.
        header: Header,
        /// The RTP packet.
        packet: Vec<u8>,
    },
    /// The viewer wants something.
    Wish(Wish),
    /// A deadline has come.
    Due,
}

/// What a viewer may want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Hold the picture.
    Pause,
    /// Go on, at ordinary speed.
    Resume,
    /// Go to a date.
    Seek(ClusterTime),
    /// Fast forward or rewind.
    Trick(TrickSpeed),
    /// End.
    Stop,
}

/// What to do next, in order.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send by P4, tagged with the lease's secret.
    Order {
        /// To which push server.
        to: SocketAddr,
        /// What.
        request: PlayRequest,
    },
    /// Send by P4, tagged likewise: what has been lost.
    Missing {
        /// To which push server.
        to: SocketAddr,
        /// What.
        request: PlayRepair,
    },
    /// Give these RTP packets to the player, in order.
    Deliver(Vec<Vec<u8>>),
    /// What the viewer wanted last cannot be; all goes on as before.
    Refused(PlayRefusal),
    /// Nothing more comes. With the reason when it is not the recording's end or the viewer's wish.
    Ended(Option<PlayRefusal>),
}
