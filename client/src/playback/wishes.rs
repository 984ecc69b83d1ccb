//! What the viewer wants, turned into orders.

use protocols::p4_control::{PlayOrder, PlayState};
use protocols::time::{ClusterTime, Time};

use super::{EDGE_BACK, Output, Phase, Playback, Wish, millis};

impl Playback {
    pub(super) fn wish(&mut self, now: Time, wish: Wish, outputs: &mut Vec<Output>) {
        let live = self.is_live();
        match wish {
            Wish::Pause => {
                self.paused = true;
                self.leave_air(now, outputs);
                if self.trick {
                    self.move_by(PlayOrder::Resume, false);
                }
            }
            Wish::Resume => {
                self.paused = false;
                if self.trick {
                    self.move_by(PlayOrder::Resume, false);
                } else if let Phase::Showing { .. } = self.phase {
                    self.phase = Phase::Filling;
                }
            }
            Wish::Live if live => self.paused = false,
            Wish::Live => {
                let edge = ClusterTime(self.clock.at(now).0.saturating_sub(millis(EDGE_BACK)));
                self.paused = false;
                self.seek(now, edge.min(self.config.until).max(self.config.lease.from), outputs);
            }
            Wish::Seek(at) => self.seek(now, at, outputs),
            Wish::Trick(speed) => {
                self.paused = false;
                self.start = self.place();
                if live {
                    // The packet that is shown may not be on any disk yet.
                    self.start = ClusterTime(self.start.0.saturating_sub(millis(EDGE_BACK)));
                    self.start_over(now, outputs);
                }
                self.held_back = false;
                self.move_by(PlayOrder::Trick { speed }, true);
            }
            Wish::Stop => self.end(now, None, outputs),
        }
    }

    fn seek(&mut self, now: Time, at: ClusterTime, outputs: &mut Vec<Output>) {
        self.start = at;
        if self.is_live() {
            return self.start_over(now, outputs);
        }
        self.move_by(PlayOrder::Seek { at }, false);
        // A session that the flow law has paused stays so by itself.
        if std::mem::take(&mut self.held_back) {
            self.desk.put(PlayOrder::Resume);
        }
    }

    /// From what is on air to a session that begins at the date sought.
    fn start_over(&mut self, now: Time, outputs: &mut Vec<Output>) {
        self.buffer.clear();
        (self.anchor, self.shown) = (None, None);
        self.leave_air(now, outputs);
    }

    /// Leaves what is in the buffer for where `order` goes.
    pub(super) fn move_by(&mut self, order: PlayOrder, trick: bool) {
        self.buffer.clear();
        (self.anchor, self.shown) = (None, None);
        self.trick = trick;
        self.phase = Phase::Finding;
        self.awaited = order;
        self.desk.put(order);
    }

    /// There are no further pictures that way: from the live edge on the push server goes on by itself; back at the beginning it has
    /// paused, and is told to.
    pub(super) fn end_pictures(&mut self, state: PlayState) {
        if state == PlayState::Paused {
            self.move_by(PlayOrder::Resume, false);
            return;
        }
        self.trick = false;
        self.phase = Phase::Filling;
        self.flow.restart();
    }
}
