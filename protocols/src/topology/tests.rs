//! What a whole file gets: the topology, or its faults with their places.

use super::*;

#[test]
fn the_example_is_right() {
    let (topology, warnings) = Topology::parse("topology.toml", include_str!("../../../topology.toml")).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(topology.networks.len(), 4);
}
