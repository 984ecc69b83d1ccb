//! Playback of a recording: orders to a push server, a buffer that its packets fill, and those packets in time to a player.
//!
//! ```text
//!           play answered                    the lower guard is reached
//!  Finding ───────────────► Filling ─────────────────────────────────► Showing ───► Ended
//!     ▲                       ▲  ▲        the buffer has run dry          │
//!     │ seek, trick, resume   │  └────────────────────────────────────────┤
//!     └───────────────────────┴───────────────────────────────────────────┘
//! ```
//!
//! Pure. A viewer's pause is local: nothing is shown, the buffer fills up and the flow law pauses the push server. A push server that
//! stays silent is left for the next replica, which goes on at the first packet that has not come; meanwhile the
//! buffer is shown. Where the recording still grows, its end is left for the channel on air (`air.rs`). Nothing that arrives is trusted but for its place: answers carry the lease's tag, which the shell has verified,
//! packets the session's number.

mod air;
pub mod buffer;
mod exchange;
mod mending;
pub mod orders;
pub mod pictures;
mod replicas;
mod showing;
mod wishes;

use std::net::SocketAddr;
use std::time::Duration;

use media::rtp::RtpView;
use protocols::authority::RecordingLease;
use protocols::p4_control::{
    PacketName, PlayAnswer, PlayOrder, PlayPosition, PlayRefusal, PlayRequest, PlayStart, PlayState,
    PlayVerdict, SessionId, TrickSpeed,
};
use protocols::p5_stream::Header;
use protocols::time::{ClusterClock, ClusterTime, Time};

use crate::flow::{Flow, Pace};
use buffer::{Held, PlayBuffer};
pub use exchange::{Config, Delivery, Input, Output, Reader, Wish};
use orders::{OrderDesk, Speak};

/// Nothing arrived for this long though it should: the push server is asked whether it lives.
pub const STREAM_SILENCE: Duration = Duration::from_millis(300);
/// Packets are handed to the player up to so long before their time, several at once.
pub const DELIVERY_AHEAD: Duration = Duration::from_millis(20);
/// After every replica has failed, the round begins again after this.
pub const ROUND_PAUSE: Duration = Duration::from_secs(1);
/// The live edge is sought so far before the present: what is recorded is there for sure, and live packets have time to be repaired.
pub const EDGE_BACK: Duration = Duration::from_secs(5);
/// A beginning that nobody has is sought so much later.
pub const LATER_STEP: Duration = Duration::from_secs(10);
/// So often: over the newest minutes, of which nobody knows yet when they begin.
pub const LATER_MAX: u32 = 24;
/// Push servers that are tried; of a longer list, the first.
pub const MAX_SERVERS: usize = 16;

/// What happened so far, beside what flow and buffer count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Times that the buffer ran dry while it was shown: visible stops.
    pub dry: u64,
    /// Push servers left for another.
    pub failovers: u64,
    /// Datagrams of another session, or that hold no RTP.
    pub foreign: u64,
    /// Packets asked for again.
    pub asked_again: u64,
    /// Answers to nothing that was asked.
    pub stray_answers: u64,
    /// Times that the channel on air took over from its recording.
    pub handovers: u64,
    /// Pictures of a fast forward that were given up since a part of them never came.
    pub torn_pictures: u64,
}

/// Whether and how packets go to the player.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// An order that moves the session is not answered.
    Finding,
    /// Up to the lower guard.
    Filling,
    /// The packet with `timestamp_90k` was due at `at`; the last one shown had `latest_90k`.
    Showing {
        at: Time,
        timestamp_90k: u32,
        latest_90k: u32,
    },
    /// Pictures, as they come.
    Pictures,
    Ended,
}

/// The machine.
#[derive(Debug)]
pub struct Playback {
    config: Config,
    delivery: Delivery,
    clock: ClusterClock,
    random: fastrand::Rng,
    /// Index of the present push server.
    server: usize,
    /// Servers tried since one last answered well.
    tried: usize,
    session: SessionId,
    desk: OrderDesk,
    /// When to begin a new round of servers.
    round: Option<Time>,
    flow: Flow,
    buffer: PlayBuffer,
    phase: Phase,
    /// The order whose answer ends [`Phase::Finding`].
    awaited: PlayOrder,
    paused: bool,
    reader: Reader,
    trick: bool,
    air: air::Air,
    /// How often the beginning was sought further on.
    later: u32,
    /// Index of a packet that the output waits for, and since when.
    gap: Option<(u64, Time)>,
    /// The push server was told to pause by the flow law.
    held_back: bool,
    /// What it last said of itself.
    remote: PlayState,
    /// Index, name and date of a packet, as last told.
    anchor: Option<(u64, PacketName, ClusterTime)>,
    /// The packet last shown.
    shown: Option<(u32, u16)>,
    /// When the stream was last heard, or had a reason to be silent.
    stream: Time,
    /// Where to begin when no packet is known.
    start: ClusterTime,
    mender: mending::Mender,
    counters: Counters,
}

impl Playback {
    /// A playback that begins at once.
    pub fn new(mut config: Config, now: Time) -> Self {
        config.servers.truncate(MAX_SERVERS);
        let mut random = fastrand::Rng::with_seed(config.seed);
        let session = SessionId(random.u64(..));
        let flow = Flow::new(config.flow, now);
        let buffer = PlayBuffer::new(flow.capacity_packets());
        let play = PlayOrder::Play {
            start: PlayStart::Date(config.start),
            until: config.until,
            delta_p_ns: nanos(config.flow.mean_delta_p),
        };
        Self {
            clock: ClusterClock::new(now, config.cluster),
            random,
            server: 0,
            tried: 1,
            session,
            desk: OrderDesk::new(now, play),
            round: None,
            flow,
            buffer,
            phase: Phase::Finding,
            paused: false,
            trick: false,
            held_back: false,
            remote: PlayState::Playing,
            anchor: None,
            shown: None,
            stream: now,
            start: config.start,
            mender: mending::Mender::default(),
            counters: Counters::default(),
            awaited: play,
            reader: Reader::Ready,
            air: air::Air::Off,
            gap: None,
            later: 0,
            delivery: Delivery::InTime,
            config,
        }
    }

    /// With another way to hand packets on than in time.
    #[must_use]
    pub fn delivering(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// The one way in.
    pub fn handle(&mut self, now: Time, input: Input, outputs: &mut Vec<Output>) {
        if self.phase == Phase::Ended {
            return;
        }
        match input {
            Input::Answer(answer) => self.answer(now, &answer, outputs),
            Input::Stream { header, packet } => self.stream(now, header, packet),
            Input::Wish(wish) => self.wish(now, wish, outputs),
            Input::Lease { lease, servers, cluster } => self.renew(now, lease, servers, cluster),
            Input::Live { packet } => self.on_air(now, packet),
            Input::Reader(reader) => self.reader(reader),
            Input::Due => {}
        }
        self.follow_air(now, outputs);
        self.mend(now, outputs);
        self.show(now, outputs);
        self.watch(now);
        self.speak(now, outputs);
    }

    /// When to call with [`Input::Due`]; `None` once ended, and on air while nothing waits to be shown.
    pub fn deadline(&self) -> Option<Time> {
        let next = match self.phase {
            Phase::Ended => return None,
            Phase::Showing { .. } if !self.is_held() => self.front_due().map(|due| due - DELIVERY_AHEAD),
            _ => None,
        };
        if self.is_live() {
            return next;
        }
        let desk = self.round.unwrap_or_else(|| self.desk.deadline());
        let silence = self.expects_stream().then(|| self.stream + self.silence());
        let gap = self.gap.filter(|_| !self.is_held()).map(|(_, since)| since + self.patience());
        [Some(desk), next, silence, self.mender.deadline(), gap].into_iter().flatten().min()
    }

    /// The date of what is being shown, or of where it is sought.
    pub fn place(&self) -> ClusterTime {
        self.position().unwrap_or(self.start)
    }

    /// Whether packets are handed on in the order of the recording, but for pauses.
    pub fn is_showing(&self) -> bool {
        matches!(self.phase, Phase::Showing { .. })
    }

    /// Whether the viewer has paused.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// The speed of a fast forward or rewind, from the wish for it on.
    pub fn speed(&self) -> Option<TrickSpeed> {
        match (self.trick, self.awaited) {
            (true, PlayOrder::Trick { speed }) => Some(speed),
            _ => None,
        }
    }

    /// The push server that serves, or is tried.
    pub fn server(&self) -> Option<SocketAddr> {
        self.config.servers.get(self.server).copied()
    }

    /// What flow and its law did.
    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// Whether no push server answered in the last round: the next one begins soon.
    pub fn is_deserted(&self) -> bool {
        self.round.is_some()
    }

    /// The date of what is being shown, as far as is known.
    pub fn position(&self) -> Option<ClusterTime> {
        let (index, _, date) = self.anchor?;
        let behind = u32::try_from(index.saturating_sub(self.buffer.head())).unwrap_or(u32::MAX);
        let behind_ms = u64::try_from(self.flow.seconds(behind).as_millis()).unwrap_or(u64::MAX);
        Some(ClusterTime(date.0.saturating_sub(behind_ms)))
    }

    /// What the push server last said that it does.
    pub fn remote(&self) -> PlayState {
        self.remote
    }

    /// The buffer.
    pub fn buffer(&self) -> &PlayBuffer {
        &self.buffer
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn answer(&mut self, now: Time, answer: &PlayAnswer, outputs: &mut Vec<Output>) {
        let order =
            (answer.session == self.session).then(|| self.desk.answered(now, answer.sequence)).flatten();
        let Some(order) = order else {
            self.counters.stray_answers += 1;
            return;
        };
        match answer.verdict {
            PlayVerdict::Done { state, position } => self.done(now, order, (state, position)),
            PlayVerdict::Refused(PlayRefusal::Clock) => {
                self.clock = ClusterClock::new(now, answer.time);
                self.desk.again(now, order);
            }
            PlayVerdict::Refused(refusal) => self.refused(now, order, refusal, outputs),
        }
    }

    fn done(&mut self, now: Time, order: PlayOrder, (state, position): (PlayState, Option<PlayPosition>)) {
        self.tried = 1;
        self.remote = state;
        self.stream = self.stream.max(now);
        let Some(PlayPosition { date, packet, number }) = position else { return };
        if self.phase == Phase::Finding && order == self.awaited && !begins_at_packet(&order) {
            self.buffer.restart_at(number);
            self.phase = if self.trick { Phase::Pictures } else { Phase::Filling };
            self.flow.restart();
        }
        self.anchor = Some((self.buffer.index(number), packet, date));
        if self.phase == Phase::Pictures && !matches!(state, PlayState::Trick(_)) {
            self.end_pictures(state);
        }
    }

    fn refused(&mut self, now: Time, order: PlayOrder, refusal: PlayRefusal, outputs: &mut Vec<Output>) {
        match (order, refusal) {
            (_, PlayRefusal::Expired) => self.end(now, Some(refusal), outputs),
            (PlayOrder::Play { .. }, PlayRefusal::Outside | PlayRefusal::Rate) => {
                self.end(now, Some(refusal), outputs);
            }
            (PlayOrder::Play { start, .. }, _)
                if self.tried >= self.config.servers.len() && self.buffer.held() == 0 =>
            {
                match start {
                    PlayStart::Date(date) if self.may_begin_later(now, date, refusal) => {
                        self.start = date + LATER_STEP;
                        self.later += 1;
                        self.tried = 1;
                        self.begin_anew(now);
                    }
                    PlayStart::Date(_) => self.end(now, Some(refusal), outputs),
                    // Nobody has that very packet: what is near it is better than nothing.
                    PlayStart::Packet(_) => {
                        self.start = self.place();
                        (self.anchor, self.tried) = (None, 1);
                        self.begin_anew(now);
                    }
                }
            }
            (PlayOrder::Seek { at }, PlayRefusal::Incomplete) if self.tried < self.config.servers.len() => {
                self.start = at;
                self.fail_over(now);
            }
            (PlayOrder::Play { .. }, _) | (_, PlayRefusal::NoSession | PlayRefusal::Foreign) => {
                self.fail_over(now);
            }
            _ => {
                if self.phase == Phase::Finding && order == self.awaited {
                    self.trick = matches!(self.remote, PlayState::Trick(_));
                    self.phase = if self.trick { Phase::Pictures } else { Phase::Filling };
                }
                outputs.push(Output::Refused(refusal));
            }
        }
    }

    /// Whether what is not there at `date` may be there a little later: a recording that has just begun, a hole.
    fn may_begin_later(&self, now: Time, date: ClusterTime, refusal: PlayRefusal) -> bool {
        let end = self.config.until.min(self.clock.at(now));
        refusal == PlayRefusal::Incomplete && self.later < LATER_MAX && date + LATER_STEP < end
    }

    fn stream(&mut self, now: Time, header: Header, packet: Vec<u8>) {
        let rtp = RtpView::parse(&packet).map(|view| view.header);
        let (true, Ok(rtp)) = (header.session == self.session.low(), rtp) else {
            self.counters.foreign += 1;
            return;
        };
        self.stream = now;
        let held = Held {
            packet,
            ssrc: rtp.ssrc,
            sequence: rtp.sequence.0,
            timestamp_90k: rtp.timestamp_90k,
            jump: header.flags.jump,
            last: header.flags.last,
        };
        self.buffer.insert(header.number, held);
        self.regulate(now);
    }

    /// Another lease for the same recording, and who serves it now.
    fn renew(&mut self, now: Time, lease: RecordingLease, servers: Vec<SocketAddr>, cluster: ClusterTime) {
        let same = (lease.channel, lease.from) == (self.config.lease.channel, self.config.lease.from);
        if !same || servers.is_empty() {
            return;
        }
        self.clock = ClusterClock::new(now, cluster);
        self.config.lease = lease;
        let present = self.config.servers[self.server];
        self.config.servers = servers;
        self.config.servers.truncate(MAX_SERVERS);
        let place = self.config.servers.iter().position(|server| *server == present);
        self.server = place.unwrap_or_else(|| {
            // It is not left for that; when it dies, the first of the list is next.
            self.config.servers.push(present);
            self.config.servers.len() - 1
        });
    }

    fn reader(&mut self, reader: Reader) {
        if self.reader == Reader::Behind
            && reader == Reader::Ready
            && let Phase::Showing { .. } = self.phase
        {
            self.phase = Phase::Filling;
        }
        self.reader = reader;
    }

    /// Whether nothing is to be handed on.
    fn is_held(&self) -> bool {
        self.paused || self.reader == Reader::Behind
    }

    /// Tells the push server what the law wants.
    fn regulate(&mut self, now: Time) {
        if matches!(self.phase, Phase::Finding | Phase::Pictures | Phase::Ended) || self.is_live() {
            return;
        }
        match self.flow.level(now, self.buffer.held()) {
            None => {}
            Some(Pace::Paused) => {
                self.held_back = true;
                self.desk.put(PlayOrder::Pause);
            }
            Some(Pace::DeltaP(delta_p)) => {
                self.desk.put(PlayOrder::Rate { delta_p_ns: nanos(delta_p) });
                if std::mem::take(&mut self.held_back) {
                    self.desk.put(PlayOrder::Resume);
                    self.stream = now;
                }
            }
        }
    }

    fn speak(&mut self, now: Time, outputs: &mut Vec<Output>) {
        if self.phase == Phase::Ended || self.round.is_some() || self.is_live() {
            return;
        }
        if let Some(speak) = self.desk.poll(now) {
            outputs.push(self.request(now, speak));
        }
    }

    fn request(&self, now: Time, Speak { sequence, order }: Speak) -> Output {
        let (lease, session) = (self.config.lease, self.session);
        let request = PlayRequest { lease, time: self.clock.at(now), session, sequence, order };
        Output::Order { to: self.config.servers[self.server], request }
    }

    fn end(&mut self, now: Time, reason: Option<PlayRefusal>, outputs: &mut Vec<Output>) {
        if self.phase != Phase::Ended {
            self.phase = Phase::Ended;
            if reason.is_none() && !self.is_live() {
                // Else the session would count against this client's until its silence is noticed.
                outputs.push(self.request(now, Speak { sequence: u32::MAX, order: PlayOrder::Stop }));
            }
            outputs.push(Output::Ended(reason));
        }
    }
}

/// Whether `order` has a session go on that another push server had served: what is in the buffer stays.
fn begins_at_packet(order: &PlayOrder) -> bool {
    matches!(order, PlayOrder::Play { start: PlayStart::Packet(_), .. })
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn nanos(delta_p: Duration) -> u32 {
    u32::try_from(delta_p.as_nanos()).unwrap_or(u32::MAX)
}
