//! A push server process and all that it talks to, played by the bench: database server (P4 configure and query),
//! acquisition server (P3 feeds) and viewers (P4 interest). None of their work is counted as the push server's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lab::{Command, Process};
use link::session::{self, Call, Session};
use link::shutdown::Shutdown;
use protocols::authority::{ClusterKey, Lease};
use protocols::codec;
use protocols::ids::{BootId, ChannelId, HostId, Revision};
use protocols::p3_feed::{FeedOrder, Open, Opened};
use protocols::p4_control::{
    Command as Order, CommandOrder, Configure, Configured, DESTINATIONS_PER_PART, DestinationOrder, Interest,
    Kind, QUERY_INTERVAL, Query, Report, ReportItem, Response, Sealed, seal,
};
use protocols::preamble::{MAX_OPENING_BYTES, Protocol};
use protocols::time::ClusterTime;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cpu::CpuClocks;
use crate::feeder::{Feed, Feeder, Pace, RATE_BPS};
use crate::ground::{self, Ground};

const HOST: &str = "bench";
const FEED_PORT: u16 = 7_403;
const CONTROL_PORT: u16 = 7_404;
/// UDP port of every channel: their destinations differ.
pub const PORT: u16 = 7_601;
/// Each watched destination is shown interest this often: less than [`protocols::p4_control::INTEREST_TIMEOUT`].
const INTEREST_EVERY: Duration = Duration::from_millis(3_500);
/// Longest that the push server may take for anything that is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest that a rig is fed in advance: all sockets are open by then.
const WARM_UP_LIMIT: Duration = Duration::from_secs(5);
/// After this nothing of what was fed is under way.
const STILL: Duration = Duration::from_millis(250);
/// An answer that has not come after this is asked for again.
const ANSWER_LIMIT: Duration = Duration::from_millis(500);
/// No lease ends while a bench runs.
const LEASE_MS: u64 = 12 * 3_600_000;

/// What the push server is to carry, and how it is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Channels that are fed.
    pub channels: u32,
    /// Destinations of each.
    pub destinations: u32,
    /// Channels, from the first on, that are watched at all of their destinations.
    pub watched: u32,
    /// Rate of each channel, and how its packets come.
    pub pace: Pace,
    /// Window of each destination.
    pub window_ms: u8,
    /// Data threads of the push server.
    pub data_threads: u16,
}

impl Load {
    /// `channels` of 5 Mb/s at `destinations` each, all watched, a 10 ms window, one data thread.
    pub fn new(channels: u32, destinations: u32) -> Self {
        let window_ms = protocols::p4_control::DEFAULT_WINDOW_MS;
        Self {
            channels,
            destinations,
            watched: channels,
            pace: Pace { rate_bps: RATE_BPS, burst: 1 },
            window_ms,
            data_threads: 1,
        }
    }

    /// Packets of one channel in a second.
    pub fn packets_per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a rate below 2^52 b/s")]
        let rate = self.pace.rate_bps as f64;
        rate / f64::from(7 * 188 * 8)
    }

    /// Channel·destinations that are watched.
    pub fn streams(&self) -> u32 {
        self.watched * self.destinations
    }
}

/// A push server at work, or ready for it.
#[derive(Debug)]
pub struct Rig {
    load: Load,
    /// The process.
    pub process: Process,
    database: Database,
    viewers: Viewers,
    feeds: Vec<Feed>,
    /// Number of the next packet of every channel.
    next: u64,
    _ears: Ears,
}

impl Rig {
    /// As [`Self::prepare`]; then feeds it for a moment, until every watched destination has been sent to, and waits until
    /// all is still. What is fed from now on leaves for each of them, packet by packet.
    pub fn start(ground: &Ground, load: Load) -> Self {
        let mut rig = Self::prepare(ground, load);
        let feeder = rig.feed();
        let begun = Instant::now();
        let watched = usize::try_from(load.streams()).expect("fits");
        while rig.reported().served() < watched && begun.elapsed() < WARM_UP_LIMIT {
            std::thread::sleep(Duration::from_millis(50));
        }
        rig.put_back(feeder);
        std::thread::sleep(STILL);
        rig
    }

    /// Starts the push server, configures it, shows interest and connects the feeds. When this returns every watched
    /// destination is to be sent to as soon as there are packets, which must be within P3's silence timeout.
    pub fn prepare(ground: &Ground, load: Load) -> Self {
        let key = cluster();
        let path = ground.lab().path("cluster.key");
        write_key(&path, &key);
        let host = ground.host();
        let mut process = host.spawn(
            Command::line(&format!(
                "masthead-push-server --id {HOST} --listen 127.0.0.1 --feed-port {FEED_PORT} --control-port {CONTROL_PORT} \
                 --data-threads {} --cluster-key",
                load.data_threads
            ))
            .arg(&path),
        );
        process.wait_for_line("ready", PATIENCE);
        let mut database = Database::new(host.enter(loopback_socket), key);
        database.configure_all(&load);
        let viewers = Viewers::start(&load, host.enter(loopback_socket));
        database.wait_until_sending(&load);
        // Last, since a feed that says nothing is not waited for.
        let (feeds, ears) = host.enter(|| connect_feeds(load.channels));
        Self { load, process, database, viewers, feeds, next: 0, _ears: ears }
    }

    /// Feeds all channels from now on.
    pub fn feed(&mut self) -> Feeder {
        Feeder::start(std::mem::take(&mut self.feeds), self.load.pace, self.next)
    }

    /// Stops `feeder`, and takes back its connections to feed on later.
    pub fn put_back(&mut self, feeder: Feeder) {
        let (fed, feeds) = feeder.stop();
        self.next += fed;
        self.feeds = feeds;
    }

    /// Its CPU clock.
    pub fn cpu(&self) -> CpuClocks {
        CpuClocks::of([self.process.pid()])
    }

    /// Packets that the push server says it has sent, to all destinations, and destinations that it says are sent to.
    pub fn reported(&mut self) -> Reported {
        self.database.reported()
    }

    /// Viewers of all channels go; what they watched falls silent within
    /// [`INTEREST_TIMEOUT`](protocols::p4_control::INTEREST_TIMEOUT).
    pub fn viewers_leave(&mut self) {
        self.viewers.end();
    }
}

/// What the push server tells the database server about its destinations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reported {
    /// Packets sent to each destination of each channel, by address.
    pub packets: BTreeMap<ChannelId, Vec<u64>>,
    /// Destinations that are being sent to.
    pub sending: usize,
    /// Channels with a destination in fault `Overloaded`.
    pub overloaded: BTreeSet<ChannelId>,
    /// Destinations with another fault.
    pub faults: usize,
}

impl Reported {
    /// Destinations that have been sent a packet.
    pub fn served(&self) -> usize {
        self.packets.values().flatten().filter(|packets| **packets > 0).count()
    }
}

fn cluster() -> ClusterKey {
    ClusterKey::new([0x6d; 32])
}

fn host_id() -> HostId {
    HOST.parse().expect("a valid id")
}

fn write_key(path: &std::path::Path, key: &ClusterKey) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, key.to_file_text()).expect("the laboratory's folder can be written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("own file");
}

fn loopback_socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has ports");
    socket.connect((Ipv4Addr::LOCALHOST, CONTROL_PORT)).expect("loopback is up");
    socket.set_read_timeout(Some(ANSWER_LIMIT)).expect("not zero");
    socket
}

fn cluster_time() -> ClusterTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    ClusterTime(u64::try_from(since.as_millis()).expect("it is not the year 500,000,000"))
}

fn destination(load: &Load, channel: u32, index: u32) -> Ipv4Addr {
    ground::destinations(channel * load.destinations + index, 1)[0]
}

/// The id of the `index`-th channel.
fn channel_id(index: u32) -> ChannelId {
    ChannelId(index + 1)
}

/// Plays the database server towards the push server.
#[derive(Debug)]
struct Database {
    socket: UdpSocket,
    key: ClusterKey,
    boot_id: BootId,
    sequence: u64,
}

impl Database {
    fn new(socket: UdpSocket, key: ClusterKey) -> Self {
        let mut database = Self { socket, key, boot_id: BootId(0), sequence: 0 };
        // The first answer says the boot id, the second counts.
        database.boot_id = database.query(0).host_boot;
        database.query(0);
        database
    }

    fn ask<B: Serialize + Clone, A: DeserializeOwned>(&mut self, kind: Kind, body: &B) -> Response<A> {
        let begun = Instant::now();
        loop {
            self.sequence += 1;
            let order = CommandOrder { start: 1, sequence: self.sequence };
            let key = self.key.host_key(&host_id());
            let command = Order { host: host_id(), host_boot: self.boot_id, order, body: body.clone() };
            let _ = self.socket.send(&seal(kind, &command, &key));
            let mut bytes = [0; 2_048];
            // A late answer to an earlier command is passed over.
            while let Ok(len) = self.socket.recv(&mut bytes) {
                let opened = Sealed::parse(&bytes[..len]).and_then(|sealed| sealed.open::<Response<A>>(&key));
                if let Some(response) = opened.ok().filter(|response| response.order == order) {
                    return response;
                }
            }
            assert!(begun.elapsed() < PATIENCE, "the push server answers no {kind:?}");
        }
    }

    fn query(&mut self, since: u64) -> Response<Report> {
        self.ask(Kind::Query, &Query { time: cluster_time(), since, padding: [0; 16] })
    }

    fn configure_all(&mut self, load: &Load) {
        let per_part = u32::try_from(DESTINATIONS_PER_PART).expect("ten");
        for channel in 0..load.channels {
            let parts =
                u8::try_from(load.destinations.div_ceil(per_part)).expect("at most 1,024 destinations");
            for part in 0..parts {
                let from = u32::from(part) * per_part;
                let destinations = (from..load.destinations.min(from + per_part))
                    .map(|index| order(load, channel, index))
                    .collect();
                let body = Configure {
                    channel: channel_id(channel),
                    revision: Revision(1),
                    part,
                    parts,
                    port: PORT,
                    destinations,
                    record: None,
                    session: None,
                };
                let _: Response<Configured> = self.ask(Kind::Configure, &body);
            }
        }
    }

    fn wait_until_sending(&mut self, load: &Load) {
        let wanted = usize::try_from(load.streams()).expect("fits");
        let begun = Instant::now();
        loop {
            let reported = self.reported();
            if reported.sending >= wanted {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{} of {wanted} destinations are sent to: {reported:?}",
                reported.sending
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Everything, from the beginning.
    fn reported(&mut self) -> Reported {
        let mut destinations = BTreeMap::new();
        let mut since = 0;
        loop {
            let report = self.query(since).body;
            for item in report.items {
                if let ReportItem::Destination { channel, address, sending, packets, fault } = item {
                    destinations.insert((channel, address), (sending, packets, fault));
                }
            }
            if !report.more {
                break;
            }
            since = report.up_to;
        }
        let mut sum = Reported::default();
        for ((channel, _), (sending, packets, fault)) in destinations {
            sum.packets.entry(channel).or_default().push(packets);
            sum.sending += usize::from(sending);
            match fault {
                Some(protocols::p4_control::DestinationFault::Overloaded) => {
                    sum.overloaded.insert(channel);
                }
                Some(_) => sum.faults += 1,
                None => {}
            }
        }
        sum
    }
}

fn order(load: &Load, channel: u32, index: u32) -> DestinationOrder {
    DestinationOrder {
        address: destination(load, channel, index).into(),
        interface: None,
        ttl: 1,
        dscp: 34,
        window_ms: load.window_ms,
        broadcast: false,
        assigned: true,
        membership: false,
        announce: false,
    }
}

/// A thread that hears what the push server orders on its feeds.
#[derive(Debug)]
struct Ears {
    stop: Shutdown,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Ears {
    fn drop(&mut self) {
        self.stop.request();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Opens P3 for each channel, and listens to what is ordered there.
fn connect_feeds(channels: u32) -> (Vec<Feed>, Ears) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the operating system gives an event queue");
    let (mut feeds, mut heard) = (Vec::new(), Vec::new());
    for index in 0..channels {
        let (stream, session) = runtime.block_on(connect_feed(index));
        let held = Arc::new(AtomicBool::new(false));
        let writer = stream.into_std().expect("a plain socket");
        heard.push((writer.try_clone().expect("there are descriptors"), session, held.clone()));
        feeds.push(Feed::new(writer, held));
    }
    let stop = Shutdown::new();
    let thread = std::thread::spawn({
        let stop = stop.clone();
        move || {
            runtime.block_on(async {
                for (stream, session, held) in heard {
                    tokio::spawn(hear(stream, session, held));
                }
                stop.requested().await;
            });
        }
    });
    (feeds, Ears { stop, thread: Some(thread) })
}

/// Until the connection closes.
async fn hear(stream: std::net::TcpStream, mut session: Session, held: Arc<AtomicBool>) {
    let Ok(mut stream) = tokio::net::TcpStream::from_std(stream) else { return };
    while let Ok(Some(body)) = session::read_sealed(&mut stream, &mut session.opener, MAX_OPENING_BYTES).await
    {
        match codec::decode::<FeedOrder, MAX_OPENING_BYTES>(&body) {
            Ok(FeedOrder::Flow) => held.store(false, Ordering::Relaxed),
            Ok(FeedOrder::Hold) => held.store(true, Ordering::Relaxed),
            Ok(FeedOrder::Close(_)) | Err(_) => return,
        }
    }
}

async fn connect_feed(index: u32) -> (tokio::net::TcpStream, Session) {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, FEED_PORT));
    let mut stream = tokio::net::TcpStream::connect(at).await.expect("the push server takes feeds");
    let call = Call {
        protocol: Protocol::Feed,
        caller: "roof".to_owned(),
        callee: HOST.to_owned(),
        boot_id: BootId(5),
        key: cluster().host_key(&host_id()),
    };
    let mut session = session::call(&mut stream, &call).await.expect("both hold the key");
    let open = Open { channel: channel_id(index), ssrc: index };
    session::write_sealed(&mut stream, &mut session.seal, &open).await.expect("the connection stands");
    let answer = session::read_sealed(&mut stream, &mut session.opener, MAX_OPENING_BYTES).await;
    let answer = answer.expect("the connection stands").expect("an answer before the end");
    let opened = codec::decode::<Opened, MAX_OPENING_BYTES>(&answer).expect("P3's own words");
    assert!(matches!(opened, Opened::Accepted), "{opened:?}");
    stream.set_nodelay(true).expect("TCP has it");
    (stream, session)
}

/// Plays the viewers of all watched destinations.
#[derive(Debug)]
struct Viewers {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Viewers {
    fn start(load: &Load, socket: UdpSocket) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (load, stop) = (*load, stop.clone());
            move || show_interest(&load, &socket, &stop)
        });
        Self { stop, thread: Some(thread) }
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Viewers {
    fn drop(&mut self) {
        self.end();
    }
}

/// A round of all at once, as when everybody turns on; then evenly, each every [`INTEREST_EVERY`].
fn show_interest(load: &Load, socket: &UdpSocket, stop: &AtomicBool) {
    socket.set_nonblocking(true).expect("any socket can");
    let leases = cluster().lease_key();
    let expires = ClusterTime(cluster_time().0 + LEASE_MS);
    let all: Vec<_> = (0..load.watched)
        .flat_map(|channel| (0..load.destinations).map(move |index| (channel, index)))
        .map(|(channel, index)| {
            let destination: IpAddr = destination(load, channel, index).into();
            let client = Ipv4Addr::LOCALHOST.into();
            let lease = Lease { client, channel: channel_id(channel), destination, expires };
            (lease, leases.secret(&lease))
        })
        .collect();
    let count = u32::try_from(all.len()).expect("a few thousand");
    let show = |(lease, secret): &(Lease, _)| {
        let interest = Interest { lease: *lease, time: cluster_time() };
        let _ = socket.send(&interest.seal(secret));
        let mut answer = [0; 256];
        while socket.recv(&mut answer).is_ok() {}
    };
    for (number, one) in (1_u32..).zip(&all) {
        show(one);
        if number.is_multiple_of(32) {
            std::thread::sleep(Duration::from_millis(1)); // the push server's socket has a buffer of some hundreds
        }
    }
    let begun = Instant::now();
    for (number, one) in (0_u32..).zip(all.iter().cycle()) {
        let due = begun + INTEREST_EVERY * (number / count) + INTEREST_EVERY * (number % count) / count;
        while Instant::now() < due {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(due.saturating_duration_since(Instant::now()).min(QUERY_INTERVAL));
        }
        show(one);
    }
}
