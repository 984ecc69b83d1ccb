//! A whole site in one process on a virtual clock: the daemons' own root machines, and around them a network, inputs and
//! disks that exist only as numbers drawn from a seed. Same seed, same run, byte for byte.
//!
//! ```text
//!            ┌───────────── World ─────────────┐
//!  Queue ──► │ node glue (nodes/): what a shell │ ──► Fabric: network, streams, queue, disks
//!            │ does, feeding the real machine   │         │
//!            └──────────────────────────────────┘         └──► Invariants: judged at every sight
//! ```
//!
//! | module | owns |
//! |---|---|
//! | [`queue`] | what happens next |
//! | [`network`], [`streams`] | datagrams and connections, lost, late, doubled, cut |
//! | [`fabric`] | what all nodes share, and the ways to send |
//! | [`site`] | the topology, who has which address |
//! | [`source`] | packets that say which they are |
//! | [`nodes`] | the glue of each daemon |
//! | [`faults`] | what goes wrong in a run |
//! | [`invariants`] | what must hold nevertheless |
//! | [`run`] | [`World`] itself |

#![expect(
    clippy::missing_panics_doc,
    reason = "a panic here is a broken world, seen by the test that runs it"
)]

pub mod fabric;
pub mod faults;
pub mod invariants;
pub mod network;
pub mod nodes;
pub mod queue;
pub mod run;
pub mod site;
pub mod source;
pub mod streams;

pub use fabric::Fabric;
pub use invariants::Violation;
pub use run::{Settings, World};
pub use site::{Dimensions, Role, Site};

/// Nodes of one world at most: cuts are kept as a bit per pair.
pub const MAX_NODES: usize = 64;

/// A node: a machine with one address and one daemon on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(pub u16);

impl NodeId {
    /// Its place in tables.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}
