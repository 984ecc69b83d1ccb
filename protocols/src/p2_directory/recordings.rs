//! Recordings as clients see them: what is held of a channel, and what people asked to keep.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ids::{ChannelId, HostId};
use crate::recording::{
    MAX_AHEAD, MAX_PROGRAMME, MAX_PROGRAMMES, MAX_PROGRAMMES_PER_CHANNEL, MAX_TITLE_BYTES, RecordingFault,
    RecordingId, Span,
};
use crate::time::ClusterTime;

/// Ranges of one list, of all channels together; of more, the newest of each channel are told and the others counted.
pub const MAX_RANGES_LISTED: usize = 8_192;
/// Hosts named as lacking a range, and holes named of a programme; of more, the first.
pub const MAX_NAMED: usize = 4;

/// What is recorded of the channels of one network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingList {
    /// When the list was made.
    pub time: ClusterTime,
    /// Channels that some push server records, by id.
    pub channels: Vec<ChannelRecording>,
    /// Programme recordings, by id.
    pub programmes: Vec<ProgrammeEntry>,
    /// Ranges that were left out for [`MAX_RANGES_LISTED`].
    pub left_out: u32,
}

/// What is held of one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelRecording {
    /// The channel.
    pub channel: ChannelId,
    /// Its name.
    pub name: String,
    /// How many push servers record it: the replicas that each range should have.
    pub recorders: u16,
    /// Those that do not record at present, though they should; at most [`MAX_NAMED`].
    pub faults: Vec<RecorderFault>,
    /// What at least one holds, ascending, cut where the holders change; what lies between two is held by nobody.
    pub ranges: Vec<Range>,
}

/// A push server host that does not record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecorderFault {
    /// The host.
    pub host: HostId,
    /// Why.
    pub fault: RecordingFault,
}

/// A stretch of a channel's recording with the same holders from end to end, and nothing missing in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// Its dates.
    pub span: Span,
    /// Bytes of one replica, reckoned by length where a range ends within what a host told as one.
    pub bytes: u64,
    /// How many hosts hold it.
    pub replicas: u16,
    /// How many of those do not answer now.
    pub away: u16,
    /// What to think of that.
    pub state: RangeState,
    /// Recording hosts that lack it, at most [`MAX_NAMED`].
    pub lacking: Vec<HostId>,
}

/// How safe a range is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RangeState {
    /// All recording hosts hold it.
    Kept,
    /// Fewer do: losing one more could lose it.
    Thin,
    /// Two hosts hold different packets of the same dates.
    Differs,
    /// Fewer do, but it is so new that the others may be about to complete it.
    Fresh,
    /// Fewer do, since it is older than recordings are kept.
    Ending,
}

/// A programme recording and what is held of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgrammeEntry {
    /// Its id.
    pub id: RecordingId,
    /// Its channel.
    pub channel: ChannelId,
    /// Its dates.
    pub span: Span,
    /// What people call it: 1 to [`MAX_TITLE_BYTES`] bytes.
    pub title: String,
    /// How far it has come.
    pub state: ProgrammeState,
    /// How many hosts hold the part that the fewest hold, of what is held at all.
    pub replicas: u16,
    /// How many push servers record its channel.
    pub recorders: u16,
    /// Bytes of what is held of it, in one replica.
    pub bytes: u64,
    /// How much of what is over is held by nobody, in ms.
    pub missing_ms: u64,
    /// The longest holes, ascending, at most [`MAX_NAMED`].
    pub holes: Vec<Span>,
}

/// How far a programme recording has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProgrammeState {
    /// It has not begun.
    Scheduled,
    /// It is being recorded.
    Recording,
    /// All of it is held by all hosts that record its channel.
    Kept,
    /// All of it is held, some of it by too few hosts.
    Thin,
    /// Some of it is held by nobody.
    Partly,
    /// Nothing of it is held.
    Lost,
}

/// Why a recording is not ordered, or not given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum RecordRefusal {
    /// The channel is not on the caller's list.
    #[error("channel {0} is not on the list of this network")]
    UnknownChannel(ChannelId),
    /// No push server that carries the channel records.
    #[error("no push server records channel {0}: `record` in the topology says who does")]
    NotRecorded(ChannelId),
    /// It ends before it begins.
    #[error("a recording ends later than it begins")]
    EndsTooEarly,
    /// Longer than [`MAX_PROGRAMME`].
    #[error("a recording is at most {} h long", MAX_PROGRAMME.as_secs() / 3600)]
    TooLong,
    /// Further in the future than [`MAX_AHEAD`].
    #[error("a recording begins at most {} days from now", MAX_AHEAD.as_secs() / 86_400)]
    TooFarAhead,
    /// It is over, and nothing of it is held.
    #[error("that is over, and nothing of it is held")]
    NothingHeld,
    /// Not a title.
    #[error("a title has 1 to {MAX_TITLE_BYTES} bytes and no control characters")]
    BadTitle,
    /// [`MAX_PROGRAMMES_PER_CHANNEL`] or [`MAX_PROGRAMMES`] reached.
    #[error(
        "there are {MAX_PROGRAMMES_PER_CHANNEL} recordings of this channel or {MAX_PROGRAMMES} in all already: remove some"
    )]
    TooMany,
    /// Too many were ordered or removed in a short time.
    #[error("too many recordings are ordered at once: try again in a minute")]
    TooFast,
    /// There is no such recording of a channel on the caller's list.
    #[error("there is no recording {0}")]
    UnknownRecording(RecordingId),
}
