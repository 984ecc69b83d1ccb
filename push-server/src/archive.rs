//! What this host holds of each channel, as the recorder last said, in slots: so that an extent which grows, shrinks or
//! joins another keeps its name, and each change of it is one line of a report.
//!
//! ```text
//! Input::Extents ──► at most once in EXTENTS_INTERVAL and channel ──► slots ──► numbers of those that changed
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocols::ids::ChannelId;
use protocols::recording::{Extent, MAX_EXTENTS};
use protocols::time::Time;

/// Changes of one channel's extents are taken up at most this often; what comes in between waits, the newest of it.
pub const EXTENTS_INTERVAL: Duration = Duration::from_secs(2);

/// The extents of all channels that a host has ever recorded and still holds.
#[derive(Debug, Default)]
pub struct Archive {
    channels: BTreeMap<ChannelId, Held>,
    due: BTreeSet<(Time, ChannelId)>,
    left_out: u64,
}

#[derive(Debug, Default)]
struct Held {
    /// At most [`MAX_EXTENTS`]; a vacant one stays, to be told of and used again.
    slots: Vec<Option<Extent>>,
    next: Time,
    waiting: Option<Vec<Extent>>,
}

impl Archive {
    /// The recorder says what it holds of `channel`, all of it. Answers the slots that are to be told of, or `None` when
    /// that has to wait.
    pub fn hear(&mut self, now: Time, channel: ChannelId, extents: Vec<Extent>) -> Option<Vec<u16>> {
        let held = self.channels.entry(channel).or_default();
        if now < held.next {
            if held.waiting.replace(extents).is_none() {
                self.due.insert((held.next, channel));
            }
            return None;
        }
        Some(self.take_up(now, channel, extents))
    }

    /// A channel whose waiting extents are due, and its slots that are to be told of.
    pub fn next_due(&mut self, now: Time) -> Option<(ChannelId, Vec<u16>)> {
        let (_, channel) = *self.due.first().filter(|(at, _)| *at <= now)?;
        self.due.pop_first();
        let extents = self.channels.get_mut(&channel)?.waiting.take()?;
        Some((channel, self.take_up(now, channel, extents)))
    }

    /// When [`Self::next_due`] has something.
    pub fn deadline(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Whether the recorder has said what it holds of `channel`.
    pub fn knows(&self, channel: ChannelId) -> bool {
        self.channels.contains_key(&channel)
    }

    /// What is in a slot of `channel`; `None`: vacant, or never used.
    pub fn extent(&self, channel: ChannelId, slot: u16) -> Option<Extent> {
        *self.channels.get(&channel)?.slots.get(usize::from(slot))?
    }

    /// Slots of `channel` that were ever used.
    pub fn slots(&self, channel: ChannelId) -> impl Iterator<Item = u16> + use<> {
        let count = self.channels.get(&channel).map_or(0, |held| held.slots.len());
        0..u16::try_from(count).unwrap_or(u16::MAX)
    }

    /// Extents that were too many to be told of, and those that no extent can be, since the start.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    fn take_up(&mut self, now: Time, channel: ChannelId, mut extents: Vec<Extent>) -> Vec<u16> {
        let said = extents.len();
        extents.retain(|extent| extent.channel == channel && extent.is_sound());
        extents.sort_unstable_by_key(|extent| extent.from);
        let excess = extents.len().saturating_sub(MAX_EXTENTS);
        extents.drain(..excess);
        self.left_out += (said - extents.len()) as u64;
        let held = self.channels.entry(channel).or_default();
        held.next = now + EXTENTS_INTERVAL;
        held.place(extents)
    }
}

impl Held {
    /// Puts each extent where one of equal beginning was, else where one that it overlaps was, else where nothing is.
    fn place(&mut self, extents: Vec<Extent>) -> Vec<u16> {
        let before = std::mem::take(&mut self.slots);
        self.slots = vec![None; before.len()];
        let by_from: BTreeMap<_, usize> = (0..).zip(&before).filter_map(by_beginning).collect();
        let mut homeless = Vec::new();
        for extent in extents {
            match by_from.get(&extent.from) {
                Some(slot) => self.slots[*slot] = Some(extent),
                None => homeless.push(extent),
            }
        }
        for extent in homeless {
            let mut near = by_from.range(..extent.to).rev().map(|(_, slot)| *slot);
            let near = near.find(|slot| {
                let overlaps = before[*slot].is_some_and(|old| !old.span().overlap(extent.span()).is_empty());
                overlaps && self.slots[*slot].is_none()
            });
            match near.or_else(|| self.slots.iter().position(Option::is_none)) {
                Some(slot) => self.slots[slot] = Some(extent),
                None => self.slots.push(Some(extent)),
            }
        }
        let changed = (0..).zip(&self.slots).filter(|(slot, now)| before.get(*slot) != Some(*now));
        changed.map(|(slot, _)| u16::try_from(slot).expect("slots are at most MAX_EXTENTS")).collect()
    }
}

fn by_beginning((slot, extent): (usize, &Option<Extent>)) -> Option<(protocols::time::ClusterTime, usize)> {
    extent.map(|extent| (extent.from, slot))
}

#[cfg(test)]
mod tests {
    use protocols::recording::Digest;
    use protocols::time::ClusterTime;

    use super::*;

    const CHANNEL: ChannelId = ChannelId(1);

    fn extent(from: u64, to: u64) -> Extent {
        let (from, to) = (ClusterTime(from), ClusterTime(to));
        Extent { channel: CHANNEL, from, to, segments: 1, bytes: 1, digest: Digest::default() }
    }

    fn at(seconds: u64) -> Time {
        Time::from_ms(seconds * 1000)
    }

    #[test]
    fn an_extent_that_grows_shrinks_or_joins_keeps_its_slot_and_nothing_else_is_told() {
        let mut archive = Archive::default();
        assert_eq!(archive.hear(at(0), CHANNEL, vec![extent(0, 10), extent(20, 30)]), Some(vec![0, 1]));
        assert_eq!(archive.hear(at(10), CHANNEL, vec![extent(0, 10), extent(20, 40)]), Some(vec![1]));
        assert_eq!(archive.hear(at(20), CHANNEL, vec![extent(5, 10), extent(20, 40)]), Some(vec![0]));
        assert_eq!(archive.hear(at(30), CHANNEL, vec![extent(5, 40)]), Some(vec![0, 1]));
        assert_eq!((archive.extent(CHANNEL, 0), archive.extent(CHANNEL, 1)), (Some(extent(5, 40)), None));
        // A hole in the middle: the new extent goes where nothing is.
        assert_eq!(archive.hear(at(40), CHANNEL, vec![extent(5, 8), extent(9, 40)]), Some(vec![0, 1]));
        assert_eq!(archive.hear(at(50), CHANNEL, vec![extent(5, 8), extent(9, 40)]), Some(vec![]));
        assert_eq!(archive.slots(CHANNEL).count(), 2);
    }

    #[test]
    fn what_comes_too_soon_waits_and_only_the_newest_of_it_counts() {
        let mut archive = Archive::default();
        assert_eq!(archive.hear(at(0), CHANNEL, vec![extent(0, 10)]), Some(vec![0]));
        assert_eq!(archive.hear(at(1), CHANNEL, vec![extent(0, 11)]), None);
        assert_eq!(archive.hear(at(1), CHANNEL, vec![extent(0, 12)]), None);
        assert_eq!((archive.next_due(at(1)), archive.deadline()), (None, Some(at(2))));
        assert_eq!(archive.next_due(at(2)), Some((CHANNEL, vec![0])));
        assert_eq!(archive.extent(CHANNEL, 0), Some(extent(0, 12)));
        assert_eq!((archive.next_due(at(9)), archive.deadline()), (None, None));
    }

    #[test]
    fn of_too_many_extents_the_newest_are_held_and_impossible_ones_are_left_out() {
        let mut archive = Archive::default();
        let many = (0..MAX_EXTENTS as u64 + 44).map(|n| extent(n * 10 + 1, n * 10 + 5));
        let impossible = [extent(9, 9), Extent { segments: 0, ..extent(1, 2) }];
        let told = archive.hear(at(0), CHANNEL, many.chain(impossible).collect()).unwrap();
        assert_eq!((told.len(), archive.left_out()), (MAX_EXTENTS, 46));
        assert_eq!(archive.extent(CHANNEL, 0), Some(extent(441, 445)));
    }
}
