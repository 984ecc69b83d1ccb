//! The topology file: read at the start, and again at each SIGHUP.

use std::fs;
use std::path::Path;

use protocols::topology::{Topology, Warning};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::warn;

use super::Error;

/// Reads and checks a topology file.
pub(super) fn read(path: &Path) -> Result<(Topology, Vec<Warning>), Error> {
    let text =
        fs::read_to_string(path).map_err(|error| Error::Unreadable { path: path.to_owned(), error })?;
    Topology::parse(&path.display().to_string(), &text).map_err(Error::Topology)
}

/// Logs what is doubtful in a topology.
pub(super) fn tell(warnings: &[Warning]) {
    for warning in warnings {
        warn!("{warning}");
    }
}

/// Begins to hear SIGHUP; without it, the signal would end the process.
pub(super) fn hangups() -> Option<Signal> {
    signal(SignalKind::hangup())
        .inspect_err(|error| warn!(%error, "SIGHUP cannot be heard: a changed topology needs a restart"))
        .ok()
}
