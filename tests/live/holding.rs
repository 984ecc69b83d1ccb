//! What nobody watches costs next to nothing on its way to the push server, and is there when it is wanted.

use std::collections::BTreeMap;
use std::time::Duration;

use lab::pcap::Pcap;
use lab::wire::{Capture, WireCounter};
use lab::{Lab, timeline};

use crate::resuming::{
    CAPTURED_WITHIN, CHANNELS, Control, KEPT_BYTES, active_site, assert_prompt, distribution, resume_times,
    send_interests,
};

/// From a feed's first packet until it is held: ten seconds, and a second for what is on its way.
const HELD_AFTER: Duration = Duration::from_secs(11);
/// How long each is counted: the interests hold for as long and longer.
const COUNTED: Duration = Duration::from_millis(2_500);
/// The first viewers come when so many samples have followed the count, so that each feed has stood still for long.
const STANDING: Duration = Duration::from_secs(1);

/// Goal: a feed that nobody needs brings less than 2 % of what a watched one does, its channel is listed as active all the
/// same, and who watches has the first packet as soon as in [`crate::resuming`] and a stream without a gap from there on.
/// Method: ten channels of 5 Mb/s at one push server; its switch port counts what comes by P3, first while nobody watches,
/// then while all are watched. Interests and captures are those of the resuming.
#[test]
fn a_feed_that_nobody_needs_costs_next_to_nothing_and_flows_for_its_first_viewer() {
    const NAME: &str = "a_feed_that_nobody_needs_costs_next_to_nothing_and_flows_for_its_first_viewer";
    let Some(lab) = Lab::open(NAME, &["ffmpeg", "tcpdump"]) else { return };
    let (site, viewer, _servers) = active_site(&lab, 1);
    let wire = site.core.heard_by(&site.hall, "tcp dport 7403");
    timeline::lasts(HELD_AFTER);
    let held = bytes_over(&wire, COUNTED);
    let listed = site.channels(&viewer).expect("the database server answers");
    assert!(listed.iter().all(lab::site::Listed::is_active), "held is not inactive: {listed:?}");
    timeline::lasts(STANDING);

    let filter = "udp dst port 7404 or udp dst portrange 7601-7610";
    let capture = Capture::of_first_bytes(&site.hall, &site.room, filter, KEPT_BYTES);
    let control = Control::start();
    send_interests(&site, &viewer, 1, || control.say());
    let watched = bytes_over(&wire, COUNTED);
    timeline::lasts(CAPTURED_WITHIN);
    let pcap = capture.stop();
    let control = control.finish();

    lab.note(format_args!(
        "P3 of {CHANNELS} channels in {COUNTED:?}: {held} bytes held, {watched} watched, {:.2} %",
        percent(held, watched)
    ));
    assert!(held > 0, "samples show that the channels flow");
    assert!(percent(held, watched) < 2.0, "{held} bytes held, {watched} watched");
    assert_no_gap(&pcap);
    let mut times = resume_times(&pcap);
    times.sort();
    lab.note(format_args!("interest to first packet of a held channel: {}", distribution(&times)));
    lab.note(format_args!("two wake-ups of the machine meanwhile: {}", distribution(&control)));
    assert_eq!(times.len(), usize::try_from(CHANNELS).unwrap(), "every channel resumed");
    assert_prompt(&times, &control);
}

fn bytes_over(wire: &WireCounter, period: Duration) -> u64 {
    let before = wire.bytes();
    timeline::lasts(period);
    wire.bytes() - before
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole as f64
}

/// From its first packet on, each channel's RTP packets follow one another.
fn assert_no_gap(pcap: &Pcap) {
    let mut last: BTreeMap<u16, u16> = BTreeMap::new();
    for datagram in pcap.datagrams.iter().filter(|datagram| datagram.destination.port() != 7404) {
        let [_, kind, high, low] = *datagram.payload.first_chunk().expect("a packet has a header");
        if kind & 0x7f == 33 {
            let (port, sequence) = (datagram.destination.port(), u16::from_be_bytes([high, low]));
            if let Some(before) = last.insert(port, sequence) {
                assert_eq!(sequence.wrapping_sub(before), 1, "port {port}: {sequence} follows {before}");
            }
        }
    }
    assert_eq!(last.len(), usize::try_from(CHANNELS).unwrap(), "every channel was sent");
}
