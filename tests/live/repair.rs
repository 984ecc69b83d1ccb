//! What a link loses is asked for again, and comes.

use std::time::Duration;

use lab::lossy_link::{self, Nature};
use lab::site::{Plan, Site};
use lab::source::{Clip, Sender};
use lab::{Fault, Host, Lab, Loss, packets, timeline};

use crate::viewing::{Summary, Viewing};

const PATIENCE: Duration = Duration::from_secs(15);
/// How long everybody watches.
const WATCHED: Duration = Duration::from_secs(25);
/// Longer than [`WATCHED`] by what it takes all to begin.
const CLIP_SECONDS: u32 = 40;
/// Of all datagrams, to a viewer and from it.
const LOSS_PERCENT: f64 = 5.0;
/// Most that may be sent again for a viewer, as a multiple of what its link loses.
const OVERHEAD: f64 = 1.5;
/// The same loss in bursts, on a way of 20 ms; and there.
const BURSTS: Nature = Nature {
    loss: lossy_link::Loss::Bursts {
        share: LOSS_PERCENT / 100.0,
        bad: Duration::from_millis(20),
        bad_loss: 0.5,
    },
    round_trip: Duration::from_millis(20),
    jitter: Duration::from_millis(1),
};
const OVERHEAD_OF_BURSTS: f64 = 2.0;

/// Goal: a viewer whose link loses 5 % both ways records what the source sent, byte for byte, and so does one 20 ms away that
/// loses as much in bursts; one beside them that does not ask for repairs misses about 5 %; a fourth one, whose link is good,
/// loses nothing and is not disturbed.
/// Method: the switch drops at random on the cables of two viewers, whatever is UDP, and a relay in bursts; 25 s of 5 Mb/s by
/// multicast. What repair costs is counted by the switch. `masthead bench repair` measures more links for longer.
#[test]
fn a_viewer_behind_a_lossy_link_gets_every_packet_that_the_source_sent() {
    const NAME: &str = "a_viewer_behind_a_lossy_link_gets_every_packet_that_the_source_sent";
    let Some(lab) = Lab::open(NAME, &["ffmpeg"]) else { return };
    let clip = Clip::five_megabits(CLIP_SECONDS);
    let site = Site::build(&lab, &Plan::stream());
    let [anna, olga, nina] = ["anna", "olga", "nina"].map(|name| site.viewer(name, &site.room));
    let (bert, cable) = site.viewer_by_cable("bert", &site.room);
    let _daemons = site.start_all();
    let sender = Sender::start(&site.source, &clip, lab::site::SOURCE_GROUP.parse().unwrap());
    site.wait_active(&nina, 1, PATIENCE);

    let _losses = [&anna, &olga]
        .map(|viewer| site.room.lossy_both_ways(viewer, "meta l4proto udp", Loss::Percent(LOSS_PERCENT)));
    cable.spoil(Fault { nature: BURSTS, bottleneck: None, seed: 1 });
    let repairs = [&anna, &bert].map(|viewer| {
        site.room.sent_by(&site.hall, &format!("udp sport 7405 ip daddr {}", viewer.address()))
    });
    let strangers = site.room.heard_by(&nina, "udp sport 7405");
    let watch = |viewer: &Host, repair| {
        // Only what is sent again is to come by P5.
        let options = ["--repair", repair, "--hold-ms", "400", "--fast-start", "off"];
        Viewing::start_with(&site, viewer, 1, &options)
    };
    let viewings =
        [watch(&anna, "deadline"), watch(&bert, "deadline"), watch(&nina, "deadline"), watch(&olga, "off")];
    for viewing in &viewings {
        viewing.wait_for_pictures(PATIENCE);
    }
    timeline::lasts(WATCHED);
    let recordings = viewings.each_ref().map(|viewing| viewing.file.clone());
    let [mended, far, whole, holed] = viewings.map(Viewing::finish);
    assert!(!sender.is_finished(), "the clip is too short");
    let sent = sender.stop();

    for (name, summary) in [("deadline", &mended), ("bursts", &far), ("off", &holed), ("good link", &whole)] {
        lab.note(format_args!("{name}: {:.3} % lost, {summary:?}", lost_percent(summary)));
    }
    for file in &recordings[..3] {
        let comparison = packets::compare(&sent, &std::fs::read(file).unwrap());
        lab.note(format_args!("{}: {comparison:?}", file.display()));
        assert!(comparison.is_exact(), "{}: {comparison:?}", file.display());
    }
    assert_eq!((mended.lost, far.lost, whole.lost, whole.repairs_asked), (0, 0, 0, 0));
    assert!((3.5..6.5).contains(&lost_percent(&holed)), "{holed:?}");
    assert_eq!(holed.repairs_asked, 0);
    let [lost_by_link, _] = cable.carried().map(|carried| carried.lost);
    let of_packets = |percent: f64, packets: u64| percent / 100.0 * exact(packets);
    let allowed =
        [OVERHEAD * of_packets(LOSS_PERCENT, mended.packets), OVERHEAD_OF_BURSTS * exact(lost_by_link)];
    for ((repairs, allowed), summary) in repairs.iter().zip(allowed).zip([&mended, &far]) {
        let packets = repairs.packets();
        lab.note(format_args!("sent again: {packets} packets, {allowed:.0} are allowed"));
        assert!(summary.repaired > 0 && exact(packets) < allowed, "{packets}, {allowed}: {summary:?}");
    }
    assert_eq!(strangers.packets(), 0, "nobody else gets repairs that one has asked for");
}

fn lost_percent(summary: &Summary) -> f64 {
    100.0 * exact(summary.lost) / exact(summary.packets + summary.lost)
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn exact(count: u64) -> f64 {
    count as f64
}
