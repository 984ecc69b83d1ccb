//! Media time: the 27 MHz system clock of a programme (ISO/IEC 13818-1 §2.4.2), unwrapped.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Ticks of the system clock in a second.
pub const TICKS_PER_SECOND: u64 = 27_000_000;

/// Ticks of the system clock in one tick of PTS, DTS and the RTP timestamp (90 kHz).
pub const TICKS_PER_90K: u64 = 300;

/// Where the PCR wraps: 2^33 × 300 ticks, about 26 h 30 min.
pub const PCR_MODULUS: u64 = (1 << 33) * TICKS_PER_90K;

/// A point on an unwrapped 27 MHz timeline. It never wraps in practice (2^64 ticks are 21,000 years).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MediaTime(u64);

impl MediaTime {
    /// The point `ticks` after the origin, in ticks of 27 MHz.
    pub const fn from_ticks(ticks: u64) -> Self {
        Self(ticks)
    }

    /// Ticks of 27 MHz since the origin.
    pub const fn ticks(self) -> u64 {
        self.0
    }

    /// The 90 kHz clock that RTP uses for MPEG-TS (RFC 2250 §2), wrapped to 32 bits.
    #[expect(clippy::cast_possible_truncation, reason = "the RTP timestamp is defined modulo 2^32")]
    pub const fn rtp_90k(self) -> u32 {
        (self.0 / TICKS_PER_90K) as u32
    }

    /// Time from `earlier` to `self`; zero when `earlier` is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        duration_of_ticks(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for MediaTime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(ticks_of_duration(duration)))
    }
}

impl Sub<Duration> for MediaTime {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(ticks_of_duration(duration)))
    }
}

/// The duration of `ticks` of 27 MHz, rounded down to a nanosecond.
pub fn duration_of_ticks(ticks: u64) -> Duration {
    let whole = Duration::from_secs(ticks / TICKS_PER_SECOND);
    // 1000/27 ns per tick; the remainder is below 27e6, so the product stays far below 2^64.
    whole + Duration::from_nanos((ticks % TICKS_PER_SECOND) * 1000 / 27)
}

/// The whole ticks of 27 MHz in `duration`; saturates.
pub fn ticks_of_duration(duration: Duration) -> u64 {
    let whole = duration.as_secs().saturating_mul(TICKS_PER_SECOND);
    whole.saturating_add(u64::from(duration.subsec_nanos()) * 27 / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rtp_time_is_a_three_hundredth_and_wraps_at_32_bits() {
        assert_eq!(MediaTime::from_ticks(27_000_000).rtp_90k(), 90_000);
        assert_eq!(MediaTime::from_ticks((1 << 32) * 300 + 900).rtp_90k(), 3);
    }

    #[test]
    fn durations_and_ticks_agree() {
        assert_eq!(ticks_of_duration(Duration::from_millis(40)), 1_080_000);
        assert_eq!(duration_of_ticks(345_600_000), Duration::from_millis(12_800));
        let time = MediaTime::from_ticks(5) + Duration::from_secs(1);
        assert_eq!(time.since(MediaTime::from_ticks(5)), Duration::from_secs(1));
        assert_eq!(MediaTime::default().since(time), Duration::ZERO);
    }
}
