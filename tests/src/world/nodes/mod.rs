//! The glue of each daemon: what its shell does, and nothing else. It hands events to the machine, carries out what the
//! machine says, and arms its deadline.

pub mod acquisition;
pub mod database;
pub mod host;
pub mod viewer;

use super::streams::StreamId;

/// A link that a node calls: the attempt that runs, and the connection that came of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Link {
    /// The running attempt.
    pub attempt: Option<u32>,
    /// The connection.
    pub stream: Option<StreamId>,
}

impl Link {
    /// Whether `stream` is this link's connection.
    pub fn is(&self, stream: StreamId) -> bool {
        self.stream == Some(stream)
    }
}
