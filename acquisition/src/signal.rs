//! How well a tuner receives.

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
