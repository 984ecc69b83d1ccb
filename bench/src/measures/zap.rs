//! From the key to the picture: zaps with fast start, and the same zaps by an ordinary multicast join beside them.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::Duration;

use lab::{Command, Host, Process, timeline};
use serde::Deserialize;

use crate::figure::{Figure, quantile};
use crate::house::{GROUP, House, Plan, SERVERS, Wire};
use crate::measures::{Measure, WHOLE_SITE};
use crate::source::{self, Carriage, Source};
use crate::{Bench, Row};

/// This measure.
pub const MEASURE: Measure = Measure {
    name: "zap",
    about: "key press to first decodable picture, for random access points each 0.5, 1, 2 and 5 s, beside a multicast join",
    binaries: WHOLE_SITE,
    run,
};

const RATE_BPS: u64 = 5_000_000;
/// Pictures from one random access point to the next, 25 a second: one channel each.
const GOPS: [u32; 4] = [12, 25, 50, 125];
/// With fast start, over all channels; a quick run has a tenth.
const ZAPS: u32 = 200;
/// Clients that join beside the one with fast start, which waits less: together they zap as often.
const JOINERS: u8 = 2;
/// Until the channels have been fed, and history goes back as far as the longest GOP.
const SETTLE: Duration = Duration::from_secs(12);
/// All zaps of one client.
const PATIENCE: Duration = Duration::from_mins(10);

/// What `masthead-client zap` prints.
#[derive(Debug, Deserialize)]
struct Report {
    zaps: Vec<Zap>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Zap {
    channel: u32,
    took_ms: Option<f64>,
}

fn run(bench: &mut Bench) {
    let ground = bench.ground();
    let wire = Wire::lay(&ground);
    let lab = ground.lab();
    let joiners: Vec<Host> = (0..JOINERS)
        .map(|n| {
            let joiner = lab.host(&format!("joiner{n}"));
            lab.attach(&joiner, wire.lan(), &Ipv4Addr::new(10, 98, 0, 10 + n).to_string());
            joiner.multicast_via(wire.lan());
            joiner
        })
        .collect();
    let films: Vec<_> = GOPS.iter().map(|gop| film(*gop, lab.folder())).collect();
    if films.iter().any(Option::is_none) {
        bench.fault("zap: ffmpeg with x264 is missing; apt install ffmpeg".to_owned());
        return;
    }
    let channels = u16::try_from(GOPS.len()).expect("a handful");
    let plan = Plan { channels, destination: GROUP, ..Plan::one(protocols::p4_control::DEFAULT_WINDOW_MS) };
    let _house = House::open(&ground, &plan);
    let start = |(to, film): (SocketAddrV4, &Option<Vec<u8>>)| {
        let input = source::Plan {
            to: vec![to],
            interface: Ipv4Addr::LOCALHOST,
            rate_bps: RATE_BPS,
            carriage: Carriage::Raw,
        };
        Source::start_film(ground.host(), input, film.as_deref())
    };
    let _sources: Vec<Source> = plan.inputs().into_iter().zip(&films).map(start).collect();
    timeline::lasts(SETTLE);
    let zaps = if bench.options.quick { ZAPS / 10 } else { ZAPS };
    bench.progress(&format!("{zaps} zaps with fast start, and as many joins"));
    let fast = zapper(&wire.receiver, &lab.path("cache-fast"), "500", zaps);
    let joins: Vec<Process> = joiners
        .iter()
        .map(|host| {
            zapper(host, &lab.path(&format!("cache-{}", host.name())), "off", zaps / u32::from(JOINERS))
        })
        .collect();
    let fast = collect(bench, vec![fast]);
    let joined = collect(bench, joins);
    publish(bench, "all", None, [&fast, &joined]);
    for (channel, gop) in (1..).zip(GOPS) {
        let of_channel = |zaps: &[Zap]| -> Vec<Zap> {
            zaps.iter().copied().filter(|zap| zap.channel == channel).collect()
        };
        let [fast, joined] = [of_channel(&fast), of_channel(&joined)];
        let seconds = f64::from(gop) / 25.0;
        publish(bench, &format!("a point each {seconds} s"), Some(seconds), [&fast, &joined]);
    }
    bench.remark("zap: by the client's own clock, from the key to the last packet of the first whole random access picture; channels and tunings were known, as in the picker.");
}

fn zapper(host: &Host, cache: &Path, fast_start: &str, times: u32) -> Process {
    let channels = (1..=GOPS.len()).map(|channel| channel.to_string());
    let command = Command::line(&format!("masthead-client --database {SERVERS} --format json"))
        .args(["--fast-start", fast_start, "zap"])
        .args(channels.collect::<Vec<String>>())
        .args(["--times", &times.to_string()])
        .env("XDG_CACHE_HOME", cache);
    host.spawn(command)
}

/// What all of them tell, when they have ended.
fn collect(bench: &mut Bench, processes: Vec<Process>) -> Vec<Zap> {
    let mut zaps = Vec::new();
    for mut process in processes {
        timeline::until("all zaps are done", PATIENCE, || !process.is_running());
        match std::fs::read(process.stdout())
            .ok()
            .and_then(|told| serde_json::from_slice::<Report>(&told).ok())
        {
            Some(report) => zaps.extend(report.zaps),
            None => bench.fault(format!("zap: {}", process.last_words())),
        }
    }
    zaps
}

fn publish(bench: &mut Bench, point: &str, at: Option<f64>, [fast, joined]: [&[Zap]; 2]) {
    for (zaps, sender) in [(fast, "fast start"), (joined, "multicast join")] {
        let mut took: Vec<f64> = zaps.iter().filter_map(|zap| zap.took_ms).collect();
        let missed = zaps.len() - took.len();
        if missed > 0 {
            bench.fault(format!("zap: {sender}, {point}: {missed} of {} without a picture", zaps.len()));
        }
        if took.is_empty() {
            continue;
        }
        #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
        let count = took.len() as f64;
        let figures = vec![
            Figure::single("p50", "ms", quantile(&mut took, 0.5)),
            Figure::single("p95", "ms", quantile(&mut took, 0.95)),
            Figure::single("most", "ms", quantile(&mut took, 1.0)),
            Figure::single("zaps", "", count),
        ];
        bench.row(Row { point: point.into(), at, sender: sender.into(), figures, ..Row::default() });
    }
}

/// Twenty seconds with `gop` pictures from one random access point to the next, at a constant rate that video fills as far as
/// a broadcaster's does. `None` where there is no ffmpeg.
fn film(gop: u32, folder: &Path) -> Option<Vec<u8>> {
    lab::skip::find("ffmpeg")?;
    let file = folder.join(format!("zap-{gop}.ts"));
    let encoded = Command::line(&format!(
        "ffmpeg -nostdin -v error -y -f lavfi -i testsrc2=s=1280x720:r=25:d=20 -f lavfi -i sine=f=440:r=48000:d=20 \
         -c:v libx264 -preset ultrafast -g {gop} -keyint_min {gop} -sc_threshold 0 -bf 0 -pix_fmt yuv420p -b:v 4200k -maxrate 4200k \
         -bufsize 2000k -x264-params nal-hrd=cbr:force-cfr=1 -c:a aac -b:a 128k -muxrate {}k -pcr_period 20 -f mpegts",
        RATE_BPS / 1000
    ));
    encoded.arg(&file).output().status.success().then(|| std::fs::read(&file).ok()).flatten()
}
