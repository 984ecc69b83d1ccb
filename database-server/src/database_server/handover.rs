//! Moving viewers from a push server that drains to its successor: both send until the successor is seen to be sending, so
//! that no packet is missed. The packets are the same ones, and clients drop what comes twice.
//!
//! ```text
//! assigned ──another takes over──► outgoing ──successor seen sending, HANDOVER_LINGER──► suspended
//!                                      └───────────────HANDOVER_LIMIT────────────────────────┘
//! ```

use std::net::IpAddr;

use protocols::ids::{ChannelId, HostId};
use protocols::time::Time;
use protocols::topology::Topology;
use tracing::debug;

use super::DatabaseServer;
use crate::assignment::{HANDOVER_LIMIT, HANDOVER_LINGER};
use crate::reception::{Assigned, Place};

impl DatabaseServer {
    /// `place` has just been assigned anew. `outgoing`, which could go on, goes on until the new one, which is `sending`
    /// already or not, has taken over; so do those that were going on when this one was not yet seen to be sending.
    pub(super) fn hand_over(&mut self, now: Time, place: &Place, outgoing: Option<Assigned>, sending: bool) {
        let Some(row) = self.receptions.get_mut(place) else { return };
        row.outgoing.extend(outgoing);
        if let Some(Assigned { host, destination, .. }) = &row.assigned {
            row.outgoing.retain(|old| (&old.host, old.destination) != (host, *destination));
        }
        if row.outgoing.is_empty() {
            self.handovers.cancel(place);
        } else {
            self.handovers.set(place.clone(), now + if sending { HANDOVER_LINGER } else { HANDOVER_LIMIT });
        }
    }

    /// The push server of `channel` at `host` has begun to send to `address`: who sends there in its stead may soon stop.
    pub(super) fn seen_sending(
        &mut self,
        now: Time,
        host: &HostId,
        channel: ChannelId,
        address: IpAddr,
        topology: &Topology,
    ) {
        let Some(declared) = topology.hosts.get(host) else { return };
        let sent = declared.destinations.iter().filter(|to| to.address == address && to.carries(channel));
        for destination in sent {
            let place = (channel, destination.network.clone());
            let Some(row) = self.receptions.get(&place) else { continue };
            let assigned = row.assigned.as_ref();
            let taken_over = assigned.is_some_and(|now| now.host == *host && now.destination == address);
            if taken_over && !row.outgoing.is_empty() {
                self.handovers.set_earlier(place, now + HANDOVER_LINGER);
            }
        }
    }

    /// Has those stop whose time is over.
    pub(super) fn end_handovers(&mut self, now: Time) {
        while let Some(place) = self.handovers.pop(now) {
            let Some(row) = self.receptions.get_mut(&place) else { continue };
            for outgoing in std::mem::take(&mut row.outgoing) {
                debug!(channel = %place.0, network = %place.1, from = %outgoing.host, "handed over");
                self.touched_servers.insert((outgoing.host, place.0));
            }
        }
    }
}
