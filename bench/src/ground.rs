//! The ground that senders stand on: a host of the laboratory whose network interface discards what is sent, and counts it.
//!
//! The interface is an `ifb` device with segmentation offload, as a network card has it: whatever is sent into it directly
//! is counted and freed at once, which is the least that any real device costs. It has a transmit queue for each processor,
//! and each processor uses its own, as drivers of network cards set them up: with one queue its lock alone holds two sending
//! threads to 1.3 to 1.6 times what one sends, with two they reach 1.9 to 2 times. Where the kernel has none, it is a `veth`
//! pair whose far end drops at its ingress. Either way what is measured is the way down to the device, and no receiver.

use std::net::Ipv4Addr;

use lab::{Command, Host, Lab, skip};

/// The sender's interface.
pub const DEVICE: &str = "sink";
/// Destinations are 10.99.0.1 and up; none of them exists.
const FIRST_DESTINATION: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
const OWN_ADDRESS: &str = "10.99.255.254/16";
/// Transmit queues at most: one word of the kernel's processor masks.
const MOST_QUEUES: usize = 32;
/// Bytes that Ethernet, IPv4 and UDP put before each datagram (once per segmented train, as the device counts).
const HEADER_BYTES: u64 = 14 + 20 + 8;

/// A sender's host and its discarding interface. Removed when this goes.
#[derive(Debug)]
pub struct Ground {
    lab: Lab,
    sender: Host,
    device: &'static str,
    /// The other end of a `veth` pair, where it is one.
    far: Option<Host>,
}

/// What went into the interface between two looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Buffers: a segmented train is one.
    pub buffers: u64,
    /// Bytes with headers, of which a train has one.
    pub bytes: u64,
}

impl Ground {
    /// Why there can be no ground here, in words that say what to do.
    pub fn obstacle(tools: &[&str]) -> Option<String> {
        let needed: Vec<&str> = lab::ALWAYS_NEEDED.iter().chain(tools).copied().collect();
        skip::obstacle(&needed)
    }

    /// Makes it. Waits while another laboratory is open on this machine.
    ///
    /// # Panics
    /// When the kernel refuses; ask [`Self::obstacle`] first.
    pub fn open(name: &str) -> Self {
        let lab = Lab::open(name, &[]).expect("obstacles were looked for");
        let sender = lab.host("sender");
        let queues = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_QUEUES);
        let made =
            sender.output(format!("ip link add {DEVICE} numtxqueues {queues} numrxqueues {queues} type ifb"));
        let (device, far) = if made.status.success() {
            ("ifb, segmentation offload on", None)
        } else {
            ("veth, segmentation offload on, far end drops at ingress", Some(discarding_pair(&lab, &sender)))
        };
        sender.sysctl(&[&format!("net.ipv6.conf.{DEVICE}.disable_ipv6=1")]);
        sender.run(format!("ip link set {DEVICE} up"));
        sender.run(format!("ip addr add {OWN_ADDRESS} dev {DEVICE}"));
        sender.run(format!("ip route add 224.0.0.0/4 dev {DEVICE}"));
        // A queue in front of a device that is never busy would only be a lock to take.
        let _ = sender.output(format!("tc qdisc replace dev {DEVICE} root noqueue"));
        if far.is_none() {
            give_each_processor_a_queue(&sender, queues);
        }
        if far.is_some() {
            sender.run(format!("ip link set {DEVICE} arp off"));
        }
        Self { lab, sender, device, far }
    }

    /// The host that senders run on. The bench talks to them over its loopback.
    pub fn host(&self) -> &Host {
        &self.sender
    }

    /// The laboratory around it.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// What kind of device discards.
    pub fn device(&self) -> &'static str {
        self.device
    }

    /// All that has gone into the device since it was made.
    pub fn traffic(&self) -> Traffic {
        let path = "/proc/thread-self/net/dev";
        let text = self.sender.enter(|| std::fs::read_to_string(path).expect("every thread has a network"));
        // An ifb counts what it discards as received, a veth what it sends as transmitted.
        parse(&text, DEVICE, if self.far.is_some() { 8 } else { 0 })
    }
}

impl Traffic {
    /// What has gone in since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self { buffers: self.buffers - before.buffers, bytes: self.bytes - before.bytes }
    }

    /// Bytes without headers.
    pub fn payload_bytes(self) -> u64 {
        self.bytes.saturating_sub(self.buffers * HEADER_BYTES)
    }

    /// How many packets of `packet_bytes` are missing of the `expected`, when besides them only datagrams of `other_bytes`
    /// (announcements) at most `others_limit` many have gone in; negative: more than were expected. What does not add up
    /// counts as missing.
    pub fn missing(self, expected: u64, packet_bytes: u64, other_bytes: u64, others_limit: u64) -> i64 {
        let payload = self.payload_bytes();
        let lost = (0..=expected).find(|lost| {
            let rest = payload.checked_sub((expected - lost) * packet_bytes);
            rest.is_some_and(|rest| rest.is_multiple_of(other_bytes) && (rest / other_bytes <= others_limit))
        });
        let rough = || {
            let packets = payload / packet_bytes;
            i64::try_from(expected).unwrap_or(i64::MAX) - i64::try_from(packets).unwrap_or(i64::MAX)
        };
        lost.map_or_else(rough, |lost| i64::try_from(lost).unwrap_or(i64::MAX))
    }
}

/// Addresses of `count` destinations from the `first`-th on, at most 60,000 in all.
pub fn destinations(first: u32, count: u32) -> Vec<Ipv4Addr> {
    (first..first + count).map(|index| Ipv4Addr::from_bits(FIRST_DESTINATION.to_bits() + index)).collect()
}

fn discarding_pair(lab: &Lab, sender: &Host) -> Host {
    let far = lab.host("far");
    let namespace = far.namespace().name();
    sender.run(format!("ip link add {DEVICE} type veth peer name far netns {namespace}"));
    far.run("ip link set far up");
    let rules = "add table netdev discard ; add chain netdev discard all { type filter hook ingress device \"far\" priority 0 ; \
                 policy drop ; }";
    far.run(Command::new("nft").arg(rules));
    far
}

/// Without it the kernel chooses a queue for each socket by chance, so that two threads may meet in one. Refused at worst:
/// then two threads carry less. The kernel shows a device's queues only in a `/sys` of its own network.
fn give_each_processor_a_queue(sender: &Host, queues: usize) {
    let masks: Vec<String> = (0..queues)
        .map(|queue| {
            format!("echo {:x} > /sys/class/net/{DEVICE}/queues/tx-{queue}/xps_cpus", 1_u64 << queue)
        })
        .collect();
    let script = format!("mount -t sysfs sysfs /sys && {}", masks.join(" && "));
    let _ = sender.output(Command::new("unshare").args(["--mount", "sh", "-c", &script]));
}

/// Packets and bytes of `device` in the text of `/proc/net/dev`: `column` 0 received, 8 transmitted.
fn parse(text: &str, device: &str, column: usize) -> Traffic {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(device)?.strip_prefix(':'));
    let numbers: Vec<u64> =
        line.unwrap_or_default().split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let number = |at: usize| numbers.get(at).copied().unwrap_or(0);
    Traffic { bytes: number(column), buffers: number(column + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: u64 = 1_328;
    const ANNOUNCEMENT: u64 = 52;

    #[test]
    fn packets_are_told_from_trains_and_announcements() {
        // 100 packets in 20 trains, and 8 announcements.
        let traffic = Traffic { buffers: 28, bytes: 28 * HEADER_BYTES + 100 * PACKET + 8 * ANNOUNCEMENT };
        assert_eq!(traffic.missing(100, PACKET, ANNOUNCEMENT, 10), 0);
        assert_eq!(traffic.missing(103, PACKET, ANNOUNCEMENT, 10), 3);
    }

    #[test]
    fn more_than_was_expected_shows() {
        let traffic = Traffic { buffers: 20, bytes: 20 * HEADER_BYTES + 100 * PACKET };
        assert_eq!(traffic.missing(90, PACKET, ANNOUNCEMENT, 10), -10);
    }

    #[test]
    fn counters_of_a_device_are_found_in_the_kernels_table() {
        let text = "Inter-|   Receive\n face |bytes\n    lo: 5 6 0 0 0 0 0 0 7 8 0\n  sink: 1073 269 0 269 0 0 0 0 11 12 0 0";
        assert_eq!(parse(text, "sink", 0), Traffic { bytes: 1_073, buffers: 269 });
        assert_eq!(parse(text, "sink", 8), Traffic { bytes: 11, buffers: 12 });
    }
}
