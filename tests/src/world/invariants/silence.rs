//! Nobody is sent what nobody watches: a packet leaves for a (channel, destination) only while genuine interest that
//! reached this very life of the push server is at most [`INTEREST_TIMEOUT`] old (design §2.2).

use std::time::Duration;

use protocols::p4_control::INTEREST_TIMEOUT;
use protocols::time::Time;

use crate::world::Dimensions;

/// Name of the rule.
pub const RULE: &str = "nobody is sent what nobody watches";
/// What pacing may hold back of the packets that came while interest held.
const MARGIN: Duration = Duration::from_millis(50);

/// When genuine interest last reached each (host, channel, network).
#[derive(Debug)]
pub struct Silence {
    size: Dimensions,
    last: Vec<Option<Time>>,
}

impl Silence {
    /// Nobody watches.
    pub fn new(size: Dimensions) -> Self {
        Self { size, last: vec![None; size.hosts * size.channels * size.lans] }
    }

    /// A genuine interest reached `host`.
    pub fn interest(&mut self, now: Time, host: usize, channel: usize, lan: usize) {
        let slot = self.slot(host, channel, lan);
        self.last[slot] = Some(now);
    }

    /// `host` was started: it has heard nothing yet.
    pub fn started(&mut self, host: usize) {
        let each = self.size.channels * self.size.lans;
        self.last[host * each..(host + 1) * each].fill(None);
    }

    /// `host` sends a packet.
    pub fn sent(&mut self, now: Time, host: usize, channel: usize, lan: usize) -> Result<(), String> {
        match self.last[self.slot(host, channel, lan)] {
            None => {
                Err(format!("host {host} sends channel {channel} to LAN {lan}, where nobody asked for it"))
            }
            Some(last) if now.since(last) > INTEREST_TIMEOUT + MARGIN => Err(format!(
                "host {host} sends channel {channel} to LAN {lan} {:?} after the last interest",
                now.since(last)
            )),
            Some(_) => Ok(()),
        }
    }

    fn slot(&self, host: usize, channel: usize, lan: usize) -> usize {
        (host * self.size.channels + channel) * self.size.lans + lan
    }
}
