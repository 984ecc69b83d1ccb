//! Why something was not done.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::role::Role;

/// Why a request was not carried out; the texts are for people. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum Failure {
    /// A password came, or would have come, by a connection that can be listened to.
    #[error("passwords are taken by TLS or from the same machine only; call {0}")]
    Unsafe(String),
    /// Name and password do not belong together; which of both is wrong is not told.
    #[error("wrong name or password")]
    WrongPassword,
    /// Too many wrong passwords.
    #[error("too many wrong passwords; try again in {} s", .wait_ms.div_ceil(1000))]
    Throttled {
        /// For how long nothing is tried.
        wait_ms: u64,
    },
    /// Nobody has logged in here, or the session has ended.
    #[error("log in first")]
    NotLoggedIn,
    /// The account may not.
    #[error("this asks for an account with the role {0}")]
    Role(Role),
    /// The file is no more what the edits were made from.
    #[error("the topology file has been changed meanwhile; look at what has changed and try again")]
    Conflict {
        /// What the file is now.
        revision: String,
        /// A unified diff from the base; `None` when the base is not known any more.
        difference: Option<String>,
    },
    /// The file would have faults; all of them.
    #[error("the topology would have faults:\n{}", .0.join("\n"))]
    Faults(Vec<String>),
    /// There is no such thing.
    #[error("{0}")]
    Unknown(String),
    /// What is asked cannot be, whatever the state.
    #[error("{0}")]
    Invalid(String),
    /// What is asked does not go with what is there already.
    #[error("{0}")]
    Exists(String),
    /// It cannot be done now.
    #[error("{0}")]
    Unavailable(String),
}
