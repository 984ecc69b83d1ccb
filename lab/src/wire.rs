//! What is on the wire: exact counters kept by the kernel, and captures by tcpdump.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::command::Command;
use crate::host::Host;
use crate::lan::Lan;
use crate::namespace::Namespace;
use crate::pcap::{self, Pcap};
use crate::process::Process;
use crate::timeline;

/// Numbers nftables tables, so that any number of counters and losses live in one namespace.
static NEXT_TABLE: AtomicU32 = AtomicU32::new(0);

/// An nftables table of the lab's, removed when this goes.
#[derive(Debug)]
pub(crate) struct Table {
    namespace: Arc<Namespace>,
    family: &'static str,
    name: String,
}

impl Table {
    /// Makes a table with one chain at `hook` (`hook prerouting priority 0`) that holds `rule`, which counts.
    pub(crate) fn new(namespace: Arc<Namespace>, family: &'static str, hook: &str, rule: &str) -> Self {
        let name = format!("lab{}", NEXT_TABLE.fetch_add(1, Ordering::Relaxed));
        let text =
            format!("table {family} {name} {{ chain c {{ type filter {hook}; policy accept; {rule}; }}; }}");
        namespace.run(Command::new("nft").arg(text));
        Self { namespace, family, name }
    }

    /// Packets and bytes that the rule has counted.
    pub(crate) fn counted(&self) -> (u64, u64) {
        let listing = self.namespace.run(format!("nft list table {} {}", self.family, self.name));
        let words: Vec<&str> = listing.split_whitespace().collect();
        let after = |word: &str| {
            words.iter().position(|at| *at == word).and_then(|at| words.get(at + 1)?.parse().ok())
        };
        (after("packets").expect("the rule counts packets"), after("bytes").expect("and bytes"))
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let gone = format!("nft delete table {} {}", self.family, self.name);
        let _ = Command::line(&gone).output_in(Some(self.namespace.name()), Duration::from_secs(5));
    }
}

/// Counts packets on the wire in the kernel: exact, from the moment it is made, whatever the load. Reading takes some
/// milliseconds.
#[derive(Debug)]
pub struct WireCounter {
    table: Table,
}

impl WireCounter {
    /// Before the losses of the lab (priority 0).
    const PRIORITY: i32 = -500;

    pub(crate) fn on_bridge(namespace: Arc<Namespace>, filter: &str) -> Self {
        let hook = format!("hook prerouting priority {}", Self::PRIORITY);
        Self { table: Table::new(namespace, "bridge", &hook, &format!("{filter} counter")) }
    }

    pub(crate) fn on_interface(namespace: Arc<Namespace>, interface: &str, filter: &str) -> Self {
        let hook = format!("hook ingress device \"{interface}\" priority {}", Self::PRIORITY);
        Self { table: Table::new(namespace, "netdev", &hook, &format!("{filter} counter")) }
    }

    /// Packets so far.
    pub fn packets(&self) -> u64 {
        self.table.counted().0
    }

    /// Bytes so far, from the IP header on (on a bridge: with 14 bytes of Ethernet header, as the hook sees it).
    pub fn bytes(&self) -> u64 {
        self.table.counted().1
    }
}

/// tcpdump at work. Listening when [`Self::at`] returns.
#[derive(Debug)]
pub struct Capture {
    process: Process,
    file: PathBuf,
}

impl Capture {
    /// How long tcpdump may take to start or to end.
    const LIMIT: Duration = Duration::from_secs(10);

    /// Captures at the interface of `host` to `lan` what matches the tcpdump `filter` (`udp port 7601`), both directions.
    pub fn at(host: &Host, lan: &Lan, filter: &str) -> Self {
        Self::start(host, lan, filter, "-U --immediate-mode")
    }

    /// As [`Self::at`], for times at high rates: keeps `kept_bytes` of each packet, from its Ethernet header on, and takes
    /// as little of the processor as it can, so that packets are in the file a second later only.
    pub fn of_first_bytes(host: &Host, lan: &Lan, filter: &str, kept_bytes: u32) -> Self {
        Self::start(host, lan, filter, &format!("-s {kept_bytes}"))
    }

    fn start(host: &Host, lan: &Lan, filter: &str, manner: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let file = host.namespace().ground().folder().join(format!(
            "{number:03}-{}-{}.pcap",
            host.name(),
            lan.name()
        ));
        let command = Command::line(&format!("tcpdump -n {manner} -B 16384 -Z root"));
        let mut process = host.spawn(command.args(["-i", lan.name(), "-w"]).arg(&file).arg(filter));
        process.wait_for_line("listening on", Self::LIMIT);
        Self { process, file }
    }

    /// What it has written so far, while it goes on.
    pub fn so_far(&self) -> Pcap {
        pcap::read(&self.file)
    }

    /// Packets written so far.
    pub fn packets_so_far(&self) -> usize {
        self.so_far().packets
    }

    /// Ends the capture and reads it. Fails the test when the kernel dropped packets: the capture would tell lies.
    pub fn stop(mut self) -> Pcap {
        let mut seen = 0;
        // What is on its way from the kernel still counts: wait until one whole look brings nothing new.
        timeline::until("the capture is complete", Self::LIMIT, || {
            let before = std::mem::replace(&mut seen, self.file.metadata().map_or(0, |file| file.len()));
            timeline::pause(Duration::from_millis(50));
            before == seen && seen > 0
        });
        self.process.interrupt(Self::LIMIT);
        let log = self.process.log();
        assert!(log.contains("\n0 packets dropped by kernel"), "{}", self.process.last_words());
        pcap::read(&self.file)
    }

    /// The capture file, for judges.
    pub fn file(&self) -> &Path {
        &self.file
    }
}
