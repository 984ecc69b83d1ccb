//! What one push server lacks it has from the other: after it was away, after it lost its disk, after its disk flipped a bit.
//! What a full disk, and one that cannot be written, do to recording, and what they do not.
#![expect(clippy::disallowed_methods, reason = "the test dates an archive by the wall clock")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lab::site::{Daemon, Plan, READY_LIMIT, Site};
use lab::{Command, Host, Lab, Process, timeline};
use serde::Deserialize;

use crate::viewing::Viewing;

const PATIENCE: Duration = Duration::from_secs(30);
/// How long it is recorded at a time.
const WHILE: Duration = Duration::from_secs(2);
/// Segments of an archive that is made beforehand, packets of each, and how long ago it began.
const SEGMENTS: u64 = 4;
const PACKETS: u64 = 600;
const AGE_MS: u64 = 3_600_000;
const SSRC: u32 = 0x0bad_cafe;
/// A disk that has room for 12 MB, and the 256 MiB that recording leaves free.
const DISK_BYTES: u64 = 280 << 20;

/// What `masthead-client --format json recordings` says, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Catalogue {
    channels: Vec<Listed>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Listed {
    pub(crate) faults: Vec<Fault>,
    pub(crate) ranges: Vec<Range>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Fault {
    pub(crate) push_server: String,
    pub(crate) cause: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Range {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) replicas: u16,
    pub(crate) state: String,
}

/// A site whose two push servers record channel 1, the built-in test card.
pub(crate) fn site(lab: &Lab) -> Site {
    let plan = Plan::testcard();
    let site = Site::build(lab, &plan);
    let text = plan.text().replace("\nchannels = [1]\n", "\nchannels = [1]\nrecord = { keep = \"1d\" }\n");
    fs::write(&site.topology, text).unwrap();
    site
}

/// Folder in which the push server `name` records.
pub(crate) fn folder(site: &Site, name: &str) -> PathBuf {
    site.lab.path(&format!("recordings-{name}"))
}

/// Starts a push server that records in `folder`, and waits until it says so.
pub(crate) fn start(site: &Site, daemon: Daemon, folder: &Path) -> Process {
    let command = site.command(daemon).args(["--verify-within", "3", "--recordings"]).arg(folder);
    let mut process = site.host_of(daemon).spawn(command);
    process.wait_for_line("recorded from now on", READY_LIMIT);
    process
}

/// What is listed of channel 1; `None` while the database server is away.
pub(crate) fn listed(site: &Site, viewer: &Host) -> Option<Listed> {
    let asked = site.client(viewer).args(["--format", "json", "recordings"]);
    let mut told: Catalogue = serde_json::from_slice(&viewer.output(asked).stdout).ok()?;
    told.channels.pop()
}

/// Index files under `folder`, of segments that are complete and of those that grow.
pub(crate) fn indexes(folder: &Path) -> Vec<PathBuf> {
    let days = fs::read_dir(folder.join("recordings/1")).into_iter().flatten().flatten();
    let files = days.flat_map(|day| fs::read_dir(day.path()).into_iter().flatten().flatten());
    files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|end| end == "index")).collect()
}

/// The end of an index, which a segment has once it is complete.
pub(crate) fn end_of(index: &[u8]) -> Option<&[u8]> {
    let (_, end) = index.split_at_checked(index.len().checked_sub(72)?)?;
    (index.len() > 120 && end.starts_with(b"MHEN")).then_some(end)
}

/// The files of complete segments under `folder`, by name.
pub(crate) fn segments(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for index in indexes(folder) {
        let (Ok(bytes), Ok(packets)) = (fs::read(&index), fs::read(index.with_extension("ts"))) else {
            continue;
        };
        if end_of(&bytes).is_some() {
            found.insert(index.with_extension("ts").strip_prefix(folder).unwrap().to_owned(), packets);
            found.insert(index.strip_prefix(folder).unwrap().to_owned(), bytes);
        }
    }
    found
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// RTP packet `number` of a stream whose content follows from the numbers.
fn packet(number: u64) -> Vec<u8> {
    let mut bytes = vec![0x80, 33];
    bytes.extend(u16::try_from(number % 65_536).unwrap().to_be_bytes());
    bytes.extend(u32::try_from(number * 9_000).unwrap().to_be_bytes());
    bytes.extend(SSRC.to_be_bytes());
    for n in 0..7 {
        let mut transport = [u8::try_from((number + n) % 251).unwrap(); 188];
        transport[..4].copy_from_slice(&[0x47, 1, 0, 0x10]);
        bytes.extend(transport);
    }
    bytes
}

/// Writes segments of an hour ago into `folder`, as `docs/recording.md` lays them down: an archive without a recorder.
fn write_archive(folder: &Path) {
    let began_ms = (now_ms() - AGE_MS) / 60_000 * 60_000;
    for segment in 0..SEGMENTS {
        let (first, date_ms) = (segment * PACKETS, began_ms + segment * 60_000);
        let mut index = b"MHIX\x01\0\0\0\x01\0\0\0".to_vec();
        index.extend(SSRC.to_le_bytes());
        [first, date_ms, 0].iter().for_each(|field| index.extend(field.to_le_bytes()));
        index.extend(&blake3::hash(&index).as_bytes()[..8]);
        let (mut hash, mut packets) = (blake3::Hasher::new(), Vec::new());
        for number in 0..PACKETS {
            let packet = packet(first + number);
            hash.update(&packet);
            packets.extend(&packet[12..]);
            let timestamp = u32::try_from((first + number) * 9_000).unwrap();
            index.extend(timestamp.to_le_bytes());
            index.extend(u32::try_from(number).unwrap().to_le_bytes());
            index.extend(u16::try_from(number / 10 * 100).unwrap().to_le_bytes());
            index.extend([7, 0]);
        }
        index.extend(b"MHEN\0\0\0\0");
        index.extend(u32::try_from(PACKETS).unwrap().to_le_bytes());
        index.extend([0; 4]);
        index.extend((date_ms + 60_000).to_le_bytes());
        index.extend((packets.len() as u64).to_le_bytes());
        index.extend(hash.finalize().as_bytes());
        index.extend(&blake3::hash(&index).as_bytes()[..8]);
        let path = folder.join(name(date_ms, first));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path.with_extension("ts"), packets).unwrap();
        fs::write(path.with_extension("index"), index).unwrap();
    }
}

/// Day, time, source and number, as `date` says them.
fn name(date_ms: u64, first: u64) -> String {
    let format = format!("date -u -d @{} +%Y-%m-%d/%H%M%S", date_ms / 1_000);
    format!("recordings/1/{}-{SSRC:08x}-{first}", Command::line(&format).succeed().trim())
}

/// Goal: a push server that lost its disk, was away while another segment began, or has a flipped bit, has the very files of the other
/// soon after; the catalogue goes from thin to kept; a segment that was damaged is mended, and that is told.
/// Method: an archive of an hour ago is laid down for one push server by hand, which tests the layout too. A new life of the
/// acquisition server completes a segment, so that nobody waits for minutes to end.
#[test]
fn a_push_server_has_what_it_lacks_from_the_other() {
    const NAME: &str = "a_push_server_has_what_it_lacks_from_the_other";
    let Some(lab) = Lab::open(NAME, &["date"]) else { return };
    let site = site(&lab);
    let viewer = site.viewer("anna", &site.room);
    let [hall_files, annex_files] = ["hall", "annex"].map(|name| folder(&site, name));
    write_archive(&hall_files);
    let old = segments(&hall_files);
    assert_eq!(old.len() as u64, 2 * SEGMENTS);
    let _database = site.start(Daemon::Database);
    let mut hall = start(&site, Daemon::Hall, &hall_files);
    let is = |state: &str, replicas: u16| {
        let listed = listed(&site, &viewer).unwrap_or_default();
        listed.ranges.iter().any(|range| range.state == state && range.replicas == replicas)
    };
    timeline::until("it is thin while one of two has it", PATIENCE, || is("thin", 1));
    let mut annex = start(&site, Daemon::Annex, &annex_files);
    let took = timeline::until("it is kept", PATIENCE, || is("kept", 2) && !is("thin", 1));
    assert!(segments(&annex_files) == old);
    lab.note(format_args!("lost disk: {} files fetched and listed as kept after {took:.1?}", old.len()));

    // One is away while the other goes on into another segment, and another.
    let mut acquisition = site.start(Daemon::Acquisition);
    timeline::until("both are fed", PATIENCE, || {
        acquisition.log().matches("feeding push server").count() == 2
    });
    timeline::lasts(WHILE);
    annex.kill9();
    for _ in 0..2 {
        timeline::lasts(WHILE);
        let before = segments(&hall_files).len();
        acquisition.kill9();
        acquisition.restart();
        timeline::until("a segment is complete", PATIENCE, || segments(&hall_files).len() > before);
    }
    let all = segments(&hall_files);
    assert!(all.len() >= old.len() + 4, "{:?}", all.keys());
    annex.restart();
    let equal = |wanted: &BTreeMap<PathBuf, Vec<u8>>| {
        let there = segments(&annex_files);
        wanted.iter().all(|(path, bytes)| there.get(path) == Some(bytes))
    };
    let took = timeline::until("it has what it missed", PATIENCE, || equal(&all));
    lab.note(format_args!("away over two segments: as the other's after {took:.1?}"));

    let path = all.keys().find(|path| path.extension().is_some_and(|suffix| suffix == "ts")).unwrap();
    let mut bytes = all[path].clone();
    bytes[100_000] ^= 4;
    fs::write(annex_files.join(path), bytes).unwrap();
    annex.wait_for_line("a recorded segment is damaged and counts as missing", PATIENCE);
    annex.wait_for_line("mended a damaged segment", PATIENCE);
    assert!(equal(&all));
    timeline::until("it is kept again", PATIENCE, || is("kept", 2) && !is("thin", 1));
    for (push_server, files) in [(&mut hall, &hall_files), (&mut annex, &annex_files)] {
        push_server.terminate(PATIENCE);
        let verified = Command::line("masthead-push-server --verify --recordings").arg(files).output();
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    }
}

/// A disk in memory, gone with this.
struct Disk(PathBuf);

impl Disk {
    fn mount(path: &Path) -> Self {
        fs::create_dir_all(path).unwrap();
        Command::line(&format!("mount -t tmpfs -o size={DISK_BYTES} masthead-test")).arg(path).succeed();
        Self(path.to_owned())
    }

    fn remount(&self, option: &str) {
        Command::line(&format!("mount -o remount,{option}")).arg(&self.0).succeed();
    }

    /// Likewise, as `process` sees the disk too: it has mounts of its own, which began as ours were.
    fn remount_for(&self, process: &Process, option: &str) {
        self.remount(option);
        let line = format!("nsenter --mount=/proc/{}/ns/mnt mount -o remount,{option}", process.pid());
        Command::line(&line).arg(&self.0).succeed();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::line("umount -l").arg(&self.0).output();
    }
}

/// Goal: a disk that cannot be written, and a full one, stop recording loudly and nothing else; when it can be written again,
/// recording goes on, and what was recorded before is there as it was.
/// Method: one push server records to a disk in memory, which is read-only when it starts, and which the test then has written, fills
/// and empties while somebody watches what that push server sends. (The kernel makes no disk read-only under a writer.)
#[test]
fn a_disk_that_takes_nothing_stops_recording_and_nothing_else() {
    const NAME: &str = "a_disk_that_takes_nothing_stops_recording_and_nothing_else";
    let Some(lab) = Lab::open(NAME, &["mount", "umount", "nsenter"]) else { return };
    let site = site(&lab);
    let viewer = site.viewer("anna", &site.room);
    let files = folder(&site, "hall");
    let disk = Disk::mount(&files);
    write_archive(&files);
    let before = segments(&files);
    disk.remount("ro");
    let _database = site.start(Daemon::Database);
    let _acquisition = site.start(Daemon::Acquisition);
    let mut hall = start(&site, Daemon::Hall, &files);
    site.wait_active(&viewer, 1, PATIENCE);
    let viewing = Viewing::start(&site, &viewer, 1);
    viewing.wait_for_pictures(PATIENCE);
    let hall_says = |cause: Option<&str>| {
        listed(&site, &viewer).is_some_and(|listed| {
            let fault = listed.faults.iter().find(|fault| fault.push_server == "hall");
            fault.map(|fault| fault.cause.as_str()) == cause
        })
    };
    let known = || {
        let listed = listed(&site, &viewer).unwrap_or_default();
        listed.ranges.iter().any(|range| range.state == "thin" && range.replicas == 1)
    };
    timeline::until("it is told as read-only", PATIENCE, || hall_says(Some("its disk is read-only")));
    timeline::until("what is there is listed all the same", PATIENCE, known);
    viewing.wait_to_go_on(PATIENCE);
    disk.remount_for(&hall, "rw");
    timeline::until("it records", PATIENCE, || hall_says(None));

    timeline::lasts(WHILE);
    let filler = files.join("filler");
    fs::write(&filler, vec![1; 32 << 20]).unwrap();
    timeline::until("it is told as full", PATIENCE, || hall_says(Some("its disk is full")));
    viewing.wait_to_go_on(PATIENCE);
    timeline::until("what was begun is complete", PATIENCE, || segments(&files).len() > before.len());
    fs::remove_file(&filler).unwrap();
    timeline::until("it records again", PATIENCE, || hall_says(None));
    let after = segments(&files);
    assert!(before.iter().all(|(path, bytes)| after.get(path) == Some(bytes)), "what was there is as it was");
    let stops = hall.log().matches("recording of all channels stops").count();
    let summary = viewing.finish();
    lab.note(format_args!("told {stops} times in its log; the viewer: {summary:?}"));
    hall.terminate(PATIENCE);
    let verified = Command::line("masthead-push-server --verify --recordings").arg(&files).output();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}
