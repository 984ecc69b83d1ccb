//! Playback as P2 arranges it: a client says what it wants to see, and is told what of it is held, by whom, and by which lease.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::authority::{MacKey, RecordingLease};
use crate::ids::{ChannelId, HostId};
use crate::recording::{RecordingId, Span};
use crate::time::ClusterTime;

/// Push servers named of one presentation; of more, the best.
pub const MAX_PLAY_SERVERS: usize = 16;
/// Holes named of one presentation; of more, the longest.
pub const MAX_PLAY_HOLES: usize = 64;
/// The end of a lease for a recording that is to be followed for as long as it grows.
pub const OPEN_END: ClusterTime = ClusterTime(u64::MAX);

/// What a client wants to play.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlayTarget {
    /// A programme recording.
    Programme(RecordingId),
    /// What is recorded of a channel.
    Channel {
        /// The channel.
        channel: ChannelId,
        /// From when; 0: from its beginning.
        from: ClusterTime,
        /// Until when; `None`: to the live edge, and on with it.
        to: Option<ClusterTime>,
    },
}

/// All that a client needs to play what it asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presentation {
    /// The channel.
    pub channel: ChannelId,
    /// Its name.
    pub name: String,
    /// The programme recording's title.
    pub title: Option<String>,
    /// What may be played: from the first date that is held to the last; where it grows, to the present.
    pub span: Span,
    /// Whether more is to come behind `span`, up to the lease's end.
    pub growing: bool,
    /// What of `span` no push server holds, ascending, at most [`MAX_PLAY_HOLES`]. What is not catalogued yet is no hole.
    pub holes: Vec<Span>,
    /// Shown to the push servers. Its first date is the one asked for, so that one got later is good for the same session.
    pub lease: RecordingLease,
    /// The lease's secret.
    pub secret: MacKey,
    /// Mean rate of the transport stream, bytes/s; 0: not known yet.
    pub rate_bytes_per_s: u64,
    /// Push servers that answer and hold some of it, the best first, at most [`MAX_PLAY_SERVERS`].
    pub servers: Vec<PlayServer>,
    /// The database server's time.
    pub time: ClusterTime,
}

/// A push server that can play.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayServer {
    /// Its host.
    pub host: HostId,
    /// Its P4 address.
    pub control: SocketAddr,
    /// Whether it holds all that anybody holds of the span, but for the newest minutes.
    pub holds_all: bool,
}

/// Why nothing can be played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Error)]
pub enum PresentationRefusal {
    /// The channel is not on the caller's list.
    #[error("channel {0} is not on the list of this network")]
    UnknownChannel(ChannelId),
    /// There is no such programme recording of a channel on the caller's list.
    #[error("there is no recording {0}")]
    UnknownRecording(RecordingId),
    /// No push server that carries the channel records.
    #[error("no push server records channel {0}: `record` in the topology says who does")]
    NotRecorded(ChannelId),
    /// The end is not behind the beginning.
    #[error("a presentation ends later than it begins")]
    EndsTooEarly,
    /// It begins in the future.
    #[error("that has not begun: try again later")]
    NotBegun,
    /// It is older than recordings of the channel are kept.
    #[error("that is older than recordings of this channel are kept")]
    Expired,
    /// No push server holds any of it.
    #[error("no push server holds any of that")]
    NothingHeld,
    /// Push servers hold it, and none of them answers.
    #[error("none of the {holders} push servers that hold it answers: try again later")]
    NoServer {
        /// How many hold some of it.
        holders: u16,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode, encode};
    use crate::p2_directory::{ToClient, ToDatabase};

    fn words(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn a_wish_to_play_on_the_wire() {
        let programme = ToDatabase::Play(PlayTarget::Programme(RecordingId(3)));
        assert_eq!(encode(&programme), [7, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0]);
        let (channel, from) = (ChannelId(7), ClusterTime(1));
        let open = ToDatabase::Play(PlayTarget::Channel { channel, from, to: None });
        assert_eq!(encode(&open), [7, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        let closed = PlayTarget::Channel { channel, from, to: Some(ClusterTime(2)) };
        assert_eq!(encode(&closed)[16..], [1, 2, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_presentation_on_the_wire() {
        let presentation = Presentation {
            channel: ChannelId(7),
            name: "N".to_owned(),
            title: Some("T".to_owned()),
            span: Span { from: ClusterTime(1), to: ClusterTime(2) },
            growing: true,
            holes: vec![Span { from: ClusterTime(3), to: ClusterTime(4) }],
            lease: RecordingLease {
                client: "10.0.1.7".parse().unwrap(),
                channel: ChannelId(7),
                from: ClusterTime(5),
                to: OPEN_END,
                expires: ClusterTime(6),
            },
            secret: MacKey::from_bytes([9; 32]),
            rate_bytes_per_s: 8,
            servers: vec![PlayServer {
                host: "h".parse().unwrap(),
                control: "10.0.1.1:7404".parse().unwrap(),
                holds_all: true,
            }],
            time: ClusterTime(10),
        };
        let message = ToClient::Playing(Box::new(presentation));
        let mut expected = vec![10, 0, 0, 0, 7, 0, 0, 0];
        expected.extend([words(&[1]), vec![b'N', 1], words(&[1]), vec![b'T']].concat());
        expected.extend([words(&[1, 2]), vec![1], words(&[1, 3, 4])].concat());
        expected.extend([0, 0, 0, 0, 10, 0, 1, 7, 7, 0, 0, 0]);
        expected.extend(words(&[5, u64::MAX, 6]));
        expected.extend([9; 32]);
        expected.extend([words(&[8, 1, 1]), vec![b'h', 0, 0, 0, 0, 10, 0, 1, 1, 0xec, 0x1c, 1]].concat());
        expected.extend(words(&[10]));
        assert_eq!(encode(&message), expected);
        assert_eq!(decode::<ToClient, 1024>(&expected).unwrap(), message);
    }

    #[test]
    fn a_refusal_to_play_on_the_wire() {
        let refused = |refusal| encode(&ToClient::PlayRefused(refusal));
        assert_eq!(
            refused(PresentationRefusal::UnknownRecording(RecordingId(3))),
            [11, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0]
        );
        assert_eq!(refused(PresentationRefusal::NoServer { holders: 2 }), [11, 0, 0, 0, 7, 0, 0, 0, 2, 0]);
    }
}
