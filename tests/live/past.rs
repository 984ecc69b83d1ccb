//! What was recorded, as a file by HTTP. Byte n is a time: so the source must not be late, and nothing else runs beside this test.
#![expect(
    clippy::disallowed_methods,
    reason = "what slides with the present has slid for as long as real time passes"
)]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use lab::site::{Daemon, Plan, READY_LIMIT, Site};
use lab::{Command, Host, Lab, judge, timeline};

use crate::gateway::{Gateway, ask};

const PATIENCE: Duration = Duration::from_secs(20);
/// Pictures from one random access picture of the test card to the next, at most.
const GROUP: u32 = 25;

/// A recording is a file by HTTP: its length holds to the byte, and ffmpeg seeks in it.
#[test]
fn a_recording_is_a_file_that_ffmpeg_seeks_in() {
    let Some(lab) = Lab::open("a_recording_is_a_file_that_ffmpeg_seeks_in", &["ffmpeg", "ffprobe"]) else {
        return;
    };
    let plan = Plan::testcard();
    let site = Site::build(&lab, &plan);
    let text = plan.text().replace("\nchannels = [1]\n", "\nchannels = [1]\nrecord = { keep = \"1d\" }\n");
    fs::write(&site.topology, text).unwrap();
    let mut daemons = vec![site.start(Daemon::Database)];
    let folder = lab.path("recordings-hall");
    daemons.push(site.hall.spawn(site.command(Daemon::Hall).arg("--recordings").arg(folder)));
    daemons[1].wait_for_line("recorded from now on", READY_LIMIT);
    daemons.push(site.start(Daemon::Acquisition));
    let host = site.viewer("viewer", &site.room);
    site.wait_active(&host, 1, PATIENCE);
    let begun = Instant::now();
    timeline::lasts(Duration::from_secs(25));
    let gateway = Gateway::start(&site, host, &[]);
    // What slides with the present is told where it stays.
    let back = begun.elapsed().as_secs().min(20);
    let sliding = format!("/past/1.ts?from=-{back}s&to=-5s");
    let (head, _) = gateway.host.enter(|| ask(&sliding, "Connection: close\r\n", usize::MAX));
    assert!(head.starts_with("HTTP/1.1 307"), "{head}");
    let path = head.lines().find_map(|line| line.strip_prefix("location: ")).unwrap().to_owned();

    let (head, all) = gateway.host.enter(|| ask(&path, "Connection: close\r\n", usize::MAX));
    let length = |head: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        line.and_then(|text| text.parse::<usize>().ok()).unwrap_or_else(|| panic!("{head}"))
    };
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(length(&head), all.len());
    let whole = lab.path("whole.ts");
    fs::write(&whole, &all).unwrap();
    assert_eq!(judge::decode(&whole), [""; 0]);
    let (head, part) =
        gateway.host.enter(|| ask(&path, "Range: bytes=100000-299999\r\nConnection: close\r\n", usize::MAX));
    assert!(head.starts_with("HTTP/1.1 206"), "{head}");
    assert_eq!((length(&head), part.len()), (200_000, 200_000));

    // Byte n stands for n / rate, and a response begins with the random access picture before that time: the time of its first
    // picture less n / rate varies by less than what is between two such pictures.
    #[expect(clippy::cast_precision_loss, reason = "numbers of a short test")]
    let late_s = |place: usize| {
        let byte = all.len() * place / 12 + place;
        let headers = format!("Range: bytes={byte}-{}\r\nConnection: close\r\n", byte + 99_999);
        let (head, part) = gateway.host.enter(|| ask(&path, &headers, usize::MAX));
        assert!(head.starts_with("HTTP/1.1 206"), "{head}");
        let file = lab.path(&format!("part-{place}.ts"));
        fs::write(&file, part).unwrap();
        first_picture_s(&gateway.host, &file) - byte as f64 / all.len() as f64 * 15.0
    };
    let mut late_s: Vec<f64> = (0..11).map(late_s).collect();
    eprintln!("    times of first pictures less those of their bytes: {late_s:.2?}");
    late_s.sort_by(f64::total_cmp);
    // Time is when packets were recorded, and on a busy machine the source sends some pictures late: three may lie elsewhere.
    let group_s = f64::from(GROUP + 1) / 25.0;
    assert!(late_s.windows(8).any(|most| most[7] - most[0] <= group_s), "{late_s:?}");
    assert!(late_s[10] - late_s[0] <= 2.0 * group_s, "{late_s:?}");

    // ffmpeg goes to eight seconds behind the first sound. It shows nothing from before. It shows all from there, or from one of the
    // two random access pictures that follow: it looks for a byte of which the response begins before that time, but then asks for
    // some before it and skips them (a seek back within half of its buffer), and the picture that the response begins with is lost.
    // A response ends as much before the file's end as it begins before its byte: by a group of pictures at most.
    let url = Gateway::url(&path);
    let pictures = |arguments: &str| -> Vec<i64> {
        let line = format!("ffmpeg -nostdin -v error -copyts {arguments} -i {url} -map 0:v -f framemd5 -");
        let said = gateway.host.run(line.as_str());
        let times = said.lines().filter(|line| line.starts_with('0'));
        times.map(|line| line.split(',').nth(2).unwrap().trim().parse().unwrap()).collect()
    };
    let (all, rest) = (pictures(""), pictures("-ss 8"));
    let is_whole = |times: &[i64]| times.windows(2).all(|pair| pair[1] == pair[0] + 1);
    assert!(is_whole(&all) && is_whole(&rest), "{all:?} {rest:?}");
    let start = gateway.host.run(
        Command::line("ffprobe -v error -show_entries format=start_time -of csv=p=0").arg(whole.as_os_str()),
    );
    let target = (start.trim().parse::<f64>().unwrap() + 8.0) * 25.0;
    #[expect(clippy::cast_precision_loss, reason = "numbers of a short test")]
    let behind = rest[0] as f64 - target;
    let after = rest.last().unwrap() - all.last().unwrap();
    eprintln!(
        "    {} pictures, {} from 8 s on: {behind:.1} behind it, {after} after the end",
        all.len(),
        rest.len()
    );
    assert!(all.len().abs_diff(15 * 25) <= GROUP as usize, "{}", all.len());
    assert!((0.0..=2.0 * f64::from(GROUP)).contains(&behind), "{behind}");
    assert!(after.unsigned_abs() <= u64::from(GROUP), "{after}");
}

/// Presentation time of a file's first picture.
fn first_picture_s(host: &Host, file: &Path) -> f64 {
    let line = "ffprobe -v quiet -select_streams v -show_entries packet=pts_time -of csv=p=0";
    let said = host.run(Command::line(line).arg(file.as_os_str()));
    let first = said.lines().next().and_then(|line| line.trim_end_matches(',').trim().parse().ok());
    first.unwrap_or_else(|| panic!("no picture in {}: {said}", file.display()))
}
