//! Names of the things that a topology is made of. Each is its own type, so that none is taken for another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest textual id, in bytes.
pub const MAX_ID_BYTES: usize = 32;

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdError {
    /// Nothing between the quotes.
    #[error("an id is not empty")]
    Empty,
    /// More than [`MAX_ID_BYTES`].
    #[error("an id has at most {MAX_ID_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    /// A byte outside `A-Z a-z 0-9 . _ -`.
    #[error("`{0}` cannot stand in an id; letters, digits, `.`, `_` and `-` can")]
    BadCharacter(char),
    /// A channel id that is zero or no number.
    #[error("a channel id is a whole number from 1 to 4294967295, not `{0}`")]
    NotAChannel(String),
    /// A push server id without `host/channel`.
    #[error("a push server id is `host/channel`, such as `hall/1`, not `{0}`")]
    NotAPushServer(String),
}

/// A channel: unique for ever, never reused. 1 to `u32::MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChannelId(pub u32);

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ChannelId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        match text.parse() {
            Ok(0) | Err(_) => Err(IdError::NotAChannel(text.to_owned())),
            Ok(id) => Ok(Self(id)),
        }
    }
}

/// Checks the alphabet and length that all textual ids share.
fn checked(text: &str) -> Result<String, IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > MAX_ID_BYTES {
        return Err(IdError::TooLong(text.len()));
    }
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
        Some(bad) => Err(IdError::BadCharacter(bad)),
        None => Ok(text.to_owned()),
    }
}

macro_rules! textual_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// 1 to [`MAX_ID_BYTES`] bytes of `A-Z a-z 0-9 . _ -`, also when it comes from a peer.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                checked(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

textual_id! {
    /// An acquisition server, such as `roof`.
    AcquisitionId
}
textual_id! {
    /// One input of an acquisition server, such as `mux-5`; unique within its server.
    InputId
}
textual_id! {
    /// A push server process, such as `hall`; it hosts one push server per channel.
    HostId
}

/// One push server: one channel in one process, written `hall/1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PushServerId {
    /// The process.
    pub host: HostId,
    /// The one channel that it carries.
    pub channel: ChannelId,
}

impl fmt::Display for PushServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.channel)
    }
}

impl FromStr for PushServerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (host, channel) = text.split_once('/').ok_or_else(|| IdError::NotAPushServer(text.to_owned()))?;
        Ok(Self { host: host.parse()?, channel: channel.parse()? })
    }
}

/// Drawn at random at each start of a server; a new one means "forget what you knew of me".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub u64);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Version of the topology: grows by one with each accepted change of content, kept across restarts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Version of one push server's configuration, minted by the database server: the higher one holds.
///
/// The upper 32 bits are the database server's start number, the lower 32 count changes since that start, so that
/// a restarted database server always speaks with more weight than its predecessor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    /// The `count`-th change (from 0) of the database server's `start`-th life.
    pub fn new(start: u32, count: u32) -> Self {
        Self(u64::from(start) << 32 | u64::from(count))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_checked_also_when_a_peer_sends_them() {
        assert_eq!("mux-5".parse::<InputId>().unwrap().as_str(), "mux-5");
        assert_eq!("a b".parse::<HostId>(), Err(IdError::BadCharacter(' ')));
        assert_eq!("".parse::<HostId>(), Err(IdError::Empty));
        assert_eq!("x".repeat(33).parse::<AcquisitionId>(), Err(IdError::TooLong(33)));
        let sent = crate::codec::encode(&"../etc".to_owned());
        assert!(crate::codec::decode::<HostId, 64>(&sent).is_err());
    }

    #[test]
    fn push_server_ids_read_as_written() {
        let id: PushServerId = "hall/1".parse().unwrap();
        assert_eq!(id.to_string(), "hall/1");
        assert!("hall/0".parse::<PushServerId>().is_err());
        assert!("hall".parse::<PushServerId>().is_err());
    }
}
