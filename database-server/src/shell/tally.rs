//! What the shell has counted: connections and datagrams that never reached the machine, and why.

use std::sync::atomic::{AtomicU64, Ordering};

use link::frames::LinkError;
use protocols::counters::Described;

/// A number that any task may raise.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! tally {
    ($($(#[doc = $meaning:literal])* $name:ident,)*) => {
        /// All counts of one run.
        #[derive(Debug, Default)]
        pub(super) struct Tally {
            $($(#[doc = $meaning])* pub(super) $name: Count,)*
        }

        impl Tally {
            /// Every count by name.
            pub(super) fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get())),*]
            }

            /// Every count with its meaning.
            pub(super) fn described(&self) -> Vec<Described> {
                vec![$(Described {
                    name: stringify!($name),
                    meaning: &[$($meaning),*],
                    count: self.$name.get(),
                }),*]
            }
        }
    };
}

tally! {
    /// Connections closed because they had not opened yet and newer ones waited for their place.
    openings_crowded_out,
    /// Connections whose preamble or handshake was wrong, too slow or unauthenticated.
    openings_failed,
    /// Frames that were too long, altered or no message; their connections are closed.
    frames_refused,
    /// Messages of a kind of a later version; skipped.
    kinds_unknown,
    /// Connections closed because the peer did not read what was sent to it.
    peers_not_reading,
    /// P4 datagrams dropped because the driver did not keep up.
    datagrams_dropped,
    /// P4 datagrams that the operating system did not take.
    datagrams_unsent,
    /// Requests for `/api/v1/live` refused because too many listen.
    live_refused,
    /// Listeners of `/api/v1/live` let go of because they did not read.
    live_dropped,
    /// Requests for /media that no gateway answered.
    media_failed,
    /// Reloads refused because the file was unreadable or had faults.
    reloads_refused,
}

impl Tally {
    /// Counts a connection that did not open.
    pub(super) fn opening_failed(&self, error: &LinkError) {
        let count = if matches!(error, LinkError::Crowded) {
            &self.openings_crowded_out
        } else {
            &self.openings_failed
        };
        count.add();
    }
}
