//! One control connection to an HDHomeRun: a tuner of it is found free, locked, tuned, told where to send, watched and given
//! back.
//!
//! ```text
//! Holder --"none"--> Lock --> Target --"none"--> Tune --> Narrow --> Send --> Watch ⟲ (filter when packets are chosen)
//!    └─ somebody's ───┴───────────┴─ Release ─> next tuner, or refused
//! close: Stop (target none) --> Untune (channel none) --> Unlock --> over
//! ```
//!
//! Who locks a tuner keeps others from it until it is given back. A lock of this host's own that an earlier run left behind is
//! taken over, since the key follows from what is wanted.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use protocols::hdhomerun::{ERROR, GETSET_REPLY, GETSET_REQUEST, LOCK_KEY, Message, NAME, VALUE};
use protocols::time::Time;
use protocols::topology::{HdhomerunChannel, HdhomerunInput};

use super::status::Status;
use crate::pids::Pids;
use crate::signal::Signal;
use crate::tuner_session::{Input, Output, TunerSession};

/// How long a device gets for an answer.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long it gets to have its tuner back.
pub const CLOSE_LIMIT: Duration = Duration::from_millis(400);
/// How often the tuner's signal is asked for, which also shows that the device lives.
pub const WATCH_EVERY: Duration = Duration::from_secs(1);
/// No device has more tuners.
pub const MAX_TUNERS: u8 = 16;
/// With more ranges of PIDs than this the whole multiplex is let through: a filter has to fit into a packet.
pub const MAX_RANGES: usize = 48;
/// Characters of a device's own words that are passed on.
const MAX_WORDS: usize = 100;

/// The session.
#[derive(Debug)]
pub struct Session {
    channel: HdhomerunChannel,
    program: Option<u16>,
    pinned: bool,
    /// Where packets are to come; its address is ours.
    target: SocketAddr,
    key: u32,
    state: State,
    held: Vec<u8>,
    asked: Option<(Step, Time)>,
    tuner: u8,
    /// What was found in use.
    busy: Vec<String>,
    /// The lock is this host's own, left behind.
    regains: bool,
    is_locked: bool,
    watch_at: Option<Time>,
    close_until: Time,
    wanted: Pids,
    /// What the tuner lets through; a tuner that was just tuned all.
    narrowed_to: Pids,
    signal: Option<Signal>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Opening,
    Playing,
    Failed,
    Closing,
    Over,
}

/// A request that waits for its answer; there is one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Holder,
    Lock,
    Target,
    Release,
    Tune,
    Narrow,
    Send,
    Watch,
    Stop,
    Untune,
    Unlock,
}

impl TunerSession for Session {
    fn handle(&mut self, now: Time, input: Input<'_>, out: &mut Vec<Output>) {
        match input {
            _ if self.state == State::Over => {}
            Input::Connected => {
                self.state = State::Opening;
                self.ask(now, Step::Holder, out);
            }
            Input::Bytes(bytes) => self.bytes(now, bytes, out),
            Input::Disconnected(why) => {
                if !matches!(self.state, State::Closing | State::Failed) {
                    self.fail(format!("the connection to the device is lost: {why}"), out);
                }
                self.state = State::Over;
                out.push(Output::Drop);
            }
            Input::Close => self.close(now, out),
            Input::Tick => self.tick(now, out),
        }
    }

    fn select(&mut self, pids: &Pids) {
        if self.program.is_none() && matches!(self.channel, HdhomerunChannel::Physical(_)) {
            self.wanted = match pids {
                Pids::Only(pids) if ranges(pids).len() <= MAX_RANGES => Pids::Only(pids.clone()),
                _ => Pids::All,
            };
        }
    }

    fn deadline(&self) -> Option<Time> {
        match self.state {
            State::Over | State::Failed | State::New => None,
            State::Closing => Some(self.close_until),
            State::Opening | State::Playing => self.asked.map(|(_, until)| until).or(self.watch_at),
        }
    }

    fn is_over(&self) -> bool {
        self.state == State::Over
    }
}

impl Session {
    /// A session that has the stream sent to `target`, an address and port of ours.
    pub fn new(input: &HdhomerunInput, target: SocketAddr) -> Self {
        Self {
            channel: input.channel.clone(),
            program: input.program,
            pinned: input.tuner.is_some(),
            target,
            key: lock_key(input, target.ip()),
            state: State::New,
            held: Vec::new(),
            asked: None,
            tuner: input.tuner.unwrap_or(0),
            busy: Vec::new(),
            regains: false,
            is_locked: false,
            watch_at: None,
            close_until: Time::ZERO,
            wanted: Pids::All,
            narrowed_to: Pids::All,
            signal: None,
        }
    }

    /// What the tuner said last of its signal.
    pub fn signal(&self) -> Option<Signal> {
        self.signal
    }

    fn bytes(&mut self, now: Time, bytes: &[u8], out: &mut Vec<Output>) {
        self.held.extend_from_slice(bytes);
        while self.state != State::Over {
            let message = match Message::len(&self.held) {
                Ok(Some(len)) if len <= self.held.len() => {
                    let packet: Vec<u8> = self.held.drain(..len).collect();
                    Message::parse(&packet)
                }
                Ok(_) => return,
                Err(_) => None,
            };
            let Some(message) = message else {
                self.held.clear();
                self.fail("it does not speak as an HDHomeRun does".into(), out);
                self.is_locked = false;
                return;
            };
            if message.kind == GETSET_REPLY {
                self.reply(now, &message, out);
            }
        }
    }

    fn reply(&mut self, now: Time, message: &Message, out: &mut Vec<Output>) {
        // Answers come in the order of the requests; a name that was not asked for belongs to none.
        let name = message.text(NAME);
        let Some((step, _)) =
            self.asked.filter(|(step, _)| name.is_none() || name == Some(&self.name(*step)))
        else {
            return;
        };
        self.asked = None;
        let answer = match message.text(ERROR) {
            Some(error) => Err(printable(error.strip_prefix("ERROR: ").unwrap_or(error))),
            None => Ok(message.text(VALUE).unwrap_or_default()),
        };
        match (self.state, answer) {
            (State::Closing, _) => self.give_back(now, step, out),
            (State::Opening, answer) => self.opened(now, step, answer, out),
            (State::Playing, answer) => self.played(now, step, answer, out),
            (State::New | State::Failed | State::Over, _) => {}
        }
    }

    fn opened(&mut self, now: Time, step: Step, answer: Result<&str, String>, out: &mut Vec<Output>) {
        let tuner = self.tuner;
        match (step, answer) {
            (Step::Holder, Err(_)) => {
                let text = if self.pinned || tuner == 0 {
                    format!("the device has no tuner{tuner}")
                } else {
                    let all = if tuner == 1 {
                        "its only tuner is".into()
                    } else {
                        format!("all {tuner} tuners are")
                    };
                    format!("{all} in use ({}); it is asked again", self.busy.join(", "))
                };
                self.fail(text, out);
            }
            (Step::Holder, Ok(holder)) => {
                self.regains = holder.parse() == Ok(self.target.ip());
                if holder == "none" || self.regains {
                    self.ask(now, Step::Lock, out);
                } else {
                    self.next_tuner(now, &format!("tuner{tuner} by {}", printable(holder)), out);
                }
            }
            (Step::Lock, Err(error)) => self.next_tuner(now, &format!("tuner{tuner}: {error}"), out),
            (Step::Lock, Ok(_)) => {
                self.is_locked = true;
                self.ask(now, if self.regains { Step::Tune } else { Step::Target }, out);
            }
            (Step::Target, Ok("none")) => self.ask(now, Step::Tune, out),
            (Step::Target, answer) => {
                self.busy.push(format!("tuner{tuner} for {}", printable(answer.unwrap_or("somebody"))));
                self.ask(now, Step::Release, out);
            }
            (Step::Release, _) => {
                self.is_locked = false;
                let used = self.busy.pop().unwrap_or_default();
                self.next_tuner(now, &used, out);
            }
            (Step::Tune, Ok(_)) if self.narrows() => self.ask(now, Step::Narrow, out),
            (Step::Tune | Step::Narrow, Ok(_)) => self.ask(now, Step::Send, out),
            (Step::Send, Ok(_)) => {
                self.state = State::Playing;
                self.watch_at = Some(now + WATCH_EVERY);
                self.choose(now, out);
            }
            (step, Err(error)) => {
                let value = self.value(step).unwrap_or_default();
                self.fail(format!("the device does not take {} `{value}`: {error}", self.name(step)), out);
            }
            (Step::Watch | Step::Stop | Step::Untune | Step::Unlock, Ok(_)) => {}
        }
    }

    fn played(&mut self, now: Time, step: Step, answer: Result<&str, String>, out: &mut Vec<Output>) {
        match (step, answer) {
            (Step::Watch, Ok(text)) => {
                self.watch_at = Some(now + WATCH_EVERY);
                match Status::parse(text) {
                    Some(status) if status.is_tuned => {
                        self.signal = Some(status.signal);
                        self.choose(now, out);
                    }
                    Some(_) => {
                        self.fail(
                            "somebody else has taken the tuner away; it is asked for again".into(),
                            out,
                        );
                    }
                    None => self.fail(format!("its status cannot be read: `{}`", printable(text)), out),
                }
            }
            (_, Ok(_)) => self.choose(now, out),
            (step, Err(error)) => self.fail(format!("the device refuses {}: {error}", self.name(step)), out),
        }
    }

    fn next_tuner(&mut self, now: Time, used: &str, out: &mut Vec<Output>) {
        if self.pinned || self.tuner + 1 >= MAX_TUNERS {
            return self.fail(format!("in use: {used}; it is asked again"), out);
        }
        self.busy.push(used.to_owned());
        self.tuner += 1;
        self.ask(now, Step::Holder, out);
    }

    fn narrows(&self) -> bool {
        self.program.is_some() || self.wanted != Pids::All
    }

    /// Has the device told of another choice of packets, unless something else is being asked.
    fn choose(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.state == State::Playing && self.asked.is_none() && self.narrowed_to != self.wanted {
            self.ask(now, Step::Narrow, out);
        }
    }

    fn tick(&mut self, now: Time, out: &mut Vec<Output>) {
        match (self.state, self.asked) {
            (State::Closing, _) if now >= self.close_until => {
                self.state = State::Over;
                out.push(Output::Drop);
            }
            (State::Opening | State::Playing, Some((_, until))) if now >= until => {
                self.fail(format!("no answer within {} s", ANSWER_LIMIT.as_secs()), out);
                self.is_locked = false;
            }
            (State::Playing, None) => {
                self.choose(now, out);
                if self.asked.is_none() && self.watch_at.is_some_and(|at| at <= now) {
                    self.ask(now, Step::Watch, out);
                }
            }
            _ => {}
        }
    }

    fn close(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.state == State::Closing {
            return;
        }
        // A lock that is being asked for may be given yet.
        let may_hold = self.is_locked || matches!(self.asked, Some((Step::Lock, _)));
        self.state = State::Closing;
        self.close_until = now + CLOSE_LIMIT;
        if may_hold {
            self.ask(now, Step::Stop, out);
        } else {
            self.state = State::Over;
            out.push(Output::Drop);
        }
    }

    /// The steps of giving a tuner back, whatever is answered.
    fn give_back(&mut self, now: Time, step: Step, out: &mut Vec<Output>) {
        match step {
            Step::Stop => self.ask(now, Step::Untune, out),
            Step::Untune => self.ask(now, Step::Unlock, out),
            _ => {
                self.state = State::Over;
                out.push(Output::Drop);
            }
        }
    }

    fn ask(&mut self, now: Time, step: Step, out: &mut Vec<Output>) {
        let mut message = Message::new(GETSET_REQUEST).with_text(NAME, &self.name(step));
        if let Some(value) = self.value(step) {
            message = message.with_text(VALUE, &value).with(LOCK_KEY, &self.key.to_be_bytes());
        }
        if step == Step::Narrow {
            self.narrowed_to = self.wanted.clone();
        }
        out.push(Output::Send(message.encode()));
        self.asked = Some((step, now + ANSWER_LIMIT));
    }

    /// The variable of a step.
    fn name(&self, step: Step) -> String {
        let item = match step {
            Step::Holder | Step::Lock | Step::Release | Step::Unlock => "lockkey",
            Step::Target | Step::Send | Step::Stop => "target",
            Step::Tune | Step::Untune => match self.channel {
                HdhomerunChannel::Physical(_) => "channel",
                HdhomerunChannel::Virtual(_) => "vchannel",
            },
            Step::Narrow if self.program.is_some() => "program",
            Step::Narrow => "filter",
            Step::Watch => "status",
        };
        format!("/tuner{}/{item}", self.tuner)
    }

    /// What a step sets; `None` where it only asks.
    fn value(&self, step: Step) -> Option<String> {
        Some(match step {
            Step::Holder | Step::Target | Step::Watch => return None,
            Step::Lock => self.key.to_string(),
            Step::Tune => match &self.channel {
                HdhomerunChannel::Physical(channel) | HdhomerunChannel::Virtual(channel) => channel.clone(),
            },
            Step::Narrow => match (self.program, &self.wanted) {
                (Some(program), _) => program.to_string(),
                (None, Pids::All) => "0x0000-0x1FFF".to_owned(),
                (None, Pids::Only(pids)) => filter(pids),
            },
            Step::Send => format!("udp://{}", self.target),
            Step::Release | Step::Stop | Step::Untune | Step::Unlock => "none".to_owned(),
        })
    }

    fn fail(&mut self, why: String, out: &mut Vec<Output>) {
        self.state = State::Failed;
        self.asked = None;
        out.push(Output::Fail(why));
    }
}

/// A key that follows from what is wanted and from whence: the same after a restart, another of another host.
fn lock_key(input: &HdhomerunInput, own: IpAddr) -> u32 {
    // FNV-1a; a lock of 0 would be none.
    let text = format!("{input} {own}");
    let hash =
        text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash | 1
}

/// First and last PIDs of what is to be let through. Without any the table of programmes still comes: a stream of nothing
/// looks like a dead one.
fn ranges(pids: &BTreeSet<u16>) -> Vec<(u16, u16)> {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for pid in pids.iter().copied() {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(pid) => *last = pid,
            _ => ranges.push((pid, pid)),
        }
    }
    if ranges.is_empty() { vec![(0, 0)] } else { ranges }
}

/// `0x0000 0x0010-0x0012`
fn filter(pids: &BTreeSet<u16>) -> String {
    let range = |(first, last): (u16, u16)| {
        if first == last { format!("0x{first:04X}") } else { format!("0x{first:04X}-0x{last:04X}") }
    };
    ranges(pids).into_iter().map(range).collect::<Vec<_>>().join(" ")
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocols::topology::InputUrl;

    use super::*;

    fn session(rest: &str) -> Session {
        let Ok(InputUrl::Hdhomerun(input)) = format!("hdhomerun://10.0.0.8/{rest}").parse() else {
            panic!("{rest}")
        };
        Session::new(&input, "10.0.0.3:5000".parse().unwrap())
    }

    fn only(pids: &[u16]) -> Pids {
        Pids::Only(pids.iter().copied().collect())
    }

    struct Talk {
        session: Session,
        now: Time,
    }

    impl Talk {
        fn begin(rest: &str) -> Self {
            let mut talk = Self { session: session(rest), now: Time::ZERO };
            let asked = talk.handle(Input::Connected);
            assert!(asked[0].starts_with("/tuner") && asked[0].ends_with("/lockkey"), "{asked:?}");
            talk
        }

        /// One that plays.
        fn playing(rest: &str) -> Self {
            let mut talk = Self::begin(rest);
            for answer in ["none", "1", "none", "8vsb:177000000", "udp://10.0.0.3:5000"] {
                assert_eq!(talk.answer(answer).len(), usize::from(!answer.starts_with("udp")), "{answer}");
            }
            talk
        }

        fn handle(&mut self, input: Input<'_>) -> Vec<String> {
            let mut out = Vec::new();
            self.session.handle(self.now, input, &mut out);
            let told = |output| match output {
                Output::Send(bytes) => {
                    let message = Message::parse(&bytes).unwrap();
                    let name = message.text(NAME).unwrap();
                    match message.text(VALUE) {
                        Some(value) => {
                            assert_eq!(message.number(LOCK_KEY), Some(self.session.key));
                            let key = self.session.key.to_string();
                            format!("{name}={}", if value == key { "KEY" } else { value })
                        }
                        None => name.to_owned(),
                    }
                }
                Output::Fail(why) => format!("failed: {why}"),
                Output::Drop => "dropped".to_owned(),
            };
            out.into_iter().map(told).collect()
        }

        fn reply(&mut self, field: u8, text: &str) -> Vec<String> {
            let name = self.session.asked.map(|(step, _)| self.session.name(step)).unwrap();
            let message = Message::new(GETSET_REPLY).with_text(NAME, &name).with_text(field, text);
            self.handle(Input::Bytes(&message.encode()))
        }

        fn answer(&mut self, value: &str) -> Vec<String> {
            self.reply(VALUE, value)
        }

        fn refuse(&mut self, error: &str) -> Vec<String> {
            self.reply(ERROR, &format!("ERROR: {error}"))
        }

        fn at(&mut self, ms: u64) -> Vec<String> {
            self.now = Time::from_ms(ms);
            self.handle(Input::Tick)
        }
    }

    #[test]
    fn a_tuner_is_locked_tuned_watched_and_given_back() {
        let mut talk = Talk::begin("auto/8vsb:177000000?program=3");
        assert_eq!(talk.answer("none"), ["/tuner0/lockkey=KEY"]);
        assert_eq!(talk.answer("1"), ["/tuner0/target"]);
        assert_eq!(talk.answer("none"), ["/tuner0/channel=8vsb:177000000"]);
        assert_eq!(talk.answer("8vsb:177000000"), ["/tuner0/program=3"]);
        assert_eq!(talk.answer("3"), ["/tuner0/target=udp://10.0.0.3:5000"]);
        assert_eq!(talk.answer("udp://10.0.0.3:5000"), [""; 0]);
        assert_eq!(talk.session.deadline(), Some(Time::from_ms(1000)));
        assert_eq!(talk.at(1000), ["/tuner0/status"]);
        assert_eq!(talk.answer("ch=8vsb:177000000 lock=8vsb ss=83 snq=90 seq=100"), [""; 0]);
        let signal = Signal { lock: true, strength_percent: Some(83), quality_percent: Some(90) };
        assert_eq!(talk.session.signal(), Some(signal));
        assert_eq!(talk.session.deadline(), Some(Time::from_ms(2000)));
        assert_eq!(talk.handle(Input::Close), ["/tuner0/target=none"]);
        assert_eq!(talk.answer("none"), ["/tuner0/channel=none"]);
        assert_eq!(talk.answer("none"), ["/tuner0/lockkey=none"]);
        assert_eq!(talk.answer("none"), ["dropped"]);
        assert!(talk.session.is_over());
    }

    #[test]
    fn a_tuner_that_somebody_has_is_passed_over() {
        let mut talk = Talk::begin("v5.1");
        assert_eq!(talk.answer("10.0.0.9"), ["/tuner1/lockkey"]);
        assert_eq!(talk.answer("none"), ["/tuner1/lockkey=KEY"]);
        assert_eq!(talk.answer("1"), ["/tuner1/target"]);
        // Somebody who does not lock.
        assert_eq!(talk.answer("udp://10.0.0.9:6000"), ["/tuner1/lockkey=none"]);
        assert_eq!(talk.answer("none"), ["/tuner2/lockkey"]);
        assert_eq!(talk.answer("none"), ["/tuner2/lockkey=KEY"]);
        assert_eq!(talk.refuse("resource locked by 10.0.0.7"), ["/tuner3/lockkey"]);
        let told = talk.refuse("unknown getset variable");
        let used = "tuner0 by 10.0.0.9, tuner1 for udp://10.0.0.9:6000, tuner2: resource locked by 10.0.0.7";
        assert_eq!(told, [format!("failed: all 3 tuners are in use ({used}); it is asked again")]);
        assert_eq!(talk.handle(Input::Close), ["dropped"]);
    }

    #[test]
    fn a_tuner_that_is_asked_for_by_number_is_not_exchanged() {
        let mut talk = Talk::begin("tuner1/v5.1");
        assert_eq!(talk.answer("10.0.0.9"), ["failed: in use: tuner1 by 10.0.0.9; it is asked again"]);
        let mut talk = Talk::begin("tuner7/v5.1");
        assert_eq!(talk.refuse("unknown getset variable"), ["failed: the device has no tuner7"]);
    }

    #[test]
    fn a_lock_that_an_earlier_run_left_is_taken_over() {
        let mut talk = Talk::begin("v5.1");
        assert_eq!(talk.answer("10.0.0.3"), ["/tuner0/lockkey=KEY"]);
        assert_eq!(talk.answer("1"), ["/tuner0/vchannel=5.1"]);
        assert_eq!(session("v5.1").key, talk.session.key);
        assert_ne!(session("v5.2").key, talk.session.key);
    }

    #[test]
    fn packets_are_chosen_one_request_at_a_time() {
        let mut talk = Talk::playing("8vsb:177000000");
        talk.session.select(&only(&[0, 0x10, 0x11, 0x12, 0x1fff]));
        assert_eq!(talk.at(1), ["/tuner0/filter=0x0000 0x0010-0x0012 0x1FFF"]);
        talk.session.select(&only(&[]));
        assert_eq!(talk.at(2), [""; 0]);
        assert_eq!(talk.answer(""), ["/tuner0/filter=0x0000"]);
        talk.session.select(&only(&(0..200).step_by(2).collect::<Vec<u16>>()));
        assert_eq!(talk.answer(""), ["/tuner0/filter=0x0000-0x1FFF"]);
        assert_eq!(talk.answer(""), [""; 0]);
        let mut talk = Talk::playing("v5.1");
        talk.session.select(&only(&[0]));
        assert_eq!(talk.at(1), [""; 0], "the device takes its programme out by itself");
    }

    #[test]
    fn failures_say_what_happened_and_what_is_held_is_given_back() {
        let mut talk = Talk::begin("8vsb:177000000");
        for answer in ["none", "1", "none"] {
            talk.answer(answer);
        }
        let told = talk.refuse("invalid channel");
        assert_eq!(
            told,
            ["failed: the device does not take /tuner0/channel `8vsb:177000000`: invalid channel"]
        );
        assert_eq!(talk.session.deadline(), None);
        assert_eq!(talk.handle(Input::Close), ["/tuner0/target=none"]);
        assert_eq!(talk.at(400), ["dropped"], "a device that is gone is not waited for");

        let mut talk = Talk::playing("8vsb:177000000");
        talk.at(1000);
        let told = talk.answer("ch=none lock=none ss=0 snq=0 seq=0");
        assert_eq!(told, ["failed: somebody else has taken the tuner away; it is asked for again"]);
        let mut talk = Talk::playing("8vsb:177000000");
        talk.at(1000);
        assert_eq!(talk.at(6000), ["failed: no answer within 5 s"]);
        let mut talk = Talk::playing("8vsb:177000000");
        let told = talk.handle(Input::Disconnected("reset"));
        assert_eq!(told, ["failed: the connection to the device is lost: reset", "dropped"]);
        let mut talk = Talk::begin("8vsb:177000000");
        let told = talk.handle(Input::Bytes(b"RTSP/1.0 400 Bad Request\r\n\r\n"));
        assert_eq!(told, ["failed: it does not speak as an HDHomeRun does"]);
    }

    #[test]
    fn a_lock_that_is_being_asked_for_is_given_back() {
        let mut talk = Talk::begin("8vsb:177000000");
        talk.answer("none");
        assert_eq!(talk.handle(Input::Close), ["/tuner0/target=none"]);
    }

    proptest! {
        #[test]
        fn no_device_makes_it_panic(steps in proptest::collection::vec((0_u8..8, 0_u64..8_000), 0..60)) {
            let mut session = session("auto/8vsb:1");
            let (mut now, mut out) = (Time::ZERO, Vec::new());
            session.handle(now, Input::Connected, &mut out);
            for (step, ms) in steps {
                now += Duration::from_millis(ms);
                let name = session.asked.map(|(step, _)| session.name(step)).unwrap_or_default();
                let value = ["none", "10.0.0.9", "ch=a:1 lock=a", "10.0.0.3", ""][usize::try_from(ms % 5).unwrap()];
                let field = if step == 1 { ERROR } else { VALUE };
                let reply = Message::new(GETSET_REPLY).with_text(NAME, &name).with_text(field, value).encode();
                match step {
                    0 => session.handle(now, Input::Tick, &mut out),
                    1..=3 => session.handle(now, Input::Bytes(&reply), &mut out),
                    4 => session.handle(now, Input::Bytes(&reply[..reply.len() / 2]), &mut out),
                    5 => session.select(&only(&[1, 7])),
                    6 => session.handle(now, Input::Close, &mut out),
                    _ => session.handle(now, Input::Disconnected("x"), &mut out),
                }
                if let Some(at) = session.deadline() && at <= now {
                    session.handle(now, Input::Tick, &mut out);
                    prop_assert!(session.deadline().is_none_or(|at| at > now), "a deadline passes");
                }
            }
            let drops = out.iter().filter(|output| matches!(output, Output::Drop)).count();
            prop_assert!(drops <= 1, "a session ends once");
        }
    }
}
