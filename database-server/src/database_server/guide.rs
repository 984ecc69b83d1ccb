//! The programme guide as the root machine sees it: what acquisition servers announce, what clients ask.

use std::collections::BTreeSet;

use protocols::guide::Schedule;
use protocols::ids::{AcquisitionId, ChannelId};
use protocols::p2_directory::{GuideQuery, ToClient};
use protocols::time::Time;
use protocols::topology::Topology;
use tracing::debug;

use super::DatabaseServer;
use crate::guide::Guide;
use crate::guide_view::{GuideAsk, GuideView};
use crate::input::ConnectionId;
use crate::output::Output;

impl DatabaseServer {
    /// What is known of the programmes of all channels.
    pub fn guide(&self) -> &Guide {
        &self.guide
    }

    /// An acquisition server tells what one of its channels shows.
    pub(super) fn schedule(
        &mut self,
        now: Time,
        server: &AcquisitionId,
        schedule: Schedule,
        topology: &Topology,
        out: &mut Vec<Output>,
    ) {
        let channel = schedule.channel;
        let own = topology.channels.get(&channel).is_some_and(|known| known.acquisition_server == *server);
        if !own || !schedule.is_sound() {
            self.counters.acquisition_faults += 1;
            debug!(acquisition = %server, %channel, own, "schedule ignored");
            return;
        }
        let mut records = Vec::new();
        let taken = self.guide.replace(self.clock.at(now), schedule, &mut records);
        self.counters.guide_schedules += 1;
        self.counters.guide_events_left_out += taken.left_out;
        out.extend(records.into_iter().map(Output::Store));
    }

    /// A client asks for a part of the guide.
    pub(super) fn guide_message(
        &mut self,
        now: Time,
        connection: ConnectionId,
        query: &GuideQuery,
        topology: &Topology,
        out: &mut Vec<Output>,
    ) {
        if !self.directory.heard(now, connection) {
            return;
        }
        let none = BTreeSet::new();
        let network = self.directory.network(connection);
        let listed = network.map_or(&none, |network| topology.channels_of(network));
        let page = self.guide.page(self.clock.at(now), query, listed);
        self.counters.guide_pages_served += 1;
        out.push(Output::SendToClient { connection, message: ToClient::Guide(Box::new(page)) });
    }

    /// A part of the guide of all channels, for who looks at the whole site.
    pub fn guide_view(&self, now: Time, ask: &GuideAsk) -> GuideView {
        let channels = self.topology.iter().flat_map(|topology| topology.channels.keys());
        let all: BTreeSet<ChannelId> = channels.copied().collect();
        let time = self.clock.at(now);
        GuideView::of(self.guide.page(time, &ask.query(time), &all))
    }

    /// Drops programmes that have been over for long.
    pub(super) fn sweep_guide(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.guide.deadline().is_some_and(|due| due <= now) {
            let mut records = Vec::new();
            self.guide.sweep(now, self.clock.at(now), &mut records);
            out.extend(records.into_iter().map(Output::Store));
        }
    }
}
