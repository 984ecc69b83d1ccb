//! Whether anybody wants a channel: readers that are connected, and playlists that are asked for again and again.

use std::time::Duration;

use protocols::time::Time;

/// How long a channel stays after its last reader: a zap back is quick, and within 2 s it is released.
pub const LINGER: Duration = Duration::from_millis(1_200);
/// How long it stays after a playlist, a segment or a part of it was asked for: players ask at least once a target duration.
pub const PLAYLIST_STAY: Duration = Duration::from_secs(12);

/// Who wants one channel.
#[derive(Debug, Clone, Copy)]
pub struct Tenancy {
    readers: u32,
    /// Wanted until then, whoever reads.
    until: Time,
    playlists_until: Option<Time>,
}

impl Tenancy {
    /// Nobody yet: it stays for a linger, in which somebody comes.
    pub fn new(now: Time) -> Self {
        Self { readers: 0, until: now + LINGER, playlists_until: None }
    }

    /// A reader is connected.
    pub fn enter(&mut self) {
        self.readers = self.readers.saturating_add(1);
    }

    /// A reader is gone.
    pub fn leave(&mut self, now: Time) {
        self.readers = self.readers.saturating_sub(1);
        self.until = self.until.max(now + LINGER);
    }

    /// A playlist, or what it names, is asked for.
    pub fn ask(&mut self, now: Time) {
        self.playlists_until = Some(now + PLAYLIST_STAY);
    }

    /// Readers connected.
    pub fn readers(&self) -> u32 {
        self.readers
    }

    /// Whether segments are wanted.
    pub fn wants_segments(&self, now: Time) -> bool {
        self.playlists_until.is_some_and(|until| now < until)
    }

    /// Whether nobody wants it any more.
    pub fn is_over(&self, now: Time) -> bool {
        self.readers == 0 && now >= self.until && !self.wants_segments(now)
    }

    /// When to look again; `None` while readers are connected.
    pub fn deadline(&self) -> Option<Time> {
        if self.readers > 0 {
            return None;
        }
        Some(self.playlists_until.map_or(self.until, |until| until.max(self.until)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_ms(ms)
    }

    #[test]
    fn a_channel_is_released_within_two_seconds_after_its_last_reader() {
        let mut tenancy = Tenancy::new(at(0));
        tenancy.enter();
        tenancy.enter();
        tenancy.leave(at(5_000));
        assert!(!tenancy.is_over(at(60_000)) && tenancy.deadline().is_none());
        tenancy.leave(at(60_000));
        assert!(!tenancy.is_over(at(61_000)), "a zap back finds it running");
        assert!(tenancy.is_over(at(62_000)));
        assert_eq!(tenancy.deadline(), Some(at(61_200)));
    }

    #[test]
    fn a_channel_is_kept_while_its_playlist_is_asked_for() {
        let mut tenancy = Tenancy::new(at(0));
        (0..10).for_each(|n| tenancy.ask(at(n * 4_000)));
        assert!(tenancy.wants_segments(at(40_000)) && !tenancy.is_over(at(40_000)));
        assert!(tenancy.is_over(at(48_000)));
    }
}
