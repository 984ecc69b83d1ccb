//! Where `watch` puts the stream, and which address a server has, as a person writes them.

use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

/// Where a stream goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Standard output: transport stream.
    Stdout,
    /// A file, made anew: transport stream.
    File(PathBuf),
    /// UDP datagrams of seven transport packets.
    Udp(HostPort),
    /// The very RTP packets.
    Rtp(HostPort),
}

/// A host by name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Name, IPv4 address or IPv6 address without brackets.
    pub host: String,
    /// Port, not 0.
    pub port: u16,
}

/// Why a text is neither.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TargetError {
    /// Nothing between the quotes.
    #[error("an output is `-`, a file, `udp://HOST:PORT` or `rtp://HOST:PORT`")]
    Empty,
    /// A scheme that no output has.
    #[error("`{0}://` is no output; `-`, a file, `udp://HOST:PORT` and `rtp://HOST:PORT` are")]
    Scheme(String),
    /// No port, or a bad one.
    #[error("`{0}` is no HOST:PORT, such as 127.0.0.1:5004 or [::1]:5004")]
    HostPort(String),
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        match text.split_once("://") {
            None if text.is_empty() => Err(TargetError::Empty),
            None if text == "-" => Ok(Self::Stdout),
            None => Ok(Self::File(text.into())),
            Some(("udp", rest)) => Ok(Self::Udp(HostPort::parse(rest, None)?)),
            Some(("rtp", rest)) => Ok(Self::Rtp(HostPort::parse(rest, None)?)),
            Some((scheme, _)) => Err(TargetError::Scheme(scheme.to_owned())),
        }
    }
}

impl HostPort {
    /// Reads `HOST:PORT`, `[IPV6]:PORT` and, with a default port, `HOST` or `IPV6` alone.
    pub fn parse(text: &str, default: Option<u16>) -> Result<Self, TargetError> {
        let text = text.strip_suffix('/').unwrap_or(text);
        let wrong = || TargetError::HostPort(text.to_owned());
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or_else(wrong)?)),
            // Two colons without brackets: an IPv6 address alone.
            None if text.matches(':').count() > 1 => (text, None),
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let port = match port {
            Some(digits) => digits.parse().ok(),
            None => default,
        };
        let host_is_fine = !host.is_empty() && !host.contains(char::is_whitespace);
        match port.filter(|port| *port > 0 && host_is_fine) {
            Some(port) => Ok(Self { host: host.to_owned(), port }),
            None => Err(wrong()),
        }
    }
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_port(host: &str, port: u16) -> HostPort {
        HostPort { host: host.to_owned(), port }
    }

    #[test]
    fn outputs_read_as_people_write_them() {
        assert_eq!("-".parse(), Ok(Target::Stdout));
        assert_eq!("a:b.ts".parse(), Ok(Target::File("a:b.ts".into())));
        assert_eq!("udp://127.0.0.1:5004".parse(), Ok(Target::Udp(host_port("127.0.0.1", 5004))));
        assert_eq!("rtp://[::1]:5004/".parse(), Ok(Target::Rtp(host_port("::1", 5004))));
    }

    #[test]
    fn wrong_outputs_are_told_what_would_be_right() {
        assert_eq!("http://x:1".parse::<Target>(), Err(TargetError::Scheme("http".to_owned())));
        for wrong in [
            "udp://",
            "udp://host",
            "udp://:5004",
            "udp://host:0",
            "udp://host:99999",
            "udp://::1",
            "rtp://[::1]5",
        ] {
            assert!(matches!(wrong.parse::<Target>(), Err(TargetError::HostPort(_))), "{wrong}");
        }
    }

    #[test]
    fn a_default_port_is_taken_where_none_is_given() {
        assert_eq!(HostPort::parse("tv.example", Some(7402)), Ok(host_port("tv.example", 7402)));
        assert_eq!(HostPort::parse("fd00::2", Some(7402)), Ok(host_port("fd00::2", 7402)));
        assert_eq!(HostPort::parse("[fd00::2]", Some(7402)), Ok(host_port("fd00::2", 7402)));
        assert_eq!(HostPort::parse("10.0.0.2:1", Some(7402)).unwrap().to_string(), "10.0.0.2:1");
    }
}
