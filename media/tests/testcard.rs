//! Goal: the built-in test card, looped, is one endless stream. Method: loop the committed clip and check every cadence
//! here; where ffmpeg is installed, let it decode picture, sound and captions across the seams and say nothing.

#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use media::continuity::ContinuityCheck;
use media::health::{Extent, Health};
use media::looper::Looper;
use media::packet::{Packet, PacketBytes};
use media::pcr::PcrClock;
use media::pes::PesTimes;
use media::time::MediaTime;

const CLIP: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../acquisition/testcard/clip.ts"));
const LOOPS: usize = 3;
const VIDEO_PID: u16 = 0x100;
const AUDIO_PID: u16 = 0x101;
const PACKET_TICKS: u64 = 45_000;

fn looped() -> Vec<PacketBytes> {
    let looper = Looper::new(CLIP).unwrap();
    assert!(looper.clip().seamless);
    assert_eq!(looper.clip().period_ticks, 345_600_000);
    looper.take(CLIP.len() / 188 * LOOPS).collect()
}

fn views(packets: &[PacketBytes]) -> impl Iterator<Item = Packet<'_>> {
    packets.iter().map(|bytes| Packet::parse(bytes).unwrap())
}

#[test]
fn every_cadence_runs_on_across_the_seams() {
    let packets = looped();
    let mut check = ContinuityCheck::new();
    let mut pts: BTreeMap<u16, Vec<u64>> = BTreeMap::new();
    for packet in views(&packets) {
        check.push(packet);
        if packet.payload_unit_start()
            && let Some(times) = PesTimes::parse(packet.payload())
        {
            pts.entry(packet.pid()).or_default().push(times.pts_90k);
        }
    }
    assert_eq!((check.errors(), check.duplicates()), (0, 0));
    let steps = |pid| pts[&pid].windows(2).map(|pair| pair[1] - pair[0]).collect::<BTreeSet<_>>();
    assert_eq!((pts[&VIDEO_PID].len(), steps(VIDEO_PID)), (320 * LOOPS, BTreeSet::from([3600])));
    assert_eq!((pts[&AUDIO_PID].len(), steps(AUDIO_PID)), (600 * LOOPS, BTreeSet::from([1920])));
}

#[test]
fn packets_are_timed_to_the_tick() {
    let packets = looped();
    let mut clock = PcrClock::automatic();
    let stamps: Vec<_> = views(&packets).map(|packet| clock.stamp(packet)).collect();
    // Time begins at the first PCR (packet 2); the rate is known from the second on (packet 26).
    assert!(stamps[..2].iter().all(Option::is_none));
    for (index, stamp) in (0u64..).zip(&stamps).skip(26) {
        assert_eq!(stamp.map(|stamp| stamp.time.ticks()), Some(index * PACKET_TICKS));
    }
    assert_eq!((clock.rebases(), clock.bitrate_bps(), clock.pid()), (0, Some(902_400), Some(VIDEO_PID)));
    assert!(clock.programmes().is_some_and(media::psi::ProgrammeTable::is_complete));
}

#[test]
fn every_key_picture_follows_its_tables() {
    let packets = looped();
    let pids: Vec<u16> = views(&packets).map(Packet::pid).collect();
    let keys: Vec<usize> =
        views(&packets).enumerate().filter(|(_, p)| p.random_access()).map(|(n, _)| n).collect();
    assert_eq!(keys.len(), 13 * LOOPS);
    for key in keys {
        assert!(pids[key.saturating_sub(3)..key].windows(2).any(|pair| pair == [0, 0x1000]), "packet {key}");
    }
}

#[test]
fn ffmpeg_finds_nothing_to_complain_about() {
    let Some(path) = written("null.ts") else { return };
    let (out, errors) =
        run(&["ffprobe", "-v", "warning", "-count_frames", "-show_entries", "stream=nb_read_frames"], &path);
    assert_eq!(errors, "");
    assert!(out.contains(&format!("nb_read_frames={}", 320 * LOOPS)), "{out}");
    assert!(out.contains(&format!("nb_read_frames={}", 600 * LOOPS)), "{out}");
    let input = path.display().to_string();
    let (_, errors) = run(&["ffmpeg", "-v", "warning", "-i", &input, "-f", "null"], Path::new("-"));
    assert_eq!(errors, "");
}

#[test]
fn ffmpeg_reads_the_captions() {
    let Some(path) = written("captions.ts") else { return };
    let source = format!("movie={}[out0+subcc]", path.display());
    let arguments =
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", &source, "-map", "s", "-c:s", "srt", "-f", "srt", "-"];
    let (out, errors) = run(&arguments, Path::new("-y"));
    assert_eq!(errors, "");
    for (text, times) in
        [("MASTHEAD TEST CARD", LOOPS), ("LOOP WITHOUT A SEAM", LOOPS), ("CAPTION 2 OF 4", LOOPS)]
    {
        assert_eq!(out.matches(text).count(), times, "{out}");
    }
}

/// Goal: a stream that is in order shows no indicator of TR 101 290. Method: let ffmpeg mux anew, at a rate of its own and
/// at a constant one, with other sound and pictures, and check each packet at its time.
#[test]
fn what_ffmpeg_muxes_shows_no_indicator() {
    let Some(path) = written("health.ts") else { return };
    let input = path.display().to_string();
    for codecs in [
        &["-c", "copy"][..],
        &["-c:v", "mpeg2video", "-b:v", "1M", "-c:a", "mp2", "-b:a", "192k"],
        &["-c:v", "mpeg2video", "-b:v", "1M", "-c:a", "ac3", "-b:a", "192k", "-muxrate", "3M"],
    ] {
        let copy = path.with_extension("copy.ts");
        let arguments = [&["ffmpeg", "-v", "error", "-y", "-i", &input], codecs, &["-f", "mpegts"]].concat();
        run(&arguments, &copy);
        let bytes = std::fs::read(copy).unwrap();
        let (mut health, mut now) = (Health::new(Extent::Input), None);
        for packet in views(bytes.as_chunks().0) {
            // What comes between two PCRs comes with the first.
            now = packet.pcr().map(MediaTime::from_ticks).or(now);
            if let Some(now) = now {
                health.push(now.since(MediaTime::default()), packet);
            }
        }
        let seen: Vec<_> = health.tallies().seen().collect();
        assert_eq!(seen, [], "{codecs:?}");
        assert_eq!(health.judges_accuracy(), codecs.contains(&"-muxrate"), "{codecs:?}");
    }
}

/// The looped clip as a file; `None`, said aloud, where ffmpeg is missing.
fn written(name: &str) -> Option<PathBuf> {
    if Command::new("ffmpeg").arg("-version").output().is_err() {
        println!("skipped: ffmpeg is not installed");
        return None;
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, looped().concat()).unwrap();
    Some(path)
}

/// Runs a command with one more argument; answers what it wrote.
fn run(command: &[&str], last: &Path) -> (String, String) {
    let output = Command::new(command[0]).args(&command[1..]).arg(last).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(output.stderr));
    (text(output.stdout), text(output.stderr))
}
