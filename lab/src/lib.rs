//! The network laboratory: hosts, LANs and routers made of Linux network namespaces, real processes in them, and judges
//! that did not come from us.
//!
//! ```no_run
//! use lab::{Lab, judge, timeline};
//! use std::time::Duration;
//!
//! // Prints a SKIPPED line and returns when this machine cannot (not root, no ffmpeg, ...).
//! let Some(lab) = Lab::open("viewer_gets_the_picture", &["ffmpeg", "tcpdump"]) else { return };
//! let hall = lab.lan("hall", "10.77.1.0/24"); // a switch with IGMP snooping and a querier
//! let (push, viewer) = (lab.host("push"), lab.host("viewer"));
//! lab.attach(&push, &hall, "10.77.1.1"); // and fd00:10:77:1::1
//! lab.attach(&viewer, &hall, "10.77.1.2");
//! let wire = hall.heard_by(&viewer, "udp dport 7601"); // counted by the kernel, not by us
//! let mut server = push.spawn("masthead-push-server --id hall --database 10.77.1.1"); // our own, just built
//! server.wait_for_line("waiting for the database server", Duration::from_secs(5));
//! timeline::stays("nobody watches, nothing is sent", Duration::from_secs(2), || wire.packets() == 0);
//! server.kill9();
//! server.restart();
//! ```
//!
//! Nothing here touches the machine's own network: bridges too live in namespaces of their own. Everything made is removed
//! when the last handle goes, panics included; the lab's folder (logs, captures, recordings) stays when the test failed, and
//! its path is printed. One lab exists at a time on a machine, held by a file lock, so that no test disturbs the timing of
//! another. Whatever goes wrong inside the laboratory itself fails the test by a panic that says what was tried.
#![expect(
    clippy::disallowed_methods,
    reason = "the laboratory is all effects: real processes, clocks, sockets"
)]
#![expect(clippy::missing_panics_doc, reason = "the laboratory's one error path is the failing test")]

mod acceptor;
pub mod broadcast;
pub mod cable;
pub mod closed_captions;
pub mod command;
pub mod hdhomerun_box;
pub mod host;
pub mod impair;
pub mod judge;
pub mod lan;
pub mod lossy_link;
pub mod member;
pub mod multiplex;
pub mod namespace;
pub mod packets;
pub mod pcap;
pub mod player;
pub mod process;
pub mod programme_guide;
pub mod satip_server;
pub mod site;
pub mod skip;
pub mod source;
pub mod teletext;
pub mod timeline;
pub mod wire;

pub use cable::{Cable, Fault};
pub use command::Command;
pub use host::Host;
pub use impair::{Impairment, Loss};
pub use lan::Lan;
pub use process::Process;

use std::fmt::Arguments;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use namespace::Namespace;

/// Tools without which there is no laboratory at all; tests name what they need beyond these.
pub const ALWAYS_NEEDED: [&str; 5] = ["ip", "bridge", "nft", "ethtool", "setpriv"];

/// Numbers the labs of one process, so that names never collide.
static NEXT_LAB: AtomicU32 = AtomicU32::new(0);

/// One laboratory: a folder, a set of network namespaces, and the lock that keeps other labs away.
#[derive(Debug, Clone)]
pub struct Lab {
    ground: Arc<Ground>,
}

/// What all handles of one lab share; removed when the last of them goes.
#[derive(Debug)]
pub(crate) struct Ground {
    name: String,
    prefix: String,
    folder: PathBuf,
    opened: Instant,
    /// Held, never read: the lock goes with the file.
    _lock: File,
}

impl Lab {
    /// Opens a lab for the test called `name` (the function's own name), which needs `tools` (program names) beside
    /// [`ALWAYS_NEEDED`]. Waits while another lab is open on this machine. `None`, after printing the `SKIPPED` line that
    /// `tests/run` counts, when the machine cannot run it.
    pub fn open(name: &str, tools: &[&str]) -> Option<Self> {
        let needed: Vec<&str> = ALWAYS_NEEDED.iter().chain(tools).copied().collect();
        if let Some(reason) = skip::obstacle(&needed) {
            skip::report(name, &reason);
            return None;
        }
        let lock = File::create(std::env::temp_dir().join("masthead-lab.lock"))
            .expect("a lock file in the temporary folder");
        lock.lock().expect("the lock of the laboratory");
        namespace::remove_stale();
        let number = NEXT_LAB.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("mh{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(format!("masthead-lab-{name}-{prefix}"));
        std::fs::create_dir_all(&folder).expect("a folder for logs and captures");
        // Players run as nobody and write their recordings here.
        rustix::fs::chmod(&folder, rustix::fs::Mode::from_raw_mode(0o777))
            .expect("own folder can be opened to all");
        let ground = Ground { name: name.into(), prefix, folder, opened: Instant::now(), _lock: lock };
        Some(Self { ground: Arc::new(ground) })
    }

    /// A new host: an empty network with loopback. `name` is at most 11 letters, unique in the lab: it is also the name of
    /// the host's ports on switches.
    pub fn host(&self, name: &str) -> Host {
        Host::new(name, Namespace::create(self.ground.clone(), name))
    }

    /// A new host that forwards between its LANs: unicast, and directed broadcasts too.
    pub fn router(&self, name: &str) -> Host {
        let router = self.host(name);
        router.namespace().sysctl(&["net.ipv4.ip_forward=1", "net.ipv4.conf.all.bc_forwarding=1"]);
        router.namespace().sysctl(&["net.ipv6.conf.all.forwarding=1"]);
        router
    }

    /// A new switch with IGMP and MLD snooping and a querier, for `prefix` such as `10.77.1.0/24` (IPv6 follows: see
    /// [`lan::address_v6`]). `name` is at most 11 letters: hosts see their interface under it.
    pub fn lan(&self, name: &str, prefix: &str) -> Lan {
        Lan::new(name, prefix, Namespace::create(self.ground.clone(), &format!("lan-{name}")))
    }

    /// Plugs `host` into `lan` under an IPv4 `address` of the LAN and the IPv6 address that follows from it. The host's
    /// interface is called as the LAN, the switch's port as the host. Segmentation offloads are off on both ends, so
    /// that every datagram is a packet of its own on the wire.
    pub fn attach(&self, host: &Host, lan: &Lan, address: &str) {
        lan.plug(host, address);
    }

    /// As [`Self::attach`], by a cable that can lose, delay and hold back what it carries; it does nothing of it yet.
    pub fn attach_by_cable(&self, host: &Host, lan: &Lan, address: &str) -> Cable {
        lan.plug_by_cable(
            host,
            address,
            Namespace::create(self.ground.clone(), &format!("cable-{}", host.name())),
        )
    }

    /// Whether a ping from `from` comes back from `address` within a second.
    pub fn reaches(&self, from: &Host, address: &str) -> bool {
        from.output(format!("ping -c 1 -W 1 -n {address}")).status.success()
    }

    /// The lab's folder: logs, captures, recordings. Removed at the end unless the test failed.
    pub fn folder(&self) -> &Path {
        &self.ground.folder
    }

    /// A path in the lab's folder.
    pub fn path(&self, file_name: &str) -> PathBuf {
        self.ground.folder.join(file_name)
    }

    /// Prints one line with the time since the lab opened, uncaptured: for figures that somebody wants to read.
    pub fn note(&self, what: Arguments<'_>) {
        self.ground.note(what);
    }
}

impl Ground {
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn note(&self, what: Arguments<'_>) {
        // Not eprintln!: the test harness would swallow it for tests that pass.
        let _ = writeln!(
            std::io::stderr(),
            "    {} +{:.3} s: {what}",
            self.name,
            self.opened.elapsed().as_secs_f64()
        );
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.note(format_args!("failed; logs and captures are in {}", self.folder.display()));
        } else if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            self.note(format_args!("could not remove {}: {error}", self.folder.display()));
        }
    }
}
