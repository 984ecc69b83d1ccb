//! What is recorded: which host holds what of which channel, and what people asked to keep of it.
//!
//! ```text
//! reports ──► slots of (channel, host) ──host has told all──► replica ──► stretches held ──► lists, thin or not
//! store ────────────────────────────────────────────────────────┘             ▲
//! Record, Unrecord ──► programmes ──► spans that hosts keep at any age ────────┘ what of each is held
//! ```
//!
//! A host that does not answer still holds what it told, and what the store remembers counts until the host has told
//! everything in a later life: a recording is not lost because somebody restarts. Nothing here decides what is recorded: that is the
//! topology's `record`.

mod book;
mod held;
mod judge;
mod list;
mod playable;
mod programmes;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocols::ids::{ChannelId, HostId};
use protocols::p2_directory::{ProgrammeEntry, RecordRefusal};
use protocols::recording::{MAX_EXTENTS, RecordingFault, RecordingId, Span};
use protocols::time::{ClusterTime, Time};
use protocols::timers::Timers;
use protocols::topology::{PushHost, Topology};

use self::book::{Book, Replica};
use self::judge::Judge;
pub(crate) use self::list::Verdict;
pub(crate) use self::playable::{Playable, Question};
use self::programmes::Programmes;
pub use self::programmes::{ORDER_EVERY, ORDERS_AT_ONCE};
use crate::presence::{Holding, Presence};
use crate::record::{Programme, Record, Remembered};

/// What is newer than this may still be on its way from hosts that lack it: a segment of a minute, and some to complete it.
pub const EDGE: Duration = Duration::from_mins(3);
/// Extents that are known of one host; what it tells beyond is not taken, and counted.
pub const MAX_EXTENTS_PER_HOST: usize = 65_536;

/// The catalogue of a site.
#[derive(Debug)]
pub struct Catalogue {
    channels: BTreeMap<ChannelId, Book>,
    programmes: Programmes,
    faults: BTreeMap<HostId, RecordingFault>,
    /// How many slots of each host are known.
    slots: BTreeMap<HostId, usize>,
    /// Of which a host has told something since it last had told all.
    unsettled: BTreeSet<(HostId, ChannelId)>,
    /// When to look again whether a channel is thin.
    looks: Timers<ChannelId>,
}

/// What the catalogue is read with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sight<'a> {
    pub(crate) topology: &'a Topology,
    pub(crate) presence: &'a Presence,
    pub(crate) time: ClusterTime,
}

impl Catalogue {
    /// What earlier lives left.
    pub fn new(remembered: &mut Remembered) -> Self {
        let mut channels: BTreeMap<ChannelId, Book> = BTreeMap::new();
        for (host, extent) in std::mem::take(&mut remembered.extents) {
            let replica = channels.entry(extent.channel).or_default().replicas.entry(host).or_default();
            replica.extents.insert(extent.from, extent);
        }
        Self {
            channels,
            programmes: Programmes::new(
                std::mem::take(&mut remembered.programmes),
                remembered.last_recording,
            ),
            faults: BTreeMap::new(),
            slots: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            looks: Timers::new(),
        }
    }

    /// A new topology: replicas of hosts that do not record their channel any more are forgotten. Returns what to store.
    pub(crate) fn take_up(&mut self, now: Time, topology: &Topology) -> Vec<Record> {
        let records = |host: &HostId, channel: ChannelId| {
            topology
                .hosts
                .get(host)
                .is_some_and(|host| host.record.is_some() && host.channels.contains(&channel))
        };
        let mut gone = Vec::new();
        for (channel, book) in &mut self.channels {
            let before = book.replicas.len();
            book.replicas.retain(|host, replica| {
                let stays = records(host, *channel);
                if !stays {
                    forget_slots(&mut self.slots, host, replica);
                    let extent_gone =
                        |from| Record::ExtentGone { host: host.clone(), channel: *channel, from };
                    gone.extend(replica.extents.keys().copied().map(extent_gone));
                }
                stays
            });
            if book.replicas.len() != before {
                book.held = None;
            }
            self.looks.set(*channel, now);
        }
        self.channels.retain(|_, book| !book.replicas.is_empty());
        self.unsettled.retain(|(host, channel)| records(host, *channel));
        self.faults.retain(|host, _| topology.hosts.contains_key(host));
        gone
    }

    /// A host says something of what it holds of a channel that it is to record. `false`: that is not taken.
    pub(crate) fn said(&mut self, host: &HostId, channel: ChannelId, holding: Holding) -> bool {
        let slots = self.slots.entry(host.clone()).or_default();
        let full = *slots >= MAX_EXTENTS_PER_HOST;
        let book = self.channels.entry(channel).or_default();
        let replica = book.replicas.entry(host.clone()).or_default();
        let taken = match holding {
            Holding::Known => {
                replica.known = true;
                true
            }
            Holding::Vacant(slot) => {
                *slots -= usize::from(replica.slots.remove(&slot).is_some());
                true
            }
            Holding::Extent(slot, extent) => {
                let fits = usize::from(slot) < MAX_EXTENTS && (!full || replica.slots.contains_key(&slot));
                if fits && extent.is_sound() {
                    *slots += usize::from(replica.slots.insert(slot, extent).is_none());
                }
                fits && extent.is_sound()
            }
        };
        self.unsettled.insert((host.clone(), channel));
        taken
    }

    /// A host has nothing more to say: what it told is what it holds. Returns the channels of which that is news; what to store is
    /// appended.
    pub(crate) fn told(&mut self, now: Time, host: &HostId, out: &mut Vec<Record>) -> Vec<ChannelId> {
        let first = (host.clone(), ChannelId(0));
        let own = self.unsettled.range(first..).take_while(|(other, _)| other == host);
        let channels: Vec<ChannelId> = own.map(|(_, channel)| *channel).collect();
        let mut changed = Vec::new();
        for channel in channels {
            self.unsettled.remove(&(host.clone(), channel));
            let Some(book) = self.channels.get_mut(&channel) else { continue };
            let Some(replica) = book.replicas.get_mut(host).filter(|replica| replica.known) else { continue };
            let before = out.len();
            replica.settle(host, channel, out);
            if out.len() > before {
                book.held = None;
                self.looks.set(channel, now + EDGE);
                changed.push(channel);
            }
        }
        changed
    }

    /// A host has restarted: what it holds counts as it is known until it has told anew.
    pub(crate) fn rebooted(&mut self, host: &HostId) {
        self.slots.remove(host);
        self.faults.remove(host);
        self.unsettled.retain(|(other, _)| other != host);
        for replica in self.channels.values_mut().filter_map(|book| book.replicas.get_mut(host)) {
            replica.slots.clear();
            replica.known = false;
        }
    }

    /// A host's recorder cannot write, or can again. Whether that is news.
    pub(crate) fn fault(&mut self, host: &HostId, fault: Option<RecordingFault>) -> bool {
        let before = match fault {
            Some(fault) => self.faults.insert(host.clone(), fault),
            None => self.faults.remove(host),
        };
        before != fault
    }

    /// What push servers of `channel` are to keep at any age.
    pub(crate) fn protected(&self, channel: ChannelId) -> Vec<Span> {
        Span::merged(self.programmes.of(channel).map(|programme| programme.span))
    }

    /// Somebody wants `span` of `channel` kept, which is on their list.
    pub(crate) fn record(
        &mut self,
        now: Time,
        channel: ChannelId,
        span: Span,
        title: String,
        sight: Sight<'_>,
    ) -> Result<(Programme, ProgrammeEntry), RecordRefusal> {
        if recorders(channel, sight.topology).next().is_none() {
            return Err(RecordRefusal::NotRecorded(channel));
        }
        if !span.is_empty() && span.to <= sight.time && !self.holds_some(channel, span) {
            return Err(RecordRefusal::NothingHeld);
        }
        self.programmes.admit(now)?;
        let programme = self.programmes.order(sight.time, channel, span, title)?;
        let recorders: Vec<&PushHost> = recorders(channel, sight.topology).collect();
        let judge = Judge::new(&recorders, self.protected(channel), sight.time);
        let held = self.channels.get_mut(&channel).map(Book::held).unwrap_or_default();
        let entry = judge.entry(&programme, held);
        Ok((programme, entry))
    }

    /// Somebody wants a recording kept no more; `listed` tells the channels on their list.
    pub(crate) fn unrecord(
        &mut self,
        now: Time,
        id: RecordingId,
        listed: &BTreeSet<ChannelId>,
    ) -> Result<Programme, RecordRefusal> {
        let unknown = RecordRefusal::UnknownRecording(id);
        if !self.programmes.get(id).is_some_and(|programme| listed.contains(&programme.channel)) {
            return Err(unknown);
        }
        self.programmes.admit(now)?;
        self.programmes.remove(id).ok_or(unknown)
    }

    /// Why `host` does not record, though it should.
    pub(crate) fn recorder_fault(&self, host: &HostId) -> Option<RecordingFault> {
        self.faults.get(host).copied()
    }

    /// A channel at which to look again.
    pub(crate) fn due(&mut self, now: Time) -> Option<ChannelId> {
        self.looks.pop(now)
    }

    /// When `due` has something.
    pub fn deadline(&self) -> Option<Time> {
        self.looks.due()
    }

    fn holds_some(&mut self, channel: ChannelId, span: Span) -> bool {
        let book = self.channels.get_mut(&channel);
        book.is_some_and(|book| book.held().iter().any(|held| !held.span.overlap(span).is_empty()))
    }
}

/// Hosts that are to record `channel`, by id.
pub(crate) fn recorders(channel: ChannelId, topology: &Topology) -> impl Iterator<Item = &PushHost> {
    topology.hosts_of(channel).filter(|host| host.record.is_some())
}

fn forget_slots(slots: &mut BTreeMap<HostId, usize>, host: &HostId, replica: &Replica) {
    if let Some(count) = slots.get_mut(host) {
        *count -= replica.slots.len().min(*count);
    }
}

fn count(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}
