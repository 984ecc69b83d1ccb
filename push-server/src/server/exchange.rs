//! What wakes a push server host, and what it wants done.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use protocols::ids::{AcquisitionId, ChannelId};
use protocols::p3_feed::FeedOrder;
use protocols::p6_broadcast::ANNOUNCEMENT_BYTES;
use protocols::preamble::Refusal;
use protocols::recording::{Extent, RecordOrder, RecordingFault};

use crate::admission::{PlayMissed, Played};
use crate::live;
use crate::membership;
use crate::plan::{ChannelCounters, Plan};
use crate::repair;
use crate::session_announcement::Notice;

/// One accepted P3 connection; numbered by the shell, never reused within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedId(pub u64);

/// Everything that can wake a push server host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A P4 datagram came.
    Datagram {
        /// Its source.
        from: SocketAddr,
        /// Its bytes, as they came.
        bytes: Vec<u8>,
    },
    /// An authenticated acquisition server opened a feed; it waits for [`Output::AcceptFeed`] or [`Output::CloseFeed`].
    FeedOpened {
        /// The channel that it wants to feed.
        channel: ChannelId,
        /// The connection.
        feed: FeedId,
        /// Who feeds.
        peer: AcquisitionId,
        /// Synchronisation source of its packets.
        ssrc: u32,
    },
    /// A feed ended, by the peer, by silence or by [`Output::CloseFeed`].
    FeedClosed {
        /// Its channel.
        channel: ChannelId,
        /// The connection.
        feed: FeedId,
    },
    /// What the data plane has counted.
    Counters(ChannelCounters),
    /// What the data thread of a channel tells of a live session.
    Live {
        /// The channel.
        channel: ChannelId,
        /// What has become of the session.
        event: live::Event,
    },
    /// What the recorder holds of a channel: all of it, also when that is nothing.
    Extents {
        /// The channel.
        channel: ChannelId,
        /// In any order; at most [`protocols::recording::MAX_EXTENTS`] count, the newest.
        extents: Vec<Extent>,
    },
    /// The recorder cannot write, or can again (`None`).
    RecordingFault(Option<RecordingFault>),
    /// What came of listening to members of groups.
    Membership(membership::Event),
    /// The deadline was reached.
    Tick,
}

/// What the shell must do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Output {
    /// Send a P4 datagram.
    Send {
        /// To whom.
        to: SocketAddr,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// Put a plan in force in the data plane, at once.
    Plan {
        /// The channel.
        channel: ChannelId,
        /// Where to send, and whether now.
        plan: Arc<Plan>,
    },
    /// This host carries the channel no more: forget its data plane.
    Release {
        /// The channel.
        channel: ChannelId,
    },
    /// Record the channel by this order from now on; `None`: no more. What is held stays. Comes before the channel's plan.
    Record {
        /// The channel.
        channel: ChannelId,
        /// How long to keep what, and who else has it.
        order: Option<Box<RecordOrder>>,
    },
    /// Send packets again, as far as they are there and the budgets allow.
    Repair {
        /// The channel.
        channel: ChannelId,
        /// Which, and who asks.
        request: repair::Request,
    },
    /// Have the data thread of a channel carry out an order to a live session.
    Live {
        /// The channel.
        channel: ChannelId,
        /// What to do.
        order: live::Order,
    },
    /// Have the sessions carry out an order; they answer it.
    Play(Box<Played>),
    /// Have a session send packets again, as far as it may.
    PlayRepair(Box<PlayMissed>),
    /// Send an announcement to a destination, to the channel's port, by the sockets of its packets.
    Announce {
        /// The channel.
        channel: ChannelId,
        /// The destination.
        destination: IpAddr,
        /// The announcement.
        bytes: [u8; ANNOUNCEMENT_BYTES],
    },
    /// Listen to members of groups, or ask for them.
    Membership(membership::Order),
    /// Announce a channel to players, or take that back.
    Notify(Notice),
    /// The feed is wanted: say so, and let its packets into the channel's data plane.
    AcceptFeed {
        /// The channel.
        channel: ChannelId,
        /// The connection.
        feed: FeedId,
    },
    /// Tell an accepted feed to hold, or to flow: before the plan that needs it.
    TellFeed {
        /// The channel.
        channel: ChannelId,
        /// The connection.
        feed: FeedId,
        /// [`FeedOrder::Hold`] or [`FeedOrder::Flow`].
        order: FeedOrder,
    },
    /// Say why, and close the connection.
    CloseFeed {
        /// The channel.
        channel: ChannelId,
        /// The connection.
        feed: FeedId,
        /// Why.
        refusal: Refusal,
    },
}

/// What a deadline was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Interest runs out, or is to be announced.
    Interest,
    /// A feed has brought what nobody watches for long enough.
    Holding,
    /// What is held of a channel has changed again, and is to be told.
    Recording,
    /// The client of a live session has been silent for too long.
    Live,
    /// Members of groups are to be asked for, or have not answered.
    Membership,
    /// A channel is to be announced again.
    Sessions,
}
