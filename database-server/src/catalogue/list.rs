//! What clients are told of it, and when a channel is thin.

use std::collections::BTreeSet;

use protocols::ids::{ChannelId, HostId};
use protocols::p2_directory::{
    ChannelRecording, MAX_NAMED, MAX_RANGES_LISTED, ProgrammeEntry, Range, RangeState, RecorderFault,
    RecordingList,
};
use protocols::topology::PushHost;

use super::book::Book;
use super::held::Held;
use super::judge::Judge;
use super::{Catalogue, Sight, count, recorders};

/// A channel that has become thin, or is kept again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) channel: ChannelId,
    /// The hosts that lack something of it; empty: it is kept again, or differs.
    pub(crate) lacking: Vec<HostId>,
    pub(crate) thin: bool,
}

impl Catalogue {
    /// What is recorded of `listed` channels, or of one of them.
    pub(crate) fn list(
        &mut self,
        listed: &BTreeSet<ChannelId>,
        only: Option<ChannelId>,
        sight: Sight<'_>,
    ) -> RecordingList {
        let wanted =
            |channel: &ChannelId| listed.contains(channel) && only.is_none_or(|only| only == *channel);
        let mut list = RecordingList { time: sight.time, ..RecordingList::default() };
        for channel in listed.iter().copied().filter(wanted) {
            if let Some((recording, programmes)) = self.survey(channel, sight) {
                list.channels.extend((recording.recorders > 0).then_some(recording));
                list.programmes.extend(programmes);
            }
        }
        list.programmes.sort_by_key(|programme| programme.id);
        let all: usize = list.channels.iter().map(|channel| channel.ranges.len()).sum();
        if all > MAX_RANGES_LISTED {
            let each = MAX_RANGES_LISTED / list.channels.len();
            for channel in &mut list.channels {
                let excess = channel.ranges.len().saturating_sub(each);
                channel.ranges.drain(..excess);
                list.left_out += u32::try_from(excess).unwrap_or(u32::MAX);
            }
        }
        list
    }

    /// Whether `channel` has become thin, or is kept again, since that was last asked.
    pub(crate) fn judge(&mut self, channel: ChannelId, sight: Sight<'_>) -> Option<Verdict> {
        let (known, _) = self.survey(channel, sight)?;
        let bad = |range: &&Range| matches!(range.state, RangeState::Thin | RangeState::Differs);
        let mut bad = known.ranges.iter().filter(bad).peekable();
        let thin = bad.peek().is_some();
        let lacking: BTreeSet<HostId> = bad.flat_map(|range| range.lacking.iter().cloned()).collect();
        let book = self.channels.get_mut(&channel)?;
        if std::mem::replace(&mut book.thin, thin) == thin {
            return None;
        }
        Some(Verdict { channel, lacking: lacking.into_iter().collect(), thin })
    }

    /// What is held of `channel`, and of the programmes on it; `None`: the topology has no such channel.
    fn survey(
        &mut self,
        channel: ChannelId,
        sight: Sight<'_>,
    ) -> Option<(ChannelRecording, Vec<ProgrammeEntry>)> {
        let name = sight.topology.channels.get(&channel)?.name.clone();
        let recorders: Vec<&PushHost> = recorders(channel, sight.topology).collect();
        let judge = Judge::new(&recorders, self.protected(channel), sight.time);
        let held = self.channels.get_mut(&channel).map(Book::held).unwrap_or_default();
        let range = |held: &Held| {
            let away = |host: &&HostId| sight.presence.get(host).is_none_or(|known| !known.alive);
            let lacking = recorders.iter().map(|host| &host.id).filter(|id| !held.holders.contains(*id));
            Range {
                span: held.span,
                bytes: held.bytes,
                replicas: count(held.holders.len()),
                away: count(held.holders.iter().filter(away).count()),
                state: judge.state(held),
                lacking: lacking.take(MAX_NAMED).cloned().collect(),
            }
        };
        let ranges = held.iter().map(range).collect();
        let fault = |host: &&PushHost| {
            let fault = *self.faults.get(&host.id)?;
            Some(RecorderFault { host: host.id.clone(), fault })
        };
        let faults = recorders.iter().filter_map(fault).take(MAX_NAMED).collect();
        let programmes = self.programmes.of(channel).map(|programme| judge.entry(programme, held));
        let recording = ChannelRecording { channel, name, recorders: count(recorders.len()), faults, ranges };
        Some((recording, programmes.collect()))
    }
}
