//! Live where multicast does not arrive.

use std::time::Duration;

use lab::site::{Plan, Site};
use lab::source::{Clip, Sender};
use lab::{Lab, Loss, packets, timeline};

use crate::viewing::Viewing;

const PATIENCE: Duration = Duration::from_secs(15);
const CLIP_SECONDS: u32 = 40;
/// Longer than it takes to find that multicast does not arrive, or does again.
const WHILE: Duration = Duration::from_secs(3);
/// Everything that goes to the group of channel 1.
const BY_P6: &str = "udp dport 7601";

/// Goal: a viewer whose switch filters the group watches all the same, and goes back to multicast when the filter goes, and
/// misses nothing; one whose group is filtered in the middle goes on; one who wants no multicast gets none, and shows no
/// interest.
/// Method: the switch drops what goes to the group on the viewers' ports, and later does not.
#[test]
fn viewers_whose_group_is_filtered_watch_by_unicast_and_return_without_a_gap() {
    const NAME: &str = "viewers_whose_group_is_filtered_watch_by_unicast_and_return_without_a_gap";
    let Some(lab) = Lab::open(NAME, &["ffmpeg"]) else { return };
    let clip = Clip::five_megabits(CLIP_SECONDS);
    let site = Site::build(&lab, &Plan::stream());
    let [anna, olga, nina] = ["anna", "olga", "nina"].map(|name| site.viewer(name, &site.room));
    let _daemons = site.start_all();
    let sender = Sender::start(&site.source, &clip, lab::site::SOURCE_GROUP.parse().unwrap());
    site.wait_active(&anna, 1, PATIENCE);

    let wall = site.room.lossy_to(&anna, BY_P6, Loss::All);
    let strangers = site.room.heard_by(&nina, BY_P6);
    let filtered = Viewing::start(&site, &anna, 1);
    let cut = Viewing::start(&site, &olga, 1);
    let unicast = Viewing::start_with(&site, &nina, 1, &["--unicast"]);
    for viewing in [&filtered, &cut, &unicast] {
        let took = viewing.wait_for_pictures(PATIENCE);
        lab.note(format_args!("first packets after {took:?}"));
    }
    timeline::lasts(WHILE);
    let late_wall = site.room.lossy_to(&olga, BY_P6, Loss::All);
    lab.note(format_args!("cut off in the middle: goes on after {:?}", cut.wait_to_go_on(PATIENCE)));
    timeline::lasts(WHILE);
    assert!(wall.heal() > 0 && late_wall.heal() > 0, "there was something to filter");
    timeline::lasts(WHILE);
    let p5 = site.room.heard_by(&anna, "udp sport 7405");
    timeline::lasts(Duration::from_secs(1));
    let after_return = p5.packets();

    let files = [&filtered, &unicast].map(|viewing| viewing.file.clone());
    let [filtered, cut, unicast] = [filtered, cut, unicast].map(Viewing::finish);
    assert!(!sender.is_finished(), "the clip is too short");
    let sent = sender.stop();
    lab.note(format_args!("filtered: {filtered:?}\ncut: {cut:?}\nunicast: {unicast:?}"));
    for file in files {
        let comparison = packets::compare(&sent, &std::fs::read(&file).unwrap());
        assert!(comparison.is_exact(), "{}: {comparison:?}", file.display());
    }
    assert_eq!((filtered.unicast_stays, filtered.seams, filtered.lost), (1, 1, 0));
    assert_eq!(after_return, 0, "multicast is back: nothing by unicast any more");
    assert_eq!((cut.unicast_stays, cut.seams), (1, 2));
    assert_eq!((unicast.interests_sent, unicast.lost, strangers.packets()), (0, 0, 0));
    assert_eq!(unicast.live_packets + unicast.repaired, unicast.packets, "all of it came by P5");
}
