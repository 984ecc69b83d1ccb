//! The flow law against generated titles at a variable rate, in virtual time: a push server that sends a packet each
//! delta-p, a network that delays, a client that consumes by the title's trace.
//!
//! Goal: no buffer runs dry or over, and the stream is smoother than the title by what `docs/flow.md` says. Method: 60 traces
//! of 600 s for each buffer size, from printed seeds; every packet and every frame is an event.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use client::flow::{Base, Conditions, Config, Flow, Guards, Mode, Pace};
use protocols::time::Time;

const TRACES: u64 = 60;
const TRACE: Duration = Duration::from_mins(10);
const FRAME: Duration = Duration::from_millis(40);
/// 1 Mb/s in payloads of 1,316 bytes: coarse packets, so that a run is short.
const MEAN_DELTA_P: Duration = Duration::from_micros(10_528);
/// No frame is larger than this many times the mean: encoders hold a peak rate.
const PEAK: f64 = 2.65;
/// From command to first packet: half each way.
const FEEDBACK: Duration = Duration::from_millis(50);
const STALL_EACH: Duration = Duration::from_mins(1);

/// A title: packets consumed by each frame, at a mean of one each [`MEAN_DELTA_P`].
struct Trace {
    frames: Vec<f64>,
}

impl Trace {
    /// Scenes of some 6 s with a log-normal rate each, and within them noise from second to second.
    fn generate(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut normal = move || (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
        let (mut scene, mut noise, mut frames) = (0.0, 0.0, Vec::new());
        let mut left = 0.0;
        while FRAME.as_secs_f64() * real(frames.len()) < TRACE.as_secs_f64() {
            if left <= 0.0 {
                scene = 0.36 * normal();
                left = 100.0 * (0.9 * normal()).exp();
            }
            left -= 1.0;
            noise = 0.96 * noise + 0.28 * 0.16 * normal();
            frames.push((scene + noise).exp());
        }
        let per_frame = FRAME.as_secs_f64() / MEAN_DELTA_P.as_secs_f64();
        // What the peak cuts off lowers the mean, by less each time.
        for _ in 0..3 {
            let mean = frames.iter().sum::<f64>() / real(frames.len());
            frames.iter_mut().for_each(|frame| *frame = per_frame * (*frame / mean).min(PEAK));
        }
        Self { frames }
    }

    /// Packets in each second, as multiples of the mean.
    fn seconds(&self) -> Vec<f64> {
        let per_second = 1.0 / MEAN_DELTA_P.as_secs_f64();
        self.frames.chunks_exact(25).map(|second| second.iter().sum::<f64>() / per_second).collect()
    }
}

fn real(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("counts here are below a million"))
}

/// Coefficient of variation.
fn cov(values: &[f64]) -> f64 {
    let count = real(values.len());
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    variance.sqrt() / mean
}

/// What one run came to.
#[derive(Default)]
struct Outcome {
    underflows: u32,
    overflows: u32,
    cov: f64,
    commands_per_min: f64,
}

/// One title through one buffer.
struct Run {
    flow: Flow,
    stalls: Option<Duration>,
    buffer: u32,
    /// Commands on their way, by arrival.
    commands: VecDeque<(Time, Pace)>,
    /// Packets on their way, by arrival.
    packets: VecDeque<Time>,
    pace: Pace,
    /// When the last packet left.
    sent: Time,
    sent_in_frame: u32,
    outcome: Outcome,
}

impl Run {
    fn new(config: Config, stalls: Option<Duration>) -> Self {
        let flow = Flow::new(config, Time::ZERO);
        let buffer = flow.capacity_packets() / 2;
        Self {
            flow,
            stalls,
            buffer,
            commands: VecDeque::new(),
            packets: VecDeque::new(),
            pace: Pace::DeltaP(MEAN_DELTA_P),
            sent: Time::ZERO,
            sent_in_frame: 0,
            outcome: Outcome::default(),
        }
    }

    /// When something that enters the network at `at` leaves it; a stall holds everything until its end.
    fn arrival(&self, at: Time) -> Time {
        let arrival = at + FEEDBACK / 2;
        let Some(stall) = self.stalls else { return arrival };
        let begin = arrival.floor(STALL_EACH);
        if begin > Time::ZERO && arrival.since(begin) < stall { begin + stall } else { arrival }
    }

    fn run(mut self, trace: &Trace) -> Outcome {
        let mut owed = 0.0;
        let mut rates = Vec::new();
        for (index, frame) in trace.frames.iter().enumerate() {
            let end = Time::ZERO + FRAME.mul_f64(real(index + 1));
            self.network_until(end);
            rates.push(f64::from(std::mem::take(&mut self.sent_in_frame)));
            owed += frame;
            while owed >= 1.0 {
                owed -= 1.0;
                self.flow.consumed(end, 1);
                match self.buffer.checked_sub(1) {
                    Some(left) => self.buffer = left,
                    None => self.outcome.underflows += 1,
                }
            }
            self.look(end);
        }
        let commands = self.flow.counters().commands;
        let seconds: Vec<f64> = rates.chunks_exact(25).map(|second| second.iter().sum()).collect();
        Outcome {
            cov: cov(&seconds),
            commands_per_min: real(usize::try_from(commands).unwrap_or(0)) / TRACE.as_secs_f64() * 60.0,
            ..self.outcome
        }
    }

    /// All that the push server and the network do until `end`, in the order of time.
    fn network_until(&mut self, end: Time) {
        loop {
            let departure = match self.pace {
                Pace::DeltaP(delta_p) => Some(self.sent + delta_p),
                Pace::Paused => None,
            };
            let next = [departure, self.packets.front().copied(), self.commands.front().map(|(at, _)| *at)];
            let Some(at) = next.iter().flatten().min().copied().filter(|at| *at <= end) else { break };
            if next[2] == Some(at) {
                let (_, pace) = self.commands.pop_front().expect("its arrival was seen");
                // What was not sent while paused is not owed.
                self.sent = if self.pace == Pace::Paused { at } else { self.sent };
                self.pace = pace;
                if let Pace::DeltaP(delta_p) = pace {
                    self.sent = self.sent.max(at - delta_p);
                }
            } else if next[1] == Some(at) {
                self.packets.pop_front();
                self.buffer += 1;
                if self.buffer > self.flow.capacity_packets() {
                    self.buffer -= 1;
                    self.outcome.overflows += 1;
                }
                self.look(at);
            } else {
                self.sent = at;
                self.sent_in_frame += 1;
                self.packets.push_back(self.arrival(at));
            }
        }
    }

    fn look(&mut self, now: Time) {
        if let Some(pace) = self.flow.level(now, self.buffer) {
            let arrival = self.arrival(now);
            self.commands.push_back((arrival, pace));
        }
    }
}

/// What all traces of one setting came to.
struct Summary {
    dry: usize,
    over: usize,
    cov: f64,
    commands_per_min: f64,
}

impl Summary {
    fn of(traces: &[Trace], config: &Config, stalls: Option<Duration>) -> Self {
        let outcomes: Vec<Outcome> =
            traces.iter().map(|trace| Run::new(*config, stalls).run(trace)).collect();
        let count = real(outcomes.len());
        let mean = |value: fn(&Outcome) -> f64| outcomes.iter().map(value).sum::<f64>() / count;
        Self {
            dry: outcomes.iter().filter(|outcome| outcome.underflows > 0).count(),
            over: outcomes.iter().filter(|outcome| outcome.overflows > 0).count(),
            cov: mean(|outcome| outcome.cov),
            commands_per_min: mean(|outcome| outcome.commands_per_min),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dry, over, cov, commands_per_min } = self;
        write!(f, "CoV {cov:.3}, {commands_per_min:.1} commands/min, dry {dry}, over {over}")
    }
}

fn config(capacity: Duration, mode: Mode, guards: Guards) -> Config {
    Config { mean_delta_p: MEAN_DELTA_P, capacity, mode, base: Base::Mean, guards }
}

/// Fresh traces for each claim and buffer size.
fn traces(first_seed: u64, count: u64) -> Vec<Trace> {
    (first_seed..first_seed + count).map(Trace::generate).collect()
}

#[test]
fn no_buffer_runs_dry_or_over_and_the_stream_is_smooth() {
    for (seconds, bound) in [(4, 0.37), (8, 0.34), (16, 0.29), (32, 0.22)] {
        let capacity = Duration::from_secs(seconds);
        let seed = seconds * 1_000;
        let traces = traces(seed, TRACES);
        let sources: Vec<Vec<f64>> = traces.iter().map(Trace::seconds).collect();
        let source_cov = cov(&sources.concat());
        let peak = sources.concat().into_iter().fold(0.0, f64::max);
        let mean_peak = sources.iter().map(|s| s.iter().copied().fold(0.0, f64::max)).sum::<f64>() / 60.0;

        assert!(
            (0.36..0.40).contains(&source_cov) && (2.4..=PEAK + 0.01).contains(&mean_peak),
            "not the titles meant"
        );

        let guards =
            Guards::sized(capacity, &Conditions { feedback: FEEDBACK, ..Conditions::default() }).unwrap();
        let zones = Summary::of(&traces, &config(capacity, Mode::Zones, guards), None);
        let live = Summary::of(
            &traces,
            &Config { base: Base::Consumption, ..config(capacity, Mode::Zones, guards) },
            None,
        );
        let at_peak = Mode::PauseResume(MEAN_DELTA_P.div_f64(2.6));
        let pausing = Summary::of(&traces, &config(capacity, at_peak, guards), None);
        println!(
            "B = {seconds} s, seeds from {seed}: title CoV {source_cov:.3}, peak {mean_peak:.2} to {peak:.2}"
        );
        println!("  zones          {zones}\n  zones, live    {live}\n  pause/resume   {pausing}");
        assert_eq!((zones.dry, zones.over), (0, 0), "B = {seconds} s");
        assert!(zones.cov <= bound, "B = {seconds} s: {} above {bound}", zones.cov);
        assert!(pausing.cov > 2.5 * zones.cov, "B = {seconds} s: pause/resume {}", pausing.cov);
    }
}

#[test]
fn guards_sized_by_the_rule_outlast_a_stall_of_a_second_each_minute() {
    let stall = Duration::from_secs(1);
    for seconds in [8, 12, 16] {
        let capacity = Duration::from_secs(seconds);
        let traces = traces(100_000 + seconds * 1_000, 40);
        let conditions = Conditions { peak: 2.69, feedback: FEEDBACK, stall, ..Conditions::default() };
        let sized = Guards::sized(capacity, &conditions).unwrap();
        let unsized_guards =
            Guards::sized(capacity, &Conditions { stall: Duration::ZERO, ..conditions }).unwrap();
        let good = Summary::of(&traces, &config(capacity, Mode::Zones, sized), Some(stall));
        let bad = Summary::of(&traces, &config(capacity, Mode::Zones, unsized_guards), Some(stall));
        println!(
            "B = {seconds} s, WM_U {:.2}: {good}\n  without the stall's share, {:.2}: {bad}",
            sized.low, unsized_guards.low
        );
        assert_eq!((good.dry, good.over), (0, 0), "B = {seconds} s");
        assert!(seconds > 8 || bad.dry > 0, "the stalls are no trial");
    }
}
