//! A channel with two inputs: the viewer goes on when the first one stops, and when it comes back.
#![expect(clippy::disallowed_methods, reason = "live tests are all effects: real clocks and sockets")]

use std::time::{Duration, Instant};

use lab::site::{Plan, Site};
use lab::source::{Clip, Sender};
use lab::{Lab, judge, timeline};

use crate::viewing::Viewing;

/// Longest that something which is not measured may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// As `hold_off` and `return_after` are written below.
const HOLD_OFF: Duration = Duration::from_secs(1);
/// A change comes this long after the hold-off at the latest; the rest is what our looking at the log takes.
const SLACK: Duration = Duration::from_millis(1_500);

/// Goal: two inputs by UDP; the first stops, the viewer goes on within the hold-off and a second; it sends again, the
/// channel comes back; the viewer has lost nothing that was made, and what he has is one stream of pictures and sound.
/// Method: two senders of one clip, each begun at another moment, so that time and counters differ.
#[test]
fn a_viewer_goes_on_when_an_input_stops_and_when_it_comes_back() {
    const NAME: &str = "a_viewer_goes_on_when_an_input_stops_and_when_it_comes_back";
    let Some(lab) = Lab::open(NAME, &["ffmpeg", "ffprobe"]) else { return };
    let urls = ["udp://239.192.9.5:5004?interface=core", "udp://239.192.9.6:5004?interface=core"];
    let plan = Plan::of(urls[0]).with_channel(2, "Two", urls[1]);
    let site = Site::build(&lab, &plan);
    let main = "input = \"input-1\"\n";
    let both = format!(
        "{main}hold_off = \"1s\"\nreturn_after = \"2s\"\n  [[channel.backup]]\n  input = \"input-2\"\n"
    );
    std::fs::write(&site.topology, plan.text().replace(main, &both)).unwrap();
    let clip = Clip::five_megabits_for(&lab, 120, 20);
    let to = ["239.192.9.5:5004", "239.192.9.6:5004"].map(|to| to.parse().unwrap());
    let daemons = site.start_all();
    let spare = Sender::start(&site.source, &clip, to[1]);
    let first = Sender::start(&site.source, &clip, to[0]);
    let anna = site.viewer("anna", &site.room);
    site.wait_active(&anna, 1, PATIENCE);
    let viewing = Viewing::start(&site, &anna, 1);
    viewing.wait_to_go_on(PATIENCE);

    let told = |words: &str| {
        timeline::obtain(&format!("the acquisition server says: {words}"), PATIENCE, || {
            daemons.acquisition.log().contains(words).then_some(())
        });
    };
    let stopped = Instant::now();
    first.stop();
    told("input failed; taking another");
    let took = stopped.elapsed();
    lab.note(format_args!("changed {:.0} ms after the input stopped", took.as_secs_f64() * 1e3));
    assert!(took < HOLD_OFF + SLACK, "{took:?}");
    viewing.wait_to_go_on(PATIENCE);
    let _again = Sender::start(&site.source, &clip, to[0]);
    told("a better input is good again");
    viewing.wait_to_go_on(PATIENCE);
    drop(spare);
    viewing.wait_to_go_on(PATIENCE);

    let file = viewing.file.clone();
    viewing.finish_without_loss();
    let probe = judge::probe(&file);
    let codecs: Vec<&str> = probe.streams.iter().map(|stream| stream.codec.as_str()).collect();
    assert_eq!(codecs, ["h264", "aac"], "{probe:?}");
    assert!(probe.streams.iter().all(|stream| stream.packets > 50), "{probe:?}");
}
