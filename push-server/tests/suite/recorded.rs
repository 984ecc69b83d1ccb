//! Goal: what a host is ordered to record, and is fed with marks, lies on its disk as it was fed, is told by P4, and is
//! there after it has ended. Method: the whole host on loopback. Waits for what happens, with a limit.
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking")]

use crate::host;

use std::net::Ipv4Addr;

use host::{CHANNEL, Running, cluster, options, order};
use protocols::ids::Revision;
use protocols::p3_feed::{Mark, length_prefix};
use protocols::p4_control::{Configure, Configured, Kind, RecordPart, ReportItem};
use protocols::time::ClusterTime;
use push_server::shell::Options;
use push_server::shell::recorder::{self, verify};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

/// 12 packets a minute, five seconds apart: a slot is 12 packets.
const SLOT: u64 = 12;
const BEGAN_MS: u64 = 1_795_324_320_000;

fn packet(number: u64) -> Vec<u8> {
    let mut bytes = vec![0x80, 33];
    bytes.extend(u16::try_from(number % 65_536).unwrap().to_be_bytes());
    bytes.extend(u32::try_from(number * 450_000).unwrap().to_be_bytes());
    bytes.extend(9_u32.to_be_bytes());
    for n in 0..7 {
        let mut ts = [u8::try_from(number % 251).unwrap(); 188];
        ts[..4].copy_from_slice(&[0x47, 1, n, 0x10]);
        bytes.extend(ts);
    }
    bytes
}

/// A packet behind its mark, as P3 has them.
fn framed(number: u64) -> Vec<u8> {
    let mark = Mark { number, date: ClusterTime(BEGAN_MS + number * 5_000) }.encode();
    let packet = packet(number);
    [&length_prefix(&mark)[..], &mark, &length_prefix(&packet), &packet].concat()
}

fn recording(data: &TempDir) -> Options {
    Options { recordings: Some(recorder::Options::new(data.path().to_owned())), ..options() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_ordered_is_recorded_as_it_was_fed_and_told() {
    let data = TempDir::new().unwrap();
    let mut running = Running::start_with(recording(&data), Ipv4Addr::LOCALHOST.into());
    let record = Some(RecordPart { keep_s: u32::MAX, protected: Vec::new(), peers: Vec::new() });
    let destinations = vec![order("127.0.0.1", "127.0.0.1")];
    let body = Configure {
        channel: CHANNEL,
        revision: Revision(1),
        part: 0,
        parts: 1,
        port: 9,
        destinations,
        record,
        session: None,
    };
    let configured = running.ask::<_, Configured>(Kind::Configure, body).body;
    assert_eq!(configured.in_force, Revision(1));
    let (mut stream, _session, _) = running.feed(cluster(), CHANNEL).await.unwrap();
    for number in 0..SLOT * 4 {
        stream.write_all(&framed(number)).await.unwrap();
    }
    // A stream whose random access points cannot be told is cut where slots begin, from the second on that was seen whole.
    let extent = running.until_reported(|item| match item {
        ReportItem::Extent { extent, .. } if extent.segments == 2 => Some(*extent),
        _ => None,
    });
    assert_eq!((extent.from.0, extent.to.0), (BEGAN_MS, BEGAN_MS + 180_000));
    assert_eq!(extent.bytes, SLOT * 3 * 7 * 188);
    drop(stream);
    running.stop().await;
    let report = verify::all(data.path()).unwrap();
    let states: Vec<_> = report.segments.iter().map(|line| (line.packets, line.state)).collect();
    assert_eq!(states, [(SLOT * 2, "whole"), (SLOT, "whole"), (SLOT, "whole")]);
    let hash = |from: u64, to: u64| {
        let fed: Vec<u8> = (from..to).flat_map(packet).collect();
        blake3::hash(&fed).to_hex().to_string()
    };
    let hashes: Vec<_> = report.segments.iter().map(|line| line.hash.clone()).collect();
    assert_eq!(hashes, [hash(0, SLOT * 2), hash(SLOT * 2, SLOT * 3), hash(SLOT * 3, SLOT * 4)]);
}
