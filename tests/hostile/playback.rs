//! Orders to sessions, of clients that hold a lease and say anything.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use protocols::authority::{CLOCK_TOLERANCE, RecordingLease};
use protocols::ids::ChannelId;
use protocols::p4_control::{
    Kind, MissingNumbers, PLAY_BYTES, PacketName, PlayOrder, PlayRefusal, PlayRepair, PlayRequest, PlayStart,
    PlayVerdict, SessionId, TrickSpeed, seal,
};
use protocols::time::{ClusterTime, Time};
use push_server::session::{
    self, BATCH_PACKETS, Follows, MAX_SESSIONS_PER_CLIENT, Piece, READ_PACKETS, ReadOutcome, Sessions,
};
use push_server::{Config, Input, Output, PushServer};

use crate::heap::measured;
use crate::mutation::{Mutator, Raw};
use crate::site::{
    BOOT, Commands, DATABASE, WALL, cluster, hall, play, play_repair, recording_lease, viewer, wall,
};
use crate::trial::Trial;

/// Clients that shoot.
const CLIENTS: usize = 4;
/// What their sessions may hold: packets read ahead, what is remembered for repairs, and room to grow.
const HELD_BYTES: i64 = 4 << 20;

/// A host's control and its sessions, before a recording that gives anything but what was asked for.
struct Host {
    server: PushServer,
    sessions: Sessions<u64>,
    now: Time,
    answers: BTreeMap<&'static str, u64>,
    packets: u64,
}

impl Host {
    fn new() -> Self {
        let mut server = PushServer::new(Config { host: hall(), key: cluster() }, BOOT);
        let bytes = Commands::new(cluster()).query(Time::ZERO, BOOT, 0);
        let mut out = Vec::new();
        server.handle(Time::ZERO, Input::Datagram { from: DATABASE.parse().unwrap(), bytes }, &mut out);
        assert_eq!(out.len(), 1);
        let sessions = Sessions::new(Time::ZERO);
        Self { server, sessions, now: Time::ZERO, answers: BTreeMap::new(), packets: 0 }
    }

    fn datagram(&mut self, random: &mut fastrand::Rng, from: SocketAddr, bytes: Vec<u8>) {
        let mut out = Vec::new();
        self.server.handle(self.now, Input::Datagram { from, bytes }, &mut out);
        for output in out {
            match output {
                Output::Play(heard) => {
                    let (from, request, cluster) = (heard.from, heard.request, heard.cluster);
                    self.handle(random, session::Input::Order { from, request, cluster });
                }
                Output::PlayRepair(heard) => {
                    let (from, request, cluster) = (heard.from, heard.request, heard.cluster);
                    self.handle(random, session::Input::Missing { from, request, cluster });
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn handle(&mut self, random: &mut fastrand::Rng, input: session::Input<u64>) {
        let mut outputs = Vec::new();
        self.sessions.handle(self.now, input, &mut outputs);
        for output in outputs {
            match output {
                session::Output::Answer { lease, answer, .. } => {
                    let secret = cluster().lease_key().recording_secret(&lease);
                    assert!(seal(Kind::PlayAnswer, &answer, &secret).len() <= PLAY_BYTES);
                    let what = match answer.verdict {
                        PlayVerdict::Done { .. } => "done",
                        PlayVerdict::Refused(PlayRefusal::Clock) => "clock",
                        PlayVerdict::Refused(_) => "refused",
                    };
                    *self.answers.entry(what).or_default() += 1;
                }
                session::Output::Send { packets, .. } => {
                    assert!(packets.len() <= BATCH_PACKETS);
                    self.packets += packets.len() as u64;
                }
                session::Output::Read { key, ticket, packets, .. } => {
                    assert!(packets <= *READ_PACKETS.end());
                    // Some reads never come back.
                    if random.u8(..) < 250 {
                        let outcome = outcome(random, packets);
                        self.handle(random, session::Input::Read { key, ticket, outcome });
                    }
                }
            }
        }
    }

    fn pass(&mut self, random: &mut fastrand::Rng, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.sessions.deadline().filter(|at| *at <= end) {
            assert!(at >= self.now || self.sessions.deadline().is_some());
            self.now = self.now.max(at);
            self.handle(random, session::Input::Due);
        }
        self.now = end;
    }
}

/// What a disk might hold: some packets, fewer than were asked for, from any place on.
fn outcome(random: &mut fastrand::Rng, packets: u32) -> ReadOutcome<u64> {
    match random.u8(..20) {
        0 => return ReadOutcome::Unknown,
        1 => return ReadOutcome::Failed,
        _ => {}
    }
    let first = random.u64(..100_000);
    let piece = |number| Piece {
        name: PacketName { ssrc: 7, number },
        date: WALL + Duration::from_millis(number),
        random_access: number % 100 == 0,
        packet: number,
    };
    let pieces = (first..first + u64::from(random.u32(..=packets.min(64)))).map(piece).collect();
    let follows = *random.choice(&[Follows::More, Follows::Edge, Follows::Nothing]).unwrap();
    // More behind nothing is what no disk says.
    match (pieces, follows) {
        (pieces, Follows::More) if Vec::is_empty(&pieces) => {
            ReadOutcome::Packets { pieces, follows: Follows::Edge }
        }
        (pieces, follows) => ReadOutcome::Packets { pieces, follows },
    }
}

fn date(random: &mut fastrand::Rng) -> ClusterTime {
    match random.u8(..8) {
        0 => ClusterTime(random.u64(..)),
        1 => ClusterTime(0),
        2 => ClusterTime(u64::MAX),
        _ => WALL + Duration::from_secs(random.u64(..4_000)),
    }
}

fn delta_p_ns(random: &mut fastrand::Rng) -> u32 {
    match random.u8(..4) {
        0 => random.u32(..),
        1 => *random.choice(&[0, 1, 9_999, 10_000, 1_000_000_000, u32::MAX]).unwrap(),
        _ => random.u32(1_000_000..50_000_000),
    }
}

fn order(random: &mut fastrand::Rng) -> PlayOrder {
    let name = PacketName { ssrc: random.u32(6..8), number: random.u64(..200_000) };
    match random.u8(..9) {
        0 => PlayOrder::Play {
            start: PlayStart::Date(date(random)),
            until: date(random),
            delta_p_ns: delta_p_ns(random),
        },
        1 => PlayOrder::Play {
            start: PlayStart::Packet(name),
            until: date(random),
            delta_p_ns: delta_p_ns(random),
        },
        2 => PlayOrder::Pause,
        3 => PlayOrder::Resume,
        4 => PlayOrder::Seek { at: date(random) },
        5 => PlayOrder::Rate { delta_p_ns: delta_p_ns(random) },
        6 => PlayOrder::Trick { speed: *random.choice(&TrickSpeed::ALL).unwrap() },
        7 => PlayOrder::Stop,
        _ => PlayOrder::Keepalive,
    }
}

/// A genuine datagram of client `number`, with anything in it.
fn anything(random: &mut fastrand::Rng, now: Time, number: usize) -> Vec<u8> {
    let mut lease = recording_lease(number);
    match random.u8(..40) {
        0 => lease = RecordingLease { channel: ChannelId(random.u32(..)), ..lease },
        1 => lease = RecordingLease { from: date(random), to: date(random), ..lease },
        2 => lease = RecordingLease { expires: date(random), ..lease },
        3 => lease = RecordingLease { client: IpAddr::from([10, 0, 1, random.u8(..)]), ..lease },
        _ => {}
    }
    let secret = cluster().lease_key().recording_secret(&lease);
    let time = if random.u8(..) < 8 { date(random) } else { wall(now) };
    let session = SessionId(random.u64(..6));
    if random.u8(..4) == 0 {
        let entry = |_| MissingNumbers { first: random.u32(..2_000), following: random.u16(..) };
        let missing = (0..64).map(entry).collect();
        return PlayRepair { lease, time, session, rtt_us: 1_000, missing }.seal(&secret);
    }
    PlayRequest { lease, time, session, sequence: random.u32(..), order: order(random) }.seal(&secret)
}

/// Whatever a client with a lease says: nobody has more sessions than he may, memory is bounded, no answer is longer than what it
/// answers, and when all fall silent nothing is left.
#[test]
fn orders_of_any_kind_keep_sessions_within_their_bounds() {
    let mut trial = Trial::new("orders to sessions");
    let mut random = trial.random();
    let mut host = Host::new();
    let ((), growth) = measured(|| {
        for _ in 0..Trial::inputs() / 10 {
            let number = random.usize(..CLIENTS);
            let bytes = anything(&mut random, host.now, number);
            host.datagram(&mut random, viewer(number).0, bytes);
            if random.u8(..8) == 0 {
                let span = Duration::from_micros(random.u64(..20_000));
                host.pass(&mut random, span);
            }
            assert!(host.sessions.len() <= CLIENTS * MAX_SESSIONS_PER_CLIENT);
            trial.count("sent");
        }
    });
    assert!(growth.live < HELD_BYTES, "{growth:?}");
    trial.highest("held bytes", growth.live);
    for (what, count) in std::mem::take(&mut host.answers) {
        trial.add(what, count);
    }
    assert!(["done", "clock", "refused"].iter().all(|what| trial.of(what) > 0) && host.packets > 0);
    host.pass(&mut random, Duration::from_secs(6));
    assert!(host.sessions.is_empty());
}

/// Bodies of any shape under a genuine tag.
#[test]
fn rubbish_under_a_genuine_tag_neither_panics_nor_grows() {
    let mut trial = Trial::new("rubbish to sessions");
    let mut random = trial.random();
    let mut host = Host::new();
    let mut mutator = Mutator::new(random.fork(), PLAY_BYTES - 20);
    let recorded = [play(&cluster(), Time::ZERO, 0), play_repair(&cluster(), Time::ZERO, 0)];
    recorded.iter().for_each(|bytes| mutator.record(&bytes[4..bytes.len() - 16], 8));
    let secret = cluster().lease_key().recording_secret(&recording_lease(0));
    let ((), growth) = measured(|| {
        for _ in 0..Trial::inputs() / 10 {
            let bytes = if random.bool() {
                seal(Kind::PlayRepair, &Raw(mutator.spoil()), &secret)
            } else {
                let mut body = mutator.spoil().to_vec();
                body.resize(PLAY_BYTES - 20, 0);
                seal(Kind::Play, &Raw(&body), &secret)
            };
            host.datagram(&mut random, viewer(0).0, bytes);
            assert!(host.sessions.len() <= MAX_SESSIONS_PER_CLIENT);
            trial.count("sent");
        }
    });
    assert!(growth.live < HELD_BYTES, "{growth:?}");
    assert!(host.server.counters().malformed > 0 && host.server.counters().forged > 0);
}

/// What was recorded on the wire begins no session once its date is too old.
#[test]
fn a_replayed_play_is_told_that_its_clock_is_off_and_begins_nothing() {
    let mut random = fastrand::Rng::with_seed(1);
    let mut host = Host::new();
    host.now = Time::ZERO + CLOCK_TOLERANCE + Duration::from_secs(1);
    for _ in 0..100 {
        host.datagram(&mut random, viewer(0).0, play(&cluster(), Time::ZERO, 0));
        host.datagram(&mut random, viewer(0).0, play_repair(&cluster(), Time::ZERO, 0));
        // From where its client is not: not even that.
        host.datagram(&mut random, viewer(1).0, play(&cluster(), Time::ZERO, 0));
    }
    assert!(host.sessions.is_empty() && host.packets == 0);
    assert_eq!(host.answers, BTreeMap::from([("clock", 100)]));
}
