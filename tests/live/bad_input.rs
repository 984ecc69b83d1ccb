//! What bad input gets: a message that says what is wrong and what to do, and no harm to anybody else.
#![expect(clippy::disallowed_methods, reason = "live tests are all effects: real clocks and sockets")]

use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use lab::site::{DATABASE, Daemon, Plan, READY_LIMIT, Site};
use lab::source::Sender;
use lab::{Command, Host, Lab, Process, packets, timeline};

use crate::viewing::{Viewing, assert_database_is_sound, compare_with_wire, witness, witnessed};

/// Longest that something which is retried, or told to a peer, may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longest that a daemon may take to end.
const END_LIMIT: Duration = Duration::from_secs(1);

/// One fault of nearly every kind, each on the line that says so.
const FAULTY: &str = r#"[database_server]
address = "10.77.0.2"
colour = "red"                          # fault: unknown key

[[acquisition_server]]
id = "roof"
  [[acquisition_server.input]]
  id = "card"
  url = "testcard:"

[[channel]]
id = 1
name = "One"
acquisition_server = "roof"
input = "car"                           # fault: unknown reference

[[channel]]
id = 1                                  # fault: duplicate id
name = "Two"
acquisition_server = "roof"
input = "card"
port = 70000                            # fault: port out of range

[[push_server]]
id = "hall"
address = "10.77.0.11"
channels = [1, 7]                       # fault: unknown channel
  [[push_server.destination]]
  address = "239.192.1.1"               # fault: multicast without interface
  serves = ["10.77.1.0/24"]
  [[push_server.destination]]
  address = "10.77.2.255"
  serves = ["10.77.2.0/99"]             # fault: bad prefix
"#;

/// Goal: a topology with faults is refused with all of them at once and status 2, before anything is opened or written.
/// Method: the ports are taken, so that a server which tried to open one would complain of that instead.
#[test]
fn faulty_topology_is_refused_whole_and_nothing_starts() {
    let Some(lab) = Lab::open("faulty_topology_is_refused_whole_and_nothing_starts", &[]) else { return };
    let site = Site::build(&lab, &Plan::testcard());
    std::fs::write(&site.topology, FAULTY).unwrap();
    let _taken = [7401, 7402].map(|port| hold_tcp(&site.database, port));
    for program in ["masthead-database-server", "masthead up"] {
        let command = Command::line(program).arg("--topology").arg(&site.topology);
        let output = site.database.output(command.arg("--data").arg(lab.path("database")));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{program}\n{told}");
        assert_all_faults_told(&told, &site.topology);
    }
    assert!(!lab.path("database").exists(), "a data folder was made");
}

fn assert_all_faults_told(told: &str, file: &Path) {
    let faults = FAULTY.lines().enumerate().filter(|(_, line)| line.contains("# fault"));
    for (index, line) in faults {
        let place = format!("{}:{}:", file.display(), index + 1);
        assert!(told.contains(&place), "`{line}` is not told of as {place}…\n{told}");
    }
}

/// Goal: an input that does not exist, stalls, is no MPEG-TS or names a missing interface makes its channel inactive, with
/// the cause in the acquisition server's log and in what viewers are told; it is retried until it can be had; whoever
/// watches another channel loses nothing.
#[test]
fn useless_inputs_are_named_and_retried_and_disturb_nobody() {
    let Some(lab) = Lab::open("useless_inputs_are_named_and_retried_and_disturb_nobody", &[]) else { return };
    let (absent, text) = (lab.path("absent.ts"), lab.path("text.ts"));
    std::fs::write(&text, "Not a television programme, but a text of some length.\n".repeat(20_000)).unwrap();
    let plan = Plan::testcard()
        .with_channel(2, "Absent", &format!("file:{}", absent.display()))
        .with_channel(3, "Stalled", "udp://239.192.9.9:5004?interface=core")
        .with_channel(4, "Text", &format!("file:{}", text.display()))
        .with_channel(5, "Nowhere", "udp://239.192.9.8:5004?interface=eth9")
        .with_channel(6, "Mute", "exec:true");
    let site = Site::build(&lab, &plan);
    let daemons = site.start_all();
    let eye = witness(&site, "eye", &site.room);
    let [anna, ben] = ["anna", "ben"].map(|name| site.viewer(name, &site.room));
    let watching = Viewing::start(&site, &anna, 1);
    watching.wait_for_pictures(PATIENCE);

    let wanted: [(u32, &[&str]); 5] = [
        (2, &["absent.ts", "No such file", "put it there"]),
        (3, &["no packets for 2 s"]),
        (4, &["text.ts", "no MPEG-TS"]),
        (5, &["no interface `eth9`", "there are", "core"]),
        (6, &["true"]),
    ];
    for (channel, words) in wanted {
        let listed =
            timeline::obtain(&format!("channel {channel} is inactive for {words:?}"), PATIENCE, || {
                let listed = site.channels(&ben)?.into_iter().find(|listed| listed.id == channel)?;
                let cause = listed.cause.as_deref().unwrap_or_default();
                (!listed.is_active() && words.iter().all(|word| cause.contains(word))).then_some(listed)
            });
        let log = daemons.acquisition.log();
        let in_log = log.lines().any(|line| {
            line.contains(&format!("channel={channel} ")) && words.iter().all(|word| line.contains(word))
        });
        assert!(in_log, "the acquisition server's log does not say so of channel {channel}:\n{log}");
        let cause = listed.cause.unwrap_or_default().replace(&lab.folder().display().to_string(), "…");
        lab.note(format_args!("channel {channel}: {cause}"));
    }

    // What comes good becomes active by itself: a file appears, a sender begins, another file is replaced.
    let clip = timeline::obtain("a clip from the test card", PATIENCE, || {
        let clip = packets::decodable(&std::fs::read(&watching.file).ok()?);
        (clip.len() > 500_000).then_some(clip)
    });
    let appear = |path: &Path| {
        let unfinished = path.with_extension("part");
        std::fs::write(&unfinished, &clip).unwrap();
        std::fs::rename(unfinished, path).unwrap();
    };
    appear(&absent);
    appear(&text);
    let sender =
        Sender::start_bytes(&site.source, clip.repeat(20), 2_000_000, "239.192.9.9:5004".parse().unwrap());
    for channel in [2, 3, 4] {
        let took = site.wait_active(&ben, channel, PATIENCE);
        lab.note(format_args!("channel {channel} active {:.1} s later", took.as_secs_f64()));
    }
    drop(sender);
    site.wait_inactive(&ben, 3, PATIENCE);
    let viewing = Viewing::start(&site, &ben, 2);
    viewing.wait_for_pictures(PATIENCE);
    viewing.finish();
    let recording = watching.finish_without_loss();
    assert!(compare_with_wire(&witnessed(eye), &recording).is_exact());
}

/// Goal: what the host refuses — ports, permissions, keys, folders, addresses — ends a daemon with the documented status and
/// a message that names it and says what to do.
#[test]
fn what_the_host_refuses_is_named_with_what_to_do() {
    let Some(lab) = Lab::open("what_the_host_refuses_is_named_with_what_to_do", &[]) else { return };
    let site = Site::build(&lab, &Plan::testcard());
    let refused = |host: &Host, command: Command, code: i32, words: &[&str]| {
        let shown = format!("{command:?}");
        let output = host.output(command);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{shown}\n{told}");
        for word in words {
            assert!(told.contains(word), "`{word}` is missing: {shown}\n{told}");
        }
        let told = told.replace(&lab.folder().display().to_string(), "…");
        lab.note(format_args!("{}", told.trim().lines().last().unwrap_or_default()));
    };
    let nobodys_key = lab.path("nobody.key");
    std::fs::copy(&site.key, &nobodys_key).unwrap();
    std::os::unix::fs::chown(&nobodys_key, Some(65534), Some(65534)).unwrap();
    let push = |arguments: &str| Command::line(&format!("masthead-push-server --id hall {arguments}"));

    // Ports that another program has.
    let in_use = "stop it or choose another port";
    for port in [7401, 7402] {
        let taken = hold_tcp(&site.database, port);
        refused(&site.database, site.command(Daemon::Database), 1, &[&format!("port {port}"), in_use]);
        drop(taken);
    }
    let taken = hold_tcp(&site.hall, 7403);
    refused(&site.hall, site.command(Daemon::Hall), 1, &["TCP port 7403", in_use]);
    drop(taken);
    let taken = site.hall.enter(|| UdpSocket::bind("0.0.0.0:7404")).unwrap();
    refused(&site.hall, site.command(Daemon::Hall), 1, &["UDP port 7404", in_use]);
    drop(taken);

    // Ports that need a privilege, and an address that is another host's.
    let nobodys = |line: &str| push(line).arg("--cluster-key").arg(&nobodys_key).as_nobody();
    let privilege = "CAP_NET_BIND_SERVICE";
    refused(&site.hall, nobodys("--feed-port 703"), 1, &["TCP port 703", privilege]);
    refused(&site.hall, nobodys("--control-port 704"), 1, &["UDP port 704", privilege]);
    let elsewhere = push("--listen 10.99.9.9").arg("--cluster-key").arg(&site.key);
    refused(&site.hall, elsewhere, 1, &["10.99.9.9", "no such address"]);

    // Keys that are not there, not readable, readable by everybody, no keys.
    let open = lab.path("open.key");
    std::fs::copy(&site.key, &open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
    let garbage = lab.path("garbage.key");
    std::fs::write(&garbage, "hunter2\n").unwrap();
    std::fs::set_permissions(&garbage, std::fs::Permissions::from_mode(0o600)).unwrap();
    for server in [
        "masthead-push-server --id hall --cluster-key",
        "masthead-acquisition --id roof --database 10.77.0.2 --cluster-key",
    ] {
        let with = |key: &Path| Command::line(server).arg(key);
        let host = &site.hall;
        refused(host, with(&lab.path("no.key")), 2, &["no.key", "copy `cluster.key`"]);
        refused(host, with(&site.key).as_nobody(), 2, &["cluster.key", "ermission denied", "has to own it"]);
        refused(host, with(&open), 2, &["open.key", "chmod 600"]);
        refused(host, with(&garbage), 2, &["garbage.key"]);
    }

    // Folders and files of the database server.
    let database = |data: &Path| {
        Command::line("masthead-database-server --topology").arg(&site.topology).arg("--data").arg(data)
    };
    let closed = lab.path("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o755)).unwrap();
    let as_nobody = database(&closed).as_nobody();
    refused(&site.database, as_nobody, 2, &["closed", "ermission denied", "has to own it"]);
    let as_nobody = database(&closed).arg("--cluster-key").arg(&nobodys_key).as_nobody();
    refused(&site.database, as_nobody, 1, &["closed", "ermission denied", "has to own"]);
    let no_topology = Command::line("masthead-database-server --topology /nowhere/topology.toml");
    refused(&site.database, no_topology, 2, &["/nowhere/topology.toml", "No such file"]);
    let mut first = site.start(Daemon::Database);
    first.wait_for_line("ready", READY_LIMIT);
    // On another host, so that it is not the port that is in use.
    refused(
        &site.source,
        site.command(Daemon::Database),
        1,
        &["database", "in use by another database server"],
    );

    // The client's.
    let client = Command::line(&format!("masthead-client --database {DATABASE} --interface eth9 channels"));
    refused(&site.source, client, 1, &["no interface `eth9`", "there are", "core"]);
    let client =
        Command::line(&format!("masthead-client --database {DATABASE} watch 1 --output /nowhere/a.ts"));
    refused(&site.source, client, 1, &["/nowhere/a.ts", "No such file"]);
}

/// Goal: a destination that names a missing interface is told of by name at the push server and in the channel list; put
/// right in the topology, it works without any restart. Another network is not touched by either.
#[test]
fn missing_interface_of_a_destination_is_named_and_can_be_put_right() {
    let Some(lab) = Lab::open("missing_interface_of_a_destination_is_named_and_can_be_put_right", &[]) else {
        return;
    };
    let mut plan = Plan::testcard();
    plan.push_servers[0].destinations[0].interface = Some("eth9".into());
    let site = Site::build(&lab, &plan);
    let mut daemons = site.start_all();
    let (anna, carl) = (site.viewer("anna", &site.room), site.viewer("carl", &site.ward));
    let watching = Viewing::start(&site, &carl, 1);
    watching.wait_for_pictures(PATIENCE);
    let cause =
        timeline::obtain("the channel is inactive in the room for lack of an interface", PATIENCE, || {
            let cause = site.channels(&anna)?.into_iter().find(|listed| listed.id == 1)?.cause?;
            cause.contains("no push server can send to").then_some(cause)
        });
    lab.note(format_args!("{cause}"));
    let told = daemons.hall.wait_for_line("eth9", PATIENCE);
    assert!(told.contains("there are") && told.contains("room"), "{told}");
    lab.note(format_args!("{told}"));

    site.write_topology(&Plan::testcard());
    daemons.database.hang_up();
    let took = site.wait_active(&anna, 1, PATIENCE);
    lab.note(format_args!("put right by SIGHUP: active after {:.2} s", took.as_secs_f64()));
    Viewing::start(&site, &anna, 1).wait_for_pictures(PATIENCE);
    watching.finish_without_loss();
}

/// How a process is asked to end within a limit.
type End = fn(&mut Process, Duration) -> std::process::ExitStatus;

/// Goal: SIGINT and SIGTERM end every daemon within a second, in the midst of its work, with status 0, and leave the database
/// whole; SIGKILL leaves it whole too, and the next start goes on from it.
#[test]
fn signals_end_every_daemon_cleanly_within_a_second() {
    let Some(lab) = Lab::open("signals_end_every_daemon_cleanly_within_a_second", &[]) else { return };
    let site = Site::build(&lab, &Plan::testcard());
    let viewer = site.viewer("anna", &site.room);
    let data = lab.path("database");
    let signals: [(&str, End); 2] = [("SIGINT", Process::interrupt), ("SIGTERM", Process::terminate)];
    for (signal, end) in signals {
        let mut daemons = site.start_all();
        let mut watching = Viewing::start_afresh(&site, &viewer, 1);
        watching.wait_for_pictures(PATIENCE);
        let mut all = [
            ("database", &mut daemons.database),
            ("client", &mut watching.process),
            ("hall", &mut daemons.hall),
            ("annex", &mut daemons.annex),
            ("acquisition", &mut daemons.acquisition),
        ];
        let times = all.each_mut().map(|(name, process)| {
            let asked = Instant::now();
            let status = end(process, END_LIMIT);
            assert!(status.success(), "{name} after {signal}: {status}\n{}", process.last_words());
            format!("{name} {:.0} ms", asked.elapsed().as_secs_f64() * 1e3)
        });
        lab.note(format_args!("{signal}: {}", times.join(", ")));
        assert_database_is_sound(&data);
    }
    let mut daemons = site.start_all();
    let watching = Viewing::start_afresh(&site, &viewer, 1);
    watching.wait_for_pictures(PATIENCE);
    for process in [&mut daemons.database, &mut daemons.acquisition, &mut daemons.hall, &mut daemons.annex] {
        process.kill9();
    }
    drop(watching);
    assert_database_is_sound(&data);
    let _daemons = site.start_all();
    let took = Viewing::start_afresh(&site, &viewer, 1).wait_for_pictures(PATIENCE);
    lab.note(format_args!("SIGKILL to all, started again: pictures after {:.2} s", took.as_secs_f64()));
}

/// Goal: a server that holds another cluster key gets nothing, and both it and who refuses it say that it is the key; with the
/// right key it works.
#[test]
fn wrong_cluster_key_is_refused_in_so_many_words() {
    let Some(lab) = Lab::open("wrong_cluster_key_is_refused_in_so_many_words", &[]) else { return };
    let mut plan = Plan::testcard();
    plan.push_servers.truncate(1);
    let site = Site::build(&lab, &plan);
    let stray = lab.path("stray.key");
    Command::line("masthead key --file").arg(&stray).succeed();
    let viewer = site.viewer("anna", &site.room);
    let with_stray = |line: &str| Command::line(line).arg("--cluster-key").arg(&stray);
    let speaks_of_key = |name: &str, process: &mut Process| {
        lab.note(format_args!("{name}: {}", process.wait_for_line("cluster key", PATIENCE)));
    };

    let mut database = site.start(Daemon::Database);
    database.wait_for_line("ready", READY_LIMIT);
    let mut roof =
        site.roof.spawn(with_stray(&format!("masthead-acquisition --id roof --database {DATABASE}")));
    speaks_of_key("acquisition with the wrong key", &mut roof);
    speaks_of_key("database", &mut database);
    let cause = site.channels(&viewer).unwrap().remove(0).cause.unwrap_or_default();
    assert!(cause.contains("`roof` is not connected"), "{cause}");
    drop(roof);

    let mut roof = site.start(Daemon::Acquisition);
    let mut hall =
        site.hall.spawn(with_stray(&format!("masthead-push-server --id hall --database {DATABASE}")));
    speaks_of_key("acquisition, of a push server with the wrong key", &mut roof);
    speaks_of_key("push server with the wrong key", &mut hall);
    // Not only P3's refusal: of the database server's commands too, on a host that no acquisition server feeds.
    hall.wait_for_line(DATABASE, PATIENCE);
    let listed = site.channels(&viewer).unwrap().remove(0);
    assert!(!listed.is_active(), "{listed:?}");
    drop(hall);

    let _hall = site.start(Daemon::Hall);
    let took = site.wait_active(&viewer, 1, PATIENCE);
    lab.note(format_args!("with the right key: active after {:.2} s", took.as_secs_f64()));
}

/// Goal: at SIGHUP a topology with faults changes nothing; one with another channel brings it to viewers; who watches meanwhile
/// loses not one packet, by a witness's account too.
#[test]
fn sighup_takes_a_good_topology_and_keeps_the_old_for_a_faulty_one() {
    let Some(lab) = Lab::open("sighup_takes_a_good_topology_and_keeps_the_old_for_a_faulty_one", &[]) else {
        return;
    };
    let site = Site::build(&lab, &Plan::testcard());
    let mut daemons = site.start_all();
    let eye = witness(&site, "eye", &site.room);
    let [anna, ben] = ["anna", "ben"].map(|name| site.viewer(name, &site.room));
    let watching = Viewing::start(&site, &anna, 1);
    watching.wait_for_pictures(PATIENCE);
    let before = site.channels(&ben);

    std::fs::write(&site.topology, FAULTY).unwrap();
    daemons.database.hang_up();
    daemons.database.wait_for_line("the topology stays as it was", PATIENCE);
    assert_all_faults_told(&daemons.database.log(), &site.topology);
    assert_eq!(site.channels(&ben), before);
    watching.wait_to_go_on(PATIENCE);

    site.write_topology(&Plan::testcard().with_channel(2, "Two", "testcard:"));
    daemons.database.hang_up();
    let took = site.wait_active(&ben, 2, PATIENCE);
    lab.note(format_args!("a channel added by SIGHUP is active after {:.2} s", took.as_secs_f64()));
    let second = Viewing::start(&site, &ben, 2);
    second.wait_for_pictures(PATIENCE);
    second.wait_to_go_on(PATIENCE);
    second.finish_without_loss();

    // Gone again: nobody gets it any more, and the other goes on.
    site.write_topology(&Plan::testcard());
    daemons.database.hang_up();
    timeline::until("the channel is gone from the list", PATIENCE, || site.channels(&ben) == before);
    watching.wait_to_go_on(PATIENCE);
    let recording = watching.finish_without_loss();
    let comparison = compare_with_wire(&witnessed(eye), &recording);
    assert!(comparison.is_exact(), "{comparison:?}");
    lab.note(format_args!("{} packets through three SIGHUPs, none lost", comparison.same));
}

/// Holds a TCP port of `host`, of both families as our daemons open it.
fn hold_tcp(host: &Host, port: u16) -> TcpListener {
    host.enter(|| TcpListener::bind(("::", port))).unwrap()
}
