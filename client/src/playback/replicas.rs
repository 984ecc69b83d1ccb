//! Which push server serves: the present one while it lives, then the next, at the first packet that has not come.

use std::time::Duration;

use protocols::p4_control::{PacketName, PlayOrder, PlayStart, PlayState, SessionId};
use protocols::time::Time;

use super::orders::OrderDesk;
use super::{Phase, Playback, ROUND_PAUSE, STREAM_SILENCE, nanos};

impl Playback {
    /// Looks whether the push server is alive, and leaves it when it is not.
    pub(super) fn watch(&mut self, now: Time) {
        if self.phase == Phase::Ended || self.is_live() {
            return;
        }
        if self.round.is_some_and(|round| round <= now) {
            self.round = None;
            self.tried = 0;
            self.fail_over(now);
        }
        if self.round.is_none() && self.desk.is_dead(now) {
            self.fail_over(now);
        }
        if self.expects_stream() && self.stream + self.silence() <= now {
            self.stream = now;
            self.desk.ask(now);
        }
    }

    pub(super) fn expects_stream(&self) -> bool {
        !matches!(self.phase, Phase::Finding | Phase::Pictures | Phase::Ended)
            && self.remote == PlayState::Playing
            && !self.held_back
    }

    pub(super) fn silence(&self) -> Duration {
        STREAM_SILENCE.max(self.config.flow.mean_delta_p * 8)
    }

    /// The next replica, at the first packet that has not come.
    pub(super) fn fail_over(&mut self, now: Time) {
        if self.tried >= self.config.servers.len() {
            self.round = Some(now + ROUND_PAUSE);
            return;
        }
        self.tried += 1;
        self.counters.failovers += 1;
        self.server = (self.server + 1) % self.config.servers.len();
        self.begin_anew(now);
    }

    /// A new session, at the first packet that has not come; where none is known, at the date shown or sought. A fast forward or
    /// rewind that is wanted follows.
    pub(super) fn begin_anew(&mut self, now: Time) {
        self.session = SessionId(self.random.u64(..));
        let until = self.config.until;
        let delta_p_ns = nanos(self.config.flow.mean_delta_p);
        let known = self.next_packet().filter(|_| !matches!(self.phase, Phase::Finding | Phase::Pictures));
        let start = if let Some((index, name)) = known {
            self.buffer.rebase(index);
            self.flow.restart();
            PlayStart::Packet(name)
        } else {
            let date = self.place();
            self.buffer.clear();
            self.buffer.rebase(self.buffer.head());
            (self.anchor, self.shown) = (None, None);
            (self.phase, self.start) = (Phase::Finding, date);
            PlayStart::Date(date.max(self.config.lease.from))
        };
        (self.held_back, self.remote, self.stream) = (false, PlayState::Playing, now);
        let play = PlayOrder::Play { start, until, delta_p_ns };
        self.desk = OrderDesk::new(now, play);
        match self.awaited {
            // A fast forward goes on, or begins, with the next push server.
            trick @ PlayOrder::Trick { .. } if self.trick && self.phase == Phase::Finding => {
                self.desk.put(trick);
            }
            _ => (self.awaited, self.trick) = (play, false),
        }
    }

    /// Index and name of the first packet that has not come, from what was told of another and the sequence numbers since.
    pub(super) fn next_packet(&self) -> Option<(u64, PacketName)> {
        let (anchored, name, _) = self.anchor?;
        let (index, before) = self.buffer.first_missing();
        if index == anchored {
            return Some((index, name));
        }
        let (ssrc, sequence) = before.map(|held| (held.ssrc, held.sequence)).or(self.shown)?;
        if ssrc != name.ssrc {
            return None;
        }
        let guess = name.number.wrapping_add(index.wrapping_sub(anchored));
        #[expect(clippy::cast_possible_truncation, reason = "sequence numbers are the low 16 bits")]
        let off = sequence.wrapping_add(1).wrapping_sub(guess as u16).cast_signed();
        Some((index, PacketName { ssrc, number: guess.wrapping_add_signed(i64::from(off)) }))
    }
}
