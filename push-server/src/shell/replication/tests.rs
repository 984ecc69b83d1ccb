//! Hosts that copy from each other over loopback, with real files: what makes them equal again, and what a peer that does
//! not keep to the rules costs. Recorders, doors and threads are those of the daemon; orders come from the test.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use link::frames;
use link::session::{self, Session};
use protocols::handshake::Hello;
use protocols::ids::{BootId, ChannelId, HostId};
use protocols::p3_replica::{Answer, Ask, Caller, Listed, MAX_ASK_BYTES, SEGMENTS_PER_PAGE};
use protocols::preamble::{Protocol, Refusal};
use protocols::recording::{RecordOrder, RecordPeer};
use protocols::time::Time;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::recording::Segment;
use crate::recording::trial::{self, RATE, Sent};
use crate::shell::openings::{self, Admit};
use crate::shell::recorder::{Archive, verify};

const CHANNEL: ChannelId = ChannelId(7);
const SSRC: u32 = 0x5f3a_77c1;
/// Packets of a slot.
const SLOT: u64 = 60 * RATE;
/// Bytes of transport packets in a slot.
const SLOT_BYTES: u64 = SLOT * 7 * 188;
/// Longest wait for another thread.
const PATIENCE: Duration = Duration::from_secs(30);
const KEEP_S: u32 = 7 * 24 * 3_600;

fn identity(host: &str) -> Identity {
    Identity { host: host.parse().unwrap(), boot_id: BootId(1), key: ClusterKey::new([7; 32]) }
}

fn options(data: &Path) -> recorder::Options {
    let ms = Duration::from_millis;
    recorder::Options {
        reserve_bytes: 0,
        flush_interval: ms(3),
        retry_interval: ms(20),
        sweep_interval: ms(5),
        replication: Options {
            rate_bps: 10_000_000_000,
            intervals: Intervals { look: ms(20), longest: ms(40), retry: ms(20) },
            sweep_interval: ms(5),
            patience: ms(500),
            slowest_bps: SLOWEST_BPS,
        },
        ..recorder::Options::new(data.to_owned())
    }
}

/// Packets dated from an hour ago on, so that they are neither too old nor of the future.
fn sent(numbers: Range<u64>) -> impl Iterator<Item = Sent> {
    let began = began_ms();
    numbers.map(move |number| Sent { date_ms: began + number / RATE * 1_000, ..trial::sent(SSRC, number) })
}

/// The beginning of a slot an hour ago, when the first test asked; also for the processes that it starts.
fn began_ms() -> u64 {
    static BEGAN: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    *BEGAN.get_or_init(|| {
        let given = std::env::var(CHILD_BEGAN).ok().and_then(|text| text.parse().ok());
        given.unwrap_or_else(|| (link::clock::Clock::wall().0 / 60_000 - 60) * 60_000)
    })
}

/// Records packets from start to end.
fn record(data: &Path, packets: impl Iterator<Item = Sent>) {
    let recorder = Recorder::start(&options(data)).unwrap();
    let mut intake = recorder.intake(CHANNEL);
    packets.for_each(|sent| intake.take(Time::ZERO, &sent.bytes, sent.number, sent.date_ms));
    intake.hand_over();
}

/// Two data folders: the first was fed all of the numbers, the second those of the ranges, one run of the recorder each.
fn recorded<const N: usize>(all: Range<u64>, parts: [Range<u64>; N]) -> [TempDir; 2] {
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    record(folders[0].path(), sent(all));
    parts.into_iter().for_each(|part| record(folders[1].path(), sent(part)));
    folders
}

/// Every file of the recordings but those that are no segments, by name.
fn files(data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![data.join("recordings")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if path.is_dir() && !hidden {
                folders.push(path);
            } else if !hidden {
                // Deleted since it was listed: another look will tell.
                let Ok(bytes) = fs::read(&path) else { continue };
                found.insert(path.strip_prefix(data).unwrap().to_owned(), bytes);
            }
        }
    }
    found
}

fn incoming(data: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(data.join("recordings/.incoming")) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Waits for another thread.
async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn until_equal(theirs: &Path, ours: &Path) {
    let wanted = files(theirs);
    until("the replicas are equal", || files(ours) == wanted).await;
}

/// A host with its recorder, its door, and its replication.
struct Host {
    replication: Replication,
    recorder: Recorder,
    at: SocketAddr,
    door: tokio::task::JoinHandle<()>,
}

impl Host {
    async fn start(name: &str, options: &recorder::Options) -> Self {
        let identity = identity(name);
        let recorder = Recorder::start(options).unwrap();
        let replication = Replication::start(&identity, options, &recorder).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let key = identity.key.host_key(&identity.host);
        let guests = Some(replication.guests());
        let admit = Admit { host: identity.host, key, boot_id: identity.boot_id, guests };
        let door = tokio::spawn(openings::admit(listener, admit, mpsc::channel(1).0));
        Self { replication, recorder, at, door }
    }

    /// The channel is recorded here, and at these others.
    fn order(&self, peers: &[(&str, SocketAddr)]) {
        self.archive().order(CHANNEL, Some(order(peers)));
    }

    fn archive(&self) -> &Arc<Archive> {
        self.recorder.archive()
    }

    fn count(&self, pick: impl Fn(&Counts) -> &AtomicU64) -> u64 {
        pick(self.replication.counts()).load(Ordering::Relaxed)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.door.abort();
    }
}

fn order(peers: &[(&str, SocketAddr)]) -> RecordOrder {
    let peer = |(host, feed): &(&str, SocketAddr)| RecordPeer { host: host.parse().unwrap(), feed: *feed };
    RecordOrder { keep_s: KEEP_S, protected: Vec::new(), peers: peers.iter().map(peer).collect() }
}

/// Two hosts that record the same channel.
async fn pair(folders: &[TempDir; 2]) -> [Host; 2] {
    let hosts = [
        Host::start("attic", &options(folders[0].path())).await,
        Host::start("hall", &options(folders[1].path())).await,
    ];
    introduce(&hosts);
    hosts
}

fn introduce(hosts: &[Host; 2]) {
    hosts[0].order(&[("hall", hosts[1].at)]);
    hosts[1].order(&[("attic", hosts[0].at)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_lost_its_disk_has_all_again() {
    let folders = recorded(0..4 * SLOT, []);
    let hosts = pair(&folders).await;
    until_equal(folders[0].path(), folders[1].path()).await;
    // A segment is counted when it is taken in: its files are there already.
    until("all are counted", || hosts[1].count(|counts| &counts.fetched) == 4).await;
    assert_eq!(hosts[0].count(|counts| &counts.fetched), 0, "the other has nothing to gain");
    assert_eq!(hosts[1].archive().extents(CHANNEL), hosts[0].archive().extents(CHANNEL));
    assert!(incoming(folders[1].path()).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_were_away_fill_their_holes_from_each_other() {
    let all = 0..4 * SLOT;
    // Away over a boundary of slots, and within one; the other is away at another time.
    let folders = recorded(0..0, [0..SLOT + 300, 2 * SLOT + 100..4 * SLOT]);
    let whole = TempDir::new().unwrap();
    record(whole.path(), sent(all));
    record(folders[0].path(), sent(0..3 * SLOT + 50));
    record(folders[0].path(), sent(3 * SLOT + 90..4 * SLOT));
    let hosts = pair(&folders).await;
    // Nobody has slot 3 whole but the second host, nobody slots 1 and 2 but the first.
    until_equal(whole.path(), folders[0].path()).await;
    until_equal(whole.path(), folders[1].path()).await;
    until("there is no hole", || hosts[0].archive().extents(CHANNEL).len() == 1).await;
    assert_eq!(hosts.each_ref().map(|host| host.count(|counts| &counts.lies)), [0, 0]);
    drop(hosts);
    assert_eq!(verify::all(folders[1].path()).unwrap().damaged, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_is_mended_from_the_peer_whoever_finds_it() {
    let folders = recorded(0..4 * SLOT, []);
    record(folders[1].path(), sent(0..4 * SLOT));
    let wanted = files(folders[0].path());
    let flip = |place: usize| {
        let path =
            files(folders[1].path()).into_keys().filter(|path| path.extension().unwrap() == "ts").nth(place);
        let path = folders[1].path().join(path.unwrap());
        let mut bytes = fs::read(&path).unwrap();
        bytes[123_456] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
    };
    flip(1);
    flip(3);
    assert_ne!(files(folders[1].path()), wanted);
    let quick = recorder::Options { verify_within: Duration::from_millis(50), ..options(folders[1].path()) };
    let hosts = [Host::start("attic", &options(folders[0].path())).await, Host::start("hall", &quick).await];
    introduce(&hosts);
    until("both are mended", || hosts[1].count(|counts| &counts.mended) == 2).await;
    assert_eq!(files(folders[1].path()), wanted);
    assert_eq!(hosts[1].archive().extents(CHANNEL).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_found_before_it_is_given_to_a_peer() {
    let folders = recorded(0..3 * SLOT, []);
    let path = files(folders[0].path()).into_keys().find(|path| path.extension().unwrap() == "ts").unwrap();
    let path = folders[0].path().join(path);
    let mut bytes = fs::read(&path).unwrap();
    bytes[5_000] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let hosts = pair(&folders).await;
    until("the others have come", || hosts[1].count(|counts| &counts.fetched) == 2).await;
    until("it is known", || hosts[0].archive().segments(CHANNEL).len() == 2).await;
    assert_eq!(hosts[1].count(|counts| &counts.lies), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_sound_segments_that_differ_both_hosts_keep_the_same() {
    let other = |numbers: Range<u64>| {
        sent(numbers).map(|mut sent| {
            // Padding, in the one that another wrote.
            *sent.bytes.last_mut().unwrap() ^= 0xff;
            sent
        })
    };
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    record(folders[0].path(), sent(0..2 * SLOT));
    record(folders[1].path(), sent(0..SLOT).chain(other(SLOT..2 * SLOT)));
    let lower = folders.each_ref().map(|folder| verify::all(folder.path()).unwrap().segments[1].hash.clone());
    let kept = files(folders[usize::from(lower[1] < lower[0])].path());
    let hosts = pair(&folders).await;
    until("both are as the one", || folders.iter().all(|folder| files(folder.path()) == kept)).await;
    let replaced = || hosts.iter().map(|host| host.count(|counts| &counts.replaced)).sum::<u64>();
    until("it is counted", || replaced() >= 1).await;
    assert_eq!(replaced(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_is_whole_here_and_holed_there_is_kept() {
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    record(folders[0].path(), sent(0..2 * SLOT).filter(|sent| sent.number != 100));
    record(folders[1].path(), sent(0..SLOT));
    let whole = files(folders[1].path());
    let hosts = pair(&folders).await;
    let theirs = files(folders[0].path()).into_iter().filter(|(path, _)| !whole.contains_key(path));
    let wanted: BTreeMap<PathBuf, Vec<u8>> = whole.clone().into_iter().chain(theirs).collect();
    until("both have the whole ones", || folders.iter().all(|folder| files(folder.path()) == wanted)).await;
    until("there is no hole", || hosts[0].archive().extents(CHANNEL).len() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_copied_faster_than_it_may_be() {
    let folders = recorded(0..2 * SLOT, []);
    let slow = |data: &Path| {
        let options = options(data);
        let replication = Options { rate_bps: 16_000_000, ..options.replication.clone() };
        recorder::Options { replication, ..options }
    };
    let began = Instant::now();
    let hosts = [
        Host::start("attic", &slow(folders[0].path())).await,
        Host::start("hall", &slow(folders[1].path())).await,
    ];
    introduce(&hosts);
    until_equal(folders[0].path(), folders[1].path()).await;
    let at_least = Duration::from_millis(2 * SLOT_BYTES * 8 / 16_000 - 200);
    assert!(began.elapsed() >= at_least, "{:?} for what takes {at_least:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_record_the_channel_is_given_nothing_of_it() {
    let folders = recorded(0..2 * SLOT, []);
    let attic = Host::start("attic", &options(folders[0].path())).await;
    let hall = Host::start("hall", &options(folders[1].path())).await;
    attic.order(&[("loft", hall.at)]);
    hall.order(&[("attic", attic.at)]);
    until("it is refused", || hall.count(|counts| &counts.failures) >= 2).await;
    assert_eq!((hall.archive().complete(), hall.count(|counts| &counts.told)), (0, 1));
    // Another cluster's host does not even come in; nor does this one as somebody else.
    let stranger = Identity { key: ClusterKey::new([8; 32]), ..identity("loft") };
    let attic_peer = RecordPeer { host: "attic".parse().unwrap(), feed: attic.at };
    assert!(peer::Peer::call(&stranger, &attic_peer, PATIENCE).await.is_err());
    assert!(peer::Peer::call(&identity("attic"), &attic_peer, PATIENCE).await.is_err(), "itself");
    let mut genuine = peer::Peer::call(&identity("loft"), &attic_peer, PATIENCE).await.unwrap();
    let from = protocols::p3_replica::Name::default();
    let page = genuine.ask(&Ask::List { channel: CHANNEL, from }).await.unwrap();
    assert!(matches!(page, Answer::Page { segments, more: false } if segments.len() == 2));
    let other = genuine.ask(&Ask::List { channel: ChannelId(8), from }).await.unwrap_err();
    assert_eq!(other.to_string(), "refused: channel 8 is not configured at this push server");
}

const CHILD_DATA: &str = "MASTHEAD_TEST_REPLICA_DATA";
const CHILD_PEER: &str = "MASTHEAD_TEST_REPLICA_PEER";
const CHILD_BEGAN: &str = "MASTHEAD_TEST_REPLICA_BEGAN";

/// Fetches slowly, until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the test below, to be killed"]
async fn a_host_to_be_killed() {
    let (Ok(data), Ok(peer)) = (std::env::var(CHILD_DATA), std::env::var(CHILD_PEER)) else { return };
    let mut options = options(Path::new(&data));
    options.replication.rate_bps = 4_000_000;
    let hall = Host::start("hall", &options).await;
    hall.order(&[("attic", peer.parse().unwrap())]);
    tokio::time::sleep(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_that_was_killed_goes_on_at_its_last_whole_packet() {
    let folders = recorded(0..2 * SLOT, []);
    let attic = Host::start("attic", &options(folders[0].path())).await;
    attic.order(&[("hall", attic.at)]);
    let came = || {
        let files = incoming(folders[1].path());
        let ts = files.iter().find(|path| path.extension().unwrap() == "ts");
        ts.and_then(|path| fs::metadata(path).ok()).map_or(0, |ts| ts.len())
    };
    for at_least in [SLOT_BYTES / 5, SLOT_BYTES / 2] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "shell::replication::tests::a_host_to_be_killed"])
            .env(CHILD_DATA, folders[1].path())
            .env(CHILD_PEER, attic.at.to_string())
            .env(CHILD_BEGAN, began_ms().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("a part has come", || came() >= at_least).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(files(folders[1].path()).is_empty(), "a part is no segment");
    assert!(verify::all(folders[1].path()).unwrap().segments.is_empty());
    // Half a packet behind it, as a disk that is written to leaves it.
    let ts = incoming(folders[1].path()).into_iter().find(|path| path.extension().unwrap() == "ts").unwrap();
    let mut bytes = fs::read(&ts).unwrap();
    bytes.truncate(bytes.len() - 100);
    fs::write(&ts, &bytes).unwrap();
    let before = attic.count(|counts| &counts.given_bytes);
    let hall = Host::start("hall", &options(folders[1].path())).await;
    hall.order(&[("attic", attic.at)]);
    until_equal(folders[0].path(), folders[1].path()).await;
    assert_eq!(hall.count(|counts| &counts.resumed), 1);
    let given = attic.count(|counts| &counts.given_bytes) - before;
    assert!(given < 2 * SLOT_BYTES - SLOT_BYTES / 3, "{given} bytes: what was there was fetched again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_was_spoilt_is_fetched_anew() {
    let folders = recorded(0..SLOT, []);
    let attic = Host::start("attic", &options(folders[0].path())).await;
    attic.order(&[("hall", attic.at)]);
    let segment = attic.archive().segments(CHANNEL)[0];
    let theirs = crate::shell::recorder::disk::Paths::of(attic.archive().root(), CHANNEL, segment.name);
    let root = folders[1].path().join("recordings");
    let index = fs::read(&theirs.index).unwrap();
    let mut arriving = incoming::Arriving::begin(&root, CHANNEL, &segment, &index).unwrap();
    arriving.add(&vec![0x47; 500_000]).unwrap();
    drop(arriving);
    let hall = Host::start("hall", &options(folders[1].path())).await;
    hall.order(&[("attic", attic.at)]);
    until_equal(folders[0].path(), folders[1].path()).await;
    assert_eq!(hall.count(|counts| &counts.lies), 0, "it is not the peer's fault");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adoption_that_was_cut_short_between_its_two_files_is_finished() {
    let folders = recorded(0..SLOT, []);
    let theirs = Recorder::start(&options(folders[0].path())).unwrap();
    let segment = theirs.archive().segments(CHANNEL)[0];
    let from = crate::shell::recorder::disk::Paths::of(theirs.archive().root(), CHANNEL, segment.name);
    let root = folders[1].path().join("recordings");
    let to = crate::shell::recorder::disk::Paths::of(&root, CHANNEL, segment.name);
    let left = crate::shell::recorder::disk::Incoming::of(&root, CHANNEL, segment.name);
    fs::create_dir_all(&to.day).unwrap();
    fs::create_dir_all(&left.folder).unwrap();
    fs::copy(&from.ts, &to.ts).unwrap();
    fs::copy(&from.index, &left.index).unwrap();
    let recorder = Recorder::start(&options(folders[1].path())).unwrap();
    assert_eq!(recorder.archive().segments(CHANNEL), [segment]);
    assert_eq!(files(folders[0].path()), files(folders[1].path()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_goes_on_with_is_thrown_away() {
    let data = TempDir::new().unwrap();
    let folder = data.path().join("recordings/.incoming");
    fs::create_dir_all(&folder).unwrap();
    for number in 0..40 {
        fs::write(folder.join(format!("{number}")), b"x").unwrap();
    }
    let now = std::time::SystemTime::now();
    let root = data.path().join("recordings");
    assert_eq!(incoming::clean(&root, now).unwrap(), 8, "too many");
    assert_eq!(incoming::clean(&root, now).unwrap(), 0);
    assert_eq!(incoming::clean(&root, now + Duration::from_secs(3_601)).unwrap(), 32, "too old");
    assert_eq!(incoming::clean(&data.path().join("nothing"), now).unwrap(), 0);
}

/// How a peer does not keep to the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    /// Other packets than those of the hash.
    Packets,
    /// An index of another segment.
    Index,
    /// More bytes than were listed.
    Length,
    /// More bytes than it said.
    Excess,
    /// A list without an end.
    EndlessList,
    /// A list that goes round.
    Round,
    /// A segment of a million terabytes.
    Impossible,
    /// Segments that it does not have.
    Nothing,
    /// An answer that never comes.
    Silence,
    /// A byte now and then.
    Slow,
    /// A frame that is longer than any may be.
    Frame,
    /// Something else than was asked for.
    Rubbish,
}

/// Listens as `loft`, and tells `lie` to whoever asks. `truth`: a segment, its index and its transport packets.
async fn liar(lie: Lie, truth: Arc<(Segment, Vec<u8>, Vec<u8>)>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let truth = truth.clone();
            tokio::spawn(async move {
                let loft = identity("loft");
                let key = loft.key.host_key(&loft.host);
                let key_of = |hello: &Hello| Ok::<_, Refusal>(Caller::of(hello).unwrap().key(&key));
                let accepted = session::accept(&mut stream, Protocol::Feed, BootId(3), key_of).await;
                let Ok((_, mut session)) = accepted else { return };
                let mut asked = 0;
                while let Ok(Some(body)) =
                    session::read_sealed(&mut stream, &mut session.opener, MAX_ASK_BYTES + 16).await
                {
                    let ask: Ask = protocols::codec::decode::<Ask, MAX_ASK_BYTES>(&body).unwrap();
                    asked += 1;
                    if tell(lie, &truth, &ask, asked, &mut stream, &mut session).await.is_none() {
                        return;
                    }
                }
            });
        }
    });
    at
}

async fn tell(
    lie: Lie,
    truth: &(Segment, Vec<u8>, Vec<u8>),
    ask: &Ask,
    asked: u64,
    stream: &mut TcpStream,
    session: &mut Session,
) -> Option<()> {
    let (segment, index, packets) = truth;
    let line = Listed {
        ssrc: segment.name.ssrc,
        number: segment.name.number,
        date_ms: segment.date_ms,
        end_date_ms: segment.end_date_ms,
        packets: segment.packets,
        missing: segment.missing,
        length_bytes: segment.length_bytes,
        hash: segment.hash,
    };
    let line_of = |n: u64| Listed { number: segment.name.number + n, ..line };
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    let answer = match (ask, lie) {
        (_, Lie::Silence) => std::future::pending().await,
        (_, Lie::Frame) => {
            frames::write_frame(stream, &vec![0; 200_000]).await.ok()?;
            return None;
        }
        (_, Lie::Rubbish) => Answer::Bytes(7),
        (Ask::List { from, .. }, Lie::EndlessList) => {
            // Long over: nothing of it is worth fetching.
            let old = |n: u64| Listed {
                number: n,
                date_ms: from.date_s * 1_000,
                end_date_ms: from.date_s * 1_000 + 1,
                ..line
            };
            let first = from.number;
            Answer::Page {
                segments: (0..SEGMENTS_PER_PAGE as u64).map(|n| old(first + n)).collect(),
                more: true,
            }
        }
        (Ask::List { .. }, Lie::Round) => Answer::Page { segments: vec![line_of(1), line_of(0)], more: true },
        (Ask::List { .. }, Lie::Impossible) => {
            Answer::Page { segments: vec![Listed { length_bytes: 1 << 60, ..line }], more: false }
        }
        (Ask::List { from, .. }, Lie::Nothing) => {
            let first = from.number.saturating_sub(line.number);
            let lines = (0..SEGMENTS_PER_PAGE as u64)
                .map(|n| Listed { hash: [1; 32], ..line_of(10_000 + first + n) });
            Answer::Page { segments: lines.collect(), more: true }
        }
        (Ask::List { .. }, _) => Answer::Page { segments: vec![line], more: false },
        (Ask::Index(_), Lie::Nothing) => Answer::Gone,
        (Ask::Index(_), Lie::Index) => {
            let mut other = index.clone();
            other[60] ^= 1;
            pieces.extend(other.chunks(60_000).map(<[u8]>::to_vec));
            Answer::Bytes(index.len() as u64)
        }
        (Ask::Index(_), _) => {
            pieces.extend(index.chunks(60_000).map(<[u8]>::to_vec));
            Answer::Bytes(index.len() as u64)
        }
        (Ask::Packets { .. }, Lie::Length) => Answer::Bytes(packets.len() as u64 + 188),
        (Ask::Packets { from_bytes, .. }, _) => {
            let from = usize::try_from(*from_bytes).unwrap();
            let mut other = packets[from..].to_vec();
            match lie {
                Lie::Packets => *other.last_mut().unwrap() ^= 1,
                Lie::Excess => other.extend([0x47; 5_000]),
                _ => {}
            }
            let piece = if lie == Lie::Slow { 1 } else { 60_000 };
            pieces.extend(other.chunks(piece).map(<[u8]>::to_vec));
            Answer::Bytes((packets.len() - from) as u64)
        }
    };
    assert!(asked < 5_000, "{lie:?}: asked without end");
    session::write_sealed(stream, &mut session.seal, &answer).await.ok()?;
    for piece in pieces {
        if lie == Lie::Slow && piece.len() == 1 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let sealed = session.seal.seal(piece);
        frames::write_frame(stream, &sealed).await.ok()?;
    }
    Some(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_lies_costs_little_is_told_of_once_and_keeps_nobody_from_the_truth() {
    let folders = recorded(0..SLOT, []);
    let attic = Host::start("attic", &options(folders[0].path())).await;
    attic.order(&[("hall", attic.at)]);
    let segment = attic.archive().segments(CHANNEL)[0];
    let paths = crate::shell::recorder::disk::Paths::of(attic.archive().root(), CHANNEL, segment.name);
    let truth = Arc::new((segment, fs::read(&paths.index).unwrap(), fs::read(&paths.ts).unwrap()));
    let all = [
        Lie::Packets,
        Lie::Index,
        Lie::Length,
        Lie::Excess,
        Lie::EndlessList,
        Lie::Round,
        Lie::Impossible,
        Lie::Nothing,
        Lie::Silence,
        Lie::Slow,
        Lie::Frame,
        Lie::Rubbish,
    ];
    for lie in all {
        let data = TempDir::new().unwrap();
        let mut options = options(data.path());
        if lie == Lie::Slow {
            // So slow that it is found out by the time it takes, not by a pause.
            options.replication.slowest_bps = 100_000_000;
        }
        let hall = Host::start("hall", &options).await;
        let at = liar(lie, truth.clone()).await;
        hall.order(&[("loft", at)]);
        let troubles = || {
            let counts = [
                &hall.replication.counts().lies,
                &hall.replication.counts().slow,
                &hall.replication.counts().failures,
            ];
            counts.iter().map(|count| count.load(Ordering::Relaxed)).sum::<u64>()
        };
        // What it costs in the worst case is a whole transfer for each look; looks become rare.
        if lie == Lie::Slow {
            until("it is given up", || troubles() >= 1).await;
        } else {
            until("it is found out, twice", || troubles() >= 2).await;
        }
        assert_eq!((hall.archive().complete(), hall.count(|counts| &counts.told)), (0, 1), "{lie:?}");
        assert!(incoming(data.path()).len() <= 2, "{lie:?}");
        let (fetched, looks) =
            (hall.count(|counts| &counts.fetched_bytes), hall.count(|counts| &counts.looks));
        assert!(fetched <= looks * 2 * SLOT_BYTES, "{lie:?}: {fetched} bytes in {looks} looks");
        // It is asked first, and does not keep the host from the other.
        hall.order(&[("attic", attic.at), ("loft", at)]);
        until(&format!("the truth comes in spite of {lie:?}"), || {
            hall.archive().segments(CHANNEL) == [segment]
        })
        .await;
        assert_eq!(files(data.path()), files(folders[0].path()), "{lie:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_retention_would_delete_at_once_is_not_fetched() {
    let folders = recorded(0..4 * SLOT, []);
    let limited = recorder::Options { limit_bytes: Some(2 * SLOT_BYTES), ..options(folders[1].path()) };
    let hosts =
        [Host::start("attic", &options(folders[0].path())).await, Host::start("hall", &limited).await];
    introduce(&hosts);
    let begins = || {
        let segments = hosts[1].archive().segments(CHANNEL);
        segments.iter().map(|segment| segment.name.number).collect::<Vec<_>>()
    };
    until("the newest are there", || begins() == [2 * SLOT, 3 * SLOT]).await;
    let looks = hosts[1].count(|counts| &counts.looks);
    until("it has looked again", || hosts[1].count(|counts| &counts.looks) >= looks + 3).await;
    assert_eq!(begins(), [2 * SLOT, 3 * SLOT]);
    // Two more than fit may have come before those that fit.
    assert!(hosts[1].count(|counts| &counts.fetched) <= 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_peers_is_served_a_few_at_a_time() {
    let folders = recorded(0..SLOT, []);
    let attic = Host::start("attic", &options(folders[0].path())).await;
    let hosts: Vec<String> = (0..8).map(|n| format!("h{n}")).collect();
    let everybody: Vec<(&str, SocketAddr)> = hosts.iter().map(|host| (host.as_str(), attic.at)).collect();
    attic.order(&everybody);
    let at = RecordPeer { host: "attic".parse::<HostId>().unwrap(), feed: attic.at };
    let (mut served, mut refused) = (Vec::new(), 0);
    let ask = Ask::List { channel: CHANNEL, from: protocols::p3_replica::Name::default() };
    for host in &hosts {
        let mut peer = peer::Peer::call(&identity(host), &at, PATIENCE).await.unwrap();
        match peer.ask(&ask).await {
            Ok(_) => served.push(peer),
            Err(trouble) => {
                assert_eq!(trouble.to_string(), "refused: 4 other push servers are being given recordings");
                refused += 1;
            }
        }
    }
    assert_eq!((served.len(), refused), (4, 4));
    // One that comes again takes its own place.
    let mut again = peer::Peer::call(&identity("h0"), &at, PATIENCE).await.unwrap();
    assert!(again.ask(&ask).await.is_ok());
    assert!(served[0].ask(&ask).await.is_err());
    served.clear();
    let mut late = peer::Peer::call(&identity("h7"), &at, PATIENCE).await.unwrap();
    assert!(late.ask(&ask).await.is_ok() || attic.count(|counts| &counts.turned_away) > 4);
}
