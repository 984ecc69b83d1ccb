//! One transport stream packet (ISO/IEC 13818-1 §2.4.3): a checked view of 188 bytes, and the few edits that
//! restamping needs.
//!
//! ```text
//! 0x47 | TEI PUSI prio PID(13) | scrambling(2) AFC(2) CC(4) | [adaptation field] | [payload]
//! ```

use crate::time::{PCR_MODULUS, TICKS_PER_90K};

/// Bytes of a transport stream packet.
pub const PACKET_BYTES: usize = 188;

/// First byte of every packet.
pub const SYNC_BYTE: u8 = 0x47;

/// PID of null packets: stuffing without meaning (§2.4.3.3).
pub const NULL_PID: u16 = 0x1fff;

/// Number of PIDs that 13 bits can name.
pub const PID_COUNT: usize = 0x2000;

/// The bytes of one packet.
pub type PacketBytes = [u8; PACKET_BYTES];

/// A null packet, as §2.4.1 wants it: no adaptation field, counter 0, payload of ones.
pub const NULL_PACKET: PacketBytes = {
    let mut bytes = [0xff; PACKET_BYTES];
    bytes[0] = SYNC_BYTE;
    bytes[1] = 0x1f;
    bytes[3] = 0x10;
    bytes
};

const HEADER_BYTES: usize = 4;
const PCR_BYTES: usize = 6;
/// Adaptation field length of a packet without payload (§2.4.3.5).
const ADAPTATION_BYTES_MAX: u8 = 183;

/// Why bytes are not a transport stream packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// The first byte is not 0x47.
    #[error("transport packet begins with {0:#04x} instead of 0x47")]
    Sync(u8),
    /// A slice of another length than 188.
    #[error("transport packet of {0} bytes instead of 188")]
    Length(usize),
}

/// A view of one packet. Every accessor is total: fields that a malformed packet lacks read as absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    bytes: &'a PacketBytes,
}

impl<'a> Packet<'a> {
    /// Views 188 bytes; refuses a missing sync byte.
    pub fn parse(bytes: &'a PacketBytes) -> Result<Self, PacketError> {
        if bytes[0] == SYNC_BYTE { Ok(Self { bytes }) } else { Err(PacketError::Sync(bytes[0])) }
    }

    /// Views a slice that must be exactly 188 bytes long.
    pub fn from_slice(bytes: &'a [u8]) -> Result<Self, PacketError> {
        Self::parse(bytes.try_into().map_err(|_| PacketError::Length(bytes.len()))?)
    }

    /// The packet's bytes.
    pub fn bytes(self) -> &'a PacketBytes {
        self.bytes
    }

    /// `transport_error_indicator`: at least one uncorrectable bit error.
    pub fn transport_error(self) -> bool {
        self.bytes[1] & 0x80 != 0
    }

    /// `payload_unit_start_indicator`: a PES packet begins here, or a section does.
    pub fn payload_unit_start(self) -> bool {
        self.bytes[1] & 0x40 != 0
    }

    /// The packet identifier, 0 to 0x1fff.
    pub fn pid(self) -> u16 {
        u16::from_be_bytes([self.bytes[1] & 0x1f, self.bytes[2]])
    }

    /// Whether `transport_scrambling_control` says that the payload is scrambled.
    pub fn is_scrambled(self) -> bool {
        self.bytes[3] & 0xc0 != 0
    }

    /// The continuity counter, 0 to 15.
    pub fn continuity_counter(self) -> u8 {
        self.bytes[3] & 0x0f
    }

    /// Whether a payload is announced; only then does the continuity counter advance.
    pub fn has_payload(self) -> bool {
        self.bytes[3] & 0x10 != 0
    }

    /// The adaptation field after its length byte; `None` when absent, empty or longer than the packet.
    pub fn adaptation(self) -> Option<Adaptation<'a>> {
        let field = self.bytes.get(adaptation_range(self.bytes)?)?;
        (!field.is_empty()).then_some(Adaptation { field })
    }

    /// The payload; empty when there is none or the adaptation field overruns the packet.
    pub fn payload(self) -> &'a [u8] {
        payload_start(self.bytes).and_then(|start| self.bytes.get(start..)).unwrap_or(&[])
    }

    /// Programme clock reference in ticks of 27 MHz, below 2^33 × 300; `None` when the packet carries none.
    pub fn pcr(self) -> Option<u64> {
        self.adaptation()?.pcr()
    }

    /// `discontinuity_indicator`: the continuity counter or the time base breaks here on purpose (§2.4.3.5).
    pub fn discontinuity(self) -> bool {
        self.adaptation().is_some_and(|field| field.flags() & 0x80 != 0)
    }

    /// `random_access_indicator`: decoding may begin here.
    pub fn random_access(self) -> bool {
        self.adaptation().is_some_and(|field| field.flags() & 0x40 != 0)
    }
}

/// The adaptation field (§2.4.3.4), without its length byte and never empty.
#[derive(Debug, Clone, Copy)]
pub struct Adaptation<'a> {
    field: &'a [u8],
}

impl Adaptation<'_> {
    /// The flags byte: discontinuity, random access, priority, PCR, OPCR, splice, private data, extension.
    pub fn flags(&self) -> u8 {
        self.field.first().copied().unwrap_or(0)
    }

    /// PCR in ticks of 27 MHz.
    pub fn pcr(&self) -> Option<u64> {
        if self.flags() & 0x10 == 0 {
            return None;
        }
        let bytes: [u8; PCR_BYTES] = self.field.get(1..=PCR_BYTES)?.try_into().ok()?;
        Some(decode_pcr(bytes))
    }
}

/// Overwrites the PCR (27 MHz, taken modulo 2^33 × 300); false when the packet has no PCR field.
pub fn set_pcr(bytes: &mut PacketBytes, pcr: u64) -> bool {
    let Some(range) = adaptation_range(bytes) else { return false };
    let Some(field) = bytes.get_mut(range) else { return false };
    if field.first().is_none_or(|flags| flags & 0x10 == 0) {
        return false;
    }
    let Some(slot) = field.get_mut(1..=PCR_BYTES) else { return false };
    slot.copy_from_slice(&encode_pcr(pcr));
    true
}

/// Overwrites the continuity counter with the low four bits of `counter`.
pub fn set_continuity_counter(bytes: &mut PacketBytes, counter: u8) {
    bytes[3] = (bytes[3] & 0xf0) | (counter & 0x0f);
}

/// Clears `discontinuity_indicator` where there is one.
pub fn clear_discontinuity(bytes: &mut PacketBytes) {
    if let Some(flags) = adaptation_range(bytes).and_then(|range| bytes.get_mut(range)?.first_mut()) {
        *flags &= !0x80;
    }
}

/// Turns the payload of a packet with an adaptation field into stuffing; the continuity counter is left to the caller.
pub fn strip_payload(bytes: &mut PacketBytes) {
    let Some(range) = adaptation_range(bytes).filter(|range| !range.is_empty()) else { return };
    bytes[range.end..].fill(0xff);
    bytes[1] &= !0x40;
    bytes[3] &= !0x10;
    bytes[HEADER_BYTES] = ADAPTATION_BYTES_MAX;
}

/// The payload for editing; empty when there is none.
pub fn payload_mut(bytes: &mut PacketBytes) -> &mut [u8] {
    let start = payload_start(bytes).unwrap_or(PACKET_BYTES);
    &mut bytes[start.min(PACKET_BYTES)..]
}

fn adaptation_range(bytes: &PacketBytes) -> Option<std::ops::Range<usize>> {
    let length = usize::from(bytes[HEADER_BYTES]);
    let end = HEADER_BYTES + 1 + length;
    (bytes[3] & 0x20 != 0 && end <= PACKET_BYTES).then_some(HEADER_BYTES + 1..end)
}

fn payload_start(bytes: &PacketBytes) -> Option<usize> {
    match bytes[3] & 0x30 {
        0x10 => Some(HEADER_BYTES),
        0x30 => adaptation_range(bytes).map(|range| range.end),
        _ => None,
    }
}

/// 33 bits base, 6 reserved, 9 bits extension (§2.4.3.5). An extension above 299 carries into the base, which wraps.
fn decode_pcr(bytes: [u8; PCR_BYTES]) -> u64 {
    let word = bytes.iter().fold(0, |word, &byte| (word << 8) | u64::from(byte));
    ((word >> 15) * TICKS_PER_90K + (word & 0x1ff)) % PCR_MODULUS
}

fn encode_pcr(pcr: u64) -> [u8; PCR_BYTES] {
    let base = (pcr / TICKS_PER_90K) & 0x1_ffff_ffff;
    let word = (base << 15) | (0x3f << 9) | (pcr % TICKS_PER_90K);
    let [_, _, bytes @ ..] = word.to_be_bytes();
    bytes
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A packet with payload of `fill` and, with `pcr`, an adaptation field of seven bytes.
    pub(crate) fn packet(pid: u16, counter: u8, pcr: Option<u64>, fill: u8) -> PacketBytes {
        let mut bytes = [fill; PACKET_BYTES];
        let [high, low] = pid.to_be_bytes();
        bytes[..4].copy_from_slice(&[SYNC_BYTE, high, low, 0x10 | counter]);
        if let Some(pcr) = pcr {
            bytes[3] |= 0x20;
            bytes[4..6].copy_from_slice(&[7, 0x10]);
            assert!(set_pcr(&mut bytes, pcr));
        }
        bytes
    }

    #[test]
    fn golden_packet_is_read_field_by_field() {
        // PUSI, PID 0x100, adaptation + payload, counter 9, random access, PCR base 2 ext 5.
        let mut bytes = [0xaa; PACKET_BYTES];
        bytes[..12].copy_from_slice(&[0x47, 0x41, 0x00, 0x39, 0x07, 0x50, 0, 0, 0, 1, 0x7e, 5]);
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!((packet.pid(), packet.continuity_counter()), (0x100, 9));
        assert!(packet.payload_unit_start() && packet.random_access() && packet.has_payload());
        assert!(!packet.discontinuity() && !packet.transport_error() && !packet.is_scrambled());
        assert_eq!(packet.pcr(), Some(605));
        assert_eq!(packet.payload().len(), 176);
        let before = bytes;
        assert!(set_pcr(&mut bytes, 605));
        assert_eq!(bytes, before);
    }

    #[test]
    fn pcr_survives_its_largest_value() {
        let largest = crate::time::PCR_MODULUS - 1;
        assert_eq!(Packet::parse(&packet(1, 0, Some(largest), 0)).unwrap().pcr(), Some(largest));
    }

    #[test]
    fn an_extension_beyond_its_range_makes_no_pcr_beyond_the_wrap() {
        let mut bytes = packet(1, 0, Some(0), 0);
        bytes[6..12].fill(0xff);
        assert_eq!(Packet::parse(&bytes).unwrap().pcr(), Some(211));
    }

    #[test]
    fn overlong_adaptation_field_reads_as_absent() {
        let mut bytes = packet(1, 0, Some(7), 0);
        bytes[4] = 184;
        let view = Packet::parse(&bytes).unwrap();
        assert_eq!((view.pcr(), view.payload().len()), (None, 0));
    }

    proptest! {
        #[test]
        fn no_packet_panics(mut bytes in proptest::array::uniform32(any::<u8>()), fill: u8) {
            let mut whole = [fill; PACKET_BYTES];
            bytes[0] = SYNC_BYTE;
            whole[..32].copy_from_slice(&bytes);
            let view = Packet::parse(&whole).unwrap();
            let _ = (view.pcr(), view.payload(), view.discontinuity(), view.random_access(), view.pid());
            set_pcr(&mut whole, 12);
            clear_discontinuity(&mut whole);
            payload_mut(&mut whole).fill(0);
        }
    }
}
