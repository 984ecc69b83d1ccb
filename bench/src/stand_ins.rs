//! Stand-ins for the servers around a database server: one acquisition server whose inputs all deliver, one push server host
//! that carries out what it is told and is always fed. Nothing is sent anywhere; a client is tuned all the same.

use std::net::{Ipv4Addr, UdpSocket as StdUdpSocket};
use std::thread::JoinHandle;

use lab::Host;
use link::session::{self, Call, Session};
use link::shutdown::Shutdown;
use protocols::authority::{ClusterKey, MacKey};
use protocols::health::HealthReport;
use protocols::ids::{BootId, ChannelId, Generation, HostId, Revision};
use protocols::p1_registration::{ChannelReport, InputState, POLL_INTERVAL, Poll, ToDatabase};
use protocols::p4_control::{
    Command, Configure, Configured, ITEMS_PER_REPORT, Kind, MAX_DATAGRAM_BYTES, Query, Report, ReportItem,
    Response, Sealed, seal,
};
use protocols::preamble::{MAX_P1_FRAME_BYTES, Protocol};
use tokio::net::{TcpStream, UdpSocket};

/// The acquisition server's id in the topology.
pub const ACQUISITION: &str = "roof";
/// The push server host's id in the topology.
pub const HOST: &str = "hall";
/// The host's P4 port.
pub const CONTROL_PORT: u16 = 7_404;

/// Both servers, in a thread. They go when this goes.
#[derive(Debug)]
pub struct StandIns {
    stop: Shutdown,
    thread: Option<JoinHandle<()>>,
}

impl StandIns {
    /// Starts them on `host`, where a database server with `key` listens on loopback; channels are 1 to `channels`.
    pub fn start(host: &Host, key: ClusterKey, channels: u32) -> Self {
        let socket = host.enter(|| StdUdpSocket::bind((Ipv4Addr::LOCALHOST, CONTROL_PORT)));
        let socket = socket.expect("the control port is free in a new namespace");
        let stream = host.enter(|| {
            let port = protocols::topology::DEFAULT_REGISTRATION_PORT;
            std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        });
        let stream = stream.expect("the database server listens");
        let stop = Shutdown::new();
        let stopping = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be had").block_on(async {
                tokio::select! {
                    () = stopping.requested() => {}
                    () = be_host(socket, key.clone()) => {}
                    () = be_acquisition(stream, &key, channels) => {}
                }
            });
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for StandIns {
    fn drop(&mut self) {
        self.stop.request();
        // A panic there has been printed there.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Answers every query and takes every configuration.
async fn be_host(socket: StdUdpSocket, cluster: ClusterKey) {
    socket.set_nonblocking(true).expect("own socket");
    let socket = UdpSocket::from_std(socket).expect("a runtime is there");
    let id: HostId = HOST.parse().expect("a valid id");
    let key = cluster.host_key(&id);
    let mut buffer = [0; MAX_DATAGRAM_BYTES + 1];
    let mut changes = Vec::new();
    loop {
        let Ok((len, from)) = socket.recv_from(&mut buffer).await else { continue };
        let Ok(sealed) = Sealed::parse(&buffer[..len]) else { continue };
        if let Some(answer) = answer(&id, &key, &sealed, &mut changes) {
            // One that is lost is asked for again.
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

fn answer(
    id: &HostId,
    key: &MacKey,
    sealed: &Sealed<'_>,
    changes: &mut Vec<(ChannelId, Revision)>,
) -> Option<Vec<u8>> {
    let host_boot = BootId(7);
    if sealed.kind == Kind::Query {
        let Command { host_boot: wanted, order, body, .. } = sealed.open::<Command<Query>>(key).ok()?;
        let since = usize::try_from(body.since).ok()?;
        let since = if wanted == host_boot { since.min(changes.len()) } else { 0 };
        let take = if wanted == host_boot { ITEMS_PER_REPORT } else { 0 };
        let item = |(channel, revision): &(ChannelId, Revision)| ReportItem::Server {
            channel: *channel,
            revision: *revision,
            fed: true,
            packets: 1,
        };
        let items: Vec<ReportItem> = changes[since..].iter().take(take).map(item).collect();
        let up_to = since + items.len();
        let body = Report { up_to: up_to as u64, more: take > 0 && up_to < changes.len(), items };
        return Some(seal(Kind::Report, &Response { host: id.clone(), host_boot, order, body }, key));
    }
    let Command { order, body, .. } = sealed.open::<Command<Configure>>(key).ok()?;
    let Configure { channel, part, revision, .. } = body;
    changes.push((channel, revision));
    let body = Configured { channel, part, revision, in_force: revision };
    Some(seal(Kind::Configured, &Response { host: id.clone(), host_boot, order, body }, key))
}

/// Registers, and polls for ever.
async fn be_acquisition(stream: std::net::TcpStream, cluster: &ClusterKey, channels: u32) {
    stream.set_nonblocking(true).expect("own socket");
    let mut stream = TcpStream::from_std(stream).expect("a runtime is there");
    let id = ACQUISITION.parse().expect("a valid id");
    let call = Call {
        protocol: Protocol::Registration,
        caller: ACQUISITION.to_owned(),
        callee: String::new(),
        boot_id: BootId(8),
        key: cluster.acquisition_key(&id),
    };
    let mut session = session::call(&mut stream, &call).await.expect("the database server holds the key");
    say(&mut stream, &mut session, &ToDatabase::Register { software: "bench".to_owned() }).await;
    let report = |id| ChannelReport {
        channel: ChannelId(id),
        input: InputState::Delivering,
        source: 0,
        switches: 0,
        packets: 1,
        rate_bps: 5_000_000,
        feeds: Vec::new(),
        health: HealthReport::default(),
        signal: None,
    };
    let poll =
        Poll { generation: Generation(1), channels: (1..=channels).map(report).collect(), done: vec![] };
    let mut tick = tokio::time::interval(POLL_INTERVAL);
    loop {
        tokio::select! {
            _ = tick.tick() => say(&mut stream, &mut session, &ToDatabase::Poll(poll.clone())).await,
            heard = hear(&mut stream, &mut session) => assert!(heard, "the database server closes P1"),
        }
    }
}

async fn say(stream: &mut TcpStream, session: &mut Session, message: &ToDatabase) {
    session::write_sealed(stream, &mut session.seal, message).await.expect("the database server reads P1");
}

/// Reads what is said and does nothing about it; `false`: nothing more will come. Whole frames come in one piece on
/// loopback, so that a poll in between loses nothing.
async fn hear(stream: &mut TcpStream, session: &mut Session) -> bool {
    if stream.readable().await.is_err() {
        return false;
    }
    matches!(session::read_sealed(stream, &mut session.opener, MAX_P1_FRAME_BYTES).await, Ok(Some(_)))
}
