//! Units between start codes, as video is cut into (ISO/IEC 13818-2 §6.2, ITU-T H.264 annex B, which H.265 shares).

/// What stands between start codes, without them; zeros before the next one are the unit's.
pub(crate) fn units(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = start_code(bytes).and_then(|at| bytes.get(at + 3..));
    std::iter::from_fn(move || {
        let from = rest?;
        let end = start_code(from);
        rest = end.and_then(|at| from.get(at + 3..));
        from.get(..end.unwrap_or(from.len()))
    })
}

/// Where the next start code begins.
fn start_code(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    // A third byte above 1 rules out three places at once.
    while let Some(&third) = bytes.get(at + 2) {
        match third {
            0 => at += 1,
            1 if bytes[at] == 0 && bytes[at + 1] == 0 => return Some(at),
            _ => at += 3,
        }
    }
    None
}

/// A unit without its emulation prevention bytes (H.264 §7.4.1, H.265 §7.4.2).
pub(crate) fn unescaped(unit: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(unit.len());
    let mut zeros = 0;
    for &byte in unit {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        bytes.push(byte);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_unit_ends_where_the_next_start_code_begins_or_with_the_bytes() {
        let bytes = [9, 0, 0, 1, 0xb3, 0, 0, 0, 1, 0, 0, 1, 7, 0, 0];
        assert_eq!(units(&bytes).collect::<Vec<_>>(), [&[0xb3, 0][..], &[], &[7, 0, 0]]);
        assert_eq!(units(&[0, 0, 2, 0, 0]).count(), 0);
    }

    #[test]
    fn a_three_behind_two_zeros_was_put_in() {
        assert_eq!(unescaped(&[0, 0, 3, 1, 0, 3, 0, 0, 3, 0, 0, 3]), [0, 0, 1, 0, 3, 0, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn units_put_behind_start_codes_are_found_again(expected in proptest::collection::vec(proptest::collection::vec(1_u8.., 0..40), 1..8)) {
            let bytes: Vec<u8> = expected.iter().flat_map(|unit| [&[0, 0, 1][..], unit].concat()).collect();
            let found: Vec<Vec<u8>> = units(&bytes).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
