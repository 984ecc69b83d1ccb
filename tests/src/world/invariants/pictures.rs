//! Convergence: when all trouble has been over for [`SETTLE`], every viewer that wants a channel which its network can
//! have gets it, without anybody's help (design §2.5).

use std::time::Duration;

use protocols::time::Time;

use crate::world::Dimensions;

/// Name of the rule.
pub const RULE: &str = "calm brings pictures to everybody";
/// How long after the end of all trouble everybody has pictures: the longest backoff (5 s) twice, once for each of two
/// links that wait for each other, and the time to register, configure and tune.
pub const SETTLE: Duration = Duration::from_secs(15);
/// A viewer without a packet for this long has no picture.
const FROZEN: Duration = Duration::from_secs(1);

/// When each viewer last got a packet.
#[derive(Debug)]
pub struct Pictures {
    last: Vec<Option<Time>>,
    /// Since when each viewer has wanted the channel that it wants.
    wanted: Vec<Option<Time>>,
}

impl Pictures {
    /// Nobody has pictures.
    pub fn new(size: Dimensions) -> Self {
        Self { last: vec![None; size.viewers], wanted: vec![None; size.viewers] }
    }

    /// `viewer` wants a channel that it can have from `since` on, or nothing (any more).
    pub fn wants(&mut self, viewer: usize, since: Option<Time>) {
        self.wanted[viewer] = since;
        self.last[viewer] = None;
    }

    /// `viewer` got a packet.
    pub fn delivered(&mut self, now: Time, viewer: usize) {
        self.last[viewer] = Some(now);
    }

    /// When `viewer` last got a packet of the channel that it wants.
    pub fn last(&self, viewer: usize) -> Option<Time> {
        self.last[viewer]
    }

    /// Since when `viewer` has wanted what it wants.
    pub fn wanted(&self, viewer: usize) -> Option<Time> {
        self.wanted[viewer]
    }

    /// Checks all viewers at `now`; nothing has been broken since `calm`. `can_have`: whether a viewer's channel can be
    /// had at its network at all.
    pub fn check(&self, now: Time, calm: Time, can_have: impl Fn(usize) -> bool) -> Result<(), String> {
        for (viewer, wanted) in self.wanted.iter().enumerate() {
            let Some(wanted) = *wanted else { continue };
            let waited = now.since(calm.max(wanted));
            let frozen = self.last[viewer].is_none_or(|last| now.since(last) > FROZEN);
            if waited >= SETTLE && frozen && can_have(viewer) {
                let last = self.last[viewer];
                return Err(format!(
                    "viewer {viewer} has had no picture since {last:?}, all has been calm for {waited:?}"
                ));
            }
        }
        Ok(())
    }
}
