//! TCP as the machines see it: connections that open or are refused, messages in order, and their end.
//!
//! A cut stalls a connection: what was sent waits and goes on when the cut heals. A node that loses power says nothing;
//! its peer learns of it when it sends to the node's next life, or by silence. A process that is killed leaves a kernel
//! that closes its connections.

use std::collections::VecDeque;

use protocols::time::Time;

use super::{NodeId, network::Network};

/// One connection of a run of the world; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(pub u32);

/// Which end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Opened it.
    Caller = 0,
    /// Accepted it.
    Callee = 1,
}

impl End {
    /// The other end.
    #[must_use]
    pub fn peer(self) -> Self {
        match self {
            Self::Caller => Self::Callee,
            Self::Callee => Self::Caller,
        }
    }
}

/// What travels, in order.
#[derive(Debug)]
pub enum Segment<M> {
    /// A message.
    Message(M),
    /// No more will come from there.
    End,
}

/// Messages that wait in a stalled connection at most; a sender that asks ([`Streams::backlog`]) stops before.
pub const MAX_STALLED: usize = 4096;

#[derive(Debug)]
struct Stream<M> {
    nodes: [NodeId; 2],
    lives: [u32; 2],
    open: [bool; 2],
    /// When the last message towards each end arrives: the next one not earlier.
    latest: [Time; 2],
    /// What a cut holds up on its way to each end.
    stalled: [VecDeque<Segment<M>>; 2],
}

/// All connections of a run.
#[derive(Debug)]
pub struct Streams<M> {
    streams: Vec<Stream<M>>,
}

/// What became of a segment at its arrival.
#[derive(Debug)]
pub enum Arrival<M> {
    /// The node takes it.
    Take {
        /// Who.
        node: NodeId,
        /// What.
        segment: Segment<M>,
    },
    /// A cut holds it up.
    Stalled,
    /// Nobody there any more: the sender's end is to be told so.
    Reset,
    /// Nobody there and nobody to tell.
    Dropped,
}

impl<M> Streams<M> {
    /// No connections.
    pub fn new() -> Self {
        Self { streams: Vec::new() }
    }

    /// A new connection from `caller` to `callee`, each in its present life. Both ends are open.
    pub fn open(&mut self, caller: (NodeId, u32), callee: (NodeId, u32)) -> StreamId {
        let id = StreamId(u32::try_from(self.streams.len()).expect("a run makes some thousand connections"));
        self.streams.push(Stream {
            nodes: [caller.0, callee.0],
            lives: [caller.1, callee.1],
            open: [true, true],
            latest: [Time::ZERO, Time::ZERO],
            stalled: [VecDeque::new(), VecDeque::new()],
        });
        id
    }

    /// The node at `end` and its life then.
    pub fn at(&self, stream: StreamId, end: End) -> (NodeId, u32) {
        let stream = &self.streams[stream.0 as usize];
        (stream.nodes[end as usize], stream.lives[end as usize])
    }

    /// Whether `end` is still open.
    pub fn is_open(&self, stream: StreamId, end: End) -> bool {
        self.streams[stream.0 as usize].open[end as usize]
    }

    /// Messages that wait for a cut to heal on their way to `to`.
    pub fn backlog(&self, stream: StreamId, to: End) -> usize {
        self.streams[stream.0 as usize].stalled[to as usize].len()
    }

    /// When a segment that leaves now will reach `to`.
    pub fn arrival(&mut self, now: Time, network: &mut Network, stream: StreamId, to: End) -> Time {
        let stream = &mut self.streams[stream.0 as usize];
        let (from, node) = (stream.nodes[to.peer() as usize], stream.nodes[to as usize]);
        let at = (now + network.segment(from, node)).max(stream.latest[to as usize]);
        stream.latest[to as usize] = at;
        at
    }

    /// A segment is at the door of `to`; `alive` says whether a node with the given life runs there now.
    pub fn arrive(
        &mut self,
        network: &Network,
        (stream, to): (StreamId, End),
        segment: Segment<M>,
        powered: impl Fn(NodeId) -> bool,
    ) -> Arrival<M> {
        let stream = &mut self.streams[stream.0 as usize];
        let (from, node) = (stream.nodes[to.peer() as usize], stream.nodes[to as usize]);
        // An acknowledgement has to come back, so a cut of either direction stalls both.
        if network.is_cut(from, node) || network.is_cut(node, from) || !stream.stalled[to as usize].is_empty()
        {
            if stream.stalled[to as usize].len() < MAX_STALLED {
                stream.stalled[to as usize].push_back(segment);
            }
            return Arrival::Stalled;
        }
        if stream.open[to as usize] {
            if matches!(segment, Segment::End) {
                stream.open[to as usize] = false;
            }
            return Arrival::Take { node, segment };
        }
        if stream.open[to.peer() as usize] && powered(node) && !matches!(segment, Segment::End) {
            return Arrival::Reset;
        }
        Arrival::Dropped
    }

    /// Closes `end`: nothing is delivered there any more.
    pub fn close(&mut self, stream: StreamId, end: End) {
        self.streams[stream.0 as usize].open[end as usize] = false;
    }

    /// The open ends of `node`.
    pub fn open_ends(&self, node: NodeId) -> Vec<(StreamId, End)> {
        let mut ends = Vec::new();
        for (index, stream) in self.streams.iter().enumerate() {
            for end in [End::Caller, End::Callee] {
                if stream.nodes[end as usize] == node && stream.open[end as usize] {
                    ends.push((StreamId(u32::try_from(index).expect("as in `open`")), end));
                }
            }
        }
        ends
    }

    /// Takes what no cut holds up any more, to be sent again.
    pub fn resume(&mut self, network: &Network) -> Vec<(StreamId, End, Segment<M>)> {
        let mut resumed = Vec::new();
        for (index, stream) in self.streams.iter_mut().enumerate() {
            let [a, b] = stream.nodes;
            if network.is_cut(a, b) || network.is_cut(b, a) {
                continue;
            }
            let id = StreamId(u32::try_from(index).expect("as in `open`"));
            for end in [End::Caller, End::Callee] {
                resumed.extend(stream.stalled[end as usize].drain(..).map(|segment| (id, end, segment)));
            }
        }
        resumed
    }
}

impl<M> Default for Streams<M> {
    fn default() -> Self {
        Self::new()
    }
}
