//! `dvb://`: which multiplex a tuner of the acquisition server's own host receives, and by which tuner.
//!
//! ```text
//! dvb://[adapterN[/frontendM]]?system=SYSTEM&frequency=FREQUENCY[&PARAMETER=VALUE]…
//! ```

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::shown;
use crate::topology::nearest::nearest;

mod lnb;
mod words;

pub use lnb::{Band, Lnb, LnbError};
pub use words::{
    DvbSystem, FecRate, GuardInterval, Modulation, Pilot, Polarization, Rolloff, TransmissionMode,
};
use words::{Words, find};

/// What `dvb://` asks of a tuner. What is `None` is left to the demodulator, or to the system's usual value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DvbInput {
    /// `/dev/dvb/adapterN`; `None`: the first tuner that is free and knows the system.
    pub adapter: Option<u8>,
    /// `frontendM` of it; `None`: the first of the adapter that is free and knows the system.
    pub frontend: Option<u8>,
    /// How the multiplex is sent.
    pub system: DvbSystem,
    /// Its centre; that of the transponder for satellites, not of the cable behind the LNB.
    pub frequency_hz: u64,
    /// Width of the channel.
    pub bandwidth_hz: Option<u32>,
    /// Symbols per second.
    pub symbol_rate_bd: Option<u32>,
    /// Constellation.
    pub modulation: Option<Modulation>,
    /// Rate of the inner code; of the stream of high priority in DVB-T.
    pub fec: Option<FecRate>,
    /// Number of carriers.
    pub transmission_mode: Option<TransmissionMode>,
    /// Pause between symbols.
    pub guard_interval: Option<GuardInterval>,
    /// Physical layer pipe of DVB-T2 (ETSI EN 302 755).
    pub plp: Option<u8>,
    /// Polarization of the transponder; always there for satellites.
    pub polarization: Option<Polarization>,
    /// Shape of the spectrum's edges.
    pub rolloff: Option<Rolloff>,
    /// Whether there are pilot symbols.
    pub pilot: Option<Pilot>,
    /// Input stream of a DVB-S2 multistream (ETSI EN 302 307-1 §5.1.6).
    pub stream_id: Option<u8>,
    /// Gold code of the physical layer's scrambling (EN 302 307-1 §5.5.4), 0 to 262,142.
    pub pls: Option<u32>,
    /// What hangs in the dish's focus.
    pub lnb: Lnb,
    /// Which input of the switch nearest to the LNBs.
    pub diseqc: Option<Diseqc>,
    /// Which input of an uncommitted switch (DiSEqC 1.1), 1 to 16.
    pub uncommitted: Option<u8>,
}

/// An input of a switch between LNBs, as DiSEqC 1.0 tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Diseqc {
    /// By a message: input 1 to 4.
    Port(u8),
    /// By a burst of the tone alone, for switches of two inputs: the first.
    BurstA,
    /// The second.
    BurstB,
}

impl FromStr for DvbInput {
    type Err = DvbError;

    fn from_str(rest: &str) -> Result<Self, DvbError> {
        let rest = rest.strip_prefix("//").ok_or_else(|| DvbError::Device(shown(rest)))?;
        let (device, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (adapter, frontend) = tuner(device)?;
        let parameters = Parameters::read(query)?;
        let system = parameters.word::<DvbSystem>("system")?.ok_or(DvbError::NoSystem)?;
        parameters.are_for(system)?;
        let input = Self {
            adapter,
            frontend,
            system,
            frequency_hz: parameters
                .value("frequency")
                .map(|text| frequency(system, text))
                .transpose()?
                .ok_or(DvbError::Missing { parameter: "frequency", system })?,
            bandwidth_hz: parameters.value("bandwidth").map(|text| bandwidth(system, text)).transpose()?,
            symbol_rate_bd: parameters.value("symbol_rate").map(symbol_rate).transpose()?,
            modulation: parameters.modulation(system)?,
            fec: parameters.choice("fec")?,
            transmission_mode: parameters.choice("transmission_mode")?,
            guard_interval: parameters.choice("guard_interval")?,
            plp: parameters.number("plp", 255)?.and_then(|plp| u8::try_from(plp).ok()),
            polarization: parameters.word("polarization")?,
            rolloff: parameters.choice("rolloff")?,
            pilot: parameters.choice("pilot")?,
            stream_id: parameters.number("stream_id", 255)?.and_then(|id| u8::try_from(id).ok()),
            pls: parameters.number("pls", MAX_GOLD_CODE)?,
            lnb: parameters.value("lnb").map(str::parse).transpose()?.unwrap_or_default(),
            diseqc: parameters.value("diseqc").map(diseqc).transpose()?,
            uncommitted: parameters.value("uncommitted").map(uncommitted).transpose()?,
        };
        input.checked()
    }
}

impl DvbInput {
    /// What a system cannot do without is there, and the LNB brings the frequency where tuners take it.
    fn checked(self) -> Result<Self, DvbError> {
        let system = self.system;
        if system.has_symbol_rate() && self.symbol_rate_bd.is_none() {
            return Err(DvbError::Missing { parameter: "symbol_rate", system });
        }
        if system.is_satellite() {
            let polarization =
                self.polarization.ok_or(DvbError::Missing { parameter: "polarization", system })?;
            self.lnb.band(self.frequency_hz, polarization)?;
        }
        Ok(self)
    }
}

/// `adapterN[/frontendM]`, or nothing.
fn tuner(device: &str) -> Result<(Option<u8>, Option<u8>), DvbError> {
    let wrong = || DvbError::Device(shown(device));
    let number = |text: &str, prefix: &str| {
        let digits = text.strip_prefix(prefix).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        digits.and_then(|digits| digits.parse().ok()).ok_or_else(wrong)
    };
    match device.trim_end_matches('/').split_once('/') {
        None if device.is_empty() => Ok((None, None)),
        None => Ok((Some(number(device.trim_end_matches('/'), "adapter")?), None)),
        Some((adapter, frontend)) => {
            Ok((Some(number(adapter, "adapter")?), Some(number(frontend, "frontend")?)))
        }
    }
}

/// The parameters as written, each at most once.
struct Parameters<'u>(Vec<(&'static str, &'u str)>);

impl<'u> Parameters<'u> {
    fn read(query: &'u str) -> Result<Self, DvbError> {
        let mut read: Vec<(&'static str, &str)> = Vec::new();
        for written in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = written.split_once('=').unwrap_or((written, ""));
            let Some(name) = PARAMETERS.iter().find(|known| **known == name) else {
                let other = OTHER_NAMES.iter().find(|(other, _)| name.eq_ignore_ascii_case(other));
                let suggestion = other.map(|(_, ours)| *ours).or_else(|| nearest(name, PARAMETERS));
                return Err(DvbError::UnknownParameter { parameter: shown(name), suggestion });
            };
            if read.iter().any(|(before, _)| before == name) {
                return Err(DvbError::Twice(name));
            }
            read.push((name, value));
        }
        Ok(Self(read))
    }

    /// Refuses what `system` does not have.
    fn are_for(&self, system: DvbSystem) -> Result<(), DvbError> {
        match self.0.iter().find(|(name, _)| !has(system, name)) {
            Some((parameter, _)) => Err(DvbError::NotFor { parameter, system }),
            None => Ok(()),
        }
    }

    fn value(&self, name: &str) -> Option<&'u str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn word<W: Words>(&self, parameter: &'static str) -> Result<Option<W>, DvbError> {
        let Some(text) = self.value(parameter) else { return Ok(None) };
        find(text).map(Some).ok_or_else(|| unknown_word::<W>(parameter, text, W::ALL))
    }

    /// The same where `auto` leaves it to the demodulator.
    fn choice<W: Words>(&self, parameter: &'static str) -> Result<Option<W>, DvbError> {
        if self.value(parameter).is_some_and(|text| text.eq_ignore_ascii_case("auto")) {
            return Ok(None);
        }
        self.word(parameter)
    }

    /// A constellation that the system has.
    fn modulation(&self, system: DvbSystem) -> Result<Option<Modulation>, DvbError> {
        let found = self.choice::<Modulation>("modulation")?;
        let known = modulations(system);
        match found {
            Some(other) if !known.contains(&other) => {
                let text = self.value("modulation").unwrap_or_default();
                let known: Vec<(Modulation, &[&'static str])> =
                    Modulation::ALL.iter().filter(|(word, _)| known.contains(word)).copied().collect();
                Err(unknown_word("modulation", text, &known))
            }
            fitting => Ok(fitting),
        }
    }

    fn number(&self, parameter: &'static str, max: u32) -> Result<Option<u32>, DvbError> {
        let Some(text) = self.value(parameter) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| *number <= max);
        let wrong = || DvbError::BadNumber { parameter, written: shown(text), max };
        number.map(Some).ok_or_else(wrong)
    }
}

fn unknown_word<W: Words>(
    parameter: &'static str,
    text: &str,
    known: &[(W, &'static [&'static str])],
) -> DvbError {
    let names = || known.iter().filter_map(|(_, names)| names.first().copied());
    DvbError::UnknownWord {
        parameter,
        written: shown(text),
        suggestion: nearest(text, names()),
        known: names().collect::<Vec<_>>().join(", "),
    }
}

fn diseqc(text: &str) -> Result<Diseqc, DvbError> {
    match text {
        "1" | "2" | "3" | "4" => Ok(Diseqc::Port(text.as_bytes().first().map_or(1, |digit| digit - b'0'))),
        "a" | "A" => Ok(Diseqc::BurstA),
        "b" | "B" => Ok(Diseqc::BurstB),
        _ => Err(DvbError::BadDiseqc(shown(text))),
    }
}

fn uncommitted(text: &str) -> Result<u8, DvbError> {
    let port = text.parse().ok().filter(|port| (1..=16).contains(port));
    port.ok_or_else(|| DvbError::BadUncommitted(shown(text)))
}

fn frequency(system: DvbSystem, text: &str) -> Result<u64, DvbError> {
    let range = if system.is_satellite() { SATELLITE_HZ } else { GROUND_HZ };
    let wrong = |hint: Option<u64>| DvbError::BadFrequency { written: shown(text), system, hint };
    let hz = quantity(text, &HERTZ).ok_or_else(|| wrong(None))?;
    if (range.0..=range.1).contains(&hz) {
        return Ok(hz);
    }
    // A number without a unit that others would take for MHz or kHz.
    let meant = [1_000_000, 1_000].iter().filter_map(|unit| hz.checked_mul(*unit));
    Err(wrong(meant.into_iter().find(|hz| (range.0..=range.1).contains(hz))))
}

fn bandwidth(system: DvbSystem, text: &str) -> Result<u32, DvbError> {
    let wrong = || DvbError::BadBandwidth { written: shown(text), system };
    // As SAT>IP and VLC write it, the bare number counts MHz.
    let bare = text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let written = if bare { format!("{text}MHz") } else { text.to_owned() };
    let hz = quantity(&written, &HERTZ).and_then(|hz| u32::try_from(hz).ok()).ok_or_else(wrong)?;
    let known: &[u32] = match system {
        DvbSystem::DvbT2 => &[1_712_000, 5_000_000, 6_000_000, 7_000_000, 8_000_000, 10_000_000],
        DvbSystem::IsdbT => &[6_000_000, 7_000_000, 8_000_000],
        _ => &[5_000_000, 6_000_000, 7_000_000, 8_000_000],
    };
    known.contains(&hz).then_some(hz).ok_or_else(wrong)
}

fn symbol_rate(text: &str) -> Result<u32, DvbError> {
    let rate = quantity(text, &BAUD).and_then(|rate| u32::try_from(rate).ok());
    let fits = |rate: &u32| (MIN_SYMBOL_RATE_BD..=MAX_SYMBOL_RATE_BD).contains(rate);
    rate.filter(fits).ok_or_else(|| {
        let hint = rate.and_then(|rate| rate.checked_mul(1000)).filter(fits);
        DvbError::BadSymbolRate { written: shown(text), hint }
    })
}

/// A decimal number with one of these units, or with none.
fn quantity(text: &str, units: &[(&str, u32)]) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split)?;
    let power = match unit.trim() {
        "" => 0,
        unit => units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let missing = power.checked_sub(u32::try_from(fraction.len()).ok()?)?;
    let whole: u64 = whole.parse().ok()?;
    let fraction: u64 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    whole
        .checked_mul(10u64.checked_pow(power)?)?
        .checked_add(fraction.checked_mul(10u64.checked_pow(missing)?)?)
}

/// Whether a parameter means something for a system.
fn has(system: DvbSystem, parameter: &str) -> bool {
    use DvbSystem::{Atsc, DvbC, DvbCB, DvbS2, DvbT, DvbT2, IsdbT};
    match parameter {
        "bandwidth" | "transmission_mode" | "guard_interval" => matches!(system, DvbT | DvbT2 | IsdbT),
        "modulation" => matches!(system, DvbT | DvbT2 | DvbC | DvbCB | DvbS2 | Atsc),
        "symbol_rate" => system.has_symbol_rate(),
        "fec" => system.is_satellite() || matches!(system, DvbT | DvbT2),
        "plp" => system == DvbT2,
        "polarization" | "lnb" | "diseqc" | "uncommitted" => system.is_satellite(),
        "rolloff" | "pilot" | "stream_id" | "pls" => system == DvbS2,
        _ => true,
    }
}

fn modulations(system: DvbSystem) -> &'static [Modulation] {
    use Modulation::{Apsk16, Apsk32, Psk8, Qam16, Qam32, Qam64, Qam128, Qam256, Qpsk, Vsb8, Vsb16};
    match system {
        DvbSystem::DvbT => &[Qpsk, Qam16, Qam64],
        DvbSystem::DvbT2 => &[Qpsk, Qam16, Qam64, Qam256],
        DvbSystem::DvbC => &[Qam16, Qam32, Qam64, Qam128, Qam256],
        DvbSystem::DvbCB => &[Qam64, Qam256],
        DvbSystem::DvbS | DvbSystem::IsdbT => &[],
        DvbSystem::DvbS2 => &[Qpsk, Psk8, Apsk16, Apsk32],
        DvbSystem::Atsc => &[Vsb8, Vsb16],
    }
}

/// The part of the URL behind `dvb:`.
impl fmt::Display for DvbInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("//")?;
        if let Some(adapter) = self.adapter {
            write!(f, "adapter{adapter}")?;
            if let Some(frontend) = self.frontend {
                write!(f, "/frontend{frontend}")?;
            }
        }
        write!(f, "?system={}&frequency={}", self.system, self.frequency_hz)?;
        parameter(f, "bandwidth", self.bandwidth_hz)?;
        parameter(f, "symbol_rate", self.symbol_rate_bd)?;
        parameter(f, "modulation", self.modulation)?;
        parameter(f, "fec", self.fec)?;
        parameter(f, "transmission_mode", self.transmission_mode)?;
        parameter(f, "guard_interval", self.guard_interval)?;
        parameter(f, "plp", self.plp)?;
        parameter(f, "polarization", self.polarization)?;
        parameter(f, "rolloff", self.rolloff)?;
        parameter(f, "pilot", self.pilot)?;
        parameter(f, "stream_id", self.stream_id)?;
        parameter(f, "pls", self.pls)?;
        parameter(f, "lnb", Some(self.lnb).filter(|lnb| *lnb != Lnb::default()))?;
        parameter(f, "diseqc", self.diseqc)?;
        parameter(f, "uncommitted", self.uncommitted)
    }
}

fn parameter(f: &mut fmt::Formatter<'_>, name: &str, value: Option<impl fmt::Display>) -> fmt::Result {
    value.map_or(Ok(()), |value| write!(f, "&{name}={value}"))
}

impl fmt::Display for Diseqc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "{port}"),
            Self::BurstA => f.write_str("a"),
            Self::BurstB => f.write_str("b"),
        }
    }
}

/// Why a text is no `dvb://` URL.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DvbError {
    /// Neither an adapter nor nothing.
    #[error(
        "`{0}` is no tuner; write dvb://adapter0, dvb://adapter0/frontend1, or dvb:// for any that is free"
    )]
    Device(String),
    /// No `system`.
    #[error("`system` is missing; write for example dvb://adapter0?system=dvb-t2&frequency=506MHz")]
    NoSystem,
    /// A parameter that nobody knows.
    #[error("unknown parameter `{parameter}`; {}", match .suggestion {
        Some(known) => format!("did you mean `{known}`?"),
        None => format!("there are {}", PARAMETERS.join(", ")),
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
    /// A parameter that another system has.
    #[error("{system} has no `{parameter}`; leave it out, or correct `system`")]
    NotFor {
        /// Which.
        parameter: &'static str,
        /// The system of the URL.
        system: DvbSystem,
    },
    /// A parameter without which the system cannot be tuned.
    #[error("{system} needs `{parameter}`; {}", match *.parameter {
        "symbol_rate" => "write for example symbol_rate=6900000",
        "polarization" => "write polarization=h, v, l or r",
        _ => "write for example frequency=506MHz",
    })]
    Missing {
        /// Which.
        parameter: &'static str,
        /// The system of the URL.
        system: DvbSystem,
    },
    /// None of the words that a parameter takes.
    #[error("`{written}` is no `{parameter}` here; {}", match .suggestion {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("there are {known}"),
    })]
    UnknownWord {
        /// Of which.
        parameter: &'static str,
        /// As written.
        written: String,
        /// The word that was probably meant.
        suggestion: Option<&'static str>,
        /// All words.
        known: String,
    },
    /// Not a number, or too large.
    #[error("`{written}` is no `{parameter}`; it is a number from 0 to {max}")]
    BadNumber {
        /// Of which.
        parameter: &'static str,
        /// As written.
        written: String,
        /// The largest.
        max: u32,
    },
    /// Not a frequency that the system is sent at.
    #[error("`{written}` is no frequency of {system}, which has {}; {}", if .system.is_satellite() {
        "3 to 31 GHz"
    } else {
        "40 to 1300 MHz"
    }, match .hint {
        Some(hz) => format!("did you mean {hz} Hz? A number without a unit counts Hz"),
        None => "write Hz, or a unit, such as 506000000 or 506MHz".to_owned(),
    })]
    BadFrequency {
        /// As written.
        written: String,
        /// The system of the URL.
        system: DvbSystem,
        /// What was probably meant, in Hz.
        hint: Option<u64>,
    },
    /// Not a width that the system has.
    #[error("`{written}` is no bandwidth of {system}; it has {}", match .system {
        DvbSystem::DvbT2 => "1.712, 5, 6, 7, 8 and 10 MHz",
        DvbSystem::IsdbT => "6, 7 and 8 MHz",
        _ => "5, 6, 7 and 8 MHz",
    })]
    BadBandwidth {
        /// As written.
        written: String,
        /// The system of the URL.
        system: DvbSystem,
    },
    /// Not a symbol rate.
    #[error("`{written}` is no symbol rate, which has {MIN_SYMBOL_RATE_BD} to {MAX_SYMBOL_RATE_BD} symbols a second{}", match .hint {
        Some(rate) => format!("; did you mean {rate}?"),
        None => String::new(),
    })]
    BadSymbolRate {
        /// As written.
        written: String,
        /// What was probably meant.
        hint: Option<u32>,
    },
    /// Not an input of a DiSEqC 1.0 switch.
    #[error(
        "`{0}` is no input of a DiSEqC switch; write diseqc=1 to 4, or a or b for a switch that heeds bursts"
    )]
    BadDiseqc(String),
    /// Not an input of a DiSEqC 1.1 switch.
    #[error("`{0}` is no input of an uncommitted switch; write uncommitted=1 to 16")]
    BadUncommitted(String),
    /// The LNB, or what it makes of the frequency.
    #[error(transparent)]
    Lnb(#[from] LnbError),
}

const PARAMETERS: [&str; 17] = [
    "system",
    "frequency",
    "bandwidth",
    "symbol_rate",
    "modulation",
    "fec",
    "transmission_mode",
    "guard_interval",
    "plp",
    "polarization",
    "rolloff",
    "pilot",
    "stream_id",
    "pls",
    "lnb",
    "diseqc",
    "uncommitted",
];
/// What SAT>IP, libdvbv5 and players call them.
const OTHER_NAMES: [(&str, &str); 22] = [
    ("delsys", "system"),
    ("delivery_system", "system"),
    ("msys", "system"),
    ("freq", "frequency"),
    ("bw", "bandwidth"),
    ("bandwidth_hz", "bandwidth"),
    ("sr", "symbol_rate"),
    ("srate", "symbol_rate"),
    ("mtype", "modulation"),
    ("inner_fec", "fec"),
    ("code_rate_hp", "fec"),
    ("tmode", "transmission_mode"),
    ("transmission", "transmission_mode"),
    ("gi", "guard_interval"),
    ("guard", "guard_interval"),
    ("pol", "polarization"),
    ("polarisation", "polarization"),
    ("ro", "rolloff"),
    ("plts", "pilot"),
    ("isi", "stream_id"),
    ("sat_number", "diseqc"),
    ("src", "diseqc"),
];

const HERTZ: [(&str, u32); 4] = [("GHz", 9), ("MHz", 6), ("kHz", 3), ("Hz", 0)];
const BAUD: [(&str, u32); 3] = [("MBd", 6), ("kBd", 3), ("Bd", 0)];
/// What is sent by masts and cables, in Hz.
const GROUND_HZ: (u64, u64) = (40_000_000, 1_300_000_000);
/// What satellites send, from the C to the Ka band, in Hz.
const SATELLITE_HZ: (u64, u64) = (3_000_000_000, 31_000_000_000);
const MIN_SYMBOL_RATE_BD: u32 = 100_000;
const MAX_SYMBOL_RATE_BD: u32 = 90_000_000;
/// The sequences repeat after 2^18 - 1.
const MAX_GOLD_CODE: u32 = 262_142;

#[cfg(test)]
mod tests;
