//! The opening of P1 and P3: nobody gets past it without the key, and it says nothing but what the pages define.

use std::sync::OnceLock;

use link::frames::LinkError;
use link::session::{self, Call};
use protocols::authority::MacKey;
use protocols::codec;
use protocols::handshake::{Hello, Proof, Reply, Verdict};
use protocols::ids::BootId;
use protocols::preamble::{FRAME_HEADER_BYTES, MAX_OPENING_BYTES, PREAMBLE_BYTES, Protocol, Refusal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::heap::Meter;
use crate::mutation::Mutator;
use crate::site::{BOOT, cluster, foreign};
use crate::trial::Trial;
use crate::wire::{Wire, block_on};

/// What one connection that is not through may hold: two frames of the opening and their answers.
const PEAK_BYTES: i64 = 8 << 10;
/// The longest answer: the preamble and two frames.
const MOST_TOLD: usize = PREAMBLE_BYTES + 2 * (FRAME_HEADER_BYTES + MAX_OPENING_BYTES);

fn key_of(hello: &Hello) -> Result<MacKey, Refusal> {
    match hello.caller.parse() {
        Ok(id) if hello.caller == "roof" => Ok(cluster().acquisition_key(&id)),
        _ => Err(Refusal::UnknownServer(hello.caller.clone())),
    }
}

fn calling(protocol: Protocol, key: MacKey) -> Call {
    Call { protocol, caller: "roof".to_owned(), callee: String::new(), boot_id: BootId(1), key }
}

/// All that a caller sends until it is welcome.
pub(crate) fn recorded(protocol: Protocol) -> Vec<u8> {
    block_on(async {
        let (mut near, mut tap) = tokio::io::duplex(4_096);
        let (mut far, mut tap_far) = tokio::io::duplex(4_096);
        let call = calling(protocol, cluster().acquisition_key(&"roof".parse().unwrap()));
        let caller = async {
            session::call(&mut near, &call).await.unwrap();
            drop(near);
        };
        let callee = async { session::accept(&mut far, protocol, BOOT, key_of).await.map(drop).unwrap() };
        let tapping = async {
            let (mut said, mut buffer) = (Vec::new(), [0; 1_024]);
            let mut back = [0; 1_024];
            loop {
                tokio::select! {
                    read = tap.read(&mut buffer) => match read.unwrap() {
                        0 => break said,
                        len => {
                            said.extend_from_slice(&buffer[..len]);
                            tap_far.write_all(&buffer[..len]).await.unwrap();
                        }
                    },
                    read = tap_far.read(&mut back) => {
                        let len = read.unwrap();
                        tap.write_all(&back[..len]).await.unwrap();
                    }
                }
            }
        };
        tokio::join!(caller, callee, tapping).2
    })
}

/// Whole frames of an opening that go wrong at each of its steps.
fn openings(protocol: Protocol) -> Vec<Vec<u8>> {
    let frame = |body: &[u8]| {
        let mut bytes = Vec::new();
        protocols::preamble::write_frame(&mut bytes, body);
        bytes
    };
    let preamble = protocol.preamble().to_vec();
    let hello = |caller: &str| {
        let hello =
            Hello { caller: caller.into(), callee: String::new(), boot_id: BootId(1), nonce: [1; 16] };
        [preamble.clone(), frame(&codec::encode(&hello))].concat()
    };
    let tag = foreign().announce_key(protocols::ids::ChannelId(1)).tag("handshake caller", &[b"x"]);
    let proof = frame(&codec::encode(&Proof { tag }));
    let mut other_version = preamble.clone();
    other_version[5] = 9;
    let other_protocol = Protocol::Directory.preamble().to_vec();
    vec![
        preamble.clone(),
        hello("roof"),
        hello("cellar"),
        hello(""),
        hello(&"x".repeat(450)),
        [hello("roof"), proof.clone()].concat(),
        [hello("roof"), proof, vec![0; 40]].concat(),
        [preamble.clone(), frame(&[0; 512])].concat(),
        [preamble.clone(), frame(&[0xff; 513])].concat(),
        [preamble.clone(), u32::MAX.to_le_bytes().to_vec()].concat(),
        [preamble, vec![0xff; 2_000]].concat(),
        other_version,
        other_protocol,
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ]
}

/// What was told, or a panic: preamble, then a refusal of it; or a challenge or refusal of the hello; then a verdict.
fn grammar(told: &[u8], error: &LinkError, protocol: Protocol) -> &'static str {
    assert!(told.len() <= MOST_TOLD);
    let Some((preamble, mut rest)) = told.split_first_chunk::<PREAMBLE_BYTES>() else {
        assert!(told.is_empty(), "half a preamble");
        return "told nothing";
    };
    assert_eq!(*preamble, protocol.preamble());
    let mut frames = Vec::new();
    while let Some((header, behind)) = rest.split_first_chunk::<FRAME_HEADER_BYTES>() {
        let len = protocols::preamble::frame_len(*header, MAX_OPENING_BYTES).unwrap();
        frames.push(&behind[..len]);
        rest = &behind[len..];
    }
    assert!(rest.is_empty(), "half a frame");
    if let LinkError::Preamble(error) = error {
        let Some(frame) = frames.first() else { return "told the preamble" };
        let refusal: Refusal = codec::decode::<_, MAX_OPENING_BYTES>(frame).unwrap();
        assert_eq!((refusal, frames.len()), (Refusal::Preamble(error.to_string()), 1));
        return "refused the preamble";
    }
    let Some(reply) = frames.first() else { return "told the preamble" };
    match codec::decode::<Reply, MAX_OPENING_BYTES>(reply).unwrap() {
        Reply::Refused(refusal) => {
            assert!(matches!(refusal, Refusal::UnknownServer(_)) && frames.len() == 1, "{refusal}");
            "refused the hello"
        }
        Reply::Challenge(_) => match frames.get(1) {
            None => "challenged",
            Some(verdict) => {
                let verdict: Verdict = codec::decode::<_, MAX_OPENING_BYTES>(verdict).unwrap();
                assert_eq!((verdict, frames.len()), (Verdict::Refused(Refusal::Key), 2));
                "refused the proof"
            }
        },
    }
}

fn storm(protocol: Protocol, name: &'static str) {
    static RECORDED: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let mut trial = Trial::new(name);
    let mut random = trial.random();
    let both = [Protocol::Registration, Protocol::Feed];
    let replays = RECORDED.get_or_init(|| both.iter().flat_map(|p| (0..8).map(|_| recorded(*p))).collect());
    let mut mutator = Mutator::new(random.fork(), 2_048);
    let whole: Vec<Vec<u8>> = openings(protocol).into_iter().chain(replays.iter().cloned()).collect();
    whole.iter().for_each(|bytes| mutator.record(bytes, 64));
    block_on(async {
        for _ in 0..Trial::inputs() / 2 {
            let said = if random.u8(..8) == 0 { random.choice(&whole).unwrap() } else { mutator.spoil() };
            let mut wire = Wire::new(said);
            wire.told.reserve(MOST_TOLD);
            // Not by `measured`, which takes no future: this thread does nothing else meanwhile.
            let meter = Meter::start();
            let outcome = session::accept(&mut wire, protocol, BOOT, key_of).await;
            let growth = meter.stop();
            let Err(error) = outcome else { panic!("let in: {said:?}") };
            trial.count(grammar(&wire.told, &error, protocol));
            drop(error);
            assert!(growth.peak < PEAK_BYTES, "{growth:?} for {said:?}");
            trial.highest("peak bytes", growth.peak);
            trial.count("connections");
        }
    });
    let steps =
        ["told nothing", "refused the preamble", "refused the hello", "challenged", "refused the proof"];
    assert!(steps.iter().all(|step| trial.of(step) > 0), "some step was never reached");
}

#[test]
fn nobody_gets_past_the_opening_of_p1_without_the_key() {
    storm(Protocol::Registration, "P1 openings");
}

#[test]
fn nobody_gets_past_the_opening_of_p3_without_the_key() {
    storm(Protocol::Feed, "P3 openings");
}

/// The check itself: the same caller, live and with the key, is let in; its recording is not.
#[test]
fn the_one_who_holds_the_key_is_let_in_and_the_recording_of_it_is_not() {
    let said = recorded(Protocol::Registration);
    let mut wire = Wire::new(&said);
    let outcome = block_on(session::accept(&mut wire, Protocol::Registration, BOOT, key_of));
    let error = outcome.map(drop).unwrap_err();
    assert_eq!(grammar(&wire.told, &error, Protocol::Registration), "refused the proof");
}
