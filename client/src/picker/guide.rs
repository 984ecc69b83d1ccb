//! What is known of the channels beside the list: what is on and next, what is kept, at which rate.
//!
//! What is on is told by the programme guide; for channels of which it knows nothing, by what people ordered to be recorded.

use std::collections::BTreeMap;
use std::time::Duration;

use protocols::guide::Event;
use protocols::ids::ChannelId;
use protocols::p2_directory::{ChannelGuide, ChannelList, ChannelRecording, ProgrammeEntry, RecordingList};
use protocols::recording::Span;
use protocols::time::{ClusterClock, ClusterTime, Time};

use crate::guide::{cluster_time, unix_s};

/// A recording that begins later than this is not what comes next.
const NEXT_WITHIN: Duration = Duration::from_hours(24);
/// A recording's rate is told from this length on: shorter ones are mostly their first picture.
const RATE_FROM: Duration = Duration::from_secs(5);

/// Something that is on, or will be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Showing<'a> {
    pub(super) title: &'a str,
    /// Empty where nobody knows when it ends.
    pub(super) span: Span,
}

impl<'a> Showing<'a> {
    fn of_event(event: &'a Event) -> Self {
        let span = Span { from: cluster_time(event.start_unix_s), to: cluster_time(event.end_unix_s()) };
        Self { title: &event.title, span }
    }

    fn of_programme(entry: &'a ProgrammeEntry) -> Self {
        Self { title: &entry.title, span: entry.span }
    }
}

/// What is known. All of it is of the channels of one list, and goes with it.
#[derive(Debug, Default)]
pub(super) struct Guide {
    clock: Option<ClusterClock>,
    recordings: Option<RecordingList>,
    /// What channels show, as their broadcasters announce it.
    announced: BTreeMap<ChannelId, Vec<Event>>,
    /// Rates measured while a channel was watched, bits per second.
    measured: BTreeMap<ChannelId, u64>,
}

impl Guide {
    /// Takes the date of a list that has just come, and forgets channels that it has not.
    pub(super) fn set_list(&mut self, now: Time, list: &ChannelList) {
        self.set_clock(now, list.time);
        self.measured.retain(|channel, _| list.channels.iter().any(|entry| entry.id == *channel));
    }

    /// Takes what is recorded, as of now.
    pub(super) fn set_recordings(&mut self, now: Time, list: RecordingList) {
        self.set_clock(now, list.time);
        self.recordings = Some(list);
    }

    /// Takes what is on and next, as of `time`.
    pub(super) fn set_programmes(&mut self, now: Time, time: ClusterTime, guide: Vec<ChannelGuide>) {
        self.set_clock(now, time);
        self.announced = guide.into_iter().map(|channel| (channel.channel, channel.events)).collect();
    }

    /// Takes the rate at which a channel is being received; 0 tells nothing.
    pub(super) fn set_rate(&mut self, channel: ChannelId, rate_bps: u64) {
        if rate_bps > 0 {
            self.measured.insert(channel, rate_bps);
        }
    }

    /// The date, by the database server's clock, which dates recordings; `None` before it is known.
    pub(super) fn date(&self, now: Time) -> Option<ClusterTime> {
        self.clock.map(|clock| clock.at(now))
    }

    /// What is on.
    pub(super) fn on(&self, now: Time, channel: ChannelId) -> Option<Showing<'_>> {
        let date = self.date(now)?;
        if let Some(events) = self.announced.get(&channel) {
            let on = |event: &&Event| event.overlaps(unix_s(date), unix_s(date).saturating_add(1));
            // Of two that overlap the later is what was announced last.
            return events.iter().rfind(on).map(Showing::of_event);
        }
        let on = |entry: &&ProgrammeEntry| entry.span.from <= date && date < entry.span.to;
        self.programmes(channel).find(on).map(Showing::of_programme)
    }

    /// What begins next, within a day.
    pub(super) fn next(&self, now: Time, channel: ChannelId) -> Option<Showing<'_>> {
        let date = self.date(now)?;
        let coming =
            |showing: &Showing<'_>| date < showing.span.from && showing.span.from <= date + NEXT_WITHIN;
        if let Some(events) = self.announced.get(&channel) {
            return events.iter().map(Showing::of_event).find(coming);
        }
        let coming = |entry: &&ProgrammeEntry| coming(&Showing::of_programme(entry));
        let next = self.programmes(channel).filter(coming).min_by_key(|entry| (entry.span.from, entry.id));
        next.map(Showing::of_programme)
    }

    /// Whether one can go back in the channel: something of it is kept, or somebody records it; what is newest is listed a minute late.
    pub(super) fn is_recorded(&self, channel: ChannelId) -> bool {
        let records = |kept: &ChannelRecording| kept.faults.len() < usize::from(kept.recorders);
        self.kept(channel).is_some_and(|kept| !kept.ranges.is_empty() || records(kept))
    }

    /// Bits per second: as last received here, else the mean of what was last recorded.
    pub(super) fn rate_bps(&self, channel: ChannelId) -> Option<u64> {
        self.measured.get(&channel).copied().or_else(|| {
            let newest =
                self.kept(channel)?.ranges.iter().rev().find(|range| range.span.length() >= RATE_FROM)?;
            let length_ms = u64::try_from(newest.span.length().as_millis()).ok()?;
            newest.bytes.checked_mul(8_000)?.checked_div(length_ms)
        })
    }

    fn set_clock(&mut self, now: Time, date: ClusterTime) {
        // A list that was never dated says nothing of the time.
        if date != ClusterTime(0) {
            self.clock = Some(ClusterClock::new(now, date));
        }
    }

    fn programmes(&self, channel: ChannelId) -> impl Iterator<Item = &ProgrammeEntry> {
        let programmes = self.recordings.iter().flat_map(|list| &list.programmes);
        programmes.filter(move |entry| entry.channel == channel)
    }

    fn kept(&self, channel: ChannelId) -> Option<&ChannelRecording> {
        self.recordings.as_ref()?.channels.iter().find(|kept| kept.channel == channel)
    }
}
