//! Packets of the ring to live sessions, each at its own pace.
//!
//! Most channels have no session, which costs them a branch in each turn.

use std::net::SocketAddr;
use std::time::Duration;

use protocols::time::Time;

use super::{ChannelPath, Header};
use crate::lane::MAX_BATCH;
use crate::live::session::{END_WITHIN, Session, Stage};
use crate::live::{Beginning, End, Event, Order, Seam};
use crate::pacer::{UNKNOWN_SPACING, mean_spacing};
use crate::ring::{PacketRing, Run};
use crate::search;

/// The longest that packets wait to leave for a session, while no destination has a shorter window.
pub const LIVE_WINDOW: Duration = Duration::from_millis(10);

/// The live sessions of one channel; made with the first, and gone with the last.
#[derive(Debug, Default)]
pub(super) struct Streaming {
    sessions: Vec<Session>,
    /// What control has not been told.
    events: Vec<Event>,
    /// Time between two packets, as the packets say with which the last session began.
    spacing: Option<Duration>,
}

/// What has become of packets for live sessions, since the channel's making.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Streamed {
    /// Taken by the operating system.
    pub sent: u64,
    /// Not taken by it.
    pub refused: u64,
    /// Overwritten before their session could have them.
    pub overrun: u64,
}

impl ChannelPath {
    /// Carries out an order to a live session. Call [`Self::stream`] then.
    pub fn live(&mut self, now: Time, order: Order) {
        match order {
            Order::Begin { key, burst_percent } => {
                let streaming = self.streaming.get_or_insert_default();
                if !streaming.sessions.iter().any(|session| session.key == key) {
                    streaming.sessions.push(Session::new(now, key, burst_percent));
                }
                self.watch(now);
            }
            Order::End { key, seam } => {
                let Some(streaming) = &mut self.streaming else { return };
                let found = streaming.sessions.iter_mut().find(|session| session.key == key);
                let Some(session) = found else { return };
                let position = match session.stage {
                    Stage::Waiting(_) => None,
                    _ => seam.and_then(|seam| position_of(&self.ring, self.newest, seam)),
                };
                session.end = Some((now + END_WITHIN, position.unwrap_or(0)));
            }
        }
    }

    /// Whether a live session is there, or news of one.
    pub fn has_live(&self) -> bool {
        self.streaming.is_some()
    }

    /// Hands every live session what it may have now: `send(client, run)`, packets in order, which answers how many of them,
    /// from the first, the operating system took; the others are lost for this session. Call it after [`Self::drain`].
    pub fn stream(&mut self, now: Time, send: &mut impl FnMut(SocketAddr, Run<'_>) -> usize) {
        let Some(mut streaming) = self.streaming.take() else { return };
        let Streaming { sessions, events, spacing } = &mut *streaming;
        let mut ended = false;
        for session in sessions.iter_mut() {
            let key = session.key;
            if let Some((beginning, stated)) = self.begin(now, session) {
                events.push(Event::Begun { key, beginning });
                *spacing = stated;
            }
            let spacing = self.spacing_or(*spacing);
            self.serve(now, session, spacing, send);
            if let Some(why) = self.over(now, session) {
                events.push(Event::Ended { key, why });
                (session.end, ended) = (Some((Time::ZERO, 0)), true);
            }
        }
        if ended {
            sessions.retain(|session| session.end.is_none_or(|(by, _)| by > Time::ZERO));
        }
        self.streaming = Some(streaming);
        if ended {
            self.watch(now);
        }
    }

    /// What control is to be told of live sessions.
    pub fn live_events(&mut self) -> Vec<Event> {
        let events = self.streaming.as_mut().map(|streaming| std::mem::take(&mut streaming.events));
        self.streaming.take_if(|streaming| streaming.sessions.is_empty());
        events.unwrap_or_default()
    }

    /// Live sessions that are being sent to or wait for a random access point.
    pub fn live_sessions(&self) -> usize {
        self.streaming.as_ref().map_or(0, |streaming| streaming.sessions.len())
    }

    /// What has become of packets for live sessions.
    pub fn streamed(&self) -> Streamed {
        self.streamed
    }

    /// Whether `client` has a live session, whatever its port.
    pub(super) fn streams_to(&self, client: SocketAddr) -> bool {
        let client = client.ip().to_canonical();
        self.streaming.as_ref().is_some_and(|streaming| {
            streaming.sessions.iter().any(|session| session.key.client.ip().to_canonical() == client)
        })
    }

    /// What sessions take at present of the channel's rate, in percent.
    pub(super) fn live_percent(&self) -> u64 {
        self.streaming.as_ref().map_or(0, |live| live.sessions.iter().map(Session::percent).sum())
    }

    /// When to look after live sessions although nothing arrives.
    pub(super) fn live_due(&self) -> Option<Time> {
        let streaming = self.streaming.as_ref()?;
        let (ready, spacing) = (self.live_ready(), self.spacing_or(streaming.spacing));
        let due = |session: &Session| {
            let served = match session.stage {
                Stage::Waiting(until) => Some(until),
                _ if self.shed => Some(Time::ZERO),
                _ => {
                    (session.next < session.limit(ready)).then(|| session.allowed_at(LEAST_PACKETS, spacing))
                }
            };
            served.into_iter().chain(session.end.map(|(by, _)| by)).min()
        };
        streaming.sessions.iter().filter_map(due).min()
    }

    /// Whether a live session has not had all that has been released.
    pub(super) fn live_waits(&self) -> bool {
        let ready = self.live_ready();
        let behind = |session: &Session| session.next < session.limit(ready);
        self.streaming.as_ref().is_some_and(|streaming| streaming.sessions.iter().any(behind))
    }

    /// Has sessions that have caught up pass over what destinations pass over.
    pub(super) fn live_pass_over(&mut self, position: u64) {
        let Some(streaming) = &mut self.streaming else { return };
        for session in streaming.sessions.iter_mut().filter(|session| session.stage == Stage::CaughtUp) {
            session.next = session.next.max(position);
        }
    }

    /// Begins `session`, if it waits and the channel has a random access point. Answers also the time between two packets, as
    /// those say that are here.
    fn begin(&self, now: Time, session: &mut Session) -> Option<(Beginning, Option<Duration>)> {
        let usable = self.flowing(now) && !self.held && !self.shed && session.end.is_none();
        let Stage::Waiting(until) = session.stage else { return None };
        let newest = self.ring.next().checked_sub(1).filter(|_| usable)?;
        // Of some channels nobody can tell where decoding may begin: those begin as P6 does.
        let position = self.newest_access().or_else(|| (now >= until).then_some(newest))?;
        let header_at = |position| self.ring.packet(position).and_then(Header::of);
        let (first, newest) = (header_at(position)?, header_at(newest)?);
        session.begin(now, position);
        let beginning =
            Beginning { ssrc: newest.ssrc, first: first.stamp.sequence, newest: newest.stamp.sequence };
        Some((beginning, mean_spacing(first.stamp, newest.stamp).filter(|spacing| !spacing.is_zero())))
    }

    fn serve(
        &mut self,
        now: Time,
        session: &mut Session,
        spacing: Duration,
        send: &mut impl FnMut(SocketAddr, Run<'_>) -> usize,
    ) {
        if self.shed || matches!(session.stage, Stage::Waiting(_)) {
            return;
        }
        let (to, oldest) = (session.limit(self.live_ready()), self.ring.oldest());
        if session.next < oldest {
            self.streamed.overrun += oldest - session.next;
            session.next = oldest;
        }
        let to = to.min(session.next.saturating_add(session.allowed(now, spacing)));
        while session.next < to {
            let Some(run) = self.ring.run(session.next, to) else {
                // Kept free for a packet of the past that will not come.
                session.next += 1;
                self.streamed.overrun += 1;
                continue;
            };
            let packets = run.len() as u64;
            let taken = send(session.key.client, run) as u64;
            self.streamed.sent += taken;
            self.streamed.refused += packets.saturating_sub(taken);
            session.given(packets, spacing);
        }
        if session.next >= self.released {
            session.stage = Stage::CaughtUp;
        }
    }

    /// Why `session` is over, if it is.
    fn over(&self, now: Time, session: &Session) -> Option<End> {
        if self.shed {
            return Some(End::Shed);
        }
        match (session.end, session.stage) {
            (Some((by, position)), _) if now >= by || session.next >= position => Some(End::Ordered),
            (_, Stage::Waiting(until)) if now >= until => Some(End::NoPacket),
            _ => None,
        }
    }

    /// Position of the first packet that no session may have yet.
    fn live_ready(&self) -> u64 {
        self.released.min(self.whole_until())
    }

    /// Time between two packets of the channel: as its pacer knows it, else as `stated`, else what a fast channel has.
    fn spacing_or(&self, stated: Option<Duration>) -> Duration {
        self.pacer.own_spacing().or(stated).unwrap_or(UNKNOWN_SPACING)
    }
}

/// A session that is behind is worth a turn of its own when it may have so many packets.
#[expect(clippy::cast_possible_truncation, reason = "eight")]
const LEAST_PACKETS: u32 = MAX_BATCH as u32;

/// Position of the packet at a seam, perhaps yet to come: P6 of another push server may be ahead of this one. `None` when it is
/// of another stream, or gone.
fn position_of(ring: &PacketRing, newest: Option<Header>, seam: Seam) -> Option<u64> {
    let newest = newest.filter(|newest| newest.ssrc == seam.ssrc)?;
    let ahead = seam.first.wrapping_sub(newest.stamp.sequence);
    if (1..1 << 15).contains(&ahead) {
        return Some(ring.next() - 1 + u64::from(ahead));
    }
    let sequence_at = |position| {
        let header = ring.packet(position).and_then(Header::of);
        header.filter(|header| header.ssrc == seam.ssrc).map(|header| header.stamp.sequence)
    };
    search::find(ring.oldest()..ring.next(), seam.first, sequence_at)
}
