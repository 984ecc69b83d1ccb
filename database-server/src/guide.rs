//! The programme guide: what acquisition servers have read of it from their multiplexes.
//!
//! ```text
//! Schedule of a channel ─► Guide ─► only what differs ─► store
//!                            └────► pages for clients
//! ```
//!
//! It is bounded by [`protocols::guide::MAX_GUIDE_BYTES`], whatever broadcasters announce, and by what is worth keeping of a channel
//! ([`protocols::guide`]). A week of 200 channels, 67,200 programmes, takes about a third of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use protocols::guide::{
    Event, KEPT_AFTER_END_S, MAX_AHEAD_S, MAX_EVENTS_PER_CHANNEL, MAX_GUIDE_BYTES, Schedule,
};
use protocols::ids::ChannelId;
use protocols::p2_directory::{ChannelGuide, GuidePage, GuidePlace, GuideQuery, MAX_EVENTS_PER_PAGE};
use protocols::time::{ClusterTime, Time};

use crate::record::Record;

/// How often events that are over are dropped.
pub const SWEEP_INTERVAL: Duration = Duration::from_mins(10);
/// What is known of all channels.
#[derive(Debug, Default)]
pub struct Guide {
    channels: BTreeMap<ChannelId, BTreeMap<i64, Arc<Event>>>,
    events: usize,
    bytes: usize,
    sweep: Option<Time>,
}

/// What a schedule came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Events that were new or other than before, and such as are no more announced.
    pub changed: u64,
    /// Events that were left out: over, too far ahead, too many of their channel, or no room.
    pub left_out: u64,
}

impl Guide {
    /// What earlier lives left.
    pub fn new(remembered: Vec<(ChannelId, Event)>) -> Self {
        let mut guide = Self::default();
        for (channel, event) in remembered {
            guide.insert(channel, event);
        }
        guide
    }

    /// How many events are known.
    pub fn len(&self) -> usize {
        self.events
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// What it takes, by its own account; at most [`MAX_GUIDE_BYTES`].
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a sound schedule in the place of what was known of its dates; what has changed goes to `records`.
    pub fn replace(&mut self, time: ClusterTime, schedule: Schedule, records: &mut Vec<Record>) -> Taken {
        let Schedule { channel, from_unix_s, until_unix_s, events } = schedule;
        let mut taken = Taken::default();
        let announced: BTreeSet<i64> = events.iter().map(|event| event.start_unix_s).collect();
        let known = self.channels.get(&channel);
        let starts = known
            .into_iter()
            .flat_map(|known| known.range(from_unix_s..until_unix_s.max(from_unix_s)))
            .map(|(start, _)| *start);
        let gone: Vec<i64> = starts.filter(|start| !announced.contains(start)).collect();
        for start_unix_s in gone {
            self.remove(channel, start_unix_s);
            records.push(Record::GuideGone { channel, start_unix_s });
            taken.changed += 1;
        }
        let now = unix_s(time);
        for event in events {
            let start_unix_s = event.start_unix_s;
            let known = self.channels.get(&channel).and_then(|known| known.get(&start_unix_s));
            if known.is_some_and(|known| **known == event) {
                continue;
            }
            let worth = event.end_unix_s() > now - KEPT_AFTER_END_S && start_unix_s < now + MAX_AHEAD_S;
            let was_known = self.remove(channel, start_unix_s);
            let kept = if worth { self.insert(channel, event) } else { None };
            if let Some(event) = kept {
                records.push(Record::GuideEvent { channel, event });
                taken.changed += 1;
            } else {
                taken.left_out += 1;
                if was_known {
                    records.push(Record::GuideGone { channel, start_unix_s });
                }
            }
        }
        let excess = |known: &BTreeMap<i64, _>| known.len() > MAX_EVENTS_PER_CHANNEL;
        while let Some((&start_unix_s, _)) =
            self.channels.get(&channel).filter(|known| excess(known)).and_then(BTreeMap::last_key_value)
        {
            self.remove(channel, start_unix_s);
            records.push(Record::GuideGone { channel, start_unix_s });
            taken.left_out += 1;
        }
        taken
    }

    /// Forgets channels that are not `declared`.
    pub fn retain(&mut self, declared: impl Fn(ChannelId) -> bool, records: &mut Vec<Record>) {
        let gone: Vec<ChannelId> = self.channels.keys().copied().filter(|id| !declared(*id)).collect();
        for channel in gone {
            for event in self.channels.remove(&channel).into_iter().flat_map(BTreeMap::into_values) {
                self.events -= 1;
                self.bytes -= event.footprint_bytes();
            }
            records.push(Record::GuideChannelGone { channel });
        }
    }

    /// Forgets a channel.
    pub fn forget(&mut self, channel: ChannelId, records: &mut Vec<Record>) {
        if self.channels.contains_key(&channel) {
            self.retain(|id| id != channel, records);
        }
    }

    /// Drops what has been over for long, at most once in [`SWEEP_INTERVAL`].
    pub fn sweep(&mut self, now: Time, time: ClusterTime, records: &mut Vec<Record>) {
        if self.sweep.is_some_and(|due| now < due) {
            return;
        }
        self.sweep = Some(now + SWEEP_INTERVAL);
        let before_unix_s = unix_s(time) - KEPT_AFTER_END_S;
        let over: Vec<(ChannelId, i64)> = self
            .channels
            .iter()
            .flat_map(|(channel, events)| events.range(..before_unix_s).map(|(_, event)| (*channel, event)))
            .filter(|(_, event)| event.end_unix_s() <= before_unix_s)
            .map(|(channel, event)| (channel, event.start_unix_s))
            .collect();
        for (channel, start_unix_s) in &over {
            self.remove(*channel, *start_unix_s);
        }
        if !over.is_empty() {
            records.push(Record::GuideOver { before_unix_s });
        }
    }

    /// When [`Self::sweep`] has something to look at.
    pub fn deadline(&self) -> Option<Time> {
        if self.is_empty() { None } else { Some(self.sweep.unwrap_or(Time::ZERO)) }
    }

    /// What was asked for, of the channels that are `listed`.
    pub fn page(&self, time: ClusterTime, query: &GuideQuery, listed: &BTreeSet<ChannelId>) -> GuidePage {
        let mut page = GuidePage { time, channels: Vec::new(), more: None };
        let first = query.after.map_or(ChannelId(0), |after| after.channel);
        let wanted = |id: &ChannelId| query.channel.is_none_or(|only| only == *id);
        let mut room = MAX_EVENTS_PER_PAGE;
        let mut last = None;
        for channel in listed.range(first..).filter(|id| wanted(id)) {
            let Some(known) = self.channels.get(channel) else { continue };
            let mut events = Vec::new();
            for event in self::events(known, query) {
                let place = GuidePlace { channel: *channel, start_unix_s: event.start_unix_s };
                if query.after.is_some_and(|after| place <= after) {
                    continue;
                }
                if room == 0 {
                    page.more = last;
                    break;
                }
                room -= 1;
                last = Some(place);
                events.push(told(event, query.descriptions));
            }
            if !events.is_empty() {
                page.channels.push(ChannelGuide { channel: *channel, events });
            }
            if page.more.is_some() {
                break;
            }
        }
        page
    }

    fn insert(&mut self, channel: ChannelId, event: Event) -> Option<Arc<Event>> {
        if self.bytes + event.footprint_bytes() > MAX_GUIDE_BYTES {
            return None;
        }
        let event = Arc::new(event);
        self.bytes += event.footprint_bytes();
        self.events += 1;
        let known = self.channels.entry(channel).or_default();
        if let Some(before) = known.insert(event.start_unix_s, Arc::clone(&event)) {
            self.bytes -= before.footprint_bytes();
            self.events -= 1;
        }
        Some(event)
    }

    fn remove(&mut self, channel: ChannelId, start_unix_s: i64) -> bool {
        let Some(known) = self.channels.get_mut(&channel) else { return false };
        let Some(event) = known.remove(&start_unix_s) else { return false };
        if known.is_empty() {
            self.channels.remove(&channel);
        }
        self.events -= 1;
        self.bytes -= event.footprint_bytes();
        true
    }
}

/// Events of one channel within the dates of `query`, the first so many.
fn events<'a>(
    known: &'a BTreeMap<i64, Arc<Event>>,
    query: &GuideQuery,
) -> impl Iterator<Item = &'a Event> + use<'a> {
    let GuideQuery { from_unix_s, until_unix_s, per_channel, .. } = *query;
    known
        .range(..until_unix_s)
        .map(|(_, event)| &**event)
        .filter(move |event| event.overlaps(from_unix_s, until_unix_s))
        .take(usize::from(per_channel))
}

fn told(event: &Event, descriptions: bool) -> Event {
    if descriptions {
        return event.clone();
    }
    Event {
        id: event.id,
        start_unix_s: event.start_unix_s,
        duration_s: event.duration_s,
        title: event.title.clone(),
        text: event.text.clone(),
        description: String::new(),
        language: event.language.clone(),
        content: event.content,
        least_age: event.least_age,
    }
}

fn unix_s(time: ClusterTime) -> i64 {
    i64::try_from(time.0 / 1000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: i64 = 1_800_000_000;
    const NOW: ClusterTime = ClusterTime(1_800_000_000_000);
    const ALL: GuideQuery = GuideQuery {
        channel: None,
        from_unix_s: i64::MIN,
        until_unix_s: i64::MAX,
        per_channel: u16::MAX,
        descriptions: true,
        after: None,
    };

    fn event(start_unix_s: i64, title: &str) -> Event {
        Event { start_unix_s, duration_s: 1_800, title: title.to_owned(), ..Event::default() }
    }

    fn schedule(channel: u32, from: i64, until: i64, events: Vec<Event>) -> Schedule {
        Schedule { channel: ChannelId(channel), from_unix_s: from, until_unix_s: until, events }
    }

    /// A day of half hours.
    fn day(channel: u32, day: i64) -> Schedule {
        let from = NOW_S + day * 86_400;
        let text = "It begins in a village by the sea. ".repeat(8);
        let programme = |half_hour: i64| Event {
            description: text.clone(),
            language: Some("eng".to_owned()),
            ..event(from + half_hour * 1_800, &format!("Programme {half_hour} of {channel}"))
        };
        schedule(channel, from, from + 86_400, (0..48).map(programme).collect())
    }

    fn listed(channels: u32) -> BTreeSet<ChannelId> {
        (1..=channels).map(ChannelId).collect()
    }

    fn titles(page: &GuidePage) -> Vec<&str> {
        page.channels.iter().flat_map(|channel| &channel.events).map(|event| event.title.as_str()).collect()
    }

    #[test]
    fn a_schedule_replaces_what_was_known_of_its_dates_and_nothing_else() {
        let mut guide = Guide::default();
        let mut records = Vec::new();
        let first = vec![event(NOW_S, "a"), event(NOW_S + 1_800, "b"), event(NOW_S + 3_600, "c")];
        guide.replace(NOW, schedule(1, NOW_S, NOW_S + 7_200, first), &mut records);
        assert_eq!(records.len(), 3);
        records.clear();
        let second = schedule(1, NOW_S + 900, NOW_S + 3_600, vec![event(NOW_S + 2_000, "B")]);
        let taken = guide.replace(NOW, second.clone(), &mut records);
        assert_eq!(titles(&guide.page(NOW, &ALL, &listed(1))), ["a", "B", "c"]);
        assert_eq!(taken, Taken { changed: 2, left_out: 0 });
        let gone = Record::GuideGone { channel: ChannelId(1), start_unix_s: NOW_S + 1_800 };
        let new = Arc::new(event(NOW_S + 2_000, "B"));
        assert_eq!(records, [gone, Record::GuideEvent { channel: ChannelId(1), event: new }]);
        records.clear();
        assert_eq!(guide.replace(NOW, second, &mut records), Taken::default());
        assert!(records.is_empty(), "told again, it costs the disk nothing");
    }

    #[test]
    fn what_is_over_is_swept_and_what_is_too_far_ahead_is_not_taken() {
        let mut guide = Guide::default();
        let mut records = Vec::new();
        let far = NOW_S + MAX_AHEAD_S;
        let events = vec![event(NOW_S - 86_400, "over"), event(NOW_S, "on"), event(far, "far")];
        let taken = guide.replace(NOW, schedule(1, 0, far + 1, events), &mut records);
        assert_eq!((taken.left_out, records.len()), (2, 1));
        let later = |s: i64| ClusterTime(NOW.0 + s.cast_unsigned() * 1_000);
        let (keep, now) = (KEPT_AFTER_END_S, Time::from_ms(1));
        guide.sweep(now, later(1_799 + keep), &mut records);
        assert_eq!((guide.len(), guide.deadline()), (1, Some(now + SWEEP_INTERVAL)));
        guide.sweep(now, later(1_800 + keep), &mut records);
        assert_eq!(guide.len(), 1, "swept a moment ago");
        records.clear();
        guide.sweep(now + SWEEP_INTERVAL, later(1_800 + keep), &mut records);
        assert_eq!((guide.len(), guide.bytes(), guide.deadline()), (0, 0, None));
        assert_eq!(records, [Record::GuideOver { before_unix_s: NOW_S + 1_800 }]);
    }

    #[test]
    fn now_and_next_are_the_first_two_that_are_not_over() {
        let mut guide = Guide::default();
        let events = (0..4).map(|n| event(NOW_S + n * 1_800, &n.to_string())).collect();
        guide.replace(NOW, schedule(1, NOW_S, NOW_S + 7_200, events), &mut Vec::new());
        let query = GuideQuery { from_unix_s: NOW_S + 1_801, per_channel: 2, ..ALL };
        assert_eq!(titles(&guide.page(NOW, &query, &listed(1))), ["1", "2"]);
        assert_eq!(titles(&guide.page(NOW, &query, &listed(0))), [""; 0]);
    }

    #[test]
    fn pages_together_are_the_whole_guide() {
        let mut guide = Guide::default();
        for channel in 1..=30 {
            for n in 0..2 {
                guide.replace(NOW, day(channel, n), &mut Vec::new());
            }
        }
        let (mut after, mut seen, mut pages) = (None, Vec::new(), 0);
        loop {
            let page = guide.page(NOW, &GuideQuery { after, descriptions: false, ..ALL }, &listed(30));
            let places = page.channels.iter().flat_map(|channel| {
                channel.events.iter().map(|event| (channel.channel, event.start_unix_s, event.title.clone()))
            });
            let before = seen.len();
            seen.extend(places);
            assert!(seen.len() - before <= MAX_EVENTS_PER_PAGE);
            pages += 1;
            after = page.more;
            if after.is_none() {
                break;
            }
        }
        assert_eq!((seen.len(), pages), (30 * 96, 6));
        assert!(seen.is_sorted() && seen.iter().collect::<BTreeSet<_>>().len() == seen.len());
        let one = GuideQuery { channel: Some(ChannelId(7)), ..ALL };
        let page = guide.page(NOW, &one, &listed(30));
        assert_eq!((page.channels.len(), page.more), (1, None));
        assert!(!page.channels[0].events[0].description.is_empty());
    }

    /// Goal: a week of 200 channels stays within the stated bound, and told twice takes nothing more.
    #[test]
    fn a_week_of_two_hundred_channels_told_twice_takes_no_more_than_once() {
        let mut guide = Guide::default();
        let mut records = Vec::new();
        let tell = |guide: &mut Guide, records: &mut Vec<Record>| {
            for channel in 1..=200 {
                for n in 0..7 {
                    guide.replace(NOW, day(channel, n), records);
                }
            }
        };
        tell(&mut guide, &mut records);
        let once = (guide.len(), guide.bytes());
        assert_eq!((once.0, records.len()), (67_200, 67_200));
        assert!(once.1 < MAX_GUIDE_BYTES / 2, "{once:?}");
        records.clear();
        tell(&mut guide, &mut records);
        assert_eq!((guide.len(), guide.bytes()), once);
        assert!(records.is_empty());
        guide.retain(|channel| channel.0 > 100, &mut records);
        assert_eq!((guide.len(), records.len()), (33_600, 100));
        guide.retain(|_| false, &mut records);
        assert_eq!((guide.len(), guide.bytes()), (0, 0));
    }

    #[test]
    fn a_channel_keeps_so_many_and_the_whole_guide_so_much() {
        let mut guide = Guide::default();
        let mut records = Vec::new();
        let mut left_out = 0;
        for n in 0..5_i64 {
            let from = NOW_S + n * 512 * 60;
            let events = (0..512).map(|minute| event(from + minute * 60, "x")).collect();
            left_out += guide.replace(NOW, schedule(1, from, from + 512 * 60, events), &mut records).left_out;
        }
        assert_eq!((guide.len(), left_out), (MAX_EVENTS_PER_CHANNEL, 512));
        let long = |start| Event { description: "x".repeat(2_048), ..event(start, "x") };
        for channel in 2.. {
            let events = (0..512).map(|n| long(NOW_S + n)).collect();
            if guide.replace(NOW, schedule(channel, NOW_S, NOW_S + 512, events), &mut records).left_out > 0 {
                break;
            }
            assert!(channel < 1_000);
        }
        assert!(guide.bytes() <= MAX_GUIDE_BYTES && guide.bytes() > MAX_GUIDE_BYTES - 4_096);
    }
}
