//! Which segments have been kept long enough: those beyond their age, then the oldest until all fit the limit. Whole
//! segments only, and none of a programme that somebody wants kept.

use protocols::ids::ChannelId;
use protocols::recording::Span;
use protocols::time::ClusterTime;

use super::segment::{Segment, SegmentName};

/// A segment that may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its channel.
    pub channel: ChannelId,
    /// Its name.
    pub name: SegmentName,
    /// Where it ends, ms since 1970.
    pub end_date_ms: u64,
    /// When it has been kept for as long as its channel's order says; `None`: there is no order.
    pub expires_ms: Option<u64>,
    /// Bytes of its transport packets.
    pub length_bytes: u64,
}

/// How much is kept, and how much may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes of transport packets that are kept in all, growing segments included.
    pub used_bytes: u64,
    /// Bytes that may be kept; `None`: nothing goes for its size.
    pub limit_bytes: Option<u64>,
}

/// Whether `segment` has a part in any of `protected`.
pub fn is_protected(segment: &Segment, protected: &[Span]) -> bool {
    let last = segment.end_date_ms.max(segment.date_ms + 1);
    let span = Span { from: ClusterTime(segment.date_ms), to: ClusterTime(last) };
    protected.iter().any(|protected| !protected.overlap(span).is_empty())
}

/// What of `candidates` is to go at `now_ms`: what has expired, and the oldest until the others fit. Oldest first.
pub fn due(now_ms: u64, room: Room, mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    candidates.sort_by_key(|candidate| (candidate.end_date_ms, candidate.channel, candidate.name));
    let expired = |candidate: &Candidate| candidate.expires_ms.is_some_and(|expires_ms| expires_ms < now_ms);
    let freed: u64 =
        candidates.iter().filter(|candidate| expired(candidate)).map(|expired| expired.length_bytes).sum();
    let limit_bytes = room.limit_bytes.unwrap_or(u64::MAX);
    let mut left_bytes = room.used_bytes.saturating_sub(freed);
    candidates.retain(|candidate| {
        if expired(candidate) {
            return true;
        }
        let over = left_bytes > limit_bytes;
        left_bytes = left_bytes.saturating_sub(if over { candidate.length_bytes } else { 0 });
        over
    });
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(minute: u64) -> Segment {
        let date_ms = minute * 60_000;
        Segment {
            name: SegmentName::new(1, minute, date_ms),
            date_ms,
            end_date_ms: date_ms + 60_000,
            packets: 1,
            missing: 0,
            length_bytes: 100,
            hash: [0; 32],
        }
    }

    struct Case {
        keep_min: Option<u64>,
        limit_bytes: Option<u64>,
        used_bytes: u64,
    }

    /// Which of the segments of the minutes 1 to 4 go.
    fn minutes(case: &Case, now_min: u64, protected: &[Span]) -> Vec<u64> {
        let segments = [3, 1, 2, 4].map(segment);
        let candidates = segments.iter().filter(|segment| !is_protected(segment, protected));
        let candidates = candidates.map(|segment| Candidate {
            channel: ChannelId(1),
            name: segment.name,
            end_date_ms: segment.end_date_ms,
            expires_ms: case.keep_min.map(|keep_min| segment.end_date_ms + keep_min * 60_000),
            length_bytes: segment.length_bytes,
        });
        let room = Room { used_bytes: case.used_bytes, limit_bytes: case.limit_bytes };
        let due = due(now_min * 60_000, room, candidates.collect());
        due.iter().map(|candidate| candidate.name.number).collect()
    }

    #[test]
    fn what_ended_too_long_ago_goes() {
        let case = Case { keep_min: Some(5), limit_bytes: None, used_bytes: 400 };
        assert_eq!(minutes(&case, 7, &[]), [0; 0]);
        assert_eq!(minutes(&case, 8, &[]), [1]);
        assert_eq!(minutes(&case, 9, &[]), [1, 2]);
        assert_eq!(minutes(&case, 2, &[]), [0; 0], "a clock that was set back");
    }

    #[test]
    fn the_oldest_go_until_the_others_fit() {
        let goes = |limit, used_bytes| {
            minutes(&Case { keep_min: None, limit_bytes: Some(limit), used_bytes }, 9, &[])
        };
        assert_eq!(goes(400, 400), [0; 0]);
        assert_eq!(goes(399, 400), [1]);
        assert_eq!(goes(399, 530), [1, 2], "growing segments count");
        assert_eq!(goes(0, 400), [1, 2, 3, 4]);
    }

    #[test]
    fn what_expires_makes_room_first() {
        let case = Case { keep_min: Some(5), limit_bytes: Some(300), used_bytes: 400 };
        assert_eq!(minutes(&case, 8, &[]), [1]);
        assert_eq!(minutes(&case, 7, &[]), [1]);
    }

    #[test]
    fn a_programme_that_is_kept_stays_whatever_the_limit() {
        let case = Case { keep_min: Some(0), limit_bytes: Some(0), used_bytes: 400 };
        let span = |from, to| Span { from: ClusterTime(from), to: ClusterTime(to) };
        assert_eq!(minutes(&case, 9, &[span(125_000, 200_000)]), [1, 4]);
        assert_eq!(minutes(&case, 9, &[span(120_000, 180_000)]), [1, 3, 4]);
    }
}
