//! The program itself: exit codes, signals, reload. One process per test, loopback only.
#![expect(clippy::disallowed_methods, reason = "a real process is watched with a real clock")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PROGRAM: &str = env!("CARGO_BIN_EXE_masthead-database-server");

struct Process {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Process {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["--listen", "127.0.0.1", "--topology"])
            .arg(folder.join("topology.toml"))
            .arg("--data")
            .arg(folder.join("data"))
            .env_remove("MASTHEAD_LOG")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program was built");
        let log = BufReader::new(child.stderr.take().expect("piped"));
        Self { child, log }
    }

    /// Reads the log up to a line with `text`.
    fn wait_for(&mut self, text: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.log.read_line(&mut line).expect("text"), 0, "the log ended before `{text}`");
            if line.contains(text) {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a process id fits"));
        kill(pid, signal).expect("our child is there");
    }

    fn end(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("our child");
        let rest = self.log.lines().map_while(Result::ok).collect::<Vec<_>>().join("\n");
        (status, rest)
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

fn write_topology(folder: &Path, p1: u16, p2: u16, name: &str) {
    // The same in each file of a run: another port is another topology.
    static HTTP: OnceLock<u16> = OnceLock::new();
    let http = HTTP.get_or_init(free_port);
    let text = format!(
        "[database_server]\naddress = \"127.0.0.1\"\nregistration_port = {p1}\ndirectory_port = {p2}\nhttp_port = {http}\n\
         [[acquisition_server]]\nid = \"roof\"\n[[acquisition_server.input]]\nid = \"card\"\nurl = \"testcard:\"\n\
         [[channel]]\nid = 1\nname = {name}\nacquisition_server = \"roof\"\ninput = \"card\"\n\
         [[push_server]]\nid = \"hall\"\naddress = \"127.0.0.1\"\nchannels = [1]\n[[push_server.destination]]\n\
         address = \"239.192.1.1\"\ninterface = \"127.0.0.1\"\nserves = [\"127.0.0.0/8\"]\n"
    );
    fs::write(folder.join("topology.toml"), text).expect("a temporary folder");
}

#[test]
fn it_starts_reloads_keeps_the_old_topology_when_the_new_one_is_wrong_and_ends_within_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let (p1, p2) = (free_port(), free_port());
    write_topology(folder.path(), p1, p2, "\"One\"");
    let mut process = Process::start(folder.path());
    process.wait_for("ready");
    process.wait_for("generation=1");
    write_topology(folder.path(), p1, p2, "\"Eins\"");
    process.signal(Signal::SIGHUP);
    process.wait_for("generation=2");
    write_topology(folder.path(), p1, p2, "7");
    process.signal(Signal::SIGHUP);
    process.wait_for("the topology stays as it was");
    let begun = Instant::now();
    process.signal(Signal::SIGTERM);
    let (status, _) = process.end();
    assert_eq!(status.code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());

    // The next start knows the generation, after a SIGKILL too.
    write_topology(folder.path(), p1, p2, "\"Eins\"");
    for _ in 0..2 {
        let mut process = Process::start(folder.path());
        process.wait_for("generation=2");
        process.signal(Signal::SIGKILL);
        process.end();
    }
}

#[test]
fn all_faults_of_a_topology_are_told_and_nothing_is_started() {
    let folder = tempfile::tempdir().unwrap();
    write_topology(folder.path(), 7401, 7402, "\"\"");
    let text = fs::read_to_string(folder.path().join("topology.toml")).unwrap();
    fs::write(folder.path().join("topology.toml"), text.replace("channels = [1]", "channels = [1, 9]"))
        .unwrap();
    let (status, log) = Process::start(folder.path()).end();
    assert_eq!(status.code(), Some(2), "{log}");
    assert!(log.contains("topology.toml:"), "{log}");
    assert!(log.contains('9'), "{log}");
    assert!(!folder.path().join("data").exists());
}

#[test]
fn a_port_in_use_ends_it_with_the_port_and_the_advice() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    write_topology(folder.path(), port, free_port(), "\"One\"");
    let (status, log) = Process::start(folder.path()).end();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains(&format!("TCP port {port}")) && log.contains("choose another port"), "{log}");
}
