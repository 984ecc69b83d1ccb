//! A whole multiplex: each of its services is a channel that other people's parsers find whole.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::multiplex::{Elementary, Pes, multiplex};
use lab::site::{Plan, Site, file_bytes};
use lab::teletext::{self, Page};
use lab::{Command, Lab, Process, judge, packets, timeline};

const PATIENCE: Duration = Duration::from_secs(30);
/// Of the pictures, all alike but for their coding.
const SECONDS: u64 = 6;
/// Recorded of each channel at least: over a loop of the file.
const RECORDED_BYTES: u64 = 700_000;
/// `stream_type` by codec, as ffmpeg's multiplexer writes it.
const TYPES: [(&str, u8); 8] = [
    ("mpeg2video", 0x02),
    ("h264", 0x1b),
    ("hevc", 0x24),
    ("mp2", 0x03),
    ("aac", 0x0f),
    ("ac3", 0x81),
    ("dvb_teletext", 0x06),
    ("dvb_subtitle", 0x06),
];

/// The services: number, and codecs in the order of the PMT.
const SERVICES: [(u16, &[&str]); 8] = [
    (101, &["mpeg2video", "mp2"]),
    (102, &["h264", "aac"]),
    (103, &["hevc", "ac3"]),
    (104, &["h264", "mp2", "dvb_teletext"]),
    (105, &["mpeg2video", "ac3", "dvb_subtitle"]),
    (106, &["hevc", "aac"]),
    (107, &["mp2"]),
    (108, &["h264", "aac", "ac3"]),
];

/// Goal: each service of a multiplex with every common coding is a channel that is whole: ffprobe finds its codecs and
/// nothing else, ffmpeg decodes it without a word, a second parser finds its one programme with the same streams, and the
/// client lost nothing. Method: ffmpeg makes the multiplex, the acquisition server plays it in a loop and opens it once, the
/// real client receives all channels at once.
#[test]
fn each_service_of_a_multiplex_is_a_channel_of_its_own() {
    const NAME: &str = "each_service_of_a_multiplex_is_a_channel_of_its_own";
    let Some(lab) = Lab::open(NAME, &["ffmpeg", "ffprobe", "tsinfo"]) else { return };
    let file = lab.path("multiplex.ts");
    make(&lab, &file, 0x100);
    let channels: Vec<(u32, u16)> = (1..).zip(SERVICES).map(|(id, (service, _))| (id, service)).collect();
    let url = format!("file:{}", file.display());
    let site = Site::build(&lab, &Plan::testcard().with_services(&url, &channels));
    let viewer = site.viewer("anna", &site.room);
    let daemons = site.start_all();
    for &(id, _) in &channels {
        site.wait_active(&viewer, id, PATIENCE);
    }
    let watching: Vec<(PathBuf, Process)> = channels
        .iter()
        .map(|(id, service)| {
            let file = lab.path(&format!("{service}.ts"));
            let command =
                site.client(&viewer).args(["--format", "json", "watch", &id.to_string(), "--output"]);
            let process = viewer.spawn(command.arg(&file));
            (file, process)
        })
        .collect();
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemons.acquisition.pid())).unwrap();
    let open =
        open.filter(|entry| std::fs::read_link(entry.as_ref().unwrap().path()).is_ok_and(|to| to == file));
    assert_eq!(open.count(), 1, "eight channels, one input");
    // The radio service is the slowest: all are recorded for longer than the file lasts.
    timeline::until("the radio went over the loop's seam", PATIENCE, || file_bytes(&watching[6].0) > 200_000);
    timeline::until("all are recorded", PATIENCE, || {
        let enough =
            |(n, (file, _)): (usize, &(PathBuf, Process))| n == 6 || file_bytes(file) > RECORDED_BYTES / 2;
        watching.iter().enumerate().all(enough)
    });
    for ((service, codecs), (file, mut process)) in SERVICES.into_iter().zip(watching) {
        assert!(process.interrupt(PATIENCE).success(), "{service}: {}", process.last_words());
        assert_nothing_lost(&process, &["lost", "late", "continuity_errors"]);
        assert_is_whole(service, codecs, &file);
        lab.note(format_args!("{service}: {codecs:?}, {} bytes, nothing lost", file_bytes(&file)));
    }
}

/// Goal: when the multiplex changes the PIDs of a service, the channel goes on with the first packet of the new ones.
/// Method: a program writes one multiplex and, straight behind it, another with other PIDs; what the client received of the
/// second is compared with what that holds.
#[test]
fn new_pids_are_followed_from_their_first_packet_on() {
    const NAME: &str = "new_pids_are_followed_from_their_first_packet_on";
    let Some(lab) = Lab::open(NAME, &["ffmpeg"]) else { return };
    let (before, after) = (lab.path("before.ts"), lab.path("after.ts"));
    make(&lab, &before, 0x100);
    make(&lab, &after, 0x200);
    let url = format!("exec:cat {0} {0} {1} {0}", before.display(), after.display());
    let site = Site::build(&lab, &Plan::testcard().with_services(&url, &[(1, 102)]));
    let viewer = site.viewer("anna", &site.room);
    let _daemons = site.start_all();
    site.wait_active(&viewer, 1, PATIENCE);
    let file = lab.path("changed.ts");
    let watching = site.client(&viewer).args(["--format", "json", "watch", "1", "--output"]).arg(&file);
    let mut watching = viewer.spawn(watching);
    // Pictures of 102 stand behind the two streams of 101.
    let (old, new) = (0x102, 0x202);
    let sent = of_pid(&std::fs::read(&after).unwrap(), new);
    let received = || of_pid(&std::fs::read(&file).unwrap_or_default(), new);
    timeline::until("all of the new pictures", PATIENCE, || received().len() >= sent.len());
    assert!(watching.interrupt(PATIENCE).success(), "{}", watching.last_words());
    // The input's own counters break between the files that the program writes.
    assert_nothing_lost(&watching, &["lost", "late"]);
    let (received, recording) = (received(), std::fs::read(&file).unwrap());
    assert!(!of_pid(&recording, old).is_empty(), "the channel was watched before the change");
    assert!(received[..sent.len()] == sent[..], "the first {} packets are not those sent", sent.len());
    lab.note(format_args!("all {} packets of the new PID, from the first on", sent.len()));
}

/// What the client says at its end.
fn assert_nothing_lost(client: &Process, counts: &[&str]) {
    let summary: serde_json::Value =
        serde_json::from_slice(&std::fs::read(client.stdout()).unwrap()).unwrap();
    for count in counts {
        assert_eq!(summary[count], 0, "{summary}");
    }
}

fn of_pid(stream: &[u8], pid: u16) -> Vec<Vec<u8>> {
    let ours = |packet: &&[u8]| {
        packet.len() == packets::PACKET_BYTES && u16::from_be_bytes([packet[1] & 0x1f, packet[2]]) == pid
    };
    stream.chunks(packets::PACKET_BYTES).filter(ours).map(<[u8]>::to_vec).collect()
}

fn assert_is_whole(service: u16, codecs: &[&str], file: &Path) {
    let probe = judge::probe(file);
    let found: Vec<&str> = probe.streams.iter().map(|stream| stream.codec.as_str()).collect();
    assert_eq!(found, codecs, "{service}: {probe:?}");
    for stream in probe.streams.iter().filter(|stream| !stream.codec.starts_with("dvb_")) {
        assert!(stream.packets > 50, "{service}: {probe:?}");
    }
    assert_eq!(judge::decode(file), Vec::<String>::new(), "{service}");

    let told = Command::line("tsinfo").arg(file).succeed();
    let programmes: Vec<&str> =
        told.lines().filter(|line| line.trim().starts_with("Program ") && line.contains("-> PID")).collect();
    assert_eq!(programmes.len(), 1, "{service}: {told}");
    assert!(programmes[0].contains(&format!("Program {service} ")), "{service}: {told}");
    let types: Vec<String> = told
        .lines()
        .filter_map(|line| Some(line.split_once("-> Stream type ")?.1.split(' ').next()?.to_owned()))
        .collect();
    let wanted: Vec<String> = codecs
        .iter()
        .map(|codec| format!("{:02x}", TYPES.iter().find(|(known, _)| known == codec).unwrap().1))
        .collect();
    assert_eq!(types, wanted, "{service}: {told}");
}

/// The multiplex of [`SERVICES`], their streams on PIDs from `first_pid` on, in the order of the table.
fn make(lab: &Lab, file: &Path, first_pid: u16) {
    let subtitles = lab.path("subtitles.ts");
    std::fs::write(&subtitles, multiplex(&[teletext(), dvb_subtitles()])).unwrap();
    let mut command = Command::line(&format!(
        "ffmpeg -nostdin -v error -y -f lavfi -i testsrc2=s=192x108:r=25:d={SECONDS} -f lavfi -i sine=f=440:r=48000:d={SECONDS} -i"
    ))
    .arg(&subtitles);
    let (mut streams, mut options) = (0, Vec::new());
    let mut kinds = [0; 3];
    for (service, codecs) in SERVICES {
        let mut programme = format!("program_num={service}:title=Service-{service}");
        for codec in codecs {
            let (kind, source, letter, coder) = match *codec {
                "mp2" | "aac" | "ac3" => (1, "1:a", 'a', *codec),
                "dvb_teletext" => (2, "2:0", 's', "copy"),
                "dvb_subtitle" => (2, "2:1", 's', "copy"),
                "h264" => (0, "0:v", 'v', "libx264"),
                "hevc" => (0, "0:v", 'v', "libx265"),
                _ => (0, "0:v", 'v', "mpeg2video"),
            };
            command = command.args(["-map", source]);
            options.extend([format!("-c:{letter}:{}", kinds[kind]), coder.to_owned()]);
            kinds[kind] += 1;
            programme.extend([":st=", &streams.to_string()]);
            streams += 1;
        }
        options.extend(["-program".to_owned(), programme]);
    }
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    command
        .args(&options)
        .args(["-pix_fmt", "yuv420p", "-g", "25", "-bf", "0", "-sc_threshold", "0", "-preset", "ultrafast"])
        .args(["-x265-params", "log-level=error:keyint=25:min-keyint=25", "-b:v", "300k", "-b:a", "96k"])
        .args([
            "-muxrate",
            "6M",
            "-pcr_period",
            "30",
            "-mpegts_start_pid",
            &first_pid.to_string(),
            "-f",
            "mpegts",
        ])
        .arg(file)
        .succeed();
}

/// When the subtitles' times begin.
const BEGIN_90K: u64 = 90_000;

fn teletext() -> Elementary {
    let page = |text: &str| vec![Page::subtitle(0x888, &[text])];
    let transmissions = [
        (BEGIN_90K, page("one")),
        (BEGIN_90K + 180_000, page("two")),
        (BEGIN_90K + (SECONDS - 1) * 90_000, vec![]),
    ];
    teletext::elementary(0x100, teletext::descriptor(&[(*b"eng", 2, 0x888)]), &transmissions)
}

/// Display sets without a region, two a second (EN 300 743 §7.2): a page composition and its end.
fn dvb_subtitles() -> Elementary {
    let set = |n: u64| {
        let version = u8::try_from(n % 16).unwrap();
        let mut payload = vec![0x20, 0];
        payload.extend([0x0f, 0x10, 0, 1, 0, 2, 5, version << 4 | 0x08]);
        payload.extend([0x0f, 0x80, 0, 1, 0, 0, 0xff]);
        let at = BEGIN_90K + n * 45_000;
        Pes { stream_id: 0xbd, pts_90k: at, dts_90k: at, payload }
    };
    let descriptors = [&[0x59, 8], &b"eng"[..], &[0x10, 0, 1, 0, 1]].concat();
    Elementary { pid: 0x101, stream_type: 6, descriptors, packets: (0..SECONDS * 2).map(set).collect() }
}
