//! P1 and P3 once the opening is through: whoever alters the connection is found out, and a feed's framing holds.

use std::time::Duration;

use link::frames::LinkError;
use link::session::read_sealed;
use media::rtp::HEADER_BYTES;
use protocols::codec;
use protocols::handshake::FrameSeal;
use protocols::health::HealthReport;
use protocols::ids::{AcquisitionId, ChannelId, Generation};
use protocols::p1_registration::{ChannelReport, FeedReport, FeedState, InputState, Poll, ToDatabase};
use protocols::p3_feed::{
    AccessPoint, History, HistorySlice, MARK_BYTES, MAX_PACKET_BYTES, Mark, Open, length_prefix,
};
use protocols::preamble::{MAX_OPENING_BYTES, MAX_P1_FRAME_BYTES, write_frame};
use protocols::time::{ClusterTime, Time};
use push_server::deframer::{Deframer, Step};
use push_server::path::ChannelPath;
use push_server::ring::{MAX_SLOTS, SLOT_BYTES};

use crate::heap::Meter;
use crate::mutation::Mutator;
use crate::site::{cluster, rtp};
use crate::trial::Trial;
use crate::wire::{Wire, block_on};

/// What reading may hold beside the frame itself: the stream's growth as bytes come.
const SPARE_BYTES: i64 = 64 << 10;

fn key() -> protocols::authority::MacKey {
    cluster()
        .acquisition_key(&"roof".parse::<AcquisitionId>().unwrap())
        .derive("session caller", &[b"a connection"])
}

fn poll() -> ToDatabase {
    let feeds =
        vec![FeedReport { host: "hall".parse().unwrap(), state: FeedState::Connected, dropped_packets: 0 }];
    let report = ChannelReport {
        channel: ChannelId(1),
        input: InputState::Failed { cause: "no signal".to_owned() },
        source: 0,
        switches: 0,
        packets: 9,
        rate_bps: 5_000_000,
        feeds,
        health: HealthReport::default(),
        signal: None,
    };
    ToDatabase::Poll(Poll { generation: Generation(1), channels: vec![report; 3], done: vec![] })
}

/// The frames that a caller sends after its handshake: three of P1, and one of P3.
fn frames() -> Vec<Vec<u8>> {
    let mut seal = FrameSeal::new(key());
    let register = ToDatabase::Register { software: "1.0".to_owned() };
    let bodies = [
        codec::encode(&register),
        codec::encode(&poll()),
        codec::encode(&Open { channel: ChannelId(1), ssrc: 1 }),
    ];
    bodies
        .into_iter()
        .map(|body| {
            let mut frame = Vec::new();
            write_frame(&mut frame, &seal.seal(body));
            frame
        })
        .collect()
}

#[test]
fn altered_repeated_and_reordered_frames_end_the_connection() {
    let mut trial = Trial::new("P1 and P3 sealed frames");
    let mut random = trial.random();
    let genuine = frames();
    let mut mutator = Mutator::new(random.fork(), 2_048);
    genuine.iter().for_each(|frame| mutator.record(frame, 16));
    mutator.record(&u32::MAX.to_le_bytes(), 16);
    mutator.record(&[0, 0, 0x40, 0, 1, 2, 3], 16); // claims 4 MiB, has 3 bytes
    block_on(async {
        for _ in 0..Trial::inputs() / 2 {
            // Some genuine frames, then one that is spoilt, repeated or out of its turn.
            let through = random.usize(..genuine.len());
            let mut said = genuine[..through].concat();
            let replayed = &genuine[(through + random.usize(1..genuine.len())) % genuine.len()];
            let spoilt = if random.u8(..8) == 0 { replayed } else { mutator.spoil() };
            if genuine.iter().any(|frame| spoilt.starts_with(frame)) && spoilt.starts_with(&genuine[through])
            {
                continue; // the genuine one with something behind it: cut off there, it is genuine
            }
            said.extend_from_slice(spoilt);
            let mut wire = Wire::new(&said);
            let mut opener = FrameSeal::new(key());
            for _ in 0..through {
                read_sealed(&mut wire, &mut opener, MAX_P1_FRAME_BYTES).await.unwrap().unwrap();
            }
            let limit = if random.bool() { MAX_P1_FRAME_BYTES } else { MAX_OPENING_BYTES };
            let meter = Meter::start();
            let outcome = read_sealed(&mut wire, &mut opener, limit).await;
            let growth = meter.stop();
            trial.count(match outcome {
                Ok(None) => "closed",
                Ok(Some(body)) => panic!("taken for genuine: {body:?}"),
                Err(LinkError::Altered) => "altered",
                Err(LinkError::Closed) => "cut short",
                Err(LinkError::Frame(_)) => "oversized",
                Err(error) => panic!("{error}"),
            });
            // A claim of 4 MiB is worth nothing: what is held follows what has come.
            assert!(growth.peak < SPARE_BYTES, "{growth:?} for {spoilt:?}");
            assert!(wire.told.is_empty(), "nothing is said to who alters");
            trial.highest("peak bytes", growth.peak);
            trial.count("frames");
        }
    });
    assert!(["altered", "cut short", "oversized", "closed"].iter().all(|end| trial.of(end) > 0));
}

/// Behind the opening a feed's packets carry no tag; their framing must hold against anything. What comes out is a packet,
/// the header alone that a held feed shows, a mark, or another aside; and a channel's path takes all of that.
#[test]
fn a_feed_of_anything_yields_whole_packets_or_ends() {
    let mut trial = Trial::new("P3 feeds");
    let mut random = trial.random();
    let stream: Vec<u8> = (0..4)
        .flat_map(|n| {
            let packet = rtp(n);
            let bytes = packet.as_bytes();
            let header = &bytes[..HEADER_BYTES];
            let mark = Mark { number: n, date: ClusterTime(1_800_000_000_000) }.encode();
            let marked = [&length_prefix(&mark)[..], &mark, &length_prefix(bytes), bytes].concat();
            let point = AccessPoint { number: n }.encode();
            let history = History { first: n, packets: 3, ssrc: packet.header().ssrc }.encode();
            let slice = HistorySlice { first: n, packets: 1 }.encode();
            let asides = [&history[..], &point, &slice].map(|aside| [&length_prefix(aside), aside].concat());
            [&marked[..], &[0, 0], &length_prefix(header), header, &asides.concat()].concat()
        })
        .collect();
    let mut mutator = Mutator::new(random.fork(), 6_000);
    mutator.record(&stream, 4);
    let mut path = ChannelPath::new(ChannelId(1));
    let mut now = Time::ZERO;
    for _ in 0..Trial::inputs() / 2 {
        let mut rest = mutator.spoil();
        let mut deframer = Deframer::default();
        let ring_bytes = path.ring_bytes();
        let meter = Meter::start();
        let (mut ended, mut packets, mut headers, mut marks, mut asides) = (false, 0, 0, 0, 0);
        while !rest.is_empty() && !ended {
            let piece = if random.bool() { 7 } else { 2_000 };
            match deframer.step() {
                Step::Length(most) => {
                    let (now, later) = rest.split_at(most.min(piece).min(rest.len()));
                    ended = deframer.length_bytes(now).is_err();
                    rest = later;
                }
                Step::Body { from, to } => {
                    let (bytes, later) = rest.split_at((to - from).min(piece).min(rest.len()));
                    path.slot()[from..from + bytes.len()].copy_from_slice(bytes);
                    if let Some(len) = deframer.body_bytes(bytes.len()) {
                        let whole = (200..=MAX_PACKET_BYTES).contains(&len);
                        let aside = matches!(len, 8 | 10 | 14);
                        assert!(whole || aside || len == HEADER_BYTES || len == MARK_BYTES, "{len} bytes");
                        path.commit(now, len);
                        asides += u64::from(aside);
                        packets += u64::from(whole);
                        headers += u64::from(len == HEADER_BYTES);
                        marks += u64::from(len == MARK_BYTES);
                    }
                    rest = later;
                }
            }
        }
        path.drain(now, &mut |_, runs| runs.len());
        let grown = path.ring_bytes() > ring_bytes;
        assert!(meter.stop().peak == 0 || grown, "a feed is cut where it lies, in a ring that may grow");
        now += Duration::from_millis(1);
        trial.add("packets", packets);
        trial.add("headers", headers);
        trial.add("marks", marks);
        trial.add("asides", asides);
        trial.count(if ended { "ended" } else { "waits" });
        trial.count("feeds");
    }
    trial.highest("ring bytes", i64::try_from(path.ring_bytes()).unwrap());
    assert!(path.ring_bytes() <= MAX_SLOTS * SLOT_BYTES);
    assert!(["packets", "headers", "marks", "asides", "ended", "waits"].iter().all(|end| trial.of(end) > 0));
}
