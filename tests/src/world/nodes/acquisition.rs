//! An acquisition server in the world: the machine, its inputs and its feeds.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use acquisition::feed_queues::FRESH;
use acquisition::{Acquisition, ChannelCounters, Config, Input, Output};
use protocols::ids::{ChannelId, HostId};
use protocols::p1_registration::{InputState, ToAcquisition};
use protocols::p3_feed::{FeedOrder, HEADER_BYTES, SAMPLE_INTERVAL};
use protocols::time::Time;

use super::Link;
use crate::world::fabric::{Event, Message, Service};
use crate::world::invariants::hosts_only;
use crate::world::source::Source;
use crate::world::streams::{End, StreamId};
use crate::world::{Fabric, NodeId, Role};

/// Packets that wait for a stalled feed before the feed drops: as the feed queue of the daemon does.
const FEED_BACKLOG: usize = 64;
/// An input that is silent for this long has stalled.
const STALL: Duration = Duration::from_secs(2);
/// How often an open input without a packet is looked at, and an idle feed says so.
const IDLE: Duration = protocols::p3_feed::KEEPALIVE_INTERVAL;

/// One acquisition server.
#[derive(Debug)]
pub struct AcquisitionNode {
    node: NodeId,
    number: usize,
    period: Duration,
    machine: Option<Acquisition>,
    database: Link,
    feeds: BTreeMap<(ChannelId, usize), Feed>,
    inputs: BTreeMap<ChannelId, Capture>,
    captures: u32,
    out: Vec<Output>,
}

#[derive(Debug, Default)]
struct Feed {
    link: Link,
    dropped: u64,
    held: Option<Held>,
}

/// What a feed that was told to hold has not sent.
#[derive(Debug)]
struct Held {
    /// When the next header, or keepalive, is due.
    sample_due: Time,
    /// A packet came since the last sample.
    unseen: bool,
    newest: Option<(Time, Rc<[u8]>)>,
}

#[derive(Debug)]
struct Capture {
    url: String,
    source: Source,
    opened: Time,
    last: Time,
    said: Option<bool>,
    reported: Time,
}

impl AcquisitionNode {
    /// A node whose daemon has not been started. `period`: time between two packets of a channel.
    pub fn new(fabric: &Fabric, number: usize, period: Duration) -> Self {
        Self {
            node: fabric.site.size.node(Role::Acquisition(number)),
            number,
            period,
            machine: None,
            database: Link::default(),
            feeds: BTreeMap::new(),
            inputs: BTreeMap::new(),
            captures: u32::try_from(number).expect("few servers") << 24,
            out: Vec::new(),
        }
    }

    /// Starts the daemon.
    pub fn start(&mut self, fabric: &mut Fabric) {
        let (boot_id, seed) = fabric.start(self.node);
        let config = Config { software: "simulated".to_owned() };
        let machine = Acquisition::new(config, boot_id, seed);
        fabric.arm(self.node, machine.deadline().map(|(at, _)| at));
        self.machine = Some(machine);
    }

    /// Forgets everything that was in memory.
    pub fn stop(&mut self) {
        self.machine = None;
        self.database = Link::default();
        self.feeds.clear();
        self.inputs.clear();
    }

    /// The machine, while the daemon runs.
    pub fn machine(&self) -> Option<&Acquisition> {
        self.machine.as_ref()
    }

    /// The deadline was reached, perhaps.
    pub fn wake(&mut self, fabric: &mut Fabric) {
        let local = fabric.local(self.node);
        let due = |machine: &Acquisition| machine.deadline().is_some_and(|(at, _)| at <= local);
        if self.machine.as_ref().is_some_and(due) {
            self.handle(fabric, Input::Tick);
        }
        let next = self.machine.as_ref().and_then(Acquisition::deadline).map(|(at, _)| at);
        fabric.judge_wake(self.node, next);
        fabric.arm(self.node, next);
    }

    /// Hands one event to the machine and carries out what it says.
    fn handle(&mut self, fabric: &mut Fabric, input: Input) {
        let Some(machine) = &mut self.machine else { return };
        let mut out = std::mem::take(&mut self.out);
        machine.handle(fabric.local(self.node), input, &mut out);
        let deadline = machine.deadline().map(|(at, _)| at);
        for output in out.drain(..) {
            self.carry_out(fabric, output);
        }
        self.out = out;
        fabric.arm(self.node, deadline);
    }

    fn carry_out(&mut self, fabric: &mut Fabric, output: Output) {
        let database = fabric.site.size.node(Role::Database);
        match output {
            Output::ConnectDatabase => {
                self.database = Link {
                    attempt: Some(fabric.knock(self.node, database, Service::Registration)),
                    stream: None,
                };
            }
            Output::SendToDatabase(message) => {
                if let Some(stream) = self.database.stream {
                    fabric.tell(stream, End::Callee, Message::Register(message));
                }
            }
            Output::DropDatabase => drop_link(fabric, &mut self.database),
            Output::Capture { channel, sources, .. } => self.take(fabric, channel, &sources),
            Output::Forget { channel } => {
                self.inputs.remove(&channel);
            }
            Output::OpenInput { url } => self.open_input(fabric, &url),
            // Captures that are taken from it were forgotten before, or are taken from another afterwards.
            Output::CloseInput { .. } => {}
            Output::ConnectFeed { channel, host, .. } => {
                let Some(number) = fabric.site.host(&host) else { return };
                let callee = fabric.site.size.node(Role::Host(number));
                let attempt = Some(fabric.knock(self.node, callee, Service::Feed(channel)));
                self.feeds.entry((channel, number)).or_default().link = Link { attempt, stream: None };
            }
            Output::CloseFeed { channel, host } => {
                let number = fabric.site.host(&host);
                if let Some(feed) = number.and_then(|number| self.feeds.get_mut(&(channel, number))) {
                    drop_link(fabric, &mut feed.link);
                }
            }
        }
    }

    /// Opening again goes on with the same numbers, as the daemon's data path does.
    fn open_input(&mut self, fabric: &Fabric, url: &str) {
        for capture in self.inputs.values_mut().filter(|capture| capture.url == url) {
            capture.said = None;
            capture.last = fabric.now;
        }
    }

    fn take(&mut self, fabric: &mut Fabric, channel: ChannelId, sources: &[acquisition::Source]) {
        let now = fabric.now;
        let Some(url) = sources.first().map(|source| source.url.clone()) else { return };
        if let Some(capture) = self.inputs.get_mut(&channel) {
            (capture.url, capture.said, capture.last) = (url, None, now);
            return;
        }
        self.captures += 1;
        let source = Source::new(channel, self.captures, &mut fabric.random);
        let capture = Capture { url, source, opened: now, last: now, said: None, reported: now };
        self.inputs.insert(channel, capture);
        let life = fabric.standings[self.node.index()].life;
        // Channels are captured at moments of their own, not all at once.
        let first = self.period.mul_f64(fabric.random.f64());
        fabric.queue.post(now + first, Event::Capture(self.node, life, channel));
    }

    /// The moment of the next packet of a channel.
    pub fn capture(&mut self, fabric: &mut Fabric, channel: ChannelId) {
        let Some(capture) = self.inputs.get_mut(&channel) else { return };
        let delivers = fabric.site.size.number(channel).is_some_and(|number| fabric.inputs[number]);
        let life = fabric.standings[self.node.index()].life;
        let again = if delivers { self.period } else { IDLE };
        fabric.queue.post(fabric.now + again, Event::Capture(self.node, life, channel));
        let mut events = [None, None, None];
        let bytes: Rc<[u8]> = if delivers {
            capture.last = fabric.now;
            if capture.said != Some(true) {
                capture.said = Some(true);
                events[0] = Some(Input::InputState { channel, state: InputState::Delivering });
                events[1] = Some(Input::InputFlows { url: capture.url.clone() });
            }
            capture.source.make(fabric.now.since(capture.opened)).as_bytes().into()
        } else {
            if capture.said != Some(false) && fabric.now.since(capture.last) >= STALL {
                capture.said = Some(false);
                let state = InputState::Failed { cause: "stalled".to_owned() };
                events[0] = Some(Input::InputState { channel, state });
                events[1] = Some(Input::InputStalled { url: capture.url.clone() });
            }
            Rc::new([])
        };
        if fabric.now.since(capture.reported) >= Duration::from_secs(1) {
            capture.reported = fabric.now;
            let packets = capture.source.made();
            let dropped_packets = self.dropped(fabric, channel);
            let counters = ChannelCounters { packets, dropped_packets, ..ChannelCounters::default() };
            events[2] = Some(Input::Counters { channel, counters });
        }
        self.feed(fabric, channel, &bytes);
        for event in events.into_iter().flatten() {
            self.handle(fabric, event);
        }
    }

    fn dropped(&self, fabric: &Fabric, channel: ChannelId) -> BTreeMap<HostId, u64> {
        let feeds = self.feeds.range((channel, 0)..=(channel, usize::MAX));
        feeds.map(|((_, host), feed)| (fabric.site.hosts[*host].clone(), feed.dropped)).collect()
    }

    fn feed(&mut self, fabric: &mut Fabric, channel: ChannelId, bytes: &Rc<[u8]>) {
        for (_, feed) in self.feeds.range_mut((channel, 0)..=(channel, usize::MAX)) {
            let Some(stream) = feed.link.stream else { continue };
            if let Some(held) = &mut feed.held {
                if let Some(sample) = held.sample(fabric.now, bytes) {
                    fabric.tell(stream, End::Callee, Message::Packet(sample));
                }
                continue;
            }
            if fabric.streams.backlog(stream, End::Callee) >= FEED_BACKLOG {
                feed.dropped += 1;
                continue;
            }
            fabric.tell(stream, End::Callee, Message::Packet(Rc::clone(bytes)));
        }
    }

    /// A called node said something.
    pub fn told(&mut self, fabric: &mut Fabric, stream: StreamId, message: Message) {
        match message {
            Message::Welcome(attempt) => self.welcome(fabric, stream, attempt),
            Message::Unwelcome(attempt, cause) => self.unwelcome(fabric, stream, attempt, cause),
            Message::Plan(message) if self.database.is(stream) => {
                if let ToAcquisition::Plan(plan) = &message {
                    let hosts_only = hosts_only::check(plan, &fabric.site.feeds);
                    fabric.checks.note(fabric.now, hosts_only::RULE, hosts_only);
                }
                self.handle(fabric, Input::DatabaseMessage(message));
            }
            Message::Order(order) => self.ordered(fabric, stream, &order),
            _ => {}
        }
    }

    fn ordered(&mut self, fabric: &mut Fabric, stream: StreamId, order: &FeedOrder) {
        let Some(feed) = self.feeds.values_mut().find(|feed| feed.link.is(stream)) else { return };
        match order {
            FeedOrder::Hold => {
                feed.held.get_or_insert(Held { sample_due: fabric.now, unseen: false, newest: None });
            }
            FeedOrder::Flow => {
                let newest = feed.held.take().and_then(|held| held.newest);
                if let Some((at, bytes)) = newest
                    && fabric.now.since(at) < FRESH
                {
                    for part in [header(&bytes), bytes] {
                        fabric.tell(stream, End::Callee, Message::Packet(part));
                    }
                }
            }
            FeedOrder::Close(_) => {}
        }
    }

    fn welcome(&mut self, fabric: &mut Fabric, stream: StreamId, attempt: u32) {
        let size = fabric.site.size;
        let (callee, _) = fabric.streams.at(stream, End::Callee);
        match (fabric.service(stream).0, size.role(callee)) {
            (Service::Registration, _) if self.database.attempt == Some(attempt) => {
                self.database = Link { attempt: None, stream: Some(stream) };
                self.handle(fabric, Input::DatabaseConnected);
            }
            (Service::Feed(channel), Role::Host(number))
                if self
                    .feeds
                    .get(&(channel, number))
                    .is_some_and(|feed| feed.link.attempt == Some(attempt)) =>
            {
                if let Some(feed) = self.feeds.get_mut(&(channel, number)) {
                    feed.link = Link { attempt: None, stream: Some(stream) };
                    feed.held = None;
                }
                let host = fabric.site.hosts[number].clone();
                self.handle(fabric, Input::FeedConnected { channel, host });
            }
            _ => fabric.hang_up(stream, End::Caller),
        }
    }

    fn unwelcome(&mut self, fabric: &mut Fabric, stream: StreamId, attempt: u32, cause: String) {
        let (callee, _) = fabric.streams.at(stream, End::Callee);
        let (service, _) = fabric.service(stream);
        fabric.hang_up(stream, End::Caller);
        match (service, fabric.site.size.role(callee)) {
            (Service::Registration, _) if self.database.attempt == Some(attempt) => {
                self.database = Link::default();
                self.handle(fabric, Input::DatabaseClosed { cause });
            }
            (Service::Feed(channel), Role::Host(number)) => {
                let Some(feed) = self.feeds.get_mut(&(channel, number)) else { return };
                if feed.link.attempt == Some(attempt) {
                    feed.link = Link::default();
                    let host = fabric.site.hosts[number].clone();
                    self.handle(fabric, Input::FeedRefused { channel, host, cause });
                }
            }
            _ => {}
        }
    }

    /// Nobody listens where this node knocked.
    pub fn refused(&mut self, fabric: &mut Fabric, callee: Role, service: Service, attempt: u32) {
        let cause = || "connection refused".to_owned();
        match (service, callee) {
            (Service::Registration, _) if self.database.attempt == Some(attempt) => {
                self.database = Link::default();
                self.handle(fabric, Input::DatabaseClosed { cause: cause() });
            }
            (Service::Feed(channel), Role::Host(number)) => {
                let Some(feed) = self.feeds.get_mut(&(channel, number)) else { return };
                if feed.link.attempt == Some(attempt) {
                    feed.link = Link::default();
                    let host = fabric.site.hosts[number].clone();
                    self.handle(fabric, Input::FeedFailed { channel, host, cause: cause() });
                }
            }
            _ => {}
        }
    }

    /// A connection ended at the other side.
    pub fn closed(&mut self, fabric: &mut Fabric, stream: StreamId) {
        let cause = || "connection closed".to_owned();
        if self.database.is(stream) {
            self.database = Link::default();
            return self.handle(fabric, Input::DatabaseClosed { cause: cause() });
        }
        let Some((&(channel, number), feed)) = self.feeds.iter_mut().find(|(_, feed)| feed.link.is(stream))
        else {
            return;
        };
        feed.link = Link::default();
        let host = fabric.site.hosts[number].clone();
        self.handle(fabric, Input::FeedFailed { channel, host, cause: cause() });
    }

    /// Its number among the acquisition servers.
    pub fn number(&self) -> usize {
        self.number
    }
}

impl Held {
    /// `bytes` come: what is sent instead of them.
    fn sample(&mut self, now: Time, bytes: &Rc<[u8]>) -> Option<Rc<[u8]>> {
        if !bytes.is_empty() {
            (self.unseen, self.newest) = (true, Some((now, Rc::clone(bytes))));
        }
        if now < self.sample_due {
            return None;
        }
        self.sample_due = now + SAMPLE_INTERVAL;
        let unseen = std::mem::take(&mut self.unseen);
        self.newest.as_ref().filter(|_| unseen).map_or(Some(Rc::new([])), |(_, bytes)| Some(header(bytes)))
    }
}

fn header(packet: &[u8]) -> Rc<[u8]> {
    packet[..HEADER_BYTES].into()
}

fn drop_link(fabric: &mut Fabric, link: &mut Link) {
    if let Some(stream) = std::mem::take(link).stream {
        fabric.hang_up(stream, End::Caller);
    }
}
