//! One channel of the plan: its input and its feeds, as the machine sees them.

use std::collections::BTreeMap;
use std::time::Duration;

use protocols::health::{HealthReport, SignalReport};
use protocols::ids::{ChannelId, HostId, InputId};
use protocols::p1_registration::{ChannelPlan, ChannelReport, InputState};

use crate::feed::Feed;
use crate::retry::Retry;

/// An input that is open but has stalled is opened anew this often: a multicast membership that the network forgot
/// is thus renewed. Until then it may come back by itself.
pub(crate) const STALLED_REOPEN: Duration = Duration::from_secs(5);

/// One channel.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) input: InputId,
    pub(crate) url: String,
    pub(crate) service: Option<u16>,
    pub(crate) state: InputState,
    pub(crate) retry: Retry,
    pub(crate) packets: u64,
    pub(crate) rate_bps: u64,
    pub(crate) health: HealthReport,
    pub(crate) signal: Option<SignalReport>,
    pub(crate) feeds: BTreeMap<HostId, Feed>,
}

impl Channel {
    /// A channel whose input is being opened and that has no feeds yet.
    pub(crate) fn new(plan: &ChannelPlan) -> Self {
        Self {
            input: plan.input.clone(),
            url: plan.url.clone(),
            service: plan.service,
            state: InputState::Starting,
            retry: Retry::default(),
            packets: 0,
            rate_bps: 0,
            health: HealthReport::default(),
            signal: None,
            feeds: BTreeMap::new(),
        }
    }

    /// Whether `plan` captures something else than is captured now.
    pub(crate) fn captures_other_than(&self, plan: &ChannelPlan) -> bool {
        self.url != plan.url || self.service != plan.service
    }

    /// What a poll says of it.
    pub(crate) fn report(&self, channel: ChannelId) -> ChannelReport {
        ChannelReport {
            channel,
            input: self.state.clone(),
            source: 0,
            switches: 0,
            packets: self.packets,
            rate_bps: self.rate_bps,
            feeds: self.feeds.iter().map(|(host, feed)| feed.report(host)).collect(),
            health: self.health.clone(),
            signal: self.signal,
        }
    }
}
