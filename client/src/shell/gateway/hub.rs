//! All channels that are wanted: one subscription each, however many read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use link::clock::Clock;
use protocols::ids::ChannelId;

use super::super::Options;
use super::answer::Refusal;
use super::channel::{self, Channel};

/// Channels subscribed to at a time; one more is refused with 503.
pub(super) const CHANNELS_MAX: usize = 32;
/// Readers of all channels together; one more is refused with 503.
pub(super) const READERS_MAX: u64 = 512;
/// How long the end waits for subscriptions to be released.
const RELEASE_TIMEOUT: Duration = Duration::from_millis(500);

/// The hub.
#[derive(Debug)]
pub(super) struct Hub {
    options: Options,
    pub(super) clock: Clock,
    channels: Mutex<BTreeMap<ChannelId, Arc<Channel>>>,
    pub(super) counters: Counters,
}

/// What has happened so far.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Readers now.
    pub(super) readers: AtomicU64,
    /// Readers that were served.
    pub(super) served: AtomicU64,
    /// Bytes given to readers.
    pub(super) bytes: AtomicU64,
    /// Readers disconnected since they were slower than their channel.
    pub(super) too_slow: AtomicU64,
    /// Subscriptions made.
    pub(super) subscriptions: AtomicU64,
    /// Requests refused for want of room.
    pub(super) refused: AtomicU64,
}

/// Adds to a counter.
pub(super) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// A reader of a channel; the channel may be released once it is dropped.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) hub: Arc<Hub>,
    pub(super) channel: Arc<Channel>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.channel.state().tenancy.leave(self.channel.clock.now());
        self.hub.counters.readers.fetch_sub(1, Ordering::Relaxed);
        // Its task has to learn that it has a deadline now.
        self.channel.wake();
    }
}

impl Hub {
    /// One without channels.
    pub(super) fn new(options: Options) -> Arc<Self> {
        Arc::new(Self {
            options,
            clock: Clock::start(),
            channels: Mutex::default(),
            counters: Counters::default(),
        })
    }

    /// A reader more.
    pub(super) fn enter(self: &Arc<Self>, id: ChannelId) -> Result<Reader, Refusal> {
        if self.counters.readers.fetch_add(1, Ordering::Relaxed) >= READERS_MAX {
            self.counters.readers.fetch_sub(1, Ordering::Relaxed);
            count(&self.counters.refused, 1);
            return Err(Refusal::unavailable(format!("{READERS_MAX} readers are served already")));
        }
        let entered = self.with(id, |channel| channel.state().tenancy.enter());
        match entered {
            Ok(channel) => {
                count(&self.counters.served, 1);
                Ok(Reader { hub: Arc::clone(self), channel })
            }
            Err(refusal) => {
                self.counters.readers.fetch_sub(1, Ordering::Relaxed);
                Err(refusal)
            }
        }
    }

    /// A channel of which a playlist is asked for: subscribed to for a while.
    pub(super) fn ask(self: &Arc<Self>, id: ChannelId) -> Result<Arc<Channel>, Refusal> {
        self.with(id, |channel| channel.state().tenancy.ask(self.clock.now()))
    }

    /// A channel that is subscribed to.
    pub(super) fn find(&self, id: ChannelId) -> Option<Arc<Channel>> {
        self.lock().get(&id).cloned()
    }

    /// The channels that are subscribed to.
    pub(super) fn channels(&self) -> Vec<Arc<Channel>> {
        self.lock().values().cloned().collect()
    }

    /// Ends all subscriptions.
    pub(super) async fn release_all(&self) {
        let all = self.channels();
        all.iter().for_each(|channel| channel.end());
        let gone = async {
            for channel in &all {
                let mut changes = channel.changes();
                while self.lock().contains_key(&channel.id) {
                    // Told when it has left the hub.
                    let _ = changes.changed().await;
                }
            }
        };
        let _ = tokio::time::timeout(RELEASE_TIMEOUT, gone).await;
    }

    /// The channel, subscribed to, after `note` was done to it before anybody can find that nobody wants it.
    fn with(self: &Arc<Self>, id: ChannelId, note: impl FnOnce(&Channel)) -> Result<Arc<Channel>, Refusal> {
        let mut channels = self.lock();
        if let Some(channel) = channels.get(&id) {
            note(channel);
            return Ok(Arc::clone(channel));
        }
        if channels.len() >= CHANNELS_MAX {
            count(&self.counters.refused, 1);
            return Err(Refusal::unavailable(format!("{CHANNELS_MAX} channels are watched already")));
        }
        let channel = Channel::new(id, self.clock);
        note(&channel);
        channels.insert(id, Arc::clone(&channel));
        count(&self.counters.subscriptions, 1);
        let (hub, fed) = (Arc::clone(self), Arc::clone(&channel));
        tokio::spawn(async move { hub.keep(&fed).await });
        Ok(channel)
    }

    /// Feeds a channel while it is wanted.
    async fn keep(&self, channel: &Channel) {
        loop {
            if let Err(error) = channel::feed(channel, &self.options).await {
                channel.state().problem = Some(error.to_string());
                channel.end();
            }
            let mut channels = self.lock();
            let mut state = channel.state();
            // Somebody may have come while it was being released: then it is subscribed to anew.
            if state.is_over || state.tenancy.is_over(self.clock.now()) {
                state.is_over = true;
                channels.remove(&channel.id);
                drop(state);
                channel.wake();
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ChannelId, Arc<Channel>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
