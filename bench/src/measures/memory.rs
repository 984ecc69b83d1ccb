//! Resident memory: what a channel, a destination and a viewer add to a process, each from two sizes of a site, and what a
//! while of zapping leaves behind.
//!
//! The hour of zapping, and the bytes without sockets and allocator, are held by a test on a virtual clock.

use std::time::Duration;

use crate::audience::{Audience, Question};
use crate::directory_site::DirectorySite;
use crate::figure::Figure;
use crate::ground::Ground;
use crate::measures::Measure;
use crate::rig::{Load, Rig};
use crate::{Bench, Row};

/// This measure.
pub const MEASURE: Measure = Measure {
    name: "memory",
    about: "resident bytes per channel, destination and viewer; growth by zapping",
    binaries: &["masthead-push-server", "masthead-database-server"],
    run,
};

/// Channels of the directory.
const CHANNELS: u32 = 20;
/// Clients that ask at the same time.
const AT_ONCE: usize = 16;
/// Every packet of a ring has been there after this, at 5 Mb/s.
const RING_FULL: Duration = Duration::from_millis(2_500);
/// Memory is read after this, when what was freed has been given back or not.
const SETTLE: Duration = Duration::from_millis(500);

fn run(bench: &mut Bench) {
    let ground = bench.ground();
    push_server(bench, &ground);
    database_server(bench, &ground);
}

fn push_server(bench: &mut Bench, ground: &Ground) {
    let (mut channel, mut destination) = (Vec::new(), Vec::new());
    for run in 1..=bench.options.runs() {
        bench.progress(&format!("push server, run {run} of {}", bench.options.runs()));
        let few = fed_bytes(ground, Load::new(2, 10));
        let more_channels = fed_bytes(ground, Load::new(22, 10));
        let more_destinations = fed_bytes(ground, Load::new(2, 210));
        let one = (more_destinations - few) / (2.0 * 200.0);
        destination.push(one);
        channel.push((more_channels - few) / 20.0 - 10.0 * one);
    }
    row(bench, "push server: a channel", vec![Figure::new("resident", "B", channel)]);
    row(bench, "push server: a watched destination", vec![Figure::new("resident", "B", destination)]);
}

/// Resident memory of a push server with full rings.
fn fed_bytes(ground: &Ground, load: Load) -> f64 {
    let mut rig = Rig::start(ground, load);
    let feeder = rig.feed();
    std::thread::sleep(RING_FULL);
    let bytes = resident(&rig.process);
    drop(feeder);
    bytes
}

fn database_server(bench: &mut Bench, ground: &Ground) {
    let sizes = if bench.options.quick { [200, 2_000] } else { [1_000, 10_000] };
    let (mut viewer, mut growth) = (Vec::new(), Vec::new());
    let minutes = if bench.options.quick { 0.05 } else { 1.0 };
    for run in 1..=bench.options.runs() {
        bench.progress(&format!("database server, run {run} of {}", bench.options.runs()));
        let site = DirectorySite::start(ground, CHANNELS);
        let few = Audience::connect(&site.host, sizes[0], CHANNELS);
        let before = asked_bytes(&site, few);
        let mut many = Audience::connect(&site.host, sizes[1], CHANNELS);
        many.ask_once(Question::ListWithTunings, AT_ONCE);
        many.ask_once(Question::Zap, AT_ONCE);
        std::thread::sleep(SETTLE);
        let settled = resident(&site.process);
        #[expect(clippy::cast_precision_loss, reason = "a number of clients")]
        viewer.push((settled - before) / (sizes[1] - sizes[0]) as f64);
        bench.progress(&format!("{} clients zap for {minutes} min", sizes[1]));
        // Twice as long first: a connection's queue has its full size after some 70 answers.
        many.ask(Question::Zap, AT_ONCE, Duration::from_secs_f64(minutes * 120.0), None);
        let begun = resident(&site.process);
        many.ask(Question::Zap, AT_ONCE, Duration::from_secs_f64(minutes * 60.0), None);
        growth.push((resident(&site.process) - begun) / 1_024.0);
    }
    row(bench, "database server: a connected viewer", vec![Figure::new("resident", "B", viewer)]);
    let point = format!("database server: {minutes} min of zapping by {} viewers", sizes[1]);
    row(bench, &point, vec![Figure::new("growth", "KiB", growth)]);
    bench.remark("memory: resident memory without the kernel's sockets; a viewer's interest adds nothing to a push server");
}

/// Resident memory once all of `audience` have a list and watch; they leave then.
fn asked_bytes(site: &DirectorySite, mut audience: Audience) -> f64 {
    audience.ask_once(Question::ListWithTunings, AT_ONCE);
    audience.ask_once(Question::Zap, AT_ONCE);
    std::thread::sleep(SETTLE);
    resident(&site.process)
}

fn resident(process: &lab::Process) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
    let bytes = process.rss_bytes() as f64;
    bytes
}

fn row(bench: &mut Bench, point: &str, figures: Vec<Figure>) {
    bench.row(Row { point: point.to_owned(), sender: "Masthead".into(), figures, ..Row::default() });
}
