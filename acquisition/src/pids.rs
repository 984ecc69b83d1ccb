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
