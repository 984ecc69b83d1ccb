//! A viewer whose link can never carry the channel does not take anything from others by asking for what it misses.

use std::time::Duration;

use lab::lossy_link::{Loss, Nature};
use lab::site::{Plan, Site};
use lab::source::{Clip, Sender};
use lab::wire::Capture;
use lab::{Fault, Lab, cable::Bottleneck, timeline};

use crate::viewing::Viewing;

const PATIENCE: Duration = Duration::from_secs(15);
/// How long the slow link lasts.
const WATCHED: Duration = Duration::from_secs(12);
const CLIP_SECONDS: u32 = 40;
/// A tenth of the channel.
const SLOW: Bottleneck = Bottleneck { rate_bps: 500_000, queue_bytes: 32_000 };
/// Packets of the channel in a second: 5 Mb/s, 1,316 bytes each.
const PACKETS_PER_SECOND: f64 = 5e6 / 8.0 / 1_316.0;
/// A client's budget (`docs/repair.md`): a share of the stream, and so much of the stream at once.
const BUDGET_SHARE: f64 = 0.25;
const BUDGET_BURST_SECONDS: f64 = 0.5;
/// The push server takes the stream's rate from its packets, which do not come to the microsecond.
const TOLERANCE: f64 = 1.1;

/// Goal: what is sent again to a viewer of 5 Mb/s behind a link of 500 kb/s stays within its budget over any span of time, and the
/// viewer beside it loses nothing and hears nothing of it.
/// Method: a relay that holds back and drops; the budget is judged by a capture of what the push server puts onto the wire.
#[test]
fn a_viewer_behind_a_slow_link_gets_repairs_within_its_budget_and_others_lose_nothing() {
    const NAME: &str = "a_viewer_behind_a_slow_link_gets_repairs_within_its_budget_and_others_lose_nothing";
    let Some(lab) = Lab::open(NAME, &["ffmpeg", "tcpdump"]) else { return };
    let clip = Clip::five_megabits(CLIP_SECONDS);
    let site = Site::build(&lab, &Plan::stream());
    let nina = site.viewer("nina", &site.room);
    let (anna, cable) = site.viewer_by_cable("anna", &site.room);
    let _daemons = site.start_all();
    let sender = Sender::start(&site.source, &clip, lab::site::SOURCE_GROUP.parse().unwrap());
    site.wait_active(&nina, 1, PATIENCE);
    // Only what is sent again is to come by P5.
    let [slow, good] =
        [&anna, &nina].map(|viewer| Viewing::start_with(&site, viewer, 1, &["--fast-start", "off"]));
    for viewing in [&slow, &good] {
        viewing.wait_for_pictures(PATIENCE);
    }

    let to_others = site.room.heard_by(&nina, "udp sport 7405");
    let capture = Capture::of_first_bytes(&site.hall, &site.room, "udp src port 7405", 64);
    let nature =
        Nature { loss: Loss::Independent(0.0), round_trip: Duration::from_millis(1), jitter: Duration::ZERO };
    cable.spoil(Fault { nature, bottleneck: Some(SLOW), seed: 1 });
    timeline::lasts(WATCHED);
    let repairs: Vec<f64> =
        capture.stop().datagrams.iter().map(|datagram| datagram.time.as_secs_f64()).collect();
    let [to_anna, _] = cable.carried();
    let good = good.finish_without_loss();
    drop(slow);
    drop(sender);

    let worst = worst_use(&repairs);
    lab.note(format_args!(
        "{} packets sent again within {WATCHED:?}, at most {worst:.3} of the budget; the link: {to_anna:?}",
        repairs.len()
    ));
    assert!(to_anna.overflowed > to_anna.frames / 2, "the link is slow: {to_anna:?}");
    assert!(repairs.len() > 100, "it asks, and is answered: {}", repairs.len());
    assert!(worst <= TOLERANCE, "{worst} of the budget");
    assert_eq!(to_others.packets(), 0);
    assert!(!good.is_empty());
}

/// The largest share of its budget that was used over any span between two packets.
fn worst_use(repairs: &[f64]) -> f64 {
    let allowed = |span: f64| PACKETS_PER_SECOND * (BUDGET_BURST_SECONDS + BUDGET_SHARE * span);
    let spans = repairs.iter().enumerate().flat_map(|(first, from)| {
        repairs[first..].iter().zip(1_u32..).map(move |(to, packets)| f64::from(packets) / allowed(to - from))
    });
    spans.fold(0.0, f64::max)
}
