//! `http://` and `https://` inputs: `http[s]://[USER:PASSWORD@]HOST[:PORT][/PATH][?QUERY][#ca=FILE]`.
//!
//! Path and query are the server's own and go there as they are written. What is ours stands behind the `#`, which no
//! server is ever sent (RFC 3986 §3.5).

use std::fmt;

use thiserror::Error;

use super::peer_address::{PeerAddress, PeerAddressError};
use super::shown;

/// A stream that a web server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebInput {
    /// By TLS, and how.
    pub protocol: WebProtocol,
    /// Who is asked.
    pub server: PeerAddress,
    /// Path and query as they go over the wire: visible ASCII, a `/` first.
    pub target: String,
    /// Who asks, for servers that want to know.
    pub credentials: Option<Credentials>,
}

/// How the server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebProtocol {
    /// `http:`
    Plain,
    /// `https:`, the server vouched for by an authority of the operating system, or of this PEM file only.
    Tls(Option<String>),
}

/// A user and a password, without percent-encoding. `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Has no colon, which HTTP's Basic scheme cannot carry (RFC 7617 §2).
    pub user: String,
    /// May be empty.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// Why a text is no such URL. No message repeats what could be a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WebInputError {
    /// Not `//` behind the colon.
    #[error("write http://HOST/PATH or https://HOST/PATH")]
    NoServer,
    /// The server is none.
    #[error(transparent)]
    Server(#[from] PeerAddressError),
    /// A blank, or a character beyond ASCII.
    #[error("`{0}` may not stand in a web address as it is; write it percent-encoded, a blank as %20")]
    BadCharacter(char),
    /// Percent signs without two digits, or no UTF-8, or a colon in the user's name.
    #[error(
        "user and password cannot be read; write them as USER:PASSWORD@, other characters percent-encoded"
    )]
    BadCredentials,
    /// Something else than `#ca=`.
    #[error("`#{0}` is no setting; there is #ca=FILE, with https only")]
    UnknownSetting(String),
    /// A redirect to something else.
    #[error("`{0}:` is no protocol of the web")]
    OtherScheme(String),
}

impl WebInput {
    /// Reads what stands behind `http:` or `https:`.
    pub(super) fn parse(scheme: &str, rest: &str) -> Result<Self, WebInputError> {
        let rest = rest.strip_prefix("//").ok_or(WebInputError::NoServer)?;
        let (rest, setting) = rest.split_once('#').map_or((rest, None), |(rest, own)| (rest, Some(own)));
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (credentials, server) = match authority.rsplit_once('@') {
            Some((credentials, server)) => (Some(Credentials::parse(credentials)?), server),
            None => (None, authority),
        };
        let secure = scheme == "https";
        let protocol = match setting {
            Some(setting) => match setting.strip_prefix("ca=").filter(|file| secure && !file.is_empty()) {
                Some(file) => WebProtocol::Tls(Some(file.to_owned())),
                None => return Err(WebInputError::UnknownSetting(shown(setting))),
            },
            None if secure => WebProtocol::Tls(None),
            None => WebProtocol::Plain,
        };
        let server = PeerAddress::parse(server, protocol.default_port())?;
        let slash = if target.starts_with('/') { "" } else { "/" };
        let target = visible(format!("{slash}{target}"))?;
        Ok(Self { protocol, server, target, credentials })
    }

    /// Where a redirect leads (RFC 3986 §5.2). The user and the password go along to the same server only, and not from
    /// TLS to where others can read them; a private authority goes along to any server.
    pub fn redirected(&self, location: &str) -> Result<Self, WebInputError> {
        let location = location.split('#').next().unwrap_or_default();
        let scheme_end = location.find([':', '/', '?']).filter(|at| location[*at..].starts_with(':'));
        let mut led = match scheme_end {
            Some(end) => {
                let scheme = location[..end].to_ascii_lowercase();
                if scheme != "http" && scheme != "https" {
                    return Err(WebInputError::OtherScheme(shown(&scheme)));
                }
                Self::parse(&scheme, &location[end + 1..])?
            }
            None if location.starts_with("//") => Self::parse(self.protocol.scheme(), location)?,
            None => Self { target: visible(self.resolved(location))?, ..self.clone() },
        };
        if let (WebProtocol::Tls(own @ None), WebProtocol::Tls(ca)) = (&mut led.protocol, &self.protocol) {
            own.clone_from(ca);
        }
        let exposes = self.is_secure() && !led.is_secure();
        if exposes {
            led.credentials = None;
        } else if led.credentials.is_none() && led.server.host == self.server.host {
            led.credentials.clone_from(&self.credentials);
        }
        Ok(led)
    }

    /// Whether by TLS.
    pub fn is_secure(&self) -> bool {
        matches!(self.protocol, WebProtocol::Tls(_))
    }

    /// The server as the `Host` field names it.
    pub fn authority(&self) -> String {
        self.server.authority(self.protocol.default_port())
    }

    /// For people and logs: without user and password, and without query and folders, in which passwords are met as well.
    pub fn place(&self) -> String {
        let path = self.target.split('?').next().unwrap_or_default();
        let (folders, file) = path.rsplit_once('/').unwrap_or(("", path));
        let folders = if folders.is_empty() { "" } else { "/…" };
        format!("{}://{}{folders}/{file}", self.protocol.scheme(), self.authority())
    }

    /// The target of a relative reference that names no server.
    fn resolved(&self, location: &str) -> String {
        let base = self.target.split('?').next().unwrap_or_default();
        if location.is_empty() {
            return self.target.clone();
        }
        if location.starts_with('?') {
            return format!("{base}{location}");
        }
        let (path, query) = location.split_at(location.find('?').unwrap_or(location.len()));
        let folder = base.rfind('/').map_or("", |at| &base[..at]);
        let whole = if path.starts_with('/') { path.to_owned() } else { format!("{folder}/{path}") };
        without_dots(&whole) + query
    }
}

/// RFC 3986 §5.2.4.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut pieces = path.split('/').skip(1).peekable();
    while let Some(piece) = pieces.next() {
        let last = pieces.peek().is_none();
        match piece {
            "." | ".." => {
                if piece == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

impl WebProtocol {
    /// `http` or `https`.
    fn scheme(&self) -> &'static str {
        match self {
            Self::Plain => "http",
            Self::Tls(_) => "https",
        }
    }

    fn default_port(&self) -> u16 {
        match self {
            Self::Plain => 80,
            Self::Tls(_) => 443,
        }
    }
}

impl Credentials {
    fn parse(text: &str) -> Result<Self, WebInputError> {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        let decoded = |text| percent_decoded(text).ok_or(WebInputError::BadCredentials);
        let (user, password) = (decoded(user)?, decoded(password)?);
        if user.contains(':') { Err(WebInputError::BadCredentials) } else { Ok(Self { user, password }) }
    }
}

/// Without percent signs; `None` where they are no bytes, or the bytes no text without control characters.
pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_first_chunk::<2>()?;
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(digits[0])? << 4 | digit(digits[1])?);
        rest = after;
    }
    String::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control))
}

/// With all but letters, digits and `-._~` as bytes behind percent signs.
pub(super) fn percent_encoded(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            write!(f, "{}", char::from(byte))?;
        } else {
            write!(f, "%{byte:02X}")?;
        }
    }
    Ok(())
}

fn visible(target: String) -> Result<String, WebInputError> {
    match target.chars().find(|c| !c.is_ascii_graphic()) {
        Some(bad) => Err(WebInputError::BadCharacter(bad)),
        None => Ok(target),
    }
}

/// The whole URL, secrets and all.
impl fmt::Display for WebInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.protocol.scheme())?;
        if let Some(Credentials { user, password }) = &self.credentials {
            percent_encoded(user, f)?;
            f.write_str(":")?;
            percent_encoded(password, f)?;
            f.write_str("@")?;
        }
        write!(f, "{}{}", self.authority(), self.target)?;
        match &self.protocol {
            WebProtocol::Tls(Some(file)) => write!(f, "#ca={file}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(url: &str) -> Result<WebInput, WebInputError> {
        let (scheme, rest) = url.split_once(':').unwrap();
        WebInput::parse(scheme, rest)
    }

    #[test]
    fn urls_come_back_as_they_were() {
        for url in [
            "http://tv.example/",
            "http://tv.example:8080/a/b.ts?token=x&y=%20",
            "https://[fd00::7]:8443/live?a#ca=/etc/masthead/roots.pem",
            "https://anna:p%40ss%3A%2F@10.0.0.7/1.ts",
        ] {
            assert_eq!(parse(url).unwrap().to_string(), url);
        }
        assert_eq!(parse("http://tv.example").unwrap().target, "/");
        assert_eq!(parse("https://tv.example:443?x").unwrap().to_string(), "https://tv.example/?x");
    }

    #[test]
    fn secrets_are_read_and_not_shown() {
        let input = parse("https://anna:p%40ss@tv.example/live?token=hush").unwrap();
        let credentials = input.credentials.clone().unwrap();
        assert_eq!((credentials.user.as_str(), credentials.password.as_str()), ("anna", "p@ss"));
        assert_eq!(input.place(), "https://tv.example/live");
        assert!(!format!("{credentials:?}").contains("p@ss"));
        for url in ["http://a:%zz@h/", "http://a%3Ab:c@h/", "http://a:%ff@h/"] {
            assert_eq!(parse(url), Err(WebInputError::BadCredentials));
        }
    }

    #[test]
    fn wrong_urls_are_refused() {
        assert_eq!(parse("http:/tv.example"), Err(WebInputError::NoServer));
        assert_eq!(parse("http://h/a b"), Err(WebInputError::BadCharacter(' ')));
        assert!(matches!(parse("http:///a"), Err(WebInputError::Server(_))));
        assert_eq!(parse("http://h/#ca=x"), Err(WebInputError::UnknownSetting("ca=x".to_owned())));
        assert_eq!(parse("https://h/#x"), Err(WebInputError::UnknownSetting("x".to_owned())));
    }

    #[test]
    fn redirects_lead_where_the_standard_says() {
        let from = parse("http://anna:x@h:81/a/b/c?d").unwrap();
        for (location, to) in [
            ("http://other/x", "http://other/x"),
            ("HTTPS://h:81/x", "https://anna:x@h:81/x"),
            ("//other/x#y", "http://other/x"),
            ("/x", "http://anna:x@h:81/x"),
            ("x?y", "http://anna:x@h:81/a/b/x?y"),
            ("../x/./y/..", "http://anna:x@h:81/a/x/"),
            ("../../../x", "http://anna:x@h:81/x"),
            ("?y", "http://anna:x@h:81/a/b/c?y"),
            ("", "http://anna:x@h:81/a/b/c?d"),
        ] {
            assert_eq!(from.redirected(location).unwrap().to_string(), to, "{location}");
        }
        let secure = parse("https://anna:x@h/a#ca=f").unwrap();
        assert_eq!(secure.redirected("http://h/b").unwrap().to_string(), "http://h/b");
        assert_eq!(secure.redirected("https://o/b").unwrap().to_string(), "https://o/b#ca=f");
        let other = WebInputError::OtherScheme("ftp".to_owned());
        assert_eq!(from.redirected("ftp://h/x"), Err(other));
        assert_eq!(from.redirected("/a b"), Err(WebInputError::BadCharacter(' ')));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,60}", location in "[a-z:/?#.@%\\[\\] é]{0,30}") {
            let _ = WebInput::parse("https", &text);
            if let Ok(input) = WebInput::parse("http", &format!("//{text}")) {
                let again = parse(&input.to_string());
                prop_assert_eq!(again, Ok(input));
            }
            let _ = parse("http://h/a/b").unwrap().redirected(&location);
        }
    }
}
