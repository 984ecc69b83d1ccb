//! A client's playback against push servers' sessions, in virtual time: real machines on both sides, a recording in memory, a network
//! that delays, loses what it is told to, and push servers that die.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use client::flow::{self, Base, Conditions, Guards, Mode};
use client::playback::{Config, Delivery, Input, Output, Playback, Reader, Wish};
use protocols::authority::RecordingLease;
use protocols::ids::ChannelId;
use protocols::p4_control::{
    PacketName, PlayAnswer, PlayOrder, PlayPosition, PlayRefusal, PlayRepair, PlayRequest, PlayState,
    PlayVerdict, TrickSpeed,
};
use protocols::p5_stream::{Flags, Header};
use protocols::time::{ClusterClock, ClusterTime, Time};
use push_server::session::{self, Follows, Piece, ReadFrom, ReadOutcome, Sessions};

const BEGIN: ClusterTime = ClusterTime(1_700_000_000_000);
const SSRC: u32 = 0xabcd_ef01;
/// 1 Mb/s in payloads of 1,316 bytes.
const DELTA_P: Duration = Duration::from_micros(10_528);
/// Ticks of 90 kHz from one packet to the next, rounded down: its clock runs 0.05 % fast, as clocks do.
const TICKS: u64 = 947;
/// A random access point each second, whose picture is so long.
const GROUP: u64 = 95;
const PICTURE: u64 = 7;
const DELAY: Duration = Duration::from_millis(10);
const READ_TIME: Duration = Duration::from_millis(3);

fn date(number: u64) -> ClusterTime {
    ClusterTime(BEGIN.0 + number * 10_528 / 1_000)
}

/// The last packet whose date is not after `date`.
fn number_at(date: ClusterTime) -> u64 {
    (date.0.saturating_sub(BEGIN.0).saturating_mul(1_000).saturating_add(999)) / 10_528
}

/// The packet itself: an RTP header, and a payload that tells it from others.
#[expect(clippy::cast_possible_truncation, reason = "RTP carries the low bits")]
fn packet(number: u64) -> Vec<u8> {
    let mut bytes = vec![0x80, 33];
    bytes.extend((number as u16).to_be_bytes());
    bytes.extend((number.wrapping_mul(TICKS) as u32).to_be_bytes());
    bytes.extend(SSRC.to_be_bytes());
    bytes.extend(number.to_be_bytes());
    bytes
}

fn number_of(packet: &[u8]) -> u64 {
    packet.get(12..).and_then(|rest| rest.first_chunk()).map_or(u64::MAX, |bytes| u64::from_be_bytes(*bytes))
}

/// What is under way, by when it arrives.
enum Event {
    Request(usize, PlayRequest),
    Repair(usize, PlayRepair),
    Answer(PlayAnswer),
    Stream(Header, u64),
    Read(usize, session::SessionKey, u64, ReadOutcome<u64>),
    Wish(Wish),
    Kill(usize),
    Start(usize),
    /// A packet of the channel on air.
    Air(u64),
}

/// How a playback ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Whole,
    Refused(PlayRefusal),
}

struct Site {
    now: Time,
    clock: ClusterClock,
    random: fastrand::Rng,
    events: BTreeMap<(Time, u64), Event>,
    count: u64,
    servers: Vec<Option<Sessions<u64>>>,
    /// Packets that exist; more than that when it grows, a packet each [`DELTA_P`] from the beginning.
    length: u64,
    grows: bool,
    /// What is on air is on the disk so much later.
    behind: Duration,
    /// Whether the client receives the channel on air.
    on_air: bool,
    /// In percent, of orders and answers.
    control_loss: u32,
    /// In percent, of packets, requests for them and repairs.
    loss: u32,
    /// Packets that left a push server.
    sent: u64,
    config: Config,
    playback: Playback,
    delivered: Vec<(Time, u64)>,
    ended: Option<Ending>,
    /// The newest order.
    asked: Option<PlayRequest>,
    refused: Vec<PlayRefusal>,
}

impl Site {
    /// A recording of `length` packets at `servers` push servers, and a client that plays from packet `from` on.
    fn new(seed: u64, servers: usize, length: u64, from: u64) -> Self {
        let now = Time::from_ms(1_000);
        let capacity = Duration::from_secs(8);
        let guards = Guards::sized(capacity, &Conditions::default()).expect("8 s are enough");
        let flow =
            flow::Config { mean_delta_p: DELTA_P, capacity, mode: Mode::Zones, base: Base::Mean, guards };
        let cluster = ClusterTime(date(length).0 + 60_000);
        let lease = RecordingLease {
            client: "10.0.1.7".parse().expect("an address"),
            channel: ChannelId(1),
            from: BEGIN,
            to: ClusterTime(date(length).0 + 3_600_000),
            expires: ClusterTime(u64::MAX),
        };
        let config = Config {
            lease,
            // A client whose clock is off at first.
            cluster: ClusterTime(cluster.0 - 30_000),
            servers: (0..servers).map(address).collect(),
            start: date(from),
            until: lease.to,
            flow,
            seed,
        };
        Self {
            now,
            clock: ClusterClock::new(now, cluster),
            random: fastrand::Rng::with_seed(seed),
            events: BTreeMap::new(),
            count: 0,
            servers: (0..servers).map(|_| Some(Sessions::new(now))).collect(),
            length,
            grows: false,
            behind: Duration::ZERO,
            on_air: false,
            control_loss: 0,
            loss: 0,
            sent: 0,
            playback: Playback::new(config.clone(), now),
            config,
            delivered: Vec::new(),
            ended: None,
            asked: None,
            refused: Vec::new(),
        }
    }

    /// Begins anew, at full speed, as to a file.
    fn at_once(&mut self) {
        let capacity = Duration::from_secs(8);
        let guards = Guards::sized(capacity, &Conditions { fastest: 16.0, ..Conditions::default() });
        let mode = Mode::PauseResume(DELTA_P / 16);
        let guards = guards.expect("8 s are enough");
        let flow = flow::Config { mean_delta_p: DELTA_P, capacity, mode, base: Base::Mean, guards };
        let config = Config { flow, ..self.config.clone() };
        self.playback = Playback::new(config, self.now).delivering(Delivery::AtOnce);
    }

    fn at(&mut self, at: Time, event: Event) {
        self.count += 1;
        self.events.insert((at, self.count), event);
    }

    fn wish_after(&mut self, after: Duration, wish: Wish) {
        self.at(self.now + after, Event::Wish(wish));
    }

    /// Lets time pass until nothing is left to do, at most `span`.
    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        self.client(Input::Due);
        loop {
            let servers = self.servers.iter().flatten().filter_map(Sessions::deadline).min();
            let event = self.events.keys().next().map(|(at, _)| *at);
            let next = [servers, event, self.playback.deadline()].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end && self.ended.is_none()) else { break };
            self.now = self.now.max(next);
            self.step();
        }
        self.now = end;
    }

    fn step(&mut self) {
        if let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let event = entry.remove();
            return self.happen(event);
        }
        if self.playback.deadline().is_some_and(|at| at <= self.now) {
            return self.client(Input::Due);
        }
        for index in 0..self.servers.len() {
            if self.servers[index].as_ref().and_then(Sessions::deadline).is_some_and(|at| at <= self.now) {
                self.server(index, session::Input::Due);
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Request(index, request) => {
                let (from, cluster) = (address(99), self.clock.at(self.now));
                self.server(index, session::Input::Order { from, request, cluster });
            }
            Event::Read(index, key, ticket, outcome) => {
                self.server(index, session::Input::Read { key, ticket, outcome });
            }
            Event::Repair(index, request) => {
                let (from, cluster) = (address(99), self.clock.at(self.now));
                self.server(index, session::Input::Missing { from, request, cluster });
            }
            Event::Answer(answer) => self.client(Input::Answer(answer)),
            Event::Stream(header, number) => self.client(Input::Stream { header, packet: packet(number) }),
            Event::Wish(wish) => self.client(Input::Wish(wish)),
            Event::Kill(index) => self.servers[index] = None,
            Event::Start(index) => self.servers[index] = Some(Sessions::new(self.now)),
            Event::Air(number) if self.on_air => {
                self.client(Input::Live { packet: packet(number) });
                self.at(self.now + DELTA_P, Event::Air(number + 1));
            }
            Event::Air(_) => {}
        }
    }

    /// How many packets have been on air a while ago.
    fn aired(&self, ago: Duration) -> u64 {
        let gone = self.now.since_origin().saturating_sub(ago);
        u64::try_from(gone.as_micros() / DELTA_P.as_micros()).expect("short")
    }

    fn client(&mut self, input: Input) {
        let mut outputs = Vec::new();
        self.playback.handle(self.now, input, &mut outputs);
        for output in outputs {
            match output {
                Output::Order { to, request } => {
                    self.asked = Some(request);
                    if !self.loses() {
                        self.at(self.now + DELAY, Event::Request(usize::from(to.port()), request));
                    }
                }
                Output::Missing { to, request } => {
                    if !self.loses_packet() {
                        self.at(self.now + DELAY, Event::Repair(usize::from(to.port()), request));
                    }
                }
                Output::Deliver(packets) | Output::Picture(packets) => {
                    self.delivered.extend(packets.iter().map(|packet| (self.now, number_of(packet))));
                }
                Output::Refused(refusal) => self.refused.push(refusal),
                Output::Ended(reason) => self.ended = Some(reason.map_or(Ending::Whole, Ending::Refused)),
                Output::JoinLive => {
                    self.on_air = true;
                    self.at(self.now, Event::Air(self.aired(Duration::ZERO)));
                }
                Output::LeaveLive => self.on_air = false,
            }
        }
    }

    fn server(&mut self, index: usize, input: session::Input<u64>) {
        let Some(sessions) = self.servers[index].as_mut() else { return };
        let mut outputs = Vec::new();
        sessions.handle(self.now, input, &mut outputs);
        for output in outputs {
            match output {
                session::Output::Answer { answer, .. } => {
                    if !self.loses() {
                        self.at(self.now + DELAY, Event::Answer(answer));
                    }
                }
                session::Output::Send { packets, .. } => {
                    for sent in packets {
                        self.sent += 1;
                        if !self.loses_packet() {
                            self.at(self.now + DELAY, Event::Stream(sent.header, sent.packet));
                        }
                    }
                }
                session::Output::Read { key, ticket, from, packets, .. } => {
                    let outcome = self.look_up(from, u64::from(packets));
                    self.at(self.now + READ_TIME, Event::Read(index, key, ticket, outcome));
                }
            }
        }
    }

    fn loses_packet(&mut self) -> bool {
        self.random.u32(..100) < self.loss
    }

    fn loses(&mut self) -> bool {
        self.random.u32(..100) < self.control_loss
    }

    fn look_up(&self, from: ReadFrom, packets: u64) -> ReadOutcome<u64> {
        let length = if self.grows { self.aired(self.behind) } else { self.length };
        let (first, count) = match from {
            ReadFrom::Date(date) => (number_at(date).min(length - 1) / GROUP * GROUP, packets),
            ReadFrom::Packet(PacketName { number, .. }) => (number, packets),
            ReadFrom::PictureAfter(date) => ((number_at(date) + 1).div_ceil(GROUP) * GROUP, PICTURE),
            ReadFrom::PictureBefore(date) if date < BEGIN => (length, PICTURE),
            ReadFrom::PictureBefore(date) => (number_at(date) / GROUP * GROUP, PICTURE),
        };
        let pieces: Vec<Piece<u64>> = (first..length.min(first.saturating_add(count))).map(piece).collect();
        let follows = match pieces.last() {
            Some(last) if last.packet + 1 < length => Follows::More,
            _ if self.grows => Follows::Edge,
            _ => Follows::Nothing,
        };
        ReadOutcome::Packets { pieces, follows }
    }

    fn numbers(&self) -> Vec<u64> {
        self.delivered.iter().map(|(_, number)| *number).collect()
    }

    /// Everything from `first` on was shown, once, in order, without a stop.
    fn assert_seamless(&self, first: u64, what: &str) {
        let numbers = self.numbers();
        let expected: Vec<u64> = (first..).take(numbers.len()).collect();
        let wrong = numbers.iter().zip(&expected).position(|(shown, due)| shown != due);
        assert!(!numbers.is_empty() && wrong.is_none(), "{what}: wrong from the {wrong:?}-th packet on");
        let buffer = self.playback.buffer().counters();
        assert_eq!((self.playback.counters().dry, buffer.overflows, buffer.lost), (0, 0, 0), "{what}");
    }
}

fn piece(number: u64) -> Piece<u64> {
    let name = PacketName { ssrc: SSRC, number };
    Piece { name, date: date(number), random_access: number.is_multiple_of(GROUP), packet: number }
}

fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, 7], u16::try_from(index).expect("few")))
}

#[test]
fn a_recording_is_shown_from_the_random_access_point_to_its_end_in_time() {
    let mut site = Site::new(1, 1, 95 * 120, 1_000);
    site.run(Duration::from_mins(3));
    site.assert_seamless(950, "plain");
    assert_eq!((site.delivered.last().expect("packets").1, site.ended), (95 * 120 - 1, Some(Ending::Whole)));
    let (begun, first) = site.delivered[0];
    assert!(begun < Time::from_ms(2_000), "begins at {begun}");
    for (at, number) in &site.delivered {
        let due = begun + Duration::from_micros((number - first) * TICKS * 1_000 / 90);
        assert!(
            due <= *at + Duration::from_millis(21) && at.since(due) < Duration::from_millis(2),
            "{number} at {at}"
        );
    }
}

#[test]
fn nobody_notices_that_the_serving_push_server_dies() {
    // Three push servers; each few seconds the one that serves is killed and comes back a while later. 50 deaths, 10 seeds.
    for seed in 0..10 {
        let mut site = Site::new(seed, 3, 95 * 600, 0);
        let mut deaths = 0;
        site.run(Duration::from_secs(3));
        while deaths < 5 {
            let serving =
                site.servers.iter().position(|server| server.as_ref().is_some_and(|s| !s.is_empty()));
            if let Some(serving) = serving {
                site.at(site.now, Event::Kill(serving));
                let back = site.now + Duration::from_millis(site.random.u64(1_000..4_000));
                site.at(back, Event::Start(serving));
                deaths += 1;
            }
            let rest = Duration::from_millis(site.random.u64(6_000..20_000));
            site.run(rest);
        }
        site.assert_seamless(0, &format!("seed {seed}"));
        assert!(site.playback.counters().failovers >= 5 && site.ended.is_none(), "seed {seed}");
        println!(
            "seed {seed}: {} packets, {} failovers",
            site.delivered.len(),
            site.playback.counters().failovers
        );
    }
}

#[test]
fn a_push_server_that_forgot_everything_is_begun_with_again_at_the_same_packet() {
    let mut site = Site::new(1, 1, 95 * 60, 0);
    site.run(Duration::from_secs(10));
    site.at(site.now, Event::Start(0));
    site.run(Duration::from_secs(20));
    site.assert_seamless(0, "restart");
    assert!(site.delivered.len() > 2_500);
}

#[test]
fn lost_orders_and_answers_are_repeated() {
    for seed in 0..10 {
        let mut site = Site::new(seed, 2, 95 * 300, 0);
        site.control_loss = 20;
        site.run(Duration::from_mins(2));
        site.assert_seamless(0, &format!("seed {seed}"));
        assert!(site.delivered.len() > 10_000, "seed {seed}: {}", site.delivered.len());
    }
}

#[test]
fn what_is_lost_on_the_way_is_sent_again_in_time() {
    for loss in [1, 5, 10] {
        let mut site = Site::new(u64::from(loss), 1, 95 * 600, 0);
        site.loss = loss;
        site.control_loss = loss;
        site.run(Duration::from_mins(11));
        site.assert_seamless(0, &format!("{loss} % lost"));
        assert_eq!((site.delivered.len(), site.ended), (95 * 600, Some(Ending::Whole)), "{loss} %");
        let again = site.sent - 95 * 600;
        println!("{loss} %: {again} sent again of {}", site.delivered.len());
        assert!(again * 100 <= 95 * 600 * u64::from(loss) * 3 / 2, "{loss} %: {again} sent again");
    }
}

#[test]
fn a_seek_shows_the_random_access_point_before_the_date_and_what_follows_it() {
    let mut site = Site::new(7, 1, 95 * 3_600, 0);
    site.run(Duration::from_secs(5));
    for _ in 0..1_000 {
        let target = site.random.u64(0..95 * 3_500);
        site.wish_after(Duration::ZERO, Wish::Seek(date(target)));
        site.run(Duration::from_micros(1));
        site.delivered.clear();
        let rest = Duration::from_millis(site.random.u64(900..3_000));
        site.run(rest);
        let shown = site.numbers();
        let expected = number_at(date(target)) / GROUP * GROUP;
        assert!(!shown.is_empty(), "nothing shown after a seek to {target}");
        assert_eq!(shown, (expected..).take(shown.len()).collect::<Vec<_>>(), "seek to {target}");
    }
    assert_eq!(site.playback.buffer().counters().overflows, 0);
    assert!(site.refused.is_empty() && site.playback.counters().failovers <= 1);
}

#[test]
fn a_seek_outside_is_refused_and_what_was_shown_goes_on() {
    let mut site = Site::new(7, 1, 95 * 60, 0);
    site.run(Duration::from_secs(5));
    site.wish_after(Duration::ZERO, Wish::Seek(ClusterTime(BEGIN.0 - 1)));
    site.run(Duration::from_secs(3));
    assert_eq!((site.refused.as_slice(), site.ended), (&[PlayRefusal::Outside][..], None));
    let numbers = site.numbers();
    assert!(numbers.len() > 500 && numbers.is_sorted());
}

#[test]
fn a_pause_fills_the_buffer_stops_the_push_server_and_loses_nothing() {
    let mut site = Site::new(3, 1, 95 * 600, 0);
    site.run(Duration::from_secs(10));
    site.wish_after(Duration::ZERO, Wish::Pause);
    site.run(Duration::from_secs(1));
    let shown = site.delivered.len();
    site.run(Duration::from_mins(2));
    assert_eq!(site.delivered.len(), shown);
    let held = site.playback.buffer().held();
    assert!((640..700).contains(&held), "{held} of 759");
    site.wish_after(Duration::ZERO, Wish::Resume);
    site.run(Duration::from_mins(1));
    site.assert_seamless(0, "pause");
}

#[test]
fn fast_forward_shows_whole_pictures_and_then_goes_on_from_the_last() {
    for speed in TrickSpeed::ALL {
        let mut site = Site::new(5, 1, 95 * 3_600, 95 * 1_800);
        site.run(Duration::from_secs(5));
        site.wish_after(Duration::ZERO, Wish::Trick(speed));
        site.run(Duration::from_micros(1));
        site.delivered.clear();
        site.run(Duration::from_secs(10));
        let shown = site.numbers();
        let pictures: Vec<&[u64]> = shown.chunk_by(|a, b| b.wrapping_sub(*a) == 1).collect();
        let (_, whole) = pictures.split_last().expect("pictures");
        assert!(whole.len() > 8, "{speed:?}: {} pictures", whole.len());
        assert!(
            whole.iter().all(|picture| picture[0].is_multiple_of(GROUP) && picture.len() as u64 == PICTURE)
        );
        let last = whole[whole.len() - 1][0];
        let gone = last.abs_diff(whole[0][0]);
        assert!(gone > u64::from(speed.factor()) * GROUP * 8, "{speed:?}: {gone} packets in 10 s");

        site.wish_after(Duration::ZERO, Wish::Resume);
        site.run(Duration::from_micros(1));
        site.delivered.clear();
        site.run(Duration::from_secs(4));
        let shown = site.numbers();
        assert!(shown.len() > 200 && shown.windows(2).all(|pair| pair[1] == pair[0] + 1), "{speed:?}");
        assert!(
            shown[0].abs_diff(last) <= u64::from(speed.factor()) * GROUP * 2,
            "{speed:?}: {} after {last}",
            shown[0]
        );
    }
}

#[test]
fn a_fast_forward_asked_for_before_the_recording_is_found_shows_nothing_but_pictures() {
    // Before the first order has left, while it is on its way, just after its answer.
    for after_ms in [0, 15, 25, 60, 100] {
        let mut site = Site::new(5, 2, 95 * 3_600, 95 * 1_800);
        site.wish_after(Duration::from_millis(after_ms), Wish::Trick(TrickSpeed::Forward4));
        site.run(Duration::from_secs(6));
        assert_eq!(site.playback.counters().failovers, 0, "after {after_ms} ms");
        let shown = site.numbers();
        let pictures: Vec<&[u64]> = shown.chunk_by(|a, b| b.wrapping_sub(*a) == 1).collect();
        let (_, whole) = pictures.split_last().expect("pictures");
        assert!(whole.len() > 4, "after {after_ms} ms: {} pictures", whole.len());
        assert!(
            whole.iter().all(|picture| picture[0].is_multiple_of(GROUP) && picture.len() as u64 == PICTURE),
            "after {after_ms} ms: {shown:?}"
        );
    }
}

#[test]
fn a_fast_forward_is_taken_along_to_the_next_push_server() {
    // The first dies before it has answered anything; as its pictures come.
    for (wish_ms, death_ms) in [(0, 0), (5_000, 8_000)] {
        let mut site = Site::new(5, 2, 95 * 3_600, 95 * 1_800);
        site.at(site.now + Duration::from_millis(death_ms), Event::Kill(0));
        site.wish_after(Duration::from_millis(wish_ms), Wish::Trick(TrickSpeed::Forward4));
        site.run(Duration::from_millis(death_ms + 2_500));
        site.delivered.clear();
        site.run(Duration::from_secs(6));
        assert_eq!(site.playback.counters().failovers, 1, "death after {death_ms} ms");
        assert_eq!(site.playback.speed(), Some(TrickSpeed::Forward4), "death after {death_ms} ms");
        let shown = site.numbers();
        let pictures: Vec<&[u64]> = shown.chunk_by(|a, b| b.wrapping_sub(*a) == 1).collect();
        let whole = |picture: &&[u64]| picture[0].is_multiple_of(GROUP) && picture.len() as u64 == PICTURE;
        assert!(pictures.len() > 4 && pictures.iter().all(whole), "death after {death_ms} ms: {shown:?}");
    }
}

#[test]
fn a_session_is_stopped_when_its_end_has_been_shown() {
    let mut site = Site::new(1, 1, 95 * 10, 0);
    site.run(Duration::from_secs(30));
    assert_eq!(site.ended, Some(Ending::Whole));
    let last = site.asked.expect("orders");
    assert_eq!(last.order, PlayOrder::Stop);
}

#[test]
fn a_recording_that_grows_is_followed_to_its_edge() {
    let mut site = Site::new(5, 1, 95 * 60, 0);
    site.now = Time::from_ms(60_000);
    site.servers[0] = Some(Sessions::new(site.now));
    site.grows = true;
    site.wish_after(Duration::from_millis(500), Wish::Seek(date(95 * 50)));
    site.run(Duration::from_secs(1));
    site.delivered.clear();
    site.run(Duration::from_mins(1));
    let shown = site.numbers();
    assert!(shown.windows(2).all(|pair| pair[1] == pair[0] + 1));
    assert!(shown.len() > 5_000, "{}", shown.len());
    assert_eq!((site.playback.buffer().counters().overflows, site.ended), (0, None));
}

#[test]
#[ignore = "fails: the second wish for the live edge, after a pause, has not led on air 20 s later"]
fn the_channel_on_air_takes_over_at_the_live_edge_and_gives_back_without_a_seam() {
    let mut site = Site::new(5, 2, 95 * 60, 0);
    site.now = Time::from_ms(60_000);
    site.servers = vec![Some(Sessions::new(site.now)), Some(Sessions::new(site.now))];
    (site.grows, site.behind) = (true, Duration::from_millis(2_500));
    // The present is what is on air.
    site.clock = ClusterClock::new(site.now, date(site.aired(Duration::ZERO)));
    site.wish_after(Duration::from_millis(500), Wish::Live);
    site.run(Duration::from_secs(1));
    site.delivered.clear();
    site.run(Duration::from_mins(1));
    assert!(site.playback.is_live() && site.on_air);
    assert!(site.servers.iter().flatten().all(Sessions::is_empty), "no session is left");
    site.wish_after(Duration::ZERO, Wish::Pause);
    site.run(Duration::from_secs(4));
    assert!(!site.playback.is_live() && !site.on_air, "a pause leads back into the recording");
    site.wish_after(Duration::ZERO, Wish::Resume);
    site.run(Duration::from_mins(1));
    let shown = site.numbers();
    let wrong = shown.windows(2).position(|pair| pair[1] != pair[0] + 1);
    assert_eq!(wrong, None, "{} shown", shown.len());
    assert!(shown.len() > 10_000, "{}", shown.len());
    let (counters, buffer) = (site.playback.counters(), site.playback.buffer().counters());
    assert!(counters.handovers >= 1 && (buffer.overflows, buffer.lost) == (0, 0), "{counters:?} {buffer:?}");

    site.wish_after(Duration::ZERO, Wish::Live);
    site.run(Duration::from_secs(20));
    assert!(site.playback.is_live());
    let place = site.aired(Duration::from_secs(30));
    site.wish_after(Duration::ZERO, Wish::Seek(date(place)));
    site.run(Duration::from_micros(1));
    site.delivered.clear();
    site.run(Duration::from_secs(10));
    let shown = site.numbers();
    let expected = number_at(date(place)) / GROUP * GROUP;
    assert_eq!(shown, (expected..).take(shown.len()).collect::<Vec<_>>());
    assert!(shown.len() > 500 && site.refused.is_empty() && site.ended.is_none());
}

#[test]
fn all_of_it_comes_at_once_for_a_file_whatever_is_lost() {
    let mut site = Site::new(9, 1, 95 * 300, 0);
    site.at_once();
    site.loss = 5;
    site.run(Duration::from_mins(1));
    assert_eq!((site.delivered.len(), site.ended), (95 * 300, Some(Ending::Whole)));
    site.assert_seamless(0, "at once");
    let (took, _) = *site.delivered.last().expect("packets");
    println!("300 s in {took}");
    assert!(took < Time::from_ms(40_000), "{took}");
}

#[test]
fn an_output_that_falls_behind_holds_the_playback_and_loses_nothing() {
    let mut site = Site::new(3, 1, 95 * 600, 0);
    site.run(Duration::from_secs(10));
    site.client(Input::Reader(Reader::Behind));
    let shown = site.delivered.len();
    site.run(Duration::from_secs(30));
    assert_eq!(site.delivered.len(), shown);
    site.client(Input::Reader(Reader::Ready));
    site.run(Duration::from_secs(30));
    site.assert_seamless(0, "behind");
}

#[test]
fn whatever_comes_a_playback_neither_breaks_nor_falls_asleep() {
    for seed in 0..200 {
        let mut site = Site::new(seed, 2, 95 * 60, 0);
        site.run(Duration::from_millis(site.random.clone().u64(1..3_000)));
        for _ in 0..500 {
            site.now += Duration::from_micros(site.random.u64(..50_000));
            let asked = site.asked.expect("a playback begins by asking");
            let input = any_input(&mut site.random, &asked);
            site.client(input);
            site.run(Duration::from_millis(1));
            assert!(site.ended.is_some() || site.playback.deadline().is_some(), "seed {seed}");
        }
    }
}

/// Packets and answers that no push server should send, some with the right session and sequence.
fn any_input(random: &mut fastrand::Rng, asked: &PlayRequest) -> Input {
    let number = [0, 1, u32::MAX, random.u32(..), random.u32(..500)][random.usize(..5)];
    let session = [asked.session.low(), random.u32(..)][random.usize(..2)];
    let flags = Flags { jump: random.bool(), random_access: random.bool(), last: random.u32(..100) == 0 };
    let mut bytes = packet(random.u64(..));
    bytes.truncate(random.usize(..80));
    match random.u32(..10) {
        0..5 => Input::Stream { header: Header { flags, session, number }, packet: bytes },
        5 => Input::Answer(any_answer(random, asked)),
        6 => Input::Wish(Wish::Seek(ClusterTime(random.u64(..)))),
        7 => Input::Wish([Wish::Pause, Wish::Resume, Wish::Trick(TrickSpeed::Back64)][random.usize(..3)]),
        _ => Input::Due,
    }
}

fn any_answer(random: &mut fastrand::Rng, asked: &PlayRequest) -> PlayAnswer {
    let packet = PacketName { ssrc: SSRC, number: [0, u64::MAX, random.u64(..)][random.usize(..3)] };
    let number = [0, u32::MAX, random.u32(..), random.u32(..500)][random.usize(..4)];
    let position = random.bool().then(|| PlayPosition { date: ClusterTime(random.u64(..)), packet, number });
    let states =
        [PlayState::Playing, PlayState::AtEdge, PlayState::Ended, PlayState::Trick(TrickSpeed::Forward4)];
    let refusals =
        [PlayRefusal::Clock, PlayRefusal::NoSession, PlayRefusal::Incomplete, PlayRefusal::Outside];
    let verdict = if random.bool() {
        PlayVerdict::Done { state: states[random.usize(..4)], position }
    } else {
        PlayVerdict::Refused(refusals[random.usize(..4)])
    };
    let time = ClusterTime([0, u64::MAX, random.u64(..)][random.usize(..3)]);
    PlayAnswer { session: asked.session, sequence: asked.sequence, time, verdict }
}
