//! A viewer in the world: the client's machine, its groups, its cache file.

use std::net::SocketAddr;
use std::time::Duration;

use client::viewer::{Group, Input, Notice, Output, Viewer};
use media::rtp;
use protocols::ids::ChannelId;
use protocols::p2_directory::{ChannelList, ChannelStatus, ToClient};
use protocols::time::{ClusterTime, Time};
use protocols::topology::FIRST_CHANNEL_PORT;

use super::Link;
use crate::world::fabric::{Message, Service};
use crate::world::invariants::{made_once, pictures};
use crate::world::streams::{End, StreamId};
use crate::world::{Fabric, NodeId, Role};

/// The port that it sends P4 from.
const PORT: u16 = 40_000;

/// Deliberate faults of the glue, to show that the judges see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// All is well.
    No,
    /// Every 100th packet is handed on twice.
    DeliversTwice,
    /// The machine is never woken and nothing reaches it any more.
    Sleeps,
}

/// One viewer.
#[derive(Debug)]
pub struct ViewerNode {
    node: NodeId,
    number: usize,
    machine: Option<Viewer>,
    directory: Link,
    /// What it wants; outlives the daemon, as the person does.
    wanted: Option<ChannelId>,
    cache: Option<(ChannelList, ClusterTime, Time)>,
    /// The list that it was last told, with the moment.
    list: Option<(ChannelList, Time)>,
    delivered: u64,
    out: Vec<Output>,
    /// What its glue does wrong.
    pub broken: Broken,
}

impl ViewerNode {
    /// A node whose daemon has not been started.
    pub fn new(fabric: &Fabric, number: usize) -> Self {
        Self {
            node: fabric.site.size.node(Role::Viewer(number)),
            number,
            machine: None,
            directory: Link::default(),
            wanted: None,
            cache: None,
            list: None,
            delivered: 0,
            out: Vec::new(),
            broken: Broken::No,
        }
    }

    /// Starts the program, which asks for the list and watches what is wanted.
    pub fn start(&mut self, fabric: &mut Fabric) {
        let (_, seed) = fabric.start(self.node);
        self.machine = Some(Viewer::new(seed));
        fabric.checks.made_once.began(self.number);
        if let Some((list, time, at)) = self.cache.clone() {
            let now = time + fabric.now.since(at);
            self.handle(fabric, Input::CachedList { list, now });
        }
        self.handle(fabric, Input::List { tunings: true });
        let wanted = self.wanted;
        self.watch(fabric, wanted);
    }

    /// Forgets everything but the cache file.
    pub fn stop(&mut self, fabric: &mut Fabric) {
        self.machine = None;
        self.directory = Link::default();
        self.list = None;
        fabric.joined[self.number] = 0;
        fabric.checks.pictures.wants(self.number, None);
    }

    /// The viewer wants another channel, or none.
    pub fn watch(&mut self, fabric: &mut Fabric, channel: Option<ChannelId>) {
        let running = self.machine.is_some();
        let anew = self.wanted != channel;
        self.wanted = channel;
        if !running {
            return;
        }
        if anew {
            fabric.checks.made_once.began(self.number);
        }
        fabric.checks.pictures.wants(self.number, channel.map(|_| fabric.now));
        match channel {
            Some(channel) => self.handle(fabric, Input::Watch(channel)),
            None => self.handle(fabric, Input::Stop),
        }
    }

    /// What it wants.
    pub fn wanted(&self) -> Option<ChannelId> {
        self.wanted
    }

    /// The machine, while the program runs.
    pub fn machine(&self) -> Option<&Viewer> {
        self.machine.as_ref()
    }

    /// The list that it was told last, and when.
    pub fn list(&self) -> Option<&(ChannelList, Time)> {
        self.list.as_ref()
    }

    /// Packets handed on since the world began.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Asks for the list anew, as an observer would who has just arrived.
    pub fn ask_for_list(&mut self, fabric: &mut Fabric) {
        self.handle(fabric, Input::List { tunings: true });
    }

    /// The deadline was reached, perhaps.
    pub fn wake(&mut self, fabric: &mut Fabric) {
        let local = fabric.local(self.node);
        let due = |machine: &Viewer| machine.deadline().is_some_and(|(at, _)| at <= local);
        if self.machine.as_ref().is_some_and(due) {
            self.handle(fabric, Input::Tick);
        }
        let next = self.machine.as_ref().and_then(Viewer::deadline).map(|(at, _)| at);
        if self.broken == Broken::Sleeps {
            return;
        }
        fabric.judge_wake(self.node, next);
        fabric.arm(self.node, next);
    }

    /// A P4 answer, or a packet by P5, came. Tells how many outputs it led to.
    pub fn datagram(&mut self, fabric: &mut Fabric, from: SocketAddr, bytes: &[u8]) -> usize {
        let input = match rtp::classify(bytes) {
            rtp::Kind::Rtp => Input::Stream { from, bytes },
            _ => Input::Control { from, bytes },
        };
        self.handle_counted(fabric, input)
    }

    /// A datagram of a channel's port came.
    pub fn media(&mut self, fabric: &mut Fabric, channel: ChannelId, bytes: &[u8]) {
        let size = fabric.site.size;
        let joined = size.number(channel).is_some_and(|number| fabric.joined[self.number] & 1 << number != 0);
        let Some(port) = u16::try_from(FIRST_CHANNEL_PORT + channel.0).ok().filter(|_| joined) else {
            return;
        };
        let lan = size.lan_of(self.number);
        let local = size.address(Role::Viewer(self.number));
        let group = Group { address: size.destination(lan), port, local };
        self.handle(fabric, Input::Media { group, bytes });
    }

    /// The directory said something.
    pub fn told(&mut self, fabric: &mut Fabric, stream: StreamId, message: Message) {
        match message {
            Message::Welcome(attempt) if self.directory.attempt == Some(attempt) => {
                self.directory = Link { attempt: None, stream: Some(stream) };
                self.handle(fabric, Input::DirectoryConnected);
            }
            Message::Tell(message) if self.directory.is(stream) => {
                if let ToClient::Channels(list) = &message {
                    self.list = Some((list.clone(), fabric.now));
                }
                self.handle(fabric, Input::DirectoryMessage(message));
            }
            Message::Welcome(_) => fabric.hang_up(stream, End::Caller),
            _ => {}
        }
    }

    /// Nobody listens where it knocked.
    pub fn refused(&mut self, fabric: &mut Fabric, attempt: u32) {
        if self.directory.attempt == Some(attempt) {
            self.directory = Link::default();
            self.handle(fabric, Input::DirectoryClosed { cause: "connection refused".to_owned() });
        }
    }

    /// The directory's connection ended.
    pub fn closed(&mut self, fabric: &mut Fabric, stream: StreamId) {
        if self.directory.is(stream) {
            self.directory = Link::default();
            self.handle(fabric, Input::DirectoryClosed { cause: "connection closed".to_owned() });
        }
    }

    /// Status of a channel by the last list; `None`: not listed.
    pub fn status(&self, channel: ChannelId) -> Option<&ChannelStatus> {
        let entries = &self.list.as_ref()?.0.channels;
        entries.iter().find(|entry| entry.id == channel).map(|entry| &entry.status)
    }

    fn handle(&mut self, fabric: &mut Fabric, input: Input<'_>) {
        let _ = self.handle_counted(fabric, input);
    }

    fn handle_counted(&mut self, fabric: &mut Fabric, input: Input<'_>) -> usize {
        let Some(machine) = self.machine.as_mut().filter(|_| self.broken != Broken::Sleeps) else { return 0 };
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
            Output::ConnectDirectory => {
                let database = fabric.site.size.node(Role::Database);
                let attempt = Some(fabric.knock(self.node, database, Service::Directory));
                self.directory = Link { attempt, stream: None };
            }
            Output::SendDirectory(message) => {
                if let Some(stream) = self.directory.stream {
                    fabric.tell(stream, End::Callee, Message::Ask(message));
                }
            }
            Output::DropDirectory => {
                if let Some(stream) = std::mem::take(&mut self.directory).stream {
                    fabric.hang_up(stream, End::Caller);
                }
            }
            Output::Join(group) => self.join(fabric, group, true),
            Output::Leave(group) => self.join(fabric, group, false),
            Output::SendControl { to, bytes, .. } => fabric.send(self.node, PORT, to, bytes),
            Output::Deliver(packet) => {
                self.deliver(fabric, packet.payload());
                if self.broken == Broken::DeliversTwice && self.delivered.is_multiple_of(100) {
                    self.deliver(fabric, packet.payload());
                }
            }
            Output::KeepList(list) => {
                let time = list.time;
                self.cache = Some((list, time, fabric.now));
            }
            Output::Notice(Notice::Channels(_)) => {}
            Output::Notice(notice) => fabric.say(|| format!("viewer {}: {notice:?}", self.number)),
        }
    }

    fn join(&self, fabric: &mut Fabric, group: Group, joins: bool) {
        let channel = ChannelId(u32::from(group.port).saturating_sub(FIRST_CHANNEL_PORT));
        let Some(number) = fabric.site.size.number(channel) else { return };
        if joins {
            fabric.joined[self.number] |= 1 << number;
        } else {
            fabric.joined[self.number] &= !(1 << number);
        }
    }

    fn deliver(&mut self, fabric: &mut Fabric, payload: &[u8]) {
        self.delivered += 1;
        for packet in payload.as_chunks().0 {
            let sight = fabric.checks.made_once.delivered(self.number, self.wanted, packet).map(|_| ());
            fabric.checks.note(fabric.now, made_once::RULE, sight);
        }
        fabric.checks.pictures.delivered(fabric.now, self.number);
    }
}

/// A picture that comes later than this after a zap is counted as slow by those who count.
pub const SLOW_ZAP: Duration = pictures::SETTLE;
