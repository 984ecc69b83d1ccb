//! Whether this machine can run a test at all, and the line that says why not.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::command::Command;

/// Whether a network namespace could be made, once tried.
static NAMESPACES: OnceLock<bool> = OnceLock::new();

/// Why no lab with these `programs` can exist here: `None` when it can.
pub fn obstacle(programs: &[&str]) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root for network namespaces".into());
    }
    let absent: Vec<&str> = programs.iter().copied().filter(|program| find(program).is_none()).collect();
    if !absent.is_empty() {
        return Some(format!("not installed: {}", absent.join(", ")));
    }
    let works = *NAMESPACES.get_or_init(|| {
        let name = format!("mh{}-probe", std::process::id());
        let made = Command::line(&format!("ip netns add {name}")).output().status.success();
        let _ = Command::line(&format!("ip netns del {name}")).output();
        made
    });
    (!works).then(|| "this kernel or container refuses network namespaces".into())
}

/// Prints `SKIPPED name: reason` on a line of its own, uncaptured; `tests/run` counts these lines.
pub fn report(name: &str, reason: &str) {
    let _ = write!(std::io::stderr(), "\nSKIPPED {name}: {reason}\n");
}

/// Where `program` is installed.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside_path = ["/usr/sbin", "/sbin"].map(PathBuf::from); // where ip and nft are, whatever PATH says
    std::env::split_paths(&path)
        .chain(beside_path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
