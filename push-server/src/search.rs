//! Where in the ring the packet with a certain number is.

use std::ops::Range;

/// Position of the packet with the number `wanted` among `positions`, whose numbers ascend, perhaps with gaps, to that of
/// the last; `sequence_at` answers `None` for a packet of an earlier stream. `None` when it is not among them.
pub(crate) fn find(
    positions: Range<u64>,
    wanted: u16,
    sequence_at: impl Fn(u64) -> Option<u16>,
) -> Option<u64> {
    let last = positions.end.checked_sub(1).filter(|last| *last >= positions.start)?;
    let newest = sequence_at(last)?;
    let back_of = |sequence: u16| u64::from(newest.wrapping_sub(sequence));
    let back = back_of(wanted);
    // Without a gap behind it, it is just that far back; with gaps it is nearer.
    let (mut low, mut high) = (last.saturating_sub(back).max(positions.start), last);
    while low <= high {
        let at = if sequence_at(low) == Some(wanted) { low } else { low + (high - low) / 2 };
        match sequence_at(at).map(back_of) {
            Some(here) if here == back => return Some(at),
            Some(here) if here < back => high = at.checked_sub(1)?,
            _ => low = at + 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_found_by_its_number_across_the_wrap_and_behind_gaps() {
        // 65,530 … 65,535, 0 … 9 without 3 and 4, then 12; before them two of another stream.
        let numbers: Vec<Option<u16>> = [None, None]
            .into_iter()
            .chain((65_530..=65_535).chain([0, 1, 2, 5, 6, 7, 8, 9, 12]).map(Some))
            .collect();
        let first = 100;
        let positions = first..first + numbers.len() as u64;
        let look =
            |wanted| find(positions.clone(), wanted, |at| numbers[usize::try_from(at - first).unwrap()]);
        for (index, number) in numbers.iter().enumerate() {
            if let Some(number) = number {
                assert_eq!(look(*number), Some(first + index as u64), "{number}");
            }
        }
        for absent in [65_529, 3, 4, 10, 11, 13, 30_000] {
            assert_eq!(look(absent), None, "{absent}");
        }
        assert_eq!(find(5..5, 1, |_| Some(1)), None);
        assert_eq!(find(0..1, 0, |_| Some(0)), Some(0));
        assert_eq!(find(0..1, 65_535, |_| Some(0)), None);
    }
}
