//! A live session as its viewer sees it: P5 from the newest random access point on, until P6 arrives, or for good.
//!
//! ```text
//! session   None ──tuned, both ways silent──► Asking ──begun──► Begun ──P6 arrives, refused──► None (farewell)
//!                                               ▲                 └──silent──► farewell, another number
//!                                               └─────────────────────────────────┘
//! group     Outside ──caught up, no answer, refused──► Waiting ──P6 arrives──► Arriving ──both ways silent──► Waiting
//! ```
//!
//! The seam needs no protocol: both ways carry the same packets, and the reassembly takes each once. A session is ended by
//! a [`Farewell`], repeated until the push server falls silent.

use std::time::Duration;

use media::Sequence;
use protocols::backoff::Backoff;
use protocols::p4_control::{
    BURST_PERCENT, LIVE_KEEP, LiveAnswer, LiveId, LiveOrder, LiveVerdict, MOST_BURST_PERCENT,
};
use protocols::time::Time;

/// A begin that is not answered is repeated after this, while the picture waits for it …
pub const BEGIN_RETRY: Duration = Duration::from_millis(50);
/// … which it does for this long: then the group is joined.
pub const ANSWER_WITHIN: Duration = Duration::from_millis(150);
/// After that a begin is repeated so often.
pub const BEGIN_RETRY_LATER: Duration = Duration::from_secs(1);
/// A burst that brings nothing for this long is stuck: the group is joined, and P6 taken wherever it is.
pub const STUCK_AFTER: Duration = Duration::from_millis(150);
/// A group that was joined this long ago and brings nothing does not arrive here: the session goes on.
pub const P6_WITHIN: Duration = Duration::from_secs(1);
/// A group that does not arrive is joined anew this often.
pub const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// When neither way has brought anything for this long, and up to half as much again, a session is begun.
pub const SILENCE: Duration = Duration::from_millis(600);
/// A push server that has no room is asked again after this.
pub const FULL_RETRY: Duration = Duration::from_secs(5);
/// A burst in the middle of watching is so many times as fast as one at tuning: much of it has been seen, and the picture
/// stands until it is over.
pub const FALLBACK_FACTOR: u16 = 2;
/// An end is repeated after this while the push server goes on.
pub const END_RETRY: Duration = Duration::from_millis(50);
/// Ends that are said whether the push server goes on or not: one may be lost, and not be noticed before it matters.
pub const ENDS_AT_LEAST: u32 = 3;
/// Ends said at most: after this many the session has timed out at the push server.
pub const ENDS_AT_MOST: u32 = 60;
/// A session that sends nothing for this long has ended.
pub const ENDED_AFTER: Duration = Duration::from_millis(500);

/// How P5 may bring what is on air.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Rate of the burst at tuning, in percent of the channel's; `None`: the group is joined at once, and P5 only used
    /// when that does not arrive.
    pub burst_percent: Option<u16>,
    /// By P5 only: no group is joined, and nobody asked to send to one.
    pub unicast: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { burst_percent: Some(BURST_PERCENT), unicast: false }
    }
}

/// What the viewer must do, in order.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Send this order to the push server, about this session.
    Send(LiveId, LiveOrder),
    /// Join the group.
    Join,
    /// Join it anew: nothing of it arrives.
    Rejoin,
    /// Say goodbye to a session.
    Part(Farewell),
    /// The group does not arrive; the picture comes by P5.
    Stays,
}

/// What an answer changes for the viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Nothing.
    Nothing,
    /// Packets of this stream come, from this one on.
    Begun {
        /// Their synchronisation source.
        ssrc: u32,
        /// A random access point begins here.
        first: Sequence,
    },
    /// There is no room at the push server.
    Full,
    /// The directory knows better.
    Directory,
}

/// What happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Begins sent, repeated ones too.
    pub begins: u64,
    /// Sessions begun.
    pub sessions: u64,
    /// Refusals for want of room.
    pub full: u64,
    /// Packets that came by a session.
    pub packets: u64,
    /// Times that P6 took over.
    pub seams: u64,
    /// Times that P6 was found not to arrive while P5 did.
    pub stays: u64,
}

/// The machine of one reception.
#[derive(Debug)]
pub struct Live {
    policy: Policy,
    random: fastrand::Rng,
    /// This client's share of [`SILENCE`].
    patience: Duration,
    id: LiveId,
    session: Session,
    group: Group,
    /// When something last came by either way, or the channel was tuned.
    heard: Time,
    /// Something has come since it was tuned.
    running: bool,
    /// No session is asked for before.
    ask_at: Time,
    asked: Backoff,
    counters: Counters,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Session {
    None,
    Asking { since: Time, at: Time },
    Begun(Begun),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Begun {
    ssrc: u32,
    first: Sequence,
    newest: Sequence,
    /// When it last brought something, or began.
    last: Time,
    keep_at: Time,
    caught_up: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Outside,
    Waiting {
        since: Time,
        look_at: Time,
        /// P5 brings what this does not, and the viewer has been told.
        stays: Stays,
    },
    Arriving,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stays {
    No,
    ToTell,
    Told,
}

impl Live {
    /// The session of a channel that is tuned now. `seed` gives its number and its patience.
    pub fn new(now: Time, seed: u64, policy: Policy) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let session = match policy.burst_percent {
            None if !policy.unicast => Session::None,
            _ => Session::Asking { since: now, at: now },
        };
        Self {
            policy,
            patience: SILENCE.mul_f64(1.0 + random.f64() / 2.0),
            id: LiveId(random.u32(..)),
            random,
            session,
            group: Group::Outside,
            heard: now,
            running: false,
            ask_at: now,
            asked: Backoff::default(),
            counters: Counters::default(),
        }
    }

    /// Another push server serves the channel: what was asked of the one before is asked of it.
    pub fn moved(&mut self, now: Time, out: &mut Vec<Action>) {
        if self.session != Session::None || self.policy.unicast {
            self.begin_anew(now, out);
        }
        self.asked.reset();
    }

    /// Nobody watches any more.
    pub fn stop(&mut self, now: Time, out: &mut Vec<Action>) {
        self.part(now, None, out);
    }

    /// An answer whose tag is right.
    pub fn answer(&mut self, now: Time, answer: &LiveAnswer, out: &mut Vec<Action>) -> Heard {
        if answer.session != self.id {
            return Heard::Nothing;
        }
        match answer.verdict {
            LiveVerdict::Begun { ssrc, first, newest } => {
                self.begun(now, ssrc, [first, newest].map(Sequence), out)
            }
            _ if self.session == Session::None => Heard::Nothing,
            LiveVerdict::Clock => {
                // The clock is right now. Where that does not help, the repeat comes in its time.
                if let Session::Asking { since, at } = &mut self.session
                    && now.since(*since) < ANSWER_WITHIN
                {
                    *at = (*at).min(now + BEGIN_RETRY / 5);
                }
                Heard::Nothing
            }
            LiveVerdict::NoSession => {
                self.begin_anew(now, out);
                Heard::Nothing
            }
            LiveVerdict::Full | LiveVerdict::Rate => {
                self.counters.full += 1;
                self.refused(now + FULL_RETRY);
                Heard::Full
            }
            LiveVerdict::NotCarried | LiveVerdict::Expired => {
                let wait = self.wait();
                self.refused(now + wait);
                Heard::Directory
            }
        }
    }

    /// A packet came by the session. `news`: it had not come before.
    pub fn streamed(&mut self, now: Time, sequence: Sequence, news: bool) {
        self.counters.packets += 1;
        let Session::Begun(begun) = &mut self.session else { return };
        begun.last = now;
        begun.caught_up |= !sequence.precedes(begun.newest);
        if !news {
            return;
        }
        self.came(now);
        if let Group::Waiting { since, stays, .. } = &mut self.group
            && *stays == Stays::No
            && now.since(*since) >= P6_WITHIN
        {
            *stays = Stays::ToTell;
            self.counters.stays += 1;
        }
    }

    /// Something new came, by whatever way.
    pub fn came(&mut self, now: Time) {
        self.heard = now;
        self.running = true;
        self.asked.reset();
    }

    /// A packet of the group came and is taken. `true`: it was told that the group does not arrive.
    pub fn broadcast(&mut self, now: Time, ssrc: u32, sequence: Sequence, out: &mut Vec<Action>) -> bool {
        self.came(now);
        if self.session != Session::None {
            self.counters.seams += u64::from(self.is_begun());
            self.part(now, Some((ssrc, sequence)), out);
        }
        let before = std::mem::replace(&mut self.group, Group::Arriving);
        matches!(before, Group::Waiting { stays: Stays::Told, .. })
    }

    /// Appends what is due.
    pub fn poll(&mut self, now: Time, out: &mut Vec<Action>) {
        self.begin_where_silent(now, out);
        match &mut self.session {
            Session::None => {}
            Session::Asking { since, at } => {
                if *at <= now {
                    let late = now.since(*since) + BEGIN_RETRY >= ANSWER_WITHIN;
                    *at = now + if late { BEGIN_RETRY_LATER } else { BEGIN_RETRY };
                    self.counters.begins += 1;
                    let percent = self.policy.burst_percent.unwrap_or(BURST_PERCENT);
                    let factor = if self.running { FALLBACK_FACTOR } else { 1 };
                    let burst_percent = percent.saturating_mul(factor).min(MOST_BURST_PERCENT);
                    out.push(Action::Send(self.id, LiveOrder::Begin { burst_percent }));
                }
            }
            Session::Begun(begun) => {
                if begun.keep_at <= now {
                    begun.keep_at = now + LIVE_KEEP;
                    out.push(Action::Send(self.id, LiveOrder::Keep));
                }
            }
        }
        if self.join_at().is_some_and(|at| at <= now) {
            self.wait_for_group(now);
            out.push(Action::Join);
        }
        if let Group::Waiting { look_at, stays, .. } = &mut self.group {
            if *look_at <= now {
                *look_at = now + LOOK_AGAIN;
                out.push(Action::Rejoin);
            }
            if *stays == Stays::ToTell {
                *stays = Stays::Told;
                out.push(Action::Stays);
            }
        }
    }

    /// When to call [`Live::poll`].
    pub fn deadline(&self) -> Option<Time> {
        let session = match self.session {
            Session::None => None,
            Session::Asking { at, .. } => Some(at),
            Session::Begun(begun) => Some(begun.keep_at),
        };
        let group = match self.group {
            Group::Waiting { look_at, .. } => Some(look_at),
            Group::Outside | Group::Arriving => self.join_at(),
        };
        [session, group, self.silent_at()].into_iter().flatten().min()
    }

    /// Whether packets of this stream are those of the session.
    pub fn carries(&self, ssrc: u32) -> bool {
        matches!(self.session, Session::Begun(begun) if begun.ssrc == ssrc)
    }

    /// Whether an answer is waited for: what comes by P5 may be of the session.
    pub fn is_asking(&self) -> bool {
        matches!(self.session, Session::Asking { .. })
    }

    /// Whether there is a session.
    pub fn is_begun(&self) -> bool {
        matches!(self.session, Session::Begun(_))
    }

    /// Whether the session brings packets: what the group has far ahead of them will come by it.
    pub fn is_flowing(&self, now: Time) -> bool {
        matches!(self.session, Session::Begun(begun) if now.since(begun.last) < STUCK_AFTER)
    }

    /// Whether all comes by the group, as it should.
    pub fn is_broadcast(&self) -> bool {
        self.session == Session::None && self.group == Group::Arriving
    }

    /// Whether no group is wanted.
    pub fn is_unicast(&self) -> bool {
        self.policy.unicast
    }

    /// Whether the group is joined.
    pub fn is_joined(&self) -> bool {
        self.group != Group::Outside
    }

    /// Since when nothing has come by either way.
    pub fn silent_since(&self) -> Time {
        self.heard
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn begun(
        &mut self,
        now: Time,
        ssrc: u32,
        [first, newest]: [Sequence; 2],
        out: &mut Vec<Action>,
    ) -> Heard {
        match self.session {
            Session::Asking { .. } => {
                let keep_at = now + LIVE_KEEP;
                let begun = Begun { ssrc, first, newest, last: now, keep_at, caught_up: false };
                self.session = Session::Begun(begun);
                self.counters.sessions += 1;
                Heard::Begun { ssrc, first }
            }
            Session::Begun(_) => Heard::Nothing,
            // P6 was there first.
            Session::None => {
                out.push(Action::Part(Farewell::new(now, self.id, ssrc, first)));
                Heard::Nothing
            }
        }
    }

    fn begin_where_silent(&mut self, now: Time, out: &mut Vec<Action>) {
        if self.silent_at().is_none_or(|at| at > now) {
            return;
        }
        if self.is_joined() {
            self.wait_for_group(now);
        }
        self.begin_anew(now, out);
        let wait = self.wait();
        self.ask_at = now + wait;
    }

    /// When a session is to be begun because nothing comes.
    fn silent_at(&self) -> Option<Time> {
        let silent = self.heard + self.patience;
        match self.session {
            Session::Asking { .. } => None,
            // It may have been lost, and its stream may have been replaced by another.
            Session::Begun(begun) => Some(self.ask_at.max(silent).max(begun.last + self.patience)),
            Session::None if self.policy.unicast => Some(self.ask_at),
            Session::None => self.is_joined().then_some(self.ask_at.max(silent)),
        }
    }

    /// When to join; `None`: not as things are.
    fn join_at(&self) -> Option<Time> {
        if self.is_joined() || self.policy.unicast {
            return None;
        }
        Some(match self.session {
            Session::None => Time::ZERO,
            Session::Asking { since, .. } => since + ANSWER_WITHIN,
            Session::Begun(begun) if begun.caught_up => Time::ZERO,
            Session::Begun(begun) => begun.last + STUCK_AFTER,
        })
    }

    /// P6 is waited for from now on, if it is not already.
    fn wait_for_group(&mut self, now: Time) {
        if !matches!(self.group, Group::Waiting { .. }) {
            self.group = Group::Waiting { since: now, look_at: now + LOOK_AGAIN, stays: Stays::No };
        }
    }

    fn begin_anew(&mut self, now: Time, out: &mut Vec<Action>) {
        self.part(now, None, out);
        self.id = LiveId(self.random.u32(..));
        self.session = Session::Asking { since: now, at: now };
    }

    fn refused(&mut self, ask_at: Time) {
        self.session = Session::None;
        self.ask_at = ask_at;
    }

    /// Time until the next attempt, growing while nothing comes.
    fn wait(&mut self) -> Duration {
        self.asked.next(self.random.u32(..)).max(BEGIN_RETRY_LATER)
    }

    /// Ends the session: what is before `next` of the stream is still wanted, or nothing.
    fn part(&mut self, now: Time, next: Option<(u32, Sequence)>, out: &mut Vec<Action>) {
        // Without an answer it may be there all the same; no stream is named, so it ends at once.
        let (ssrc, first) = match (std::mem::replace(&mut self.session, Session::None), next) {
            (Session::None, _) => return,
            (_, Some((ssrc, next))) => (ssrc, next),
            (Session::Begun(begun), None) => (begun.ssrc, begun.first),
            (Session::Asking { .. }, None) => (0, Sequence(0)),
        };
        out.push(Action::Part(Farewell::new(now, self.id, ssrc, first)));
    }
}

/// The end of a session, until its push server has heard it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Farewell {
    session: LiveId,
    ssrc: u32,
    /// The packet from which on none is wanted.
    first: Sequence,
    /// When to say it (again), if the push server goes on.
    at: Time,
    said: u32,
    /// When it last was seen to go on.
    heard: Time,
    goes_on: bool,
}

impl Farewell {
    fn new(now: Time, session: LiveId, ssrc: u32, first: Sequence) -> Self {
        Self { session, ssrc, first, at: now, said: 0, heard: now, goes_on: false }
    }

    /// The session that ends.
    pub fn session(&self) -> LiveId {
        self.session
    }

    /// A packet came by P5 that nobody asked for.
    pub fn streamed(&mut self, now: Time, ssrc: u32, sequence: Sequence) {
        if ssrc == self.ssrc && !sequence.precedes(self.first) {
            (self.heard, self.goes_on) = (now, true);
        }
    }

    /// The order to send, if it is time.
    pub fn poll(&mut self, now: Time) -> Option<(LiveId, LiveOrder)> {
        if !self.is_due() || self.at > now {
            return None;
        }
        (self.at, self.goes_on) = (now + END_RETRY, false);
        self.said += 1;
        let order = LiveOrder::End { ssrc: self.ssrc, first: self.first.0 };
        Some((self.session, order))
    }

    /// When to look at it again.
    pub fn deadline(&self) -> Time {
        if self.is_due() { self.at } else { self.heard.max(self.at) + ENDED_AFTER }
    }

    /// Whether the push server has heard it, or has lost the session long since.
    pub fn is_over(&self, now: Time) -> bool {
        !self.is_due() && self.deadline() <= now
    }

    fn is_due(&self) -> bool {
        self.said < ENDS_AT_LEAST || (self.goes_on && self.said < ENDS_AT_MOST)
    }
}

#[cfg(test)]
mod tests {
    use protocols::time::ClusterTime;

    use super::*;

    const SSRC: u32 = 9;

    fn ms(ms: u64) -> Time {
        Time::from_ms(ms)
    }

    /// A session that is tuned at 1,000 ms, and what it has done.
    struct Scene {
        live: Live,
        done: Vec<(u64, Action)>,
    }

    impl Scene {
        fn new(policy: Policy) -> Self {
            Self { live: Live::new(ms(1_000), 1, policy), done: Vec::new() }
        }

        /// Lets time pass up to `to_ms`.
        fn run(&mut self, to_ms: u64) {
            while let Some(at) = self.live.deadline().filter(|at| *at <= ms(to_ms)) {
                let at = at.max(ms(1_000));
                self.poll(at);
                assert!(self.live.deadline().is_none_or(|next| next > at), "it spins at {at}");
            }
        }

        /// As its owner does after each input.
        fn poll(&mut self, at: Time) {
            let mut out = Vec::new();
            self.live.poll(at, &mut out);
            self.done.extend(out.into_iter().map(|action| (at.as_us() / 1_000, action)));
        }

        fn answers(&mut self, at_ms: u64, verdict: LiveVerdict) -> Heard {
            self.run(at_ms);
            let answer = LiveAnswer { session: self.live.id, time: ClusterTime(1), verdict };
            let mut out = Vec::new();
            let heard = self.live.answer(ms(at_ms), &answer, &mut out);
            self.done.extend(out.into_iter().map(|action| (at_ms, action)));
            self.poll(ms(at_ms));
            heard
        }

        fn begins(&mut self, at_ms: u64) {
            let begun = LiveVerdict::Begun { ssrc: SSRC, first: 100, newest: 200 };
            let heard = self.answers(at_ms, begun);
            assert_eq!(heard, Heard::Begun { ssrc: SSRC, first: Sequence(100) });
        }

        fn streams(&mut self, at_ms: u64, sequence: u16) {
            self.run(at_ms);
            self.live.streamed(ms(at_ms), Sequence(sequence), true);
            self.poll(ms(at_ms));
        }

        /// P5 brings something each 10 ms.
        fn streams_until(&mut self, from_ms: u64, to_ms: u64) {
            (from_ms..to_ms).step_by(10).for_each(|at| self.streams(at, 300));
        }

        fn broadcasts(&mut self, at_ms: u64, sequence: u16) -> bool {
            self.run(at_ms);
            let mut out = Vec::new();
            let returned = self.live.broadcast(ms(at_ms), SSRC, Sequence(sequence), &mut out);
            self.done.extend(out.into_iter().map(|action| (at_ms, action)));
            self.poll(ms(at_ms));
            returned
        }

        /// What was done since this was asked, and when.
        fn did(&mut self) -> Vec<(u64, &'static str)> {
            let name = |action| match action {
                Action::Send(_, LiveOrder::Begin { burst_percent: MOST_BURST_PERCENT }) => "begin fast",
                Action::Send(_, LiveOrder::Begin { .. }) => "begin",
                Action::Send(_, LiveOrder::Keep) => "keep",
                Action::Send(_, LiveOrder::End { .. }) => "end",
                Action::Join => "join",
                Action::Rejoin => "rejoin",
                Action::Part(_) => "part",
                Action::Stays => "stays",
            };
            self.done.drain(..).map(|(at, action)| (at, name(action))).collect()
        }
    }

    #[test]
    fn it_begins_at_once_and_joins_when_it_has_caught_up() {
        let mut scene = Scene::new(Policy::default());
        scene.begins(1_004);
        scene.streams(1_010, 100);
        scene.streams(1_020, 199);
        assert_eq!(scene.did(), [(1_000, "begin")]);
        scene.streams(1_030, 201);
        scene.run(1_030);
        assert_eq!(scene.did(), [(1_030, "join")]);
        scene.streams(1_040, 203);
        assert!(!scene.broadcasts(1_045, 205));
        let (at, Action::Part(farewell)) = scene.done[0] else { panic!("{:?}", scene.done) };
        assert_eq!((at, farewell.first, farewell.ssrc), (1_045, Sequence(205), SSRC));
        scene.did();
        scene.live.came(ms(1_500));
        scene.run(1_500);
        assert_eq!((scene.did(), scene.live.is_broadcast()), (vec![], true));
    }

    #[test]
    fn a_begin_is_repeated_and_without_an_answer_the_group_is_joined() {
        let mut scene = Scene::new(Policy::default());
        scene.run(3_300);
        let joins_soon = [(1_000, "begin"), (1_050, "begin"), (1_100, "begin"), (1_150, "join")];
        assert_eq!(scene.did(), [&joins_soon[..], &[(2_100, "begin"), (3_100, "begin")]].concat());
        // The answer of a push server that is asked at last.
        scene.begins(3_310);
        scene.streams(3_320, 300);
        scene.run(3_330);
        assert_eq!(scene.did(), [(3_320, "stays")], "the group was joined two seconds ago");
    }

    #[test]
    fn a_burst_that_is_stuck_does_not_keep_the_group_waiting() {
        let mut scene = Scene::new(Policy::default());
        scene.begins(1_004);
        scene.streams(1_010, 100);
        scene.run(1_160);
        assert_eq!(scene.did(), [(1_000, "begin"), (1_160, "join")]);
        assert!(!scene.live.is_flowing(ms(1_160)));
    }

    #[test]
    fn refusals_join_at_once_and_are_not_repeated_soon() {
        for verdict in [LiveVerdict::Full, LiveVerdict::NotCarried, LiveVerdict::Expired, LiveVerdict::Rate] {
            let mut scene = Scene::new(Policy::default());
            let heard = scene.answers(1_004, verdict);
            let full = matches!(verdict, LiveVerdict::Full | LiveVerdict::Rate);
            assert_eq!(heard, if full { Heard::Full } else { Heard::Directory });
            scene.run(1_900);
            assert_eq!(scene.did(), [(1_000, "begin"), (1_004, "join")], "{verdict:?}");
            scene.run(7_000);
            let again = scene.did()[0];
            assert_eq!(again.1, "begin", "{verdict:?}");
            assert!(if full { again.0 == 6_004 } else { (2_004..2_300).contains(&again.0) }, "{again:?}");
        }
    }

    #[test]
    fn a_group_that_does_not_arrive_leaves_it_to_the_session_and_is_taken_whenever_it_comes() {
        let mut scene = Scene::new(Policy::default());
        scene.begins(1_004);
        scene.streams_until(1_010, 12_000);
        let did = scene.did();
        assert_eq!(did[..4], [(1_000, "begin"), (1_010, "join"), (2_004, "keep"), (2_010, "stays")]);
        let of = |what| did.iter().filter(|(_, did)| *did == what).count();
        assert_eq!((of("keep"), of("stays"), of("rejoin"), of("begin")), (10, 1, 1, 1), "{did:?}");
        assert!(scene.broadcasts(12_001, 700), "it is told that multicast is back");
        assert_eq!((scene.did(), scene.live.counters().seams), (vec![(12_001, "part")], 1));
    }

    #[test]
    fn silence_begins_a_session_within_a_second_and_one_that_is_silent_is_begun_anew() {
        let mut scene = Scene::new(Policy::default());
        scene.begins(1_004);
        scene.streams(1_010, 200);
        scene.broadcasts(1_020, 201);
        scene.did();
        let id = scene.live.id;
        scene.run(1_020 + 600 - 1);
        assert_eq!(scene.did(), []);
        scene.run(2_000);
        let did = scene.did();
        assert!(matches!(did[0], (1_620..=1_920, "begin fast")), "{did:?}");
        assert_ne!(scene.live.id, id, "another session");
        scene.begins(2_010);
        let id = scene.live.id;
        scene.did();
        scene.run(4_000);
        let did = scene.did();
        assert_eq!(did.iter().filter(|(_, did)| *did == "part").count(), 1, "{did:?}");
        assert_ne!(scene.live.id, id);
    }

    #[test]
    fn where_nothing_ever_answers_it_asks_once_a_second() {
        let mut scene = Scene::new(Policy::default());
        scene.run(61_000);
        let asked = scene.did().iter().filter(|(_, did)| *did == "begin").count();
        assert!((30..=65).contains(&asked), "{asked} in a minute");
    }

    #[test]
    fn without_a_burst_it_joins_at_once_and_asks_only_in_silence() {
        let mut scene = Scene::new(Policy { burst_percent: None, unicast: false });
        scene.run(1_500);
        assert_eq!(scene.did(), [(1_000, "join")]);
        scene.run(1_900);
        assert!(matches!(scene.did()[..], [(1_600..=1_900, "begin"), ..]));
    }

    #[test]
    fn unicast_joins_nothing_and_asks_again_when_it_is_refused() {
        let mut scene = Scene::new(Policy { unicast: true, ..Policy::default() });
        assert_eq!(scene.answers(1_004, LiveVerdict::Full), Heard::Full);
        scene.run(6_010);
        assert_eq!(scene.did(), [(1_000, "begin"), (6_004, "begin")]);
        scene.begins(6_020);
        scene.streams_until(6_030, 9_000);
        assert!(scene.did().iter().all(|(_, did)| *did == "keep"));
        assert_eq!(scene.answers(9_001, LiveVerdict::NoSession), Heard::Nothing);
        scene.run(9_010);
        assert_eq!(scene.did(), [(9_001, "part"), (9_001, "begin fast")]);
    }

    #[test]
    fn an_answer_that_comes_after_p6_ends_what_it_has_begun() {
        let mut scene = Scene::new(Policy::default());
        scene.run(1_150);
        scene.broadcasts(1_160, 500);
        assert_eq!(scene.did().last(), Some(&(1_160, "part")));
        let begun = LiveVerdict::Begun { ssrc: SSRC, first: 100, newest: 200 };
        assert_eq!(scene.answers(1_200, begun), Heard::Nothing);
        assert_eq!(scene.did(), [(1_200, "part")]);
        assert!(!scene.live.is_begun());
    }

    #[test]
    fn answers_to_other_sessions_are_nothing() {
        let mut scene = Scene::new(Policy::default());
        let verdict = LiveVerdict::Begun { ssrc: SSRC, first: 100, newest: 200 };
        let session = LiveId(scene.live.id.0 ^ 1);
        let answer = LiveAnswer { session, time: ClusterTime(1), verdict };
        assert_eq!(scene.live.answer(ms(1_001), &answer, &mut Vec::new()), Heard::Nothing);
        assert!(scene.live.is_asking());
    }

    #[test]
    fn a_farewell_is_said_until_the_push_server_falls_silent() {
        let mut farewell = Farewell::new(ms(0), LiveId(7), SSRC, Sequence(65_530));
        let mut said = Vec::new();
        for at in (0..400).step_by(10) {
            // What is before the seam, or of another stream, is no sign that it goes on.
            farewell.streamed(ms(at), SSRC, Sequence(65_529));
            farewell.streamed(ms(at), SSRC + 1, Sequence(3));
            if at < 200 {
                farewell.streamed(ms(at), SSRC, Sequence(3));
            }
            said.extend(farewell.poll(ms(at)).map(|order| (at, order)));
        }
        let end = (LiveId(7), LiveOrder::End { ssrc: SSRC, first: 65_530 });
        assert_eq!(said, [0, 50, 100, 150, 200].map(|at| (at, end)));
        assert_eq!((farewell.is_over(ms(749)), farewell.is_over(ms(750))), (false, true));
    }

    #[test]
    fn a_farewell_that_nobody_hears_ends_all_the_same() {
        let mut farewell = Farewell::new(ms(0), LiveId(7), SSRC, Sequence(0));
        let mut said = 0;
        for at in 0..10_000 {
            farewell.streamed(ms(at.min(5_000)), SSRC, Sequence(1));
            said += u32::from(farewell.poll(ms(at)).is_some());
        }
        assert_eq!((said, farewell.is_over(ms(10_000))), (ENDS_AT_MOST, true));
    }
}
