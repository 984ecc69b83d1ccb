//! Every judge is shown to go red before its green counts: fed with a clean stream, then with a damaged one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use lab::judge::{self, Carriage};
use lab::pcap::Pcap;
use lab::source::{self, Clip, Sender};
use lab::wire::Capture;
use lab::{Host, Lab, Lan, Loss, packets, timeline};

const PATIENCE: Duration = Duration::from_secs(20);
const GROUP: &str = "239.77.0.1:5004";

/// A LAN with a source and a viewer.
struct Room {
    hall: Lan,
    push: Host,
    viewer: Host,
}

impl Room {
    fn open(name: &str, tools: &[&str]) -> Option<Self> {
        let lab = Lab::open(name, &[tools, &["ffmpeg", "ffprobe"]].concat())?;
        let hall = lab.lan("hall", "10.77.1.0/24");
        let (push, viewer) = (lab.host("push"), lab.host("viewer"));
        lab.attach(&push, &hall, "10.77.1.1");
        lab.attach(&viewer, &hall, "10.77.1.2");
        push.multicast_via(&hall);
        viewer.multicast_via(&hall);
        Some(Self { hall, push, viewer })
    }

    fn wait_for_member(&self) {
        timeline::until("the viewer joined", PATIENCE, || self.hall.members("239.77.0.1") == ["viewer"]);
    }

    /// Lets ffmpeg send `clip` as RTP while `run` runs; what the viewer's wire carried, when `pcap_needed`.
    fn rtp(&self, clip: &Clip, pcap_needed: bool, run: impl FnOnce()) -> Option<Pcap> {
        let capture = pcap_needed.then(|| Capture::at(&self.viewer, &self.hall, "udp port 5004"));
        let mut sender = source::ffmpeg(&self.push, clip, &format!("rtp://{GROUP}?pkt_size=1328"));
        run();
        sender.terminate(PATIENCE);
        capture.map(Capture::stop)
    }
}

fn group() -> SocketAddr {
    GROUP.parse().unwrap()
}

/// The clip cut to whole picture groups: the first `seconds`.
fn cut(clip: &Clip, seconds: usize) -> Vec<u8> {
    let bytes =
        usize::try_from(clip.rate_bps).unwrap() / 8 * seconds / packets::PACKET_BYTES * packets::PACKET_BYTES;
    clip.bytes()[..bytes].to_vec()
}

/// ffprobe and ffmpeg on files: clean, one video packet missing, one continuity counter wrong.
#[test]
fn ffmpeg_sees_a_missing_packet_and_a_wrong_counter() {
    let Some(lab) = Lab::open("ffmpeg_sees_a_missing_packet_and_a_wrong_counter", &["ffmpeg", "ffprobe"])
    else {
        return;
    };
    let clean = cut(&Clip::five_megabits(40), 5);
    let middle = packets::nth_of_pid(&clean, Clip::VIDEO_PID, 5000);
    let write = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = lab.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let file = write("clean.ts", &clean);
    let probe = judge::probe(&file);
    let codecs: Vec<&str> = probe.streams.iter().map(|stream| stream.codec.as_str()).collect();
    assert_eq!((codecs, &probe.complaints), (vec!["h264", "aac"], &vec![]));
    assert!(probe.streams[0].packets >= 120, "{probe:?}");
    assert_eq!(judge::decode(&file), Vec::<String>::new());

    assert_ne!(judge::decode(&write("missing.ts", &packets::without(&clean, middle))), Vec::<String>::new());
    assert_ne!(
        judge::decode(&write("counter.ts", &packets::with_wrong_counter(&clean, middle))),
        Vec::<String>::new()
    );
    let without_video: Vec<u8> = clean
        .chunks(188)
        .filter(|packet| packet[1] & 0x1f != 1 || packet[2] != 0)
        .flatten()
        .copied()
        .collect();
    assert_ne!(judge::probe(&write("no-video.ts", &without_video)).streams, probe.streams);
}

/// tshark on RTP made by ffmpeg: nothing lost on a clean wire; on a lossy one it counts the gaps.
#[test]
fn tshark_counts_lost_rtp_packets_and_continuity_errors() {
    let Some(room) =
        Room::open("tshark_counts_lost_rtp_packets_and_continuity_errors", &["tshark", "tcpdump"])
    else {
        return;
    };
    let clip = Clip::five_megabits(40);
    let _member = lab::member::Member::join(&room.viewer, &room.hall, group());
    room.wait_for_member();
    let wire = room.hall.heard_by(&room.viewer, "udp dport 5004");
    let enough = || timeline::until("three seconds of RTP", PATIENCE, || wire.packets() > 1400);

    let clean = room
        .rtp(&clip, true, || {
            enough();
        })
        .unwrap();
    let streams = judge::rtp_streams(&clean, 5004);
    assert_eq!(streams.len(), 1, "{streams:?}");
    assert!(streams[0].packets > 1300 && streams[0].lost == 0 && !streams[0].problems, "{streams:?}");
    assert_eq!(judge::continuity_lost(&clean, 5004, Carriage::Rtp), 0);

    let before = wire.packets();
    let loss = room.hall.lossy_to(&room.viewer, "udp dport 5004", Loss::EveryNth(50));
    let lossy = room.rtp(&clip, true, || {
        timeline::until("three seconds of RTP", PATIENCE, || wire.packets() > before + 1400);
    });
    let (lossy, lost) = (lossy.unwrap(), i64::try_from(loss.heal()).unwrap());
    let streams = judge::rtp_streams(&lossy, 5004);
    // A packet lost before the first or after the last one received leaves no gap.
    assert!(streams[0].problems && (lost - 2..=lost).contains(&streams[0].lost), "{lost} lost, {streams:?}");
    assert!(judge::continuity_lost(&lossy, 5004, Carriage::Rtp) > 0);
}

/// tshark on bare transport stream datagrams: a wrong continuity counter is seen.
#[test]
fn tshark_sees_a_wrong_counter_in_bare_datagrams() {
    let Some(room) = Room::open("tshark_sees_a_wrong_counter_in_bare_datagrams", &["tshark", "tcpdump"])
    else {
        return;
    };
    let clip = Clip::five_megabits(40);
    let clean = cut(&clip, 2);
    let damaged = packets::with_wrong_counter(&clean, packets::nth_of_pid(&clean, Clip::VIDEO_PID, 2000));
    let verdicts = [clean, damaged].map(|stream| {
        let capture = Capture::at(&room.push, &room.hall, "udp port 5004");
        let sender = Sender::start_bytes(&room.push, stream.clone(), clip.rate_bps, group());
        timeline::until("all sent", PATIENCE, || sender.is_finished());
        let pcap = capture.stop();
        assert!(pcap.payloads_to(5004, 0) == stream, "the capture holds every byte sent");
        judge::continuity_lost(&pcap, 5004, Carriage::Raw)
    });
    assert_eq!(verdicts[0], 0);
    assert_ne!(verdicts[1], 0);
}

/// GStreamer's RTP receiver writes the very bytes of the wire; with losses its recording has holes that ffmpeg sees.
#[test]
fn gstreamer_takes_the_stream_out_of_rtp_and_shows_losses() {
    let tools = ["gst-launch-1.0", "tcpdump"];
    let Some(room) = Room::open("gstreamer_takes_the_stream_out_of_rtp_and_shows_losses", &tools) else {
        return;
    };
    let clip = Clip::five_megabits(40);
    let record = |room: &Room| {
        let recorder = judge::gstreamer_rtp(&room.viewer, &room.hall, group());
        room.wait_for_member();
        let pcap = room.rtp(&clip, true, || {
            timeline::until("three seconds", PATIENCE, || recorder.bytes() > 1_900_000);
        });
        let wire = pcap.unwrap().payloads_to(5004, 12);
        let file = recorder.finish();
        (packets::compare(&wire, &std::fs::read(&file).unwrap()), judge::decode(&file))
    };
    let (comparison, complaints) = record(&room);
    assert!(comparison.is_exact() && comparison.first == 0, "{comparison:?}");
    assert_eq!(complaints, Vec::<String>::new());

    let _loss = room.hall.lossy_to(&room.viewer, "udp dport 5004", Loss::EveryNth(50));
    let (_, complaints) = record(&room);
    assert_ne!(complaints, Vec::<String>::new());
}

/// VLC plays RTP and complains of discontinuities when packets are lost.
#[test]
fn vlc_records_rtp_and_notices_losses() {
    let Some(room) = Room::open("vlc_records_rtp_and_notices_losses", &["cvlc"]) else { return };
    let clip = Clip::five_megabits(40);
    let mut recorder = judge::vlc(&room.viewer, &room.hall, &format!("rtp://@{GROUP}"));
    room.wait_for_member();
    room.rtp(&clip, false, || {
        timeline::until("three seconds", PATIENCE, || recorder.bytes() > 1_500_000);
    });
    assert_eq!(judge::vlc_complaints(&mut recorder), Vec::<String>::new());
    let probe = judge::probe(&recorder.finish());
    assert_eq!(probe.streams.iter().map(|stream| stream.codec.as_str()).collect::<Vec<_>>(), ["h264", "aac"]);

    let mut recorder = judge::vlc(&room.viewer, &room.hall, &format!("rtp://@{GROUP}"));
    room.wait_for_member();
    let _loss = room.hall.lossy_to(&room.viewer, "udp dport 5004", Loss::EveryNth(50));
    room.rtp(&clip, false, || {
        timeline::until("VLC complains", PATIENCE, || !judge::vlc_complaints(&mut recorder).is_empty());
    });
}

/// mpv decodes fifty pictures of a clean stream without a word, and complains about a lossy one.
#[test]
fn mpv_plays_and_notices_losses() {
    let Some(room) = Room::open("mpv_plays_and_notices_losses", &["mpv"]) else { return };
    let clip = Clip::five_megabits(40);
    let play = |room: &Room| {
        let player = judge::mpv(&room.viewer, &format!("udp://{GROUP}"), 50);
        room.wait_for_member();
        let sender = Sender::start(&room.push, &clip, group());
        let complaints = player.finish(PATIENCE);
        drop(sender);
        complaints
    };
    assert_eq!(play(&room), Vec::<String>::new());
    let _loss = room.hall.lossy_to(&room.viewer, "udp dport 5004", Loss::EveryNth(50));
    assert_ne!(play(&room), Vec::<String>::new());
}
