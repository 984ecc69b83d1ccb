//! What wakes the [`Viewer`](super::Viewer), and what it wants done.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use media::RtpPacket;
use media::reassembly::Limits;
use protocols::ids::{ChannelId, PushServerId};
use protocols::p2_directory::{ChannelList, ToClient, ToDatabase};
use protocols::preamble::Refusal;
use protocols::time::ClusterTime;

use crate::live::Policy;
use crate::repair::Mode;

/// Where a channel's datagrams arrive: a multicast group, a broadcast address or this host's own, and a UDP port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group {
    /// The destination address of the datagrams.
    pub address: IpAddr,
    /// Their destination port.
    pub port: u16,
    /// The address by which this host asked: it tells the interface that joins.
    pub local: IpAddr,
}

/// How channels are received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receiving {
    /// How long packets behind a gap wait for it to close.
    pub hold: Duration,
    /// How often a missing packet is asked for.
    pub repair: Mode,
    /// How P5 may bring what is on air.
    pub live: Policy,
}

impl Default for Receiving {
    /// As [`Limits::default`] says, asking until the hold is over, with a fast start.
    fn default() -> Self {
        Self { hold: Limits::default().hold, repair: Mode::default(), live: Policy::default() }
    }
}

/// All that can wake the machine.
#[derive(Debug, Clone)]
pub enum Input<'a> {
    /// At start: the list kept from an earlier run, and the cluster's time as estimated by this host's own clock.
    CachedList {
        /// The list, with tunings.
        list: ChannelList,
        /// The estimate; corrected by the first answer of any server.
        now: ClusterTime,
    },
    /// Ask for the channel list, now and whenever it changes.
    List {
        /// With tunings, to keep for when the directory is away.
        tunings: bool,
    },
    /// Watch this channel, instead of any other.
    Watch(ChannelId),
    /// Watch nothing.
    Stop,
    /// The connection asked for by [`Output::ConnectDirectory`] is up, preambles exchanged.
    DirectoryConnected,
    /// From the directory.
    DirectoryMessage(ToClient),
    /// The connection could not be made, or is gone.
    DirectoryClosed {
        /// Why, for people.
        cause: String,
    },
    /// A P4 datagram.
    Control {
        /// Its sender.
        from: SocketAddr,
        /// The datagram.
        bytes: &'a [u8],
    },
    /// A datagram that arrived at a joined group.
    Media {
        /// The group.
        group: Group,
        /// The datagram.
        bytes: &'a [u8],
    },
    /// A P5 datagram: it came to the socket that speaks P4 and is RTP.
    Stream {
        /// Its sender.
        from: SocketAddr,
        /// The datagram.
        bytes: &'a [u8],
    },
    /// The deadline was reached.
    Tick,
}

/// What the shell must do, in order.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are packets; a box each would be an allocation per packet"
)]
pub enum Output {
    /// Connect to the directory; answer with [`Input::DirectoryConnected`] or [`Input::DirectoryClosed`].
    ConnectDirectory,
    /// Send this on the directory's connection.
    SendDirectory(ToDatabase),
    /// Close the directory's connection or give up making it; no [`Input::DirectoryClosed`] follows.
    DropDirectory,
    /// Receive what arrives at a group.
    Join(Group),
    /// Receive it no more.
    Leave(Group),
    /// Send a P4 datagram from a socket that is bound to `from`: the lease is bound to that address.
    SendControl {
        /// Source address.
        from: IpAddr,
        /// The push server.
        to: SocketAddr,
        /// The datagram.
        bytes: Vec<u8>,
    },
    /// Hand on a packet: in order, each once.
    Deliver(RtpPacket),
    /// Write this list to the cache.
    KeepList(ChannelList),
    /// Tell the user.
    Notice(Notice),
}

/// What a user may want to know.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// The channel list, as asked for.
    Channels(ChannelList),
    /// The directory answers (again).
    DirectoryUp,
    /// The directory cannot be reached; tried again.
    DirectoryDown {
        /// Why.
        cause: String,
    },
    /// The directory refused the connection; tried again.
    Refused(Refusal),
    /// Tuned to a channel, or moved to another push server.
    Tuned {
        /// The channel.
        channel: ChannelId,
        /// Its name.
        name: String,
        /// The push server that serves it here.
        push_server: PushServerId,
        /// Where its packets arrive.
        group: Group,
        /// Whether this comes from the cached list.
        cached: bool,
    },
    /// The watched channel cannot be had now; it is tuned to as soon as it can.
    Unavailable {
        /// The channel.
        channel: ChannelId,
        /// Why.
        reason: String,
    },
    /// The watched channel delivered its first packet since it was asked for, or since it fell silent.
    Playing {
        /// The channel.
        channel: ChannelId,
    },
    /// The first whole random access picture since the channel was asked for has been handed on.
    Zapped {
        /// The channel.
        channel: ChannelId,
        /// Since it was asked for.
        took: Duration,
    },
    /// The group does not arrive here, or is not wanted: the channel comes by P5.
    ByUnicast,
    /// The group arrives after all.
    ByBroadcast,
    /// The push server has no room for a live session.
    Full {
        /// Which.
        push_server: PushServerId,
    },
    /// Packets were given up; the picture may show it.
    Lost {
        /// How many.
        packets: u64,
    },
    /// What is delivered from here on does not continue what came before.
    NewStream,
}

/// Why the machine wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Connect to the directory again, or give up an attempt.
    Directory,
    /// Tell the directory that we are here, or find that it is not.
    Ping,
    /// Fetch the list again.
    List,
    /// The directory has not answered: use the cached list.
    Cache,
    /// The media stopped: ask again.
    AskAgain,
    /// Say that somebody watches.
    Interest,
    /// Give up a gap.
    Reassembly,
    /// Ask for what is missing.
    Repair,
    /// Leave the group that was moved away from.
    LeaveOld,
    /// Begin, keep or end a live session, or join the group.
    Live,
}

/// Counts since the start, over all channels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// RTP packets received.
    pub packets: u64,
    /// Packets handed on.
    pub delivered: u64,
    /// Bytes of transport stream handed on.
    pub delivered_bytes: u64,
    /// Packets given up.
    pub lost: u64,
    /// Packets that came again.
    pub duplicates: u64,
    /// Packets that came after a later one and still in time.
    pub reordered: u64,
    /// Packets that came too late.
    pub late: u64,
    /// Datagrams of a joined group that are neither RTP nor RTCP.
    pub foreign: u64,
    /// Datagrams of a group that is not joined (any more).
    pub stale: u64,
    /// Announcements that counted.
    pub announcements: u64,
    /// Announcements and P4 answers whose tag is wrong.
    pub bad_tags: u64,
    /// Announcements of another channel, replayed, or of the push server that was just moved away from.
    pub ignored_announcements: u64,
    /// P4 datagrams that are malformed or of a kind that no client takes.
    pub bad_control: u64,
    /// Tunings of an old revision or of a channel that is not watched.
    pub ignored_tunings: u64,
    /// Interests sent.
    pub interests_sent: u64,
    /// Renewals that another client's interest made needless.
    pub interests_suppressed: u64,
    /// Times that a channel was asked for.
    pub zaps: u64,
    /// Moves to another push server.
    pub moves: u64,
    /// Requests for missing packets sent.
    pub repair_requests: u64,
    /// Packets asked for in them, each as often as it was.
    pub repairs_asked: u64,
    /// Packets that came in time after they had been asked for.
    pub repaired: u64,
    /// Packets that came by P5 when they had been given up.
    pub repairs_late: u64,
    /// Packets that repair was thought of for and that did not come in time.
    pub repairs_given_up: u64,
    /// Packets that were not asked for when due because the budget was used up, each as often as it was.
    pub repairs_deferred: u64,
    /// Packets that came by P5 and were there already.
    pub repair_duplicates: u64,
    /// P5 datagrams of another stream, of no push server of ours, or no RTP.
    pub foreign_stream: u64,
    /// Live sessions asked for, each as often as it was.
    pub live_begins: u64,
    /// Live sessions begun.
    pub live_sessions: u64,
    /// Live sessions refused for want of room.
    pub live_refused: u64,
    /// Packets that came by live sessions.
    pub live_packets: u64,
    /// Times that the group was found not to arrive while P5 did.
    pub live_stays: u64,
    /// Times that P6 took over from a live session.
    pub seams: u64,
    /// Packets of P6 that were too far ahead of P5 to be taken.
    pub left_to_stream: u64,
}
