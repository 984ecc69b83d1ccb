//! A real host on loopback, and what its database server, an acquisition server and a viewer would say to it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use link::frames::LinkError;
use link::session::{self, Call, Session};
use link::shutdown::Shutdown;
use link::udp::{self, Listen};
use protocols::authority::{ClusterKey, Lease};
use protocols::codec;
use protocols::ids::{BootId, ChannelId, HostId, Revision};
use protocols::p3_feed::{FeedOrder, HEADER_BYTES, Open, Opened, length_prefix};
use protocols::p4_control::{
    Command, CommandOrder, Configure, Configured, DestinationOrder, Interest, Kind, Query, Report,
    ReportItem, Response, Sealed, seal,
};
use protocols::preamble::{MAX_OPENING_BYTES, Protocol};
use protocols::time::ClusterTime;
use push_server::shell::tally::Tally;
use push_server::shell::{Error, Host, Options};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

pub(crate) const LIMIT: Duration = Duration::from_secs(10);
pub(crate) const CHANNEL: ChannelId = ChannelId(1);
pub(crate) const WALL: u64 = 1_800_000_000_000;

pub(crate) fn cluster() -> ClusterKey {
    ClusterKey::new([7; 32])
}

pub(crate) fn host() -> HostId {
    "hall".parse().unwrap()
}

pub(crate) fn options() -> Options {
    Options {
        host: host(),
        database: None,
        listen: Ipv4Addr::LOCALHOST.into(),
        feed_port: 0,
        control_port: 0,
        stream_port: 0,
        key: cluster(),
        data_threads: 2,
        unicast_viewers: 64,
        query_interval: std::time::Duration::from_secs(125),
        recordings: None,
        metrics: None,
    }
}

/// A running host and a database server's end of P4.
pub(crate) struct Running {
    pub(crate) control: SocketAddr,
    pub(crate) feeds: SocketAddr,
    /// Where P5 comes from.
    pub(crate) stream: SocketAddr,
    pub(crate) shutdown: Shutdown,
    pub(crate) served: JoinHandle<Result<(), Error>>,
    pub(crate) database: UdpSocket,
    pub(crate) boot_id: BootId,
    pub(crate) sequence: u64,
    pub(crate) tallies: Vec<Arc<Tally>>,
}

impl Running {
    pub(crate) fn start() -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into())
    }

    /// On loopback, with one data thread, whose tally is the only one.
    pub(crate) fn start_single() -> Self {
        Self::start_with(Options { data_threads: 1, ..options() }, Ipv4Addr::LOCALHOST.into())
    }

    /// Listens on `listen` and is called from, and at, the address `called`.
    pub(crate) fn start_at(listen: IpAddr, called: IpAddr) -> Self {
        Self::start_with(Options { listen, ..options() }, called)
    }

    pub(crate) fn start_with(options: Options, called: IpAddr) -> Self {
        let bound = Host::bind(options).unwrap();
        let at = |bound: SocketAddr| SocketAddr::new(called, bound.port());
        let (control, feeds) = (at(bound.control_address().unwrap()), at(bound.feed_address().unwrap()));
        let stream = at(bound.stream_address().unwrap());
        let (shutdown, tallies) = (Shutdown::new(), bound.tallies().to_vec());
        let served = tokio::spawn(bound.serve(shutdown.clone()));
        let database = UdpSocket::bind(SocketAddr::new(called, 0)).unwrap();
        database.set_read_timeout(Some(LIMIT)).unwrap();
        let mut running = Self {
            control,
            feeds,
            stream,
            shutdown,
            served,
            database,
            boot_id: BootId(0),
            sequence: 0,
            tallies,
        };
        running.boot_id = running.report(0).host_boot;
        let _ = running.report(0);
        running
    }

    pub(crate) fn ask<B: Serialize, A: DeserializeOwned>(&mut self, kind: Kind, body: B) -> Response<A> {
        self.sequence += 1;
        let order = CommandOrder { start: 1, sequence: self.sequence };
        let key = cluster().host_key(&host());
        let command = seal(kind, &Command { host: host(), host_boot: self.boot_id, order, body }, &key);
        self.database.send_to(&command, self.control).unwrap();
        let mut bytes = [0; 1_500];
        let len = self.database.recv(&mut bytes).unwrap();
        Sealed::parse(&bytes[..len]).unwrap().open(&key).unwrap()
    }

    pub(crate) fn report(&mut self, since: u64) -> Response<Report> {
        self.ask(Kind::Query, Query { time: ClusterTime(WALL), since, padding: [0; 16] })
    }

    pub(crate) fn configure(&mut self, port: u16, destinations: Vec<DestinationOrder>) -> Configured {
        self.configure_channel(CHANNEL, port, destinations)
    }

    pub(crate) fn configure_channel(
        &mut self,
        channel: ChannelId,
        port: u16,
        destinations: Vec<DestinationOrder>,
    ) -> Configured {
        let body = Configure {
            channel,
            revision: Revision(1),
            part: 0,
            parts: 1,
            port,
            destinations,
            record: None,
            session: None,
        };
        self.ask(Kind::Configure, body).body
    }

    /// The first line of a report that `pick` takes.
    pub(crate) fn until_reported<T>(&mut self, pick: impl Fn(&ReportItem) -> Option<T>) -> T {
        let (begun, mut since) = (Instant::now(), 0);
        loop {
            let report = self.report(since).body;
            since = if report.more { report.up_to } else { 0 };
            if let Some(found) = report.items.iter().find_map(&pick) {
                return found;
            }
            assert!(begun.elapsed() < LIMIT, "not reported: {report:?}");
            std::thread::yield_now();
        }
    }

    /// Interest of 127.0.0.1 in `destination`, until it is heard.
    pub(crate) fn watch(&mut self, destination: &str) {
        self.watch_channel(CHANNEL, destination);
    }

    pub(crate) fn watch_channel(&mut self, wanted_channel: ChannelId, destination: &str) {
        let wanted: IpAddr = destination.parse().unwrap();
        self.interest_in(wanted_channel, wanted);
        self.until_reported(|item| match item {
            ReportItem::Destination { channel, address, sending: true, .. } => {
                (*channel == wanted_channel && *address == wanted).then_some(())
            }
            _ => None,
        });
    }

    pub(crate) fn interest(&self, destination: IpAddr) {
        self.interest_in(CHANNEL, destination);
    }

    pub(crate) fn interest_in(&self, channel: ChannelId, destination: IpAddr) {
        let expires = ClusterTime(WALL + 12 * 3_600_000);
        let lease = Lease { client: self.control.ip(), channel, destination, expires };
        let interest = Interest { lease, time: ClusterTime(WALL) };
        let bytes = interest.seal(&cluster().lease_key().secret(&lease));
        let client = UdpSocket::bind(SocketAddr::new(self.control.ip(), 0)).unwrap();
        client.send_to(&bytes, self.control).unwrap();
    }

    pub(crate) async fn feed(
        &self,
        key: ClusterKey,
        channel: ChannelId,
    ) -> Result<(TcpStream, Session, Opened), LinkError> {
        let mut stream = TcpStream::connect(self.feeds).await.unwrap();
        let call = Call {
            protocol: Protocol::Feed,
            caller: "roof".to_owned(),
            callee: host().to_string(),
            boot_id: BootId(5),
            key: key.host_key(&host()),
        };
        let mut session = session::call(&mut stream, &call).await?;
        session::write_sealed(&mut stream, &mut session.seal, &Open { channel, ssrc: 9 }).await?;
        let opened = answer(&mut stream, &mut session).await;
        Ok((stream, session, opened))
    }

    pub(crate) async fn stop(self) {
        self.shutdown.request();
        tokio::time::timeout(Duration::from_secs(1), self.served).await.unwrap().unwrap().unwrap();
    }
}

pub(crate) async fn answer(stream: &mut TcpStream, session: &mut Session) -> Opened {
    let body = session::read_sealed(stream, &mut session.opener, MAX_OPENING_BYTES).await.unwrap().unwrap();
    codec::decode::<Opened, MAX_OPENING_BYTES>(&body).unwrap()
}

pub(crate) async fn feed_order(stream: &mut (impl AsyncRead + Unpin), session: &mut Session) -> FeedOrder {
    let body = session::read_sealed(stream, &mut session.opener, MAX_OPENING_BYTES).await.unwrap().unwrap();
    codec::decode::<FeedOrder, MAX_OPENING_BYTES>(&body).unwrap()
}

/// Packet `n` as a held feed shows it.
pub(crate) async fn show(stream: &mut TcpStream, n: u16) {
    let header = &packet(n)[..HEADER_BYTES];
    stream.write_all(&[&length_prefix(header)[..], header].concat()).await.unwrap();
}

/// Packet `n` of a 5 Mb/s channel.
pub(crate) fn packet(n: u16) -> Vec<u8> {
    packet_of(n, 190)
}

/// Packet `n` of a stream that has one each `spacing_90k`.
pub(crate) fn packet_of(n: u16, spacing_90k: u32) -> Vec<u8> {
    let mut bytes = vec![0x80, 33];
    bytes.extend(n.to_be_bytes());
    bytes.extend((u32::from(n) * spacing_90k).to_be_bytes());
    bytes.extend(9_u32.to_be_bytes());
    bytes.extend((0..7 * 188).map(|at| u8::try_from((at + usize::from(n)) % 251).unwrap()));
    bytes
}

/// Packets of a 5 Mb/s channel, by one write, so that they are read and counted together.
pub(crate) async fn send(stream: &mut (impl AsyncWrite + Unpin), packets: std::ops::Range<u16>) {
    let framed = packets.map(packet).flat_map(|packet| [&length_prefix(&packet)[..], &packet].concat());
    stream.write_all(&framed.collect::<Vec<u8>>()).await.unwrap();
}

pub(crate) fn order(address: &str, interface: &str) -> DestinationOrder {
    DestinationOrder {
        address: address.parse().unwrap(),
        interface: Some(interface.to_owned()),
        ttl: 1,
        dscp: 34,
        window_ms: 10,
        broadcast: address.ends_with(".255"),
        assigned: true,
        membership: false,
        announce: false,
    }
}

pub(crate) fn receiver(address: &str, port: u16) -> UdpSocket {
    let listen =
        Listen { address: address.parse().unwrap(), port, interface: Some("lo".to_owned()), source: None };
    let socket = udp::receive(&listen).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
}

/// Feeds a stream in real time: each `spacing_90k` a packet, until `enough` says so, which is asked after each packet.
/// What is late is made up for at once, as by a feed behind a congested network.
pub(crate) async fn feed_in_time(
    stream: &mut (impl AsyncWrite + Unpin),
    spacing_90k: u32,
    mut enough: impl FnMut(u64) -> bool,
) {
    let (begun, mut sent) = (Instant::now(), 0_u64);
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    loop {
        ticks.tick().await;
        let due = u64::try_from(begun.elapsed().as_micros()).unwrap() * 9 / 100 / u64::from(spacing_90k);
        while sent < due {
            let packet = packet_of(u16::try_from(sent % 65_536).unwrap(), spacing_90k);
            stream.write_all(&[&length_prefix(&packet)[..], &packet].concat()).await.unwrap();
            sent += 1;
            if enough(sent) {
                return;
            }
        }
    }
}
