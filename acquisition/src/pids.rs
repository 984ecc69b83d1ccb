//! Which packets of a multiplex somebody needs.

use std::collections::BTreeSet;

/// The PIDs that an input is asked for. An input that cannot choose brings all, which is as good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pids {
    /// The whole multiplex.
    All,
    /// These only, 0 to 0x1fff.
    Only(BTreeSet<u16>),
}

impl Pids {
    /// These and more.
    #[must_use]
    pub fn with(mut self, more: impl IntoIterator<Item = u16>) -> Self {
        if let Self::Only(pids) = &mut self {
            pids.extend(more);
        }
        self
    }
}
