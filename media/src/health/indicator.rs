//! What is counted: the indicators of ETSI TR 101 290 (table 5.0a and 5.0b), how often each was seen and when last.

use std::time::Duration;

/// The first- and second-priority indicators, in the order of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Indicator {
    /// 1.1 `TS_sync_loss`: the packets were not where they belong, or none came for [`SILENCE`](super::SILENCE).
    SyncLoss,
    /// 1.2 `Sync_byte_error`: another byte where 0x47 belongs.
    SyncByte,
    /// 1.3.a `PAT_error_2`: no section of table 0 on PID 0 for [`TABLE_INTERVAL`](super::TABLE_INTERVAL), a section of
    /// another table there, or a scrambled one.
    Pat,
    /// 1.4 `Continuity_count_error`: packets of a PID missing, out of order, or there more than twice.
    Continuity,
    /// 1.5.a `PMT_error_2`: no section of table 2 on a PID that the PAT names for
    /// [`TABLE_INTERVAL`](super::TABLE_INTERVAL), or a scrambled one.
    Pmt,
    /// 1.6 `PID_error`: no packet of a sound, picture or PCR PID of a PMT for [`PID_INTERVAL`](super::PID_INTERVAL).
    Pid,
    /// 2.1 `Transport_error`: `transport_error_indicator` is set.
    Transport,
    /// 2.2 `CRC_error`: of a section of PAT, CAT, PMT, NIT, SDT, BAT, EIT or TOT.
    Crc,
    /// 2.3a `PCR_repetition_error`: more than [`PCR_INTERVAL`](super::PCR_INTERVAL) between two PCRs.
    PcrRepetition,
    /// 2.3b `PCR_discontinuity_indicator_error`: a PCR that is not 0 to 100 ms above the one before, unannounced.
    PcrDiscontinuity,
    /// 2.4 `PCR_accuracy_error`: a PCR more than 500 ns off its place in a stream of constant rate.
    PcrAccuracy,
    /// 2.5 `PTS_error`: more than [`PTS_INTERVAL`](super::PTS_INTERVAL) between two PTS of sound or pictures.
    Pts,
    /// 2.6 `CAT_error`: scrambled packets without a CAT, or a section of another table on PID 1.
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
}

/// How often an indicator was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Since the beginning.
    pub count: u64,
    /// When it was seen last, since the caller's origin.
    pub last: Option<Duration>,
}

/// A tally for each indicator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tallies([Tally; Indicator::ALL.len()]);

impl Tallies {
    /// How often `indicator` was seen.
    pub fn of(&self, indicator: Indicator) -> Tally {
        self.0[indicator as usize]
    }

    /// The indicators that were seen, in their order.
    pub fn seen(&self) -> impl Iterator<Item = (Indicator, Tally)> {
        Indicator::ALL
            .into_iter()
            .map(|indicator| (indicator, self.of(indicator)))
            .filter(|(_, tally)| tally.count > 0)
    }

    /// All counts together.
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, tally| sum.saturating_add(tally.count))
    }

    pub(super) fn raise(&mut self, indicator: Indicator, now: Duration) {
        self.raise_by(indicator, now, 1);
    }

    pub(super) fn raise_by(&mut self, indicator: Indicator, now: Duration, count: u64) {
        if count > 0 {
            let tally = &mut self.0[indicator as usize];
            *tally = Tally { count: tally.count.saturating_add(count), last: Some(now) };
        }
    }
}
