//! The effects of a push server host: sockets, threads, clock.
//!
//! ```text
//! P4 socket ─┐                       ┌─ orders ──► data thread 0..n: feeds' TCP sockets, outlets' UDP sockets
//! P3 listener┼─► driver (PushServer) ┤                    │
//! deadline ──┘          ▲            └─ P4 answers        │
//!                       └────────────── news ─────────────┘
//! ```
//!
//! | task | owns |
//! |---|---|
//! | driver (`driver.rs`) | the [`crate::PushServer`], the P4 socket, feeds that wait for its decision |
//! | one per opening P3 connection (`openings.rs`) | the connection until its `Open` is read |
//! | data threads (`plane.rs`, `channel.rs`) | [`crate::path::ChannelPath`]s with their feeds and outlets; they share P5's socket (`stream.rs`) |
//! | one per interface where members of groups are heard (`ears.rs`) | its sockets |
//! | playback thread, reader threads (`playback/`) | the sessions of recordings; they share P4's and P5's sockets |
//! | recorder threads (`recorder/`) | what is recorded |
//! | replication threads (`replication/`) | what is copied from and to other hosts |
#![expect(
    clippy::disallowed_methods,
    reason = "the shell owns the sockets, threads and clocks of this crate"
)]

mod channel;
mod data;
mod driver;
mod ears;
mod metrics;
mod openings;
mod outlet;
mod plane;
pub mod playback;
mod queue;
mod reader;
pub mod recorder;
pub mod replication;
mod stream;
pub mod tally;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use link::clock::Clock;
use link::shutdown::{Shutdown, SignalError};
use link::supervision::Supervision;
use link::udp::{self, SocketError};
use link::{metrics_port, open_files, random};
use protocols::authority::ClusterKey;
use protocols::ids::HostId;
use thiserror::Error;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;

use crate::membership::timing::Timing;
use crate::server::{Config, PushServer};
use driver::{Driver, Visits};
use ears::{EVENTS_WAITING, Ears};
use playback::{Means, Playback, Shown};
use recorder::Recorder;
use recorder::desk::Desk;
use replication::{Identity, Replication};
use stream::StreamSocket;
use tally::Tally;

/// P3's TCP port unless set.
pub const FEED_PORT: u16 = 7403;
/// P4's UDP port unless set.
pub const CONTROL_PORT: u16 = 7404;
/// P5's UDP port unless set.
pub const STREAM_PORT: u16 = 7405;
/// Data threads at most.
pub const MAX_DATA_THREADS: u16 = 64;
/// News from data threads and openings that wait for the driver; when full, openings wait and data threads tell later.
const NEWS_WAITING: usize = 4_096;

/// What a push server host needs to know to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its id in the topology.
    pub host: HostId,
    /// The database server, for the log.
    pub database: Option<String>,
    /// Address to listen on; unspecified: all. The unspecified IPv6 address takes IPv4 too.
    pub listen: IpAddr,
    /// TCP port of P3; 0: any.
    pub feed_port: u16,
    /// UDP port of P4; 0: any.
    pub control_port: u16,
    /// UDP port of P5; 0: any.
    pub stream_port: u16,
    /// The site's key.
    pub key: ClusterKey,
    /// Threads that carry packets, 1..=[`MAX_DATA_THREADS`].
    pub data_threads: u16,
    /// Viewers who are sent a channel by P5 for longer than a burst, over all channels.
    pub unicast_viewers: usize,
    /// Time between two questions for members of groups ([`Timing`]).
    pub query_interval: Duration,
    /// Where and how to record; `None`: this host does not.
    pub recordings: Option<recorder::Options>,
    /// Where to serve metrics; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
}

/// Processors that this process may use, 1..=[`MAX_DATA_THREADS`].
pub fn processors() -> u16 {
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u16::try_from(count).unwrap_or(MAX_DATA_THREADS).min(MAX_DATA_THREADS)
}

/// Why a push server host cannot start or go on.
#[derive(Debug, Error)]
pub enum Error {
    /// A port cannot be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The operating system refuses a thread or an event queue.
    #[error("the operating system refuses what the data plane needs: {0}")]
    Io(#[from] io::Error),
    /// Nothing can be recorded, or nobody else may.
    #[error("cannot record: {0}")]
    Recordings(#[source] io::Error),
    /// Signals cannot be heard.
    #[error(transparent)]
    Signals(#[from] SignalError),
    /// A data thread ended or does not keep up with its orders.
    #[error("data thread {0} is stuck or gone")]
    DataThread(usize),
}

/// A push server host that has its ports and is about to serve.
#[derive(Debug)]
pub struct Host {
    options: Options,
    control: UdpSocket,
    stream: StreamSocket,
    /// The sockets of P4 and P5 once more, for playback.
    playback: (std::net::UdpSocket, std::net::UdpSocket),
    feeds: TcpListener,
    tallies: Vec<Arc<Tally>>,
    shown: Arc<Shown>,
}

/// Serves until `shutdown` is requested.
pub async fn run(options: Options, shutdown: Shutdown) -> Result<(), Error> {
    Host::bind(options)?.serve(shutdown).await
}

impl Host {
    /// Takes the ports. Call within a tokio runtime.
    pub fn bind(options: Options) -> Result<Self, Error> {
        let control = datagram_socket(options.listen, options.control_port)?;
        let listen = control.local_addr()?.ip();
        let stream = datagram_socket(listen, options.stream_port)?;
        let playback = (control.try_clone()?, stream.try_clone()?);
        let (control, stream) = (UdpSocket::from_std(control)?, StreamSocket::new(stream)?);
        let feeds = feed_listener(SocketAddr::new(listen, options.feed_port))?;
        let threads = options.data_threads.clamp(1, MAX_DATA_THREADS);
        let tallies = (0..threads).map(|_| Arc::default()).collect();
        Ok(Self { control, stream, playback, feeds, tallies, shown: Arc::default(), options })
    }

    /// Where P4 is heard.
    pub fn control_address(&self) -> io::Result<SocketAddr> {
        self.control.local_addr()
    }

    /// Where P5 comes from.
    pub fn stream_address(&self) -> io::Result<SocketAddr> {
        self.stream.address()
    }

    /// Where P3 is heard.
    pub fn feed_address(&self) -> io::Result<SocketAddr> {
        self.feeds.local_addr()
    }

    /// What each data thread will have done: counts that go on for as long as it serves.
    pub fn tallies(&self) -> &[Arc<Tally>] {
        &self.tallies
    }

    /// What playback will have done, as it shows each second.
    pub fn playback(&self) -> Arc<Shown> {
        self.shown.clone()
    }

    /// Serves until `shutdown` is requested.
    pub async fn serve(self, shutdown: Shutdown) -> Result<(), Error> {
        // Each destination has a socket.
        open_files::raise_limit();
        let Self { options, control, stream, playback, feeds, tallies, shown } = self;
        let metrics = match options.metrics {
            Some(address) => Some(metrics_port::bind(address).await?),
            None => None,
        };
        let clock = Clock::start();
        let boot_id = random::boot_id();
        let (news, heard) = mpsc::channel(NEWS_WAITING);
        let recorder =
            options.recordings.as_ref().map(Recorder::start).transpose().map_err(Error::Recordings)?;
        let identity = Identity { host: options.host.clone(), boot_id, key: options.key.clone() };
        let replication = options.recordings.as_ref().zip(recorder.as_ref());
        let replication = replication
            .map(|(options, recorder)| Replication::start(&identity, options, recorder))
            .transpose()?;
        let means = Means {
            clock,
            archive: recorder.as_ref().map(|recorder| recorder.archive().clone()),
            control: playback.0,
            stream: playback.1,
            leases: options.key.lease_key(),
            shown,
        };
        let playback = Playback::start(means)?;
        let desk = Desk::new(recorder);
        let threads = data::start(&tallies, &stream, clock, &news)?;
        tracing::info!(
            host = %options.host,
            control = %control.local_addr()?,
            feeds = %feeds.local_addr()?,
            stream = %stream.address()?,
            database = options.database.as_deref().unwrap_or("any that holds the key"),
            key = options.key.fingerprint(),
            %boot_id,
            "ready"
        );
        let host_key = options.key.host_key(&options.host);
        let guests = replication.as_ref().map(Replication::guests);
        let admit = openings::Admit { host: options.host.clone(), key: host_key, boot_id, guests };
        let doorkeeper = tokio::spawn(openings::admit(feeds, admit, news));
        let machine = PushServer::new(Config { host: options.host, key: options.key }, boot_id)
            .with_unicast_viewers(options.unicast_viewers)
            .with_membership_timing(Timing::with_query_interval(options.query_interval));
        let (questions, asked) = mpsc::channel(metrics_port::QUEUED_QUESTIONS);
        let port =
            metrics.map(|listener| tokio::spawn(metrics_port::serve(listener, questions, metrics::text)));
        let replicated = replication.as_ref().map(|replication| replication.counts().clone());
        let visits = Visits { asked, replicated, supervision: Supervision::ready() };
        let (events, members) = mpsc::channel(EVENTS_WAITING);
        let driver = Driver::new(machine, clock, control, threads, playback, desk, Ears::new(events));
        let ended = driver.drive(heard, members, visits, shutdown).await;
        doorkeeper.abort();
        if let Some(port) = port {
            port.abort();
        }
        drop(replication);
        ended
    }
}

/// The socket of P4, or of P5. Where the host has no IPv6, the unspecified IPv6 address means every IPv4 one.
fn datagram_socket(listen: IpAddr, port: u16) -> Result<std::net::UdpSocket, Error> {
    let socket = match udp::bind(SocketAddr::new(listen, port)) {
        Err(SocketError::Io { error, .. })
            if listen.is_ipv6() && listen.is_unspecified() && without_ipv6(&error) =>
        {
            udp::bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))?
        }
        other => other?,
    };
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn without_ipv6(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.raw_os_error() == Some(EAFNOSUPPORT) || error.kind() == io::ErrorKind::AddrNotAvailable
}

fn feed_listener(address: SocketAddr) -> Result<TcpListener, Error> {
    let attempt = || -> io::Result<TcpListener> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    attempt().map_err(|error| {
        SocketError::new(format!("TCP port {} on {}", address.port(), address.ip()), error).into()
    })
}
