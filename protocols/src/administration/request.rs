//! What may be asked.

use serde::{Deserialize, Serialize};

use super::operation::Operation;
use super::role::Role;
use super::secret::Secret;
use crate::ids::{AcquisitionId, ChannelId, HostId, InputId};
use crate::recording::{RecordingId, Span};
use crate::topology::Edit;

/// A request of somebody who has logged in. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// The topology file and its revision.
    Topology,
    /// Changes the topology file.
    Edit {
        /// The revision that the edits were made from.
        base: String,
        /// Carried out in this order, all or none; 1 to [`crate::topology::MAX_EDITS`].
        edits: Vec<Edit>,
        /// Whether to tell what would become of it only.
        trial: bool,
    },
    /// Reads the topology file again.
    Reload,
    /// Opens an input anew, which also tunes it anew.
    RestartInput {
        /// At which server.
        acquisition_server: AcquisitionId,
        /// Which.
        input: InputId,
    },
    /// Moves the viewers of a push server away and keeps them away, or ends that.
    Drain {
        /// Which.
        push_server: HostId,
        /// Which of both.
        draining: bool,
    },
    /// Orders a recording.
    Record {
        /// The channel.
        channel: ChannelId,
        /// From when to when.
        span: Span,
        /// What people call it.
        title: String,
    },
    /// Gives a recording up.
    DeleteRecording {
        /// Which.
        id: RecordingId,
    },
    /// The accounts.
    Accounts,
    /// Makes an account.
    AddAccount {
        /// Its name.
        name: String,
        /// What it may do.
        role: Role,
        /// Its password.
        password: Secret,
    },
    /// Gives an account another role; its sessions end.
    SetRole {
        /// Whose.
        name: String,
        /// What it may do.
        role: Role,
    },
    /// Gives an account another password; its sessions end.
    SetPassword {
        /// Whose.
        name: String,
        /// The new one.
        password: Secret,
    },
    /// Removes an account; its sessions end.
    RemoveAccount {
        /// Whose.
        name: String,
    },
    /// Changes the password of who asks; all other sessions of the account end.
    OwnPassword {
        /// The present one.
        old: Secret,
        /// The new one.
        new: Secret,
    },
    /// Who changed what, the newest first.
    Audit {
        /// Only what is older than this line.
        before: Option<u64>,
        /// At most so many lines, and at most [`super::MAX_AUDIT_LISTED`].
        limit: u16,
    },
    /// How the site does: the JSON of `/api/v1/site`.
    Status,
}

impl Request {
    /// What it is.
    pub const fn operation(&self) -> Operation {
        match self {
            Self::Topology => Operation::ReadTopology,
            Self::Edit { .. } => Operation::EditTopology,
            Self::Reload => Operation::Reload,
            Self::RestartInput { .. } => Operation::RestartInput,
            Self::Drain { .. } => Operation::Drain,
            Self::Record { .. } => Operation::Record,
            Self::DeleteRecording { .. } => Operation::DeleteRecording,
            Self::Accounts => Operation::ListAccounts,
            Self::AddAccount { .. }
            | Self::SetRole { .. }
            | Self::SetPassword { .. }
            | Self::RemoveAccount { .. } => Operation::ChangeAccounts,
            Self::OwnPassword { .. } => Operation::ChangeOwnPassword,
            Self::Audit { .. } => Operation::ReadAudit,
            Self::Status => Operation::ReadSite,
        }
    }

    /// What it was about, for the audit; no secrets, at most a line.
    pub fn subject(&self) -> String {
        match self {
            Self::Topology | Self::Reload | Self::Accounts | Self::Audit { .. } | Self::Status => {
                String::new()
            }
            Self::Edit { edits, trial, .. } => {
                let tables: Vec<String> = edits.iter().take(8).map(edited).collect();
                let more = if edits.len() > tables.len() { ", …" } else { "" };
                format!("{}{}{more}", if *trial { "trial: " } else { "" }, tables.join(", "))
            }
            Self::RestartInput { acquisition_server, input } => format!("{acquisition_server}/{input}"),
            Self::Drain { push_server, draining } => {
                format!("{push_server} {}", if *draining { "drained" } else { "undrained" })
            }
            Self::Record { channel, title, .. } => format!("channel {channel} {title:?}"),
            Self::DeleteRecording { id } => format!("recording {id}"),
            Self::AddAccount { name, role, .. } => format!("add {name:?} as {role}"),
            Self::SetRole { name, role } => format!("role of {name:?}: {role}"),
            Self::SetPassword { name, .. } => format!("password of {name:?}"),
            Self::RemoveAccount { name } => format!("remove {name:?}"),
            Self::OwnPassword { .. } => "own password".to_owned(),
        }
    }
}

fn edited(edit: &Edit) -> String {
    match edit {
        Edit::Add { table, .. } => format!("add {table}"),
        Edit::Change { table, .. } => format!("change {table}"),
        Edit::Move { table, .. } => format!("move {table}"),
        Edit::Remove { table } => format!("remove {table}"),
    }
}
