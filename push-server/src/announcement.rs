//! When held interest is announced: every [`ANNOUNCE_INTERVAL`], and at once when it was renewed late, so that the
//! clients whose suppression timers run hear it before they speak up too; never closer than [`ANNOUNCE_SPACING`].

use std::time::Duration;

use protocols::p6_broadcast::{ANNOUNCE_INTERVAL, ANNOUNCE_SPACING};
use protocols::time::{ClusterTime, Time};

/// Announcements are due at multiples of this, so that those of many destinations are made together.
pub const ANNOUNCE_GRID: Duration = Duration::from_millis(125);

/// The announcements of one (channel, destination) while it is sent to.
#[derive(Debug, Clone, Copy, Default)]
pub struct AnnouncementSchedule {
    due: Time,
    last: Option<Time>,
    dated: ClusterTime,
}

impl AnnouncementSchedule {
    /// An announcement is wanted at once.
    pub fn hasten(&mut self, now: Time) {
        let allowed = self.last.map_or(now, |last| (last + ANNOUNCE_SPACING).max(now));
        self.due = self.due.min(allowed);
    }

    /// Sending begins: the first announcement is due at once, but for the spacing.
    pub fn start(&mut self, now: Time) {
        self.due = self.last.map_or(now, |last| (last + ANNOUNCE_SPACING).max(now));
    }

    /// When the next one is due.
    pub fn due(&self) -> Time {
        self.due
    }

    /// One is being sent now, at cluster time `clock`: the date that it must bear. Dates grow strictly, since clients
    /// take others for replays, even where the database server's clock was set back.
    pub fn announce(&mut self, now: Time, clock: ClusterTime) -> ClusterTime {
        self.last = Some(now);
        self.due = (now + ANNOUNCE_INTERVAL).floor(ANNOUNCE_GRID);
        self.dated = clock.max(ClusterTime(self.dated.0.saturating_add(1)));
        self.dated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements_keep_their_spacing_when_hastened() {
        let mut schedule = AnnouncementSchedule::default();
        schedule.start(Time::from_ms(1_000));
        assert_eq!(schedule.due(), Time::from_ms(1_000));
        let _ = schedule.announce(Time::from_ms(1_000), ClusterTime(5));
        assert_eq!(schedule.due(), Time::from_ms(1_250));
        schedule.hasten(Time::from_ms(1_005));
        assert_eq!(schedule.due(), Time::from_ms(1_020));
        schedule.hasten(Time::from_ms(1_015));
        assert_eq!(schedule.due(), Time::from_ms(1_020));
    }

    #[test]
    fn dates_grow_though_the_clock_is_set_back() {
        let mut schedule = AnnouncementSchedule::default();
        assert_eq!(schedule.announce(Time::from_ms(1), ClusterTime(900)), ClusterTime(900));
        assert_eq!(schedule.announce(Time::from_ms(2), ClusterTime(100)), ClusterTime(901));
        assert_eq!(schedule.announce(Time::from_ms(3), ClusterTime(950)), ClusterTime(950));
    }
}
