//! A segment's name, and what is known of one that is complete.
//!
//! ```text
//! 2026-11-22/051200-5f3a77c1-7041.ts       day / time of day (UTC) of its first packet - SSRC - number of its first packet
//! ```

use std::fmt;

/// Length of a slot: a segment begins at the first random access point of each.
pub const SEGMENT_MS: u64 = 60_000;
/// Dates from here on, the year 10000, are nonsense.
pub const MAX_DATE_MS: u64 = 253_402_300_800_000;

/// Which segment of a channel: the same wherever it is recorded. The order is that of dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    /// Date of its first packet, in seconds since 1970.
    pub date_s: u64,
    /// Synchronisation source of its packets.
    pub ssrc: u32,
    /// Number of its first packet.
    pub number: u64,
}

/// A complete segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Which one.
    pub name: SegmentName,
    /// Date of its first packet, ms since 1970.
    pub date_ms: u64,
    /// Where it ends: date of the first packet of the segment after it, or of its own last where there was none.
    pub end_date_ms: u64,
    /// RTP packets that it has.
    pub packets: u32,
    /// Numbers that it lacks between its first and its last.
    pub missing: u32,
    /// Bytes of its transport packets.
    pub length_bytes: u64,
    /// BLAKE3 over its RTP packets, one behind another, as P6 sent them.
    pub hash: [u8; 32],
}

impl Segment {
    /// Number of the first packet after it.
    pub fn end_number(&self) -> u64 {
        self.name.number + u64::from(self.packets) + u64::from(self.missing)
    }

    /// Whether it lacks nothing within.
    pub fn is_whole(&self) -> bool {
        self.missing == 0
    }

    /// Whether it has all numbers that `other` spans.
    pub fn contains(&self, other: &Self) -> bool {
        self.is_whole()
            && self.name.ssrc == other.name.ssrc
            && (self.name.number..=self.end_number()).contains(&other.name.number)
            && other.end_number() <= self.end_number()
    }

    /// Whether it goes on exactly where `before` ends.
    pub fn continues(&self, before: &Self) -> bool {
        self.name.ssrc == before.name.ssrc && self.name.number == before.end_number()
    }
}

impl SegmentName {
    /// The name of a segment that begins with this packet; `date_ms` below [`MAX_DATE_MS`].
    pub fn new(ssrc: u32, number: u64, date_ms: u64) -> Self {
        Self { date_s: date_ms / 1_000, ssrc, number }
    }

    /// Name of its folder: the day, such as `2026-11-22`.
    pub fn day(&self) -> String {
        let (year, month, day) = civil(self.date_s / DAY_S);
        format!("{year:04}-{month:02}-{day:02}")
    }

    /// Name of its files without `.ts` and `.index`, such as `051200-5f3a77c1-7041`.
    pub fn stem(&self) -> String {
        let s = self.date_s % DAY_S;
        format!("{:02}{:02}{:02}-{:08x}-{}", s / 3_600, s / 60 % 60, s % 60, self.ssrc, self.number)
    }

    /// Reads folder and stem; `None` where another program chose them.
    pub fn parse(day: &str, stem: &str) -> Option<Self> {
        let mut parts = day.split('-').map(|part| part.parse::<u64>().ok());
        let (year, month, date) = (parts.next()??, parts.next()??, parts.next()??);
        let (time, rest) = stem.split_once('-')?;
        let (ssrc, number) = rest.split_once('-')?;
        let time: u64 = (time.len() == 6).then(|| time.parse().ok())??;
        let seconds = time / 10_000 * 3_600 + time / 100 % 100 * 60 + time % 100;
        let date_s = days(year, month, date)? * DAY_S + seconds;
        let name = Self { date_s, ssrc: u32::from_str_radix(ssrc, 16).ok()?, number: number.parse().ok()? };
        // Only what is written as we write it: one name for each segment.
        (name.day() == day && name.stem() == stem).then_some(name)
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.day(), self.stem())
    }
}

/// The slot that a date lies in.
pub fn slot(date_ms: u64) -> u64 {
    date_ms / SEGMENT_MS
}

const DAY_S: u64 = 86_400;
/// Days from 1 March of the year 0 to 1970.
const EPOCH_DAYS: u64 = 719_468;
/// Days in 400 years of the Gregorian calendar.
const ERA_DAYS: u64 = 146_097;

/// Year, month and day of a day since 1970, in years that begin in March, so that the leap day is the last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + EPOCH_DAYS;
    let (era, day) = (days / ERA_DAYS, days % ERA_DAYS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, date)
}

/// The day since 1970 of a date from then to the year 9999.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..10_000).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = year - u64::from(month <= 2);
    let (era, of_era) = (year / 400, year % 400);
    let month = if month > 2 { month - 3 } else { month + 9 };
    let day = of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5 + day - 1;
    Some(era * ERA_DAYS + day - EPOCH_DAYS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_says_when_who_and_which() {
        // `date -u -d @1795324321` says 2026-11-22 05:12:01.
        let name = SegmentName::new(0x5f3a_77c1, 7_041, 1_795_324_321_999);
        assert_eq!((name.day().as_str(), name.stem().as_str()), ("2026-11-22", "051201-5f3a77c1-7041"));
        assert_eq!(SegmentName::parse("2026-11-22", "051201-5f3a77c1-7041"), Some(name));
    }

    #[test]
    fn other_names_are_no_segments() {
        for (day, stem) in [
            ("2026-11-22", "051201-5f3a77c1"),
            ("2026-11-22", "051201-5F3A77C1-7041"),
            ("2026-11-22", "051201-5f3a77c1-07041"),
            ("2026-11-22", "051261-5f3a77c1-7041"),
            ("2026-02-30", "051201-5f3a77c1-7041"),
            ("lost+found", "x"),
            ("99999999999999999999-11-22", "051201-5f3a77c1-7041"),
        ] {
            assert_eq!(SegmentName::parse(day, stem), None, "{day} {stem}");
        }
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!((civil(0), civil(59), civil(11_016)), ((1970, 1, 1), (1970, 3, 1), (2000, 2, 29)));
        assert_eq!((days(2000, 2, 29), days(2100, 3, 1)), (Some(11_016), Some(47_541)));
    }

    proptest! {
        #[test]
        fn every_name_is_read_as_it_was_written(date_ms in 0..MAX_DATE_MS, ssrc: u32, number: u64) {
            let name = SegmentName::new(ssrc, number, date_ms);
            prop_assert_eq!(SegmentName::parse(&name.day(), &name.stem()), Some(name));
        }
    }
}
