//! A task that ends with its handle.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Aborts its task when dropped.
#[derive(Debug)]
pub(crate) struct Task(JoinHandle<()>);

impl Task {
    /// Starts `work`.
    pub(crate) fn start(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    /// Waits for the task to end by itself, at most until then. May be dropped, and asked again.
    pub(crate) async fn ended(&mut self, until: Instant) {
        // A task that panicked has ended as well.
        if !self.0.is_finished() {
            let _ = tokio::time::timeout_at(until, &mut self.0).await;
        }
    }

    /// Waits for the task to end by itself; after `patience` it is aborted.
    pub(crate) async fn finish(mut self, patience: Duration) {
        // A task that panicked has ended as well.
        let _ = tokio::time::timeout(patience, &mut self.0).await;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
