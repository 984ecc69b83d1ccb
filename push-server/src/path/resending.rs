//! Packets of the ring once more, to those who missed them.

use protocols::p4_control::Missing;
use protocols::time::Time;

use super::{ChannelPath, Header};
use crate::lane::Lane;
use crate::repair::{Answer, Asker, Counters, Refusal};
use crate::search;

/// Packets that one asker misses of what a target is sent.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// On whose behalf.
    pub asker: Asker,
    /// Index of the target in the plan.
    pub target: usize,
    /// Synchronisation source of the packets.
    pub ssrc: u32,
    /// Their numbers.
    pub missing: &'a [Missing],
}

impl ChannelPath {
    /// Hands those packets that are `wanted`, still here and within the budgets to `send`, which answers whether the
    /// operating system took them. A channel or target that is not sent to now is not repaired either: a repair wakes nothing.
    /// A viewer with a live session is sent to, and is answered by P5 alone: P6 may not reach it.
    pub fn repair(&mut self, now: Time, wanted: &Wanted<'_>, send: &mut impl FnMut(Answer, &[u8]) -> bool) {
        let mut left = packets(wanted.missing);
        let live = match wanted.asker {
            Asker::Viewer { address, .. } if self.streams_to(address) => Some(address.ip()),
            _ => None,
        };
        let sent_to = |lane: &&Lane| (lane.sending || live.is_some()) && !self.shed && !self.held;
        let lane = self.lanes.get(wanted.target).filter(sent_to);
        let (Some(target), Some(_)) = (self.plan.targets.get(wanted.target), lane) else {
            self.repairs.counters_mut().not_sending += left;
            return;
        };
        if self.newest.is_none_or(|newest| newest.ssrc != wanted.ssrc) {
            self.repairs.counters_mut().other_stream += left;
            return;
        }
        let (ring, spacing) = (&self.ring, self.pacer.own_spacing());
        // Packets of the past go to viewers alone: no destination has had them.
        let (begins, from) = match wanted.asker {
            Asker::Viewer { .. } => (self.begins, self.mends_from),
            Asker::Strangers => (self.begins, self.begins),
        };
        let positions = ring.oldest().max(from)..self.released;
        let sequence_at = |position| {
            let header = ring.packet(position).and_then(Header::of);
            header.filter(|header| header.ssrc == wanted.ssrc).map(|header| header.stamp.sequence)
        };
        for sequence in wanted.missing.iter().flat_map(|entry| entry.sequences()) {
            left -= 1;
            let found = search::find(positions.clone(), sequence, sequence_at);
            let Some((position, packet)) = found.and_then(|at| Some((at, ring.packet(at)?))) else {
                self.repairs.counters_mut().gone += 1;
                continue;
            };
            let network = live.unwrap_or(target.address);
            let decided = self.repairs.decide(now, wanted.asker, network, position, spacing);
            let decided = decided.map(|answer| match wanted.asker {
                Asker::Viewer { address, .. } if position < begins => Answer::Stream(address),
                _ => answer,
            });
            match decided {
                Ok(answer) if send(answer, packet) => {}
                Ok(_) => self.repairs.counters_mut().refused += 1,
                Err(Refusal::TooSoon | Refusal::Covered) => {}
                // What is used up is used up for the rest too, which is not looked at: a flood costs little.
                Err(Refusal::AskerBudget) => {
                    self.repairs.counters_mut().over_asker_budget += left;
                    return;
                }
                Err(Refusal::ChannelBudget) => {
                    self.repairs.counters_mut().over_channel_budget += left;
                    return;
                }
            }
        }
    }

    /// `missing` was asked for by somebody on no network that is served.
    pub fn nobodys_network(&mut self, missing: &[Missing]) {
        self.repairs.counters_mut().nobodys_network += packets(missing);
    }

    /// What became of the packets that were asked for again.
    pub fn repairs(&self) -> Counters {
        self.repairs.counters()
    }
}

/// How many packets are named.
fn packets(missing: &[Missing]) -> u64 {
    missing.iter().map(|entry| 1 + u64::from(entry.following.count_ones())).sum()
}
