//! P4 answers at the database server, and clients of P2 that ask anything.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use database_server::{Config, ConnectionId, DatabaseServer, Input, Output, Remembered};
use protocols::codec::{self, decode_message};
use protocols::ids::{BootId, ChannelId};
use protocols::p2_directory::{MAX_WATCHES_PER_CONNECTION, PlayTarget, ToDatabase};
use protocols::p4_control::{Kind, seal};
use protocols::preamble::MAX_P2_REQUEST_BYTES;
use protocols::recording::{RecordingId, Span};
use protocols::time::Time;
use protocols::topology::Topology;
use push_server::PushServer;

use crate::heap::measured;
use crate::mutation::{Mutator, Raw, without};
use crate::site::{BOOT, DATABASE, HALL, WALL, cluster, everything, foreign, hall, viewer};
use crate::trial::Trial;

/// Hostile datagrams between two genuine ones.
const VOLLEY: u64 = 500;
/// What handling any one datagram may hold for a moment.
const PEAK_BYTES: i64 = 16 << 10;
/// A client's connection.
const VIEWER: ConnectionId = ConnectionId(1);

const SITE: &str = r#"
[database_server]
address = "10.0.0.2"

[[acquisition_server]]
id = "roof"
  [[acquisition_server.input]]
  id = "card"
  url = "testcard:"

[[channel]]
id = 1
name = "One"
acquisition_server = "roof"
input = "card"

[[push_server]]
id = "hall"
address = "10.0.1.1"
channels = [1]
  [[push_server.destination]]
  address = "239.192.1.1"
  interface = "10.0.1.1"
  serves = ["10.0.1.0/24"]

[[push_server]]
id = "yard"
address = "10.0.1.2"
channels = [1]
  [[push_server.destination]]
  address = "239.192.1.1"
  interface = "10.0.1.2"
  serves = ["10.0.1.0/24"]
"#;

fn handle(server: &mut DatabaseServer, now: Time, input: Input) -> Vec<Output> {
    let mut out = Vec::new();
    server.handle(now, input, &mut out);
    out
}

fn new() -> DatabaseServer {
    with_topology(SITE)
}

/// One at whose hosts channel 1 is recorded.
fn recording() -> DatabaseServer {
    with_topology(&SITE.replace("channels = [1]", "channels = [1]\nrecord = { keep = \"7d\" }"))
}

fn with_topology(text: &str) -> DatabaseServer {
    let config =
        Config { cluster_key: cluster(), start: 3, clock_base: WALL, remembered: Remembered::default() };
    let mut server = DatabaseServer::new(config, BootId(1), 1);
    let topology = Topology::parse("topology.toml", text).expect("the text is right").0;
    let _ = handle(&mut server, Time::ZERO, Input::Topology(Arc::new(topology)));
    let address = viewer(0).0.ip();
    let _ = handle(&mut server, Time::ZERO, Input::ClientConnected { connection: VIEWER, address });
    server
}

/// All that it knows of hosts, clients, configurations and assignments; how long zaps took is a figure like any counter.
fn knowledge(server: &DatabaseServer) -> String {
    without(format!("{server:?}"), &["counters", "zaps"])
}

fn dropped(server: &DatabaseServer) -> u64 {
    let counters = server.counters();
    counters.datagrams_malformed
        + counters.datagrams_unknown_host
        + counters.datagrams_unauthenticated
        + counters.responses_unexpected
}

/// What `hosts` answer to the datagrams in `out`.
fn answers(hosts: &mut PushServer, now: Time, out: &[Output]) -> Vec<Vec<u8>> {
    let from: SocketAddr = DATABASE.parse().unwrap();
    let mut said = Vec::new();
    for output in out {
        if let Output::Datagram { to, bytes } = output
            && *to == HALL.parse::<SocketAddr>().unwrap()
        {
            hosts.handle(now, push_server::Input::Datagram { from, bytes: bytes.clone() }, &mut said);
        }
    }
    let bytes = |output| match output {
        push_server::Output::Send { bytes, .. } => Some(bytes),
        _ => None,
    };
    said.into_iter().filter_map(bytes).collect()
}

/// Two database servers hear the same host and the same client; one of them is shot at besides, also with all that the
/// host has ever said.
#[test]
fn a_database_server_under_fire_does_what_its_twin_in_peace_does() {
    let mut trial = Trial::new("P4 answers at the database server");
    let mut random = trial.random();
    let (mut twin, mut server) = (recording(), recording());
    let mut host = PushServer::new(push_server::Config { host: hall(), key: cluster() }, BOOT);
    let mut mutator = Mutator::new(random.fork(), 1_600);
    everything(&cluster(), Time::ZERO).iter().for_each(|bytes| mutator.record(bytes, 64));
    let mut forged = everything(&foreign(), Time::ZERO);
    // With the site's key, and of no command that waits.
    forged.extend(everything(&cluster(), Time::ZERO));
    let from: SocketAddr = HALL.parse().unwrap();
    let mut now = Time::ZERO;
    for volley in 0..Trial::inputs() / VOLLEY {
        let next = now + Duration::from_millis(random.u64(1..150));
        while let Some((at, _)) = twin.deadline().filter(|(at, _)| *at <= next) {
            let mut out = handle(&mut twin, at, Input::Tick);
            assert_eq!(out, handle(&mut server, at, Input::Tick), "before volley {volley}");
            // The host answers, and what is said then it answers too.
            while let said @ [_, ..] = &answers(&mut host, at, &out)[..] {
                out.clear();
                for bytes in said {
                    mutator.record(bytes, 64);
                    if random.u8(..8) == 0 {
                        forged.push(bytes.clone());
                    }
                    let input = Input::Datagram { from, bytes: bytes.clone() };
                    let follows = handle(&mut twin, at, input.clone());
                    assert_eq!(follows, handle(&mut server, at, input), "before volley {volley}");
                    out.extend(follows);
                    trial.count("genuine");
                }
            }
        }
        now = next;
        if volley % 8 == 0 {
            let message = ToDatabase::Watch { channel: ChannelId(1) };
            let input = Input::ClientMessage { connection: VIEWER, message };
            assert_eq!(handle(&mut twin, now, input.clone()), handle(&mut server, now, input));
        }
        let before = dropped(&server);
        for _ in 0..VOLLEY {
            let replayed = random.u8(..) < 24;
            let bytes =
                if replayed { random.choice(&forged).unwrap().clone() } else { mutator.spoil().to_vec() };
            let from = if random.bool() { from } else { SocketAddr::from(([10, 0, 1, 2], random.u16(..))) };
            let mut out = Vec::new();
            let ((), growth) = measured(|| server.handle(now, Input::Datagram { from, bytes }, &mut out));
            assert_eq!(out, [], "in volley {volley}");
            assert!(growth.live <= 0 && growth.peak < PEAK_BYTES, "{growth:?} in volley {volley}");
            trial.highest("peak bytes", growth.peak);
        }
        assert_eq!(dropped(&server) - before, VOLLEY, "a drop without a counter in volley {volley}");
        trial.add("hostile", VOLLEY);
        assert_eq!(twin.deadline(), server.deadline(), "after volley {volley}");
        if volley % 16 == 0 {
            assert_eq!(knowledge(&twin), knowledge(&server), "after volley {volley}");
            trial.count("comparisons");
        }
    }
    assert_eq!(knowledge(&twin), knowledge(&server));
    let counters = server.counters();
    let reached = [
        counters.datagrams_malformed,
        counters.datagrams_unknown_host,
        counters.datagrams_unauthenticated,
        counters.responses_unexpected,
        counters.configurations_sent,
        counters.hosts_found,
    ];
    assert!(reached.iter().all(|count| *count > 0), "{counters:?}");
}

/// A host may be broken into: bodies of any shape under its genuine tag.
#[test]
fn rubbish_under_a_genuine_tag_neither_panics_nor_grows() {
    let mut trial = Trial::new("P4 rubbish from key holders at the database server");
    let mut random = trial.random();
    let mut mutator = Mutator::new(random.fork(), 1_180);
    for bytes in everything(&cluster(), Time::ZERO) {
        mutator.record(&bytes[4..bytes.len() - 16], 64);
    }
    let mut server = recording();
    let mut host = PushServer::new(push_server::Config { host: hall(), key: cluster() }, BOOT);
    let from: SocketAddr = HALL.parse().unwrap();
    let key = cluster().host_key(&hall());
    let mut waiting = Vec::new();
    let mut now = Time::ZERO;
    let ((), growth) = measured(|| {
        for n in 0..Trial::inputs() / 4 {
            if n % 64 == 0 {
                // Commands that wait, so that some rubbish is an answer.
                now += Duration::from_millis(100);
                let out = handle(&mut server, now, Input::Tick);
                waiting = answers(&mut host, now, &out);
                waiting.iter().for_each(|bytes| mutator.record(&bytes[4..bytes.len() - 16], 64));
            }
            let kind = if random.bool() { Kind::Report } else { Kind::Configured };
            let sealed = seal(kind, &Raw(mutator.spoil()), &key);
            let out = handle(&mut server, now, Input::Datagram { from, bytes: sealed });
            trial.add("outputs", out.len() as u64);
            trial.count("sent");
        }
    });
    trial.highest("held bytes", growth.live);
    assert!(growth.live < 1 << 20 && growth.peak < 4 << 20, "{growth:?}");
}

/// Requests of any shape, as far as they decode at all: a client costs what its limits say, and nothing once it is gone.
#[test]
fn clients_that_ask_anything_leave_nothing_behind() {
    let mut trial = Trial::new("P2 requests at the database server");
    let mut random = trial.random();
    let mut mutator = Mutator::new(random.fork(), 64);
    let channel = ChannelId(1);
    let requests = [
        ToDatabase::List { tunings: true },
        ToDatabase::Watch { channel },
        ToDatabase::Unwatch { channel },
        ToDatabase::Ping,
        ToDatabase::Recordings { channel: None },
        ToDatabase::Record {
            channel,
            span: Span { from: WALL, to: WALL + Duration::from_mins(1) },
            title: "News".to_owned(),
        },
        ToDatabase::Unrecord { id: RecordingId(1) },
        ToDatabase::Play(PlayTarget::Programme(RecordingId(1))),
        ToDatabase::Play(PlayTarget::Channel { channel, from: WALL, to: None }),
        ToDatabase::Zapped { channel, took_ms: 14 },
    ];
    requests.iter().for_each(|request| mutator.record(&codec::encode(request), 8));
    let mut server = new();
    let now = Time::from_ms(1);
    // What is made once for a network, whoever asks first, is no trace of a client.
    let connection = ConnectionId(999);
    let address = SocketAddr::from(([10, 0, 1, 7], 1)).ip();
    let _ = handle(&mut server, now, Input::ClientConnected { connection, address });
    for message in &requests {
        let _ = handle(&mut server, now, Input::ClientMessage { connection, message: message.clone() });
    }
    let _ = handle(&mut server, now, Input::ClientClosed { connection });
    let before = knowledge(&server);
    for client in 0..Trial::inputs() / 1_000 {
        let connection = ConnectionId(1_000 + client);
        let address = SocketAddr::from(([10, 0, 1, random.u8(..)], 1)).ip();
        let ((), growth) = measured(|| {
            let _ = handle(&mut server, now, Input::ClientConnected { connection, address });
            for _ in 0..1_000 {
                let bytes = if random.bool() {
                    mutator.spoil().to_vec()
                } else {
                    codec::encode(&ToDatabase::Watch { channel: ChannelId(random.u32(..)) })
                };
                let Ok(message) = decode_message::<ToDatabase, MAX_P2_REQUEST_BYTES>(&bytes) else {
                    continue;
                };
                let out = handle(&mut server, now, Input::ClientMessage { connection, message });
                assert!(out.len() <= 1, "{out:?}");
                trial.count("requests");
            }
        });
        assert!(growth.live < 64 * i64::try_from(MAX_WATCHES_PER_CONNECTION).unwrap() * 8, "{growth:?}");
        trial.highest("bytes held by one client", growth.live);
        let _ = handle(&mut server, now, Input::ClientClosed { connection });
    }
    assert_eq!(before, knowledge(&server));
    assert!(server.counters().watches_refused > 0);
}
