//! `srt://` inputs: `srt://HOST:PORT[?PARAMETER=VALUE]…` calls a sender, `srt://[ADDRESS]:PORT?mode=listener` waits for one.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use thiserror::Error;

use super::peer_address::{PeerAddress, PeerAddressError};
use super::shown;
use super::web::{percent_decoded, percent_encoded};
use crate::topology::nearest::nearest;

/// A stream that comes by SRT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SrtInput {
    /// Who calls whom.
    pub mode: SrtMode,
    /// How long packets wait for those that are sent again, in milliseconds; 120 by SRT's own default. The larger of both ends'
    /// holds.
    pub latency_ms: Option<u16>,
    /// What encrypts the stream; `None`: only a stream in the clear is taken.
    pub passphrase: Option<Passphrase>,
    /// Which stream: what a caller asks for, and what a listener takes.
    pub stream_id: Option<String>,
}

/// Who calls whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SrtMode {
    /// We call a sender that listens.
    Caller(PeerAddress),
    /// We listen at an own address, or all, and senders call.
    Listener(SocketAddr),
}

/// 10 to 79 bytes. `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(String);

impl Passphrase {
    /// For the one who encrypts.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// Why a text is no `srt://` URL. No message repeats what could be a passphrase.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SrtError {
    /// Not `//address:port`.
    #[error("write srt://HOST:PORT to call a sender, or srt://:PORT to wait for one")]
    NoAddress,
    /// The sender is none.
    #[error(transparent)]
    Peer(#[from] PeerAddressError),
    /// A name where an own address belongs.
    #[error("`{0}` is no address of this host; a listener has an address or nothing before its port")]
    NotOurs(String),
    /// Nobody to call.
    #[error("mode=caller needs a host to call; write srt://HOST:PORT, or mode=listener")]
    NobodyToCall,
    /// A mode that receivers do not have here.
    #[error("`{0}` is no mode; there are caller and listener")]
    BadMode(String),
    /// A parameter that nobody knows.
    #[error("unknown parameter `{parameter}`; {}", match .suggestion {
        Some(known) => format!("did you mean `{known}`?"),
        None => "there are mode, latency, passphrase and streamid".to_owned(),
    })]
    UnknownParameter {
        /// As written.
        parameter: String,
        /// The parameter that was probably meant.
        suggestion: Option<&'static str>,
    },
    /// A parameter that stands there twice.
    #[error("`{0}` stands there twice")]
    Twice(&'static str),
    /// Not a time.
    #[error("`{0}` is no latency; it counts milliseconds, 20 to {MAX_LATENCY_MS}")]
    BadLatency(String),
    /// Too short or too long, or no text.
    #[error("a passphrase has 10 to 79 bytes; `&`, `%` and what is no ASCII are written percent-encoded")]
    BadPassphrase,
    /// Too long, or no text.
    #[error("a streamid has 1 to 512 bytes; `&`, `%` and what is no ASCII are written percent-encoded")]
    BadStreamId,
}

impl FromStr for SrtInput {
    type Err = SrtError;

    fn from_str(rest: &str) -> Result<Self, SrtError> {
        let rest = rest.strip_prefix("//").ok_or(SrtError::NoAddress)?;
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        // A parameter in the wrong place is not repeated: it may be the passphrase.
        if authority.contains(['&', '=']) {
            return Err(SrtError::NoAddress);
        }
        let authority = authority.trim_end_matches('/');
        let mut values: [Option<&str>; PARAMETERS.len()] = [None; PARAMETERS.len()];
        for written in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = written.split_once('=').unwrap_or((written, ""));
            let known = PARAMETERS.iter().zip(&mut values).find(|(known, _)| **known == name);
            let Some((known, place)) = known else {
                let suggestion = nearest(name, PARAMETERS);
                return Err(SrtError::UnknownParameter { parameter: shown(name), suggestion });
            };
            if place.replace(value).is_some() {
                return Err(SrtError::Twice(known));
            }
        }
        let [mode, latency, passphrase, stream_id] = values;
        Ok(Self {
            mode: SrtMode::parse(authority, mode)?,
            latency_ms: latency.map(self::latency).transpose()?,
            passphrase: passphrase.map(self::passphrase).transpose()?,
            stream_id: stream_id.map(self::stream_id).transpose()?,
        })
    }
}

impl SrtMode {
    fn parse(authority: &str, mode: Option<&str>) -> Result<Self, SrtError> {
        let (host, port) = authority.rsplit_once(':').ok_or(SrtError::NoAddress)?;
        match mode {
            Some("listener") => Self::listener(authority, host, port),
            Some("caller") if host.is_empty() => Err(SrtError::NobodyToCall),
            None if host.is_empty() => Self::listener(authority, host, port),
            None | Some("caller") => {
                // The port is always there: SRT has none of its own.
                Ok(Self::Caller(PeerAddress::parse(authority, 0)?))
            }
            Some(other) => Err(SrtError::BadMode(shown(other))),
        }
    }

    fn listener(authority: &str, host: &str, port: &str) -> Result<Self, SrtError> {
        let address: IpAddr = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            _ if host.is_empty() => Ipv4Addr::UNSPECIFIED.into(),
            Some(v6) => v6.parse().map_err(|_| SrtError::NotOurs(shown(authority)))?,
            None => IpAddr::V4(host.parse().map_err(|_| SrtError::NotOurs(shown(host)))?),
        };
        let port = port.parse().ok().filter(|port| *port != 0);
        let port = port.ok_or_else(|| SrtError::Peer(PeerAddressError::BadPort(shown(authority))))?;
        Ok(Self::Listener(SocketAddr::new(address, port)))
    }
}

impl SrtInput {
    /// Scheme, address and mode: what may be shown to everybody.
    pub fn place(&self) -> String {
        match &self.mode {
            SrtMode::Caller(peer) => format!("srt://{peer}"),
            SrtMode::Listener(address) => format!("srt://{address}?mode=listener"),
        }
    }
}

fn latency(text: &str) -> Result<u16, SrtError> {
    let latency = text.parse().ok().filter(|latency| (MIN_LATENCY_MS..=MAX_LATENCY_MS).contains(latency));
    latency.ok_or_else(|| SrtError::BadLatency(shown(text)))
}

fn passphrase(text: &str) -> Result<Passphrase, SrtError> {
    let text = percent_decoded(text).filter(|text| (10..=79).contains(&text.len()));
    text.map(Passphrase).ok_or(SrtError::BadPassphrase)
}

fn stream_id(text: &str) -> Result<String, SrtError> {
    percent_decoded(text).filter(|text| (1..=512).contains(&text.len())).ok_or(SrtError::BadStreamId)
}

/// The part of the URL behind `srt:`.
impl fmt::Display for SrtInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = '?';
        let mut begin = |f: &mut fmt::Formatter<'_>, name: &str| {
            let before = std::mem::replace(&mut separator, '&');
            write!(f, "{before}{name}=")
        };
        match &self.mode {
            SrtMode::Caller(peer) => write!(f, "//{peer}")?,
            SrtMode::Listener(address) => {
                write!(f, "//{address}")?;
                begin(f, "mode")?;
                f.write_str("listener")?;
            }
        }
        if let Some(latency_ms) = self.latency_ms {
            begin(f, "latency")?;
            write!(f, "{latency_ms}")?;
        }
        if let Some(passphrase) = &self.passphrase {
            begin(f, "passphrase")?;
            percent_encoded(passphrase.as_str(), f)?;
        }
        if let Some(stream_id) = &self.stream_id {
            begin(f, "streamid")?;
            percent_encoded(stream_id, f)?;
        }
        Ok(())
    }
}

const PARAMETERS: [&str; 4] = ["mode", "latency", "passphrase", "streamid"];
const MIN_LATENCY_MS: u16 = 20;
const MAX_LATENCY_MS: u16 = 30_000;

#[cfg(test)]
mod tests {
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::topology::InputUrl;

    fn parse(url: &str) -> Result<SrtInput, SrtError> {
        url.strip_prefix("srt:").unwrap().parse()
    }

    #[test]
    fn canonical_urls_come_back_as_they_were() {
        for url in [
            "srt://headend.example:9000",
            "srt://[fd00::7]:9000?latency=500&passphrase=correct%20horse&streamid=%23%21%3A%3Ar%3Dlive%2Cm%3Drequest",
            "srt://0.0.0.0:9000?mode=listener",
            "srt://[::]:9000?mode=listener&passphrase=0123456789",
        ] {
            assert_eq!(url.parse::<InputUrl>().unwrap().to_string(), url);
        }
    }

    #[test]
    fn other_ways_of_writing_mean_the_same() {
        assert_eq!(parse("srt://:9000"), parse("srt://0.0.0.0:9000?mode=listener"));
        assert_eq!(parse("srt://10.0.0.7:9000/?mode=caller"), parse("srt://10.0.0.7:9000"));
        let access = parse("srt://10.0.0.7:9000?streamid=#!::r=live/1,m=request").unwrap();
        assert_eq!(access.stream_id.as_deref(), Some("#!::r=live/1,m=request"));
    }

    #[test]
    fn wrong_urls_say_what_would_be_right() {
        use SrtError::*;
        let number = |text: &str| Err(BadLatency(text.to_owned()));
        assert_eq!(parse("srt:10.0.0.7:9000"), Err(NoAddress));
        assert_eq!(parse("srt://10.0.0.7"), Err(NoAddress));
        assert_eq!(parse("srt://:9000?mode=caller"), Err(NobodyToCall));
        assert_eq!(parse("srt://tv.example:9000?mode=listener"), Err(NotOurs("tv.example".to_owned())));
        assert_eq!(parse("srt://10.0.0.7:9000?mode=rendezvous"), Err(BadMode("rendezvous".to_owned())));
        assert!(matches!(parse("srt://10.0.0.7:0"), Err(Peer(_))));
        assert!(matches!(parse("srt://:99999"), Err(Peer(_))));
        assert_eq!(parse("srt://:9000?latency=120000"), number("120000"));
        assert_eq!(parse("srt://:9000?latency=2s"), number("2s"));
        assert_eq!(parse("srt://:9000?passphrase=short"), Err(BadPassphrase));
        assert_eq!(parse("srt://:9000?streamid="), Err(BadStreamId));
        assert_eq!(parse("srt://:9000?latency=50&latency=60"), Err(Twice("latency")));
        let unknown = parse("srt://:9000?passphrse=0123456789").unwrap_err().to_string();
        assert_eq!(unknown, "unknown parameter `passphrse`; did you mean `passphrase`?");
    }

    #[test]
    fn the_passphrase_is_not_shown() {
        let url: InputUrl = "srt://10.0.0.7:9000?passphrase=not-for-you&streamid=nor-this".parse().unwrap();
        assert!(!format!("{url:?}").contains("not-for-you"));
        assert_eq!(InputUrl::without_secrets(&url.to_string()), "srt://10.0.0.7:9000");
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_is_read(
            peer in any::<bool>(),
            port in 1u16..,
            latency_ms in option::of(MIN_LATENCY_MS..=MAX_LATENCY_MS),
            passphrase in option::of("[ -~äß]{10,39}"),
            stream_id in option::of("[ -~€]{1,80}"),
        ) {
            let mode = if peer {
                SrtMode::Caller(PeerAddress { host: "tv.example".to_owned(), port })
            } else {
                SrtMode::Listener(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port))
            };
            let url = InputUrl::Srt(SrtInput { mode, latency_ms, passphrase: passphrase.map(Passphrase), stream_id });
            prop_assert_eq!(url.to_string().parse::<InputUrl>().unwrap(), url);
        }
    }
}
