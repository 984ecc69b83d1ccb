//! The timers of a multicast router, by their names in RFC 3376 §8 and RFC 3810 §9, which agree.

use std::time::Duration;

/// What all timers follow from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How many packets in a row may be lost, plus one: 2 to 7.
    pub robustness: u32,
    /// Time between two general queries of the querier.
    pub query_interval: Duration,
    /// Time that hosts have to answer a general query; shorter than the interval.
    pub query_response_interval: Duration,
    /// Time that hosts have to answer a query about one group.
    pub last_member_query_interval: Duration,
}

/// Shortest query interval that may be asked for: for tests and small LANs.
pub const MIN_QUERY_INTERVAL: Duration = Duration::from_secs(2);
/// Longest: what the standards' one-byte codes can say is longer.
pub const MAX_QUERY_INTERVAL: Duration = Duration::from_hours(1);

impl Default for Timing {
    fn default() -> Self {
        Self {
            robustness: 2,
            query_interval: Duration::from_secs(125),
            query_response_interval: Duration::from_secs(10),
            last_member_query_interval: Duration::from_secs(1),
        }
    }
}

impl Timing {
    /// The standards' timing with another interval between queries, which hosts have at most half of to answer.
    #[must_use]
    pub fn with_query_interval(interval: Duration) -> Self {
        let query_interval = interval.clamp(MIN_QUERY_INTERVAL, MAX_QUERY_INTERVAL);
        let usual = Self::default();
        let query_response_interval = usual.query_response_interval.min(query_interval / 2);
        Self { query_interval, query_response_interval, ..usual }
    }

    /// Group Membership Interval, or Multicast Address Listening Interval: without a report for so long, nobody is there.
    pub fn group_membership_interval(&self) -> Duration {
        self.robustness * self.query_interval + self.query_response_interval
    }

    /// Without a query of the querier for so long, there is none.
    pub fn other_querier_present_interval(&self) -> Duration {
        self.robustness * self.query_interval + self.query_response_interval / 2
    }

    /// A report of an older version makes hosts of that version present for so long.
    pub fn older_host_present_interval(&self) -> Duration {
        self.group_membership_interval()
    }

    /// Time between the first general queries.
    pub fn startup_query_interval(&self) -> Duration {
        self.query_interval / 4
    }

    /// How many those are; also how many queries about a group follow a leave.
    pub fn query_count(&self) -> u32 {
        self.robustness
    }

    /// After a leave, who does not answer within this is gone.
    pub fn last_member_query_time(&self) -> Duration {
        self.last_member_query_interval * self.query_count()
    }
}
