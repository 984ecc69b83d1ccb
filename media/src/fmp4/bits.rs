//! Bits and Exp-Golomb codes of a parameter set (ITU-T H.264 §9.1, which H.265 shares).

use crate::start_code::unescaped;

/// Reads bits from the front; `None` beyond the end.
#[derive(Debug)]
pub(super) struct Bits {
    bytes: Vec<u8>,
    at: usize,
}

impl Bits {
    /// Of a NAL unit without its header, from which the emulation prevention bytes are taken (§7.4.1).
    pub(super) fn of(payload: &[u8]) -> Self {
        Self { bytes: unescaped(payload), at: 0 }
    }

    /// The next `count` bits, at most 32.
    pub(super) fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = *self.bytes.get(self.at / 8)?;
            value = (value << 1) | u32::from((byte >> (7 - self.at % 8)) & 1);
            self.at += 1;
        }
        Some(value)
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        Some(self.take(1)? == 1)
    }

    pub(super) fn skip(&mut self, count: usize) -> Option<()> {
        self.at = self.at.checked_add(count)?;
        (self.at <= self.bytes.len() * 8).then_some(())
    }

    /// ue(v).
    pub(super) fn unsigned(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1_u32 << zeros) - 1 + self.take(zeros)?)
    }

    /// se(v).
    pub(super) fn signed(&mut self) -> Option<i32> {
        let code = i64::from(self.unsigned()?);
        let half = (code + 1) / 2;
        i32::try_from(if code % 2 == 1 { half } else { -half }).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_as_the_standard_lists_them() {
        // 1 010 011 00100 00101: 0, 1, 2, 3, 4 (table 9-2).
        let mut bits = Bits::of(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        assert_eq!((0..5).map(|_| bits.unsigned()).collect::<Vec<_>>(), (0..5).map(Some).collect::<Vec<_>>());
        let mut bits = Bits::of(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        assert_eq!((0..5).map(|_| bits.signed()).collect::<Vec<_>>(), [0, 1, -1, 2, -2].map(Some));
        assert_eq!(Bits::of(&[0; 9]).unsigned(), None);
        assert_eq!(Bits::of(&[0, 0, 3, 1]).take(24), Some(1));
    }
}
