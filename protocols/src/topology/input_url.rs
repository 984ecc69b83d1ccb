//! What an input of an acquisition server reads: the URL in `[[acquisition_server.input]]`, taken apart.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::command_words::{self, CommandError};
use super::destination::{Interface, InterfaceError};
use super::nearest::nearest;

mod dvb;
mod hdhomerun;
mod peer_address;
mod satip;
mod srt;
mod web;

pub use dvb::{
    Band, Diseqc, DvbError, DvbInput, DvbSystem, FecRate, GuardInterval, Lnb, LnbError, Modulation, Pilot,
    Polarization, Rolloff, TransmissionMode,
};
pub use hdhomerun::{HdhomerunChannel, HdhomerunDevice, HdhomerunInput, HdhomerunInputError};
pub use peer_address::{PeerAddress, PeerAddressError};
pub use satip::{SatipInput, SatipInputError, SatipPids};
pub use srt::{Passphrase, SrtError, SrtInput, SrtMode};
pub use web::{Credentials, WebInput, WebInputError, WebProtocol};

/// Where an input's transport stream comes from. `Display` gives the canonical URL, which parses to the same value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum InputUrl {
    /// `testcard:`, the built-in clip.
    TestCard,
    /// `file:PATH[?loop=no]`, a transport stream on disk.
    File {
        /// Taken as written, without percent-decoding; relative to the server's working folder.
        path: String,
        /// What happens at its end.
        repeat: Repeat,
    },
    /// `udp://…`, transport stream packets in bare datagrams.
    Udp(DatagramInput),
    /// `rtp://…`, transport stream packets in RTP (RFC 2250).
    Rtp(DatagramInput),
    /// `exec:COMMAND`, the standard output of a command. The text is taken as written;
    /// [`command_words`](super::command_words) makes words of it.
    Exec(String),
    /// `http://…` or `https://…`, a transport stream that a web server has.
    Web(WebInput),
    /// `dvb://…`, a multiplex received by a tuner of the server's own host.
    Dvb(DvbInput),
    /// `satip://…`, a multiplex that a SAT>IP server receives.
    Satip(SatipInput),
    /// `srt://…`, a stream that comes by SRT.
    Srt(SrtInput),
    /// `hdhomerun://…`, a multiplex or a programme that an HDHomeRun receives.
    Hdhomerun(HdhomerunInput),
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

/// The datagrams that a `udp:` or `rtp:` input takes:
/// `udp://[SOURCE@]ADDRESS:PORT[?interface=NAME_OR_ADDRESS][&source=ADDRESS]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatagramInput {
    /// Group to join, or own address to listen at; unspecified where the URL leaves it out (`udp://:5004`).
    pub address: IpAddr,
    /// UDP port, 1 to 65535.
    pub port: u16,
    /// The one sender that is heard; with a group, source-specific multicast (RFC 4607). Of the address's family.
    pub source: Option<IpAddr>,
    /// Interface that joins the group; the routing table decides where there is none.
    pub interface: Option<Interface>,
}

impl FromStr for InputUrl {
    type Err = InputUrlError;

    fn from_str(text: &str) -> Result<Self, InputUrlError> {
        if text.len() > MAX_URL_BYTES {
            return Err(InputUrlError::TooLong(text.len()));
        }
        if text.chars().any(char::is_control) {
            return Err(InputUrlError::ControlCharacter);
        }
        let (scheme, rest) = text.split_once(':').ok_or(InputUrlError::NoScheme)?;
        match scheme {
            "testcard" if rest.is_empty() => Ok(Self::TestCard),
            "testcard" => Err(InputUrlError::TestCardTakesNothing),
            "file" => file(rest),
            "udp" => rest.parse().map(Self::Udp),
            "rtp" => rest.parse().map(Self::Rtp),
            "exec" if rest.trim().is_empty() => Err(InputUrlError::NothingToRead("exec:COMMAND")),
            "exec" => {
                // What follows may be an escaped blank.
                command_words::split(rest)
                    .map(|_| Self::Exec(rest.trim_start().to_owned()))
                    .map_err(Into::into)
            }
            "http" | "https" => WebInput::parse(scheme, rest).map(Self::Web).map_err(Into::into),
            "dvb" => rest.parse().map(Self::Dvb).map_err(Into::into),
            "hdhomerun" => HdhomerunInput::parse(rest).map(Self::Hdhomerun).map_err(Into::into),
            "satip" => SatipInput::parse(rest).map(Self::Satip).map_err(Into::into),
            "srt" => rest.parse().map(Self::Srt).map_err(Into::into),
            later if LATER_SCHEMES.contains(&later) => Err(InputUrlError::NotInThisVersion(later.to_owned())),
            unknown => Err(InputUrlError::UnknownScheme {
                scheme: unknown.chars().take(32).collect(),
                suggestion: nearest(unknown, SCHEMES),
            }),
        }
    }
}

impl InputUrl {
    /// `text` for logs and people: what may be secret of it is left out. A text that is no input URL is not shown.
    pub fn without_secrets(text: &str) -> String {
        match text.parse() {
            Ok(Self::Web(input)) => input.place(),
            Ok(Self::Srt(input)) => input.place(),
            Ok(other) => other.to_string(),
            Err(_) => "an unreadable URL".to_owned(),
        }
    }
}

/// A path may hold a `?`: only what follows the last one, and reads `loop=…`, is a parameter.
fn file(rest: &str) -> Result<InputUrl, InputUrlError> {
    let (path, repeat) = match rest.rsplit_once('?') {
        Some((path, "loop=no")) => (path, Repeat::Once),
        Some((path, "loop=yes")) => (path, Repeat::Loop),
        Some((_, parameter)) if parameter.starts_with("loop=") => {
            return Err(InputUrlError::BadLoop(shown(parameter)));
        }
        _ => (rest, Repeat::Loop),
    };
    Ok(InputUrl::File { path: file_path(path)?, repeat })
}

/// `/a`, `//localhost/a` and `///a` are absolute; anything else is relative to the server's working folder.
fn file_path(rest: &str) -> Result<String, InputUrlError> {
    let path = match rest.strip_prefix("//") {
        Some(with_host) => with_host.strip_prefix("localhost").unwrap_or(with_host),
        None => rest,
    };
    if path.is_empty() {
        return Err(InputUrlError::NothingToRead("file:PATH"));
    }
    if rest.starts_with("//") && !path.starts_with('/') {
        return Err(InputUrlError::FileOnAnotherHost);
    }
    Ok(path.to_owned())
}

impl FromStr for DatagramInput {
    type Err = InputUrlError;

    fn from_str(rest: &str) -> Result<Self, InputUrlError> {
        let rest = rest.strip_prefix("//").ok_or(InputUrlError::NoAddress)?;
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (source, listen) = authority.trim_end_matches('/').rsplit_once('@').unwrap_or(("", authority));
        let listen = listen.trim_end_matches('/');
        let (host, port) = listen.rsplit_once(':').ok_or(InputUrlError::NoAddress)?;
        let address = if host.is_empty() { Ipv4Addr::UNSPECIFIED.into() } else { host_address(host)? };
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(InputUrlError::BadPort(shown(port)))?;
        let mut input = Self { address, port, source: None, interface: None };
        if !source.is_empty() {
            input.source = Some(host_address(source)?);
        }
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=').unwrap_or((parameter, "")) {
                ("interface", value) => input.interface = Some(value.parse()?),
                ("source", value) => input.source = Some(host_address(value)?),
                (unknown, _) => {
                    let suggestion = nearest(unknown, ["interface", "source"]);
                    return Err(InputUrlError::UnknownParameter { parameter: shown(unknown), suggestion });
                }
            }
        }
        input.checked()
    }
}

impl DatagramInput {
    /// A source and an interface address only make sense with the address that they go with.
    fn checked(self) -> Result<Self, InputUrlError> {
        if let Some(source) = self.source
            && (source.is_ipv4() != self.address.is_ipv4()
                || source.is_multicast()
                || source.is_unspecified())
        {
            return Err(InputUrlError::BadSource(source));
        }
        match self.interface.as_ref().and_then(Interface::address) {
            Some(own) if own.is_ipv4() != self.address.is_ipv4() => Err(InputUrlError::InterfaceFamily(own)),
            _ => Ok(self),
        }
    }
}

/// An address as URLs write it: IPv6 in brackets.
fn host_address(host: &str) -> Result<IpAddr, InputUrlError> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let parsed = match bare {
        Some(v6) => v6.parse().ok().map(IpAddr::V6),
        None => host.parse().ok().map(IpAddr::V4),
    };
    parsed.map(|address| address.to_canonical()).ok_or_else(|| InputUrlError::BadAddress(shown(host)))
}

fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

impl fmt::Display for InputUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TestCard => f.write_str("testcard:"),
            Self::File { path, repeat: Repeat::Loop } => write!(f, "file:{path}"),
            Self::File { path, repeat: Repeat::Once } => write!(f, "file:{path}?loop=no"),
            Self::Udp(input) => write!(f, "udp://{input}"),
            Self::Rtp(input) => write!(f, "rtp://{input}"),
            Self::Exec(command) => write!(f, "exec:{command}"),
            Self::Web(input) => input.fmt(f),
            Self::Dvb(input) => write!(f, "dvb:{input}"),
            Self::Satip(input) => input.fmt(f),
            Self::Srt(input) => write!(f, "srt:{input}"),
            Self::Hdhomerun(input) => input.fmt(f),
        }
    }
}

/// The part of the URL behind `//`.
impl fmt::Display for DatagramInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            Some(IpAddr::V4(source)) => write!(f, "{source}@")?,
            Some(IpAddr::V6(source)) => write!(f, "[{source}]@")?,
            None => {}
        }
        match self.address {
            IpAddr::V4(address) => write!(f, "{address}:{}", self.port)?,
            IpAddr::V6(address) => write!(f, "[{address}]:{}", self.port)?,
        }
        match &self.interface {
            Some(interface) => write!(f, "?interface={interface}"),
            None => Ok(()),
        }
    }
}

impl TryFrom<String> for InputUrl {
    type Error = InputUrlError;

    fn try_from(text: String) -> Result<Self, InputUrlError> {
        text.parse()
    }
}

impl From<InputUrl> for String {
    fn from(url: InputUrl) -> Self {
        url.to_string()
    }
}

/// Why a text is no input URL.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InputUrlError {
    /// No colon.
    #[error("an input URL begins with {}", listed("or"))]
    NoScheme,
    /// A word that is no scheme.
    #[error("unknown input scheme `{scheme}:`; {}", match .suggestion {
        Some(scheme) => format!("did you mean `{scheme}:`?"),
        None => format!("there are {}", listed("and")),
    })]
    UnknownScheme {
        /// As written.
        scheme: String,
        /// The scheme that was probably meant.
        suggestion: Option<&'static str>,
    },
    /// A scheme that is planned.
    #[error("input scheme `{0}:` is not available in this version; {available} are", available = listed("and"))]
    NotInThisVersion(String),
    /// More than [`MAX_URL_BYTES`].
    #[error("an input URL has at most {MAX_URL_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    /// A newline or another character that nobody sees.
    #[error("an input URL has no control characters")]
    ControlCharacter,
    /// Something after `testcard:`.
    #[error("`testcard:` takes nothing after the colon; write \"testcard:\"")]
    TestCardTakesNothing,
    /// Nothing after the colon.
    #[error("nothing to read; write {0}")]
    NothingToRead(&'static str),
    /// `?loop=` with something else.
    #[error("`{0}` is neither `loop=yes` nor `loop=no`")]
    BadLoop(String),
    /// A command line that is no list of words.
    #[error("command of `exec:`: {0}")]
    Command(#[from] CommandError),
    /// `http://` or `https://` with something wrong behind it.
    #[error(transparent)]
    Web(#[from] WebInputError),
    /// What `dvb://` asks for is no multiplex, or no tuner.
    #[error(transparent)]
    Dvb(#[from] DvbError),
    /// `satip://` with something wrong behind it.
    #[error(transparent)]
    Satip(#[from] SatipInputError),
    /// `srt://` with something wrong behind it.
    #[error(transparent)]
    Srt(#[from] SrtError),
    /// `hdhomerun://` with something wrong behind it.
    #[error(transparent)]
    Hdhomerun(#[from] HdhomerunInputError),
    /// `file://host/…`.
    #[error("`file:` reads the acquisition server's own disk; write file:/absolute/path")]
    FileOnAnotherHost,
    /// Not `//address:port`.
    #[error("write the address and the port, such as udp://239.192.9.1:5004 or udp://:5004")]
    NoAddress,
    /// Not an address; names are not resolved, since a group has none.
    #[error("`{0}` is no address; write IPv4 as 239.192.9.1, IPv6 as [ff15::1]")]
    BadAddress(String),
    /// Not a port.
    #[error("`{0}` is no port; ports are 1 to 65535")]
    BadPort(String),
    /// Neither `interface` nor `source`.
    #[error("unknown parameter `{parameter}`; {}", match .suggestion {
        Some(known) => format!("did you mean `{known}`?"),
        None => "there are interface and source".to_owned(),
    })]
    UnknownParameter {
        /// As written.
        parameter: String,
        /// The parameter that was probably meant.
        suggestion: Option<&'static str>,
    },
    /// A source that cannot send there.
    #[error(
        "{0} cannot be the source here; write the sender's own address, of the family of the address listened to"
    )]
    BadSource(IpAddr),
    /// An interface address of the other family.
    #[error(
        "interface {0} is of another address family than the input's address; name the interface instead"
    )]
    InterfaceFamily(IpAddr),
    /// Not an interface.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
}

/// The schemes that this version reads, for people.
fn listed(and: &str) -> String {
    let mut text = String::new();
    for (place, scheme) in SCHEMES.iter().enumerate() {
        let before = match place {
            0 => String::new(),
            _ if place + 1 == SCHEMES.len() => format!(" {and} "),
            _ => ", ".to_owned(),
        };
        text = format!("{text}{before}{scheme}:");
    }
    text
}

/// Longest input URL in bytes; a longer one is refused.
pub const MAX_URL_BYTES: usize = 1024;
/// What this version reads.
const SCHEMES: [&str; 11] =
    ["testcard", "file", "udp", "rtp", "exec", "http", "https", "dvb", "satip", "srt", "hdhomerun"];
/// What later versions are to read; named so that the message is not "unknown".
const LATER_SCHEMES: [&str; 2] = ["rtsp", "rist"];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<InputUrl, InputUrlError> {
        text.parse()
    }

    #[test]
    fn a_command_that_ends_in_an_escaped_blank_keeps_it() {
        let url = parse("exec: show a\\ ").unwrap();
        assert_eq!(url, InputUrl::Exec("show a\\ ".to_owned()));
        assert_eq!(parse(&url.to_string()).unwrap(), url);
    }

    #[test]
    fn canonical_urls_come_back_as_they_were() {
        for url in [
            "testcard:",
            "file:/srv/clip.ts",
            "file:clip with blanks.ts",
            "file:/srv/what?.ts",
            "file:/srv/clip.ts?loop=no",
            "udp://239.192.9.1:5004",
            "udp://0.0.0.0:5004",
            "udp://10.0.0.7@232.1.1.1:5004?interface=eth0",
            "rtp://[ff15::1]:5004?interface=fd00::1",
            "rtp://[fd00::7]@[ff35::1]:5004",
            "exec:ffmpeg -re -i x.mp4 -f mpegts -",
            "https://anna:secret@tv.example/1.ts?x",
        ] {
            assert_eq!(parse(url).unwrap().to_string(), url);
        }
    }

    #[test]
    fn other_ways_of_writing_mean_the_same() {
        assert_eq!(parse("file:///srv/a.ts"), parse("file:/srv/a.ts"));
        assert_eq!(parse("file://localhost/srv/a.ts"), parse("file:/srv/a.ts"));
        assert_eq!(parse("udp://@239.1.1.1:5004/"), parse("udp://239.1.1.1:5004"));
        assert_eq!(parse("udp://:5004"), parse("udp://0.0.0.0:5004"));
        assert_eq!(parse("udp://232.1.1.1:5004?source=10.0.0.7"), parse("udp://10.0.0.7@232.1.1.1:5004"));
    }

    #[test]
    fn secrets_are_left_out_for_people() {
        let shown = InputUrl::without_secrets("http://anna:secret@tv.example:8080/1.ts?token=secret");
        assert_eq!(shown, "http://tv.example:8080/1.ts");
        assert!(!InputUrl::without_secrets("http://anna:secret@tv example/").contains("secret"));
        assert_eq!(InputUrl::without_secrets("udp://:5004"), "udp://0.0.0.0:5004");
    }

    #[test]
    fn wrong_urls_say_what_would_be_right() {
        use InputUrlError::*;
        assert_eq!(parse("clip.ts"), Err(NoScheme));
        assert_eq!(parse("rist://:5"), Err(NotInThisVersion("rist".to_owned())));
        let udq = UnknownScheme { scheme: "udq".to_owned(), suggestion: Some("udp") };
        assert_eq!(udq.to_string(), "unknown input scheme `udq:`; did you mean `udp:`?");
        assert_eq!(parse("udq://1.2.3.4:5"), Err(udq));
        assert_eq!(parse("testcard:2"), Err(TestCardTakesNothing));
        assert_eq!(parse("file:"), Err(NothingToRead("file:PATH")));
        assert_eq!(parse("file://other/x"), Err(FileOnAnotherHost));
        assert_eq!(parse("exec: "), Err(NothingToRead("exec:COMMAND")));
        assert_eq!(parse("exec:cat 'a"), Err(Command(CommandError::OpenQuote('\''))));
        assert_eq!(parse("file:a.ts?loop=maybe"), Err(BadLoop("loop=maybe".to_owned())));
        assert_eq!(parse("udp:239.1.1.1:5"), Err(NoAddress));
        assert_eq!(parse("udp://239.1.1.1"), Err(NoAddress));
        assert_eq!(parse("udp://tv.example:5"), Err(BadAddress("tv.example".to_owned())));
        assert_eq!(parse("udp://239.1.1.1:0"), Err(BadPort("0".to_owned())));
        assert_eq!(parse("udp://239.1.1.1:65536"), Err(BadPort("65536".to_owned())));
        assert!(matches!(parse("udp://[fd00::1]@232.1.1.1:5"), Err(BadSource(_))));
        assert!(matches!(parse("udp://232.1.1.1:5?interface=fd00::1"), Err(InterfaceFamily(_))));
        assert!(matches!(parse("udp://232.1.1.1:5?interface="), Err(Interface(_))));
        let unknown = UnknownParameter { parameter: "iface".to_owned(), suggestion: None };
        assert_eq!(parse("udp://232.1.1.1:5?iface=eth0"), Err(unknown));
        assert_eq!(parse(&format!("file:{}", "x".repeat(MAX_URL_BYTES))), Err(TooLong(MAX_URL_BYTES + 5)));
    }
}
