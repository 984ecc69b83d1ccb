//! A network: the address prefixes whose viewers see one channel list.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// One LAN as its viewers' addresses show it.
///
/// The `serves` lists of destinations make the networks: destinations with an equal set of prefixes are rivals for
/// one network, and no prefix belongs to two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Network {
    /// The prefixes as one text.
    pub id: NetworkId,
    /// At least one, without host bits; they may lie inside another network's prefixes (the longest wins).
    pub prefixes: BTreeSet<IpNet>,
}

/// Canonical text of a network's sorted prefixes, such as `10.0.1.0/24` or `10.0.1.0/24+fd00:1::/64`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetworkId(Arc<str>);

impl NetworkId {
    /// The id of a set of prefixes; the empty set has the empty text, which no network has.
    pub fn of(prefixes: &BTreeSet<IpNet>) -> Self {
        let texts: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
        Self(texts.join("+").into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Accepts the canonical text only, so that equal networks have equal ids also when a peer sends them.
impl FromStr for NetworkId {
    type Err = NetworkIdError;

    fn from_str(text: &str) -> Result<Self, NetworkIdError> {
        let refused = || NetworkIdError(text.chars().take(MAX_SHOWN_CHARS).collect());
        let mut prefixes = BTreeSet::new();
        for part in text.split('+').take(MAX_PREFIXES_PER_NETWORK + 1) {
            let prefix: IpNet = part.parse().map_err(|_| refused())?;
            prefixes.insert(prefix.trunc());
        }
        let id = Self::of(&prefixes);
        if id.as_str() == text && prefixes.len() <= MAX_PREFIXES_PER_NETWORK {
            Ok(id)
        } else {
            Err(refused())
        }
    }
}

impl TryFrom<String> for NetworkId {
    type Error = NetworkIdError;

    fn try_from(text: String) -> Result<Self, NetworkIdError> {
        text.parse()
    }
}

impl From<NetworkId> for String {
    fn from(id: NetworkId) -> Self {
        id.as_str().to_owned()
    }
}

/// A text that is no canonical network id; carries its beginning.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no network id; one is sorted prefixes joined by `+`, such as `10.0.1.0/24+fd00:1::/64`")]
pub struct NetworkIdError(String);

/// Most prefixes in one `serves`; more are refused.
pub const MAX_PREFIXES_PER_NETWORK: usize = 64;
/// How much of a wrong id its error repeats.
const MAX_SHOWN_CHARS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_does_not_depend_on_the_order_in_which_prefixes_were_written() {
        let set = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let id = NetworkId::of(&set(&["fd00:1::/64", "10.0.1.0/24"]));
        assert_eq!(id.as_str(), "10.0.1.0/24+fd00:1::/64");
        assert_eq!(id, NetworkId::of(&set(&["10.0.1.0/24", "fd00:1::/64"])));
    }

    #[test]
    fn only_the_canonical_text_is_an_id() {
        assert!("10.0.1.0/24+fd00:1::/64".parse::<NetworkId>().is_ok());
        for wrong in ["", "hall", "10.0.1.1/24", "fd00:1::/64+10.0.1.0/24", "10.0.1.0/24+10.0.1.0/24"] {
            assert!(wrong.parse::<NetworkId>().is_err(), "{wrong}");
        }
    }
}
