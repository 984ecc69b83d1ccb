//! P2 directory: client → database server, TCP 7402.
//!
//! | when | client sends | database server sends |
//! |---|---|---|
//! | connected | preamble | preamble |
//! | any time | [`ToDatabase::List`] | [`ToClient::Channels`] |
//! | any time | [`ToDatabase::Watch`] | [`ToClient::Tuning`] or [`ToClient::Unavailable`], and again whenever it changes |
//! | any time | [`ToDatabase::Unwatch`] | nothing |
//! | any time | [`ToDatabase::Recordings`] | [`ToClient::Recordings`] |
//! | any time | [`ToDatabase::Record`] | [`ToClient::Recorded`] or [`ToClient::RecordRefused`] |
//! | any time | [`ToDatabase::Unrecord`] | [`ToClient::Unrecorded`] or [`ToClient::RecordRefused`] |
//! | any time | [`ToDatabase::Play`] | [`ToClient::Playing`] or [`ToClient::PlayRefused`] |
//! | any time | [`ToDatabase::Guide`] | [`ToClient::Guide`] |
//! | a picture is there | [`ToDatabase::Zapped`] | nothing |
//! | by TLS | [`ToDatabase::LogIn`], [`ToDatabase::LogInByKey`] | [`ToClient::LoggedIn`] or [`ToClient::AdministrationRefused`] |
//! | logged in | [`ToDatabase::Administer`] | [`ToClient::Administered`] or [`ToClient::AdministrationRefused`] |
//! | every [`PING_INTERVAL`] | [`ToDatabase::Ping`] | [`ToClient::Pong`] |
//! | the list changes | | [`ToClient::ListChanged`], to those who have asked for a list |
//!
//! Frames are not sealed: the channel list is no secret, and what a viewer may do with an answer is bound to its own
//! address by the lease. The caller's network is that of the connection's source address. Requests are at most
//! [`crate::preamble::MAX_P2_REQUEST_BYTES`], answers [`crate::preamble::MAX_P2_ANSWER_BYTES`]. A client silent for
//! [`SILENCE_TIMEOUT`] is disconnected; a client that does not read its answers likewise.

mod guide;
mod play;
mod recordings;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::administration::{Answer, Failure, Request, Role, Secret};
use crate::authority::{Lease, MacKey, Tag};
use crate::codec::Message;
use crate::ids::{ChannelId, Generation, PushServerId, Revision};
use crate::recording::{RecordingId, Span};
use crate::time::ClusterTime;

pub use guide::{ChannelGuide, GuidePage, GuidePlace, GuideQuery, MAX_EVENTS_PER_PAGE};
pub use play::{
    MAX_PLAY_HOLES, MAX_PLAY_SERVERS, OPEN_END, PlayServer, PlayTarget, Presentation, PresentationRefusal,
};
pub use recordings::{
    ChannelRecording, MAX_NAMED, MAX_RANGES_LISTED, ProgrammeEntry, ProgrammeState, Range, RangeState,
    RecordRefusal, RecorderFault, RecordingList,
};

/// How often a client shows that it is there.
pub const PING_INTERVAL: Duration = Duration::from_secs(2);
/// Silence after which either side takes the other for dead.
pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(6);
/// Channels that one connection may watch at a time; one more is refused.
pub const MAX_WATCHES_PER_CONNECTION: usize = 64;

/// From the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToDatabase {
    /// Asks for the channels of the caller's network.
    List {
        /// Whether to send tunings too, to keep for the time when the database server is away.
        tunings: bool,
    },
    /// Asks where to tune, now and at each change until [`ToDatabase::Unwatch`].
    Watch {
        /// The channel.
        channel: ChannelId,
    },
    /// Ends a watch.
    Unwatch {
        /// The channel.
        channel: ChannelId,
    },
    /// "I am here."
    Ping,
    /// Asks what is recorded of the channels of the caller's network.
    Recordings {
        /// Of this channel only.
        channel: Option<ChannelId>,
    },
    /// Orders a programme recording; the answers to several come in their order.
    Record {
        /// The channel.
        channel: ChannelId,
        /// From when to when.
        span: Span,
        /// What people call it: 1 to [`crate::recording::MAX_TITLE_BYTES`] bytes.
        title: String,
    },
    /// Gives a programme recording up, before, while or after it is made: what is held of it is kept no longer than the rest.
    Unrecord {
        /// Which.
        id: RecordingId,
    },
    /// Asks what is held of a recording, by whom, and for leave to play it; again before the lease ends.
    Play(PlayTarget),
    /// The first whole random access picture of a channel has been shown. Not answered.
    Zapped {
        /// The channel.
        channel: ChannelId,
        /// Since it was asked for, ms.
        took_ms: u32,
    },
    /// Logs in, by TLS only; a connection that has logged in may send up to [`crate::administration::MAX_ADMINISTRATION_BYTES`].
    LogIn {
        /// Name of the account.
        name: String,
        /// Its password.
        password: Secret,
    },
    /// Logs in as who holds the cluster key, which is how the first account is made.
    LogInByKey {
        /// Tag of the connection's exporter ([`crate::administration::EXPORTER_LABEL`]) in the context
        /// [`crate::administration::KEY_LOG_IN`], by [`crate::authority::ClusterKey::administration_key`].
        proof: [u8; Tag::BYTES],
    },
    /// Asks something that needs an account; the answers to several come in their order.
    Administer(Box<Request>),
    /// Asks what the channels of the caller's network show.
    Guide(GuideQuery),
}

impl Message for ToDatabase {
    const KINDS: u32 = 13;
}

/// From the database server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToClient {
    /// Answers a list request.
    Channels(ChannelList),
    /// Where to tune for a watched channel; replaces what was said of it before.
    Tuning(Box<Tuning>),
    /// A watched channel cannot be had now; a tuning follows when it can.
    Unavailable {
        /// The channel.
        channel: ChannelId,
        /// For people.
        reason: String,
    },
    /// Ask again: the list, or the status of a channel on it, has changed.
    ListChanged,
    /// Answers a ping.
    Pong,
    /// The last message before the connection is closed on purpose.
    Refused(crate::preamble::Refusal),
    /// Answers [`ToDatabase::Recordings`].
    Recordings(RecordingList),
    /// A programme recording is ordered.
    Recorded(Box<ProgrammeEntry>),
    /// A programme recording is given up.
    Unrecorded {
        /// Which.
        id: RecordingId,
    },
    /// Nothing was ordered or given up.
    RecordRefused(RecordRefusal),
    /// Answers [`ToDatabase::Play`].
    Playing(Box<Presentation>),
    /// It cannot be played.
    PlayRefused(PresentationRefusal),
    /// The connection acts for this account from now on.
    LoggedIn {
        /// Its name.
        name: String,
        /// What it may do.
        role: Role,
    },
    /// Answers [`ToDatabase::Administer`].
    Administered(Box<Answer>),
    /// Answers a log in or [`ToDatabase::Administer`] that came to nothing.
    AdministrationRefused(Box<Failure>),
    /// Answers [`ToDatabase::Guide`].
    Guide(Box<GuidePage>),
}

impl Message for ToClient {
    const KINDS: u32 = 16;
}

/// The channels of one network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ChannelList {
    /// Version of the topology.
    pub generation: Generation,
    /// The network that the caller's address is on, such as `10.0.1.0/24`; `None` when no destination serves it, and
    /// then the list is empty.
    pub network: Option<String>,
    /// Off-line mode: no acquisition server is registered, nothing is live.
    pub offline: bool,
    /// When the list was made.
    pub time: ClusterTime,
    /// The channels, by id, each once.
    pub channels: Vec<ChannelEntry>,
}

/// One channel as a viewer sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChannelEntry {
    /// The channel.
    pub id: ChannelId,
    /// Its name.
    pub name: String,
    /// Whether it could be had at the caller's network now.
    pub status: ChannelStatus,
    /// Where to tune; present when asked for and an operating push server is assigned.
    pub tuning: Option<Box<Tuning>>,
    /// Under which heading people look for it, at most [`crate::topology::MAX_NAME_BYTES`] bytes.
    pub group: Option<String>,
    /// Web address of its picture, at most [`crate::topology::MAX_LOGO_BYTES`] bytes.
    pub logo: Option<String>,
}

/// Status of a channel relative to one network. A channel with no destination there is not listed at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChannelStatus {
    /// It can be had; whether it is being sent is the push server's private business.
    Active,
    /// It cannot.
    Inactive {
        /// Why, for people.
        cause: String,
    },
}

/// All that a client needs to receive one channel and keep it alive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    /// The channel.
    pub channel: ChannelId,
    /// Its name.
    pub name: String,
    /// Group, broadcast or unicast address of the destination.
    pub destination: IpAddr,
    /// UDP port of the channel.
    pub port: u16,
    /// The push server that is assigned.
    pub push_server: PushServerId,
    /// Its P4 address.
    pub control: SocketAddr,
    /// Version of the assignment: a higher one replaces a lower.
    pub revision: Revision,
    /// Permission to keep the channel alive.
    pub lease: Lease,
    /// The lease's secret.
    pub secret: MacKey,
    /// Verifies the channel's announcements.
    pub announce_key: MacKey,
    /// The database server's time.
    pub time: ClusterTime,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode_message, encode};

    #[test]
    fn requests_on_the_wire() {
        assert_eq!(encode(&ToDatabase::List { tunings: true }), [0, 0, 0, 0, 1]);
        assert_eq!(encode(&ToDatabase::Watch { channel: ChannelId(7) }), [1, 0, 0, 0, 7, 0, 0, 0]);
        assert_eq!(encode(&ToDatabase::Ping), [3, 0, 0, 0]);
        let zapped = ToDatabase::Zapped { channel: ChannelId(7), took_ms: 0x0102 };
        assert_eq!(encode(&zapped), [8, 0, 0, 0, 7, 0, 0, 0, 2, 1, 0, 0]);
        let read: ToDatabase = decode_message::<_, 16>(&[2, 0, 0, 0, 7, 0, 0, 0]).unwrap();
        assert_eq!(read, ToDatabase::Unwatch { channel: ChannelId(7) });
    }

    #[test]
    fn a_line_of_the_channel_list_on_the_wire() {
        let entry = ChannelEntry {
            id: ChannelId(7),
            name: "A".to_owned(),
            status: ChannelStatus::Active,
            tuning: None,
            group: Some("G".to_owned()),
            logo: None,
        };
        let mut expected = vec![7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, b'A', 0, 0, 0, 0, 0];
        expected.extend([1, 1, 0, 0, 0, 0, 0, 0, 0, b'G', 0]);
        assert_eq!(encode(&entry), expected);
    }

    #[test]
    fn requests_about_recordings_on_the_wire() {
        assert_eq!(
            encode(&ToDatabase::Recordings { channel: Some(ChannelId(7)) }),
            [4, 0, 0, 0, 1, 7, 0, 0, 0]
        );
        let span = Span { from: ClusterTime(1), to: ClusterTime(2) };
        let record = ToDatabase::Record { channel: ChannelId(7), span, title: "A".to_owned() };
        let mut expected = vec![5, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0];
        expected.extend([1, 0, 0, 0, 0, 0, 0, 0, b'A']);
        assert_eq!(encode(&record), expected);
        assert_eq!(encode(&ToDatabase::Unrecord { id: RecordingId(3) }), [6, 0, 0, 0, 3, 0, 0, 0]);
    }

    #[test]
    fn administration_on_the_wire() {
        let log_in = ToDatabase::LogIn { name: "a".to_owned(), password: Secret("p".to_owned()) };
        let bytes = [9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, b'a', 1, 0, 0, 0, 0, 0, 0, 0, b'p'];
        assert_eq!(encode(&log_in), bytes);
        assert!(!format!("{log_in:?}").contains("\"p\""));
        let by_key = encode(&ToDatabase::LogInByKey { proof: [7; 16] });
        assert_eq!(by_key, [&[10, 0, 0, 0][..], &[7; 16]].concat());
        assert_eq!(encode(&ToDatabase::Administer(Box::new(Request::Reload))), [11, 0, 0, 0, 2, 0, 0, 0]);
        let drain = Request::Drain { push_server: "h".parse().unwrap(), draining: true };
        let bytes = [11, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, b'h', 1];
        assert_eq!(encode(&ToDatabase::Administer(Box::new(drain.clone()))), bytes);
        let read: ToDatabase = decode_message::<_, 64>(&bytes).unwrap();
        assert_eq!(read, ToDatabase::Administer(Box::new(drain)));
        let logged_in = ToClient::LoggedIn { name: "a".to_owned(), role: Role::Superuser };
        assert_eq!(encode(&logged_in), [12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, b'a', 2, 0, 0, 0]);
        assert_eq!(encode(&ToClient::Administered(Box::new(Answer::Done))), [13, 0, 0, 0, 0, 0, 0, 0]);
        let refused = ToClient::AdministrationRefused(Box::new(Failure::Role(Role::Operator)));
        assert_eq!(encode(&refused), [14, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0]);
    }

    #[test]
    fn answers_about_recordings_on_the_wire() {
        assert_eq!(encode(&ToClient::Unrecorded { id: RecordingId(3) }), [8, 0, 0, 0, 3, 0, 0, 0]);
        let refused = ToClient::RecordRefused(RecordRefusal::UnknownRecording(RecordingId(3)));
        assert_eq!(encode(&refused), [9, 0, 0, 0, 9, 0, 0, 0, 3, 0, 0, 0]);
        let range = Range {
            span: Span { from: ClusterTime(1), to: ClusterTime(2) },
            bytes: 3,
            replicas: 1,
            away: 0,
            state: RangeState::Thin,
            lacking: vec!["h".parse().unwrap()],
        };
        let mut expected = vec![1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0];
        expected.extend([1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, b'h']);
        assert_eq!(encode(&range), expected);
    }
}
