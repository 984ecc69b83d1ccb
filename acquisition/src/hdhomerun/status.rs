//! A tuner's `status`: `ch=8vsb:177000000 lock=8vsb ss=83 snq=90 seq=100 bps=19394080 pps=0`.

use crate::signal::Signal;

/// What a tuner says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Whether it is tuned to anything.
    pub is_tuned: bool,
    /// How it receives.
    pub signal: Signal,
}

impl Status {
    /// Reads a status; `None` where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let field =
            |name: &str| text.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let percent = |name| field(name)?.parse::<u8>().ok().map(|percent| percent.min(100));
        // A modulation that it cannot demodulate stands in parentheses.
        let lock = field("lock")?;
        Some(Self {
            is_tuned: field("ch")? != "none",
            signal: Signal {
                lock: lock != "none" && !lock.starts_with('('),
                strength_percent: percent("ss"),
                quality_percent: percent("snq"),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read() {
        let status =
            Status::parse("ch=8vsb:177000000 lock=8vsb ss=83 snq=90 seq=100 bps=19394080 pps=0").unwrap();
        let signal = Signal { lock: true, strength_percent: Some(83), quality_percent: Some(90) };
        assert_eq!(status, Status { is_tuned: true, signal });
        let status = Status::parse("ch=none lock=none ss=0 snq=0 seq=0 bps=0 pps=0").unwrap();
        assert!(!status.is_tuned && !status.signal.lock);
        assert!(!Status::parse("ch=auto:2 lock=(ntsc) ss=70").unwrap().signal.lock);
        assert_eq!(Status::parse("ss=300"), None);
        assert_eq!(Status::parse(""), None);
    }
}
