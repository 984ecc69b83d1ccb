//! Live sessions of one channel, with literal times: from the newest random access point, at their rate, the very packets, to
//! the seam.
#![expect(clippy::unwrap_used, reason = "what a test itself has made unwraps")]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use protocols::ids::{ChannelId, Revision};
use protocols::p3_feed::{ACCESS_POINT_BYTES, AccessPoint, HEADER_BYTES, Mark};
use protocols::p4_control::{LIVE_WAIT, LiveId, Missing};
use protocols::time::{ClusterTime, Time};
use push_server::live::{Beginning, End, Event, Key, Order, Seam};
use push_server::path::{ChannelPath, Pace, SKIM_INTERVAL, Wanted};
use push_server::plan::{Plan, Target};
use push_server::repair::{Answer, Asker};
use push_server::ring::Run;

const SSRC: u32 = 0x5eed;
/// 500 packets a second.
const SPACING_MS: u64 = 2;

fn ms(ms: u64) -> Time {
    Time::from_ms(ms)
}

fn packet(n: u64) -> Vec<u8> {
    let mut bytes = vec![0x80, 33];
    bytes.extend(u16::try_from(n % 65_536).unwrap().to_be_bytes());
    bytes.extend(u32::try_from(n * SPACING_MS * 90).unwrap().to_be_bytes());
    bytes.extend(SSRC.to_be_bytes());
    bytes.extend(n.to_be_bytes().into_iter().cycle().take(7 * 188));
    bytes
}

fn key(last: u8) -> Key {
    Key { client: SocketAddr::from(([10, 0, 1, last], 5_000)), id: LiveId(1) }
}

fn seam(n: u64) -> Seam {
    Seam { ssrc: SSRC, first: u16::try_from(n % 65_536).unwrap() }
}

fn target(sending: bool) -> Target {
    Target {
        address: IpAddr::from([239, 192, 1, 1]),
        interface: None,
        ttl: 1,
        dscp: 0,
        window: Duration::from_millis(10),
        broadcast: false,
        sending,
    }
}

/// A channel that is fed in time from packet 0 at 1,000 ms, in turns of 10 ms; what it sends, numbers of packets each turn.
struct Scene {
    path: ChannelPath,
    now_ms: u64,
    fed: u64,
    access: Vec<u64>,
    by_p5: Vec<(u8, u64)>,
    by_p6: Vec<u64>,
    events: Vec<Event>,
}

impl Scene {
    /// Nobody watches; random access points begin with packets `access`.
    fn new(access: &[u64]) -> Self {
        let mut path = ChannelPath::new(ChannelId(1));
        path.apply(ms(1_000), Arc::new(plan(false)));
        path.feed_opened();
        let access = access.to_vec();
        Self { path, now_ms: 1_000, fed: 0, access, by_p5: vec![], by_p6: vec![], events: vec![] }
    }

    fn feed_one(&mut self) {
        let now = ms(self.now_ms);
        if self.fed == 0 {
            self.path.mark(Mark { number: 0, date: ClusterTime(1) });
        }
        self.path.feed(now, &packet(self.fed));
        if self.access.contains(&self.fed) {
            let point = AccessPoint { number: self.fed }.encode();
            self.path.slot()[..ACCESS_POINT_BYTES].copy_from_slice(&point);
            self.path.commit(now, ACCESS_POINT_BYTES);
        }
        self.fed += 1;
    }

    /// Turns each 10 ms until `to_ms`, with what has come by then.
    fn run(&mut self, to_ms: u64) {
        while self.now_ms < to_ms {
            self.now_ms += 10;
            while self.fed * SPACING_MS + 1_000 < self.now_ms {
                self.feed_one();
            }
            self.turn();
        }
    }

    fn turn(&mut self) {
        let Self { path, now_ms, by_p5, by_p6, events, .. } = self;
        path.drain(ms(*now_ms), &mut |_, runs| {
            by_p6.extend(runs.iter().flat_map(Run::packets).map(number));
            runs.iter().map(Run::len).sum()
        });
        path.stream(ms(*now_ms), &mut |client, run| {
            let IpAddr::V4(ip) = client.ip() else { panic!("{client}") };
            by_p5.extend(run.packets().map(|packet| (ip.octets()[3], number(packet))));
            run.len()
        });
        events.extend(path.live_events());
    }

    fn begin(&mut self, last: u8, burst_percent: u16) {
        self.path.live(ms(self.now_ms), Order::Begin { key: key(last), burst_percent });
        self.turn();
    }

    fn end(&mut self, last: u8, seam: Option<Seam>) {
        self.path.live(ms(self.now_ms), Order::End { key: key(last), seam });
        self.turn();
    }

    /// What viewer `last` has been sent since this was asked before.
    fn sent(&mut self, last: u8) -> Vec<u64> {
        let of_viewer = self.by_p5.extract_if(.., |(to, _)| *to == last);
        of_viewer.map(|(_, number)| number).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }
}

fn plan(sending: bool) -> Plan {
    Plan { revision: Revision(1), port: 7_601, targets: vec![target(sending)] }
}

/// The number of a packet, all of whose bytes are right.
fn number(bytes: &[u8]) -> u64 {
    let number = u64::from_be_bytes(*bytes[HEADER_BYTES..].first_chunk().unwrap());
    assert!(bytes == packet(number), "packet {number} was altered");
    number
}

fn begun(last: u8, first: u16, newest: u16) -> Event {
    Event::Begun { key: key(last), beginning: Beginning { ssrc: SSRC, first, newest } }
}

fn ended(last: u8, why: End) -> Event {
    Event::Ended { key: key(last), why }
}

/// Goal: the burst is as fast as was asked for, and ends where the channel is. Method: 500 % from a point 600 packets back: each
/// turn 25 packets while 5 come, so that it has caught up after 30 turns.
#[test]
fn a_session_begins_at_the_newest_access_point_at_its_rate_and_goes_on_with_what_comes() {
    let mut scene = Scene::new(&[100, 400]);
    scene.run(3_000);
    assert_eq!(scene.fed, 1_000);
    scene.begin(7, 500);
    assert_eq!(scene.events(), [begun(7, 400, 999)]);
    assert_eq!(scene.sent(7), (400..425).collect::<Vec<_>>());
    scene.run(3_200);
    assert_eq!(scene.sent(7), (425..925).collect::<Vec<_>>());
    scene.run(3_290);
    assert_eq!(scene.sent(7), (925..1_145).collect::<Vec<_>>(), "it has caught up");
    for turn in 0..10 {
        scene.run(3_300 + turn * 10);
        let next = 1_145 + turn * 5;
        assert_eq!(scene.sent(7), (next..next + 5).collect::<Vec<_>>());
    }
    assert!(scene.by_p6.is_empty() && scene.path.streamed().overrun == 0);
}

#[test]
fn a_channel_that_nobody_else_watches_is_looked_after_while_a_session_lasts_and_skimmed_then() {
    let mut scene = Scene::new(&[100]);
    scene.run(2_000);
    assert_eq!(scene.path.pace(ms(2_000)), Pace::Every(Duration::from_millis(96)));
    let idle = scene.path.load();
    scene.begin(7, 500);
    assert_eq!(scene.path.pace(ms(2_000)), Pace::Every(Duration::from_millis(10)));
    assert_eq!((idle, scene.path.load()), (0, 3_500));
    scene.run(3_000);
    assert_eq!(scene.path.load(), 1_500);
    scene.end(7, None);
    assert_eq!(scene.events()[1..], [ended(7, End::Ordered)]);
    assert!(!scene.path.has_live() && scene.path.load() == 0);
    assert!(matches!(scene.path.pace(ms(3_000)), Pace::Every(every) if every > SKIM_INTERVAL / 2));
}

#[test]
fn what_is_before_the_seam_is_still_sent_and_nothing_of_it_twice() {
    let mut scene = Scene::new(&[100, 900]);
    scene.run(3_000);
    scene.begin(7, 200);
    scene.run(3_050);
    scene.path.apply(ms(3_050), Arc::new(plan(true)));
    scene.turn();
    scene.run(3_060);
    let first = scene.by_p6[0];
    assert_eq!(first, 1_024, "the newest packet when somebody watched");
    scene.end(7, Some(seam(first)));
    scene.run(4_000);
    assert_eq!(scene.sent(7), (900..first).collect::<Vec<_>>());
    assert_eq!(scene.by_p6[..100], (first..first + 100).collect::<Vec<_>>()[..]);
    assert_eq!(scene.events(), [begun(7, 900, 999), ended(7, End::Ordered)]);
}

#[test]
fn a_seam_ahead_of_this_push_server_is_waited_for_and_one_behind_or_of_another_stream_is_not() {
    let mut scene = Scene::new(&[100]);
    scene.run(2_000);
    for last in [7, 8, 9, 10] {
        scene.begin(last, 1_000);
    }
    scene.run(2_500);
    let _ = [7, 8, 9, 10].map(|last| scene.sent(last));
    scene.end(7, Some(seam(770)));
    scene.end(8, Some(seam(300)));
    scene.end(9, Some(Seam { ssrc: 1, first: 770 }));
    scene.end(10, Some(seam(760 + 30_000)));
    assert_eq!(scene.path.live_sessions(), 2);
    scene.run(4_000);
    assert_eq!(scene.sent(7), (750..770).collect::<Vec<_>>());
    assert_eq!((scene.sent(8), scene.sent(9)), (vec![], vec![]));
    assert_eq!(scene.sent(10).len(), 500, "a second's");
    assert_eq!(scene.path.live_sessions(), 0);
}

#[test]
fn a_session_waits_for_the_first_access_point_for_a_second_and_then_begins_with_what_comes() {
    let mut scene = Scene::new(&[300, 700]);
    scene.run(1_500);
    scene.begin(7, 500);
    assert_eq!((scene.events(), scene.path.live_sessions()), (vec![], 1));
    assert!(scene.path.deadline().is_some_and(|at| at <= ms(1_500) + LIVE_WAIT));
    scene.run(1_610);
    assert_eq!(scene.events(), [begun(7, 300, 304)]);
    assert_eq!(scene.sent(7), [300, 301, 302, 303, 304]);

    let mut without = Scene::new(&[]);
    without.run(1_500);
    without.begin(7, 500);
    without.run(2_490);
    assert_eq!(without.events(), []);
    without.run(2_500);
    assert_eq!(without.events(), [begun(7, 749, 749)]);
    assert_eq!(without.sent(7), [749]);
}

#[test]
fn a_session_of_a_channel_that_brings_nothing_ends_after_a_second() {
    let mut scene = Scene::new(&[]);
    scene.begin(7, 500);
    for ms in [1_500, 1_999] {
        scene.now_ms = ms;
        scene.turn();
    }
    assert_eq!(scene.events(), []);
    scene.now_ms = 2_000;
    scene.turn();
    assert_eq!(scene.events(), [ended(7, End::NoPacket)]);
    assert!(scene.by_p5.is_empty() && !scene.path.has_live());
}

#[test]
fn a_session_that_is_ended_while_it_waits_is_sent_nothing() {
    let mut scene = Scene::new(&[300]);
    scene.run(1_500);
    scene.begin(7, 500);
    scene.end(7, Some(seam(400)));
    assert_eq!(scene.events(), [ended(7, End::Ordered)]);
    scene.run(2_500);
    assert!(scene.by_p5.is_empty());
}

#[test]
fn a_channel_that_is_shed_ends_its_sessions() {
    let mut scene = Scene::new(&[100]);
    scene.run(2_000);
    scene.begin(7, 500);
    let _ = (scene.sent(7), scene.events());
    scene.path.set_shed(true);
    scene.run(2_010);
    assert_eq!((scene.sent(7), scene.events()), (vec![], vec![ended(7, End::Shed)]));
    assert!(scene.path.watched_since().is_none() && !scene.path.is_shed());
}

#[test]
fn a_begin_that_is_repeated_begins_nothing_again() {
    let mut scene = Scene::new(&[100]);
    scene.run(2_000);
    scene.begin(7, 500);
    scene.begin(7, 500);
    assert_eq!((scene.path.live_sessions(), scene.events().len()), (1, 1));
    assert_eq!(scene.sent(7), (100..125).collect::<Vec<_>>());
}

#[test]
fn a_session_slower_than_the_ring_turns_loses_what_is_overwritten_and_says_so() {
    let mut scene = Scene::new(&[0]);
    scene.run(2_500);
    scene.begin(7, 100);
    assert_eq!(scene.sent(7), [0, 1, 2, 3, 4]);
    scene.run(20_000);
    let (sent, streamed) = (scene.sent(7), scene.path.streamed());
    assert!(sent.is_sorted() && u64::try_from(sent.len()).unwrap() + 5 == streamed.sent);
    assert_eq!(streamed.refused, 0);
}

#[test]
fn a_stalled_feed_does_not_stall_a_burst() {
    let mut scene = Scene::new(&[100]);
    scene.run(3_000);
    scene.begin(7, 500);
    let mut now = 3_000;
    while let Some(due) = scene.path.deadline().filter(|_| now < 4_000) {
        assert!(due <= ms(now) + Duration::from_millis(10), "{due:?} at {now}");
        now += 10;
        scene.now_ms = now;
        scene.turn();
    }
    assert_eq!(scene.sent(7), (100..1_000).collect::<Vec<_>>());
    assert!((3_340..3_380).contains(&now), "{now}");
}

#[test]
fn a_viewer_by_p5_alone_is_repaired_by_p5_alone_and_others_are_not() {
    let mut scene = Scene::new(&[100]);
    scene.run(2_000);
    scene.begin(7, 1_000);
    scene.begin(8, 1_000);
    scene.run(2_500);
    let mut answers = |last: u8, at_ms| {
        let asker = Asker::Viewer { address: key(last).client, round_trip: Duration::ZERO };
        let missing = Missing::cover([200, 201]);
        let wanted = Wanted { asker, target: 0, ssrc: SSRC, missing: &missing };
        let mut answers = Vec::new();
        scene.path.repair(ms(at_ms), &wanted, &mut |answer, packet| {
            answers.push((answer, number(packet)));
            true
        });
        answers
    };
    let by_p5 = |last| vec![(Answer::Stream(key(last).client), 200), (Answer::Stream(key(last).client), 201)];
    assert_eq!(answers(7, 2_500), by_p5(7));
    assert_eq!(answers(8, 2_501), by_p5(8), "P6 does not reach them");
    assert_eq!(answers(9, 2_502), [], "nobody sends to this one");
}
