//! The acquisition server's effects: one driver task for the machine, one task per channel and per feed.
//!
//! | task | owns | ends |
//! |---|---|---|
//! | driver ([`run`]) | the machine, every handle below | at shutdown |
//! | database | the P1 connection | when it is lost or dropped |
//! | channel, one each | the capture and its input | when the plan drops the channel |
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
mod feed;
mod inputs;
mod task;

use std::path::PathBuf;

use link::clock::Clock;
use link::key_file::{self, KeyError};
use link::random;
use link::shutdown::Shutdown;
use protocols::authority::ClusterKey;
use protocols::ids::{AcquisitionId, BootId};
use tracing::info;

use driver::Driver;

/// What an administrator decides about one acquisition server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its id in the topology.
    pub id: AcquisitionId,
    /// The database server: `HOST:PORT`.
    pub database: String,
    /// The site's cluster key.
    pub cluster_key: PathBuf,
}

/// Why an acquisition server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster key cannot be had.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Error {
    /// Exit status of a process that ends with it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Key(_) => 2,
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
    let context = Context {
        id: options.id,
        boot_id: random::boot_id(),
        key,
        database: options.database,
        clock: Clock::start(),
    };
    info!(id = %context.id, database = context.database, boot = %context.boot_id, "ready: acquisition server");
    Driver::new(context).run(&shutdown).await;
    info!("acquisition server ended");
    Ok(())
}
