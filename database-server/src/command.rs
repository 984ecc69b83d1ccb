//! Commands to push server hosts: their order, against replay, and their seal.

use protocols::authority::MacKey;
use protocols::ids::{BootId, HostId};
use protocols::p4_control::{Command, CommandOrder, Kind, seal};
use protocols::time::{ClusterTime, Time};
use serde::Serialize;

use crate::counters::Counters;
use crate::output::Output;

/// What sending commands takes, lent for one input.
#[derive(Debug)]
pub(crate) struct Wire<'a> {
    pub(crate) now: Time,
    pub(crate) time: ClusterTime,
    pub(crate) commander: &'a mut Commander,
    pub(crate) counters: &'a mut Counters,
    pub(crate) out: &'a mut Vec<Output>,
}

/// Numbers and seals every P4 command of one life of the database server.
#[derive(Debug)]
pub(crate) struct Commander {
    start: u32,
    sequence: u64,
}

impl Commander {
    /// The first command of the database server's `start`-th life comes next.
    pub(crate) fn new(start: u32) -> Self {
        Self { start, sequence: 0 }
    }

    /// `body` as a datagram for `host`, under the next order.
    pub(crate) fn seal<B: Serialize>(
        &mut self,
        kind: Kind,
        host: &HostId,
        host_boot: BootId,
        key: &MacKey,
        body: B,
    ) -> (CommandOrder, Vec<u8>) {
        self.sequence += 1;
        let order = CommandOrder { start: self.start, sequence: self.sequence };
        let command = Command { host: host.clone(), host_boot, order, body };
        (order, seal(kind, &command, key))
    }
}
