//! Who may say what: the cluster key, the keys derived from it, message tags, and leases for clients.
//!
//! ```text
//! cluster key ─┬─ server key (role, id) ── P1 and P3 handshakes, P4 between servers
//!              ├─ lease key ─┬─ lease secret (one client, one channel, one destination) ── P4 from clients
//!              │             └─ recording secret (one client, one channel, a span of dates) ── P4 play
//!              └─ announce key (channel) ── P6 announcements
//! ```
//!
//! Keys are derived by BLAKE3's key derivation mode with a context of their own, tags are keyed BLAKE3 cut to 128 bits.
//! What a key may sign is bound to its context and, in the tag, to the protocol and kind of the message.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::codec;
use crate::ids::{AcquisitionId, ChannelId, HostId};
use crate::time::ClusterTime;

/// How far a client's date on a message may be from the cluster's time: bounds how long a recorded message can be
/// replayed, and how wrong a clock may go while the database server is away.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(10);
/// How long a lease holds from when it was minted or extended.
pub const LEASE_LIFETIME: Duration = Duration::from_hours(12);
/// A lease with less than this left is extended when its client shows it.
pub const LEASE_EXTEND_BELOW: Duration = Duration::from_hours(6);
/// First line of a cluster key file.
const KEY_FILE_HEADER: &str = "masthead cluster key 1";

/// The secret that all servers of a site share. Never printed by `Debug`, never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterKey([u8; 32]);

/// Why a text is no cluster key file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyFileError {
    /// First line missing or other.
    #[error("no cluster key file: its first line is not `{KEY_FILE_HEADER}`")]
    Header,
    /// Second line is not 64 hexadecimal digits.
    #[error("damaged cluster key file: its second line is not 64 hexadecimal digits")]
    Digits,
}

impl ClusterKey {
    /// The key with these bytes, which the caller drew from the operating system's random source.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads a key file's text.
    pub fn from_file_text(text: &str) -> Result<Self, KeyFileError> {
        let mut lines = text.lines().map(str::trim);
        if lines.next() != Some(KEY_FILE_HEADER) {
            return Err(KeyFileError::Header);
        }
        let digits = lines.next().ok_or(KeyFileError::Digits)?;
        blake3::Hash::from_hex(digits).map(|hash| Self(*hash.as_bytes())).map_err(|_| KeyFileError::Digits)
    }

    /// The text of a key file that [`Self::from_file_text`] reads.
    pub fn to_file_text(&self) -> String {
        format!("{KEY_FILE_HEADER}\n{}\n", blake3::Hash::from_bytes(self.0).to_hex())
    }

    /// Eight hexadecimal digits by which two people can tell whether they hold the same key, and nothing else.
    pub fn fingerprint(&self) -> String {
        blake3::Hash::from_bytes(self.derive("fingerprint", &[]).0).to_hex()[..8].to_owned()
    }

    /// The key of one acquisition server, for P1.
    pub fn acquisition_key(&self, id: &AcquisitionId) -> MacKey {
        self.derive("acquisition server", id.as_str().as_bytes())
    }

    /// The key of one push server process, for P3 and for P4 between servers.
    pub fn host_key(&self, id: &HostId) -> MacKey {
        self.derive("push server host", id.as_str().as_bytes())
    }

    /// The key by which leases are minted and verified.
    pub fn lease_key(&self) -> LeaseKey {
        LeaseKey(self.derive("lease", &[]))
    }

    /// The key of a channel's P6 announcements; every client with a lease for the channel is given it.
    pub fn announce_key(&self, channel: ChannelId) -> MacKey {
        self.derive("announcement", &channel.0.to_le_bytes())
    }

    /// The key by which an administrator who holds the cluster key shows so.
    pub fn administration_key(&self) -> MacKey {
        self.derive("administration", &[])
    }

    fn derive(&self, purpose: &str, of: &[u8]) -> MacKey {
        let mut material = self.0.to_vec();
        material.extend_from_slice(of);
        MacKey(blake3::derive_key(&format!("masthead 2026-11 {purpose}"), &material))
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey(…)")
    }
}

/// A key for message tags. Never printed by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MacKey([u8; 32]);

impl MacKey {
    /// The tag of `parts`, read as one byte string, said in `context` (protocol and kind; keeps a tag from being
    /// taken for another message's).
    pub fn tag(&self, context: &'static str, parts: &[&[u8]]) -> Tag {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&(context.len() as u64).to_le_bytes());
        hasher.update(context.as_bytes());
        for part in parts {
            hasher.update(part);
        }
        Tag::cut(&hasher.finalize())
    }

    /// Whether `tag` is that of `parts` in `context`, compared in constant time.
    pub fn verifies(&self, tag: &Tag, context: &'static str, parts: &[&[u8]]) -> bool {
        self.tag(context, parts).same(tag)
    }

    /// The key with these bytes, as a server handed them to a client.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, to hand to a client.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0
    }

    /// A key for one connection or client, bound to `material`.
    #[must_use]
    pub fn derive(&self, context: &'static str, material: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(context.as_bytes());
        for part in material {
            hasher.update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(…)")
    }
}

/// A message tag: 16 bytes, at the end of what it covers.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tag(pub [u8; Tag::BYTES]);

impl Tag {
    /// Length on the wire.
    pub const BYTES: usize = 16;

    fn cut(hash: &blake3::Hash) -> Self {
        let mut bytes = [0; Self::BYTES];
        bytes.copy_from_slice(&hash.as_bytes()[..Self::BYTES]);
        Self(bytes)
    }

    fn same(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
    }
}

/// Signed permission for one client to keep one channel alive at one destination.
///
/// Public: it is shown in each interest. The right to use it is its *secret*, which only the client and whoever
/// holds the lease key know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The only address that may use it.
    pub client: IpAddr,
    /// The channel.
    pub channel: ChannelId,
    /// The destination's address.
    pub destination: IpAddr,
    /// The end, in cluster time.
    pub expires: ClusterTime,
}

impl Lease {
    /// The same lease, renewed at `now`.
    #[must_use]
    pub fn extended(self, now: ClusterTime) -> Self {
        Self { expires: now + LEASE_LIFETIME, ..self }
    }
}

/// Signed permission for one client to have what is recorded of one channel between two dates sent to it.
///
/// As with a [`Lease`], the right to use it is its secret ([`LeaseKey::recording_secret`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingLease {
    /// The only address that may use it, and where the packets go.
    pub client: IpAddr,
    /// The channel.
    pub channel: ChannelId,
    /// First date.
    pub from: ClusterTime,
    /// End; above the present where the client may follow a recording that grows.
    pub to: ClusterTime,
    /// The end of the lease itself, in cluster time.
    pub expires: ClusterTime,
}

impl RecordingLease {
    /// Whether `date` lies in it; its end does, since nothing more follows there.
    pub fn covers(&self, date: ClusterTime) -> bool {
        (self.from..=self.to).contains(&date)
    }
}

/// Mints and verifies leases. Held by the database server and by push servers.
#[derive(Debug, Clone)]
pub struct LeaseKey(MacKey);

impl LeaseKey {
    /// The secret that goes with `lease`: whoever tags a message with it was given the lease by a server.
    pub fn secret(&self, lease: &Lease) -> MacKey {
        self.0.derive("lease secret", &[&codec::encode(lease)])
    }

    /// The secret that goes with a recording lease, likewise.
    pub fn recording_secret(&self, lease: &RecordingLease) -> MacKey {
        self.0.derive("recording lease secret", &[&codec::encode(lease)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ClusterKey {
        ClusterKey::new([7; 32])
    }

    #[test]
    fn key_files_read_as_written_and_say_what_is_wrong_with_others() {
        let text = key().to_file_text();
        assert_eq!(ClusterKey::from_file_text(&text), Ok(key()));
        assert_eq!(ClusterKey::from_file_text("hello"), Err(KeyFileError::Header));
        assert_eq!(ClusterKey::from_file_text(&text[..60]), Err(KeyFileError::Digits));
    }

    #[test]
    fn secrets_never_reach_logs() {
        let shown = format!("{:?} {:?} {:?}", key(), key().lease_key(), key().announce_key(ChannelId(1)));
        assert_eq!(shown, "ClusterKey(…) LeaseKey(MacKey(…)) MacKey(…)");
    }

    #[test]
    fn keys_of_different_purposes_and_names_differ() {
        let a = key().acquisition_key(&"roof".parse().unwrap());
        let b = key().host_key(&"roof".parse().unwrap());
        let c = key().host_key(&"hall".parse().unwrap());
        assert!(a != b && b != c);
    }

    #[test]
    fn a_tag_holds_for_its_context_and_bytes_only() {
        let key = key().announce_key(ChannelId(1));
        let tag = key.tag("P6 announcement", &[b"abc"]);
        assert!(key.verifies(&tag, "P6 announcement", &[b"a", b"bc"]));
        assert!(!key.verifies(&tag, "P4 interest", &[b"abc"]));
        assert!(!key.verifies(&tag, "P6 announcement", &[b"abd"]));
    }

    #[test]
    fn a_changed_lease_has_another_secret() {
        let lease = Lease {
            client: "10.0.1.7".parse().unwrap(),
            channel: ChannelId(1),
            destination: "239.192.1.1".parse().unwrap(),
            expires: ClusterTime(1000),
        };
        let forged = Lease { channel: ChannelId(2), ..lease };
        assert!(key().lease_key().secret(&lease) != key().lease_key().secret(&forged));
    }

    #[test]
    fn a_wider_recording_lease_has_another_secret() {
        let (from, to, expires) = (ClusterTime(10), ClusterTime(20), ClusterTime(1000));
        let client = "10.0.1.7".parse().unwrap();
        let lease = RecordingLease { client, channel: ChannelId(1), from, to, expires };
        let wider = RecordingLease { to: ClusterTime(21), ..lease };
        assert!(key().lease_key().recording_secret(&lease) != key().lease_key().recording_secret(&wider));
        assert!(lease.covers(from) && lease.covers(to) && !lease.covers(ClusterTime(21)));
    }
}
