//! A host of the lab: its own network, in which programs run.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Output;
use std::sync::{Arc, Mutex};

use crate::command::{Command, OUTPUT_LIMIT};
use crate::lan::{Lan, address_v6};
use crate::namespace::Namespace;
use crate::process::Process;

/// A host. Clones are the same host.
#[derive(Debug, Clone)]
pub struct Host {
    name: String,
    namespace: Arc<Namespace>,
    /// LAN name and address there, in the order of attaching.
    addresses: Arc<Mutex<Vec<(String, Ipv4Addr)>>>,
}

impl Host {
    pub(crate) fn new(name: &str, namespace: Arc<Namespace>) -> Self {
        assert!(name.len() <= 11, "{name} is also an interface name: at most 11 letters");
        Self { name: name.into(), namespace, addresses: Arc::default() }
    }

    /// Its name within the lab; also that of its ports on switches.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts `command` here (see [`Command`] for what a line means) and lets it run. It is killed when the handle goes.
    pub fn spawn(&self, command: impl Into<Command>) -> Process {
        Process::start(self, command.into())
    }

    /// Runs `command` here and waits for its end, [`OUTPUT_LIMIT`] at most; any exit status will do.
    pub fn output(&self, command: impl Into<Command>) -> Output {
        command.into().output_in(Some(self.namespace.name()), OUTPUT_LIMIT)
    }

    /// Runs `command` here and returns its standard output; anything but success fails the test.
    pub fn run(&self, command: impl Into<Command>) -> String {
        self.namespace.run(command)
    }

    /// Runs `act` inside this host's network on a thread of its own: sockets made there stay there.
    pub fn enter<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        self.namespace.enter(act)
    }

    /// The first address that it was attached under.
    pub fn address(&self) -> Ipv4Addr {
        self.addresses().first().unwrap_or_else(|| panic!("{} is not attached to any LAN", self.name)).1
    }

    /// Its address on `lan`.
    pub fn address_on(&self, lan: &Lan) -> Ipv4Addr {
        let found = self.addresses().into_iter().find(|(name, _)| name == lan.name());
        found.unwrap_or_else(|| panic!("{} is not attached to {}", self.name, lan.name())).1
    }

    /// The IPv6 address that follows from [`Self::address`].
    pub fn address_v6(&self) -> Ipv6Addr {
        address_v6(self.address())
    }

    /// The number of its interface to `lan`: the scope of IPv6 multicast addresses.
    pub fn interface_index(&self, lan: &Lan) -> u32 {
        let shown = self.run(format!("ip -o link show dev {}", lan.name()));
        let index = shown.split(':').next().and_then(|index| index.trim().parse().ok());
        index.unwrap_or_else(|| panic!("no index in {shown}"))
    }

    /// Sends multicast that names no interface, IPv4 and IPv6, out to `lan`, and joins it there. Without this a program
    /// must choose the interface by itself, as on a real server.
    pub fn multicast_via(&self, lan: &Lan) {
        self.run(format!("ip route add 224.0.0.0/4 dev {}", lan.name()));
        self.run(format!("ip -6 route add ff00::/8 dev {} table local metric 1", lan.name()));
    }

    /// Routes `prefix` (or `default`) through `gateway`, IPv4 or IPv6.
    pub fn route(&self, prefix: &str, gateway: &str) {
        let family = if gateway.contains(':') { "-6" } else { "-4" };
        self.run(format!("ip {family} route add {prefix} via {gateway}"));
    }

    /// Sets kernel parameters here, each as `name=value`.
    pub fn sysctl(&self, settings: &[&str]) {
        self.namespace.sysctl(settings);
    }

    /// The namespace underneath.
    pub fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    pub(crate) fn attached(&self, lan: &str, address: Ipv4Addr) {
        self.addresses.lock().expect("nobody panics with it").push((lan.into(), address));
    }

    fn addresses(&self) -> Vec<(String, Ipv4Addr)> {
        self.addresses.lock().expect("nobody panics with it").clone()
    }
}
