//! What is answered.

use serde::{Deserialize, Serialize};

use super::role::Role;
use crate::p2_directory::ProgrammeEntry;

/// The answer to a [`super::Request`] that was carried out. Append-only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// It is done.
    Done,
    /// The topology file.
    Topology {
        /// Which state of it.
        revision: String,
        /// All of it.
        text: String,
    },
    /// What the edits make, or would make, of the topology file.
    Edited {
        /// The revision of the file from now on; of a trial, what it would be.
        revision: String,
        /// A unified diff; empty when nothing changes.
        difference: String,
        /// What is doubtful in the new file.
        warnings: Vec<String>,
    },
    /// A command waits for its server's next poll.
    Commanded {
        /// Its number.
        id: u64,
    },
    /// A recording is ordered.
    Recorded(Box<ProgrammeEntry>),
    /// The accounts, by name.
    Accounts(Vec<AccountEntry>),
    /// Lines of the audit, the newest first.
    Audit(Vec<AuditEntry>),
    /// How the site does, as JSON.
    Status(String),
}

/// One account, as told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountEntry {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it was made, ms since 1970.
    pub created_ms: u64,
    /// When its role or password was last changed.
    pub changed_ms: u64,
}

/// One line of the audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its number; grows, and is never used again.
    pub id: u64,
    /// When, ms since 1970.
    pub at_ms: u64,
    /// Who: the name of an account, or `cluster key`.
    pub who: String,
    /// From which address, and by which door.
    pub origin: String,
    /// What was asked.
    pub what: String,
    /// What became of it.
    pub outcome: String,
}
