//! Where decoding may begin in what the ring holds, and packets of the past that come beside those that are made, for
//! who begins there: P3's asides. The ring grows for them, and the destinations never have them.
//!
//! ```text
//! position      40        41 … 139        140   141   142
//!            held here │ kept free │ the newest when it flowed again, and on
//!                        filled later, from the left; 41 is where decoding may begin
//! ```

use std::ops::Range;

use protocols::p3_feed::{
    ACCESS_POINT_BYTES, AccessPoint, HEADER_BYTES, HISTORY_BYTES, HISTORY_SLICE_BYTES, History, HistorySlice,
    LONGEST_HISTORY, MARK_BYTES, MAX_HISTORY_PACKETS, Mark,
};
use protocols::time::Time;

use super::{ChannelPath, Header};
use crate::ring::{MAX_SLOTS, SLOT_BYTES};

const _: () = assert!((MAX_HISTORY_PACKETS as usize) < MAX_SLOTS, "the longest past finds room");

/// What of the past is here, and what is to come of it.
#[derive(Debug)]
pub(super) struct Past {
    /// What is no longer than this is no packet of the present: set above all lengths while packets of the past come.
    pub(super) apart: usize,
    /// Position after which the ring is to grow, lest it lose the newest random access point.
    pub(super) grow_at: u64,
    /// Position of the newest random access point.
    access: Option<u64>,
    /// Positions that were kept free and are to be filled.
    awaited: Range<u64>,
    /// Number of the packet that belongs to the first of them.
    number: u64,
    ssrc: u32,
    /// Position behind the last that was kept free and never filled.
    whole_from: u64,
    slice: HistorySlice,
    mark: Option<Mark>,
    pub(super) wrong_asides: u64,
    pub(super) unwanted: u64,
}

impl Default for Past {
    fn default() -> Self {
        Self {
            apart: MARK_BYTES,
            grow_at: u64::MAX,
            access: None,
            awaited: 0..0,
            number: 0,
            ssrc: 0,
            whole_from: 0,
            slice: HistorySlice { first: 0, packets: 0 },
            mark: None,
            wrong_asides: 0,
            unwanted: 0,
        }
    }
}

impl Past {
    /// Whether packets of it are still to come.
    pub(super) fn is_awaited(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// Gives up what the ring, whose oldest packet is that, has no places for any more. To be called now and then.
    pub(super) fn tidy(&mut self, oldest: u64) {
        if self.is_awaited() && self.awaited.start < oldest {
            self.give_up();
        }
    }

    /// What has not come will not.
    fn give_up(&mut self) {
        if self.is_awaited() {
            self.awaited.start = self.awaited.end;
            self.hole_before(self.awaited.end);
        }
        self.take_slice(HistorySlice { first: 0, packets: 0 });
    }

    /// Something is missing before `position` that will not come.
    fn hole_before(&mut self, position: u64) {
        self.whole_from = position;
        self.access = self.access.filter(|at| *at >= position);
    }

    /// What comes continues nothing that is here.
    pub(super) fn interrupt(&mut self) {
        self.give_up();
        (self.access, self.grow_at) = (None, u64::MAX);
    }

    fn take_slice(&mut self, slice: HistorySlice) {
        (self.slice, self.mark) = (slice, None);
        self.apart = if slice.packets > 0 { usize::MAX } else { MARK_BYTES };
    }
}

impl ChannelPath {
    /// Position in the ring of the packet in which the newest random access point begins (its PAT, if that is directly
    /// before it); `None` while the ring holds none. The packets from there on that are before [`Self::whole_until`] are
    /// here.
    pub fn newest_access(&self) -> Option<u64> {
        self.past.access.filter(|at| (self.ring.oldest()..self.whole_until()).contains(at))
    }

    /// Position of the first packet behind [`Self::newest_access`] that is not here: one that is still to come as a packet
    /// of the past, or is yet to be made.
    pub fn whole_until(&self) -> u64 {
        if self.past.is_awaited() { self.past.awaited.start } else { self.ring.next() }
    }

    /// Bytes of memory that the ring takes.
    pub fn ring_bytes(&self) -> usize {
        self.ring.slots() * SLOT_BYTES
    }

    /// What comes between the packets of the present.
    #[cold]
    pub(super) fn take_apart(&mut self, now: Time, len: usize) {
        let bytes = self.ring.pending(len);
        match len {
            HEADER_BYTES => {
                self.last_arrival = Some(now);
                self.left_out();
            }
            MARK_BYTES => {
                let mark = bytes.first_chunk().map(|bytes| Mark::decode(*bytes));
                match mark {
                    Some(mark) if self.past.slice.packets == 0 => self.mark(mark),
                    mark => self.past.mark = mark,
                }
            }
            ACCESS_POINT_BYTES => {
                let point = bytes.first_chunk().map(|bytes| AccessPoint::decode(*bytes));
                point.into_iter().for_each(|point| self.access_point(now, point));
            }
            HISTORY_BYTES => {
                let history = bytes.first_chunk().map(|bytes| History::decode(*bytes));
                history.into_iter().for_each(|history| self.expect_history(now, history));
            }
            HISTORY_SLICE_BYTES => {
                let slice = bytes.first_chunk().map(|bytes| HistorySlice::decode(*bytes));
                slice.into_iter().for_each(|slice| self.past.take_slice(slice));
            }
            _ if len > MARK_BYTES => self.late_packet(now, len),
            _ => self.drops.not_rtp += 1,
        }
    }

    /// Decoding may begin at `point`.
    fn access_point(&mut self, now: Time, point: AccessPoint) {
        let known = self.dating.position(point.number, self.ring.next());
        let here = known.filter(|at| *at >= self.ring.oldest().max(self.past.whole_from));
        match here.filter(|at| self.past.access.is_none_or(|before| before <= *at)) {
            Some(position) => {
                self.past.access = Some(position);
                self.past.grow_at = position + self.ring.slots() as u64 - 2;
                self.keep_access(now);
            }
            None => self.past.wrong_asides += 1,
        }
    }

    /// The ring grows, when the newest random access point would be overwritten next; unless that is so long ago that
    /// nobody should begin there.
    #[cold]
    pub(super) fn keep_access(&mut self, now: Time) {
        let Some(access) = self.past.access.filter(|_| self.ring.next() > self.past.grow_at) else { return };
        self.past.grow_at = u64::MAX;
        if now.since(self.ring.arrival(access)) < LONGEST_HISTORY && self.ring.grow(self.ring.slots()) {
            self.past.grow_at = access + self.ring.slots() as u64 - 2;
        }
    }

    /// Keeps places free for the packets of `history` that are not here.
    fn expect_history(&mut self, now: Time, history: History) {
        self.past.give_up();
        let History { first, packets, ssrc } = history;
        let Some(ends) = first.checked_add(packets.into()).filter(|_| packets <= MAX_HISTORY_PACKETS) else {
            self.past.wrong_asides += 1;
            return;
        };
        let begin = self.ring.next();
        let follows = self.dating.newest(ssrc, begin).and_then(|newest| newest.checked_add(1));
        let whole_from = self.past.whole_from.max(self.ring.oldest());
        let is_here = |number| self.dating.position(number, begin).is_some_and(|at| at >= whole_from);
        let goes_on = |follows: &u64| *follows == first || (*follows > first && is_here(first));
        let number = follows.filter(goes_on).unwrap_or(first);
        let Some(missing) = ends.checked_sub(number).and_then(|missing| u16::try_from(missing).ok()) else {
            return;
        };
        if missing == 0 || !self.ring.grow(packets.into()) {
            return;
        }
        self.ring.reserve(now, missing.into());
        self.dating.reserve(begin, number, missing, ssrc);
        let end = self.ring.next();
        (self.past.awaited, self.past.number, self.past.ssrc) = (begin..end, number, ssrc);
        // Nobody is sent what is past; what they have not been sent of what was before has become past as well.
        if self.watched_since.is_some() {
            self.drops.skipped += begin.saturating_sub(self.released);
        }
        (self.begins, self.released) = (end, end);
        self.lanes.iter_mut().for_each(|lane| lane.next = lane.next.max(end));
    }

    /// A packet of the past.
    fn late_packet(&mut self, now: Time, len: usize) {
        let HistorySlice { first: number, packets } = self.past.slice;
        let mark = self.past.mark.take();
        self.past
            .take_slice(HistorySlice { first: number.wrapping_add(1), packets: packets.saturating_sub(1) });
        let [.., high, low] = number.to_be_bytes();
        let ahead = number.checked_sub(self.past.number);
        let position = ahead.and_then(|ahead| self.past.awaited.start.checked_add(ahead));
        let Some(position) = position.filter(|position| self.past.awaited.contains(position)) else {
            // Here before, or given up.
            self.past.unwanted += 1;
            return;
        };
        let header = Header::of(self.ring.pending(len));
        let right = header.is_some_and(|header| {
            header.ssrc == self.past.ssrc && header.stamp.sequence == u16::from_be_bytes([high, low])
        });
        if !right || !self.ring.fill(position, now, len) {
            self.past.wrong_asides += u64::from(!right);
            return;
        }
        if position > self.past.awaited.start {
            self.past.hole_before(position);
        }
        if let Some(mark) = mark {
            self.dating.mark_late(position, mark);
        }
        (self.past.awaited.start, self.past.number) = (position + 1, number.wrapping_add(1));
    }
}
