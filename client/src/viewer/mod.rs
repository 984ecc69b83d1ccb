//! The root machine of the client: from "watch channel 5" to packets in order, through every loss of a peer.
//!
//! It asks the directory (P2), tunes to what that answers (or, while the directory is away, to what the cached list says),
//! keeps the channel alive (P4) and moves when the directory says so. The shell owns the sockets: it does what the
//! [`Output`]s say, in order, and feeds back what happens.

mod directory;
mod events;
mod partings;
mod reception;
mod streaming;

use std::net::SocketAddr;
use std::time::Duration;

use media::RtpPacket;
use protocols::backoff::Backoff;
use protocols::ids::ChannelId;
use protocols::p2_directory::{ChannelList, ToClient, ToDatabase, Tuning};
use protocols::time::{ClusterClock, ClusterTime, Time, earliest};

use directory::DirectoryLink;
use partings::Partings;
use reception::{Asked, Reception, Start};

pub use directory::CONNECT_TIMEOUT;
pub use events::{Counters, Group, Input, Notice, Output, Reason, Receiving};
pub use partings::PARTINGS_MAX;
pub use reception::{CLOCK_RETRY, FRESH_FOR, LEAVE_OLD_AFTER};
pub use streaming::{EARLY_PACKETS, SEAM_HOLD, SEAM_SILENCE, SEAM_WITHIN};

/// How long a directory that is being reached may take to answer before the cached list is used.
pub const CACHE_AFTER: Duration = Duration::from_secs(1);
/// How often the list is fetched while the client runs.
pub const LIST_REFRESH: Duration = Duration::from_mins(1);
/// A changed list is fetched within this, spread over the clients that hear of the change.
pub const LIST_SPACING: Duration = Duration::from_secs(1);
/// Media that stop for this long, plus up to as much again, send the client back to the directory.
pub const MEDIA_SILENCE: Duration = Duration::from_millis(700);
/// Least time between two questions to the directory about one channel; it grows to the backoff's cap while nothing
/// comes of them.
pub const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// The directory tells by itself when an unavailable channel can be had; it is asked all the same after this.
pub const UNAVAILABLE_RETRY: Duration = Duration::from_secs(30);

/// The machine.
#[derive(Debug)]
pub struct Viewer {
    random: fastrand::Rng,
    /// This client's share of [`MEDIA_SILENCE`].
    patience: Duration,
    link: DirectoryLink,
    clock: Option<ClusterClock>,
    list: Listing,
    watched: Option<Watched>,
    receiving: Receiving,
    partings: Partings,
    /// Of the channels watched before.
    past: Counters,
    stale: u64,
    ignored_tunings: u64,
    zaps: u64,
}

/// What is known of the channel list.
#[derive(Debug, Default)]
struct Listing {
    /// The newest list that carries tunings, or the cached one.
    kept: Option<ChannelList>,
    /// How it was asked for last; `None`: not at all.
    wanted: Option<bool>,
    /// The kept one is from this run: its tunings are as good as the directory's answers.
    is_fresh: bool,
    /// When to ask again.
    refresh_at: Option<Time>,
}

/// Whence the list is that a channel is tuned by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// From the directory, in this run.
    Fresh,
    /// From an earlier run, or the directory does not answer any more.
    Cached,
}

/// The channel that the user wants, tuned or not.
#[derive(Debug)]
struct Watched {
    channel: ChannelId,
    asked_at: Time,
    reception: Option<Reception>,
    /// When to fall back to the cached list, while nothing is tuned.
    cache_at: Option<Time>,
    /// When the directory may be asked again about it.
    ask_at: Time,
    asked: Backoff,
    /// A push server, or a new connection, is a reason to ask although media may flow.
    wants_directory: bool,
    /// How long media may be away before the directory is asked.
    patience: Duration,
}

impl Viewer {
    /// A machine that does nothing yet. `seed` gives its jitter, so clients must have different ones.
    pub fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let link = DirectoryLink::new(random.u64(..));
        let patience = MEDIA_SILENCE.mul_f64(1.0 + random.f64());
        Self {
            random,
            patience,
            link,
            clock: None,
            list: Listing::default(),
            watched: None,
            receiving: Receiving::default(),
            partings: Partings::default(),
            past: Counters::default(),
            stale: 0,
            ignored_tunings: 0,
            zaps: 0,
        }
    }

    /// As it is, with channels received like this from here on.
    #[must_use]
    pub fn receiving(self, receiving: Receiving) -> Self {
        Self { receiving, ..self }
    }

    /// Takes one input; what is to be done is appended to `out`.
    pub fn handle(&mut self, now: Time, input: Input<'_>, out: &mut Vec<Output>) {
        match input {
            Input::CachedList { list, now: time } => self.cached_list(now, list, time),
            Input::List { tunings } => {
                self.list.wanted = Some(tunings);
                self.link.want(now, out);
                self.ask_for_list(now, out);
            }
            Input::Watch(channel) => self.watch(now, channel, out),
            Input::Stop => self.stop(now, out),
            Input::DirectoryConnected => self.connected(now, out),
            Input::DirectoryMessage(message) => self.message(now, message, out),
            Input::DirectoryClosed { cause } => self.link.closed(now, cause, out),
            Input::Control { from, bytes } => self.control(now, from, bytes, out),
            Input::Media { group, bytes } => self.media(now, group, bytes, out),
            Input::Stream { from, bytes } => self.stream(now, from, bytes, out),
            Input::Tick => {}
        }
        self.poll(now, out);
        self.partings.poll(now, self.clock.as_ref(), out);
    }

    /// When to give it [`Input::Tick`], and why.
    pub fn deadline(&self) -> Option<(Time, Reason)> {
        let list = self.list.refresh_at.filter(|_| self.link.is_up()).map(|at| (at, Reason::List));
        let watched = self.watched.as_ref().and_then(|watched| watched.deadline(self.link.is_up()));
        let partings = self.partings.deadline().map(|at| (at, Reason::Live));
        earliest(self.link.deadline(), earliest(list, earliest(watched, partings)))
    }

    /// What it did since its start.
    pub fn counters(&self) -> Counters {
        let mut total = self.past;
        if let Some(reception) = self.reception() {
            reception.count(&mut total);
        }
        total.stale = self.stale;
        total.ignored_tunings = self.ignored_tunings;
        total.zaps = self.zaps;
        total
    }

    /// Where the watched channel is tuned to; `None` while it is not.
    pub fn tuning(&self) -> Option<&Tuning> {
        self.reception().map(Reception::tuning)
    }

    /// The newest list with tunings, be it from the directory or from the cache.
    pub fn kept_list(&self) -> Option<&ChannelList> {
        self.list.kept.as_ref()
    }

    /// Whether the directory answers.
    pub fn is_directory_up(&self) -> bool {
        self.link.is_up()
    }

    fn cached_list(&mut self, now: Time, list: ChannelList, time: ClusterTime) {
        if self.list.kept.is_none() {
            self.list.kept = Some(list);
            self.clock.get_or_insert(ClusterClock::new(now, time));
        }
    }

    fn watch(&mut self, now: Time, channel: ChannelId, out: &mut Vec<Output>) {
        if self.watched.as_ref().is_some_and(|watched| watched.channel == channel) {
            return;
        }
        self.stop(now, out);
        self.zaps += 1;
        self.watched = Some(Watched {
            channel,
            asked_at: now,
            reception: None,
            cache_at: Some(now + CACHE_AFTER),
            ask_at: now,
            asked: Backoff::default(),
            wants_directory: false,
            patience: self.patience,
        });
        if self.list.is_fresh {
            self.use_kept(now, Kept::Fresh, out);
        }
        self.link.want(now, out);
    }

    fn stop(&mut self, now: Time, out: &mut Vec<Output>) {
        let Some(mut watched) = self.watched.take() else { return };
        if let Some(reception) = &mut watched.reception {
            reception.stop(now, out);
            reception.parted.drain(..).for_each(|parting| self.partings.add(parting));
            reception.count(&mut self.past);
        }
        self.link.send(ToDatabase::Unwatch { channel: watched.channel }, out);
    }

    fn connected(&mut self, now: Time, out: &mut Vec<Output>) {
        if !self.link.connected(now, out) {
            return;
        }
        self.ask_for_list(now, out);
        if let Some(watched) = &mut self.watched {
            watched.ask_at = now;
            watched.wants_directory = true;
            watched.asked.reset();
        }
    }

    fn message(&mut self, now: Time, message: ToClient, out: &mut Vec<Output>) {
        if !self.link.is_up() {
            return;
        }
        match message {
            // A server that refuses is not one that serves: the backoff goes on.
            ToClient::Refused(refusal) => {
                out.push(Output::Notice(Notice::Refused(refusal.clone())));
                out.push(Output::DropDirectory);
                self.link.closed(now, refusal.to_string(), out);
                return;
            }
            ToClient::Channels(list) => self.listed(now, list, out),
            ToClient::Tuning(tuning) => self.tune(now, *tuning, out),
            ToClient::Unavailable { channel, reason } => self.unavailable(now, channel, reason, out),
            ToClient::ListChanged => {
                let soon = now + LIST_SPACING.mul_f64(self.random.f64());
                self.list.refresh_at = self.list.refresh_at.map(|at| at.min(soon));
            }
            ToClient::Pong
            | ToClient::Recordings(_)
            | ToClient::Recorded(_)
            | ToClient::Unrecorded { .. }
            | ToClient::RecordRefused(_)
            | ToClient::Playing(_)
            | ToClient::PlayRefused(_)
            | ToClient::LoggedIn { .. }
            | ToClient::Administered(_)
            | ToClient::AdministrationRefused(_)
            | ToClient::Guide(_) => {} // of recordings, guide and administration, which ask by connections of their own
        }
        self.link.heard(now);
    }

    fn listed(&mut self, now: Time, list: ChannelList, out: &mut Vec<Output>) {
        self.clock = Some(ClusterClock::new(now, list.time));
        if self.list.wanted == Some(true) {
            self.list.kept = Some(list.clone());
            self.list.is_fresh = true;
            self.keep_tuning();
            out.extend(self.list.kept.clone().map(Output::KeepList));
        }
        out.push(Output::Notice(Notice::Channels(list)));
    }

    fn tune(&mut self, now: Time, tuning: Tuning, out: &mut Vec<Output>) {
        let (seed, receiving) = (self.random.u64(..), self.receiving);
        let Some(watched) = self.watched.as_mut().filter(|watched| watched.channel == tuning.channel) else {
            self.ignored_tunings += 1;
            return;
        };
        let time = tuning.time;
        watched.cache_at = None;
        watched.ask_at = watched.ask_at.max(now + ASK_AGAIN_AFTER);
        if watched.reception.as_ref().is_none_or(|reception| reception.revision() < tuning.revision) {
            watched.asked.reset();
        }
        let clock = self.clock.insert(ClusterClock::new(now, time));
        if let Some(reception) = &mut watched.reception {
            self.ignored_tunings += u64::from(!reception.follow(now, tuning, Some(clock), out));
        } else {
            let start = Start { tuning, cached: false, seed, receiving, asked_at: watched.asked_at };
            watched.reception = Some(Reception::start(now, start, Some(clock), out));
        }
        self.keep_tuning();
    }

    fn unavailable(&mut self, now: Time, channel: ChannelId, reason: String, out: &mut Vec<Output>) {
        if let Some(watched) = self.watched.as_mut().filter(|watched| watched.channel == channel) {
            // What is tuned stays tuned: its packets may go on, and it is the place where they come back.
            watched.cache_at = None;
            watched.ask_at = now + UNAVAILABLE_RETRY;
            out.push(Output::Notice(Notice::Unavailable { channel, reason }));
        }
    }

    fn control(&mut self, now: Time, from: SocketAddr, bytes: &[u8], out: &mut Vec<Output>) {
        let Some(watched) = self.watched.as_mut() else { return };
        let Some(reception) = watched.reception.as_mut() else { return };
        match reception.control(now, from, bytes, &mut self.clock, out) {
            Asked::Nothing => {}
            Asked::Directory => watched.wants_directory = true,
            Asked::Keep => {
                self.keep_tuning();
                out.extend(self.list.kept.clone().map(Output::KeepList));
            }
        }
    }

    fn media(&mut self, now: Time, group: Group, bytes: &[u8], out: &mut Vec<Output>) {
        let clock = self.clock.as_ref();
        let reception = self.watched.as_mut().and_then(|watched| watched.reception.as_mut());
        if !reception.is_some_and(|reception| reception.datagram(now, group, bytes, clock, out)) {
            self.stale += 1;
        }
    }

    fn stream(&mut self, now: Time, from: SocketAddr, bytes: &[u8], out: &mut Vec<Output>) {
        let packet = RtpPacket::from_datagram(bytes).ok();
        let reception = self.watched.as_mut().and_then(|watched| watched.reception.as_mut());
        self.stale += u64::from(reception.is_none());
        let asked = reception.is_some_and(|reception| reception.stream(now, from, packet.as_ref(), out));
        if let Some(header) = packet.filter(|_| !asked).map(|packet| packet.header()) {
            self.partings.streamed(now, header.ssrc, header.sequence);
        }
    }

    fn poll(&mut self, now: Time, out: &mut Vec<Output>) {
        self.link.poll(now, out);
        if self.link.is_up() && self.list.refresh_at.is_some_and(|at| at <= now) {
            self.ask_for_list(now, out);
        }
        self.use_cache(now, out);
        let Some(watched) = &mut self.watched else { return };
        if self.link.is_up() && watched.ask_due() <= now {
            watched.wants_directory = false;
            let wait = watched.asked.next(self.random.u32(..)).max(ASK_AGAIN_AFTER);
            watched.ask_at = now + wait;
            self.link.send(ToDatabase::Watch { channel: watched.channel }, out);
        }
        if let Some(reception) = &mut watched.reception {
            reception.poll(now, self.clock.as_ref(), out);
            reception.parted.drain(..).for_each(|parting| self.partings.add(parting));
            if let Some(took) = reception.take_zapped() {
                let (channel, took_ms) =
                    (watched.channel, u32::try_from(took.as_millis()).unwrap_or(u32::MAX));
                out.push(Output::Notice(Notice::Zapped { channel, took }));
                self.link.send(ToDatabase::Zapped { channel, took_ms }, out);
            }
        }
    }

    /// Tunes by the cached list when the directory does not answer.
    fn use_cache(&mut self, now: Time, out: &mut Vec<Output>) {
        let Some(watched) = &mut self.watched else { return };
        if watched.cache_at.is_some_and(|at| at <= now || self.link.is_down()) {
            watched.cache_at = None;
            self.use_kept(now, Kept::Cached, out);
        }
    }

    /// Tunes by the list that is kept, where that can be done and has not been.
    fn use_kept(&mut self, now: Time, kept: Kept, out: &mut Vec<Output>) {
        let Some(watched) = self.watched.as_mut().filter(|watched| watched.reception.is_none()) else {
            return;
        };
        let clock = self.clock.as_ref();
        let entries = self.list.kept.iter().flat_map(|list| &list.channels);
        let tuning =
            entries.filter(|entry| entry.id == watched.channel).find_map(|entry| entry.tuning.clone());
        // What the directory has said in this run is taken for its answer while the lease lasts; it is asked all the same.
        let tuning = tuning.filter(|tuning| {
            kept == Kept::Cached || clock.is_some_and(|clock| clock.at(now) < tuning.lease.expires)
        });
        if let Some(tuning) = tuning {
            let (seed, cached) = (self.random.u64(..), kept == Kept::Cached);
            let (receiving, asked_at) = (self.receiving, watched.asked_at);
            let start = Start { tuning: *tuning, cached, seed, receiving, asked_at };
            watched.reception = Some(Reception::start(now, start, clock, out));
        }
    }

    fn ask_for_list(&mut self, now: Time, out: &mut Vec<Output>) {
        let Some(tunings) = self.list.wanted else { return };
        self.link.send(ToDatabase::List { tunings }, out);
        self.list.refresh_at = Some(now + LIST_REFRESH);
    }

    /// Puts the tuning in force into the list to keep, if it is not older.
    fn keep_tuning(&mut self) {
        let reception = self.watched.as_ref().and_then(|watched| watched.reception.as_ref());
        let Some((tuning, list)) = reception.map(Reception::tuning).zip(self.list.kept.as_mut()) else {
            return;
        };
        if let Some(entry) = list.channels.iter_mut().find(|entry| entry.id == tuning.channel)
            && entry.tuning.as_ref().is_none_or(|kept| {
                (kept.revision, kept.lease.expires) < (tuning.revision, tuning.lease.expires)
            })
        {
            entry.tuning = Some(Box::new(tuning.clone()));
        }
    }

    fn reception(&self) -> Option<&Reception> {
        self.watched.as_ref()?.reception.as_ref()
    }
}

impl Watched {
    /// When the directory is to be asked about the channel: at the start, when a push server sends us there, and
    /// while media are away. Never before `ask_at`.
    fn ask_due(&self) -> Time {
        match &self.reception {
            Some(_) if self.wants_directory => self.ask_at,
            Some(reception) => self.ask_at.max(reception.silent_since() + self.patience),
            None => self.ask_at,
        }
    }

    fn deadline(&self, link_is_up: bool) -> Option<(Time, Reason)> {
        let ask = link_is_up.then(|| (self.ask_due(), Reason::AskAgain));
        let cache = self.cache_at.map(|at| (at, Reason::Cache));
        let reception = self.reception.as_ref().and_then(Reception::deadline);
        earliest(ask, earliest(cache, reception))
    }
}

#[cfg(test)]
mod tests;
