//! Losses on purpose, by nftables: this works on kernels without netem.

use std::sync::Arc;

use crate::namespace::Namespace;
use crate::wire::Table;

/// Which packets are lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    /// Each with this chance, 0 to 100; drawn by the kernel, so not the same twice.
    Percent(f64),
    /// Exactly the first, the (n+1)th, the (2n+1)th and so on.
    EveryNth(u32),
    /// All: a partition.
    All,
}

/// A loss at work; everything arrives again when this goes.
#[derive(Debug)]
pub struct Impairment {
    table: Table,
}

impl Impairment {
    pub(crate) fn on_bridge(namespace: Arc<Namespace>, hook: &str, filter: &str, loss: Loss) -> Self {
        let chosen = match loss {
            Loss::Percent(percent) => {
                assert!((0.0..=100.0).contains(&percent), "{percent} is not a percentage");
                format!("numgen random mod 1000000 < {:.0}", percent * 1e4)
            }
            Loss::EveryNth(n) => format!("numgen inc mod {n} == 0"),
            Loss::All => String::new(),
        };
        let rule = format!("{filter} {chosen} counter drop");
        Self { table: Table::new(namespace, "bridge", &format!("hook {hook} priority 0"), &rule) }
    }

    /// Packets lost so far.
    pub fn lost(&self) -> u64 {
        self.table.counted().0
    }

    /// Ends the loss now and says how many packets it took.
    pub fn heal(self) -> u64 {
        self.lost()
    }
}
