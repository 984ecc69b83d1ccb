//! One data thread and two: what a packet costs with either, and how much more two carry when both are busy all the time.

use crate::figure::Figure;
use crate::measures::Measure;
use crate::measures::saturation;
use crate::measures::trial::{self, Contender, Entry};
use crate::rig::Load;
use crate::{Bench, Row};

/// This measure.
pub const MEASURE: Measure = Measure {
    name: "threads",
    about: "one data thread and two: CPU per packet, and throughput at saturation",
    binaries: &["masthead-push-server"],
    run,
};

/// Enough that waking up is a small part, and far from saturation.
const MODERATE: [u32; 2] = [20, 50];
/// Offered for saturation, as a multiple of what one thread carries.
const OVERFLOW: f64 = 1.3;

fn run(bench: &mut Bench) {
    let ground = bench.ground();
    let entry = |name: &str, data_threads| {
        Entry::new(Contender::Masthead, Load { data_threads, ..Load::new(MODERATE[0], MODERATE[1]) })
            .named(name)
    };
    let entries = [entry("one data thread", 1), entry("two data threads", 2)];
    let point = format!("{} channels × {} destinations", MODERATE[0], MODERATE[1]);
    trial::compare(bench, &ground, &point, 1.0, &entries);
    if bench.options.quick {
        return;
    }
    let destinations = saturation::destinations(bench, &ground);
    let mut runs: Vec<Vec<f64>> = vec![Vec::new(); entries.len()];
    for run in 1..=bench.options.runs() {
        for (number, (entry, runs)) in (1_u16..).zip(entries.iter().zip(&mut runs)) {
            let channels = saturation::channels(f64::from(number) * OVERFLOW);
            bench.progress(&format!(
                "{channels} channels, {}, run {run} of {}",
                entry.name,
                bench.options.runs()
            ));
            let offered = saturation::load(channels, destinations, number);
            runs.push(saturation::carry(bench, &ground, &offered).packets_per_second);
        }
    }
    for (entry, own) in entries.iter().zip(&runs) {
        let throughput =
            Figure::new("carried", "packets/s", own.clone()).compared("one data thread", &runs[0]);
        bench.row(Row {
            point: "saturated".into(),
            sender: entry.name.clone(),
            figures: vec![throughput],
            ..Row::default()
        });
    }
}
