//! Every scheme against real files, programs and loopback sockets.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use link::clock::Clock;
use link::udp::{self, Aim};
use media::packet::{NULL_PACKET, PACKET_BYTES};
use media::rtp::{PAYLOAD_TYPE_MP2T, RtpHeader};
use media::{RtpPacket, Sequence};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::OpenOptions;
use tokio::time::timeout;

use super::*;

pub(super) const CLIP: &[u8] = include_bytes!("../../../testcard/clip.ts");
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// What `input` brings until it has brought `packets`, or ends.
pub(super) async fn bring(input: &mut OpenInput, packets: usize) -> (Batch, Option<End>) {
    let clock = Clock::start();
    let mut all = Batch::default();
    let bring = async {
        while all.packets.len() < packets {
            let mut batch = Batch::default();
            let result = input.next(&clock, &mut batch).await;
            all.packets.append(&mut batch.packets);
            all.strange = batch.strange.or(all.strange.take());
            if let Err(end) = result {
                return Some(end);
            }
            if all.strange.is_some() && all.packets.is_empty() {
                return None;
            }
        }
        None
    };
    let end = timeout(PATIENCE, bring).await.expect("the input brings something in time");
    (all, end)
}

pub(super) async fn open(url: &str) -> OpenInput {
    timeout(PATIENCE, OpenInput::open(url)).await.unwrap().unwrap()
}

pub(super) async fn refusal(url: &str) -> String {
    timeout(PATIENCE, OpenInput::open(url)).await.unwrap().err().expect("it cannot be opened")
}

/// A folder with `clip.ts`, the first `packets` of the test card.
fn folder(packets: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("clip.ts"), &CLIP[..packets * PACKET_BYTES]).unwrap();
    folder
}

fn sender(to: &str) -> UdpSocket {
    let to: SocketAddr = to.parse().unwrap();
    let interface = Some("127.0.0.1".to_owned());
    let aim = Aim {
        to,
        interface: interface.filter(|_| to.ip().is_multicast()),
        ttl: 1,
        dscp: 0,
        broadcast: false,
    };
    udp::send(&aim).unwrap()
}

fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn the_test_card_plays() {
    let mut input = open("testcard:").await;
    let (batch, end) = bring(&mut input, 200).await;
    assert!(end.is_none());
    assert!(CLIP.starts_with(batch.packets.as_flattened()));
}

#[tokio::test]
async fn a_file_that_plays_once_comes_whole_and_finishes() {
    let folder = folder(100);
    let path = folder.path().join("clip.ts");
    let mut input = open(&format!("file:{}?loop=no", path.display())).await;
    let (batch, end) = bring(&mut input, usize::MAX).await;
    assert!(batch.packets.as_flattened() == &CLIP[..100 * PACKET_BYTES]);
    let Some(End::Finished(cause)) = end else { panic!("{end:?}") };
    assert!(cause.contains("played to its end, as `loop=no` asks"), "{cause}");
}

#[tokio::test]
async fn a_file_loops_without_a_seam() {
    let folder = folder(96);
    let path = folder.path().join("clip.ts");
    let mut input = open(&format!("file://{}", path.display())).await;
    let (batch, end) = bring(&mut input, 250).await;
    assert!(end.is_none());
    let mut looper = media::looper::Looper::new(&CLIP[..96 * PACKET_BYTES]).unwrap();
    assert!(batch.packets.iter().all(|packet| *packet == looper.next_packet()));
}

#[tokio::test]
async fn whoever_gives_up_waiting_and_comes_again_misses_nothing_of_a_file() {
    let folder = folder(96);
    let mut input = open(&format!("file:{}/clip.ts", folder.path().display())).await;
    let (clock, mut batch) = (Clock::start(), Batch::default());
    while batch.packets.len() < 250 {
        // Asked once, and dropped where there is nothing yet.
        let _ = tokio::time::timeout(Duration::ZERO, input.next(&clock, &mut batch)).await;
        tokio::task::yield_now().await;
    }
    let mut looper = media::looper::Looper::new(&CLIP[..96 * PACKET_BYTES]).unwrap();
    assert!(batch.packets.iter().all(|packet| *packet == looper.next_packet()));
}

#[tokio::test]
async fn files_that_cannot_play_are_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        format!("file:{}", path.display())
    };
    let missing = refusal(&format!("file:{}/no.ts", folder.path().display())).await;
    assert!(
        missing.contains("/no.ts: No such file") && missing.ends_with("correct the input's URL"),
        "{missing}"
    );
    let text = refusal(&file("long.txt", &b"hello ".repeat(20_000))).await;
    assert!(text.contains("long.txt: no MPEG-TS"), "{text}");
    let short = refusal(&file("short.txt", b"hello")).await;
    assert!(short.contains("no MPEG-TS: no packet of 188 bytes in the whole file"), "{short}");
    let timeless = refusal(&file("nulls.ts", &NULL_PACKET.repeat(10))).await;
    assert!(timeless.contains("fewer than two PCRs"), "{timeless}");
    let directory = refusal(&format!("file:{}", folder.path().display())).await;
    assert!(directory.ends_with("name a file"), "{directory}");
    let mut once = open(&format!("{}?loop=no", file("again.txt", b"hello"))).await;
    let (_, end) = bring(&mut once, 1).await;
    assert!(matches!(&end, Some(End::Closed(cause)) if cause.contains("no MPEG-TS")), "{end:?}");
}

#[tokio::test]
async fn a_programs_output_comes_whole_and_its_end_is_told() {
    let folder = folder(100);
    let path = folder.path().join("clip.ts");
    let mut input =
        open(&format!("exec:sh -c 'cat {}; echo nothing more >&2; exit 3'", path.display())).await;
    let (batch, end) = bring(&mut input, usize::MAX).await;
    assert!(batch.packets.as_flattened() == &CLIP[..100 * PACKET_BYTES]);
    assert_eq!(end, Some(End::Closed("`sh` ended with exit status 3: nothing more".to_owned())));
}

#[tokio::test]
async fn programs_that_bring_no_stream_are_told_apart() {
    let missing = refusal("exec:no-such-program --now").await;
    assert!(missing.starts_with("cannot start `no-such-program`: No such file"), "{missing}");
    let mut silent = open("exec:true").await;
    assert_eq!(bring(&mut silent, 1).await.1, Some(End::Closed("`true` ended".to_owned())));
    let mut chatty = open("exec:yes").await;
    let (_, end) = bring(&mut chatty, 1).await;
    assert!(matches!(&end, Some(End::Closed(cause)) if cause.starts_with("`yes`: no MPEG-TS")), "{end:?}");
}

/// The program's own child writes to a pipe; that the pipe ends shows that nobody is left.
#[tokio::test]
async fn closing_ends_the_program_and_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let input =
        open(&format!("exec:sh -c '(trap \"\" TERM; echo; exec sleep 60) > {} & wait'", pipe.display()))
            .await;
    let mut reader = OpenOptions::new().open_receiver(&pipe).unwrap();
    // From its first byte on the child does not heed SIGTERM. Before it has opened the pipe, the pipe reads as ended.
    let ready = async {
        while reader.read(&mut [0]).await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, ready).await.expect("the child has started");
    input.close().await;
    let read = timeout(PATIENCE, reader.read(&mut [0])).await.expect("the child is gone");
    assert_eq!(read.unwrap(), 0);
}

#[tokio::test]
async fn two_groups_on_one_port_do_not_cross() {
    let port = free_port();
    let url = |group: &str| format!("udp://{group}:{port}?interface=lo");
    let Ok(mut ours) = OpenInput::open(&url("239.255.78.1")).await else {
        eprintln!("skipped: this host cannot join groups on loopback");
        return;
    };
    let mut theirs = open(&url("239.255.78.2")).await;
    let (to_ours, to_theirs) =
        (sender(&format!("239.255.78.1:{port}")), sender(&format!("239.255.78.2:{port}")));
    for group in CLIP[..70 * PACKET_BYTES].chunks(7 * PACKET_BYTES) {
        to_theirs.send(&NULL_PACKET.repeat(3)).unwrap();
        to_ours.send(group).unwrap();
    }
    let (batch, _) = bring(&mut ours, 70).await;
    assert!(batch.packets.as_flattened() == &CLIP[..70 * PACKET_BYTES]);
    let (batch, _) = bring(&mut theirs, 30).await;
    assert!(batch.packets.iter().all(|packet| *packet == NULL_PACKET));
}

#[tokio::test]
async fn only_the_wanted_source_is_heard() {
    let port = free_port();
    let mut input = open(&format!("udp://127.0.0.1@127.0.0.1:{port}")).await;
    let other = UdpSocket::bind("127.0.0.2:0").unwrap();
    other.send_to(&NULL_PACKET, ("127.0.0.1", port)).unwrap();
    sender(&format!("127.0.0.1:{port}")).send(&CLIP[..7 * PACKET_BYTES]).unwrap();
    let (batch, _) = bring(&mut input, 7).await;
    assert!(batch.packets.as_flattened() == &CLIP[..7 * PACKET_BYTES]);
}

#[tokio::test]
async fn rtp_is_put_in_order_and_copies_are_dropped() {
    let port = free_port();
    let mut input = open(&format!("rtp://127.0.0.1:{port}")).await;
    let sender = sender(&format!("127.0.0.1:{port}"));
    for n in [0u16, 2, 1, 1, 4, 3, 2] {
        let (sequence, timestamp_90k) = (Sequence(65_534).add(n), u32::from(n));
        let header =
            RtpHeader { marker: false, payload_type: PAYLOAD_TYPE_MP2T, sequence, timestamp_90k, ssrc: 9 };
        let at = usize::from(n) * PACKET_BYTES;
        let packet = RtpPacket::new(&header, &CLIP[at..at + PACKET_BYTES]).unwrap();
        sender.send(packet.as_bytes()).unwrap();
    }
    let (batch, _) = bring(&mut input, 5).await;
    assert!(batch.packets.as_flattened() == &CLIP[..5 * PACKET_BYTES]);
}

#[tokio::test]
async fn what_is_no_transport_stream_is_told_with_a_hint() {
    let port = free_port();
    let header =
        RtpHeader { marker: false, payload_type: 33, sequence: Sequence(1), timestamp_90k: 0, ssrc: 9 };
    let rtp = RtpPacket::new(&header, &NULL_PACKET).unwrap();
    for (url, datagram, hint) in [
        (
            "udp",
            rtp.as_bytes(),
            "datagrams of 200 bytes arrive that are no MPEG-TS; try rtp:// instead of udp://",
        ),
        ("udp", b"hello", "datagrams of 5 bytes arrive that are no MPEG-TS"),
        (
            "rtp",
            &NULL_PACKET,
            "datagrams of 188 bytes arrive that are no RTP of at most 1328 bytes; try udp:// instead of rtp://",
        ),
    ] {
        let mut input = open(&format!("{url}://127.0.0.1:{port}")).await;
        sender(&format!("127.0.0.1:{port}")).send(datagram).unwrap();
        assert_eq!(bring(&mut input, 1).await.0.strange.as_deref(), Some(hint));
    }
}

#[tokio::test]
async fn sockets_that_cannot_be_had_are_named_with_what_to_do() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let cause = refusal(&format!("udp://127.0.0.1:{port}")).await;
    assert!(
        cause.contains(&format!("UDP port {port} on 127.0.0.1")) && cause.contains("another port"),
        "{cause}"
    );
    let cause = refusal("udp://239.255.78.1:5004?interface=eth99").await;
    assert!(cause.starts_with("no interface `eth99` on this host; there are:"), "{cause}");
    let cause = refusal("rtp://192.0.2.1:5004").await;
    assert!(cause.contains("192.0.2.1:5004") && cause.contains("this host has no such address"), "{cause}");
}
