//! Control messages as bytes: bincode, fixed-width integers, a byte limit, trailing bytes refused.
//!
//! The only file that names bincode: the crate is complete but no longer maintained (RUSTSEC-2025-0141), and its
//! `legacy` bytes are those of 1.3, which maintained successors also speak (docs/decisions/0003-bincode.md).

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Why bytes are no message.
#[derive(Debug, Error)]
pub enum CodecError {
    /// More bytes than the message kind may have.
    #[error("{len} bytes where at most {limit} are allowed")]
    TooLong {
        /// Bytes received.
        len: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The bytes do not follow the layout, or claim a size over the limit.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// A kind of message that this version does not know: skip it, count it, go on.
    #[error("message kind {0} is not known to this version")]
    UnknownKind(u32),
    /// Whole message read, bytes left over.
    #[error("{0} bytes left over behind the message")]
    Trailing(usize),
}

/// The bytes of `message`.
///
/// # Panics
/// Never for the messages of this crate: they hold no type that bincode cannot write.
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(message, bincode::config::legacy())
        .expect("messages hold only types that bincode writes, and a Vec takes every byte")
}

/// A closed set of messages of one protocol in one direction: an append-only enum.
pub trait Message: Serialize + DeserializeOwned {
    /// How many variants this version knows; their tags are `0..KINDS`.
    const KINDS: u32;
}

/// [`decode`] for a protocol's message enum: tells a kind from a later version apart from rubbish.
pub fn decode_message<T: Message, const LIMIT: usize>(bytes: &[u8]) -> Result<T, CodecError> {
    match bytes.first_chunk::<4>().map(|tag| u32::from_le_bytes(*tag)) {
        Some(tag) if tag >= T::KINDS => Err(CodecError::UnknownKind(tag)),
        _ => decode::<T, LIMIT>(bytes),
    }
}

/// The message that `bytes` are, all of them, reading at most `LIMIT` bytes. A list makes room for as many items as it
/// claims, up to 1 MiB (serde's bound), before they are read: from strangers, verify first or take no lists.
pub fn decode<T: DeserializeOwned, const LIMIT: usize>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > LIMIT {
        return Err(CodecError::TooLong { len: bytes.len(), limit: LIMIT });
    }
    let config = bincode::config::legacy().with_limit::<LIMIT>();
    let (message, read) = bincode::serde::decode_from_slice(bytes, config)
        .map_err(|error| CodecError::Malformed(error.to_string()))?;
    match bytes.len() - read {
        0 => Ok(message),
        left => Err(CodecError::Trailing(left)),
    }
}

/// The value that `bytes` begin with, whatever follows: for what must be known before the rest may be believed.
pub fn decode_front<T: DeserializeOwned, const LIMIT: usize>(bytes: &[u8]) -> Result<T, CodecError> {
    let config = bincode::config::legacy().with_limit::<LIMIT>();
    let (front, _) = bincode::serde::decode_from_slice(bytes, config)
        .map_err(|error| CodecError::Malformed(error.to_string()))?;
    Ok(front)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_front_is_read_whatever_follows() {
        assert_eq!(decode_front::<u16, 8>(&[1, 2, 0xff]).unwrap(), 0x0201);
        assert!(decode_front::<String, 8>(&u64::MAX.to_le_bytes()).is_err());
    }

    #[test]
    fn integers_are_fixed_width_little_endian() {
        assert_eq!(
            encode(&(1u32, Some(2u16), "ab")),
            [1, 0, 0, 0, 1, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0, b'a', b'b']
        );
    }

    #[test]
    fn a_claimed_length_over_the_limit_is_refused_before_it_is_allocated() {
        let claim = u64::MAX.to_le_bytes();
        assert!(matches!(decode::<Vec<u8>, 64>(&claim), Err(CodecError::Malformed(_))));
    }

    #[test]
    fn trailing_bytes_are_refused() {
        assert!(matches!(decode::<u8, 8>(&[1, 2]), Err(CodecError::Trailing(1))));
    }
}
