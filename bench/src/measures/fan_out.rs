//! One 5 Mb/s channel to 1 … 1,000 destinations: CPU time per destination and second, of the push server, of the reference
//! sender that only makes the system calls, and of the peers that are installed.

use crate::Bench;
use crate::measures::{Measure, trial};
use crate::rig::Load;

/// This measure.
pub const MEASURE: Measure = Measure {
    name: "fan_out",
    about: "one channel to many destinations: CPU time of each sender",
    binaries: &["masthead", "masthead-push-server"],
    run,
};

const DESTINATIONS: [u32; 5] = [1, 10, 50, 200, 1_000];

fn run(bench: &mut Bench) {
    let ground = bench.ground();
    bench.remark(format!("Packets go into a device that discards them: {}.", ground.device()));
    for destinations in bench.options.points(&DESTINATIONS, 2) {
        let load = Load::new(1, destinations);
        trial::compare(
            bench,
            &ground,
            &load,
            &format!("{destinations} destinations"),
            f64::from(destinations),
        );
    }
}
