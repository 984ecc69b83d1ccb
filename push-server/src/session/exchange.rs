//! What wakes the sessions, and what they want done.

use std::net::{IpAddr, SocketAddr};

use protocols::authority::RecordingLease;
use protocols::ids::ChannelId;
use protocols::p4_control::{PacketName, PlayAnswer, PlayRepair, PlayRequest, SessionId};
use protocols::p5_stream::Header;
use protocols::time::ClusterTime;

/// One session of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// The client's address, as its lease names it.
    pub client: IpAddr,
    /// The number that it drew.
    pub session: SessionId,
}

/// A packet of a recording, as the shell read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece<P> {
    /// Which it is.
    pub name: PacketName,
    /// Its date.
    pub date: ClusterTime,
    /// Whether a random access point begins with it.
    pub random_access: bool,
    /// The packet, or where it is.
    pub packet: P,
}

/// Where a read begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// At the last random access point not after this date.
    Date(ClusterTime),
    /// At this packet or, where it is missing, the first one behind it in the channel's recording.
    Packet(PacketName),
    /// One picture: from the first random access point at or after this date to the end of its picture.
    PictureAfter(ClusterTime),
    /// One picture: from the last random access point at or before this date.
    PictureBefore(ClusterTime),
}

/// What follows behind the packets of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// More.
    More,
    /// Nothing yet: the recording grows.
    Edge,
    /// Nothing ever.
    Nothing,
}

/// What a read came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadOutcome<P> {
    /// Packets, in the order of their names; none when there are none where it began.
    Packets {
        /// At most as many as asked for.
        pieces: Vec<Piece<P>>,
        /// What is behind them.
        follows: Follows,
    },
    /// Nothing of this channel is held here.
    Unknown,
    /// The disk failed, or what is there is damaged.
    Failed,
}

/// What wakes the sessions.
#[derive(Debug)]
pub enum Input<P> {
    /// A genuine order came.
    Order {
        /// Where from, and where answers and packets go.
        from: SocketAddr,
        /// The order, verified with its lease's secret.
        request: PlayRequest,
        /// The cluster's time.
        cluster: ClusterTime,
    },
    /// A genuine request for what was lost came.
    Missing {
        /// Where from.
        from: SocketAddr,
        /// The request, verified with its lease's secret.
        request: PlayRepair,
        /// The cluster's time.
        cluster: ClusterTime,
    },
    /// A read is done.
    Read {
        /// As asked.
        key: SessionKey,
        /// As asked; of another than the session's last read nothing is heard.
        ticket: u64,
        /// What came of it.
        outcome: ReadOutcome<P>,
    },
    /// A deadline has come.
    Due,
}

/// A packet that leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure<P> {
    /// What precedes it.
    pub header: Header,
    /// The packet.
    pub packet: P,
}

/// What to do next, in order.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output<P> {
    /// Tell a client, by P4.
    Answer {
        /// Where.
        to: SocketAddr,
        /// Whose lease's secret tags it.
        lease: RecordingLease,
        /// What.
        answer: PlayAnswer,
    },
    /// Read packets of a channel's recording, and say so by [`Input::Read`].
    Read {
        /// For whom.
        key: SessionKey,
        /// Names the read.
        ticket: u64,
        /// The channel.
        channel: ChannelId,
        /// Where to begin.
        from: ReadFrom,
        /// How many packets at most; a picture counts whole.
        packets: u32,
    },
    /// Send packets by P5, at once, at most [`super::BATCH_PACKETS`].
    Send {
        /// Where.
        to: SocketAddr,
        /// What, in order.
        packets: Vec<Departure<P>>,
    },
}
