//! What is known of one channel: what each host told of it, and what that comes to.

use std::collections::BTreeMap;

use protocols::ids::{ChannelId, HostId};
use protocols::recording::Extent;
use protocols::time::ClusterTime;

use super::held::{Held, held};
use crate::record::Record;

/// What is known of one channel.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) replicas: BTreeMap<HostId, Replica>,
    /// Made from the replicas at the first question after a change.
    pub(super) held: Option<Vec<Held>>,
    /// What was last told of it: that some of it is held by too few.
    pub(super) thin: bool,
}

/// What one host holds of one channel.
#[derive(Debug, Default)]
pub(super) struct Replica {
    /// What counts, by beginning.
    pub(super) extents: BTreeMap<ClusterTime, Extent>,
    /// What it told in its present life.
    pub(super) slots: BTreeMap<u16, Extent>,
    /// Whether it has said in its present life that it knows what it holds.
    pub(super) known: bool,
}

impl Book {
    /// What all hosts together hold.
    pub(super) fn held(&mut self) -> &[Held] {
        self.held.get_or_insert_with(|| {
            let replicas = self.replicas.iter();
            held(
                replicas
                    .flat_map(|(host, replica)| replica.extents.values().map(move |extent| (host, extent))),
            )
        })
    }
}

impl Replica {
    /// What was told counts from now on; what to store is appended.
    pub(super) fn settle(&mut self, host: &HostId, channel: ChannelId, out: &mut Vec<Record>) {
        let told: BTreeMap<ClusterTime, Extent> =
            self.slots.values().map(|extent| (extent.from, *extent)).collect();
        let gone = self.extents.keys().filter(|from| !told.contains_key(from));
        out.extend(gone.map(|from| Record::ExtentGone { host: host.clone(), channel, from: *from }));
        let news = told.values().filter(|extent| self.extents.get(&extent.from) != Some(*extent));
        out.extend(news.map(|extent| Record::Extent { host: host.clone(), extent: *extent }));
        self.extents = told;
    }
}
