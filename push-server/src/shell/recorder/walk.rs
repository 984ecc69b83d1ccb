//! A segment's files read from end to end, as mending and verifying do.

use std::fs::File;
use std::io::{self, Read};

use media::rtp;

use crate::recording::index::{Entry, Header};
use crate::recording::packets;
use crate::recording::recovery::{self, Sound};

/// Bytes that are read, and hashed, at a time.
const PIECE_BYTES: usize = 256 * 1_024;

/// What was read.
#[derive(Debug)]
pub(crate) struct Walked {
    /// The entries whose transport packets are there and look like some, from the first on.
    pub(crate) sound: Sound,
    /// BLAKE3 over their RTP packets.
    pub(crate) hash: [u8; 32],
}

/// Reads the transport packets of `entries`, until some are missing or are none.
pub(crate) fn walk(header: &Header, entries: &[Entry], ts: &mut File) -> io::Result<Walked> {
    let (mut sound, mut hasher) = (Sound::default(), blake3::Hasher::new());
    let (mut read, mut made) = (vec![0; PIECE_BYTES], Vec::with_capacity(PIECE_BYTES * 2));
    let mut rest = entries;
    while !rest.is_empty() {
        let (count, bytes) = piece(rest);
        ts.read_exact(&mut read[..bytes])?;
        made.clear();
        let mut at = 0;
        for entry in &rest[..count] {
            let payload = &read[at..at + packets::payload_bytes(entry)];
            if !recovery::are_packets(payload) {
                hasher.update(&made);
                return Ok(Walked { sound, hash: hasher.finalize().into() });
            }
            packets::write_header(header, entry, &mut made);
            made.extend_from_slice(payload);
            at += payload.len();
            sound = Sound { entries: sound.entries + 1, bytes: sound.bytes + payload.len() as u64 };
        }
        hasher.update(&made);
        rest = &rest[count..];
    }
    Ok(Walked { sound, hash: hasher.finalize().into() })
}

/// How many entries, and bytes of transport packets, fit one piece.
fn piece(entries: &[Entry]) -> (usize, usize) {
    let mut bytes = 0;
    for (count, entry) in entries.iter().enumerate() {
        let more = bytes + packets::payload_bytes(entry);
        if more > PIECE_BYTES - rtp::PAYLOAD_BYTES_MAX {
            return (count, bytes);
        }
        bytes = more;
    }
    (entries.len(), bytes)
}
