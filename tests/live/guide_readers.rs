//! Who reads the programme guide: libxml2's validator and XMLTV's own tools, and viewers after a crash.
#![expect(clippy::disallowed_methods, reason = "live tests are all effects: real clocks and sockets")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lab::programme_guide::{Service, Show, tables, weave};
use lab::source::Clip;
use lab::{Command, Host, Lab, timeline};
use serde::Deserialize;

use crate::gateway::ask;

const PATIENCE: Duration = Duration::from_mins(1);
/// The DTD that Debian has.
const DTD: &str = "/usr/share/xmltv/xmltv.dtd";
/// Channels, and the services that they are made of; only the first has pictures.
const SERVICES: u16 = 3;
/// Half hours that each service announces: six days and a half.
const SHOWS: i64 = 307;
const HALF_HOUR_S: i64 = 1_800;

/// What `guide --format json` prints.
#[derive(Debug, Deserialize)]
struct Guide {
    channels: Vec<Channel>,
}

#[derive(Debug, Deserialize)]
struct Channel {
    id: u16,
    events: Vec<Event>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Event {
    id: u16,
    title: String,
    text: String,
    description: String,
    language: String,
}

/// Goal: every event of a multiplex, with every text, is told as it was announced; what players are given is valid by XMLTV's own
/// DTD, readable by XMLTV's own tools, and has the playlist's ids; and a site that is killed knows it all again at its next
/// start, though nobody announces it any more. Method: tables that were made from the standard, a site in one process, its client and
/// its gateway.
#[test]
fn what_a_multiplex_announces_is_what_players_read() {
    const NAME: &str = "what_a_multiplex_announces_is_what_players_read";
    let Some(lab) = Lab::open(NAME, &["ffmpeg", "xmllint", "tv_sort"]) else { return };
    let services = services();
    let file = multiplex(&lab, &services);
    let host = lab.host("alone");
    let home = lab.path("home");
    fs::create_dir(&home).unwrap();
    let topology = lab.path("topology.toml");
    fs::write(&topology, site(&file)).unwrap();
    let ours = |line: &str| Command::line(line).env("HOME", &home).env("XDG_CACHE_HOME", home.join("cache"));
    let mut up =
        host.spawn(ours("masthead up --topology").arg(&topology).arg("--data").arg(lab.path("data")));
    let all = usize::from(SERVICES) * usize::try_from(SHOWS).unwrap();
    let list = "masthead-client --format json guide --from=-1h --until=+9d";
    let whole =
        |guide: &Guide| guide.channels.iter().map(|channel| channel.events.len()).sum::<usize>() == all;
    let told = |claim| timeline::obtain(claim, PATIENCE, || guide(&host, ours(list)).filter(whole));

    let known = told("all that is announced is known");
    for (channel, service) in known.channels.iter().zip(&services) {
        let announced: Vec<Event> = service.shows.iter().map(expected).collect();
        assert_eq!((channel.id, &channel.events), (service.id, &announced));
    }
    let document = lab.path("guide.xml");
    let printed = host.run(ours("masthead-client guide --xmltv --from=-1h --until=+9d"));
    fs::write(&document, printed).unwrap();
    assert_is_valid(&document, all);

    let mut gateway = host.spawn(ours("masthead-client gateway"));
    gateway.wait_for_line("gateway at", PATIENCE);
    let fetch = |path: &str| {
        let (head, body) = host.enter(|| ask(path, "Connection: close\r\n", usize::MAX));
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
        String::from_utf8(body).unwrap()
    };
    let served = fetch("/guide.xml");
    fs::write(&document, &served).unwrap();
    assert_is_valid(&document, all);
    let playlist = fetch("/playlist.m3u");
    for id in 1..=SERVICES {
        assert!(playlist.contains(&format!("tvg-id=\"{id}\"")), "{playlist}");
        assert!(served.contains(&format!("<channel id=\"{id}\">")));
    }

    up.kill9();
    fs::remove_file(&file).unwrap();
    up.restart();
    let again = told("a site that is started anew knows it from its disk");
    assert!(again.channels.iter().zip(&known.channels).all(|(now, before)| now.events == before.events));
}

fn services() -> Vec<Service> {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let first = now - now.rem_euclid(HALF_HOUR_S);
    let show = |service: u16, n: i64| Show {
        id: u16::try_from(n).unwrap(),
        start_unix_s: first + n * HALF_HOUR_S,
        duration_s: if n % 7 == 0 { 1_500 } else { 1_800 },
        title: format!("Größe <{n}> & \"mehr\" von {service}"),
        text: if n % 3 == 0 { String::new() } else { format!("Folge {n}") },
        description: format!("Am Meer, {n}. ").repeat(usize::try_from(n % 5).unwrap()),
    };
    let service = |id: u16| Service {
        id,
        name: format!("Service {id}"),
        number: id,
        shows: (0..SHOWS).map(|n| show(id, n)).collect(),
    };
    (1..=SERVICES).map(service).collect()
}

/// Pictures, and between them the tables.
fn multiplex(lab: &Lab, services: &[Service]) -> PathBuf {
    let now = services[0].shows[0].start_unix_s;
    let file = lab.path("multiplex.ts");
    fs::write(&file, weave(&Clip::five_megabits(12).bytes(), &tables(1, services, now), 1)).unwrap();
    file
}

fn expected(show: &Show) -> Event {
    Event {
        id: show.id,
        title: show.title.clone(),
        text: show.text.clone(),
        description: show.description.clone(),
        language: "deu".to_owned(),
    }
}

fn guide(host: &Host, command: Command) -> Option<Guide> {
    serde_json::from_slice(&host.output(command).stdout).ok()
}

fn assert_is_valid(document: &Path, programmes: usize) {
    Command::line(&format!("xmllint --noout --nonet --dtdvalid {DTD}")).arg(document).succeed();
    let sorted = Command::new("tv_sort").arg(document).succeed();
    assert_eq!(sorted.matches("<programme ").count(), programmes);
}

/// A site of this host alone, a channel for each service.
fn site(file: &Path) -> String {
    let mut text = format!(
        "[database_server]\naddress = \"127.0.0.1\"\n\n[[acquisition_server]]\nid = \"here\"\n\
         \x20 [[acquisition_server.input]]\n  id = \"mux\"\n  url = \"file:{}\"\n",
        file.display()
    );
    for id in 1..=SERVICES {
        let _ = writeln!(
            text,
            "[[channel]]\nid = {id}\nname = \"Channel {id}\"\nacquisition_server = \"here\"\ninput = \"mux\"\nservice = {id}"
        );
    }
    text + "[[push_server]]\nid = \"here\"\naddress = \"127.0.0.1\"\nchannels = [1, 2, 3]\n\
            \x20 [[push_server.destination]]\n  address = \"127.255.255.255\"\n  serves = [\"127.0.0.0/8\"]\n"
}
