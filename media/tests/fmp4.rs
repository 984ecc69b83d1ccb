//! Goal: fragmented MP4 that any player takes. Method: the built-in test card, looped, goes through the muxer; boxes are looked at
//! here, and where ffmpeg is installed it decodes all of it and counts.

#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking")]

use std::path::Path;
use std::process::Command;

use media::fmp4::muxer::Cuts;
use media::fmp4::{Event, Init, Muxer, Part};
use media::looper::Looper;
use media::packet::{Packet, PacketBytes};
use media::pes;

const CLIP: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../acquisition/testcard/clip.ts"));
const CUTS: Cuts =
    Cuts { part_90k: 45_000, segment_min_90k: 180_000, segment_max_90k: 396_000, forced_min_90k: 36_000 };

fn looped(loops: usize) -> Vec<PacketBytes> {
    Looper::new(CLIP).unwrap().take(CLIP.len() / 188 * loops).collect()
}

fn muxed(packets: &[PacketBytes]) -> Vec<Event> {
    let mut muxer = Muxer::new(CUTS);
    packets.iter().flat_map(|packet| muxer.push(packet)).collect()
}

fn parts(events: &[Event]) -> Vec<&Part> {
    events.iter().filter_map(|event| if let Event::Part(part) = event { Some(part) } else { None }).collect()
}

fn inits(events: &[Event]) -> Vec<&Init> {
    events.iter().filter_map(|event| if let Event::Init(init) = event { Some(init) } else { None }).collect()
}

fn breaks(events: &[Event]) -> usize {
    events.iter().filter(|event| **event == Event::Break).count()
}

fn file(events: &[Event]) -> Vec<u8> {
    let bytes = events.iter().filter_map(|event| match event {
        Event::Init(init) => Some(&init.bytes),
        Event::Part(part) => Some(&part.bytes),
        _ => None,
    });
    bytes.flatten().copied().collect()
}

/// Names of the outermost boxes, each with the bytes in it.
fn boxes(mut bytes: &[u8]) -> Vec<(String, &[u8])> {
    let mut found = Vec::new();
    while let Some((head, _)) = bytes.split_first_chunk::<8>() {
        let len = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        found.push((String::from_utf8(head[4..].to_vec()).unwrap(), &bytes[8..len]));
        bytes = &bytes[len..];
    }
    assert!(bytes.is_empty(), "boxes fill their file");
    found
}

#[test]
fn the_test_card_becomes_parts_of_half_a_second_in_segments_that_begin_with_a_random_access_picture() {
    let events = muxed(&looped(2));
    let [init] = inits(&events)[..] else { panic!("one initialisation segment") };
    assert_eq!(init.codecs, "avc1.4d401e,mp4a.40.2");
    assert_eq!(init.size.map(|size| (size.width, size.height)), Some((640, 360)));
    assert_eq!(
        boxes(&init.bytes).iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["ftyp", "moov"]
    );
    let parts = parts(&events);
    assert!(parts.len() > 45, "{}", parts.len());
    assert!(parts[0].begins_segment && parts[0].is_independent);
    for part in &parts {
        assert_eq!(
            boxes(&part.bytes).iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["moof", "mdat"]
        );
        assert!(part.duration_90k <= CUTS.part_90k);
        assert!(!part.begins_segment || part.is_independent);
    }
    let mut segments = vec![0];
    for part in &parts {
        if part.begins_segment {
            segments.push(0);
        }
        *segments.last_mut().unwrap() += part.duration_90k;
    }
    let whole = &segments[2..segments.len() - 1];
    assert!(
        !whole.is_empty() && whole.iter().all(|length| (180_000..396_000).contains(length)),
        "{segments:?}"
    );
}

#[test]
fn times_that_wrap_at_33_bits_go_on() {
    let mut packets = looped(1);
    let plain = file(&muxed(&packets));
    // The same, but that the clock wraps in the middle: nothing else changes.
    let shift = (1 << 33) - 45_000 * 10;
    for bytes in &mut packets {
        if Packet::parse(bytes).unwrap().payload_unit_start() {
            pes::shift(media::packet::payload_mut(bytes), shift);
        }
    }
    let events = muxed(&packets);
    assert_eq!(breaks(&events), 0);
    assert!(file(&events) == plain);
}

#[test]
fn an_interruption_and_a_leap_of_time_begin_anew() {
    let packets = looped(1);
    let mut muxer = Muxer::new(CUTS);
    let mut events: Vec<Event> = packets.iter().flat_map(|packet| muxer.push(packet)).collect();
    events.extend(muxer.interrupt());
    // The clip from its beginning: 12.8 s back.
    events.extend(packets.iter().flat_map(|packet| muxer.push(packet)));
    assert_eq!((breaks(&events), inits(&events).len()), (1, 2));
    let mut muxer = Muxer::new(CUTS);
    let leap = packets.iter().chain(&packets).flat_map(|packet| muxer.push(packet)).collect::<Vec<_>>();
    assert_eq!((breaks(&leap), inits(&leap).len()), (1, 2));
}

/// What `ffprobe` says that it decoded of a stream.
fn decoded(file: &Path, stream: &str) -> usize {
    let output = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-count_frames",
            "-select_streams",
            stream,
            "-show_entries",
            "stream=nb_read_frames",
            "-of",
            "default=nk=1:nw=1",
        ])
        .arg(file)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.is_empty(), "{said}");
    let told = String::from_utf8(output.stdout).unwrap();
    told.lines().next().unwrap().parse().unwrap()
}

/// Muxes what ffmpeg makes by `encode` and has it decode the result; pictures and frames of sound.
fn round_trip(name: &str, encode: &[&str]) -> Option<(Vec<Event>, usize, usize)> {
    if Command::new("ffprobe").arg("-version").output().is_err() {
        eprintln!("SKIPPED {name}: no ffmpeg");
        return None;
    }
    let folder = std::env::temp_dir().join(format!("masthead-fmp4-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let source = folder.join("source.ts");
    let made = Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-y",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=s=320x180:r=25:d=6",
            "-f",
            "lavfi",
            "-i",
            "sine=r=48000:d=6",
        ])
        .args(encode)
        .arg(&source)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let stream = std::fs::read(&source).unwrap();
    let mut muxer = Muxer::new(CUTS);
    let mut events: Vec<Event> = stream.as_chunks().0.iter().flat_map(|packet| muxer.push(packet)).collect();
    events.extend(muxer.interrupt());
    let target = folder.join("target.mp4");
    std::fs::write(&target, file(&events)).unwrap();
    let counts =
        if inits(&events).is_empty() { (0, 0) } else { (decoded(&target, "v:0"), decoded(&target, "a:0")) };
    std::fs::remove_dir_all(&folder).unwrap();
    Some((events, counts.0, counts.1))
}

#[test]
fn ffmpeg_decodes_every_picture_and_every_sound_of_the_test_card() {
    let folder = std::env::temp_dir().join(format!("masthead-fmp4-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let target = folder.join("card.mp4");
    let mut muxer = Muxer::new(CUTS);
    let mut events: Vec<Event> = looped(2).iter().flat_map(|packet| muxer.push(packet)).collect();
    events.extend(muxer.interrupt());
    std::fs::write(&target, file(&events)).unwrap();
    if Command::new("ffprobe").arg("-version").output().is_err() {
        eprintln!("SKIPPED ffmpeg_decodes_every_picture_and_every_sound_of_the_test_card: no ffmpeg");
        return;
    }
    // The last picture's end is told by one that follows: none does.
    assert_eq!(decoded(&target, "v:0"), 2 * 320 - 1);
    let sound = decoded(&target, "a:0");
    assert!((2 * 600 - 40..=2 * 600).contains(&sound), "{sound}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn pictures_out_of_order_and_mpeg_sound_are_decoded_whole() {
    let encode = [
        "-c:v",
        "libx264",
        "-profile:v",
        "high",
        "-bf",
        "3",
        "-g",
        "25",
        "-pix_fmt",
        "yuv420p",
        "-c:a",
        "mp2",
    ];
    let Some((events, pictures, sound)) = round_trip("reordered", &encode) else { return };
    assert_eq!(inits(&events)[0].codecs, "avc1.64000c,mp4a.6B");
    assert!((149..=150).contains(&pictures) && (245..=251).contains(&sound), "{pictures} {sound}");
}

#[test]
fn h265_and_ac3_are_decoded_whole() {
    let encode = [
        "-c:v",
        "libx265",
        "-x265-params",
        "log-level=error:keyint=25",
        "-pix_fmt",
        "yuv420p",
        "-c:a",
        "ac3",
    ];
    let Some((events, pictures, sound)) = round_trip("h265", &encode) else { return };
    assert_eq!(inits(&events)[0].codecs, "hvc1.1.6.L60.90,ac-3");
    assert!((149..=150).contains(&pictures) && (180..=189).contains(&sound), "{pictures} {sound}");
}

/// DVB has AC-3 as private data with a descriptor, and no type of its own.
#[test]
fn ac3_as_dvb_carries_it_is_decoded_whole() {
    let encode = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "ac3", "-mpegts_flags", "system_b"];
    let Some((events, pictures, sound)) = round_trip("dvb", &encode) else { return };
    assert!(inits(&events)[0].codecs.ends_with(",ac-3"), "{}", inits(&events)[0].codecs);
    assert!((149..=150).contains(&pictures) && (180..=189).contains(&sound), "{pictures} {sound}");
}

#[test]
fn what_cannot_be_carried_is_said() {
    let dvb = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "eac3", "-mpegts_flags", "system_b"];
    for (name, encode, expected) in [
        ("mpeg2", &["-c:v", "mpeg2video", "-c:a", "mp2"][..], "MPEG-2 video"),
        ("eac3", &dvb[..6], "E-AC-3"),
        ("dvb-eac3", &dvb, "E-AC-3"),
    ] {
        let Some((events, ..)) = round_trip(name, encode) else { return };
        let [Event::Unsupported(reason), ..] = &events[..] else { panic!("{name}: {} events", events.len()) };
        assert!(reason.contains(expected), "{reason}");
    }
}
