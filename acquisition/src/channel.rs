//! One channel of the plan: its sources and its feeds, as the machine sees them.

use std::collections::BTreeMap;
use std::time::Duration;

use protocols::health::{HealthReport, SignalReport};
use protocols::ids::{ChannelId, HostId, InputId};
use protocols::p1_registration::{ChannelPlan, ChannelReport, InputState, SourcePlan};
use protocols::topology::MAX_BACKUPS;

use crate::events::Source;
use crate::failover::Policy;
use crate::feed::Feed;

/// One channel.
#[derive(Debug)]
pub(crate) struct Channel {
    /// The best first; empty until it is captured.
    pub(crate) sources: Vec<Source>,
    /// By source: the input's id.
    pub(crate) inputs: Vec<InputId>,
    pub(crate) policy: Policy,
    /// Which source is in use.
    pub(crate) in_use: usize,
    pub(crate) switches: u64,
    pub(crate) state: InputState,
    pub(crate) packets: u64,
    pub(crate) rate_bps: u64,
    pub(crate) health: HealthReport,
    pub(crate) signal: Option<SignalReport>,
    pub(crate) feeds: BTreeMap<HostId, Feed>,
}

impl Channel {
    /// A channel that nothing has come of and that has no feeds yet.
    pub(crate) fn new(plan: &ChannelPlan) -> Self {
        Self {
            sources: Vec::new(),
            inputs: inputs(plan),
            policy: policy(plan),
            in_use: 0,
            switches: 0,
            state: InputState::Starting,
            packets: 0,
            rate_bps: 0,
            health: HealthReport::default(),
            signal: None,
            feeds: BTreeMap::new(),
        }
    }

    /// Whether the channel is taken from the input `url` now.
    pub(crate) fn is_taken_from(&self, url: &str) -> bool {
        self.sources.get(self.in_use).is_some_and(|source| source.url == url)
    }

    /// Where the input `id` of the channel comes from.
    pub(crate) fn url_of(&self, id: &InputId) -> Option<&str> {
        let source = self.inputs.iter().position(|input| input == id)?;
        Some(&self.sources.get(source)?.url)
    }

    /// What a poll says of it.
    pub(crate) fn report(&self, channel: ChannelId) -> ChannelReport {
        ChannelReport {
            channel,
            input: self.state.clone(),
            source: u8::try_from(self.in_use).unwrap_or(u8::MAX),
            switches: self.switches,
            packets: self.packets,
            rate_bps: self.rate_bps,
            feeds: self.feeds.iter().map(|(host, feed)| feed.report(host)).collect(),
            health: self.health.clone(),
            signal: self.signal,
        }
    }
}

/// Where `plan` takes its channel from, the best first.
pub(crate) fn sources(plan: &ChannelPlan) -> Vec<Source> {
    let main = Source { url: plan.url.clone(), service: plan.service };
    let backup = |plan: &SourcePlan| Source { url: plan.url.clone(), service: plan.service };
    std::iter::once(main).chain(plan.backups.iter().take(MAX_BACKUPS).map(backup)).collect()
}

/// The ids of the same.
pub(crate) fn inputs(plan: &ChannelPlan) -> Vec<InputId> {
    let backups = plan.backups.iter().take(MAX_BACKUPS).map(|backup| backup.input.clone());
    std::iter::once(plan.input.clone()).chain(backups).collect()
}

/// When `plan` wants its channel to change between them.
pub(crate) fn policy(plan: &ChannelPlan) -> Policy {
    Policy {
        hold_off: Duration::from_secs(plan.hold_off_s.into()),
        return_after: Duration::from_secs(plan.return_after_s.into()),
    }
}
