//! The newest segments of one rendition, and the one that is being made.

use std::collections::VecDeque;

use hyper::body::Bytes;

/// So much is listed in a playlist at least, where it has been made: 24 s, six target durations.
pub const LISTED_90K: u64 = 2_160_000;
/// So much is kept for players that have read an older playlist: 40 s.
pub const KEPT_90K: u64 = 3_600_000;
/// So much there must be before a player is told of the first segment: 6 s. Players begin some segments before the end (RFC 8216
/// §6.3.3); one that has only a single segment to begin with runs dry at once.
pub const START_90K: u64 = 540_000;
/// Bytes kept of one rendition: 48 MiB; of more, the oldest segment goes.
pub const WINDOW_BYTES_MAX: usize = 48 << 20;
/// Parts of one segment; further ones are made one with the last.
pub const PARTS_MAX: usize = 64;

/// A piece of a segment, which a low-latency player asks for by itself; a segment without parts has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The media.
    pub bytes: Bytes,
    /// How long it is.
    pub duration_90k: u64,
    /// Whether decoding may begin with it.
    pub is_independent: bool,
}

/// A segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its number.
    pub sequence: u64,
    /// Its pieces, in order.
    pub parts: Vec<Part>,
    /// When it began, ms since 1970.
    pub date_ms: u64,
    /// Whether it does not continue the one before.
    pub is_discontinuous: bool,
    /// Number of its initialisation segment, where the rendition has such.
    pub init: Option<u64>,
}

/// How a segment begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// The wall clock, ms since 1970; what continues goes on from the segment before instead.
    pub now_ms: u64,
    /// It does not continue the one before.
    pub is_discontinuous: bool,
    /// Number of its initialisation segment.
    pub init: Option<u64>,
}

/// The window.
#[derive(Debug)]
pub struct Window {
    /// Complete ones.
    segments: VecDeque<Segment>,
    /// The one that is being made.
    open: Option<Segment>,
    next: u64,
    /// Discontinuities among the segments that are gone.
    discontinuities: u64,
    bytes: usize,
    dropped: u64,
}

impl Segment {
    /// How long it is.
    pub fn duration_90k(&self) -> u64 {
        self.parts.iter().map(|part| part.duration_90k).sum()
    }

    /// How large it is.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.bytes.len()).sum()
    }

    /// Whether it has nothing in it.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// All of it.
    pub fn bytes(&self) -> Bytes {
        match &self.parts[..] {
            [one] => one.bytes.clone(),
            parts => parts.iter().flat_map(|part| part.bytes.iter()).copied().collect(),
        }
    }
}

impl Window {
    /// An empty one, whose first segment has the number `first`.
    pub fn new(first: u64) -> Self {
        Self { segments: VecDeque::new(), open: None, next: first, discontinuities: 0, bytes: 0, dropped: 0 }
    }

    /// Completes the open segment and begins another.
    pub fn open(&mut self, opening: Opening) {
        self.close();
        let before = self.segments.back().filter(|_| !opening.is_discontinuous);
        let date_ms = before.map_or(opening.now_ms, |before| before.date_ms + before.duration_90k() / 90);
        self.open = Some(Segment {
            sequence: self.next,
            parts: Vec::new(),
            date_ms,
            // The first one of all continues nothing, and nobody expects it to.
            is_discontinuous: opening.is_discontinuous && !self.segments.is_empty(),
            init: opening.init,
        });
        self.next += 1;
    }

    /// Completes the open segment; one that has nothing in it is as if it had not been begun.
    pub fn close(&mut self) {
        match self.open.take() {
            Some(segment) if segment.is_empty() => self.next = segment.sequence,
            Some(segment) => self.segments.push_back(segment),
            None => {}
        }
        self.trim();
    }

    /// Adds to the open segment; nothing where there is none.
    pub fn push(&mut self, part: Part) {
        let Some(open) = &mut self.open else { return };
        self.bytes += part.bytes.len();
        let is_full = open.parts.len() >= PARTS_MAX;
        match open.parts.last_mut().filter(|_| is_full) {
            Some(last) => {
                last.bytes = [&last.bytes[..], &part.bytes[..]].concat().into();
                last.duration_90k += part.duration_90k;
            }
            None => open.parts.push(part),
        }
        self.trim();
    }

    /// How long the open segment is so far; `None`: there is none.
    pub fn open_90k(&self) -> Option<u64> {
        self.open.as_ref().map(Segment::duration_90k)
    }

    /// The segment that is being made.
    pub fn open_segment(&self) -> Option<&Segment> {
        self.open.as_ref()
    }

    /// The complete segments that a playlist lists, ascending.
    pub fn listed(&self) -> impl DoubleEndedIterator<Item = &Segment> + Clone {
        let mut sum_90k = 0;
        let count = self.segments.iter().rev().take_while(|segment| {
            let fits = sum_90k < LISTED_90K;
            sum_90k += segment.duration_90k();
            fits
        });
        let count = count.count();
        self.segments.range(self.segments.len() - count..)
    }

    /// Discontinuities before the first segment that is listed.
    pub fn discontinuity_sequence(&self) -> u64 {
        let first = self.listed().next().map_or(self.next, |segment| segment.sequence);
        let kept = self.segments.iter().filter(|it| it.sequence < first && it.is_discontinuous);
        self.discontinuities + kept.count() as u64
    }

    /// A segment that is kept, complete.
    pub fn segment(&self, sequence: u64) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.sequence == sequence)
    }

    /// A part of a segment that is kept, or is being made.
    pub fn part(&self, sequence: u64, part: usize) -> Option<&Part> {
        let open = self.open.as_ref().filter(|open| open.sequence == sequence);
        open.or_else(|| self.segment(sequence))?.parts.get(part)
    }

    /// Number of the next segment to be completed.
    pub fn next_complete(&self) -> u64 {
        self.open.as_ref().map_or(self.next, |open| open.sequence)
    }

    /// Number that a window should begin with that goes on where this one ends.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Whether the playlist has segment `sequence`, or a later one, or with `part` that part of it.
    pub fn has(&self, sequence: u64, part: Option<usize>) -> bool {
        let complete = self.next_complete();
        match part {
            _ if sequence < complete => true,
            None => false,
            Some(part) => {
                let open = self.open.as_ref().filter(|open| open.sequence == sequence);
                open.is_some_and(|open| open.parts.len() > part)
            }
        }
    }

    /// Whether there is nothing to list yet.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Whether there is enough for a player to begin with: [`START_90K`].
    pub fn is_startable(&self) -> bool {
        self.segments.iter().map(Segment::duration_90k).sum::<u64>() >= START_90K
    }

    /// Initialisation segments that something refers to.
    pub fn inits(&self) -> impl Iterator<Item = u64> {
        self.segments.iter().chain(&self.open).filter_map(|segment| segment.init)
    }

    /// Mean rate of what is kept, bits/s; 0 while nothing is.
    pub fn rate_bps(&self) -> u64 {
        let duration_90k: u64 = self.segments.iter().map(Segment::duration_90k).sum();
        let bytes: usize = self.segments.iter().map(Segment::len).sum();
        (bytes as u64 * 8 * 90_000).checked_div(duration_90k).unwrap_or(0)
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Segments dropped for their bytes alone.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn trim(&mut self) {
        let mut kept_90k: u64 = self.segments.iter().map(Segment::duration_90k).sum();
        while let Some(oldest) = self.segments.front() {
            let duration_90k = oldest.duration_90k();
            let is_too_much = self.bytes > WINDOW_BYTES_MAX;
            if !is_too_much && kept_90k.saturating_sub(duration_90k) < KEPT_90K {
                break;
            }
            self.dropped += u64::from(is_too_much);
            kept_90k -= duration_90k;
            self.bytes -= oldest.len();
            self.discontinuities += u64::from(oldest.is_discontinuous);
            self.segments.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(bytes: usize, duration_90k: u64) -> Part {
        Part { bytes: vec![1; bytes].into(), duration_90k, is_independent: true }
    }

    fn opening(now_ms: u64, is_discontinuous: bool) -> Opening {
        Opening { now_ms, is_discontinuous, init: None }
    }

    #[test]
    fn segments_are_numbered_dated_and_kept_for_so_long() {
        let mut window = Window::new(100);
        for n in 0..40 {
            window.open(opening(50_000 + n, false));
            window.push(part(10, 180_000));
        }
        let listed: Vec<u64> = window.listed().map(|segment| segment.sequence).collect();
        assert_eq!(listed, (127..139).collect::<Vec<_>>(), "24 s of 2 s, and one is being made");
        assert_eq!(window.listed().next().map(|first| first.date_ms), Some(50_000 + 27 * 2_000));
        assert!(window.segment(119).is_some() && window.segment(118).is_none());
        assert_eq!(window.bytes(), 210);
        assert_eq!((window.has(138, None), window.has(139, None)), (true, false));
        assert_eq!((window.has(139, Some(0)), window.has(139, Some(1))), (true, false));
    }

    #[test]
    fn one_that_stayed_empty_leaves_no_number_out() {
        let mut window = Window::new(1);
        window.open(opening(0, false));
        window.open(opening(0, false));
        window.push(part(1, 90_000));
        window.close();
        assert_eq!(window.listed().map(|segment| segment.sequence).collect::<Vec<_>>(), [1]);
    }

    proptest! {
        /// Whatever comes, numbers follow each other, discontinuities are counted once, and bytes are bounded and right.
        #[test]
        fn a_window_is_consistent(steps in proptest::collection::vec((any::<bool>(), 0_usize..3_000_000, 1_u64..400_000), 1..120)) {
            let mut window = Window::new(5);
            let (mut told, mut before): (u64, Option<(u64, u64)>) = (0, None);
            for (discontinuous, bytes, duration_90k) in steps {
                window.open(opening(0, discontinuous));
                window.push(part(bytes, duration_90k));
                window.close();
                told += u64::from(discontinuous && window.next() > 6);
                prop_assert!(window.bytes() <= WINDOW_BYTES_MAX);
                let all: Vec<&Segment> = window.listed().collect();
                prop_assert!(all.windows(2).all(|pair| pair[0].sequence + 1 == pair[1].sequence));
                let listed = all.iter().filter(|segment| segment.is_discontinuous).count() as u64;
                let sequence = window.discontinuity_sequence();
                prop_assert_eq!(sequence + listed, told);
                // A player that has read an earlier list finds its place in this one.
                let now = (all.first().map_or(window.next(), |first| first.sequence), sequence);
                if let Some(before) = before {
                    prop_assert!(before.0 <= now.0 && before.1 <= now.1);
                }
                before = Some(now);
            }
        }
    }
}
