//! The store on a real disk: it remembers, survives kills, and sets damage aside.

#![expect(clippy::disallowed_methods, reason = "a real child process is watched with a real clock")]

use std::process::{Command as Process, Stdio};
use std::sync::Arc;

use protocols::guide;
use protocols::ids::{BootId, ChannelId, Generation, Revision};
use protocols::p1_registration::{Command, Order};
use protocols::recording::{Digest, Extent, RecordingId, Span};

use super::*;
use crate::record::{Assignment, Event, Programme, Record, Server};

const NOW: ClusterTime = ClusterTime(START_EPOCH.0 + 1_000_000_000);

fn assignment(channel: u32, count: u32) -> Assignment {
    Assignment {
        channel: ChannelId(channel),
        network: "10.0.1.0/24".parse().unwrap(),
        host: "hall".parse().unwrap(),
        destination: "239.192.1.1".parse().unwrap(),
        revision: Revision::new(1, count),
    }
}

fn event(n: u64) -> Record {
    Record::Event(Event { at: ClusterTime(n), subject: "site".to_owned(), text: n.to_string() })
}

fn extent(from: u64, to: u64) -> Record {
    let (from, to) = (ClusterTime(from), ClusterTime(to));
    let digest = Digest([7; 16]);
    let extent = Extent { channel: ChannelId(1), from, to, segments: 2, bytes: u64::MAX, digest };
    Record::Extent { host: "hall".parse().unwrap(), extent }
}

fn programme(id: u32) -> Programme {
    let span = Span { from: ClusterTime(1), to: ClusterTime(2) };
    Programme { id: RecordingId(id), channel: ChannelId(1), span, title: "News".to_owned() }
}

fn check(folder: &Path) -> String {
    let connection = Connection::open(folder.join(FILE_NAME)).unwrap();
    connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}

#[test]
fn what_was_put_is_remembered_by_the_next_life_with_a_higher_start_number() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = open(folder.path(), NOW).unwrap();
    assert_eq!(first.remembered, Remembered::default());
    assert_eq!(first.start, 1_000_000, "seconds since the epoch of start numbers");
    let command = Command { id: u64::MAX, order: Order::RestartInput("card".parse().unwrap()) };
    let posted = |command| Record::CommandPosted { acquisition: "roof".parse().unwrap(), command };
    let network = assignment(2, 0).network;
    first.writer.put([
        Record::Topology { generation: Generation(3), fingerprint: u64::MAX },
        Record::Assigned(assignment(1, 1)),
        Record::Assigned(assignment(1, 2)),
        Record::Assigned(assignment(2, 3)),
        Record::Unassigned { channel: ChannelId(2), network },
        Record::Seen { server: Server::Host("hall".parse().unwrap()), boot_id: BootId(u64::MAX), at: NOW },
        Record::Lost { server: Server::Host("hall".parse().unwrap()), at: NOW },
        posted(command.clone()),
        posted(Command { id: 5, ..command.clone() }),
        Record::CommandDone { id: 5 },
        extent(1, 60),
        extent(1, 120),
        extent(2, 60),
        Record::ExtentGone { host: "hall".parse().unwrap(), channel: ChannelId(1), from: ClusterTime(2) },
        Record::Programme(programme(1)),
        Record::Programme(programme(7)),
        Record::ProgrammeGone { id: RecordingId(7) },
        event(1),
    ]);
    drop(first);
    // The clock went back, the number does not.
    let second = open(folder.path(), ClusterTime(0)).unwrap();
    assert_eq!(second.start, 1_000_001);
    assert_eq!(second.remembered.topology, Some((Generation(3), u64::MAX)));
    assert_eq!(second.remembered.assignments, [assignment(1, 2)]);
    assert_eq!(second.remembered.commands, [("roof".parse().unwrap(), command)]);
    let Record::Extent { host, extent } = extent(1, 120) else { panic!() };
    assert_eq!(second.remembered.extents, [(host, extent)]);
    assert_eq!(second.remembered.programmes, [programme(1)]);
    assert_eq!(second.remembered.last_recording, RecordingId(7), "given up, and never used again");
}

fn shown(channel: u32, start_unix_s: i64, text: &str) -> Record {
    let event = guide::Event {
        id: 7,
        start_unix_s,
        duration_s: 1_800,
        title: "News".to_owned(),
        text: text.to_owned(),
        description: "What happened".repeat(20),
        language: Some("eng".to_owned()),
        content: Some(0x21),
        least_age: None,
    };
    Record::GuideEvent { channel: ChannelId(channel), event: Arc::new(event) }
}

#[test]
fn the_guide_is_remembered_but_for_what_is_over_or_gone() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path(), NOW).unwrap();
    store.writer.put([
        shown(1, 0, "over"),
        shown(1, 5_400, "other"),
        shown(1, 5_400, "on"),
        shown(1, 7_200, "gone"),
        shown(2, 5_400, "channel gone"),
        Record::GuideGone { channel: ChannelId(1), start_unix_s: 7_200 },
        Record::GuideChannelGone { channel: ChannelId(2) },
        Record::GuideOver { before_unix_s: 1_800 },
    ]);
    drop(store);
    let store = open(folder.path(), NOW).unwrap();
    let Record::GuideEvent { channel, event } = shown(1, 5_400, "on") else { panic!() };
    assert_eq!(store.remembered.guide, [(channel, (*event).clone())]);
}

/// Goal: the table does not grow with how often a guide is told. Method: a week of 200 channels, twice.
#[test]
fn a_week_of_two_hundred_channels_written_twice_takes_no_more_room_than_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut sizes = Vec::new();
    for _ in 0..2 {
        let mut store = open(folder.path(), NOW).unwrap();
        for channel in 1..=200 {
            store.writer.put((0..336).map(|n| shown(channel, n * 1_800, "A line about it")));
        }
        drop(store);
        let connection = Connection::open(folder.path().join(FILE_NAME)).unwrap();
        let rows: u32 = connection.query_row("SELECT count(*) FROM guide", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 67_200);
        sizes.push(fs::metadata(folder.path().join(FILE_NAME)).unwrap().len());
    }
    assert!(sizes[1] <= sizes[0] + (1 << 20), "{sizes:?}");
    assert!(sizes[1] < 64 << 20, "{sizes:?}");
}

#[test]
fn the_journal_keeps_the_newest_rows_only() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path(), NOW).unwrap();
    let rows = u64::from(MAX_EVENTS) + 500;
    store.writer.put((1..=rows).map(event));
    drop(store);
    let connection = Connection::open(folder.path().join(FILE_NAME)).unwrap();
    let kept: (u32, u32) = connection
        .query_row("SELECT count(*), min(at_ms) FROM event", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!(kept, (MAX_EVENTS, 501));
}

#[test]
fn a_second_database_server_is_kept_out_of_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let _first = open(folder.path(), NOW).unwrap();
    let error = open(folder.path(), NOW).unwrap_err().to_string();
    assert!(error.contains("in use by another database server"), "{error}");
}

#[test]
fn a_damaged_database_is_set_aside_whole_and_a_new_one_begun() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = open(folder.path(), NOW).unwrap();
    first.writer.put((1..2_000).map(|channel| Record::Assigned(assignment(channel, channel))));
    drop(first);
    let path = folder.path().join(FILE_NAME);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].fill(0x5a);
    fs::write(&path, &bytes).unwrap();
    let second = open(folder.path(), NOW).unwrap();
    assert_eq!(second.remembered, Remembered::default());
    let aside = folder.path().join(format!("{FILE_NAME}.damaged-{}", NOW.0));
    assert_eq!(fs::read(aside).unwrap(), bytes, "not a byte of it is lost");
    drop(second);
    fs::write(&path, b"this is no database at all, but a text of some length").unwrap();
    assert!(open(folder.path(), NOW + Duration::from_secs(1)).is_ok());
}

/// Names the folder for [`writes_until_killed`], which does nothing without it.
const WRITE_TO: &str = "MASTHEAD_TEST_WRITE_TO";

/// No test of its own: the child process of the next one.
#[test]
fn writes_until_killed() {
    let Some(folder) = std::env::var_os(WRITE_TO) else { return };
    let mut store = open(Path::new(&folder), NOW).unwrap();
    for count in 0.. {
        // The assignments of one batch have one revision: half a batch would show.
        store
            .writer
            .put((1..=50).map(|channel| Record::Assigned(assignment(channel, count))).chain([event(1)]));
        while store.writer.unsent() > 0 {
            std::thread::yield_now();
            store.writer.put([]);
        }
    }
}

/// Goal: SIGKILL at any moment leaves a database that passes its check and holds whole batches, and start numbers grow.
/// Method: a child process that writes as fast as it can is killed 20 times, a little later each time.
#[test]
fn a_writer_killed_at_any_moment_leaves_whole_batches() {
    let folder = tempfile::tempdir().unwrap();
    let (mut starts, mut revisions) = (Vec::new(), Vec::new());
    for round in 0..20 {
        let mut child = Process::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::writes_until_killed", "--nocapture"])
            .env(WRITE_TO, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Wait for the child's first bytes, then a span that differs each round, by watching its file grow.
        let wal = folder.path().join(format!("{FILE_NAME}-wal"));
        let target = 20_000 + round * 5_000;
        let begun = std::time::Instant::now();
        while fs::metadata(&wal).map_or(0, |file| file.len()) < target {
            assert!(begun.elapsed() < Duration::from_secs(20), "the child does not write");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(check(folder.path()), "ok");
        let store = open(folder.path(), ClusterTime(0)).unwrap();
        starts.push(store.start);
        let held: Vec<Revision> = store.remembered.assignments.iter().map(|row| row.revision).collect();
        assert!(held.is_empty() || held.len() == 50, "{}", held.len());
        assert!(held.windows(2).all(|pair| pair[0] == pair[1]), "a batch is whole: {held:?}");
        revisions.extend(held.first().copied());
    }
    assert!(starts.is_sorted_by(|a, b| a < b), "{starts:?}");
    assert!(revisions.len() >= 15, "the kills came after writes: {}", revisions.len());
}

#[test]
fn the_journal_is_read_newest_first_with_what_was_put_before_the_question() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path(), NOW).unwrap();
    let reader = store.writer.reader();
    let ask = |after, before, limit| {
        let (answer, lines) = tokio::sync::oneshot::channel();
        reader.ask(Question::Journal(JournalQuery { after, before, limit }, answer)).unwrap();
        let lines = lines.blocking_recv().unwrap().unwrap();
        lines.into_iter().map(|line| (line.id, line.event.text)).collect::<Vec<_>>()
    };
    let line = |n: u64| (n, n.to_string());
    store.writer.put((1..=9).map(event));
    assert_eq!(ask(0, u64::MAX, 3), [line(9), line(8), line(7)]);
    assert_eq!(ask(0, 3, 100), [line(2), line(1)]);
    assert_eq!(ask(7, u64::MAX, 100), [line(9), line(8)]);
    assert_eq!(ask(u64::MAX, 0, 100), []);
    store.writer.put((1..=2_000).map(event));
    assert_eq!(ask(0, u64::MAX, u32::MAX).len(), MAX_LINES as usize);
}

/// Goal: a question keeps the store neither open nor waiting, and there are never more than stated.
#[test]
fn questions_are_bounded_and_end_with_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path(), NOW).unwrap();
    let reader = store.writer.reader();
    let asked = || {
        let (answer, lines) = tokio::sync::oneshot::channel();
        let query = JournalQuery { after: 0, before: u64::MAX, limit: 1 };
        reader.ask(Question::Journal(query, answer)).map(|()| lines)
    };
    // A batch that takes the thread longer than it takes to ask.
    store.writer.put((1..=200_000).map(event));
    let waiting: Vec<_> = (0..QUEUED_QUESTIONS).map(|_| asked().unwrap()).collect();
    assert!(matches!(asked(), Err(Busy)));
    waiting.into_iter().for_each(|lines| assert_eq!(lines.blocking_recv().unwrap().unwrap()[0].id, 200_000));
    store.writer.close();
    assert!(matches!(asked(), Err(Busy)));
}
