//! Which of a peer's segments are fetched: those that nothing here is as good as.
//!
//! | here | there | |
//! |---|---|---|
//! | the same, or a whole one that has all its numbers | | stays |
//! | damaged | any | fetched: it was sound when its hash was made, and that is verified |
//! | nothing of it | any | fetched |
//! | whole | holed | stays |
//! | lesser ones | whole | fetched; the parts go |
//! | holed, of another name | holed | stays: two halves make no whole |
//! | the same name, another hash | | the better one by [`better`], which both hosts find to be the same |
//! | growing, or not yet mended | | later |

use protocols::recording::Span;

use crate::recording::retention;
use crate::recording::segment::MAX_DATE_MS;
use crate::recording::{Segment, SegmentName};

/// Packets that a segment has at most, and numbers that it spans: no recorder makes a larger one.
const MAX_SPAN: u64 = 1 << 31;
/// Bytes of transport packets in an RTP packet, at least and at most.
const PAYLOAD_BYTES: std::ops::RangeInclusive<u64> = 188..=7 * 188;
/// A peer's dates may be so far ahead of this host's clock.
const MAX_AHEAD_MS: u64 = 24 * 3_600_000;
/// What would be deleted within this time is not worth fetching; or within a tenth of the time that it is kept, if that is less.
const WORTH_MS: u64 = 5 * 60_000;

/// What is known of a segment here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// It is complete.
    Complete(Segment),
    /// It is being written, or waits to be mended.
    Busy(SegmentName),
    /// It counts as missing.
    Damaged(SegmentName),
}

/// What to do about a segment of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: what is here is as good.
    Stay,
    /// Ask again when what is here is complete.
    Later,
    /// Fetch it: nothing of it is here, or lesser parts only.
    Fetch,
    /// Fetch it in place of a damaged one.
    Mend,
    /// Fetch it in place of one of the same name that is not as good.
    Replace,
    /// The one here counts as better only because some of two has to: read it once more, to be sure that it is sound.
    Doubt,
}

/// What to do about `theirs`, where `own` is all that is here about its date.
pub fn verdict(own: &[Own], theirs: &Segment) -> Verdict {
    match own.iter().find(|own| own.name() == theirs.name) {
        Some(Own::Busy(_)) => return Verdict::Later,
        Some(Own::Damaged(_)) => return unless_busy(own, theirs, Verdict::Mend),
        Some(Own::Complete(mine)) => return between(own, mine, theirs),
        None => {}
    }
    let complete = || {
        own.iter().filter_map(|own| match own {
            Own::Complete(segment) => Some(segment),
            Own::Busy(_) | Own::Damaged(_) => None,
        })
    };
    if complete().any(|mine| mine.contains(theirs)) {
        return Verdict::Stay;
    }
    if !theirs.is_whole() && complete().any(|mine| overlap(mine, theirs)) {
        return Verdict::Stay;
    }
    unless_busy(own, theirs, Verdict::Fetch)
}

/// Two of one name.
fn between(own: &[Own], mine: &Segment, theirs: &Segment) -> Verdict {
    if mine.hash == theirs.hash {
        return Verdict::Stay;
    }
    if better(theirs, mine) {
        return unless_busy(own, theirs, Verdict::Replace);
    }
    if rank(mine) == rank(theirs) { Verdict::Doubt } else { Verdict::Stay }
}

/// `then`, unless something that is being written, or mended, has a part of `theirs`.
fn unless_busy(own: &[Own], theirs: &Segment, then: Verdict) -> Verdict {
    let busy = own.iter().any(|own| match own {
        Own::Busy(name) => {
            name.ssrc == theirs.name.ssrc && (theirs.name.number..theirs.end_number()).contains(&name.number)
        }
        Own::Complete(_) | Own::Damaged(_) => false,
    });
    if busy { Verdict::Later } else { then }
}

/// Whether of two sound segments of one name, that differ, `a` is to be kept: the one without a hole; else the one with more
/// packets; else with fewer holes; else with the lower hash, so that all hosts agree.
pub fn better(a: &Segment, b: &Segment) -> bool {
    (rank(a), std::cmp::Reverse(a.hash)) > (rank(b), std::cmp::Reverse(b.hash))
}

fn rank(segment: &Segment) -> (bool, u32, std::cmp::Reverse<u32>) {
    (segment.is_whole(), segment.packets, std::cmp::Reverse(segment.missing))
}

fn overlap(a: &Segment, b: &Segment) -> bool {
    a.name.ssrc == b.name.ssrc && a.name.number < b.end_number() && b.name.number < a.end_number()
}

/// Whether a recorder can have made such a segment by now.
pub fn is_possible(theirs: &Segment, now_ms: u64) -> bool {
    let Segment { name, date_ms, end_date_ms, packets, missing, length_bytes, .. } = *theirs;
    let span = u64::from(packets) + u64::from(missing);
    let latest = now_ms.saturating_add(MAX_AHEAD_MS).min(MAX_DATE_MS);
    let packets = u64::from(packets);
    packets > 0
        && span <= MAX_SPAN
        && name.number.checked_add(span).is_some()
        && name.date_s == date_ms / 1_000
        && date_ms <= end_date_ms
        && end_date_ms <= latest
        && length_bytes.is_multiple_of(*PAYLOAD_BYTES.start())
        && (packets * PAYLOAD_BYTES.start()..=packets * PAYLOAD_BYTES.end()).contains(&length_bytes)
}

/// Whether `theirs` would be kept here for a while: `keep_s` after its end, or as a part of `protected`.
pub fn is_worth_it(theirs: &Segment, now_ms: u64, keep_s: u32, protected: &[Span]) -> bool {
    let keep_ms = u64::from(keep_s) * 1_000;
    let until = theirs.end_date_ms.saturating_add(keep_ms - WORTH_MS.min(keep_ms / 10));
    until > now_ms || retention::is_protected(theirs, protected)
}

/// The date in s from which on a peer's segments may be worth fetching.
pub fn first_date_s(now_ms: u64, keep_s: u32, protected: &[Span], longest_s: u64) -> u64 {
    let kept = now_ms.saturating_sub(u64::from(keep_s) * 1_000);
    let first = protected.iter().map(|span| span.from.0).min().unwrap_or(kept).min(kept);
    (first / 1_000).saturating_sub(longest_s)
}

impl Own {
    /// Which one.
    pub fn name(&self) -> SegmentName {
        match self {
            Self::Complete(segment) => segment.name,
            Self::Busy(name) | Self::Damaged(name) => *name,
        }
    }
}

#[cfg(test)]
mod tests {
    use protocols::time::ClusterTime;

    use super::*;

    const NOW_MS: u64 = 10_000_000;

    fn segment(number: u64, packets: u32, missing: u32, hash: u8) -> Segment {
        let date_ms = number * 100;
        Segment {
            name: SegmentName::new(1, number, date_ms),
            date_ms,
            end_date_ms: date_ms + u64::from(packets + missing) * 100,
            packets,
            missing,
            length_bytes: u64::from(packets) * 7 * 188,
            hash: [hash; 32],
        }
    }

    fn of(own: &[Segment], theirs: &Segment) -> Verdict {
        let own: Vec<Own> = own.iter().map(|own| Own::Complete(*own)).collect();
        verdict(&own, theirs)
    }

    #[test]
    fn what_nothing_here_is_as_good_as_is_fetched() {
        let theirs = segment(600, 600, 0, 1);
        assert_eq!(of(&[], &theirs), Verdict::Fetch);
        assert_eq!(of(&[theirs], &theirs), Verdict::Stay);
        assert_eq!(of(&[segment(0, 600, 0, 2), segment(1_200, 600, 0, 3)], &theirs), Verdict::Fetch);
        assert_eq!(of(&[segment(700, 100, 0, 2), segment(900, 300, 0, 3)], &theirs), Verdict::Fetch, "parts");
        assert_eq!(of(&[segment(500, 900, 0, 2)], &theirs), Verdict::Stay, "a whole one has all of it");
        assert_eq!(
            of(&[segment(500, 890, 10, 2)], &theirs),
            Verdict::Fetch,
            "it may lack these very numbers"
        );
        let other = Segment { name: SegmentName { ssrc: 2, ..theirs.name }, ..theirs };
        assert_eq!(of(&[other], &theirs), Verdict::Fetch, "another source");
    }

    #[test]
    fn a_segment_that_is_whole_here_is_kept_whatever_holed_one_the_peer_has() {
        let (whole, holed) = (segment(600, 300, 0, 1), segment(600, 597, 3, 2));
        assert_eq!(of(&[whole], &holed), Verdict::Stay);
        assert_eq!(of(&[holed], &whole), Verdict::Replace);
        assert_eq!(of(&[segment(650, 10, 0, 1)], &holed), Verdict::Stay);
        assert_eq!(of(&[segment(700, 90, 10, 1)], &holed), Verdict::Stay, "two halves make no whole");
        assert_eq!(of(&[], &holed), Verdict::Fetch, "better than nothing");
    }

    #[test]
    fn of_two_that_differ_both_hosts_keep_the_same() {
        let two = [segment(600, 600, 0, 1), segment(600, 600, 0, 2)];
        assert_eq!((of(&[two[0]], &two[1]), of(&[two[1]], &two[0])), (Verdict::Doubt, Verdict::Replace));
        let (long, short) = (segment(600, 600, 0, 9), segment(600, 300, 0, 1));
        assert_eq!((of(&[short], &long), of(&[long], &short)), (Verdict::Replace, Verdict::Stay));
        let (more, fewer) = (segment(600, 599, 1, 9), segment(600, 590, 10, 1));
        assert_eq!((of(&[fewer], &more), of(&[more], &fewer)), (Verdict::Replace, Verdict::Stay));
        let (dense, sparse) = (segment(600, 590, 1, 9), segment(600, 590, 10, 1));
        assert_eq!((of(&[sparse], &dense), of(&[dense], &sparse)), (Verdict::Replace, Verdict::Stay));
    }

    #[test]
    fn a_damaged_one_is_mended_by_any_and_what_is_being_written_waits() {
        let theirs = segment(600, 590, 10, 1);
        assert_eq!(verdict(&[Own::Damaged(theirs.name)], &theirs), Verdict::Mend);
        assert_eq!(verdict(&[Own::Busy(theirs.name)], &theirs), Verdict::Later);
        let within = Own::Busy(SegmentName::new(1, 800, 80_000));
        assert_eq!(verdict(&[within], &theirs), Verdict::Later);
        assert_eq!(verdict(&[within, Own::Damaged(theirs.name)], &theirs), Verdict::Later);
        let behind = Own::Busy(SegmentName::new(1, 1_200, 120_000));
        assert_eq!(verdict(&[behind], &theirs), Verdict::Fetch);
    }

    #[test]
    fn impossible_segments_are_told_from_possible_ones() {
        let good = segment(600, 600, 0, 1);
        assert!(is_possible(&good, NOW_MS));
        assert!(is_possible(&Segment { packets: 10, length_bytes: 188 * 10, ..good }, NOW_MS));
        for bad in [
            Segment { packets: 0, length_bytes: 0, ..good },
            Segment { length_bytes: good.length_bytes + 1, ..good },
            Segment { length_bytes: good.length_bytes + 188, ..good },
            Segment { length_bytes: 599 * 188, ..good },
            Segment { missing: u32::MAX, ..good },
            Segment { end_date_ms: good.date_ms - 1, ..good },
            Segment { end_date_ms: u64::MAX, ..good },
            Segment { end_date_ms: NOW_MS + MAX_AHEAD_MS + 1, ..good },
            Segment { date_ms: good.date_ms + 1_000, ..good },
            Segment { name: SegmentName { number: u64::MAX - 5, ..good.name }, ..good },
        ] {
            assert!(!is_possible(&bad, NOW_MS), "{bad:?}");
        }
    }

    #[test]
    fn nothing_is_fetched_that_would_be_deleted_at_once_but_for_programmes() {
        let old = segment(600, 600, 0, 1);
        let after = |keep_s| is_worth_it(&old, NOW_MS, keep_s, &[]);
        let age_s = u32::try_from((NOW_MS - old.end_date_ms) / 1_000).unwrap();
        assert!(!after(60) && !after(age_s) && !after(age_s + 299) && after(age_s + 301) && after(u32::MAX));
        assert!(is_worth_it(&segment(99_900, 100, 0, 1), NOW_MS, 10, &[]), "short keeps have short margins");
        let programme = Span { from: ClusterTime(100_000), to: ClusterTime(101_000) };
        assert!(is_worth_it(&old, NOW_MS, 60, &[programme]));
        assert_eq!(first_date_s(NOW_MS, 60, &[], 3_600), 10_000 - 60 - 3_600);
        assert_eq!(first_date_s(NOW_MS, 60, &[programme], 10), 90);
        assert_eq!(first_date_s(0, u32::MAX, &[], 10), 0);
    }
}
