//! Orders to live sessions at a push server host.

use std::net::SocketAddr;
use std::time::Duration;

use protocols::authority::{CLOCK_TOLERANCE, ClusterKey, LEASE_LIFETIME};
use protocols::p4_control::{
    Kind, LIVE_BYTES, LIVE_TIMEOUT, LiveAnswer, LiveId, LiveOrder, LiveRequest, LiveVerdict, seal,
};
use protocols::time::Time;
use push_server::live::Order;
use push_server::plan::ChannelCounters;
use push_server::{Config, FeedId, Input, Output, PushServer};

use crate::heap::measured;
use crate::mutation::{Mutator, Raw, without};
use crate::site::{BOOT, CHANNEL, Commands, DATABASE, WALL, cluster, foreign, hall, lease, viewer, wall};
use crate::trial::Trial;

const ORDERS: [LiveOrder; 3] =
    [LiveOrder::Begin { burst_percent: 500 }, LiveOrder::Keep, LiveOrder::End { ssrc: 0x5eed, first: 90 }];
/// What handling any one datagram may hold for a moment.
const PEAK_BYTES: i64 = 16 << 10;

fn handle(server: &mut PushServer, now: Time, input: Input) -> Vec<Output> {
    let mut out = Vec::new();
    server.handle(now, input, &mut out);
    out
}

fn datagram(server: &mut PushServer, now: Time, from: SocketAddr, bytes: &[u8]) -> Vec<Output> {
    handle(server, now, Input::Datagram { from, bytes: bytes.to_vec() })
}

/// Carries the channel, which is fed.
fn operating() -> PushServer {
    let mut commands = Commands::new(cluster());
    let mut server = PushServer::new(Config { host: hall(), key: cluster() }, BOOT);
    let database = DATABASE.parse().unwrap();
    let _ = datagram(&mut server, Time::ZERO, database, &commands.query(Time::ZERO, BOOT, 0));
    let _ = datagram(&mut server, Time::ZERO, database, &commands.configure(CHANNEL, 1, 1));
    let peer = "roof".parse().unwrap();
    let opened = Input::FeedOpened { channel: CHANNEL, feed: FeedId(1), peer, ssrc: 0x5eed };
    let _ = handle(&mut server, Time::ZERO, opened);
    let flowing = ChannelCounters { channel: CHANNEL, packets: 1, flowing: true, targets: vec![] };
    let _ = handle(&mut server, Time::ZERO, Input::Counters(flowing));
    assert!(server.fed(CHANNEL));
    server
}

fn knowledge(server: &PushServer) -> String {
    without(format!("{server:?}"), &["counters", "forgery_told"])
}

fn counted(server: &PushServer) -> u64 {
    server.counters().named().iter().map(|(_, count)| count).sum()
}

/// Viewer `number` orders its session about, under `key`.
fn live(key: &ClusterKey, now: Time, number: usize, order: LiveOrder) -> Vec<u8> {
    let lease = lease(number, WALL + LEASE_LIFETIME);
    let request = LiveRequest { lease, time: wall(now), session: LiveId(7), order };
    request.seal(&key.lease_key().secret(&lease))
}

/// One of each kind, and an answer.
fn recorded(key: &ClusterKey) -> Vec<Vec<u8>> {
    let verdict = LiveVerdict::Begun { ssrc: 0x5eed, first: 7, newest: 90 };
    let answer = LiveAnswer { session: LiveId(7), time: WALL, verdict };
    let secret = key.lease_key().secret(&lease(0, WALL + LEASE_LIFETIME));
    let orders = ORDERS.map(|order| live(key, Time::ZERO, 0, order));
    orders.into_iter().chain([seal(Kind::LiveAnswer, &answer, &secret)]).collect()
}

/// Spoilt orders, orders made with another key, and orders of others change nothing, are not answered, and are counted.
#[test]
fn an_order_that_is_not_genuine_leaves_nothing_behind() {
    let mut trial = Trial::new("live orders at the push server");
    let mut random = trial.random();
    let mut server = operating();
    let begin = live(&cluster(), Time::ZERO, 1, ORDERS[0]);
    assert_eq!(datagram(&mut server, Time::ZERO, viewer(1).0, &begin).len(), 1);
    let before = knowledge(&server);
    let mut mutator = Mutator::new(random.fork(), 1_600);
    recorded(&cluster()).iter().for_each(|bytes| mutator.record(bytes, 64));
    let forged = recorded(&foreign());
    for n in 0..Trial::inputs() / 4 {
        let bytes = match random.u8(..16) {
            0 => random.choice(&forged).unwrap().clone(),
            1 => recorded(&cluster()).swap_remove(random.usize(..3)),
            _ => mutator.spoil().to_vec(),
        };
        // Whole genuine orders come from others than their clients.
        let from = SocketAddr::from(([random.u8(..), 9, 9, random.u8(..)], random.u16(..)));
        let (dropped, mut out) = (counted(&server), Vec::new());
        let ((), growth) =
            measured(|| server.handle(Time::from_us(n), Input::Datagram { from, bytes }, &mut out));
        assert_eq!((out.len(), counted(&server) - dropped), (0, 1), "datagram {n}");
        assert!(growth.live <= 0 && growth.peak < PEAK_BYTES, "{growth:?} by datagram {n}");
        trial.count("hostile");
    }
    assert_eq!(before, knowledge(&server));
    for (name, count) in server.counters().named() {
        trial.add(name, count);
    }
    let reached = ["not_p4", "other_kind", "malformed", "forged", "other_address"];
    assert!(reached.iter().all(|name| trial.of(name) > 0), "some check was never reached");
}

/// Whoever recorded what a viewer said can repeat it with its address: that brings the viewer what it asked for, one session at a
/// time, within the tolerance, and no longer.
#[test]
fn a_recorded_order_makes_one_session_at_a_time_and_only_within_the_tolerance() {
    let mut server = operating();
    let recorded = ORDERS.map(|order| live(&cluster(), Time::ZERO, 0, order));
    let (from, _) = viewer(0);
    let (mut now, mut last, mut sessions) = (Time::ZERO, Time::ZERO, 0_i32);
    while now < Time::from_ms(60_000) {
        while let Some((at, _)) = server.deadline().filter(|(at, _)| *at <= now) {
            let _ = handle(&mut server, at, Input::Tick);
        }
        for bytes in &recorded {
            for output in datagram(&mut server, now, from, bytes) {
                match output {
                    Output::Live { order: Order::Begin { key, .. }, .. } => {
                        assert_eq!(key.client, from);
                        (sessions, last) = (sessions + 1, now);
                    }
                    Output::Live { order: Order::End { .. }, .. } => sessions -= 1,
                    Output::Send { to, bytes } => assert!(to == from && bytes.len() <= LIVE_BYTES),
                    other => panic!("{other:?}"),
                }
                assert!((0..=1).contains(&sessions));
            }
        }
        now += Duration::from_millis(50);
    }
    assert!(last > Time::from_ms(9_000) && last <= Time::ZERO + CLOCK_TOLERANCE, "{last}");
    let only_keeps = live(&cluster(), Time::ZERO, 0, LiveOrder::Keep);
    assert_eq!(datagram(&mut server, now + LIVE_TIMEOUT, from, &only_keeps).len(), 1, "the clock is off");
}

/// Whoever holds a lease may still be broken: bodies of any shape under a genuine tag.
#[test]
fn rubbish_under_a_lease_neither_panics_nor_grows_nor_is_amplified() {
    let mut trial = Trial::new("live rubbish from lease holders at the push server");
    let mut server = operating();
    let mut mutator = Mutator::new(trial.random(), 140);
    recorded(&cluster()).iter().for_each(|bytes| mutator.record(&bytes[4..bytes.len() - 16], 64));
    let secret = cluster().lease_key().secret(&lease(0, WALL + LEASE_LIFETIME));
    let from = viewer(0).0;
    let ((), growth) = measured(|| {
        for n in 0..Trial::inputs() / 4 {
            let mut body = mutator.spoil().to_vec();
            if n % 2 == 0 {
                body.resize(LIVE_BYTES - 20, 0);
            }
            let bytes = seal(Kind::Live, &Raw(&body), &secret);
            let sent = bytes.len();
            for output in handle(&mut server, Time::from_us(n), Input::Datagram { from, bytes }) {
                match output {
                    Output::Send { to, bytes } => assert!(to == from && bytes.len() <= sent),
                    Output::Live { .. } => trial.count("orders"),
                    other => panic!("{other:?}"),
                }
            }
            trial.count("sent");
        }
    });
    assert!(growth.live < 64 << 10 && growth.peak < 1 << 20, "{growth:?}");
    assert!(server.counters().malformed > 0 && server.counters().live_heard > 0);
}
