//! The root machine of a push server host: P4 in and out, feeds admitted, plans for the data plane.
//!
//! Everything that can wake it is an [`Input`], everything that it wants done an [`Output`]. It needs no database
//! server to go on: configurations, assignments and the cluster clock stay as last heard.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use media::rtp;
use protocols::authority::{ClusterKey, MacKey};
use protocols::ids::{AcquisitionId, BootId, ChannelId, HostId, Revision};
use protocols::p3_feed::FeedOrder;
use protocols::p4_control::{
    Command, CommandOrder, Configure, Configured, DatagramError, Kind, Query, Report, ReportItem, Response,
    Sealed, seal,
};
use protocols::p6_broadcast::ANNOUNCEMENT_BYTES;
use protocols::preamble::Refusal;
use protocols::recording::{Extent, RecordOrder, RecordingFault};
use protocols::time::{ClusterClock, ClusterTime, Time};
use serde::Serialize;

use crate::admission::Admission;
use crate::archive::Archive;
use crate::configuration::{Configurations, Effect, MAX_CHANNELS};
use crate::counters::Counters;
use crate::holding::{Holding, Told};
use crate::interest::{self, InterestTable};
use crate::plan::{ChannelCounters, Plan, Target, TargetCounters};
use crate::repair;
use crate::report::{ReportLog, Subject};

/// A command with a wrong tag is told of once in this time, since anybody can send one.
pub const FORGERY_TOLD_EVERY: Duration = Duration::from_mins(1);

/// Who this host is.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its id in the topology.
    pub host: HostId,
    /// The secret of the site.
    pub key: ClusterKey,
}

/// One accepted P3 connection; numbered by the shell, never reused within a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedId(pub u64);

/// Everything that can wake a push server host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A P4 datagram came.
    Datagram {
        /// Its source.
        from: SocketAddr,
        /// Its bytes, as they came.
        bytes: Vec<u8>,
    },
    /// An authenticated acquisition server opened a feed; it waits for [`Output::AcceptFeed`] or [`Output::CloseFeed`].
    FeedOpened {
        /// The channel that it wants to feed.
        channel: ChannelId,
        /// The connection.
        feed: FeedId,
        /// Who feeds.
        peer: AcquisitionId,
        /// Synchronisation source of its packets.
        ssrc: u32,
    },
    /// A feed ended, by the peer, by silence or by [`Output::CloseFeed`].
    FeedClosed {
        /// Its channel.
        channel: ChannelId,
        /// The connection.
        feed: FeedId,
    },
    /// What the data plane has counted.
    Counters(ChannelCounters),
    /// What the recorder holds of a channel: all of it, also when that is nothing.
    Extents {
        /// The channel.
        channel: ChannelId,
        /// In any order; at most [`protocols::recording::MAX_EXTENTS`] count, the newest.
        extents: Vec<Extent>,
    },
    /// The recorder cannot write, or can again (`None`).
    RecordingFault(Option<RecordingFault>),
    /// The deadline was reached.
    Tick,
}

/// What the shell must do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Output {
    /// Send a P4 datagram.
    Send {
        /// To whom.
        to: SocketAddr,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// Put a plan in force in the data plane, at once.
    Plan {
        /// The channel.
        channel: ChannelId,
        /// Where to send, and whether now.
        plan: Arc<Plan>,
    },
    /// This host carries the channel no more: forget its data plane.
    Release {
        /// The channel.
        channel: ChannelId,
    },
    /// Record the channel by this order from now on; `None`: no more. What is held stays. Comes before the channel's plan.
    Record {
        /// The channel.
        channel: ChannelId,
        /// How long to keep what, and who else has it.
        order: Option<Box<RecordOrder>>,
    },
    /// Send packets again, as far as they are there and the budgets allow.
    Repair {
        /// The channel.
        channel: ChannelId,
        /// Which, and who asks.
        request: repair::Request,
    },
    /// Send an announcement to a destination, to the channel's port, by the sockets of its packets.
    Announce {
        /// The channel.
        channel: ChannelId,
        /// The destination.
        destination: IpAddr,
        /// The announcement.
        bytes: [u8; ANNOUNCEMENT_BYTES],
    },
    /// The feed is wanted: say so, and let its packets into the channel's data plane.
    AcceptFeed {
        /// The channel.
        channel: ChannelId,
        /// The connection.
        feed: FeedId,
    },
    /// Tell an accepted feed to hold, or to flow: before the plan that needs it.
    TellFeed {
        /// The channel.
        channel: ChannelId,
        /// The connection.
        feed: FeedId,
        /// [`FeedOrder::Hold`] or [`FeedOrder::Flow`].
        order: FeedOrder,
    },
    /// Say why, and close the connection.
    CloseFeed {
        /// The channel.
        channel: ChannelId,
        /// The connection.
        feed: FeedId,
        /// Why.
        refusal: Refusal,
    },
}

/// What a deadline was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Interest runs out, or is to be announced.
    Interest,
    /// A feed has brought what nobody watches for long enough.
    Holding,
    /// What is held of a channel has changed again, and is to be told.
    Recording,
}

/// Control of one push server host.
#[derive(Debug)]
pub struct PushServer {
    host: HostId,
    host_key: MacKey,
    boot_id: BootId,
    clock: Option<ClusterClock>,
    last_order: CommandOrder,
    configurations: Configurations,
    interest: InterestTable,
    holding: Holding,
    admission: Admission,
    /// Channels by the source of the packets that their last feed said it would bring.
    streams: BTreeMap<u32, ChannelId>,
    states: BTreeMap<ChannelId, State>,
    /// Channels whose plan must be made anew before `handle` returns.
    changed_plans: BTreeSet<ChannelId>,
    archive: Archive,
    recording_fault: Option<RecordingFault>,
    report: ReportLog,
    counters: Counters,
    /// When a forged command was last told of.
    forgery_told: Option<Time>,
}

/// What is known of one channel beside its configuration.
#[derive(Debug, Default)]
struct State {
    feed: Option<FeedId>,
    ssrc: Option<u32>,
    flowing: bool,
    packets: u64,
    /// Addresses of the configuration in force, to tell what the next one leaves out.
    known: BTreeSet<IpAddr>,
    targets: BTreeMap<IpAddr, TargetCounters>,
    /// What the recorder was told.
    record: Option<Box<RecordOrder>>,
}

impl State {
    fn fed(&self) -> bool {
        self.feed.is_some() && self.flowing
    }
}

impl PushServer {
    /// A host that carries nothing yet and waits for the database server. `boot_id` is drawn at random.
    pub fn new(config: Config, boot_id: BootId) -> Self {
        Self {
            host_key: config.key.host_key(&config.host),
            host: config.host,
            boot_id,
            clock: None,
            last_order: CommandOrder::default(),
            configurations: Configurations::default(),
            admission: Admission::new(&config.key),
            interest: InterestTable::new(config.key, boot_id),
            holding: Holding::default(),
            streams: BTreeMap::new(),
            states: BTreeMap::new(),
            changed_plans: BTreeSet::new(),
            archive: Archive::default(),
            recording_fault: None,
            report: ReportLog::default(),
            counters: Counters::default(),
            forgery_told: None,
        }
    }

    /// Takes `input` at `now`; what follows from it is appended to `out`.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        let mut effects = Vec::new();
        match input {
            Input::Datagram { from, bytes } => self.datagram(now, from, &bytes, &mut effects, out),
            Input::FeedOpened { channel, feed, peer, ssrc } => {
                self.feed_opened(now, channel, feed, &peer, out);
                self.stream_named(channel, Some(ssrc));
            }
            Input::FeedClosed { channel, feed } => self.feed_closed(channel, feed),
            Input::Counters(counters) => self.counted(counters),
            Input::Extents { channel, extents } => self.extents(now, channel, extents),
            Input::RecordingFault(fault) => self.recording_fault(fault),
            Input::Tick => {
                let clock = self.cluster_time(now);
                self.interest.announce_along(now, clock, &mut self.counters, &mut effects);
            }
        }
        self.carry_out(now, effects, out);
        let mut due = Vec::new();
        self.interest.advance(now, self.cluster_time(now), &mut self.counters, &mut due);
        self.carry_out(now, due, out);
        while let Some((channel, told)) = self.holding.next_due(now) {
            self.tell_feed(channel, told, out);
        }
        while let Some((channel, slots)) = self.archive.next_due(now) {
            self.extents_changed(channel, slots);
        }
    }

    /// When to wake it next, and what for.
    pub fn deadline(&self) -> Option<(Time, Reason)> {
        let interest = self.interest.deadline().map(|at| (at, Reason::Interest));
        let holding = self.holding.deadline().map(|at| (at, Reason::Holding));
        let recording = self.archive.deadline().map(|at| (at, Reason::Recording));
        [interest, holding, recording].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// What was heard and dropped so far.
    pub fn counters(&self) -> Counters {
        Counters {
            assemblies_dropped: self.configurations.given_up(),
            extents_left_out: self.archive.left_out(),
            ..self.counters
        }
    }

    /// Its boot id.
    pub fn boot_id(&self) -> BootId {
        self.boot_id
    }

    /// The cluster's time, once it has been heard.
    pub fn cluster_time(&self, now: Time) -> Option<ClusterTime> {
        self.clock.map(|clock| clock.at(now))
    }

    /// The revision of `channel` in force; `None` when it is not carried.
    pub fn revision(&self, channel: ChannelId) -> Option<Revision> {
        self.configurations.get(channel).map(|configuration| configuration.revision)
    }

    /// Whether `channel` is being sent to `destination`: assigned to this host, and interest holds.
    pub fn sending(&self, channel: ChannelId, destination: IpAddr) -> bool {
        self.interest.sending(channel, destination)
    }

    /// Whether packets of `channel` arrive.
    pub fn fed(&self, channel: ChannelId) -> bool {
        self.states.get(&channel).is_some_and(State::fed)
    }

    /// Whether the feed of `channel` was told to hold.
    pub fn held(&self, channel: ChannelId) -> bool {
        self.holding.is_held(channel)
    }

    /// Whether `channel` is to be recorded.
    pub fn recorded(&self, channel: ChannelId) -> bool {
        self.states.get(&channel).is_some_and(|state| state.record.is_some())
    }

    fn datagram(
        &mut self,
        now: Time,
        from: SocketAddr,
        bytes: &[u8],
        effects: &mut Vec<interest::Output>,
        out: &mut Vec<Output>,
    ) {
        if rtp::classify(bytes) == rtp::Kind::Rtcp {
            let channel_of = |ssrc| self.streams.get(&ssrc).copied();
            let heard = self.admission.nack(now, from, bytes, channel_of, &mut self.counters);
            out.extend(heard.map(|(channel, request)| Output::Repair { channel, request }));
            return;
        }
        let result = match Sealed::parse(bytes) {
            Ok(sealed) => match sealed.kind {
                Kind::Interest => {
                    let clock = self.cluster_time(now);
                    self.interest.hear(now, clock, from, &sealed, &mut self.counters, effects);
                    Ok(())
                }
                Kind::Repair => {
                    let (clock, interest) = (self.cluster_time(now), &self.interest);
                    let assigned = |channel, destination| interest.is_assigned(channel, destination);
                    let heard = self.admission.repair(clock, from, &sealed, assigned, &mut self.counters);
                    out.extend(heard.map(|(channel, request)| Output::Repair { channel, request }));
                    Ok(())
                }
                Kind::Query => self.query(now, from, bytes, &sealed, effects, out),
                Kind::Configure => self.configure(from, bytes, &sealed, effects, out),
                kind => Err(DatagramError::Kind(kind as u8)),
            },
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => {}
            Err(DatagramError::NotP4) => self.counters.not_p4 += 1,
            Err(DatagramError::Version(_)) => self.counters.other_version += 1,
            Err(DatagramError::Kind(_)) => self.counters.other_kind += 1,
            Err(DatagramError::Body(_)) => self.counters.malformed += 1,
            Err(DatagramError::Tag) => self.forged(now, from),
        }
    }

    /// Counts a command with a wrong tag. It is also told of, now and then: most are no attack but a key that was not copied.
    fn forged(&mut self, now: Time, from: SocketAddr) {
        self.counters.forged += 1;
        if self.forgery_told.is_none_or(|at| now.since(at) >= FORGERY_TOLD_EVERY) {
            self.forgery_told = Some(now);
            tracing::warn!(
                %from, "a command made with another cluster key is ignored: if this is the database server, copy its \
                 `cluster.key` to this host"
            );
        }
    }

    fn query(
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

    fn configure(
        &mut self,
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
                let order = self.configurations.get(channel).and_then(|known| known.record.clone());
                self.record(channel, order, out);
            }
            Effect::Released => self.released(channel, effects, out),
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
            fault: counted.and_then(|target| target.fault),
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

    /// Tells the recorder what to do with `channel` from now on, where that is news.
    fn record(&mut self, channel: ChannelId, order: Option<Box<RecordOrder>>, out: &mut Vec<Output>) {
        let Some(state) = self.states.get_mut(&channel) else { return };
        if state.record == order {
            return;
        }
        let before = std::mem::replace(&mut state.record, order.clone());
        match (before, &order) {
            (None, Some(order)) => {
                tracing::info!(%channel, keep_s = order.keep_s, "recorded from now on");
                if self.archive.knows(channel) {
                    self.extents_changed(channel, self.archive.slots(channel));
                }
            }
            (Some(_), None) => {
                tracing::info!(%channel, "recorded no more");
                self.recorded_no_more(channel);
            }
            _ => {}
        }
        out.push(Output::Record { channel, order });
    }

    fn recorded_no_more(&mut self, channel: ChannelId) {
        for slot in self.archive.slots(channel) {
            self.report.removed(Subject::Extent(channel, slot));
        }
        self.report.removed(Subject::Archive(channel));
    }

    fn extents(&mut self, now: Time, channel: ChannelId, extents: Vec<Extent>) {
        if let Some(changed) = self.archive.hear(now, channel, extents) {
            self.extents_changed(channel, changed);
        }
    }

    /// Slots of `channel` are to be told of, and that all of them are known.
    fn extents_changed(&mut self, channel: ChannelId, slots: impl IntoIterator<Item = u16>) {
        if !self.recorded(channel) {
            return;
        }
        for slot in slots {
            self.report.changed(Subject::Extent(channel, slot));
        }
        self.report.changed_once(Subject::Archive(channel));
    }

    fn recording_fault(&mut self, fault: Option<RecordingFault>) {
        if self.recording_fault != fault {
            self.recording_fault = fault;
            self.report.changed(Subject::Recorder);
        }
    }

    fn feed_opened(
        &mut self,
        now: Time,
        channel: ChannelId,
        feed: FeedId,
        peer: &AcquisitionId,
        out: &mut Vec<Output>,
    ) {
        let Some(state) = self.states.get_mut(&channel) else {
            self.counters.feeds_refused += 1;
            out.push(Output::CloseFeed { channel, feed, refusal: Refusal::NotConfigured(channel) });
            return;
        };
        match state.feed.replace(feed) {
            Some(older) => {
                self.counters.feeds_replaced += 1;
                out.push(Output::CloseFeed { channel, feed: older, refusal: Refusal::Replaced });
            }
            // Counters that overtook the end of the feed before say nothing of this one.
            None => state.flowing = false,
        }
        self.holding.opened(now, channel, feed);
        out.push(Output::AcceptFeed { channel, feed });
        tracing::info!(%channel, %peer, "feed accepted");
    }

    /// `channel`'s packets come with this source from now on, or are no more carried.
    fn stream_named(&mut self, channel: ChannelId, ssrc: Option<u32>) {
        let Some(state) = self.states.get_mut(&channel) else { return };
        if let Some(before) = std::mem::replace(&mut state.ssrc, ssrc)
            && self.streams.get(&before) == Some(&channel)
        {
            self.streams.remove(&before);
        }
        self.streams.extend(ssrc.map(|ssrc| (ssrc, channel)));
    }

    fn feed_closed(&mut self, channel: ChannelId, feed: FeedId) {
        let Some(state) = self.states.get_mut(&channel) else { return };
        if state.feed == Some(feed) {
            let was_fed = state.fed();
            (state.feed, state.flowing) = (None, false);
            self.holding.closed(channel);
            if was_fed {
                self.report.changed(Subject::Server(channel));
            }
            tracing::info!(%channel, "feed lost: waiting for the acquisition server");
        }
    }

    fn counted(&mut self, counters: ChannelCounters) {
        let channel = counters.channel;
        let Some(state) = self.states.get_mut(&channel) else { return };
        let was_fed = state.fed();
        (state.packets, state.flowing) = (counters.packets, counters.flowing);
        if state.fed() != was_fed {
            self.report.changed(Subject::Server(channel));
            tracing::info!(%channel, flowing = counters.flowing, "packets of the feed");
        }
        for target in counters.targets.into_iter().filter(|target| state.known.contains(&target.address)) {
            let before = state.targets.insert(target.address, target);
            if before.and_then(|before| before.fault) != target.fault {
                self.report.changed(Subject::Destination(channel, target.address));
            }
        }
    }

    /// Turns what the interest table wants into outputs: plans first, since announcements follow the packets, and each
    /// after what its feed must be told.
    fn carry_out(&mut self, now: Time, effects: Vec<interest::Output>, out: &mut Vec<Output>) {
        let mut rest = Vec::new();
        for effect in effects {
            match effect {
                interest::Output::Resume { channel, destination } => {
                    self.switched(channel, destination, "resumed");
                }
                interest::Output::Suspend { channel, destination } => {
                    self.switched(channel, destination, "suspended");
                }
                interest::Output::Announce { channel, destination, bytes } => {
                    rest.push(Output::Announce { channel, destination, bytes });
                }
                interest::Output::Answer { to, bytes } => rest.push(Output::Send { to, bytes }),
            }
        }
        for channel in std::mem::take(&mut self.changed_plans) {
            let Some(plan) = self.plan(channel) else { continue };
            // What is recorded is wanted, whether or not anybody watches.
            let watched = plan.targets.iter().any(|target| target.sending) || self.recorded(channel);
            if let Some(told) = self.holding.watched(now, channel, watched) {
                self.tell_feed(channel, told, out);
            }
            out.push(Output::Plan { channel, plan: Arc::new(plan) });
        }
        out.append(&mut rest);
    }

    fn tell_feed(&mut self, channel: ChannelId, told: Told, out: &mut Vec<Output>) {
        let Told { feed, order } = told;
        match order {
            FeedOrder::Hold => self.counters.feeds_held += 1,
            _ => self.counters.feeds_flowed += 1,
        }
        tracing::debug!(%channel, ?order, held = self.holding.held(), "feed told");
        out.push(Output::TellFeed { channel, feed, order });
    }

    fn switched(&mut self, channel: ChannelId, destination: IpAddr, what: &str) {
        self.changed_plans.insert(channel);
        if self.states.get(&channel).is_some_and(|state| state.known.contains(&destination)) {
            self.report.changed(Subject::Destination(channel, destination));
        }
        tracing::info!(%channel, %destination, "{what}");
    }

    fn plan(&self, channel: ChannelId) -> Option<Plan> {
        let configuration = self.configurations.get(channel)?;
        let sending = |address| configuration.assigned(address) && self.interest.sending(channel, address);
        let targets =
            configuration.destinations.values().map(|order| Target::new(order, sending(order.address)));
        Some(Plan { revision: configuration.revision, port: configuration.port, targets: targets.collect() })
    }
}
