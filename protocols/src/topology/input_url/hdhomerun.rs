//! `hdhomerun://` inputs: `hdhomerun://DEVICE[/auto|/tunerN]/CHANNEL[?program=N]`.
//!
//! | part | is |
//! |---|---|
//! | `DEVICE` | the device's id, eight hexadecimal digits, found by broadcast; or its address or name |
//! | `tunerN` | that tuner and no other; `auto`, or nothing: any that is free |
//! | `CHANNEL` | `MODULATION:NUMBER`, such as `8vsb:177000000` or `auto:12`; or a virtual channel, `v5.1` |
//! | `program` | the programme that the device is to filter out; else it is told which PIDs the channels need |

use std::fmt;

use thiserror::Error;

use super::peer_address::{PeerAddress, PeerAddressError};
use super::shown;
use crate::hdhomerun::{CONTROL_PORT, DeviceId};

/// A multiplex, or a programme of it, that an HDHomeRun receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HdhomerunInput {
    /// Who is asked.
    pub device: HdhomerunDevice,
    /// This tuner only.
    pub tuner: Option<u8>,
    /// What it is tuned to.
    pub channel: HdhomerunChannel,
    /// The programme that is filtered out.
    pub program: Option<u16>,
}

/// How a device is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HdhomerunDevice {
    /// By its id, wherever on this host's networks it is.
    Id(DeviceId),
    /// By where it is.
    Address(PeerAddress),
}

/// What a tuner is tuned to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HdhomerunChannel {
    /// `MODULATION:NUMBER`, the number a frequency in Hz or of the channel map.
    Physical(String),
    /// A channel as viewers number them: `5.1`.
    Virtual(String),
}

/// Why a text is no such URL.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HdhomerunInputError {
    /// No device or no channel.
    #[error("write hdhomerun://DEVICE/CHANNEL, such as hdhomerun://10401233/8vsb:177000000 or …/v5.1")]
    Incomplete,
    /// The device is neither an id nor a host.
    #[error(transparent)]
    Device(#[from] PeerAddressError),
    /// Eight digits that do not check.
    #[error("`{0}` is no device id: its last digit does not check the others; read it again from the device")]
    MistypedId(String),
    /// Neither `auto` nor `tunerN`.
    #[error("`{0}` is no tuner; write tuner0, tuner1 …, or auto")]
    BadTuner(String),
    /// Not a channel.
    #[error(
        "`{0}` is no channel; write MODULATION:NUMBER such as 8vsb:177000000 or auto:12, or vNUMBER such as v5.1"
    )]
    BadChannel(String),
    /// Not `program=N`.
    #[error("`{0}` is no parameter; there is program=1 to program=65535")]
    BadParameter(String),
}

impl HdhomerunInput {
    /// Reads what stands behind `hdhomerun:`.
    pub(super) fn parse(rest: &str) -> Result<Self, HdhomerunInputError> {
        let rest = rest.strip_prefix("//").ok_or(HdhomerunInputError::Incomplete)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (device, path) = path.split_once('/').ok_or(HdhomerunInputError::Incomplete)?;
        let (tuner, channel) = match path.split_once('/') {
            Some((tuner, channel)) => (tuner_number(tuner)?, channel),
            None => (None, path),
        };
        if channel.is_empty() {
            return Err(HdhomerunInputError::Incomplete);
        }
        let program = match query {
            "" => None,
            _ => Some(program(query).ok_or_else(|| HdhomerunInputError::BadParameter(shown(query)))?),
        };
        Ok(Self { device: device.try_into()?, tuner, channel: channel.try_into()?, program })
    }
}

fn tuner_number(text: &str) -> Result<Option<u8>, HdhomerunInputError> {
    match text.strip_prefix("tuner") {
        None if text == "auto" => Ok(None),
        Some(number) if number.len() <= 2 && number.bytes().all(|byte| byte.is_ascii_digit()) => {
            number.parse().map(Some).map_err(|_| HdhomerunInputError::BadTuner(shown(text)))
        }
        _ => Err(HdhomerunInputError::BadTuner(shown(text))),
    }
}

fn program(query: &str) -> Option<u16> {
    query.strip_prefix("program=")?.parse().ok().filter(|program| *program != 0)
}

impl TryFrom<&str> for HdhomerunDevice {
    type Error = HdhomerunInputError;

    fn try_from(text: &str) -> Result<Self, HdhomerunInputError> {
        if text.len() == 8
            && text.bytes().all(|byte| byte.is_ascii_hexdigit())
            && let Ok(number) = u32::from_str_radix(text, 16)
        {
            let id = DeviceId::from_number(number);
            return id.map(Self::Id).ok_or_else(|| HdhomerunInputError::MistypedId(text.to_owned()));
        }
        Ok(Self::Address(PeerAddress::parse(text, CONTROL_PORT)?))
    }
}

impl TryFrom<&str> for HdhomerunChannel {
    type Error = HdhomerunInputError;

    fn try_from(text: &str) -> Result<Self, HdhomerunInputError> {
        let number = |text: &str| (1..=10).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        let modulation = |text: &str| {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            (1..=32).contains(&text.len()) && text.bytes().all(plain)
        };
        let bad = || HdhomerunInputError::BadChannel(shown(text));
        if let Some((kind, channel)) = text.split_once(':') {
            return if modulation(kind) && number(channel) {
                Ok(Self::Physical(text.to_owned()))
            } else {
                Err(bad())
            };
        }
        let channel = text.strip_prefix('v').ok_or_else(bad)?;
        let (major, minor) = channel.split_once('.').unwrap_or((channel, "0"));
        if number(major) && number(minor) { Ok(Self::Virtual(channel.to_owned())) } else { Err(bad()) }
    }
}

impl fmt::Display for HdhomerunInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hdhomerun://{}/", self.device)?;
        match self.tuner {
            Some(tuner) => write!(f, "tuner{tuner}/")?,
            None => f.write_str("auto/")?,
        }
        match &self.channel {
            HdhomerunChannel::Physical(channel) => f.write_str(channel)?,
            HdhomerunChannel::Virtual(channel) => write!(f, "v{channel}")?,
        }
        match self.program {
            Some(program) => write!(f, "?program={program}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for HdhomerunDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Address(address) => f.write_str(&address.authority(CONTROL_PORT)),
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
            "//10401233/auto/8vsb:177000000?program=3",
            "//10.0.0.8/tuner1/auto6t:47",
            "//10.0.0.8:65002/auto/tqam256-6875:330000000",
            "//tuner.example/tuner0/v5.1",
        ] {
            assert_eq!(HdhomerunInput::parse(url).unwrap().to_string(), format!("hdhomerun:{url}"));
        }
        let short = HdhomerunInput::parse("//10401233/v5.1").unwrap();
        assert_eq!(short.to_string(), "hdhomerun://10401233/auto/v5.1");
    }

    #[test]
    fn wrong_urls_say_what_would_be_right() {
        let told = |url: &str| HdhomerunInput::parse(url).unwrap_err().to_string();
        for url in ["10401233", "//10401233", "//10401233/", "//10401233/tuner0/"] {
            assert!(told(url).starts_with("write hdhomerun://DEVICE/CHANNEL"), "{url}");
        }
        assert!(told("//10401234/v5").starts_with("`10401234` is no device id"));
        assert!(told("//a b/v5").contains("is no host"));
        for tuner in ["tuner", "tunerx", "tuner100", "tuner+1", "0"] {
            assert!(told(&format!("//h/{tuner}/v5")).contains("is no tuner"), "{tuner}");
        }
        for channel in ["5.1", "v", "v5.", "vx", "8vsb:", "8vsb:1x", "8VSB:1", ":1", "a/b"] {
            assert!(told(&format!("//h/auto/{channel}")).contains("is no channel"), "{channel}");
        }
        for query in ["program=0", "program=65536", "x=1"] {
            assert!(told(&format!("//h/v5?{query}")).contains("is no parameter"), "{query}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "//[0-9a-f:.]{0,9}/(auto|tuner[0-9]{0,3})?/?[a-z0-9:.]{0,20}", any in "\\PC{0,60}") {
            let _ = HdhomerunInput::parse(&any);
            if let Ok(input) = HdhomerunInput::parse(&text) {
                let written = input.to_string();
                prop_assert_eq!(HdhomerunInput::parse(&written["hdhomerun:".len()..]), Ok(input));
            }
        }
    }
}
