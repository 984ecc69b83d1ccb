//! The gateway: many players on one subscription, HLS, an HDHomeRun's clients; and that nothing stays
//! subscribed to when all have gone.
#![expect(
    clippy::disallowed_methods,
    reason = "the test speaks HTTP by itself, for as long as real time passes"
)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use lab::site::{Plan, READY_LIMIT, Site};
use lab::{Command, Host, Lab, Process, judge, timeline};

const PATIENCE: Duration = Duration::from_secs(20);
/// A reader's end, and its subscription's: 1.2 s of linger, and what the push server takes.
const RELEASED: Duration = Duration::from_secs(2);
/// As [`RELEASED`], after a playlist was asked for.
const PLAYLIST_RELEASED: Duration = Duration::from_secs(14);
/// Zaps for so many minutes instead of [`SOAK`].
const SOAK_MINUTES: &str = "MASTHEAD_SOAK_MINUTES";
const SOAK: Duration = Duration::from_secs(20);

/// A gateway at work.
pub(crate) struct Gateway {
    pub(crate) host: Host,
    process: Process,
}

impl Gateway {
    pub(crate) fn start(site: &Site, host: Host, arguments: &[&str]) -> Self {
        let mut process = host.spawn(site.client(&host).arg("gateway").args(arguments));
        process.wait_for_line("gateway at", READY_LIMIT);
        let gateway = Self { host, process };
        timeline::until("the gateway has the list", PATIENCE, || gateway.get("/playlist.m3u").0 == 200);
        gateway
    }

    pub(crate) fn url(path: &str) -> String {
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
