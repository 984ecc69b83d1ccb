//! Repairs by a real host on loopback: a viewer is sent by P5 what it asks for with its lease, a receiver that says RTCP gets
//! it by P6, and nobody gets more than the budgets allow. Waits for what happens, with a limit; asserts no absolute time.
#![expect(clippy::disallowed_methods, reason = "this test runs the real host on real sockets")]
#![expect(clippy::unwrap_used, reason = "what a test itself has made unwraps")]

use crate::host;

use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;

use host::{CHANNEL, LIMIT, Running, WALL, cluster, order, packet, receiver, send};
use media::rtcp::generic_nack;
use protocols::authority::{ClusterKey, Lease};
use protocols::p4_control::{Missing, Repair};
use protocols::time::ClusterTime;
use tokio::net::TcpStream;

/// Synchronisation source of what is fed.
const SSRC: u32 = 9;
const GROUP: &str = "239.255.79.1";

/// A host that has sent packets from 0 on to [`GROUP`], and a viewer's socket.
struct Scene {
    running: Running,
    group: UdpSocket,
    viewer: UdpSocket,
    /// Held open.
    _feed: TcpStream,
}

impl Scene {
    async fn start(packets: u16) -> Self {
        let mut running = Running::start();
        let group = receiver(GROUP, 0);
        running.configure(group.local_addr().unwrap().port(), vec![order(GROUP, "lo")]);
        let (mut feed, _session, _) = running.feed(cluster(), CHANNEL).await.unwrap();
        running.watch(GROUP);
        send(&mut feed, 0..packets).await;
        let viewer = UdpSocket::bind("127.0.0.1:0").unwrap();
        viewer.set_read_timeout(Some(LIMIT)).unwrap();
        let scene = Self { running, group, viewer, _feed: feed };
        // The newest leaves last, also where a busy machine has had others passed over.
        while heard(&scene.group).0 != packets - 1 {}
        scene
    }

    fn ask(&self, key: &ClusterKey, missing: Vec<Missing>) {
        let lease = Lease {
            client: "127.0.0.1".parse().unwrap(),
            channel: CHANNEL,
            destination: GROUP.parse().unwrap(),
            expires: ClusterTime(WALL + 3_600_000),
        };
        let repair = Repair { lease, time: ClusterTime(WALL), rtt_us: 10_000_000, ssrc: SSRC, missing };
        let bytes = repair.seal(&key.lease_key().secret(&lease));
        self.viewer.send_to(&bytes, self.running.control).unwrap();
    }

    /// Packets sent to viewers, and those withheld.
    fn counted(&self) -> (u64, u64) {
        let counts = self.running.tallies.iter().map(|tally| tally.counts());
        counts.fold((0, 0), |(sent, withheld), more| {
            (sent + more.repairs_streamed, withheld + more.repairs_withheld)
        })
    }

    /// Waits until so many packets that were asked for have been withheld.
    fn until_withheld(&self, packets: u64) {
        let begun = std::time::Instant::now();
        while self.counted().1 < packets {
            assert!(begun.elapsed() < LIMIT, "{:?}", self.counted());
            std::thread::yield_now();
        }
    }
}

/// Number and sender of the next packet at `socket`, whose bytes are as they were fed. Announcements are passed over.
fn heard(socket: &UdpSocket) -> (u16, SocketAddr) {
    let mut bytes = [0; 2_000];
    loop {
        let (len, from) = socket.recv_from(&mut bytes).unwrap();
        let n = u16::from_be_bytes([bytes[2], bytes[3]]);
        if bytes[1] == 33 {
            assert!(bytes[..len] == packet(n), "bytes changed");
            return (n, from);
        }
    }
}

fn all(numbers: Range<u16>) -> Vec<Missing> {
    Missing::cover(numbers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_gets_the_very_packets_that_it_asks_for_from_the_port_of_p5() {
    let scene = Scene::start(100).await;
    scene.ask(&cluster(), Missing::cover([3, 4, 40, 77, 99]));
    for n in [3, 4, 40, 77, 99] {
        assert_eq!(heard(&scene.viewer), (n, scene.running.stream));
    }
    // Once more within the round trip that it states, and what was never fed: nothing.
    scene.ask(&cluster(), Missing::cover([3, 4, 40, 77, 99, 100]));
    scene.until_withheld(6);
    scene.ask(&cluster(), Missing::cover([50]));
    assert_eq!(heard(&scene.viewer), (50, scene.running.stream));
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_gets_no_more_than_half_a_second_of_the_stream_at_once() {
    let scene = Scene::start(400).await;
    scene.ask(&cluster(), all(0..400));
    scene.until_withheld(100);
    let (sent, withheld) = scene.counted();
    assert_eq!(sent + withheld, 400);
    assert!((200..=240).contains(&sent), "{sent}");
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_tag_gets_nothing() {
    let scene = Scene::start(100).await;
    scene.ask(&ClusterKey::new([8; 32]), all(0..10));
    scene.ask(&cluster(), Missing::cover([50]));
    assert_eq!(heard(&scene.viewer).0, 50);
    scene.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_says_rtcp_has_it_broadcast_and_gets_nothing_itself() {
    let scene = Scene::start(100).await;
    let report = [0x80, 201, 0, 1, 0, 0, 0, 7];
    let nack = [&report[..], &generic_nack(7, SSRC, &[(20, 0b10)])].concat();
    scene.viewer.send_to(&nack, scene.running.control).unwrap();
    assert_eq!((heard(&scene.group).0, heard(&scene.group).0), (20, 22));
    scene.ask(&cluster(), Missing::cover([50]));
    assert_eq!(heard(&scene.viewer).0, 50);
    scene.running.stop().await;
}
