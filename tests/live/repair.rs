//! What a link loses is asked for again, and comes.

use std::time::Duration;

use lab::site::{Plan, Site};
use lab::source::{Clip, Sender};
use lab::{Host, Lab, Loss, packets, timeline};

use crate::viewing::{Summary, Viewing};

const PATIENCE: Duration = Duration::from_secs(15);
/// How long everybody watches.
const WATCHED: Duration = Duration::from_secs(25);
/// Longer than [`WATCHED`] by what it takes all to begin.
const CLIP_SECONDS: u32 = 40;
/// Of all datagrams, to a viewer and from it.
const LOSS_PERCENT: f64 = 5.0;
/// Most that may be sent again for one viewer, in percent of its packets: one and a half of the losses.
const OVERHEAD_PERCENT: f64 = 1.5 * LOSS_PERCENT;

/// Goal: a viewer whose link loses 5 % both ways records what the source sent, byte for byte; one beside it that does not
/// ask for repairs misses about 5 %; a third one, whose link is good, loses nothing and is not disturbed.
/// Method: the switch drops at random on the cables of two viewers, whatever is UDP; 25 s of 5 Mb/s by multicast. What
/// repair costs is counted by the switch.
#[test]
fn a_viewer_behind_a_lossy_link_gets_every_packet_that_the_source_sent() {
    const NAME: &str = "a_viewer_behind_a_lossy_link_gets_every_packet_that_the_source_sent";
    let Some(lab) = Lab::open(NAME, &["ffmpeg"]) else { return };
    let clip = Clip::five_megabits(CLIP_SECONDS);
    let site = Site::build(&lab, &Plan::stream());
    let [anna, olga, nina] = ["anna", "olga", "nina"].map(|name| site.viewer(name, &site.room));
    let _daemons = site.start_all();
    let sender = Sender::start(&site.source, &clip, lab::site::SOURCE_GROUP.parse().unwrap());
    site.wait_active(&nina, 1, PATIENCE);

    let _losses = [&anna, &olga]
        .map(|viewer| site.room.lossy_both_ways(viewer, "meta l4proto udp", Loss::Percent(LOSS_PERCENT)));
    let repairs = site.room.sent_by(&site.hall, "udp sport 7405");
    let strangers = site.room.heard_by(&nina, "udp sport 7405");
    let watch = |viewer: &Host, repair| Viewing::start_with(&site, viewer, 1, &["--repair", repair]);
    let viewings = [watch(&anna, "deadline"), watch(&olga, "off"), watch(&nina, "deadline")];
    for viewing in &viewings {
        viewing.wait_for_pictures(PATIENCE);
    }
    timeline::lasts(WATCHED);
    let recordings = viewings.each_ref().map(|viewing| viewing.file.clone());
    let [mended, holed, whole] = viewings.map(Viewing::finish);
    assert!(!sender.is_finished(), "the clip is too short");
    let sent = sender.stop();

    for (name, summary) in [("deadline", &mended), ("off", &holed), ("good link", &whole)] {
        lab.note(format_args!("{name}: {:.3} % lost, {summary:?}", lost_percent(summary)));
    }
    for file in [&recordings[0], &recordings[2]] {
        let comparison = packets::compare(&sent, &std::fs::read(file).unwrap());
        lab.note(format_args!("{}: {comparison:?}", file.display()));
        assert!(comparison.is_exact(), "{}: {comparison:?}", file.display());
    }
    assert_eq!((mended.lost, whole.lost, whole.repairs_asked), (0, 0, 0));
    assert!((3.5..6.5).contains(&lost_percent(&holed)), "{holed:?}");
    assert_eq!(holed.repairs_asked, 0);
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let overhead = 100.0 * repairs.packets() as f64 / mended.packets as f64;
    lab.note(format_args!("sent again: {} packets, {overhead:.2} %", repairs.packets()));
    assert!(mended.repaired > 0 && overhead < OVERHEAD_PERCENT, "{overhead:.2} %: {mended:?}");
    assert_eq!(strangers.packets(), 0, "nobody else gets repairs that one has asked for");
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn lost_percent(summary: &Summary) -> f64 {
    100.0 * summary.lost as f64 / (summary.packets + summary.lost) as f64
}
