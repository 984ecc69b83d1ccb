//! What the database server and a host say to each other: commands in order, and responses to them.

use serde::{Deserialize, Serialize};

use crate::ids::{BootId, HostId};

/// Place of a command in the order of all commands of a cluster: compared first by start, then by sequence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CommandOrder {
    /// Start number of the database server: grows with each of its starts.
    pub start: u32,
    /// Grows with each command.
    pub sequence: u64,
}

/// From the database server to one push server host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command<B> {
    /// The host that it is for.
    pub host: HostId,
    /// The boot id that the database server knows of it; 0 while it knows none.
    pub host_boot: BootId,
    /// Against replay, and echoed by the response.
    pub order: CommandOrder,
    /// What to do.
    pub body: B,
}

/// From a push server host to the database server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response<B> {
    /// The host that speaks.
    pub host: HostId,
    /// Its boot id.
    pub host_boot: BootId,
    /// The command that it answers.
    pub order: CommandOrder,
    /// The answer.
    pub body: B,
}
