//! SAT>IP: other people's clients take the laboratory's server for one, and then our acquisition server has to get along with it.

use std::net::Ipv4Addr;
use std::time::Duration;

use lab::broadcast::Broadcast;
use lab::satip_server::SatipServer;
use lab::site::{Plan, Site};
use lab::source::Clip;
use lab::{Command, Host, Lab, Lan, judge, timeline};

use crate::viewing::Viewing;

const PATIENCE: Duration = Duration::from_secs(15);
/// Longest that a client may take to end.
const END_LIMIT: Duration = Duration::from_secs(10);
/// Where the server is.
const SERVER: &str = "10.77.0.20";

/// A server of so many tuners on `host`, of two transponders.
fn server(host: &Host, tuners: usize) -> SatipServer {
    let clip = Clip::five_megabits(40);
    let broadcast =
        Broadcast::new().with("514", &clip.bytes(), clip.rate_bps).with("530", &clip.bytes(), clip.rate_bps);
    host.enter(|| {
        SatipServer::start((Ipv4Addr::UNSPECIFIED, 554), broadcast, tuners, Duration::from_secs(30))
    })
}

/// A LAN, which stands as long as its handle, with a host for the server and one for its client.
fn pair(lab: &Lab) -> (Lan, Host, Host) {
    let lan = lab.lan("core", "10.77.0.0/24");
    let (tuner, client) = (lab.host("tuner"), lab.host("client"));
    lab.attach(&tuner, &lan, SERVER);
    lab.attach(&client, &lan, "10.77.0.21");
    (lan, tuner, client)
}

fn methods(server: &SatipServer) -> Vec<String> {
    server.requests().iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// Goal: VLC's SAT>IP client takes the server for one: it tunes, records pictures that decode, and gives the tuner back.
#[test]
fn vlc_takes_the_laboratorys_satip_server_for_one() {
    let name = "vlc_takes_the_laboratorys_satip_server_for_one";
    let Some(lab) = Lab::open(name, &["cvlc", "ffprobe", "ffmpeg"]) else { return };
    let (_lan, tuner, client) = pair(&lab);
    let server = server(&tuner, 1);
    let file = lab.path("vlc.ts");
    let mut vlc = client.spawn(
        Command::line("cvlc -I dummy --no-color --run-time 4 --sout")
            .arg(format!("#standard{{access=file,mux=ts,dst={}}}", file.display()))
            .arg(format!("satip://{SERVER}/?src=1&freq=514&msys=dvbt&bw=8&pids=all"))
            .arg("vlc://quit")
            .env("HOME", lab.folder())
            .as_nobody(),
    );
    timeline::until("VLC has a tuner", PATIENCE, || server.taken() == 1);
    vlc.wait_exit(PATIENCE);
    timeline::until("VLC gives it back", PATIENCE, || server.taken() == 0);
    let asked = methods(&server);
    for method in ["SETUP", "PLAY", "TEARDOWN"] {
        assert!(asked.iter().any(|one| one == method), "{asked:?}\n{}", vlc.last_words());
    }
    let probe = judge::probe(&file);
    let codecs: Vec<&str> = probe.streams.iter().map(|stream| stream.codec.as_str()).collect();
    assert_eq!(codecs, ["h264", "aac"], "{probe:?}");
    assert!(probe.streams[0].packets >= 50, "{probe:?}");
}

/// Goal: VDR's SAT>IP plugin takes the server for one: it records from it, choosing packets, and gives the tuner back.
/// Method: VDR as it is run without a screen; a timer for now, set by its own control program.
#[test]
fn vdr_takes_the_laboratorys_satip_server_for_one() {
    let name = "vdr_takes_the_laboratorys_satip_server_for_one";
    let Some(lab) = Lab::open(name, &["vdr", "svdrpsend", "ffprobe"]) else { return };
    let (_lan, tuner, client) = pair(&lab);
    let server = server(&tuner, 1);
    let [config, video] = ["vdr-config", "vdr-video"].map(|name| lab.path(name));
    for folder in [&config, &video] {
        std::fs::create_dir(folder).unwrap();
    }
    // A terrestrial channel as ffmpeg numbers its streams: H.264 in 0x100, AAC in 0x101, programme 1.
    let files = [
        ("sources.conf", "T  Terrestrial\n"),
        ("channels.conf", "Lab;Lab:514000:B8C23D12G4M64T8Y0:T:0:256=27:257=@15:0:0:1:1:1:0\n"),
        ("svdrphosts.conf", "127.0.0.1\n"),
        ("setup.conf", "EPGScanTimeout = 0\nUpdateChannels = 0\nInitialChannel = T-1-1-1\n"),
    ];
    for (name, text) in files {
        std::fs::write(config.join(name), text).unwrap();
    }
    let folder = |name: &str, path: &std::path::Path| format!("--{name}={}", path.display());
    let mut vdr = client.spawn(
        Command::line("vdr --user=root --no-kbd --port=6419 --log=3 --lib=/usr/lib/vdr/plugins")
            .args([
                folder("config", &config),
                folder("video", &video),
                folder("cachedir", &config),
                folder("resdir", &config),
            ])
            .arg(format!("--plugin=satip -d 1 -s {SERVER}|DVBT-1|Lab")),
    );
    timeline::until("VDR has a tuner", PATIENCE, || server.taken() == 1);
    let chosen = || server.requests().iter().any(|line| line.contains("pids=") && line.contains("256"));
    let timer = "svdrpsend -p 6419 NEWT 1:1:MTWTFSS:0000:2359:50:50:Lab:";
    let _ = client.output(timer);
    timeline::until("VDR chooses the picture's packets", PATIENCE, chosen);
    vdr.terminate(END_LIMIT);
    timeline::until("VDR gives the tuner back", PATIENCE, || server.taken() == 0);
    let asked = methods(&server);
    for method in ["SETUP", "PLAY", "TEARDOWN"] {
        assert!(asked.iter().any(|one| one == method), "{asked:?}\n{}", vdr.last_words());
    }
}

/// Goal: our acquisition server tunes, has the packets chosen that its channels need, gets over a restart of the server,
/// retunes, waits its turn for a busy tuner, and gives the tuner back at its end.
/// Method: one tuner; the topology is changed and read again; a viewer sees whether pictures go on.
#[test]
fn our_server_gets_along_with_a_satip_server() {
    let Some(lab) = Lab::open("our_server_gets_along_with_a_satip_server", &[]) else { return };
    let url = |frequency: u32| format!("satip://{SERVER}/?src=1&freq={frequency}&msys=dvbt&bw=8");
    // The one programme of the clip, so that packets are chosen.
    let one = |frequency| Plan::of(&url(frequency)).with_service(1);
    let site = Site::build(&lab, &one(514));
    let tuner = lab.host("tuner");
    lab.attach(&tuner, &site.core, SERVER);
    let server = server(&tuner, 1);
    let mut daemons = site.start_all();
    let write = |plan: &Plan| std::fs::write(&site.topology, plan.text()).unwrap();
    let anna = site.viewer("anna", &site.room);
    let asked = |word: &str| server.requests().iter().filter(|line| line.contains(word)).count();
    let viewing = Viewing::start(&site, &anna, 1);
    viewing.wait_for_pictures(PATIENCE);
    timeline::until("packets are chosen", PATIENCE, || {
        server
            .requests()
            .iter()
            .any(|line| line.starts_with("PLAY ") && line.contains("pids=") && line.contains("256"))
    });
    assert_eq!((server.taken(), asked("SETUP ")), (1, 1));

    server.restart();
    timeline::until("a new session after the restart", PATIENCE, || {
        server.taken() == 1 && asked("SETUP ") == 2
    });
    viewing.wait_to_go_on(PATIENCE);

    // Another channel of the same multiplex, whole: no tuner more, other packets.
    write(&one(514).with_channel(2, "Whole", &url(514)));
    daemons.database.hang_up();
    site.wait_active(&anna, 2, PATIENCE);
    timeline::until("all packets are asked for", PATIENCE, || asked("?pids=all") > 0);
    assert_eq!((server.taken(), asked("SETUP ")), (1, 2));

    write(&one(530));
    daemons.database.hang_up();
    timeline::until("the tuner is retuned", PATIENCE, || asked("SETUP ") > 2 && asked("freq=530") > 0);
    viewing.wait_to_go_on(PATIENCE);
    assert!(asked("TEARDOWN ") > 0);

    // The tuner is taken: the other channel waits until it is free.
    write(&one(530).with_channel(2, "Waiting", &url(514)));
    daemons.database.hang_up();
    let cause = timeline::obtain("channel 2 finds all tuners busy", PATIENCE, || {
        let listed = site.channels(&anna)?.into_iter().find(|listed| listed.id == 2)?;
        listed.cause.filter(|cause| cause.contains("busy"))
    });
    lab.note(format_args!("{cause}"));
    viewing.finish();
    write(&one(514));
    daemons.database.hang_up();
    site.wait_active(&anna, 1, PATIENCE);
    timeline::until("the tuner is in use again", PATIENCE, || server.taken() == 1);

    daemons.acquisition.terminate(END_LIMIT);
    assert_eq!(server.taken(), 0, "the tuner is free when the acquisition server has ended");
}
