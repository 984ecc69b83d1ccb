//! The one clock of a process, in the times that machines take.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use protocols::time::{ClusterTime, Time};

/// A monotonic clock whose origin is its start, one second in, so that machines may look a little back.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// Starts a clock.
    pub fn start() -> Self {
        let now = Instant::now();
        Self { origin: now.checked_sub(Duration::from_secs(1)).unwrap_or(now) }
    }

    /// The present.
    pub fn now(&self) -> Time {
        Time::ZERO + self.origin.elapsed()
    }

    /// `time` as the runtime's timers take it.
    pub fn instant(&self, time: Time) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.origin + time.since_origin())
    }

    /// Waits for a deadline; for ever when there is none.
    pub async fn reach(&self, deadline: Option<Time>) {
        match deadline {
            Some(time) => tokio::time::sleep_until(self.instant(time)).await,
            None => std::future::pending().await,
        }
    }

    /// The host's wall clock.
    pub fn wall() -> ClusterTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        ClusterTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
