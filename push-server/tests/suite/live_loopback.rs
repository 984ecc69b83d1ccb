//! Live sessions of a real host on loopback: P5 from the newest random access point to the seam with P6, byte for byte.
#![expect(clippy::disallowed_methods, reason = "this test runs the real host on real sockets")]
#![expect(clippy::unwrap_used, reason = "what a test itself has made unwraps")]

use crate::host;

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use host::{CHANNEL, LIMIT, Running, WALL, cluster, order, packet, receiver};
use protocols::authority::Lease;
use protocols::p3_feed::{AccessPoint, Mark, Opened, length_prefix};
use protocols::p4_control::{LiveAnswer, LiveId, LiveOrder, LiveRequest, LiveVerdict, Sealed};
use protocols::time::ClusterTime;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

const LAN: &str = "127.0.9.1";
const SSRC: u32 = 9;
/// Packets of a 5 Mb/s channel in a second.
const EACH_SECOND: u64 = 90_000 / 190;
/// Packet in which the only random access point begins.
const ACCESS: u16 = 50;
/// Nothing more comes when nothing has while so many packets were made.
const QUIET_PACKETS: u64 = EACH_SECOND / 2;

/// A host whose channel is fed in real time.
struct Scene {
    running: Running,
    p6: UdpSocket,
    fed: Arc<AtomicU64>,
    feeder: JoinHandle<()>,
}

impl Scene {
    async fn new() -> Self {
        let mut running = Running::start_single();
        let p6 = receiver(LAN, 0);
        running.configure(p6.local_addr().unwrap().port(), vec![order(LAN, "lo")]);
        let (stream, _session, opened) = running.feed(cluster(), CHANNEL).await.unwrap();
        assert_eq!(opened, Opened::Accepted);
        let fed = Arc::new(AtomicU64::new(0));
        let feeder = tokio::spawn(feed(stream, Arc::clone(&fed)));
        Self { running, p6, fed, feeder }
    }

    fn fed(&self) -> u64 {
        self.fed.load(Ordering::Relaxed)
    }

    async fn until_fed(&self, packets: u64) {
        let begun = Instant::now();
        while self.fed() < packets {
            assert!(begun.elapsed() < LIMIT, "fed {} of {packets}", self.fed());
            tokio::task::yield_now().await;
        }
    }

    async fn stop(self) {
        self.feeder.abort();
        self.running.stop().await;
    }
}

/// Feeds what is due each 2 ms, and says where decoding may begin.
async fn feed(mut stream: TcpStream, fed: Arc<AtomicU64>) {
    let (begun, mut sent) = (Instant::now(), 0_u64);
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    loop {
        ticks.tick().await;
        let due = u64::try_from(begun.elapsed().as_micros()).unwrap() * 9 / 100 / 190;
        let mut bytes = Vec::new();
        while sent < due {
            let framed = |bytes: &[u8]| [&length_prefix(bytes)[..], bytes].concat();
            if sent.is_multiple_of(EACH_SECOND) {
                bytes.extend(framed(&Mark { number: sent, date: ClusterTime(WALL + sent) }.encode()));
            }
            bytes.extend(framed(&packet(u16::try_from(sent).unwrap())));
            if sent == u64::from(ACCESS) {
                bytes.extend(framed(&AccessPoint { number: sent }.encode()));
            }
            sent += 1;
        }
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
        fed.store(sent, Ordering::Relaxed);
    }
}

/// A client's socket, for P4 and P5.
struct Viewer {
    socket: UdpSocket,
    lease: Lease,
    id: LiveId,
}

impl Viewer {
    fn new(id: u32) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let expires = ClusterTime(WALL + 12 * 3_600_000);
        let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let lease = Lease { client, channel: CHANNEL, destination: LAN.parse().unwrap(), expires };
        Self { socket, lease, id: LiveId(id) }
    }

    fn say(&self, running: &Running, order: LiveOrder) {
        let request = LiveRequest { lease: self.lease, time: ClusterTime(WALL), session: self.id, order };
        let bytes = request.seal(&cluster().lease_key().secret(&self.lease));
        self.socket.send_to(&bytes, running.control).unwrap();
    }

    fn begin(&self, running: &Running) {
        self.say(running, LiveOrder::Begin { burst_percent: 500 });
    }

    /// What comes next: an answer, or a packet's number when all of its bytes are right.
    fn next(&self) -> Option<Result<LiveVerdict, u16>> {
        let mut bytes = [0; 2_000];
        let (len, _) = self.socket.recv_from(&mut bytes).ok()?;
        Some(match Sealed::parse(&bytes[..len]) {
            Ok(sealed) => {
                let secret = cluster().lease_key().secret(&self.lease);
                Ok(sealed.open::<LiveAnswer>(&secret).unwrap().verdict)
            }
            Err(_) => Err(number(&bytes[..len])),
        })
    }

    /// The first answer, and numbers of packets that came before it.
    fn answer(&self) -> (LiveVerdict, Vec<u16>) {
        let mut early = Vec::new();
        loop {
            match self.next().unwrap() {
                Ok(verdict) => return (verdict, early),
                Err(number) => early.push(number),
            }
        }
    }

    /// Numbers of all that comes until nothing comes any more, though packets are made.
    fn rest(&self, scene: &Scene) -> Vec<u16> {
        self.socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let (mut rest, mut last) = (Vec::new(), scene.fed());
        while scene.fed() < last + QUIET_PACKETS {
            if let Some(come) = self.next() {
                rest.extend(come.err());
                last = scene.fed();
            }
        }
        rest
    }
}

fn number(bytes: &[u8]) -> u16 {
    let number = u16::from_be_bytes([bytes[2], bytes[3]]);
    assert!(bytes == packet(number), "packet {number} was altered");
    number
}

/// Goal: fast start. Method: a burst from a random access point a second old; how far the channel gets meanwhile tells how fast
/// it was. Then P6 is joined, and the session ended at its first packet: together they are the stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_burst_catches_up_and_p6_takes_over_without_a_gap() {
    let mut scene = Scene::new().await;
    scene.until_fed(u64::from(ACCESS) + EACH_SECOND).await;
    let viewer = Viewer::new(1);
    let fed_before = scene.fed();
    viewer.begin(&scene.running);
    let (verdict, mut by_p5) = viewer.answer();
    let LiveVerdict::Begun { ssrc: SSRC, first: ACCESS, newest } = verdict else { panic!("{verdict:?}") };
    while by_p5.last().is_none_or(|last| *last < newest) {
        by_p5.extend(viewer.next().unwrap().err());
    }
    let (burst, meanwhile) = (by_p5.len() as u64, scene.fed() - fed_before);
    println!("{burst} packets came while {meanwhile} were made");
    assert!(burst >= 2 * meanwhile, "a burst of five times the rate, on a busy machine");

    scene.running.watch(LAN);
    let mut bytes = [0; 2_000];
    let first = loop {
        let len = scene.p6.recv(&mut bytes).unwrap();
        // Announcements come by the same way.
        if len > 200 {
            break number(&bytes[..len]);
        }
    };
    viewer.say(&scene.running, LiveOrder::End { ssrc: SSRC, first });
    by_p5.extend(viewer.rest(&scene));
    let last = *by_p5.last().unwrap();
    assert_eq!(by_p5, (ACCESS..=last).collect::<Vec<_>>());
    assert!(last >= first - 1, "by P5 up to {last}, by P6 from {first}");
    let counts = scene.running.tallies[0].counts();
    assert_eq!((counts.live_packets, counts.live_lost), (by_p5.len() as u64, 0));
    scene.stop().await;
}

/// Goal: who vanishes is sent no more. Method: a session whose client says nothing after its beginning.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_session_whose_client_has_vanished_ends_though_packets_go_on() {
    let scene = Scene::new().await;
    scene.until_fed(u64::from(ACCESS) + 10).await;
    let viewer = Viewer::new(1);
    viewer.begin(&scene.running);
    let (_, early) = viewer.answer();
    let by_p5 = [early, viewer.rest(&scene)].concat();
    let packets = by_p5.len() as u64;
    assert!((2 * EACH_SECOND..6 * EACH_SECOND).contains(&packets), "{packets} packets in three seconds");
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_fifth_session_of_one_address_is_told_that_there_is_no_room() {
    let scene = Scene::new().await;
    scene.until_fed(u64::from(ACCESS) + 10).await;
    let viewers: Vec<Viewer> = (1..=5).map(Viewer::new).collect();
    for (n, viewer) in viewers.iter().enumerate() {
        viewer.begin(&scene.running);
        let (verdict, _) = viewer.answer();
        assert_eq!(verdict == LiveVerdict::Full, n == 4, "{n}: {verdict:?}");
    }
    assert!(viewers[4].rest(&scene).is_empty());
    scene.stop().await;
}
