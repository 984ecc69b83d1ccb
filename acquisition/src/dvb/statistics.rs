//! Strength and quality of a signal: the kernel's measures, brought to percent.

use protocols::topology::DvbSystem;

/// `DTV_STAT_SIGNAL_STRENGTH`.
pub const DTV_STAT_SIGNAL_STRENGTH: u32 = 62;
/// `DTV_STAT_CNR`: signal to noise.
pub const DTV_STAT_CNR: u32 = 63;

/// One measure of `struct dtv_fe_stats`, over the whole channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// In 0.001 dB, or 0.001 dBm.
    Decibel(i64),
    /// 0 to 65,535 of what the hardware can tell.
    Relative(u16),
}

impl Measure {
    /// Reads `struct dtv_fe_stats`: how many measures, then for each a scale and 8 bytes in the host's order. `None`: the driver
    /// has nothing to say now.
    pub fn read(statistics: &[u8]) -> Option<Self> {
        let (count, rest) = statistics.split_first()?;
        let (scale, rest) = rest.split_first()?;
        let value = *rest.first_chunk::<8>()?;
        match scale {
            1 if *count > 0 => Some(Self::Decibel(i64::from_ne_bytes(value))),
            2 if *count > 0 => {
                let value = u64::from_ne_bytes(value).min(u64::from(u16::MAX));
                Some(Self::Relative(u16::try_from(value).unwrap_or(u16::MAX)))
            }
            _ => None,
        }
    }

    /// Strength in percent: -95 dBm is none, -35 dBm is all that a tuner can use.
    pub fn strength_percent(self) -> u8 {
        self.percent(-95_000, -35_000)
    }

    /// Quality in percent: what the system needs at its weakest is little, what its densest constellation needs is all.
    pub fn quality_percent(self, system: DvbSystem) -> u8 {
        let full = if system.is_satellite() { 18_000 } else { 35_000 };
        self.percent(0, full)
    }

    fn percent(self, none: i64, full: i64) -> u8 {
        let share = match self {
            Self::Relative(value) => i64::from(value) * 100 / i64::from(u16::MAX),
            Self::Decibel(value) => (value.clamp(none, full) - none) * 100 / (full - none),
        };
        u8::try_from(share).unwrap_or(100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistics(count: u8, scale: u8, value: i64) -> Vec<u8> {
        [&[count, scale][..], &value.to_ne_bytes(), &[0; 27]].concat()
    }

    #[test]
    fn decibels_and_shares_are_read_and_nothing_is_nothing() {
        assert_eq!(Measure::read(&statistics(1, 1, -50_123)), Some(Measure::Decibel(-50_123)));
        assert_eq!(Measure::read(&statistics(4, 2, 65_535)), Some(Measure::Relative(65_535)));
        assert_eq!(Measure::read(&statistics(1, 2, i64::MAX)), Some(Measure::Relative(65_535)));
        for nothing in [statistics(0, 1, 5), statistics(1, 0, 5), statistics(1, 3, 5), vec![1, 1, 0], vec![]]
        {
            assert_eq!(Measure::read(&nothing), None);
        }
    }

    #[test]
    fn measures_become_percent_within_bounds() {
        assert_eq!(Measure::Decibel(-65_000).strength_percent(), 50);
        assert_eq!(Measure::Decibel(-120_000).strength_percent(), 0);
        assert_eq!(Measure::Decibel(i64::MAX).strength_percent(), 100);
        assert_eq!(Measure::Decibel(i64::MIN).quality_percent(DvbSystem::DvbT), 0);
        assert_eq!(Measure::Decibel(9_000).quality_percent(DvbSystem::DvbS2), 50);
        assert_eq!(Measure::Relative(u16::MAX).quality_percent(DvbSystem::DvbT), 100);
        assert_eq!(Measure::Relative(0x8000).strength_percent(), 50);
    }
}
