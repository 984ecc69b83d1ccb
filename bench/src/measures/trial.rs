//! One trial: a sender carries a load for a moment, and what that cost and what became of the packets.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::time::{Duration, Instant};

use lab::{Command, Process, timeline};
use protocols::p3_feed::MAX_PACKET_BYTES;
use protocols::p6_broadcast::{ANNOUNCE_SPACING, ANNOUNCEMENT_BYTES};

use crate::cpu::CpuClocks;
use crate::feeder::{Feed, Feeder};
use crate::figure::Figure;
use crate::ground::Traffic;
use crate::peers::{self, Peer};
use crate::reference::How;
use crate::rig::{self, Load, Rig};
use crate::source::{Carriage, Plan, Source};
use crate::{Bench, Ground, Row, film, ground};

/// How long a sender settles before it is measured.
const SETTLE: Duration = Duration::from_millis(400);
/// Within this after the last packet was fed, everything has left.
const DRAIN: Duration = Duration::from_millis(300);
/// A peer that makes a stream of its own sends at least this much of what came in (null packets may go).
const LEAST_CARRIED_PERCENT: f64 = 80.0;
/// A feeder that was ever later than this shows a machine too busy for figures.
const BUSY: Duration = Duration::from_millis(20);

/// Who carries the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contender {
    /// The reference sender.
    Reference(How),
    /// The real push server.
    Masthead,
    /// A program of somebody else; one channel.
    Peer(Peer),
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
            Self::Peer(peer) => peer.name(),
        }
    }
}

/// What one trial gave.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// CPU time used in the measured period.
    pub cpu: Duration,
    /// Packets of each channel that came in, in the measured period.
    pub fed: u64,
    /// How long was measured.
    pub period: Duration,
    /// Buffers handed to the device in the measured period.
    pub buffers: u64,
    /// Packets missing at the device over the whole trial, of all that were to leave; `None` where the sender makes a
    /// stream of its own.
    pub missing: Option<i64>,
    /// Bytes of transport stream that left, of those that should have, in percent; tells a peer that does nothing.
    pub carried_percent: f64,
    /// The worst lateness of the load itself.
    pub late: Duration,
}

impl Outcome {
    /// CPU time in µs per watched channel·destination and second.
    pub fn cpu_us_per_stream(&self, streams: u32) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.period.as_secs_f64() / f64::from(streams)
    }

    /// Packets that left for each buffer handed to the device.
    pub fn packets_per_send(&self, load: &Load) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "packets of seconds")]
        let (left, buffers) = (self.fed as f64 * f64::from(load.streams()), self.buffers as f64);
        left / buffers.max(1.0)
    }

    /// CPU time in ns per packet that left.
    pub fn cpu_ns_per_packet(&self, load: &Load) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "packets of seconds")]
        let left = self.fed as f64 * f64::from(load.streams());
        self.cpu.as_secs_f64() * 1e9 / left.max(1.0)
    }
}

/// One line of a comparison: who carries what.
#[derive(Debug, Clone)]
pub struct Entry {
    /// How results call it.
    pub name: String,
    /// Who.
    pub contender: Contender,
    /// What.
    pub load: Load,
    /// How long it settles before it is measured.
    pub settle: Duration,
}

impl Entry {
    /// The same under another name.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// `contender` with `load`, under its own name.
    pub fn new(contender: Contender, load: Load) -> Self {
        Self { name: contender.name().to_owned(), contender, load, settle: SETTLE }
    }
}

/// A load that is being carried, before and while it is measured.
struct Trial<'a> {
    ground: &'a Ground,
    settle: Duration,
    period: Duration,
    before: Traffic,
}

/// Has `entry` carry for the period that the options ask for.
pub fn carry(bench: &Bench, ground: &Ground, entry: &Entry) -> Outcome {
    let (load, settle, period) = (&entry.load, entry.settle, bench.options.period());
    match entry.contender {
        Contender::Masthead => {
            let mut rig = Rig::start(ground, *load);
            let clocks = rig.cpu();
            let trial = Trial { ground, settle, period, before: ground.traffic() };
            let feeder = rig.feed();
            let outcome = trial.measure(load, &clocks, feeder);
            if outcome.missing != Some(0) {
                let reported = rig.reported();
                bench.progress(&format!(
                    "{} channels shed, {} destinations sent to, {} in fault",
                    reported.overloaded.len(),
                    reported.sending,
                    reported.faults
                ));
            }
            outcome
        }
        Contender::Reference(how) => {
            let (process, feeds) = start_reference(ground, load, how);
            let clocks = CpuClocks::of([process.pid()]);
            let trial = Trial { ground, settle, period, before: ground.traffic() };
            let feeder = Feeder::start(feeds, load.pace, 0);
            trial.measure(load, &clocks, feeder)
        }
        Contender::Peer(peer) => {
            peers::prepare(ground.host());
            let destinations: Vec<_> = ground::destinations(0, load.destinations)
                .into_iter()
                .map(|address| SocketAddrV4::new(address, rig::PORT))
                .collect();
            let before = ground.traffic();
            let processes = peer.start(ground.host(), &destinations, &ground.lab().path(""));
            let clocks = CpuClocks::of(processes.iter().map(Process::pid));
            Trial { ground, settle, period, before }.measure_peer(load, &clocks, peer)
        }
    }
}

impl Trial<'_> {
    fn measure(&self, load: &Load, clocks: &CpuClocks, feeder: Feeder) -> Outcome {
        timeline::lasts(self.settle);
        let (begun, cpu, fed) = (Instant::now(), clocks.read(), feeder.fed());
        let traffic = self.ground.traffic();
        timeline::lasts(self.period);
        let (cpu, period) = (clocks.read().saturating_sub(cpu), begun.elapsed());
        let (fed, traffic) = (feeder.fed() - fed, self.ground.traffic().since(traffic));
        let late = feeder.worst_lateness();
        let (all, feeds) = feeder.stop();
        let expected = all * u64::from(load.streams());
        let lasted = begun.elapsed() + self.settle + DRAIN * 4;
        let announcements =
            u64::try_from(lasted.as_millis() / ANNOUNCE_SPACING.as_millis()).unwrap_or(u64::MAX);
        let missing = self.missing(expected, announcements * u64::from(load.streams()));
        drop(feeds);
        Outcome {
            cpu,
            fed,
            period,
            buffers: traffic.buffers,
            missing: Some(missing),
            carried_percent: carried(traffic, load, period),
            late,
        }
    }

    fn measure_peer(&self, load: &Load, clocks: &CpuClocks, peer: Peer) -> Outcome {
        let carriage = Carriage::Rtp;
        let plan = Plan {
            to: vec![peer.input()],
            interface: Ipv4Addr::LOCALHOST,
            rate_bps: load.pace.rate_bps,
            carriage,
        };
        let film = film::encoded(load.pace.rate_bps, self.ground.lab().folder());
        let source = Source::start_film(self.ground.host(), plan, film.as_deref());
        timeline::lasts(peer.warm_up().max(self.settle));
        let (begun, cpu, traffic) = (Instant::now(), clocks.read(), self.ground.traffic());
        timeline::lasts(self.period);
        let (cpu, period) = (clocks.read().saturating_sub(cpu), begun.elapsed());
        let traffic = self.ground.traffic().since(traffic);
        let sent = u64::try_from(source.stop().len()).expect("seconds of packets");
        let missing = peer.passes_packets_on().then(|| self.missing(sent * u64::from(load.streams()), 0));
        // Its packets of the period are known by their rate only.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of packets")]
        let fed = (load.packets_per_second() * period.as_secs_f64()) as u64;
        Outcome {
            cpu,
            fed,
            period,
            buffers: traffic.buffers,
            missing,
            carried_percent: carried(traffic, load, period),
            late: Duration::ZERO,
        }
    }

    /// Packets missing of the `expected` once everything must have left, when besides them at most `announcements` have.
    fn missing(&self, expected: u64, announcements: u64) -> i64 {
        let packet = u64::try_from(MAX_PACKET_BYTES).expect("1,328");
        let other = u64::try_from(ANNOUNCEMENT_BYTES).expect("52");
        let now = || self.ground.traffic().since(self.before).missing(expected, packet, other, announcements);
        let begun = Instant::now();
        let mut missing = now();
        while missing > 0 && begun.elapsed() < DRAIN {
            timeline::lasts(Duration::from_millis(20));
            missing = now();
        }
        missing
    }
}

/// Bytes that went down, in percent of what `load` makes in `period`.
fn carried(traffic: Traffic, load: &Load, period: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "bytes of seconds")]
    let bits = traffic.payload_bytes() as f64 * 8.0;
    #[expect(clippy::cast_precision_loss, reason = "a rate below 2^52 b/s")]
    let rate = load.pace.rate_bps as f64 * f64::from(load.streams());
    100.0 * bits / (rate * period.as_secs_f64())
}

/// The reference sender as a process on the ground, connected. It carries the watched channels.
fn start_reference(ground: &Ground, load: &Load, how: How) -> (Process, Vec<Feed>) {
    let host = ground.host();
    let listener = host.enter(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has ports"));
    let feed = listener.local_addr().expect("it is bound");
    let how = clap::ValueEnum::to_possible_value(&how).expect("none is hidden").get_name().to_owned();
    let mut process = host.spawn(Command::line(&format!(
        "masthead bench-reference --feed {feed} --channels {} --destinations {} --window-ms {} --how {how}",
        load.channels, load.destinations, load.window_ms
    )));
    let feeds = (0..load.channels)
        .map(|_| {
            let (stream, _) = listener.accept().expect("the reference sender connects");
            stream.set_nodelay(true).expect("TCP has it");
            Feed::flowing(stream)
        })
        .collect();
    process.wait_for_line("ready", Duration::from_secs(10));
    (process, feeds)
}

/// Has all `entries` carry in turn, as often as the options ask for, and adds a row for each, compared with the first.
/// Gives the outcomes, entry by entry.
pub fn compare(
    bench: &mut Bench,
    ground: &Ground,
    point: &str,
    at: f64,
    entries: &[Entry],
) -> Vec<Vec<Outcome>> {
    let mut outcomes: Vec<Vec<Outcome>> = vec![Vec::new(); entries.len()];
    for run in 1..=bench.options.runs() {
        for (entry, outcomes) in entries.iter().zip(&mut outcomes) {
            bench.progress(&format!("{point}, {}, run {run} of {}", entry.name, bench.options.runs()));
            let outcome = carry(bench, ground, entry);
            check(bench, point, entry, &outcome);
            outcomes.push(outcome);
        }
    }
    let first = entries.first().zip(outcomes.first());
    let reference = first.map(|(entry, outcomes)| (entry.name.clone(), costs(&entry.load, outcomes)));
    for (number, (entry, outcomes)) in entries.iter().zip(&outcomes).enumerate() {
        let mut cpu = Figure::new("CPU per destination", "µs/s", costs(&entry.load, outcomes));
        if let Some((name, reference)) = reference.as_ref().filter(|_| number > 0) {
            cpu = cpu.compared(name, reference);
        }
        let per_packet = outcomes.iter().map(|outcome| outcome.cpu_ns_per_packet(&entry.load)).collect();
        let per_send = outcomes.iter().map(|outcome| outcome.packets_per_send(&entry.load)).collect();
        let mut figures = vec![
            cpu,
            Figure::new("CPU per packet", "ns", per_packet),
            Figure::new("packets per send", "packets", per_send),
        ];
        #[expect(clippy::cast_precision_loss, reason = "packets of seconds")]
        let missing: Vec<f64> =
            outcomes.iter().filter_map(|outcome| outcome.missing).map(|missing| missing as f64).collect();
        if !missing.is_empty() {
            figures.push(Figure::new("lost", "packets", missing));
        }
        let (point, sender) = (point.to_owned(), entry.name.clone());
        bench.row(Row { point, at: Some(at), sender, figures, ..Row::default() });
    }
    outcomes
}

/// CPU time of each run in µs per channel·destination and second.
fn costs(load: &Load, outcomes: &[Outcome]) -> Vec<f64> {
    outcomes.iter().map(|outcome| outcome.cpu_us_per_stream(load.streams())).collect()
}

/// Says what makes an outcome worthless: our own senders lose nothing.
fn check(bench: &mut Bench, point: &str, entry: &Entry, outcome: &Outcome) {
    let name = &entry.name;
    match (outcome.missing, entry.contender) {
        (None, _) if outcome.carried_percent < LEAST_CARRIED_PERCENT => bench.remark(format!(
            "{point}, {name}: sent only {:.0} % of the stream; its figures are not those of the whole job.",
            outcome.carried_percent
        )),
        (None | Some(0), _) => {}
        (Some(missing), Contender::Peer(_)) => {
            bench.remark(format!("{point}, {name}: lost {missing} packets."));
        }
        (Some(missing), _) => {
            bench.fault(format!("{point}, {name}: {missing} packets missing at the device"));
        }
    }
    if outcome.late > BUSY {
        bench.late(outcome.late, &format!("{point}, {name}"));
    }
}
