//! Administration while people watch.

use std::net::IpAddr;
use std::time::Duration;

use lab::member::Member;
use lab::site::{Plan, Site};
use lab::{Command, Lab, timeline};

use crate::viewing::{Viewing, witness};

const PATIENCE: Duration = Duration::from_secs(15);
/// How long it goes on after an event.
const CALM: Duration = Duration::from_secs(3);
/// Edits, half of them wrong, unless `MASTHEAD_LIVE_EDITS` says otherwise.
const EDITS: u32 = 20;

/// `masthead-client admin` on the database server's host, by the cluster key.
fn admin(site: &Site, arguments: &[&str]) -> Command {
    let command = site.client(&site.database).env("XDG_CONFIG_HOME", site.lab.path("config"));
    command.arg("admin").arg("--cluster-key").arg(&site.key).args(arguments)
}

/// Who sent the newest packet.
fn serving(member: &Member) -> IpAddr {
    member.received().last().expect("there are packets").source.ip()
}

/// Goal: a push server that is drained hands its viewers over, and none of them loses a packet, without any repair.
/// Method: two push servers for the room; the one that sends is drained from a terminal, and undrained again.
#[test]
fn a_drained_push_servers_viewers_lose_no_packet() {
    let Some(lab) = Lab::open("a_drained_push_servers_viewers_lose_no_packet", &[]) else { return };
    let site = Site::build(&lab, &Plan::testcard().with_rivals());
    let viewers = ["anna", "bert"].map(|name| site.viewer(name, &site.room));
    let _daemons = site.start_all();
    site.wait_active(&viewers[0], 1, PATIENCE);
    let member = witness(&site, "witness", &site.room);
    let viewings =
        viewers.each_ref().map(|viewer| Viewing::start_with(&site, viewer, 1, &["--repair", "off"]));
    for viewing in &viewings {
        viewing.wait_for_pictures(PATIENCE);
    }
    timeline::lasts(CALM);

    let first = serving(&member);
    let name = if first == IpAddr::from(site.hall.address_on(&site.room)) { "hall" } else { "annex" };
    site.database.run(admin(&site, &["drain", name]));
    let text = std::fs::read_to_string(&site.topology).unwrap();
    assert!(text.contains("drain = true"), "{text}");
    let took = timeline::until("the other push server serves", PATIENCE, || serving(&member) != first);
    lab.note(format_args!("{name} drained; the other one serves, seen after {took:?}"));
    timeline::lasts(CALM);
    let second = serving(&member);
    assert_ne!(second, first, "the one that is drained has stopped");
    site.database.run(admin(&site, &["undrain", name]));
    timeline::lasts(CALM);
    assert_eq!(serving(&member), second, "nobody is moved back");
    for viewing in viewings {
        viewing.finish_without_loss();
    }
}

/// Goal: edits of other channels, right and wrong ones, leave a viewer alone and the file whole.
/// Method: a viewer watches channel 1 while channels beside it are added, changed and removed from a terminal.
#[test]
fn edits_beside_a_watched_channel_cost_its_viewer_no_packet() {
    let Some(lab) = Lab::open("edits_beside_a_watched_channel_cost_its_viewer_no_packet", &[]) else {
        return;
    };
    let mut plan = Plan::testcard().with_channel(2, "Two", "testcard:");
    plan.appendix = "# nobody may lose this\n".to_owned();
    let site = Site::build(&lab, &plan);
    let viewer = site.viewer("anna", &site.room);
    let _daemons = site.start_all();
    site.wait_active(&viewer, 1, PATIENCE);
    let viewing = Viewing::start(&site, &viewer, 1);
    viewing.wait_for_pictures(PATIENCE);

    let edits =
        std::env::var("MASTHEAD_LIVE_EDITS").ok().and_then(|count| count.parse().ok()).unwrap_or(EDITS);
    for n in 0..edits {
        let (id, name) = ((100 + n / 4).to_string(), format!("name=Channel {n}"));
        let table = format!("channel:{id}");
        let arguments: &[&str] = match n % 4 {
            0 => &[
                "topology",
                "add-channel",
                &id,
                &name,
                "acquisition_server=roof",
                "input=input-2",
                "--push-server",
                "hall",
            ],
            1 => &["topology", "set", &table, "input=nothing"],
            2 => &["topology", "set", "channel:2", &name, "--yes"],
            _ => &["topology", "remove", if n % 8 == 3 { &table } else { "channel:9999" }],
        };
        let output = site.database.output(admin(&site, arguments));
        let wrong = n % 4 == 1 || n % 8 == 7;
        let code = output.status.code();
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(code, Some(if wrong { 2 } else { 0 }), "{arguments:?}: {words}");
    }
    let text = std::fs::read_to_string(&site.topology).unwrap();
    assert!(text.contains("# nobody may lose this"), "{text}");
    Command::line("masthead check").arg(&site.topology).succeed();
    timeline::lasts(CALM);
    let recording = viewing.finish_without_loss();
    lab.note(format_args!("{edits} edits, half of them refused; the viewer has {} bytes", recording.len()));
}
