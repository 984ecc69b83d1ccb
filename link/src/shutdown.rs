//! The end of a process: SIGINT, SIGTERM or a caller's wish, told to everybody who waits for it.

use std::sync::Arc;

use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Why signals cannot be heard.
#[derive(Debug, Error)]
pub enum SignalError {
    /// SIGINT has a handler already.
    #[error("cannot listen for SIGINT: {0}")]
    Interrupt(#[from] ctrlc::Error),
    /// No thread or no descriptor left for SIGTERM.
    #[error("cannot listen for SIGTERM: {0}")]
    Terminate(#[from] std::io::Error),
}

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

    /// One that SIGINT and SIGTERM trigger too. Once in a process.
    ///
    /// ctrlc's own `termination` feature would take SIGHUP as well, which means "read the topology again" here.
    pub fn on_signals() -> Result<Self, SignalError> {
        let shutdown = Self::new();
        let handle = shutdown.clone();
        ctrlc::set_handler(move || handle.request())?;
        let handle = shutdown.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        // Heard from here on, and not from whenever the thread comes to run.
        let mut terminated = {
            let _entered = runtime.enter();
            signal(SignalKind::terminate())?
        };
        // A thread of its own, since the caller may not be on a runtime yet. It ends with the process.
        std::thread::Builder::new().name("sigterm".to_owned()).spawn(move || {
            runtime.block_on(async {
                terminated.recv().await;
                handle.request();
            });
        })?;
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
