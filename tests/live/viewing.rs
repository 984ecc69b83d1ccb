//! What the live tests share: a viewer whose end is told in numbers, a witness who knows nothing of our code, and a look
//! into the database server's files.
#![expect(clippy::disallowed_methods, reason = "live tests are all effects: real clocks and sockets")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::packets::{self, Comparison};
use lab::site::{Site, file_bytes};
use lab::{Command, Host, Lan, Process, member::Member, timeline};
use serde::Deserialize;

/// Bytes of one transport stream packet: the least that is a picture's beginning.
const FIRST_PACKET: u64 = packets::PACKET_BYTES as u64;
/// Bytes of stream that show that it goes on, and was not merely on its way: about a fifth of a second of the test card.
const GOING_ON: u64 = 100 * FIRST_PACKET;
/// Longest that a viewer may take to end.
const END_LIMIT: Duration = Duration::from_secs(2);

/// The end of a viewing in the client's own numbers.
#[derive(Debug, Deserialize)]
pub(crate) struct Summary {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) lost: u64,
    pub(crate) late: u64,
    pub(crate) repaired: u64,
    pub(crate) repairs_asked: u64,
    pub(crate) continuity_errors: u64,
    pub(crate) output_overflows: u64,
    pub(crate) interests_sent: u64,
    pub(crate) zap_time_s: Option<f64>,
    pub(crate) live_packets: u64,
    pub(crate) unicast_stays: u64,
    pub(crate) seams: u64,
}

/// `masthead-client watch` at work, writing to a file.
#[derive(Debug)]
pub(crate) struct Viewing {
    pub(crate) process: Process,
    pub(crate) file: PathBuf,
}

impl Viewing {
    /// Begins to watch `channel` on `viewer`.
    pub(crate) fn start(site: &Site, viewer: &Host, channel: u32) -> Self {
        Self::start_with(site, viewer, channel, &[])
    }

    /// As [`Self::start`] with more options.
    pub(crate) fn start_with(site: &Site, viewer: &Host, channel: u32, options: &[&str]) -> Self {
        let file = site.lab.path(&format!("{}.ts", viewer.name()));
        let command = site.client(viewer).args(["--format", "json"]).args(options);
        let command = command.args(["watch", &channel.to_string(), "--output"]);
        Self { process: viewer.spawn(command.arg(&file)), file }
    }

    /// As [`Self::start`] on a `viewer` who has never heard of this site.
    pub(crate) fn start_afresh(site: &Site, viewer: &Host, channel: u32) -> Self {
        let _ = std::fs::remove_dir_all(site.lab.path(&format!("cache-{}", viewer.name())));
        let _ = std::fs::remove_file(site.lab.path(&format!("{}.ts", viewer.name())));
        Self::start(site, viewer, channel)
    }

    /// Waits for the first packets in the file; how long that took.
    pub(crate) fn wait_for_pictures(&self, limit: Duration) -> Duration {
        self.wait_for_bytes(FIRST_PACKET, limit)
    }

    /// Waits until the file has grown by more than could have been on its way; how long that took.
    pub(crate) fn wait_to_go_on(&self, limit: Duration) -> Duration {
        self.wait_for_bytes(file_bytes(&self.file) + GOING_ON, limit)
    }

    fn wait_for_bytes(&self, bytes: u64, limit: Duration) -> Duration {
        let start = std::time::Instant::now();
        timeline::obtain_or(
            &format!("{} has {bytes} bytes", self.file.display()),
            limit,
            || (file_bytes(&self.file) >= bytes).then(|| start.elapsed()),
            || self.process.last_words(),
        )
    }

    /// Ends it as Ctrl-C does.
    pub(crate) fn finish(mut self) -> Summary {
        let status = self.process.interrupt(END_LIMIT);
        assert!(status.success(), "{status}\n{}", self.process.last_words());
        let told = std::fs::read(self.process.stdout()).unwrap();
        serde_json::from_slice(&told).unwrap_or_else(|error| panic!("{error}: {}", self.process.last_words()))
    }

    /// Ends it and fails the test when it lost anything; its recording, to be compared with what a [`witness`] saw.
    pub(crate) fn finish_without_loss(self) -> Vec<u8> {
        let file = self.file.clone();
        let name = file.display().to_string();
        let summary = self.finish();
        let bad = [summary.lost, summary.late, summary.continuity_errors, summary.output_overflows];
        assert_eq!(bad, [0; 4], "{name}: {summary:?}");
        let recording = std::fs::read(&file).unwrap();
        assert!(summary.packets > 0 && summary.bytes == recording.len() as u64, "{name}: {summary:?}");
        recording
    }
}

/// What a [`Member`] saw of a channel: the transport stream of all RTP packets, which must follow each other without a gap.
pub(crate) fn witnessed(member: Member) -> Vec<u8> {
    const PAYLOAD_TYPE_MP2T: u8 = 33;
    const RTP_HEADER_BYTES: usize = 12;
    let mut stream = Vec::new();
    let mut last = None;
    for datagram in member.leave() {
        let bytes = datagram.payload;
        // Announcements travel on the same port, as RTCP.
        if bytes[1] & 0x7f != PAYLOAD_TYPE_MP2T {
            continue;
        }
        let sequence = u16::from_be_bytes([bytes[2], bytes[3]]);
        if let Some(last) = last.replace(sequence) {
            assert_eq!(sequence.wrapping_sub(last), 1, "on the wire, {sequence} follows {last}");
        }
        stream.extend_from_slice(&bytes[RTP_HEADER_BYTES..]);
    }
    stream
}

/// A host on `lan` that only listens to where `channel` arrives there.
pub(crate) fn witness(site: &Site, name: &str, lan: &Lan) -> Member {
    let to = if lan.name() == site.room.name() { site.in_room(1) } else { site.in_ward(1) };
    Member::join(&site.viewer(name, lan), lan, to)
}

/// How what a viewer recorded compares with what a witness saw on the wire of the same network. The first viewer's pictures
/// begin by unicast, at the access point before the group carried its first packet; that beginning is not judged here.
pub(crate) fn compare_with_wire(wire: &[u8], recording: &[u8]) -> Comparison {
    packets::compare(wire, packets::since_beginning_of(wire, recording))
}

/// Opens a copy of the database in the data folder `folder`, whose server must have ended, as its next start would:
/// SQLite finds nothing wrong with it, and it holds the server's life.
pub(crate) fn assert_database_is_sound(folder: &Path) {
    let copy = folder.with_extension("copy");
    let _ = std::fs::remove_dir_all(&copy);
    Command::line("cp -a").args([folder, &copy]).succeed();
    let database = rusqlite::Connection::open(copy.join("masthead.db")).unwrap();
    let check: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let starts: i64 = database.query_row("SELECT count(*) FROM life", [], |row| row.get(0)).unwrap();
    assert_eq!(starts, 1, "a server that said that it is ready has written down its start");
}

#[test]
#[should_panic(expected = "in database main")]
fn a_database_with_a_torn_page_is_not_sound() {
    let folder = std::env::temp_dir().join(format!("masthead-torn-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("masthead.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    database
        .execute_batch("CREATE TABLE life (id); CREATE TABLE event (text); INSERT INTO life VALUES (1);")
        .unwrap();
    for _ in 0..500 {
        database.execute("INSERT INTO event VALUES (hex(randomblob(100)))", []).unwrap();
    }
    drop(database);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096..3 * 4096].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    assert_database_is_sound(&folder);
}
