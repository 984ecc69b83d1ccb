//! One presentation of a recording: where it is, how fast it goes, and what it needs read next.

use std::collections::VecDeque;
use std::time::Duration;

use protocols::authority::RecordingLease;
use protocols::p4_control::{
    PacketName, PlayPosition, PlayRefusal, PlayStart, PlayState, PlayVerdict, SessionId, TrickSpeed,
};
use protocols::p5_stream::{Flags, Header};
use protocols::time::{ClusterTime, Time};

use super::{
    BATCH_PACKETS, Counters, Departure, EDGE_POLL, Follows, GRID, LATE_MAX, Piece, RANDOM_ACCESS_MAX,
    READ_PACKETS, ReadFrom, ReadOutcome, ReadWish, WINDOW,
};

/// What a read should last for.
const READ_AHEAD: Duration = Duration::from_millis(200);

/// Rows of consecutive packets that are remembered for repairs; of more, the oldest are forgotten.
const MAX_RUNS: usize = 64;

/// Datagrams that carried consecutive packets.
#[derive(Debug, Clone, Copy)]
struct Run {
    number: u32,
    first: PacketName,
    packets: u32,
}

/// The state of one session, apart from who may order it about.
#[derive(Debug)]
pub(super) struct Presentation<P> {
    lease: RecordingLease,
    session: SessionId,
    until: ClusterTime,
    delta_p: Duration,
    paused: bool,
    ended: bool,
    course: Course,
    /// An order waits for this place to be found.
    probe: Option<PlayStart>,
    /// The read that is under way.
    ticket: Option<u64>,
    /// What was read and has not been sent.
    ahead: VecDeque<Piece<P>>,
    /// What is behind `ahead`.
    follows: Follows,
    /// Where reading goes on, and the date there; `None` until the first place was found.
    cursor: Option<(PacketName, ClusterTime)>,
    last_sent: Option<PacketName>,
    /// Which packets the numbers were, the newest last.
    runs: VecDeque<Run>,
    /// Number of the next datagram.
    number: u32,
    /// When the next packet is due.
    due: Time,
    /// When to look for more at the edge.
    poll: Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    /// Every packet in order.
    Straight,
    /// Pictures, whose dates run `speed` times as fast as the time since `origin`.
    Trick { speed: TrickSpeed, origin: Time, origin_date: ClusterTime },
}

impl<P: Clone> Presentation<P> {
    /// One that has no place yet; see [`Self::probe`].
    pub(super) fn new(
        lease: RecordingLease,
        until: ClusterTime,
        delta_p: Duration,
        session: SessionId,
    ) -> Self {
        Self {
            lease,
            session,
            until,
            delta_p,
            paused: false,
            ended: false,
            course: Course::Straight,
            probe: None,
            ticket: None,
            ahead: VecDeque::new(),
            follows: Follows::More,
            cursor: None,
            last_sent: None,
            runs: VecDeque::new(),
            number: 0,
            due: Time::ZERO,
            poll: Time::ZERO,
        }
    }

    /// Go to `start` once it has been found; nothing is sent meanwhile.
    pub(super) fn probe(&mut self, start: PlayStart) {
        self.probe = Some(start);
        self.ticket = None;
    }

    /// Send nothing.
    pub(super) fn pause(&mut self) {
        self.paused = true;
    }

    /// Send from here on, every packet.
    pub(super) fn resume(&mut self, now: Time) {
        self.paused = false;
        self.due = self.due.max(now);
        if self.course != Course::Straight {
            self.straighten();
        }
    }

    /// Pictures from here on.
    pub(super) fn trick(&mut self, now: Time, speed: TrickSpeed) {
        let Some((name, date)) = self.place() else { return };
        self.forget_ahead();
        self.cursor = Some((name, date));
        self.course = Course::Trick { speed, origin: now, origin_date: date };
        (self.paused, self.ended) = (false, false);
    }

    /// Another rate, from the next packet on.
    pub(super) fn set_delta_p(&mut self, now: Time, delta_p: Duration) {
        self.delta_p = delta_p;
        self.due = self.due.min(now + delta_p);
    }

    /// The ticket of the read that [`Self::wish`] asked for.
    pub(super) fn asked(&mut self, ticket: u64) {
        self.ticket = Some(ticket);
    }

    /// A read that is awaited is done. `Err`: what an order asked for is not there, and nothing has changed.
    pub(super) fn read(&mut self, now: Time, outcome: ReadOutcome<P>) -> Result<(), PlayRefusal> {
        self.ticket = None;
        if let Some(start) = self.probe.take() {
            return self.begin_at(now, start, outcome);
        }
        let (pieces, follows) = match outcome {
            ReadOutcome::Packets { pieces, follows } => (pieces, follows),
            // Deleted under our hands.
            ReadOutcome::Unknown => (Vec::new(), Follows::Nothing),
            // Tried again; a client that cannot wait goes to another replica.
            ReadOutcome::Failed => (Vec::new(), Follows::Edge),
        };
        match self.course {
            Course::Straight => self.append(now, pieces, follows),
            Course::Trick { speed, origin, origin_date } => match pieces.first() {
                Some(first) if (self.lease.from..self.until).contains(&first.date) => {
                    let apart = first.date.distance(origin_date) / speed.factor();
                    self.due = (origin + apart).max(now);
                    self.cursor = Some((first.name, first.date));
                    self.ahead = pieces.into();
                }
                _ => self.end_trick(speed, follows),
            },
        }
        Ok(())
    }

    /// What is due, in order.
    pub(super) fn depart(&mut self, now: Time, counters: &mut Counters) -> Vec<Departure<P>> {
        let mut packets = Vec::new();
        if !self.is_running() {
            return packets;
        }
        if self.due + LATE_MAX < now {
            self.due = now - LATE_MAX;
            counters.slipped += u64::from(self.follows == Follows::More);
        }
        while self.due <= now && packets.len() < BATCH_PACKETS {
            let Some(piece) = self.next_piece() else {
                counters.starved += u64::from(self.is_running() && self.follows == Follows::More);
                break;
            };
            let flags = Flags {
                jump: self.last_sent.is_none_or(|last| successor(last) != piece.name),
                random_access: piece.random_access,
                last: self.is_last(),
            };
            self.ended |= flags.last;
            self.note(piece.name, flags.jump);
            packets.push(Departure {
                header: Header::new(self.session, self.number, flags),
                packet: piece.packet,
            });
            self.number = self.number.wrapping_add(1);
            self.last_sent = Some(piece.name);
            self.due += self.delta_p;
        }
        counters.packets += packets.len() as u64;
        packets
    }

    /// The packet that datagram `number` carried, and whether a run begins with it; `None` when that is too long ago.
    pub(super) fn carried(&self, number: u32) -> Option<(PacketName, bool)> {
        self.runs.iter().rev().find_map(|run| {
            let offset = number.wrapping_sub(run.number);
            let name = PacketName { number: run.first.number.wrapping_add(u64::from(offset)), ..run.first };
            (offset < run.packets).then_some((name, offset == 0))
        })
    }

    /// What `number`, sent again, is preceded by.
    pub(super) fn header(&self, number: u32, jump: bool, random_access: bool) -> Header {
        let last = self.ended && number.wrapping_add(1) == self.number;
        Header::new(self.session, number, Flags { jump, random_access, last })
    }

    /// Where it ends.
    pub(super) fn until(&self) -> ClusterTime {
        self.until
    }

    /// Time from one packet to the next.
    pub(super) fn delta_p(&self) -> Duration {
        self.delta_p
    }

    /// The next datagram carries `name`.
    fn note(&mut self, name: PacketName, jump: bool) {
        match self.runs.back_mut() {
            Some(run) if !jump && run.packets < u32::MAX => run.packets += 1,
            _ => {
                if self.runs.len() >= MAX_RUNS {
                    self.runs.pop_front();
                }
                self.runs.push_back(Run { number: self.number, first: name, packets: 1 });
            }
        }
    }

    /// What should be read now.
    pub(super) fn wish(&self, now: Time) -> Option<ReadWish> {
        if self.ticket.is_some() {
            return None;
        }
        let packets = self.read_packets();
        if let Some(start) = self.probe {
            let from = match start {
                PlayStart::Date(date) => ReadFrom::Date(date),
                PlayStart::Packet(name) => ReadFrom::Packet(name),
            };
            return Some(ReadWish { from, packets });
        }
        let (cursor, date) = self.cursor?;
        if self.ended {
            return None;
        }
        let from = match self.course {
            Course::Straight => {
                let enough = self.ahead.len() * 2 > packets as usize;
                let nothing = match self.follows {
                    Follows::More => false,
                    Follows::Edge => now < self.poll,
                    Follows::Nothing => true,
                };
                if enough || nothing {
                    return None;
                }
                ReadFrom::Packet(cursor)
            }
            Course::Trick { .. } if !self.ahead.is_empty() || self.paused => return None,
            Course::Trick { speed, origin, origin_date } => {
                let gone = now.since(origin) * speed.factor();
                if speed.is_forward() {
                    ReadFrom::PictureAfter((origin_date + gone).max(ClusterTime(date.0.saturating_add(1))))
                } else {
                    let gone_ms = u64::try_from(gone.as_millis()).unwrap_or(u64::MAX);
                    let date = origin_date.0.saturating_sub(gone_ms).min(date.0.saturating_sub(1));
                    ReadFrom::PictureBefore(ClusterTime(date))
                }
            }
        };
        Some(ReadWish { from, packets })
    }

    /// When to look again; `None` while only an order or a read can change anything.
    pub(super) fn wake(&self, now: Time) -> Option<Time> {
        if !self.is_running() {
            return None;
        }
        if self.may_take() {
            // What falls due within a window leaves together; what is over from a full batch does so soon.
            return Some(if self.due <= now { now + GRID } else { self.due.max(now + WINDOW) });
        }
        (self.follows == Follows::Edge && self.ticket.is_none()).then_some(self.poll)
    }

    /// Whether `ticket` is that of the read under way.
    pub(super) fn awaits(&self, ticket: u64) -> bool {
        self.ticket == Some(ticket)
    }

    /// Whether an order waits for a read.
    pub(super) fn is_probing(&self) -> bool {
        self.probe.is_some()
    }

    /// Whether a first place was found.
    pub(super) fn has_begun(&self) -> bool {
        self.cursor.is_some()
    }

    /// How it stands, for an answer.
    pub(super) fn verdict(&self) -> PlayVerdict {
        let state = match self.course {
            _ if self.ended => PlayState::Ended,
            _ if self.paused => PlayState::Paused,
            Course::Trick { speed, .. } => PlayState::Trick(speed),
            Course::Straight if self.ahead.is_empty() && self.follows == Follows::Edge => PlayState::AtEdge,
            Course::Straight => PlayState::Playing,
        };
        PlayVerdict::Done { state, position: self.position() }
    }

    /// How it stands once it is stopped.
    pub(super) fn stopped(&self) -> PlayVerdict {
        PlayVerdict::Done { state: PlayState::Ended, position: self.position() }
    }

    fn position(&self) -> Option<PlayPosition> {
        let (packet, date) = self.place()?;
        Some(PlayPosition { date, packet, number: self.number })
    }

    /// The next packet that leaves, as far as is known.
    fn place(&self) -> Option<(PacketName, ClusterTime)> {
        self.ahead.front().map(|piece| (piece.name, piece.date)).or(self.cursor)
    }

    fn is_running(&self) -> bool {
        !self.paused && !self.ended && self.probe.is_none() && self.cursor.is_some()
    }

    fn begin_at(&mut self, now: Time, start: PlayStart, outcome: ReadOutcome<P>) -> Result<(), PlayRefusal> {
        let (pieces, follows) = match outcome {
            ReadOutcome::Packets { pieces, follows } => (pieces, follows),
            ReadOutcome::Unknown => return Err(PlayRefusal::Unknown),
            ReadOutcome::Failed => return Err(PlayRefusal::Incomplete),
        };
        let first = pieces.first().ok_or(PlayRefusal::Incomplete)?;
        match start {
            PlayStart::Date(date) if date.since(first.date) > RANDOM_ACCESS_MAX => {
                return Err(PlayRefusal::Incomplete);
            }
            PlayStart::Packet(name) if first.name != name => return Err(PlayRefusal::Incomplete),
            PlayStart::Packet(_)
                if !self.lease.covers(first.date + RANDOM_ACCESS_MAX) && !self.lease.covers(first.date) =>
            {
                return Err(PlayRefusal::Outside);
            }
            PlayStart::Date(_) | PlayStart::Packet(_) => {}
        }
        self.forget_ahead();
        self.course = Course::Straight;
        self.ended = false;
        self.due = now;
        self.append(now, pieces, follows);
        Ok(())
    }

    fn append(&mut self, now: Time, pieces: Vec<Piece<P>>, follows: Follows) {
        if let Some(last) = pieces.last() {
            self.cursor = Some((successor(last.name), last.date));
        }
        self.ahead.extend(pieces);
        self.follows = follows;
        self.poll = now + EDGE_POLL;
        self.ended |= self.ahead.is_empty() && follows == Follows::Nothing;
    }

    /// No further picture that way.
    fn end_trick(&mut self, speed: TrickSpeed, follows: Follows) {
        let at_edge = speed.is_forward() && follows == Follows::Edge;
        self.ended = speed.is_forward() && !at_edge;
        self.paused = !speed.is_forward();
        self.straighten();
    }

    /// From pictures back to every packet, from the last picture on.
    fn straighten(&mut self) {
        let place = self.cursor;
        self.forget_ahead();
        self.cursor = place;
        self.course = Course::Straight;
    }

    fn forget_ahead(&mut self) {
        self.ahead.clear();
        self.ticket = None;
        self.follows = Follows::More;
    }

    /// Whether the front packet may leave: of a read that has more behind it the last one waits, since it may be the session's last.
    fn may_take(&self) -> bool {
        let known = self.ahead.len() > 1 || self.follows != Follows::More || self.course != Course::Straight;
        known && !self.ahead.is_empty()
    }

    fn next_piece(&mut self) -> Option<Piece<P>> {
        if !self.may_take() {
            return None;
        }
        if self.course == Course::Straight && self.ahead.front().is_some_and(|piece| piece.date >= self.until)
        {
            self.ended = true;
            return None;
        }
        self.ahead.pop_front()
    }

    /// Whether nothing follows the packet that was just taken.
    fn is_last(&self) -> bool {
        self.course == Course::Straight
            && match self.ahead.front() {
                Some(next) => next.date >= self.until,
                None => self.follows == Follows::Nothing,
            }
    }

    fn read_packets(&self) -> u32 {
        let packets = READ_AHEAD.as_nanos() / self.delta_p.as_nanos().max(1);
        u32::try_from(packets).unwrap_or(u32::MAX).clamp(*READ_PACKETS.start(), *READ_PACKETS.end())
    }
}

/// The packet behind `name` in the same source.
fn successor(name: PacketName) -> PacketName {
    PacketName { number: name.number.wrapping_add(1), ..name }
}
