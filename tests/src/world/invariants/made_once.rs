//! A packet is made once: what a viewer gets is byte for byte what the source made under that number, in order, and
//! never twice (design §2.1).

use media::packet::PacketBytes;
use protocols::ids::ChannelId;

use crate::world::Dimensions;
use crate::world::source::PacketName;

/// Name of the rule.
pub const RULE: &str = "a packet is made once";

/// The last packet that each viewer got since it chose the channel.
#[derive(Debug)]
pub struct MadeOnce {
    last: Vec<Option<PacketName>>,
}

impl MadeOnce {
    /// Nobody has got anything.
    pub fn new(size: Dimensions) -> Self {
        Self { last: vec![None; size.viewers] }
    }

    /// `viewer` chose a channel, or was started: what it gets from now on is a new story.
    pub fn began(&mut self, viewer: usize) {
        self.last[viewer] = None;
    }

    /// `viewer`, which watches `channel`, was handed `packet`.
    pub fn delivered(
        &mut self,
        viewer: usize,
        channel: Option<ChannelId>,
        packet: &PacketBytes,
    ) -> Result<PacketName, String> {
        let Some(name) = PacketName::read(packet) else {
            return Err(format!("viewer {viewer} got a packet that nobody made: {:02x?}…", &packet[..20]));
        };
        if Some(name.channel) != channel {
            return Err(format!("viewer {viewer} watches {channel:?} and got {name:?}"));
        }
        if let Some(last) = self.last[viewer]
            && last >= name
        {
            return Err(format!("viewer {viewer} got {name:?} after {last:?}"));
        }
        self.last[viewer] = Some(name);
        Ok(name)
    }
}
