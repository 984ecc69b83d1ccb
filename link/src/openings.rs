//! Connections that have not said yet who they are: so many at a time, so long each.
//!
//! Where all places are taken, the oldest opening gives way once it has had its share of time. So a crowd of silent
//! connections, which costs its maker nothing, keeps nobody out for long.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Duration, Instant, timeout, timeout_at};

use crate::frames::LinkError;

/// An opening that takes longer in all is cut off.
pub const OPENING_LIMIT: Duration = Duration::from_secs(5);
/// What an opening is given while others wait for its place: several round trips.
pub const FAIR_SHARE: Duration = Duration::from_millis(500);

/// The openings of one port.
#[derive(Debug)]
pub struct Openings {
    places: Arc<Semaphore>,
    /// When each began, and what makes it give way; oldest first.
    under_way: VecDeque<(Instant, oneshot::Sender<Infallible>)>,
    limit: usize,
}

/// The right to open: one place among [`Openings`].
#[derive(Debug)]
#[must_use]
pub struct Opening {
    _place: OwnedSemaphorePermit,
    /// Over when a newer connection needs the place.
    needed: oneshot::Receiver<Infallible>,
}

impl Openings {
    /// No openings, and places for `limit`.
    pub fn new(limit: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(limit)), under_way: VecDeque::new(), limit }
    }

    /// A place for one more opening: a free one, or that of the oldest once it has had its share. Waits for it.
    pub async fn begin(&mut self) -> Opening {
        let place = self.place().await;
        let (sender, needed) = oneshot::channel();
        self.under_way.push_back((Instant::now(), sender));
        Opening { _place: place, needed }
    }

    async fn place(&mut self) -> OwnedSemaphorePermit {
        while self.under_way.front().is_some_and(|(_, opening)| opening.is_closed()) {
            self.under_way.pop_front();
        }
        // What ended out of turn stays in the table until it is at the front, or until the table has grown too long.
        if self.under_way.len() >= 2 * self.limit {
            self.under_way.retain(|(_, opening)| !opening.is_closed());
        }
        let mut free = pin!(Arc::clone(&self.places).acquire_owned());
        while let Some((begun, _)) = self.under_way.front() {
            if let Ok(place) = timeout_at(*begun + FAIR_SHARE, &mut free).await {
                return place.expect("the semaphore is never closed");
            }
            if let Some((_, oldest)) = self.under_way.pop_front()
                && !oldest.is_closed()
            {
                tracing::debug!(limit = self.limit, "an opening makes room for a newer one");
                break;
            }
        }
        free.await.expect("the semaphore is never closed")
    }
}

impl Opening {
    /// Does the opening, within its time and for as long as nobody waits for the place. The place is free afterwards.
    pub async fn run<T>(self, opening: impl Future<Output = Result<T, LinkError>>) -> Result<T, LinkError> {
        tokio::select! {
            biased;
            opened = timeout(OPENING_LIMIT, opening) => opened.unwrap_or(Err(LinkError::Slow("open"))),
            _ = self.needed => Err(LinkError::Crowded),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_gives_way_after_its_share_and_no_sooner() {
        let mut openings = Openings::new(2);
        let began = Instant::now();
        let silent: Vec<_> = [openings.begin().await, openings.begin().await]
            .into_iter()
            .map(|opening| tokio::spawn(opening.run(pending::<Result<(), LinkError>>())))
            .collect();
        let newcomer = openings.begin().await;
        assert_eq!(began.elapsed().as_millis() / 10, FAIR_SHARE.as_millis() / 10);
        newcomer.run(ready(Ok(()))).await.unwrap();
        let mut silent = silent.into_iter();
        let oldest = silent.next().unwrap().await.unwrap();
        assert!(matches!(oldest, Err(LinkError::Crowded)), "{oldest:?}");
        let second = silent.next().unwrap();
        // A place is free now: nobody has to give way for the next one.
        openings.begin().await.run(ready(Ok(()))).await.unwrap();
        assert!(!second.is_finished());
        assert!(matches!(second.await.unwrap(), Err(LinkError::Slow("open"))));
        assert_eq!(began.elapsed().as_millis() / 10, OPENING_LIMIT.as_millis() / 10);
    }

    #[tokio::test(start_paused = true)]
    async fn openings_that_end_leave_no_trace() {
        let mut openings = Openings::new(3);
        let first = openings.begin().await;
        for _ in 0..1_000 {
            openings.begin().await.run(ready(Ok(()))).await.unwrap();
        }
        assert!(openings.under_way.len() <= 6, "{}", openings.under_way.len());
        drop(first);
        openings.begin().await.run(ready(Ok(()))).await.unwrap();
        assert!(openings.under_way.len() <= 1, "{}", openings.under_way.len());
    }
}
