//! One 5 Mb/s channel to 1 … 1,000 destinations: CPU time per destination and second, of the push server, of the reference
//! sender that only makes the system calls, and of the peers that are installed.

use crate::Bench;
use crate::measures::Measure;
use crate::measures::trial::{self, Contender, Entry};
use crate::peers;
use crate::reference::How;
use crate::rig::Load;

/// This measure.
pub const MEASURE: Measure = Measure {
    name: "fan_out",
    about: "one channel to many destinations: CPU time of each sender",
    binaries: &["masthead", "masthead-push-server"],
    run,
};

const DESTINATIONS: [u32; 5] = [1, 10, 50, 200, 1_000];
/// Peers are slower by far and steadier: where the options ask for five runs, three of each would do, but ratios want
/// runs of the same minute.
const QUICK_POINTS: usize = 2;

fn run(bench: &mut Bench) {
    let ground = bench.ground();
    bench.remark(format!("Packets go into a device that discards them: {}.", ground.device()));
    let (present, missing) = peers::present(|name| bench.options.wants_peer(name));
    for reason in missing {
        bench.remark(format!("Not measured: {reason}."));
    }
    for destinations in bench.options.points(&DESTINATIONS, QUICK_POINTS) {
        let load = Load::new(1, destinations);
        let carries =
            |peer: &&peers::Peer| usize::try_from(destinations).is_ok_and(|count| peer.can_carry(count));
        let senders = [Contender::Reference(How::Gso), Contender::Masthead];
        let entries: Vec<Entry> = senders
            .into_iter()
            .chain(present.iter().filter(carries).map(|peer| Contender::Peer(*peer)))
            .map(|contender| Entry::new(contender, load))
            .collect();
        trial::compare(
            bench,
            &ground,
            &format!("{destinations} destinations"),
            f64::from(destinations),
            &entries,
        );
    }
}
