//! Finding packets in a byte stream: three sync bytes 188 apart begin a lock, one wrong sync byte ends it.
//!
//! ```text
//! Searching --0x47 at n, n+188, n+376--> Locked --other byte where 0x47 belongs--> Searching
//! ```

use crate::packet::{PACKET_BYTES, PacketBytes, SYNC_BYTE};

/// Bytes searched without finding packets before the input is declared to be no transport stream. The search goes
/// on afterwards and complains again after as many more.
pub const SYNC_SEARCH_BYTES: u64 = 64 * 1024;

/// Sync bytes in a row that make a lock.
const LOCK_PACKETS: usize = 3;
const LOCK_BYTES: usize = (LOCK_PACKETS - 1) * PACKET_BYTES + 1;

/// The input is no MPEG transport stream with packets of 188 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no MPEG-TS: no packet of 188 bytes found in {searched_bytes} bytes")]
pub struct NoTransportStream {
    /// Bytes searched since packets were last seen, or since the last complaint.
    pub searched_bytes: u64,
}

/// Cuts a byte stream, however chunked, into aligned packets. Holds at most one chunk and 376 bytes.
#[derive(Debug, Default)]
pub struct Synchroniser {
    pending: Vec<u8>,
    locked: bool,
    searched_bytes: u64,
    skipped_bytes: u64,
    losses: u64,
    /// Bytes skipped since the lock was lost; `None` while it holds, and before the first.
    astray_bytes: Option<usize>,
    slips: u64,
}

impl Synchroniser {
    /// A synchroniser that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and calls `emit` for each packet they complete, in order. Packets found are emitted even
    /// when the answer is an error; the caller may go on pushing.
    pub fn push(
        &mut self,
        bytes: &[u8],
        mut emit: impl FnMut(&PacketBytes),
    ) -> Result<(), NoTransportStream> {
        self.pending.extend_from_slice(bytes);
        let mut at = 0;
        loop {
            let rest = &self.pending[at..];
            if self.locked {
                let Some(packet) = rest.first_chunk::<PACKET_BYTES>() else { break };
                if packet[0] == SYNC_BYTE {
                    emit(packet);
                    at += PACKET_BYTES;
                } else {
                    self.locked = false;
                    self.losses += 1;
                    self.astray_bytes = Some(0);
                }
            } else if rest.len() < LOCK_BYTES {
                break;
            } else if rest[..LOCK_BYTES].iter().step_by(PACKET_BYTES).all(|&byte| byte == SYNC_BYTE) {
                self.locked = true;
                self.searched_bytes = 0;
                let astray = self.astray_bytes.take();
                self.slips += u64::from(astray.is_some_and(|bytes| bytes < PACKET_BYTES));
            } else {
                at += 1;
                self.stray();
                self.skipped_bytes += 1;
                self.searched_bytes += 1;
            }
        }
        self.pending.drain(..at);
        if self.searched_bytes < SYNC_SEARCH_BYTES {
            return Ok(());
        }
        let searched_bytes = std::mem::take(&mut self.searched_bytes);
        Err(NoTransportStream { searched_bytes })
    }

    /// One more byte belongs to no packet: beyond a packet's length the synchronisation is lost.
    fn stray(&mut self) {
        if let Some(bytes) = &mut self.astray_bytes {
            *bytes += 1;
            if *bytes > PACKET_BYTES {
                self.slips += 1;
                self.astray_bytes = None;
            }
        }
    }

    /// Forgets everything held, as after a reconnect; counters stay.
    pub fn reset(&mut self) {
        self.pending.clear();
        self.locked = false;
        self.astray_bytes = None;
        self.searched_bytes = 0;
    }

    /// Whether packets are being found.
    pub fn is_locked(&self) -> bool {
        self.locked
    }

    /// Bytes thrown away because they belonged to no packet.
    pub fn skipped_bytes(&self) -> u64 {
        self.skipped_bytes
    }

    /// How often a lock was lost: another byte stood where 0x47 belongs.
    pub fn losses(&self) -> u64 {
        self.losses
    }

    /// How often the packet after the one without 0x47 was not where it belongs either.
    pub fn slips(&self) -> u64 {
        self.slips
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packet::tests::packet;

    fn stream(count: u8) -> Vec<u8> {
        (0..count).flat_map(|n| packet(0x100, n & 15, None, n)).collect()
    }

    fn collect(synchroniser: &mut Synchroniser, bytes: &[u8]) -> Vec<PacketBytes> {
        let mut packets = Vec::new();
        synchroniser.push(bytes, |packet| packets.push(*packet)).unwrap();
        packets
    }

    #[test]
    fn a_datagram_of_seven_packets_is_emitted_at_once() {
        assert_eq!(collect(&mut Synchroniser::new(), &stream(7)).len(), 7);
    }

    #[test]
    fn lost_bytes_cost_the_damaged_packet_only() {
        let mut bytes = stream(20);
        bytes.drain(5 * 188 + 10..5 * 188 + 30);
        let mut synchroniser = Synchroniser::new();
        // The damaged packet ends in the next one's first bytes; both are found to be out of step and one is skipped.
        let packets = collect(&mut synchroniser, &bytes);
        assert_eq!(packets.len(), 19);
        assert_eq!((synchroniser.losses(), synchroniser.slips()), (1, 1));
        assert_eq!(synchroniser.skipped_bytes(), 188 - 20);
    }

    #[test]
    fn one_wrong_sync_byte_is_no_slip_and_two_are_one() {
        for (wrong, slips) in [(&[5][..], 0), (&[5, 9], 0), (&[5, 6], 1), (&[5, 6, 7], 1)] {
            let mut bytes = stream(20);
            wrong.iter().for_each(|packet| bytes[packet * 188] = 0);
            let mut synchroniser = Synchroniser::new();
            let packets = collect(&mut synchroniser, &bytes);
            assert_eq!((packets.len(), synchroniser.slips()), (20 - wrong.len(), slips), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_no_transport_stream_is_said_so_after_the_limit() {
        let mut synchroniser = Synchroniser::new();
        let mut errors = 0;
        for _ in 0..70 {
            errors += u32::from(synchroniser.push(&[0x41; 1024], |_| panic!("no packet")).is_err());
        }
        assert_eq!(errors, 1);
    }

    proptest! {
        #[test]
        fn chunking_does_not_matter(cuts in proptest::collection::vec(1usize..700, 1..40), lead in 0usize..500) {
            let mut bytes = vec![0u8; lead];
            bytes.extend(stream(40));
            let mut synchroniser = Synchroniser::new();
            let (mut packets, mut rest) = (Vec::new(), &bytes[..]);
            for cut in cuts.iter().cycle() {
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                packets.extend(collect(&mut synchroniser, now));
                rest = later;
                if rest.is_empty() { break }
            }
            prop_assert_eq!(packets.concat(), stream(40));
            prop_assert_eq!(synchroniser.skipped_bytes(), lead as u64);
        }
    }
}
