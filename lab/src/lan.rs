//! A LAN of the lab: a Linux bridge alone in a namespace, behaving as a managed switch.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use crate::cable::{self, Cable};
use crate::host::Host;
use crate::impair::{Impairment, Loss};
use crate::namespace::Namespace;
use crate::timeline;
use crate::wire::WireCounter;

/// The bridge's name in its namespace.
const BRIDGE: &str = "switch";

/// How long hosts may take to answer a query. The kernel also floods all multicast for this long after the querier
/// starts; its default of 10 s would make "nothing arrives without a member" false at first.
const QUERY_RESPONSE: Duration = Duration::from_millis(200);

/// A switch and its addresses. Clones are the same LAN.
#[derive(Debug, Clone)]
pub struct Lan {
    name: String,
    network: Ipv4Addr,
    prefix_length: u8,
    namespace: Arc<Namespace>,
}

impl Lan {
    pub(crate) fn new(name: &str, prefix: &str, namespace: Arc<Namespace>) -> Self {
        assert!(name.len() <= 11, "{name} is also an interface name: at most 11 letters");
        let (network, length) = prefix.split_once('/').expect("a prefix is address/length");
        let network = network.parse().unwrap_or_else(|error| panic!("{prefix}: {error}"));
        let prefix_length = length.parse().unwrap_or_else(|error| panic!("{prefix}: {error}"));
        let lan = Self { name: name.into(), network, prefix_length, namespace };
        let centiseconds = QUERY_RESPONSE.as_millis() / 10;
        lan.namespace.run(format!(
            "ip link add {BRIDGE} type bridge forward_delay 0 stp_state 0 mcast_snooping 1 mcast_igmp_version 3 \
             mcast_mld_version 2 mcast_query_response_interval {centiseconds}"
        ));
        lan.namespace.run(format!("ip link set dev {BRIDGE} up"));
        lan.namespace.run(format!("ip link set dev {BRIDGE} type bridge mcast_querier 1"));
        timeline::pause(QUERY_RESPONSE);
        lan
    }

    /// Its name; hosts see their interface to it under this name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its IPv4 directed broadcast address.
    pub fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(
            self.network.to_bits() | u32::MAX.checked_shr(self.prefix_length.into()).unwrap_or(0),
        )
    }

    /// Turns snooping on (as it begins) or off: a switch that does not look floods every group to every port.
    pub fn snooping(&self, on: bool) {
        self.namespace.run(format!("ip link set dev {BRIDGE} type bridge mcast_snooping {}", u8::from(on)));
    }

    /// Turns the querier on (as it begins) or off: without one, memberships age out after some minutes.
    pub fn querier(&self, on: bool) {
        self.namespace.run(format!("ip link set dev {BRIDGE} type bridge mcast_querier {}", u8::from(on)));
    }

    /// Names of the hosts that joined `group`, by what the switch learnt from their reports, sorted.
    pub fn members(&self, group: &str) -> Vec<String> {
        let table = self.namespace.run(format!("bridge mdb show dev {BRIDGE}"));
        let mut members: Vec<String> = table
            .lines()
            .filter(|line| line.split_whitespace().skip_while(|word| *word != "grp").nth(1) == Some(group))
            .filter_map(|line| line.split_whitespace().skip_while(|word| *word != "port").nth(1))
            .filter(|port| *port != BRIDGE)
            .map(String::from)
            .collect();
        members.sort();
        members.dedup();
        members
    }

    /// Counts what anybody puts onto this LAN that matches `filter` (nftables: `udp dport 7601`, `ip daddr 224.0.0.0/4`,
    /// or nothing for all), each packet once, before any loss that the lab adds.
    pub fn carries(&self, filter: &str) -> WireCounter {
        WireCounter::on_bridge(self.namespace.clone(), filter)
    }

    /// As [`Self::carries`], only what `host` puts onto it.
    pub fn sent_by(&self, host: &Host, filter: &str) -> WireCounter {
        WireCounter::on_bridge(self.namespace.clone(), &format!("iifname \"{}\" {filter}", host.name()))
    }

    /// Counts what the switch puts onto the cable of `host` that matches `filter`, wanted or not, after the lab's losses.
    pub fn heard_by(&self, host: &Host, filter: &str) -> WireCounter {
        WireCounter::on_interface(host.namespace().clone(), &self.name, filter)
    }

    /// From now on loses some of what matches `filter` on the cable towards `host`; others get it.
    pub fn lossy_to(&self, host: &Host, filter: &str, loss: Loss) -> Impairment {
        let scope = format!("oifname \"{}\" {filter}", host.name());
        Impairment::on_bridge(self.namespace.clone(), "forward", &scope, loss)
    }

    /// From now on loses some of what `host` sends that matches `filter`: nobody gets it.
    pub fn lossy_from(&self, host: &Host, filter: &str, loss: Loss) -> Impairment {
        let scope = format!("iifname \"{}\" {filter}", host.name());
        Impairment::on_bridge(self.namespace.clone(), "prerouting", &scope, loss)
    }

    /// As [`Self::lossy_to`] and [`Self::lossy_from`], each direction by itself.
    pub fn lossy_both_ways(&self, host: &Host, filter: &str, loss: Loss) -> [Impairment; 2] {
        [self.lossy_to(host, filter, loss), self.lossy_from(host, filter, loss)]
    }

    /// Cuts `host` off this LAN, both ways, with its interface still up: a partition, not a pulled cable.
    pub fn partition(&self, host: &Host) -> [Impairment; 2] {
        [self.lossy_to(host, "", Loss::All), self.lossy_from(host, "", Loss::All)]
    }

    /// Pulls the cable of `host` (`false`) or puts it back (`true`): its interface loses carrier.
    pub fn cable(&self, host: &Host, plugged: bool) {
        self.namespace.run(format!(
            "ip link set dev {} {}",
            host.name(),
            if plugged { "up" } else { "down" }
        ));
    }

    /// The namespace of the switch; [`crate::wire::Capture`] can listen on its ports, which are called as the hosts.
    pub fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    pub(crate) fn plug(&self, host: &Host, address: &str) {
        let (lan, port) = (self.name(), host.name());
        join(host.namespace(), lan, &self.namespace, port);
        self.set_up(host, address);
    }

    /// As [`Self::plug`], with `middle` and its relay on the way.
    pub(crate) fn plug_by_cable(&self, host: &Host, address: &str, middle: Arc<Namespace>) -> Cable {
        join(host.namespace(), self.name(), &middle, cable::NEAR);
        join(&middle, cable::FAR, &self.namespace, host.name());
        let cable = Cable::lay(middle);
        self.set_up(host, address);
        cable
    }

    /// Gives an interface that is plugged in its addresses, and waits for its port.
    fn set_up(&self, host: &Host, address: &str) {
        let address: Ipv4Addr = address.parse().unwrap_or_else(|error| panic!("{address}: {error}"));
        let (lan, port) = (self.name(), host.name());
        let (inside, switch) = (host.namespace(), &self.namespace);
        switch.run(format!("ip link set dev {port} master {BRIDGE} up"));
        inside.run(format!("ip link set dev {lan} up"));
        inside.run(format!("ip addr add {address}/{} brd + dev {lan}", self.prefix_length));
        inside.run(format!("ip addr add {}/64 dev {lan} nodad", address_v6(address)));
        inside.sysctl(&[&format!("net.ipv4.conf.{lan}.bc_forwarding={}", forwards_broadcasts(host))]);
        host.attached(lan, address);
        timeline::until(&format!("{port} has a port on {lan}"), Duration::from_secs(5), || {
            switch.run(format!("bridge link show dev {port}")).contains("state forwarding")
        });
    }
}

/// A pair of interfaces, one in each namespace, without segmentation offload.
fn join(here: &Namespace, name: &str, there: &Namespace, far_name: &str) {
    here.run(format!("ip link add {name} type veth peer name {far_name} netns {}", there.name()));
    let no_offloads = "tx off rx off sg off tso off gso off gro off tx-udp-segmentation off";
    here.run(format!("ethtool -K {name} {no_offloads}"));
    there.run(format!("ethtool -K {far_name} {no_offloads}"));
}

/// Whether `host` is a router of directed broadcasts, as the kernel writes it.
fn forwards_broadcasts(host: &Host) -> u8 {
    let all = host.enter(|| std::fs::read_to_string("/proc/sys/net/ipv4/conf/all/bc_forwarding"));
    u8::from(all.is_ok_and(|value| value.trim() == "1"))
}

/// The IPv6 address of the host that has IPv4 `address` in the lab: 10.77.1.2 is also `fd00:10:77:1::2`, in a /64.
pub fn address_v6(address: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = address.octets();
    format!("fd00:{a}:{b}:{c}::{d}").parse().expect("decimal digits are hexadecimal digits")
}
