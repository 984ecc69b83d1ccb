//! The acquisition server's effects: one driver task for the machine, one task per input and per feed.
//!
//! | task | owns | ends |
//! |---|---|---|
//! | driver ([`run`]) | the machine, every handle below | at shutdown |
//! | database | the P1 connection | when it is lost or dropped |
//! | input, one per URL | the open input, its demultiplexer, its channels' captures | when no channel is taken from it |
//! | feed, one per channel and host | one P3 connection | when it fails or the plan drops it |
//!
//! Tasks report by one bounded queue of events; what a task says after it was replaced is not heard.
#![expect(
    clippy::disallowed_methods,
    reason = "the shell is where clocks, sockets, tasks and randomness live"
)]

mod channel;
mod database;
mod driver;
mod dvb_device;
mod feed;
mod input;
mod inputs;
mod listening;
mod metrics;
mod probe;
mod scan;
mod srt_library;
mod task;

use std::net::SocketAddr;
use std::path::PathBuf;

use link::clock::Clock;
use link::key_file::{self, KeyError};
use link::shutdown::Shutdown;
use link::supervision::Supervision;
use link::udp::SocketError;
use link::{metrics_port, random};
use protocols::authority::ClusterKey;
use protocols::ids::{AcquisitionId, BootId};
use tokio::sync::mpsc;
use tracing::info;

use driver::Driver;

pub use probe::probe;
pub use scan::{Scan, ScanError, Scanned, scan};

/// What an administrator decides about one acquisition server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its id in the topology.
    pub id: AcquisitionId,
    /// The database server: `HOST:PORT`.
    pub database: String,
    /// The site's cluster key.
    pub cluster_key: PathBuf,
    /// Where to serve metrics; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
}

/// Why an acquisition server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster key cannot be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The port of the metrics cannot be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
}

impl Error {
    /// Exit status of a process that ends with it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Key(_) => 2,
            Self::Socket(_) => 1,
        }
    }
}

/// What every task is given.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) id: AcquisitionId,
    pub(crate) boot_id: BootId,
    pub(crate) key: ClusterKey,
    pub(crate) database: String,
    pub(crate) clock: Clock,
}

/// Runs one acquisition server until `shutdown`; may be called several times in a process.
pub async fn run(options: Options, shutdown: Shutdown) -> Result<(), Error> {
    let key = key_file::load(&options.cluster_key)?;
    let metrics = match options.metrics {
        Some(address) => Some(metrics_port::bind(address).await?),
        None => None,
    };
    let context = Context {
        id: options.id,
        boot_id: random::boot_id(),
        key,
        database: options.database,
        clock: Clock::start(),
    };
    info!(id = %context.id, database = context.database, boot = %context.boot_id, "ready: acquisition server");
    let (questions, asked) = mpsc::channel(metrics_port::QUEUED_QUESTIONS);
    let port = metrics.map(|listener| tokio::spawn(metrics_port::serve(listener, questions, metrics::text)));
    Driver::new(context).run(asked, Supervision::ready(), &shutdown).await;
    if let Some(port) = port {
        port.abort();
    }
    info!("acquisition server ended");
    Ok(())
}
