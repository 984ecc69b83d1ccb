//! Live sessions that are over for this viewer, and may not be for their push servers.

use std::net::SocketAddr;

use media::Sequence;
use protocols::authority::{Lease, MacKey};
use protocols::p2_directory::Tuning;
use protocols::p4_control::LiveRequest;
use protocols::time::{ClusterClock, ClusterTime, Time};

use super::Output;
use crate::live::Farewell;

/// Sessions that are said goodbye to at a time, as many as zaps within seconds make; beyond that the oldest times out by
/// itself.
pub const PARTINGS_MAX: usize = 16;

/// The sessions.
#[derive(Debug, Default)]
pub(super) struct Partings {
    of: Vec<Parting>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Parting {
    farewell: Farewell,
    control: SocketAddr,
    lease: Lease,
    secret: MacKey,
    /// The cluster's time when it was tuned, for want of a clock.
    time: ClusterTime,
}

impl Parting {
    /// Of a session by `tuning`.
    pub(super) fn new(farewell: Farewell, tuning: &Tuning) -> Self {
        let Tuning { control, lease, secret, time, .. } = tuning;
        Self { farewell, control: *control, lease: *lease, secret: secret.clone(), time: *time }
    }
}

impl Partings {
    /// Takes another one; its end is said by the next [`Partings::poll`].
    pub(super) fn add(&mut self, parting: Parting) {
        self.of.retain(|known| known.farewell.session() != parting.farewell.session());
        if self.of.len() >= PARTINGS_MAX {
            self.of.remove(0);
        }
        self.of.push(parting);
    }

    /// A packet came by P5 that nobody asked for.
    pub(super) fn streamed(&mut self, now: Time, ssrc: u32, sequence: Sequence) {
        self.of.iter_mut().for_each(|parting| parting.farewell.streamed(now, ssrc, sequence));
    }

    /// Says what is due.
    pub(super) fn poll(&mut self, now: Time, clock: Option<&ClusterClock>, out: &mut Vec<Output>) {
        for parting in &mut self.of {
            let Some((session, order)) = parting.farewell.poll(now) else { continue };
            let time = clock.map_or(parting.time, |clock| clock.at(now));
            let request = LiveRequest { lease: parting.lease, time, session, order };
            out.push(Output::SendControl {
                from: parting.lease.client,
                to: parting.control,
                bytes: request.seal(&parting.secret),
            });
        }
        self.of.retain(|parting| !parting.farewell.is_over(now));
    }

    /// When to call [`Partings::poll`].
    pub(super) fn deadline(&self) -> Option<Time> {
        self.of.iter().map(|parting| parting.farewell.deadline()).min()
    }
}
