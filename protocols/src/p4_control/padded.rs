//! Requests that all have one length, longer than any answer to them, so that nothing is amplified: what the body leaves
//! is zeros.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{DatagramError, HEADER_BYTES, Kind, MAX_DATAGRAM_BYTES, Sealed, header};
use crate::authority::{MacKey, Tag};
use crate::codec::{self, CodecError};

/// The datagram of `body`, of `bytes`.
pub(super) fn seal_padded<T: Serialize, const BYTES: usize>(kind: Kind, body: &T, key: &MacKey) -> Vec<u8> {
    let mut bytes = header(kind);
    bytes.extend_from_slice(&codec::encode(body));
    debug_assert!(bytes.len() + Tag::BYTES <= BYTES, "{kind:?} of {} bytes", bytes.len() + Tag::BYTES);
    bytes.resize(BYTES - Tag::BYTES, 0);
    let tag = key.tag(kind.context(), &[&bytes]);
    bytes.extend_from_slice(&tag.0);
    bytes
}

impl Sealed<'_> {
    /// What the body begins with, *unverified*, of a datagram that has the one length.
    pub(super) fn peek_padded_front<T: DeserializeOwned, const BYTES: usize>(
        &self,
    ) -> Result<T, DatagramError> {
        self.has_length::<BYTES>()?;
        self.peek_front()
    }

    /// The body, *unverified*, of a datagram that has the one length and zeros behind it.
    pub(super) fn peek_padded<T, const BYTES: usize>(&self) -> Result<T, DatagramError>
    where
        T: Serialize + DeserializeOwned,
    {
        self.has_length::<BYTES>()?;
        let padded = &self.signed[HEADER_BYTES..];
        let body = codec::decode_front::<T, MAX_DATAGRAM_BYTES>(padded)?;
        let padding = padded.get(codec::encode(&body).len()..).unwrap_or_default();
        if padding.iter().any(|byte| *byte != 0) {
            return Err(CodecError::Malformed(format!(
                "{}: padded with other than zeros",
                self.kind.context()
            ))
            .into());
        }
        Ok(body)
    }

    fn has_length<const BYTES: usize>(&self) -> Result<(), DatagramError> {
        if self.signed.len() + Tag::BYTES == BYTES {
            return Ok(());
        }
        Err(CodecError::Malformed(format!("{} of other than {BYTES} bytes", self.kind.context())).into())
    }
}
