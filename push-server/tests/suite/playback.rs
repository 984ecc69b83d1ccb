//! Goal: what a host has recorded it plays as it was fed, as its client orders; what it refuses leaves nothing behind.
//! Method: the whole host on loopback, a stream that follows from its numbers, a client that says what it wants and keeps
//! all that comes. Waits for what happens, with a limit.
#![expect(clippy::disallowed_methods, reason = "this test runs the real host on real sockets")]
#![expect(clippy::unwrap_used, reason = "a test says where it failed by panicking")]

use crate::host;
#[expect(dead_code, reason = "what tests of the recorder need")]
#[path = "../../src/recording/trial.rs"]
mod trial;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::time::{Duration, Instant};

use host::{CHANNEL, LIMIT, Running, WALL, cluster, options, order};
use protocols::authority::RecordingLease;
use protocols::ids::{ChannelId, Revision};
use protocols::p3_feed::{Mark, length_prefix};
use protocols::p4_control::{
    Configure, Configured, Kind, MAX_MISSING_PER_PLAY_REPAIR, MissingNumbers, PacketName, PlayAnswer,
    PlayOrder, PlayPosition, PlayRefusal, PlayRepair, PlayRequest, PlayStart, PlayState, PlayVerdict,
    RecordPart, Sealed, SessionId, TrickSpeed,
};
use protocols::p5_stream::{self, Header};
use protocols::time::ClusterTime;
use push_server::shell::Options;
use push_server::shell::recorder;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use trial::{GOP, RATE};

const SSRC: u32 = 9;
const MS: u32 = 1_000_000;
/// Packets from the PAT of a random access point to the end of its picture.
const PICTURE: u64 = 7;

/// The date of a packet, as an index tells it.
fn date(number: u64) -> ClusterTime {
    ClusterTime(trial::sent(SSRC, 0).date_ms + number * 1_000 / RATE)
}

fn bytes(number: u64) -> Vec<u8> {
    trial::sent(SSRC, number).bytes
}

/// A host that records, and its feed.
struct Site {
    running: Running,
    feed: TcpStream,
    _data: TempDir,
}

impl Site {
    async fn new() -> Self {
        let data = TempDir::new().unwrap();
        let recordings = Some(recorder::Options::new(data.path().to_owned()));
        let mut running =
            Running::start_with(Options { recordings, ..options() }, Ipv4Addr::LOCALHOST.into());
        let record = Some(RecordPart { keep_s: u32::MAX, protected: Vec::new(), peers: Vec::new() });
        let destinations = vec![order("127.0.0.1", "127.0.0.1")];
        let (channel, revision) = (CHANNEL, Revision(1));
        let body =
            Configure { channel, revision, part: 0, parts: 1, port: 9, destinations, record, session: None };
        assert_eq!(running.ask::<_, Configured>(Kind::Configure, body).body.in_force, revision);
        let (feed, _, _) = running.feed(cluster(), CHANNEL).await.unwrap();
        Self { running, feed, _data: data }
    }

    /// Feeds packets, each behind its mark, and waits until they can be played, but for the last: of those it is not yet sure
    /// that they belong to this segment.
    async fn feed(&mut self, numbers: Range<u64>) {
        let last = numbers.end - 20;
        for sent in numbers.map(|number| trial::sent(SSRC, number)) {
            let mark = Mark { number: sent.number, date: ClusterTime(sent.date_ms) }.encode();
            let framed =
                [&length_prefix(&mark)[..], &mark, &length_prefix(&sent.bytes), &sent.bytes].concat();
            self.feed.write_all(&framed).await.unwrap();
        }
        let start = PlayStart::Packet(PacketName { ssrc: SSRC, number: last });
        self.playing(start, ClusterTime(WALL + 3_000_000), 1_000 * MS).position(PlayOrder::Stop);
    }

    /// A viewer whose session plays, once what is there can be played.
    fn playing(&self, start: PlayStart, until: ClusterTime, delta_p_ns: u32) -> Viewer {
        let begun = Instant::now();
        loop {
            let mut viewer = Viewer::new(&self.running);
            match viewer.say(PlayOrder::Play { start, until, delta_p_ns }) {
                PlayVerdict::Done { .. } => return viewer,
                refused @ PlayVerdict::Refused(_) => assert!(begun.elapsed() < LIMIT, "{refused:?}"),
            }
            std::thread::yield_now();
        }
    }
}

/// A client with one session.
struct Viewer {
    socket: UdpSocket,
    /// Where the host hears P4.
    control: SocketAddr,
    lease: RecordingLease,
    session: SessionId,
    sequence: u32,
    time: ClusterTime,
    /// What has come, by its number in the session.
    came: BTreeMap<u32, (Header, Vec<u8>)>,
    /// How many datagrams have come.
    datagrams: usize,
}

impl Viewer {
    fn new(running: &Running) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = u64::from(socket.local_addr().unwrap().port());
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let control = running.control;
        let lease = RecordingLease {
            client: Ipv4Addr::LOCALHOST.into(),
            channel: CHANNEL,
            from: date(0),
            to: ClusterTime(WALL + 3_600_000),
            expires: ClusterTime(WALL + 3_600_000),
        };
        let came = BTreeMap::new();
        let time = ClusterTime(WALL);
        Self {
            socket,
            control,
            lease,
            session: SessionId(port << 32 | 7),
            sequence: 0,
            time,
            came,
            datagrams: 0,
        }
    }

    fn request(&mut self, order: PlayOrder) -> PlayRequest {
        self.sequence += 1;
        let Self { lease, time, session, sequence, .. } = *self;
        PlayRequest { lease, time, session, sequence, order }
    }

    fn send(&self, datagram: &[u8]) {
        self.socket.send_to(datagram, self.control).unwrap();
    }

    /// Gives an order, and takes what comes until it is answered.
    fn say(&mut self, order: PlayOrder) -> PlayVerdict {
        let request = self.request(order).seal(&cluster().lease_key().recording_secret(&self.lease));
        let begun = Instant::now();
        self.send(&request);
        loop {
            match self.receive() {
                Came::Answer(answer) if answer.sequence == self.sequence => return answer.verdict,
                Came::Nothing => self.send(&request),
                Came::Answer(_) | Came::Packet => {}
            }
            assert!(begun.elapsed() < LIMIT, "{order:?} is not answered");
        }
    }

    fn refusal(&mut self, order: PlayOrder) -> PlayRefusal {
        match self.say(order) {
            PlayVerdict::Refused(refusal) => refusal,
            PlayVerdict::Done { .. } => panic!("{order:?} was not refused"),
        }
    }

    fn position(&mut self, order: PlayOrder) -> (PlayState, PlayPosition) {
        match self.say(order) {
            PlayVerdict::Done { state, position } => (state, position.unwrap()),
            PlayVerdict::Refused(refusal) => panic!("{order:?}: {refusal}"),
        }
    }

    /// Takes one datagram.
    fn receive(&mut self) -> Came {
        let mut buffer = [0; 1_500];
        let Ok(len) = self.socket.recv(&mut buffer) else { return Came::Nothing };
        let datagram = &buffer[..len];
        if !p5_stream::is_session(datagram) || datagram[1] == b'4' {
            let secret = cluster().lease_key().recording_secret(&self.lease);
            let answer: PlayAnswer = Sealed::parse(datagram).unwrap().open(&secret).unwrap();
            assert_eq!(answer.session, self.session);
            return Came::Answer(answer);
        }
        let (header, packet) = Header::split(datagram).unwrap();
        assert_eq!(header.session, self.session.low());
        self.datagrams += 1;
        let (header, packet) = (header, packet.to_vec());
        let before = self.came.entry(header.number).or_insert_with(|| (header, packet.clone()));
        assert_eq!(*before, (header, packet), "the same number, other bytes");
        Came::Packet
    }

    /// Asks again for what of these numbers was lost: this test's receive buffer is small, and its machine busy.
    fn miss(&self, numbers: Range<u32>) {
        let newest = self.came.keys().max().copied().unwrap_or_default();
        let lost = numbers.filter(|number| *number < newest && !self.came.contains_key(number));
        let mut missing = MissingNumbers::cover(lost);
        missing.truncate(MAX_MISSING_PER_PLAY_REPAIR);
        let Self { lease, time, session, .. } = *self;
        let repair = PlayRepair { lease, time, session, rtt_us: 1_000, missing };
        self.send(&repair.seal(&cluster().lease_key().recording_secret(&lease)));
    }

    /// Takes what comes until the packets of these numbers are there. The session is kept alive.
    fn until_came(&mut self, numbers: Range<u32>) -> Vec<(Header, Vec<u8>)> {
        let (begun, mut said) = (Instant::now(), Instant::now());
        loop {
            let count = self.came.range(numbers.clone()).count();
            if count == numbers.len() {
                break;
            }
            assert!(begun.elapsed() < LIMIT, "{count} of {numbers:?} came");
            if matches!(self.receive(), Came::Nothing) || said.elapsed() > Duration::from_secs(1) {
                said = Instant::now();
                self.say(PlayOrder::Keepalive);
                self.miss(numbers.clone());
            }
        }
        self.came.range(numbers).map(|(_, datagram)| datagram.clone()).collect()
    }
}

/// What a client has received.
enum Came {
    Answer(PlayAnswer),
    Packet,
    Nothing,
}

/// That these are the packets of `expected`, one after another.
fn assert_are(datagrams: &[(Header, Vec<u8>)], expected: impl IntoIterator<Item = u64>) {
    let mut expected = expected.into_iter();
    for (header, packet) in datagrams {
        let number = expected.next().unwrap();
        assert!(*packet == bytes(number), "datagram {} is not packet {number}", header.number);
        assert_eq!(header.flags.random_access, number.is_multiple_of(GOP), "packet {number}");
    }
    assert_eq!(expected.next(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_recorded_is_played_byte_for_byte_over_segments_and_a_hole() {
    let mut site = Site::new().await;
    site.feed(0..1_500).await;
    site.feed(1_600..2_000).await;
    let until = date(1_900);
    let mut viewer = site.playing(PlayStart::Date(date(305)), until, MS / 2);
    let all: Vec<u64> = (300..1_500).chain(1_600..1_900).collect();
    let came = viewer.until_came(0..u32::try_from(all.len()).unwrap());
    assert_are(&came, all.iter().copied());
    let flagged = |flag: fn(&Header) -> bool| -> Vec<u32> {
        came.iter().filter(|(header, _)| flag(header)).map(|(header, _)| header.number).collect()
    };
    assert_eq!(flagged(|header| header.flags.jump), [0, 1_200], "the first, and behind the hole");
    assert_eq!(flagged(|header| header.flags.last), [1_499]);
    assert_eq!(viewer.position(PlayOrder::Keepalive).0, PlayState::Ended);
    // An ended session can be sought in; a packet is a place too.
    let (state, position) = viewer.position(PlayOrder::Seek { at: date(1_899) });
    assert_eq!((state, position.packet.number, position.number), (PlayState::Playing, 1_880, 1_500));
    let start = PlayStart::Packet(PacketName { ssrc: SSRC, number: 777 });
    let mut other = site.playing(start, until, MS);
    assert_are(&other.until_came(0..20), 777..797);
    site.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_does_what_it_is_told() {
    let mut site = Site::new().await;
    site.feed(0..2_000).await;
    let mut viewer = site.playing(PlayStart::Date(date(0)), date(1_900), MS);
    viewer.until_came(0..50);

    // Paused, it sends nothing; resumed, it goes on with what comes next.
    let (state, paused) = viewer.position(PlayOrder::Pause);
    assert_eq!(state, PlayState::Paused);
    for _ in 0..100 {
        let (state, still) = viewer.position(PlayOrder::Keepalive);
        assert_eq!((state, still), (PlayState::Paused, paused));
    }
    assert_eq!(viewer.came.keys().max().copied(), Some(paused.number - 1));
    let (state, resumed) = viewer.position(PlayOrder::Resume);
    assert_eq!((state, resumed.packet), (PlayState::Playing, paused.packet));
    let first = u64::from(paused.number);
    assert_are(&viewer.until_came(paused.number..paused.number + 50), first..first + 50);

    // Sought, it goes on at the random access point, after all that it had sent.
    let (_, sought) = viewer.position(PlayOrder::Seek { at: date(1_019) });
    assert_eq!(sought.packet.number, 1_000);
    let came = viewer.until_came(sought.number..sought.number + 30);
    assert!(came[0].0.flags.jump && !came[1].0.flags.jump);
    assert_are(&came, 1_000..1_030);

    // Slower: twenty packets take nineteen times their distance, less what may be caught up.
    viewer.position(PlayOrder::Rate { delta_p_ns: 20 * MS });
    let next = viewer.came.keys().max().unwrap() + 2;
    viewer.until_came(next..next + 1);
    let begun = Instant::now();
    viewer.until_came(next + 1..next + 21);
    assert!(begun.elapsed() > Duration::from_millis(200), "{:?}", begun.elapsed());

    // Fast forward: whole pictures, each behind a jump.
    let (state, trick) = viewer.position(PlayOrder::Trick { speed: TrickSpeed::Forward64 });
    assert_eq!(state, PlayState::Trick(TrickSpeed::Forward64));
    viewer.position(PlayOrder::Rate { delta_p_ns: MS });
    let came = viewer.until_came(trick.number..trick.number + 4 * u32::try_from(PICTURE).unwrap());
    let mut latest = 0;
    for picture in came.chunks(usize::try_from(PICTURE).unwrap()) {
        let begins = (0..2_000_u64).step_by(20).find(|number| bytes(*number) == picture[0].1).unwrap();
        assert!(begins > latest && picture[0].0.flags.jump, "{begins}");
        assert_are(picture, begins..begins + PICTURE);
        latest = begins;
    }
    let (_, back) = viewer.position(PlayOrder::Trick { speed: TrickSpeed::Back16 });
    let first = viewer.until_came(back.number..back.number + 1);
    let begins = (0..2_000_u64).step_by(20).find(|number| bytes(*number) == first[0].1).unwrap();
    assert!(begins <= back.packet.number, "{begins} is behind {}", back.packet.number);

    // Stopped, it is gone.
    assert_eq!(viewer.position(PlayOrder::Stop).0, PlayState::Ended);
    assert_eq!(viewer.refusal(PlayOrder::Keepalive), PlayRefusal::NoSession);
    site.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_lost_is_sent_again_by_its_number() {
    let mut site = Site::new().await;
    site.feed(0..1_500).await;
    let mut viewer = site.playing(PlayStart::Date(date(0)), date(1_400), 2 * MS);
    viewer.until_came(0..20);
    viewer.position(PlayOrder::Pause);
    let before = viewer.datagrams;
    let lost = [0, 3, 4, 17];
    let missing = MissingNumbers::cover(lost);
    let (lease, time, session) = (viewer.lease, viewer.time, viewer.session);
    let repair = PlayRepair { lease, time, session, rtt_us: 1_000, missing };
    for number in lost {
        viewer.came.remove(&number);
    }
    let secret = cluster().lease_key().recording_secret(&lease);
    viewer.send(&repair.seal(&secret));
    let came = viewer.until_came(0..20);
    assert_are(&came, 0..20);
    assert!(came[0].0.flags.jump);
    // With another secret, or of another session, nothing comes.
    viewer.send(
        &repair.seal(&cluster().lease_key().recording_secret(&RecordingLease { to: date(5), ..lease })),
    );
    viewer.send(&PlayRepair { session: SessionId(5), ..repair }.seal(&secret));
    viewer.position(PlayOrder::Keepalive);
    assert_eq!(viewer.datagrams, before + lost.len());
    site.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_that_grows_is_played_up_to_its_edge_and_on() {
    let mut site = Site::new().await;
    site.feed(0..700).await;
    let mut viewer = site.playing(PlayStart::Date(date(640)), ClusterTime(WALL + 3_000_000), MS / 4);
    let begun = Instant::now();
    let edge = loop {
        let (state, position) = viewer.position(PlayOrder::Keepalive);
        // The last of it is not yet sure to belong to this segment.
        if state == PlayState::AtEdge && position.packet.number > 690 {
            break position;
        }
        assert!(begun.elapsed() < LIMIT, "{state:?} at {position:?}");
    };
    assert!(edge.packet.number <= 700, "{edge:?}");
    site.feed(700..1_300).await;
    // Into the next segment, too.
    assert_are(&viewer.until_came(0..600), 640..1_240);
    site.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_whose_client_says_nothing_ends() {
    let mut site = Site::new().await;
    site.feed(0..1_500).await;
    let mut viewer = site.playing(PlayStart::Date(date(0)), date(1_400), 50 * MS);
    viewer.until_came(0..3);
    viewer.socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut buffer = [0; 1_500];
    let begun = Instant::now();
    while viewer.socket.recv(&mut buffer).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it goes on");
    }
    assert!(begun.elapsed() > Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(viewer.refusal(PlayOrder::Keepalive), PlayRefusal::NoSession);
    site.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_is_refused_and_leaves_nothing() {
    let mut site = Site::new().await;
    site.feed(0..1_000).await;
    site.feed(1_300..1_500).await;
    let until = date(1_450);
    let start = PlayStart::Date(date(100));
    let play = PlayOrder::Play { start, until, delta_p_ns: MS };
    let mut known = site.playing(start, until, MS);

    let alone = |change: fn(&mut Viewer), order, refusal| {
        let mut viewer = Viewer::new(&site.running);
        change(&mut viewer);
        assert_eq!(viewer.refusal(order), refusal, "{order:?}");
        // The same again, as of a session that is new.
        assert_eq!(viewer.refusal(order), refusal, "{order:?}");
        (viewer.lease.channel, viewer.lease.expires, viewer.time) =
            (CHANNEL, ClusterTime(WALL + 3_600_000), ClusterTime(WALL));
        assert_eq!(viewer.refusal(PlayOrder::Keepalive), PlayRefusal::NoSession, "{order:?}");
    };
    alone(|viewer| viewer.lease.channel = ChannelId(2), play, PlayRefusal::Unknown);
    alone(|viewer| viewer.lease.expires = ClusterTime(WALL - 1), play, PlayRefusal::Expired);
    alone(|viewer| viewer.time = ClusterTime(WALL + 11_000), play, PlayRefusal::Clock);
    let at = |number| PlayOrder::Play { start: PlayStart::Date(date(number)), until, delta_p_ns: MS };
    alone(|_| {}, at(1_250), PlayRefusal::Incomplete);
    let missing = PlayStart::Packet(PacketName { ssrc: SSRC, number: 1_100 });
    alone(|_| {}, PlayOrder::Play { start: missing, until, delta_p_ns: MS }, PlayRefusal::Incomplete);
    let foreign = PlayStart::Packet(PacketName { ssrc: SSRC + 1, number: 100 });
    alone(|_| {}, PlayOrder::Play { start: foreign, until, delta_p_ns: MS }, PlayRefusal::Incomplete);
    alone(|_| {}, at(1_450), PlayRefusal::Outside);
    let early = PlayStart::Date(ClusterTime(date(0).0 - 1));
    alone(|_| {}, PlayOrder::Play { start: early, until, delta_p_ns: MS }, PlayRefusal::Outside);
    for delta_p_ns in [0, 9_999, 1_000_000_001, u32::MAX] {
        alone(|_| {}, PlayOrder::Play { start, until, delta_p_ns }, PlayRefusal::Rate);
    }
    alone(|_| {}, PlayOrder::Resume, PlayRefusal::NoSession);

    // In a session that is there, the refused order changes nothing.
    known.position(PlayOrder::Pause);
    let (_, before) = known.position(PlayOrder::Keepalive);
    assert_eq!(known.refusal(play), PlayRefusal::Begun);
    assert_eq!(known.refusal(PlayOrder::Rate { delta_p_ns: 0 }), PlayRefusal::Rate);
    let outside = ClusterTime(WALL + 4_000_000);
    assert_eq!(known.refusal(PlayOrder::Seek { at: outside }), PlayRefusal::Outside);
    assert_eq!(known.refusal(PlayOrder::Seek { at: date(1_250) }), PlayRefusal::Incomplete);
    known.lease.from = date(1);
    assert_eq!(known.refusal(PlayOrder::Resume), PlayRefusal::Foreign, "a lease for another recording");
    known.lease.from = date(0);
    assert_eq!(known.position(PlayOrder::Keepalive), (PlayState::Paused, before));

    // A lease for another client, and one that nobody gave, are not answered: the first answer is to what comes after them.
    let secret = |lease: &RecordingLease| cluster().lease_key().recording_secret(lease);
    let mine = known.lease;
    let theirs = RecordingLease { client: IpAddr::from([127, 0, 0, 2]), ..mine };
    known.lease = theirs;
    let request = known.request(PlayOrder::Stop);
    known.send(&request.seal(&secret(&theirs)));
    known.lease = mine;
    let request = known.request(PlayOrder::Stop);
    known.send(&request.seal(&secret(&theirs)));
    assert_eq!(known.position(PlayOrder::Keepalive), (PlayState::Paused, before));
    site.running.stop().await;
}
