//! Which announcements count: genuine, of the tuned channel, later than the one before from the same host, and not of the
//! push server that was just moved away from.

use std::collections::BTreeMap;
use std::time::Duration;

use protocols::authority::{CLOCK_TOLERANCE, MacKey};
use protocols::ids::{BootId, ChannelId};
use protocols::p6_broadcast::Announcement;
use protocols::time::{ClusterTime, Time};

/// Boot ids whose last announcement is remembered; when one more comes, the one heard longest ago is forgotten. A
/// replay of that one is then caught by its date.
pub const BOOT_IDS_MAX: usize = 8;
/// After a move the push server that announced last does not count for this long: it may go on until the new one sends, and
/// interest that it holds is none at the new one.
pub const MOVED_FROM_FOR: Duration = Duration::from_secs(4);

/// Why announcements were ignored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Announcements that counted.
    pub heard: u64,
    /// RTCP packets that are no announcement, or not tagged with the channel's key.
    pub bad_tags: u64,
    /// Genuine ones of another channel.
    pub wrong_channel: u64,
    /// Genuine ones, not later than the one before of the same boot id, or dated long before the cluster's time.
    pub replays: u64,
    /// Genuine ones of the push server that was just moved away from.
    pub outgoing: u64,
}

/// The filter of one tuned channel.
#[derive(Debug, Clone, Default)]
pub struct AnnouncementFilter {
    last: BTreeMap<BootId, ClusterTime>,
    /// Who announced last.
    latest: Option<BootId>,
    /// Who was moved away from, and until when that matters.
    moved_from: Option<(BootId, Time)>,
    counters: Counters,
}

impl AnnouncementFilter {
    /// For how long interest holds, when `datagram` is an announcement of `channel` that counts. `clock` is the cluster's
    /// time, if it is known.
    pub fn open(
        &mut self,
        now: Time,
        datagram: &[u8],
        channel: ChannelId,
        key: &MacKey,
        clock: Option<ClusterTime>,
    ) -> Option<Duration> {
        let Some(announcement) = Announcement::open(datagram, key) else {
            self.counters.bad_tags += 1;
            return None;
        };
        if announcement.channel != channel {
            self.counters.wrong_channel += 1;
            return None;
        }
        // Only the past can be replayed. A date ahead of the clock is what a push server says whose database server's
        // clock was set back: its dates grow all the same.
        let dated_off = clock.is_some_and(|clock| clock.since(announcement.time) > CLOCK_TOLERANCE);
        let last = self.last.get(&announcement.boot_id);
        if dated_off || last.is_some_and(|last| announcement.time <= *last) {
            self.counters.replays += 1;
            return None;
        }
        self.remember(announcement.boot_id, announcement.time);
        if self.moved_from.is_some_and(|(old, until)| old == announcement.boot_id && now < until) {
            self.counters.outgoing += 1;
            return None;
        }
        self.latest = Some(announcement.boot_id);
        self.counters.heard += 1;
        Some(announcement.held_for)
    }

    /// What it did so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Another push server serves the channel from now on.
    pub fn moved(&mut self, now: Time) {
        self.moved_from = self.latest.map(|old| (old, now + MOVED_FROM_FOR));
    }

    /// Another channel is tuned: forgets the hosts, keeps the counts.
    pub fn forget_hosts(&mut self) {
        self.last.clear();
        self.latest = None;
        self.moved_from = None;
    }

    fn remember(&mut self, boot_id: BootId, time: ClusterTime) {
        if self.last.len() >= BOOT_IDS_MAX
            && !self.last.contains_key(&boot_id)
            && let Some(oldest) = self.last.iter().min_by_key(|(_, time)| **time).map(|(id, _)| *id)
        {
            self.last.remove(&oldest);
        }
        self.last.insert(boot_id, time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocols::authority::ClusterKey;

    const CHANNEL: ChannelId = ChannelId(1);

    fn key() -> MacKey {
        ClusterKey::new([7; 32]).announce_key(CHANNEL)
    }

    fn said(boot_id: u64, time: u64) -> Announcement {
        let held_for = Duration::from_secs(4);
        Announcement { channel: CHANNEL, held_for, boot_id: BootId(boot_id), time: ClusterTime(time) }
    }

    fn hears(filter: &mut AnnouncementFilter, announcement: Announcement, clock: u64) -> bool {
        let bytes = announcement.seal(&key());
        let now = Time::from_ms(clock);
        filter.open(now, &bytes, CHANNEL, &key(), Some(ClusterTime(clock))).is_some()
    }

    #[test]
    fn each_announcement_counts_once_and_only_in_order() {
        let mut filter = AnnouncementFilter::default();
        assert!(hears(&mut filter, said(1, 1_000), 1_000));
        assert!(!hears(&mut filter, said(1, 1_000), 1_010));
        assert!(!hears(&mut filter, said(1, 900), 1_010));
        assert!(hears(&mut filter, said(2, 900), 1_010), "another host has its own order");
        assert_eq!(filter.counters(), Counters { heard: 2, replays: 2, ..Counters::default() });
    }

    #[test]
    fn a_recording_of_a_host_that_is_gone_does_not_count() {
        let mut filter = AnnouncementFilter::default();
        assert!(!hears(&mut filter, said(1, 1_000), 11_001));
        assert_eq!(filter.counters().replays, 1);
        assert!(hears(&mut filter, said(1, 99_000), 11_001), "as after the cluster's clock was set back");
    }

    #[test]
    fn who_was_moved_away_from_does_not_count_for_four_seconds() {
        let mut filter = AnnouncementFilter::default();
        assert!(hears(&mut filter, said(1, 1_000), 1_000));
        filter.moved(Time::from_ms(1_000));
        assert!(!hears(&mut filter, said(1, 1_250), 1_250), "the old one goes on");
        assert!(hears(&mut filter, said(2, 1_300), 1_300), "the new one");
        assert!(!hears(&mut filter, said(1, 4_999), 4_999));
        assert_eq!(filter.counters(), Counters { heard: 2, outgoing: 2, ..Counters::default() });
        assert!(hears(&mut filter, said(1, 5_000), 5_000), "and if it were the new one all the same");
    }

    #[test]
    fn forged_and_foreign_ones_are_counted_apart() {
        let mut filter = AnnouncementFilter::default();
        let forged = said(1, 1).seal(&ClusterKey::new([8; 32]).announce_key(CHANNEL));
        assert_eq!(filter.open(Time::ZERO, &forged, CHANNEL, &key(), None), None);
        let foreign = Announcement { channel: ChannelId(2), ..said(1, 1) }.seal(&key());
        assert_eq!(filter.open(Time::ZERO, &foreign, CHANNEL, &key(), None), None);
        assert_eq!(filter.counters(), Counters { bad_tags: 1, wrong_channel: 1, ..Counters::default() });
    }

    #[test]
    fn no_more_hosts_are_remembered_than_the_limit() {
        let mut filter = AnnouncementFilter::default();
        for host in 0..100 {
            assert!(hears(&mut filter, said(host, 1_000 + host), 1_000));
        }
        assert_eq!(filter.last.len(), BOOT_IDS_MAX);
    }
}
