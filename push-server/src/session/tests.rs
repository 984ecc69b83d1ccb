//! Sessions against a recording in memory, in virtual time.

use std::net::IpAddr;

use super::*;
use protocols::authority::RecordingLease;
use protocols::ids::ChannelId;
use protocols::p4_control::{PacketName, PlayState, TrickSpeed};
use protocols::p5_stream;

/// 100 packets a second from date 1,000,000 ms on, a random access point each second, of which 5 packets are the picture.
const BEGIN: u64 = 1_000_000;
const SSRC: u32 = 7;
const DELTA_P_NS: u32 = 10_000_000;

/// A host with one recorded channel.
struct Host {
    sessions: Sessions<u64>,
    now: Time,
    /// Packets held: numbers from 0.
    held: std::ops::Range<u64>,
    missing: std::ops::Range<u64>,
    grows: bool,
    fails: bool,
    answers: Vec<PlayAnswer>,
    sent: Vec<(Time, p5_stream::Header, u64)>,
    reads: usize,
}

impl Host {
    fn new(held: std::ops::Range<u64>) -> Self {
        Self {
            sessions: Sessions::new(Time::ZERO),
            now: Time::from_ms(5),
            held,
            missing: 0..0,
            grows: false,
            fails: false,
            answers: Vec::new(),
            sent: Vec::new(),
            reads: 0,
        }
    }

    fn piece(number: u64) -> Piece<u64> {
        let name = PacketName { ssrc: SSRC, number };
        Piece {
            name,
            date: ClusterTime(BEGIN + number * 10),
            random_access: number.is_multiple_of(100),
            packet: number,
        }
    }

    fn look_up(&self, channel: ChannelId, from: ReadFrom, packets: u32) -> ReadOutcome<u64> {
        if channel != ChannelId(1) {
            return ReadOutcome::Unknown;
        }
        if self.fails {
            return ReadOutcome::Failed;
        }
        let number = |date: ClusterTime| date.0.saturating_sub(BEGIN) / 10;
        let end = if self.grows { Follows::Edge } else { Follows::Nothing };
        let held = |number: &u64| self.held.contains(number) && !self.missing.contains(number);
        let (first, count) = match from {
            ReadFrom::Date(date) => (number(date).min(self.held.end - 1) / 100 * 100, u64::from(packets)),
            ReadFrom::Packet(name) => (name.number.max(self.held.start), u64::from(packets)),
            ReadFrom::PictureAfter(date) => (number(date + Duration::from_millis(9)).div_ceil(100) * 100, 5),
            ReadFrom::PictureBefore(date) if date.0 < BEGIN => {
                return ReadOutcome::Packets { pieces: vec![], follows: end };
            }
            ReadFrom::PictureBefore(date) => (number(date) / 100 * 100, 5),
        };
        let numbers: Vec<u64> =
            (first..self.held.end).filter(held).take(usize::try_from(count).unwrap()).collect();
        let follows =
            if numbers.last().is_some_and(|last| last + 1 < self.held.end) { Follows::More } else { end };
        ReadOutcome::Packets { pieces: numbers.into_iter().map(Self::piece).collect(), follows }
    }

    fn handle(&mut self, input: Input<u64>) {
        let mut outputs = Vec::new();
        self.sessions.handle(self.now, input, &mut outputs);
        for output in outputs {
            match output {
                Output::Answer { answer, .. } => self.answers.push(answer),
                Output::Send { packets, .. } => {
                    assert!(packets.len() <= BATCH_PACKETS);
                    self.sent.extend(packets.into_iter().map(|sent| (self.now, sent.header, sent.packet)));
                }
                Output::Read { key, ticket, channel, from, packets } => {
                    self.reads += 1;
                    let outcome = self.look_up(channel, from, packets);
                    self.handle(Input::Read { key, ticket, outcome });
                }
            }
        }
    }

    /// Lets time pass, keeping the session of `viewer` alive.
    fn pass(&mut self, span: Duration, viewer: &mut Viewer) {
        let end = self.now + span;
        while self.now < end {
            let step = (self.now + Duration::from_secs(1)).min(end);
            self.pass_silently(step);
            viewer.say(self, PlayOrder::Keepalive);
        }
    }

    fn pass_silently(&mut self, end: Time) {
        while let Some(at) = self.sessions.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.handle(Input::Due);
        }
        self.now = end;
    }

    fn sent_numbers(&self) -> Vec<u64> {
        self.sent.iter().map(|(_, _, number)| *number).collect()
    }
}

/// A client with a session.
struct Viewer {
    lease: RecordingLease,
    session: SessionId,
    sequence: u32,
}

impl Viewer {
    fn new(session: u64) -> Self {
        let lease = RecordingLease {
            client: "10.0.1.7".parse().unwrap(),
            channel: ChannelId(1),
            from: date(0),
            to: date(1_000),
            expires: ClusterTime(u64::MAX),
        };
        Self { lease, session: SessionId(session), sequence: 0 }
    }

    fn request(&self, order: PlayOrder) -> PlayRequest {
        PlayRequest {
            lease: self.lease,
            time: CLUSTER,
            session: self.session,
            sequence: self.sequence,
            order,
        }
    }

    /// Sends `order` as the next one and gives what is answered at once.
    fn say(&mut self, host: &mut Host, order: PlayOrder) -> Option<PlayVerdict> {
        self.sequence += 1;
        self.send(host, self.request(order))
    }

    fn send(&self, host: &mut Host, request: PlayRequest) -> Option<PlayVerdict> {
        host.answers.clear();
        let from = SocketAddr::new(self.lease.client, 9_000);
        host.handle(Input::Order { from, request, cluster: CLUSTER });
        assert!(host.answers.len() <= 1, "one order, one answer");
        let answer = host.answers.first()?;
        assert_eq!((answer.session, answer.sequence), (request.session, request.sequence));
        Some(answer.verdict)
    }

    fn play(&mut self, host: &mut Host, at: ClusterTime) -> Option<PlayVerdict> {
        let until = self.lease.to;
        self.say(host, PlayOrder::Play { start: PlayStart::Date(at), until, delta_p_ns: DELTA_P_NS })
    }
}

const CLUSTER: ClusterTime = ClusterTime(5_000_000);

fn date(seconds: u64) -> ClusterTime {
    ClusterTime(BEGIN + seconds * 1_000)
}

fn state(verdict: Option<PlayVerdict>) -> PlayState {
    match verdict {
        Some(PlayVerdict::Done { state, .. }) => state,
        other => panic!("{other:?}"),
    }
}

fn refused(refusal: PlayRefusal) -> Option<PlayVerdict> {
    PlayVerdict::Refused(refusal).into()
}

#[test]
fn a_session_plays_from_the_random_access_point_to_its_end_a_packet_each_delta_p() {
    let (mut host, mut viewer) = (Host::new(0..1_000), Viewer::new(1));
    viewer.lease.to = date(5);
    assert_eq!(state(viewer.play(&mut host, ClusterTime(date(2).0 + 345))), PlayState::Playing);
    host.pass(Duration::from_secs(4), &mut viewer);
    assert_eq!(host.sent_numbers(), (200..500).collect::<Vec<_>>());
    for (index, (at, header, _)) in (0_u32..).zip(&host.sent) {
        let due = Time::from_ms(5) + Duration::from_millis(10) * index;
        assert!(*at >= due && at.since(due) <= WINDOW + GRID, "packet {index}, due {due}, left {at}");
        assert_eq!((header.number, header.session), (index, 1));
        let flags = header.flags;
        assert_eq!(
            (flags.jump, flags.random_access, flags.last),
            (index == 0, index % 100 == 0, index == 299)
        );
    }
    assert_eq!(state(viewer.say(&mut host, PlayOrder::Keepalive)), PlayState::Ended);
    assert!(host.reads < 20, "{} reads", host.reads);
}

#[test]
fn pause_resume_and_rate_count_from_when_they_come() {
    let (mut host, mut viewer) = (Host::new(0..10_000), Viewer::new(1));
    viewer.play(&mut host, date(0));
    host.pass(Duration::from_secs(1), &mut viewer);
    assert_eq!(state(viewer.say(&mut host, PlayOrder::Pause)), PlayState::Paused);
    let before = host.sent.len();
    assert!((98..=102).contains(&before), "{before}");
    host.pass(Duration::from_secs(10), &mut viewer);
    assert_eq!(host.sent.len(), before);
    viewer.say(&mut host, PlayOrder::Rate { delta_p_ns: DELTA_P_NS / 3 });
    assert_eq!(state(viewer.say(&mut host, PlayOrder::Resume)), PlayState::Playing);
    host.pass(Duration::from_secs(1), &mut viewer);
    let after = host.sent.len() - before;
    assert!((295..=305).contains(&after), "{after}");
    assert_eq!(host.sent_numbers(), (0..host.sent.len() as u64).collect::<Vec<_>>());
}

#[test]
fn a_seek_lands_on_the_random_access_point_before_and_one_outside_changes_nothing() {
    let (mut host, mut viewer) = (Host::new(0..10_000), Viewer::new(1));
    viewer.play(&mut host, date(0));
    let mut random = fastrand::Rng::with_seed(4);
    for _ in 0..1_000 {
        let at = ClusterTime(BEGIN + random.u64(0..99_990));
        host.sent.clear();
        assert_eq!(state(viewer.say(&mut host, PlayOrder::Seek { at })), PlayState::Playing);
        host.pass_silently(host.now + Duration::from_millis(15));
        assert_eq!(host.sent_numbers().first(), Some(&((at.0 - BEGIN) / 1_000 * 100)));
    }
    let position = |verdict| match verdict {
        Some(PlayVerdict::Done { position: Some(position), .. }) => position.packet.number,
        other => panic!("{other:?}"),
    };
    let here = position(viewer.say(&mut host, PlayOrder::Keepalive));
    assert_eq!(viewer.say(&mut host, PlayOrder::Seek { at: date(2_000) }), refused(PlayRefusal::Outside));
    host.missing = 0..10_000;
    assert_eq!(viewer.say(&mut host, PlayOrder::Seek { at: date(50) }), refused(PlayRefusal::Incomplete));
    assert_eq!(position(viewer.say(&mut host, PlayOrder::Keepalive)), here);
}

#[test]
fn repeating_an_order_is_harmless_and_an_overtaken_one_is_not_heard() {
    let (mut host, mut viewer) = (Host::new(0..10_000), Viewer::new(1));
    viewer.play(&mut host, date(0));
    let begin = viewer.request(PlayOrder::Play {
        start: PlayStart::Date(date(0)),
        until: date(1_000),
        delta_p_ns: DELTA_P_NS,
    });
    assert_eq!(state(viewer.send(&mut host, begin)), PlayState::Playing);
    viewer.say(&mut host, PlayOrder::Seek { at: date(50) });
    let seek = viewer.request(PlayOrder::Seek { at: date(50) });
    host.pass_silently(host.now + Duration::from_secs(2));
    viewer.send(&mut host, seek);
    host.pass_silently(host.now + Duration::from_millis(50));
    assert!(host.sent_numbers().windows(2).all(|pair| pair[1] > pair[0]), "the seek was carried out once");
    viewer.say(&mut host, PlayOrder::Pause);
    assert_eq!(viewer.send(&mut host, seek), None);
    assert_eq!(host.sessions.counters().overtaken, 1);
    assert_eq!(host.sessions.counters().repeated, 2);
}

#[test]
fn what_makes_no_sense_is_refused_and_leaves_no_session() {
    let whole =
        PlayOrder::Play { start: PlayStart::Date(date(0)), until: date(1_000), delta_p_ns: DELTA_P_NS };
    let with =
        |start, until, delta_p_ns| PlayOrder::Play { start: PlayStart::Date(start), until, delta_p_ns };
    let packet = |number| PlayStart::Packet(PacketName { ssrc: SSRC, number });
    let cases = [
        (with(date(0), date(1_000), 0), PlayRefusal::Rate),
        (with(date(0), date(1_000), u32::MAX), PlayRefusal::Rate),
        (with(date(0), date(2_000), DELTA_P_NS), PlayRefusal::Outside),
        (with(ClusterTime(BEGIN - 1), date(1_000), DELTA_P_NS), PlayRefusal::Outside),
        (with(date(10), date(10), DELTA_P_NS), PlayRefusal::Outside),
        (with(date(500), date(1_000), DELTA_P_NS), PlayRefusal::Incomplete),
        (
            PlayOrder::Play { start: packet(60_000), until: date(1_000), delta_p_ns: DELTA_P_NS },
            PlayRefusal::Incomplete,
        ),
        (PlayOrder::Seek { at: date(1) }, PlayRefusal::NoSession),
        (PlayOrder::Keepalive, PlayRefusal::NoSession),
    ];
    let mut host = Host::new(0..10_000);
    for (order, refusal) in cases {
        let mut viewer = Viewer::new(1);
        assert_eq!(viewer.say(&mut host, order), refused(refusal), "{order:?}");
        assert!(host.sessions.is_empty(), "{order:?}");
    }
    let mut elsewhere = Viewer::new(1);
    elsewhere.lease.channel = ChannelId(2);
    assert_eq!(elsewhere.say(&mut host, whole), refused(PlayRefusal::Unknown));
    let mut late = Viewer::new(1);
    late.lease.expires = CLUSTER;
    assert_eq!(late.say(&mut host, whole), refused(PlayRefusal::Expired));
    let off = PlayRequest { time: ClusterTime(1), ..Viewer::new(1).request(whole) };
    assert_eq!(Viewer::new(1).send(&mut host, off), refused(PlayRefusal::Clock));
    assert!(host.sessions.is_empty() && host.sent.is_empty());
}

#[test]
fn a_session_obeys_its_own_lease_and_client_only() {
    let (mut host, mut viewer) = (Host::new(0..10_000), Viewer::new(1));
    viewer.play(&mut host, date(0));
    let mut other = Viewer::new(1);
    other.lease.from = date(1);
    other.sequence = 9;
    assert_eq!(other.say(&mut host, PlayOrder::Stop), refused(PlayRefusal::Foreign));
    assert_eq!(viewer.play(&mut host, date(5)), refused(PlayRefusal::Begun));

    let request = viewer.request(PlayOrder::Stop);
    host.answers.clear();
    let from = "10.0.1.8:9000".parse().unwrap();
    host.handle(Input::Order { from, request: PlayRequest { sequence: 99, ..request }, cluster: CLUSTER });
    assert_eq!((host.answers.len(), host.sessions.len()), (0, 1));
    assert_eq!(host.sessions.counters().wrong_address, 1);

    viewer.lease.expires = ClusterTime(u64::MAX - 1);
    assert_eq!(state(viewer.say(&mut host, PlayOrder::Stop)), PlayState::Ended);
    assert!(host.sessions.is_empty());
}

#[test]
fn a_client_and_a_host_have_so_many_sessions_and_no_more() {
    let mut host = Host::new(0..10_000);
    for session in 0..4 {
        assert_eq!(state(Viewer::new(session).play(&mut host, date(0))), PlayState::Playing);
    }
    assert_eq!(Viewer::new(4).play(&mut host, date(0)), refused(PlayRefusal::Full));
    for client in 0..u32::try_from(MAX_SESSIONS).unwrap() - 4 {
        let mut viewer = Viewer::new(9);
        viewer.lease.client = IpAddr::from((0x0b00_0000 + client).to_be_bytes());
        assert_eq!(state(viewer.play(&mut host, date(0))), PlayState::Playing);
    }
    let mut viewer = Viewer::new(1);
    viewer.lease.client = "10.0.1.9".parse().unwrap();
    assert_eq!(viewer.play(&mut host, date(0)), refused(PlayRefusal::Full));
    host.pass_silently(host.now + PLAY_TIMEOUT + GRID);
    assert!(host.sessions.is_empty(), "all fell silent");
}

#[test]
fn a_session_whose_client_falls_silent_ends_after_five_seconds() {
    let (mut host, mut viewer) = (Host::new(0..10_000), Viewer::new(1));
    viewer.play(&mut host, date(0));
    host.pass(Duration::from_secs(7), &mut viewer);
    host.pass_silently(host.now + Duration::from_millis(4_990));
    assert_eq!(host.sessions.len(), 1);
    host.pass_silently(host.now + Duration::from_millis(11));
    assert_eq!((host.sessions.len(), host.sessions.counters().silent), (0, 1));
    let sent = host.sent.len();
    host.pass_silently(host.now + Duration::from_secs(10));
    assert_eq!((host.sent.len(), host.sessions.deadline()), (sent, None));
}

#[test]
fn at_the_edge_of_a_growing_recording_a_session_waits_and_goes_on() {
    let (mut host, mut viewer) = (Host::new(0..150), Viewer::new(1));
    host.grows = true;
    // What it may show is not over yet.
    viewer.lease.to = ClusterTime(CLUSTER.0 + 60_000);
    viewer.play(&mut host, date(0));
    host.pass(Duration::from_secs(3), &mut viewer);
    assert_eq!(state(viewer.say(&mut host, PlayOrder::Keepalive)), PlayState::AtEdge);
    assert_eq!(host.sent.len(), 150);
    host.held = 0..250;
    host.pass(Duration::from_secs(2), &mut viewer);
    assert_eq!(host.sent_numbers(), (0..250).collect::<Vec<_>>());
    assert!(host.sent.iter().all(|(_, header, _)| !header.flags.last));
}

#[test]
fn a_hole_is_passed_over_and_flagged() {
    let (mut host, mut viewer) = (Host::new(0..1_000), Viewer::new(1));
    host.missing = 120..300;
    viewer.play(&mut host, date(0));
    host.pass(Duration::from_secs(3), &mut viewer);
    let jumps: Vec<u64> = host.sent.iter().filter(|sent| sent.1.flags.jump).map(|sent| sent.2).collect();
    assert_eq!(jumps, [0, 300]);
}

#[test]
fn trick_play_shows_whole_pictures_in_step_with_its_speed_and_resumes_at_the_last() {
    for speed in TrickSpeed::ALL {
        let (mut host, mut viewer) = (Host::new(0..100_000), Viewer::new(1));
        viewer.say(
            &mut host,
            PlayOrder::Play { start: PlayStart::Date(date(500)), until: date(1_000), delta_p_ns: 1_000_000 },
        );
        host.sent.clear();
        assert_eq!(state(viewer.say(&mut host, PlayOrder::Trick { speed })), PlayState::Trick(speed));
        host.pass(Duration::from_secs(5), &mut viewer);
        // The one that is leaving just now does not count.
        host.sent.truncate(host.sent.len() / 5 * 5);
        let numbers = host.sent_numbers();
        let pictures: Vec<u64> = numbers.chunks(5).map(|picture| picture[0]).collect();
        assert!(numbers.chunks(5).all(|picture| picture.windows(2).all(|pair| pair[1] == pair[0] + 1)));
        assert!(pictures.iter().all(|first| first % 100 == 0), "{pictures:?}");
        assert!(host.sent.chunks(5).all(|picture| picture[0].1.flags.jump && !picture[1].1.flags.jump));
        let gone = pictures.last().unwrap().abs_diff(50_000);
        let expected = u64::from(speed.factor()) * 500;
        assert!(
            gone.abs_diff(expected) <= u64::from(speed.factor()) * 20 + 100,
            "{speed:?}: {gone} of {expected}"
        );
        assert!(
            pictures.len() >= 15 && pictures.is_sorted_by(|a, b| (a < b) == speed.is_forward() && a != b)
        );

        host.sent.clear();
        assert_eq!(state(viewer.say(&mut host, PlayOrder::Resume)), PlayState::Playing);
        host.pass_silently(host.now + Duration::from_millis(50));
        let resumed = host.sent_numbers();
        assert!(
            resumed[0].abs_diff(*pictures.last().unwrap()) <= u64::from(speed.factor()) * 20 + 100,
            "{resumed:?}"
        );
        assert!(resumed.windows(2).all(|pair| pair[1] == pair[0] + 1));
    }
}

#[test]
fn rewinding_past_the_beginning_stops_there_and_forward_past_the_end_ends() {
    let (mut host, mut viewer) = (Host::new(0..10_000), Viewer::new(1));
    viewer.play(&mut host, date(10));
    viewer.say(&mut host, PlayOrder::Trick { speed: TrickSpeed::Back16 });
    host.pass(Duration::from_secs(3), &mut viewer);
    assert_eq!(state(viewer.say(&mut host, PlayOrder::Keepalive)), PlayState::Paused);
    host.sent.clear();
    viewer.say(&mut host, PlayOrder::Resume);
    host.pass_silently(host.now + Duration::from_millis(50));
    assert_eq!(host.sent_numbers().first(), Some(&0));
    viewer.say(&mut host, PlayOrder::Trick { speed: TrickSpeed::Forward64 });
    host.pass(Duration::from_secs(3), &mut viewer);
    assert_eq!(state(viewer.say(&mut host, PlayOrder::Keepalive)), PlayState::Ended);
}

#[test]
fn a_disk_that_fails_in_the_middle_is_tried_again() {
    let (mut host, mut viewer) = (Host::new(0..1_000), Viewer::new(1));
    viewer.play(&mut host, date(0));
    host.fails = true;
    host.pass(Duration::from_secs(1), &mut viewer);
    host.fails = false;
    host.pass(Duration::from_secs(12), &mut viewer);
    assert_eq!(host.sent_numbers(), (0..1_000).collect::<Vec<_>>());
    assert!(host.sessions.counters().failed_reads > 0);
}

#[test]
fn another_push_server_goes_on_at_the_very_packet() {
    let (mut host, mut viewer) = (Host::new(0..1_000), Viewer::new(1));
    let start = PlayStart::Packet(PacketName { ssrc: SSRC, number: 345 });
    viewer.say(&mut host, PlayOrder::Play { start, until: date(1_000), delta_p_ns: DELTA_P_NS });
    host.pass(Duration::from_secs(1), &mut viewer);
    assert_eq!(host.sent_numbers().first(), Some(&345));
}

#[test]
fn whatever_is_ordered_and_read_nothing_breaks_and_what_is_owed_is_bounded() {
    let mut random = fastrand::Rng::with_seed(11);
    for round in 0..200 {
        let mut sessions: Sessions<u64> = Sessions::new(Time::ZERO);
        let (mut now, mut sequences) = (Time::from_ms(5), [0_u32; 6]);
        let mut reads = Vec::new();
        for _ in 0..500 {
            now += Duration::from_micros(random.u64(..100_000));
            let mut outputs = Vec::new();
            let input = match random.u32(..4) {
                0 | 1 => {
                    let who = random.usize(..6);
                    sequences[who] = sequences[who].wrapping_add(random.u32(..3));
                    let mut viewer = Viewer::new(who as u64);
                    viewer.sequence = sequences[who];
                    let from = SocketAddr::new(viewer.lease.client, 9_000);
                    Input::Order { from, request: viewer.request(any_order(&mut random)), cluster: CLUSTER }
                }
                2 if !reads.is_empty() => {
                    let (key, ticket) = reads.swap_remove(random.usize(..reads.len()));
                    Input::Read { key, ticket, outcome: any_outcome(&mut random) }
                }
                _ => Input::Due,
            };
            sessions.handle(now, input, &mut outputs);
            for output in outputs {
                match output {
                    Output::Send { packets, .. } => assert!((1..=BATCH_PACKETS).contains(&packets.len())),
                    Output::Read { key, ticket, packets, .. } => {
                        assert!(READ_PACKETS.contains(&packets));
                        reads.push((key, ticket));
                    }
                    Output::Answer { .. } => {}
                }
            }
            assert!(sessions.len() <= MAX_SESSIONS_PER_CLIENT, "round {round}");
            assert!(
                sessions.is_empty() || sessions.deadline().is_some(),
                "round {round}: nobody would look again"
            );
        }
    }
}

fn any_number(random: &mut fastrand::Rng) -> u64 {
    match random.u32(..4) {
        0 => 0,
        1 => u64::MAX - random.u64(..3),
        2 => BEGIN + random.u64(..2_000_000),
        _ => random.u64(..),
    }
}

fn any_order(random: &mut fastrand::Rng) -> PlayOrder {
    let at = ClusterTime(any_number(random));
    let delta_p_ns = [0, 10_000, DELTA_P_NS, 1_000_000_000, u32::MAX][random.usize(..5)];
    let packet = PacketName { ssrc: SSRC, number: any_number(random) };
    match random.u32(..9) {
        0 => PlayOrder::Play { start: PlayStart::Packet(packet), until: date(1_000), delta_p_ns },
        1 => {
            PlayOrder::Play { start: PlayStart::Date(at), until: ClusterTime(any_number(random)), delta_p_ns }
        }
        2 => PlayOrder::Play { start: PlayStart::Date(date(0)), until: date(1_000), delta_p_ns: DELTA_P_NS },
        3 => PlayOrder::Pause,
        4 => PlayOrder::Resume,
        5 => PlayOrder::Seek { at },
        6 => PlayOrder::Rate { delta_p_ns },
        7 => PlayOrder::Trick { speed: TrickSpeed::ALL[random.usize(..6)] },
        _ => [PlayOrder::Stop, PlayOrder::Keepalive][random.usize(..2)],
    }
}

/// Also what no disk should ever give: no order, any dates, any numbers.
fn any_outcome(random: &mut fastrand::Rng) -> ReadOutcome<u64> {
    let follows = [Follows::More, Follows::Edge, Follows::Nothing][random.usize(..3)];
    match random.u32(..8) {
        0 => ReadOutcome::Unknown,
        1 => ReadOutcome::Failed,
        2 => ReadOutcome::Packets { pieces: vec![], follows },
        3 => {
            let piece = |number| Piece { date: ClusterTime(number), ..Host::piece(number & 0xffff) };
            ReadOutcome::Packets { pieces: (0..5).map(|_| piece(any_number(random))).collect(), follows }
        }
        _ => {
            let first = random.u64(..90_000);
            ReadOutcome::Packets { pieces: (first..first + 64).map(Host::piece).collect(), follows }
        }
    }
}
