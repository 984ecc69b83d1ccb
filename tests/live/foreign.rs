//! Receivers that nobody here wrote have what they miss sent again.

use std::time::Duration;

use lab::judge::{self, Recorder};
use lab::lossy_link::{Loss, Nature};
use lab::packets::Comparison;
use lab::site::{Plan, Site};
use lab::source::{Clip, Sender};
use lab::{Fault, Lab, packets, timeline};

use crate::viewing::Viewing;

const PATIENCE: Duration = Duration::from_secs(15);
/// How long the receivers listen to their lossy links.
const LISTENED: Duration = Duration::from_secs(12);
/// Longer than [`LISTENED`] by what it takes all to begin.
const CLIP_SECONDS: u32 = 40;
/// Both ways; a link of a house.
const LINK: Nature =
    Nature { loss: Loss::Independent(0.02), round_trip: Duration::from_millis(5), jitter: Duration::ZERO };
/// What a receiver may miss that has its losses sent again, as a share of what one misses that has not. It is nothing on a
/// machine that has time, but GStreamer asks late, and gives up soon, on one that has not.
const UNMENDED: f64 = 0.1;

/// Goal: GStreamer's RTP receiver that sends feedback (RFC 4585) to the push server writes what the source sent although its
/// link loses 2 % both ways: it takes plain duplicates for what it asked for. The same receiver without feedback misses
/// about 2 %.
/// Method: each behind a cable of its own; a viewer of ours on a good link keeps the channel flowing, since a standard
/// receiver cannot, and is not disturbed by packets that come twice.
#[test]
fn gstreamer_behind_a_lossy_link_is_mended_by_nacks() {
    const NAME: &str = "gstreamer_behind_a_lossy_link_is_mended_by_nacks";
    let Some(lab) = Lab::open(NAME, &["ffmpeg", "gst-launch-1.0"]) else { return };
    let clip = Clip::five_megabits(CLIP_SECONDS);
    let site = Site::build(&lab, &Plan::stream());
    let nina = site.viewer("nina", &site.room);
    let hosts = ["gina", "otto"].map(|name| site.viewer_by_cable(name, &site.room));
    let _daemons = site.start_all();
    let sender = Sender::start(&site.source, &clip, lab::site::SOURCE_GROUP.parse().unwrap());
    site.wait_active(&nina, 1, PATIENCE);
    let watching = Viewing::start_with(&site, &nina, 1, &["--fast-start", "off"]);
    watching.wait_for_pictures(PATIENCE);

    let feedback = hosts.each_ref().map(|(host, _)| site.room.sent_by(host, "udp dport 7404"));
    let by_unicast = site.room.sent_by(&site.hall, "udp sport 7405");
    let control = (site.hall.address_on(&site.room), 7_404).into();
    let asks = [Some(control), None];
    let mut receivers: Vec<Recorder> = hosts
        .iter()
        .zip(asks)
        .map(|((host, _), asks)| judge::gstreamer_avpf(host, &site.room, site.in_room(1), asks))
        .collect();
    for receiver in &mut receivers {
        let writes = || (receiver.bytes() > 0).then_some(());
        timeline::obtain_or("the receiver writes", PATIENCE, writes, || "it does not".into());
    }
    for ((_, cable), seed) in hosts.iter().zip(1..) {
        cable.spoil(Fault { nature: LINK, bottleneck: None, seed });
    }
    timeline::lasts(LISTENED);
    let files: Vec<_> = receivers.into_iter().map(Recorder::finish).collect();
    let viewer = watching.finish();
    assert!(!sender.is_finished(), "the clip is too short");
    let sent = sender.stop();

    let recordings: Vec<Comparison> =
        files.iter().map(|file| packets::compare(&sent, &std::fs::read(file).unwrap())).collect();
    for ((recording, (host, cable)), feedback) in recordings.iter().zip(&hosts).zip(&feedback) {
        let [to_host, _] = cable.carried();
        lab.note(format_args!("{}: {recording:?}, RTCP {}, {to_host:?}", host.name(), feedback.packets()));
    }
    lab.note(format_args!("the viewer on the good link: {viewer:?}"));
    let [with, without] = [0, 1].map(|n| missing_percent(&recordings[n]));
    assert!(with <= UNMENDED * without, "{with} %, {without} %");
    assert!((1.0..3.5).contains(&without), "{without} %");
    assert_eq!((viewer.lost, viewer.continuity_errors, viewer.repairs_asked), (0, 0, 0), "{viewer:?}");
    assert_eq!(by_unicast.packets(), 0, "who has no lease is sent nothing of his own");
}

fn missing_percent(recording: &Comparison) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "packets of seconds")]
    let percent = 100.0 * recording.missing as f64 / (recording.same + recording.missing).max(1) as f64;
    percent
}
