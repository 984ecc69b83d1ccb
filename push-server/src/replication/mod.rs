//! What a host fetches from its peers so that replicas become equal again, as plain data: what is missing, which of two is
//! better, from whom and when, how fast. `docs/recording.md` (Replicas) says why. The effects are in `crate::shell::replication`.
//!
//! ```text
//! what is here, what a peer lists ──► [`wants`] ──► segments to fetch, oldest first
//! orders, what became of looks    ──► [`looks`] ──► which channel is looked after next, at whom
//! bytes                           ──► [`pace`]  ──► how long to wait
//! ```

pub mod looks;
pub mod pace;
pub mod wants;

pub use looks::{Concern, Intervals, Looks, Outcome};
pub use pace::Pace;
pub use wants::{Own, Verdict};
