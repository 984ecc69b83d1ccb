//! Who is sent which recording, and which packet next: all sessions of one push server host.
//!
//! ```text
//!            play           found                 until, end of the recording
//!   nothing ──────► Finding ──────► Playing ◄──────────────────────────────────► Ended
//!      ▲              │ refused      │ ▲ resume  ▲ seek                            │
//!      │◄─────────────┘       pause  ▼ │ seek    ▼ trick                           │
//!      │◄── stop, 5 s of silence ── Paused      Trick                              │
//!      └◄──────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Pure. It never touches a disk: what a session needs next it asks for by [`Output::Read`], ahead of need, and is given by
//! [`Input::Read`]; what leaves is [`Output::Send`]. Time is cut into [`GRID`]s, so that sessions share wake-ups, and a session's packets leave
//! at most [`WINDOW`] late, several by one call. Generic over what a packet is to the shell: its bytes, or where they are.
//!
//! Orders must have been verified by the secret of the lease that they show ([`PlayRequest::open`]); that the lease's client sent
//! them, in time, is checked here.

mod exchange;
mod presentation;
mod repairs;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use protocols::p4_control::{
    PLAY_TIMEOUT, PlayAnswer, PlayOrder, PlayRefusal, PlayRequest, PlayStart, PlayVerdict, SessionId,
};
use protocols::time::{ClusterClock, ClusterTime, Time};

use crate::claim::{self, Flaw};
use crate::timer_wheel::TimerWheel;
pub use exchange::{Departure, Follows, Input, Output, Piece, ReadFrom, ReadOutcome, SessionKey};
use presentation::Presentation;
use repairs::{Budget, Repairing};

/// Sessions of one host; one more is refused.
pub const MAX_SESSIONS: usize = 4_096;
/// Sessions of one client at one host; one more is refused.
pub const MAX_SESSIONS_PER_CLIENT: usize = 4;
/// Longest that a packet waits for others to leave together with.
pub const WINDOW: Duration = Duration::from_millis(10);
/// Wake-ups lie on this grid.
pub const GRID: Duration = Duration::from_millis(1);
/// Packets that leave by one [`Output::Send`]; of more that are due, the rest follows a grid later.
pub const BATCH_PACKETS: usize = 44;
/// Packets that one read asks for: what 200 ms take at the session's rate, within these bounds.
pub const READ_PACKETS: std::ops::RangeInclusive<u32> = 32..=512;
/// A session that is later than this (the disk was slow, the host overloaded) goes on from here; the rest is not caught up.
pub const LATE_MAX: Duration = Duration::from_millis(100);
/// How often one looks for more at the end of a recording that grows.
pub const EDGE_POLL: Duration = Duration::from_millis(100);
/// So long after the end of what it may show a session waits for the last of it to be recorded.
pub const EDGE_PATIENCE: Duration = Duration::from_secs(10);
/// A random access point further before a date than this is not that date's: something is missing between.
pub const RANDOM_ACCESS_MAX: Duration = Duration::from_secs(10);

protocols::counters! {
    /// What happened to orders and packets.
    pub struct Counters {
        /// Sessions begun.
        pub begun: u64,
        /// Sessions ended by their client.
        pub stopped: u64,
        /// Sessions ended since their client fell silent.
        pub silent: u64,
        /// Orders that came again and were answered again.
        pub repeated: u64,
        /// Orders overtaken by a later one, or sent while one was being carried out: not answered.
        pub overtaken: u64,
        /// Orders from another address than their lease's: not answered.
        pub wrong_address: u64,
        /// Orders refused.
        pub refused: u64,
        /// Packets sent.
        pub packets: u64,
        /// Bursts of lateness above [`LATE_MAX`] that were given up.
        pub slipped: u64,
        /// Times that a packet was due and had not been read.
        pub starved: u64,
        /// Reads that failed.
        pub failed_reads: u64,
        /// Packets sent again.
        pub repaired: u64,
        /// Packets asked for again and not sent: over the budget, sent just before, too long ago.
        pub not_repaired: u64,
        /// Reads that nobody waited for any more.
        pub stale_reads: u64,
    }
}

/// The machine.
#[derive(Debug)]
pub struct Sessions<P> {
    table: BTreeMap<SessionKey, Session<P>>,
    wheel: TimerWheel<SessionKey>,
    /// Emptied after each use.
    due: Vec<(Time, SessionKey)>,
    next_ticket: u64,
    /// Reads for repairs, by ticket.
    repairs: BTreeMap<u64, Repairing>,
    counters: Counters,
}

/// One session: who may order, and what it presents.
#[derive(Debug)]
struct Session<P> {
    to: SocketAddr,
    /// The last order that was heard.
    last: PlayRequest,
    /// When the client was last heard.
    heard: Time,
    /// The cluster's time, as it was then.
    clock: ClusterClock,
    /// Whether the last order waits for a read before it is answered.
    answer_due: bool,
    /// What was answered to it: said again when it comes again, since it tells where the order began to count.
    said: PlayVerdict,
    presentation: Presentation<P>,
    /// What may be sent again.
    budget: Budget,
    /// When it is looked at next; wheel entries of other times are stale.
    wake: Time,
}

/// What a presentation asks of the table around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ReadWish {
    from: ReadFrom,
    packets: u32,
}

impl<P: Clone> Sessions<P> {
    /// No session yet.
    pub fn new(now: Time) -> Self {
        Self {
            table: BTreeMap::new(),
            wheel: TimerWheel::new(now),
            due: Vec::new(),
            next_ticket: 0,
            repairs: BTreeMap::new(),
            counters: Counters::default(),
        }
    }

    /// The one way in.
    pub fn handle(&mut self, now: Time, input: Input<P>, outputs: &mut Vec<Output<P>>) {
        match input {
            Input::Order { from, request, cluster } => {
                self.order(now, Arrived { from, request, cluster }, outputs);
            }
            Input::Read { key, ticket, outcome } => self.read(now, key, ticket, outcome, outputs),
            Input::Missing { from, request, cluster } => {
                self.missing(now, (from, cluster), &request, outputs);
            }
            Input::Due => self.due(now, outputs),
        }
    }

    /// When to call with [`Input::Due`].
    pub fn deadline(&self) -> Option<Time> {
        self.wheel.next()
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Whether there is this one.
    pub fn holds(&self, key: &SessionKey) -> bool {
        self.table.contains_key(key)
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn order(&mut self, now: Time, arrived: Arrived, outputs: &mut Vec<Output<P>>) {
        let Arrived { from, request, cluster } = arrived;
        if claim::comes_from(&request.lease, from).is_err() {
            self.counters.wrong_address += 1;
            return;
        }
        let key = SessionKey { client: request.lease.client, session: request.session };
        let verdict = match self.admit(now, key, &arrived) {
            Admission::Drop => {
                self.counters.overtaken += 1;
                return;
            }
            Admission::Refuse(refusal) => {
                self.counters.refused += 1;
                PlayVerdict::Refused(refusal)
            }
            Admission::Repeat => {
                self.counters.repeated += 1;
                let Some(session) = self.table.get(&key).filter(|session| !session.answer_due) else {
                    return;
                };
                session.said
            }
            Admission::Accept => match self.accept(now, key, &arrived, outputs) {
                Some(verdict) => verdict,
                None => return,
            },
        };
        let answer =
            PlayAnswer { session: request.session, sequence: request.sequence, time: cluster, verdict };
        outputs.push(Output::Answer { to: from, lease: request.lease, answer });
    }

    /// Whether an order counts. Nothing changes but when the client was heard.
    fn admit(&mut self, now: Time, key: SessionKey, arrived: &Arrived) -> Admission {
        let Arrived { request, cluster, .. } = arrived;
        if let Err(flaw) = claim::in_time(&request.lease, request.time, *cluster) {
            let off = flaw == Flaw::ClockOff;
            return Admission::Refuse(if off { PlayRefusal::Clock } else { PlayRefusal::Expired });
        }
        let begins = matches!(request.order, PlayOrder::Play { .. });
        if let Some(session) = self.table.get_mut(&key) {
            return session.admit(now, request, begins);
        }
        if !begins {
            return Admission::Refuse(PlayRefusal::NoSession);
        }
        let of_client =
            SessionKey { session: SessionId(0), ..key }..=SessionKey { session: SessionId(u64::MAX), ..key };
        if self.table.len() >= MAX_SESSIONS || self.table.range(of_client).count() >= MAX_SESSIONS_PER_CLIENT
        {
            return Admission::Refuse(PlayRefusal::Full);
        }
        fault(request).map_or(Admission::Accept, Admission::Refuse)
    }

    /// Carries an order out; `None` when its answer must wait for a read.
    fn accept(
        &mut self,
        now: Time,
        key: SessionKey,
        arrived: &Arrived,
        outputs: &mut Vec<Output<P>>,
    ) -> Option<PlayVerdict> {
        let Arrived { from, request, cluster } = *arrived;
        let clock = ClusterClock::new(now, cluster);
        if let PlayOrder::Play { start, until, delta_p_ns } = request.order {
            let delta_p = Duration::from_nanos(u64::from(delta_p_ns));
            let presentation = Presentation::new(request.lease, until, delta_p, request.session);
            let session = Session {
                to: from,
                last: request,
                heard: now,
                clock,
                answer_due: false,
                said: presentation.verdict(),
                budget: Budget::default(),
                presentation,
                wake: Time::ZERO,
            };
            self.table.insert(key, session);
            self.counters.begun += 1;
            self.probe(key, start);
        }
        let session = self.table.get_mut(&key)?;
        (session.to, session.last, session.clock) = (from, request, clock);
        let presentation = &mut session.presentation;
        match request.order {
            PlayOrder::Play { .. } | PlayOrder::Keepalive => {}
            PlayOrder::Pause => presentation.pause(),
            PlayOrder::Resume => presentation.resume(now),
            PlayOrder::Seek { at } => presentation.probe(PlayStart::Date(at)),
            PlayOrder::Rate { delta_p_ns } => {
                presentation.set_delta_p(now, Duration::from_nanos(u64::from(delta_p_ns)));
            }
            PlayOrder::Trick { speed } => presentation.trick(now, speed),
            PlayOrder::Stop => {
                let verdict = presentation.stopped();
                self.table.remove(&key);
                self.counters.stopped += 1;
                return Some(verdict);
            }
        }
        session.answer_due = presentation.is_probing();
        session.said = presentation.verdict();
        let verdict = (!session.answer_due).then_some(session.said);
        self.serve(now, key, outputs);
        verdict
    }

    fn probe(&mut self, key: SessionKey, start: PlayStart) {
        if let Some(session) = self.table.get_mut(&key) {
            session.presentation.probe(start);
        }
    }

    fn read(
        &mut self,
        now: Time,
        key: SessionKey,
        ticket: u64,
        outcome: ReadOutcome<P>,
        outputs: &mut Vec<Output<P>>,
    ) {
        if let Some(repairing) = self.repairs.remove(&ticket) {
            return self.repair(key, repairing, outcome, outputs);
        }
        let Some(session) = self.table.get_mut(&key).filter(|session| session.presentation.awaits(ticket))
        else {
            self.counters.stale_reads += 1;
            return;
        };
        self.counters.failed_reads += u64::from(matches!(outcome, ReadOutcome::Failed));
        let outcome = session.beyond_hope(now, outcome);
        let refusal = session.presentation.read(now, outcome).err();
        if std::mem::take(&mut session.answer_due) {
            let verdict = match refusal {
                Some(refusal) => PlayVerdict::Refused(refusal),
                None => session.presentation.verdict(),
            };
            session.said = verdict;
            let PlayRequest { lease, session: id, sequence, .. } = session.last;
            let time = session.clock.at(now);
            let answer = PlayAnswer { session: id, sequence, time, verdict };
            outputs.push(Output::Answer { to: session.to, lease, answer });
        }
        if let Some(refusal) = refusal {
            self.counters.refused += 1;
            tracing::debug!(session = %key.session, client = %key.client, %refusal, "not presented");
            if !session.presentation.has_begun() {
                self.table.remove(&key);
                return;
            }
        }
        self.serve(now, key, outputs);
    }

    fn due(&mut self, now: Time, outputs: &mut Vec<Output<P>>) {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.take(now, &mut due);
        for (time, key) in due.drain(..) {
            let Some(session) = self.table.get(&key).filter(|session| session.wake == time) else { continue };
            if now.since(session.heard) >= PLAY_TIMEOUT {
                self.table.remove(&key);
                self.counters.silent += 1;
            } else {
                self.serve(now, key, outputs);
            }
        }
        self.due = due;
    }

    /// Sends what is due of one session, asks for what it needs next, and sets its alarm.
    fn serve(&mut self, now: Time, key: SessionKey, outputs: &mut Vec<Output<P>>) {
        let Some(session) = self.table.get_mut(&key) else { return };
        let packets = session.presentation.depart(now, &mut self.counters);
        if !packets.is_empty() {
            outputs.push(Output::Send { to: session.to, packets });
        }
        if let Some(ReadWish { from, packets }) = session.presentation.wish(now) {
            let ticket = self.next_ticket;
            self.next_ticket += 1;
            session.presentation.asked(ticket);
            outputs.push(Output::Read { key, ticket, channel: session.last.lease.channel, from, packets });
        }
        let silent = session.heard + PLAY_TIMEOUT;
        let wake = session.presentation.wake(now).map_or(silent, |wake| on_grid(wake.max(now)).min(silent));
        // The same alarm twice would be served twice.
        if wake != session.wake {
            session.wake = wake;
            self.wheel.set(wake, key);
        }
    }
}

impl<P: Clone> Session<P> {
    /// An edge at which nothing can come any more, since all that the session may show is long past, is an end.
    fn beyond_hope(&self, now: Time, outcome: ReadOutcome<P>) -> ReadOutcome<P> {
        match outcome {
            ReadOutcome::Packets { pieces, follows: Follows::Edge }
                if self.clock.at(now) >= self.presentation.until() + EDGE_PATIENCE =>
            {
                ReadOutcome::Packets { pieces, follows: Follows::Nothing }
            }
            other => other,
        }
    }

    /// Whether an order to a session that is there counts.
    fn admit(&mut self, now: Time, request: &PlayRequest, begins: bool) -> Admission {
        let (old, new) = (self.last.lease, request.lease);
        // A client may come to hold a newer lease for the same, which ends later.
        if (old.channel, old.from) != (new.channel, new.from) {
            return Admission::Refuse(PlayRefusal::Foreign);
        }
        if request.sequence == self.last.sequence && request.order == self.last.order {
            self.heard = now;
            return Admission::Repeat;
        }
        if begins {
            return Admission::Refuse(PlayRefusal::Begun);
        }
        if request.sequence <= self.last.sequence || (self.answer_due && request.order != PlayOrder::Stop) {
            return Admission::Drop;
        }
        self.heard = now;
        fault(request).map_or(Admission::Accept, Admission::Refuse)
    }
}

/// An order with where and when it came.
#[derive(Debug, Clone, Copy)]
struct Arrived {
    from: SocketAddr,
    request: PlayRequest,
    cluster: ClusterTime,
}

/// What becomes of an order.
enum Admission {
    Accept,
    Repeat,
    Drop,
    Refuse(PlayRefusal),
}

/// Why an order cannot be carried out, whatever is recorded.
fn fault(request: &PlayRequest) -> Option<PlayRefusal> {
    let lease = &request.lease;
    let sound = match request.order {
        PlayOrder::Play { start: PlayStart::Date(at), until, .. } => {
            lease.covers(at) && lease.covers(until) && at < until
        }
        PlayOrder::Play { start: PlayStart::Packet(_), until, .. } => lease.covers(until),
        PlayOrder::Seek { at } => lease.covers(at),
        _ => true,
    };
    if sound { request.order.fault() } else { Some(PlayRefusal::Outside) }
}

/// The first point of the grid that is not before `time`.
fn on_grid(time: Time) -> Time {
    let floor = time.floor(GRID);
    if floor == time { time } else { floor + GRID }
}
