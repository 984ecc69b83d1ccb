//! One push server sends a channel to a network. Two may for as long as something keeps the database server from
//! telling the old one, and [`GRACE`] after (algorithms §1, C4).
//!
//! A host that was taken out of the topology while the database server was away is told nothing by a database server
//! that knows no such host any more: it ends when its viewers' interest does, since they have been sent elsewhere.
//!
//! Two send when packets of both take turns; a hand-over, where one ends and another begins, is none.

use std::time::Duration;

use protocols::p4_control::INTEREST_TIMEOUT;
use protocols::time::Time;

use crate::world::Dimensions;

/// Name of the rule.
pub const RULE: &str = "one push server sends";
/// How long two may still send after the trouble is over: C4's second, and a margin of 250 ms (one query interval) for
/// the network.
pub const GRACE: Duration = Duration::from_millis(1_250);
/// Packets of two senders that lie further apart do not take turns.
const TURN: Duration = Duration::from_millis(400);

#[derive(Debug, Clone, Copy, Default)]
struct Air {
    /// Who sent last, and when.
    last: Option<(usize, Time)>,
    /// Who sent last before that other than `last`, and when its last packet left.
    other: Option<(usize, Time)>,
}

/// Who sends what where.
#[derive(Debug)]
pub struct OneSender {
    lans: usize,
    air: Vec<Air>,
    /// By host: whether the topology declares it.
    declared: Vec<bool>,
    calm_since: Option<Time>,
    /// How long after the end of trouble two senders were last seen, at most.
    worst: Duration,
    turns: u64,
}

impl OneSender {
    /// Nobody sends.
    pub fn new(size: Dimensions) -> Self {
        let air = vec![Air::default(); size.channels * size.lans];
        Self {
            lans: size.lans,
            air,
            declared: vec![true; size.hosts],
            calm_since: None,
            worst: Duration::ZERO,
            turns: 0,
        }
    }

    /// Nothing is broken from `since` on; `None`: something is.
    pub fn calm(&mut self, since: Option<Time>) {
        self.calm_since = since;
    }

    /// The topology declares `host`, or does not.
    pub fn declare(&mut self, host: usize, declared: bool) {
        self.declared[host] = declared;
    }

    /// How long after the end of trouble two senders were seen at most.
    pub fn worst(&self) -> Duration {
        self.worst
    }

    /// Packets that were sent in turn with another's.
    pub fn turns(&self) -> u64 {
        self.turns
    }

    /// Who sent last, and when.
    pub fn last(&self, channel: usize, lan: usize) -> Option<(usize, Time)> {
        self.air[channel * self.lans + lan].last
    }

    /// `host` sends a packet.
    pub fn sent(&mut self, now: Time, host: usize, channel: usize, lan: usize) -> Result<(), String> {
        let air = &mut self.air[channel * self.lans + lan];
        let before = *air;
        if let Some((last, at)) = before.last
            && last != host
        {
            air.other = Some((last, at));
        }
        air.last = Some((host, now));
        let Some(((last, last_at), (other, other_at))) = before.last.zip(before.other) else { return Ok(()) };
        // A's packet, then B's, now A's again: both are sending.
        let both = last != host && other == host && now.since(other_at) < TURN && now.since(last_at) < TURN;
        if !both {
            return Ok(());
        }
        self.turns += 1;
        let Some(calm) = self.calm_since else { return Ok(()) };
        let overtime = now.since(calm);
        let allowed =
            if self.declared[host] && self.declared[last] { GRACE } else { INTEREST_TIMEOUT + GRACE };
        self.worst = self.worst.max(overtime);
        if overtime > allowed {
            return Err(format!(
                "hosts {host} and {last} both send channel {channel} to LAN {lan} {overtime:?} after all trouble ended"
            ));
        }
        Ok(())
    }
}
