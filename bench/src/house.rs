//! A whole small house: the three real daemons on the ground's host, a wire to a receiver's host, and a topology.
//!
//! ```text
//!  source ── udp, loopback ──► acquisition ── P3, loopback ──► push server ──► wire 10.98.0.0/24 ──► receiver
//!                                                                      └────► the ground's discarding device: load
//! ```
//!
//! The wire has no segmentation offload: every datagram is a packet of its own on it, with its own time.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use lab::{Command, Host, Lan, Process};
use protocols::authority::ClusterKey;
use protocols::ids::ChannelId;

use crate::cpu::CpuClocks;
use crate::crowd::Crowd;
use crate::ground::{self, Ground};

/// The servers' address on the wire.
pub const SERVERS: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 1);
/// The receiver's address on the wire.
pub const RECEIVER: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 2);
/// A group that the receiver's network can be sent to instead.
pub const GROUP: Ipv4Addr = Ipv4Addr::new(239, 192, 1, 1);
/// UDP port of channel 1; others follow.
pub const FIRST_PORT: u16 = 7_601;

const FIRST_INPUT_PORT: u16 = 6_001;
const CONTROL_PORT: u16 = 7_404;
const READY: Duration = Duration::from_secs(20);

/// The wire and the receiver's host, which outlive houses.
#[derive(Debug)]
pub struct Wire {
    /// Where streams arrive.
    pub receiver: Host,
    lan: Lan,
}

impl Wire {
    /// Lays it between the ground's host and a new one.
    pub fn lay(ground: &Ground) -> Self {
        let lan = ground.lab().lan("wire", "10.98.0.0/24");
        let receiver = ground.lab().host("receiver");
        ground.lab().attach(ground.host(), &lan, &SERVERS.to_string());
        ground.lab().attach(&receiver, &lan, &RECEIVER.to_string());
        receiver.multicast_via(&lan);
        Self { receiver, lan }
    }

    /// The network between the two.
    pub fn lan(&self) -> &Lan {
        &self.lan
    }
}

/// What the topology says.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Channels, each with an input of its own; all have the same stream.
    pub channels: u16,
    /// Where the receiver's network is sent to: [`RECEIVER`] or [`GROUP`].
    pub destination: Ipv4Addr,
    /// Destinations on the discarding device, of the same channels: some less than 1,000, the networks of a topology.
    pub load_destinations: u32,
    /// Window of all destinations.
    pub window_ms: u8,
}

impl Plan {
    /// One channel to the receiver alone.
    pub fn one(window_ms: u8) -> Self {
        Self { channels: 1, destination: RECEIVER, load_destinations: 0, window_ms }
    }

    /// Where a source must send for all inputs.
    pub fn inputs(&self) -> Vec<SocketAddrV4> {
        (0..self.channels)
            .map(|index| SocketAddrV4::new(Ipv4Addr::LOCALHOST, FIRST_INPUT_PORT + index))
            .collect()
    }

    /// `topology.toml`.
    pub fn text(&self) -> String {
        let mut text =
            format!("[database_server]\naddress = \"{SERVERS}\"\n\n[[acquisition_server]]\nid = \"roof\"\n");
        let mut line = |arguments: std::fmt::Arguments<'_>| {
            text.write_fmt(arguments).expect("a String takes everything");
        };
        for (number, input) in (1..).zip(self.inputs()) {
            line(format_args!(
                "  [[acquisition_server.input]]\n  id = \"input-{number}\"\n  url = \"udp://{input}\"\n"
            ));
        }
        for number in 1..=self.channels {
            line(format_args!(
                "[[channel]]\nid = {number}\nname = \"Channel {number}\"\nacquisition_server = \"roof\"\ninput = \"input-{number}\"\n"
            ));
        }
        let ids: Vec<u16> = (1..=self.channels).collect();
        line(format_args!("[[push_server]]\nid = \"hall\"\naddress = \"{SERVERS}\"\nchannels = {ids:?}\n"));
        let mut destination = |address: Ipv4Addr, serves: &str| {
            line(format_args!(
                "  [[push_server.destination]]\n  address = \"{address}\"\n  serves = [\"{serves}\"]\n  window_ms = {}\n",
                self.window_ms
            ));
            if address.is_multicast() {
                line(format_args!("  interface = \"{SERVERS}\"\n"));
            }
        };
        destination(self.destination, "10.98.0.0/24");
        for (index, address) in (0..).zip(ground::destinations(0, self.load_destinations)) {
            // Whom it serves does not matter, only that no other destination serves them.
            let served = Ipv4Addr::from_bits(Ipv4Addr::new(172, 16, 0, 1).to_bits() + index);
            destination(address, &format!("{served}/32"));
        }
        text
    }
}

/// The daemons at work. They are killed when this goes.
#[derive(Debug)]
pub struct House {
    /// The acquisition server.
    pub acquisition: Process,
    /// The push server.
    pub push_server: Process,
    /// The database server.
    pub database: Process,
    key: ClusterKey,
    sender: Host,
}

impl House {
    /// Starts the daemons on the ground's host; each is ready when this returns.
    pub fn open(ground: &Ground, plan: &Plan) -> Self {
        Self::open_with(ground, &plan.text())
    }

    /// As [`Self::open`] with any `topology`, of acquisition server `roof` and push server `hall`.
    pub fn open_with(ground: &Ground, topology_text: &str) -> Self {
        let key = ClusterKey::new([0x6d; 32]);
        let key_file = ground.lab().path("house.key");
        write(&key_file, &key.to_file_text());
        std::fs::set_permissions(&key_file, std::fs::Permissions::from_mode(0o600)).expect("own file");
        let topology = ground.lab().path("house.toml");
        write(&topology, topology_text);
        let data = ground.lab().path("house-data");
        let _ = std::fs::remove_dir_all(&data); // of the house before
        let sender = ground.host().clone();
        let start = |command: Command| {
            let mut process = sender.spawn(command.arg("--cluster-key").arg(&key_file));
            process.wait_for_line("ready", READY);
            process
        };
        let database = start(
            Command::new("masthead-database-server")
                .arg("--topology")
                .arg(&topology)
                .arg("--data")
                .arg(&data),
        );
        let push_server =
            start(Command::line(&format!("masthead-push-server --id hall --database {SERVERS}")));
        let acquisition =
            start(Command::line(&format!("masthead-acquisition --id roof --database {SERVERS}")));
        Self { acquisition, push_server, database, key, sender }
    }

    /// Viewers of all of `watched`.
    pub fn watch(&self, watched: &[(ChannelId, IpAddr)]) -> Crowd {
        let socket = self.sender.enter(|| {
            let socket = UdpSocket::bind((SERVERS, 0)).expect("own address");
            socket.connect((SERVERS, CONTROL_PORT)).expect("own address");
            socket
        });
        Crowd::start(&self.key, watched, socket)
    }

    /// The push server's CPU clock.
    pub fn cpu(&self) -> CpuClocks {
        CpuClocks::of([self.push_server.pid()])
    }
}

fn write(path: &PathBuf, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_topologies() {
        for plan in
            [Plan::one(10), Plan { channels: 11, destination: GROUP, load_destinations: 900, window_ms: 0 }]
        {
            let text = plan.text();
            let parsed = protocols::topology::Topology::parse("topology.toml", &text);
            parsed.unwrap_or_else(|faults| panic!("{faults:?}"));
        }
    }
}
