//! P1 registration: acquisition server → database server, TCP 7401.
//!
//! | when | acquisition server sends | database server sends |
//! |---|---|---|
//! | connected | preamble, [`crate::handshake`] | the same |
//! | then, once | [`ToDatabase::Register`] | [`ToAcquisition::Plan`] |
//! | every [`POLL_INTERVAL`], and at once on a change | [`ToDatabase::Poll`] | [`ToAcquisition::Polled`], and a [`ToAcquisition::Plan`] before it when the plan has changed |
//! | its multiplexes announce something new | [`ToDatabase::Guide`], at most [`SCHEDULES_PER_POLL`] with a poll | nothing |
//! | plan changes meanwhile | | [`ToAcquisition::Plan`] |
//!
//! Frames are sealed by [`crate::handshake::FrameSeal`], at most [`crate::preamble::MAX_P1_FRAME_BYTES`] each. Either side
//! that hears nothing for [`SILENCE_TIMEOUT`] closes; the acquisition server goes on feeding and reconnects with backoff.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::codec::Message;
use crate::guide::Schedule;
use crate::health::{HealthReport, SignalReport};
use crate::ids::{ChannelId, Generation, HostId, InputId};

/// How often an acquisition server reports and collects commands.
pub const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Silence after which a peer is taken for dead.
pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest cause text, in bytes; longer ones are cut by the sender and refused by the receiver.
pub const MAX_CAUSE_BYTES: usize = 200;
/// Commands that wait for one acquisition server at most; one more is refused to whoever posts it.
pub const MAX_PENDING_COMMANDS: usize = 64;

/// Schedules that are sent in one [`POLL_INTERVAL`]: the guide of 200 channels is told within half a minute, and no poll waits
/// long behind it.
pub const SCHEDULES_PER_POLL: usize = 4;

/// From the acquisition server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToDatabase {
    /// Registers; the id and boot id were in the handshake.
    Register {
        /// Program version, for the log and the console.
        software: String,
    },
    /// Reports on everything and asks for commands.
    Poll(Poll),
    /// What a channel of its plan shows between two dates; all of it again after a new registration. Not answered.
    Guide(Schedule),
}

impl Message for ToDatabase {
    const KINDS: u32 = 3;
}

/// The state of one acquisition server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    /// Generation of the plan that it carries out.
    pub generation: Generation,
    /// One report per channel of the plan.
    pub channels: Vec<ChannelReport>,
    /// Commands carried out since the last poll.
    pub done: Vec<CommandResult>,
}

/// How one channel fares at its source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelReport {
    /// The channel.
    pub channel: ChannelId,
    /// The input that it is taken from now.
    pub input: InputState,
    /// Which that is: 0 the plan's own input, else so many-th of its backups.
    pub source: u8,
    /// Changes from one source to another since the acquisition server's start.
    pub switches: u64,
    /// RTP packets made since the acquisition server's start.
    pub packets: u64,
    /// Bitrate of the transport stream over the last second.
    pub rate_bps: u64,
    /// One report per push server host of the plan.
    pub feeds: Vec<FeedReport>,
    /// Errors in its stream.
    pub health: HealthReport,
    /// How well its tuner receives; `None` where there is none.
    pub signal: Option<SignalReport>,
}

/// Whether an input delivers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputState {
    /// Opened, nothing has come yet.
    Starting,
    /// MPEG-TS arrives.
    Delivering,
    /// It does not exist, has stalled or is no MPEG-TS; the cause is for people. It is retried.
    Failed {
        /// What happened and what to do, at most [`MAX_CAUSE_BYTES`].
        cause: String,
    },
}

/// Whether one push server host can be fed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedReport {
    /// The push server host.
    pub host: HostId,
    /// State of the P3 connection.
    pub state: FeedState,
    /// Packets dropped because the connection could not keep up, since the acquisition server's start.
    pub dropped_packets: u64,
}

/// State of one P3 connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeedState {
    /// Not yet connected.
    Connecting,
    /// Accepted by the push server.
    Connected,
    /// "Push server unreachable": the connection was dropped and is retried.
    Unreachable {
        /// Why, at most [`MAX_CAUSE_BYTES`].
        cause: String,
    },
}

/// From the database server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToAcquisition {
    /// What to capture and whom to feed; replaces the plan before it.
    Plan(FeedPlan),
    /// Answers a poll.
    Polled {
        /// Commands to carry out, oldest first; each comes once per connection until its result is reported.
        commands: Vec<Command>,
    },
}

impl Message for ToAcquisition {
    const KINDS: u32 = 2;
}

/// All that an acquisition server has to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedPlan {
    /// Version of the topology that it was made from.
    pub generation: Generation,
    /// Its channels, by id.
    pub channels: Vec<ChannelPlan>,
}

/// One channel to capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelPlan {
    /// The channel.
    pub channel: ChannelId,
    /// The input's id, for reports and commands.
    pub input: InputId,
    /// Where to capture it, as in `topology.toml`.
    pub url: String,
    /// The service within the multiplex; `None` where the input carries one programme.
    pub service: Option<u16>,
    /// Where to capture it when that fails, best first; at most [`crate::topology::MAX_BACKUPS`].
    pub backups: Vec<SourcePlan>,
    /// So many seconds a source may be bad before another is taken.
    pub hold_off_s: u32,
    /// So many seconds a better source has to be good before it is taken again.
    pub return_after_s: u32,
    /// Whom to feed, by host id; the acquisition server knows no destinations.
    pub feeds: Vec<FeedTarget>,
}

/// Another source of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePlan {
    /// The input's id.
    pub input: InputId,
    /// Where to capture it, as in `topology.toml`.
    pub url: String,
    /// The service within the multiplex; `None` where the input carries one programme.
    pub service: Option<u16>,
}

/// One push server host to feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedTarget {
    /// The push server host.
    pub host: HostId,
    /// Its P3 address.
    pub address: SocketAddr,
}

/// A command from a superuser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Unique; repeated until its result is reported, carried out once.
    pub id: u64,
    /// What to do.
    pub order: Order,
}

/// What an acquisition server can be told to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Close the input and open it anew.
    RestartInput(InputId),
}

/// The end of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandResult {
    /// The command's id.
    pub id: u64,
    /// `Err` says why not, at most [`MAX_CAUSE_BYTES`].
    pub outcome: Result<(), String>,
}

/// `text`, cut to [`MAX_CAUSE_BYTES`] at a character's edge.
pub fn cause(text: impl Into<String>) -> String {
    let mut text = text.into();
    text.truncate(text.floor_char_boundary(MAX_CAUSE_BYTES));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{CodecError, decode_message, encode};
    use crate::health::HealthState;

    #[test]
    fn a_poll_on_the_wire() {
        let poll = ToDatabase::Poll(Poll {
            generation: Generation(3),
            channels: vec![ChannelReport {
                channel: ChannelId(1),
                input: InputState::Delivering,
                source: 2,
                switches: 4,
                packets: 9,
                rate_bps: 5,
                feeds: vec![],
                health: HealthReport { state: HealthState::Good, ..HealthReport::default() },
                signal: Some(SignalReport { locked: true, strength_percent: Some(6), quality_percent: None }),
            }],
            done: vec![],
        });
        let mut bytes = vec![1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend([1, 0, 0, 0, 1, 0, 0, 0, 2, 4, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend([9, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend([0; 8]);
        // Good, no indicators, nothing lost, no index, accuracy not judged; locked, strength, no quality.
        bytes.extend([1, 0, 0, 0]);
        bytes.extend([0; 18]);
        bytes.extend([1, 1, 1, 6, 0]);
        bytes.extend([0; 8]);
        assert_eq!(encode(&poll), bytes);
        assert_eq!(decode_message::<ToDatabase, 1024>(&bytes).unwrap(), poll);
    }

    #[test]
    fn a_plan_on_the_wire() {
        let plan = ToAcquisition::Plan(FeedPlan {
            generation: Generation(3),
            channels: vec![ChannelPlan {
                channel: ChannelId(7),
                input: "a".parse().unwrap(),
                url: "u".into(),
                service: None,
                backups: vec![SourcePlan {
                    input: "b".parse().unwrap(),
                    url: "v".into(),
                    service: Some(258),
                }],
                hold_off_s: 2,
                return_after_s: 30,
                feeds: vec![],
            }],
        });
        let mut bytes = vec![0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0];
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0, b'a', 1, 0, 0, 0, 0, 0, 0, 0, b'u', 0]);
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, b'b']);
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0, b'v', 1, 2, 1, 2, 0, 0, 0, 30, 0, 0, 0]);
        bytes.extend([0; 8]);
        assert_eq!(encode(&plan), bytes);
        assert_eq!(decode_message::<ToAcquisition, 1024>(&bytes).unwrap(), plan);
    }

    #[test]
    fn a_schedule_on_the_wire() {
        let schedule = Schedule { channel: ChannelId(7), from_unix_s: 1, until_unix_s: 2, events: vec![] };
        let mut bytes = vec![2, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend([0; 8]);
        assert_eq!(encode(&ToDatabase::Guide(schedule.clone())), bytes);
        assert_eq!(decode_message::<ToDatabase, 64>(&bytes).unwrap(), ToDatabase::Guide(schedule));
    }

    #[test]
    fn a_kind_of_a_later_version_is_told_apart_from_rubbish() {
        let result = decode_message::<ToAcquisition, 64>(&[9, 0, 0, 0]);
        assert!(matches!(result, Err(CodecError::UnknownKind(9))));
    }

    #[test]
    fn causes_are_cut_at_a_characters_edge() {
        assert_eq!(cause("ä".repeat(150)).len(), MAX_CAUSE_BYTES);
    }
}
