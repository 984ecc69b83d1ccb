//! The live sessions of a host, as control knows them: who may have one, until when, and what its client is told.
//!
//! ```text
//!            begin                  the data thread has begun            keep, BURST_COUNTS later
//! no session ─────► Asked for ─────────────────────────────► Burst ─────────────────────────────► Viewer
//!     ▲               │                                       │   no room for viewers: full       │
//!     └───────────────┴──────── end, silence, shed ───────────┴───────────────────────────────────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use protocols::authority::MacKey;
use protocols::budget::{Allowance, Budget, Share};
use protocols::ids::ChannelId;
use protocols::p4_control::{Kind, LIVE_TIMEOUT, LiveAnswer, LiveId, LiveOrder, LiveVerdict, seal};
use protocols::time::{ClusterTime, Time};

use super::{Beginning, End, Event, Key, Order, Seam};
use crate::admission::LiveAsked;
use crate::counters::Counters;

/// Sessions that are bursting, or have just caught up, and sessions that wait to begin; one more is answered *full*.
pub const MAX_BURSTS: usize = 256;
/// Viewers who stay on P5, unless set; one more is answered *full* when its burst is over.
pub const DEFAULT_VIEWERS: usize = 64;
/// Sessions of one client address; one more is answered *full*.
pub const MAX_OF_CLIENT: usize = 4;
/// A session counts as a burst for so long after it was asked for, then as a viewer: the longest burst at the ordinary rate, and the time
/// in which P6 comes if it does.
pub const BURST_COUNTS: Duration = Duration::from_secs(5);
/// Sessions that a host begins each second, a fifth of them at once; one more is answered *full*. Each may be a burst to its
/// client and is an order to a data thread.
pub const BEGINNINGS_PER_SECOND: u32 = 500;
/// A limit that is reached is told of once in this time.
pub const FULL_TOLD_EVERY: Duration = Duration::from_mins(1);

/// What the table wants done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Output {
    /// Tell the client of a session.
    Answer {
        /// Which.
        key: Key,
        /// A P4 live answer.
        bytes: Vec<u8>,
    },
    /// Order the data thread of a channel, once its feed flows.
    Order {
        /// The channel.
        channel: ChannelId,
        /// What to do.
        order: Order,
    },
}

/// How a channel stands at this host, at the destination of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// This host serves the destination.
    pub assigned: bool,
    /// The channel's feed is there and shows packets.
    pub fed: bool,
}

/// The live sessions of a host.
#[derive(Debug)]
pub struct LiveTable {
    most_viewers: usize,
    sessions: BTreeMap<Key, Session>,
    /// When each session's client will have been silent for too long.
    silent: BTreeSet<(Time, Key)>,
    viewers: usize,
    beginnings: Budget,
    full_told: Option<Time>,
}

#[derive(Debug)]
struct Session {
    channel: ChannelId,
    destination: IpAddr,
    secret: MacKey,
    asked: Time,
    heard: Time,
    beginning: Option<Beginning>,
    viewer: bool,
}

impl LiveTable {
    /// One with room for `most_viewers` who stay.
    pub fn new(most_viewers: usize) -> Self {
        Self {
            most_viewers,
            sessions: BTreeMap::new(),
            silent: BTreeSet::new(),
            viewers: 0,
            beginnings: Budget::default(),
            full_told: None,
        }
    }

    /// Takes a genuine order in; `standing` is that of the channel that it is about.
    pub fn hear(
        &mut self,
        now: Time,
        asked: &LiveAsked,
        standing: Standing,
        counters: &mut Counters,
        out: &mut Vec<Output>,
    ) {
        let LiveAsked { request, secret, flaw, .. } = asked;
        let key = Key { client: asked.from, id: request.session };
        let lease = &request.lease;
        let (channel, destination) = (lease.channel, lease.destination);
        let answer = |verdict| answer(key, asked.cluster, verdict, secret);
        let of_other = |held: &Session| (held.channel, held.destination) != (channel, destination);
        if self.sessions.get(&key).is_some_and(of_other) {
            counters.live_foreign += 1;
            return;
        }
        if let Some(flaw) = flaw {
            out.push(answer(*flaw));
            return;
        }
        let known = self.sessions.contains_key(&key);
        match request.order {
            LiveOrder::End { ssrc, first } if known => {
                self.remove(key);
                counters.live_ended += 1;
                let seam = Some(Seam { ssrc, first });
                out.push(Output::Order { channel, order: Order::End { key, seam } });
            }
            LiveOrder::End { .. } => counters.live_unknown += 1,
            LiveOrder::Keep if !known => out.push(answer(LiveVerdict::NoSession)),
            // A feed that is away for a moment ends nothing that has begun.
            _ if !standing.assigned || !(standing.fed || known) => {
                counters.live_not_carried += 1;
                out.push(answer(LiveVerdict::NotCarried));
                self.end(key, out);
            }
            LiveOrder::Begin { .. } if known => {
                self.refresh(now, key);
                let begun = self.sessions.get(&key).and_then(|held| held.beginning);
                out.extend(begun.map(|beginning| answer(verdict(beginning))));
            }
            LiveOrder::Begin { burst_percent } => {
                if let Some(limit) = self.limit(now, key) {
                    limit.count(counters);
                    self.tell_full(now, limit);
                    out.push(answer(LiveVerdict::Full));
                    return;
                }
                self.beginnings.use_one(allowance());
                let secret = secret.clone();
                let fresh = Session {
                    channel,
                    destination,
                    secret,
                    asked: now,
                    heard: now,
                    beginning: None,
                    viewer: false,
                };
                self.sessions.insert(key, fresh);
                self.silent.insert((now + LIVE_TIMEOUT, key));
                counters.live_begun += 1;
                out.push(Output::Order { channel, order: Order::Begin { key, burst_percent } });
            }
            LiveOrder::Keep => {
                self.refresh(now, key);
                if !self.stays(now, key) {
                    Limit::Viewers.count(counters);
                    self.tell_full(now, Limit::Viewers);
                    out.push(answer(LiveVerdict::Full));
                    self.end(key, out);
                }
            }
        }
    }

    /// What a data thread tells of a session at `clock`, the cluster's time.
    pub fn told(&mut self, clock: ClusterTime, event: Event, counters: &mut Counters, out: &mut Vec<Output>) {
        match event {
            Event::Begun { key, beginning } => {
                if let Some(session) = self.sessions.get_mut(&key) {
                    session.beginning = Some(beginning);
                    let Beginning { first, newest, .. } = beginning;
                    tracing::debug!(channel = %session.channel, client = %key.client, session = %key.id, first, newest, "live session begun");
                    out.push(answer(key, clock, verdict(beginning), &session.secret));
                }
            }
            Event::Ended { key, why } => {
                let Some(session) = self.remove(key) else { return };
                match why {
                    End::NoPacket => counters.live_without_packets += 1,
                    End::Shed => counters.live_shed += 1,
                    End::Ordered => {}
                }
                tracing::debug!(channel = %session.channel, client = %key.client, session = %key.id, ?why, "live session ended");
                // One that had begun learns it by what it says next.
                if session.beginning.is_none() {
                    out.push(answer(key, clock, LiveVerdict::NotCarried, &session.secret));
                }
            }
        }
    }

    /// Ends the sessions whose clients have fallen silent.
    pub fn advance(&mut self, now: Time, counters: &mut Counters, out: &mut Vec<Output>) {
        while let Some((_, key)) = self.silent.first().copied().filter(|(at, _)| *at <= now) {
            counters.live_silent += 1;
            self.end(key, out);
        }
    }

    /// When [`Self::advance`] has something to do.
    pub fn deadline(&self) -> Option<Time> {
        self.silent.first().map(|(at, _)| *at)
    }

    /// `channel` is carried no more: its data thread has forgotten its sessions.
    pub fn forget(&mut self, channel: ChannelId) {
        let of_channel = |(key, session): (&Key, &Session)| (session.channel == channel).then_some(*key);
        let gone: Vec<Key> = self.sessions.iter().filter_map(of_channel).collect();
        for key in gone {
            self.remove(key);
        }
    }

    /// Whether a session wants `channel`.
    pub fn wants(&self, channel: ChannelId) -> bool {
        self.sessions.values().any(|session| session.channel == channel)
    }

    /// Sessions, and how many of them count as viewers who stay.
    pub fn len(&self) -> (usize, usize) {
        (self.sessions.len(), self.viewers)
    }

    fn refresh(&mut self, now: Time, key: Key) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        self.silent.remove(&(session.heard + LIVE_TIMEOUT, key));
        session.heard = now;
        self.silent.insert((now + LIVE_TIMEOUT, key));
    }

    /// Whether the session may go on: counts it as a viewer when its time as a burst is over, and there is room.
    fn stays(&mut self, now: Time, key: Key) -> bool {
        let Some(session) = self.sessions.get_mut(&key) else { return false };
        if session.viewer || now.since(session.asked) < BURST_COUNTS {
            return true;
        }
        if self.viewers >= self.most_viewers {
            return false;
        }
        (session.viewer, self.viewers) = (true, self.viewers + 1);
        true
    }

    /// Which limit forbids one session more.
    fn limit(&mut self, now: Time, key: Key) -> Option<Limit> {
        let address = key.client.ip();
        let from = Key { client: (address, 0).into(), id: LiveId(0) };
        let of_client = self.sessions.range(from..).take_while(|(key, _)| key.client.ip() == address).count();
        if of_client >= MAX_OF_CLIENT {
            Some(Limit::Client)
        } else if self.sessions.len() - self.viewers >= MAX_BURSTS {
            Some(Limit::Bursts)
        } else if !self.beginnings.has_room(now, allowance()) {
            Some(Limit::Beginnings)
        } else {
            None
        }
    }

    /// Ends a session, if it is there, at once.
    fn end(&mut self, key: Key, out: &mut Vec<Output>) {
        if let Some(Session { channel, .. }) = self.remove(key) {
            tracing::debug!(%channel, client = %key.client, session = %key.id, "live session ended");
            out.push(Output::Order { channel, order: Order::End { key, seam: None } });
        }
    }

    fn remove(&mut self, key: Key) -> Option<Session> {
        let session = self.sessions.remove(&key)?;
        self.silent.remove(&(session.heard + LIVE_TIMEOUT, key));
        self.viewers -= usize::from(session.viewer);
        Some(session)
    }

    fn tell_full(&mut self, now: Time, limit: Limit) {
        if self.full_told.is_none_or(|at| now.since(at) >= FULL_TOLD_EVERY) {
            self.full_told = Some(now);
            let (sessions, viewers) = self.len();
            tracing::info!(?limit, sessions, viewers, "a live session is refused: there are too many");
        }
    }
}

/// What there is too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    /// [`MAX_OF_CLIENT`].
    Client,
    /// [`MAX_BURSTS`].
    Bursts,
    /// [`BEGINNINGS_PER_SECOND`].
    Beginnings,
    /// Viewers who stay.
    Viewers,
}

impl Limit {
    fn count(self, counters: &mut Counters) {
        let counter = match self {
            Self::Client => &mut counters.live_full_client,
            Self::Bursts | Self::Beginnings => &mut counters.live_full_bursts,
            Self::Viewers => &mut counters.live_full_viewers,
        };
        *counter += 1;
    }
}

fn verdict(Beginning { ssrc, first, newest }: Beginning) -> LiveVerdict {
    LiveVerdict::Begun { ssrc, first, newest }
}

fn answer(key: Key, time: ClusterTime, verdict: LiveVerdict, secret: &MacKey) -> Output {
    let bytes = seal(Kind::LiveAnswer, &LiveAnswer { session: key.id, time, verdict }, secret);
    Output::Answer { key, bytes }
}

fn allowance() -> Allowance {
    let all = Share { percent: 100, burst_packets: BEGINNINGS_PER_SECOND / 5, burst: Duration::ZERO };
    all.of(Duration::from_secs(1) / BEGINNINGS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use protocols::authority::{ClusterKey, Lease};
    use protocols::p4_control::{BURST_PERCENT, LiveRequest, Sealed};

    use super::*;

    const CARRIED: Standing = Standing { assigned: true, fed: true };
    const BEGINNING: Beginning = Beginning { ssrc: 9, first: 7, newest: 107 };
    const BEGUN: LiveVerdict = LiveVerdict::Begun { ssrc: 9, first: 7, newest: 107 };
    const BEGIN: LiveOrder = LiveOrder::Begin { burst_percent: BURST_PERCENT };
    const END: LiveOrder = LiveOrder::End { ssrc: 9, first: 200 };

    /// A table with room for two viewers, and what it has said.
    struct Scene {
        table: LiveTable,
        counters: Counters,
    }

    /// What comes out of an order.
    #[derive(Debug, PartialEq, Eq)]
    enum Came {
        Said(LiveVerdict),
        Begins(Key),
        Ends(Key, Option<Seam>),
    }

    fn asked(client: &str, id: u32, order: LiveOrder) -> LiveAsked {
        let from = client.parse().unwrap();
        let lease = Lease {
            client: std::net::SocketAddr::ip(&from),
            channel: ChannelId(1),
            destination: [239, 192, 1, 1].into(),
            expires: ClusterTime(u64::MAX),
        };
        let request = LiveRequest { lease, time: ClusterTime(5), session: LiveId(id), order };
        LiveAsked { from, request, secret: secret(), flaw: None, cluster: ClusterTime(5) }
    }

    fn secret() -> MacKey {
        ClusterKey::new([7; 32]).announce_key(ChannelId(1))
    }

    fn key(client: &str, id: u32) -> Key {
        Key { client: client.parse().unwrap(), id: LiveId(id) }
    }

    fn read(out: Vec<Output>) -> Vec<Came> {
        let read = |output| match output {
            Output::Answer { bytes, .. } => {
                let answer: LiveAnswer = Sealed::parse(&bytes).unwrap().open(&secret()).unwrap();
                Came::Said(answer.verdict)
            }
            Output::Order { order: Order::Begin { key, .. }, .. } => Came::Begins(key),
            Output::Order { order: Order::End { key, seam }, .. } => Came::Ends(key, seam),
        };
        out.into_iter().map(read).collect()
    }

    impl Scene {
        fn new() -> Self {
            Self { table: LiveTable::new(2), counters: Counters::default() }
        }

        fn hear(&mut self, at_ms: u64, asked: &LiveAsked) -> Vec<Came> {
            self.hear_with(at_ms, asked, CARRIED)
        }

        fn hear_with(&mut self, at_ms: u64, asked: &LiveAsked, standing: Standing) -> Vec<Came> {
            let mut out = Vec::new();
            self.table.hear(Time::from_ms(at_ms), asked, standing, &mut self.counters, &mut out);
            read(out)
        }

        fn say(&mut self, at_ms: u64, client: &str, id: u32, order: LiveOrder) -> Vec<Came> {
            self.hear(at_ms, &asked(client, id, order))
        }

        fn told(&mut self, event: Event) -> Vec<Came> {
            let mut out = Vec::new();
            self.table.told(ClusterTime(5), event, &mut self.counters, &mut out);
            read(out)
        }

        fn advance(&mut self, at_ms: u64) -> Vec<Came> {
            let mut out = Vec::new();
            self.table.advance(Time::from_ms(at_ms), &mut self.counters, &mut out);
            read(out)
        }

        /// Begins, and is begun.
        fn begun(&mut self, at_ms: u64, client: &str, id: u32) {
            assert_eq!(self.say(at_ms, client, id, BEGIN), [Came::Begins(key(client, id))]);
            let _ = self.told(Event::Begun { key: key(client, id), beginning: BEGINNING });
        }

        /// Whether the session is still there when it says so each second from `from_s` to `to_s`.
        fn keeps(&mut self, [from_s, to_s]: [u64; 2], client: &str, id: u32) -> bool {
            (from_s..=to_s).all(|s| self.say(s * 1_000, client, id, LiveOrder::Keep).is_empty())
        }
    }

    const A: &str = "10.0.1.7:5000";

    #[test]
    fn a_begin_is_answered_once_the_data_thread_has_begun_and_the_same_when_repeated() {
        let mut scene = Scene::new();
        assert_eq!(scene.say(1_000, A, 1, BEGIN), [Came::Begins(key(A, 1))]);
        assert_eq!(scene.say(1_100, A, 1, BEGIN), []);
        assert_eq!(scene.told(Event::Begun { key: key(A, 1), beginning: BEGINNING }), [Came::Said(BEGUN)]);
        assert_eq!(scene.say(1_200, A, 1, BEGIN), [Came::Said(BEGUN)]);
        assert_eq!(scene.say(1_300, A, 1, LiveOrder::Keep), []);
        assert!(scene.table.wants(ChannelId(1)) && !scene.table.wants(ChannelId(2)));
        assert_eq!((scene.table.len(), scene.counters.live_begun), ((1, 0), 1));
    }

    #[test]
    fn end_is_passed_on_once_and_dropped_when_repeated_or_of_an_unknown_session() {
        let mut scene = Scene::new();
        scene.begun(1_000, A, 1);
        let seam = Seam { ssrc: 9, first: 200 };
        assert_eq!(scene.say(2_000, A, 1, END), [Came::Ends(key(A, 1), Some(seam))]);
        assert_eq!(scene.say(2_100, A, 1, END), []);
        assert_eq!(scene.say(2_100, "10.0.1.8:5000", 1, END), []);
        assert_eq!(scene.table.len(), (0, 0));
        assert_eq!(scene.say(2_200, A, 1, LiveOrder::Keep), [Came::Said(LiveVerdict::NoSession)]);
    }

    #[test]
    fn a_session_whose_client_is_silent_for_three_seconds_ends() {
        let mut scene = Scene::new();
        scene.begun(1_000, A, 1);
        assert_eq!(scene.say(2_000, A, 1, LiveOrder::Keep), []);
        assert_eq!(scene.table.deadline(), Some(Time::from_ms(5_000)));
        assert_eq!(scene.advance(4_999), []);
        assert_eq!(scene.advance(5_000), [Came::Ends(key(A, 1), None)]);
        assert_eq!((scene.table.len(), scene.table.deadline()), ((0, 0), None));
        assert_eq!(scene.counters.live_silent, 1);
    }

    #[test]
    fn a_fifth_session_of_a_client_address_is_refused_whatever_its_port() {
        let mut scene = Scene::new();
        for n in 1..=4 {
            scene.begun(1_000, &format!("10.0.1.7:{}", 5_000 + n), n);
        }
        assert_eq!(scene.say(1_000, "10.0.1.7:4000", 9, BEGIN), [Came::Said(LiveVerdict::Full)]);
        scene.begun(1_000, "10.0.1.8:5000", 1);
        let _ = scene.say(1_100, "10.0.1.7:5001", 1, END);
        scene.begun(1_200, "10.0.1.7:4000", 9);
        assert_eq!((scene.counters.live_full_client, scene.table.len()), (1, (5, 0)));
    }

    #[test]
    fn bursts_are_limited_and_viewers_that_stay_do_not_count_among_them() {
        let mut scene = Scene::new();
        let client = |n: usize| format!("10.0.{}.{}:5000", n / 200, n % 200 + 1);
        scene.begun(1_000, &client(0), 1);
        assert!(scene.keeps([2, 6], &client(0), 1));
        for n in 1..=MAX_BURSTS {
            scene.begun(6_000 + n as u64 * 2, &client(n), 1);
        }
        let another = client(MAX_BURSTS + 1);
        assert_eq!(scene.say(6_600, &another, 1, BEGIN), [Came::Said(LiveVerdict::Full)]);
        let _ = scene.say(6_700, &client(5), 1, END);
        scene.begun(6_800, &another, 1);
        assert_eq!((scene.table.len(), scene.counters.live_full_bursts), ((MAX_BURSTS + 1, 1), 1));
    }

    #[test]
    fn who_stays_for_five_seconds_is_a_viewer_and_the_third_of_two_is_told_that_there_is_no_room() {
        let mut scene = Scene::new();
        let [a, b, c] = ["10.0.1.7:5000", "10.0.1.8:5000", "10.0.1.9:5000"];
        for client in [a, b, c] {
            scene.begun(1_000, client, 1);
        }
        assert!([a, b, c].iter().all(|client| scene.keeps([2, 5], client, 1)));
        assert_eq!(scene.table.len(), (3, 0));
        assert!(scene.keeps([6, 6], a, 1) && scene.keeps([6, 6], b, 1));
        let said = scene.say(6_000, c, 1, LiveOrder::Keep);
        assert_eq!(said, [Came::Said(LiveVerdict::Full), Came::Ends(key(c, 1), None)]);
        assert_eq!((scene.table.len(), scene.counters.live_full_viewers), ((2, 2), 1));
        let _ = scene.say(6_100, a, 1, END);
        assert_eq!(scene.table.len(), (1, 1));
        scene.begun(6_200, c, 2);
        assert!(scene.keeps([7, 15], c, 2) && scene.keeps([7, 7], b, 1));
        assert_eq!(scene.table.len(), (2, 2));
    }

    #[test]
    fn what_is_not_carried_is_refused_and_a_feed_that_is_away_for_a_moment_ends_nothing() {
        let mut scene = Scene::new();
        for standing in [Standing { assigned: false, ..CARRIED }, Standing { fed: false, ..CARRIED }] {
            let said = scene.hear_with(1_000, &asked(A, 1, BEGIN), standing);
            assert_eq!(said, [Came::Said(LiveVerdict::NotCarried)]);
        }
        scene.begun(1_000, A, 1);
        let away = Standing { fed: false, ..CARRIED };
        assert_eq!(scene.hear_with(2_000, &asked(A, 1, LiveOrder::Keep), away), []);
        let elsewhere = Standing { assigned: false, ..CARRIED };
        let said = scene.hear_with(3_000, &asked(A, 1, LiveOrder::Keep), elsewhere);
        assert_eq!(said, [Came::Said(LiveVerdict::NotCarried), Came::Ends(key(A, 1), None)]);
        assert_eq!((scene.table.len(), scene.counters.live_not_carried), ((0, 0), 3));
    }

    #[test]
    fn a_session_that_ends_before_it_began_is_answered_and_one_that_had_begun_is_not() {
        let mut scene = Scene::new();
        let _ = scene.say(1_000, A, 1, BEGIN);
        let ended = |id, why| Event::Ended { key: key(A, id), why };
        assert_eq!(scene.told(ended(1, End::NoPacket)), [Came::Said(LiveVerdict::NotCarried)]);
        scene.begun(2_000, A, 2);
        assert_eq!(scene.told(ended(2, End::Shed)), []);
        assert_eq!(scene.told(ended(2, End::Ordered)), []);
        assert_eq!(scene.say(3_000, A, 2, LiveOrder::Keep), [Came::Said(LiveVerdict::NoSession)]);
        assert_eq!((scene.counters.live_without_packets, scene.counters.live_shed), (1, 1));
    }

    #[test]
    fn a_flaw_is_answered_and_changes_nothing() {
        let mut scene = Scene::new();
        let flawed = LiveAsked { flaw: Some(LiveVerdict::Clock), ..asked(A, 1, BEGIN) };
        assert_eq!(scene.hear(1_000, &flawed), [Came::Said(LiveVerdict::Clock)]);
        assert_eq!(scene.table.len(), (0, 0));
    }

    #[test]
    fn a_number_that_is_used_for_another_channel_speaks_for_no_session() {
        let mut scene = Scene::new();
        scene.begun(1_000, A, 1);
        let mut other = asked(A, 1, END);
        other.request.lease.channel = ChannelId(2);
        assert_eq!(scene.hear(1_100, &other), []);
        assert_eq!((scene.table.len(), scene.counters.live_foreign), ((1, 0), 1));
    }

    #[test]
    fn who_begins_and_ends_without_end_is_slowed_down() {
        let mut scene = Scene::new();
        let mut begun = 0;
        for id in 0..1_000 {
            begun += usize::from(matches!(scene.say(1_000, A, id, BEGIN)[..], [Came::Begins(_)]));
            let _ = scene.say(1_000, A, id, END);
        }
        assert_eq!(begun, 100);
    }

    #[test]
    fn a_channel_that_is_released_takes_its_sessions_along() {
        let mut scene = Scene::new();
        scene.begun(1_000, A, 1);
        scene.table.forget(ChannelId(2));
        assert_eq!(scene.table.len(), (1, 0));
        scene.table.forget(ChannelId(1));
        assert_eq!((scene.table.len(), scene.table.deadline()), ((0, 0), None));
    }
}
