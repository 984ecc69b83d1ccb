//! A size as people write it: `500G`.

use std::str::FromStr;

use thiserror::Error;

/// So many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A text that is no size.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "a size is a whole number of bytes, or one with K, M, G or T behind it for thousands, millions …, such as 500G; not `{0}`"
)]
pub struct NotASize(String);

impl FromStr for ByteSize {
    type Err = NotASize;

    fn from_str(text: &str) -> Result<Self, NotASize> {
        let refused = || NotASize(text.chars().take(32).collect());
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit: u64 = match &text[digits.len()..] {
            "" => 1,
            "K" | "k" => 1_000,
            "M" => 1_000_000,
            "G" => 1_000_000_000,
            "T" => 1_000_000_000_000,
            _ => return Err(refused()),
        };
        let number: u64 = digits.parse().map_err(|_| refused())?;
        number.checked_mul(unit).map(Self).ok_or_else(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let read = |text: &str| text.parse::<ByteSize>().map(|size| size.0).ok();
        assert_eq!((read("0"), read("7k"), read("2T")), (Some(0), Some(7_000), Some(2_000_000_000_000)));
        assert_eq!((read("500G"), read("12M")), (Some(500_000_000_000), Some(12_000_000)));
        for bad in ["", "G", "-1", "1.5G", "5GB", "5 G", "99999999999T", "5g"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
