//! Numbers that no peer can guess, from the operating system.

use protocols::authority::ClusterKey;
use protocols::handshake::Nonce;
use protocols::ids::BootId;

/// Fills an array.
///
/// # Panics
/// When the operating system has no random source, without which no key or nonce may be made.
fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has a random source");
    bytes
}

/// A boot id; never 0, which stands for "unknown".
pub fn boot_id() -> BootId {
    BootId(u64::from_le_bytes(bytes()).max(1))
}

/// A handshake's nonce.
pub fn nonce() -> Nonce {
    bytes()
}

/// A seed for a machine's generator.
pub fn seed() -> u64 {
    u64::from_le_bytes(bytes())
}

/// The id of a session of somebody who has logged in.
pub fn session_id() -> [u8; 32] {
    bytes()
}

/// The salt of a password's hash.
pub fn salt() -> [u8; 16] {
    bytes()
}

/// A new cluster key.
pub fn cluster_key() -> ClusterKey {
    ClusterKey::new(bytes())
}
