//! Input URLs of `topology.toml`, parsed into what is to be opened. `docs/inputs.md` describes them for administrators.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

use crate::command_words::{self, CommandError};

/// What to capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputUrl {
    /// `testcard:`: the built-in clip.
    TestCard,
    /// `file:PATH`: a transport stream on disk.
    File {
        /// Where; relative to the working directory.
        path: PathBuf,
        /// What happens at its end.
        repeat: Repeat,
    },
    /// `udp://`: transport packets in datagrams.
    Udp(Endpoint),
    /// `rtp://`: the same in RTP.
    Rtp(Endpoint),
    /// `exec:COMMAND`: what a program writes to its standard output.
    Exec {
        /// Program and arguments; never empty.
        words: Vec<String>,
    },
}

/// What happens at the end of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Repeat {
    /// It begins again without a seam.
    #[default]
    Loop,
    /// The input is finished.
    Once,
}

/// Where datagrams come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// A group, a broadcast address or an address of this host; unspecified: all of them.
    pub address: IpAddr,
    /// 1 to 65535.
    pub port: u16,
    /// The only sender that is heard.
    pub source: Option<IpAddr>,
    /// Interface by name or address.
    pub interface: Option<String>,
}

/// Why a text is no input URL.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InputUrlError {
    /// No `scheme:` in front.
    #[error("`{0}` has no scheme; write for example `file:{0}`")]
    NoScheme(String),
    /// A scheme of a later version, or none at all.
    #[error(
        "input scheme `{0}:` is not known to this version; `testcard:`, `file:`, `udp://`, `rtp://` and `exec:` are"
    )]
    Scheme(String),
    /// Something behind `testcard:`.
    #[error("nothing stands behind `testcard:`, not `{0}`")]
    TestCard(String),
    /// `file:` without a path.
    #[error("no path after `file:`")]
    NoPath,
    /// A `%` without two hexadecimal digits.
    #[error(
        "`{0}`: `%` needs two hexadecimal digits behind it; `file:PATH` without `//` takes a path as it is"
    )]
    Percent(String),
    /// An option that the scheme does not have, or a value that it does not take.
    #[error("option `{option}` is not one of this input's; {known}")]
    Option {
        /// As written.
        option: String,
        /// What may be written.
        known: &'static str,
    },
    /// Not `ADDRESS:PORT`.
    #[error("`{0}` is not ADDRESS:PORT, such as 239.1.2.3:5004 or [ff15::1]:5004; names are not looked up")]
    Endpoint(String),
    /// A sender that is no address.
    #[error("`{0}` in front of `@` is no address")]
    Source(String),
    /// A sender of the other address family, or for an IPv6 group.
    #[error(
        "source {of} does not go with {address}: source-specific multicast is IPv4 here, and both sides are of one family"
    )]
    SourceFamily {
        /// The sender.
        of: IpAddr,
        /// Where it sends.
        address: IpAddr,
    },
    /// `exec:` with a faulty command line.
    #[error("command of `exec:`: {0}")]
    Command(#[from] CommandError),
}

impl FromStr for InputUrl {
    type Err = InputUrlError;

    fn from_str(text: &str) -> Result<Self, InputUrlError> {
        let text = text.trim();
        let (scheme, rest) = text.split_once(':').ok_or_else(|| InputUrlError::NoScheme(text.to_owned()))?;
        match scheme.to_ascii_lowercase().as_str() {
            "testcard" if rest.is_empty() => Ok(Self::TestCard),
            "testcard" => Err(InputUrlError::TestCard(rest.to_owned())),
            "file" => file(rest),
            "udp" => Ok(Self::Udp(endpoint(rest)?)),
            "rtp" => Ok(Self::Rtp(endpoint(rest)?)),
            "exec" => Ok(Self::Exec { words: command_words::split(rest)? }),
            other => Err(InputUrlError::Scheme(other.to_owned())),
        }
    }
}

/// A path may hold a `?`: only what follows the last one, and reads `loop=…`, is an option.
fn file(rest: &str) -> Result<InputUrl, InputUrlError> {
    let (path, option) = match rest.rsplit_once('?') {
        Some((path, option)) if option.starts_with("loop=") => (path, Some(option)),
        _ => (rest, None),
    };
    let repeat = match option {
        None | Some("loop=yes") => Repeat::Loop,
        Some("loop=no") => Repeat::Once,
        Some(other) => {
            return Err(InputUrlError::Option {
                option: other.to_owned(),
                known: "`loop=yes` and `loop=no` are",
            });
        }
    };
    let path = match path.strip_prefix("//") {
        Some(url) => percent_decoded(url)?,
        None => path.to_owned(),
    };
    if path.is_empty() {
        Err(InputUrlError::NoPath)
    } else {
        Ok(InputUrl::File { path: path.into(), repeat })
    }
}

fn percent_decoded(text: &str) -> Result<String, InputUrlError> {
    let wrong = || InputUrlError::Percent(text.to_owned());
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).ok_or_else(wrong)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

fn endpoint(rest: &str) -> Result<Endpoint, InputUrlError> {
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (place, options) =
        rest.split_once('?').map_or((rest, None), |(place, options)| (place, Some(options)));
    let (source, place) = match place.rsplit_once('@') {
        Some((source, place)) => (source, place),
        None => ("", place),
    };
    let (address, port) = address_and_port(place.trim_end_matches('/'))?;
    let source = match source.trim_matches(['[', ']']) {
        "" => None,
        text => Some(text.parse::<IpAddr>().map_err(|_| InputUrlError::Source(text.to_owned()))?),
    };
    if let Some(of) =
        source.filter(|of| of.is_ipv6() != address.is_ipv6() || (of.is_ipv6() && address.is_multicast()))
    {
        return Err(InputUrlError::SourceFamily { of, address });
    }
    let mut interface = None;
    for option in options.into_iter().flat_map(|options| options.split('&')) {
        match option.split_once('=') {
            Some(("interface", name)) if !name.is_empty() => interface = Some(name.to_owned()),
            _ => {
                let known = "`interface=NAME` or `interface=ADDRESS` is";
                return Err(InputUrlError::Option { option: option.to_owned(), known });
            }
        }
    }
    Ok(Endpoint { address, port, source, interface })
}

fn address_and_port(place: &str) -> Result<(IpAddr, u16), InputUrlError> {
    let wrong = || InputUrlError::Endpoint(place.to_owned());
    let (address, port) = place.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
    let address = match address.strip_prefix('[').and_then(|address| address.strip_suffix(']')) {
        Some(v6) => IpAddr::V6(v6.parse().map_err(|_| wrong())?),
        None if address.is_empty() => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        None => IpAddr::V4(address.parse().map_err(|_| wrong())?),
    };
    Ok((address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> InputUrl {
        text.parse().unwrap()
    }

    fn fault(text: &str) -> String {
        text.parse::<InputUrl>().unwrap_err().to_string()
    }

    fn at(address: &str, port: u16) -> Endpoint {
        Endpoint { address: address.parse().unwrap(), port, source: None, interface: None }
    }

    #[test]
    fn files_are_paths_with_or_without_an_end() {
        let file = |path: &str, repeat| InputUrl::File { path: path.into(), repeat };
        assert_eq!(parse("file:clips/a b%20c.ts"), file("clips/a b%20c.ts", Repeat::Loop));
        assert_eq!(parse("file:///srv/a%20b.ts?loop=no"), file("/srv/a b.ts", Repeat::Once));
        assert_eq!(parse("file:what?.ts"), file("what?.ts", Repeat::Loop));
        assert_eq!(
            fault("file:a.ts?loop=maybe"),
            "option `loop=maybe` is not one of this input's; `loop=yes` and `loop=no` are"
        );
        assert_eq!(fault("file:"), "no path after `file:`");
        assert!(fault("file:///a%2").starts_with("`/a%2`: `%` needs two"));
    }

    #[test]
    fn endpoints_are_groups_or_hosts_with_source_and_interface() {
        assert_eq!(parse("udp://239.1.2.3:5004"), InputUrl::Udp(at("239.1.2.3", 5004)));
        assert_eq!(parse("udp://@239.1.2.3:5004"), InputUrl::Udp(at("239.1.2.3", 5004)));
        assert_eq!(parse("udp://:5004"), InputUrl::Udp(at("0.0.0.0", 5004)));
        assert_eq!(parse("rtp://[ff15::1]:5004"), InputUrl::Rtp(at("ff15::1", 5004)));
        let ssm = Endpoint {
            source: Some("10.0.0.5".parse().unwrap()),
            interface: Some("eth1".into()),
            ..at("232.1.2.3", 5004)
        };
        assert_eq!(parse("rtp://10.0.0.5@232.1.2.3:5004?interface=eth1"), InputUrl::Rtp(ssm));
    }

    #[test]
    fn faulty_endpoints_are_refused_with_what_would_be_right() {
        assert!(fault("udp://239.1.2.3").contains("is not ADDRESS:PORT"));
        assert!(fault("udp://239.1.2.3:0").contains("is not ADDRESS:PORT"));
        assert!(fault("udp://camera.example:5004").contains("names are not looked up"));
        assert!(fault("udp://me@239.1.2.3:5004").contains("`me` in front of `@` is no address"));
        assert!(fault("udp://2001:db8::1@[ff15::1]:5004").contains("source-specific multicast is IPv4 here"));
        assert!(fault("rtp://239.1.2.3:5004?ttl=3").contains("`interface=NAME` or `interface=ADDRESS` is"));
    }

    #[test]
    fn commands_are_words() {
        let words = vec!["sh".into(), "-c".into(), "cat a.ts".into()];
        assert_eq!(parse("exec:sh -c 'cat a.ts'"), InputUrl::Exec { words });
        assert_eq!(fault("exec: "), "command of `exec:`: no command after `exec:`");
    }

    #[test]
    fn unknown_schemes_are_told_the_known_ones() {
        assert_eq!(parse("TestCard:"), InputUrl::TestCard);
        assert!(
            fault("dvb://adapter0")
                .starts_with("input scheme `dvb:` is not known to this version; `testcard:`")
        );
        assert!(fault("clip.ts").contains("`file:clip.ts`"));
        assert!(fault("testcard:2").contains("not `2`"));
    }
}
