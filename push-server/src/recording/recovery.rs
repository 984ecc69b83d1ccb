//! What of a segment is sound that its recorder left unfinished: the entries whose transport packets are there, from the first on.

use media::packet::{PACKET_BYTES, SYNC_BYTE};

use super::index::Entry;
use super::packets;

/// What to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sound {
    /// So many entries, from the first.
    pub entries: usize,
    /// So many bytes of transport packets.
    pub bytes: u64,
}

/// The entries whose transport packets lie within `length_bytes`: all that can be sound at most.
pub fn covered(entries: &[Entry], length_bytes: u64) -> Sound {
    let mut sound = Sound::default();
    for entry in entries {
        let bytes = sound.bytes + packets::payload_bytes(entry) as u64;
        if bytes > length_bytes {
            break;
        }
        sound = Sound { entries: sound.entries + 1, bytes };
    }
    sound
}

/// Whether these are transport packets, as far as that can be told: what a disk had no time to write is zero.
pub fn are_packets(payload: &[u8]) -> bool {
    let (packets, rest) = payload.as_chunks::<PACKET_BYTES>();
    rest.is_empty() && packets.iter().all(|packet| packet[0] == SYNC_BYTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(counts: &[u8]) -> Vec<Entry> {
        counts.iter().map(|count| Entry { count: *count, ..Entry::default() }).collect()
    }

    #[test]
    fn entries_without_all_of_their_packets_are_cut_off() {
        let entries = entries(&[7, 3, 7]);
        assert_eq!(covered(&entries, 17 * 188), Sound { entries: 3, bytes: 17 * 188 });
        assert_eq!(covered(&entries, u64::MAX), Sound { entries: 3, bytes: 17 * 188 });
        assert_eq!(covered(&entries, 17 * 188 - 1), Sound { entries: 2, bytes: 10 * 188 });
        assert_eq!(covered(&entries, 7 * 188), Sound { entries: 1, bytes: 7 * 188 });
        assert_eq!(covered(&entries, 0), Sound::default());
    }

    #[test]
    fn zeros_are_no_packets() {
        let mut payload = vec![0x47; 2 * 188];
        assert!(are_packets(&payload));
        payload[188] = 0;
        assert!(!are_packets(&payload));
        assert!(!are_packets(&payload[..100]));
    }
}
