//! The effects of the database server: sockets, signals, time, the store. It decides nothing.
//!
//! ```text
//! P1 listener ─ connection tasks ─┐                     ┌─► queues of connections (bounded; a full one closes its connection)
//! P4 socket ──────────────────────┼─► driver ─► machine ┼─► P4 socket
//! SIGHUP ─────────────────────────┤    ▲                └─► store
//! P2 listener ─ connection tasks ─┤    └ deadline, shutdown
//! console ─ HTTP ─────────────────┘
//! ```
//!
//! One driver task owns the machine. It takes first what keeps servers alive (deadlines, P4, P1), then clients, so that a storm
//! of viewers makes no server look dead, and then who only looks.

mod acquisitions;
mod administration;
mod announcing;
mod clients;
mod console;
mod driver;
mod listener;
mod reload;
mod tally;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use link::clock::Clock;
use link::discovery::Announced;
use link::key_file::{self, KeyError};
use link::shutdown::Shutdown;
use link::tls::{self, TlsError};
use link::udp::SocketError;
use link::{open_files, random};
use protocols::preamble::Protocol;
use protocols::time::ClusterTime;
use protocols::topology::{Faults, Topology};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tracing::info;

use self::administration::{Clerk, Office};
use self::clients::Administration;
use self::console::{App, Desk, Means, QUEUED_ASKS};
use self::driver::{Driver, Event, Inboxes, Tools};
use self::tally::Tally;
use crate::directory::MAX_CLIENTS;
use crate::store::{self, StoreError};
use crate::{Config, DatabaseServer};

/// Events of P1, P4 and reloads that may wait for the driver; senders of P1 wait, datagrams beyond it are dropped and counted.
pub const QUEUED_CONTROL_EVENTS: usize = 4_096;
/// Events of clients that may wait for the driver; connections wait, and so do their clients by TCP's own means.
pub const QUEUED_CLIENT_EVENTS: usize = 4_096;

/// How a database server is started.
#[derive(Debug)]
pub struct Options {
    /// What to serve.
    pub topology: Source,
    /// Folder of the store and, unless named, of the cluster key; made where missing.
    pub data: PathBuf,
    /// The cluster key's file; `None`: `cluster.key` in the data folder, made at the first start.
    pub cluster_key: Option<PathBuf>,
    /// Where to listen; `None`: on all addresses, IPv6 and IPv4.
    pub listen: Option<IpAddr>,
    /// Which ports to listen on.
    pub ports: Ports,
    /// One's own certificate for TLS; `None`: the data folder's, made at the first start.
    pub certificate: Option<Certificate>,
    /// Whether the site announces itself on the LAN by DNS-SD; it never does on loopback.
    pub announce: bool,
    /// Told once when all is open.
    pub ready: Option<oneshot::Sender<Bound>>,
}

/// A certificate for TLS, in PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate, and the chain to its authority behind it.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Where the topology comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file, read at the start and at each SIGHUP.
    File(PathBuf),
    /// One that the caller has parsed; SIGHUP changes nothing.
    Parsed(Arc<Topology>),
}

/// Which ports to listen on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ports {
    /// Those of the topology.
    #[default]
    Declared,
    /// Any that are free; whoever needs to know them is told by [`Options::ready`].
    Any,
}

/// What has been opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// P1.
    pub registration: SocketAddr,
    /// P2.
    pub directory: SocketAddr,
    /// The source of P4.
    pub control: SocketAddr,
    /// The console.
    pub console: SocketAddr,
}

/// Why a database server does not start.
#[derive(Debug, Error)]
pub enum Error {
    /// The topology file cannot be read.
    #[error("{path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        error: std::io::Error,
    },
    /// The topology has faults; all of them.
    #[error("{0}")]
    Topology(Faults),
    /// There is no usable cluster key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// There is no usable certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// There is no store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A port cannot be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
}

impl Error {
    /// What the process ends with: 2 for what the administrator wrote, 1 for what the host refuses.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unreadable { .. } | Self::Topology(_) | Self::Key(_) | Self::Tls(_) => 2,
            Self::Store(_) | Self::Socket(_) => 1,
        }
    }
}

/// Runs a database server until `shutdown` is requested. Nothing is opened before the topology is known to be right.
#[expect(
    clippy::too_many_lines,
    reason = "one thing after the other, each opened once and handed to the next"
)]
pub async fn run(options: Options, shutdown: Shutdown) -> Result<(), Error> {
    let topology = match &options.topology {
        Source::File(path) => {
            let (topology, warnings) = reload::read(path)?;
            reload::tell(&warnings);
            Arc::new(topology)
        }
        Source::Parsed(topology) => Arc::clone(topology),
    };
    raise_descriptor_limit();
    let hangups = if let Source::File(_) = options.topology { reload::hangups() } else { None };
    let declared = topology.database_server.clone();
    let (p1, p2, http) = match options.ports {
        Ports::Declared => (declared.registration_port, declared.directory_port, declared.http_port),
        Ports::Any => (0, 0, 0),
    };
    let registration = listener::bind("P1 registration", options.listen, p1)?;
    let directory = listener::bind("P2 directory", options.listen, p2)?;
    let console = listener::bind("console", options.listen, http)?;
    let control = listener::bind_control()?;
    let key = match &options.cluster_key {
        Some(path) => key_file::load(path)?,
        None => key_file::load_or_make(&options.data.join(key_file::FILE_NAME))?,
    };
    let wall = Clock::wall();
    let store = store::open(&options.data, wall)?;
    let identity = match &options.certificate {
        Some(Certificate { certificate, key }) => tls::load(certificate, key)?,
        None => tls::load_or_make(&options.data, served_names(declared.address))?,
    };
    let clock = Clock::start();
    let base = wall.0.saturating_sub(u64::try_from(clock.now().since_origin().as_millis()).unwrap_or(0));
    let config = Config {
        cluster_key: key.clone(),
        start: store.start,
        clock_base: ClusterTime(base),
        remembered: store.remembered,
    };
    let boot_id = random::boot_id();
    let machine = DatabaseServer::new(config, boot_id, random::seed());
    let tally = Arc::new(Tally::default());
    let (control_events, control_inbox) = mpsc::channel(QUEUED_CONTROL_EVENTS);
    let (client_events, client_inbox) = mpsc::channel(QUEUED_CLIENT_EVENTS);
    let (asks, asked) = mpsc::channel(QUEUED_ASKS);
    let (topology_sender, topology_receiver) = watch::channel(Arc::clone(&topology));
    let bound = Bound {
        registration: listener::local(&registration),
        directory: listener::local(&directory),
        control: control.local_addr().unwrap_or(listener::UNKNOWN),
        console: listener::local(&console),
    };
    info!(
        registration = %bound.registration, directory = %bound.directory, console = %bound.console, key = %key.fingerprint(), certificate = %identity.fingerprint,
        start = store.start, boot = %boot_id, "ready"
    );

    let announced =
        (options.announce && !is_loopback_only(options.listen, declared.address)).then(|| Announced {
            site: declared.name.clone(),
            directory_port: bound.directory.port(),
            console_port: bound.console.port(),
            listen: options.listen,
            boot: boot_id.0,
        });
    let control = Arc::new(control);
    let mut tasks = JoinSet::new();
    let acquisitions = acquisitions::Acquisitions {
        boot_id,
        key: key.clone(),
        topology: topology_receiver.clone(),
        events: control_events.clone(),
        tally: Arc::clone(&tally),
    };
    tasks.spawn(listener::serve(registration, Protocol::Registration, acquisitions));
    let desk = Desk::new(asks);
    let path = match options.topology {
        Source::File(path) => Some(path),
        Source::Parsed(_) => None,
    };
    let secure_address = format!("https://{}/", SocketAddr::new(declared.address, bound.console.port()));
    let clerk = Clerk::new(path, declared, control_events.clone());
    let office = Arc::new(Office::open(&options.data, clerk, desk.clone(), key)?);
    let acceptor = TlsAcceptor::from(Arc::clone(&identity.config));
    let administration = Administration::new(Arc::clone(&office), acceptor, secure_address.clone());
    let clients = clients::Clients::new(client_events, Arc::clone(&tally), Arc::new(administration));
    let unsent = clients.unsent_total();
    tasks.spawn(listener::serve(directory, Protocol::Directory, clients));
    tasks.spawn(listener::receive(Arc::clone(&control), control_events.clone(), Arc::clone(&tally)));
    let means = Means {
        desk,
        journal: store.writer.reader(),
        tally: Arc::clone(&tally),
        office: Arc::clone(&office),
        topology: topology_receiver,
        secure_address,
    };
    tasks.spawn(link::http::serve_within(
        console,
        console::app(App::new(means)),
        Some(identity.config),
        console::UNREAD_LIMIT,
    ));
    let (end_announcing, announcing_ends) = oneshot::channel::<()>();
    #[expect(
        clippy::disallowed_methods,
        reason = "it must outlive the other tasks, to take back what it announced"
    )]
    let announcing = announced.map(|announced| {
        tokio::spawn(announcing::announce(announced, topology_sender.subscribe(), announcing_ends))
    });
    if let Some(hangups) = hangups {
        tasks.spawn(administration::on_hangup(hangups, office));
    }
    if let Some(ready) = options.ready {
        // The caller may have gone on without waiting.
        let _ = ready.send(bound);
    }
    let tools =
        Tools { machine, clock, control, store: store.writer, topology: topology_sender, tally, unsent };
    let mut driver = Driver::new(tools);
    let inboxes = Inboxes { control: control_inbox, clients: client_inbox, asks: asked };
    driver.run(topology, inboxes, &shutdown).await;
    tasks.shutdown().await;
    drop(end_announcing);
    if let Some(announcing) = announcing {
        // A task that failed has nothing to take back.
        let _ = announcing.await;
    }
    driver.close().await;
    info!("ended");
    Ok(())
}

/// The names and addresses that a certificate of ours is for.
fn served_names(address: IpAddr) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let own = address.to_string();
    if !names.contains(&own) {
        names.push(own);
    }
    names
}

/// Whether nobody else can reach this server.
fn is_loopback_only(listen: Option<IpAddr>, declared: IpAddr) -> bool {
    declared.is_loopback() || listen.is_some_and(|listen| listen.is_loopback())
}

/// Each client has a descriptor.
fn raise_descriptor_limit() {
    let limit = open_files::raise_limit();
    if limit < MAX_CLIENTS as u64 {
        info!(
            limit,
            wanted = MAX_CLIENTS,
            "so many files may be open, and no more clients can be connected; raise it by `ulimit -n` or LimitNOFILE="
        );
    }
}

/// Used by the parts of the shell to speak to the driver.
type Events = mpsc::Sender<Event>;
