//! Recordings sent to single viewers: the sessions ([`crate::session`]) on a thread of their own, away from those that carry what
//! is on air.
//!
//! ```text
//! driver: kinds 8 and 10, verified ──► playback thread: Sessions ──packets──► P5's socket
//!                                        │  ▲ page cache: read here      └─answers──► P4's socket
//!                                 disk:  ▼  │
//!                                      reader threads
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `stage.rs` | the playback thread |
//! | `reel.rs`, `library.rs` | where a session stands in a recording; the segments that are open |
//! | `readers.rs` | threads that wait for the disk |
//! | `frame.rs` | packets that were read, and their memory |
//! | `post.rs` | sending them |

mod frame;
mod library;
mod post;
mod readers;
mod reel;
mod stage;

use std::io;
use std::net::UdpSocket;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use link::clock::Clock;
use protocols::authority::LeaseKey;

use super::recorder::Archive;
use crate::admission::{PlayMissed, Played};
use crate::session::{Counters, ReadOutcome, SessionKey, Sessions};
use frame::Frame;
use library::Library;
use post::Post;
use readers::Readers;
use reel::Reel;
use stage::{Props, Stage};

/// Orders, requests and reads that wait for the playback thread at most. When full, orders and requests are dropped, since they
/// come again, and readers wait.
const CALLS_WAITING: usize = 8_192;

/// What wakes the playback thread.
#[derive(Debug)]
pub(super) enum Call {
    /// A genuine order to a session.
    Order(Box<Played>),
    /// A genuine request for what was lost.
    Missed(Box<PlayMissed>),
    /// A reader thread has read.
    Read { key: SessionKey, ticket: u64, outcome: ReadOutcome<Frame>, reel: Reel },
    /// End.
    Stop,
}

/// What playback has done, shown each second while there are sessions.
#[derive(Debug, Default)]
pub struct Shown {
    counts: Mutex<Counts>,
}

/// What playback has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions that there are.
    pub sessions: usize,
    /// What became of orders and packets.
    pub counters: Counters,
    /// Datagrams that the operating system did not take.
    pub not_taken: u64,
}

impl Shown {
    /// As last shown.
    pub fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, sessions: &Sessions<Frame>, not_taken: u64) {
        let counts = Counts { sessions: sessions.len(), counters: sessions.counters(), not_taken };
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }
}

/// What playback needs.
#[derive(Debug)]
pub(super) struct Means {
    pub(super) clock: Clock,
    /// What there is to play; `None`: nothing.
    pub(super) archive: Option<Arc<Archive>>,
    /// P5's socket, and P4's, of one family.
    pub(super) stream: UdpSocket,
    pub(super) control: UdpSocket,
    pub(super) leases: LeaseKey,
    pub(super) shown: Arc<Shown>,
}

/// The driver's end of playback.
#[derive(Debug)]
pub(super) struct Playback {
    calls: SyncSender<Call>,
    thread: JoinHandle<()>,
    shown: Arc<Shown>,
}

impl Playback {
    /// Starts the threads.
    pub(super) fn start(means: Means) -> io::Result<Self> {
        let Means { clock, archive, stream, control, leases, shown } = means;
        let (calls, called) = sync_channel(CALLS_WAITING);
        let readers = Readers::start(&calls)?;
        let (library, post) = (Arc::new(Library::new(archive)), Post::new(stream));
        let props =
            Props { clock, library, readers, post, control, leases, calls: called, shown: shown.clone() };
        let thread = Builder::new().name("playback".to_owned()).spawn(move || Stage::new(props).run())?;
        Ok(Self { calls, thread, shown })
    }

    /// Lays a call in; false when there is no room.
    #[must_use]
    pub(super) fn put(&self, call: Call) -> bool {
        self.calls.try_send(call).is_ok()
    }

    /// What it has done so far.
    pub(super) fn counts(&self) -> Counts {
        self.shown.counts()
    }

    /// Ends it.
    pub(super) fn stop(self) {
        // It takes what waits, so there is room soon.
        let _ = self.calls.send(Call::Stop);
        if self.thread.join().is_err() {
            tracing::error!("the playback thread has panicked");
        }
    }
}
