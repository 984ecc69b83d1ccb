//! Mutual authentication of P1 and P3 by the cluster key, with a fresh key for each connection.
//!
//! ```text
//! caller                                              callee
//!   Hello { who, boot id, caller nonce }        ─►
//!                                               ◄─    Challenge { callee nonce, boot id, tag("callee", all so far) }
//!   Proof { tag("caller", all so far) }         ─►
//!                                               ◄─    Welcome, or a Refusal
//! ```
//!
//! Both tags are made with the *server key* of the acquisition server (P1) or of the push server host (P3), so each
//! side shows that it holds the cluster key, and a recorded handshake is worth nothing: the other side's nonce differs.
//! The callee keeps no state for a caller before its proof but the open connection, of which it admits a named number.

use serde::{Deserialize, Serialize};

use crate::authority::{MacKey, Tag};
use crate::codec;
use crate::ids::BootId;
use crate::preamble::Refusal;

/// Random bytes that make a handshake unlike every other.
pub type Nonce = [u8; 16];

/// First frame, from the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The caller's id: an acquisition server's, or as [`crate::p3_replica::Caller`] has it.
    pub caller: String,
    /// The callee that it wants: a push server host's id; empty for the database server.
    pub callee: String,
    /// The caller's boot id.
    pub boot_id: BootId,
    /// Drawn by the caller.
    pub nonce: Nonce,
}

/// Second frame, from the callee.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Challenge {
    /// The callee's boot id.
    pub boot_id: BootId,
    /// Drawn by the callee.
    pub nonce: Nonce,
    /// Shows that the callee holds the key.
    pub tag: Tag,
}

/// Third frame, from the caller.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Proof {
    /// Shows that the caller holds the key.
    pub tag: Tag,
}

/// Fourth frame, from the callee.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The connection is the caller's.
    Welcome,
    /// It is not; the connection closes.
    Refused(Refusal),
}

/// Second frame as it may also turn out: the callee refuses before it challenges (unknown server, too many connections).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Reply {
    /// Go on.
    Challenge(Challenge),
    /// The connection closes.
    Refused(Refusal),
}

/// The transcript of one handshake, from which both sides derive tags and the session's keys.
#[derive(Debug, Clone)]
pub struct Transcript {
    key: MacKey,
    bytes: Vec<u8>,
}

/// Keys of one connection: one for each direction.
#[derive(Debug, Clone)]
pub struct SessionKeys {
    /// Tags what the caller sends.
    pub caller: MacKey,
    /// Tags what the callee sends.
    pub callee: MacKey,
}

impl Transcript {
    /// Begins with the caller's hello, under the server key that both should hold.
    pub fn new(key: MacKey, hello: &Hello) -> Self {
        Self { key, bytes: codec::encode(hello) }
    }

    /// Callee: the challenge that answers the hello.
    pub fn challenge(&mut self, boot_id: BootId, nonce: Nonce) -> Challenge {
        self.bytes.extend_from_slice(&codec::encode(&(boot_id, nonce)));
        Challenge { boot_id, nonce, tag: self.key.tag("handshake callee", &[&self.bytes]) }
    }

    /// Caller: the proof that answers a challenge; `None` when the callee does not hold the key.
    pub fn answer(&mut self, challenge: &Challenge) -> Option<Proof> {
        self.bytes.extend_from_slice(&codec::encode(&(challenge.boot_id, challenge.nonce)));
        self.key
            .verifies(&challenge.tag, "handshake callee", &[&self.bytes])
            .then(|| Proof { tag: self.key.tag("handshake caller", &[&self.bytes]) })
    }

    /// Callee: whether the caller holds the key.
    pub fn accepts(&self, proof: &Proof) -> bool {
        self.key.verifies(&proof.tag, "handshake caller", &[&self.bytes])
    }

    /// The keys of the connection, equal on both sides once the handshake is through.
    pub fn session_keys(&self) -> SessionKeys {
        SessionKeys {
            caller: self.key.derive("session caller", &[&self.bytes]),
            callee: self.key.derive("session callee", &[&self.bytes]),
        }
    }
}

/// Numbers and tags the frames of one direction, so that none can be altered, dropped, repeated or reordered unseen.
#[derive(Debug, Clone)]
pub struct FrameSeal {
    key: MacKey,
    next: u64,
}

impl FrameSeal {
    /// From the first frame after the handshake.
    pub fn new(key: MacKey) -> Self {
        Self { key, next: 0 }
    }

    /// `body` with its tag behind it.
    pub fn seal(&mut self, mut body: Vec<u8>) -> Vec<u8> {
        let tag = self.key.tag("frame", &[&self.next.to_le_bytes(), &body]);
        self.next += 1;
        body.extend_from_slice(&tag.0);
        body
    }

    /// The body of a sealed frame; `None` when its tag is not that of the next frame.
    pub fn open<'a>(&mut self, sealed: &'a [u8]) -> Option<&'a [u8]> {
        let (body, tag) = sealed.split_last_chunk::<{ Tag::BYTES }>()?;
        let genuine = self.key.verifies(&Tag(*tag), "frame", &[&self.next.to_le_bytes(), body]);
        self.next += u64::from(genuine);
        genuine.then_some(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::ClusterKey;

    fn hello() -> Hello {
        Hello { caller: "roof".into(), callee: String::new(), boot_id: BootId(1), nonce: [1; 16] }
    }

    fn key(seed: u8) -> MacKey {
        ClusterKey::new([seed; 32]).acquisition_key(&"roof".parse().unwrap())
    }

    #[test]
    fn both_sides_that_hold_the_key_agree() {
        let (mut caller, mut callee) = (Transcript::new(key(1), &hello()), Transcript::new(key(1), &hello()));
        let challenge = callee.challenge(BootId(2), [2; 16]);
        let proof = caller.answer(&challenge).expect("the callee holds the key");
        assert!(callee.accepts(&proof));
        let sealed = FrameSeal::new(caller.session_keys().caller).seal(b"register".to_vec());
        let mut opener = FrameSeal::new(callee.session_keys().caller);
        assert_eq!(opener.open(&sealed), Some(&b"register"[..]));
        assert_eq!(opener.open(&sealed), None, "a replayed frame is refused");
    }

    #[test]
    fn a_side_without_the_key_is_found_out_by_the_other() {
        let (mut caller, mut callee) = (Transcript::new(key(1), &hello()), Transcript::new(key(9), &hello()));
        let challenge = callee.challenge(BootId(2), [2; 16]);
        assert!(caller.answer(&challenge).is_none());
        let forged = Proof { tag: key(9).tag("handshake caller", &[b"whatever"]) };
        let mut honest = Transcript::new(key(1), &hello());
        let _ = honest.challenge(BootId(2), [3; 16]);
        assert!(!honest.accepts(&forged));
    }

    #[test]
    fn a_recorded_proof_does_not_fit_another_nonce() {
        let (mut caller, mut callee) = (Transcript::new(key(1), &hello()), Transcript::new(key(1), &hello()));
        let proof = caller.answer(&callee.challenge(BootId(2), [2; 16])).unwrap();
        let mut later = Transcript::new(key(1), &hello());
        let _ = later.challenge(BootId(2), [3; 16]);
        assert!(!later.accepts(&proof));
    }
}
