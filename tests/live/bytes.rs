//! What the source sent is what the viewers get.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::judge::{self, Carriage};
use lab::pcap::Pcap;
use lab::site::{Plan, Site};
use lab::source::{self, Clip};
use lab::wire::Capture;
use lab::{Lab, packets, timeline};

use crate::viewing::Viewing;

const PATIENCE: Duration = Duration::from_secs(15);
/// How long everybody watches.
const WATCHED: Duration = Duration::from_secs(30);
/// Longer than [`WATCHED`] by what it takes all to begin.
const CLIP_SECONDS: u32 = 40;

/// Goal: every packet that a viewer gets is the one that the source sent, in order, none missing, and judges from other
/// houses find no loss and no continuity error, with our announcements among the packets.
/// Method: ffmpeg multicasts 5 Mb/s into the acquisition server; one push server multicasts to a room, the other
/// broadcasts to a ward; for 30 s two of our clients and GStreamer record, and tcpdump captures. The truth is what a
/// capture at the source shows.
#[test]
fn viewers_on_both_lans_get_every_packet_that_the_source_sent() {
    const NAME: &str = "viewers_on_both_lans_get_every_packet_that_the_source_sent";
    let tools = ["ffmpeg", "ffprobe", "gst-launch-1.0", "tshark", "tcpdump"];
    let Some(lab) = Lab::open(NAME, &tools) else { return };
    let clip = Clip::five_megabits(CLIP_SECONDS);
    let site = Site::build(&lab, &Plan::stream());
    let [anna, gina, cleo] = [("anna", &site.room), ("gina", &site.room), ("cleo", &site.ward)]
        .map(|(name, lan)| site.viewer(name, lan));
    let _daemons = site.start_all();

    let truth = Capture::at(&site.source, &site.core, "udp port 5004");
    let mut streamer = source::ffmpeg(&site.source, &clip, "udp://239.192.9.5:5004?pkt_size=1316");
    let took = site.wait_active(&anna, 1, PATIENCE);
    lab.note(format_args!("channel active {:.0} ms after ffmpeg's start", took.as_secs_f64() * 1e3));
    let recorder = judge::gstreamer_rtp(&gina, &site.room, site.in_room(1));
    let wires =
        [(&gina, &site.room), (&cleo, &site.ward)].map(|(host, lan)| Capture::at(host, lan, "udp port 7601"));
    let viewings = [&anna, &cleo].map(|viewer| Viewing::start(&site, viewer, 1));
    for viewing in &viewings {
        viewing.wait_for_pictures(PATIENCE);
    }
    timeline::lasts(WATCHED);

    let ours = viewings.map(recording);
    let gstreamers = recorder.finish();
    let wires = wires.map(Capture::stop);
    assert!(streamer.is_running(), "the clip is too short\n{}", streamer.last_words());
    drop(streamer);
    let sent = truth.stop().payloads_to(5004, 0);

    for file in [&ours[0], &ours[1], &gstreamers] {
        assert_is_what_was_sent(&lab, &sent, file);
    }
    for (wire, lan) in wires.iter().zip(["room", "ward"]) {
        assert_wire_is_clean(&lab, wire, lan);
    }
}

/// Ends `viewing` and gives the file that it wrote.
pub(crate) fn recording(viewing: Viewing) -> PathBuf {
    let file = viewing.file.clone();
    viewing.finish();
    file
}

/// All of `file` is in `sent`, in one piece of at least [`WATCHED`], and decodes without a word.
fn assert_is_what_was_sent(lab: &Lab, sent: &[u8], file: &Path) {
    let name = file.file_name().unwrap().to_string_lossy();
    let comparison = packets::compare(sent, &std::fs::read(file).unwrap());
    lab.note(format_args!("{name}: {comparison:?} of {} sent", sent.len() / packets::PACKET_BYTES));
    assert!(comparison.is_exact(), "{name}: {comparison:?}");
    let least =
        5_000_000 / 8 / packets::PACKET_BYTES * usize::try_from(WATCHED.as_secs()).unwrap() * 95 / 100;
    assert!(comparison.same > least, "{name}: fewer than {least} packets: {comparison:?}");
    let probe = judge::probe(file);
    assert!(probe.complaints.is_empty() || comparison.first > 0, "{name}: {probe:?}");
    let codecs: Vec<&str> = probe.streams.iter().map(|stream| stream.codec.as_str()).collect();
    assert_eq!(codecs, ["h264", "aac"], "{name}");
    assert_eq!(judge::decode(file), Vec::<String>::new(), "{name}");
}

fn assert_wire_is_clean(lab: &Lab, wire: &Pcap, lan: &str) {
    let streams = judge::rtp_streams(wire, 7601);
    lab.note(format_args!("tshark in the {lan}: {streams:?}"));
    assert_eq!(streams.len(), 1, "one RTP stream in the {lan}: {streams:?}");
    assert!(streams[0].lost == 0 && !streams[0].problems, "{lan}: {streams:?}");
    assert_eq!(judge::continuity_lost(wire, 7601, Carriage::Rtp), 0, "{lan}");
    let announcements = wire.to_port(7601).filter(|datagram| datagram.payload.get(1) == Some(&204)).count();
    assert!(announcements > 100, "announcements are among the packets of the {lan}: {announcements}");
}
