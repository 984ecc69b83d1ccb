//! A push server host in the world: the control machine, the data plane of each channel, and its feeds.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocols::ids::ChannelId;
use protocols::p3_feed::SILENCE_TIMEOUT;
use protocols::p4_control::{Interest, Kind, Sealed};
use protocols::time::Time;
use protocols::topology::DEFAULT_CONTROL_PORT;
use push_server::path::{ChannelPath, Wanted};
use push_server::plan::Plan;
use push_server::repair::{Answer, Asker, Request, Requester};
use push_server::ring::Run;
use push_server::{Config, FeedId, Input, Output, PushServer};

use crate::world::fabric::{Event, Knock, Message, Service};
use crate::world::invariants::{one_sender, silence};
use crate::world::streams::{End, StreamId};
use crate::world::{Fabric, NodeId, Role};

/// Nobody in the world speaks RTCP, which is what a host wants to know a stream's source for.
const NO_NACK: u32 = 0;
/// How often a channel's counters and its feed's silence are looked at.
const HOUSEKEEPING: Duration = Duration::from_millis(500);

/// Deliberate faults of the glue, to show that the judges see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// All is well.
    No,
    /// Plans that end sending are not put in force.
    IgnoresSuspension,
    /// One byte of each packet that leaves is changed.
    AltersPackets,
    /// Every datagram is sent back.
    Echoes,
}

/// One host.
#[derive(Debug)]
pub struct HostNode {
    node: NodeId,
    number: usize,
    machine: Option<PushServer>,
    paths: BTreeMap<ChannelId, Path>,
    feeds: BTreeMap<StreamId, Feed>,
    out: Vec<Output>,
    /// What its glue does wrong.
    pub broken: Broken,
}

#[derive(Debug)]
struct Path {
    /// Made with the first packet: a ring is a megabyte, and some runs are about control alone.
    data: Option<ChannelPath>,
    plan: Arc<Plan>,
    /// A [`Event::Drain`] is under way for then.
    drain_at: Option<Time>,
}

#[derive(Debug)]
struct Feed {
    channel: ChannelId,
    attempt: u32,
    accepted: bool,
    heard: Time,
}

impl Path {
    fn data_mut(&mut self, channel: ChannelId, local: Time) -> &mut ChannelPath {
        self.data.get_or_insert_with(|| {
            let mut data = ChannelPath::new(channel);
            data.apply(local, Arc::clone(&self.plan));
            data
        })
    }
}

impl HostNode {
    /// A node whose daemon has not been started.
    pub fn new(fabric: &Fabric, number: usize) -> Self {
        Self {
            node: fabric.site.size.node(Role::Host(number)),
            number,
            machine: None,
            paths: BTreeMap::new(),
            feeds: BTreeMap::new(),
            out: Vec::new(),
            broken: Broken::No,
        }
    }

    /// Starts the daemon.
    pub fn start(&mut self, fabric: &mut Fabric) {
        let (boot_id, _) = fabric.start(self.node);
        let config = Config { host: fabric.site.hosts[self.number].clone(), key: fabric.site.key.clone() };
        self.machine = Some(PushServer::new(config, boot_id));
        fabric.checks.silence.started(self.number);
    }

    /// Forgets everything.
    pub fn stop(&mut self) {
        self.machine = None;
        self.paths.clear();
        self.feeds.clear();
    }

    /// The machine, while the daemon runs.
    pub fn machine(&self) -> Option<&PushServer> {
        self.machine.as_ref()
    }

    /// The deadline was reached, perhaps.
    pub fn wake(&mut self, fabric: &mut Fabric) {
        let local = fabric.local(self.node);
        let due = |machine: &PushServer| machine.deadline().is_some_and(|(at, _)| at <= local);
        if self.machine.as_ref().is_some_and(due) {
            self.handle(fabric, Input::Tick);
        }
        let next = self.machine.as_ref().and_then(PushServer::deadline).map(|(at, _)| at);
        fabric.judge_wake(self.node, next);
        fabric.arm(self.node, next);
    }

    /// A datagram came. Tells how many outputs it led to.
    pub fn datagram(&mut self, fabric: &mut Fabric, from: SocketAddr, bytes: &[u8]) -> usize {
        if self.machine.is_none() {
            return 0;
        }
        if let Some((channel, lan)) = genuine_interest(fabric, from, bytes) {
            fabric.checks.silence.interest(fabric.now, self.number, channel, lan);
        }
        if self.broken == Broken::Echoes {
            fabric.send(self.node, DEFAULT_CONTROL_PORT, from, bytes.to_vec());
            return 1;
        }
        self.handle_counted(fabric, Input::Datagram { from, bytes: bytes.to_vec() })
    }

    /// A feed is through its handshake.
    pub fn accept(&mut self, fabric: &mut Fabric, stream: StreamId, knock: &Knock) {
        let Service::Feed(channel) = knock.service else { return };
        let Role::Acquisition(number) = fabric.site.size.role(knock.caller) else { return };
        let feed = Feed { channel, attempt: knock.attempt, accepted: false, heard: fabric.now };
        self.feeds.insert(stream, feed);
        let peer = fabric.site.acquisitions[number].clone();
        self.handle(fabric, Input::FeedOpened { channel, feed: feed_id(stream), peer, ssrc: NO_NACK });
    }

    /// A packet, or the keepalive, came by P3.
    pub fn told(&mut self, fabric: &mut Fabric, stream: StreamId, message: &Message) {
        let (Message::Packet(bytes), Some(feed)) = (message, self.feeds.get_mut(&stream)) else { return };
        feed.heard = fabric.now;
        let channel = feed.channel;
        let Some(path) = self.paths.get_mut(&channel).filter(|_| feed.accepted && !bytes.is_empty()) else {
            return;
        };
        let local = fabric.local(self.node);
        path.data_mut(channel, local).feed(local, bytes);
        self.drain(fabric, channel);
        self.count(fabric, channel);
    }

    /// A feed ended at the other side.
    pub fn closed(&mut self, fabric: &mut Fabric, stream: StreamId) {
        if let Some(feed) = self.feeds.remove(&stream) {
            self.handle(fabric, Input::FeedClosed { channel: feed.channel, feed: feed_id(stream) });
        }
    }

    /// The data plane of a channel asked for this moment.
    pub fn drain_due(&mut self, fabric: &mut Fabric, channel: ChannelId) {
        if let Some(path) = self.paths.get_mut(&channel)
            && path.drain_at.is_some_and(|at| at <= fabric.now)
        {
            path.drain_at = None;
            self.drain(fabric, channel);
        }
    }

    /// Looks at the counters and at silent feeds. The world calls it every [`Self::HOUSEKEEPING`].
    pub fn keep_house(&mut self, fabric: &mut Fabric) {
        let now = fabric.now;
        let silent = |feed: &Feed| now.since(feed.heard) >= SILENCE_TIMEOUT;
        while let Some(stream) = self.feeds.iter().find(|(_, feed)| silent(feed)).map(|(stream, _)| *stream) {
            fabric.hang_up(stream, End::Callee);
            self.closed(fabric, stream);
        }
        let channels: Vec<ChannelId> = self.paths.keys().copied().collect();
        for channel in channels {
            self.count(fabric, channel);
        }
    }

    /// One line for each channel: how its data plane stands.
    pub fn describe(&self, fabric: &Fabric) -> String {
        let mut text = String::new();
        let local = fabric.local(self.node);
        for (channel, path) in &self.paths {
            let fed = self.machine.as_ref().is_some_and(|machine| machine.fed(*channel));
            let Some(data) = &path.data else { continue };
            let sending = data.plan().targets.iter().filter(|target| target.sending).count();
            let deadline = data.deadline().map(|at| at.since(local));
            let _ = write!(
                text,
                "host {} channel {channel}: fed {fed}, sending to {sending}, {} packets, {:?}, next in {deadline:?}; ",
                self.number,
                data.packets(),
                data.drops(),
            );
        }
        text
    }

    /// How often [`Self::keep_house`] is to be called.
    pub const HOUSEKEEPING: Duration = HOUSEKEEPING;

    fn count(&mut self, fabric: &mut Fabric, channel: ChannelId) {
        let local = fabric.local(self.node);
        let counters = self.paths.get_mut(&channel).and_then(|path| path.data.as_mut()?.counters_due(local));
        if let Some(counters) = counters {
            self.handle(fabric, Input::Counters(counters));
        }
    }

    fn handle(&mut self, fabric: &mut Fabric, input: Input) {
        let _ = self.handle_counted(fabric, input);
    }

    fn handle_counted(&mut self, fabric: &mut Fabric, input: Input) -> usize {
        let Some(machine) = &mut self.machine else { return 0 };
        let mut out = std::mem::take(&mut self.out);
        machine.handle(fabric.local(self.node), input, &mut out);
        let deadline = machine.deadline().map(|(at, _)| at);
        let outputs = out.len();
        for output in out.drain(..) {
            self.carry_out(fabric, output);
        }
        self.out = out;
        fabric.arm(self.node, deadline);
        outputs
    }

    fn carry_out(&mut self, fabric: &mut Fabric, output: Output) {
        match output {
            Output::Send { to, bytes } => fabric.send(self.node, DEFAULT_CONTROL_PORT, to, bytes),
            Output::Plan { channel, plan } => {
                fabric.say(|| {
                    let sending =
                        plan.targets.iter().filter(|target| target.sending).map(|target| target.address);
                    let sending: Vec<_> = sending.collect();
                    format!(
                        "host {} channel {channel} by {} sends to {sending:?}",
                        self.number, plan.revision
                    )
                });
                let local = fabric.local(self.node);
                let path = self.paths.entry(channel).or_insert_with(|| Path {
                    data: None,
                    plan: Arc::default(),
                    drain_at: None,
                });
                let ends = plan.targets.iter().all(|target| !target.sending);
                if !(ends && self.broken == Broken::IgnoresSuspension) {
                    if let Some(data) = &mut path.data {
                        data.apply(local, Arc::clone(&plan));
                    }
                    path.plan = plan;
                }
                self.drain(fabric, channel);
            }
            Output::Repair { channel, request } => self.repair(fabric, channel, &request),
            // Nothing is recorded here, nobody joins without a client, nothing is announced.
            Output::Record { .. }
            | Output::Play(_)
            | Output::PlayRepair(_)
            | Output::Live { .. }
            | Output::Membership(_)
            | Output::Notify(_) => {}
            Output::Release { channel } => {
                self.paths.remove(&channel);
            }
            Output::Announce { channel, destination, bytes } => {
                fabric.broadcast(self.node, channel, destination, &bytes);
            }
            Output::AcceptFeed { channel, feed } => {
                let stream = stream(feed);
                let Some(feed) = self.feeds.get_mut(&stream) else { return };
                feed.accepted = true;
                fabric.tell(stream, End::Caller, Message::Welcome(feed.attempt));
                if let Some(data) = self.paths.get_mut(&channel).and_then(|path| path.data.as_mut()) {
                    data.feed_opened();
                }
            }
            // No destination of the world has members count.
            Output::TellFeed { feed, order, .. } => {
                fabric.tell(stream(feed), End::Caller, Message::Order(order));
            }
            Output::CloseFeed { feed, refusal, .. } => {
                let stream = stream(feed);
                let Some(feed) = self.feeds.remove(&stream) else { return };
                if !feed.accepted {
                    fabric.tell(stream, End::Caller, Message::Unwelcome(feed.attempt, refusal.to_string()));
                }
                fabric.hang_up(stream, End::Callee);
            }
        }
    }

    /// Sends again what a viewer misses.
    fn repair(&mut self, fabric: &mut Fabric, channel: ChannelId, request: &Request) {
        let Requester::Viewer { address, destination, round_trip } = request.from else { return };
        let (local, node, number) = (fabric.local(self.node), self.node, self.number);
        let Some(data) = self.paths.get_mut(&channel).and_then(|path| path.data.as_mut()) else { return };
        let targets = &data.plan().targets;
        let Some(target) = targets.iter().position(|target| target.address == destination) else { return };
        let asker = Asker::Viewer { address, round_trip };
        let wanted = Wanted { asker, target, ssrc: request.ssrc, missing: &request.missing };
        data.repair(local, &wanted, &mut |answer, packet| {
            match answer {
                Answer::Stream(to) => fabric.stream(node, to, packet),
                Answer::Broadcast => send(fabric, (node, number), channel, destination, packet),
            }
            true
        });
    }

    /// Sends what may leave now, and comes back for the rest.
    fn drain(&mut self, fabric: &mut Fabric, channel: ChannelId) {
        let local = fabric.local(self.node);
        let Some(path) = self.paths.get_mut(&channel) else { return };
        let Some(data) = &mut path.data else { return };
        let targets = Arc::clone(data.plan());
        let (node, number, broken) = (self.node, self.number, self.broken);
        data.drain(local, &mut |index, runs| {
            let Some(target) = targets.targets.get(index) else { return 0 };
            let packets = || runs.iter().flat_map(Run::packets);
            for packet in packets() {
                if broken == Broken::AltersPackets {
                    let mut altered = packet.to_vec();
                    *altered.last_mut().expect("a packet has bytes") ^= 1;
                    fabric.broadcast(node, channel, target.address, &altered);
                } else {
                    send(fabric, (node, number), channel, target.address, packet);
                }
            }
            packets().count()
        });
        let standing = fabric.standings[self.node.index()];
        if let Some(at) = data.deadline().map(|at| (at - standing.offset).max(fabric.now))
            && path.drain_at.is_none_or(|before| at < before)
        {
            path.drain_at = Some(at);
            fabric.queue.post(at, Event::Drain(self.node, standing.life, channel));
        }
    }
}

fn send(
    fabric: &mut Fabric,
    (node, number): (NodeId, usize),
    channel: ChannelId,
    destination: std::net::IpAddr,
    packet: &[u8],
) {
    let lan = fabric.broadcast(node, channel, destination, packet);
    let (Some(lan), Some(channel)) = (lan, fabric.site.size.number(channel)) else { return };
    let sight = fabric.checks.silence.sent(fabric.now, number, channel, lan);
    fabric.checks.note(fabric.now, silence::RULE, sight);
    let sight = fabric.checks.one_sender.sent(fabric.now, number, channel, lan);
    fabric.checks.note(fabric.now, one_sender::RULE, sight);
}

/// The channel and network of an interest that some server gave the right to send, judged without the machine.
fn genuine_interest(fabric: &Fabric, from: SocketAddr, bytes: &[u8]) -> Option<(usize, usize)> {
    let sealed = Sealed::parse(bytes).ok().filter(|sealed| sealed.kind == Kind::Interest)?;
    let lease = Interest::peek(&sealed).ok()?.lease;
    let secret = fabric.site.key.lease_key().secret(&lease);
    if lease.client != from.ip() || sealed.verify(&secret).is_err() {
        return None;
    }
    Some((fabric.site.size.number(lease.channel)?, fabric.site.size.lan_at(lease.destination)?))
}

fn feed_id(stream: StreamId) -> FeedId {
    FeedId(u64::from(stream.0))
}

fn stream(feed: FeedId) -> StreamId {
    StreamId(u32::try_from(feed.0).expect("made by `feed_id`"))
}
