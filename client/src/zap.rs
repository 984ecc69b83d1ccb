//! How long a zap takes: from the key to the first whole random access picture that is handed to the output.

use std::time::Duration;

use media::RtpPacket;
use media::random_access::{Place, RandomAccessFinder};
use protocols::time::Time;

/// The clock of one zap. It costs nothing once the picture has come.
#[derive(Debug)]
pub struct ZapClock {
    since: Time,
    finder: Option<Box<RandomAccessFinder>>,
    took: Option<Duration>,
}

impl ZapClock {
    /// The key was pressed at `since`.
    pub fn new(since: Time) -> Self {
        Self { since, finder: Some(Box::new(RandomAccessFinder::new(None))), took: None }
    }

    /// A packet is handed on; numbers left out are packets lost.
    pub fn packet(&mut self, now: Time, number: u64, packet: &RtpPacket) {
        let Some(finder) = &mut self.finder else { return };
        let at = Place { number, timestamp_90k: packet.header().timestamp_90k };
        if finder.push(at, packet.payload()).whole.is_some() {
            self.finder = None;
            self.took = Some(now.since(self.since));
        }
    }

    /// How long it took, once it is known; told once.
    pub fn take(&mut self) -> Option<Duration> {
        self.took.take()
    }
}
