//! P6 broadcast: push server → a LAN, UDP to the channel's port: RTP packets, and among them announcements.
//!
//! An announcement tells clients until when interest holds, so that they need not send their own. It travels on the
//! channel's own address and port as an RTCP APP packet (RFC 3550 §6.7, multiplexed by RFC 5761), which RTP players
//! pass over:
//!
//! ```text
//! 0   0x81 (version 2, subtype 1) | 204 (APP) | length in words - 1, u16 big-endian
//! 4   SSRC of the sender: the low half of its boot id
//! 8   "MAST"
//! 12  channel u32 BE        16  held for, ms, u32 BE
//! 20  boot id u64 BE        28  cluster time, ms, u64 BE
//! 36  tag, 16 bytes (announce key of the channel)                             52 bytes in all
//! ```

use std::time::Duration;

use crate::authority::{MacKey, Tag};
use crate::ids::{BootId, ChannelId};
use crate::time::ClusterTime;

/// Length of an announcement.
pub const ANNOUNCEMENT_BYTES: usize = SIGNED_BYTES + Tag::BYTES;
/// How often interest that holds is announced; also at once when it is renewed, at most every
/// [`ANNOUNCE_SPACING`].
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_millis(250);
/// Least time between two announcements of one (channel, destination).
pub const ANNOUNCE_SPACING: Duration = Duration::from_millis(20);

const SIGNED_BYTES: usize = 36;
const CONTEXT: &str = "P6 announcement";

/// Until when one (channel, destination) is kept alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announcement {
    /// The channel.
    pub channel: ChannelId,
    /// Interest holds for this long from now; milliseconds on the wire.
    pub held_for: Duration,
    /// The push server host that says so.
    pub boot_id: BootId,
    /// When it says so; an announcement not later than the one before from the same boot id is a replay.
    pub time: ClusterTime,
}

impl Announcement {
    /// Its bytes, tagged with the channel's announce key.
    ///
    /// # Panics
    /// Never: the length is a constant that fits.
    pub fn seal(&self, key: &MacKey) -> [u8; ANNOUNCEMENT_BYTES] {
        let words = u16::try_from(ANNOUNCEMENT_BYTES / 4 - 1).expect("52 bytes are 13 words");
        let held_ms = u32::try_from(self.held_for.as_millis()).unwrap_or(u32::MAX);
        let mut bytes = [0; ANNOUNCEMENT_BYTES];
        bytes[..2].copy_from_slice(&[0x81, 204]);
        bytes[2..4].copy_from_slice(&words.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.boot_id.0.to_be_bytes()[4..]);
        bytes[8..12].copy_from_slice(b"MAST");
        bytes[12..16].copy_from_slice(&self.channel.0.to_be_bytes());
        bytes[16..20].copy_from_slice(&held_ms.to_be_bytes());
        bytes[20..28].copy_from_slice(&self.boot_id.0.to_be_bytes());
        bytes[28..36].copy_from_slice(&self.time.0.to_be_bytes());
        let tag = key.tag(CONTEXT, &[&bytes[..SIGNED_BYTES]]);
        bytes[SIGNED_BYTES..].copy_from_slice(&tag.0);
        bytes
    }

    /// The announcement that `datagram` is; `None` when it is another RTCP packet, malformed or not genuine.
    pub fn open(datagram: &[u8], key: &MacKey) -> Option<Self> {
        let bytes: &[u8; ANNOUNCEMENT_BYTES] = datagram.try_into().ok()?;
        if bytes[..4] != [0x81, 204, 0, 12] || &bytes[8..12] != b"MAST" {
            return None;
        }
        let (signed, tag) = bytes.split_last_chunk::<{ Tag::BYTES }>()?;
        if !key.verifies(&Tag(*tag), CONTEXT, &[signed]) {
            return None;
        }
        let word = |at: usize| Some(u32::from_be_bytes(*signed.get(at..)?.first_chunk()?));
        let long = |at: usize| Some(u64::from_be_bytes(*signed.get(at..)?.first_chunk()?));
        Some(Self {
            channel: ChannelId(word(12)?),
            held_for: Duration::from_millis(u64::from(word(16)?)),
            boot_id: BootId(long(20)?),
            time: ClusterTime(long(28)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::ClusterKey;

    fn key() -> MacKey {
        ClusterKey::new([7; 32]).announce_key(ChannelId(1))
    }

    fn announcement() -> Announcement {
        Announcement {
            channel: ChannelId(1),
            held_for: Duration::from_millis(4750),
            boot_id: BootId(0x0102_0304_0506_0708),
            time: ClusterTime(9),
        }
    }

    #[test]
    fn an_announcement_on_the_wire() {
        let bytes = announcement().seal(&key());
        let mut expected = vec![0x81, 204, 0, 12, 5, 6, 7, 8, b'M', b'A', b'S', b'T', 0, 0, 0, 1];
        expected.extend([0, 0, 0x12, 0x8e, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 9]);
        assert_eq!(bytes[..36], expected[..]);
        assert_eq!(Announcement::open(&bytes, &key()), Some(announcement()));
    }

    #[test]
    fn forged_cut_and_foreign_packets_are_no_announcement() {
        let mut bytes = announcement().seal(&key());
        assert_eq!(Announcement::open(&bytes[..51], &key()), None);
        bytes[19] ^= 1;
        assert_eq!(Announcement::open(&bytes, &key()), None);
        assert_eq!(Announcement::open(&[0x81, 200, 0, 6], &key()), None);
    }
}
