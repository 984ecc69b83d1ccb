//! Live sessions: what their clients and their data threads say, and feeds that flow for them.

use std::net::SocketAddr;

use protocols::ids::ChannelId;
use protocols::p4_control::Sealed;
use protocols::time::Time;

use super::PushServer;
use super::exchange::Output;
use crate::live::Event;
use crate::live::table::{self, Standing};

impl PushServer {
    /// A datagram of kind [`Kind::Live`](protocols::p4_control::Kind::Live).
    pub(super) fn live(&mut self, now: Time, from: SocketAddr, sealed: &Sealed<'_>, out: &mut Vec<Output>) {
        let clock = self.cluster_time(now);
        let Some(asked) = self.admission.live(clock, from, sealed, &mut self.counters) else { return };
        let lease = asked.request.lease;
        let standing = Standing {
            assigned: self.interest.is_assigned(lease.channel, lease.destination),
            fed: self.fed(lease.channel),
        };
        let mut wanted = Vec::new();
        self.live.hear(now, &asked, standing, &mut self.counters, &mut wanted);
        self.live_outputs(now, wanted, out);
    }

    /// What a data thread tells of a live session of `channel`.
    pub(super) fn live_told(&mut self, now: Time, channel: ChannelId, event: Event, out: &mut Vec<Output>) {
        // Nothing begins before the cluster's time is known.
        let Some(clock) = self.cluster_time(now) else { return };
        let mut wanted = Vec::new();
        self.live.told(clock, event, &mut self.counters, &mut wanted);
        self.live_outputs(now, wanted, out);
        self.feed_wanted(now, channel, out);
    }

    /// Ends the sessions whose clients are silent.
    pub(super) fn live_silent(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.live.deadline().is_some_and(|at| at <= now) {
            let mut wanted = Vec::new();
            self.live.advance(now, &mut self.counters, &mut wanted);
            self.live_outputs(now, wanted, out);
        }
    }

    /// The feed flows before a session is ordered to begin.
    fn live_outputs(&mut self, now: Time, wanted: Vec<table::Output>, out: &mut Vec<Output>) {
        for wanted in wanted {
            match wanted {
                table::Output::Answer { key, bytes } => out.push(Output::Send { to: key.client, bytes }),
                table::Output::Order { channel, order } => {
                    self.feed_wanted(now, channel, out);
                    out.push(Output::Live { channel, order });
                }
            }
        }
    }

    /// Has the feed of `channel` flow while somebody wants it, and be held some time after.
    pub(super) fn feed_wanted(&mut self, now: Time, channel: ChannelId, out: &mut Vec<Output>) {
        let Some(configuration) = self.configurations.get(channel) else { return };
        let interest = &self.interest;
        let sent = |address| configuration.assigned(address) && interest.sending(channel, address);
        let watched = configuration.destinations.keys().any(|address| sent(*address));
        // What is recorded is wanted, whether or not anybody watches.
        let wanted = watched || self.recorded(channel) || self.live.wants(channel);
        if let Some(told) = self.holding.watched(now, channel, wanted) {
            self.tell_feed(channel, told, out);
        }
    }
}
