//! Where a channel's packets are copied for the recorder: behind its ring, when they have been sent.

use protocols::time::Time;

use super::intake::Intake;
use crate::path::ChannelPath;

/// Copies what has come into a channel's ring since the last turn.
#[derive(Debug)]
pub(crate) struct Tap {
    intake: Intake,
    /// Position of the packet to be copied next.
    next: u64,
}

impl Tap {
    /// Copies what comes from now on.
    pub(crate) fn new(intake: Intake, path: &ChannelPath) -> Self {
        Self { intake, next: path.positions().end }
    }

    /// Copies what has come; what comes later of the past is waited for. Packets without number or date, such as those
    /// before the first mark of a feed, are left out.
    pub(crate) fn turn(&mut self, now: Time, path: &ChannelPath) {
        let there = path.positions();
        let until = path.whole_until().max(self.next);
        for position in self.next.max(there.start)..until {
            let dated = path.packet(position).zip(path.number(position)).zip(path.date(position));
            match dated {
                Some(((packet, number), date)) => self.intake.take(now, packet, number, date.0),
                None => self.intake.undated(),
            }
        }
        self.next = until;
        self.intake.turn(now);
    }
}
