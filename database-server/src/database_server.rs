//! The root machine of the database server.

use protocols::ids::BootId;
use protocols::time::Time;

use crate::input::{Config, Input, Reason};
use crate::output::Output;

/// The database server, without its sockets, clock and disk.
#[derive(Debug)]
pub struct DatabaseServer {
    boot_id: BootId,
}

impl DatabaseServer {
    /// A database server that begins its life. `seed` spreads what would otherwise happen at once.
    pub fn new(config: Config, boot_id: BootId, seed: u64) -> Self {
        let _ = (config, seed);
        Self { boot_id }
    }

    /// Takes one input at `now`; what must be done is appended to `out`.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        let _ = (now, input, out);
    }

    /// When [`Input::Tick`] is wanted next, and for what.
    pub fn deadline(&self) -> Option<(Time, Reason)> {
        None
    }

    /// The boot id of this life.
    pub fn boot_id(&self) -> BootId {
        self.boot_id
    }
}
