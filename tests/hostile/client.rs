//! P4 answers and P6 at a viewer.

use std::net::SocketAddr;
use std::time::Duration;

use client::viewer::{Group, Input, Output, Reason, Viewer};
use protocols::authority::LEASE_LIFETIME;
use protocols::ids::Revision;
use protocols::p2_directory::{ToClient, Tuning};
use protocols::p4_control::{InterestVerdict, Kind, seal};
use protocols::time::Time;

use crate::heap::measured;
use crate::mutation::{Mutator, Raw, without};
use crate::site::{
    CHANNEL, HALL, WALL, announcement, answer, cluster, everything, foreign, lease, rtp, verdicts, viewer,
    wall,
};
use crate::trial::Trial;

/// Hostile datagrams between two genuine ones.
const VOLLEY: u64 = 500;
/// What handling any one datagram may hold for a moment.
const PEAK_BYTES: i64 = 8 << 10;

fn tuning() -> Tuning {
    let lease = lease(0, WALL + LEASE_LIFETIME);
    Tuning {
        channel: CHANNEL,
        name: "One".to_owned(),
        destination: lease.destination,
        port: 7601,
        push_server: "hall/1".parse().unwrap(),
        control: HALL.parse().unwrap(),
        revision: Revision::new(1, 1),
        secret: cluster().lease_key().secret(&lease),
        lease,
        announce_key: cluster().announce_key(CHANNEL),
        time: WALL,
    }
}

fn group() -> Group {
    let (client, destination) = viewer(0);
    Group { address: destination, port: 7601, local: client.ip() }
}

fn give(viewer: &mut Viewer, now: Time, input: Input<'_>) -> Vec<Output> {
    let mut out = Vec::new();
    viewer.handle(now, input, &mut out);
    out
}

fn playing() -> Viewer {
    let mut viewer = Viewer::new(42);
    let _ = give(&mut viewer, Time::ZERO, Input::Watch(CHANNEL));
    let _ = give(&mut viewer, Time::ZERO, Input::DirectoryConnected);
    let tuned = Input::DirectoryMessage(ToClient::Tuning(Box::new(tuning())));
    let out = give(&mut viewer, Time::ZERO, tuned);
    assert!(out.iter().any(|output| matches!(output, Output::SendControl { .. })));
    viewer
}

/// All that it knows, its secrets included, but not what it counts.
fn knowledge(viewer: &Viewer) -> (String, Option<Tuning>) {
    let counters = ["bad_tags", "bad_control", "wrong_channel", "replays", "foreign"];
    (without(format!("{viewer:?}"), &counters), viewer.tuning().cloned())
}

/// Something genuine, to both; they do the same, and want to be woken at the same time.
fn both(twin: &mut Viewer, viewer: &mut Viewer, now: Time, input: Input<'_>) -> Option<(Time, Reason)> {
    assert_eq!(give(twin, now, input.clone()), give(viewer, now, input));
    assert_eq!(twin.deadline(), viewer.deadline());
    twin.deadline()
}

/// Two viewers see the same programme; one of them is shot at besides.
#[test]
fn a_viewer_under_fire_does_what_its_twin_in_peace_does() {
    let mut trial = Trial::new("P4 answers and P6 announcements at the client");
    let mut random = trial.random();
    let (mut twin, mut viewer) = (playing(), playing());
    let mut mutator = Mutator::new(random.fork(), 1_600);
    everything(&cluster(), Time::ZERO).iter().for_each(|bytes| mutator.record(bytes, 64));
    let mut announcements = Mutator::new(random.fork(), 200);
    let forged = everything(&foreign(), Time::ZERO);
    let from: SocketAddr = HALL.parse().unwrap();
    let mut now = Time::ZERO;
    let mut reference = both(&mut twin, &mut viewer, now, Input::Tick);
    // Each receiver takes a million.
    for volley in 0..2 * Trial::inputs() / VOLLEY {
        let next = now + Duration::from_millis(random.u64(1..200));
        while let Some((at, _)) = reference.filter(|(at, _)| *at <= next) {
            reference = both(&mut twin, &mut viewer, at, Input::Tick);
        }
        now = next;
        let packet = rtp(volley);
        let media = match random.u8(..4) {
            0 => announcement(&cluster(), now, CHANNEL),
            1 => {
                let bytes = answer(&cluster(), now, InterestVerdict::Clock);
                mutator.record(&bytes, 64);
                both(&mut twin, &mut viewer, now, Input::Control { from, bytes: &bytes });
                packet.as_bytes().to_vec()
            }
            _ => packet.as_bytes().to_vec(),
        };
        if media.len() < 100 {
            announcements.record(&media, 16);
        }
        reference = both(&mut twin, &mut viewer, now, Input::Media { group: group(), bytes: &media });
        trial.count("genuine");
        for _ in 0..VOLLEY {
            let mut out = Vec::new();
            let input = if volley % 2 == 0 {
                trial.count("hostile answers");
                let forged = (random.u8(..) < 12).then(|| random.choice(&forged).unwrap());
                Input::Control { from, bytes: forged.map_or_else(|| mutator.spoil(), Vec::as_slice) }
            } else {
                trial.count("hostile announcements");
                let forged = (random.u8(..) < 12).then(|| random.choice(&forged[7..9]).unwrap());
                let bytes = forged.map_or_else(|| announcements.spoil(), Vec::as_slice);
                // What looks like media is media: nobody signs them. Their test is another one.
                if media::rtp::classify(bytes) != media::rtp::Kind::Rtcp {
                    trial.count("of them media");
                    continue;
                }
                Input::Media { group: group(), bytes }
            };
            let ((), growth) = measured(|| viewer.handle(now, input, &mut out));
            assert_eq!(out, [], "in volley {volley}");
            assert!(growth.live == 0 && growth.peak < PEAK_BYTES, "{growth:?} in volley {volley}");
            trial.highest("peak bytes", growth.peak);
        }
        assert_eq!(reference, viewer.deadline(), "after volley {volley}");
        if volley % 16 == 0 {
            assert_eq!(knowledge(&twin), knowledge(&viewer), "after volley {volley}");
            trial.count("comparisons");
        }
    }
    assert_eq!(knowledge(&twin), knowledge(&viewer));
    assert!(viewer.counters().bad_tags > 0 && viewer.counters().bad_control > 0);
    assert!(viewer.counters().announcements > 0 && viewer.counters().delivered > 0);
}

/// A viewer's push server may be broken into: bodies of any shape under its genuine tag.
#[test]
fn rubbish_under_a_genuine_tag_neither_panics_nor_grows() {
    let mut trial = Trial::new("P4 rubbish from key holders at the client");
    let mut mutator = Mutator::new(trial.random(), 1_180);
    for verdict in verdicts() {
        let bytes = answer(&cluster(), Time::ZERO, verdict);
        mutator.record(&bytes[4..bytes.len() - 16], 64);
    }
    let mut viewer = playing();
    let from: SocketAddr = HALL.parse().unwrap();
    let ((), growth) = measured(|| {
        for n in 0..Trial::inputs() / 4 {
            let secret = viewer.tuning().unwrap().secret.clone();
            let sealed = seal(Kind::InterestAnswer, &Raw(mutator.spoil()), &secret);
            let mut out = Vec::new();
            viewer.handle(Time::from_us(n), Input::Control { from, bytes: &sealed }, &mut out);
            trial.add("outputs", out.len() as u64);
            trial.count("sent");
        }
    });
    assert!(growth.live < 4 << 10 && growth.peak < 64 << 10, "{growth:?}");
}

/// An answer is sent again by somebody who recorded it: however often, the viewer's interest is the same few.
#[test]
fn a_replayed_answer_makes_a_viewer_send_no_more_than_twice_a_second() {
    let mut viewer = playing();
    let recorded = answer(&cluster(), Time::ZERO, InterestVerdict::Clock);
    let from: SocketAddr = HALL.parse().unwrap();
    let mut sent = 0;
    for ms in 0..10_000 {
        let now = Time::from_ms(ms);
        let out = give(&mut viewer, now, Input::Control { from, bytes: &recorded });
        for output in out {
            if let Output::SendControl { to, .. } = output {
                assert_eq!(to, from, "to its push server and nobody else");
                sent += 1;
            }
        }
    }
    assert!(sent < 60, "{sent} in 10 s");
    assert!(wall(Time::ZERO) == WALL);
}
