//! What all nodes share: the clock, the queue, the network, connections, who is up, and the judges.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use protocols::ids::{BootId, ChannelId};
use protocols::p3_feed::FeedOrder;
use protocols::time::Time;
use protocols::{p1_registration as p1, p2_directory as p2};

use super::invariants::Invariants;
use super::network::Network;
use super::queue::Queue;
use super::streams::{End, Segment, StreamId, Streams};
use super::{MAX_NODES, NodeId, Role, Site};

/// Where P5 comes from.
const STREAM_PORT: u16 = 7405;

/// What can happen.
#[derive(Debug)]
pub enum Event {
    /// A machine's deadline, if it still is one.
    Wake(NodeId, u32),
    /// A datagram for the daemon at a node.
    Datagram {
        /// Who gets it.
        to: NodeId,
        /// Whose it seems to be.
        from: NodeId,
        /// From which port.
        port: u16,
        /// What it says.
        bytes: Rc<[u8]>,
    },
    /// A datagram of a channel's port at a viewer's network.
    Media {
        /// The viewer.
        to: NodeId,
        /// The channel of the port.
        channel: ChannelId,
        /// RTP or an announcement.
        bytes: Rc<[u8]>,
    },
    /// The next thing on a connection.
    Segment(StreamId, End, Box<Segment<Message>>),
    /// Somebody wants a connection.
    Knock(Knock),
    /// The handshake is through at the called node.
    Accept(Knock),
    /// Nobody listens there.
    Refused(Knock),
    /// The next packet of a channel's input at an acquisition server.
    Capture(NodeId, u32, ChannelId),
    /// The data plane of a host has something to do.
    Drain(NodeId, u32, ChannelId),
    /// The next thing that goes wrong, or right again.
    Fault(u32),
    /// Somebody without a key sends something.
    Forge,
    /// An observer looks at everything.
    Inspect,
}

/// What is said over connections.
#[derive(Debug)]
pub enum Message {
    /// The called node accepts the attempt of this number.
    Welcome(u32),
    /// The called node does not want it; its words.
    Unwelcome(u32, String),
    /// P1, to the database server.
    Register(p1::ToDatabase),
    /// P1, from the database server.
    Plan(p1::ToAcquisition),
    /// P2, to the database server.
    Ask(p2::ToDatabase),
    /// P2, from the database server.
    Tell(p2::ToClient),
    /// P3: one RTP packet; its header alone from a held feed; empty: the keepalive.
    Packet(Rc<[u8]>),
    /// P3, from the push server: what it wants of the feed.
    Order(FeedOrder),
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// P1.
    Registration,
    /// P2.
    Directory,
    /// P3, of a channel.
    Feed(ChannelId),
}

/// An attempt to connect.
#[derive(Debug, Clone, Copy)]
pub struct Knock {
    /// Who calls.
    pub caller: NodeId,
    /// In which of its lives.
    pub life: u32,
    /// Which of its attempts.
    pub attempt: u32,
    /// Who is called.
    pub callee: NodeId,
    /// What for.
    pub service: Service,
}

/// Whether a daemon runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// It runs.
    Up,
    /// Killed, or not yet started; its host refuses connections.
    Down,
    /// The host has no power: nothing answers.
    Off,
}

/// One node's standing in the world.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// Whether its daemon runs.
    pub power: Power,
    /// Counts its starts.
    pub life: u32,
    /// Drawn at the start of this life.
    pub boot_id: BootId,
    /// Its own clock is ahead of the world's by this.
    pub offset: Duration,
    armed: Option<Time>,
    wakes_in_a_row: u32,
}

/// Everything but the machines.
#[derive(Debug)]
pub struct Fabric {
    /// The world's time.
    pub now: Time,
    /// What happens next.
    pub queue: Queue<Event>,
    /// Delay, loss and cuts.
    pub network: Network,
    /// Connections.
    pub streams: Streams<Message>,
    /// The topology and the addresses.
    pub site: Site,
    /// The judges.
    pub checks: Invariants,
    /// Draws what nodes draw at their start, and faults.
    pub random: fastrand::Rng,
    /// By node.
    pub standings: [Standing; MAX_NODES],
    /// By channel: whether its input delivers.
    pub inputs: Vec<bool>,
    /// By viewer: a bit for each channel number whose group it has joined.
    pub joined: Vec<u64>,
    /// Prints what happens.
    pub verbose: bool,
    /// What was sent over P4 and may be replayed by somebody who listens.
    pub overheard: Vec<Overheard>,
    /// Datagrams that reached a node.
    pub datagrams: u64,
    attempts: u32,
    services: Vec<(Service, u32)>,
}

/// A datagram that was on the wire.
#[derive(Debug, Clone)]
pub struct Overheard {
    /// When.
    pub at: Time,
    /// From where.
    pub from: NodeId,
    /// To where.
    pub to: NodeId,
    /// From which port.
    pub port: u16,
    /// What.
    pub bytes: Rc<[u8]>,
}

/// Datagrams that are kept for replays; the oldest makes room.
pub const MAX_OVERHEARD: usize = 64;
/// Wakes of one machine without time passing, at most: more is a machine that asks to be woken for nothing.
const MAX_WAKES_IN_A_ROW: u32 = 100;
/// Round trips of a handshake beyond TCP's.
const HANDSHAKE_ROUND_TRIPS: u32 = 2;

impl Fabric {
    /// A fabric in which nobody runs.
    pub fn new(site: Site, seed: u64, verbose: bool) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let standings = std::array::from_fn(|_| Standing {
            power: Power::Down,
            life: 0,
            boot_id: BootId(0),
            offset: Duration::from_micros(random.u64(..1 << 40)),
            armed: None,
            wakes_in_a_row: 0,
        });
        Self {
            now: Time::ZERO,
            queue: Queue::new(),
            network: Network::new(random.u64(..)),
            streams: Streams::new(),
            checks: Invariants::new(site.size),
            inputs: vec![true; site.size.channels],
            joined: vec![0; site.size.viewers],
            site,
            random,
            standings,
            verbose,
            overheard: Vec::new(),
            datagrams: 0,
            attempts: 0,
            services: Vec::new(),
        }
    }

    /// Says what happens, when somebody wants to know.
    pub fn say(&self, what: impl FnOnce() -> String) {
        if self.verbose {
            println!("{} {}", self.now, what());
        }
    }

    /// The node's own clock.
    pub fn local(&self, node: NodeId) -> Time {
        self.now + self.standings[node.index()].offset
    }

    /// The boot id of the node's present life.
    pub fn boot_id(&self, node: NodeId) -> BootId {
        self.standings[node.index()].boot_id
    }

    /// Whether this life of the node is the present one.
    pub fn lives(&self, node: NodeId, life: u32) -> bool {
        let standing = &self.standings[node.index()];
        standing.power == Power::Up && standing.life == life
    }

    /// The node's daemon runs from now on.
    pub fn start(&mut self, node: NodeId) -> (BootId, u64) {
        let offset = Duration::from_micros(self.random.u64(..1 << 40));
        let boot_id = BootId(self.random.u64(1..));
        let standing = &mut self.standings[node.index()];
        let life = standing.life + 1;
        *standing = Standing { power: Power::Up, life, boot_id, offset, armed: None, wakes_in_a_row: 0 };
        (boot_id, self.random.u64(..))
    }

    /// The node's daemon ends. A kernel that goes on closes its connections.
    pub fn stop(&mut self, node: NodeId, power: Power) {
        self.standings[node.index()].power = power;
        self.standings[node.index()].armed = None;
        for (stream, end) in self.streams.open_ends(node) {
            match power {
                Power::Off => self.streams.close(stream, end),
                Power::Up | Power::Down => self.hang_up(stream, end),
            }
        }
    }

    /// Wakes the node's machine at `deadline` of its own clock, unless that is arranged already.
    pub fn arm(&mut self, node: NodeId, deadline: Option<Time>) {
        let Some(deadline) = deadline else { return };
        let standing = &mut self.standings[node.index()];
        let at = (deadline - standing.offset).max(self.now);
        if standing.armed.is_some_and(|armed| armed <= at) {
            return;
        }
        standing.armed = Some(at);
        let life = standing.life;
        self.queue.post(at, Event::Wake(node, life));
    }

    /// Whether a wake that came is the one that was arranged last.
    pub fn woken(&mut self, node: NodeId, life: u32) -> bool {
        if !self.lives(node, life) {
            return false;
        }
        let standing = &mut self.standings[node.index()];
        if standing.armed != Some(self.now) {
            return false;
        }
        standing.armed = None;
        true
    }

    /// Keeps count of wakes that lead nowhere. `next` is the machine's deadline after the wake.
    pub fn judge_wake(&mut self, node: NodeId, next: Option<Time>) {
        let local = self.local(node);
        let standing = &mut self.standings[node.index()];
        standing.wakes_in_a_row =
            if next.is_some_and(|next| next <= local) { standing.wakes_in_a_row + 1 } else { 0 };
        if standing.wakes_in_a_row > MAX_WAKES_IN_A_ROW {
            let role = self.site.size.role(node);
            let sight = Err(format!("{role:?} asks to be woken again and again without time passing"));
            self.checks.note(self.now, "a machine comes to rest", sight);
        }
    }

    /// Sends a datagram to a daemon.
    pub fn send(&mut self, from: NodeId, from_port: u16, to: SocketAddr, bytes: Vec<u8>) {
        let Some(role) = self.site.size.role_of(to.ip()) else { return };
        let to = self.site.size.node(role);
        let bytes: Rc<[u8]> = bytes.into();
        self.overhear(from, from_port, to, &bytes);
        self.deliver(from, from_port, to, &bytes);
    }

    /// Sends a packet to one viewer by P5. Such packets, like those of P6, carry no tag: nobody is judged by what he does
    /// with forged ones.
    pub fn stream(&mut self, from: NodeId, to: SocketAddr, bytes: &[u8]) {
        let Some(role) = self.site.size.role_of(to.ip()) else { return };
        self.deliver(from, STREAM_PORT, self.site.size.node(role), &bytes.into());
    }

    fn deliver(&mut self, from: NodeId, port: u16, to: NodeId, bytes: &Rc<[u8]>) {
        let fate = self.network.datagram(from, to);
        for delay in [fate.first, fate.second].into_iter().flatten() {
            let bytes = Rc::clone(bytes);
            self.queue.post(self.now + delay, Event::Datagram { to, from, port, bytes });
        }
    }

    fn overhear(&mut self, from: NodeId, port: u16, to: NodeId, bytes: &Rc<[u8]>) {
        if self.random.u8(..) >= 4 {
            return;
        }
        if self.overheard.len() == MAX_OVERHEARD {
            self.overheard.remove(0);
        }
        self.overheard.push(Overheard { at: self.now, from, to, port, bytes: Rc::clone(bytes) });
    }

    /// Sends a datagram of `channel`'s port to a network; `joined` says who of it listens.
    pub fn broadcast(
        &mut self,
        from: NodeId,
        channel: ChannelId,
        destination: IpAddr,
        bytes: &[u8],
    ) -> Option<usize> {
        let size = self.site.size;
        let lan = size.lan_at(destination)?;
        let bit = 1 << size.number(channel)?;
        let mut shared: Option<Rc<[u8]>> = None;
        for viewer in size.viewers_on(lan) {
            let to = size.node(Role::Viewer(viewer));
            if self.joined[viewer] & bit == 0 {
                continue;
            }
            let fate = self.network.datagram(from, to);
            for delay in [fate.first, fate.second].into_iter().flatten() {
                let bytes = Rc::clone(shared.get_or_insert_with(|| bytes.into()));
                self.queue.post(self.now + delay, Event::Media { to, channel, bytes });
            }
        }
        Some(lan)
    }

    /// Tries to connect; the number of the attempt comes back with its outcome, if there is one.
    pub fn knock(&mut self, caller: NodeId, callee: NodeId, service: Service) -> u32 {
        self.attempts += 1;
        let life = self.standings[caller.index()].life;
        let knock = Knock { caller, life, attempt: self.attempts, callee, service };
        if !self.network.is_cut(caller, callee) {
            let delay = self.network.segment(caller, callee);
            self.queue.post(self.now + delay, Event::Knock(knock));
        }
        knock.attempt
    }

    /// A knock arrives: the handshake begins, or the host refuses.
    pub fn knocked(&mut self, knock: Knock) {
        if self.network.is_cut(knock.callee, knock.caller) {
            return;
        }
        let back = self.network.segment(knock.callee, knock.caller);
        match self.standings[knock.callee.index()].power {
            Power::Off => {}
            Power::Down => self.queue.post(self.now + back, Event::Refused(knock)),
            Power::Up => {
                let there = self.network.segment(knock.caller, knock.callee);
                self.queue.post(self.now + (back + there) * HANDSHAKE_ROUND_TRIPS, Event::Accept(knock));
            }
        }
    }

    /// A handshake is through: the connection, if both are still there.
    pub fn accepted(&mut self, knock: Knock) -> Option<StreamId> {
        let cut = self.network.is_cut(knock.callee, knock.caller)
            || self.network.is_cut(knock.caller, knock.callee);
        let callee = self.standings[knock.callee.index()];
        if cut || callee.power != Power::Up || !self.lives(knock.caller, knock.life) {
            return None;
        }
        let stream = self.streams.open((knock.caller, knock.life), (knock.callee, callee.life));
        self.services.push((knock.service, knock.attempt));
        Some(stream)
    }

    /// What a connection is for, and by which attempt it came about.
    pub fn service(&self, stream: StreamId) -> (Service, u32) {
        self.services[stream.0 as usize]
    }

    /// Sends on a connection, towards `to`.
    pub fn tell(&mut self, stream: StreamId, to: End, message: Message) {
        self.post_segment(stream, to, Segment::Message(message));
    }

    /// Closes an end of a connection; the other one hears of it.
    pub fn hang_up(&mut self, stream: StreamId, end: End) {
        if self.streams.is_open(stream, end) {
            self.streams.close(stream, end);
            self.post_segment(stream, end.peer(), Segment::End);
        }
    }

    /// Sends on what a healed cut had stalled.
    pub fn resume_streams(&mut self) {
        for (stream, to, segment) in self.streams.resume(&self.network) {
            self.post_segment(stream, to, segment);
        }
    }

    /// Posts a segment that arrives after all before it.
    pub fn post_segment(&mut self, stream: StreamId, to: End, segment: Segment<Message>) {
        let at = self.streams.arrival(self.now, &mut self.network, stream, to);
        self.queue.post(at, Event::Segment(stream, to, Box::new(segment)));
    }
}
