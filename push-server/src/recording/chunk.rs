//! Packets on their way from a data thread to the recorder, copied one behind another into memory that is used again.

use protocols::ids::ChannelId;

/// Bytes of packets in a chunk at most: 210 ms of a 5 Mb/s channel.
pub const CHUNK_BYTES: usize = 128 * 1_024;

/// What a packet's bytes do not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note {
    /// Its number since the beginning of its SSRC.
    pub number: u64,
    /// Its date, ms since 1970.
    pub date_ms: u64,
    /// Its length.
    pub len: u16,
}

/// Packets of one channel, in order.
#[derive(Debug)]
pub struct Chunk {
    channel: ChannelId,
    bytes: Vec<u8>,
    notes: Vec<Note>,
}

impl Chunk {
    /// An empty chunk of `channel`.
    pub fn new(channel: ChannelId) -> Self {
        Self { channel, bytes: Vec::with_capacity(CHUNK_BYTES), notes: Vec::new() }
    }

    /// Adds a packet; the answer is false, and nothing is added, when it is full.
    #[must_use]
    pub fn push(&mut self, packet: &[u8], number: u64, date_ms: u64) -> bool {
        let Ok(len) = u16::try_from(packet.len()) else { return true };
        if self.bytes.len() + packet.len() > CHUNK_BYTES {
            return false;
        }
        self.bytes.extend_from_slice(packet);
        self.notes.push(Note { number, date_ms, len });
        true
    }

    /// Makes it empty, and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.notes.clear();
    }

    /// Whose packets they are.
    pub fn channel(&self) -> ChannelId {
        self.channel
    }

    /// How many packets it has.
    pub fn len(&self) -> usize {
        self.notes.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }

    /// Each packet with its note.
    pub fn packets(&self) -> impl Iterator<Item = (&[u8], Note)> {
        let mut rest = self.bytes.as_slice();
        self.notes.iter().map(move |note| {
            let (packet, after) = rest.split_at(usize::from(note.len));
            rest = after;
            (packet, *note)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_out_as_they_went_in_until_it_is_full() {
        let mut chunk = Chunk::new(ChannelId(1));
        let most = CHUNK_BYTES / 1_000;
        for n in 0..most as u64 {
            assert!(chunk.push(&[u8::try_from(n % 251).unwrap(); 1_000], n, 7 * n));
        }
        assert!(!chunk.push(&[0; 1_000], 0, 0) && chunk.len() == most);
        for (n, (packet, note)) in (0..).zip(chunk.packets()) {
            assert_eq!((u64::from(packet[999]), note.number, note.date_ms), (n % 251, n, 7 * n));
        }
        chunk.clear();
        assert!(chunk.is_empty() && chunk.packets().count() == 0);
    }
}
