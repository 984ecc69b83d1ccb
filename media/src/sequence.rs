//! RTP sequence numbers: serial arithmetic on 16 bits (RFC 1982) and their extension to 64 (RFC 3550 appendix A.1).

use std::fmt;

/// A 16-bit sequence number. Deliberately not `Ord`: the order of serial numbers is not transitive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Sequence(pub u16);

impl Sequence {
    /// The one after, wrapping.
    #[must_use]
    pub const fn next(self) -> Self {
        self.add(1)
    }

    /// `count` further on, wrapping.
    #[must_use]
    pub const fn add(self, count: u16) -> Self {
        Self(self.0.wrapping_add(count))
    }

    /// Steps from `earlier` to `self` by the shorter way: −32768 to 32767.
    pub const fn distance_from(self, earlier: Self) -> i16 {
        self.0.wrapping_sub(earlier.0).cast_signed()
    }

    /// Whether `self` comes before `other` by the shorter way.
    pub const fn precedes(self, other: Self) -> bool {
        other.distance_from(self) > 0
    }

    /// The extended number nearest to `reference` whose low 16 bits are this sequence number.
    pub fn extend_near(self, reference: u64) -> u64 {
        let step = self.distance_from(Self::of_extended(reference));
        let near = reference.wrapping_add_signed(i64::from(step));
        // Below zero there is nothing: the other way round is then the only one.
        if step < 0 && near > reference { near.wrapping_add(1 << 16) } else { near }
    }

    /// The sequence number of an extended one: its low 16 bits.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the sequence number is the extended one modulo 2^16"
    )]
    pub const fn of_extended(extended: u64) -> Self {
        Self(extended as u16)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Extends sequence numbers to 64 bits, following the highest one seen.
#[derive(Debug, Clone, Copy, Default)]
pub struct SequenceUnwrapper {
    highest: Option<u64>,
}

impl SequenceUnwrapper {
    /// An unwrapper that has seen nothing. The first number is extended with one turn, so that earlier ones fit below.
    pub fn new() -> Self {
        Self::default()
    }

    /// The extended number of `sequence`: the one nearest to the highest seen.
    pub fn unwrap(&mut self, sequence: Sequence) -> u64 {
        let extended = match self.highest {
            Some(highest) => sequence.extend_near(highest),
            None => (1 << 16) | u64::from(sequence.0),
        };
        self.highest = Some(self.highest.map_or(extended, |highest| highest.max(extended)));
        extended
    }

    /// The highest extended number seen.
    pub fn highest(&self) -> Option<u64> {
        self.highest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn order_goes_the_shorter_way_round() {
        assert!(Sequence(65_535).precedes(Sequence(0)));
        assert!(!Sequence(0).precedes(Sequence(65_535)));
        assert_eq!(Sequence(2).distance_from(Sequence(65_534)), 4);
        assert_eq!(Sequence(65_535).next(), Sequence(0));
    }

    #[test]
    fn extension_crosses_the_wrap_both_ways() {
        let mut unwrapper = SequenceUnwrapper::new();
        assert_eq!(unwrapper.unwrap(Sequence(65_535)), 0x1_ffff);
        assert_eq!(unwrapper.unwrap(Sequence(1)), 0x2_0001);
        assert_eq!(unwrapper.unwrap(Sequence(65_534)), 0x1_fffe);
        assert_eq!(unwrapper.highest(), Some(0x2_0001));
        assert_eq!(Sequence(65_535).extend_near(0), 65_535);
    }

    proptest! {
        #[test]
        fn extension_keeps_the_low_bits(sequence: u16, reference: u64) {
            prop_assume!(reference < u64::MAX - 65_536);
            prop_assert_eq!(Sequence::of_extended(Sequence(sequence).extend_near(reference)), Sequence(sequence));
        }
    }
}
