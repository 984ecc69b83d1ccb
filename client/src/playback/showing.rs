//! What of the buffer goes to the player, and when: by the packets' own clock.

use std::time::Duration;

use protocols::p4_control::PlayState;
use protocols::time::Time;

use super::buffer::{Front, Held};
use super::{DELIVERY_AHEAD, Output, Phase, Playback};

/// Times between two packets beyond this are a break of the recording, not a pause of its picture.
const TIME_STEP_MAX: Duration = Duration::from_secs(5);
/// What is due is reckoned from a packet at most this long ago; 32 bits of ticks are 13 h.
const CLOCK_SPAN: Duration = Duration::from_hours(1);

impl Playback {
    /// Hands on what is due.
    pub(super) fn show(&mut self, now: Time, outputs: &mut Vec<Output>) {
        if self.phase == Phase::Filling && !self.paused && self.may_begin() {
            let (Front::Packet(held) | Front::Gap(held)) = self.buffer.front() else { return };
            let timestamp_90k = held.timestamp_90k;
            self.phase = Phase::Showing { at: now, timestamp_90k, latest_90k: timestamp_90k };
        }
        let mut packets = Vec::new();
        let mut last = false;
        while !self.paused && !last && self.is_front_due(now) {
            self.buffer.skip_gap();
            let Some(held) = self.buffer.pop() else { break };
            self.follow_clock(&held);
            self.shown = Some((held.ssrc, held.sequence));
            last = held.last;
            packets.push(held.packet);
        }
        if !packets.is_empty() {
            self.flow.consumed(now, u32::try_from(packets.len()).unwrap_or(u32::MAX));
            outputs.push(Output::Deliver(packets));
            self.regulate(now);
        }
        if last {
            self.end(None, outputs);
        } else if matches!(self.phase, Phase::Showing { .. }) && !self.paused && self.buffer.held() == 0 {
            self.run_dry(outputs);
        }
    }

    /// Nothing left to show: the end, the live edge, or a stop that the viewer sees.
    fn run_dry(&mut self, outputs: &mut Vec<Output>) {
        match self.remote {
            PlayState::Ended => self.end(None, outputs),
            PlayState::AtEdge => self.phase = Phase::Filling,
            _ => {
                self.counters.dry += 1;
                self.phase = Phase::Filling;
            }
        }
    }

    fn may_begin(&self) -> bool {
        self.flow.ready(self.buffer.held())
            || (self.buffer.held() > 0 && matches!(self.remote, PlayState::Ended | PlayState::AtEdge))
    }

    fn is_front_due(&self, now: Time) -> bool {
        match self.phase {
            Phase::Pictures => match self.buffer.front() {
                Front::Packet(_) => true,
                Front::Gap(behind) => behind.jump,
                Front::Empty => false,
            },
            _ => self.front_due().is_some_and(|due| due <= now + DELIVERY_AHEAD),
        }
    }

    /// When the front packet, or the one behind the gap there, is due.
    pub(super) fn front_due(&self) -> Option<Time> {
        match (self.phase, self.buffer.front()) {
            (Phase::Showing { .. }, Front::Packet(held) | Front::Gap(held)) => Some(self.due_of(held)),
            _ => None,
        }
    }

    /// By the packets' own clock; over a break of it at once.
    fn due_of(&self, held: &Held) -> Time {
        let Phase::Showing { at, timestamp_90k, latest_90k } = self.phase else { return Time::ZERO };
        let step = span(held.timestamp_90k.wrapping_sub(latest_90k));
        let until_latest = at + span(latest_90k.wrapping_sub(timestamp_90k));
        if step > TIME_STEP_MAX || held.jump {
            until_latest
        } else {
            at + span(held.timestamp_90k.wrapping_sub(timestamp_90k))
        }
    }

    /// `held` is shown now. What is due is reckoned from one packet for long, so that rounding does not add up.
    fn follow_clock(&mut self, held: &Held) {
        let due = self.due_of(held);
        let Phase::Showing { at, timestamp_90k, latest_90k } = &mut self.phase else { return };
        let gone = span(held.timestamp_90k.wrapping_sub(*timestamp_90k));
        if held.jump
            || gone > CLOCK_SPAN
            || span(held.timestamp_90k.wrapping_sub(*latest_90k)) > TIME_STEP_MAX
        {
            (*at, *timestamp_90k) = (due, held.timestamp_90k);
        }
        *latest_90k = held.timestamp_90k;
    }
}

/// Ticks of 90 kHz.
fn span(ticks: u32) -> Duration {
    Duration::from_nanos(u64::from(ticks) * 100_000 / 9)
}
