//! PES packets of one PID out of its transport packets (ISO/IEC 13818-1 §2.4.3.6).

use crate::packet::Packet;
use crate::pes::{self, PesTimes};

/// Largest PES packet kept: a picture of 4 MB is one of 800 Mb/s at 25 a second. A larger one is given up.
pub const PES_BYTES_MAX: usize = 4 << 20;

/// One PES packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pes {
    /// Its times; `None` where its header has no PTS.
    pub times: Option<PesTimes>,
    /// All of it, header included.
    pub bytes: Vec<u8>,
    /// Where its payload begins.
    pub payload_at: usize,
}

impl Pes {
    /// What it carries.
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(self.payload_at..).unwrap_or(&[])
    }
}

/// Puts one PID's packets together. What a gap tore is dropped and counted.
#[derive(Debug, Default)]
pub struct PesAssembler {
    bytes: Vec<u8>,
    is_collecting: bool,
    counter: Option<u8>,
    torn: u64,
}

impl PesAssembler {
    /// Takes the PID's next packet; a PES packet that is whole now.
    ///
    /// One whose header tells its length is whole with its last byte, any other when the next begins.
    pub fn push(&mut self, packet: Packet<'_>) -> Option<Pes> {
        if !packet.has_payload() || packet.transport_error() || packet.is_scrambled() {
            return None;
        }
        let counter = packet.continuity_counter();
        let before = self.counter.replace(counter);
        if before == Some(counter) && !packet.payload_unit_start() {
            return None; // sent twice (§2.4.3.3)
        }
        if before.is_some_and(|before| (before + 1) & 15 != counter) && !packet.discontinuity() {
            self.tear();
        }
        if packet.payload_unit_start() {
            let whole = self.finish();
            self.is_collecting = true;
            self.bytes.extend_from_slice(packet.payload());
            return whole.or_else(|| self.finish_if_whole());
        }
        if self.is_collecting {
            self.bytes.extend_from_slice(packet.payload());
            if self.bytes.len() > PES_BYTES_MAX {
                self.tear();
            }
        }
        self.finish_if_whole()
    }

    /// Nothing that follows continues what came.
    pub fn restart(&mut self) {
        self.bytes.clear();
        (self.is_collecting, self.counter) = (false, None);
    }

    /// PES packets given up.
    pub fn torn(&self) -> u64 {
        self.torn
    }

    fn tear(&mut self) {
        self.torn += u64::from(self.is_collecting);
        self.bytes.clear();
        self.is_collecting = false;
    }

    fn finish_if_whole(&mut self) -> Option<Pes> {
        let [_, _, _, _, high, low] = *self.bytes.first_chunk::<6>()?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if !self.is_collecting || length == 0 || self.bytes.len() < 6 + length {
            return None;
        }
        self.bytes.truncate(6 + length);
        self.finish()
    }

    fn finish(&mut self) -> Option<Pes> {
        if !std::mem::take(&mut self.is_collecting) {
            self.bytes.clear();
            return None;
        }
        let bytes = std::mem::take(&mut self.bytes);
        let header_len = usize::from(*bytes.get(8)?);
        let is_fine = pes::starts(&bytes) && bytes[6] >> 6 == 2 && 9 + header_len <= bytes.len();
        is_fine.then(|| Pes { times: PesTimes::parse(&bytes), payload_at: 9 + header_len, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::PacketBytes;
    use crate::packet::tests::packet;

    fn begins(counter: u8, length: u16) -> PacketBytes {
        let mut bytes = packet(1, counter, None, 0xaa);
        bytes[1] |= 0x40;
        let [high, low] = length.to_be_bytes();
        bytes[4..18].copy_from_slice(&[0, 0, 1, 0xc0, high, low, 0x80, 0x80, 5, 0x21, 0, 1, 0, 1]);
        bytes
    }

    fn push(assembler: &mut PesAssembler, bytes: &PacketBytes) -> Option<usize> {
        assembler.push(Packet::parse(bytes).unwrap()).map(|pes| pes.payload().len())
    }

    #[test]
    fn a_packet_is_whole_with_its_length_or_when_the_next_begins_and_a_torn_one_is_dropped() {
        let mut assembler = PesAssembler::default();
        assert_eq!(push(&mut assembler, &begins(0, 0)), None);
        assert_eq!(push(&mut assembler, &packet(1, 1, None, 0xaa)), None);
        assert_eq!(push(&mut assembler, &packet(1, 1, None, 0xaa)), None, "the same again");
        assert_eq!(push(&mut assembler, &begins(2, 200)), Some(170 + 184));
        assert_eq!(push(&mut assembler, &packet(1, 3, None, 0xaa)), Some(200 - 8));
        assert_eq!(push(&mut assembler, &begins(4, 0)), None);
        assert_eq!(push(&mut assembler, &packet(1, 6, None, 0xaa)), None);
        assert_eq!(push(&mut assembler, &begins(7, 0)), None);
        assert_eq!(assembler.torn(), 1);
    }
}
