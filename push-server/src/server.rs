//! The root machine of a push server host: P4 in and out, feeds admitted, plans for the data plane.
//!
//! Everything that can wake it is an [`Input`], everything that it wants done an [`Output`]. It needs no database
//! server to go on: configurations, assignments and the cluster clock stay as last heard.

mod commands;
mod exchange;
mod fed;
mod live;
mod members;
mod numbers;
mod recorded;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use media::rtp;
use protocols::authority::{ClusterKey, MacKey};
use protocols::ids::{BootId, ChannelId, HostId, Revision};
use protocols::p4_control::{CommandOrder, DatagramError, Kind, Sealed};
use protocols::recording::{RecordOrder, RecordingFault};
use protocols::time::{ClusterClock, ClusterTime, Time};

use crate::admission::Admission;
use crate::archive::Archive;
use crate::configuration::Configurations;
use crate::counters::Counters;
use crate::holding::Holding;
use crate::interest::{self, InterestTable};
use crate::live::table::{DEFAULT_VIEWERS, LiveTable};
use crate::membership::Membership;
use crate::membership::timing::Timing;
use crate::plan::{Plan, Target, TargetCounters};
use crate::report::{ReportLog, Subject};
use crate::session_announcement::SessionAnnouncements;
pub use exchange::{FeedId, Input, Output, Reason};
pub use numbers::{ChannelNumbers, DestinationNumbers};

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
    membership: Membership,
    sessions: SessionAnnouncements,
    holding: Holding,
    admission: Admission,
    live: LiveTable,
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
            live: LiveTable::new(DEFAULT_VIEWERS),
            interest: InterestTable::new(config.key, boot_id),
            membership: Membership::new(Timing::default()),
            sessions: SessionAnnouncements::new(boot_id),
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

    /// With room for so many viewers who are sent a channel by P5 for longer than a burst.
    #[must_use]
    pub fn with_unicast_viewers(self, viewers: usize) -> Self {
        Self { live: LiveTable::new(viewers), ..self }
    }

    /// With another timing of what is asked about members.
    #[must_use]
    pub fn with_membership_timing(self, timing: Timing) -> Self {
        Self { membership: Membership::new(timing), ..self }
    }

    /// What is to be said when the host ends: at the interfaces where members are heard, and of the channels announced.
    pub fn farewells(&self) -> Vec<Output> {
        let members = self.membership.farewells().into_iter().map(Output::Membership);
        members.chain(self.sessions.farewells().into_iter().map(Output::Notify)).collect()
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
            Input::Live { channel, event } => self.live_told(now, channel, event, out),
            Input::Extents { channel, extents } => self.extents(now, channel, extents),
            Input::RecordingFault(fault) => self.recording_fault(fault),
            Input::Membership(event) => self.membership_told(now, event),
            Input::Tick => {
                let clock = self.cluster_time(now);
                self.interest.announce_along(now, clock, &mut self.counters, &mut effects);
            }
        }
        self.carry_out(now, effects, out);
        let mut due = Vec::new();
        self.members_changed(now, &mut due, out);
        self.interest.advance(now, self.cluster_time(now), &mut self.counters, &mut due);
        self.carry_out(now, due, out);
        self.live_silent(now, out);
        let mut notices = Vec::new();
        self.sessions.advance(now, &mut notices);
        out.extend(notices.into_iter().map(Output::Notify));
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
        let live = self.live.deadline().map(|at| (at, Reason::Live));
        let membership = self.membership.deadline().map(|at| (at, Reason::Membership));
        let sessions = self.sessions.deadline().map(|at| (at, Reason::Sessions));
        [interest, holding, recording, live, membership, sessions]
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at)
    }

    /// What was heard and dropped so far.
    pub fn counters(&self) -> Counters {
        Counters {
            assemblies_dropped: self.configurations.given_up(),
            extents_left_out: self.archive.left_out(),
            sessions_left_out: self.sessions.left_out(),
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
                Kind::Live => {
                    self.live(now, from, &sealed, out);
                    Ok(())
                }
                Kind::Play => {
                    let clock = self.cluster_time(now);
                    let heard = self.admission.play(clock, from, &sealed, &mut self.counters);
                    out.extend(heard.map(|heard| Output::Play(Box::new(heard))));
                    Ok(())
                }
                Kind::PlayRepair => {
                    let clock = self.cluster_time(now);
                    let heard = self.admission.play_repair(clock, from, &sealed, &mut self.counters);
                    out.extend(heard.map(|heard| Output::PlayRepair(Box::new(heard))));
                    Ok(())
                }
                Kind::Query => self.query(now, from, bytes, &sealed, effects, out),
                Kind::Configure => self.configure(now, from, bytes, &sealed, effects, out),
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
            self.feed_wanted(now, channel, out);
            out.push(Output::Plan { channel, plan: Arc::new(plan) });
        }
        out.append(&mut rest);
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
