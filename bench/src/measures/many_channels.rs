//! Many channels of which few are watched: what is watched costs what it costs alone, and what is not costs nearly nothing.

use std::time::Duration;

use crate::figure::Figure;
use crate::measures::Measure;
use crate::measures::trial::{self, Contender, Entry, Outcome};
use crate::reference::How;
use crate::rig::Load;
use crate::{Bench, Row};

/// This measure.
pub const MEASURE: Measure = Measure {
    name: "many_channels",
    about: "100 channels at 10 destinations each, ten of them watched: what the others cost",
    binaries: &["masthead", "masthead-push-server"],
    run,
};

const CHANNELS: u32 = 100;
const WATCHED: u32 = 10;
const DESTINATIONS: u32 = 10;
/// After this a push server has told the feeds of channels that nobody watches to hold.
const HELD_AFTER: Duration = Duration::from_secs(11);

fn run(bench: &mut Bench) {
    let ground = bench.ground();
    let watched = Load::new(WATCHED, DESTINATIONS);
    let all = Load { watched: WATCHED, ..Load::new(CHANNELS, DESTINATIONS) };
    let entries = [
        Entry::new(Contender::Reference(How::Gso), watched),
        Entry::new(Contender::Masthead, watched).named("Masthead, the watched alone"),
        Entry { settle: HELD_AFTER, ..Entry::new(Contender::Masthead, all) },
    ];
    let point = format!("{WATCHED} watched of {CHANNELS} channels × {DESTINATIONS}");
    let outcomes = trial::compare(bench, &ground, &point, f64::from(CHANNELS), &entries);
    let seconds = |outcome: &Outcome| outcome.cpu.as_secs_f64() / outcome.period.as_secs_f64();
    let share = outcomes[1].iter().zip(&outcomes[2]).map(|(alone, all)| {
        let suspended = (seconds(all) - seconds(alone)) / f64::from(CHANNELS - WATCHED);
        100.0 * suspended / (seconds(alone) / f64::from(WATCHED))
    });
    bench.row(Row {
        point: "one suspended channel".into(),
        sender: "Masthead".into(),
        figures: vec![Figure::new("CPU, of a watched channel's", "%", share.collect())],
        ..Row::default()
    });
}
