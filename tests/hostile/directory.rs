//! P2: anybody may ask, and what is no question ends the connection.

use link::frames;
use protocols::codec::{self, CodecError};
use protocols::ids::ChannelId;
use protocols::p2_directory::{PlayTarget, ToDatabase};
use protocols::preamble::{FRAME_HEADER_BYTES, MAX_P2_REQUEST_BYTES, PREAMBLE_BYTES, Protocol, write_frame};
use protocols::recording::{RecordingId, Span};

use crate::heap::Meter;
use crate::mutation::Mutator;
use crate::site::WALL;
use crate::trial::Trial;
use crate::wire::{Wire, block_on};

/// What one connection may hold while its requests are read.
const PEAK_BYTES: i64 = 8 << 10;

fn conversation() -> Vec<u8> {
    let mut bytes = Protocol::Directory.preamble().to_vec();
    let channel = ChannelId(7);
    let requests = [
        ToDatabase::List { tunings: true },
        ToDatabase::Watch { channel },
        ToDatabase::Unwatch { channel },
        ToDatabase::Ping,
        ToDatabase::Recordings { channel: Some(channel) },
        ToDatabase::Record { channel, span: Span { from: WALL, to: WALL }, title: "News".to_owned() },
        ToDatabase::Unrecord { id: RecordingId(1) },
        ToDatabase::Play(PlayTarget::Programme(RecordingId(1))),
        ToDatabase::Play(PlayTarget::Channel { channel, from: WALL, to: None }),
    ];
    requests.iter().for_each(|request| write_frame(&mut bytes, &codec::encode(request)));
    bytes
}

#[test]
fn a_million_connections_ask_anything_and_none_holds_more_than_one_request() {
    let mut trial = Trial::new("P2 connections");
    let mut random = trial.random();
    let mut mutator = Mutator::new(random.fork(), 2_048);
    let mut oversized = Protocol::Directory.preamble().to_vec();
    oversized.extend(u32::try_from(MAX_P2_REQUEST_BYTES + 1).unwrap().to_le_bytes());
    let claims = [Protocol::Directory.preamble().to_vec(), vec![0xff; 1_500]].concat();
    let whole = [conversation(), Protocol::Directory.preamble().to_vec(), oversized, claims];
    whole.iter().for_each(|bytes| mutator.record(bytes, 16));
    let longest = PREAMBLE_BYTES + FRAME_HEADER_BYTES + 200;
    block_on(async {
        for _ in 0..Trial::inputs() {
            let said = if random.u8(..16) == 0 { random.choice(&whole).unwrap() } else { mutator.spoil() };
            let mut wire = Wire::new(said);
            wire.told.reserve(longest);
            let meter = Meter::start();
            let end = converse(&mut wire, &mut trial).await;
            let growth = meter.stop();
            assert!(growth.peak < PEAK_BYTES, "{growth:?} for {said:?}");
            assert!(wire.told.len() <= longest, "{:?}", wire.told);
            trial.highest("peak bytes", growth.peak);
            trial.count(end);
            trial.count("connections");
        }
    });
    let ends = ["refused", "oversized", "malformed", "unknown kind", "closed", "cut short", "requests"];
    assert!(ends.iter().all(|end| trial.of(end) > 0), "some end was never reached");
}

/// What the database server does with a connection of P2 until it would ask its machine.
async fn converse(wire: &mut Wire<'_>, trial: &mut Trial) -> &'static str {
    if frames::answer(wire, Protocol::Directory).await.is_err() {
        return "refused";
    }
    loop {
        let body = match frames::read_frame(wire, MAX_P2_REQUEST_BYTES).await {
            Ok(Some(body)) => body,
            Ok(None) => return "closed",
            Err(frames::LinkError::Frame(_)) => return "oversized",
            Err(_) => return "cut short",
        };
        match codec::decode_message::<ToDatabase, MAX_P2_REQUEST_BYTES>(&body) {
            Ok(_) => trial.count("requests"),
            Err(CodecError::UnknownKind(_)) => trial.count("unknown kind"),
            Err(_) => return "malformed",
        }
    }
}
