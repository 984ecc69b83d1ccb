//! From a recording's live edge onto the channel on air, and back: the RTP packets are the very same, so they go into one buffer.
//!
//! ```text
//!  recording   … 7 8 9 10 11 │ 12 13          the session's packets, as far as the recording has grown
//!  on air                  11 12 13 14 15 …   received since the edge was reached, waiting
//!                             ▲ the first that has not come by the recording: from here on those on air; the session is stopped
//! ```
//!
//! Nothing is shown twice or left out, and nothing jumps: what is shown stays as far behind the present as it was. A pause, a seek
//! or a rewind leads back to a session, at the very packet or at the date.

use std::collections::VecDeque;

use media::rtp::RtpView;
use protocols::p4_control::{PacketName, PlayOrder, PlayState, SessionId};
use protocols::time::Time;

use super::buffer::Held;
use super::orders::Speak;
use super::showing::{TIME_STEP_MAX, span};
use super::{Output, Phase, Playback};

/// How many times as much as of a recording the buffer may hold of what is on air.
const ROOM_ON_AIR: u32 = 2;

/// Where packets come from.
#[derive(Debug)]
pub(super) enum Air {
    /// From the session alone.
    Off,
    /// From the session; these came on air, one behind the other without a gap, the oldest first.
    Waiting(VecDeque<Held>),
    /// From the air alone; the last one of this source had this sequence number and time.
    On { ssrc: u32, sequence: u16, timestamp_90k: u32 },
}

impl Playback {
    /// Whether the channel is shown as it is on air.
    pub fn is_live(&self) -> bool {
        matches!(self.air, Air::On { .. })
    }

    /// Takes a packet of the channel on air.
    pub(super) fn on_air(&mut self, now: Time, packet: Vec<u8>) {
        let Ok(rtp) = RtpView::parse(&packet).map(|view| view.header) else {
            self.counters.foreign += 1;
            return;
        };
        let (ssrc, sequence, timestamp_90k) = (rtp.ssrc, rtp.sequence.0, rtp.timestamp_90k);
        let held = Held { packet, ssrc, sequence, timestamp_90k, jump: false, last: false };
        match &mut self.air {
            Air::Off => {}
            Air::Waiting(waiting) => {
                let follows =
                    |last: &Held| (last.ssrc, last.sequence.wrapping_add(1)) == (held.ssrc, held.sequence);
                if !waiting.back().is_none_or(follows) {
                    waiting.clear();
                }
                if waiting.len() >= self.flow.capacity_packets() as usize {
                    waiting.pop_front();
                }
                waiting.push_back(held);
            }
            Air::On { .. } => self.append(now, held),
        }
    }

    /// Asks for the channel on air when the edge is reached, and goes over to it where the recording meets it.
    pub(super) fn follow_air(&mut self, now: Time, outputs: &mut Vec<Output>) {
        let straight =
            matches!(self.phase, Phase::Filling | Phase::Showing { .. }) && !self.trick && !self.paused;
        match &self.air {
            Air::Off if straight && self.remote == PlayState::AtEdge => {
                self.air = Air::Waiting(VecDeque::new());
                outputs.push(Output::JoinLive);
            }
            Air::Waiting(_) if !straight => {
                self.air = Air::Off;
                outputs.push(Output::LeaveLive);
            }
            Air::Waiting(_) => self.take_over(now, outputs),
            Air::Off | Air::On { .. } => {}
        }
    }

    /// Back to a session, from what is on air; does nothing where it is not shown.
    pub(super) fn leave_air(&mut self, now: Time, outputs: &mut Vec<Output>) {
        if self.is_live() {
            outputs.push(Output::LeaveLive);
            self.air = Air::Off;
            self.buffer.set_capacity(self.flow.capacity_packets());
            self.tried = 1;
            self.begin_anew(now);
        }
    }

    fn take_over(&mut self, now: Time, outputs: &mut Vec<Output>) {
        let Some((_, PacketName { ssrc, number })) = self.next_packet() else { return };
        let Air::Waiting(waiting) = &mut self.air else { return };
        let Some(first) = waiting.front().filter(|first| first.ssrc == ssrc) else { return };
        #[expect(clippy::cast_possible_truncation, reason = "sequence numbers are the low 16 bits")]
        let known = usize::from((number as u16).wrapping_sub(first.sequence));
        if known >= waiting.len() {
            return;
        }
        let fresh: Vec<Held> = waiting.drain(known..).collect();
        let stop = Speak { sequence: u32::MAX, order: PlayOrder::Stop };
        outputs.push(self.request(now, stop));
        self.session = SessionId(self.random.u64(..));
        self.counters.handovers += 1;
        (self.held_back, self.round, self.gap, self.remote) = (false, None, None, PlayState::Playing);
        let Some(first) = fresh.first() else { return };
        // Nobody holds back what is on air: it has room for what the recorder was behind, and for what is shown late.
        self.buffer.set_capacity(self.flow.capacity_packets().saturating_mul(ROOM_ON_AIR));
        self.air =
            Air::On { ssrc, sequence: first.sequence.wrapping_sub(1), timestamp_90k: first.timestamp_90k };
        let (index, name) = self.next_packet().unwrap_or((self.buffer.end(), PacketName { ssrc, number }));
        let date = self.anchor.map_or(self.start, |(_, _, date)| date);
        self.anchor = Some((index, name, date));
        fresh.into_iter().for_each(|held| self.append(now, held));
    }

    /// Puts a packet that is on air behind the last one.
    fn append(&mut self, now: Time, mut held: Held) {
        let (Air::On { ssrc, sequence, timestamp_90k }, Some((index, name, date))) =
            (&mut self.air, self.anchor)
        else {
            return;
        };
        self.stream = now;
        let step = held.sequence.wrapping_sub(*sequence);
        let (index, name) = if held.ssrc != *ssrc {
            // Another source: its numbers begin anew.
            held.jump = true;
            let number = u64::from(held.sequence);
            (self.buffer.end().max(index), PacketName { ssrc: held.ssrc, number })
        } else if (1..0x8000).contains(&step) {
            let skipped = u64::from(step) - 1;
            (index + skipped, PacketName { number: name.number.wrapping_add(skipped), ..name })
        } else {
            return;
        };
        let passed = span(held.timestamp_90k.wrapping_sub(*timestamp_90k));
        let date = if passed < TIME_STEP_MAX { date + passed } else { self.clock.at(now) };
        (*ssrc, *sequence, *timestamp_90k) = (held.ssrc, held.sequence, held.timestamp_90k);
        let next = PacketName { number: name.number.wrapping_add(1), ..name };
        self.anchor = Some((index + 1, next, date));
        if date >= self.config.until {
            self.remote = PlayState::Ended;
            return;
        }
        self.buffer.insert(self.buffer.number(index), held);
    }
}
