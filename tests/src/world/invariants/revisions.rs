//! Nothing acknowledged is lost: the revisions of assignments and the generation of the topology never go back, not
//! even over restarts of the database server (design §2.8).

use std::collections::BTreeMap;

use protocols::ids::{ChannelId, Generation, Revision};

/// Name of the rule.
pub const RULE: &str = "revisions and generations never go back";

/// The highest of each that the database server has ever spoken of.
#[derive(Debug, Default)]
pub struct Revisions {
    listed: Generation,
    planned: BTreeMap<usize, Generation>,
    configured: BTreeMap<(usize, ChannelId), Revision>,
    tuned: BTreeMap<(usize, ChannelId), Revision>,
}

impl Revisions {
    /// The database server sent a channel list.
    pub fn listed(&mut self, generation: Generation) -> Result<(), String> {
        let before = std::mem::replace(&mut self.listed, generation);
        if generation < before {
            return Err(format!("a list of generation {generation} after one of {before}"));
        }
        Ok(())
    }

    /// The database server sent a plan to an acquisition server. A plan that a new topology leaves as it was keeps its
    /// generation, so only plans of one server compare.
    pub fn planned(&mut self, acquisition: usize, generation: Generation) -> Result<(), String> {
        let before = self.planned.insert(acquisition, generation).unwrap_or_default();
        if generation < before {
            return Err(format!(
                "server {acquisition} has a plan of generation {generation} after one of {before}"
            ));
        }
        Ok(())
    }

    /// The database server sent a configuration to `host`.
    pub fn configured(&mut self, host: usize, channel: ChannelId, revision: Revision) -> Result<(), String> {
        raise(&mut self.configured, (host, channel), revision).map_err(|before| {
            format!("host {host} is configured for channel {channel} by {revision} after {before}")
        })
    }

    /// The database server told a viewer of `lan` where to tune.
    pub fn tuned(&mut self, lan: usize, channel: ChannelId, revision: Revision) -> Result<(), String> {
        raise(&mut self.tuned, (lan, channel), revision).map_err(|before| {
            format!("LAN {lan} is told of revision {revision} of channel {channel} after {before}")
        })
    }
}

fn raise(
    table: &mut BTreeMap<(usize, ChannelId), Revision>,
    key: (usize, ChannelId),
    revision: Revision,
) -> Result<(), Revision> {
    let highest = table.entry(key).or_default();
    if revision < *highest {
        return Err(*highest);
    }
    *highest = revision;
    Ok(())
}
