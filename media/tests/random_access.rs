//! Goal: the random access points of real streams are found, where ffprobe finds key pictures too. Method: the built-in
//! test card, and clips of other codings and picture groups that ffmpeg makes where it is installed; each as it is, and
//! with all `random_access_indicator`s cleared, so that the pictures themselves have to be looked at.

#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use media::Packet;
use media::packet::PACKET_BYTES;
use media::random_access::{Place, RandomAccess, RandomAccessFinder};

const CLIP: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../acquisition/testcard/clip.ts"));
const PACKETS_PER_RTP: usize = 7;

/// Clears every indicator of random access.
fn unmarked(stream: &[u8]) -> Vec<u8> {
    let mut bytes = stream.to_vec();
    for packet in bytes.chunks_exact_mut(PACKET_BYTES) {
        if Packet::from_slice(packet).unwrap().adaptation().is_some() {
            packet[5] &= !0x40;
        }
    }
    bytes
}

/// All points of `stream`, and those whose pictures are whole, by seven transport packets each 10 ms.
fn points(stream: &[u8]) -> (Vec<RandomAccess>, Vec<RandomAccess>) {
    let mut finder = RandomAccessFinder::new(None);
    let (mut points, mut whole) = (Vec::new(), Vec::new());
    for (number, payload) in (0..).zip(stream.chunks(PACKETS_PER_RTP * PACKET_BYTES)) {
        let timestamp_90k = u32::try_from(number * 900 % (1 << 32)).unwrap();
        let found = finder.push(Place { number, timestamp_90k }, payload);
        points.extend(found.point);
        whole.extend(found.whole);
    }
    (points, whole)
}

fn pictures(points: &[RandomAccess]) -> Vec<u64> {
    points.iter().map(|point| point.picture).collect()
}

/// In which RTP packet the transport packet at this byte is.
fn rtp_of(byte: u64) -> u64 {
    byte / (PACKETS_PER_RTP * PACKET_BYTES) as u64
}

#[test]
fn the_test_card_has_its_points_each_with_its_tables() {
    let indicated = (0..).zip(CLIP.chunks_exact(PACKET_BYTES)).filter(|(_, packet)| {
        let packet = Packet::from_slice(packet).unwrap();
        packet.pid() == 0x100 && packet.random_access()
    });
    let indicated: Vec<u64> = indicated.map(|(at, _)| rtp_of(at * PACKET_BYTES as u64)).collect();
    let (points, whole) = points(CLIP);
    assert_eq!((pictures(&points), points.len()), (indicated, 13));
    assert_eq!(whole, points, "the clip goes on behind each");
    for point in &points {
        let first = usize::try_from(point.start).unwrap() * PACKETS_PER_RTP;
        let pids = CLIP.chunks_exact(PACKET_BYTES).skip(first).take(PACKETS_PER_RTP);
        assert!(pids.into_iter().any(|packet| Packet::from_slice(packet).unwrap().pid() == 0), "{point:?}");
        assert!(point.picture - point.start <= 1, "{point:?}: tables directly before it");
    }
}

#[test]
fn points_are_found_by_the_pictures_alone_too() {
    assert_eq!(points(&unmarked(CLIP)), points(CLIP));
}

#[test]
fn ffprobe_finds_the_same_key_pictures() {
    if let Some(absent) = ["ffmpeg", "ffprobe"].into_iter().find(|program| !is_installed(program)) {
        let _ = write!(
            std::io::stderr(),
            "\nSKIPPED ffprobe_finds_the_same_key_pictures: not installed: {absent}\n"
        );
        return;
    }
    for (name, coding) in [
        ("h264-closed", "-c:v libx264 -preset ultrafast -g 12"),
        ("h264-open", "-c:v libx264 -preset veryfast -g 25 -bf 3 -x264-params open-gop=1:scenecut=0"),
        ("h264-slices", "-c:v libx264 -preset ultrafast -g 30 -x264-params slices=4:aud=1"),
        (
            "h264-cbr",
            "-c:v libx264 -preset ultrafast -g 10 -b:v 1M -maxrate 1M -bufsize 300k -x264-params nal-hrd=cbr",
        ),
        ("h265-closed", "-c:v libx265 -preset ultrafast -x265-params keyint=20:open-gop=0:log-level=error"),
        (
            "h265-open",
            "-c:v libx265 -preset ultrafast -x265-params keyint=25:open-gop=1:bframes=3:log-level=error",
        ),
        ("mpeg2", "-c:v mpeg2video -g 15 -bf 2 -b:v 2M"),
        ("mpeg2-short", "-c:v mpeg2video -g 6 -b:v 2M"),
    ] {
        let clip = make(name, coding);
        let stream = std::fs::read(&clip).unwrap();
        let expected: Vec<u64> = key_pictures(&clip).into_iter().map(rtp_of).collect();
        assert!(expected.len() > 2, "{name}: {expected:?}");
        assert_eq!(pictures(&points(&stream).0), expected, "{name}");
        assert_eq!(pictures(&points(&unmarked(&stream)).0), expected, "{name} without indicators");
    }
}

/// Three seconds and a half of picture and sound in this coding.
fn make(name: &str, coding: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("random-access-{name}.ts"));
    let status = Command::new("ffmpeg")
        .args(
            "-nostdin -v error -y -f lavfi -i testsrc2=s=320x180:r=25:d=3.5 -f lavfi -i sine=d=3.5"
                .split(' '),
        )
        .args(["-pix_fmt", "yuv420p"])
        .args(coding.split(' '))
        .args(["-c:a", "aac", "-f", "mpegts"])
        .arg(&path)
        .status()
        .unwrap();
    assert!(status.success(), "ffmpeg {coding}");
    path
}

/// Where ffprobe says that key pictures begin.
fn key_pictures(clip: &Path) -> Vec<u64> {
    let output = Command::new("ffprobe")
        .args(
            "-v error -select_streams v -show_packets -show_entries packet=pos,flags -of csv=p=0".split(' '),
        )
        .arg(clip)
        .output()
        .unwrap();
    assert!(output.status.success(), "ffprobe");
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .filter(|line| line.contains('K'))
        .map(|line| line.split(',').next().unwrap().parse().unwrap())
        .collect()
}

fn is_installed(program: &str) -> bool {
    let quiet = Command::new(program).arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}
