//! What people with an account may ask of a site, by P2 over TLS and by the console's API alike.
//!
//! [`Request`] and [`Answer`] are the words; [`Operation`] is the one list of what can be done, with who may do it.

mod answer;
mod failure;
mod operation;
mod request;
mod role;
mod secret;

pub use answer::{AccountEntry, Answer, AuditEntry};
pub use failure::Failure;
pub use operation::{Audience, Operation};
pub use request::Request;
pub use role::{Role, RoleError};
pub use secret::Secret;

/// Shortest password, in characters (NIST SP 800-63B-4, section 3.1.1.2: at least 15 where nothing but the password protects;
/// 12 is what people of a site can be brought to).
pub const MIN_PASSWORD_CHARS: usize = 12;
/// Longest password, in bytes: what a stranger may have hashed.
pub const MAX_PASSWORD_BYTES: usize = 256;
/// Longest name of an account, in bytes.
pub const MAX_ACCOUNT_NAME_BYTES: usize = 32;
/// Most accounts; one more is refused.
pub const MAX_ACCOUNTS: usize = 1_000;
/// Most lines of the audit that one answer tells.
pub const MAX_AUDIT_LISTED: u16 = 500;
/// Context of the tag by which a holder of the cluster key logs in, over [`EXPORTER_BYTES`] of the connection's exporter.
pub const KEY_LOG_IN: &str = "P2 log in by key 1";
/// Label of the TLS exporter (RFC 8446, section 7.5) that binds that tag to one connection, as RFC 9266 does.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-masthead-administration";
/// Bytes taken from it.
pub const EXPORTER_BYTES: usize = 32;
/// Largest body of a P2 frame from a client that has logged in.
pub const MAX_ADMINISTRATION_BYTES: usize = 1 << 20;
