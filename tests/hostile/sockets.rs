//! The real daemons on loopback: what each kind of bad connection is answered, and that a good one works meanwhile.
#![expect(clippy::disallowed_methods, reason = "these tests run real servers and have sockets of their own")]

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use database_server::shell::{self as database, Bound, Ports, Source};
use link::frames::{self, LinkError};
use link::session::{self, Call};
use link::shutdown::Shutdown;
use protocols::authority::ClusterKey;
use protocols::codec::{self, decode_message};
use protocols::handshake::{Hello, Proof, Reply, Verdict};
use protocols::ids::BootId;
use protocols::p2_directory::{ToClient, ToDatabase};
use protocols::preamble::{MAX_P2_ANSWER_BYTES, MAX_P2_REQUEST_BYTES, Protocol, Refusal};
use protocols::topology::Topology;
use push_server::shell::{self as push};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::site::{cluster, foreign, hall};

/// No wait is longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// P2 connections from one address, as the database server's pages say.
const CLIENTS_PER_ADDRESS: usize = 1_000;
/// P3 connections that may be opening at a time.
const FEED_OPENINGS: usize = 64;

const SITE: &str = r#"
[database_server]
address = "127.0.0.1"

[[acquisition_server]]
id = "roof"
  [[acquisition_server.input]]
  id = "card"
  url = "testcard:"

[[channel]]
id = 1
name = "One"
acquisition_server = "roof"
input = "card"

[[push_server]]
id = "hall"
address = "127.0.0.1"
channels = [1]
  [[push_server.destination]]
  address = "239.192.1.1"
  interface = "127.0.0.1"
  serves = ["127.0.0.0/8"]
"#;

/// A database server and a push server host.
struct Site {
    bound: Bound,
    feeds: SocketAddr,
    shutdown: Shutdown,
    _data: tempfile::TempDir,
}

impl Site {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let key = data.path().join("cluster.key");
        std::fs::write(&key, cluster().to_file_text()).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let (ready, bound) = tokio::sync::oneshot::channel();
        let options = database::Options {
            topology: Source::Parsed(Arc::new(
                Topology::parse("topology.toml", SITE).expect("it is right").0,
            )),
            data: data.path().to_owned(),
            cluster_key: None,
            listen: Some(IpAddr::from([127, 0, 0, 1])),
            ports: Ports::Any,
            certificate: None,
            announce: false,
            ready: Some(ready),
        };
        let shutdown = Shutdown::new();
        tokio::spawn(database::run(options, shutdown.clone()));
        let host = push::Host::bind(push::Options {
            host: hall(),
            database: None,
            listen: IpAddr::from([127, 0, 0, 1]),
            feed_port: 0,
            control_port: 0,
            stream_port: 0,
            key: cluster(),
            data_threads: 1,
            unicast_viewers: 2,
            query_interval: std::time::Duration::from_secs(125),
            recordings: None,
            metrics: None,
        })
        .unwrap();
        let feeds = host.feed_address().unwrap();
        tokio::spawn(host.serve(shutdown.clone()));
        let bound = timeout(PATIENCE, bound).await.unwrap().expect("it starts");
        Self { bound, feeds, shutdown, _data: data }
    }

    fn address(&self, protocol: Protocol) -> SocketAddr {
        match protocol {
            Protocol::Registration => self.bound.registration,
            Protocol::Directory => self.bound.directory,
            Protocol::Feed => self.feeds,
        }
    }

    async fn connect(&self, protocol: Protocol) -> TcpStream {
        TcpStream::connect(self.address(protocol)).await.unwrap()
    }

    /// A connection that has opened and may speak.
    async fn opened(&self, protocol: Protocol) -> TcpStream {
        let mut stream = self.connect(protocol).await;
        frames::open(&mut stream, protocol).await.unwrap();
        stream
    }

    /// A P2 client at `from`.
    async fn client_at(&self, from: [u8; 4]) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((from, 0))).unwrap();
        let mut stream = socket.connect(self.bound.directory).await.unwrap();
        frames::open(&mut stream, Protocol::Directory).await.unwrap();
        Client { stream }
    }

    /// The handshake of a server that holds `key`.
    async fn server(&self, protocol: Protocol, key: &ClusterKey) -> Result<(), LinkError> {
        let call = Call {
            protocol,
            caller: "roof".to_owned(),
            callee: if protocol == Protocol::Feed { "hall".to_owned() } else { String::new() },
            boot_id: BootId(1),
            key: server_key(protocol, key),
        };
        session::call(&mut self.connect(protocol).await, &call).await.map(drop)
    }

    /// Every good peer works.
    async fn works(&self) {
        self.client_at([127, 0, 0, 9]).await.ping().await;
        self.server(Protocol::Registration, &cluster()).await.unwrap();
        self.server(Protocol::Feed, &cluster()).await.unwrap();
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

fn server_key(protocol: Protocol, key: &ClusterKey) -> protocols::authority::MacKey {
    if protocol == Protocol::Feed {
        key.host_key(&hall())
    } else {
        key.acquisition_key(&"roof".parse().unwrap())
    }
}

struct Client {
    stream: TcpStream,
}

impl Client {
    async fn ping(&mut self) {
        frames::write_frame(&mut self.stream, &codec::encode(&ToDatabase::Ping)).await.unwrap();
        assert_eq!(hear(&mut self.stream).await, Some(ToClient::Pong));
    }
}

async fn hear(stream: &mut TcpStream) -> Option<ToClient> {
    let body =
        timeout(PATIENCE, frames::read_frame(stream, MAX_P2_ANSWER_BYTES)).await.expect("in time").unwrap();
    body.map(|body| decode_message::<ToClient, MAX_P2_ANSWER_BYTES>(&body).unwrap())
}

/// All that comes until the connection ends; it must end.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let end = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the connection is closed");
    assert!(end.is_ok() || bytes.is_empty(), "an answer was lost to a reset");
    bytes
}

fn on_real_sockets(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(story);
    runtime.shutdown_timeout(Duration::from_secs(2));
}

const ALL: [Protocol; 3] = [Protocol::Registration, Protocol::Directory, Protocol::Feed];

#[test]
fn another_version_and_another_protocol_are_told_so() {
    on_real_sockets(async {
        let site = Site::start().await;
        for protocol in ALL {
            let number = protocol.number();
            let other = if number == 3 { 2 } else { number + 1 };
            let cases = [
                ([number, 9], format!("version 9 of P{number}, this program version {}", protocol.version())),
                ([other, 1], format!("protocol P{other} to a port of P{number}")),
            ];
            for ([said, version], told) in cases {
                let mut stream = site.connect(protocol).await;
                stream.write_all(&[b'M', b'A', b'S', b'T', said, version, 0, 0]).await.unwrap();
                let answer = rest(&mut stream).await;
                let (preamble, frame) = answer.split_at(8);
                assert_eq!(preamble, protocol.preamble());
                let refusal: Refusal = codec::decode::<_, 512>(&frame[4..]).unwrap();
                assert!(refusal.to_string().contains(&told), "{refusal}");
            }
            // Some other program altogether learns what it has called, and no more.
            let mut stream = site.connect(protocol).await;
            stream.write_all(b"GET / HT").await.unwrap();
            assert_eq!(rest(&mut stream).await, protocol.preamble());
        }
        site.works().await;
    });
}

#[test]
fn oversized_and_truncated_frames_end_their_connection_only() {
    on_real_sockets(async {
        let site = Site::start().await;
        let mut good = site.client_at([127, 0, 0, 5]).await;
        let mut oversized = site.opened(Protocol::Directory).await;
        let len = u32::try_from(MAX_P2_REQUEST_BYTES + 1).unwrap();
        oversized.write_all(&len.to_le_bytes()).await.unwrap();
        let Some(ToClient::Refused(refusal)) = hear(&mut oversized).await else { panic!("not refused") };
        assert_eq!(refusal.to_string(), "a frame of 1025 bytes where at most 1024 are allowed");
        assert_eq!(hear(&mut oversized).await, None);
        let mut rubbish = site.opened(Protocol::Directory).await;
        rubbish.write_all(&[5, 0, 0, 0, 0, 0, 0, 0, 7]).await.unwrap();
        let Some(ToClient::Refused(Refusal::Protocol(_))) = hear(&mut rubbish).await else {
            panic!("not refused")
        };
        for protocol in [Protocol::Registration, Protocol::Feed] {
            let mut oversized = site.opened(protocol).await;
            oversized.write_all(&[0xff; 4]).await.unwrap();
            assert!(rest(&mut oversized).await.is_empty(), "nothing is said to who is not authenticated");
        }
        for protocol in ALL {
            let mut truncated = site.opened(protocol).await;
            truncated.write_all(&[200, 0, 0, 0, 1, 2, 3]).await.unwrap();
            truncated.shutdown().await.unwrap();
            assert!(rest(&mut truncated).await.is_empty());
        }
        good.ping().await;
        site.works().await;
    });
}

#[test]
fn the_wrong_cluster_key_is_refused_by_name_and_found_out_by_its_holder() {
    on_real_sockets(async {
        let site = Site::start().await;
        for protocol in [Protocol::Registration, Protocol::Feed] {
            // An honest server with another key sees that the callee does not hold it.
            let outcome = site.server(protocol, &foreign()).await;
            assert!(matches!(outcome, Err(LinkError::Unauthenticated)), "{outcome:?}");
            // One that goes on all the same is told why it is refused.
            let mut stream = site.opened(protocol).await;
            let callee = if protocol == Protocol::Feed { "hall" } else { "" };
            let hello =
                Hello { caller: "roof".into(), callee: callee.into(), boot_id: BootId(1), nonce: [1; 16] };
            frames::write_opening(&mut stream, &hello).await.unwrap();
            let reply: Reply = frames::read_opening(&mut stream).await.unwrap();
            assert!(matches!(reply, Reply::Challenge(_)));
            let proof = Proof { tag: server_key(protocol, &foreign()).tag("handshake caller", &[b"any"]) };
            frames::write_opening(&mut stream, &proof).await.unwrap();
            let verdict: Verdict = frames::read_opening(&mut stream).await.unwrap();
            let Verdict::Refused(refusal) = verdict else { panic!("welcome") };
            assert!(refusal.to_string().contains("do not hold the same cluster key"), "{refusal}");
            assert!(rest(&mut stream).await.is_empty());
        }
        site.works().await;
    });
}

/// Eight bytes in as many seconds, thirty times over: each is cut off after the opening's time, and nobody waits for it.
#[test]
fn slow_connections_are_cut_off_and_hold_up_nobody() {
    on_real_sockets(async {
        let site = Site::start().await;
        let mut slow = Vec::new();
        for protocol in ALL {
            for _ in 0..10 {
                let stream = site.connect(protocol).await;
                slow.push(tokio::spawn(async move {
                    let begun = tokio::time::Instant::now();
                    let (mut reader, mut writer) = stream.into_split();
                    let mut told = Vec::new();
                    let drip = async {
                        for byte in b"MAST" {
                            if writer.write_all(&[*byte]).await.is_err() {
                                return;
                            }
                            tokio::time::sleep(Duration::from_secs(2)).await;
                        }
                        std::future::pending::<()>().await;
                    };
                    let ended = tokio::select! {
                        ended = timeout(PATIENCE, reader.read_to_end(&mut told)) => ended.is_ok(),
                        () = drip => true,
                    };
                    assert!(told.is_empty(), "{told:?}");
                    (ended, begun.elapsed())
                }));
            }
        }
        site.works().await;
        for connection in slow {
            let (ended, after) = connection.await.unwrap();
            assert!(ended && after < PATIENCE, "still open after {after:?}");
        }
        site.works().await;
    });
}

#[test]
fn connections_over_the_limit_of_an_address_are_refused_and_others_are_not() {
    on_real_sockets(async {
        let site = Site::start().await;
        let mut clients = Vec::new();
        for _ in 0..CLIENTS_PER_ADDRESS {
            clients.push(site.client_at([127, 0, 0, 3]).await);
        }
        // All have been taken once the last of them is answered.
        clients.last_mut().unwrap().ping().await;
        let mut refused = 0;
        for _ in 0..5 {
            let mut over = site.client_at([127, 0, 0, 3]).await;
            let Some(ToClient::Refused(Refusal::Busy(why))) = hear(&mut over.stream).await else { continue };
            assert!(why.contains("1000 clients are connected from 127.0.0.3"), "{why}");
            refused += 1;
        }
        assert_eq!(refused, 5);
        clients[0].ping().await;
        site.works().await;
        drop(clients);
    });
}

/// More idle connections than may open at a time do not keep a real acquisition server out.
#[test]
fn a_crowd_at_the_door_of_p3_does_not_keep_a_feed_out() {
    on_real_sockets(async {
        let site = Site::start().await;
        let mut crowd = Vec::new();
        for _ in 0..3 * FEED_OPENINGS {
            crowd.push(site.connect(Protocol::Feed).await);
        }
        let begun = tokio::time::Instant::now();
        site.server(Protocol::Feed, &cluster()).await.unwrap();
        assert!(begun.elapsed() < frames::OPENING_TIMEOUT, "let in after {:?}", begun.elapsed());
        // Whoever has waited longest for nothing has made room.
        assert!(rest(&mut crowd[0]).await.is_empty());
    });
}
