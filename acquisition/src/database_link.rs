//! The P1 connection: when to connect, when to poll, when the database server counts as dead.
//!
//! ```text
//! Waiting --timer--> Connecting --connected--> Connected --closed, silent--> Waiting
//!                        └──closed, timed out──────────────────────────────────┘
//! ```

use std::time::Duration;

use protocols::time::Time;

use crate::retry::Retry;

/// An attempt to connect and authenticate that takes longer has failed.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Shortest time between polls that changes bring on: a thousand changes at once make a few polls.
pub(crate) const MIN_POLL_SPACING: Duration = Duration::from_millis(20);

/// Where the connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Not connected; a timer runs.
    Waiting,
    /// Asked the shell to connect.
    Connecting,
    /// Registered; the last poll, and when something was last heard.
    Connected { polled: Option<Time> },
}

/// The P1 connection.
#[derive(Debug)]
pub(crate) struct DatabaseLink {
    pub(crate) state: State,
    pub(crate) retry: Retry,
}

impl DatabaseLink {
    /// Not connected.
    pub(crate) fn new() -> Self {
        Self { state: State::Waiting, retry: Retry::default() }
    }

    /// Whether messages can be sent.
    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected { .. })
    }

    /// When the poll that a change brings on may go out; `None` while not connected.
    pub(crate) fn hastened_poll(&self, now: Time) -> Option<Time> {
        match self.state {
            State::Connected { polled } => {
                Some(polled.map_or(now, |polled| now.max(polled + MIN_POLL_SPACING)))
            }
            _ => None,
        }
    }
}
