//! One push server of two dies.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lab::member::{Member, Received};
use lab::site::{Plan, READY_LIMIT, SOURCE_GROUP, Site};
use lab::source::{Clip, Sender};
use lab::{Lab, Process, packets, timeline};

use crate::bytes::recording;
use crate::viewing::{Viewing, witness};

const PATIENCE: Duration = Duration::from_secs(15);
/// How long viewers may be without pictures.
const BACK_WITHIN: Duration = Duration::from_secs(2);
/// How long it goes on between two events.
const CALM: Duration = Duration::from_secs(3);
/// Transport stream packets in an RTP packet.
const PACKETS_PER_RTP: usize = 7;

/// An RTP packet that arrived in the room.
struct Arrived<'a> {
    received: &'a Received,
    sequence: u16,
    ssrc: u32,
}

impl<'a> Arrived<'a> {
    /// `None` for announcements.
    fn parse(received: &'a Received) -> Option<Self> {
        let bytes = &received.payload;
        (bytes[1] & 0x7f == 33).then(|| Self {
            received,
            sequence: u16::from_be_bytes([bytes[2], bytes[3]]),
            ssrc: u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]),
        })
    }

    fn payload(&self) -> &'a [u8] {
        &self.received.payload[12..]
    }
}

/// Goal: when the push server that serves a LAN dies, another goes on with the same stream within two seconds; when the dead
/// one comes back nobody notices.
/// Method: both are declared for the room. The one that sends is killed, restarted, and then the other is killed, while two
/// viewers record and a socket of the test notes every packet with its time and sender. The stream's bytes are known.
#[test]
fn viewers_are_back_within_two_seconds_when_a_push_server_dies() {
    const NAME: &str = "viewers_are_back_within_two_seconds_when_a_push_server_dies";
    let Some(lab) = Lab::open(NAME, &["ffmpeg"]) else { return };
    let site = Site::build(&lab, &Plan::stream().with_rivals());
    let viewers = ["anna", "bert"].map(|name| site.viewer(name, &site.room));
    let mut daemons = site.start_all();
    let source: SocketAddr = SOURCE_GROUP.parse().unwrap();
    let sender = Sender::start(&site.source, &Clip::five_megabits(40), source);
    site.wait_active(&viewers[0], 1, PATIENCE);
    let member = witness(&site, "witness", &site.room);
    // Without repair, which would have the new server send what the viewers missed, and hide what the move itself costs.
    let viewings =
        viewers.each_ref().map(|viewer| Viewing::start_with(&site, viewer, 1, &["--repair", "off"]));
    for viewing in &viewings {
        viewing.wait_for_pictures(PATIENCE);
    }
    timeline::lasts(CALM);

    let first = serving(&member);
    let mut kill = |serving: IpAddr| {
        let daemon: &mut Process = if serving == IpAddr::from(site.hall.address_on(&site.room)) {
            &mut daemons.hall
        } else {
            &mut daemons.annex
        };
        let at = member.packets();
        daemon.kill9();
        for viewing in &viewings {
            viewing.wait_to_go_on(PATIENCE);
        }
        timeline::lasts(CALM);
        daemon.restart();
        daemon.wait_for_line("ready", READY_LIMIT);
        timeline::lasts(CALM);
        at
    };
    let first_death = kill(first);
    let second = serving(&member);
    assert_ne!(second, first, "the other serves, and goes on to serve when the first is back");
    let second_death = kill(second);
    assert_eq!(serving(&member), first);

    let recordings = viewings.map(recording);
    let received = member.leave();
    let sent = sender.stop();
    let arrived: Vec<Arrived<'_>> = received.iter().filter_map(Arrived::parse).collect();
    let skipped = assert_one_stream_from_two_servers(&lab, &arrived);
    // What the packets hold is the source's, and what is missing is what the sequence numbers say.
    let wire: Vec<u8> = arrived.iter().flat_map(Arrived::payload).copied().collect();
    let comparison = packets::compare(&sent, &wire);
    lab.note(format_args!("on the wire {comparison:?}; RTP packets skipped {skipped}"));
    assert_eq!((comparison.foreign, comparison.missing), (0, skipped * PACKETS_PER_RTP), "{comparison:?}");
    for recording in recordings {
        let comparison = packets::compare(&sent, &std::fs::read(&recording).unwrap());
        lab.note(format_args!("{}: {comparison:?}", recording.display()));
        assert_eq!(comparison.foreign, 0);
        assert!(comparison.missing <= skipped * PACKETS_PER_RTP, "a viewer misses no more than the wire");
    }
    assert!(first_death < second_death);
}

/// Who sent the newest packet.
fn serving(member: &Member) -> IpAddr {
    member.received().last().expect("there are packets").source.ip()
}

/// One SSRC throughout, sequence numbers that only go forward, exactly two changes of sender, no pause longer than
/// [`BACK_WITHIN`]. Gives how many sequence numbers were skipped.
fn assert_one_stream_from_two_servers(lab: &Lab, arrived: &[Arrived<'_>]) -> usize {
    let (mut skipped, mut changes, mut longest) = (0, 0, Duration::ZERO);
    for pair in arrived.windows(2) {
        let [before, after] = [&pair[0], &pair[1]];
        assert_eq!(after.ssrc, before.ssrc, "the same stream");
        let step = after.sequence.wrapping_sub(before.sequence);
        let pause = after.received.time - before.received.time;
        longest = longest.max(pause);
        assert!((1..0x8000).contains(&step), "{} follows {}", after.sequence, before.sequence);
        skipped += usize::from(step) - 1;
        if after.received.source.ip() == before.received.source.ip() {
            assert_eq!(step, 1, "one server leaves nothing out");
            continue;
        }
        changes += 1;
        lab.note(format_args!(
            "{} -> {}: {:.0} ms, SSRC {:#010x} stays, sequence {} -> {}",
            before.received.source.ip(),
            after.received.source.ip(),
            pause.as_secs_f64() * 1e3,
            after.ssrc,
            before.sequence,
            after.sequence
        ));
    }
    assert_eq!(changes, 2, "the sender changes when one dies, and never else");
    assert!(longest <= BACK_WITHIN, "{longest:?} without a packet");
    skipped
}
