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
    /// The database server has given a newer lease for the same recording.
    Lease {
        /// It.
        lease: RecordingLease,
        /// P4 addresses of the push servers that hold the recording now, the best first.
        servers: Vec<SocketAddr>,
        /// The cluster's time.
        cluster: ClusterTime,
    },
    /// A packet of the channel on air came ([`Output::JoinLive`]), in order.
    Live {
        /// The RTP packet.
        packet: Vec<u8>,
    },
    /// The output takes packets, or has too many waiting.
    Reader(Reader),
    /// A deadline has come.
    Due,
}

/// How packets are handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Each when it is due by the recording's own clock: for eyes.
    InTime,
    /// As they come: for files. A gap is waited for.
    AtOnce,
}

/// How the output does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// It takes packets.
    Ready,
    /// Too many wait for it: a player that was paused, a slow disk. Nothing is handed on, as in a viewer's pause.
    Behind,
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
    /// Go to the live edge, and from there on watch the channel on air.
    Live,
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
    /// Give the player one whole picture of a fast forward or rewind, by the RTP packets that hold it.
    Picture(Vec<Vec<u8>>),
    /// The recording's live edge is reached: receive the channel on air and give its packets by [`Input::Live`].
    JoinLive,
    /// Receive it no more.
    LeaveLive,
    /// What the viewer wanted last cannot be; all goes on as before.
    Refused(PlayRefusal),
    /// Nothing more comes. With the reason when it is not the recording's end or the viewer's wish.
    Ended(Option<PlayRefusal>),
}
