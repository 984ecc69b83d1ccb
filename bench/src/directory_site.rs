//! A real database server on one core, with stand-ins for all other servers, and a topology of any number of channels.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use lab::{Command, Host, Process, command};
use protocols::authority::ClusterKey;

use crate::cpu::CpuClocks;
use crate::ground::Ground;
use crate::stand_ins::{ACQUISITION, CONTROL_PORT, HOST, StandIns};

/// The database server, which is all that is measured.
#[derive(Debug)]
pub struct DirectorySite {
    // Goes before the process: the stand-ins take its end for a failure.
    _stand_ins: StandIns,
    /// The process.
    pub process: Process,
    /// Where it runs.
    pub host: Host,
}

const READY: Duration = Duration::from_secs(20);
/// From the start until everything is assigned and known to be: the server's grace, and what follows.
const SETTLED: Duration = Duration::from_secs(4);

impl DirectorySite {
    /// Starts it with the channels 1 to `channels`, on the last core of this machine if it has several.
    pub fn start(ground: &Ground, channels: u32) -> Self {
        let key = ClusterKey::new([0x6d; 32]);
        let (lab, host) = (ground.lab(), ground.host());
        let (key_path, topology) = (lab.path("cluster.key"), lab.path("topology.toml"));
        std::fs::write(&key_path, key.to_file_text()).expect("the laboratory's folder can be written");
        std::fs::set_permissions(&key_path, std::fs::Permissions::from_mode(0o600)).expect("own file");
        std::fs::write(&topology, text(channels)).expect("the laboratory's folder can be written");
        let data = lab.path(&format!("data-{channels}"));
        let core = std::thread::available_parallelism().map_or(0, |cores| cores.get() - 1);
        let mut process = host.spawn(
            Command::new("taskset")
                .args(["--cpu-list", &core.to_string()])
                .arg(command::ours("masthead-database-server"))
                .arg("--topology")
                .arg(&topology)
                .arg("--cluster-key")
                .arg(&key_path)
                .arg("--data")
                .arg(&data),
        );
        process.wait_for_line("ready", READY);
        let stand_ins = StandIns::start(host, key, channels);
        std::thread::sleep(SETTLED);
        Self { process, host: host.clone(), _stand_ins: stand_ins }
    }

    /// Its CPU clock.
    pub fn cpu(&self) -> CpuClocks {
        CpuClocks::of([self.process.pid()])
    }
}

fn text(channels: u32) -> String {
    let mut text = format!(
        "[database_server]\naddress = \"127.0.0.1\"\n[[acquisition_server]]\nid = \"{ACQUISITION}\"\n\
         [[acquisition_server.input]]\nid = \"card\"\nurl = \"testcard:\"\n"
    );
    for id in 1..=channels {
        let declared = format_args!(
            "[[channel]]\nid = {id}\nname = \"Channel {id}\"\nacquisition_server = \"{ACQUISITION}\"\ninput = \"card\"\n"
        );
        text.write_fmt(declared).expect("a String takes everything");
    }
    let ids: Vec<u32> = (1..=channels).collect();
    let pushed = format_args!(
        "[[push_server]]\nid = \"{HOST}\"\naddress = \"127.0.0.1\"\ncontrol_port = {CONTROL_PORT}\nchannels = {ids:?}\n\
         [[push_server.destination]]\naddress = \"239.192.1.1\"\ninterface = \"127.0.0.1\"\nserves = [\"127.0.0.0/8\"]\n"
    );
    text.write_fmt(pushed).expect("a String takes everything");
    text
}
