//! A server that an input is fetched from: its name or address, and its port.

use std::fmt;
use std::net::Ipv6Addr;

use thiserror::Error;

use super::shown;

/// A host by name or address, and a port. `Display` gives `HOST:PORT`, IPv6 in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddress {
    /// A name, looked up when the input is opened, or an address; IPv6 without brackets.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

/// Why a text is no server.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PeerAddressError {
    /// Nothing, or characters that no name has.
    #[error("`{0}` is no host; write a name, IPv4 as 10.0.0.7, IPv6 as [fd00::7]")]
    BadHost(String),
    /// Not a port.
    #[error("`{0}` is no port; ports are 1 to 65535")]
    BadPort(String),
}

impl PeerAddress {
    /// Reads `HOST` or `HOST:PORT`.
    pub(super) fn parse(text: &str, default_port: u16) -> Result<Self, PeerAddressError> {
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, port) = rest.split_once(']').ok_or_else(|| bad_host(text))?;
            let address: Ipv6Addr = host.parse().map_err(|_| bad_host(text))?;
            (address.to_string(), port)
        } else {
            let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (name(host).ok_or_else(|| bad_host(text))?, port)
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| PeerAddressError::BadPort(shown(port)))?,
            None if port.is_empty() => default_port,
            None => return Err(bad_host(text)),
        };
        Ok(Self { host, port })
    }

    /// As URLs write it: without the port where that is the scheme's own.
    pub fn authority(&self, default_port: u16) -> String {
        let whole = self.to_string();
        match whole.strip_suffix(&format!(":{default_port}")) {
            Some(host) if self.port == default_port => host.to_owned(),
            _ => whole,
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// A name of at most 253 characters (RFC 1035 §2.3.4), in lower case; underscores are met in the field.
fn name(host: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (!host.is_empty() && host.len() <= 253 && host.bytes().all(plain)).then(|| host.to_ascii_lowercase())
}

fn bad_host(text: &str) -> PeerAddressError {
    PeerAddressError::BadHost(shown(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_names_or_addresses_with_or_without_a_port() {
        for (text, host, port) in [
            ("tv.example", "tv.example", 80),
            ("TV_1.Example:8080", "tv_1.example", 8080),
            ("10.0.0.7:5", "10.0.0.7", 5),
            ("[fd00:0::7]", "fd00::7", 80),
            ("[fd00::7]:554", "fd00::7", 554),
        ] {
            let parsed = PeerAddress::parse(text, 80).unwrap();
            assert_eq!((parsed.host.as_str(), parsed.port), (host, port), "{text}");
            assert_eq!(PeerAddress::parse(&parsed.to_string(), 1), Ok(parsed));
        }
        let parsed = PeerAddress::parse("[fd00::7]", 80).unwrap();
        assert_eq!((parsed.authority(80), parsed.authority(8)), ("[fd00::7]".into(), "[fd00::7]:80".into()));
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for text in ["", ":80", "a b", "[fd00::7", "[10.0.0.7]", "[fd00::7]x", "fd00::7", "a/b", "ä"] {
            assert!(PeerAddress::parse(text, 80).is_err(), "{text}");
        }
        assert_eq!(PeerAddress::parse("a:0", 80), Err(PeerAddressError::BadPort("0".to_owned())));
    }
}
