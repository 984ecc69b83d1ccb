//! What it costs to receive one channel and write it to a file: our client beside programs that do no more than that.

use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use lab::skip::find;
use lab::{Command, Process, timeline};

use crate::cpu::CpuClocks;
use crate::figure::Figure;
use crate::house::{FIRST_PORT, GROUP, House, Plan, RECEIVER, SERVERS, Wire};
use crate::measures::{Measure, WHOLE_SITE};
use crate::source::{self, Carriage, Source};
use crate::{Bench, Ground, Row, film};

/// This measure.
pub const MEASURE: Measure = Measure {
    name: "client",
    about: "CPU of `masthead-client watch` at 5 and 40 Mb/s beside socat, multicat and ffmpeg receiving the same",
    binaries: WHOLE_SITE,
    run,
};

const RATES_BPS: [u64; 2] = [5_000_000, 40_000_000];
const PATIENCE: Duration = Duration::from_secs(20);
/// From the first byte in the file: ffmpeg has probed, buffers have grown.
const SETTLE: Duration = Duration::from_secs(1);
/// Less of the stream than this share in the file: not the same job. ffmpeg drops stuffing, 16 %.
const LEAST_SHARE: f64 = 0.8;

/// Who receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Client,
    Socat,
    Multicat,
    Ffmpeg,
}

impl Program {
    /// Ours first: the others are compared with it.
    const ALL: [Self; 4] = [Self::Client, Self::Socat, Self::Multicat, Self::Ffmpeg];

    fn name(self) -> &'static str {
        match self {
            Self::Client => "Masthead",
            Self::Socat => "socat",
            Self::Multicat => "multicat",
            Self::Ffmpeg => "ffmpeg",
        }
    }

    /// Writes the group's stream to `file`.
    fn command(self, file: &std::path::Path, cache: &std::path::Path) -> Command {
        let at = SocketAddrV4::new(GROUP, FIRST_PORT);
        match self {
            Self::Client => Command::line(&format!("masthead-client --database {SERVERS} watch 1 --output"))
                .arg(file)
                .env("XDG_CACHE_HOME", cache),
            Self::Socat => Command::line(&format!(
                "socat -u UDP4-RECV:{FIRST_PORT},bind={GROUP},reuseaddr,rcvbuf=4000000,ip-add-membership={GROUP}:{RECEIVER}"
            ))
            .arg(format!("CREATE:{}", file.display())),
            Self::Multicat => Command::line(&format!("multicat @{at}/ifaddr={RECEIVER}")).arg(file),
            Self::Ffmpeg => Command::line(&format!(
                "ffmpeg -nostdin -v error -y -i rtp://{at}?localaddr={RECEIVER} -map 0 -c copy -f mpegts"
            ))
            .arg(file),
        }
    }
}

fn run(bench: &mut Bench) {
    let ground = bench.ground();
    let wire = Wire::lay(&ground);
    let missing = |program: &Program| *program != Program::Client && find(program.name()).is_none();
    for program in Program::ALL.into_iter().filter(missing) {
        bench.remark(format!("Missing: {0}: not installed; apt install {0}.", program.name()));
    }
    let wanted = |program: &Program| {
        *program == Program::Client || (!missing(program) && bench.options.wants_peer(program.name()))
    };
    let programs: Vec<Program> = Program::ALL.into_iter().filter(wanted).collect();
    for rate_bps in bench.options.points(&RATES_BPS, 2) {
        let point = format!("{} Mb/s", rate_bps / 1_000_000);
        let plan = Plan { destination: GROUP, ..Plan::one(protocols::p4_control::DEFAULT_WINDOW_MS) };
        let house = House::open(&ground, &plan);
        let interface = std::net::Ipv4Addr::LOCALHOST;
        let carriage = Carriage::Raw;
        let input = source::Plan { to: plan.inputs(), interface, rate_bps, carriage };
        let film = film::encoded(rate_bps, ground.lab().folder());
        let _source = Source::start_film(ground.host(), input, film.as_deref());
        let _crowd = house.watch(&[(protocols::ids::ChannelId(1), GROUP.into())]);
        let mut results = vec![Vec::new(); programs.len()];
        for run in 1..=bench.options.runs() {
            for (program, results) in programs.iter().zip(&mut results) {
                bench.progress(&format!(
                    "{point}, {}, run {run} of {}",
                    program.name(),
                    bench.options.runs()
                ));
                results.push(receive(bench, &ground, &wire, *program, rate_bps));
            }
        }
        publish(bench, &point, rate_bps, &programs, &results);
    }
}

/// CPU share of a core, and the share of the stream that got into the file.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    busy: f64,
    share: f64,
}

fn receive(bench: &Bench, ground: &Ground, wire: &Wire, program: Program, rate_bps: u64) -> Option<Outcome> {
    let file = ground.lab().path("received.ts");
    let _ = std::fs::remove_file(&file);
    let process = wire.receiver.spawn(program.command(&file, &ground.lab().path("cache")));
    let length = || file.metadata().map_or(0, |file| file.len());
    let begun = Instant::now();
    while length() == 0 {
        if begun.elapsed() > PATIENCE {
            bench.progress(&process.last_words());
            return None;
        }
        timeline::lasts(Duration::from_millis(10));
    }
    timeline::lasts(SETTLE);
    let (begun, bytes, clock) = (Instant::now(), length(), CpuClocks::of([process.pid()]));
    let cpu = clock.read();
    timeline::lasts(bench.options.period());
    let seconds = begun.elapsed().as_secs_f64();
    let busy = clock.read().saturating_sub(cpu).as_secs_f64() / seconds;
    #[expect(clippy::cast_precision_loss, reason = "bytes of seconds")]
    let share = (length() - bytes) as f64 * 8.0 / seconds / rate_bps as f64;
    end(process);
    Some(Outcome { busy, share })
}

/// Lets a program leave the group before the next joins.
fn end(mut process: Process) {
    process.kill9();
}

fn publish(
    bench: &mut Bench,
    point: &str,
    rate_bps: u64,
    programs: &[Program],
    results: &[Vec<Option<Outcome>>],
) {
    let busy = |results: &[Option<Outcome>]| -> Vec<f64> {
        results.iter().flatten().map(|outcome| outcome.busy * 100.0).collect()
    };
    let ours = busy(&results[0]);
    for (program, results) in programs.iter().zip(results) {
        let whole: Vec<Outcome> = results.iter().flatten().copied().collect();
        if whole.len() < results.len() {
            bench.fault(format!(
                "{point}, {}: nothing was written in {} runs",
                program.name(),
                results.len() - whole.len()
            ));
        }
        if whole.is_empty() {
            continue;
        }
        if whole.iter().any(|outcome| outcome.share < LEAST_SHARE) {
            bench.remark(format!("client: {} wrote less than was sent at {point}.", program.name()));
        }
        let mut figure = Figure::new("CPU", "% of a core", busy(results));
        if *program != Program::Client {
            figure = figure.compared("Masthead", &ours);
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let at = Some(rate_bps as f64);
        let share = Figure::new(
            "written of what was sent",
            "%",
            whole.iter().map(|outcome| outcome.share * 100.0).collect(),
        );
        let figures = vec![figure, share];
        bench.row(Row { point: point.into(), at, sender: program.name().into(), figures, ..Row::default() });
    }
}
