//! The database server's commands: which count, what they change, what is answered.

use std::net::SocketAddr;

use protocols::ids::{ChannelId, Revision};
use protocols::p4_control::{
    Command, CommandOrder, Configure, Configured, DatagramError, Kind, Query, Report, ReportItem, Response,
    Sealed, seal,
};
use protocols::preamble::Refusal;
use protocols::time::{ClusterClock, Time};
use serde::Serialize;

use super::PushServer;
use super::exchange::Output;
use crate::configuration::{Effect, MAX_CHANNELS};
use crate::interest;
use crate::report::Subject;

impl PushServer {
    pub(super) fn query(
        &mut self,
        now: Time,
        from: SocketAddr,
        bytes: &[u8],
        sealed: &Sealed<'_>,
        effects: &mut Vec<interest::Output>,
        out: &mut Vec<Output>,
    ) -> Result<(), DatagramError> {
        let command: Command<Query> = sealed.open(&self.host_key)?;
        if self.counts(from, bytes, &command, out) {
            self.clock = Some(ClusterClock::new(now, command.body.time));
            self.interest.announce_along(now, self.cluster_time(now), &mut self.counters, effects);
            let page = self.report.page(command.body.since);
            let items = page.subjects.iter().filter_map(|subject| self.item(*subject)).collect();
            let report = Report { up_to: page.up_to, more: page.more, items };
            out.push(Output::Send { to: from, bytes: self.respond(Kind::Report, command.order, report) });
        }
        Ok(())
    }

    pub(super) fn configure(
        &mut self,
        now: Time,
        from: SocketAddr,
        bytes: &[u8],
        sealed: &Sealed<'_>,
        effects: &mut Vec<interest::Output>,
        out: &mut Vec<Output>,
    ) -> Result<(), DatagramError> {
        let command: Command<Configure> = sealed.open(&self.host_key)?;
        if !self.counts(from, bytes, &command, out) {
            return Ok(());
        }
        let Configure { channel, revision, part, parts, .. } = command.body;
        match self.configurations.take(command.body) {
            Effect::Applied => {
                self.applied(channel, effects);
                self.members_configured(now, channel, effects, out);
                let order = self.configurations.get(channel).and_then(|known| known.record.clone());
                self.record(channel, order, out);
            }
            Effect::Released => {
                self.released(channel, effects, out);
                self.members_configured(now, channel, effects, out);
            }
            Effect::Unchanged => {}
            Effect::Full => {
                self.counters.channels_full += 1;
                tracing::warn!(%channel, limit = MAX_CHANNELS, "channel refused: this host carries too many");
            }
            Effect::Invalid => {
                self.counters.configure_invalid += 1;
                tracing::warn!(%channel, %revision, "configuration dropped: it breaks a rule of P4");
                return Ok(());
            }
        }
        // A channel that is not carried is in force as released, or not at all.
        let absent = if parts == 0 { revision } else { Revision::default() };
        let body = Configured { channel, part, revision, in_force: self.revision(channel).unwrap_or(absent) };
        out.push(Output::Send { to: from, bytes: self.respond(Kind::Configured, command.order, body) });
        Ok(())
    }

    /// Whether a genuine command counts. One that names another boot id is answered by an empty report, from which
    /// the database server learns this one's.
    fn counts<B>(
        &mut self,
        from: SocketAddr,
        bytes: &[u8],
        command: &Command<B>,
        out: &mut Vec<Output>,
    ) -> bool {
        if command.host != self.host {
            self.counters.other_host += 1;
            return false;
        }
        if command.host_boot != self.boot_id {
            self.counters.other_boot += 1;
            let answer = self.respond(Kind::Report, command.order, Report::default());
            if answer.len() <= bytes.len() {
                out.push(Output::Send { to: from, bytes: answer });
            } else {
                self.counters.answers_withheld += 1;
            }
            return false;
        }
        if command.order <= self.last_order {
            self.counters.replayed += 1;
            return false;
        }
        if command.order.start != self.last_order.start {
            tracing::info!(database = %from, start = command.order.start, "database server heard");
        }
        self.last_order = command.order;
        self.counters.commands_heard += 1;
        true
    }

    fn respond<B: Serialize>(&self, kind: Kind, order: CommandOrder, body: B) -> Vec<u8> {
        let response = Response { host: self.host.clone(), host_boot: self.boot_id, order, body };
        seal(kind, &response, &self.host_key)
    }

    /// The line of a report about `subject`; `None` when it is gone.
    fn item(&self, subject: Subject) -> Option<ReportItem> {
        let (channel, address) = match subject {
            Subject::Server(channel) => (channel, None),
            Subject::Destination(channel, address) => (channel, Some(address)),
            Subject::Recorder => return Some(ReportItem::Recorder { fault: self.recording_fault }),
            Subject::Archive(channel) => return Some(ReportItem::Archive { channel }),
            Subject::Extent(channel, slot) => {
                return Some(match self.archive.extent(channel, slot) {
                    Some(extent) => ReportItem::Extent { slot, extent },
                    None => ReportItem::Vacant { channel, slot },
                });
            }
        };
        let (configuration, state) = (self.configurations.get(channel)?, self.states.get(&channel)?);
        let Some(address) = address else {
            let revision = configuration.revision;
            return Some(ReportItem::Server { channel, revision, fed: state.fed(), packets: state.packets });
        };
        let counted = state.targets.get(&address);
        Some(ReportItem::Destination {
            channel,
            address,
            sending: self.interest.sending(channel, address),
            packets: counted.map_or(0, |target| target.packets),
            fault: counted.and_then(|target| target.fault).or_else(|| self.deaf(channel, address)),
        })
    }

    /// A new configuration is in force: stops at once where it assigns another push server, waits for interest where
    /// it assigns this one.
    fn applied(&mut self, channel: ChannelId, effects: &mut Vec<interest::Output>) {
        let Some(configuration) = self.configurations.get(channel) else { return };
        let state = self.states.entry(channel).or_default();
        for address in state.known.difference(&configuration.destinations.keys().copied().collect()) {
            self.interest.unassign(channel, *address, effects);
            self.report.removed(Subject::Destination(channel, *address));
            state.targets.remove(address);
        }
        for (address, order) in &configuration.destinations {
            if order.assigned {
                self.interest.assign(channel, *address);
            } else {
                self.interest.unassign(channel, *address, effects);
            }
            if !state.known.contains(address) {
                self.report.changed(Subject::Destination(channel, *address));
            }
        }
        state.known = configuration.destinations.keys().copied().collect();
        self.report.changed(Subject::Server(channel));
        self.changed_plans.insert(channel);
        let (revision, destinations) = (configuration.revision, configuration.destinations.len());
        let assigned = configuration.destinations.values().filter(|order| order.assigned).count();
        tracing::info!(%channel, %revision, destinations, assigned, "configured");
    }

    fn released(&mut self, channel: ChannelId, effects: &mut Vec<interest::Output>, out: &mut Vec<Output>) {
        self.stream_named(channel, None);
        let state = self.states.remove(&channel).unwrap_or_default();
        for address in state.known {
            self.interest.unassign(channel, address, effects);
            self.report.removed(Subject::Destination(channel, address));
        }
        self.report.removed(Subject::Server(channel));
        self.holding.forget(channel);
        self.live.forget(channel);
        if state.record.is_some() {
            self.recorded_no_more(channel);
            out.push(Output::Record { channel, order: None });
        }
        if let Some(feed) = state.feed {
            out.push(Output::CloseFeed { channel, feed, refusal: Refusal::NotConfigured(channel) });
        }
        out.push(Output::Release { channel });
        tracing::info!(%channel, "released");
    }
}
