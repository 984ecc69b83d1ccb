//! What each push server must know, and whether it knows it: posted until acknowledged, again after a host's restart,
//! and released when a host carries a channel no more.
//!
//! ```text
//! want ──► new revision ──► parts queued ──window──► sent ──acknowledged──► in force
//!                               ▲                     │ CONFIGURE_RETRY
//!                               └─────────────────────┘        new boot id, or an older revision reported: queued again
//! ```
//!
//! A host has at most [`WINDOW`] unacknowledged datagrams at a time, so that a thousand push servers are configured at the
//! rate of the path and not as one burst that its socket buffer would drop.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use protocols::authority::MacKey;
use protocols::ids::{BootId, ChannelId, HostId, Revision};
use protocols::p4_control::{
    CONFIGURE_RETRY, CommandOrder, Configure, Configured, DESTINATIONS_PER_PART, DestinationOrder, Kind,
    PEERS_PER_PART, RecordPart, SPANS_PER_PART, SessionOrder,
};
use protocols::recording::RecordOrder;
use protocols::time::Time;
use tracing::warn;

use crate::command::Wire;
use crate::output::Output;
use protocols::timers::Timers;

/// Configure datagrams of one host that may wait for their acknowledgement at a time; the others queue.
pub const WINDOW: usize = 32;
/// Times that one part is sent to a living host before its push server is set aside for [`GIVE_UP_PAUSE`].
pub const MAX_TRIES: u32 = 50;
/// After this a push server that was given up is tried again.
pub const GIVE_UP_PAUSE: Duration = Duration::from_secs(10);

/// First revision of the last start that can be counted: nobody starts a database server so often.
const HIGHEST_BELIEVED: Revision = Revision((u32::MAX as u64) << 32);

/// Mints revisions: each above all before, in this life and in earlier ones.
#[derive(Debug)]
pub struct Minter {
    next: u64,
}

impl Minter {
    /// The first revision of the database server's `start`-th life comes next.
    pub fn new(start: u32) -> Self {
        Self { next: Revision::new(start, 0).0 }
    }

    /// A new revision.
    pub fn mint(&mut self) -> Revision {
        self.next += 1;
        Revision(self.next - 1)
    }

    /// Somebody holds `seen`: what is minted from now on is above it, even if that life was not of this store. What no
    /// life can have minted is not believed: it would leave nothing to mint for everybody else.
    pub fn above(&mut self, seen: Revision) {
        if seen < HIGHEST_BELIEVED {
            self.next = self.next.max(seen.0 + 1);
        }
    }
}

/// What a push server is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Desired {
    /// Carry its channel.
    Carry {
        /// UDP port of the channel.
        port: u16,
        /// All its destinations.
        destinations: Vec<DestinationOrder>,
        /// What to record; `None`: nothing.
        record: Option<Box<RecordOrder>>,
        /// What is said of it where it is announced.
        session: Option<SessionOrder>,
    },
    /// Carry it no more.
    Release,
}

/// The configurations of all hosts.
#[derive(Debug)]
pub struct Configuration {
    hosts: BTreeMap<HostId, HostConfiguration>,
    retries: Timers<HostId>,
}

#[derive(Debug, Default)]
struct HostConfiguration {
    servers: BTreeMap<ChannelId, Server>,
    queue: Queue,
    /// Sent and not acknowledged, in the order of sending, which is also that of their time.
    sent: BTreeMap<CommandOrder, Sent>,
    /// Push servers that would not acknowledge, and when to try them again.
    set_aside: Timers<ChannelId>,
    /// The life that is being configured; `None` while the host is not alive.
    boot: Option<BootId>,
}

/// Parts to send, first come first served, each at most once.
#[derive(Debug, Default)]
struct Queue {
    order: VecDeque<(ChannelId, u8)>,
    members: BTreeSet<(ChannelId, u8)>,
}

#[derive(Debug)]
struct Server {
    desired: Desired,
    revision: Revision,
    /// Parts not acknowledged yet, with the times that each was sent.
    missing: BTreeMap<u8, u32>,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    channel: ChannelId,
    revision: Revision,
    part: u8,
    at: Time,
}

/// Where a host is.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    /// Its id.
    pub id: &'a HostId,
    /// Its P4 address.
    pub address: SocketAddr,
    /// Its key.
    pub key: &'a MacKey,
}

impl Configuration {
    /// Nothing wanted of anybody.
    pub fn new() -> Self {
        Self { hosts: BTreeMap::new(), retries: Timers::new() }
    }

    /// The push server of `channel` at `host` shall do this. Nothing happens when that is what it was told last.
    pub fn want(&mut self, host: &HostId, channel: ChannelId, desired: Desired, minter: &mut Minter) {
        let at = self.hosts.entry(host.clone()).or_default();
        if at.servers.get(&channel).is_some_and(|server| server.desired == desired) {
            return;
        }
        if desired == Desired::Release && !at.servers.contains_key(&channel) && at.boot.is_none() {
            // Never told anything in this life; if it carries the channel, its report will say so.
            return;
        }
        at.servers.insert(channel, Server { desired, revision: minter.mint(), missing: BTreeMap::new() });
        at.enqueue(channel);
    }

    /// The revision that the push server of `channel` at `host` shall have; `None` when nothing is wanted of it.
    pub fn revision(&self, host: &HostId, channel: ChannelId) -> Option<Revision> {
        Some(self.hosts.get(host)?.servers.get(&channel)?.revision)
    }

    /// Channels of which something is wanted at `host`.
    pub fn channels(&self, host: &HostId) -> Vec<ChannelId> {
        self.hosts.get(host).map(|at| at.servers.keys().copied().collect()).unwrap_or_default()
    }

    /// Whether all is acknowledged at `host`.
    pub fn is_settled(&self, host: &HostId) -> bool {
        self.hosts.get(host).is_none_or(|at| at.servers.values().all(|server| server.missing.is_empty()))
    }

    /// Nothing is wanted of `host` any more; it is forgotten.
    pub fn forget(&mut self, host: &HostId) {
        self.hosts.remove(host);
        self.retries.cancel(host);
    }

    /// `host` is alive under `boot`; a new boot id has forgotten everything.
    pub fn host_up(&mut self, host: &HostId, boot: BootId, rebooted: bool) {
        let at = self.hosts.entry(host.clone()).or_default();
        at.boot = Some(boot);
        at.sent.clear();
        at.queue.clear();
        if rebooted {
            // A release is done by having forgotten.
            at.servers.retain(|_, server| server.desired != Desired::Release);
        }
        for channel in at.servers.keys().copied().collect::<Vec<_>>() {
            if rebooted {
                at.enqueue(channel);
            } else {
                at.enqueue_missing(channel);
            }
        }
    }

    /// `host` is dead: nothing is sent to it until it is alive again.
    pub fn host_down(&mut self, host: &HostId) {
        if let Some(at) = self.hosts.get_mut(host) {
            at.boot = None;
            at.sent.clear();
            at.queue.clear();
        }
        self.retries.cancel(host);
    }

    /// `host` says by a report that `in_force` holds for `channel`.
    pub fn reported(&mut self, host: &HostId, channel: ChannelId, in_force: Revision, minter: &mut Minter) {
        let Some(at) = self.hosts.get_mut(host) else { return };
        let Some(server) = at.servers.get_mut(&channel) else { return };
        if in_force > server.revision {
            minter.above(in_force);
            server.revision = minter.mint();
            at.enqueue(channel);
        } else if in_force < server.revision && server.missing.is_empty() {
            at.enqueue(channel);
        }
    }

    /// Whether `order` is that of a configure datagram to `host` that waits for its acknowledgement.
    pub fn waits(&self, host: &HostId, order: CommandOrder) -> bool {
        self.hosts.get(host).is_some_and(|at| at.sent.contains_key(&order))
    }

    /// Takes the acknowledgement of `order`. `false`: it does not wait.
    pub fn acknowledged(
        &mut self,
        host: &HostId,
        order: CommandOrder,
        body: &Configured,
        minter: &mut Minter,
    ) -> bool {
        let Some(at) = self.hosts.get_mut(host) else { return false };
        let Some(sent) = at.sent.remove(&order) else { return false };
        let Some(server) = at.servers.get_mut(&sent.channel) else { return true };
        if body.in_force > server.revision {
            minter.above(body.in_force);
            server.revision = minter.mint();
            at.enqueue(sent.channel);
            return true;
        }
        if sent.revision != server.revision || body.revision != sent.revision || body.part != sent.part {
            return true;
        }
        server.missing.remove(&sent.part);
        if server.missing.is_empty() {
            at.finish(sent.channel);
        }
        true
    }

    /// Sends to `peer` what its window allows: first what has waited for [`CONFIGURE_RETRY`], then what is new.
    pub(crate) fn pump(&mut self, peer: Peer<'_>, wire: &mut Wire<'_>) {
        let now = wire.now;
        let Some(at) = self.hosts.get_mut(peer.id) else { return };
        let Some(boot) = at.boot else { return };
        at.take_back(now);
        at.bring_back(now);
        while at.sent.len() < WINDOW {
            let Some((channel, part)) = at.queue.pop() else { break };
            let Some(server) = at.servers.get_mut(&channel) else { continue };
            let Some(tries) = server.missing.get_mut(&part) else { continue };
            if *tries >= MAX_TRIES {
                wire.counters.configurations_given_up += 1;
                warn!(host = %peer.id, %channel, "push server does not take its configuration; trying again later");
                at.set_aside.set(channel, now + GIVE_UP_PAUSE);
                continue;
            }
            if *tries == 0 {
                wire.counters.configurations_sent += 1;
            } else {
                wire.counters.configurations_repeated += 1;
            }
            *tries += 1;
            let body = server.part(channel, part);
            let (order, bytes) = wire.commander.seal(Kind::Configure, peer.id, boot, peer.key, body);
            at.sent.insert(order, Sent { channel, revision: server.revision, part, at: now });
            wire.out.push(Output::Datagram { to: peer.address, bytes });
        }
        match at.deadline() {
            Some(time) => self.retries.set(peer.id.clone(), time),
            None => self.retries.cancel(peer.id),
        }
    }

    /// A host whose [`Self::pump`] is due.
    pub(crate) fn due(&mut self, now: Time) -> Option<HostId> {
        self.retries.pop(now)
    }

    /// Earliest time at which `due` names a host.
    pub fn deadline(&self) -> Option<Time> {
        self.retries.due()
    }
}

impl Default for Configuration {
    fn default() -> Self {
        Self::new()
    }
}

impl HostConfiguration {
    /// All parts of `channel` are to be sent.
    fn enqueue(&mut self, channel: ChannelId) {
        if let Some(server) = self.servers.get_mut(&channel) {
            server.missing = (0..server.parts().max(1)).map(|part| (part, 0)).collect();
        }
        self.enqueue_missing(channel);
    }

    /// The parts of `channel` that are not acknowledged are to be sent.
    fn enqueue_missing(&mut self, channel: ChannelId) {
        self.set_aside.cancel(&channel);
        if self.boot.is_none() {
            return;
        }
        if let Some(server) = self.servers.get_mut(&channel) {
            for (part, tries) in &mut server.missing {
                *tries = 0;
                self.queue.push_back((channel, *part));
            }
        }
    }

    /// All parts of `channel` are acknowledged. A host that holds them all and yet carries out an older configuration shows
    /// it in its next report, and begins again by that, no faster than it is queried.
    fn finish(&mut self, channel: ChannelId) {
        if self.servers.get(&channel).is_some_and(|server| server.desired == Desired::Release) {
            self.servers.remove(&channel);
        }
    }

    /// Puts back in the queue what has waited too long for its acknowledgement.
    fn take_back(&mut self, now: Time) {
        while let Some((order, sent)) = self.sent.first_key_value() {
            if now < sent.at + CONFIGURE_RETRY {
                break;
            }
            let (order, sent) = (*order, *sent);
            self.sent.remove(&order);
            if self.servers.get(&sent.channel).is_some_and(|server| server.revision == sent.revision) {
                self.queue.push_front((sent.channel, sent.part));
            }
        }
    }

    /// Brings back the push servers whose pause is over.
    fn bring_back(&mut self, now: Time) {
        while let Some(channel) = self.set_aside.pop(now) {
            self.enqueue_missing(channel);
        }
    }

    fn deadline(&self) -> Option<Time> {
        let retry = self.sent.values().next().map(|sent| sent.at + CONFIGURE_RETRY);
        [retry, self.set_aside.due()].into_iter().flatten().min()
    }
}

impl Queue {
    fn push_back(&mut self, part: (ChannelId, u8)) {
        if self.members.insert(part) {
            self.order.push_back(part);
        }
    }

    fn push_front(&mut self, part: (ChannelId, u8)) {
        if self.members.insert(part) {
            self.order.push_front(part);
        }
    }

    fn pop(&mut self) -> Option<(ChannelId, u8)> {
        let part = self.order.pop_front()?;
        self.members.remove(&part);
        Some(part)
    }

    fn clear(&mut self) {
        self.order.clear();
        self.members.clear();
    }
}

impl Server {
    /// Number of parts, as in [`Configure::parts`]: first those with destinations, then those with spans, then those with peers.
    fn parts(&self) -> u8 {
        match &self.desired {
            Desired::Release => 0,
            Desired::Carry { destinations, record, .. } => {
                let lists = record.as_ref().map_or(0, |order| span_parts(order) + peer_parts(order));
                let parts = destination_parts(destinations) + lists;
                // By the limits of the topology and of programmes 112 at most.
                u8::try_from(parts).unwrap_or(u8::MAX)
            }
        }
    }

    fn part(&self, channel: ChannelId, part: u8) -> Configure {
        let (revision, parts) = (self.revision, self.parts());
        let Desired::Carry { port, destinations, record, session } = &self.desired else {
            let (port, destinations, record, session) = (0, Vec::new(), None, None);
            return Configure { channel, revision, part, parts, port, destinations, record, session };
        };
        let record = record.as_ref().map(|order| {
            let index = usize::from(part).checked_sub(destination_parts(destinations));
            let after = index.and_then(|index| index.checked_sub(span_parts(order)));
            RecordPart {
                keep_s: order.keep_s,
                protected: nth(&order.protected, SPANS_PER_PART, index),
                peers: nth(&order.peers, PEERS_PER_PART, after),
            }
        });
        let destinations = nth(destinations, DESTINATIONS_PER_PART, Some(part.into()));
        let session = session.clone();
        Configure { channel, revision, part, parts, port: *port, destinations, record, session }
    }
}

fn destination_parts(destinations: &[DestinationOrder]) -> usize {
    destinations.len().div_ceil(DESTINATIONS_PER_PART).max(1)
}

fn span_parts(order: &RecordOrder) -> usize {
    order.protected.len().div_ceil(SPANS_PER_PART)
}

fn peer_parts(order: &RecordOrder) -> usize {
    order.peers.len().div_ceil(PEERS_PER_PART)
}

/// The `index`-th piece of `all`, in pieces of `size`; nothing behind the last one, and without an index.
fn nth<T: Clone>(all: &[T], size: usize, index: Option<usize>) -> Vec<T> {
    index.and_then(|index| all.chunks(size).nth(index)).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use protocols::authority::ClusterKey;
    use protocols::p4_control::{Command, Sealed};
    use protocols::recording::{RecordPeer, Span};
    use protocols::time::ClusterTime;

    use super::*;
    use crate::command::Commander;
    use crate::counters::Counters;

    const BOOT: BootId = BootId(7);

    /// One host, whose datagrams are handed to the test instead of a network.
    struct Bench {
        configuration: Configuration,
        minter: Minter,
        commander: Commander,
        counters: Counters,
        host: HostId,
        key: MacKey,
    }

    impl Bench {
        fn new(channels: u32, destinations: usize) -> Self {
            let host: HostId = "hall".parse().unwrap();
            let key = ClusterKey::new([1; 32]).host_key(&host);
            let mut bench = Self {
                configuration: Configuration::new(),
                minter: Minter::new(1),
                commander: Commander::new(1),
                counters: Counters::default(),
                host,
                key,
            };
            for channel in 1..=channels {
                bench.want(channel, carry(destinations));
            }
            bench.configuration.host_up(&bench.host, BOOT, true);
            bench
        }

        fn want(&mut self, channel: u32, desired: Desired) {
            self.configuration.want(&self.host, ChannelId(channel), desired, &mut self.minter);
        }

        fn pump(&mut self, ms: u64) -> Vec<Command<Configure>> {
            let mut out = Vec::new();
            let peer = Peer { id: &self.host, address: "10.0.1.1:7404".parse().unwrap(), key: &self.key };
            self.configuration.pump(
                peer,
                &mut Wire {
                    now: Time::from_ms(ms),
                    time: ClusterTime(0),
                    commander: &mut self.commander,
                    counters: &mut self.counters,
                    out: &mut out,
                },
            );
            let command = |output: &Output| match output {
                Output::Datagram { bytes, .. } => Sealed::parse(bytes).unwrap().open(&self.key).unwrap(),
                other => panic!("{other:?}"),
            };
            out.iter().map(command).collect()
        }

        fn acknowledge(&mut self, command: &Command<Configure>, in_force: Revision) {
            let Configure { channel, part, revision, .. } = command.body;
            let body = Configured { channel, part, revision, in_force };
            assert!(self.configuration.acknowledged(&self.host, command.order, &body, &mut self.minter));
        }

        fn is_settled(&self) -> bool {
            self.configuration.is_settled(&self.host)
        }
    }

    fn carry(destinations: usize) -> Desired {
        let destination = DestinationOrder {
            address: "239.192.1.1".parse().unwrap(),
            interface: None,
            ttl: 1,
            dscp: 0,
            window_ms: 10,
            broadcast: false,
            assigned: true,
            membership: false,
            announce: false,
        };
        Desired::Carry {
            port: 7601,
            destinations: vec![destination; destinations],
            record: None,
            session: None,
        }
    }

    #[test]
    fn no_more_than_a_window_is_outstanding_and_each_acknowledgement_makes_room() {
        let mut bench = Bench::new(100, 1);
        let sent = bench.pump(0);
        assert_eq!(sent.len(), WINDOW);
        assert_eq!(bench.pump(50), []);
        bench.acknowledge(&sent[0], sent[0].body.revision);
        assert_eq!(bench.pump(60).len(), 1);
    }

    #[test]
    fn what_is_not_acknowledged_is_sent_again_under_a_higher_order_and_the_same_revision() {
        let mut bench = Bench::new(1, 25);
        let first = bench.pump(0);
        assert_eq!(first.iter().map(|command| command.body.part).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(
            first.iter().map(|command| command.body.destinations.len()).collect::<Vec<_>>(),
            [10, 10, 5]
        );
        bench.acknowledge(&first[1], Revision(0));
        assert_eq!(bench.pump(99), []);
        let again = bench.pump(100);
        assert_eq!(again.len(), 2);
        assert!(again.iter().all(|command| command.order > first[2].order));
        assert!(again.iter().all(|command| command.body.revision == first[0].body.revision));
        for command in &again {
            bench.acknowledge(command, command.body.revision);
        }
        assert!(bench.is_settled());
        assert_eq!(bench.configuration.hosts[&bench.host].deadline(), None);
    }

    #[test]
    fn an_order_to_record_follows_the_destinations_in_parts_of_its_own() {
        let span = |n: u64| Span { from: ClusterTime(n * 2), to: ClusterTime(n * 2 + 1) };
        let peer = |n: u16| RecordPeer {
            host: format!("h{n}").parse().unwrap(),
            feed: "10.0.0.1:7403".parse().unwrap(),
        };
        let order = RecordOrder {
            keep_s: 60,
            protected: (0..45).map(span).collect(),
            peers: (0..11).map(peer).collect(),
        };
        let Desired::Carry { port, destinations, .. } = carry(11) else { panic!() };
        let mut bench = Bench::new(0, 0);
        bench.want(
            1,
            Desired::Carry { port, destinations, record: Some(Box::new(order.clone())), session: None },
        );
        let sent = bench.pump(0);
        let lists = |command: &Command<Configure>| {
            let record = command.body.record.as_ref().unwrap();
            assert_eq!((record.keep_s, command.body.parts), (60, 6));
            (command.body.destinations.len(), record.protected.len(), record.peers.len())
        };
        let expected = [(10, 0, 0), (1, 0, 0), (0, 40, 0), (0, 5, 0), (0, 0, 10), (0, 0, 1)];
        assert_eq!(sent.iter().map(lists).collect::<Vec<_>>(), expected);
        let spans = sent.iter().flat_map(|command| command.body.record.clone().unwrap().protected);
        assert_eq!(spans.collect::<Vec<_>>(), order.protected);
    }

    #[test]
    fn a_host_that_holds_a_higher_revision_is_outbid() {
        let mut bench = Bench::new(1, 1);
        let sent = bench.pump(0).remove(0);
        let foreign = Revision::new(9, 5);
        bench.acknowledge(&sent, foreign);
        let again = bench.pump(1).remove(0);
        assert!(again.body.revision > foreign);
        bench.acknowledge(&again, again.body.revision);
        assert!(bench.is_settled());
    }

    #[test]
    fn a_revision_that_nobody_can_have_minted_does_not_use_up_those_of_others() {
        let mut bench = Bench::new(1, 1);
        let sent = bench.pump(0).remove(0);
        bench.acknowledge(&sent, Revision(u64::MAX));
        let again = bench.pump(1).remove(0);
        assert_eq!(again.body.revision, Revision(sent.body.revision.0 + 1));
    }

    #[test]
    fn a_lower_revision_in_a_report_begins_again_and_an_equal_one_does_not() {
        let mut bench = Bench::new(1, 1);
        let sent = bench.pump(0).remove(0);
        bench.acknowledge(&sent, sent.body.revision);
        let (host, channel) = (bench.host.clone(), ChannelId(1));
        bench.configuration.reported(&host, channel, sent.body.revision, &mut bench.minter);
        assert!(bench.is_settled());
        bench.configuration.reported(&host, channel, Revision(1), &mut bench.minter);
        assert_eq!(bench.pump(10).remove(0).body, sent.body);
    }

    #[test]
    fn a_change_of_mind_outdates_what_is_on_its_way() {
        let mut bench = Bench::new(1, 1);
        let old = bench.pump(0).remove(0);
        bench.want(1, carry(2));
        let new = bench.pump(1).remove(0);
        bench.acknowledge(&old, old.body.revision);
        assert!(!bench.is_settled(), "that was the old one");
        bench.acknowledge(&new, new.body.revision);
        assert!(bench.is_settled());
        bench.want(1, Desired::Release);
        let release = bench.pump(2).remove(0);
        assert_eq!((release.body.parts, release.body.part), (0, 0));
        bench.acknowledge(&release, release.body.revision);
        assert_eq!(bench.configuration.channels(&bench.host), []);
    }

    #[test]
    fn a_push_server_that_never_acknowledges_is_set_aside_and_tried_again_later() {
        let mut bench = Bench::new(1, 1);
        let tries: usize = (0..200).map(|round| bench.pump(round * 100).len()).sum();
        assert_eq!(tries, MAX_TRIES as usize + 50, "50 in 5 s, a pause of 10 s, 50 in the next 5 s");
        assert_eq!(bench.counters.configurations_given_up, 1);
    }

    /// Goal: with 20 % of the datagrams lost in either direction, 200 push servers are configured soon, whatever the seed.
    #[test]
    fn it_converges_under_loss() {
        let mut took: Vec<u64> = Vec::new();
        for seed in 1..=30_u64 {
            let mut random = seed;
            let mut lost = || {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random.is_multiple_of(5)
            };
            let mut bench = Bench::new(200, 1);
            let mut ms = 0;
            while !bench.is_settled() {
                for command in bench.pump(ms) {
                    if !lost() && !lost() {
                        bench.acknowledge(&command, command.body.revision);
                    }
                }
                ms += 10;
                assert!(ms < 30_000, "seed {seed}");
            }
            took.push(ms);
        }
        took.sort_unstable();
        println!("200 push servers, 20 % loss: median {} ms, longest {} ms", took[15], took[29]);
    }
}
