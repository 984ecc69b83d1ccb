//! How smoothly one 5 Mb/s stream arrives, beside how smoothly it came in.
//!
//! Every sender gets the same input, paced packet by packet, and sends it over the same wire; times are those of the
//! receiving kernel, by its wall clock. Beside each run stands what could spoil it: how late the input itself left, how much
//! processor time the hypervisor gave to others, and whether the wall clock was set.

use std::borrow::Cow;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::time::{Duration, Instant};

use lab::{Command, timeline};
use protocols::ids::ChannelId;

use crate::arrivals::{Smoothness, smoothness};
use crate::cpu;
use crate::feeder::{Feed, Feeder, Pace};
use crate::figure::Figure;
use crate::house::{FIRST_PORT, House, Plan, RECEIVER, SERVERS, Wire};
use crate::measures::Measure;
use crate::peers::{self, Peer};
use crate::receiver::Receiver;
use crate::source::{self, Carriage, Source};
use crate::{Bench, Ground, Row, cbr, film};

/// This measure.
pub const MEASURE: Measure = Measure {
    name: "smoothness",
    about: "gaps, MDI delay factor and PCR jitter of one 5 Mb/s stream at a receiver",
    binaries: &["masthead-acquisition", "masthead-database-server", "masthead-push-server"],
    run,
};

const RATE_BPS: u64 = 5_000_000;
/// Delay factors need whole seconds.
const LEAST_PERIOD: Duration = Duration::from_millis(2_200);
/// Longest until a first packet arrives.
const PATIENCE: Duration = Duration::from_secs(20);
/// What starts a stream is not judged.
const SETTLE: Duration = Duration::from_millis(500);
/// A run is explained when its delay factor is more than the median by this.
const OUTLIER_MS: f64 = 20.0;
/// A wall clock that moved more than this against the monotonic one was set.
const CLOCK_SET: Duration = Duration::from_millis(2);
/// Of the file that ffmpeg plays by `-re`.
const FILE_SECONDS: u64 = 60;

/// One run: how smooth the stream was, and what could have spoilt it.
#[derive(Debug, Clone, Copy)]
struct Run {
    smoothness: Smoothness,
    /// The most that a packet of the input left late by; `None` for an input of a sender's own.
    input_late: Option<Duration>,
    /// Processor time that the hypervisor gave to others.
    stolen: Duration,
    /// By how much the wall clock, which stamps arrivals, moved against the monotonic one.
    clock_moved: Duration,
}

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sender {
    /// The source itself: the input.
    Input,
    /// The reference sender, fed as a push server is; its stream has no PCRs.
    Reference,
    Masthead {
        window_ms: u8,
    },
    Peer(Peer),
    /// ffmpeg reading a file at its native rate: an input of its own.
    FfmpegFile,
}

impl Sender {
    fn name(self) -> String {
        match self {
            Self::Input => "the input".into(),
            Self::Reference => "reference".into(),
            Self::Masthead { window_ms: 0 } => "Masthead, no window".into(),
            Self::Masthead { window_ms: 10 } => "Masthead".into(),
            Self::Masthead { window_ms } => format!("Masthead, {window_ms} ms window"),
            Self::Peer(peer) => peer.name().into(),
            Self::FfmpegFile => "ffmpeg -re, file".into(),
        }
    }
}

fn run(bench: &mut Bench) {
    let ground = bench.ground();
    let wire = Wire::lay(&ground);
    peers::prepare(ground.host());
    let senders = senders(bench);
    let mut results: Vec<Vec<Run>> = vec![Vec::new(); senders.len()];
    for run in 1..=bench.options.runs() {
        for (sender, results) in senders.iter().zip(&mut results) {
            bench.progress(&format!("{}, run {run} of {}", sender.name(), bench.options.runs()));
            match listen(bench, &ground, &wire, *sender) {
                Some(result) => results.push(result),
                None => bench.fault(format!("{}: no stream arrived", sender.name())),
            }
        }
    }
    for (sender, results) in senders.iter().zip(results).filter(|(_, results)| !results.is_empty()) {
        let lost: u64 = results.iter().map(|result| result.smoothness.lost).sum();
        if lost > 0 && matches!(sender, Sender::Masthead { .. }) {
            bench.fault(format!("{}: {lost} packets lost", sender.name()));
        }
        let row = row(*sender, &results);
        for outlier in outliers(&sender.name(), &results, row.figures[0].median) {
            bench.remark(outlier);
        }
        bench.row(row);
    }
}

/// A sentence for each run that was much rougher than the median.
fn outliers(sender: &str, results: &[Run], median_ms: f64) -> Vec<String> {
    let rough = |run: &Run| run.smoothness.delay_factor_max_ms > median_ms + OUTLIER_MS;
    let explain = |(number, run): (usize, &Run)| {
        let late = run.input_late.map_or("an input of its own".into(), |late| {
            format!("its input up to {:.1} ms late", late.as_secs_f64() * 1e3)
        });
        let clock = match run.clock_moved {
            moved if moved > CLOCK_SET => format!("; the wall clock was set by {} ms", moved.as_millis()),
            _ => String::new(),
        };
        format!(
            "smoothness, {sender}, run {number}: delay factor {:.0} ms, with {late} and {} ms of processor time taken by \
             the hypervisor{clock}.",
            run.smoothness.delay_factor_max_ms,
            run.stolen.as_millis()
        )
    };
    (1..).zip(results).filter(|(_, run)| rough(run)).map(explain).collect()
}

fn senders(bench: &mut Bench) -> Vec<Sender> {
    let (present, missing) = peers::present(|name| bench.options.wants_peer(name));
    for reason in missing {
        bench.remark(format!("Missing: {reason}."));
    }
    let mut senders = vec![
        Sender::Input,
        Sender::Reference,
        Sender::Masthead { window_ms: 10 },
        Sender::Masthead { window_ms: 0 },
    ];
    if !bench.options.quick {
        senders.push(Sender::Masthead { window_ms: 20 });
    }
    if present.contains(&Peer::Ffmpeg) {
        senders.push(Sender::FfmpegFile);
    }
    let few = if bench.options.quick { 1 } else { present.len() };
    senders.extend(present.into_iter().take(few).map(Sender::Peer));
    senders
}

fn listen(bench: &Bench, ground: &Ground, wire: &Wire, sender: Sender) -> Option<Run> {
    let at = SocketAddrV4::new(RECEIVER, FIRST_PORT);
    let receiver = Receiver::start(&wire.receiver, at, RECEIVER, RATE_BPS);
    let film = film::encoded(RATE_BPS, ground.lab().folder());
    let source = |to: Vec<SocketAddrV4>, carriage| {
        let interface = Ipv4Addr::LOCALHOST;
        Source::start_film(
            ground.host(),
            source::Plan { to, interface, rate_bps: RATE_BPS, carriage },
            film.as_deref(),
        )
    };
    match sender {
        Sender::Input => {
            let source = source(vec![at], Carriage::Rtp);
            judge(bench, &receiver, SETTLE, || Some(source.take_lateness()))
        }
        Sender::Reference => {
            let host = ground.host();
            let listener =
                host.enter(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has ports"));
            let feed = listener.local_addr().expect("it is bound");
            let _process = host.spawn(Command::line(&format!(
                "masthead bench-reference --feed {feed} --destinations 1 --first {RECEIVER} --port {FIRST_PORT}"
            )));
            let (stream, _) = listener.accept().expect("the reference sender connects");
            stream.set_nodelay(true).expect("TCP has it");
            let feeder = Feeder::start(vec![Feed::flowing(stream)], Pace { rate_bps: RATE_BPS, burst: 1 }, 0);
            judge(bench, &receiver, SETTLE, || Some(feeder.take_lateness()))
        }
        Sender::Masthead { window_ms } => {
            let plan = Plan::one(window_ms);
            let house = House::open(ground, &plan);
            let source = source(plan.inputs(), Carriage::Raw);
            let _crowd = house.watch(&[(ChannelId(1), RECEIVER.into())]);
            judge(bench, &receiver, SETTLE, || Some(source.take_lateness()))
        }
        Sender::Peer(peer) => {
            let _processes = peer.start(ground.host(), &[at], ground.lab().folder());
            let source = source(vec![peer.input()], Carriage::Rtp);
            judge(bench, &receiver, SETTLE + peer.warm_up(), || Some(source.take_lateness()))
        }
        Sender::FfmpegFile => {
            let file = ground.lab().path("input.ts");
            if !file.is_file() {
                write_file(&file, film.as_deref());
            }
            let command = Command::line("ffmpeg -nostdin -v error -re -i").arg(&file);
            let url = format!("rtp://{at}?localaddr={SERVERS}");
            let _process = ground.host().spawn(command.args([
                "-map",
                "0",
                "-c",
                "copy",
                "-muxrate",
                "5000000",
                "-f",
                "rtp_mpegts",
                &url,
            ]));
            judge(bench, &receiver, SETTLE, || None)
        }
    }
}

/// Judges a period of what arrives, `settle` after the first packet. `take_lateness` gives the input's since it was last asked.
fn judge(
    bench: &Bench,
    receiver: &Receiver,
    settle: Duration,
    take_lateness: impl Fn() -> Option<Duration>,
) -> Option<Run> {
    let begun = Instant::now();
    while receiver.count() == 0 {
        if begun.elapsed() > PATIENCE {
            return None;
        }
        timeline::lasts(Duration::from_millis(5));
    }
    timeline::lasts(settle);
    receiver.take();
    take_lateness();
    let (begun, wall_ns, stolen) = (Instant::now(), source::now_ns(), cpu::stolen());
    timeline::lasts(bench.options.period().max(LEAST_PERIOD));
    let smoothness = smoothness(&receiver.take(), RATE_BPS)?;
    let wall = Duration::from_nanos(source::now_ns().saturating_sub(wall_ns));
    let run = Run {
        smoothness,
        input_late: take_lateness(),
        stolen: cpu::stolen().saturating_sub(stolen),
        clock_moved: wall.abs_diff(begun.elapsed()),
    };
    bench.progress(&format!(
        "delay factor {:.1} ms, input late {:?}, stolen {:?}, clock moved {:?}",
        smoothness.delay_factor_max_ms, run.input_late, run.stolen, run.clock_moved
    ));
    Some(run)
}

fn write_file(file: &std::path::Path, film: Option<&[u8]>) {
    let film = film.map(|film| Cow::Owned(film.to_vec()));
    let mut stream = film.map_or_else(|| cbr::Cbr::new(RATE_BPS), |film| cbr::Cbr::playing(film, RATE_BPS));
    let datagrams = FILE_SECONDS * RATE_BPS / 8 / cbr::DATAGRAM_BYTES as u64;
    let bytes: Vec<u8> = (0..datagrams).flat_map(|_| stream.datagram()).collect();
    std::fs::write(file, bytes).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}

fn row(sender: Sender, results: &[Run]) -> Row {
    let figure = |name: &str, value: fn(&Smoothness) -> f64| {
        Figure::new(name, "ms", results.iter().map(|run| value(&run.smoothness)).collect())
    };
    let late: Vec<f64> =
        results.iter().filter_map(|run| run.input_late).map(|late| late.as_secs_f64() * 1e3).collect();
    let late = (!late.is_empty()).then(|| Figure::new("input late, worst", "ms", late));
    #[expect(clippy::cast_precision_loss, reason = "packets of seconds")]
    let lost = results.iter().map(|run| run.smoothness.lost as f64).collect();
    let spans: Vec<f64> = results.iter().filter_map(|run| run.smoothness.pcr_span_ms).collect();
    let pcr = (!spans.is_empty()).then(|| Figure::new("PCR against arrival, 99 % within", "ms", spans));
    Row {
        point: "5 Mb/s".into(),
        sender: sender.name(),
        figures: vec![
            figure("MDI delay factor", |result| result.delay_factor_ms),
            figure("MDI delay factor, worst second", |result| result.delay_factor_max_ms),
            figure("gap p50", |result| result.gap_p50_ms),
            figure("gap p99", |result| result.gap_p99_ms),
            figure("gap max", |result| result.gap_max_ms),
            Figure::new("lost", "packets", lost),
        ]
        .into_iter()
        .chain(pcr)
        .chain(late)
        .collect(),
        ..Row::default()
    }
}
