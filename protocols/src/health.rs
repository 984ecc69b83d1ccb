//! How a channel's stream fares at its source, as an acquisition server tells it (P1) and people read it.
//! `docs/health.md` says what is counted.

use serde::{Deserialize, Serialize};

use crate::time::ClusterTime;

/// Indicators in one report at most; the receiver refuses more.
pub const MAX_INDICATORS: usize = 32;

/// A channel's health, from the acquisition server's start on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthReport {
    /// How it has been of late.
    pub state: HealthState,
    /// The indicators that were seen, each once; at most [`MAX_INDICATORS`].
    pub indicators: Vec<IndicatorReport>,
    /// Transport packets missing by their continuity counters.
    pub lost_packets: u64,
    /// How it came by the network; `None` where it does not, or nothing came yet.
    pub delivery: Option<DeliveryReport>,
    /// Whether [`Indicator::PcrAccuracy`] is being judged: a whole input of constant rate.
    pub accuracy_judged: bool,
}

/// How a stream has been over the last ten seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HealthState {
    /// Nothing has come yet.
    #[default]
    Unknown,
    /// No indicator was seen.
    Good,
    /// Indicators of second priority were: it may suffer.
    Impaired,
    /// Indicators of first priority were: it hardly can be decoded whole.
    Bad,
}

/// How often an indicator was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndicatorReport {
    /// Which.
    pub indicator: Indicator,
    /// Since the acquisition server's start.
    pub count: u64,
    /// When last, by the acquisition server's wall clock.
    pub last: ClusterTime,
}

/// The media delivery index of the last second (RFC 4445).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryReport {
    /// Delay factor, in microseconds.
    pub delay_factor_us: u32,
    /// Media loss rate: transport packets missing in that second.
    pub lost_packets: u32,
}

/// How well a tuner receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalReport {
    /// Whether a multiplex is being demodulated.
    pub locked: bool,
    /// Strength at the aerial socket, 0 to 100.
    pub strength_percent: Option<u8>,
    /// How clean it is, 0 to 100.
    pub quality_percent: Option<u8>,
}

/// The indicators of ETSI TR 101 290. Kinds are only ever added at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Indicator {
    /// 1.1
    SyncLoss,
    /// 1.2
    SyncByte,
    /// 1.3.a
    Pat,
    /// 1.4
    Continuity,
    /// 1.5.a
    Pmt,
    /// 1.6
    Pid,
    /// 2.1
    Transport,
    /// 2.2
    Crc,
    /// 2.3a
    PcrRepetition,
    /// 2.3b
    PcrDiscontinuity,
    /// 2.4
    PcrAccuracy,
    /// 2.5
    Pts,
    /// 2.6
    Cat,
}

impl Indicator {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::SyncLoss,
        Self::SyncByte,
        Self::Pat,
        Self::Continuity,
        Self::Pmt,
        Self::Pid,
        Self::Transport,
        Self::Crc,
        Self::PcrRepetition,
        Self::PcrDiscontinuity,
        Self::PcrAccuracy,
        Self::Pts,
        Self::Cat,
    ];

    /// Its name in TR 101 290, in the form of a label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SyncLoss => "ts_sync_loss",
            Self::SyncByte => "sync_byte_error",
            Self::Pat => "pat_error",
            Self::Continuity => "continuity_count_error",
            Self::Pmt => "pmt_error",
            Self::Pid => "pid_error",
            Self::Transport => "transport_error",
            Self::Crc => "crc_error",
            Self::PcrRepetition => "pcr_repetition_error",
            Self::PcrDiscontinuity => "pcr_discontinuity_error",
            Self::PcrAccuracy => "pcr_accuracy_error",
            Self::Pts => "pts_error",
            Self::Cat => "cat_error",
        }
    }

    /// Its number there.
    pub const fn number(self) -> &'static str {
        match self {
            Self::SyncLoss => "1.1",
            Self::SyncByte => "1.2",
            Self::Pat => "1.3.a",
            Self::Continuity => "1.4",
            Self::Pmt => "1.5.a",
            Self::Pid => "1.6",
            Self::Transport => "2.1",
            Self::Crc => "2.2",
            Self::PcrRepetition => "2.3a",
            Self::PcrDiscontinuity => "2.3b",
            Self::PcrAccuracy => "2.4",
            Self::Pts => "2.5",
            Self::Cat => "2.6",
        }
    }

    /// Whether it is of first priority: without it a stream can hardly be decoded.
    pub fn is_first_priority(self) -> bool {
        self <= Self::Pid
    }
}

impl HealthReport {
    /// How often `indicator` was seen.
    pub fn count(&self, indicator: Indicator) -> u64 {
        self.indicators.iter().find(|seen| seen.indicator == indicator).map_or(0, |seen| seen.count)
    }
}

impl HealthState {
    /// In one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Good => "good",
            Self::Impaired => "impaired",
            Self::Bad => "bad",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encode;

    #[test]
    fn a_report_on_the_wire() {
        let report = HealthReport {
            state: HealthState::Bad,
            indicators: vec![IndicatorReport { indicator: Indicator::Cat, count: 3, last: ClusterTime(7) }],
            lost_packets: 5,
            delivery: Some(DeliveryReport { delay_factor_us: 2_106, lost_packets: 4 }),
            accuracy_judged: true,
        };
        let mut bytes = vec![3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend([7, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend([1, 0x3a, 8, 0, 0, 4, 0, 0, 0, 1]);
        assert_eq!(encode(&report), bytes);
        let signal = SignalReport { locked: true, strength_percent: Some(60), quality_percent: None };
        assert_eq!(encode(&signal), [1, 1, 60, 0]);
    }

    #[test]
    fn the_first_six_are_of_first_priority() {
        assert!(Indicator::Pid.is_first_priority() && !Indicator::Transport.is_first_priority());
        assert!(Indicator::Pid.number().starts_with('1') && Indicator::Transport.number().starts_with('2'));
    }
}
