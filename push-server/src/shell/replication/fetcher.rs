//! Fetches what this host lacks: asks one peer after another for its list, page by page, and takes in what is missing or
//! better, oldest first.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use link::clock::Clock;
use protocols::ids::{ChannelId, HostId};
use protocols::p3_replica::{Answer, Ask, Name, SEGMENTS_PER_PAGE};
use protocols::recording::{RecordOrder, RecordPeer};
use tokio::time::sleep;

use super::guests::{from_listed, wanted};
use super::incoming::{self, Arriving};
use super::peer::{Peer, Trouble};
use super::{Counts, Identity};
use crate::recording::index::Trailer;
use crate::recording::{Segment, SegmentName};
use crate::replication::wants::{self, Own};
use crate::replication::{Looks, Outcome, Pace, Verdict};
use crate::shell::recorder::status::Status;
use crate::shell::recorder::writer::MAX_PACKETS;
use crate::shell::recorder::{self, Archive, Held, Recorder, disk, verify};

/// Bytes of a segment in a list.
const LISTED_BYTES: usize = 76;
/// Segments that a peer lists in one look, and no longer has when they are asked for: one more is a lie.
const MAX_GONE: u32 = 64;
/// A look that has fetched something ends after so long; then other channels have their turn.
const LOOK_LIMIT: Duration = Duration::from_mins(2);
/// Pages of one list at most: a million segments, two years of a channel. A peer that has more is asked no further.
const MAX_PAGES: usize = 2_048;
/// Segments that begin so long before a segment may have a part of it.
const REACH_S: u64 = 3_600;
/// Segments of this host that were read again in doubt, remembered so that it is not done at each look; then anew.
const MAX_DOUBTED: usize = 1_024;
/// How often what is left of transfers is looked at.
const CLEAN_INTERVAL: Duration = Duration::from_mins(10);

/// The thread that fetches.
#[derive(Debug)]
pub(super) struct Fetcher {
    identity: Identity,
    options: recorder::Options,
    archive: Arc<Archive>,
    status: Arc<Status>,
    counts: Arc<Counts>,
    clock: Clock,
    looks: Looks,
    pace: Pace,
    /// Peers in trouble that were told of: once, until they do what they are asked.
    told: BTreeSet<HostId>,
    doubted: BTreeSet<(ChannelId, SegmentName)>,
    clean_at: Instant,
}

/// A channel, and what is kept of it.
struct Task<'a> {
    channel: ChannelId,
    order: &'a RecordOrder,
    until: Instant,
    fetched: u64,
    gone: u32,
}

/// How far a list was gone through.
enum Listed {
    Through,
    /// There was no time for all of it.
    Part,
}

impl Fetcher {
    pub(super) fn new(
        identity: Identity,
        options: recorder::Options,
        recorder: &Recorder,
        counts: Arc<Counts>,
    ) -> Self {
        Self {
            looks: Looks::new(identity.host.clone(), options.replication.intervals),
            pace: Pace::new(options.replication.rate_bps),
            archive: recorder.archive().clone(),
            status: recorder.status().clone(),
            counts,
            identity,
            options,
            clock: Clock::start(),
            told: BTreeSet::new(),
            doubted: BTreeSet::new(),
            clean_at: Instant::now(),
        }
    }

    /// Fetches for ever.
    pub(super) async fn run(mut self) {
        loop {
            // A disk that takes nothing takes nothing of peers either.
            if self.status.fault().is_none() {
                self.clean();
                self.turn().await;
            }
            sleep(self.options.replication.sweep_interval).await;
        }
    }

    /// Looks after all channels that are due.
    async fn turn(&mut self) {
        let mut orders = self.archive.orders();
        orders.retain(|_, order| !order.peers.is_empty());
        let watched = orders.iter();
        let watched =
            watched.map(|(channel, order)| (*channel, &order.peers[..], self.archive.concern(*channel)));
        self.looks.observe(self.clock.now(), watched);
        // Each at most once in a turn: then orders are looked at again.
        for _ in 0..orders.len() {
            let Some((channel, peers)) = self.looks.next(self.clock.now()) else { return };
            let Some(order) = orders.get(&channel) else { return };
            let outcome = self.look(channel, order, peers).await;
            self.looks.looked(self.clock.now(), channel, outcome);
        }
    }

    async fn look(&mut self, channel: ChannelId, order: &RecordOrder, peers: Vec<RecordPeer>) -> Outcome {
        let others = order.peers.iter().filter(|peer| peer.host != self.identity.host).count();
        let mut failed = peers.len() < others;
        let mut task = Task { channel, order, until: Instant::now() + LOOK_LIMIT, fetched: 0, gone: 0 };
        for peer in peers {
            Counts::add(&self.counts.looks, 1);
            match self.look_at(&peer, &mut task).await {
                Ok(listed) => {
                    self.looks.succeeded(&peer.host);
                    self.told.remove(&peer.host);
                    if matches!(listed, Listed::Part) {
                        return Outcome::More;
                    }
                }
                Err(trouble) => {
                    failed = true;
                    self.trouble(&peer, channel, &trouble);
                    if matches!(trouble, Trouble::Disk(_)) {
                        return Outcome::Failed;
                    }
                    self.looks.failed(self.clock.now(), &peer.host);
                }
            }
        }
        match (failed, task.fetched) {
            (true, _) => Outcome::Failed,
            (false, 0) => Outcome::Nothing,
            (false, _) => Outcome::News,
        }
    }

    /// Counts what went wrong, and tells it, once.
    fn trouble(&mut self, peer: &RecordPeer, channel: ChannelId, trouble: &Trouble) {
        let count = match trouble {
            Trouble::Link(_) => &self.counts.failures,
            Trouble::Slow => &self.counts.slow,
            Trouble::Lie(_) => &self.counts.lies,
            Trouble::Disk(_) => &self.counts.no_room,
        };
        Counts::add(count, 1);
        let (peer, first) = (&peer.host, self.told.insert(peer.host.clone()));
        Counts::add(&self.counts.told, u64::from(first));
        if first && matches!(trouble, Trouble::Lie(_)) {
            tracing::warn!(%peer, %channel, %trouble, "a peer's recordings are not what it says they are; it is asked again later");
        } else if first {
            tracing::info!(%peer, %channel, %trouble, "what a peer has recorded cannot be fetched; it is tried again");
        } else {
            tracing::debug!(%peer, %channel, %trouble, "a peer failed again");
        }
    }

    /// Goes through what `peer` has of the channel.
    async fn look_at(&mut self, peer: &RecordPeer, task: &mut Task<'_>) -> Result<Listed, Trouble> {
        let host = peer.host.clone();
        let mut peer = Peer::call(&self.identity, peer, self.options.replication.patience).await?;
        let RecordOrder { keep_s, protected, .. } = task.order;
        let first_s = wants::first_date_s(Clock::wall().0, *keep_s, protected, REACH_S);
        let mut from = Name { date_s: first_s, ssrc: 0, number: 0 };
        for _ in 0..MAX_PAGES {
            let answer = peer.ask(&Ask::List { channel: task.channel, from }).await?;
            let Answer::Page { segments, more } = answer else {
                return Err(Trouble::Lie("it gave no list when asked for one".to_owned()));
            };
            let page: Vec<Segment> = segments.iter().map(from_listed).collect();
            from = checked(&page, from)?;
            // A list counts for what it weighs.
            sleep(self.pace.take(self.clock.now(), page.len() * LISTED_BYTES)).await;
            for theirs in &page {
                if task.fetched > 0 && Instant::now() >= task.until {
                    return Ok(Listed::Part);
                }
                self.consider(&mut peer, &host, task, theirs).await?;
            }
            if !more {
                return Ok(Listed::Through);
            }
        }
        Err(Trouble::Lie(format!("its list is longer than {} segments", MAX_PAGES * SEGMENTS_PER_PAGE)))
    }

    /// What is to be done about a segment of a peer: it may be fetched.
    async fn consider(
        &mut self,
        peer: &mut Peer,
        host: &HostId,
        task: &mut Task<'_>,
        theirs: &Segment,
    ) -> Result<(), Trouble> {
        let (channel, now_ms) = (task.channel, Clock::wall().0);
        let verdict = wants::verdict(&self.about(channel, theirs), theirs);
        match verdict {
            Verdict::Stay | Verdict::Later => return Ok(()),
            Verdict::Doubt => {
                self.doubt(channel, theirs.name);
                return Ok(());
            }
            Verdict::Fetch | Verdict::Mend | Verdict::Replace => {}
        }
        let RecordOrder { keep_s, protected, .. } = task.order;
        if !wants::is_worth_it(theirs, now_ms, *keep_s, protected)
            || self.archive.would_go(channel, theirs, now_ms, self.options.limit_bytes)
        {
            return Ok(());
        }
        self.room_for(theirs)?;
        let began = Instant::now();
        if !self.fetch(peer, channel, theirs).await? {
            Counts::add(&self.counts.gone, 1);
            task.gone += 1;
            if task.gone > MAX_GONE {
                return Err(Trouble::Lie(format!("it has not {MAX_GONE} segments of its list")));
            }
            return Ok(());
        }
        // It has taken a while: something may have come meanwhile.
        if wants::verdict(&self.about(channel, theirs), theirs) != verdict {
            return Ok(());
        }
        let files = disk::Incoming::of(self.archive.root(), channel, theirs.name);
        self.archive.adopt(channel, *theirs, &files.ts, &files.index)?;
        task.fetched += 1;
        Counts::add(&self.counts.fetched, 1);
        let (segment, bytes, took) = (theirs.name, theirs.length_bytes, began.elapsed());
        match verdict {
            Verdict::Mend => {
                Counts::add(&self.counts.mended, 1);
                tracing::info!(%channel, %segment, peer = %host, "mended a damaged segment");
            }
            Verdict::Replace => {
                Counts::add(&self.counts.replaced, 1);
                tracing::warn!(%channel, %segment, peer = %host, "replaced a segment by another that differs and is better");
            }
            _ => tracing::info!(%channel, %segment, peer = %host, bytes, ?took, "fetched a segment"),
        }
        Ok(())
    }

    fn about(&self, channel: ChannelId, theirs: &Segment) -> Vec<Own> {
        let first_s = theirs.name.date_s.saturating_sub(REACH_S);
        self.archive.about(channel, first_s..=theirs.end_date_ms / 1_000)
    }

    /// Reads a segment of this host, of which a peer has another version that is as good: one of both may be damaged.
    fn doubt(&mut self, channel: ChannelId, name: SegmentName) {
        if self.doubted.len() >= MAX_DOUBTED {
            self.doubted.clear();
        }
        if self.doubted.insert((channel, name))
            && let Some(Held::Complete(segment)) = self.archive.held(channel, name)
            && let Err(flaw) = verify::verify(self.archive.root(), channel, name)
        {
            let condemned = self.archive.condemn(channel, &segment);
            self.status.damaged(channel, name, &flaw.to_string(), condemned);
        }
    }

    /// Whether the disk has room for `theirs`, and for what is recorded beside.
    fn room_for(&self, theirs: &Segment) -> Result<(), Trouble> {
        let free = disk::free_bytes(self.archive.root())?;
        let needed = self.options.reserve_bytes.saturating_add(theirs.length_bytes.saturating_mul(2));
        if free >= needed {
            return Ok(());
        }
        let text = format!("{free} bytes are free, and {needed} are needed");
        Err(Trouble::Disk(std::io::Error::new(std::io::ErrorKind::StorageFull, text)))
    }

    /// Has all of a segment verified among what is incoming; false: the peer no longer has it. What an earlier transfer has
    /// left is used, and if something is wrong with it, not used the next time.
    async fn fetch(
        &mut self,
        peer: &mut Peer,
        channel: ChannelId,
        theirs: &Segment,
    ) -> Result<bool, Trouble> {
        let root = self.archive.root().to_owned();
        let left = incoming::left(&root, channel, theirs);
        let resumed = left.is_some();
        let arriving = if let Some(index) = left {
            Arriving::resume(&root, channel, theirs, &index)?
        } else {
            let Some(bytes) = self.index(peer, channel, theirs).await? else { return Ok(false) };
            incoming::index_of(&bytes, channel, theirs).map_err(Trouble::Lie)?;
            Arriving::begin(&root, channel, theirs, &bytes)?
        };
        let resumed = resumed && arriving.there_bytes > 0;
        Counts::add(&self.counts.resumed, u64::from(resumed));
        let Some(arriving) = self.packets(peer, channel, theirs, arriving).await? else { return Ok(false) };
        match verify::files(&arriving.files().ts, &arriving.files().index) {
            Ok(Some(_)) => Ok(true),
            other => {
                arriving.discard()?;
                if resumed {
                    // A part that a power cut has spoilt: nobody's lie. It is fetched anew at the next look.
                    return Ok(false);
                }
                let flaw = other.err().map_or_else(String::new, |flaw| flaw.to_string());
                Err(Trouble::Lie(format!("{} is not what was listed: {flaw}", theirs.name)))
            }
        }
    }

    /// The bytes of a segment's index.
    async fn index(
        &mut self,
        peer: &mut Peer,
        channel: ChannelId,
        theirs: &Segment,
    ) -> Result<Option<Vec<u8>>, Trouble> {
        let expected = Trailer {
            entries: theirs.packets,
            missing: theirs.missing,
            end_date_ms: theirs.end_date_ms,
            length_bytes: theirs.length_bytes,
            hash: theirs.hash,
        }
        .index_bytes();
        let ask = Ask::Index(wanted(channel, theirs));
        let Some(mut rest) = follows(&peer.ask(&ask).await?, expected)? else { return Ok(None) };
        let late = self.deadline(expected);
        let mut bytes = Vec::new();
        while rest > 0 {
            let piece = self.piece(peer, &mut rest, late).await?;
            bytes.extend_from_slice(&piece);
        }
        Ok(Some(bytes))
    }

    /// The rest of a segment's transport packets.
    async fn packets(
        &mut self,
        peer: &mut Peer,
        channel: ChannelId,
        theirs: &Segment,
        mut arriving: Arriving,
    ) -> Result<Option<Arriving>, Trouble> {
        let from_bytes = arriving.there_bytes;
        let expected = theirs.length_bytes - from_bytes;
        if expected > 0 {
            let ask = Ask::Packets { wanted: wanted(channel, theirs), from_bytes };
            let Some(mut rest) = follows(&peer.ask(&ask).await?, expected)? else { return Ok(None) };
            let late = self.deadline(expected);
            while rest > 0 {
                let piece = self.piece(peer, &mut rest, late).await?;
                arriving.add(&piece)?;
            }
        }
        arriving.sync()?;
        Ok(Some(arriving))
    }

    /// The next piece, no sooner than the rate allows.
    async fn piece(&mut self, peer: &mut Peer, rest: &mut u64, late: Instant) -> Result<Vec<u8>, Trouble> {
        let piece = peer.piece().await?;
        if Instant::now() >= late {
            return Err(Trouble::Slow);
        }
        *rest = rest
            .checked_sub(piece.len() as u64)
            .ok_or_else(|| Trouble::Lie("it gave more than it said would follow".to_owned()))?;
        Counts::add(&self.counts.fetched_bytes, piece.len() as u64);
        sleep(self.pace.take(self.clock.now(), piece.len())).await;
        Ok(piece)
    }

    /// When a transfer of so many bytes is too slow.
    fn deadline(&self, bytes: u64) -> Instant {
        let slowest =
            Duration::from_millis(bytes.saturating_mul(8_000) / self.options.replication.slowest_bps);
        Instant::now() + self.options.replication.patience + slowest
    }

    fn clean(&mut self) {
        if Instant::now() < self.clean_at {
            return;
        }
        self.clean_at = Instant::now() + CLEAN_INTERVAL;
        match incoming::clean(self.archive.root(), SystemTime::now()) {
            Ok(thrown) => Counts::add(&self.counts.stale, thrown),
            Err(error) => tracing::debug!(%error, "what is left of transfers cannot be thrown away"),
        }
    }
}

/// Whether a page is one, and where the next begins.
fn checked(page: &[Segment], from: Name) -> Result<Name, Trouble> {
    let now_ms = Clock::wall().0;
    let impossible =
        |segment: &&Segment| !wants::is_possible(segment, now_ms) || segment.packets > MAX_PACKETS;
    if let Some(bad) = page.iter().find(impossible) {
        return Err(Trouble::Lie(format!("it lists a segment {} that cannot be", bad.name)));
    }
    let name = |name: SegmentName| Name { date_s: name.date_s, ssrc: name.ssrc, number: name.number };
    let ascending = page.windows(2).all(|pair| pair[0].name < pair[1].name);
    let (Some(first), Some(last)) = (page.first(), page.last()) else { return Ok(from) };
    if !ascending || name(first.name) < from || page.len() > SEGMENTS_PER_PAGE {
        return Err(Trouble::Lie("its list is not in order".to_owned()));
    }
    let last = name(last.name);
    Ok(Name { number: last.number.saturating_add(1), ..last })
}

/// How many bytes follow; `None`: the segment is gone.
fn follows(answer: &Answer, expected: u64) -> Result<Option<u64>, Trouble> {
    match answer {
        Answer::Bytes(length) if *length == expected => Ok(Some(*length)),
        Answer::Bytes(length) => {
            Err(Trouble::Lie(format!("{length} bytes follow where {expected} were listed")))
        }
        Answer::Gone => Ok(None),
        _ => Err(Trouble::Lie("it gave something else than was asked for".to_owned())),
    }
}
