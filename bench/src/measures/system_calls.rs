//! What each way of handing packets to this kernel costs, by the reference sender: which of them the data plane should use,
//! and what a longer window would buy.

use crate::Bench;
use crate::measures::Measure;
use crate::measures::trial::{self, Contender, Entry};
use crate::reference::How;
use crate::rig::Load;

/// This measure.
pub const MEASURE: Measure = Measure {
    name: "system_calls",
    about: "ways to hand packets to the kernel, by the reference sender",
    binaries: &["masthead"],
    run,
};

const DESTINATIONS: [u32; 2] = [50, 200];
const LONG_WINDOW_MS: u8 = 20;

fn run(bench: &mut Bench) {
    let ground = bench.ground();
    for destinations in bench.options.points(&DESTINATIONS, 1) {
        let load = Load::new(1, destinations);
        let mut entries: Vec<Entry> = [How::Gso, How::GsoZeroCopy, How::Sendmmsg, How::Send]
            .into_iter()
            .map(|how| Entry::new(Contender::Reference(how), load))
            .collect();
        for (name, window_ms) in
            [("reference, 20 ms window", LONG_WINDOW_MS), ("reference, each packet as it comes", 0)]
        {
            entries.push(Entry::new(Contender::Reference(How::Gso), Load { window_ms, ..load }).named(name));
        }
        trial::compare(
            bench,
            &ground,
            &format!("{destinations} destinations"),
            f64::from(destinations),
            &entries,
        );
    }
}
