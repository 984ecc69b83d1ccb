//! The media delivery index (RFC 4445): how unevenly a stream comes by a network, and what of it is missing.
//!
//! A virtual buffer is filled by what arrives and drained at the stream's rate. The delay factor is how far its level
//! moves within a second, as time at that rate: so much would have to be buffered for an even flow.

use std::time::Duration;

/// What one index speaks of (RFC 4445 §3.1).
pub const INTERVAL: Duration = Duration::from_secs(1);

/// Earlier intervals that weigh as much as a new one in the rate that is measured where the stream tells none.
const RATE_MEMORY: u64 = 7;

/// One interval's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeliveryIndex {
    /// DF: what an even flow would have to buffer (RFC 4445 §3.1).
    pub delay_factor: Duration,
    /// MLR: transport packets missing or out of order within the interval (§3.2).
    pub lost_packets: u64,
}

/// Measures one flow.
#[derive(Debug, Default)]
pub struct Delivery {
    began: Option<Duration>,
    rate_bps: Option<u64>,
    /// Of the interval.
    bits: u64,
    lowest: i128,
    highest: i128,
    lost_packets: u64,
    latest: Option<DeliveryIndex>,
}

impl Delivery {
    /// A measurement that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// So many bytes came at `now`. `rate_bps` is the stream's own rate where it is known; else the mean of what came.
    pub fn arrived(&mut self, now: Duration, bytes: usize, rate_bps: Option<u64>) {
        let began = *self.began.get_or_insert(now);
        let elapsed = now.saturating_sub(began);
        if let Some(rate) = rate_bps.or(self.rate_bps) {
            let drained = u128::from(rate) * elapsed.as_micros() / 1_000_000;
            let level = i128::from(self.bits) - i128::try_from(drained).unwrap_or(i128::MAX);
            let filled = level.saturating_add(i128::try_from(bytes).unwrap_or(0) * 8);
            self.lowest = self.lowest.min(level);
            self.highest = self.highest.max(filled);
            if elapsed >= INTERVAL {
                self.latest = Some(DeliveryIndex {
                    delay_factor: self.delay_factor(rate),
                    lost_packets: self.lost_packets,
                });
            }
        }
        if elapsed >= INTERVAL {
            self.measure(elapsed);
            self.begin(now);
        }
        self.bits = self.bits.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(8));
    }

    /// So many packets are missing.
    pub fn lost(&mut self, packets: u64) {
        self.lost_packets = self.lost_packets.saturating_add(packets);
    }

    /// The last whole interval's.
    pub fn latest(&self) -> Option<DeliveryIndex> {
        self.latest
    }

    fn delay_factor(&self, rate_bps: u64) -> Duration {
        let swing = u128::try_from(self.highest.saturating_sub(self.lowest)).unwrap_or(0);
        let micros = swing.saturating_mul(1_000_000).checked_div(u128::from(rate_bps)).unwrap_or(0);
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    fn measure(&mut self, elapsed: Duration) {
        let micros = elapsed.as_micros().max(1);
        let rate = u64::try_from(u128::from(self.bits) * 1_000_000 / micros).unwrap_or(u64::MAX);
        let mean = self.rate_bps.map(|mean| mean - mean / (RATE_MEMORY + 1) + rate / (RATE_MEMORY + 1));
        self.rate_bps = Some(mean.unwrap_or(rate));
    }

    fn begin(&mut self, now: Duration) {
        let Self { rate_bps, latest, .. } = *self;
        *self = Self { began: Some(now), rate_bps, latest, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 1,316 bytes every 10 ms: 1.0528 Mb/s.
    const RATE_BPS: u64 = 1_052_800;

    fn index(arrivals_ms: impl Iterator<Item = u64>, rate_bps: Option<u64>) -> DeliveryIndex {
        let mut delivery = Delivery::new();
        arrivals_ms.for_each(|ms| delivery.arrived(Duration::from_millis(ms), 1_316, rate_bps));
        delivery.latest().unwrap()
    }

    #[test]
    fn an_even_flow_has_the_delay_factor_of_one_datagram() {
        let index = index((0..=1_000).step_by(10), Some(RATE_BPS));
        assert_eq!(index, DeliveryIndex { delay_factor: Duration::from_millis(10), lost_packets: 0 });
    }

    #[test]
    fn datagrams_that_come_five_together_have_five_times_that() {
        let bursts = (0..=1_000).step_by(50).flat_map(|ms| [ms; 5]);
        assert_eq!(index(bursts, Some(RATE_BPS)).delay_factor, Duration::from_millis(50));
    }

    #[test]
    fn a_pause_is_seen_in_full() {
        // Nothing from 500 to 700 ms, then all of it at once.
        let arrivals = (0..=1_000).step_by(10).map(|ms| if (500..700).contains(&ms) { 700 } else { ms });
        assert_eq!(index(arrivals, Some(RATE_BPS)).delay_factor, Duration::from_millis(210));
    }

    #[test]
    fn the_rate_is_measured_where_the_stream_tells_none() {
        let index = index((0..=5_000).step_by(10), None);
        assert_eq!(index.delay_factor, Duration::from_millis(10));
    }

    #[test]
    fn what_is_lost_counts_in_the_interval_it_is_lost_in() {
        let mut delivery = Delivery::new();
        for ms in (0..=2_000_u64).step_by(10) {
            delivery.lost(if ms == 300 { 7 } else { 0 });
            delivery.arrived(Duration::from_millis(ms), 1_316, Some(RATE_BPS));
            let expected = if (1_000..2_000).contains(&ms) { 7 } else { 0 };
            assert_eq!(delivery.latest().map_or(0, |index| index.lost_packets), expected, "{ms}");
        }
    }

    proptest! {
        #[test]
        fn no_arrivals_panic(arrivals in proptest::collection::vec((any::<u32>(), any::<usize>(), any::<Option<u64>>()), 0..50)) {
            let mut delivery = Delivery::new();
            for (at, bytes, rate) in arrivals {
                delivery.arrived(Duration::from_micros(u64::from(at) * 4_000), bytes, rate);
                delivery.lost(rate.unwrap_or(0));
            }
        }
    }
}
