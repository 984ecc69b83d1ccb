//! Which push server hosts live, and what they last said of their push servers.
//!
//! ```text
//!            any genuine answer                 nothing for HOST_TIMEOUT, and MIN_UNANSWERED queries
//! unknown ─────────────────────► alive ────────────────────────────────────────────────────────────► dead
//!                                 ▲ └─ another boot id: forget its reports, say so                     │
//!                                 └────────────────── any genuine answer ─────────────────────────────┘
//! ```
//!
//! Each host is queried every [`QUERY_INTERVAL`], and every [`QUERY_RETRY`] while a living one owes an answer, so that a lossy
//! network does not make it dead: at 20 % loss all answers of a second fail once in 4,000 times, not once in 60. A report carries what has changed since the one that the query
//! names, so a lost report costs one interval and nothing is ever missed. What a dead host last said is kept: when it
//! comes back under the same boot id, only the changes are asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use protocols::authority::{ClusterKey, MacKey};
use protocols::ids::{BootId, ChannelId, HostId, Revision};
use protocols::p4_control::{
    CommandOrder, DestinationFault, HOST_TIMEOUT, Kind, QUERY_INTERVAL, Query, Report, ReportItem, Response,
};
use protocols::recording::{Extent, RecordingFault};
use protocols::time::Time;
use protocols::topology::Topology;

use crate::command::Wire;
use crate::counters::Counters;
use crate::output::Output;
use crate::rate_meter::RateMeter;
use protocols::timers::Timers;

/// Queries that must have gone unanswered before a host is dead: when the database server itself was held up, answers
/// may wait unread.
pub const MIN_UNANSWERED: u32 = 3;
/// A living host that owes an answer is queried again after this.
pub const QUERY_RETRY: Duration = Duration::from_millis(100);
/// Queries of one host that may still be answered; the oldest is forgotten first.
pub const MAX_WAITING_QUERIES: usize = 12;
/// Push servers that are remembered of one host's reports; what exceeds it is not, and is counted.
pub const MAX_SERVERS_PER_HOST: usize = 10_000;
/// Destinations of push servers that are remembered of one host's reports; likewise.
pub const MAX_DESTINATIONS_PER_HOST: usize = 200_000;
/// A host that the topology has dropped is still told to release its channels, for at most this long.
pub const LEAVING_TIME: Duration = Duration::from_secs(30);

/// First queries of all hosts fall into this span, so that their answers do not come as one burst for ever after.
const FIRST_QUERIES_SPREAD: Duration = Duration::from_millis(50);

/// All hosts.
#[derive(Debug)]
pub struct Presence {
    hosts: BTreeMap<HostId, Host>,
    wakes: Timers<HostId>,
}

/// What is known of one host.
#[derive(Debug)]
pub struct Host {
    /// Its P4 address.
    pub address: SocketAddr,
    /// The key of P4 between it and the database server.
    pub key: MacKey,
    /// Its boot id, once heard.
    pub boot: Option<BootId>,
    /// Whether it answers.
    pub alive: bool,
    /// The topology has dropped it: forgotten at this time, or once it has released everything.
    pub leaving_until: Option<Time>,
    last_answer: Time,
    unanswered: u32,
    queried: Time,
    next_query: Time,
    waiting: BTreeSet<CommandOrder>,
    since: u64,
    /// Something was said of what it holds, and more is to follow.
    held_untold: bool,
    servers: BTreeMap<ChannelId, ServerReport>,
    destinations: BTreeMap<(ChannelId, IpAddr), (DestinationReport, RateMeter)>,
}

/// What a host said of one push server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerReport {
    /// The configuration that it carries out.
    pub revision: Revision,
    /// Whether packets arrive by P3.
    pub fed: bool,
    /// Packets received by P3 since the host's start.
    pub packets: u64,
}

/// What a host said of one destination of a push server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DestinationReport {
    /// Whether packets are being sent.
    pub sending: bool,
    /// Packets sent since the host's start.
    pub packets: u64,
    /// Why it cannot be sent to.
    pub fault: Option<DestinationFault>,
}

/// What others have to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A host answers that did not, or answers under a new boot id (`rebooted`).
    Up {
        /// The host.
        host: HostId,
        /// Its boot id.
        boot: BootId,
        /// Whether the boot id is another than before.
        rebooted: bool,
    },
    /// A host answers no more.
    Down(HostId),
    /// A dropped host's time is over.
    Gone(HostId),
    /// A push server's report, or that of one of its destinations, has changed in what assignments and status depend on.
    Server(HostId, ChannelId),
    /// A push server has begun to send to this destination.
    Sending(HostId, ChannelId, IpAddr),
    /// A push server says which configuration is in force.
    InForce(HostId, ChannelId, Revision),
    /// A host's recorder says whether it can write.
    Recorder(HostId, Option<RecordingFault>),
    /// A host says something of what it holds of a channel.
    Held(HostId, ChannelId, Holding),
    /// A host has nothing more to say: what it said of what it holds is all of it.
    Told(HostId),
}

/// What a report says of what a host holds of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// It knows what it holds.
    Known,
    /// What is in a slot.
    Extent(u16, Extent),
    /// That nothing is in a slot.
    Vacant(u16),
}

impl Presence {
    /// Nobody known.
    pub fn new() -> Self {
        Self { hosts: BTreeMap::new(), wakes: Timers::new() }
    }

    /// Takes up the hosts of a topology. Known ones at the same address stay as they are; dropped ones begin to leave.
    /// First queries are spread by `seed`.
    pub fn take_up(&mut self, now: Time, topology: &Topology, key: &ClusterKey, seed: u64) {
        for (id, declared) in &topology.hosts {
            match self.hosts.get_mut(id) {
                Some(host) if host.address == declared.control() => host.leaving_until = None,
                _ => {
                    let first = now + spread(seed, self.hosts.len());
                    self.hosts.insert(id.clone(), Host::new(declared.control(), key.host_key(id), first));
                    self.wakes.set(id.clone(), first);
                }
            }
        }
        for (id, host) in &mut self.hosts {
            if !topology.hosts.contains_key(id) && host.leaving_until.is_none() {
                host.leaving_until = Some(now + LEAVING_TIME);
            }
        }
    }

    /// The host has released all that it carried: it is forgotten, if it is leaving.
    pub fn released(&mut self, id: &HostId) {
        if self.hosts.get(id).is_some_and(|host| host.leaving_until.is_some()) {
            self.hosts.remove(id);
            self.wakes.cancel(id);
        }
    }

    /// What the host has told of what it holds was not taken, and now would be: it is asked for everything again.
    pub fn ask_anew(&mut self, id: &HostId) {
        if let Some(host) = self.hosts.get_mut(id) {
            host.since = 0;
            host.held_untold = false;
            // Answers to these would be from where it was.
            host.waiting.clear();
        }
    }

    /// What is known of a host.
    pub fn get(&self, id: &HostId) -> Option<&Host> {
        self.hosts.get(id)
    }

    /// Earliest time at which `wake` has something to do.
    pub fn deadline(&self) -> Option<Time> {
        self.wakes.due()
    }

    /// Sends the queries that are due and finds the dead.
    pub(crate) fn wake(&mut self, wire: &mut Wire<'_>) -> Vec<Change> {
        let now = wire.now;
        let mut changes = Vec::new();
        while let Some(id) = self.wakes.pop(now) {
            let Some(host) = self.hosts.get_mut(&id) else { continue };
            if host.leaving_until.is_some_and(|end| now >= end) {
                self.hosts.remove(&id);
                changes.push(Change::Gone(id));
                continue;
            }
            let silent = now.since(host.last_answer) >= HOST_TIMEOUT && host.unanswered >= MIN_UNANSWERED;
            if host.alive && silent {
                host.alive = false;
                wire.counters.hosts_lost += 1;
                changes.push(Change::Down(id.clone()));
            }
            if now >= host.next_query {
                host.query(&id, wire);
            }
            self.wakes.set(id, host.next_wake());
        }
        changes
    }

    /// Takes a genuine report. `answers` says that it echoes a command other than a query, which the caller has checked.
    /// `None`: it answers nothing that waits.
    pub(crate) fn report(
        &mut self,
        response: Response<Report>,
        answers: bool,
        wire: &mut Wire<'_>,
    ) -> Option<Vec<Change>> {
        let id = response.host;
        let host = self.hosts.get_mut(&id)?;
        if !host.waiting.remove(&response.order) && !answers {
            return None;
        }
        let mut changes = Vec::new();
        host.heard(wire.now, &id, response.host_boot, wire.counters, &mut changes);
        let stale = response.body.up_to < host.since;
        if !stale {
            let before = changes.len();
            host.merge(wire.now, &id, &response.body.items, wire.counters, &mut changes);
            let held = changes[before..].iter().any(|change| matches!(change, Change::Held(..)));
            host.held_untold |= held;
            if host.held_untold && !response.body.more {
                host.held_untold = false;
                changes.push(Change::Told(id.clone()));
            }
        }
        let progress = response.body.up_to > host.since;
        host.since = host.since.max(response.body.up_to);
        let rebooted = changes.iter().any(|change| matches!(change, Change::Up { rebooted: true, .. }));
        if rebooted || (response.body.more && progress) {
            host.query(&id, wire);
        }
        self.wakes.set(id, host.next_wake());
        Some(changes)
    }

    /// Takes the fact that a host has acknowledged something under `boot`: a sign of life.
    pub(crate) fn acknowledged(
        &mut self,
        now: Time,
        id: &HostId,
        boot: BootId,
        counters: &mut Counters,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        if let Some(host) = self.hosts.get_mut(id) {
            host.heard(now, id, boot, counters, &mut changes);
            self.wakes.set(id.clone(), host.next_wake());
        }
        changes
    }
}

impl Default for Presence {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    fn new(address: SocketAddr, key: MacKey, first_query: Time) -> Self {
        Self {
            address,
            key,
            boot: None,
            alive: false,
            leaving_until: None,
            last_answer: Time::ZERO,
            unanswered: 0,
            queried: Time::ZERO,
            next_query: first_query,
            waiting: BTreeSet::new(),
            since: 0,
            held_untold: false,
            servers: BTreeMap::new(),
            destinations: BTreeMap::new(),
        }
    }

    /// What it last said of the push server of `channel`.
    pub fn server(&self, channel: ChannelId) -> Option<&ServerReport> {
        self.servers.get(&channel)
    }

    /// What it last said of the destination `address` of `channel`.
    pub fn destination(&self, channel: ChannelId, address: IpAddr) -> Option<&DestinationReport> {
        self.destinations.get(&(channel, address)).map(|(report, _)| report)
    }

    /// Packets that it sends there per second, times `factor`; `None` before that is known.
    pub(crate) fn rate(&self, channel: ChannelId, address: IpAddr, factor: u64) -> Option<u64> {
        self.destinations.get(&(channel, address))?.1.per_second(factor)
    }

    /// Channels of which it said that it carries them.
    pub fn carried(&self) -> impl Iterator<Item = (ChannelId, Revision)> + '_ {
        self.servers.iter().map(|(channel, report)| (*channel, report.revision))
    }

    fn query(&mut self, id: &HostId, wire: &mut Wire<'_>) {
        let query = Query { time: wire.time, since: self.since, padding: [0; 16] };
        let boot = self.boot.unwrap_or(BootId(0));
        let (order, bytes) = wire.commander.seal(Kind::Query, id, boot, &self.key, query);
        if self.waiting.len() >= MAX_WAITING_QUERIES {
            self.waiting.pop_first();
        }
        self.waiting.insert(order);
        self.unanswered = self.unanswered.saturating_add(1);
        self.queried = wire.now;
        self.next_query = wire.now + if self.alive { QUERY_RETRY } else { QUERY_INTERVAL };
        wire.out.push(Output::Datagram { to: self.address, bytes });
    }

    /// A genuine response to a command that waited.
    fn heard(
        &mut self,
        now: Time,
        id: &HostId,
        boot: BootId,
        counters: &mut Counters,
        changes: &mut Vec<Change>,
    ) {
        self.last_answer = now;
        self.unanswered = 0;
        self.next_query = self.queried + QUERY_INTERVAL;
        let rebooted = self.boot != Some(boot);
        if rebooted {
            self.boot = Some(boot);
            self.since = 0;
            self.held_untold = false;
            // Answers to these would be from a life that is over.
            self.waiting.clear();
            changes.extend(self.servers.keys().map(|channel| Change::Server(id.clone(), *channel)));
            self.servers.clear();
            self.destinations.clear();
        }
        if rebooted || !self.alive {
            self.alive = true;
            counters.hosts_found += 1;
            changes.insert(0, Change::Up { host: id.clone(), boot, rebooted });
        }
    }

    fn merge(
        &mut self,
        now: Time,
        id: &HostId,
        items: &[ReportItem],
        counters: &mut Counters,
        changes: &mut Vec<Change>,
    ) {
        for item in items {
            match *item {
                ReportItem::Server { channel, revision, fed, packets } => {
                    if !self.servers.contains_key(&channel) && self.servers.len() >= MAX_SERVERS_PER_HOST {
                        counters.report_items_over_limit += 1;
                        continue;
                    }
                    let old = self.servers.insert(channel, ServerReport { revision, fed, packets });
                    if old.is_none_or(|old| old.fed != fed) {
                        changes.push(Change::Server(id.clone(), channel));
                    }
                    changes.push(Change::InForce(id.clone(), channel, revision));
                }
                ReportItem::Destination { channel, address, sending, packets, fault } => {
                    let key = (channel, address);
                    let full = self.destinations.len() >= MAX_DESTINATIONS_PER_HOST;
                    if full && !self.destinations.contains_key(&key) {
                        counters.report_items_over_limit += 1;
                        continue;
                    }
                    let (report, meter) = self.destinations.entry(key).or_default();
                    if report.sending != sending {
                        // What it sent before says nothing of what it sends now.
                        *meter = RateMeter::default();
                    }
                    meter.report(now, packets);
                    let old = std::mem::replace(report, DestinationReport { sending, packets, fault });
                    if old.fault != fault {
                        changes.push(Change::Server(id.clone(), channel));
                    }
                    if sending && !old.sending {
                        changes.push(Change::Sending(id.clone(), channel, address));
                    }
                }
                ReportItem::Recorder { fault } => changes.push(Change::Recorder(id.clone(), fault)),
                ReportItem::Archive { channel } => {
                    changes.push(Change::Held(id.clone(), channel, Holding::Known));
                }
                ReportItem::Extent { slot, extent } => {
                    changes.push(Change::Held(id.clone(), extent.channel, Holding::Extent(slot, extent)));
                }
                ReportItem::Vacant { channel, slot } => {
                    changes.push(Change::Held(id.clone(), channel, Holding::Vacant(slot)));
                }
            }
        }
    }

    fn next_wake(&self) -> Time {
        let death = self.last_answer + HOST_TIMEOUT;
        let query = self.next_query;
        if self.alive && self.unanswered >= MIN_UNANSWERED { query.min(death) } else { query }
    }
}

/// When within [`FIRST_QUERIES_SPREAD`] the `n`-th host is first queried.
fn spread(seed: u64, n: usize) -> Duration {
    let mixed = seed.wrapping_add(n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    FIRST_QUERIES_SPREAD * u32::try_from(mixed >> 16).unwrap_or(0) / (1 << 16)
}
