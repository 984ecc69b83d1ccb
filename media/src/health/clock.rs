//! The PCRs of one PID: often enough, without unannounced breaks, and in their place (TR 101 290, 2.3a, 2.3b, 2.4).

use std::time::Duration;

use super::indicator::{Indicator, Tallies};
use crate::time::{PCR_MODULUS, TICKS_PER_SECOND};

/// Longest interval between two PCRs (ISO/IEC 13818-1 §2.7.2, TR 101 290 V1.4.1). DVB recommends 40 ms, which earlier
/// editions counted as the limit.
pub const PCR_INTERVAL: Duration = Duration::from_millis(100);

/// The same on the stream's own clock.
const STEP_TICKS_MAX: u64 = TICKS_PER_SECOND / 10;
/// Seconds of the same rate after which a stream is taken for one of constant rate.
const STEADY_SPANS: u8 = 3;
/// How far two such seconds may differ.
const RATE_TOLERANCE_PPM: u128 = 100;
/// Fractions of a tick that places are kept in.
const FINE: i128 = 16;
/// ±500 ns: 13.5 ticks.
const ACCURACY_FINE: i128 = 13 * FINE + FINE / 2;
/// A PCR so far off (100 µs) is no inaccuracy of this clock but another clock, or packets that are missing.
const LOST_FINE: i128 = 2_700 * FINE;
/// The mean place follows a PCR by this part of its deviation.
const SMOOTHING: i128 = 8;

/// One PCR as it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) pcr: u64,
    /// Packets of the stream before it; `None` where they are not in the places where they were sent.
    pub(super) position: Option<u64>,
    pub(super) announced: bool,
}

/// What is known of one PID's PCRs.
#[derive(Debug, Default)]
pub(super) struct ClockWatch {
    /// When the last PCR came, or its absence was counted last.
    since: Option<Duration>,
    last: Option<u64>,
    accuracy: Accuracy,
}

impl ClockWatch {
    /// From `now` on PCRs are missed.
    pub(super) fn begin(&mut self, now: Duration) {
        *self = Self { since: Some(now), ..Self::default() };
    }

    pub(super) fn sample(&mut self, now: Duration, sample: Sample, tallies: &mut Tallies) {
        self.sweep(now, tallies);
        self.since = Some(now);
        let step = self.last.replace(sample.pcr).map(|last| (sample.pcr + PCR_MODULUS - last) % PCR_MODULUS);
        let jumped = step.is_some_and(|step| step > STEP_TICKS_MAX) && !sample.announced;
        tallies.raise_by(Indicator::PcrDiscontinuity, now, u64::from(jumped));
        let Some(position) = sample.position else { return };
        match step {
            Some(step) if !sample.announced && !jumped => {
                let off = self.accuracy.sample(position, step);
                tallies.raise_by(Indicator::PcrAccuracy, now, u64::from(off));
            }
            _ => self.accuracy.begin(position),
        }
    }

    /// Counts PCRs that have not come.
    pub(super) fn sweep(&mut self, now: Duration, tallies: &mut Tallies) {
        if self.since.is_some_and(|since| now.saturating_sub(since) > PCR_INTERVAL) {
            tallies.raise(Indicator::PcrRepetition, now);
            self.since = Some(now);
        }
    }

    /// Packets are missing: places before and after do not compare.
    pub(super) fn torn(&mut self) {
        self.accuracy.steady = 0;
        self.accuracy.span = None;
    }

    pub(super) fn judges_accuracy(&self) -> bool {
        self.accuracy.steady >= STEADY_SPANS
    }
}

/// Whether PCRs stand where a constant rate puts them. Judges nothing until the rate has been the same for
/// [`STEADY_SPANS`] seconds.
#[derive(Debug, Default)]
struct Accuracy {
    /// The second being measured: packets and ticks since its first PCR.
    span: Option<Span>,
    /// The last whole second.
    rate: Option<Span>,
    steady: u8,
    position: u64,
    /// How far the last PCR was from its mean place, in sixteenths of a tick.
    deviation: i128,
}

#[derive(Debug, Clone, Copy, Default)]
struct Span {
    packets: u64,
    ticks: u64,
}

impl Accuracy {
    fn begin(&mut self, position: u64) {
        *self = Self { span: Some(Span::default()), position, ..Self::default() };
    }

    /// Takes the next PCR, so many ticks above the one before; true when it is out of its place.
    fn sample(&mut self, position: u64, ticks: u64) -> bool {
        let packets = position.saturating_sub(self.position);
        self.position = position;
        let Some(span) = &mut self.span else {
            self.begin(position);
            return false;
        };
        *span = Span { packets: span.packets + packets, ticks: span.ticks + ticks };
        if span.ticks >= TICKS_PER_SECOND {
            let whole = std::mem::take(span);
            let same = self.rate.is_some_and(|before| before.is_like(whole));
            self.steady = if same { self.steady.saturating_add(1) } else { 0 };
            self.rate = Some(whole);
        }
        self.steady > 0 && self.deviates(packets, ticks)
    }

    fn deviates(&mut self, packets: u64, ticks: u64) -> bool {
        let Some(rate) = self.rate else { return false };
        let due = i128::from(packets) * i128::from(rate.ticks) * FINE / i128::from(rate.packets.max(1));
        let off = self.deviation + i128::from(ticks) * FINE - due;
        if off.abs() > LOST_FINE {
            self.begin(self.position);
            return false;
        }
        // The mean place goes on at the rate and follows what is within the limit.
        self.deviation = off - off.clamp(-ACCURACY_FINE, ACCURACY_FINE) / SMOOTHING;
        self.steady >= STEADY_SPANS && off.abs() > ACCURACY_FINE
    }
}

impl Span {
    fn is_like(self, other: Self) -> bool {
        let here = u128::from(self.ticks) * u128::from(other.packets);
        let there = u128::from(other.ticks) * u128::from(self.packets);
        self.packets > 0 && here.abs_diff(there) * 1_000_000 <= here * RATE_TOLERANCE_PPM
    }
}
