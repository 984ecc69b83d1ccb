//! The gateway: many players on one subscription, HLS, an HDHomeRun's clients, recordings that are sought in; and that nothing stays
//! subscribed to when all have gone.
#![expect(
    clippy::disallowed_methods,
    reason = "the test speaks HTTP by itself, for as long as real time passes"
)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use lab::site::{Daemon, Plan, READY_LIMIT, Site};
use lab::{Command, Host, Lab, Process, judge, timeline};

const PATIENCE: Duration = Duration::from_secs(20);
/// A reader's end, and its subscription's: 1.2 s of linger, and what the push server takes.
const RELEASED: Duration = Duration::from_secs(2);
/// As [`RELEASED`], after a playlist was asked for.
const PLAYLIST_RELEASED: Duration = Duration::from_secs(14);
/// Pictures from one random access picture of the test card to the next, at most.
const GROUP: u32 = 25;
/// Zaps for so many minutes instead of [`SOAK`].
const SOAK_MINUTES: &str = "MASTHEAD_SOAK_MINUTES";
const SOAK: Duration = Duration::from_secs(20);

/// A gateway at work.
struct Gateway {
    host: Host,
    process: Process,
}

impl Gateway {
    fn start(site: &Site, host: Host, arguments: &[&str]) -> Self {
        let mut process = host.spawn(site.client(&host).arg("gateway").args(arguments));
        process.wait_for_line("gateway at", READY_LIMIT);
        let gateway = Self { host, process };
        timeline::until("the gateway has the list", PATIENCE, || gateway.get("/playlist.m3u").0 == 200);
        gateway
    }

    fn url(path: &str) -> String {
        format!("http://127.0.0.1:7490{path}")
    }

    /// Status and body of what is at `path`.
    fn get(&self, path: &str) -> (u16, String) {
        let (head, body) = self.host.enter(|| ask(path, "Connection: close\r\n", usize::MAX));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    /// Reads so many bytes of what is at `path`, and leaves.
    fn taste(&self, path: &str, bytes: usize) -> usize {
        self.host.enter(|| ask(path, "", bytes)).1.len()
    }

    /// What the gateway counts.
    fn figure(&self, name: &str) -> u64 {
        let text = self.get("/metrics").1;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        line.unwrap_or_else(|| panic!("no {name} in\n{text}"))
    }

    /// ffmpeg decodes `seconds` of what is at `path`; what it complains about.
    fn decode(&self, path: &str, seconds: u32) -> Vec<String> {
        // It reads initialisation segments again with each playlist, and warns that it has them already.
        let level = if path.ends_with("fmp4.m3u8") { "error" } else { "warning" };
        let line = format!("ffmpeg -nostdin -v {level} -t {seconds} -i {} -f null -", Gateway::url(path));
        let output = self.host.output(Command::line(&line));
        let said = String::from_utf8_lossy(&output.stderr);
        let mut said: Vec<String> = said.lines().map(str::to_owned).collect();
        if !output.status.success() {
            said.push(format!("ffmpeg ended with {}", output.status));
        }
        said
    }

    fn released(&self, limit: Duration) -> Duration {
        timeline::until("no subscription is left", limit, || self.figure("masthead_gateway_channels") == 0)
    }
}

/// Head and the first bytes of the body of what 127.0.0.1 answers.
pub(crate) fn ask(path: &str, headers: &str, bytes: usize) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect("127.0.0.1:7490").unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:7490\r\n{headers}\r\n").unwrap();
    let (mut got, mut piece) = (Vec::new(), vec![0; 65_536]);
    let mut body_at = None;
    loop {
        if body_at.is_none() {
            body_at = got.windows(4).position(|run| run == b"\r\n\r\n").map(|at| at + 4);
        }
        if body_at.is_some_and(|at| got.len() - at >= bytes) {
            break;
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(count) => got.extend_from_slice(&piece[..count]),
        }
    }
    let at = body_at.unwrap_or(got.len());
    (String::from_utf8_lossy(&got[..at]).into_owned(), got[at..].to_vec())
}

/// The test card as channels 1 and 2 in the room, and who watches.
fn two_channels(lab: &Lab) -> Site {
    Site::build(lab, &Plan::testcard().with_channel(2, "Two", "testcard:"))
}

/// Two players and an HLS player of one channel are one subscription, each decodes without a complaint, and it is released when they are gone.
#[test]
fn players_share_one_subscription_and_the_last_to_leave_releases_it() {
    let name = "players_share_one_subscription_and_the_last_to_leave_releases_it";
    let Some(lab) = Lab::open(name, &["ffmpeg"]) else { return };
    let site = two_channels(&lab);
    let _daemons = site.start_all();
    let host = site.viewer("viewer", &site.room);
    site.wait_active(&host, 1, PATIENCE);
    let gateway = Gateway::start(&site, host, &[]);

    std::thread::scope(|scope| {
        let players = [(); 2].map(|()| scope.spawn(|| gateway.decode("/channel/1.ts", 6)));
        timeline::until("both are served", PATIENCE, || gateway.figure("masthead_gateway_readers") == 2);
        assert_eq!(gateway.figure("masthead_gateway_subscriptions_total"), 1);
        assert_eq!(gateway.figure("masthead_gateway_channels"), 1);
        for player in players {
            assert_eq!(player.join().unwrap(), [""; 0]);
        }
    });
    timeline::report("released after the last player", gateway.released(RELEASED));

    std::thread::scope(|scope| {
        let players = ["/channel/1/index.m3u8", "/channel/One/fmp4.m3u8"];
        let players = players.map(|path| (path, scope.spawn(|| gateway.decode(path, 10))));
        for (path, player) in players {
            assert_eq!(player.join().unwrap(), [""; 0], "{path}");
        }
    });
    assert_eq!(gateway.figure("masthead_gateway_subscriptions_total"), 2);
    timeline::report("released after the last playlist", gateway.released(PLAYLIST_RELEASED));
    assert_eq!(gateway.get("/channel/9.ts").0, 404);
}

/// Zaps of all kinds, each leaving in the middle; in the end nothing is subscribed to.
#[test]
fn zaps_release_every_subscription() {
    let Some(lab) = Lab::open("zaps_release_every_subscription", &[]) else { return };
    let soak = std::env::var(SOAK_MINUTES).ok().and_then(|minutes| minutes.parse::<u64>().ok());
    let soak = soak.map_or(SOAK, |minutes| Duration::from_secs(minutes * 60));
    let site = two_channels(&lab);
    let _daemons = site.start_all();
    let host = site.viewer("viewer", &site.room);
    site.wait_active(&host, 2, PATIENCE);
    let gateway = Gateway::start(&site, host, &[]);
    let before = gateway.process.rss_bytes();
    let (begun, mut zaps) = (Instant::now(), 0_usize);
    while begun.elapsed() < soak {
        let channel = 1 + zaps % 2;
        let path = match zaps % 5 {
            0 | 1 => format!("/channel/{channel}.ts"),
            2 => format!("/auto/v{channel}"),
            3 => format!("/channel/{channel}/index.m3u8"),
            _ => format!("/channel/{channel}/fmp4.m3u8"),
        };
        assert!(gateway.taste(&path, 1_000 + zaps * 7_919 % 300_000) > 0, "zap {zaps} to {path}");
        zaps += 1;
    }
    gateway.released(PLAYLIST_RELEASED);
    assert_eq!(gateway.figure("masthead_gateway_readers"), 0);
    assert_eq!(gateway.figure("masthead_gateway_tuners_taken"), 0);
    assert_eq!(gateway.figure("masthead_gateway_too_slow_total"), 0);
    let grown = gateway.process.rss_bytes().saturating_sub(before);
    eprintln!("    {zaps} zaps in {:.0} s; memory grew by {} KiB", soak.as_secs_f64(), grown >> 10);
    assert!(grown < 200 << 20, "memory grew by {grown} bytes");
}

/// `hdhomerun_config` on another host finds the gateway, tunes it, and saves what it is sent.
#[test]
fn hdhomerun_config_finds_the_gateway_and_plays() {
    let name = "hdhomerun_config_finds_the_gateway_and_plays";
    let Some(lab) = Lab::open(name, &["ffprobe", "hdhomerun_config"]) else { return };
    let site = two_channels(&lab);
    let _daemons = site.start_all();
    let (host, viewer) = (site.viewer("gateway", &site.room), site.viewer("viewer", &site.room));
    site.wait_active(&host, 1, PATIENCE);
    let address = host.address_on(&site.room).to_string();
    let gateway = Gateway::start(
        &site,
        host,
        &["--listen", "127.0.0.1", "--listen", &address, "--hdhomerun", "--tuners", "2"],
    );

    let found = viewer.run("hdhomerun_config discover");
    assert!(found.contains(&format!("found at {address}")), "{found}");
    let config =
        |line: &str| viewer.run(format!("hdhomerun_config {address} {line}").as_str()).trim().to_owned();
    assert_eq!(config("get /sys/model"), "hdhomeruntc_atsc");
    config("set /tuner0/vchannel 1");
    assert_eq!(config("get /tuner0/streaminfo"), "1: 1 One");
    assert!(config("get /tuner0/status").starts_with("ch=auto:1 lock="));
    let file = lab.path("saved.ts");
    let mut save = viewer
        .spawn(Command::line(&format!("hdhomerun_config {address} save /tuner0")).arg(file.as_os_str()));
    timeline::until("three seconds are saved", PATIENCE, || {
        fs::metadata(&file).is_ok_and(|file| file.len() > 400_000)
    });
    assert_eq!(gateway.figure("masthead_gateway_tuners_taken"), 1);
    save.interrupt(PATIENCE);
    let probe = judge::probe(&file);
    assert_eq!(probe.streams.iter().map(|stream| stream.codec.as_str()).collect::<Vec<_>>(), ["h264", "aac"]);
    gateway.released(PATIENCE);

    // Two streams have both tuners; a third is told so.
    let (first, second) = (Gateway::url("/auto/v1"), Gateway::url("/auto/v2"));
    let busy: Vec<Process> = [first, second]
        .iter()
        .map(|url| gateway.host.spawn(Command::line(&format!("ffmpeg -nostdin -v error -i {url} -f null -"))))
        .collect();
    timeline::until("both tuners are taken", PATIENCE, || {
        gateway.figure("masthead_gateway_tuners_taken") == 2
    });
    let (head, _) = gateway.host.enter(|| ask("/auto/v1", "Connection: close\r\n", usize::MAX));
    assert!(head.starts_with("HTTP/1.1 503") && head.contains("x-hdhomerun-error: 805"), "{head}");
    drop(busy);
    timeline::until("both are free", PATIENCE, || gateway.figure("masthead_gateway_tuners_taken") == 0);
}

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
