//! What this server knows of the programmes of its channels, and what of that the database server has not been told.
//!
//! ```text
//! Schedule read from a multiplex ─► GuideBook ─► Schedules that say something new, a few with each poll
//!                      a new connection ─┘        (all that is known, once more)
//! ```
//!
//! Beside the events it keeps the *spans* of which it knows the events: that nothing begins in them has to be told, too.

use std::collections::BTreeMap;

use protocols::guide::{
    Event, KEPT_AFTER_END_S, MAX_AHEAD_S, MAX_EVENTS_PER_CHANNEL, MAX_EVENTS_PER_SCHEDULE, MAX_GUIDE_BYTES,
    Schedule,
};
use protocols::ids::ChannelId;

/// Spans of one channel that do not touch each other; of more, the last are given up. Schedules come in spans that do.
pub(crate) const MAX_SPANS: usize = 512;

/// How much later an event begins at most that is the same as one that it overlaps and whose number it has.
const MAX_MOVED_S: u32 = 86_400;

/// What is known of all channels.
#[derive(Debug, Default)]
pub(crate) struct GuideBook {
    channels: BTreeMap<ChannelId, Known>,
    bytes: usize,
    /// Behind whom the next schedules are looked for, so that each channel has its turn.
    turn: Option<ChannelId>,
    left_out: u64,
}

/// What is known of one channel.
#[derive(Debug, Default)]
struct Known {
    events: BTreeMap<i64, Event>,
    /// Of which dates everything is known.
    spans: Spans,
    /// What of them is to be told.
    untold: Spans,
}

/// Dates, in s since 1970: disjoint spans by beginning, each with the first second behind it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Spans(BTreeMap<i64, i64>);

impl GuideBook {
    /// Takes a sound schedule, at `unix_s` by the wall clock.
    pub(crate) fn take(&mut self, unix_s: i64, schedule: Schedule) {
        let Schedule { channel, from_unix_s, until_unix_s, events } = schedule;
        let known = self.channels.entry(channel).or_default();
        known.forget_before(unix_s - KEPT_AFTER_END_S, &mut self.bytes);
        let (from, until) = (
            from_unix_s.max(unix_s - KEPT_AFTER_END_S - i64::from(protocols::guide::MAX_DURATION_S)),
            until_unix_s.min(unix_s + MAX_AHEAD_S),
        );
        if from >= until {
            return;
        }
        let events: BTreeMap<i64, Event> = events
            .into_iter()
            .filter(|event| (from..until).contains(&event.start_unix_s))
            .filter(|event| event.end_unix_s() > unix_s - KEPT_AFTER_END_S)
            .map(|event| (event.start_unix_s, event))
            .collect();
        if known.spans.holds(from, until) && known.events.range(from..until).eq(events.iter()) {
            return;
        }
        known.remove(from, until, &mut self.bytes);
        for event in events.values() {
            known.remove_moved(event, &mut self.bytes);
        }
        for (start, event) in events {
            let weight = event.footprint_bytes();
            if self.bytes + weight > MAX_GUIDE_BYTES {
                self.left_out += 1;
                continue;
            }
            self.bytes += weight;
            known.events.insert(start, event);
        }
        // Of too many those that begin first are kept.
        while known.events.len() > MAX_EVENTS_PER_CHANNEL {
            let Some((_, last)) = known.events.pop_last() else { break };
            self.bytes -= last.footprint_bytes();
            self.left_out += 1;
        }
        known.spans.add(from, until);
        known.untold.add(from, until);
        while known.spans.0.len() > MAX_SPANS {
            let Some((from, until)) = known.spans.0.pop_last() else { break };
            self.left_out += known.remove(from, until, &mut self.bytes);
            // What was told of it is taken back.
            known.untold.add(from, until);
            while known.untold.0.len() > MAX_SPANS {
                known.untold.0.pop_last();
            }
        }
    }

    /// The channel shows something else from now on: nothing is known of it, which is to be told.
    pub(crate) fn clear(&mut self, channel: ChannelId) {
        if let Some(known) = self.channels.get_mut(&channel) {
            known.remove(i64::MIN, i64::MAX, &mut self.bytes);
            known.untold = std::mem::take(&mut known.spans);
        }
    }

    /// The channel is no more this server's.
    pub(crate) fn forget(&mut self, channel: ChannelId) {
        if let Some(mut known) = self.channels.remove(&channel) {
            known.remove(i64::MIN, i64::MAX, &mut self.bytes);
        }
    }

    /// Whoever is told now may know nothing: all is to be told once more.
    pub(crate) fn tell_anew(&mut self) {
        self.channels.values_mut().for_each(Known::tell_anew);
    }

    /// The same for one channel.
    pub(crate) fn tell_channel_anew(&mut self, channel: ChannelId) {
        self.channels.get_mut(&channel).into_iter().for_each(Known::tell_anew);
    }

    /// Up to `count` schedules that have not been told, channel by channel in turn; they count as told.
    pub(crate) fn untold(&mut self, count: usize) -> Vec<Schedule> {
        let mut schedules = Vec::new();
        while schedules.len() < count {
            let turn = self.turn;
            let waits = |(_, known): &(&ChannelId, &mut Known)| !known.untold.0.is_empty();
            let (behind, before) = (|id: &ChannelId| Some(*id) > turn, |id: &ChannelId| Some(*id) <= turn);
            let next = self.channels.iter_mut().find(|entry| behind(entry.0) && waits(entry));
            let next = match next {
                Some(entry) => Some(entry),
                None => self.channels.iter_mut().find(|entry| before(entry.0) && waits(entry)),
            };
            let Some((&channel, known)) = next else { break };
            self.turn = Some(channel);
            schedules.extend(known.tell(channel));
        }
        schedules
    }

    /// Events that were left out for a limit.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }
}

impl Known {
    fn tell_anew(&mut self) {
        for (&from, &until) in &self.spans.0 {
            self.untold.add(from, until);
        }
    }

    /// Forgets the events that begin in these dates; returns how many.
    fn remove(&mut self, from: i64, until: i64, bytes: &mut usize) -> u64 {
        let gone: Vec<i64> = self.events.range(from..until).map(|(start, _)| *start).collect();
        for event in gone.iter().filter_map(|start| self.events.remove(start)) {
            *bytes -= event.footprint_bytes();
        }
        gone.len() as u64
    }

    /// Forgets where `event` was before it was moved: what is on says so by other times than the schedule did.
    fn remove_moved(&mut self, event: &Event, bytes: &mut usize) {
        let day = i64::from(MAX_MOVED_S);
        let near = event.start_unix_s.saturating_sub(day)..event.end_unix_s();
        let moved: Vec<i64> = self
            .events
            .range(near.start..near.end.max(near.start))
            .filter(|(start, other)| other.id == event.id && **start != event.start_unix_s)
            .filter(|(_, other)| other.overlaps(event.start_unix_s, event.end_unix_s()))
            .map(|(start, _)| *start)
            .collect();
        for start in moved {
            self.remove(start, start.saturating_add(1), bytes);
            self.untold.add(start, start.saturating_add(1));
        }
    }

    /// Forgets what ended before `unix_s`, of which nothing is to be told.
    fn forget_before(&mut self, unix_s: i64, bytes: &mut usize) {
        let over: Vec<i64> = self
            .events
            .range(..unix_s)
            .filter(|(_, event)| event.end_unix_s() <= unix_s)
            .map(|(start, _)| *start)
            .collect();
        for event in over.iter().filter_map(|start| self.events.remove(start)) {
            *bytes -= event.footprint_bytes();
        }
        let Self { events, spans, untold } = self;
        for spans in [spans, untold] {
            spans.0.retain(|&from, until| *until > unix_s || events.range(from..*until).next().is_some());
        }
    }

    /// The first of what is untold, as much as fits a schedule.
    fn tell(&mut self, channel: ChannelId) -> Option<Schedule> {
        let (from_unix_s, end) = self.untold.0.pop_first()?;
        let mut events = self.events.range(from_unix_s..end).map(|(_, event)| event.clone());
        let first: Vec<Event> = events.by_ref().take(MAX_EVENTS_PER_SCHEDULE).collect();
        let until_unix_s = events.next().map_or(end, |event| event.start_unix_s);
        if until_unix_s < end {
            self.untold.0.insert(until_unix_s, end);
        }
        Some(Schedule { channel, from_unix_s, until_unix_s, events: first })
    }
}

impl Spans {
    /// Adds dates; what touches becomes one.
    fn add(&mut self, mut from: i64, mut until: i64) {
        while let Some((&start, &end)) = self.0.range(..=until).next_back().filter(|(_, end)| **end >= from) {
            self.0.remove(&start);
            (from, until) = (from.min(start), until.max(end));
        }
        self.0.insert(from, until);
    }

    fn holds(&self, from: i64, until: i64) -> bool {
        self.0.range(..=from).next_back().is_some_and(|(_, end)| *end >= until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: i64 = 1_800_000_000;
    const HOUR: i64 = 3_600;

    fn schedule(channel: u32, from: i64, until: i64, starts: &[i64]) -> Schedule {
        let event = |&start: &i64| Event {
            start_unix_s: NOW_S + start,
            duration_s: 60,
            title: start.to_string(),
            ..Event::default()
        };
        let events = starts.iter().map(event).collect();
        Schedule {
            channel: ChannelId(channel),
            from_unix_s: NOW_S + from,
            until_unix_s: NOW_S + until,
            events,
        }
    }

    #[test]
    fn only_what_is_new_is_told_and_all_of_it_after_a_new_connection() {
        let mut book = GuideBook::default();
        book.take(NOW_S, schedule(1, 0, HOUR, &[0, 60]));
        book.take(NOW_S, schedule(2, 0, HOUR, &[0]));
        let told = book.untold(9);
        assert_eq!(told, [schedule(1, 0, HOUR, &[0, 60]), schedule(2, 0, HOUR, &[0])]);
        book.take(NOW_S, schedule(1, 0, HOUR, &[0, 60]));
        book.take(NOW_S, schedule(1, 0, 60, &[0]));
        assert!(book.untold(9).is_empty(), "known already");
        book.take(NOW_S, schedule(1, HOUR, 2 * HOUR, &[]));
        assert_eq!(book.untold(9), [schedule(1, HOUR, 2 * HOUR, &[])], "that nothing begins is told too");
        book.tell_anew();
        assert_eq!(book.untold(9), [schedule(2, 0, HOUR, &[0]), schedule(1, 0, 2 * HOUR, &[0, 60])]);
    }

    #[test]
    fn a_long_span_is_told_in_schedules_that_keep_the_limits_and_channels_take_turns() {
        let mut book = GuideBook::default();
        for part in 0..3 {
            let starts: Vec<i64> = (0..500).map(|n| part * 50_000 + n * 100).collect();
            book.take(NOW_S, schedule(1, part * 50_000, (part + 1) * 50_000, &starts));
        }
        book.take(NOW_S, schedule(2, 0, HOUR, &[0]));
        let first = book.untold(2);
        assert_eq!(
            first.iter().map(|it| (it.channel.0, it.events.len())).collect::<Vec<_>>(),
            [(1, 512), (2, 1)]
        );
        let rest = book.untold(9);
        assert!(first.iter().chain(&rest).all(Schedule::is_sound));
        let events = first.iter().chain(&rest).filter(|it| it.channel.0 == 1).flat_map(|it| &it.events);
        assert_eq!(events.count(), 1_500);
        assert_eq!(rest.last().map(|it| it.until_unix_s), Some(NOW_S + 150_000));
    }

    #[test]
    fn what_another_service_showed_is_taken_back() {
        let mut book = GuideBook::default();
        book.take(NOW_S, schedule(1, 0, HOUR, &[0]));
        book.untold(9);
        book.clear(ChannelId(1));
        assert_eq!(book.untold(9), [schedule(1, 0, HOUR, &[])]);
        book.forget(ChannelId(1));
        book.tell_anew();
        assert!(book.untold(9).is_empty() && book.bytes == 0);
    }

    #[test]
    fn an_event_that_begins_later_than_was_scheduled_is_there_once() {
        let mut book = GuideBook::default();
        let event =
            |id, start: i64| Event { id, start_unix_s: NOW_S + start, duration_s: 1_800, ..Event::default() };
        let scheduled = |starts: &[(u16, i64)]| Schedule {
            events: starts.iter().map(|&(id, start)| event(id, start)).collect(),
            ..schedule(1, 0, 2 * HOUR, &[])
        };
        book.take(NOW_S, scheduled(&[(1, 0), (2, 1_800), (1, 4_000)]));
        book.untold(9);
        let present = Schedule { events: vec![event(2, 2_100)], ..schedule(1, 2_100, 3_900, &[]) };
        book.take(NOW_S, present.clone());
        assert_eq!(book.untold(9), [schedule(1, 1_800, 1_801, &[]), present]);
        let starts: Vec<i64> =
            book.channels[&ChannelId(1)].events.keys().map(|start| start - NOW_S).collect();
        assert_eq!(starts, [0, 2_100, 4_000], "two apart of one number are two");
    }

    #[test]
    fn the_past_and_the_far_future_are_not_kept() {
        let mut book = GuideBook::default();
        book.take(NOW_S, schedule(1, 0, 100 * 86_400, &[0, 99 * 86_400]));
        assert_eq!(book.untold(9), [schedule(1, 0, MAX_AHEAD_S, &[0])]);
        book.take(NOW_S + 86_400, schedule(1, 86_400, 90_000, &[86_400]));
        assert_eq!(book.channels[&ChannelId(1)].events.len(), 1);
        let one = book.channels[&ChannelId(1)].events[&(NOW_S + 86_400)].footprint_bytes();
        assert_eq!(book.bytes, one);
    }

    #[test]
    fn gaps_of_the_past_cost_nothing_for_ever() {
        let mut book = GuideBook::default();
        for day in 0..2_000 {
            book.take(NOW_S + day * 86_400, schedule(1, day * 86_400, day * 86_400 + HOUR, &[day * 86_400]));
        }
        let known = &book.channels[&ChannelId(1)];
        assert!(known.spans.0.len() <= 2 && known.untold.0.len() <= 2, "{known:?}");
        assert_eq!((known.events.len(), book.left_out()), (1, 0));
    }

    #[test]
    fn of_too_many_events_those_that_begin_first_are_kept() {
        let mut book = GuideBook::default();
        for n in (0..5).rev() {
            let starts: Vec<i64> = (0..512).map(|it| (n * 512 + it) * 100).collect();
            book.take(NOW_S, schedule(1, n * 51_200, (n + 1) * 51_200, &starts));
        }
        let events = &book.channels[&ChannelId(1)].events;
        assert_eq!((events.len(), book.left_out()), (MAX_EVENTS_PER_CHANNEL, 512));
        assert_eq!(events.keys().next(), Some(&NOW_S));
    }

    #[test]
    fn it_is_bounded_whatever_a_multiplex_says() {
        let mut book = GuideBook::default();
        for n in 0..1_000 {
            book.take(NOW_S, schedule(1, n * 100, n * 100 + 50, &[n * 100]));
        }
        let known = &book.channels[&ChannelId(1)];
        assert_eq!((known.spans.0.len(), known.events.len()), (MAX_SPANS, MAX_SPANS));
        assert!(known.untold.0.len() <= MAX_SPANS && book.left_out() > 0);
        for n in 0..10 {
            let starts: Vec<i64> = (0..512).map(|it| n * 512 + it).collect();
            book.take(NOW_S, schedule(2, n * 512, (n + 1) * 512, &starts));
        }
        assert_eq!(book.channels[&ChannelId(2)].events.len(), MAX_EVENTS_PER_CHANNEL);
    }
}
