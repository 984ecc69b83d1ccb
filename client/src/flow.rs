//! How fast a push server is told to send a recording, so that the client's buffer runs neither dry nor over.
//!
//! ```text
//!   level   0 ── WM_U ───┬──────┬────────┬──────┬── WM_O ── 1      of the buffer's capacity
//!   factor  3.0  │ 1.5   │ 1.15 │  1.0   │ .85  │ .55 │   paused   of the base rate        mode Zones
//!   factor  R_N ─┘  ◄── goes on as it was ──►          └── paused                          mode PauseResume
//! ```
//!
//! The rate is set as *delta-p*, the time from one packet to the next. One command leaves for each crossing of a zone's
//! border, however many borders a single jump crosses. Away from the middle a border counts where it stands, back towards the
//! middle [`HYSTERESIS`] further, so that a level which stays at a border makes no commands and the guards act in time.
//!
//! Levels are counted in packets and meant in seconds: a packet is worth the base's delta-p. Pure, and some ten nanoseconds a call.

use std::ops::Range;
use std::time::Duration;

use protocols::time::Time;
use thiserror::Error;

/// Way back over a border before the zone that was left counts again, as a share of the capacity.
pub const HYSTERESIS: f64 = 0.02;
/// Fastest that is ever asked for, as a multiple of the base rate.
pub const FACTOR_MAX: f64 = 3.0;
/// Time constant of the average consumption that serves as a base while a title's mean is unknown.
pub const EWMA_TIME: Duration = Duration::from_secs(20);
/// Kept beside feedback and stall when the lower guard is sized: one more measurement, a queue on the way.
pub const LOW_RESERVE: Duration = Duration::from_millis(200);
/// Likewise for the upper guard.
pub const HIGH_RESERVE: Duration = Duration::from_millis(100);
/// Least of the capacity that must remain between the guards for the zones to work in.
pub const SPAN_MIN: f64 = 0.25;

/// Where each zone ends, as a share of the capacity with the default guards, and its factor; above the last: paused.
const ZONES: [(f64, f64); 6] =
    [(LOW, FACTOR_MAX), (0.28, 1.5), (0.40, 1.15), (0.60, 1.0), (0.72, 0.85), (HIGH, 0.55)];
/// Least lower guard, `WM_U`.
const LOW: f64 = 0.15;
/// Highest upper guard, `WM_O`.
const HIGH: f64 = 0.85;
/// The zone of factor 1, at which all others look.
const MIDDLE: usize = 3;
/// The zone above all borders.
const TOP: usize = ZONES.len();

/// What a push server should do from now on.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Send one packet each so long.
    DeltaP(Duration),
    /// Send nothing.
    Paused,
}

/// Which law turns levels into commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Several zones with a factor each: a smooth stream. The default.
    Zones,
    /// Full speed or nothing: between the upper guard and the lower one nothing is sent, between the lower and the
    /// upper one a packet each so long (rate `R_N`).
    PauseResume(Duration),
}

/// What the base rate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// The title's mean, known beforehand.
    Mean,
    /// What was consumed lately ([`EWMA_TIME`]), as it stands when a border is crossed; the mean given is only its beginning.
    Consumption,
}

/// What the guards must withstand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    /// Highest consumption over a second, `C_peak`, as a multiple of the mean.
    pub peak: f64,
    /// Fastest sending, `R_max`, as a multiple of the mean; [`FACTOR_MAX`] for zones.
    pub fastest: f64,
    /// From a command to the first packet sent by it: a round trip and the push server's grid.
    pub feedback: Duration,
    /// Longest silence of the network.
    pub stall: Duration,
}

impl Default for Conditions {
    /// A LAN or a good access line, and television at a variable rate.
    fn default() -> Self {
        Self { peak: 2.6, fastest: FACTOR_MAX, feedback: Duration::from_millis(50), stall: Duration::ZERO }
    }
}

/// The outermost watermarks, as shares of the capacity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guards {
    /// `WM_U`: below it everything is done to fill.
    pub low: f64,
    /// `WM_O`: above it nothing is sent.
    pub high: f64,
}

/// The buffer cannot hold both guards and something between.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[error("a buffer of {capacity:?} is too small for its guards ({:.2} and {:.2} of it)", guards.low, guards.high)]
pub struct TooSmall {
    /// What was asked for.
    pub capacity: Duration,
    /// What it would have taken.
    pub guards: Guards,
}

impl Guards {
    /// The guards that `conditions` need in a buffer of `capacity`:
    /// `WM_U · B ≥ C_peak · (feedback + stall + 0.2 s)`, `(1 − WM_O) · B ≥ R_max · (feedback + 0.1 s)`.
    pub fn sized(capacity: Duration, conditions: &Conditions) -> Result<Self, TooSmall> {
        let share = |span: Duration| span.as_secs_f64() / capacity.as_secs_f64().max(1e-3);
        let low = conditions.peak * share(conditions.feedback + conditions.stall + LOW_RESERVE);
        let high = 1.0 - conditions.fastest * share(conditions.feedback + HIGH_RESERVE);
        let guards = Self { low: low.max(LOW), high: high.min(HIGH) };
        if guards.high - guards.low < SPAN_MIN {
            return Err(TooSmall { capacity, guards });
        }
        Ok(guards)
    }

    /// Where `level` stands with these guards, that with the default ones is at `share`.
    fn place(self, share: f64) -> f64 {
        self.low + (share - LOW) * (self.high - self.low) / (HIGH - LOW)
    }
}

/// How a flow is set up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// Delta-p at the title's mean rate: one packet's payload over it.
    pub mean_delta_p: Duration,
    /// B: what the buffer holds, in seconds of the mean rate.
    pub capacity: Duration,
    /// The law.
    pub mode: Mode,
    /// The base of its factors.
    pub base: Base,
    /// The outermost watermarks.
    pub guards: Guards,
}

/// What a flow did since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Commands given.
    pub commands: u64,
}

/// The law at work on one buffer.
#[derive(Debug, Clone)]
pub struct Flow {
    config: Config,
    /// Borders between zones, ascending, in seconds of the mean rate.
    borders: [Duration; TOP],
    /// [`HYSTERESIS`] of the capacity.
    back: Duration,
    zone: usize,
    /// Levels that change nothing, in packets; empty before the first level.
    stay: Range<u32>,
    consumption: Consumption,
    counters: Counters,
}

impl Flow {
    /// A flow that has not seen its buffer yet; the first level gives the first command.
    pub fn new(config: Config, now: Time) -> Self {
        let borders = match config.mode {
            Mode::Zones => ZONES.map(|(share, _)| config.guards.place(share)),
            Mode::PauseResume(_) => {
                std::array::from_fn(|zone| if zone < MIDDLE { config.guards.low } else { config.guards.high })
            }
        }
        .map(|share| config.capacity.mul_f64(share));
        let mean = 1.0 / config.mean_delta_p.as_secs_f64().max(1e-9);
        Self {
            config,
            borders,
            back: config.capacity.mul_f64(HYSTERESIS),
            zone: 0,
            stay: 0..0,
            consumption: Consumption { packets_per_s: mean, since: now, packets: 0 },
            counters: Counters::default(),
        }
    }

    /// The buffer holds `packets` now; gives the command that follows from it, if any.
    pub fn level(&mut self, now: Time, packets: u32) -> Option<Pace> {
        if self.stay.contains(&packets) {
            return None;
        }
        let first = self.stay.is_empty();
        self.zone = self.next_zone(self.seconds(packets), first);
        self.stay = self.stay();
        self.consumption.fold(now);
        let pace = match self.config.mode {
            Mode::Zones => self.zone_pace(),
            Mode::PauseResume(_) if !first && self.zone != 0 && self.zone != TOP => return None,
            Mode::PauseResume(_) if self.zone == TOP => Pace::Paused,
            Mode::PauseResume(delta_p) => Pace::DeltaP(delta_p),
        };
        self.counters.commands += 1;
        Some(pace)
    }

    /// `packets` were taken out of the buffer; only needed where the base is the consumption.
    pub fn consumed(&mut self, now: Time, packets: u32) {
        self.consumption.packets = self.consumption.packets.saturating_add(packets);
        if now.since(self.consumption.since) >= Consumption::FOLD_AFTER {
            self.consumption.fold(now);
        }
    }

    /// The buffer was emptied on purpose (a seek): the next level gives a command again.
    pub fn restart(&mut self) {
        self.stay = 0..0;
    }

    /// `packets` in seconds of the mean rate.
    pub fn seconds(&self, packets: u32) -> Duration {
        self.config.mean_delta_p.saturating_mul(packets)
    }

    /// Whether `packets` are enough to begin to show what is in the buffer: above the lower guard.
    pub fn ready(&self, packets: u32) -> bool {
        self.seconds(packets) >= self.borders[0]
    }

    /// What the buffer holds at most.
    pub fn capacity(&self) -> Duration {
        self.config.capacity
    }

    /// What the buffer holds at most, in packets.
    pub fn capacity_packets(&self) -> u32 {
        let packets = self.config.capacity.as_nanos() / self.config.mean_delta_p.as_nanos().max(1);
        u32::try_from(packets).unwrap_or(u32::MAX)
    }

    /// What it did so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn zone_pace(&self) -> Pace {
        let Some((_, factor)) = ZONES.get(self.zone) else { return Pace::Paused };
        let base = match self.config.base {
            Base::Mean => self.config.mean_delta_p,
            Base::Consumption => Duration::from_secs_f64(1.0 / self.consumption.packets_per_s.max(1e-3)),
        };
        Pace::DeltaP(base.div_f64(*factor))
    }

    /// The zone of `level` for one who was in the present zone, or in none at `first`.
    fn next_zone(&self, level: Duration, first: bool) -> usize {
        let plain = self.borders.iter().filter(|border| level >= **border).count();
        if first {
            return plain;
        }
        let mut zone = self.zone;
        while zone < plain && level >= self.end(zone) {
            zone += 1;
        }
        while zone > plain && level < self.begin(zone) {
            zone -= 1;
        }
        zone
    }

    /// The levels of the present zone, for one who is in it.
    fn stay(&self) -> Range<u32> {
        let packets = |level: Duration| {
            let packets = level.as_nanos().div_ceil(self.config.mean_delta_p.as_nanos().max(1));
            u32::try_from(packets).unwrap_or(u32::MAX)
        };
        let end = if self.zone == TOP { u32::MAX } else { packets(self.end(self.zone)) };
        packets(self.begin(self.zone))..end
    }

    /// Below this level `zone` is left downwards.
    fn begin(&self, zone: usize) -> Duration {
        let border = zone.checked_sub(1).map_or(Duration::ZERO, |below| self.borders[below]);
        border.saturating_sub(self.back_if(zone > MIDDLE))
    }

    /// From this level on `zone`, which is not the top one, is left upwards.
    fn end(&self, zone: usize) -> Duration {
        self.borders[zone] + self.back_if(zone < MIDDLE)
    }

    /// How far behind a border one must be: not at all when the way leads away from the middle.
    fn back_if(&self, towards_middle: bool) -> Duration {
        if towards_middle { self.back } else { Duration::ZERO }
    }
}

/// Exponentially weighted mean of what is taken out.
#[derive(Debug, Clone, Copy)]
struct Consumption {
    packets_per_s: f64,
    since: Time,
    packets: u32,
}

impl Consumption {
    /// Shortest time over which a rate is taken.
    const FOLD_AFTER: Duration = Duration::from_millis(200);

    fn fold(&mut self, now: Time) {
        let elapsed = now.since(self.since).as_secs_f64();
        if elapsed < Self::FOLD_AFTER.as_secs_f64() {
            return;
        }
        let keep = (-elapsed / EWMA_TIME.as_secs_f64()).exp();
        let rate = f64::from(self.packets) / elapsed;
        *self =
            Self { packets_per_s: keep * self.packets_per_s + (1.0 - keep) * rate, since: now, packets: 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1 ms a packet, so that a buffer of 10 s holds 10,000 and the share is packets / 10,000.
    fn config(mode: Mode) -> Config {
        let capacity = Duration::from_secs(10);
        let guards = Guards::sized(capacity, &Conditions::default()).unwrap();
        Config { mean_delta_p: Duration::from_millis(1), capacity, mode, base: Base::Mean, guards }
    }

    fn us(us: u64) -> Pace {
        Pace::DeltaP(Duration::from_micros(us))
    }

    /// The commands that these levels give, each with the level.
    fn commands(flow: &mut Flow, levels: impl IntoIterator<Item = u32>) -> Vec<(u32, Pace)> {
        levels.into_iter().filter_map(|level| Some((level, flow.level(Time::ZERO, level)?))).collect()
    }

    #[test]
    fn each_zone_has_its_rate_and_each_crossing_one_command() {
        let mut flow = Flow::new(config(Mode::Zones), Time::ZERO);
        let up = commands(&mut flow, (0..=10_000).step_by(10));
        let expected = [
            (0, Pace::DeltaP(Duration::from_nanos(333_333))),
            (1_700, Pace::DeltaP(Duration::from_nanos(666_667))),
            (3_000, Pace::DeltaP(Duration::from_nanos(869_565))),
            (4_200, us(1_000)),
            (6_000, Pace::DeltaP(Duration::from_nanos(1_176_471))),
            (7_200, Pace::DeltaP(Duration::from_nanos(1_818_182))),
            (8_500, Pace::Paused),
        ];
        assert_eq!(up, expected);
        let down = commands(&mut flow, (0..=10_000).rev().step_by(10));
        assert_eq!(
            down.iter().map(|(at, _)| *at).collect::<Vec<_>>(),
            [8_290, 6_990, 5_790, 3_990, 2_790, 1_490]
        );
        assert_eq!(flow.counters().commands, 13);
    }

    #[test]
    fn a_jump_over_several_zones_is_one_command() {
        let mut flow = Flow::new(config(Mode::Zones), Time::ZERO);
        assert_eq!(commands(&mut flow, [5_000, 9_000, 1_000, 5_000]).len(), 4);
    }

    #[test]
    fn a_level_that_trembles_at_a_border_makes_no_commands() {
        let mut flow = Flow::new(config(Mode::Zones), Time::ZERO);
        let first = commands(&mut flow, [5_000, 3_999]);
        assert_eq!(first, [(5_000, us(1_000)), (3_999, Pace::DeltaP(Duration::from_nanos(869_565)))]);
        assert_eq!(commands(&mut flow, [4_000, 3_990, 4_190, 3_950]), []);
        assert_eq!(commands(&mut flow, [4_200]), [(4_200, us(1_000))]);
    }

    #[test]
    fn the_other_mode_pauses_above_and_resumes_below_and_does_nothing_between() {
        let mut flow = Flow::new(config(Mode::PauseResume(Duration::from_micros(400))), Time::ZERO);
        let went = commands(&mut flow, [0, 4_000, 8_400, 8_500, 8_000, 3_000, 1_600, 1_499, 1_600, 8_000]);
        assert_eq!(went, [(0, us(400)), (8_500, Pace::Paused), (1_499, us(400))]);
    }

    #[test]
    fn guards_grow_with_feedback_and_stall_and_move_the_zones_between_them() {
        let seconds = Duration::from_secs;
        let stalls = Conditions { peak: 2.69, stall: seconds(1), ..Conditions::default() };
        let low =
            |capacity| Guards::sized(seconds(capacity), &stalls).map(|guards| (guards.low * 100.0).round());
        assert_eq!((low(8), low(12), low(16)), (Ok(42.0), Ok(28.0), Ok(21.0)));
        assert!(low(4).is_err());
        let slow = Conditions { feedback: Duration::from_secs(1), ..Conditions::default() };
        let guards = Guards::sized(seconds(10), &slow).unwrap();
        assert!((guards.low - 0.312).abs() < 1e-9 && (guards.high - 0.67).abs() < 1e-9, "{guards:?}");
        let mut flow = Flow::new(Config { guards, ..config(Mode::Zones) }, Time::ZERO);
        assert_eq!(flow.level(Time::ZERO, 6_700), Some(Pace::Paused));
    }

    #[test]
    fn without_a_mean_the_base_follows_what_is_consumed() {
        let mut flow = Flow::new(Config { base: Base::Consumption, ..config(Mode::Zones) }, Time::ZERO);
        assert_eq!(flow.level(Time::ZERO, 5_000), Some(us(1_000)));
        for second in 1..=200 {
            flow.consumed(Time::from_ms(second * 1_000), 2_000);
        }
        let Some(Pace::DeltaP(delta_p)) = flow.level(Time::from_ms(200_000), 3_000) else {
            panic!("no command")
        };
        assert!((434..=436).contains(&delta_p.as_micros()), "1 ms / 2 / 1.15, not {delta_p:?}");
    }

    #[test]
    fn after_a_seek_the_first_level_gives_a_command_again() {
        let mut flow = Flow::new(config(Mode::Zones), Time::ZERO);
        let _ = flow.level(Time::ZERO, 5_000);
        flow.restart();
        assert_eq!(flow.level(Time::ZERO, 0), Some(Pace::DeltaP(Duration::from_nanos(333_333))));
    }
}
