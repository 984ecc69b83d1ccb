//! Fast start between real processes.

use std::time::Duration;

use lab::site::{Plan, Site};
use lab::source::{Clip, Sender};
use lab::{Host, Lab, packets, timeline};

use crate::viewing::{Summary, Viewing};

const PATIENCE: Duration = Duration::from_secs(15);
/// How long each watches: the clip has a random access point each second, and P6 has to take over.
const WATCHED: Duration = Duration::from_secs(4);
const CLIP_SECONDS: u32 = 40;
/// Viewers of each kind, who begin at moments that have nothing to do with the pictures.
const VIEWERS: usize = 4;
const APART: Duration = Duration::from_millis(230);

/// Goal: a zap with fast start shows its first picture in half the time of an ordinary join, goes over to multicast, and what
/// is shown is the source's stream, byte for byte.
/// Method: four viewers of each kind on one LAN, started one after the other; a channel with a random access point each
/// second. Their own clocks tell, from the command to the first whole picture; medians are compared.
#[test]
fn a_fast_start_halves_the_zap_and_splices_onto_multicast_without_a_seam() {
    const NAME: &str = "a_fast_start_halves_the_zap_and_splices_onto_multicast_without_a_seam";
    let Some(lab) = Lab::open(NAME, &["ffmpeg"]) else { return };
    let clip = Clip::five_megabits(CLIP_SECONDS);
    let site = Site::build(&lab, &Plan::stream());
    let first = site.viewer("first", &site.room);
    let viewers: Vec<Host> =
        (0..2 * VIEWERS).map(|n| site.viewer(&format!("viewer{n}"), &site.room)).collect();
    let _daemons = site.start_all();
    let sender = Sender::start(&site.source, &clip, lab::site::SOURCE_GROUP.parse().unwrap());
    site.wait_active(&first, 1, PATIENCE);

    let viewings: Vec<Viewing> = viewers
        .iter()
        .enumerate()
        .map(|(n, viewer)| {
            timeline::lasts(APART);
            let how = if n % 2 == 0 { "500" } else { "off" };
            Viewing::start_with(&site, viewer, 1, &["--fast-start", how])
        })
        .collect();
    for viewing in &viewings {
        viewing.wait_for_pictures(PATIENCE);
    }
    timeline::lasts(WATCHED);
    let files: Vec<_> = viewings.iter().map(|viewing| viewing.file.clone()).collect();
    let summaries: Vec<Summary> = viewings.into_iter().map(Viewing::finish).collect();
    assert!(!sender.is_finished(), "the clip is too short");
    let sent = sender.stop();

    for (summary, file) in summaries.iter().zip(&files) {
        lab.note(format_args!("{summary:?}"));
        let comparison = packets::compare(&sent, &std::fs::read(file).unwrap());
        assert!(comparison.is_exact(), "{}: {comparison:?}; {summary:?}", file.display());
    }
    let (fast, joined): (Vec<_>, Vec<_>) = summaries.iter().enumerate().partition(|(n, _)| n % 2 == 0);
    assert!(fast.iter().all(|(_, summary)| summary.seams == 1 && summary.live_packets > 0), "{fast:?}");
    assert!(joined.iter().all(|(_, summary)| summary.live_packets == 0), "{joined:?}");
    let [fast, joined] = [fast, joined].map(|of| median(of.into_iter().map(|(_, summary)| summary)));
    lab.note(format_args!("median zap: {fast:.3} s with fast start, {joined:.3} s without"));
    assert!(fast < joined / 2.0, "{fast:.3} s with fast start, {joined:.3} s without");
}

/// Of the zap times, s.
fn median<'a>(summaries: impl Iterator<Item = &'a Summary>) -> f64 {
    let mut times: Vec<f64> = summaries.map(|summary| summary.zap_time_s.unwrap()).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
