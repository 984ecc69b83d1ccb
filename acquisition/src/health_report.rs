//! What is told of a channel's health: to the database server as a report, and to the log a line now and then.

use std::collections::BTreeMap;
use std::time::Duration;

use media::health::{DeliveryIndex, Health, Indicator as Seen};
use protocols::health::{DeliveryReport, HealthReport, HealthState, Indicator, IndicatorReport};
use protocols::time::{ClusterTime, Time};

/// Indicators seen so long ago still count for the state.
pub const RECENT: Duration = Duration::from_secs(10);
/// Of one indicator the log has one line in this time at most; the next says how many there were.
pub const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Makes reports of one channel's health.
#[derive(Debug, Default)]
pub struct Reporter {
    /// When each indicator was seen last, by both clocks: what was said once is not dated anew.
    dated: BTreeMap<Indicator, (Duration, ClusterTime)>,
}

impl Reporter {
    /// What is known at `now`, which is `wall` on the wall clock.
    pub fn report(
        &mut self,
        now: Time,
        wall: ClusterTime,
        health: &Health,
        delivery: Option<DeliveryIndex>,
    ) -> HealthReport {
        let mut state = if health.is_arriving() { HealthState::Good } else { HealthState::Unknown };
        let mut indicators = Vec::new();
        for (seen, tally) in health.tallies().seen() {
            let (indicator, last) = (indicator(seen), tally.last.unwrap_or_default());
            let ago = now.since_origin().saturating_sub(last);
            if ago <= RECENT {
                state = state.max(severity(indicator));
            }
            let dated = self.dated.entry(indicator).or_default();
            if dated.0 != last {
                let ago_ms = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
                *dated = (last, ClusterTime(wall.0.saturating_sub(ago_ms)));
            }
            indicators.push(IndicatorReport { indicator, count: tally.count, last: dated.1 });
        }
        HealthReport {
            state,
            indicators,
            lost_packets: health.lost_packets(),
            delivery: delivery.map(delivery_report),
            accuracy_judged: health.judges_accuracy(),
        }
    }
}

fn severity(indicator: Indicator) -> HealthState {
    if indicator.is_first_priority() { HealthState::Bad } else { HealthState::Impaired }
}

fn delivery_report(index: DeliveryIndex) -> DeliveryReport {
    DeliveryReport {
        delay_factor_us: u32::try_from(index.delay_factor.as_micros()).unwrap_or(u32::MAX),
        lost_packets: u32::try_from(index.lost_packets).unwrap_or(u32::MAX),
    }
}

fn indicator(seen: Seen) -> Indicator {
    match seen {
        Seen::SyncLoss => Indicator::SyncLoss,
        Seen::SyncByte => Indicator::SyncByte,
        Seen::Pat => Indicator::Pat,
        Seen::Continuity => Indicator::Continuity,
        Seen::Pmt => Indicator::Pmt,
        Seen::Pid => Indicator::Pid,
        Seen::Transport => Indicator::Transport,
        Seen::Crc => Indicator::Crc,
        Seen::PcrRepetition => Indicator::PcrRepetition,
        Seen::PcrDiscontinuity => Indicator::PcrDiscontinuity,
        Seen::PcrAccuracy => Indicator::PcrAccuracy,
        Seen::Pts => Indicator::Pts,
        Seen::Cat => Indicator::Cat,
    }
}

/// Decides what the log says of one channel's health.
#[derive(Debug, Default)]
pub struct HealthLog {
    told: BTreeMap<Indicator, Told>,
}

#[derive(Debug, Clone, Copy)]
struct Told {
    at: Time,
    count: u64,
}

/// A line of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// What was seen.
    pub indicator: Indicator,
    /// How often since the line before.
    pub count: u64,
    /// How often in all.
    pub total: u64,
}

impl HealthLog {
    /// The lines that are due: what was seen since they were written last, an indicator at most once in [`LOG_INTERVAL`].
    pub fn lines(&mut self, now: Time, report: &HealthReport) -> Vec<Line> {
        let mut lines = Vec::new();
        for &IndicatorReport { indicator, count: total, .. } in &report.indicators {
            let told = self.told.get(&indicator).copied();
            let before = told.map_or(0, |told| told.count);
            let rests = told.is_some_and(|told| now.since(told.at) < LOG_INTERVAL);
            if total > before && !rests {
                self.told.insert(indicator, Told { at: now, count: total });
                lines.push(Line { indicator, count: total - before, total });
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use media::Packet;
    use media::health::{Extent, SyncErrors};
    use media::packet::NULL_PACKET;

    use super::*;

    fn report(counts: &[(Indicator, u64)]) -> HealthReport {
        let one = |&(indicator, count): &(Indicator, u64)| IndicatorReport {
            indicator,
            count,
            last: ClusterTime::default(),
        };
        HealthReport { indicators: counts.iter().map(one).collect(), ..HealthReport::default() }
    }

    #[test]
    fn the_log_has_a_line_at_once_and_the_next_after_its_interval_with_the_count() {
        let mut log = HealthLog::default();
        let mut lines =
            |s: u64, counts: &[(Indicator, u64)]| log.lines(Time::from_ms(s * 1_000), &report(counts));
        let (cc, crc) = (Indicator::Continuity, Indicator::Crc);
        assert_eq!(lines(0, &[]), []);
        assert_eq!(lines(1, &[(cc, 2)]), [Line { indicator: cc, count: 2, total: 2 }]);
        assert_eq!(lines(2, &[(cc, 9)]), []);
        // Another indicator does not wait for the first.
        assert_eq!(lines(3, &[(cc, 30), (crc, 1)]), [Line { indicator: crc, count: 1, total: 1 }]);
        assert_eq!(lines(10, &[(cc, 31), (crc, 1)]), []);
        assert_eq!(lines(11, &[(cc, 31), (crc, 1)]), [Line { indicator: cc, count: 29, total: 31 }]);
        assert_eq!(lines(60, &[(cc, 31), (crc, 1)]), []);
    }

    #[test]
    fn the_state_is_that_of_the_last_ten_seconds_and_dates_stand() {
        let (mut health, mut reporter) = (Health::new(Extent::Input), Reporter::default());
        let mut state = |health: &Health, ms: u64| {
            let report = reporter.report(Time::from_ms(ms), ClusterTime(1_000_000 + ms), health, None);
            (report.state, report.indicators.iter().map(|seen| seen.last.0).collect::<Vec<_>>())
        };
        assert_eq!(state(&health, 0), (HealthState::Unknown, vec![]));
        health.push(Duration::from_millis(10), Packet::parse(&NULL_PACKET).unwrap());
        assert_eq!(state(&health, 10), (HealthState::Good, vec![]));
        let mut damaged = NULL_PACKET;
        damaged[1] |= 0x80;
        health.push(Duration::from_millis(20), Packet::parse(&damaged).unwrap());
        assert_eq!(state(&health, 30), (HealthState::Impaired, vec![1_000_020]));
        health.synchronised(Duration::from_millis(40), SyncErrors { bytes: 1, losses: 0 });
        assert_eq!(state(&health, 50), (HealthState::Bad, vec![1_000_040, 1_000_020]));
        assert_eq!(state(&health, 10_020).0, HealthState::Bad);
        assert_eq!(state(&health, 10_041), (HealthState::Good, vec![1_000_040, 1_000_020]));
    }
}
