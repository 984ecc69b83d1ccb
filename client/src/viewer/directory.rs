//! The client's link to the directory (P2): connected, kept alive, connected again.
//!
//! ```text
//! Off --want--> Connecting --up--> Up --closed, silent--> Waiting --backoff--> Connecting
//!                    └─────────refused, too slow──────────►┘
//! ```

use std::time::Duration;

use protocols::backoff::Backoff;
use protocols::p2_directory::{PING_INTERVAL, SILENCE_TIMEOUT, ToDatabase};
use protocols::time::Time;

use super::{Notice, Output, Reason};

/// A connection that is not up within this is given up.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The link.
#[derive(Debug)]
pub(super) struct DirectoryLink {
    random: fastrand::Rng,
    backoff: Backoff,
    state: State,
    /// Whether the user has been told that it is down.
    told_down: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Off,
    Connecting { give_up: Time },
    Up { silent_at: Time, ping_at: Time },
    Waiting { until: Time },
}

impl DirectoryLink {
    /// A link that nobody has wanted yet.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            backoff: Backoff::default(),
            state: State::Off,
            told_down: false,
        }
    }

    /// Somebody needs it.
    pub(super) fn want(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.state == State::Off {
            self.connect(now, out);
        }
    }

    /// The connection is up. `false` when none was asked for.
    pub(super) fn connected(&mut self, now: Time, out: &mut Vec<Output>) -> bool {
        if !matches!(self.state, State::Connecting { .. }) {
            return false;
        }
        self.state = State::Up { silent_at: now + SILENCE_TIMEOUT, ping_at: now + PING_INTERVAL };
        self.told_down = false;
        out.push(Output::Notice(Notice::DirectoryUp));
        true
    }

    /// The peer spoke: it lives, and serves us.
    pub(super) fn heard(&mut self, now: Time) {
        self.backoff.reset();
        if let State::Up { silent_at, .. } = &mut self.state {
            *silent_at = now + SILENCE_TIMEOUT;
        }
    }

    /// The connection is gone, or was not to be had.
    pub(super) fn closed(&mut self, now: Time, cause: String, out: &mut Vec<Output>) {
        if matches!(self.state, State::Off | State::Waiting { .. }) {
            return;
        }
        self.state = State::Waiting { until: now + self.backoff.next(self.random.u32(..)) };
        if !self.told_down {
            self.told_down = true;
            out.push(Output::Notice(Notice::DirectoryDown { cause }));
        }
    }

    /// Sends when the link is up.
    pub(super) fn send(&self, message: ToDatabase, out: &mut Vec<Output>) {
        if self.is_up() {
            out.push(Output::SendDirectory(message));
        }
    }

    /// Does what is due.
    pub(super) fn poll(&mut self, now: Time, out: &mut Vec<Output>) {
        match &mut self.state {
            State::Connecting { give_up } if *give_up <= now => {
                out.push(Output::DropDirectory);
                self.closed(now, "no answer".to_owned(), out);
            }
            State::Up { silent_at, .. } if *silent_at <= now => {
                out.push(Output::DropDirectory);
                self.closed(now, "it has fallen silent".to_owned(), out);
            }
            State::Up { ping_at, .. } if *ping_at <= now => {
                *ping_at = now + PING_INTERVAL;
                out.push(Output::SendDirectory(ToDatabase::Ping));
            }
            State::Waiting { until } if *until <= now => self.connect(now, out),
            _ => {}
        }
    }

    /// When to call [`DirectoryLink::poll`].
    pub(super) fn deadline(&self) -> Option<(Time, Reason)> {
        match self.state {
            State::Off => None,
            State::Connecting { give_up } => Some((give_up, Reason::Directory)),
            State::Up { silent_at, ping_at } => Some((silent_at.min(ping_at), Reason::Ping)),
            State::Waiting { until } => Some((until, Reason::Directory)),
        }
    }

    /// Whether messages can be sent.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// Whether it is known not to answer now.
    pub(super) fn is_down(&self) -> bool {
        matches!(self.state, State::Waiting { .. }) || self.told_down
    }

    fn connect(&mut self, now: Time, out: &mut Vec<Output>) {
        self.state = State::Connecting { give_up: now + CONNECT_TIMEOUT };
        out.push(Output::ConnectDirectory);
    }
}
