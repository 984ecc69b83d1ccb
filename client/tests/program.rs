//! The program as people run it, against a site made by hand on loopback: a directory, a push server, media.
#![expect(
    clippy::disallowed_methods,
    reason = "a test of the shell: it makes sockets, threads and processes"
)]
#![expect(clippy::unwrap_used, reason = "a test, also outside of its test functions")]

mod site;

use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use protocols::ids::ChannelId;
use protocols::p2_directory::ToDatabase;

use site::Site;

/// Far above what anything here takes; reached only by a failure.
const PATIENCE: Duration = Duration::from_secs(20);

struct Client {
    command: Command,
    _cache: Option<tempfile::TempDir>,
}

fn client(directory: SocketAddr) -> Client {
    let cache = tempfile::tempdir().unwrap();
    Client { command: program(directory, cache.path()), _cache: Some(cache) }
}

fn program(directory: SocketAddr, cache: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_masthead-client"));
    command.args(["--database", &directory.to_string()]).arg("--cache").arg(cache);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Client {
    fn run(mut self, arguments: &[&str]) -> Output {
        self.command.args(arguments).output().unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A field of a summary in JSON.
fn number(summary: &[u8], field: &str) -> f64 {
    let summary: serde_json::Value = serde_json::from_slice(summary).unwrap();
    summary[field].as_f64().unwrap_or_else(|| panic!("no {field} in {summary}"))
}

fn wait(child: &mut Child) -> std::process::ExitStatus {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(begin.elapsed() < PATIENCE, "it does not end");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < PATIENCE, "never: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn channels_prints_a_table_or_json() {
    let site = Site::start("239.255.90.1");
    let out = client(site.directory).run(&["channels"]);
    assert_eq!(
        text(&out.stdout),
        "ID  NAME      STATUS\n 1  News      active\n 2  Newsreel  inactive: roof is away\n"
    );
    assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
    let out = client(site.directory).run(&["--format", "json", "channels"]);
    let list: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(list["channels"][1]["cause"], "roof is away");
    assert_eq!(list["network"], "127.0.0.0/8");
}

#[test]
fn a_kept_list_is_printed_with_its_age_when_the_directory_is_away() {
    let site = Site::start("239.255.90.2");
    let cache = tempfile::tempdir().unwrap();
    let first = program(site.directory, cache.path()).arg("channels").output().unwrap();
    site.end_directory();
    let second = program(site.directory, cache.path()).arg("channels").output().unwrap();
    assert_eq!(second.stdout, first.stdout);
    let note = text(&second.stderr);
    assert!(note.contains("does not answer") && note.contains("this is the list of "), "{note}");
    assert!(second.status.success());
    let out = client(site.directory).run(&["channels"]);
    assert_eq!(out.status.code(), Some(1), "nothing is kept elsewhere");
    assert!(text(&out.stderr).contains("no list of it is kept"), "{out:?}");
}

#[test]
fn unclear_wishes_are_answered_with_the_choice() {
    let site = Site::start("239.255.90.3");
    for (arguments, code, words) in [
        (&["watch", "ne", "--output", "-"][..], 2, "could be: 1 News, 2 Newsreel"),
        (&["watch", "9", "--output", "-"], 2, "there are: 1 News, 2 Newsreel"),
        (&["watch", "1"], 2, "add --player, --output FILE"),
        (&["watch", "1", "--output", "udp://x"], 2, "no HOST:PORT"),
        (&["watch", "1", "--output", "/nonexistent/x.ts"], 1, "/nonexistent/x.ts"),
        (&["--interface", "eth99", "channels"], 1, "no interface `eth99`"),
    ] {
        let out = client(site.directory).run(arguments);
        assert_eq!(out.status.code(), Some(code), "{arguments:?}: {out:?}");
        assert!(text(&out.stderr).contains(words), "{arguments:?}: {out:?}");
    }
}

#[test]
fn recordings_are_listed_ordered_and_given_up() {
    let site = Site::start("239.255.90.20");
    let run = |arguments: &[&str]| {
        let mut client = client(site.directory);
        client.command.env("TZ", "UTC");
        client.run(arguments)
    };
    let out = run(&["recordings"]);
    assert_eq!(
        text(&out.stdout),
        "ID  CHANNEL  FROM                 TO                   LENGTH   SIZE  REPLICAS  STATE      TITLE\n\
         1   1        2027-01-15 08:00:00  2027-01-15 08:01:00  0:01:00  0 B   0 of 1    scheduled  News\n"
    );
    let out = run(&["--format", "json", "recordings", "--channel", "News"]);
    let list: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(list["recordings"][0]["from"], "2027-01-15T08:00:00Z");
    let order = |title| ["record", "newsr", "--from", "2027-01-15 23:30", "--to", "00:15", "--title", title];
    let out = run(&order("Late"));
    let told = "recording 1: channel 2, 2027-01-15 23:30:00 to 2027-01-16 00:15:00, scheduled: Late\n";
    assert_eq!((text(&out.stdout).as_str(), out.status.code()), (told, Some(0)), "{out:?}");
    let out = run(&["unrecord", "1"]);
    assert!(out.status.success() && out.stdout.is_empty(), "{out:?}");
    for (arguments, code, words) in [
        (&order("refused")[..], 1, "remove some"),
        (&["unrecord", "2"], 1, "there is no recording 2"),
        (&["unrecord", "x"], 2, "a recording's id is a whole number"),
        (&["record", "1", "--to", "soon", "--title", "x"], 2, "is no time"),
        (&["record", "9", "--to", "+1h", "--title", "x"], 2, "there are: 1 News, 2 Newsreel"),
        (&["record", "1", "--to", "+1h"], 2, "--title"),
    ] {
        let out = run(arguments);
        assert_eq!(out.status.code(), Some(code), "{arguments:?}: {out:?}");
        assert!(text(&out.stderr).contains(words), "{arguments:?}: {out:?}");
    }
    let out = run(&["record", "1", "--event", "8"]);
    let told = "recording 1: channel 1, 2027-01-15 08:15:00 to 2027-01-15 08:30:00, scheduled: Noon\n";
    assert_eq!((text(&out.stdout).as_str(), out.status.code()), (told, Some(0)), "{out:?}");
    let out = run(&["record", "1", "--event", "9"]);
    assert_eq!(out.status.code(), Some(2), "{out:?}");
    site.end_directory();
    let out = run(&["recordings"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).contains("does not answer"), "{out:?}");
}

#[test]
fn the_guide_is_read_page_by_page_and_printed_in_each_form() {
    let site = Site::start("239.255.90.21");
    let run = |arguments: &[&str]| {
        let mut client = client(site.directory);
        client.command.env("TZ", "UTC");
        client.run(arguments)
    };
    let out = run(&["guide", "News"]);
    assert_eq!(
        text(&out.stdout),
        "CHANNEL  FROM              TO     EVENT  PROGRAMME\n\
         1 News   2027-01-15 08:00  08:15  7      Morning\n\
         1 News   2027-01-15 08:15  08:30  8      Noon\n"
    );
    let out = run(&["--format", "json", "guide", "--from", "-2h", "--until", "+6h"]);
    let guide: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(guide["channels"][0]["events"][1]["title"], "Noon");
    let out = run(&["guide", "1", "--xmltv"]);
    let document = text(&out.stdout);
    assert_eq!((document.matches("<channel ").count(), document.matches("<programme ").count()), (1, 2));
    for (arguments, words) in
        [(&["guide", "9"][..], "there are: 1 News"), (&["guide", "--from", "soon"], "is no time")]
    {
        let out = run(arguments);
        assert_eq!(out.status.code(), Some(2), "{arguments:?}: {out:?}");
        assert!(text(&out.stderr).contains(words), "{arguments:?}: {out:?}");
    }
}

#[test]
fn a_channel_is_written_byte_for_byte_from_every_kind_of_destination() {
    for destination in ["239.255.90.4", "127.255.255.255", "127.0.0.1"] {
        let site = Site::start(destination);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("out.ts");
        let out = client(site.directory).run(&[
            "--format",
            "json",
            "watch",
            "news",
            "--output",
            file.to_str().unwrap(),
            "--duration",
            "1",
        ]);
        assert!(out.status.success(), "{destination}: {out:?}");
        let bytes = std::fs::read(&file).unwrap();
        assert!(bytes.len() > 20 * 1316, "{destination}: {} bytes", bytes.len());
        assert!(site.sent_without_gap(&bytes), "{destination}");
        assert!(number(&out.stdout, "lost") + number(&out.stdout, "continuity_errors") < 0.5);
        let summary: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!(summary["bytes"], bytes.len());
    }
}

#[test]
fn loss_is_counted_and_seen_in_the_continuity_counters() {
    let site = Site::start("239.255.90.5");
    site.lose_every(10);
    let out = client(site.directory).run(&[
        "--format",
        "json",
        "watch",
        "1",
        "--output",
        "/dev/null",
        "--duration",
        "2",
    ]);
    let lost = number(&out.stdout, "lost");
    assert!(lost > 2.0, "{lost}");
    let errors = number(&out.stdout, "continuity_errors");
    assert!((errors - lost).abs() < 2.0, "{errors} of {lost}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let out = client(site.directory).run(&[
        "watch",
        "1",
        "--output",
        file.path().to_str().unwrap(),
        "--duration",
        "1",
    ]);
    assert!(out.status.success());
    assert!(!site.sent_without_gap(&std::fs::read(file.path()).unwrap()), "the check can fail");
}

#[test]
fn standard_output_carries_the_stream_and_nothing_else() {
    let site = Site::start("239.255.90.6");
    let out = client(site.directory).run(&["watch", "1", "--output", "-", "--duration", "0.5"]);
    assert!(out.status.success());
    assert!(site.sent_without_gap(&out.stdout));
    assert!(text(&out.stderr).contains("tuned to 1 News from hall/1"), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains("push servers: hall/1"));
}

#[test]
fn rtp_goes_on_as_the_very_packets_and_udp_as_seven_transport_packets() {
    for (scheme, header) in [("rtp", 12), ("udp", 0)] {
        let site = Site::start("239.255.90.7");
        let player = UdpSocket::bind("127.0.0.1:0").unwrap();
        player.set_read_timeout(Some(PATIENCE)).unwrap();
        let output = format!("{scheme}://{}", player.local_addr().unwrap());
        let mut child =
            client(site.directory).command.args(["watch", "1", "--output", &output]).spawn().unwrap();
        let mut bytes = Vec::new();
        let mut buffer = [0; 2048];
        for _ in 0..50 {
            let len = player.recv(&mut buffer).unwrap();
            assert_eq!(len, header + 1316, "{scheme}");
            bytes.extend_from_slice(&buffer[header..len]);
        }
        assert!(site.sent_without_gap(&bytes), "{scheme}");
        end(&mut child);
    }
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
}

fn end(child: &mut Child) {
    signal(child, Signal::SIGTERM);
    assert!(wait(child).success());
}

#[test]
fn signals_and_closed_pipes_end_it_cleanly_with_a_summary() {
    let site = Site::start("239.255.90.8");
    for name in [Signal::SIGINT, Signal::SIGTERM] {
        let mut child = client(site.directory).command.args(["watch", "1", "--output", "-"]).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut [0; 1880]).unwrap();
        signal(&child, name);
        let mut rest = Vec::new();
        stdout.read_to_end(&mut rest).unwrap();
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success() && text(&out.stderr).contains("continuity errors 0"), "{name}: {out:?}");
    }
    let mut child = client(site.directory).command.args(["watch", "1", "--output", "-"]).spawn().unwrap();
    child.stdout.take().unwrap().read_exact(&mut [0; 1880]).unwrap();
    assert!(wait(&mut child).success(), "the reader has gone");
}

#[test]
fn a_stalled_reader_does_not_hold_up_the_end() {
    let site = Site::start("239.255.90.9");
    let mut child = client(site.directory).command.args(["watch", "1", "--output", "-"]).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 188]).unwrap();
    let before = site.interests();
    until("renewed once", || site.interests() > before);
    signal(&child, Signal::SIGTERM);
    assert!(wait(&mut child).success());
}

#[test]
fn two_clients_of_one_host_both_see_a_group_or_a_broadcast() {
    for destination in ["239.255.90.10", "127.255.255.255"] {
        let site = Site::start(destination);
        let watch = ["--format", "json", "watch", "1", "--output", "/dev/null", "--duration", "1"];
        let children = [0, 1].map(|_| client(site.directory).command.args(watch).spawn().unwrap());
        for child in children {
            let out = child.wait_with_output().unwrap();
            assert!(number(&out.stdout, "packets") > 20.0 && number(&out.stdout, "lost") < 0.5, "{out:?}");
        }
    }
}

#[test]
fn a_kept_list_tunes_and_keeps_alive_while_the_directory_is_away() {
    let site = Site::start("239.255.90.11");
    let cache = tempfile::tempdir().unwrap();
    assert!(program(site.directory, cache.path()).arg("channels").status().unwrap().success());
    site.end_directory();
    let out = program(site.directory, cache.path())
        .args(["--format", "json", "watch", "news", "--output", "/dev/null", "--duration", "4"])
        .output()
        .unwrap();
    assert!(out.status.success(), "{out:?}");
    assert!(text(&out.stderr).contains("by the kept list"), "{}", text(&out.stderr));
    assert!(number(&out.stdout, "lost") < 0.5);
    assert!(number(&out.stdout, "time_to_first_packet_s") < 1.5, "{}", text(&out.stdout));
    assert!((1..10).contains(&site.interests()), "{}", site.interests());
}

#[test]
fn an_inactive_channel_is_waited_for_and_told_why() {
    let site = Site::start("239.255.90.12");
    let mut child = client(site.directory).command.args(["watch", "2", "--output", "-"]).spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let mut words = String::new();
    while !words.contains("channel 2 cannot be had: roof is away; waiting for it") {
        let mut byte = [0; 64];
        let len = stderr.read(&mut byte).unwrap();
        assert!(len > 0, "it ended: {words}");
        words.push_str(&text(&byte[..len]));
    }
    end(&mut child);
}

#[test]
fn a_player_is_fed_by_its_standard_input_and_its_end_ends_the_watch() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::start("239.255.90.13");
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("seen.ts");
    let player = folder.path().join("mpv");
    std::fs::write(&player, format!("#!/bin/sh\nexec head -c 131600 > {}\n", seen.display())).unwrap();
    std::fs::set_permissions(&player, PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let mut client = client(site.directory);
    client.command.env("PATH", path);
    let out = client.run(&["watch", "1", "--player"]);
    assert!(out.status.success(), "{out:?}");
    assert!(site.sent_without_gap(&std::fs::read(&seen).unwrap()));
}

#[test]
fn the_picker_searches_plays_zaps_and_leaves_the_terminal_as_it_was() {
    // `script` gives it a terminal; keys are typed when the screen shows what they wait for.
    let site = Site::start("239.255.90.14");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.ts");
    let command = format!(
        "stty rows 24 cols 80; exec {} --database {} --cache {} --output {}",
        env!("CARGO_BIN_EXE_masthead-client"),
        site.directory,
        folder.path().display(),
        file.display()
    );
    let mut child = Command::new("script")
        .args(["-qefc", &command, "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (sender, shown) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(len @ 1..) = screen.read(&mut bytes) {
            let _ = sender.send(bytes[..len].to_vec());
        }
    });
    let mut seen = Vec::new();
    let mut see = |what: &str, is: &dyn Fn(&str) -> bool| {
        let begin = Instant::now();
        while !is(&String::from_utf8_lossy(&seen)) {
            seen.extend(shown.recv_timeout(PATIENCE).unwrap_or_default());
            if begin.elapsed() > PATIENCE {
                let _ = child.kill();
                panic!("never {what}: {}", String::from_utf8_lossy(&seen));
            }
        }
    };
    // Only what appears on an empty screen is whole words: later, the screen is changed by the letter.
    see("lists", &|screen| screen.contains("Newsreel"));
    keys.write_all(b"news\r").unwrap();
    see("plays", &|_| {
        site.interests() > 0 && std::fs::metadata(&file).is_ok_and(|file| file.len() > 100_000)
    });
    keys.write_all(b"\x1b[B").unwrap();
    see("zaps", &|_| site.requests().contains(&ToDatabase::Watch { channel: ChannelId(2) }));
    keys.write_all(&[3]).unwrap();
    see("leaves the screen", &|screen| screen.contains("\x1b[?1049l"));
    assert!(wait(&mut child).success());
    assert!(site.sent_without_gap(&std::fs::read(&file).unwrap()));
}
