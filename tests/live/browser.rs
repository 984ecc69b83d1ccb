//! The console in a real browser: Chromium on a viewer's host, driven by `tests/browser/console.mjs`, on a site of real daemons.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::site::{Daemon, Plan, READY_LIMIT, Site};
use lab::{Command, Host, Lab, Process, skip, timeline};

/// Longest that the browser may take for all of it, on a machine that does other things too.
const BROWSER_LIMIT: Duration = Duration::from_mins(4);
/// Longest until channels and recordings are listed.
const LISTED_LIMIT: Duration = Duration::from_secs(20);
/// The viewer's own gateway, as the database server reaches it.
const GATEWAY: &str = "10.77.1.100:7490";
const SUPERUSER: &str = "admin:seven yellow herons";
const VIEWER: &str = "desk:four quiet otters";

/// Where the driver and its locked packages are.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../browser")
}

/// Installs what the lock file names; why not, when that fails.
fn packages() -> Result<(), String> {
    let mut npm = std::process::Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder());
    match npm.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "npm ci: {}",
            String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or("failed")
        )),
        Err(error) => Err(format!("npm ci: {error}")),
    }
}

/// Screenshots stay when the lab's folder goes.
fn output() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("console");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn account(site: &Site, host: &Host, account: &str, role: &str) {
    let (name, password) = account.split_once(':').unwrap();
    let file = site.lab.path(&format!("password-{name}"));
    std::fs::write(&file, password).unwrap();
    let admin = site.client(host).env("XDG_CONFIG_HOME", site.lab.folder()).args(["admin", "--cluster-key"]);
    let admin = admin.arg(&site.key).args(["account", "add", name, "--role", role, "--new-password-file"]);
    host.run(admin.arg(&file));
}

/// Waits until a line of the driver's output asks for something, failing at once when a claim has failed.
fn asked(driver: &mut Process, text: &str) {
    timeline::obtain_or(
        &format!("the browser gets to {text:?}"),
        BROWSER_LIMIT,
        || {
            let log = driver.log();
            (log.contains(text) || log.contains("FAILED") || !driver.is_running()).then_some(())
        },
        String::new,
    );
    let log = driver.log();
    assert!(log.contains(text), "{log}");
}

/// Goal: all that an administrator and a viewer do in the console works in a real browser on real daemons. Method: a site with
/// two channels, both the test card, recorded at `hall`; a gateway on the viewer's host; Chromium there, by TLS. The
/// driver's claims are in `tests/browser/console.mjs`; this only builds the site and takes the server away when asked.
#[test]
fn the_console_shows_plays_and_edits_in_a_browser() {
    const NAME: &str = "the_console_shows_plays_and_edits_in_a_browser";
    let Some(lab) = Lab::open(NAME, &["chromium", "node", "npm"]) else { return };
    if let Err(reason) = packages() {
        return skip::report(NAME, &reason);
    }
    let plan = Plan::testcard().with_channel(2, "Two", "testcard:");
    let site = Site::build(&lab, &plan);
    let text = plan
        .text()
        .replace(
            "[database_server]\n",
            &format!("[database_server]\nname = \"Hotel\"\ngateway = \"{GATEWAY}\"\n"),
        )
        .replacen("\nchannels = [1, 2]\n", "\nchannels = [1, 2]\nrecord = { keep = \"1h\" }\n", 1);
    std::fs::write(&site.topology, text).unwrap();
    let start = |daemon, more: &[&str]| {
        let mut process = site.host_of(daemon).spawn(site.command(daemon).args(more));
        process.wait_for_line("ready", READY_LIMIT);
        process
    };
    let mut database = start(Daemon::Database, &[]);
    let _acquisition = start(Daemon::Acquisition, &[]);
    let recordings = lab.path("recordings");
    let _hall = start(Daemon::Hall, &["--recordings", recordings.to_str().unwrap()]);
    let viewer = site.viewer("anna", &site.room);
    site.wait_active(&viewer, 2, LISTED_LIMIT);
    account(&site, &viewer, SUPERUSER, "superuser");
    account(&site, &viewer, VIEWER, "viewer");
    let mut gateway = viewer.spawn(site.client(&viewer).args(["gateway", "--listen", GATEWAY]));
    gateway.wait_for_line("gateway at", READY_LIMIT);

    let output = output();
    let mut command = Command::new("node").arg(folder().join("console.mjs"));
    command = command.args(["--url", "https://10.77.0.2:7480", "--plain", "http://10.77.0.2:7480"]);
    command = command.args([
        "--superuser",
        SUPERUSER,
        "--viewer",
        VIEWER,
        "--recording",
        "--fragments",
        "--losing",
    ]);
    command = command.arg("--output").arg(&output).env("HOME", lab.folder());
    let mut driver = viewer.spawn(command);
    asked(&mut driver, "lose the server");
    database.kill9();
    asked(&mut driver, "bring it back");
    database.restart();
    asked(&mut driver, "all claims hold");
    for line in driver.log().lines() {
        lab.note(format_args!("{line}"));
    }
    assert!(driver.wait_exit(READY_LIMIT).success());
}
