//! What is recorded, for people and their programs: what `/api/v1/recordings` says.

use protocols::p2_directory::{
    ChannelRecording, ProgrammeEntry, ProgrammeState, Range, RangeState, RecordingList,
};
use protocols::recording::Span;
use serde::Serialize;
use utoipa::ToSchema;

/// What is recorded of all channels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct RecordingsView {
    /// When the list was made, ms since 1970.
    pub time_ms: u64,
    /// Channels that some push server records, by id.
    pub channels: Vec<ChannelRecordingView>,
    /// Ordered recordings, by id.
    pub programmes: Vec<ProgrammeView>,
    /// Oldest ranges that are not listed, because there are too many.
    pub left_out: u32,
}

/// What is recorded of one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ChannelRecordingView {
    /// The channel.
    pub channel: u32,
    /// Its name.
    pub name: String,
    /// How many push servers record it.
    pub recorders: u16,
    /// Some of those that do not record at present, though they should.
    pub faults: Vec<RecorderFaultView>,
    /// What at least one holds, ascending; what lies between two is a hole.
    pub ranges: Vec<RangeView>,
}

/// A push server that does not record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RecorderFaultView {
    /// Which.
    pub push_server: String,
    /// Why, for people.
    pub fault: String,
}

/// A stretch with the same holders from end to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RangeView {
    /// Its beginning, ms since 1970.
    pub from_ms: u64,
    /// Its end.
    pub to_ms: u64,
    /// Bytes of one replica.
    pub bytes: u64,
    /// How many push servers hold it.
    pub replicas: u16,
    /// How many of them are away.
    pub away: u16,
    /// What to think of that.
    pub state: RangeStateView,
    /// Some of the push servers that lack it.
    pub lacking: Vec<String>,
}

/// How safe a range is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RangeStateView {
    /// All recording push servers hold it.
    Kept,
    /// Fewer do.
    Thin,
    /// Two hold different packets of the same dates.
    Differs,
    /// Fewer do, but it is new.
    Fresh,
    /// Fewer do, since its time is over.
    Ending,
}

/// An ordered recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProgrammeView {
    /// Its id.
    pub id: u32,
    /// Its channel.
    pub channel: u32,
    /// Its beginning, ms since 1970.
    pub from_ms: u64,
    /// Its end.
    pub to_ms: u64,
    /// What people call it.
    pub title: String,
    /// How far it has come.
    pub state: ProgrammeStateView,
    /// How many push servers hold the part that the fewest hold.
    pub replicas: u16,
    /// How many push servers record its channel.
    pub recorders: u16,
    /// Bytes of what is held, in one replica.
    pub bytes: u64,
    /// How much of what is over is held by nobody.
    pub missing_ms: u64,
    /// The longest holes, ascending.
    pub holes: Vec<SpanView>,
}

/// How far an ordered recording has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProgrammeStateView {
    /// It has not begun.
    Scheduled,
    /// It is being recorded.
    Recording,
    /// All of it is held by all push servers that record its channel.
    Kept,
    /// All of it is held, some of it by too few.
    Thin,
    /// Some of it is held by nobody.
    Partly,
    /// Nothing of it is held.
    Lost,
}

/// From when to when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct SpanView {
    /// Beginning, ms since 1970.
    pub from_ms: u64,
    /// End.
    pub to_ms: u64,
}

impl RecordingsView {
    /// The view of a list.
    pub fn of(list: RecordingList) -> Self {
        Self {
            time_ms: list.time.0,
            channels: list.channels.into_iter().map(ChannelRecordingView::of).collect(),
            programmes: list.programmes.into_iter().map(ProgrammeView::of).collect(),
            left_out: list.left_out,
        }
    }
}

impl ChannelRecordingView {
    fn of(channel: ChannelRecording) -> Self {
        let faults = channel.faults.into_iter().map(|fault| RecorderFaultView {
            push_server: fault.host.to_string(),
            fault: fault.fault.text().to_owned(),
        });
        Self {
            channel: channel.channel.0,
            name: channel.name,
            recorders: channel.recorders,
            faults: faults.collect(),
            ranges: channel.ranges.iter().map(RangeView::of).collect(),
        }
    }
}

impl RangeView {
    fn of(range: &Range) -> Self {
        Self {
            from_ms: range.span.from.0,
            to_ms: range.span.to.0,
            bytes: range.bytes,
            replicas: range.replicas,
            away: range.away,
            state: match range.state {
                RangeState::Kept => RangeStateView::Kept,
                RangeState::Thin => RangeStateView::Thin,
                RangeState::Differs => RangeStateView::Differs,
                RangeState::Fresh => RangeStateView::Fresh,
                RangeState::Ending => RangeStateView::Ending,
            },
            lacking: range.lacking.iter().map(ToString::to_string).collect(),
        }
    }
}

impl ProgrammeView {
    /// The view of one.
    pub fn of(programme: ProgrammeEntry) -> Self {
        let span = |span: &Span| SpanView { from_ms: span.from.0, to_ms: span.to.0 };
        Self {
            id: programme.id.0,
            channel: programme.channel.0,
            from_ms: programme.span.from.0,
            to_ms: programme.span.to.0,
            title: programme.title,
            state: match programme.state {
                ProgrammeState::Scheduled => ProgrammeStateView::Scheduled,
                ProgrammeState::Recording => ProgrammeStateView::Recording,
                ProgrammeState::Kept => ProgrammeStateView::Kept,
                ProgrammeState::Thin => ProgrammeStateView::Thin,
                ProgrammeState::Partly => ProgrammeStateView::Partly,
                ProgrammeState::Lost => ProgrammeStateView::Lost,
            },
            replicas: programme.replicas,
            recorders: programme.recorders,
            bytes: programme.bytes,
            missing_ms: programme.missing_ms,
            holes: programme.holes.iter().map(span).collect(),
        }
    }
}
