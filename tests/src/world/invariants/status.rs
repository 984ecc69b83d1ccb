//! Status per destination equals the truth table once the network is calm, and only listed channels have one (design
//! §2.3, algorithms §1 C3).
//!
//! A channel is active at a network exactly when its acquisition server is up, its input delivers, and at least one push
//! server that serves the network is up. Here all is calm: whatever is up can be reached.

use protocols::p2_directory::ChannelStatus;

use crate::world::fabric::Power;
use crate::world::{Role, World};

/// Name of the rule.
pub const RULE: &str = "status is what the truth table says";

/// Whether `channel` could be had at `lan`, by what the world knows and no daemon; `None`: it is not listed there.
pub fn truth(world: &World, channel: usize, lan: usize) -> Option<bool> {
    let (fabric, size) = (&world.fabric, world.fabric.site.size);
    let up = |role| fabric.standings[size.node(role).index()].power == Power::Up;
    let topology = world.database.topology(fabric);
    let id = size.channel(channel);
    let mut listed = false;
    let mut carried = false;
    for (number, host) in fabric.site.hosts.iter().enumerate() {
        let Some(host) = topology.hosts.get(host).filter(|host| host.channels.contains(&id)) else {
            continue;
        };
        if host.destinations.iter().any(|destination| size.lan_at(destination.address) == Some(lan)) {
            listed = true;
            carried |= up(Role::Host(number));
        }
    }
    let source = up(Role::Acquisition(channel % size.acquisitions)) && fabric.inputs[channel];
    listed.then_some(carried && source)
}

/// Compares what every viewer was told last with the truth.
pub fn check(world: &World) -> Result<(), String> {
    let size = world.fabric.site.size;
    for (number, viewer) in world.viewers.iter().enumerate() {
        if viewer.machine().is_none() {
            continue;
        }
        if viewer.list().is_none() {
            return Err(format!("viewer {number} has been told no list"));
        }
        for channel in 0..size.channels {
            let told = viewer.status(size.channel(channel));
            let truth = truth(world, channel, size.lan_of(number));
            let agrees = matches!(
                (told, truth),
                (None, None)
                    | (Some(ChannelStatus::Active), Some(true))
                    | (Some(ChannelStatus::Inactive { .. }), Some(false))
            );
            if !agrees {
                return Err(format!(
                    "viewer {number} is told {told:?} of channel {channel}, the truth is {truth:?}"
                ));
            }
        }
    }
    Ok(())
}
