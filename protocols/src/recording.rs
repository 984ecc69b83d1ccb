//! Words of recording: what a push server holds, what it is ordered to keep, what people asked for.
//!
//! A *date* is a [`ClusterTime`]: milliseconds since 1970, as the acquisition server's marks say it (`docs/recording.md`).

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ids::{ChannelId, HostId};
use crate::time::ClusterTime;

/// Extents of one channel that one host tells of; of more, the newest are told.
pub const MAX_EXTENTS: usize = 256;
/// Other push servers of one channel that a host is told of; of more, the first by id.
pub const MAX_PEERS: usize = 16;
/// Programme recordings of one channel, and so the protected spans that its hosts are told of; one more is refused.
pub const MAX_PROGRAMMES_PER_CHANNEL: usize = 256;
/// Programme recordings of a site; one more is refused.
pub const MAX_PROGRAMMES: usize = 4_096;
/// Longest programme recording; a longer one is refused.
pub const MAX_PROGRAMME: Duration = Duration::from_hours(24);
/// A programme recording begins at most so long from now; a later one is refused.
pub const MAX_AHEAD: Duration = Duration::from_hours(366 * 24);
/// Longest title in bytes.
pub const MAX_TITLE_BYTES: usize = 128;

/// A programme recording: counts up from 1 within a site, never used again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecordingId(pub u32);

impl fmt::Display for RecordingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RecordingId {
    type Err = NotARecording;

    fn from_str(text: &str) -> Result<Self, NotARecording> {
        match text.parse() {
            Ok(0) | Err(_) => Err(NotARecording(text.chars().take(32).collect())),
            Ok(id) => Ok(Self(id)),
        }
    }
}

/// A text that is no [`RecordingId`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a recording's id is a whole number from 1 to 4294967295, not `{0}`")]
pub struct NotARecording(String);

/// From a date to a later one, which is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// The first date in it.
    pub from: ClusterTime,
    /// The first date behind it.
    pub to: ClusterTime,
}

impl Span {
    /// How long it is; zero for one that ends before it begins.
    pub fn length(self) -> Duration {
        self.to.since(self.from)
    }

    /// Whether no date is in it.
    pub fn is_empty(self) -> bool {
        self.to <= self.from
    }

    /// What both have; perhaps empty.
    #[must_use]
    pub fn overlap(self, other: Self) -> Self {
        Self { from: self.from.max(other.from), to: self.to.min(other.to) }
    }

    /// The same dates in as few spans as they take, ascending; empty ones are left out.
    pub fn merged(spans: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut sorted: Vec<Self> = spans.into_iter().filter(|span| !span.is_empty()).collect();
        sorted.sort_unstable();
        let mut merged: Vec<Self> = Vec::new();
        for span in sorted {
            match merged.last_mut() {
                Some(last) if span.from <= last.to => last.to = last.to.max(span.to),
                _ => merged.push(span),
            }
        }
        merged
    }
}

/// What tells extents of equal dates apart: a hash over the hashes of their segments, in order.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(pub [u8; 16]);

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A maximal row of whole, durable segments of one channel at one host: nothing is missing within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Extent {
    /// The channel.
    pub channel: ChannelId,
    /// Date of the first packet.
    pub from: ClusterTime,
    /// Date of the end of the last segment; later than `from`.
    pub to: ClusterTime,
    /// Segments, at least 1.
    pub segments: u32,
    /// Bytes of transport stream.
    pub bytes: u64,
    /// Equal at two hosts that hold the same packets from `from` to `to`.
    pub digest: Digest,
}

impl Extent {
    /// Its dates.
    pub fn span(&self) -> Span {
        Span { from: self.from, to: self.to }
    }

    /// Whether it says what can be: a channel, dates in order, at least one segment.
    pub fn is_sound(&self) -> bool {
        self.channel.0 != 0 && self.from < self.to && self.segments > 0
    }
}

/// What a push server is to record of its channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordOrder {
    /// Age at which a segment may be deleted, in s.
    pub keep_s: u32,
    /// What is kept at any age, ascending, apart from each other; at most [`MAX_PROGRAMMES_PER_CHANNEL`].
    pub protected: Vec<Span>,
    /// Who else records the channel: whom to ask for what is missing here. By id, at most [`MAX_PEERS`].
    pub peers: Vec<RecordPeer>,
}

impl RecordOrder {
    /// Whether a segment of these dates must not be deleted for its age.
    pub fn protects(&self, segment: Span) -> bool {
        self.protected.iter().any(|span| !span.overlap(segment).is_empty())
    }
}

/// Another push server that records the same channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordPeer {
    /// Its host.
    pub host: HostId,
    /// Where it takes P3.
    pub feed: SocketAddr,
}

/// Why a host does not record, though it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordingFault {
    /// No space left, or no more allowed by quota.
    DiskFull,
    /// The file system takes no writes.
    ReadOnly,
    /// Another error of the operating system.
    Other,
    /// It was not told where to record to.
    NoFolder,
}

impl RecordingFault {
    /// For people, as the end of "push server `hall` does not record: …".
    pub fn text(self) -> &'static str {
        match self {
            Self::DiskFull => "its disk is full",
            Self::ReadOnly => "its disk is read-only",
            Self::Other => "its disk reports an error",
            Self::NoFolder => "it was started without --recordings",
        }
    }
}

/// Whether `title` can be one: 1 to [`MAX_TITLE_BYTES`] bytes, no control characters.
pub fn is_title(title: &str) -> bool {
    (1..=MAX_TITLE_BYTES).contains(&title.len()) && !title.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encode;

    fn span(from: u64, to: u64) -> Span {
        Span { from: ClusterTime(from), to: ClusterTime(to) }
    }

    #[test]
    fn an_extent_on_the_wire() {
        let extent = Extent {
            channel: ChannelId(7),
            from: ClusterTime(1),
            to: ClusterTime(0x0102),
            segments: 3,
            bytes: 4,
            digest: Digest([5; 16]),
        };
        let mut expected = vec![7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0];
        expected.extend([4, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([5; 16]);
        assert_eq!(encode(&extent), expected);
    }

    #[test]
    fn faults_on_the_wire() {
        use RecordingFault::{DiskFull, NoFolder, Other, ReadOnly};
        let bytes = [DiskFull, ReadOnly, Other, NoFolder].map(|fault| encode(&fault)[0]);
        assert_eq!(bytes, [0, 1, 2, 3]);
    }

    #[test]
    fn spans_that_touch_are_one_and_empty_ones_are_none() {
        let spans = [span(5, 7), span(1, 3), span(9, 9), span(3, 4), span(6, 9), span(20, 10)];
        assert_eq!(Span::merged(spans), [span(1, 4), span(5, 9)]);
        assert!(span(1, 3).overlap(span(3, 5)).is_empty());
        assert_eq!(span(1, 4).overlap(span(3, 5)), span(3, 4));
    }

    #[test]
    fn a_title_is_short_and_harmless() {
        assert!(is_title("News") && is_title(&"x".repeat(MAX_TITLE_BYTES)));
        assert!(!is_title("") && !is_title(&"x".repeat(MAX_TITLE_BYTES + 1)) && !is_title("a\u{1b}[2J"));
    }
}
