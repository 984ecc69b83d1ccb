//! The service manager's eye on a daemon: `READY=1` once it is open, and `WATCHDOG=1` from the driver's own loop, so that one
//! that hangs is started again (`sd_notify(3)`, `sd_watchdog_enabled(3)`). Without a service manager nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

/// Tells the service manager, where there is one, that the driver turns.
#[derive(Debug)]
pub struct Supervision {
    /// Between two signs of life: half of what the service manager waits for one. `None`: it waits for none.
    interval: Option<Duration>,
    next: Instant,
}

impl Supervision {
    /// The daemon is open: says so, and begins to be watched.
    pub fn ready() -> Self {
        tell(NotifyState::Ready);
        Self::every(sd_notify::watchdog_enabled().map(|limit| limit / 2))
    }

    fn every(interval: Option<Duration>) -> Self {
        Self { interval, next: Instant::now() }
    }

    /// Waits until a sign of life is due; for ever where nobody waits for one.
    pub async fn due(&self) {
        match self.interval {
            Some(_) => sleep_until(self.next).await,
            None => std::future::pending().await,
        }
    }

    /// Gives it. To be called from the loop that is watched, and from nowhere else.
    pub fn alive(&mut self) {
        if let Some(interval) = self.interval {
            tell(NotifyState::Watchdog);
            self.next = Instant::now() + interval;
        }
    }
}

impl Drop for Supervision {
    /// The driver has ended: what follows is no hang.
    fn drop(&mut self) {
        tell(NotifyState::Stopping);
    }
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        debug!(%error, "the service manager cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_sign_of_life_is_due_at_once_and_then_at_each_interval() {
        let interval = Duration::from_secs(5);
        let mut supervision = Supervision::every(Some(interval));
        let begun = Instant::now();
        for n in 0..3 {
            supervision.due().await;
            assert_eq!(begun.elapsed(), interval * n);
            supervision.alive();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_service_manager_none_is_ever_due() {
        let supervision = Supervision::every(None);
        assert!(tokio::time::timeout(Duration::from_hours(1), supervision.due()).await.is_err());
    }
}
