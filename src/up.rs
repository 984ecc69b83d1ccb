//! `masthead up`: database server, acquisition servers and push servers of one topology in one process.
//!
//! The only place that knows all daemons. Without a topology of one's own it is a site on loopback with the test card.
#![expect(clippy::disallowed_methods, reason = "it is the shell around the daemons' shells")]

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use link::key_file::{self, KeyError};
use link::logging::{self, LogFormat};
use link::shutdown::{Shutdown, SignalError};
use protocols::authority::ClusterKey;
use protocols::ids::HostId;
use protocols::topology::{Faults, Topology};
use push_server::shell::recorder;
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::on_air;

/// The site without a topology of one's own.
const OWN_TOPOLOGY: &str = include_str!("up.toml");
/// Most that it records: nobody has asked for it.
const OWN_RECORDINGS_BYTES: u64 = 1 << 30;

/// Options of `masthead up`.
#[derive(Debug, Default, Args)]
pub(crate) struct Arguments {
    /// A topology of your own; every server that it declares runs here. Without it: the test card on loopback.
    #[arg(long, env = "MASTHEAD_TOPOLOGY")]
    topology: Option<PathBuf>,
    /// Folder of the store, the cluster key and what is recorded [default: the user's state folder, such as ~/.local/state/masthead].
    #[arg(long, env = "MASTHEAD_DATA")]
    data: Option<PathBuf>,
    /// How log lines look: text or json.
    #[arg(long, default_value = "text", env = "MASTHEAD_LOG_FORMAT")]
    format: LogFormat,
}

/// Why the site does not come up or goes down.
#[derive(Debug, Error)]
enum UpError {
    #[error("{path}: {error}")]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{0}")]
    Topology(Faults),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Signals(#[from] SignalError),
    #[error("the runtime does not start: {0}")]
    Runtime(io::Error),
    #[error("database server: {0}")]
    Database(#[from] database_server::shell::Error),
    #[error("acquisition server {0}: {1}")]
    Acquisition(String, acquisition::shell::Error),
    #[error("push server {0}: {1}")]
    Push(String, push_server::shell::Error),
    #[error("a part of the site failed: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

impl UpError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Unreadable { .. } | Self::Topology(_) | Self::Key(_) => 2,
            Self::Database(error) => error.exit_code(),
            Self::Acquisition(_, error) => error.exit_code(),
            _ => 1,
        }
    }
}

/// Runs the site until Ctrl-C.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    // People read what is printed here; the servers speak up when something is wrong.
    logging::start(arguments.format, "warn");
    match up(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", error.to_string().trim_end());
            ExitCode::from(error.exit_code())
        }
    }
}

fn up(arguments: &Arguments) -> Result<(), UpError> {
    let topology = Arc::new(topology(arguments.topology.as_deref())?);
    let data = arguments.data.clone().unwrap_or_else(default_data);
    let key_path = data.join(key_file::FILE_NAME);
    let key = key_file::load_or_make(&key_path)?;
    let shutdown = Shutdown::on_signals()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(UpError::Runtime)?;
    let site = Site { source: arguments.topology.clone(), topology, data, key, key_path };
    runtime.block_on(site.run(&shutdown))
}

fn topology(path: Option<&Path>) -> Result<Topology, UpError> {
    let (name, text) = match path {
        None => ("up.toml".to_owned(), OWN_TOPOLOGY.to_owned()),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| UpError::Unreadable { path: path.to_owned(), error })?;
            (path.display().to_string(), text)
        }
    };
    let (topology, warnings) = Topology::parse(&name, &text).map_err(UpError::Topology)?;
    warnings.iter().for_each(|warning| eprintln!("{warning}"));
    Ok(topology)
}

/// The user's state folder (XDG Base Directory Specification), or a folder beside the user where there is none.
fn default_data() -> PathBuf {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    state.or_else(home).map_or_else(|| PathBuf::from("masthead-data"), |folder| folder.join("masthead"))
}

/// Everything that one process runs.
struct Site {
    source: Option<PathBuf>,
    topology: Arc<Topology>,
    data: PathBuf,
    key: ClusterKey,
    key_path: PathBuf,
}

impl Site {
    /// Starts all parts, says when there is television, and ends them all when one ends or `shutdown` is requested.
    async fn run(self, shutdown: &Shutdown) -> Result<(), UpError> {
        let mut parts = JoinSet::new();
        let (ready, opened) = oneshot::channel();
        parts.spawn(run_database(self.database(ready), shutdown.clone()));
        for host in self.topology.hosts.values() {
            let options = push_server::shell::Options {
                host: host.id.clone(),
                database: None,
                listen: host.address,
                feed_port: host.feed_port,
                control_port: host.control_port,
                stream_port: stream_port(host.control_port),
                key: self.key.clone(),
                data_threads: push_server::shell::processors(),
                unicast_viewers: push_server::live::table::DEFAULT_VIEWERS,
                query_interval: push_server::membership::timing::Timing::default().query_interval,
                recordings: host.record.map(|_| self.recordings(&host.id)),
                metrics: None,
            };
            parts.spawn(run_push_server(options, shutdown.clone()));
        }
        if opened.await.is_ok() {
            for server in self.topology.acquisition_servers.values() {
                let options = acquisition::shell::Options {
                    id: server.id.clone(),
                    database: self.topology.database_server.registration().to_string(),
                    cluster_key: self.key_path.clone(),
                    metrics: None,
                };
                parts.spawn(run_acquisition(options, shutdown.clone()));
            }
            let directory = self.topology.database_server.directory();
            let built_in = self.source.is_none();
            let told = shutdown.clone();
            tokio::spawn(async move { on_air::tell(directory, built_in, &told).await });
        }
        let mut outcome = Ok(());
        while let Some(ended) = parts.join_next().await {
            shutdown.request();
            outcome = outcome.and(ended.map_err(UpError::from).flatten());
        }
        outcome
    }

    /// Where and how the push server `host` records: in a folder of its own, since each locks its folder.
    fn recordings(&self, host: &HostId) -> recorder::Options {
        let limit_bytes = self.source.is_none().then_some(OWN_RECORDINGS_BYTES);
        let folder = self.data.join(format!("push-server-{host}"));
        recorder::Options { limit_bytes, ..recorder::Options::new(folder) }
    }

    fn database(
        &self,
        ready: oneshot::Sender<database_server::shell::Bound>,
    ) -> database_server::shell::Options {
        use database_server::shell::{Options, Ports, Source};
        let topology = match &self.source {
            Some(path) => Source::File(path.clone()),
            None => Source::Parsed(Arc::clone(&self.topology)),
        };
        Options {
            topology,
            data: self.data.clone(),
            cluster_key: Some(self.key_path.clone()),
            listen: Some(self.topology.database_server.address),
            ports: Ports::Declared,
            certificate: None,
            announce: true,
            ready: Some(ready),
        }
    }
}

/// P5's port of the host with this P4 port. Of hosts that share an address here only one can have the usual ports; from
/// where a viewer is sent packets matters to no viewer.
fn stream_port(control_port: u16) -> u16 {
    if control_port == push_server::shell::CONTROL_PORT { push_server::shell::STREAM_PORT } else { 0 }
}

async fn run_database(options: database_server::shell::Options, shutdown: Shutdown) -> Result<(), UpError> {
    Ok(database_server::shell::run(options, shutdown).await?)
}

async fn run_acquisition(options: acquisition::shell::Options, shutdown: Shutdown) -> Result<(), UpError> {
    let id = options.id.to_string();
    acquisition::shell::run(options, shutdown).await.map_err(|error| UpError::Acquisition(id, error))
}

async fn run_push_server(options: push_server::shell::Options, shutdown: Shutdown) -> Result<(), UpError> {
    let host = options.host.to_string();
    push_server::shell::run(options, shutdown).await.map_err(|error| UpError::Push(host, error))
}
