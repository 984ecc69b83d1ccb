//! A whole site in the laboratory: real daemons on hosts of their own, LANs with viewers, one topology, one key.
//!
//! ```text
//!  source ─┐ roof ─┐ database ─┐        viewers 10.77.1.x          viewers 10.77.2.x
//!  .0.10   │ .0.3  │ .0.2      │              │                          │
//!  ════════╧═══════╧═══════════╧═ core   ═════╪════ room (multicast)  ═══╪═══ ward (directed broadcast)
//!   10.77.0.0/24   │       │ │            │   │                     │    │
//!                hall   annex└── router ──┴───┴── hall .1.11, annex .1.12 (room); annex .2.12 (ward); router .254
//!              .0.11    .0.12
//! ```
//!
//! ```no_run
//! use lab::{Lab, site::{Daemon, Plan, Site}, timeline};
//! use std::time::Duration;
//!
//! let Some(lab) = Lab::open("claim", &[]) else { return };
//! let site = Site::build(&lab, &Plan::testcard());
//! let viewer = site.viewer("anna", &site.room);
//! let mut daemons = site.start_all(); // database, acquisition, hall, annex, each ready
//! site.wait_active(&viewer, 1, Duration::from_secs(10));
//! let watching = site.watch(&viewer, 1, &lab.path("anna.ts"));
//! daemons.hall.kill9();
//! daemons.hall.restart();
//! let mut annex = site.start(Daemon::Annex); // one by one, in any order; not waited for
//! ```
//!
//! A [`Plan`] is plain data: change its fields, or build one of your own. Streams reach the daemons over `core`, so that
//! `room` and `ward` carry nothing but what goes to viewers and what viewers ask.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use serde::Deserialize;

use crate::cable::Cable;
use crate::command::Command;
use crate::host::Host;
use crate::lan::Lan;
use crate::process::Process;
use crate::{Lab, timeline};

/// The group of every channel in `room`.
pub const ROOM_GROUP: &str = "239.192.1.1";
/// Where the source sends to `roof` in [`Plan::stream`], over `core`.
pub const SOURCE_GROUP: &str = "239.192.9.5:5004";
/// The database server's address.
pub const DATABASE: &str = "10.77.0.2";
/// Longest that a daemon may take to say that it is ready.
pub const READY_LIMIT: Duration = Duration::from_secs(10);
/// Room and ward number their viewers from here on.
const FIRST_VIEWER: u8 = 100;

/// One of the four servers of the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Daemon {
    /// The database server.
    Database,
    /// Acquisition server `roof`.
    Acquisition,
    /// Push server `hall`.
    Hall,
    /// Push server `annex`.
    Annex,
}

impl Daemon {
    /// All of them, in the order of an orderly start.
    pub const ALL: [Self; 4] = [Self::Database, Self::Acquisition, Self::Hall, Self::Annex];
}

/// A channel of the plan, from an input of `roof`.
#[derive(Debug, Clone)]
pub struct PlannedChannel {
    /// Its id; its port is 7600 + id.
    pub id: u32,
    /// What viewers read.
    pub name: String,
    /// Id of one of [`Plan::inputs`].
    pub input: String,
    /// The service of it; `None`: all that it brings.
    pub service: Option<u16>,
}

/// A destination of a push server.
#[derive(Debug, Clone)]
pub struct PlannedDestination {
    /// Group, directed broadcast or host address.
    pub address: String,
    /// Interface name or address; needed for groups.
    pub interface: Option<String>,
    /// Prefixes.
    pub serves: Vec<String>,
}

/// A push server of the plan; it carries all channels.
#[derive(Debug, Clone)]
pub struct PlannedHost {
    /// `hall` or `annex`, or what the test added.
    pub id: String,
    /// Its address on `core`.
    pub address: String,
    /// Where it sends.
    pub destinations: Vec<PlannedDestination>,
}

/// What the topology will say.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Id and URL of each input of `roof`.
    pub inputs: Vec<(String, String)>,
    /// What can be watched.
    pub channels: Vec<PlannedChannel>,
    /// Who sends it where.
    pub push_servers: Vec<PlannedHost>,
    /// Appended to the file as it is.
    pub appendix: String,
}

impl Plan {
    /// Channel 1 from `url`; `hall` multicasts to the room, `annex` broadcasts to the ward.
    pub fn of(url: &str) -> Self {
        let hall = PlannedHost::new("hall", "10.77.0.11", vec![PlannedDestination::room()]);
        let annex = PlannedHost::new("annex", "10.77.0.12", vec![PlannedDestination::ward()]);
        let plan = Self {
            inputs: Vec::new(),
            channels: Vec::new(),
            push_servers: vec![hall, annex],
            appendix: String::new(),
        };
        plan.with_channel(1, "One", url)
    }

    /// As [`Self::of`] the built-in test card.
    pub fn testcard() -> Self {
        Self::of("testcard:")
    }

    /// As [`Self::of`] bare transport stream datagrams to [`SOURCE_GROUP`] on `core`.
    pub fn stream() -> Self {
        Self::of(&format!("udp://{SOURCE_GROUP}?interface=core"))
    }

    /// One more channel, with an input of its own, on all push servers.
    #[must_use]
    pub fn with_channel(mut self, id: u32, name: &str, url: &str) -> Self {
        let input = format!("input-{id}");
        self.inputs.push((input.clone(), url.into()));
        self.channels.push(PlannedChannel { id, name: name.into(), input, service: None });
        self
    }

    /// Channel 1 as a service of its input.
    #[must_use]
    pub fn with_service(mut self, service: u16) -> Self {
        self.channels[0].service = Some(service);
        self
    }

    /// Only these channels, each a service of the one input `url`.
    #[must_use]
    pub fn with_services(mut self, url: &str, services: &[(u32, u16)]) -> Self {
        self.inputs = vec![("multiplex".into(), url.into())];
        let channel = |&(id, service): &(u32, u16)| PlannedChannel {
            id,
            name: format!("Service {service}"),
            input: "multiplex".into(),
            service: Some(service),
        };
        self.channels = services.iter().map(channel).collect();
        self
    }

    /// `annex` may multicast to the room too: it and `hall` are rivals there.
    #[must_use]
    pub fn with_rivals(mut self) -> Self {
        self.push_servers[1].destinations.push(PlannedDestination::room());
        self
    }

    /// The text of `topology.toml`.
    pub fn text(&self) -> String {
        let mut text =
            format!("[database_server]\naddress = \"{DATABASE}\"\n\n[[acquisition_server]]\nid = \"roof\"\n");
        let mut line = |arguments: std::fmt::Arguments<'_>| {
            text.write_fmt(arguments).expect("a String takes everything");
        };
        for (id, url) in &self.inputs {
            line(format_args!("  [[acquisition_server.input]]\n  id = {id:?}\n  url = {url:?}\n"));
        }
        for PlannedChannel { id, name, input, service } in &self.channels {
            line(format_args!(
                "\n[[channel]]\nid = {id}\nname = {name:?}\nacquisition_server = \"roof\"\ninput = {input:?}\n"
            ));
            if let Some(service) = service {
                line(format_args!("service = {service}\n"));
            }
        }
        let ids: Vec<u32> = self.channels.iter().map(|channel| channel.id).collect();
        for PlannedHost { id, address, destinations } in &self.push_servers {
            line(format_args!("\n[[push_server]]\nid = {id:?}\naddress = {address:?}\nchannels = {ids:?}\n"));
            for PlannedDestination { address, interface, serves } in destinations {
                line(format_args!(
                    "  [[push_server.destination]]\n  address = {address:?}\n  serves = {serves:?}\n"
                ));
                if let Some(interface) = interface {
                    line(format_args!("  interface = {interface:?}\n"));
                }
            }
        }
        line(format_args!("{}", self.appendix));
        text
    }
}

impl PlannedHost {
    /// A push server with these destinations.
    pub fn new(id: &str, address: &str, destinations: Vec<PlannedDestination>) -> Self {
        Self { id: id.into(), address: address.into(), destinations }
    }
}

impl PlannedDestination {
    /// The group of the room.
    pub fn room() -> Self {
        Self {
            address: ROOM_GROUP.into(),
            interface: Some("room".into()),
            serves: vec!["10.77.1.0/24".into()],
        }
    }

    /// The directed broadcast address of the ward.
    pub fn ward() -> Self {
        Self { address: "10.77.2.255".into(), interface: None, serves: vec!["10.77.2.0/24".into()] }
    }
}

/// A channel as `masthead-client --format json channels` lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Listed {
    /// Its id.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// `active` or `inactive`.
    pub status: String,
    /// Why it is inactive, as far as that is known.
    pub cause: Option<String>,
}

impl Listed {
    /// Whether it could be had.
    pub fn is_active(&self) -> bool {
        self.status == "active"
    }
}

/// The four servers at work.
#[derive(Debug)]
pub struct Daemons {
    /// The database server.
    pub database: Process,
    /// Acquisition server `roof`.
    pub acquisition: Process,
    /// Push server `hall`.
    pub hall: Process,
    /// Push server `annex`.
    pub annex: Process,
}

/// The site: hosts and LANs, its topology file and its key.
#[derive(Debug)]
pub struct Site {
    /// The lab that it stands in.
    pub lab: Lab,
    /// Backbone, 10.77.0.0/24: servers, source, router.
    pub core: Lan,
    /// Viewers who get multicast, 10.77.1.0/24.
    pub room: Lan,
    /// Viewers who get directed broadcast, 10.77.2.0/24.
    pub ward: Lan,
    /// A host for a streamer: 10.77.0.10.
    pub source: Host,
    /// The acquisition server's host: 10.77.0.3.
    pub roof: Host,
    /// The database server's host: 10.77.0.2.
    pub database: Host,
    /// A push server's host: 10.77.0.11 and 10.77.1.11.
    pub hall: Host,
    /// The other push server's host: 10.77.0.12, 10.77.1.12 and 10.77.2.12.
    pub annex: Host,
    /// Between core, room and ward; .254 everywhere.
    pub router: Host,
    /// `topology.toml`.
    pub topology: PathBuf,
    /// The cluster key.
    pub key: PathBuf,
    next_viewer: AtomicU8,
}

impl Site {
    /// Makes hosts and LANs, writes the topology of `plan`, makes the cluster key. Nothing of ours runs yet.
    pub fn build(lab: &Lab, plan: &Plan) -> Self {
        let core = lab.lan("core", "10.77.0.0/24");
        let (room, ward) = (lab.lan("room", "10.77.1.0/24"), lab.lan("ward", "10.77.2.0/24"));
        let [source, roof, database, hall, annex] =
            ["source", "roof", "database", "hall", "annex"].map(|name| lab.host(name));
        let router = lab.router("router");
        let plugs = [
            (&source, &core, "10.77.0.10"),
            (&roof, &core, "10.77.0.3"),
            (&database, &core, DATABASE),
            (&hall, &core, "10.77.0.11"),
            (&hall, &room, "10.77.1.11"),
            (&annex, &core, "10.77.0.12"),
            (&annex, &room, "10.77.1.12"),
            (&annex, &ward, "10.77.2.12"),
            (&router, &core, "10.77.0.254"),
            (&router, &room, "10.77.1.254"),
            (&router, &ward, "10.77.2.254"),
        ];
        for (host, lan, address) in plugs {
            lab.attach(host, lan, address);
        }
        for host in [&source, &roof, &database, &hall, &annex] {
            host.route("default", "10.77.0.254");
        }
        source.multicast_via(&core);
        let site = Self {
            topology: lab.path("topology.toml"),
            key: lab.path("cluster.key"),
            lab: lab.clone(),
            next_viewer: AtomicU8::new(FIRST_VIEWER),
            core,
            room,
            ward,
            source,
            roof,
            database,
            hall,
            annex,
            router,
        };
        site.write_topology(plan);
        Command::line("masthead key --file").arg(&site.key).succeed();
        site
    }

    /// Replaces `topology.toml`; the database server reads it at its start, and again at a SIGHUP.
    pub fn write_topology(&self, plan: &Plan) {
        std::fs::write(&self.topology, plan.text()).expect("the lab's folder is writable");
    }

    /// How `daemon` is started on its host.
    pub fn command(&self, daemon: Daemon) -> Command {
        let key = |line: &str| Command::line(line).arg("--cluster-key").arg(&self.key);
        match daemon {
            Daemon::Database => key("masthead-database-server")
                .arg("--topology")
                .arg(&self.topology)
                .arg("--data")
                .arg(self.lab.path("database")),
            Daemon::Acquisition => key(&format!("masthead-acquisition --id roof --database {DATABASE}")),
            Daemon::Hall => key(&format!("masthead-push-server --id hall --database {DATABASE}")),
            Daemon::Annex => key(&format!("masthead-push-server --id annex --database {DATABASE}")),
        }
    }

    /// Where `daemon` runs.
    pub fn host_of(&self, daemon: Daemon) -> &Host {
        match daemon {
            Daemon::Database => &self.database,
            Daemon::Acquisition => &self.roof,
            Daemon::Hall => &self.hall,
            Daemon::Annex => &self.annex,
        }
    }

    /// Starts `daemon` and does not wait.
    pub fn start(&self, daemon: Daemon) -> Process {
        self.host_of(daemon).spawn(self.command(daemon))
    }

    /// Starts all four, each when the one before is ready.
    pub fn start_all(&self) -> Daemons {
        let [database, acquisition, hall, annex] = Daemon::ALL.map(|daemon| {
            let mut process = self.start(daemon);
            process.wait_for_line("ready", READY_LIMIT);
            process
        });
        Daemons { database, acquisition, hall, annex }
    }

    /// A new host on `lan` with the next free address, routed to the servers.
    pub fn viewer(&self, name: &str, lan: &Lan) -> Host {
        let viewer = self.lab.host(name);
        let net = lan.broadcast().octets();
        let at = |last: u8| Ipv4Addr::new(net[0], net[1], net[2], last).to_string();
        self.lab.attach(&viewer, lan, &at(self.next_viewer.fetch_add(1, Ordering::Relaxed)));
        viewer.route("default", &at(254));
        viewer
    }

    /// As [`Self::viewer`], by a cable that can lose, delay and hold back.
    pub fn viewer_by_cable(&self, name: &str, lan: &Lan) -> (Host, Cable) {
        let viewer = self.lab.host(name);
        let net = lan.broadcast().octets();
        let at = |last: u8| Ipv4Addr::new(net[0], net[1], net[2], last).to_string();
        let address = at(self.next_viewer.fetch_add(1, Ordering::Relaxed));
        let cable = self.lab.attach_by_cable(&viewer, lan, &address);
        viewer.route("default", &at(254));
        (viewer, cable)
    }

    /// `masthead-client` as it is run on `viewer`, which keeps its channel lists between runs.
    pub fn client(&self, viewer: &Host) -> Command {
        Command::line(&format!("masthead-client --database {DATABASE}"))
            .env("XDG_CACHE_HOME", self.lab.path(&format!("cache-{}", viewer.name())))
    }

    /// Starts `masthead-client watch CHANNEL --output OUTPUT` on `viewer`.
    pub fn watch(&self, viewer: &Host, channel: u32, output: &Path) -> Process {
        viewer.spawn(
            self.client(viewer).args(["watch", &channel.to_string(), "--output"]).arg(output.as_os_str()),
        )
    }

    /// The channel list that `viewer` gets; `None` when the client gives none.
    pub fn channels(&self, viewer: &Host) -> Option<Vec<Listed>> {
        #[derive(Deserialize)]
        struct List {
            channels: Vec<Listed>,
        }
        let output = viewer.output(self.client(viewer).args(["--format", "json", "channels"]));
        let list: List = serde_json::from_slice(&output.stdout).ok()?;
        output.status.success().then_some(list.channels)
    }

    /// Waits until `viewer` sees `channel` as active; how long that took.
    pub fn wait_active(&self, viewer: &Host, channel: u32, limit: Duration) -> Duration {
        self.wait_listed(viewer, channel, limit, Listed::is_active)
    }

    /// Waits until `viewer` sees `channel` as inactive; how long that took.
    pub fn wait_inactive(&self, viewer: &Host, channel: u32, limit: Duration) -> Duration {
        self.wait_listed(viewer, channel, limit, |listed| !listed.is_active())
    }

    /// Where `channel` arrives in the room.
    pub fn in_room(&self, channel: u16) -> SocketAddr {
        SocketAddr::new(ROOM_GROUP.parse().expect("an address"), 7600 + channel)
    }

    /// Where `channel` arrives in the ward.
    pub fn in_ward(&self, channel: u16) -> SocketAddr {
        SocketAddr::new(self.ward.broadcast().into(), 7600 + channel)
    }

    fn wait_listed(
        &self,
        viewer: &Host,
        channel: u32,
        limit: Duration,
        wanted: impl Fn(&Listed) -> bool,
    ) -> Duration {
        let start = std::time::Instant::now();
        let mut last = None;
        let claim = format!("{} sees channel {channel} as wanted", viewer.name());
        loop {
            last = self.channels(viewer).or(last);
            if last.iter().flatten().any(|listed| listed.id == channel && wanted(listed)) {
                return start.elapsed();
            }
            assert!(start.elapsed() < limit, "not within {limit:?}: {claim}; last list: {last:?}");
            timeline::pause(Duration::from_millis(20));
        }
    }
}

/// Bytes in `file` so far; 0 when it does not exist.
pub fn file_bytes(file: &Path) -> u64 {
    file.metadata().map_or(0, |metadata| metadata.len())
}

/// Waits until `file` has grown by `bytes`; how long that took.
pub fn wait_for_growth(file: &Path, bytes: u64, limit: Duration) -> Duration {
    let before = file_bytes(file);
    let claim = format!("{} grows by {bytes} bytes", file.display());
    timeline::until(&claim, limit, || file_bytes(file) >= before + bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_topologies() {
        let plans = [
            Plan::testcard(),
            Plan::stream(),
            Plan::stream().with_rivals().with_channel(2, "Two", "file:/a.ts"),
        ];
        for plan in plans {
            let text = plan.text();
            let parsed = protocols::topology::Topology::parse("topology.toml", &text);
            parsed.unwrap_or_else(|faults| panic!("{text}\n{faults:?}"));
        }
    }
}
