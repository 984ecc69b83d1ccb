//! When held interest is announced: every [`ANNOUNCE_INTERVAL`], and at once when it was renewed late, so that the
//! clients whose suppression timers run hear it before they speak up too; never closer than [`ANNOUNCE_SPACING`].
//!
//! To wake for each of many destinations would cost more than to announce them. So an announcement that is due goes
//! along, a little early or late, when the host answers the database server's query or is awake for another announcement.

use std::time::Duration;

use protocols::p6_broadcast::{ANNOUNCE_INTERVAL, ANNOUNCE_SPACING};
use protocols::time::{ClusterTime, Time};

/// An announcement may go along with others this much before it is due.
pub const ALONG_BEFORE: Duration = Duration::from_millis(100);
/// An announcement waits this long for others to go along with.
pub const ALONG_AFTER: Duration = Duration::from_millis(60);

/// The announcements of one (channel, destination) while it is sent to.
#[derive(Debug, Clone, Copy, Default)]
pub struct AnnouncementSchedule {
    due: Time,
    /// When it is sent at the latest.
    latest: Time,
    last: Option<Time>,
    dated: ClusterTime,
}

impl AnnouncementSchedule {
    /// An announcement is wanted at once.
    pub fn hasten(&mut self, now: Time) {
        let allowed = self.last.map_or(now, |last| (last + ANNOUNCE_SPACING).max(now));
        self.due = self.due.min(allowed);
        self.latest = self.due;
    }

    /// Sending begins: the first announcement is due at once, but for the spacing.
    pub fn start(&mut self, now: Time) {
        self.due = self.last.map_or(now, |last| (last + ANNOUNCE_SPACING).max(now));
        self.latest = self.due;
    }

    /// When the next one is sent at the latest.
    pub fn latest(&self) -> Time {
        self.latest
    }

    /// Whether the next one may go along with others at `now`.
    pub fn goes_along(&self, now: Time) -> bool {
        now + ALONG_BEFORE >= self.due
    }

    /// One is being sent now, at cluster time `clock`: the date that it must bear. Dates grow strictly, since clients
    /// take others for replays, even where the database server's clock was set back.
    pub fn announce(&mut self, now: Time, clock: ClusterTime) -> ClusterTime {
        self.last = Some(now);
        self.due = now + ANNOUNCE_INTERVAL;
        self.latest = self.due + ALONG_AFTER;
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
        assert_eq!(schedule.latest(), Time::from_ms(1_000));
        let _ = schedule.announce(Time::from_ms(1_000), ClusterTime(5));
        assert_eq!(schedule.latest(), Time::from_ms(1_310));
        schedule.hasten(Time::from_ms(1_005));
        assert_eq!(schedule.latest(), Time::from_ms(1_020));
        schedule.hasten(Time::from_ms(1_015));
        assert_eq!(schedule.latest(), Time::from_ms(1_020));
    }

    #[test]
    fn an_announcement_goes_along_from_a_little_before_it_is_due() {
        let mut schedule = AnnouncementSchedule::default();
        let _ = schedule.announce(Time::from_ms(1_000), ClusterTime(5));
        assert!(!schedule.goes_along(Time::from_ms(1_149)));
        assert!(schedule.goes_along(Time::from_ms(1_150)));
    }

    #[test]
    fn dates_grow_though_the_clock_is_set_back() {
        let mut schedule = AnnouncementSchedule::default();
        assert_eq!(schedule.announce(Time::from_ms(1), ClusterTime(900)), ClusterTime(900));
        assert_eq!(schedule.announce(Time::from_ms(2), ClusterTime(100)), ClusterTime(901));
        assert_eq!(schedule.announce(Time::from_ms(3), ClusterTime(950)), ClusterTime(950));
    }
}
