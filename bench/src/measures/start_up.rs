//! From the start of the process to the first packet: how long a push server that was restarted leaves a silence.

use std::time::{Duration, Instant};

use lab::timeline;

use crate::figure::Figure;
use crate::measures::Measure;
use crate::rig::{Load, Rig};
use crate::{Bench, Row};

/// This measure.
pub const MEASURE: Measure = Measure {
    name: "start_up",
    about: "from the start of a push server to its first packet",
    binaries: &["masthead-push-server"],
    run,
};

/// Longest that a push server may take.
const LIMIT: Duration = Duration::from_secs(10);

fn run(bench: &mut Bench) {
    let ground = bench.ground();
    for destinations in [1, 100] {
        let point = format!("{destinations} destinations");
        let mut times = Vec::new();
        for run in 1..=bench.options.runs() {
            bench.progress(&format!("{point}, run {run} of {}", bench.options.runs()));
            let before = ground.traffic();
            let begun = Instant::now();
            let mut rig = Rig::prepare(&ground, Load::new(1, destinations));
            let feeder = rig.feed();
            // A packet is more bytes than all announcements of the first moment.
            let first = u64::from(destinations) * 1_328;
            timeline::until("a first packet leaves", LIMIT, || ground.traffic().since(before).bytes >= first);
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            drop(feeder);
        }
        let figures = vec![Figure::new("start to first packet", "ms", times)];
        bench.row(Row {
            point,
            at: Some(f64::from(destinations)),
            sender: "Masthead".into(),
            figures,
            ..Row::default()
        });
    }
}
