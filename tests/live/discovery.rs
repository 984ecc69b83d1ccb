//! A client that is told no address finds its site on the LAN.

use std::time::Duration;

use lab::command::Command;
use lab::site::{Daemon, Plan, READY_LIMIT, Site};
use lab::{Lab, timeline};

const PATIENCE: Duration = Duration::from_secs(15);

/// Goal: on a LAN of one site a client without any address lists it, gets its channels and watches; of two sites it says how to
/// choose; a database server that may not announce itself is not found.
/// Method: the viewer is on the database server's own LAN, as a small house has it, and the topology serves that LAN; the
/// second site is another database server there.
#[test]
fn a_client_without_an_address_finds_its_site_and_watches() {
    let Some(lab) = Lab::open("a_client_without_an_address_finds_its_site_and_watches", &[]) else { return };
    let site = Site::build(&lab, &Plan::testcard());
    let text = Plan::testcard()
        .text()
        .replace("[database_server]\n", "[database_server]\nname = \"Harbour House\"\n");
    let core = "[[push_server.destination]]\n  address = \"239.192.1.1\"\n  serves = [\"10.77.0.0/24\"]\n  interface = \"core\"\n";
    let text = text.replacen("[[push_server.destination]]\n  address = \"239.192.1.1\"\n  serves = [\"10.77.1.0/24\"]\n  interface = \"room\"\n", core, 1);
    std::fs::write(&site.topology, &text).unwrap();
    let zoe = site.viewer("zoe", &site.core);
    let client = |arguments: &[&str]| {
        let command = Command::line("masthead-client").args(arguments.iter().copied());
        zoe.output(command.env("XDG_CACHE_HOME", lab.path("cache-zoe")))
    };
    let none = client(&["sites"]);
    assert!(!none.status.success(), "nobody is there yet");

    let mut daemons: Vec<_> = [Daemon::Database, Daemon::Acquisition, Daemon::Hall]
        .into_iter()
        .map(|daemon| {
            let mut process = site.start(daemon);
            process.wait_for_line("ready", READY_LIMIT);
            process
        })
        .collect();
    let listed = || {
        let output = client(&["--format", "json", "sites"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.contains("\"Harbour House\"").then_some(text)
    };
    let text = timeline::obtain("the site is listed", PATIENCE, listed);
    assert!(
        text.contains("\"database\":\"10.77.0.2:7402\"") && text.contains("http://10.77.0.2:7480/"),
        "{text}"
    );

    let active = || String::from_utf8_lossy(&client(&["channels"]).stdout).contains("active");
    timeline::until("the channels come", PATIENCE, active);
    let file = lab.path("zoe.ts");
    let watched = client(&["watch", "1", "--duration", "2", "--output", file.to_str().unwrap()]);
    assert!(watched.status.success(), "{}", String::from_utf8_lossy(&watched.stderr));
    assert!(std::fs::metadata(&file).unwrap().len() > 100_000, "two seconds of pictures");

    // A second site, and a client that remembers none.
    let second = text_of_second(&std::fs::read_to_string(&site.topology).unwrap());
    let path = lab.path("second.toml");
    std::fs::write(&path, second).unwrap();
    let start = |more: &str| {
        let command = Command::line(&format!("masthead-database-server {more}")).args([
            "--topology",
            path.to_str().unwrap(),
            "--data",
            lab.path("second").to_str().unwrap(),
        ]);
        let mut process = site.source.spawn(command);
        process.wait_for_line("ready", READY_LIMIT);
        process
    };
    let fresh = || {
        zoe.output(Command::line("masthead-client channels").env("XDG_CACHE_HOME", lab.path("cache-fresh")))
    };
    let hidden = start("--no-announce");
    for _ in 0..3 {
        std::fs::remove_dir_all(lab.path("cache-fresh")).ok();
        let output = fresh();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    drop(hidden);
    let _second = start("");
    let told = timeline::obtain("there are two to choose from", PATIENCE, || {
        std::fs::remove_dir_all(lab.path("cache-fresh")).ok();
        let output = fresh();
        (output.status.code() == Some(2)).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
    });
    assert!(told.contains("--database 10.77.0.2:7402 (Harbour House)") && told.contains("(Ship)"), "{told}");
    daemons.clear();
}

/// Another site's topology, on the source's host.
fn text_of_second(first: &str) -> String {
    first.replace("Harbour House", "Ship").replace("address = \"10.77.0.2\"", "address = \"10.77.0.10\"")
}
