//! Two push servers record one channel: the same files, byte for byte what the source sent, and the catalogue says so.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::site::{Daemon, Plan, READY_LIMIT, SOURCE_GROUP, Site, file_bytes};
use lab::source::{Clip, Sender};
use lab::{Command, Host, Lab, Process, judge, packets, timeline};
use serde::Deserialize;

const PATIENCE: Duration = Duration::from_secs(20);
/// Minutes to record instead of [`RECORDED`]: `MASTHEAD_RECORDING_MINUTES=30`.
const MINUTES: &str = "MASTHEAD_RECORDING_MINUTES";
/// How long it records unless told otherwise.
const RECORDED: Duration = Duration::from_secs(8);
/// A clip that is made at all times; a longer one is this one again and again, with times that go on.
const CLIP_SECONDS: u32 = 40;
/// Longest from the source to both recorders.
const ON_ITS_WAY: Duration = Duration::from_secs(1);
/// What an index ends with when its segment is complete (`docs/recording.md`), and where from its end.
const END_MARK: &[u8] = b"MHEN";
const END_BYTES: usize = 72;

/// What `masthead-client --format json recordings` says, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Catalogue {
    channels: Vec<Listed>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    recorders: u16,
    faults: Vec<serde_json::Value>,
    ranges: Vec<Range>,
}

#[derive(Debug, Deserialize)]
struct Range {
    bytes: u64,
    replicas: u16,
    state: String,
}

/// A site whose two push servers record channel 1.
struct Recording<'a> {
    site: &'a Site,
    viewer: &'a Host,
    acquisition: Process,
}

impl Recording<'_> {
    /// The acquisition server begins a new life, with a new SSRC, while nothing is sent.
    fn begin_anew(&mut self) {
        self.acquisition.kill9();
        self.acquisition.restart();
        self.wait_for_feeds();
    }

    fn wait_for_feeds(&self) {
        timeline::until("both push servers are fed", PATIENCE, || {
            self.acquisition.log().matches("feeding push server").count() == 2
        });
    }

    /// Sends the beginning of `clip` until `enough`; what was sent.
    fn send(&self, clip: &Clip, enough: impl FnOnce()) -> Vec<u8> {
        let sender = Sender::start(&self.site.source, clip, SOURCE_GROUP.parse().unwrap());
        enough();
        assert!(!sender.is_finished(), "the clip is too short");
        sender.stop()
    }

    fn catalogue(&self) -> Option<Listed> {
        let asked = self.site.client(self.viewer).args(["--format", "json", "recordings"]);
        let mut told: Catalogue = serde_json::from_slice(&self.viewer.output(asked).stdout).ok()?;
        told.channels.pop()
    }
}

/// Folder in which the push server `name` records.
fn folder(site: &Site, name: &str) -> PathBuf {
    site.lab.path(&format!("recordings-{name}"))
}

/// The packets of all segments of channel 1 under `folder`, by date.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let days = std::fs::read_dir(folder.join("recordings/1")).into_iter().flatten();
    let files = days.flat_map(|day| std::fs::read_dir(day.unwrap().path()).unwrap());
    let is_packets = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "ts");
    let mut found: Vec<PathBuf> = files.map(|file| file.unwrap().path()).filter(is_packets).collect();
    found.sort();
    found
}

/// Those of `ssrcs` with which the recorder is done.
fn complete_segments(folder: &Path, ssrcs: &BTreeSet<String>) -> Vec<PathBuf> {
    let mut found = segments(folder);
    found.retain(|ts| is_complete(ts) && ssrcs.contains(&ssrc(ts)));
    found
}

/// Whether the recorder is done with a segment.
fn is_complete(ts: &Path) -> bool {
    let index = std::fs::read(ts.with_extension("index")).unwrap_or_default();
    index.len() > END_BYTES && index[index.len() - END_BYTES..].starts_with(END_MARK)
}

/// The SSRC in the name of a segment.
fn ssrc(ts: &Path) -> String {
    let name = ts.file_stem().unwrap().to_string_lossy();
    name.split('-').nth(1).unwrap_or_else(|| panic!("{name}: TIME-SSRC-NUMBER")).to_owned()
}

fn ssrcs(folder: &Path) -> BTreeSet<String> {
    segments(folder).iter().map(|ts| ssrc(ts)).collect()
}

fn recorded() -> Duration {
    let minutes = std::env::var(MINUTES).ok();
    minutes
        .map_or(RECORDED, |minutes| Duration::from_mins(minutes.parse().expect("a whole number of minutes")))
}

/// Goal: replicas are equal file for file and hold exactly what the source sent; any tool opens each segment; the catalogue lists
/// them as held by both.
/// Method: the source begins to send, bytes that are known, when both push servers are told to record and are fed, so that both have
/// the stream from its first packet on; a new life of the acquisition server, with another SSRC, completes the last segment.
#[test]
fn two_push_servers_record_the_same_files_and_they_are_what_the_source_sent() {
    const NAME: &str = "two_push_servers_record_the_same_files_and_they_are_what_the_source_sent";
    let Some(lab) = Lab::open(NAME, &["ffmpeg", "ffprobe"]) else { return };
    let duration = recorded();
    let clip = Clip::five_megabits_for(&lab, duration.as_secs() + 20, CLIP_SECONDS);
    let plan = Plan::stream();
    let site = Site::build(&lab, &plan);
    let text = plan.text().replace("\nchannels = [1]\n", "\nchannels = [1]\nrecord = { keep = \"1d\" }\n");
    std::fs::write(&site.topology, text).unwrap();
    let viewer = site.viewer("anna", &site.room);
    let folders = ["hall", "annex"].map(|name| folder(&site, name));
    let mut daemons = vec![site.start(Daemon::Database)];
    for (daemon, folder) in [Daemon::Hall, Daemon::Annex].into_iter().zip(&folders) {
        let command = site.command(daemon).arg("--recordings").arg(folder);
        daemons.push(site.host_of(daemon).spawn(command));
    }
    for push_server in &mut daemons[1..] {
        push_server.wait_for_line("recorded from now on", READY_LIMIT);
    }
    let mut recording =
        Recording { site: &site, viewer: &viewer, acquisition: site.start(Daemon::Acquisition) };
    recording.wait_for_feeds();

    let sent = recording.send(&clip, || timeline::lasts(duration));
    timeline::lasts(ON_ITS_WAY);
    let own = ssrcs(&folders[0]);
    assert_eq!(own.len(), 1, "one life of the acquisition server, one SSRC: {own:?}");
    recording.begin_anew();
    recording.send(&clip, || {
        let next = || folders.iter().all(|folder| ssrcs(folder).len() == 2);
        timeline::until("both push servers record what comes then", PATIENCE, next);
    });

    let replicas = || folders.each_ref().map(|folder| complete_segments(folder, &own));
    let names_and_bytes = |replica: &[PathBuf]| {
        let line = |ts: &PathBuf| (ts.file_name().unwrap().to_owned(), file_bytes(ts));
        replica.iter().map(line).collect::<Vec<_>>()
    };
    // At once, unless this machine has stood still for seconds: then one fetches from the other what it has missed.
    timeline::until("both hold the same segments", PATIENCE, || {
        let [hall, annex] = replicas();
        !hall.is_empty() && names_and_bytes(&hall) == names_and_bytes(&annex)
    });
    let replicas = replicas();
    assert_equal(&folders, &replicas);
    let bytes = assert_is_what_was_sent(&lab, &sent, &replicas[0]);
    let listed = timeline::obtain_or(
        "the catalogue lists it as held by both",
        PATIENCE,
        || recording.catalogue().filter(|listed| listed.ranges.iter().any(|range| is_kept(range, bytes))),
        || format!("{:?}", recording.catalogue()),
    );
    assert!(listed.recorders == 2 && listed.faults.is_empty(), "{listed:?}");
    for folder in &folders {
        let verified =
            Command::line("masthead-push-server --verify --format json --recordings").arg(folder).output();
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    }
    lab.note(format_args!("{} segments, {bytes} bytes, at both: as sent, and kept", replicas[0].len()));
}

/// What is before it at the same hosts is in the same range, if nothing is missing between.
fn is_kept(range: &Range, bytes: u64) -> bool {
    range.state == "kept" && range.replicas == 2 && range.bytes >= bytes
}

/// Both hold the same segments, packets and index alike.
fn assert_equal(folders: &[PathBuf; 2], replicas: &[Vec<PathBuf>; 2]) {
    let names = |which: usize| {
        let name = |ts: &PathBuf| ts.strip_prefix(&folders[which]).unwrap().to_owned();
        replicas[which].iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(names(0), names(1));
    for (a, b) in replicas[0].iter().zip(&replicas[1]) {
        for extension in ["ts", "index"] {
            let [a, b] = [a, b].map(|ts| std::fs::read(ts.with_extension(extension)).unwrap());
            assert!(a == b, "{}: {extension} differs", names(0)[0].display());
        }
    }
}

/// The segments one after another are `sent` from its first random access point on, and each can be opened by itself; their bytes.
fn assert_is_what_was_sent(lab: &Lab, sent: &[u8], segments: &[PathBuf]) -> u64 {
    let mut all = Vec::new();
    for ts in segments {
        all.extend(std::fs::read(ts).unwrap());
        let probe = judge::probe(ts);
        let codecs: Vec<&str> = probe.streams.iter().map(|stream| stream.codec.as_str()).collect();
        assert_eq!((codecs, &probe.complaints[..]), (vec!["h264", "aac"], &[][..]), "{}", ts.display());
    }
    let comparison = packets::compare(sent, &all);
    lab.note(format_args!("{comparison:?} of {} sent", sent.len() / packets::PACKET_BYTES));
    assert!(comparison.is_exact() && comparison.first < 100, "{comparison:?}");
    // What comes behind the last whole datagram that both have is cut off with the old life.
    assert!(all.len() * 100 > sent.len() * 95, "{} of {} bytes", all.len(), sent.len());
    u64::try_from(all.len()).unwrap()
}
