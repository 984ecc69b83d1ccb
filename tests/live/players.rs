//! The players that people have, on each kind of output: P6 without any client of ours, and the gateway's three.

use std::time::Duration;

use lab::player::{Played, Player};
use lab::site::{Plan, Site};
use lab::{Lab, timeline};

const PATIENCE: Duration = Duration::from_secs(15);
/// How long each plays.
const PLAYED: Duration = Duration::from_secs(30);
/// Of the pictures of that time, those that a player must have made that counts them: the rest is opening and buffering, which
/// by HLS takes 6 s for the first playlist and some segments.
const LEAST_PICTURES: u64 = 25 * 16;

/// Goal: ffmpeg, mpv, VLC and GStreamer each play 30 s of the channel without an error: by RTP from its group, which they
/// join as any set-top box would, and from the gateway as one stream, as HLS with transport stream segments and as HLS with
/// fMP4 segments.
/// Method: all sixteen at once on one host, whose only client of ours is the gateway.
#[test]
fn players_play_each_kind_of_output_for_half_a_minute() {
    const NAME: &str = "players_play_each_kind_of_output_for_half_a_minute";
    let Some(lab) = Lab::open(NAME, &Player::ALL.map(Player::program)) else { return };
    let site = Site::build(&lab, &Plan::testcard());
    let text = std::fs::read_to_string(&site.topology).unwrap();
    let heard =
        text.replace("address = \"239.192.1.1\"", "address = \"239.192.1.0/24\"\n  membership = true");
    assert_ne!(heard, text);
    std::fs::write(&site.topology, heard).unwrap();
    let _daemons = site.start_all();
    let anna = site.viewer("anna", &site.room);
    anna.multicast_via(&site.room);
    site.wait_active(&anna, 1, PATIENCE);
    let mut gateway = anna.spawn(site.client(&anna).arg("gateway"));
    gateway.wait_for_line("gateway at", PATIENCE);

    let outputs = [
        "rtp://239.192.1.1:7601",
        "http://127.0.0.1:7490/channel/1.ts",
        "http://127.0.0.1:7490/channel/1/index.m3u8",
        "http://127.0.0.1:7490/channel/1/fmp4.m3u8",
    ];
    let pairs = outputs.iter().flat_map(|output| Player::ALL.map(|player| (player, output)));
    let playing: Vec<_> = pairs.map(|(player, output)| player.play(&anna, output, PLAYED)).collect();
    let played: Vec<Played> = playing.into_iter().map(lab::player::Playing::finish).collect();
    for one in &played {
        lab.note(format_args!(
            "{}: {:?} pictures, {} complaints",
            one.what,
            one.pictures,
            one.complaints.len()
        ));
    }
    let flawless = |one: &&Played| {
        one.complaints.is_empty()
            && one.pictures.is_none_or(|pictures| pictures == 1 || pictures >= LEAST_PICTURES)
    };
    let flawed: Vec<&Played> = played.iter().filter(|one| !flawless(one)).collect();
    assert!(flawed.is_empty(), "{flawed:#?}");

    // Nobody is left: nothing is sent any more.
    drop(gateway);
    let wire = site.room.sent_by(&site.hall, "udp dport 7601");
    let silent = || {
        let before = wire.packets();
        timeline::lasts(Duration::from_secs(1));
        wire.packets() == before
    };
    // A group that is left is asked for twice before it stops, and interest holds for 5 s.
    timeline::until("the channel falls silent", PATIENCE, silent);
}
