//! HDHomeRun: its maker's own program takes the laboratory's device for one, and then our acquisition server has to get along
//! with it.

use std::net::Ipv4Addr;
use std::time::Duration;

use lab::broadcast::Broadcast;
use lab::hdhomerun_box::HdhomerunBox;
use lab::site::{Plan, Site, file_bytes};
use lab::source::Clip;
use lab::{Command, Host, Lab, judge, timeline};
use protocols::hdhomerun::{CONTROL_PORT, DeviceId};

use crate::viewing::Viewing;

const PATIENCE: Duration = Duration::from_secs(15);
const END_LIMIT: Duration = Duration::from_secs(10);
/// Where the device is.
const DEVICE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 20);

/// A device of so many tuners on `host`, on whose air are two multiplexes.
fn device(host: &Host, tuners: usize) -> HdhomerunBox {
    let clip = Clip::five_megabits(40);
    let broadcast = Broadcast::new().with("177000000", &clip.bytes(), clip.rate_bps).with(
        "183000000",
        &clip.bytes(),
        clip.rate_bps,
    );
    host.enter(|| HdhomerunBox::start(DEVICE, CONTROL_PORT, DeviceId::of("lab"), broadcast, tuners))
}

/// Goal: `hdhomerun_config` finds the device, tunes it, reads its status, records from it, and has the tuner free again.
#[test]
fn hdhomerun_config_takes_the_laboratorys_device_for_one() {
    let name = "hdhomerun_config_takes_the_laboratorys_device_for_one";
    let Some(lab) = Lab::open(name, &["hdhomerun_config", "ffprobe", "ffmpeg"]) else { return };
    let lan = lab.lan("core", "10.77.0.0/24");
    let (tuner, client) = (lab.host("tuner"), lab.host("client"));
    lab.attach(&tuner, &lan, &DEVICE.to_string());
    lab.attach(&client, &lan, "10.77.0.21");
    let device = device(&tuner, 2);
    let id = DeviceId::of("lab").to_string();
    let found = client.run("hdhomerun_config discover");
    assert!(found.contains(&format!("hdhomerun device {id} found at {DEVICE}")), "{found}");
    let config = |line: &str| client.run(format!("hdhomerun_config {id} {line}").as_str()).trim().to_owned();
    assert_eq!(config("get /sys/model"), "hdhomerun_lab");
    config("set /tuner0/channel 8vsb:177000000");
    let status = config("get /tuner0/status");
    assert!(status.starts_with("ch=8vsb:177000000 lock=8vsb ss=83"), "{status}");
    let refused = client.output(format!("hdhomerun_config {id} set /tuner0/channel nonsense").as_str());
    let told =
        String::from_utf8_lossy(&refused.stdout).into_owned() + &String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("invalid channel"), "{told}");
    let file = lab.path("saved.ts");
    let mut save = client.spawn(Command::line(&format!("hdhomerun_config {id} save /tuner0")).arg(&file));
    timeline::until("two seconds are saved", PATIENCE, || file_bytes(&file) > 1_250_000);
    save.interrupt(END_LIMIT);
    let probe = judge::probe(&file);
    let codecs: Vec<&str> = probe.streams.iter().map(|stream| stream.codec.as_str()).collect();
    assert_eq!(codecs, ["h264", "aac"], "{probe:?}");
    config("set /tuner0/channel none");
    assert_eq!(device.taken(), 0, "{:?}", device.set());
}

/// Goal: our acquisition server finds the device by its id, tunes, has the packets chosen that its channels need, gets over a
/// restart of the device, retunes, waits its turn for a busy tuner, and gives the tuner back at its end.
/// Method: one tuner; the topology is changed and read again; a viewer sees whether pictures go on.
#[test]
fn our_server_gets_along_with_an_hdhomerun() {
    let Some(lab) = Lab::open("our_server_gets_along_with_an_hdhomerun", &["hdhomerun_config"]) else {
        return;
    };
    let id = DeviceId::of("lab");
    let url = |mhz: u32| format!("hdhomerun://{id}/auto/8vsb:{mhz}000000");
    // The one programme of the clip, so that packets are chosen.
    let one = |mhz| Plan::of(&url(mhz)).with_service(1);
    let site = Site::build(&lab, &one(177));
    let tuner = lab.host("tuner");
    lab.attach(&tuner, &site.core, &DEVICE.to_string());
    let device = device(&tuner, 1);
    let mut daemons = site.start_all();
    let write = |plan: &Plan| std::fs::write(&site.topology, plan.text()).unwrap();
    let anna = site.viewer("anna", &site.room);
    let set = |word: &str| device.set().iter().filter(|line| line.contains(word)).count();
    let viewing = Viewing::start(&site, &anna, 1);
    viewing.wait_for_pictures(PATIENCE);
    timeline::until("packets are chosen", PATIENCE, || {
        device.set().iter().any(|line| line.starts_with("/tuner0/filter=") && line.contains("0x0100"))
    });
    // As others see it.
    let other = |line: &str| {
        let output = site.source.output(format!("hdhomerun_config {DEVICE} {line}").as_str());
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    assert_eq!(other("get /tuner0/lockkey").trim(), "10.77.0.3");
    assert!(other("set /tuner0/channel auto:2").contains("resource locked by 10.77.0.3"));

    device.restart();
    timeline::until("tuned again after the restart", PATIENCE, || set("channel=8vsb:177000000") == 2);
    viewing.wait_to_go_on(PATIENCE);

    write(&one(183));
    daemons.database.hang_up();
    timeline::until("the tuner is retuned", PATIENCE, || set("channel=8vsb:183000000") == 1);
    viewing.wait_to_go_on(PATIENCE);
    assert!(set("lockkey=none") > 0, "{:?}", device.set());

    // The tuner is taken: the other channel waits until it is free.
    write(&one(183).with_channel(2, "Waiting", &url(177)));
    daemons.database.hang_up();
    let cause = timeline::obtain("channel 2 finds all tuners in use", PATIENCE, || {
        let listed = site.channels(&anna)?.into_iter().find(|listed| listed.id == 2)?;
        listed.cause.filter(|cause| cause.contains("in use"))
    });
    lab.note(format_args!("{cause}"));
    viewing.finish();
    write(&one(177));
    daemons.database.hang_up();
    site.wait_active(&anna, 1, PATIENCE);

    daemons.acquisition.terminate(END_LIMIT);
    assert_eq!(device.taken(), 0, "the tuner is free when the acquisition server has ended");
}
