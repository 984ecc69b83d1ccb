//! Simulated inputs: transport packets that say which they are, so that whoever gets one can check every byte of it.
//!
//! ```text
//! 0x47 | PID | continuity | channel u32 | life u32 | number u64 | filler, a function of the number          188 bytes
//! ```

use std::time::Duration;

use media::packet::PacketBytes;
use media::pcr::Stamp;
use media::rtp::{Packetizer, PacketizerStart, RtpPacket};
use media::sequence::Sequence;
use media::time::MediaTime;
use protocols::ids::ChannelId;

/// Which packet: one of `channel`, the `number`-th (from 0) of the acquisition server's `life`-th life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PacketName {
    /// The channel.
    pub channel: ChannelId,
    /// Counts the captures of this channel in the whole run.
    pub life: u32,
    /// Counts its packets.
    pub number: u64,
}

const NAME_AT: usize = 4;
const FILLER_AT: usize = NAME_AT + 16;

impl PacketName {
    /// The transport packet of this name.
    pub fn packet(self) -> PacketBytes {
        let mut bytes = [0; 188];
        bytes[..4].copy_from_slice(&[0x47, 0x01, 0x00, 0x10 | (self.number & 0x0f) as u8]);
        bytes[4..8].copy_from_slice(&self.channel.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.life.to_be_bytes());
        bytes[12..20].copy_from_slice(&self.number.to_be_bytes());
        let mut word = self.number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(self.life) << 32;
        for chunk in bytes[FILLER_AT..].as_chunks_mut::<8>().0 {
            word = word.rotate_left(7).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ u64::from(self.channel.0);
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The name in a transport packet, when each of its bytes is as made.
    pub fn read(packet: &PacketBytes) -> Option<Self> {
        let word = |at: usize| Some(u32::from_be_bytes(*packet.get(at..)?.first_chunk()?));
        let number = u64::from_be_bytes(*packet.get(12..)?.first_chunk()?);
        let name = Self { channel: ChannelId(word(4)?), life: word(8)?, number };
        (name.packet() == *packet).then_some(name)
    }
}

/// The capture of one channel by one life of an acquisition server.
#[derive(Debug)]
pub struct Source {
    next: PacketName,
    packetizer: Packetizer,
}

impl Source {
    /// A capture that begins with packet 0. `random` draws what RTP wants drawn.
    pub fn new(channel: ChannelId, life: u32, random: &mut fastrand::Rng) -> Self {
        let start = PacketizerStart {
            ssrc: random.u32(..),
            sequence: Sequence(random.u16(..)),
            timestamp_offset_90k: random.u32(..),
        };
        Self { next: PacketName { channel, life, number: 0 }, packetizer: Packetizer::new(start) }
    }

    /// Makes the next RTP packet, of one transport packet.
    pub fn make(&mut self, since_start: Duration) -> RtpPacket {
        let ticks = u64::try_from(since_start.as_micros()).unwrap_or(u64::MAX).saturating_mul(27);
        let stamp = Stamp { time: MediaTime::from_ticks(ticks), rebased: self.next.number == 0 };
        let full = self.packetizer.push(since_start, &self.next.packet(), stamp);
        self.next.number += 1;
        full.or_else(|| self.packetizer.flush()).expect("a packet was pushed just now")
    }

    /// Packets made.
    pub fn made(&self) -> u64 {
        self.next.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_says_which_it_is_and_one_changed_bit_unsays_it() {
        let name = PacketName { channel: ChannelId(3), life: 2, number: 77 };
        let mut packet = name.packet();
        assert_eq!(PacketName::read(&packet), Some(name));
        packet[187] ^= 1;
        assert_eq!(PacketName::read(&packet), None);
    }
}
