//! A recording is played from two push servers, one of which dies again and again; beginnings, fast forward, what cannot be played.
#![expect(
    clippy::disallowed_methods,
    reason = "the test plays while real time passes, and says how long things took"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lab::command::ours;
use lab::site::{DATABASE, Daemon, Plan, READY_LIMIT, SOURCE_GROUP, Site};
use lab::source::{Clip, Sender};
use lab::{Command, Host, Lab, Loss, Process, judge, packets, timeline};
use serde::Deserialize;

const PATIENCE: Duration = Duration::from_secs(20);
/// Deaths instead of [`DEATHS`]: `MASTHEAD_PLAYBACK_KILLS=50`.
const KILLS: &str = "MASTHEAD_PLAYBACK_KILLS";
const DEATHS: u32 = 2;
/// Of what is played, for each death: to notice it, to go on, and for the dead one to come back.
const PER_DEATH: Duration = Duration::from_secs(5);
/// Played before the first death, so that the buffer has filled.
const CALM: Duration = Duration::from_secs(4);
/// Recorded before and behind what is played.
const MARGIN: Duration = Duration::from_secs(3);
/// A clip that is made at all times; a longer one is this one again and again, with times that go on.
const CLIP_SECONDS: u32 = 40;
const BITS_PER_S: f64 = 5e6;
/// Of all datagrams, to a viewer behind a bad link and from it.
const LOSS_PERCENT: f64 = 5.0;
/// Between two random access points of the clip at most.
const GROUP_MAX: f64 = 2.1;

/// What `masthead-client --format json play` says at its end.
#[derive(Debug, Deserialize)]
struct Summary {
    bytes: u64,
    lost: u64,
    stops: u64,
    failovers: u64,
    least_buffer_s: Option<f64>,
    repairs_asked: u64,
    pictures: u64,
    torn_pictures: u64,
    continuity_errors: u64,
    output_overflows: u64,
    time_to_first_packet_s: Option<f64>,
}

/// A site of which channel 1 was recorded for a while by both push servers; the source has ended.
struct Recorded {
    site: Site,
    /// Database server, hall, annex.
    daemons: Vec<Process>,
    _acquisition: Process,
    /// What the source sent, and from when to when.
    sent: Vec<u8>,
    begun: Instant,
    ended: Instant,
}

impl Recorded {
    fn of(lab: &Lab, duration: Duration) -> Self {
        let clip = Clip::five_megabits_for(lab, duration.as_secs() + 10, CLIP_SECONDS);
        let plan = Plan::stream();
        let site = Site::build(lab, &plan);
        let text =
            plan.text().replace("\nchannels = [1]\n", "\nchannels = [1]\nrecord = { keep = \"1d\" }\n");
        fs::write(&site.topology, text).unwrap();
        let mut daemons = vec![site.start(Daemon::Database)];
        for (daemon, name) in [(Daemon::Hall, "hall"), (Daemon::Annex, "annex")] {
            let folder = lab.path(&format!("recordings-{name}"));
            let command = site.command(daemon).arg("--recordings").arg(folder);
            daemons.push(site.host_of(daemon).spawn(command));
        }
        for push_server in &mut daemons[1..] {
            push_server.wait_for_line("recorded from now on", READY_LIMIT);
        }
        let acquisition = site.start(Daemon::Acquisition);
        timeline::until("both push servers are fed", PATIENCE, || {
            acquisition.log().matches("feeding push server").count() == 2
        });
        let begun = Instant::now();
        let sender = Sender::start(&site.source, &clip, SOURCE_GROUP.parse().unwrap());
        timeline::lasts(duration);
        assert!(!sender.is_finished(), "the clip is too short");
        let (sent, ended) = (sender.stop(), Instant::now());
        Self { site, daemons, _acquisition: acquisition, sent, begun, ended }
    }

    /// How long ago `second` of the recording was, as `--from` takes it.
    fn ago(&self, second: f64) -> String {
        let ago = self.begun.elapsed().as_secs_f64() - second;
        format!("-{}s", ago.round())
    }

    /// Second of the recording at which what `file` holds was sent.
    fn second_of(&self, file: &Path) -> f64 {
        let comparison = packets::compare(&self.sent, &fs::read(file).unwrap());
        assert!(comparison.is_exact(), "{}: {comparison:?}", file.display());
        #[expect(clippy::cast_precision_loss, reason = "packets are few")]
        let bits = (comparison.first * packets::PACKET_BYTES * 8) as f64;
        bits / BITS_PER_S
    }
}

/// `masthead-client play` at work.
struct Play {
    process: Process,
    file: PathBuf,
}

impl Play {
    fn start(site: &Site, viewer: &Host, name: &str, arguments: &[&str]) -> Self {
        let file = site.lab.path(name);
        let command = site.client(viewer).args(["--format", "json", "play"]).args(arguments).arg("--output");
        Self { process: viewer.spawn(command.arg(&file)), file }
    }

    /// The push server that it said last that it plays from.
    fn serving(&self) -> Option<String> {
        let log = self.process.log();
        let line = log.lines().rfind(|line| line.contains(" from "))?;
        line.rsplit(' ').next().map(str::to_owned)
    }

    fn finish(mut self, limit: Duration) -> (Summary, PathBuf) {
        let status = self.process.wait_exit(limit);
        assert!(status.success(), "{status}\n{}", self.process.last_words());
        let told = fs::read(self.process.stdout()).unwrap();
        let summary = serde_json::from_slice(&told)
            .unwrap_or_else(|error| panic!("{error}: {}", self.process.last_words()));
        (summary, self.file)
    }
}

fn deaths() -> u32 {
    std::env::var(KILLS).map_or(DEATHS, |kills| kills.parse().expect("a whole number of deaths"))
}

/// Goal: what is played is byte for byte what the source sent, also while push servers die; a beginning is the random access point at or
/// before the time asked for; a link that loses 5 % both ways costs no packet; a fast forward shows whole pictures; what cannot be
/// played is refused.
/// Method: a stretch of known bytes is recorded by both push servers. One viewer plays it in time; whichever push server serves is
/// killed, and started again when the other has taken over. Meanwhile another viewer tries the rest.
#[test]
fn a_recording_is_played_as_it_was_sent_whichever_push_server_dies() {
    const NAME: &str = "a_recording_is_played_as_it_was_sent_whichever_push_server_dies";
    let Some(lab) = Lab::open(NAME, &["ffmpeg", "ffprobe"]) else { return };
    let played = CALM + PER_DEATH * deaths();
    let mut recorded = Recorded::of(&lab, played + MARGIN * 2);
    let [anna, bert, carl] =
        ["anna", "bert", "carl"].map(|name| recorded.site.viewer(name, &recorded.site.room));

    plays_at_full_speed(&lab, &recorded, &bert);
    mends_what_a_link_loses(&lab, &recorded, &carl);
    begins_at_random_access_points(&lab, &recorded, &bert);
    for fast in [("f", 4, 3), ("ff", 16, 2), ("fff", 64, 1)] {
        shows_whole_pictures(&lab, &recorded, &bert, fast);
    }
    refuses_what_cannot_be_played(&recorded, &bert);
    survives_deaths(&lab, &mut recorded, &anna, played);
    assert!(recorded.daemons.iter_mut().all(Process::is_running));
}

fn plays_at_full_speed(lab: &Lab, recorded: &Recorded, viewer: &Host) {
    let all = recorded.ended.duration_since(recorded.begun).as_secs_f64();
    let from = recorded.ago(3.0);
    let to = format!("+{}s", (all - 6.0).floor());
    let start = Instant::now();
    let play = Play::start(&recorded.site, viewer, "all.ts", &["One", "--from", &from, "--to", &to]);
    let (summary, file) = play.finish(PATIENCE + Duration::from_secs_f64(all));
    let took = start.elapsed().as_secs_f64();
    let comparison = packets::compare(&recorded.sent, &fs::read(&file).unwrap());
    lab.note(format_args!("{to} at full speed in {took:.1} s: {comparison:?}, {summary:?}"));
    assert!(comparison.is_exact(), "{comparison:?}");
    assert_eq!((summary.lost, summary.continuity_errors, summary.output_overflows), (0, 0, 0));
    let mut complaints = judge::decode(&file);
    if all > f64::from(CLIP_SECONDS) {
        // Where a clip begins again the sound does not go on by a whole frame: ffmpeg's own work, as it was sent.
        complaints.retain(|complaint| !complaint.contains("non monotonically increasing dts"));
    }
    assert_eq!(complaints, Vec::<String>::new());
}

fn mends_what_a_link_loses(lab: &Lab, recorded: &Recorded, viewer: &Host) {
    let _loss = recorded.site.room.lossy_both_ways(viewer, "meta l4proto udp", Loss::Percent(LOSS_PERCENT));
    let streamed = recorded.site.room.sent_by(
        recorded.site.host_of(Daemon::Hall),
        &format!("udp sport 7405 ip daddr {}", viewer.address()),
    );
    for (speed, seconds) in [("normal", 6), ("max", 8)] {
        let (from, to) = (recorded.ago(3.0), format!("+{seconds}s"));
        let play = ["One", "--from", &from, "--to", &to, "--speed", speed];
        let play = Play::start(&recorded.site, viewer, &format!("lossy-{speed}.ts"), &play);
        let (summary, file) = play.finish(PATIENCE);
        let comparison = packets::compare(&recorded.sent, &fs::read(&file).unwrap());
        lab.note(format_args!("{LOSS_PERCENT} % lost, {speed} speed: {comparison:?}, {summary:?}"));
        assert!(comparison.is_exact(), "{speed}: {comparison:?}");
        assert_eq!((summary.lost, summary.stops, summary.continuity_errors), (0, 0, 0), "{summary:?}");
        assert!(summary.repairs_asked > 0, "{summary:?}");
    }
    lab.note(format_args!("one push server sent {} packets of both", streamed.packets()));
}

fn begins_at_random_access_points(lab: &Lab, recorded: &Recorded, viewer: &Host) {
    for second in [3.0, 4.0, 5.0, 6.0, 7.0] {
        let asked = recorded.ago(second);
        let at = recorded.begun.elapsed().as_secs_f64() - asked[1..asked.len() - 1].parse::<f64>().unwrap();
        let play = Play::start(&recorded.site, viewer, "seek.ts", &["One", "--from", &asked, "--to", "+2s"]);
        let (_, file) = play.finish(PATIENCE);
        let begins = recorded.second_of(&file);
        lab.note(format_args!("asked for second {at:.2}, begins at {begins:.2}"));
        assert!(
            begins < at + 0.5 && begins > at - GROUP_MAX - 0.5,
            "asked for {at:.2}, begins at {begins:.2}"
        );
        let probe = judge::probe(&file);
        assert!(probe.complaints.is_empty(), "a decoder can begin there: {probe:?}");
    }
}

/// Fast forward at `times` the speed, which `keys` are typed for, shows `at_least` pictures.
fn shows_whole_pictures(
    lab: &Lab,
    recorded: &Recorded,
    viewer: &Host,
    (keys, times, at_least): (&str, u32, u64),
) {
    let file = recorded.site.lab.path(&format!("fast-{times}.ts"));
    let from = recorded.ago(3.0);
    // The keys at once, so that nothing is in the file before the pictures; then the end.
    let typed = format!(
        "(printf {keys}; sleep 3; printf q) | {} --database {DATABASE} --format json play One --keys --speed normal --from {from} \
         --output {}",
        ours("masthead-client").display(),
        file.display()
    );
    let told = viewer.output(Command::new("sh").arg("-c").arg(typed));
    let summary: Summary = serde_json::from_slice(&told.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&told.stderr)));
    lab.note(format_args!("fast forward at {times} times the speed: {summary:?}"));
    assert!(summary.pictures >= at_least && summary.torn_pictures == 0, "{summary:?}");
    // A faster one comes to the end of the recording before `q` is typed, and plays on from there.
    assert!(summary.bytes == 0 || times > 4, "{summary:?}");
    // The PMT names a sound, of which pictures alone have none; and what ffmpeg puts out has a frame rate, which pictures of a
    // fast forward have not: two may be rounded to one tick. That is all that there is to complain of.
    let of_others = ["stream 1", "analyzeduration", "non monotonically increasing dts to muxer"];
    let complaints = judge::decode(&file);
    let of_pictures: Vec<&String> = complaints
        .iter()
        .filter(|complaint| !of_others.iter().any(|words| complaint.contains(words)))
        .collect();
    assert!(of_pictures.is_empty(), "{of_pictures:?}");
}

fn refuses_what_cannot_be_played(recorded: &Recorded, viewer: &Host) {
    for (arguments, code, words) in [
        (&["99"][..], 2, "there is no recording 99"),
        (&["Nothing"], 2, "no recording `Nothing` here"),
        (&["One"], 2, "say from when"),
        (&["One", "--from", "+1h"], 1, "has not begun"),
        (&["One", "--from", "-3m", "--to", "-4m"], 2, "ends later than it begins"),
        (&["One", "--from", "-3m", "--buffer", "0.5"], 2, "too small"),
    ] {
        let command =
            recorded.site.client(viewer).arg("play").args(arguments).args(["--output", "/dev/null"]);
        let out = viewer.output(command);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(
            out.status.code() == Some(code) && said.contains(words),
            "{arguments:?}: {:?}, {said}",
            out.status
        );
    }
}

fn survives_deaths(lab: &Lab, recorded: &mut Recorded, viewer: &Host, played: Duration) {
    let from = recorded.ago(MARGIN.as_secs_f64());
    let to = format!("+{}s", played.as_secs());
    let play = ["One", "--from", &from, "--to", &to, "--speed", "normal"];
    let mut play = Play::start(&recorded.site, viewer, "deaths.ts", &play);
    timeline::lasts(CALM);
    for death in 0..deaths() {
        let circumstances = play.process.last_words();
        let serving = timeline::obtain_or("it plays", PATIENCE, || play.serving(), || circumstances.clone());
        let daemon = &mut recorded.daemons[if serving == "hall" { 1 } else { 2 }];
        let killed = Instant::now();
        daemon.kill9();
        let moved = || play.serving().filter(|other| *other != serving);
        let last_words = || play.process.last_words();
        timeline::obtain_or("another push server plays on", PATIENCE, moved, last_words);
        daemon.restart();
        daemon.wait_for_line("ready", READY_LIMIT);
        lab.note(format_args!("death {death}: {serving}, moved and back after {:?}", killed.elapsed()));
        let rest = PER_DEATH.saturating_sub(killed.elapsed());
        if death + 1 < deaths() {
            timeline::lasts(rest);
        }
    }
    assert!(play.process.is_running(), "the recording is too short: {}", play.process.last_words());
    let (summary, file) = play.finish(played + PATIENCE);
    let comparison = packets::compare(&recorded.sent, &fs::read(&file).unwrap());
    lab.note(format_args!("{} deaths: {comparison:?}, {summary:?}", deaths()));
    assert!(comparison.is_exact(), "{comparison:?}");
    assert_eq!((summary.lost, summary.stops, summary.continuity_errors), (0, 0, 0), "{summary:?}");
    assert!(summary.failovers >= u64::from(deaths()), "{summary:?}");
    // Counted from the first time that it was half full, which deaths that follow one another may keep it from.
    assert!(summary.least_buffer_s.is_none_or(|least| least > 0.0), "{summary:?}");
    assert!(summary.time_to_first_packet_s.is_some());
    #[expect(clippy::cast_precision_loss, reason = "some megabytes")]
    let seconds = summary.bytes as f64 * 8.0 / BITS_PER_S;
    assert!(seconds > played.as_secs_f64() * 0.95, "{seconds:.1} s of {played:?}");
}
