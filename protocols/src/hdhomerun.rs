//! HDHomeRun tuners: packets of discovery and control, UDP and TCP 65001, as `libhdhomerun` speaks them.
//!
//! The acquisition server asks such tuners, the client's gateway answers as one.
//!
//! | bytes | |
//! |---|---|
//! | 2 | kind, the higher byte first |
//! | 2 | length of the fields |
//! | | fields: a byte of name, a length of one or two bytes, a value |
//! | 4 | CRC-32 of all before (ISO 3309), the lower byte first |

use std::fmt;

/// Port of discovery (UDP) and control (TCP).
pub const CONTROL_PORT: u16 = 65_001;
/// Largest packet.
pub const PACKET_BYTES_MAX: usize = 1_460;

/// Kinds.
pub const DISCOVER_REQUEST: u16 = 2;
/// Answers [`DISCOVER_REQUEST`].
pub const DISCOVER_REPLY: u16 = 3;
/// Asks for a value, or sets it.
pub const GETSET_REQUEST: u16 = 4;
/// Answers [`GETSET_REQUEST`].
pub const GETSET_REPLY: u16 = 5;

/// Fields.
pub const DEVICE_TYPE: u8 = 0x01;
/// The device's number.
pub const DEVICE_ID: u8 = 0x02;
/// Name of a value, with a zero byte behind it, as all texts.
pub const NAME: u8 = 0x03;
/// The value.
pub const VALUE: u8 = 0x04;
/// Why it is not answered.
pub const ERROR: u8 = 0x05;
/// How many tuners there are.
pub const TUNER_COUNT: u8 = 0x10;
/// The key of who has locked a tuner.
pub const LOCK_KEY: u8 = 0x15;
/// Where its HTTP server is.
pub const BASE_URL: u8 = 0x2a;

/// Any device, or a tuner.
pub const ANY: u32 = 0xffff_ffff;
/// A tuner.
pub const TUNER: u32 = 1;

/// The number that tells tuners apart: eight hexadecimal digits, of which the last checks the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(u32);

impl DeviceId {
    /// One that follows from `seed`, such as the host's name: the same at each start.
    pub fn of(seed: &str) -> Self {
        // FNV-1a: stable over versions and hosts.
        let hash = seed
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let bare = 0x1040_0000 | (hash & 0x000f_fff0);
        Self(bare | checksum(bare))
    }

    /// This number; `None` where its last digit does not check the others.
    pub fn from_number(number: u32) -> Option<Self> {
        (checksum(number) == 0).then_some(Self(number))
    }

    /// As it goes over the wire.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}", self.0)
    }
}

/// 0 of a whole number; of one whose last digit is 0, that digit.
fn checksum(id: u32) -> u32 {
    const ODD: [u32; 16] = [0xa, 0x5, 0xf, 0x6, 0x7, 0xc, 0x1, 0xb, 0x9, 0x2, 0x8, 0xd, 0x4, 0x3, 0xe, 0x0];
    (0..8).fold(0, |sum, place| {
        let digit = (id >> (28 - 4 * place)) & 15;
        sum ^ if place % 2 == 0 { ODD[digit as usize] } else { digit }
    })
}

/// A packet: its kind and its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its kind.
    pub kind: u16,
    /// Its fields, in order.
    pub fields: Vec<(u8, Vec<u8>)>,
}

impl Message {
    /// A packet without fields.
    pub fn new(kind: u16) -> Self {
        Self { kind, fields: Vec::new() }
    }

    /// With one field more.
    #[must_use]
    pub fn with(mut self, name: u8, value: &[u8]) -> Self {
        self.fields.push((name, value.to_vec()));
        self
    }

    /// With a text, and the zero byte behind it.
    #[must_use]
    pub fn with_text(self, name: u8, text: &str) -> Self {
        self.with(name, &[text.as_bytes(), &[0]].concat())
    }

    /// Length of a packet that begins so; `None` while its length has not come, `Err` where it is too long.
    pub fn len(begin: &[u8]) -> Result<Option<usize>, TooLong> {
        let Some([_, _, high, low]) = begin.first_chunk::<4>() else { return Ok(None) };
        let len = 8 + usize::from(u16::from_be_bytes([*high, *low]));
        if len > PACKET_BYTES_MAX { Err(TooLong) } else { Ok(Some(len)) }
    }

    /// Reads a whole packet; `None` where it is none.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (body, sum) = bytes.split_last_chunk::<4>()?;
        if Self::len(bytes) != Ok(Some(bytes.len())) || u32::from_le_bytes(*sum) != crc32(body) {
            return None;
        }
        let (head, mut rest) = body.split_first_chunk::<4>()?;
        let mut message = Self::new(u16::from_be_bytes([head[0], head[1]]));
        while let [name, length, after @ ..] = rest {
            let (length, after) = match (length & 0x80, after) {
                (0, after) => (usize::from(*length), after),
                (_, [more, after @ ..]) => (usize::from(length & 0x7f) | usize::from(*more) << 7, after),
                _ => return None,
            };
            let (value, after) = after.split_at_checked(length)?;
            message.fields.push((*name, value.to_vec()));
            rest = after;
        }
        rest.is_empty().then_some(message)
    }

    /// Its bytes; of fields that are too long for a packet nothing comes.
    pub fn encode(&self) -> Vec<u8> {
        let mut fields = Vec::new();
        for (name, value) in &self.fields {
            fields.push(*name);
            if let Ok(len @ ..0x80) = u8::try_from(value.len()) {
                fields.push(len);
            } else {
                fields.push(0x80 | u8::try_from(value.len() & 0x7f).unwrap_or(0));
                fields.push(u8::try_from(value.len() >> 7).unwrap_or(u8::MAX));
            }
            fields.extend_from_slice(value);
        }
        let Ok(len) = u16::try_from(fields.len()) else { return Vec::new() };
        let mut bytes = [self.kind.to_be_bytes(), len.to_be_bytes()].concat();
        bytes.extend(fields);
        if bytes.len() + 4 > PACKET_BYTES_MAX {
            return Vec::new();
        }
        bytes.extend(crc32(&bytes).to_le_bytes());
        bytes
    }

    /// The first field of this name.
    pub fn field(&self, name: u8) -> Option<&[u8]> {
        self.fields.iter().find(|(other, _)| *other == name).map(|(_, value)| &value[..])
    }

    /// The first field of this name as a number of four bytes.
    pub fn number(&self, name: u8) -> Option<u32> {
        Some(u32::from_be_bytes(self.field(name)?.try_into().ok()?))
    }

    /// The first field of this name as text, up to its zero byte.
    pub fn text(&self, name: u8) -> Option<&str> {
        let value = self.field(name)?;
        let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
        std::str::from_utf8(&value[..end]).ok()
    }
}

/// A packet that no such program sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// CRC-32 of ISO 3309, reflected.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(
            crc ^ u32::from(byte),
            |crc, _| {
                if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ 0xedb8_8320 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packets_are_as_libhdhomerun_lays_them_out() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        let request = Message::new(DISCOVER_REQUEST).with(DEVICE_TYPE, &TUNER.to_be_bytes());
        let bytes = request.encode();
        assert_eq!(bytes[..10], [0, 2, 0, 6, 1, 4, 0, 0, 0, 1]);
        assert_eq!(Message::parse(&bytes), Some(request));
        let long = Message::new(GETSET_REPLY).with_text(VALUE, &"x".repeat(299));
        assert_eq!(long.encode()[4..7], [VALUE, 0xac, 2]);
        assert_eq!(Message::parse(&long.encode()), Some(long));
        assert!(Message::new(5).with(4, &[0; 2_000]).encode().is_empty());
    }

    #[test]
    fn device_ids_check_and_stay_the_same() {
        // One that `hdhomerun_config` is known to take.
        assert_eq!(checksum(0x1040_1233), 0);
        assert_eq!(DeviceId::from_number(0x1040_1234), None);
        for seed in ["", "roof", "hall:7490"] {
            assert_eq!(checksum(DeviceId::of(seed).number()), 0);
        }
        assert_eq!(DeviceId::of("roof").to_string(), DeviceId::of("roof").to_string());
        assert_ne!(DeviceId::of("roof"), DeviceId::of("hall"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_a_wrong_byte_shows(bytes in proptest::collection::vec(any::<u8>(), 0..100), at: usize) {
            let _ = Message::parse(&bytes);
            let mut whole = Message::new(4).with(3, &bytes).encode();
            let at = at % whole.len();
            whole[at] ^= 0x10;
            prop_assert_eq!(Message::parse(&whole), None);
        }
    }
}
