//! Hosts that join a group as viewers of its channel.

use std::net::IpAddr;

use protocols::ids::ChannelId;
use protocols::p4_control::DestinationFault;
use protocols::time::Time;

use super::{Output, PushServer};
use crate::interest;
use crate::membership::Event;
use crate::report::Subject;

impl PushServer {
    /// Listens to the groups of a configuration that has come into force and announces the channel there, or does neither for
    /// it any more.
    pub(super) fn members_configured(
        &mut self,
        now: Time,
        channel: ChannelId,
        effects: &mut Vec<interest::Output>,
        out: &mut Vec<Output>,
    ) {
        let configuration = self.configurations.get(channel);
        let destinations = configuration.into_iter().flat_map(|known| known.destinations.values());
        let mut orders = Vec::new();
        self.membership.configure(now, channel, destinations.clone(), &mut self.counters, &mut orders);
        out.extend(orders.into_iter().map(Output::Membership));
        let mut notices = Vec::new();
        self.sessions.configure(now, channel, configuration, &mut notices);
        out.extend(notices.into_iter().map(Output::Notify));
        for order in destinations.filter(|order| order.assigned) {
            let there = order.membership && self.membership.has_members(order.address);
            self.interest.members(channel, order.address, there, effects);
        }
    }

    pub(super) fn membership_told(&mut self, now: Time, event: Event) {
        let link = match &event {
            Event::Up { link, .. } | Event::Down { link, .. } => Some(link.clone()),
            Event::Packet { .. } => None,
        };
        self.membership.hear(now, event, &mut self.counters);
        // Whether members can be heard is told of each destination.
        for (channel, configuration) in self.configurations.iter().filter(|_| link.is_some()) {
            for order in configuration.destinations.values().filter(|order| order.membership) {
                self.report.changed(Subject::Destination(channel, order.address));
            }
        }
    }

    /// What is due of asking for members, and what has changed.
    pub(super) fn members_changed(
        &mut self,
        now: Time,
        effects: &mut Vec<interest::Output>,
        out: &mut Vec<Output>,
    ) {
        let (mut orders, mut changed) = (Vec::new(), Vec::new());
        self.membership.advance(now, &mut orders, &mut changed);
        out.extend(orders.into_iter().map(Output::Membership));
        for (channel, group, there) in changed {
            tracing::info!(%channel, %group, there, "members");
            self.interest.members(channel, group, there, effects);
        }
    }

    /// Where members should count and cannot be heard.
    pub(super) fn deaf(&self, channel: ChannelId, address: IpAddr) -> Option<DestinationFault> {
        let order = self.configurations.get(channel)?.destinations.get(&address)?;
        (order.membership && self.membership.is_deaf(address)).then_some(DestinationFault::Deaf)
    }
}
