//! `satip://` inputs: `satip://HOST[:PORT]/?src=1&freq=11494&pol=h&msys=dvbs2&…[&pids=0,16,100]`.
//!
//! The query is that of the SAT>IP protocol (specification 1.2.2 §3.5.7 ff.) and goes to the server as it is written,
//! save `pids`, which follows from the channels that are made of the input unless it is written.

use std::collections::BTreeSet;
use std::fmt;

use thiserror::Error;

use super::peer_address::{PeerAddress, PeerAddressError};
use super::shown;
use crate::topology::nearest::nearest;

/// Port of RTSP (RFC 2326).
const RTSP_PORT: u16 = 554;
/// What a SAT>IP server may be asked for, besides `pids`: satellite, terrestrial and cable (§3.5.7 to §3.5.10).
const PARAMETERS: [&str; 20] = [
    "src", "fe", "freq", "pol", "ro", "msys", "mtype", "plts", "sr", "fec", "bw", "tmode", "gi", "plp",
    "t2id", "sm", "c2tft", "ds", "specinv", "isi",
];
/// Modulation systems (§3.5.7 to §3.5.10), and ATSC as servers beyond the specification name it.
const SYSTEMS: [&str; 8] = ["dvbs", "dvbs2", "dvbt", "dvbt2", "dvbc", "dvbc2", "isdbt", "atsc"];

/// A multiplex, or some of its packets, that a SAT>IP server receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SatipInput {
    /// Who is asked.
    pub server: PeerAddress,
    /// The query without `pids`, parameters in the order written: `src=1&freq=11494&…`.
    pub tuning: String,
    /// The packets that are always asked for; `None`: those that the channels need.
    pub pids: Option<SatipPids>,
}

/// Which packets are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SatipPids {
    /// The whole multiplex.
    All,
    /// These, 0 to 8191.
    Only(BTreeSet<u16>),
}

/// Why a text is no such URL.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SatipInputError {
    /// Not `//` behind the colon, or a path.
    #[error("write satip://HOST/?freq=…&msys=…")]
    NoServer,
    /// The server is none.
    #[error(transparent)]
    Server(#[from] PeerAddressError),
    /// `freq` or `msys` is missing.
    #[error("`{0}=` is missing; a multiplex has at least freq (MHz) and msys (such as dvbs2, dvbt2, dvbc)")]
    Missing(&'static str),
    /// A parameter that SAT>IP does not have.
    #[error("unknown parameter `{parameter}`{}", match .suggestion {
        Some(known) => format!("; did you mean `{known}`?"),
        None => "; see the table of SAT>IP parameters in docs/inputs.md".to_owned(),
    })]
    UnknownParameter {
        /// As written.
        parameter: String,
        /// The parameter that was probably meant.
        suggestion: Option<&'static str>,
    },
    /// The same parameter again.
    #[error("`{0}` stands there twice")]
    Twice(String),
    /// A value that the parameter cannot have.
    #[error("`{0}` cannot be; {1}")]
    BadValue(String, &'static str),
}

impl SatipInput {
    /// Reads what stands behind `satip:`.
    pub(super) fn parse(rest: &str) -> Result<Self, SatipInputError> {
        let rest = rest.strip_prefix("//").ok_or(SatipInputError::NoServer)?;
        let (server, query) = rest.split_once('?').ok_or(SatipInputError::Missing("freq"))?;
        let server = PeerAddress::parse(server.strip_suffix('/').unwrap_or(server), RTSP_PORT)?;
        let mut seen = BTreeSet::new();
        let (mut tuning, mut pids) = (Vec::new(), None);
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            if name != "pids" && !PARAMETERS.contains(&name) {
                let suggestion = nearest(name, PARAMETERS.into_iter().chain(["pids"]));
                return Err(SatipInputError::UnknownParameter { parameter: shown(name), suggestion });
            }
            if !seen.insert(name) {
                return Err(SatipInputError::Twice(name.to_owned()));
            }
            check(name, value).map_err(|why| SatipInputError::BadValue(shown(parameter), why))?;
            if name == "pids" {
                pids = Some(SatipPids::parse(value).ok_or_else(|| {
                    SatipInputError::BadValue(shown(parameter), "write numbers up to 8191, or `all`")
                })?);
            } else {
                tuning.push(parameter);
            }
        }
        for needed in ["freq", "msys"] {
            if !seen.contains(needed) {
                return Err(SatipInputError::Missing(needed));
            }
        }
        Ok(Self { server, tuning: tuning.join("&"), pids })
    }
}

/// What can be told of a value without knowing the server.
fn check(name: &str, value: &str) -> Result<(), &'static str> {
    let decimal = |value: &str| value.parse::<f64>().is_ok_and(|value| (0.0..100_000.0).contains(&value));
    let plain = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    match name {
        "freq" if decimal(value) && value.bytes().all(plain) => Ok(()),
        "freq" => Err("the frequency is in MHz, such as 11494 or 514.25"),
        "msys" if SYSTEMS.contains(&value) => Ok(()),
        "msys" => Err("there are dvbs, dvbs2, dvbt, dvbt2, dvbc, dvbc2, isdbt and atsc"),
        "pol" if ["h", "v", "l", "r"].contains(&value) => Ok(()),
        "pol" => Err("there are h, v, l and r"),
        "src" | "fe" if value.parse().is_ok_and(|number: u16| (1..=255).contains(&number)) => Ok(()),
        "src" | "fe" => Err("it is a number from 1 to 255"),
        "pids" => Ok(()),
        _ if !value.is_empty() && value.bytes().all(word) => Ok(()),
        _ => Err("a value is letters and digits, written as in the SAT>IP specification"),
    }
}

impl SatipPids {
    fn parse(text: &str) -> Option<Self> {
        if text == "all" {
            return Some(Self::All);
        }
        let pid = |word: &str| word.parse().ok().filter(|pid| *pid <= 0x1fff);
        text.split(',').map(pid).collect::<Option<_>>().map(Self::Only)
    }
}

impl fmt::Display for SatipPids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Only(pids) => {
                let words: Vec<String> = pids.iter().map(ToString::to_string).collect();
                f.write_str(&words.join(","))
            }
        }
    }
}

impl fmt::Display for SatipInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "satip://{}/?{}", self.server.authority(RTSP_PORT), self.tuning)?;
        match &self.pids {
            Some(pids) => write!(f, "&pids={pids}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn urls_come_back_as_they_were() {
        for url in [
            "//10.0.0.7/?src=1&freq=11494&pol=h&ro=0.35&msys=dvbs2&mtype=qpsk&plts=on&sr=22000&fec=23",
            "//tuner.example:8554/?freq=514.25&msys=dvbt2&bw=8&tmode=32k&gi=19128&plp=1&pids=0,16,8191",
            "//[fd00::7]/?fe=2&freq=330&msys=dvbc&mtype=256qam&sr=6900&pids=all",
        ] {
            assert_eq!(SatipInput::parse(url).unwrap().to_string(), format!("satip:{url}"));
        }
        let other = SatipInput::parse("//h:554?pids=5,3&msys=dvbt&freq=514").unwrap();
        assert_eq!(other.to_string(), "satip://h/?msys=dvbt&freq=514&pids=3,5");
    }

    #[test]
    fn wrong_urls_say_what_would_be_right() {
        let told = |url: &str| SatipInput::parse(url).unwrap_err().to_string();
        assert!(told("10.0.0.7").starts_with("write satip://HOST"));
        assert!(told("//h/?msys=dvbt").starts_with("`freq=` is missing"));
        assert!(told("//h/?freq=514").starts_with("`msys=` is missing"));
        assert!(told("//h").starts_with("`freq=` is missing"));
        assert!(told("//h/?freq=514&msys=dvbt&mtyp=qpsk").ends_with("did you mean `mtype`?"));
        assert_eq!(told("//h/?freq=514&freq=515"), "`freq` stands there twice");
        for bad in ["freq=1e4", "freq=", "msys=dvb", "pol=x", "src=0", "sr=a b", "pids=1,8192", "pids="] {
            assert!(told(&format!("//h/?{bad}")).starts_with(&format!("`{bad}` cannot be")), "{bad}");
        }
        assert!(told("//h/stream/?freq=5&msys=dvbt").contains("is no host"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "//[a-z]{0,3}/?[?]?[a-z0-9=&,.]{0,60}", any in "\\PC{0,60}") {
            let _ = SatipInput::parse(&any);
            if let Ok(input) = SatipInput::parse(&text) {
                let written = input.to_string();
                prop_assert_eq!(SatipInput::parse(&written["satip:".len()..]), Ok(input));
            }
        }
    }
}
