//! One trial: a sender carries a load for a moment, and what that cost and what became of the packets.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use lab::{Command, Process, timeline};
use protocols::p3_feed::MAX_PACKET_BYTES;
use protocols::p6_broadcast::{ANNOUNCE_SPACING, ANNOUNCEMENT_BYTES};

use crate::cpu::CpuClocks;
use crate::feeder::Feeder;
use crate::figure::Figure;
use crate::ground::Traffic;
use crate::reference::How;
use crate::rig::{Load, Rig};
use crate::{Bench, Ground, Row};

/// How long a sender settles before it is measured.
const SETTLE: Duration = Duration::from_millis(400);
/// Within this after the last packet was fed, everything has left.
const DRAIN: Duration = Duration::from_millis(300);
/// A feeder that was ever later than this shows a machine too busy for figures.
const BUSY: Duration = Duration::from_millis(20);

/// Who carries the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contender {
    /// The reference sender.
    Reference(How),
    /// The real push server.
    Masthead,
}

impl Contender {
    /// Its name in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reference(How::Gso) => "reference",
            Self::Reference(How::GsoZeroCopy) => "reference, zero copy",
            Self::Reference(How::Sendmmsg) => "reference, sendmmsg",
            Self::Reference(How::Send) => "reference, send",
            Self::Masthead => "Masthead",
        }
    }
}

/// What one trial gave.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// CPU time used in the measured period.
    pub cpu: Duration,
    /// Packets that came in, in the measured period.
    pub fed: u64,
    /// How long was measured.
    pub period: Duration,
    /// Buffers handed to the device in the measured period.
    pub buffers: u64,
    /// Packets missing at the device over the whole trial, of all that were to leave.
    pub missing: i64,
    /// The worst lateness of the load itself.
    pub late: Duration,
}

impl Outcome {
    /// CPU time in µs per watched channel·destination and second.
    pub fn cpu_us_per_stream(&self, streams: u32) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.period.as_secs_f64() / f64::from(streams)
    }

    /// CPU time in ns per packet that left.
    pub fn cpu_ns_per_packet(&self, load: &Load) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "packets of seconds")]
        let left = self.fed as f64 * f64::from(load.streams()) / f64::from(load.channels);
        self.cpu.as_secs_f64() * 1e9 / left.max(1.0)
    }
}

/// Carries `load` by `contender` for the period that the options ask for.
pub fn carry(bench: &Bench, ground: &Ground, load: &Load, contender: Contender) -> Outcome {
    match contender {
        Contender::Masthead => {
            let mut rig = Rig::start(ground, *load);
            let clocks = rig.cpu();
            let before = ground.traffic();
            let feeder = rig.feed();
            measure(bench, ground, load, &clocks, feeder, before)
        }
        Contender::Reference(how) => {
            let (process, streams) = start_reference(ground, load, how);
            let clocks = CpuClocks::of([process.pid()]);
            let before = ground.traffic();
            let feeder = Feeder::start(streams, load.rate_bps);
            measure(bench, ground, load, &clocks, feeder, before)
        }
    }
}

fn measure(
    bench: &Bench,
    ground: &Ground,
    load: &Load,
    clocks: &CpuClocks,
    feeder: Feeder,
    before: Traffic,
) -> Outcome {
    timeline::lasts(SETTLE);
    let (begun, cpu, fed, traffic) =
        (std::time::Instant::now(), clocks.read(), feeder.fed(), ground.traffic());
    timeline::lasts(bench.options.period());
    let (cpu, period) = (clocks.read().saturating_sub(cpu), begun.elapsed());
    let (fed, buffers) = (feeder.fed() - fed, ground.traffic().since(traffic).buffers);
    let late = feeder.worst_lateness();
    let (all, streams) = feeder.stop();
    let expected = all / u64::from(load.channels) * u64::from(load.streams());
    let lasted = begun.elapsed() + SETTLE + DRAIN * 4;
    let mut missing = i64::MAX;
    let begun = std::time::Instant::now();
    while missing > 0 && begun.elapsed() < DRAIN {
        missing = missing_of(ground.traffic().since(before), expected, load, lasted);
        timeline::lasts(Duration::from_millis(20));
    }
    drop(streams);
    Outcome { cpu, fed, period, buffers, missing, late }
}

fn missing_of(traffic: Traffic, expected: u64, load: &Load, lasted: Duration) -> i64 {
    let announcements = u64::try_from(lasted.as_millis() / ANNOUNCE_SPACING.as_millis()).unwrap_or(u64::MAX);
    let packet = u64::try_from(MAX_PACKET_BYTES).expect("1,328");
    let other = u64::try_from(ANNOUNCEMENT_BYTES).expect("52");
    traffic.missing(expected, packet, other, announcements * u64::from(load.streams()))
}

/// The reference sender as a process on the ground, connected.
fn start_reference(ground: &Ground, load: &Load, how: How) -> (Process, Vec<TcpStream>) {
    let host = ground.host();
    let listener = host.enter(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has ports"));
    let feed = listener.local_addr().expect("it is bound");
    let how = clap::ValueEnum::to_possible_value(&how).expect("none is hidden").get_name().to_owned();
    let mut process = host.spawn(Command::line(&format!(
        "masthead bench-reference --feed {feed} --channels {} --destinations {} --window-ms {} --how {how}",
        load.watched, load.destinations, load.window_ms
    )));
    let streams = (0..load.watched)
        .map(|_| {
            let (stream, _) = listener.accept().expect("the reference sender connects");
            stream.set_nodelay(true).expect("TCP has it");
            stream
        })
        .collect();
    process.wait_for_line("ready", Duration::from_secs(10));
    (process, streams)
}

/// The contenders of a comparison, the reference first.
pub const CONTENDERS: [Contender; 2] = [Contender::Reference(How::Gso), Contender::Masthead];

/// Carries `load` by all in turn, as often as the options ask for, and adds a row for each.
pub fn compare(bench: &mut Bench, ground: &Ground, load: &Load, point: &str, at: f64) {
    let mut outcomes: Vec<Vec<Outcome>> = vec![Vec::new(); CONTENDERS.len()];
    for run in 1..=bench.options.runs() {
        for (contender, outcomes) in CONTENDERS.into_iter().zip(&mut outcomes) {
            bench.progress(&format!("{point}, {}, run {run} of {}", contender.name(), bench.options.runs()));
            let outcome = carry(bench, ground, load, contender);
            check(bench, point, contender.name(), &outcome);
            outcomes.push(outcome);
        }
    }
    let cost = |outcomes: &[Outcome]| -> Vec<f64> {
        outcomes.iter().map(|outcome| outcome.cpu_us_per_stream(load.streams())).collect()
    };
    let reference = cost(&outcomes[0]);
    for (contender, outcomes) in CONTENDERS.into_iter().zip(&outcomes) {
        let mut cpu = Figure::new("CPU per destination", "µs/s", cost(outcomes));
        if contender != CONTENDERS[0] {
            cpu = cpu.compared("reference", &reference);
        }
        let per_packet = outcomes.iter().map(|outcome| outcome.cpu_ns_per_packet(load)).collect();
        #[expect(clippy::cast_precision_loss, reason = "packets of seconds")]
        let missing = outcomes.iter().map(|outcome| outcome.missing as f64).collect();
        let figures = vec![
            cpu,
            Figure::new("CPU per packet", "ns", per_packet),
            Figure::new("lost", "packets", missing),
        ];
        bench.row(Row {
            point: point.to_owned(),
            at: Some(at),
            sender: contender.name().to_owned(),
            figures,
            ..Row::default()
        });
    }
}

/// Says what makes an outcome worthless.
pub fn check(bench: &mut Bench, point: &str, sender: &str, outcome: &Outcome) {
    if outcome.missing != 0 {
        bench.fault(format!("{point}, {sender}: {} packets missing at the device", outcome.missing));
    }
    if outcome.late > BUSY {
        bench.remark(format!(
            "The load came up to {} ms late ({point}, {sender}): this machine was busy with other work.",
            outcome.late.as_millis()
        ));
    }
}
