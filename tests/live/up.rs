//! `masthead up`: television on one machine, from one command without any configuration.
#![expect(clippy::disallowed_methods, reason = "live tests are all effects: real clocks and sockets")]

use std::path::Path;
use std::time::{Duration, Instant};

use lab::{Command, Host, Lab, judge, timeline};

/// Longest that the start may take.
const START_LIMIT: Duration = Duration::from_secs(15);
/// Longest from the last viewer's leaving to silence: interest is held for 5 s.
const SILENCE_LIMIT: Duration = Duration::from_secs(6);

/// Counts UDP to a channel's port on a host's loopback, by the kernel.
struct LoopbackCounter<'a>(&'a Host);

impl<'a> LoopbackCounter<'a> {
    fn start(host: &'a Host, port: u16) -> Self {
        let rule = format!(
            "table inet heard {{ chain c {{ type filter hook input priority 0; iifname lo udp dport {port} counter; }}; }}"
        );
        host.run(Command::new("nft").arg(rule));
        Self(host)
    }

    fn packets(&self) -> u64 {
        let listing = self.0.run("nft list table inet heard");
        let after = listing.split_once("packets ").unwrap().1;
        after.split_whitespace().next().unwrap().parse().unwrap()
    }
}

/// Goal: what the README promises of `masthead up`, on a host that has nothing but loopback: it says that television is on,
/// a client lists the channels and records one that ffprobe takes, and but for that time loopback carries not one packet.
#[test]
fn up_without_configuration_is_television() {
    let Some(lab) = Lab::open("up_without_configuration_is_television", &["ffprobe", "ffmpeg", "mpv"]) else {
        return;
    };
    let host = lab.host("alone");
    let home = lab.path("home");
    std::fs::create_dir(&home).unwrap();
    let ours = |line: &str| Command::line(line).env("HOME", &home).env("XDG_CACHE_HOME", home.join("cache"));
    let media = LoopbackCounter::start(&host, 7601);

    let start = Instant::now();
    let mut up = host.spawn(ours("masthead up"));
    up.wait_for_line("Television is on", START_LIMIT);
    lab.note(format_args!("Television is on after {:.2} s", start.elapsed().as_secs_f64()));

    timeline::until("the test card is listed as active", START_LIMIT, || {
        let listed = host.output(ours("masthead-client channels"));
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        listed.status.success()
            && text.lines().any(|line| line.contains("1  Test card ") && line.ends_with("  active"))
    });
    timeline::lasts(Duration::from_secs(2));
    assert_eq!(media.packets(), 0, "nobody watches, and yet something is sent");

    let recording = lab.path("card.ts");
    let watched = host.output(ours("masthead-client watch 1 --duration 5 --output").arg(&recording));
    assert!(watched.status.success(), "{}", String::from_utf8_lossy(&watched.stderr));
    lab.note(format_args!("{}", String::from_utf8_lossy(&watched.stdout).lines().next().unwrap_or_default()));
    // It begins in the midst of a picture group: ffprobe complains of that beginning, and is asked for the streams only.
    let probe = judge::probe(&recording);
    let codecs: Vec<&str> = probe.streams.iter().map(|stream| stream.codec.as_str()).collect();
    assert!(codecs.starts_with(&["h264", "aac"]), "{codecs:?}");
    assert!(probe.streams.iter().take(2).all(|stream| stream.packets > 100), "{:?}", probe.streams);
    assert_eq!(judge::decode(&recording), Vec::<String>::new());

    assert_mpv_plays(&host, &home, ours("masthead-client watch 1 --player mpv --duration 2"));
    let left = Instant::now();
    timeline::lasts(SILENCE_LIMIT.saturating_sub(left.elapsed()));
    let at_silence = media.packets();
    assert!(at_silence > 0, "the counter counts nothing");
    timeline::lasts(Duration::from_secs(2));
    assert_eq!(media.packets(), at_silence, "6 s after the last viewer left something is still sent");

    let asked = Instant::now();
    let status = up.interrupt(Duration::from_secs(1));
    assert!(status.success(), "{status}\n{}", up.last_words());
    lab.note(format_args!("Ctrl-C: over after {:.3} s", asked.elapsed().as_secs_f64()));
}

/// `--player mpv`, told by its own configuration in `home` to show pictures to nobody and to write down what it does.
fn assert_mpv_plays(host: &Host, home: &Path, client: Command) {
    let log = home.join("mpv.log");
    let settings = home.join(".config/mpv");
    std::fs::create_dir_all(&settings).unwrap();
    std::fs::write(settings.join("mpv.conf"), format!("vo=null\nao=null\nlog-file={}\n", log.display()))
        .unwrap();
    let played = host.output(client.env("XDG_CONFIG_HOME", home.join(".config")));
    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
    let told = std::fs::read_to_string(log).unwrap();
    for words in ["VO: [null] 640x360", "starting video playback", "starting audio playback"] {
        assert!(told.contains(words), "{words} is missing\n{told}");
    }
}
