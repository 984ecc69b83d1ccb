//! One network namespace: made, entered, removed with whatever still runs in it.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use rustix::process::{Pid, Signal};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::Ground;
use crate::command::Command;

/// Where iproute2 keeps named namespaces.
const NAMESPACE_FOLDER: &str = "/run/netns";

/// A network namespace of the lab.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    ground: Arc<Ground>,
}

impl Namespace {
    pub(crate) fn create(ground: Arc<Ground>, short_name: &str) -> Arc<Self> {
        let name = format!("{}-{short_name}", ground.prefix());
        Command::line(&format!("ip netns add {name}")).succeed();
        let made = Self { name, ground };
        made.run("ip link set lo up");
        // Addresses are usable at once: nobody else can have them.
        made.sysctl(&["net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.default.dad_transmits=0"]);
        Arc::new(made)
    }

    /// The full name, as `ip netns list` shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `command` in here and returns its standard output; a command that does not succeed fails the test.
    pub fn run(&self, command: impl Into<Command>) -> String {
        command.into().succeed_in(Some(&self.name))
    }

    /// Sets kernel parameters, each as `name=value`.
    pub fn sysctl(&self, settings: &[&str]) {
        for setting in settings {
            let (name, value) = setting.split_once('=').expect("a setting is name=value");
            let path = format!("/proc/sys/{}", name.replace('.', "/"));
            self.enter(|| std::fs::write(&path, value))
                .unwrap_or_else(|error| panic!("{path} := {value}: {error}"));
        }
    }

    /// Runs `act` on a thread of its own inside the namespace: sockets that it makes stay there wherever they go.
    pub fn enter<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let path = format!("{NAMESPACE_FOLDER}/{}", self.name);
        let file = File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("root may enter");
                act()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    pub(crate) fn ground(&self) -> &Arc<Ground> {
        &self.ground
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Kills what still runs in the namespace `name` and removes it.
fn remove(name: &str) {
    let pids = Command::line(&format!("ip netns pids {name}")).output();
    for pid in String::from_utf8_lossy(&pids.stdout).lines().filter_map(|line| line.trim().parse().ok()) {
        if let Some(pid) = Pid::from_raw(pid) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
    let _ = Command::line(&format!("ip netns del {name}")).output();
}

/// Removes namespaces of test processes that were killed before they could: named after a process that is no more.
pub(crate) fn remove_stale() {
    let Ok(entries) = std::fs::read_dir(NAMESPACE_FOLDER) else { return };
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let owner = name
            .strip_prefix("mh")
            .and_then(|rest| rest.split_once('-'))
            .and_then(|(pid, _)| pid.parse().ok());
        let Some(owner) = owner.and_then(Pid::from_raw) else { continue };
        if rustix::process::test_kill_process(owner).is_err() {
            remove(&name);
        }
    }
}
