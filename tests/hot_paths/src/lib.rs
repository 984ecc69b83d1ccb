//! The hot paths: what the daemons do for each packet, each interest and each request, set up so that it can be done
//! again and again. One list for three judges:
//!
//! | judge | says | where |
//! |---|---|---|
//! | callgrind | instructions for each, the same on a busy machine | `tests/costs.rs`, by `masthead-hot-paths` |
//! | a counting allocator | allocations for each | `tests/costs.rs` |
//! | divan | time for each, on a quiet machine | `benches/hot_paths.rs` |

use std::fmt;

mod control;
mod data_plane;
mod messages;
mod streams;

/// One hot path.
#[derive(Clone, Copy)]
pub struct HotPath {
    /// What it is called everywhere.
    pub name: &'static str,
    /// What is counted: a packet, a request.
    pub unit: &'static str,
    /// How many of them one step is.
    pub units_per_step: u64,
    /// Sets it up; each call of the answer is one step.
    pub prepare: fn() -> Step,
}

/// Does one step.
pub type Step = Box<dyn FnMut()>;

impl fmt::Debug for HotPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl fmt::Display for HotPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// All of them, each name once.
pub fn all() -> Vec<HotPath> {
    [data_plane::HOT_PATHS, control::HOT_PATHS, streams::HOT_PATHS, messages::HOT_PATHS].concat()
}

/// The one with this name.
pub fn named(name: &str) -> Option<HotPath> {
    all().into_iter().find(|path| path.name == name)
}
