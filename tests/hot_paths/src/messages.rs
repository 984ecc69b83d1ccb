//! P2's answers as bytes.

use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};

use protocols::authority::{ClusterKey, Lease};
use protocols::codec::{decode, encode};
use protocols::ids::{ChannelId, Revision};
use protocols::p2_directory::{ChannelEntry, ChannelStatus, Tuning};
use protocols::time::ClusterTime;

use crate::{HotPath, Step};

pub(crate) const HOT_PATHS: &[HotPath] = &[
    HotPath { name: "encode", unit: "list entry", units_per_step: 1, prepare: encode_entry },
    HotPath { name: "decode", unit: "list entry", units_per_step: 1, prepare: decode_entry },
];

/// One line of a channel list, with its tuning.
fn entry() -> ChannelEntry {
    let (cluster, channel, time) = (ClusterKey::new([7; 32]), ChannelId(7), ClusterTime(1_800_000_000_000));
    let destination = IpAddr::from([239, 192, 1, 7]);
    let lease = Lease { client: IpAddr::from([10, 0, 1, 7]), channel, destination, expires: time };
    let tuning = Tuning {
        channel,
        name: "Channel 7".to_owned(),
        destination,
        port: 7_607,
        push_server: "hall/7".parse().expect("an id"),
        control: SocketAddr::from(([10, 0, 1, 1], 7_404)),
        revision: Revision(3),
        lease,
        secret: cluster.lease_key().secret(&lease),
        announce_key: cluster.announce_key(channel),
        time,
    };
    ChannelEntry {
        id: channel,
        name: "Channel 7".to_owned(),
        status: ChannelStatus::Active,
        tuning: Some(Box::new(tuning)),
        group: None,
        logo: None,
    }
}

fn encode_entry() -> Step {
    let entry = entry();
    Box::new(move || {
        black_box(encode(black_box(&entry)));
    })
}

fn decode_entry() -> Step {
    let bytes = encode(&entry());
    Box::new(move || {
        black_box(decode::<ChannelEntry, 4_096>(black_box(&bytes)).expect("it was encoded here"));
    })
}
