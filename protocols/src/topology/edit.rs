//! A change of `topology.toml`: which table, and what becomes of it.
//!
//! An edit speaks of the file, not of the parsed [`super::Topology`]: tables and keys, so that every key that the file may have
//! can be set, and what an edit has made of the file is judged by [`super::Topology::parse`] and by nothing else.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::ids::{AcquisitionId, ChannelId, HostId, InputId};

/// Most edits of one request: they are carried out together or not at all.
pub const MAX_EDITS: usize = 100;

/// Keys of a table with their values.
pub type Keys = BTreeMap<String, Value>;

/// One change. In JSON `{"add": {"table": {"channel": 7}, "keys": {"name": "Seven"}}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Edit {
    /// Adds a table behind its likes; what names it (its `id` or `address`) is written first.
    Add {
        /// Which; it must not be there.
        table: TableName,
        /// What it says beside its name.
        #[serde(default)]
        keys: Keys,
    },
    /// Changes a table.
    Change {
        /// Which.
        table: TableName,
        /// Keys to write, whether they are there or not.
        #[serde(default)]
        set: Keys,
        /// Keys to take away; those that are not there are passed over.
        #[serde(default)]
        unset: Vec<String>,
        /// Elements to put into lists; a list that is not there is made, an element that is there is passed over.
        #[serde(default)]
        include: Keys,
        /// Elements to take out of lists, likewise.
        #[serde(default)]
        exclude: Keys,
    },
    /// Moves a table, with its comments and the tables below it.
    Move {
        /// Which.
        table: TableName,
        /// The acquisition server or push server that an input or destination is to be of; `None`: the one it is of.
        #[serde(default)]
        into: Option<TableName>,
        /// A table of the same kind to stand before; `None`: behind all of them.
        #[serde(default)]
        before: Option<TableName>,
    },
    /// Removes a table and the tables below it. A channel goes from the lists of channels too.
    Remove {
        /// Which.
        table: TableName,
    },
}

/// A table of the file. As text: `database-server`, `acquisition-server:roof`, `input:roof/mux-5`, `channel:7`,
/// `backup:7/mux-6`, `push-server:hall`, `destination:hall/239.192.1.1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TableName {
    /// `[database_server]`
    DatabaseServer,
    /// `[[acquisition_server]]`
    AcquisitionServer(AcquisitionId),
    /// `[[acquisition_server.input]]`
    Input {
        /// Whose.
        acquisition_server: AcquisitionId,
        /// Its `id`.
        id: InputId,
    },
    /// `[[channel]]`
    Channel(ChannelId),
    /// `[[push_server]]`
    PushServer(HostId),
    /// `[[push_server.destination]]`
    Destination {
        /// Whose.
        push_server: HostId,
        /// Its `address`, as it stands in the file.
        address: String,
    },
    /// `[[channel.backup]]`
    Backup {
        /// Whose.
        channel: ChannelId,
        /// Its `input`.
        input: InputId,
    },
}

/// What a key may say. In JSON the plain value; there is no deeper nesting, so that no message can exhaust a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `true`, `false`
    Truth(bool),
    /// A whole number.
    Number(i64),
    /// A string.
    Text(String),
    /// A list of whole numbers.
    Numbers(Vec<i64>),
    /// A list of strings.
    Texts(Vec<String>),
    /// A table such as `{ keep = "7d" }`.
    Table(BTreeMap<String, Scalar>),
}

/// What a key within a [`Value::Table`] may say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scalar {
    /// `true`, `false`
    Truth(bool),
    /// A whole number.
    Number(i64),
    /// A string.
    Text(String),
}

/// Why a text is no [`TableName`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` names no table; write `channel:7`, `backup:7/mux-6`, `acquisition-server:roof`, `input:roof/mux-5`, `push-server:hall`, \
     `destination:hall/239.192.1.1` or `database-server`"
)]
pub struct TableNameError(pub String);

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DatabaseServer => f.write_str("database-server"),
            Self::AcquisitionServer(id) => write!(f, "acquisition-server:{id}"),
            Self::Input { acquisition_server, id } => write!(f, "input:{acquisition_server}/{id}"),
            Self::Channel(id) => write!(f, "channel:{id}"),
            Self::PushServer(id) => write!(f, "push-server:{id}"),
            Self::Destination { push_server, address } => write!(f, "destination:{push_server}/{address}"),
            Self::Backup { channel, input } => write!(f, "backup:{channel}/{input}"),
        }
    }
}

impl FromStr for TableName {
    type Err = TableNameError;

    fn from_str(text: &str) -> Result<Self, TableNameError> {
        let wrong = || TableNameError(text.chars().take(64).collect());
        if text == "database-server" {
            return Ok(Self::DatabaseServer);
        }
        let (kind, name) = text.split_once(':').ok_or_else(wrong)?;
        let two = || name.split_once('/').ok_or_else(wrong);
        Ok(match kind {
            "acquisition-server" => Self::AcquisitionServer(name.parse().map_err(|_| wrong())?),
            "input" => {
                let (server, id) = two()?;
                Self::Input {
                    acquisition_server: server.parse().map_err(|_| wrong())?,
                    id: id.parse().map_err(|_| wrong())?,
                }
            }
            "channel" => Self::Channel(ChannelId(name.parse().map_err(|_| wrong())?)),
            "push-server" => Self::PushServer(name.parse().map_err(|_| wrong())?),
            "destination" => {
                let (host, address) = two()?;
                Self::Destination {
                    push_server: host.parse().map_err(|_| wrong())?,
                    address: address.to_owned(),
                }
            }
            "backup" => {
                let (channel, input) = two()?;
                Self::Backup {
                    channel: ChannelId(channel.parse().map_err(|_| wrong())?),
                    input: input.parse().map_err(|_| wrong())?,
                }
            }
            _ => return Err(wrong()),
        })
    }
}

impl Value {
    /// A value as a person types it: a TOML value of a kind that the file knows, or else the text as it stands.
    pub fn read(text: &str) -> Self {
        let document = format!("value = {text}");
        let parsed = toml::from_str::<BTreeMap<String, Self>>(&document).ok();
        parsed
            .filter(|keys| keys.len() == 1)
            .and_then(|mut keys| keys.remove("value"))
            .unwrap_or_else(|| Self::Text(text.to_owned()))
    }
}

/// The natural form, for JSON and TOML.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Natural {
    Truth(bool),
    Number(i64),
    Text(String),
    Numbers(Vec<i64>),
    Texts(Vec<String>),
    Table(BTreeMap<String, NaturalScalar>),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum NaturalScalar {
    Truth(bool),
    Number(i64),
    Text(String),
}

/// The form with tags, for the wire, where a reader cannot ask what comes.
#[derive(Serialize, Deserialize)]
enum Tagged {
    Truth(bool),
    Number(i64),
    Text(String),
    Numbers(Vec<i64>),
    Texts(Vec<String>),
    Table(BTreeMap<String, TaggedScalar>),
}

#[derive(Serialize, Deserialize)]
enum TaggedScalar {
    Truth(bool),
    Number(i64),
    Text(String),
}

macro_rules! same_variants {
    ($from:ident => $to:ident { $($variant:ident),+ }) => {
        impl From<$from> for $to {
            fn from(value: $from) -> Self {
                match value {
                    $($from::$variant(value) => Self::$variant(value)),+
                }
            }
        }
    };
    ($from:ident => $to:ident { $($variant:ident),+ } and tables) => {
        impl From<$from> for $to {
            fn from(value: $from) -> Self {
                match value {
                    $($from::$variant(value) => Self::$variant(value),)+
                    $from::Table(table) => {
                        Self::Table(table.into_iter().map(|(key, value)| (key, value.into())).collect())
                    }
                }
            }
        }
    };
}

same_variants!(Scalar => NaturalScalar { Truth, Number, Text });
same_variants!(NaturalScalar => Scalar { Truth, Number, Text });
same_variants!(Scalar => TaggedScalar { Truth, Number, Text });
same_variants!(TaggedScalar => Scalar { Truth, Number, Text });
same_variants!(Value => Natural { Truth, Number, Text, Numbers, Texts } and tables);
same_variants!(Natural => Value { Truth, Number, Text, Numbers, Texts } and tables);
same_variants!(Value => Tagged { Truth, Number, Text, Numbers, Texts } and tables);
same_variants!(Tagged => Value { Truth, Number, Text, Numbers, Texts } and tables);

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            Natural::from(self.clone()).serialize(serializer)
        } else {
            Tagged::from(self.clone()).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            Natural::deserialize(deserializer).map(Self::from)
        } else {
            Tagged::deserialize(deserializer).map(Self::from)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode, encode};

    fn edits() -> Vec<Edit> {
        let text = r#"[
            {"add": {"table": {"channel": 7}, "keys": {"name": "Seven", "service": 2}}},
            {"change": {"table": {"push_server": "hall"}, "set": {"drain": true, "record": {"keep": "7d"}},
                        "unset": ["feed_port"], "include": {"channels": [7]}, "exclude": {"channels": [1]}}},
            {"change": {"table": {"destination": {"push_server": "hall", "address": "239.192.1.1"}}, "set": {"serves": ["10.0.1.0/24"]}}},
            {"move": {"table": {"input": {"acquisition_server": "roof", "id": "mux-5"}}, "into": {"acquisition_server": "yard"}}},
            {"remove": {"table": "database_server"}}
        ]"#;
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn edits_are_the_same_in_json_and_on_the_wire() {
        let edits = edits();
        assert_eq!(decode::<Vec<Edit>, 4096>(&encode(&edits)).unwrap(), edits);
        let json = serde_json::to_string(&edits).unwrap();
        assert!(json.contains(r#""record":{"keep":"7d"}"#) && json.contains(r#""channels":[7]"#), "{json}");
        assert_eq!(serde_json::from_str::<Vec<Edit>>(&json).unwrap(), edits);
    }

    #[test]
    fn an_edit_on_the_wire() {
        let edit = Edit::Add {
            table: TableName::Channel(ChannelId(7)),
            keys: [("p".to_owned(), Value::Number(9))].into(),
        };
        let mut bytes = vec![0, 0, 0, 0, 3, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0, b'p', 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(encode(&edit), bytes);
        assert_eq!(decode::<Edit, 64>(&bytes).unwrap(), edit);
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert!(serde_json::from_str::<Value>("[[1]]").is_err());
        assert!(serde_json::from_str::<Value>(r#"{"a": {"b": 1}}"#).is_err());
        assert!(serde_json::from_str::<Edit>(r#"{"add": {"table": {"channel": 7}, "kyes": {}}}"#).is_err());
    }

    #[test]
    fn table_names_read_as_written() {
        for text in [
            "database-server",
            "acquisition-server:roof",
            "input:roof/mux-5",
            "channel:7",
            "backup:7/mux-6",
            "push-server:hall",
            "destination:hall/239.192.1.0/24",
        ] {
            assert_eq!(text.parse::<TableName>().unwrap().to_string(), text);
        }
        for text in ["", "channel", "channel:one", "backup:7", "input:roof", "hall"] {
            assert!(text.parse::<TableName>().is_err(), "{text}");
        }
    }

    #[test]
    fn values_are_read_as_typed() {
        assert_eq!(Value::read("7"), Value::Number(7));
        assert_eq!(Value::read("true"), Value::Truth(true));
        assert_eq!(Value::read("[1, 2]"), Value::Numbers(vec![1, 2]));
        assert_eq!(Value::read("[\"10.0.1.0/24\"]"), Value::Texts(vec!["10.0.1.0/24".to_owned()]));
        assert_eq!(Value::read("\"7\""), Value::Text("7".to_owned()));
        assert_eq!(Value::read("One and Two"), Value::Text("One and Two".to_owned()));
        assert_eq!(Value::read("1\nother = 2"), Value::Text("1\nother = 2".to_owned()));
        let keep = [("keep".to_owned(), Scalar::Text("7d".to_owned()))].into();
        assert_eq!(Value::read("{ keep = \"7d\" }"), Value::Table(keep));
    }
}
