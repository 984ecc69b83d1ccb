//! One data thread and two: what a packet costs with either, and how much more two carry when both are busy all the time.
//!
//! Both threads, the load and all else share the processors: on a machine with two of them, two threads can carry at most what
//! the load leaves. What it takes stands beside ([`saturation`] says how it is kept small), and the device that discards must
//! have a queue for each processor ([`crate::ground`]).

use crate::feeder::Pace;
use crate::figure::Figure;
use crate::measures::Measure;
use crate::measures::saturation::{self, Carried};
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

/// Mb/s, channels and destinations of each, far from saturation. Of the first a window is a whole batch, so that a packet costs
/// the same however late a thread comes. Of the second it is half a batch: the busier a thread is, the later it comes and the
/// fuller its batches are, so that one thread is cheaper than two that come in time; packets per send show it.
const MODERATE: [(u64, u32, u32); 2] = [(10, 4, 125), (5, 20, 50)];
/// Offered for saturation, as a multiple of what one thread carries.
const OVERFLOW: f64 = 1.3;

fn run(bench: &mut Bench) {
    let ground = bench.ground();
    for (rate_mbps, channels, destinations) in MODERATE {
        let pace = Pace { rate_bps: rate_mbps * 1_000_000, burst: 1 };
        let entries = entries(Load { pace, ..Load::new(channels, destinations) });
        let point = format!("{channels} channels of {rate_mbps} Mb/s × {destinations} destinations");
        trial::compare(bench, &ground, &point, 1.0, &entries);
    }
    if bench.options.quick {
        return;
    }
    let entries = entries(Load::new(1, 1));
    let destinations = saturation::destinations(bench, &ground);
    let mut runs: Vec<Vec<Carried>> = vec![Vec::new(); entries.len()];
    for run in 1..=bench.options.runs() {
        for (number, (entry, runs)) in (1_u16..).zip(entries.iter().zip(&mut runs)) {
            let channels = saturation::channels(f64::from(number) * OVERFLOW);
            bench.progress(&format!(
                "{channels} channels, {}, run {run} of {}",
                entry.name,
                bench.options.runs()
            ));
            let offered = saturation::load(channels, destinations, number);
            runs.push(saturation::carry(bench, &ground, &offered));
        }
    }
    for (entry, own) in entries.iter().zip(&runs) {
        let each =
            |runs: &[Carried], figure: fn(&Carried) -> f64| runs.iter().map(figure).collect::<Vec<f64>>();
        let carried = |runs: &[Carried]| each(runs, |carried| carried.packets_per_second);
        bench.row(Row {
            point: "saturated".into(),
            sender: entry.name.clone(),
            figures: vec![
                Figure::new("carried", "packets/s", carried(own))
                    .compared("one data thread", &carried(&runs[0])),
                Figure::new("carried", "channels", each(own, |carried| carried.channels)),
                Figure::new("CPU", "cores", each(own, |carried| carried.cores)),
                Figure::new("CPU of the load", "cores", each(own, |carried| carried.load_cores)),
            ],
            ..Row::default()
        });
    }
}

/// `load` on one data thread, and on two.
fn entries(load: Load) -> [Entry; 2] {
    let entry =
        |name: &str, data_threads| Entry::new(Contender::Masthead, Load { data_threads, ..load }).named(name);
    [entry("one data thread", 1), entry("two data threads", 2)]
}
