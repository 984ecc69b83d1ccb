//! The shell on loopback, with peers made by hand from the protocol crate.
#![expect(clippy::disallowed_methods, reason = "peers made by hand have sockets and tasks of their own")]

use std::net::UdpSocket as StdUdpSocket;
use std::time::Duration;

use link::session::{self, Call, Session};
use protocols::authority::ClusterKey;
use protocols::codec::{self, decode_message};
use protocols::health::HealthReport;
use protocols::ids::BootId;
use protocols::p1_registration::{ChannelReport, FeedPlan, InputState, Poll, ToAcquisition, ToDatabase};
use protocols::p2_directory::{ChannelList, ChannelStatus, ToClient, ToDatabase as FromClient};
use protocols::p4_control::{
    Command, Configure, Configured, Kind, Query, Report, ReportItem, Response, Sealed, seal,
};
use protocols::preamble::{MAX_P1_FRAME_BYTES, MAX_P2_ANSWER_BYTES, Refusal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;

/// No wait of a test is longer.
const PATIENCE: Duration = Duration::from_secs(10);

struct Site {
    bound: Bound,
    key: ClusterKey,
    shutdown: Shutdown,
    server: JoinHandle<Result<(), Error>>,
    folder: tempfile::TempDir,
}

fn topology(control_port: u16) -> Arc<Topology> {
    let text = format!(
        r#"
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
control_port = {control_port}
channels = [1]
  [[push_server.destination]]
  address = "239.192.1.1"
  interface = "127.0.0.1"
  serves = ["127.0.0.0/8"]
"#
    );
    Arc::new(Topology::parse("topology.toml", &text).expect("the text is right").0)
}

impl Site {
    async fn start(control_port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = key_file::make(&folder.path().join(key_file::FILE_NAME)).unwrap();
        let (ready, bound) = oneshot::channel();
        let options = Options {
            topology: Source::Parsed(topology(control_port)),
            data: folder.path().to_owned(),
            cluster_key: None,
            listen: Some("127.0.0.1".parse().unwrap()),
            ports: Ports::Any,
            certificate: None,
            announce: false,
            ready: Some(ready),
        };
        let shutdown = Shutdown::new();
        let server = tokio::task::spawn(run(options, shutdown.clone()));
        let bound = timeout(PATIENCE, bound).await.unwrap().expect("it starts");
        Self { bound, key, shutdown, server, folder }
    }

    async fn client(&self) -> Client {
        let mut stream = TcpStream::connect(self.bound.directory).await.unwrap();
        link::frames::open(&mut stream, Protocol::Directory).await.unwrap();
        Client { stream }
    }

    async fn end(self) {
        self.shutdown.request();
        timeout(PATIENCE, self.server).await.expect("it ends").unwrap().unwrap();
    }
}

fn call(id: &str, key: &ClusterKey) -> Call {
    Call {
        protocol: Protocol::Registration,
        caller: id.to_owned(),
        callee: String::new(),
        boot_id: BootId(4),
        key: key.acquisition_key(&id.parse().unwrap()),
    }
}

struct Client {
    stream: TcpStream,
}

impl Client {
    async fn say(&mut self, message: FromClient) {
        link::frames::write_frame(&mut self.stream, &codec::encode(&message)).await.unwrap();
    }

    async fn hear(&mut self) -> ToClient {
        let frame = link::frames::read_frame(&mut self.stream, MAX_P2_ANSWER_BYTES);
        let body = timeout(PATIENCE, frame).await.expect("an answer").unwrap().expect("an open connection");
        decode_message::<ToClient, MAX_P2_ANSWER_BYTES>(&body).unwrap()
    }

    async fn list(&mut self) -> ChannelList {
        self.say(FromClient::List { tunings: false }).await;
        loop {
            if let ToClient::Channels(list) = self.hear().await {
                return list;
            }
        }
    }
}

/// An acquisition server that has registered: its connection and its first plan.
async fn register(site: &Site) -> (TcpStream, Session, FeedPlan) {
    let mut stream = TcpStream::connect(site.bound.registration).await.unwrap();
    let mut session = session::call(&mut stream, &call("roof", &site.key)).await.unwrap();
    let message = ToDatabase::Register { software: "by hand".to_owned() };
    session::write_sealed(&mut stream, &mut session.seal, &message).await.unwrap();
    let plan = match hear(&mut stream, &mut session).await {
        ToAcquisition::Plan(plan) => plan,
        other @ ToAcquisition::Polled { .. } => panic!("{other:?}"),
    };
    (stream, session, plan)
}

async fn hear(stream: &mut TcpStream, session: &mut Session) -> ToAcquisition {
    let frame = session::read_sealed(stream, &mut session.opener, MAX_P1_FRAME_BYTES);
    let body = timeout(PATIENCE, frame).await.expect("an answer").unwrap().expect("an open connection");
    decode_message::<ToAcquisition, MAX_P1_FRAME_BYTES>(&body).unwrap()
}

/// A push server host that answers every query and takes every configuration.
async fn play_host(socket: UdpSocket, key: ClusterKey) {
    let id = "hall".parse().unwrap();
    let key = key.host_key(&id);
    let mut buffer = [0; 2048];
    let mut items = Vec::new();
    let boot = BootId(6);
    loop {
        let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
        let sealed = Sealed::parse(&buffer[..len]).unwrap();
        let answer = if sealed.kind == Kind::Query {
            let Command { host, host_boot, order, body: _ } = sealed.open::<Command<Query>>(&key).unwrap();
            let items = if host_boot == boot { items.clone() } else { Vec::new() };
            let body = Report { up_to: items.len() as u64, more: false, items };
            seal(Kind::Report, &Response { host, host_boot: boot, order, body }, &key)
        } else {
            let Command { host, order, body, .. } = sealed.open::<Command<Configure>>(&key).unwrap();
            let Configure { channel, part, revision, .. } = body;
            items = vec![ReportItem::Server { channel, revision, fed: true, packets: 1 }];
            let body = Configured { channel, part, revision, in_force: revision };
            seal(Kind::Configured, &Response { host, host_boot: boot, order, body }, &key)
        };
        socket.send_to(&answer, from).await.unwrap();
    }
}

/// Goal: from nothing to a tuning, over real sockets, and a clean end.
#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_is_tuned_once_source_and_push_server_are_there() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let site = Site::start(socket.local_addr().unwrap().port()).await;
    let mut viewer = site.client().await;
    let list = viewer.list().await;
    assert!(list.offline);
    assert_eq!(list.network.as_deref(), Some("127.0.0.0/8"));
    viewer.say(FromClient::Watch { channel: protocols::ids::ChannelId(1) }).await;

    let (mut stream, mut session, plan) = register(&site).await;
    assert_eq!(plan.channels[0].url, "testcard:");
    assert_eq!(plan.channels[0].feeds[0].address, "127.0.0.1:7403".parse().unwrap());
    let host = tokio::task::spawn(play_host(socket, site.key.clone()));
    let report = ChannelReport {
        channel: plan.channels[0].channel,
        input: InputState::Delivering,
        source: 0,
        switches: 0,
        packets: 1,
        rate_bps: 1,
        feeds: vec![],
        health: HealthReport::default(),
        signal: None,
    };
    let poll = Poll { generation: plan.generation, channels: vec![report], done: vec![] };
    session::write_sealed(&mut stream, &mut session.seal, &ToDatabase::Poll(poll)).await.unwrap();
    assert_eq!(hear(&mut stream, &mut session).await, ToAcquisition::Polled { commands: vec![] });

    let tuning = loop {
        match viewer.hear().await {
            ToClient::Tuning(tuning) => break tuning,
            ToClient::ListChanged | ToClient::Unavailable { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(tuning.lease.client, "127.0.0.1".parse::<IpAddr>().unwrap());
    assert_eq!(tuning.push_server.to_string(), "hall/1");
    assert_eq!(viewer.list().await.channels[0].status, ChannelStatus::Active);
    host.abort();
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_the_key_is_refused_and_one_that_is_unknown_by_name() {
    let site = Site::start(1).await;
    let mut stream = TcpStream::connect(site.bound.registration).await.unwrap();
    let other = ClusterKey::new([9; 32]);
    let error = session::call(&mut stream, &call("roof", &other)).await.unwrap_err().to_string();
    assert!(error.contains("not hold the same cluster key"), "the caller finds out first: {error}");

    // A caller that does not look at the challenge is told.
    let mut stream = TcpStream::connect(site.bound.registration).await.unwrap();
    link::frames::open(&mut stream, Protocol::Registration).await.unwrap();
    let hello = protocols::handshake::Hello {
        caller: "roof".to_owned(),
        callee: String::new(),
        boot_id: BootId(1),
        nonce: [0; 16],
    };
    link::frames::write_opening(&mut stream, &hello).await.unwrap();
    let _: protocols::handshake::Reply = link::frames::read_opening(&mut stream).await.unwrap();
    let tag = other.lease_key().secret(&protocols::authority::Lease {
        client: "127.0.0.1".parse().unwrap(),
        channel: protocols::ids::ChannelId(1),
        destination: "127.0.0.1".parse().unwrap(),
        expires: ClusterTime(0),
    });
    let proof = protocols::handshake::Proof { tag: tag.tag("handshake caller", &[b"forged"]) };
    link::frames::write_opening(&mut stream, &proof).await.unwrap();
    let verdict: protocols::handshake::Verdict = link::frames::read_opening(&mut stream).await.unwrap();
    assert_eq!(verdict, protocols::handshake::Verdict::Refused(Refusal::Key));
    assert!(Refusal::Key.to_string().contains("do not hold the same cluster key"));

    let mut stream = TcpStream::connect(site.bound.registration).await.unwrap();
    let error = session::call(&mut stream, &call("cellar", &site.key)).await.unwrap_err().to_string();
    assert_eq!(error, "refused: the topology declares no server `cellar`");
    site.end().await;
}

/// Goal: whoever opens as many connections as have a place, and says nothing, delays others and does not keep them out.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_silent_connections_keeps_nobody_out_of_either_port() {
    let site = Site::start(1).await;
    let mut crowd = Vec::new();
    for address in [site.bound.registration, site.bound.directory] {
        for _ in 0..listener::MAX_OPENING + 50 {
            crowd.push(timeout(PATIENCE, TcpStream::connect(address)).await.unwrap().unwrap());
        }
    }
    // Sooner than the first of the crowd is cut off for its silence.
    let in_time = link::openings::OPENING_LIMIT / 2;
    let (list, registered) =
        timeout(in_time, async { tokio::join!(async { site.client().await.list().await }, register(&site)) })
            .await
            .expect("nobody is kept out");
    assert_eq!(list.channels.len(), 1);
    assert_eq!(registered.2.channels.len(), 1);
    drop(crowd);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_is_told_both_versions_on_either_port() {
    let site = Site::start(1).await;
    for (address, protocol, version) in [(site.bound.registration, 1, 2), (site.bound.directory, 2, 2)] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&[b'M', b'A', b'S', b'T', protocol, 9, 0, 0]).await.unwrap();
        stream.read_exact(&mut [0; 8]).await.unwrap();
        let refusal: Refusal = link::frames::read_opening(&mut stream).await.unwrap();
        let expected = format!("speaks version 9 of P{protocol}, this program version {version}");
        assert!(refusal.to_string().contains(&expected), "{refusal}");
    }
    site.end().await;
}

/// Goal: frames that are too long, cut, rubbish or of a later kind get their answer, and nobody else notices.
#[tokio::test(flavor = "multi_thread")]
async fn broken_frames_get_their_answer_and_others_go_on() {
    let site = Site::start(1).await;
    let mut bystander = site.client().await;
    bystander.list().await;

    let mut oversized = site.client().await;
    oversized.stream.write_all(&u32::MAX.to_le_bytes()).await.unwrap();
    let refusal = Refusal::Protocol("a frame of 4294967295 bytes where at most 1024 are allowed".to_owned());
    assert_eq!(oversized.hear().await, ToClient::Refused(refusal));
    assert_eq!(timeout(PATIENCE, oversized.stream.read(&mut [0; 8])).await.unwrap().unwrap(), 0);

    let mut rubbish = site.client().await;
    link::frames::write_frame(&mut rubbish.stream, &[1, 0, 0, 0, 7]).await.unwrap();
    assert!(matches!(rubbish.hear().await, ToClient::Refused(Refusal::Protocol(_))));

    let mut cut = site.client().await;
    cut.stream.write_all(&[9, 0, 0, 0, 1]).await.unwrap();
    cut.stream.shutdown().await.unwrap();
    assert_eq!(timeout(PATIENCE, cut.stream.read(&mut [0; 8])).await.unwrap().unwrap(), 0);

    let mut newer = site.client().await;
    link::frames::write_frame(&mut newer.stream, &[200, 0, 0, 0, 1, 2, 3]).await.unwrap();
    newer.say(FromClient::Ping).await;
    assert_eq!(newer.hear().await, ToClient::Pong, "a kind of a later version is skipped");

    let (mut stream, mut session, _) = register(&site).await;
    let mut sealed = session.seal.seal(codec::encode(&ToDatabase::Poll(Poll::default())));
    sealed[0] ^= 1;
    link::frames::write_frame(&mut stream, &sealed).await.unwrap();
    assert_eq!(timeout(PATIENCE, stream.read(&mut [0; 8])).await.unwrap().unwrap(), 0, "altered: closed");

    bystander.say(FromClient::Ping).await;
    while bystander.hear().await != ToClient::Pong {}
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_says_nothing_is_closed() {
    let site = Site::start(1).await;
    for address in [site.bound.registration, site.bound.directory] {
        let mut silent = TcpStream::connect(address).await.unwrap();
        silent.write_all(b"MAS").await.unwrap();
        assert_eq!(
            timeout(PATIENCE, silent.read(&mut [0; 8])).await.expect("closed in time").unwrap_or(0),
            0
        );
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_at_the_control_port_is_never_answered() {
    let site = Site::start(1).await;
    let socket = StdUdpSocket::bind("127.0.0.1:0").unwrap();
    let to: SocketAddr = ([127, 0, 0, 1], site.bound.control.port()).into();
    for len in [0, 1, 20, 160, 1_200, 1_201, 9_000] {
        socket.send_to(&vec![0x4d; len], to).unwrap();
    }
    let mut viewer = site.client().await;
    viewer.list().await;
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv_from(&mut [0; 16]).is_err());
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named_with_what_to_do() {
    let site = Site::start(1).await;
    let port = site.bound.registration.port();
    let error = listener::bind("P1 registration", Some("127.0.0.1".parse().unwrap()), port).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    let text = error.to_string();
    assert!(text.contains(&format!("TCP port {port} on 127.0.0.1")), "{text}");
    assert!(text.contains("stop it or choose another port"), "{text}");
    assert!(site.folder.path().join(store::FILE_NAME).exists());
    site.end().await;
}
