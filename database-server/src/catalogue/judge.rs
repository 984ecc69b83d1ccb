//! How safe a stretch of a recording is.

use std::time::Duration;

use protocols::p2_directory::{ProgrammeEntry, RangeState};
use protocols::recording::Span;
use protocols::time::ClusterTime;
use protocols::topology::PushHost;

use super::EDGE;
use super::held::Held;
use super::programmes::{self, millis};
use crate::record::Programme;

/// Tells how safe a stretch of one channel is.
pub(super) struct Judge {
    recorders: usize,
    time: ClusterTime,
    /// What is older than this is deleted by some host, unless it is protected.
    oldest: ClusterTime,
    /// What is newer than this may still be completed by the others.
    newest: ClusterTime,
    protected: Vec<Span>,
}

impl Judge {
    pub(super) fn new(recorders: &[&PushHost], protected: Vec<Span>, time: ClusterTime) -> Self {
        let before = |span: Duration| ClusterTime(time.0.saturating_sub(millis(span)));
        let keep = recorders.iter().filter_map(|host| host.record).map(|record| record.keep).min();
        let oldest = keep.map_or(ClusterTime(0), before);
        Self { recorders: recorders.len(), time, oldest, newest: before(EDGE), protected }
    }

    pub(super) fn entry(&self, programme: &Programme, held: &[Held]) -> ProgrammeEntry {
        let stretches = held.iter().map(|held| (held, self.state(held)));
        programmes::entry(programme, stretches, self.recorders, self.time)
    }

    pub(super) fn state(&self, held: &Held) -> RangeState {
        let protected = || self.protected.iter().any(|span| !span.overlap(held.span).is_empty());
        if held.differs {
            RangeState::Differs
        } else if held.holders.len() >= self.recorders {
            RangeState::Kept
        } else if held.span.from >= self.newest {
            RangeState::Fresh
        } else if held.span.to <= self.oldest + EDGE && !protected() {
            RangeState::Ending
        } else {
            RangeState::Thin
        }
    }
}
