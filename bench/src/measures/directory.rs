//! The directory: what one core of a database server answers, and how soon, while thousands of clients are connected.

use std::time::Duration;

use crate::audience::{Audience, Question};
use crate::directory_site::DirectorySite;
use crate::figure::{Figure, quantile};
use crate::measures::Measure;
use crate::{Bench, Row};

/// This measure.
pub const MEASURE: Measure = Measure {
    name: "directory",
    about: "channel lists and tunings per second on one core of a database server, with 10,000 clients",
    binaries: &["masthead-database-server"],
    run,
};

/// Channels on every list.
const CHANNELS: u32 = 100;
/// Clients that ask at the same time, all the time: more than one core can answer at once.
const AT_ONCE: usize = 16;

fn run(bench: &mut Bench) {
    let ground = bench.ground();
    let site = DirectorySite::start(&ground, CHANNELS);
    for clients in bench.options.points(&[1_000, 10_000], 1) {
        bench.progress(&format!("{clients} clients connect"));
        let mut audience = Audience::connect(&site.host, clients, CHANNELS);
        audience.ask_once(Question::Zap, AT_ONCE);
        idle(bench, &site, &mut audience);
        let questions = [
            (format!("a list of {CHANNELS} channels"), Question::List),
            (format!("a list of {CHANNELS} channels with tunings"), Question::ListWithTunings),
            ("a zap".to_owned(), Question::Zap),
        ];
        for (what, question) in questions {
            busy(bench, &site, &mut audience, &what, question);
        }
    }
    bench.remark(
        "directory: waits are at saturation, with 16 questions on their way, and include the asking thread's own queue",
    );
}

fn row(bench: &mut Bench, point: String, clients: usize, figures: Vec<Figure>) {
    #[expect(clippy::cast_precision_loss, reason = "a number of clients")]
    let at = Some(clients as f64);
    bench.row(Row { point, at, sender: "Masthead".into(), figures, ..Row::default() });
}

/// All are connected, each says every 2 s that it is there.
fn idle(bench: &mut Bench, site: &DirectorySite, audience: &mut Audience) {
    let clients = audience.len();
    let mut shares = Vec::new();
    for run in 1..=bench.options.runs() {
        bench.progress(&format!("{clients} clients idle, run {run} of {}", bench.options.runs()));
        let each = u32::try_from(clients.div_ceil(AT_ONCE)).expect("not that many clients");
        let every = protocols::p2_directory::PING_INTERVAL / each;
        let clock = site.cpu();
        let before = clock.read();
        let answers = audience.ask(Question::Ping, AT_ONCE, bench.options.period(), Some(every));
        shares.push(clock.read().saturating_sub(before).as_secs_f64() / answers.took.as_secs_f64() * 100.0);
    }
    row(bench, format!("{clients} clients: idle"), clients, vec![Figure::new("CPU of a core", "%", shares)]);
}

fn busy(bench: &mut Bench, site: &DirectorySite, audience: &mut Audience, what: &str, question: Question) {
    let clients = audience.len();
    let (mut rates, mut per_cpu, mut medians, mut tails) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for run in 1..=bench.options.runs() {
        bench.progress(&format!("{clients} clients: {what}, run {run} of {}", bench.options.runs()));
        let clock = site.cpu();
        // Everybody's turn once, so that none falls silent and every answer is warm or cold as it will be.
        audience.ask(question, AT_ONCE, Duration::from_millis(200), None);
        let before = clock.read();
        let mut answers = audience.ask(question, AT_ONCE, bench.options.period(), None);
        let cpu = clock.read().saturating_sub(before).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a number of answers")]
        let count = answers.waits_ms.len() as f64;
        rates.push(count / answers.took.as_secs_f64());
        per_cpu.push(cpu / count * 1e6);
        medians.push(quantile(&mut answers.waits_ms, 0.5));
        tails.push(quantile(&mut answers.waits_ms, 0.99));
    }
    let figures = vec![
        Figure::new("answers per second", "/s", rates),
        Figure::new("CPU per answer", "µs", per_cpu),
        Figure::new("wait p50", "ms", medians),
        Figure::new("wait p99", "ms", tails),
    ];
    row(bench, format!("{clients} clients: {what}"), clients, figures);
}
