//! P4 at a push server host.

use std::net::SocketAddr;
use std::time::Duration;

use protocols::authority::{CLOCK_TOLERANCE, LEASE_LIFETIME};
use protocols::ids::{BootId, ChannelId};
use protocols::p4_control::{
    INTEREST_BYTES, INTEREST_TIMEOUT, Interest, Kind, MAX_MISSING_PER_REPAIR, Sealed, seal,
};
use protocols::time::Time;
use push_server::admission::NACKS_PER_SECOND;
use push_server::repair::Requester;
use push_server::{Config, FeedId, Input, Output, PushServer};

use crate::heap::measured;
use crate::mutation::{Mutator, Raw, without};
use crate::site::{
    BOOT, CHANNEL, Commands, DATABASE, WALL, announcement, cluster, everything, foreign, hall, interest,
    lease, nack, play, play_repair, repair, rtp, viewer, wall,
};
use crate::trial::Trial;

/// Synchronisation source of what it is fed; not that of any packet on the wires.
const SSRC: u32 = 0xfeed_0001;
/// Hostile datagrams between two genuine ones.
const VOLLEY: u64 = 500;
/// What handling any one datagram may hold for a moment.
const PEAK_BYTES: i64 = 16 << 10;

fn new() -> PushServer {
    PushServer::new(Config { host: hall(), key: cluster() }, BOOT)
}

fn handle(server: &mut PushServer, now: Time, input: Input) -> Vec<Output> {
    let mut out = Vec::new();
    server.handle(now, input, &mut out);
    out
}

fn datagram(server: &mut PushServer, now: Time, from: &str, bytes: &[u8]) -> Vec<Output> {
    handle(server, now, Input::Datagram { from: from.parse().unwrap(), bytes: bytes.to_vec() })
}

/// All that it knows: configurations in force and half received, who is held until when, clock, orders, reports. Not what
/// it has counted, nor when it last put a forgery in the log.
fn knowledge(server: &PushServer) -> String {
    without(format!("{server:?}"), &["counters", "forgery_told"])
}

fn counted(server: &PushServer) -> u64 {
    server.counters().named().iter().map(|(_, count)| count).sum()
}

/// Carries the channel, is fed, holds interest, has half a configuration of channel 2.
fn operating(commands: &mut Commands) -> PushServer {
    let mut server = new();
    let out = datagram(&mut server, Time::ZERO, DATABASE, &commands.query(Time::ZERO, BOOT, 0));
    assert_eq!(out.len(), 1);
    let _ = datagram(&mut server, Time::ZERO, DATABASE, &commands.configure(CHANNEL, 1, 1));
    let _ = datagram(&mut server, Time::ZERO, DATABASE, &commands.configure(ChannelId(2), 2, 2));
    let peer = "roof".parse().unwrap();
    let _ = handle(
        &mut server,
        Time::ZERO,
        Input::FeedOpened { channel: CHANNEL, feed: FeedId(1), peer, ssrc: SSRC },
    );
    assert_eq!(server.revision(CHANNEL).map(|revision| revision.0), Some(1));
    server
}

/// One genuine thing that happens.
fn genuine(random: &mut fastrand::Rng, commands: &mut Commands, now: Time) -> (SocketAddr, Vec<u8>) {
    let database = DATABASE.parse().unwrap();
    match random.u8(..10) {
        0 => (database, commands.query(now, BOOT, 0)),
        1 => (database, commands.configure(CHANNEL, now.as_us(), 1)),
        2 => (database, commands.configure(ChannelId(random.u32(2..100)), now.as_us(), random.u8(0..=2))),
        3 => (viewer(0).0, repair(&cluster(), now, 0)),
        4 => (viewer(1).0, play(&cluster(), now, 1)),
        5 => (viewer(3).0, play_repair(&cluster(), now, 3)),
        _ => {
            let number = random.usize(..4);
            (viewer(number).0, interest(&cluster(), now, number))
        }
    }
}

/// Two push servers live through the same day; one of them is shot at besides. They must not differ in what they say, when
/// they want to be woken, or what they know.
#[test]
fn a_push_server_under_fire_does_what_its_twin_in_peace_does() {
    let mut trial = Trial::new("P4 at the push server");
    let mut random = trial.random();
    let (mut twin_commands, mut commands) = (Commands::new(cluster()), Commands::new(cluster()));
    let (mut twin, mut server) = (operating(&mut twin_commands), operating(&mut commands));
    let mut mutator = Mutator::new(random.fork(), 1_600);
    let forged: Vec<Vec<u8>> = everything(&foreign(), Time::ZERO);
    everything(&cluster(), Time::ZERO).iter().for_each(|bytes| mutator.record(bytes, 64));
    let mut now = Time::ZERO;
    for volley in 0..Trial::inputs() / VOLLEY {
        let next = now + Duration::from_millis(random.u64(1..400));
        while let Some((at, _)) = twin.deadline().filter(|(at, _)| *at <= next) {
            assert_eq!(handle(&mut twin, at, Input::Tick), handle(&mut server, at, Input::Tick));
        }
        now = next;
        let (from, bytes) = genuine(&mut random, &mut commands, now);
        mutator.record(&bytes, 64);
        let input = Input::Datagram { from, bytes };
        let out = handle(&mut twin, now, input.clone());
        out.iter().for_each(|output| {
            if let Output::Send { bytes, .. } = output {
                mutator.record(bytes, 64);
            }
        });
        assert_eq!(out, handle(&mut server, now, input));
        trial.count("genuine");

        let dropped = counted(&server);
        for _ in 0..VOLLEY {
            let spoilt = mutator.spoil();
            let bytes =
                if random.u8(..) < 12 { random.choice(&forged).unwrap().clone() } else { spoilt.to_vec() };
            let from = match random.u8(..3) {
                0 => DATABASE.parse().unwrap(),
                1 => viewer(random.usize(..4)).0,
                _ => SocketAddr::from(([random.u8(..), 0, 1, random.u8(..)], random.u16(..))),
            };
            let mut out = Vec::new();
            let ((), growth) = measured(|| server.handle(now, Input::Datagram { from, bytes }, &mut out));
            assert_eq!(out, [], "in volley {volley}");
            // What came in was allocated before, and is gone now.
            assert!(growth.live <= 0 && growth.peak < PEAK_BYTES, "{growth:?} in volley {volley}");
            trial.highest("peak bytes", growth.peak);
        }
        assert_eq!(counted(&server) - dropped, VOLLEY, "a drop without a counter in volley {volley}");
        trial.add("hostile", VOLLEY);
        assert_eq!(twin.deadline(), server.deadline(), "after volley {volley}");
        if volley % 8 == 0 {
            assert_eq!(knowledge(&twin), knowledge(&server), "after volley {volley}");
            trial.count("comparisons");
        }
    }
    assert_eq!(knowledge(&twin), knowledge(&server));
    for (name, count) in server.counters().named() {
        trial.add(name, count);
    }
    let reached = [
        "not_p4",
        "other_version",
        "other_kind",
        "malformed",
        "forged",
        "other_address",
        "rtcp_malformed",
        "rtcp_without_nack",
        "nacks_of_no_stream",
    ];
    assert!(reached.iter().all(|name| trial.of(name) > 0), "some check was never reached");
}

/// What was recorded and is sent again says nothing new: commands are not even answered; interest outside its time is
/// answered by less than was sent; inside its time it holds for what the tolerance allows and no longer.
#[test]
fn replays_change_nothing_and_are_never_answered_by_more_bytes() {
    let mut trial = Trial::new("P4 replays at the push server");
    let mut random = trial.random();
    let mut commands = Commands::new(cluster());
    let mut server = operating(&mut commands);
    let mut recorded: Vec<(SocketAddr, Vec<u8>)> = Vec::new();
    for second in 0..200 {
        let now = Time::from_ms(second * 100);
        let (from, bytes) = genuine(&mut random, &mut commands, now);
        let _ = handle(&mut server, now, Input::Datagram { from, bytes: bytes.clone() });
        recorded.push((from, bytes));
    }
    // Long after: all that was held is let go.
    let now = Time::from_ms(20_000) + CLOCK_TOLERANCE + INTEREST_TIMEOUT + Duration::from_secs(1);
    while let Some((at, _)) = server.deadline() {
        let _ = handle(&mut server, at, Input::Tick);
    }
    // Of an earlier life of the host, of which an attacker may have recordings too.
    let mut earlier = Commands::new(cluster());
    let database: SocketAddr = DATABASE.parse().unwrap();
    recorded.extend((0..50).map(|n| (database, earlier.query(now, BootId(n), n))));
    let before = knowledge(&server);
    for _ in 0..Trial::inputs() / 10 {
        let (from, bytes) = random.choice(&recorded).unwrap().clone();
        let sent = bytes.len();
        for output in handle(&mut server, now, Input::Datagram { from, bytes }) {
            let (to, bytes) = match output {
                Output::Send { to, bytes } => (to, bytes),
                // The sessions say that it is too old: see `playback.rs`.
                Output::Play(_) => continue,
                other => panic!("{other:?}"),
            };
            assert!(to == from && bytes.len() <= sent, "{} bytes answer {sent}", bytes.len());
            trial.count("answered");
            trial.highest("longest answer", i64::try_from(bytes.len()).unwrap());
        }
        trial.count("replayed");
    }
    assert_eq!(before, knowledge(&server));
    assert!(
        trial.of("longest answer") > 0 && server.counters().replayed > 0 && server.counters().clock_off > 0
    );
}

#[test]
fn recorded_interest_holds_a_channel_for_its_tolerance_and_no_longer() {
    let mut server = operating(&mut Commands::new(cluster()));
    let recorded = interest(&cluster(), Time::ZERO, 0);
    let (from, destination) = viewer(0);
    let (mut now, mut held_until) = (Time::ZERO, Time::ZERO);
    while now < Time::from_ms(60_000) {
        let _ = datagram(&mut server, now, &from.to_string(), &recorded);
        while let Some((at, _)) = server.deadline().filter(|(at, _)| *at <= now) {
            let _ = handle(&mut server, at, Input::Tick);
        }
        if server.sending(CHANNEL, destination) {
            held_until = now;
        }
        now += Duration::from_millis(50);
    }
    let allowed = Time::ZERO + CLOCK_TOLERANCE + INTEREST_TIMEOUT;
    assert!(held_until > Time::from_ms(9_000) && held_until <= allowed, "{held_until}");
}

/// Whoever holds a key may still be broken, or broken into: bodies of any shape under genuine tags.
#[test]
fn rubbish_under_a_genuine_tag_neither_panics_nor_grows_nor_is_amplified() {
    let mut trial = Trial::new("P4 rubbish from key holders at the push server");
    let mut random = trial.random();
    let mut commands = Commands::new(cluster());
    let mut server = operating(&mut commands);
    let mut mutator = Mutator::new(random.fork(), 1_180);
    everything(&cluster(), Time::ZERO).iter().for_each(|bytes| {
        mutator.record(&bytes[4..bytes.len() - 16], 64);
    });
    let host_key = cluster().host_key(&hall());
    let secret = cluster().lease_key().secret(&lease(0, WALL + LEASE_LIFETIME));
    let kinds =
        [Kind::Query, Kind::Configure, Kind::Interest, Kind::Report, Kind::InterestAnswer, Kind::Repair];
    let ((), growth) = measured(|| {
        for n in 0..Trial::inputs() / 4 {
            let kind = *random.choice(&kinds).unwrap();
            let key = if matches!(kind, Kind::Interest | Kind::Repair) { &secret } else { &host_key };
            let sealed = seal(kind, &Raw(mutator.spoil()), key);
            let (from, sent) = (viewer(0).0, sealed.len());
            let now = Time::from_us(n);
            for output in handle(&mut server, now, Input::Datagram { from, bytes: sealed }) {
                if let Output::Send { bytes, .. } = output {
                    // A query for a report is the one thing that is answered by more, to who holds the host's key.
                    let report = Sealed::parse(&bytes).unwrap().kind == Kind::Report;
                    assert!(report || bytes.len() <= sent.max(INTEREST_BYTES));
                    trial.count("answered");
                }
            }
            trial.count("sent");
        }
    });
    // 64 half configurations, those few that became whole, and for a moment what one list claims to be.
    assert!(growth.live < 1 << 20 && growth.peak < 3 << 20, "{growth:?}");
    trial.highest("held bytes", growth.live);
    assert!(server.counters().malformed > 0 && server.counters().commands_heard > 0);
}

/// Anybody may send RTCP for a stream that is fed. It is never answered, leaves nothing behind but the budget of such
/// datagrams, and no number of them gets more than that budget through.
#[test]
fn nacks_of_strangers_leave_nothing_behind_and_are_never_answered() {
    let mut trial = Trial::new("RTCP at the push server");
    let mut random = trial.random();
    let mut server = operating(&mut Commands::new(cluster()));
    let before = without(knowledge(&server), &["nacks"]);
    let mut mutator = Mutator::new(random.fork(), 1_600);
    mutator.record(&nack(SSRC), 64);
    mutator.record(&nack(0x5eed), 64);
    let mut through = 0;
    let inputs = Trial::inputs() / 4;
    for n in 0..inputs {
        let from = SocketAddr::from(([random.u8(..), 0, 1, random.u8(..)], random.u16(..)));
        let bytes = if n % 2 == 0 { nack(SSRC) } else { mutator.spoil().to_vec() };
        let dropped = counted(&server);
        for output in handle(&mut server, Time::from_us(n * 10), Input::Datagram { from, bytes }) {
            let Output::Repair { channel: CHANNEL, request } = output else { panic!("{output:?}") };
            assert!(request.missing.len() <= MAX_MISSING_PER_REPAIR && request.ssrc == SSRC);
            assert_eq!(request.from, Requester::Receiver { address: from.ip() });
            through += 1;
        }
        assert_eq!(counted(&server) - dropped, 1);
        trial.count("sent");
    }
    let allowed =
        u64::from(NACKS_PER_SECOND) * (inputs * 10).div_ceil(1_000_000) + u64::from(NACKS_PER_SECOND) / 10;
    assert!(through > 0 && through <= allowed, "{through} of at most {allowed}");
    assert_eq!(before, without(knowledge(&server), &["nacks"]));
}

/// A weakened receiver must be found out: this one believes its address book instead of the tag.
#[test]
fn the_check_sees_state_that_a_forged_datagram_would_make() {
    let mut server = operating(&mut Commands::new(cluster()));
    let before = knowledge(&server);
    let now = Time::from_ms(1);
    let forged = interest(&foreign(), now, 0);
    assert_eq!(datagram(&mut server, now, &viewer(0).0.to_string(), &forged), []);
    assert_eq!(before, knowledge(&server));
    let believed = Interest::peek(&Sealed::parse(&forged).unwrap()).unwrap();
    let genuine = believed.seal(&cluster().lease_key().secret(&believed.lease));
    assert_ne!(datagram(&mut server, now, &viewer(0).0.to_string(), &genuine), []);
    assert_ne!(before, knowledge(&server));
    assert_eq!(wall(now), believed.time);
    // Media and announcements mean nothing here, whoever made them.
    for bytes in [announcement(&cluster(), now, CHANNEL), rtp(1).as_bytes().to_vec()] {
        assert_eq!(datagram(&mut server, now, DATABASE, &bytes), []);
    }
}
