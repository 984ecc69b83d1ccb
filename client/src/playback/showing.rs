//! What of the buffer goes to the player, and when: by the packets' own clock, at once, or picture by picture.

use std::time::Duration;

use protocols::p4_control::PlayState;
use protocols::time::Time;

use super::buffer::{Front, Held};
use super::{DELIVERY_AHEAD, Delivery, Output, Phase, Playback};

/// Times between two packets beyond this are a break of the recording, not a pause of its picture.
pub(super) const TIME_STEP_MAX: Duration = Duration::from_secs(5);
/// What is due is reckoned from a packet at most this long ago; 32 bits of ticks are 13 h.
const CLOCK_SPAN: Duration = Duration::from_hours(1);
/// A file waits so long for a packet that is missing.
const FILE_PATIENCE: Duration = Duration::from_secs(5);
/// So long are the last packets of a recording waited for, and a picture of a fast forward of which a part is missing.
const PATIENCE: Duration = Duration::from_millis(500);
/// Packets handed on at once, so that one sees whether the output keeps up; more follow at once.
const BATCH_PACKETS: usize = 256;

impl Playback {
    /// Hands on what is due.
    pub(super) fn show(&mut self, now: Time, outputs: &mut Vec<Output>) {
        self.note_gap(now);
        if self.phase == Phase::Pictures {
            return self.show_pictures(now, outputs);
        }
        if self.phase == Phase::Filling && !self.is_held() && self.may_begin() {
            let (Front::Packet(held) | Front::Gap(held)) = self.buffer.front() else { return };
            let timestamp_90k = held.timestamp_90k;
            self.phase = Phase::Showing { at: now, timestamp_90k, latest_90k: timestamp_90k };
        }
        let mut packets = Vec::new();
        let mut last = false;
        while !self.is_held() && !last && packets.len() < BATCH_PACKETS && self.is_front_due(now) {
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
            self.note_gap(now);
        }
        if last {
            self.end(now, None, outputs);
        } else if !self.is_held() && self.buffer.held() == 0 {
            self.run_dry(now, outputs);
        }
    }

    /// How long the output waits for a packet at the front that is missing, where it does not wait for its time alone.
    pub(super) fn patience(&self) -> Duration {
        if self.delivery == Delivery::AtOnce { FILE_PATIENCE } else { PATIENCE }
    }

    /// Whole pictures, each when the next one begins.
    fn show_pictures(&mut self, now: Time, outputs: &mut Vec<Output>) {
        while !self.is_held() {
            match self.buffer.run() {
                (_, Some(picture)) => {
                    let packets: Vec<Vec<u8>> = std::iter::repeat_with(|| self.buffer.pop())
                        .take(picture)
                        .flatten()
                        .map(|held| held.packet)
                        .collect();
                    outputs.push(Output::Picture(packets));
                }
                _ if self.buffer.has_gaps() && self.is_given_up(now) => {
                    self.counters.torn_pictures += 1;
                    if !self.buffer.skip_to_jump() {
                        break;
                    }
                }
                _ => break,
            }
            self.note_gap(now);
        }
    }

    /// Keeps in mind since when a packet is waited for.
    fn note_gap(&mut self, now: Time) {
        let missing = self.awaited_packet();
        self.gap = match (self.gap, missing) {
            (Some((index, since)), Some(missing)) if index == missing => Some((index, since)),
            (_, missing) => missing.map(|index| (index, now)),
        };
    }

    /// Index of the packet that the output waits for, beyond its time.
    fn awaited_packet(&self) -> Option<u64> {
        let shows = matches!(self.phase, Phase::Filling | Phase::Showing { .. });
        let until_it_comes = match self.delivery {
            _ if self.phase == Phase::Pictures => true,
            Delivery::AtOnce => shows,
            Delivery::InTime => false,
        };
        if until_it_comes && self.buffer.has_gaps() {
            return Some(self.buffer.first_missing().0);
        }
        // The end of the recording, of which nothing is behind that could be due.
        let tail = shows && self.remote == PlayState::Ended && self.buffer.held() == 0;
        tail.then(|| self.buffer.head()).filter(|head| self.anchor.is_some_and(|(end, ..)| end > *head))
    }

    /// Whether the packet at the front has been waited for long enough.
    fn is_given_up(&self, now: Time) -> bool {
        self.gap.is_some_and(|(_, since)| since + self.patience() <= now)
    }

    /// Nothing left to show: the end, the live edge, or a stop that the viewer sees.
    fn run_dry(&mut self, now: Time, outputs: &mut Vec<Output>) {
        let showing = matches!(self.phase, Phase::Showing { .. });
        match self.remote {
            PlayState::Ended if showing || self.phase == Phase::Filling => {
                // The last packets may be on their way a second time.
                if self.gap.is_none() || self.is_given_up(now) {
                    self.end(now, None, outputs);
                }
            }
            _ if !showing => {}
            PlayState::AtEdge => self.phase = Phase::Filling,
            _ if self.delivery == Delivery::AtOnce => {}
            _ => {
                self.counters.dry += 1;
                self.phase = Phase::Filling;
            }
        }
    }

    fn may_begin(&self) -> bool {
        self.flow.ready(self.buffer.held())
            || (self.buffer.held() > 0
                && (self.delivery == Delivery::AtOnce
                    || matches!(self.remote, PlayState::Ended | PlayState::AtEdge)))
    }

    fn is_front_due(&self, now: Time) -> bool {
        match (self.delivery, self.phase, self.buffer.front()) {
            (Delivery::AtOnce, Phase::Showing { .. }, Front::Packet(_)) => true,
            (Delivery::AtOnce, Phase::Showing { .. }, Front::Gap(_)) => self.is_given_up(now),
            _ => self.front_due().is_some_and(|due| due <= now + DELIVERY_AHEAD),
        }
    }

    /// When the front packet, or the one behind the gap there, is due.
    pub(super) fn front_due(&self) -> Option<Time> {
        match (self.phase, self.buffer.front()) {
            (Phase::Showing { .. }, Front::Packet(held) | Front::Gap(held))
                if self.delivery == Delivery::InTime =>
            {
                Some(self.due_of(held))
            }
            // What is left over from a full batch.
            (Phase::Showing { .. }, Front::Packet(_)) => Some(self.stream),
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
pub(super) fn span(ticks: u32) -> Duration {
    Duration::from_nanos(u64::from(ticks) * 100_000 / 9)
}
