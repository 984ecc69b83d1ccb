//! SRT from senders that nobody here wrote, over a link that loses packets.

use std::process::Output;
use std::time::Duration;

use lab::lossy_link::{Loss, Nature};
use lab::source::Clip;
use lab::{Cable, Command, Fault, Host, Lab, Lan, timeline};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(15);
/// How long is counted.
const COUNTED_SECONDS: u64 = 6;
/// A link of which SRT has to mend a packet in fifty, both ways.
const LINK: Nature =
    Nature { loss: Loss::Independent(0.02), round_trip: Duration::from_millis(10), jitter: Duration::ZERO };
const SENDER: &str = "10.77.1.21";
const RECEIVER: &str = "10.77.1.22";
const PASSPHRASE: &str = "correct%20horse";
const TOOLS: [&str; 2] = ["ffmpeg", "srt-live-transmit"];

struct Link {
    sender: Host,
    receiver: Host,
    _cable: Cable,
    _lan: Lan,
}

fn link(lab: &Lab) -> Link {
    let (sender, receiver) = (lab.host("sender"), lab.host("receiver"));
    let lan = lab.lan("uplink", "10.77.1.0/24");
    lab.attach(&sender, &lan, SENDER);
    let cable = lab.attach_by_cable(&receiver, &lan, RECEIVER);
    cable.spoil(Fault { nature: LINK, bottleneck: None, seed: 1 });
    Link { sender, receiver, _cable: cable, _lan: lan }
}

fn probe(url: &str) -> Command {
    let line = format!("masthead-acquisition probe --seconds {COUNTED_SECONDS} --format json");
    Command::line(&line).arg(url)
}

fn wait_for_port(host: &Host, port: u16) {
    let listens = || !host.run(format!("ss -H -u -a -n sport = {port}")).trim().is_empty();
    timeline::until("the port is open", PATIENCE, listens);
}

/// What a probe that heard the stream said of it.
fn heard(lab: &Lab, output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let report: Value =
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let of = |key: &str| report[key].to_string();
    lab.note(format_args!(
        "{} packets in {} ms, {} sync and {} continuity errors; {}",
        of("packets"),
        of("duration_ms"),
        of("sync_errors"),
        of("continuity_errors"),
        of("ended")
    ));
    report
}

fn assert_whole(report: &Value, output: &Output) {
    assert!(report["packets"].as_u64().unwrap() > 5_000, "{report}");
    assert_eq!(report["continuity_errors"], 0, "{report}");
    assert_eq!(output.status.code(), Some(0), "{report}");
}

/// Goal: an encrypted stream of a caller comes whole although the link loses packets, and a caller with another streamid is not
/// heard.
/// Method: ffmpeg calls the port at which `probe` listens; its packets are counted.
#[test]
fn srt_listener_takes_the_right_caller_and_has_losses_sent_again() {
    const NAME: &str = "srt_listener_takes_the_right_caller_and_has_losses_sent_again";
    let Some(lab) = Lab::open(NAME, &TOOLS) else { return };
    let (clip, link) = (Clip::five_megabits(40), link(&lab));
    for (stream, taken) in [("one", true), ("two", false)] {
        let url =
            format!("srt://{RECEIVER}:9000?mode=listener&latency=1000&passphrase={PASSPHRASE}&streamid=one");
        let output = std::thread::scope(|scope| {
            let listening = scope.spawn(|| link.receiver.output(probe(&url)));
            wait_for_port(&link.receiver, 9000);
            let to = format!("srt://{RECEIVER}:9000?mode=caller&passphrase=correct horse&streamid={stream}");
            let call = Command::line("ffmpeg -nostdin -v error -re -i").arg(&clip.path);
            let _caller = link.sender.spawn(call.args(["-c", "copy", "-f", "mpegts"]).arg(to));
            listening.join().unwrap()
        });
        let report = heard(&lab, &output);
        if taken {
            assert_whole(&report, &output);
        } else {
            assert_eq!((report["packets"].as_u64(), output.status.code()), (Some(0), Some(1)), "{report}");
            let ended = report["ended"].as_str().unwrap();
            assert!(ended.contains("streamid"), "{ended}");
        }
    }
}

/// Goal: we call a sender that listens and get its encrypted stream whole over a link that loses packets; with another passphrase,
/// or without, we are told so.
/// Method: libsrt's own program sends what ffmpeg gives it.
#[test]
fn srt_caller_is_heard_with_the_passphrase_and_refused_without() {
    const NAME: &str = "srt_caller_is_heard_with_the_passphrase_and_refused_without";
    let Some(lab) = Lab::open(NAME, &TOOLS) else { return };
    let (clip, link) = (Clip::five_megabits(40), link(&lab));
    let sender = Command::line("srt-live-transmit -q udp://127.0.0.1:7000")
        .arg("srt://:9001?mode=listener&latency=1000&passphrase=correct horse");
    let _sender = link.sender.spawn(sender);
    wait_for_port(&link.sender, 9001);
    let play = Command::line("ffmpeg -nostdin -v error -re -i").arg(&clip.path);
    let _source =
        link.sender.spawn(play.args(["-c", "copy", "-f", "mpegts", "udp://127.0.0.1:7000?pkt_size=1316"]));
    let output = link.receiver.output(probe(&format!("srt://{SENDER}:9001?passphrase={PASSPHRASE}")));
    assert_whole(&heard(&lab, &output), &output);
    for (parameters, cause) in
        [("?passphrase=wrong%20horse", "the passphrase is another"), ("", "one end has a passphrase")]
    {
        let output = link.receiver.output(probe(&format!("srt://{SENDER}:9001{parameters}")));
        let report = heard(&lab, &output);
        let ended = report["ended"].as_str().unwrap();
        assert!(ended.contains(cause) && !ended.contains("wrong"), "{ended}");
        assert_eq!(output.status.code(), Some(1));
    }
}
