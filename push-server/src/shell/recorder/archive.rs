//! What is kept, by channel and date: the list that recorder threads add to, the keeper weeds, and players read from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use protocols::ids::ChannelId;
use protocols::recording::{Extent, RecordOrder};
use std::{fs, io};

use super::disk::{self, Paths};
use super::reader::{Cursor, SegmentReader};
use super::writer::Growing;
use crate::recording::extents;
use crate::recording::retention::{self, Candidate};
use crate::recording::segment::SEGMENT_MS;
use crate::recording::{Segment, SegmentName};
use crate::replication::{Concern, Own};

/// What is known of a segment on the disk.
#[derive(Debug, Clone)]
pub enum Held {
    /// It is being written.
    Growing(Arc<Growing>),
    /// It is complete.
    Complete(Segment),
    /// Its recorder did not complete it, or nobody has looked at it yet: not listed until it is mended.
    Unfinished,
    /// Its packets are not those that were recorded: it counts as missing.
    Damaged,
}

type Segments = BTreeMap<SegmentName, Held>;

/// The recordings of one host.
#[derive(Debug)]
pub struct Archive {
    root: PathBuf,
    channels: RwLock<BTreeMap<ChannelId, Segments>>,
    orders: RwLock<BTreeMap<ChannelId, RecordOrder>>,
    changed: Mutex<BTreeSet<ChannelId>>,
    /// Held while a complete segment's files are put aside or others take their place.
    swapping: Mutex<()>,
}

impl Archive {
    /// An archive in `root`, of which nothing is known yet.
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            root,
            channels: RwLock::default(),
            orders: RwLock::default(),
            changed: Mutex::default(),
            swapping: Mutex::default(),
        }
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Channels of which anything is kept.
    pub fn channels(&self) -> Vec<ChannelId> {
        self.read().keys().copied().collect()
    }

    /// The complete segments of a channel, by date: those that may be listed, played and copied.
    pub fn segments(&self, channel: ChannelId) -> Vec<Segment> {
        self.read()
            .get(&channel)
            .map_or_else(Vec::new, |all| all.values().filter_map(Held::complete).collect())
    }

    /// Maximal rows of whole segments of a channel.
    pub fn extents(&self, channel: ChannelId) -> Vec<Extent> {
        extents::extents(channel, &self.segments(channel))
    }

    /// The segment of a channel that grows.
    pub fn growing(&self, channel: ChannelId) -> Option<Arc<Growing>> {
        let growing =
            |held: &Held| if let Held::Growing(growing) = held { Some(growing.clone()) } else { None };
        self.read().get(&channel)?.values().rev().find_map(growing)
    }

    /// What is known of one segment.
    pub fn held(&self, channel: ChannelId, name: SegmentName) -> Option<Held> {
        self.read().get(&channel)?.get(&name).cloned()
    }

    /// Channels whose complete segments have changed since this was asked last.
    pub fn take_changed(&self) -> BTreeSet<ChannelId> {
        std::mem::take(&mut *self.changes())
    }

    /// Has a channel counted as changed.
    pub(super) fn touch(&self, channel: ChannelId) {
        self.changes().insert(channel);
    }

    /// What is to be kept of a channel from now on; `None`: only the limit of size holds.
    pub fn order(&self, channel: ChannelId, order: Option<RecordOrder>) {
        let mut orders = self.orders.write().unwrap_or_else(PoisonError::into_inner);
        match order {
            Some(order) => drop(orders.insert(channel, order)),
            None => drop(orders.remove(&channel)),
        }
    }

    /// What is to be kept of each channel that is ordered.
    pub(crate) fn orders(&self) -> BTreeMap<ChannelId, RecordOrder> {
        self.orders.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Complete segments of a channel from a name on, by name: `count` at most, and whether there are more.
    pub(crate) fn page(&self, channel: ChannelId, from: SegmentName, count: usize) -> (Vec<Segment>, bool) {
        let channels = self.read();
        let segments = channels.get(&channel).into_iter().flat_map(|segments| segments.range(from..));
        let mut complete = segments.filter_map(|(_, held)| held.complete());
        let page = complete.by_ref().take(count).collect();
        (page, complete.next().is_some())
    }

    /// What is known of the segments of a channel that begin in these seconds since 1970.
    pub(crate) fn about(&self, channel: ChannelId, dates_s: std::ops::RangeInclusive<u64>) -> Vec<Own> {
        let first = SegmentName { date_s: *dates_s.start(), ssrc: 0, number: 0 };
        let last = SegmentName { date_s: *dates_s.end(), ssrc: u32::MAX, number: u64::MAX };
        let own = |(name, held): (&SegmentName, &Held)| match held {
            Held::Complete(segment) => Own::Complete(*segment),
            Held::Growing(_) | Held::Unfinished => Own::Busy(*name),
            Held::Damaged => Own::Damaged(*name),
        };
        if first > last {
            return Vec::new();
        }
        self.read()
            .get(&channel)
            .map_or_else(Vec::new, |segments| segments.range(first..=last).map(own).collect())
    }

    /// What a peer may have better.
    pub(crate) fn concern(&self, channel: ChannelId) -> Concern {
        let (mut concern, mut before) = (Concern::default(), None);
        for held in self.read().get(&channel).into_iter().flat_map(BTreeMap::values) {
            match held {
                Held::Complete(segment) if segment.is_whole() => {
                    concern.rows += usize::from(!before.is_some_and(|before| segment.continues(&before)));
                    before = Some(*segment);
                }
                Held::Complete(_) => concern.holed += 1,
                Held::Damaged => concern.damaged += 1,
                Held::Growing(_) | Held::Unfinished => {}
            }
        }
        concern
    }

    /// Whether `channel` is to be recorded now.
    pub fn is_recorded(&self, channel: ChannelId) -> bool {
        self.orders.read().unwrap_or_else(PoisonError::into_inner).contains_key(&channel)
    }

    /// The segment to play `channel` from at `date_ms`: the last that begins at or before it, or else the first.
    pub fn find(&self, channel: ChannelId, date_ms: u64) -> Option<SegmentName> {
        let channels = self.read();
        let segments = channels.get(&channel)?;
        let latest = SegmentName { date_s: date_ms / 1_000, ssrc: u32::MAX, number: u64::MAX };
        let before = segments.range(..=latest).rev();
        let mut begun = before.filter(|(_, held)| held.is_playable() && held.date_ms() <= date_ms);
        let first = || segments.iter().find(|(_, held)| held.is_playable());
        begun.next().or_else(first).map(|(name, _)| *name)
    }

    /// The segment that has the packet `number` of `ssrc`, or the next after it.
    pub fn find_number(&self, channel: ChannelId, ssrc: u32, number: u64) -> Option<SegmentName> {
        let channels = self.read();
        let playable = channels.get(&channel)?.iter().filter(|(_, held)| held.is_playable());
        let mut of_source = playable.filter(|(name, _)| name.ssrc == ssrc).map(|(name, _)| *name);
        let first = of_source.next()?;
        Some(of_source.take_while(|name| name.number <= number).last().unwrap_or(first))
    }

    /// The segment of a channel after `name` by date that can be played.
    pub fn after(&self, channel: ChannelId, name: SegmentName) -> Option<SegmentName> {
        let channels = self.read();
        let mut later =
            channels.get(&channel)?.range((std::ops::Bound::Excluded(name), std::ops::Bound::Unbounded));
        later.find(|(_, held)| held.is_playable()).map(|(name, _)| *name)
    }

    /// Opens a segment for reading.
    pub fn open(&self, channel: ChannelId, name: SegmentName) -> io::Result<SegmentReader> {
        let growing = match self.held(channel, name) {
            Some(Held::Growing(growing)) => Some(growing),
            Some(Held::Complete(_)) => None,
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("{channel}/{name} cannot be played"),
                ));
            }
        };
        SegmentReader::open(&Paths::of(&self.root, channel, name), growing)
    }

    /// Reads packets of a channel from the one at `date_ms` on, over all segments that follow.
    pub fn play(self: &Arc<Self>, channel: ChannelId, date_ms: u64) -> io::Result<Option<Cursor>> {
        let Some(name) = self.find(channel, date_ms) else { return Ok(None) };
        let reader = self.open(channel, name)?;
        let at = reader.at_date(date_ms);
        Ok(Some(Cursor::new(self.clone(), channel, reader, at)))
    }

    /// Reads packets of a channel from `number` of `ssrc` on, or the first after it.
    pub fn play_number(
        self: &Arc<Self>,
        channel: ChannelId,
        ssrc: u32,
        number: u64,
    ) -> io::Result<Option<Cursor>> {
        let Some(name) = self.find_number(channel, ssrc, number) else { return Ok(None) };
        let reader = self.open(channel, name)?;
        let at = reader.at_number(number);
        Ok(Some(Cursor::new(self.clone(), channel, reader, at)))
    }

    /// Bytes of transport packets, all told.
    pub fn bytes(&self) -> u64 {
        self.read().values().flat_map(BTreeMap::values).map(Held::length_bytes).sum()
    }

    pub(super) fn grows(&self, growing: Arc<Growing>) {
        let (channel, name) = (growing.header().channel, growing.header().name());
        self.put(channel, name, Held::Growing(growing));
    }

    /// A segment is complete: recorded, mended, or copied from a peer under its name.
    pub fn completed(&self, channel: ChannelId, segment: Segment) {
        self.put(channel, segment.name, Held::Complete(segment));
        self.changes().insert(channel);
    }

    /// Takes in a segment that was copied from a peer and verified, in two files on the archive's disk that are durable.
    /// They take their place under its name, in that of a damaged or lesser one; if it is whole, segments that have a part of
    /// it are deleted. Interrupted between the two files, it is done when the archive is opened again (`mend.rs`).
    pub fn adopt(&self, channel: ChannelId, segment: Segment, ts: &Path, index: &Path) -> io::Result<()> {
        let paths = Paths::of(&self.root, channel, segment.name);
        let _swapping = self.swapping.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Held::Growing(_)) = self.held(channel, segment.name) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} grows here", segment.name)));
        }
        disk::make_folder(&paths.day)?;
        // At no moment does an index lie beside packets that are not its own.
        disk::remove(&paths.index)?;
        fs::rename(ts, &paths.ts)?;
        disk::sync_folder(&paths.day)?;
        fs::rename(index, &paths.index)?;
        disk::remove(&paths.damaged)?;
        disk::sync_folder(&paths.day)?;
        self.completed(channel, segment);
        let part = |other: &Segment| other.name != segment.name && segment.contains(other);
        for part in self.segments(channel).iter().filter(|other| part(other)) {
            self.delete(channel, part.name)?;
        }
        Ok(())
    }

    pub(super) fn unfinished(&self, channel: ChannelId, name: SegmentName) {
        self.put(channel, name, Held::Unfinished);
    }

    /// A segment was found not to be what was recorded. Its index is put aside, so that it is not taken for sound at the
    /// next start either.
    pub(super) fn damaged(&self, channel: ChannelId, name: SegmentName) -> io::Result<()> {
        self.put(channel, name, Held::Damaged);
        self.changes().insert(channel);
        let paths = Paths::of(&self.root, channel, name);
        match fs::rename(&paths.index, &paths.damaged) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => disk::sync_folder(&paths.day),
        }
    }

    /// A complete segment was found not to be what was recorded: as [`Self::damaged`], unless it is another one by now. Answers
    /// whether it is not.
    pub(crate) fn condemn(&self, channel: ChannelId, segment: &Segment) -> io::Result<bool> {
        let _swapping = self.swapping.lock().unwrap_or_else(PoisonError::into_inner);
        match self.held(channel, segment.name) {
            Some(Held::Complete(now)) if now == *segment => {
                self.damaged(channel, segment.name).map(|()| true)
            }
            _ => Ok(false),
        }
    }

    /// Forgets a segment, whose files are gone.
    pub(super) fn forget(&self, channel: ChannelId, name: SegmentName) {
        let mut channels = self.write();
        let Some(segments) = channels.get_mut(&channel) else { return };
        segments.remove(&name);
        if segments.is_empty() {
            channels.remove(&channel);
        }
        drop(channels);
        self.changes().insert(channel);
    }

    /// Deletes a segment.
    pub(super) fn delete(&self, channel: ChannelId, name: SegmentName) -> io::Result<()> {
        let paths = Paths::of(&self.root, channel, name);
        // Without its index a segment is none, whenever the power fails.
        disk::remove(&paths.index)?;
        disk::remove(&paths.damaged)?;
        disk::remove(&paths.ts)?;
        self.forget(channel, name);
        // A folder that has others stays.
        let _ = fs::remove_dir(&paths.day);
        Ok(())
    }

    /// Whether `segment` would be deleted soon, were it here.
    pub(crate) fn would_go(
        &self,
        channel: ChannelId,
        segment: &Segment,
        now_ms: u64,
        limit_bytes: Option<u64>,
    ) -> bool {
        let order = self.orders().remove(&channel);
        if limit_bytes.is_none()
            || order.as_ref().is_some_and(|order| retention::is_protected(segment, &order.protected))
        {
            return false;
        }
        let Segment { name, end_date_ms, length_bytes, .. } = *segment;
        let expires_ms = order.map(|order| end_date_ms.saturating_add(u64::from(order.keep_s) * 1_000));
        let (mut candidates, mut used_bytes) = self.candidates();
        candidates.push(Candidate { channel, name, end_date_ms, expires_ms, length_bytes });
        used_bytes += length_bytes;
        let due = retention::due(now_ms, retention::Room { used_bytes, limit_bytes }, candidates);
        due.iter().any(|due| (due.channel, due.name) == (channel, name))
    }

    /// What has been kept long enough.
    pub(super) fn due(&self, now_ms: u64, limit_bytes: Option<u64>) -> Vec<Candidate> {
        let (candidates, used_bytes) = self.candidates();
        retention::due(now_ms, retention::Room { used_bytes, limit_bytes }, candidates)
    }

    /// What may go, and the bytes of all that is kept.
    fn candidates(&self) -> (Vec<Candidate>, u64) {
        let channels = self.read();
        let orders = self.orders.read().unwrap_or_else(PoisonError::into_inner);
        let mut candidates = Vec::new();
        for (channel, segments) in channels.iter() {
            let order = orders.get(channel);
            let keep_ms = order.map(|order| u64::from(order.keep_s) * 1_000);
            let protected = order.map_or(&[][..], |order| &order.protected);
            let expires_ms = |end_ms: u64| keep_ms.map(|keep_ms| end_ms.saturating_add(keep_ms));
            for (name, held) in segments {
                let (end_date_ms, length_bytes) = match held {
                    Held::Complete(segment) if retention::is_protected(segment, protected) => continue,
                    Held::Complete(segment) => (segment.end_date_ms, segment.length_bytes),
                    // It goes with those of its time, unless a peer gives it again before.
                    Held::Damaged => (name.date_s * 1_000 + SEGMENT_MS, 0),
                    Held::Growing(_) | Held::Unfinished => continue,
                };
                let expires_ms = expires_ms(end_date_ms);
                candidates.push(Candidate {
                    channel: *channel,
                    name: *name,
                    end_date_ms,
                    expires_ms,
                    length_bytes,
                });
            }
        }
        let used_bytes = channels.values().flat_map(BTreeMap::values).map(Held::length_bytes).sum();
        (candidates, used_bytes)
    }

    /// A complete segment after `last` in the order of channels and names; the first after the last.
    pub(super) fn next_complete(
        &self,
        last: Option<(ChannelId, SegmentName)>,
    ) -> Option<(ChannelId, Segment)> {
        let channels = self.read();
        let all = || {
            channels.iter().flat_map(|(channel, segments)| {
                segments.values().filter_map(Held::complete).map(|segment| (*channel, segment))
            })
        };
        let later = all().find(|(channel, segment)| last.is_none_or(|last| (*channel, segment.name) > last));
        later.or_else(|| all().next())
    }

    /// Everything on the disk that is known of, by channel and date.
    pub(super) fn all(&self) -> Vec<(ChannelId, SegmentName, Held)> {
        let of = |(channel, segments): (&ChannelId, &Segments)| {
            let channel = *channel;
            segments.iter().map(|(name, held)| (channel, *name, held.clone())).collect::<Vec<_>>()
        };
        self.read().iter().flat_map(of).collect()
    }

    /// How many segments are complete.
    pub fn complete(&self) -> usize {
        let complete = |held: &&Held| matches!(held, Held::Complete(_));
        self.read().values().flat_map(BTreeMap::values).filter(complete).count()
    }

    /// Segments that wait to be mended.
    pub(super) fn to_mend(&self) -> Vec<(ChannelId, SegmentName)> {
        let unfinished = |held: &Held| matches!(held, Held::Unfinished);
        let of = |(channel, segments): (&ChannelId, &Segments)| {
            let channel = *channel;
            let names = segments.iter().filter(|(_, held)| unfinished(held));
            names.map(|(name, _)| (channel, *name)).collect::<Vec<_>>()
        };
        self.read().iter().flat_map(of).collect()
    }

    /// Lists what lies in its folder, without looking at it: all is unfinished until it is mended or seen to be complete.
    pub(super) fn list(&self) -> io::Result<()> {
        let mut found = BTreeMap::<ChannelId, Segments>::new();
        for (channel, folder) in folders(&self.root)? {
            let Ok(channel) = channel.parse::<ChannelId>() else { continue };
            for (day, folder) in folders(&folder)? {
                for file in fs::read_dir(&folder)? {
                    let path = file?.path();
                    let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
                    let Some(name) = SegmentName::parse(&day, stem) else { continue };
                    let held = match path.extension().and_then(|suffix| suffix.to_str()) {
                        Some("damaged") => Held::Damaged,
                        Some("ts" | "index") => Held::Unfinished,
                        _ => continue,
                    };
                    let segments = found.entry(channel).or_default();
                    if matches!(held, Held::Damaged) {
                        segments.insert(name, held);
                    } else {
                        segments.entry(name).or_insert(held);
                    }
                }
            }
        }
        let mut channels = self.write();
        for (channel, segments) in found {
            let known = channels.entry(channel).or_default();
            for (name, held) in segments {
                known.entry(name).or_insert(held);
            }
        }
        Ok(())
    }

    fn put(&self, channel: ChannelId, name: SegmentName, held: Held) {
        self.write().entry(channel).or_default().insert(name, held);
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<ChannelId, Segments>> {
        self.channels.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<ChannelId, Segments>> {
        self.channels.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn changes(&self) -> MutexGuard<'_, BTreeSet<ChannelId>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn complete(&self) -> Option<Segment> {
        if let Self::Complete(segment) = self { Some(*segment) } else { None }
    }

    fn is_playable(&self) -> bool {
        matches!(self, Self::Growing(_) | Self::Complete(_))
    }

    fn date_ms(&self) -> u64 {
        match self {
            Self::Growing(growing) => growing.header().date_ms,
            Self::Complete(segment) => segment.date_ms,
            Self::Unfinished | Self::Damaged => 0,
        }
    }

    fn length_bytes(&self) -> u64 {
        match self {
            Self::Growing(growing) => growing.progress().length_bytes,
            Self::Complete(segment) => segment.length_bytes,
            Self::Unfinished | Self::Damaged => 0,
        }
    }
}

/// The folders in `folder` by name, ascending; none where it is not there.
fn folders(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            found.push((name, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}
