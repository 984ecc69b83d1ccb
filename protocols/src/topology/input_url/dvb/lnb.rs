//! What a dish's LNB makes of a transponder's frequency on the cable.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::super::shown;
use super::Polarization;
use crate::topology::nearest::nearest;

/// The oscillators of an LNB: what comes down the cable is the transponder's frequency less the oscillator's, or the other way
/// round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lnb {
    /// Of the lower band, or the only one.
    pub low_mhz: u16,
    /// The oscillator of the upper band, and the frequency from which it is the one; the 22 kHz tone asks for it.
    pub high: Option<HighBand>,
}

/// The upper band of an LNB that has two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HighBand {
    /// Its oscillator.
    pub oscillator_mhz: u16,
    /// Transponders from here on belong to it.
    pub from_mhz: u16,
}

/// How one transponder is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Band {
    /// Where it lies on the cable.
    pub intermediate_hz: u64,
    /// Whether it is in the upper band, which the tone asks for.
    pub high: bool,
    /// Whether 18 V ask for it: horizontal and left polarization. 13 V ask for the others.
    pub high_voltage: bool,
}

impl Lnb {
    /// Where the LNB brings a transponder.
    pub fn band(&self, frequency_hz: u64, polarization: Polarization) -> Result<Band, LnbError> {
        let high = self.high.filter(|high| frequency_hz >= u64::from(high.from_mhz) * 1_000_000);
        let oscillator_mhz = high.map_or(self.low_mhz, |high| high.oscillator_mhz);
        let intermediate_hz = frequency_hz.abs_diff(u64::from(oscillator_mhz) * 1_000_000);
        if !(MIN_INTERMEDIATE_HZ..=MAX_INTERMEDIATE_HZ).contains(&intermediate_hz) {
            return Err(LnbError::OutOfReach { frequency_hz, lnb: *self, intermediate_hz });
        }
        let high_voltage = matches!(polarization, Polarization::Horizontal | Polarization::Left);
        Ok(Band { intermediate_hz, high: high.is_some(), high_voltage })
    }
}

impl Default for Lnb {
    /// The universal LNB of Europe's Ku band.
    fn default() -> Self {
        UNIVERSAL
    }
}

impl FromStr for Lnb {
    type Err = LnbError;

    fn from_str(text: &str) -> Result<Self, LnbError> {
        if let Some((_, lnb)) = NAMED.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
            return Ok(*lnb);
        }
        let wrong = || LnbError::Unknown {
            written: shown(text),
            suggestion: nearest(text, NAMED.iter().map(|(name, _)| *name)),
        };
        let mhz =
            |text: &str| text.parse().ok().filter(|mhz| (1000..=32_000).contains(mhz)).ok_or_else(wrong);
        let parts: Vec<&str> = text.split('-').collect();
        match parts[..] {
            [low] => Ok(Self { low_mhz: mhz(low)?, high: None }),
            [low, high, from] => {
                let high = HighBand { oscillator_mhz: mhz(high)?, from_mhz: mhz(from)? };
                Ok(Self { low_mhz: mhz(low)?, high: Some(high) })
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Lnb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, _)) = NAMED.iter().find(|(_, lnb)| lnb == self) {
            return f.write_str(name);
        }
        write!(f, "{}", self.low_mhz)?;
        match self.high {
            Some(high) => write!(f, "-{}-{}", high.oscillator_mhz, high.from_mhz),
            None => Ok(()),
        }
    }
}

/// Why an LNB does not serve.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LnbError {
    /// Neither a name nor oscillators.
    #[error("`{written}` is no LNB; {}", match .suggestion {
        Some(name) => format!("did you mean `{name}`?"),
        None => "there are universal, standard, c-band and dbs; others are written by their oscillators in MHz, \
                 such as 10750, or 9750-10600-11700 for two and where the second begins".to_owned(),
    })]
    Unknown {
        /// As written.
        written: String,
        /// The LNB that was probably meant.
        suggestion: Option<&'static str>,
    },
    /// The LNB brings the transponder where no tuner takes it.
    #[error(
        "LNB `{lnb}` brings {} MHz to {} MHz on the cable, and tuners take {} to {} MHz; correct `frequency` or `lnb`",
        .frequency_hz / 1_000_000,
        .intermediate_hz / 1_000_000,
        MIN_INTERMEDIATE_HZ / 1_000_000,
        MAX_INTERMEDIATE_HZ / 1_000_000
    )]
    OutOfReach {
        /// Of the transponder.
        frequency_hz: u64,
        /// Which LNB.
        lnb: Lnb,
        /// On the cable.
        intermediate_hz: u64,
    },
}

const UNIVERSAL: Lnb =
    Lnb { low_mhz: 9750, high: Some(HighBand { oscillator_mhz: 10_600, from_mhz: 11_700 }) };
const NAMED: [(&str, Lnb); 4] = [
    ("universal", UNIVERSAL),
    ("standard", Lnb { low_mhz: 10_000, high: None }),
    ("c-band", Lnb { low_mhz: 5150, high: None }),
    ("dbs", Lnb { low_mhz: 11_250, high: None }),
];
/// What tuners take from the cable.
const MIN_INTERMEDIATE_HZ: u64 = 920_000_000;
const MAX_INTERMEDIATE_HZ: u64 = 2_180_000_000;
