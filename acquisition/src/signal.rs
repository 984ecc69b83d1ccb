//! How well a tuner receives.

use std::fmt;

use protocols::health::SignalReport;

/// What an input that has a tuner knows of its signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal {
    /// Whether a multiplex is being demodulated.
    pub lock: bool,
    /// Strength at the aerial socket, 0 to 100, as the device tells it.
    pub strength_percent: Option<u8>,
    /// How clean the signal is, 0 to 100, as the device tells it.
    pub quality_percent: Option<u8>,
}

impl Signal {
    /// What is told of it; no device is believed more than 100 percent.
    pub fn report(self) -> SignalReport {
        let percent = |value: Option<u8>| value.map(|value| value.min(100));
        SignalReport {
            locked: self.lock,
            strength_percent: percent(self.strength_percent),
            quality_percent: percent(self.quality_percent),
        }
    }
}

/// `strength 80 %, quality 100 %`, for people.
impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [("strength", self.strength_percent), ("quality", self.quality_percent)];
        let parts = parts.map(|(name, percent)| match percent {
            Some(percent) => format!("{name} {percent} %"),
            None => format!("{name} unknown"),
        });
        f.write_str(&parts.join(", "))
    }
}
