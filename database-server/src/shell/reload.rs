//! The topology file: read at the start, and again at each SIGHUP.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocols::topology::{DatabaseServer, Topology, Warning};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use super::driver::Event;
use super::{Error, Events};

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

/// Reads `path` at each SIGHUP; a file with faults is refused whole, with all of them in the log. `declared` is what the ports
/// were opened by: a change of it needs a restart.
pub(super) async fn on_hangup(mut hangups: Signal, path: PathBuf, declared: DatabaseServer, events: Events) {
    while hangups.recv().await.is_some() {
        info!(file = %path.display(), "SIGHUP: reading the topology again");
        let event = match read(&path) {
            Ok((topology, warnings)) => {
                tell(&warnings);
                if topology.database_server != declared {
                    warn!("`[database_server]` has changed: its ports and address hold from the next start");
                }
                Event::Reload(Arc::new(topology))
            }
            Err(faults) => {
                error!("the topology stays as it was, because the file is not right:\n{faults}");
                Event::ReloadRefused
            }
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}
