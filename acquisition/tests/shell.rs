//! A whole acquisition server on loopback, with a database server and push servers made by hand.
#![expect(clippy::disallowed_methods, reason = "the peers of this test are tasks of its own")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use acquisition::shell::{self, Options};
use link::clock::Clock;
use link::key_file;
use link::session::{self, Session};
use link::shutdown::Shutdown;
use media::Packet;
use media::continuity::ContinuityCheck;
use media::looper::Looper;
use media::packet::{NULL_PACKET, PacketBytes};
use media::reassembly::{Limits, Output, Reassembly};
use protocols::authority::ClusterKey;
use protocols::codec;
use protocols::health::{HealthState, Indicator};
use protocols::ids::{BootId, ChannelId, Generation};
use protocols::p1_registration::{
    ChannelPlan, ChannelReport, FeedPlan, FeedState, FeedTarget, InputState, Poll, SourcePlan, ToAcquisition,
    ToDatabase,
};
use protocols::p3_feed::{
    ACCESS_POINT_BYTES, FeedOrder, HEADER_BYTES, HISTORY_BYTES, HISTORY_SLICE_BYTES, HistorySlice,
    MARK_BYTES, Mark, Open, Opened, packet_len,
};
use protocols::preamble::{Protocol, Refusal};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};

const CLIP: &[u8] = include_bytes!("../testcard/clip.ts");
const PATIENCE: Duration = Duration::from_secs(20);
const CHANNEL: ChannelId = ChannelId(1);

async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.expect("it happens in time")
}

/// A connection of the server under test to one of the peers.
struct Peer {
    stream: TcpStream,
    session: Session,
}

impl Peer {
    async fn accept(listener: &TcpListener, protocol: Protocol, key: &ClusterKey) -> Self {
        let (mut stream, _) = soon(listener.accept()).await.expect("a connection");
        let key_of = |hello: &protocols::handshake::Hello| match protocol {
            Protocol::Registration => {
                Ok(key.acquisition_key(&hello.caller.parse().map_err(|_| Refusal::Key)?))
            }
            _ => Ok(key.host_key(&hello.callee.parse().map_err(|_| Refusal::Key)?)),
        };
        let accepted = session::accept(&mut stream, protocol, BootId(9), key_of);
        let (hello, session) = soon(accepted).await.expect("the server holds the key");
        assert_eq!(hello.caller, "roof");
        Self { stream, session }
    }

    async fn read<T: serde::de::DeserializeOwned>(&mut self) -> T {
        let body = session::read_sealed(&mut self.stream, &mut self.session.opener, 1 << 16);
        let body = soon(body).await.expect("a sealed frame").expect("an open connection");
        codec::decode::<T, { 1 << 16 }>(&body).expect("a message")
    }

    async fn write<T: serde::Serialize>(&mut self, message: &T) {
        let Self { stream, session } = self;
        soon(session::write_sealed(stream, &mut session.seal, message)).await.expect("an open connection");
    }

    /// Answers polls until one pleases.
    async fn poll_until(&mut self, pleases: impl Fn(&ChannelReport) -> bool) -> Poll {
        loop {
            let ToDatabase::Poll(poll) = self.read().await else { panic!("registered twice") };
            self.write(&ToAcquisition::Polled { commands: vec![] }).await;
            if poll.channels.iter().any(&pleases) {
                return poll;
            }
        }
    }
}

/// A server under test, and the listeners of its peers.
struct Site {
    key: ClusterKey,
    database: TcpListener,
    push: TcpListener,
    shutdown: Shutdown,
    server: JoinHandle<Result<(), shell::Error>>,
    _folder: tempfile::TempDir,
}

impl Site {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let cluster_key = folder.path().join("cluster.key");
        let key = key_file::make(&cluster_key).expect("a key");
        let database = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let push = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let shutdown = Shutdown::new();
        let options = Options {
            id: "roof".parse().expect("an id"),
            database: address(&database).to_string(),
            cluster_key,
            metrics: None,
        };
        let server = tokio::spawn(shell::run(options, shutdown.clone()));
        Self { key, database, push, shutdown, server, _folder: folder }
    }

    async fn registered(&self) -> Peer {
        let mut database = Peer::accept(&self.database, Protocol::Registration, &self.key).await;
        assert!(matches!(database.read().await, ToDatabase::Register { .. }));
        database
    }

    async fn fed(&self) -> Peer {
        let mut push = Peer::accept(&self.push, Protocol::Feed, &self.key).await;
        let open: Open = push.read().await;
        assert_eq!(open.channel, CHANNEL);
        push.write(&Opened::Accepted).await;
        push
    }

    async fn end(self) {
        self.shutdown.request();
        let ended = timeout(Duration::from_secs(5), self.server).await.expect("it ends when told");
        ended.expect("no panic").expect("a clean end");
    }
}

fn address(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("bound")
}

fn target(host: &str, address: SocketAddr) -> FeedTarget {
    FeedTarget { host: host.parse().expect("an id"), address }
}

fn plan(url: &str, feeds: Vec<FeedTarget>) -> ToAcquisition {
    let input = "one".parse().expect("an id");
    let channel = ChannelPlan {
        channel: CHANNEL,
        input,
        url: url.to_owned(),
        service: None,
        backups: vec![],
        hold_off_s: 2,
        return_after_s: 30,
        feeds,
    };
    ToAcquisition::Plan(FeedPlan { generation: Generation(1), channels: vec![channel] })
}

/// The next frame that is a packet on its way, a header alone or a keepalive: what is said aside, and packets of the past,
/// are passed over.
async fn frame(push: &mut Peer) -> Vec<u8> {
    let mut past = 0;
    loop {
        let frame = any_frame(push).await;
        match frame.len() {
            MARK_BYTES | ACCESS_POINT_BYTES | HISTORY_BYTES => {}
            HISTORY_SLICE_BYTES => past = HistorySlice::decode(frame.try_into().expect("ten bytes")).packets,
            len if len > MARK_BYTES && past > 0 => past -= 1,
            _ => return frame,
        }
    }
}

async fn any_frame(push: &mut Peer) -> Vec<u8> {
    let mut prefix = [0; 2];
    soon(push.stream.read_exact(&mut prefix)).await.expect("an open connection");
    let mut frame = vec![0; packet_len(prefix).expect("a length that P3 has")];
    soon(push.stream.read_exact(&mut frame)).await.expect("an open connection");
    frame
}

fn sequence(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[2], frame[3]])
}

/// The next `count` RTP packets that `push` is fed, without keepalives.
async fn packets(push: &mut Peer, count: usize) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    while packets.len() < count {
        packets.extend(Some(frame(push).await).filter(|packet| packet.len() > HEADER_BYTES));
    }
    packets
}

/// The transport stream in `packets`, which must be whole and in order.
fn stream_of(packets: &[Vec<u8>]) -> Vec<u8> {
    let (mut reassembly, mut out) = (Reassembly::new(Limits::default()), Vec::new());
    for packet in packets {
        reassembly.datagram(Duration::ZERO, packet, &mut out);
    }
    let payload = |output: &Output| match output {
        Output::Packet { packet, .. } => packet.payload().to_vec(),
        other => panic!("{other:?}"),
    };
    out.iter().flat_map(payload).collect()
}

fn position(stream: &[u8]) -> Option<usize> {
    CLIP.windows(stream.len()).step_by(188).position(|window| window == stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_server_that_is_away_is_reported_and_the_other_is_fed() {
    let site = Site::start().await;
    let away = address(&TcpListener::bind("127.0.0.1:0").await.unwrap());
    let mut database = site.registered().await;
    let feeds = vec![target("hall", address(&site.push)), target("ward", away)];
    database.write(&plan("testcard:", feeds)).await;
    let mut push = site.fed().await;
    let poll = database
        .poll_until(|channel| {
            let [hall, ward] = &channel.feeds[..] else { return false };
            channel.input == InputState::Delivering
                && hall.state == FeedState::Connected
                && matches!(ward.state, FeedState::Unreachable { .. })
        })
        .await;
    let FeedState::Unreachable { cause } = &poll.channels[0].feeds[1].state else { unreachable!() };
    assert!(cause.contains(&format!("push server ward at {away}: Connection refused")), "{cause}");
    let stream = stream_of(&packets(&mut push, 20).await);
    assert!(position(&stream).is_some(), "what comes out is the clip, byte for byte");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_goes_on_while_the_database_server_is_away() {
    let site = Site::start().await;
    let mut database = site.registered().await;
    let feeds = vec![target("hall", address(&site.push))];
    database.write(&plan("testcard:", feeds.clone())).await;
    let mut push = site.fed().await;
    let mut all = packets(&mut push, 5).await;
    drop(database);
    all.extend(packets(&mut push, 20).await);
    // The same connection also outlives the new registration and its plan.
    let mut database = site.registered().await;
    database.write(&plan("testcard:", feeds)).await;
    database.poll_until(|channel| channel.input == InputState::Delivering).await;
    all.extend(packets(&mut push, 20).await);
    assert!(position(&stream_of(&all)).is_some());
    site.end().await;
}

/// The database server's order may reach a push server after ours: it is asked again until it is ready, and what it says
/// when it closes on purpose is passed on.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_server_that_refuses_is_asked_again_and_its_reason_reported() {
    let site = Site::start().await;
    let mut database = site.registered().await;
    database.write(&plan("testcard:", vec![target("hall", address(&site.push))])).await;
    let mut push = Peer::accept(&site.push, Protocol::Feed, &site.key).await;
    let _: Open = push.read().await;
    push.write(&Opened::Refused(Refusal::NotConfigured(CHANNEL))).await;
    let refused = |text: &'static str| move |channel: &ChannelReport| matches!(&channel.feeds[0].state, FeedState::Unreachable { cause } if cause.contains(text));
    database.poll_until(refused("channel 1 is not configured at this push server")).await;
    let mut push = site.fed().await;
    let _ = packets(&mut push, 3).await;
    push.write(&Opened::Refused(Refusal::Replaced)).await;
    database.poll_until(refused("a newer connection of the same server took this one's place")).await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_feed_shows_headers_alone_and_flows_again_from_the_newest_packet() {
    let site = Site::start().await;
    let mut database = site.registered().await;
    database.write(&plan("testcard:", vec![target("hall", address(&site.push))])).await;
    let mut push = site.fed().await;
    let mut last = sequence(&packets(&mut push, 5).await[4]);
    push.write(&FeedOrder::Hold).await;
    let mut headers = 0;
    while headers < 5 {
        let frame = frame(&mut push).await;
        if frame.is_empty() {
            continue; // the input brought nothing since
        }
        let alone = frame.len() == HEADER_BYTES;
        // Packets that were on their way may come before the first header, none after it.
        assert!(alone || headers == 0, "a packet came though the feed was told to hold");
        headers += usize::from(alone);
        assert!((1..1_000).contains(&sequence(&frame).wrapping_sub(last)), "{frame:?} after {last}");
        last = sequence(&frame);
    }
    push.write(&FeedOrder::Flow).await;
    let all = packets(&mut push, 20).await;
    assert!(sequence(&all[0]).wrapping_sub(last) < 1_000, "it goes on from there");
    assert!(position(&stream_of(&all)).is_some(), "what flows has no gap");
    let delivering = |channel: &ChannelReport| {
        channel.input == InputState::Delivering && channel.feeds[0].state == FeedState::Connected
    };
    let poll = database.poll_until(delivering).await;
    assert_eq!(poll.channels[0].feeds[0].dropped_packets, 0, "what is held is not dropped");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_begins_with_a_mark_that_numbers_and_dates_its_first_packet() {
    let site = Site::start().await;
    let mut database = site.registered().await;
    database.write(&plan("testcard:", vec![target("hall", address(&site.push))])).await;
    let mut push = site.fed().await;
    let began = Clock::wall();
    let mut first = any_frame(&mut push).await;
    // A keepalive, or that there is a past, may come before.
    while first.len() != MARK_BYTES {
        assert!(first.len() < MARK_BYTES, "a packet before its mark");
        first = any_frame(&mut push).await;
    }
    let mark = Mark::decode(first.try_into().expect("a mark"));
    let first = sequence(&any_frame(&mut push).await);
    assert_eq!(mark.number & 0xffff, u64::from(first));
    assert!(mark.date.distance(began) < Duration::from_mins(1), "{mark:?} at {began:?}");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_fails_is_reported_with_its_cause_and_others_are_not_touched() {
    let site = Site::start().await;
    let mut database = site.registered().await;
    let ToAcquisition::Plan(mut both) = plan("testcard:", vec![target("hall", address(&site.push))]) else {
        unreachable!()
    };
    let ToAcquisition::Plan(broken) = plan("file:/nonexistent/a.ts", vec![]) else { unreachable!() };
    both.channels
        .extend(broken.channels.into_iter().map(|plan| ChannelPlan { channel: ChannelId(2), ..plan }));
    database.write(&ToAcquisition::Plan(both)).await;
    let mut push = site.fed().await;
    let failed = |channel: &ChannelReport| matches!(channel.input, InputState::Failed { .. });
    let poll = database.poll_until(failed).await;
    let InputState::Failed { cause } = &poll.channels[1].input else { panic!("{poll:?}") };
    assert!(cause.contains("/nonexistent/a.ts: No such file or directory"), "{cause}");
    assert!(position(&stream_of(&packets(&mut push, 10).await)).is_some());
    site.end().await;
}

/// What a sender of [`CLIP`] leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lacks {
    Nothing,
    Packets,
    Pcr,
    Service,
}

/// Sends the clip by UDP again and again, at its pace, and leaves out what it is told.
struct Sender {
    lacks: watch::Sender<Lacks>,
    url: String,
    task: JoinHandle<()>,
}

impl Sender {
    async fn start() -> Self {
        // A port that is free now; the server under test binds it in a moment.
        let port = UdpSocket::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound").port();
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        socket.connect(("127.0.0.1", port)).await.expect("loopback");
        let (lacks, told) = watch::channel(Lacks::Nothing);
        let task = tokio::spawn(async move {
            let mut packets = Looper::new(CLIP).expect("a clip");
            // Seven packets of 902,400 bit/s.
            let mut pace = interval(Duration::from_micros(11_670));
            loop {
                pace.tick().await;
                let lacks = *told.borrow();
                let mut datagram = Vec::new();
                for mut bytes in packets.by_ref().take(7) {
                    let packet = Packet::parse(&bytes).expect("a packet");
                    match lacks {
                        Lacks::Pcr if packet.pcr().is_some() => {
                            // Stuffing in its place: nothing else is lost.
                            bytes[5] &= !0x10;
                            bytes[6..12].fill(0xff);
                        }
                        Lacks::Service if packet.pid() == 0 => {
                            let counter = bytes[3];
                            bytes = EMPTY_PAT;
                            bytes[3] = counter;
                        }
                        Lacks::Service => bytes = NULL_PACKET,
                        _ => {}
                    }
                    datagram.extend(bytes);
                }
                if lacks != Lacks::Packets {
                    // Nobody hears it before the port is open.
                    let _ = socket.send(&datagram).await;
                }
            }
        });
        Self { lacks, url: format!("udp://127.0.0.1:{port}"), task }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A PAT that lists nothing.
const EMPTY_PAT: PacketBytes = {
    let mut bytes = [0xff; 188];
    let head = [0x47, 0x40, 0, 0x10, 0, 0, 0xb0, 9, 0, 1, 0xc3, 0, 0, 0xec, 0x93, 0x3b, 0x19];
    let mut n = 0;
    while n < head.len() {
        bytes[n] = head[n];
        n += 1;
    }
    bytes
};

/// Goal: whatever the input of a channel lacks, its feed goes on from the backup, and comes back, on one connection, as one
/// legal stream; the reports say which source is in use.
/// Method: two senders on loopback; the first one is told to leave something out, and then to send all again.
#[tokio::test(flavor = "multi_thread")]
async fn a_channel_goes_on_from_its_backup_and_comes_back() {
    let site = Site::start().await;
    let mut database = site.registered().await;
    let (main, spare) = (Sender::start().await, Sender::start().await);
    let ToAcquisition::Plan(mut both) = plan(&main.url, vec![target("hall", address(&site.push))]) else {
        unreachable!()
    };
    let channel = &mut both.channels[0];
    let input = "two".parse().unwrap();
    channel.backups = vec![SourcePlan { input, url: spare.url.clone(), service: None }];
    (channel.hold_off_s, channel.return_after_s) = (1, 1);
    database.write(&ToAcquisition::Plan(both)).await;
    let mut push = site.fed().await;
    let (joints, mut joined) = watch::channel(0);
    let received = tokio::spawn(async move {
        let (mut check, mut reassembly) = (ContinuityCheck::new(), Reassembly::new(Limits::default()));
        loop {
            let [packet] = &packets(&mut push, 1).await[..] else { unreachable!() };
            let mut out = Vec::new();
            reassembly.datagram(Duration::ZERO, packet, &mut out);
            for output in out {
                let Output::Packet { packet, .. } = output else { panic!("{output:?}") };
                for bytes in packet.packets() {
                    let packet = Packet::parse(bytes).expect("whole packets");
                    if packet.discontinuity() {
                        joints.send_modify(|count| *count += 1);
                    }
                    check.push(packet);
                }
            }
            assert_eq!(check.errors(), 0, "after {} packets", check.packets());
            if *joints.borrow() == 6 {
                return check.packets();
            }
        }
    });
    let in_use = |source: u8, switches: u64| {
        move |channel: &ChannelReport| {
            (channel.source, channel.switches) == (source, switches)
                && channel.input == InputState::Delivering
        }
    };
    database.poll_until(in_use(0, 0)).await;
    for (round, lacks) in (0..).zip([Lacks::Packets, Lacks::Pcr, Lacks::Service]) {
        main.lacks.send_replace(lacks);
        database.poll_until(in_use(1, 2 * round + 1)).await;
        soon(joined.wait_for(|count| *count == 2 * round + 1)).await.unwrap();
        main.lacks.send_replace(Lacks::Nothing);
        database.poll_until(in_use(0, 2 * round + 2)).await;
        // The next failure is that of a source which is really in use.
        let _ = soon(joined.wait_for(|count| *count == 2 * round + 2)).await;
    }
    assert!(soon(received).await.unwrap() > 1_000);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_that_is_missing_from_a_file_and_a_wrong_sync_byte_are_reported() {
    let site = Site::start().await;
    let mut database = site.registered().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("damaged.ts");
    let mut damaged = [&CLIP[..200 * 188], &CLIP[201 * 188..1_200 * 188]].concat();
    damaged[300 * 188] = 0;
    std::fs::write(&path, damaged).expect("room on the disk");
    database.write(&plan(&format!("file:{}?loop=no", path.display()), vec![])).await;
    let poll = database.poll_until(|channel| channel.health.count(Indicator::SyncByte) == 1).await;
    let health = &poll.channels[0].health;
    // The packet without its sync byte is missing as well.
    assert_eq!((health.state, health.count(Indicator::SyncLoss)), (HealthState::Bad, 0));
    let poll = database.poll_until(|channel| channel.health.count(Indicator::Continuity) == 2).await;
    assert_eq!(poll.channels[0].health.lost_packets, 2);
    site.end().await;
}

#[tokio::test]
async fn without_a_key_it_refuses_to_run() {
    let options = Options {
        id: "roof".parse().unwrap(),
        database: "127.0.0.1:1".to_owned(),
        cluster_key: Path::new("/nonexistent/cluster.key").to_owned(),
        metrics: None,
    };
    let error = shell::run(options, Shutdown::new()).await.unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("this server needs the site's cluster key"), "{error}");
}

/// The program itself, as an administrator runs it: what it finds goes into a topology, which stays what it was around that, and a
/// second scan finds nothing new.
#[test]
fn scan_adds_an_inputs_services_to_a_topology_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("topology.toml");
    let site = "# The site.\n[database_server]\naddress = \"10.0.0.2\"\n\n[[acquisition_server]]\nid = \"roof\"  # up there\n";
    std::fs::write(&file, site).unwrap();
    let scan = |server: &str| {
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_masthead-acquisition"));
        program.args(["scan", "testcard:", "--seconds", "2", "--server", server, "--add"]).arg(&file);
        let output = program.output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, report, progress) = scan("roof");
    assert_eq!(code, Some(0), "{report}{progress}");
    assert!(report.contains("MASTHEAD test card") && report.contains("\n[[channel]]\nid = 1\n"), "{report}");
    assert!(progress.ends_with(&format!("1 channel added to {}\n", file.display())), "{progress}");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("# The site.\n") && text.contains("# up there\n"), "{text}");
    let (topology, _) = protocols::topology::Topology::parse("topology.toml", &text).unwrap();
    assert_eq!(topology.channels[&CHANNEL].name, "MASTHEAD test card");
    let (code, report, _) = scan("roof");
    assert_eq!((code, report.contains("# 1 of the topology already")), (Some(0), true), "{report}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    assert_eq!(scan("yard").0, Some(2));
}
