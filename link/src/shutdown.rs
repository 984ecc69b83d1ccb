//! The end of a process: SIGINT, SIGTERM or a caller's wish, told to everybody who waits for it.

use std::sync::Arc;

use tokio::sync::watch;

/// A request to end, shared by all tasks of a process.
#[derive(Debug, Clone)]
pub struct Shutdown {
    sender: Arc<watch::Sender<bool>>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// One that only [`Self::request`] triggers.
    pub fn new() -> Self {
        Self { sender: Arc::new(watch::Sender::new(false)) }
    }

    /// One that SIGINT, SIGTERM and SIGHUP-less terminals trigger too. Once in a process.
    pub fn on_signals() -> Result<Self, ctrlc::Error> {
        let shutdown = Self::new();
        let handle = shutdown.clone();
        ctrlc::set_handler(move || handle.request())?;
        Ok(shutdown)
    }

    /// Asks everybody to end; again is harmless.
    pub fn request(&self) {
        self.sender.send_replace(true);
    }

    /// Whether it has been asked for.
    pub fn is_requested(&self) -> bool {
        *self.sender.borrow()
    }

    /// Returns when it is asked for.
    pub async fn requested(&self) {
        let mut receiver = self.sender.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = receiver.wait_for(|requested| *requested).await;
    }
}
