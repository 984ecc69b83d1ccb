//! What was lost on the way is asked for again, by the session's numbers, while it can be shown.

use std::collections::BTreeMap;
use std::time::Duration;

use protocols::p4_control::{MAX_MISSING_PER_PLAY_REPAIR, MissingNumbers, PlayRepair};
use protocols::time::Time;

use super::{Output, Phase, Playback};

/// A gap may be a reordering for so long.
const REORDER_GRACE: Duration = Duration::from_millis(10);
/// Gaps are looked for this often while there are any.
const LOOK: Duration = Duration::from_millis(10);
/// Asked for again after 1.25 round trips, and not before this.
const REPEAT_MIN: Duration = Duration::from_millis(20);
/// Round-trip time while none is known.
const RTT_GUESS: Duration = Duration::from_millis(100);
/// Packets that are asked for at a time; of more, the first.
const MISSING_MAX: usize = MAX_MISSING_PER_PLAY_REPAIR * 17;

/// What is missing, and when it was asked for.
#[derive(Debug, Default)]
pub(super) struct Mender {
    /// By index: when it may be asked for next.
    gaps: BTreeMap<u64, Time>,
    look: Time,
}

impl Mender {
    /// When to look again; `None` while nothing is missing.
    pub(super) fn deadline(&self) -> Option<Time> {
        (!self.gaps.is_empty()).then_some(self.look)
    }
}

impl Playback {
    /// Asks for what is missing and due.
    pub(super) fn mend(&mut self, now: Time, outputs: &mut Vec<Output>) {
        if matches!(self.phase, Phase::Finding | Phase::Ended) || self.round.is_some() || self.is_live() {
            self.mender.gaps.clear();
            return;
        }
        // What the push server said that it had sent counts too: the last packets have none behind them.
        let end = self.anchor.map_or(0, |(index, ..)| index).max(self.buffer.end());
        let complete = !self.buffer.has_gaps() && end == self.buffer.end();
        if complete || now < self.mender.look {
            if complete {
                self.mender.gaps.clear();
            }
            return;
        }
        self.mender.look = now + LOOK;
        let before = std::mem::take(&mut self.mender.gaps);
        let again = now + (self.desk.rtt().unwrap_or(RTT_GUESS) * 5 / 4).max(REPEAT_MIN);
        let mut due = Vec::new();
        for index in self.buffer.missing(end).take(MISSING_MAX) {
            let mut at = before.get(&index).copied().unwrap_or(now + REORDER_GRACE);
            if at <= now {
                due.push(self.buffer.number(index));
                at = again;
            }
            self.mender.gaps.insert(index, at);
        }
        self.counters.asked_again += due.len() as u64;
        let rtt = self.desk.rtt().unwrap_or_default();
        for missing in MissingNumbers::cover(due).chunks(MAX_MISSING_PER_PLAY_REPAIR) {
            let request = PlayRepair {
                lease: self.config.lease,
                time: self.clock.at(now),
                session: self.session,
                rtt_us: u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX),
                missing: missing.to_vec(),
            };
            outputs.push(Output::Missing { to: self.config.servers[self.server], request });
        }
    }
}
