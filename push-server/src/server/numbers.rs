//! What is known of each channel, for statistics.

use std::net::IpAddr;

use protocols::ids::ChannelId;
use protocols::p4_control::DestinationFault;

use super::PushServer;

/// A channel that this host carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelNumbers {
    /// The channel.
    pub channel: ChannelId,
    /// Whether its packets arrive.
    pub fed: bool,
    /// Whether its feed was told to hold, since nobody watches.
    pub held: bool,
    /// Whether it is to be recorded.
    pub recorded: bool,
    /// RTP packets received by P3 since the host's start.
    pub packets: u64,
    /// Where it may be sent.
    pub destinations: Vec<DestinationNumbers>,
}

/// A destination of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DestinationNumbers {
    /// Where.
    pub address: IpAddr,
    /// Whether it is being sent there.
    pub sending: bool,
    /// RTP packets sent there since the host's start.
    pub packets: u64,
    /// Why it cannot be sent to.
    pub fault: Option<DestinationFault>,
}

impl PushServer {
    /// The channels that are carried, by id.
    pub fn numbers(&self) -> Vec<ChannelNumbers> {
        let carried = self.states.iter().filter_map(|(channel, state)| {
            let configuration = self.configurations.get(*channel)?;
            let destination = |address: &IpAddr| {
                let counted = state.targets.get(address);
                DestinationNumbers {
                    address: *address,
                    sending: self.sending(*channel, *address),
                    packets: counted.map_or(0, |counted| counted.packets),
                    fault: counted.and_then(|counted| counted.fault),
                }
            };
            Some(ChannelNumbers {
                channel: *channel,
                fed: state.fed(),
                held: self.held(*channel),
                recorded: state.record.is_some(),
                packets: state.packets,
                destinations: configuration.destinations.keys().map(destination).collect(),
            })
        });
        carried.collect()
    }
}
