//! `satip://` against the laboratory's server, which VLC and VDR take for one.

use lab::broadcast::Broadcast;
use lab::satip_server::SatipServer;
use media::packet::PACKET_BYTES;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::time::timeout;

use super::tests::{CLIP, PATIENCE, bring, open, refusal};
use super::*;

/// Bits of the test card in a second.
const RATE_BPS: u64 = 902_400;

fn server(tuners: usize, timeout: Duration) -> SatipServer {
    let broadcast = Broadcast::new().with("514", CLIP, RATE_BPS);
    SatipServer::start((Ipv4Addr::LOCALHOST, 0), broadcast, tuners, timeout)
}

fn url(server: &SatipServer, rest: &str) -> String {
    format!("satip://{}/?src=1&msys=dvbt&{rest}", server.address())
}

/// The end of an input that brings nothing.
async fn end(input: &mut OpenInput) -> String {
    match bring(input, usize::MAX).await.1 {
        Some(End::Closed(cause)) => cause,
        other => panic!("{other:?}"),
    }
}

/// Lets the input turn until `condition` holds.
async fn until(input: &mut OpenInput, condition: impl Fn(&OpenInput, &Batch) -> bool) {
    let (clock, mut batch) = (Clock::start(), Batch::default());
    let turn = async {
        while !condition(input, &batch) {
            batch = Batch::default();
            input.next(&clock, &mut batch).await.unwrap();
        }
    };
    timeout(PATIENCE, turn).await.expect("it comes to that");
}

fn pid(packet: &PacketBytes) -> u16 {
    u16::from_be_bytes([packet[1], packet[2]]) & 0x1fff
}

#[tokio::test]
async fn a_tuner_is_taken_its_stream_comes_whole_and_it_is_given_back() {
    let server = server(1, Duration::from_secs(30));
    let mut input = open(&url(&server, "freq=514")).await;
    assert_eq!(server.taken(), 0, "a tuner is taken by who reads");
    let (batch, end) = bring(&mut input, 100).await;
    assert_eq!(end, None);
    let bytes = batch.packets.as_flattened();
    assert!(bytes == &CLIP[..bytes.len()]);
    assert_eq!(server.taken(), 1);
    until(&mut input, |input, _| input.signal().is_some()).await;
    let signal = Signal { lock: true, strength_percent: Some(78), quality_percent: Some(100) };
    assert_eq!(input.signal(), Some(signal));
    input.close().await;
    assert_eq!(server.taken(), 0);
    let asked: Vec<String> =
        server.requests().iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(asked, ["SETUP", "PLAY", "TEARDOWN"]);
}

#[tokio::test]
async fn packets_are_chosen_and_chosen_otherwise_while_it_plays() {
    let server = server(1, Duration::from_secs(30));
    let pids: Vec<u16> = {
        let all: std::collections::BTreeSet<u16> = CLIP
            .as_chunks::<PACKET_BYTES>()
            .0
            .iter()
            .take(500)
            .map(pid)
            .filter(|pid| *pid != 0x1fff)
            .collect();
        all.into_iter().collect()
    };
    let (first, last) = (pids[0], *pids.last().unwrap());
    let mut input = open(&url(&server, "freq=514")).await;
    input.select(&Pids::Only([first].into()));
    let (batch, _) = bring(&mut input, 3).await;
    assert!(batch.packets.iter().all(|packet| pid(packet) == first));
    input.select(&Pids::Only([last].into()));
    until(&mut input, |_, batch| batch.packets.iter().any(|packet| pid(packet) == last)).await;
    input.select(&Pids::All);
    until(&mut input, |_, batch| batch.packets.iter().any(|packet| ![first, last].contains(&pid(packet))))
        .await;
    let chosen: Vec<String> =
        server.requests().iter().filter_map(|line| Some(line.split_once("stream=")?.1.to_owned())).collect();
    let id = chosen[0].split(' ').next().unwrap();
    let add = format!("{id}?addpids={last}&delpids={first} RTSP/1.0");
    assert_eq!(chosen[1..], [add, format!("{id}?pids=all RTSP/1.0")]);
    input.close().await;
}

#[tokio::test]
async fn a_tuner_is_kept_and_a_forgotten_one_is_asked_for_anew() {
    // A word each second keeps it.
    let server = server(1, Duration::from_secs(2));
    let mut input = open(&url(&server, "freq=514")).await;
    let packets = usize::try_from(RATE_BPS * 3 / 8 / 188).unwrap();
    assert_eq!(bring(&mut input, packets).await.1, None, "it plays for three seconds");
    assert!(server.requests().iter().any(|line| line.starts_with("OPTIONS ")));
    server.forget();
    let cause = end(&mut input).await;
    assert!(cause.contains("knows the session no longer (454)"), "{cause}");
    input.close().await;
    let mut input = open(&url(&server, "freq=514")).await;
    bring(&mut input, 10).await;
    server.restart();
    let cause = end(&mut input).await;
    assert!(cause.contains("the connection to the server is lost"), "{cause}");
}

#[tokio::test]
async fn busy_tuners_silent_transponders_and_absent_servers_are_told() {
    let server = server(1, Duration::from_secs(30));
    let mut first = open(&url(&server, "freq=514")).await;
    bring(&mut first, 1).await;
    let mut second = open(&url(&server, "freq=514")).await;
    let cause = end(&mut second).await;
    let words = format!(
        "satip://{}: all tuners of the server are busy (503 Service Unavailable: No-More: frontends)",
        server.address()
    );
    assert!(cause.starts_with(&words), "{cause}");
    second.close().await;
    first.close().await;

    let mut deaf = open(&url(&server, "freq=999")).await;
    let strange = bring(&mut deaf, 1).await.0.strange.unwrap();
    assert!(strange.ends_with("has no lock (strength 15 %, quality 0 %)"), "{strange}");
    assert!(!deaf.signal().unwrap().lock);
    deaf.close().await;
    assert_eq!(server.taken(), 0);

    let address = server.address();
    drop(server);
    let cause = refusal(&format!("satip://{address}/?freq=514&msys=dvbt")).await;
    assert!(cause.contains(&format!("cannot reach {address}")), "{cause}");
}
