//! One session with a SAT>IP server: a tuner of it is taken, tuned, told which packets to send, kept and given back.
//!
//! ```text
//! New --SETUP--> SettingUp --PLAY--> Starting --200--> Playing --OPTIONS, PLAY?addpids=…--> Playing
//!                    └──────────────────┴──────────────────┴─ close --TEARDOWN--> Closing --200, CLOSE_LIMIT--> Over
//! any: refusal, silence --> Failed --close--> Closing, or Over where no tuner is held
//! any: connection lost --> Over
//! ```
//!
//! A session that failed is closed, and whoever held it opens another, as after a server's restart (status 454 or a lost
//! connection) or when all tuners were busy (503).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use protocols::time::Time;
use protocols::topology::{SatipInput, SatipPids};

use super::rtsp::{Request, Response, Responses};
use crate::pids::Pids;
use crate::tuner_session::{Input, Output, TunerSession};

/// How long a server gets for a response: some look for the signal first.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How long it gets for its last, when the tuner is given back.
pub const CLOSE_LIMIT: Duration = Duration::from_millis(400);
/// A session without another word ends after this, where the server names no time (RFC 2326 §12.37).
pub const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);
/// The shortest and the longest time between two words: half of the session's timeout, within these.
pub const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// With more PIDs than this the whole multiplex is asked for: tuners have so many filters, and requests an end.
pub const MAX_SELECTED_PIDS: usize = 64;
/// Characters of a server's own words that are passed on.
const MAX_WORDS: usize = 100;

/// The session.
#[derive(Debug)]
pub struct Session {
    /// `rtsp://HOST[:PORT]/`.
    base: String,
    tuning: String,
    transport: String,
    /// The URL names the packets, so that [`Session::select`] changes nothing.
    is_fixed: bool,
    state: State,
    responses: Responses,
    last_sequence: u32,
    asked: Option<Asked>,
    /// What the server calls this session, and its stream.
    id: Option<String>,
    stream: Option<String>,
    source: Option<IpAddr>,
    keep_alive_every: Duration,
    keep_alive_at: Option<Time>,
    wanted: Pids,
    /// What the server was asked for last.
    asked_for: Pids,
    /// The next choice of packets goes out whole: what was to change of the one before was refused.
    whole: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    SettingUp,
    Starting,
    Playing,
    Failed,
    Closing,
    Over,
}

/// The request that waits for its response; there is one at a time.
#[derive(Debug, Clone, Copy)]
struct Asked {
    what: What,
    sequence: u32,
    until: Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    SetUp,
    Play,
    Choose,
    KeepAlive,
    TearDown,
}

impl What {
    fn method(self) -> &'static str {
        match self {
            Self::SetUp => "SETUP",
            Self::Play | Self::Choose => "PLAY",
            Self::KeepAlive => "OPTIONS",
            Self::TearDown => "TEARDOWN",
        }
    }
}

impl TunerSession for Session {
    fn handle(&mut self, now: Time, input: Input<'_>, out: &mut Vec<Output>) {
        match input {
            _ if self.state == State::Over => {}
            Input::Connected => self.set_up(now, out),
            Input::Bytes(_) | Input::Tick if self.state == State::Failed => {}
            Input::Bytes(bytes) => self.bytes(now, bytes, out),
            Input::Disconnected(why) if !matches!(self.state, State::Closing | State::Failed) => {
                self.fail(format!("the connection to the server is lost: {why}"), out);
                self.state = State::Over;
            }
            Input::Disconnected(_) => self.drop_connection(out),
            Input::Close => self.close(now, out),
            Input::Tick => self.tick(now, out),
        }
    }

    fn select(&mut self, pids: &Pids) {
        if !self.is_fixed {
            self.wanted = match pids {
                Pids::Only(pids) if pids.len() <= MAX_SELECTED_PIDS => Pids::Only(pids.clone()),
                _ => Pids::All,
            };
        }
    }

    fn deadline(&self) -> Option<Time> {
        match (self.state, self.asked) {
            (State::Failed | State::Over, _) => None,
            (_, Some(asked)) => Some(asked.until),
            (_, None) => self.keep_alive_at,
        }
    }

    fn is_over(&self) -> bool {
        self.state == State::Over
    }
}

impl Session {
    /// A session whose packets are to come to UDP port `client_port`, reports to the one above it.
    pub fn new(input: &SatipInput, client_port: u16) -> Self {
        let wanted = match &input.pids {
            Some(SatipPids::Only(pids)) => Pids::Only(pids.clone()),
            Some(SatipPids::All) | None => Pids::All,
        };
        let ports = format!("{client_port}-{}", client_port.saturating_add(1));
        Self {
            base: format!("rtsp://{}/", input.server.authority(554)),
            tuning: input.tuning.clone(),
            transport: format!("RTP/AVP;unicast;client_port={ports}"),
            is_fixed: input.pids.is_some(),
            state: State::New,
            responses: Responses::default(),
            last_sequence: 0,
            asked: None,
            id: None,
            stream: None,
            source: None,
            keep_alive_every: DEFAULT_TIMEOUT / 2,
            keep_alive_at: None,
            asked_for: wanted.clone(),
            wanted,
            whole: false,
        }
    }

    /// Whence packets come, where the server says that it is another address than its own.
    pub fn source(&self) -> Option<IpAddr> {
        self.source
    }

    fn set_up(&mut self, now: Time, out: &mut Vec<Output>) {
        self.state = State::SettingUp;
        self.asked_for = self.wanted.clone();
        let url = format!("{}?{}&{}", self.base, self.tuning, whole_choice(&self.asked_for));
        self.ask(now, What::SetUp, &url, out);
    }

    fn bytes(&mut self, now: Time, bytes: &[u8], out: &mut Vec<Output>) {
        self.responses.push(bytes);
        while !matches!(self.state, State::Failed | State::Over) {
            match self.responses.take() {
                Ok(Some(response)) => self.response(now, &response, out),
                Ok(None) => break,
                Err(_) if self.state == State::Closing => self.drop_connection(out),
                Err(error) => self.fail(error.to_string(), out),
            }
        }
    }

    fn response(&mut self, now: Time, response: &Response, out: &mut Vec<Output>) {
        // One to a request that nobody waits for any more, or a request of the server's own.
        let Some(asked) = self.asked.take_if(|asked| response.sequence() == Some(asked.sequence)) else {
            return;
        };
        if asked.what == What::SetUp && response.is_success() {
            self.remember(response);
        }
        if self.state == State::Closing {
            // What was asked before the end came; now the tuner can be given back, or has been.
            match asked.what {
                What::TearDown => self.drop_connection(out),
                _ => self.tear_down(now, out),
            }
            return;
        }
        if !response.is_success() {
            return self.refused(now, asked.what, response, out);
        }
        self.keep_alive_at = Some(now + self.keep_alive_every);
        match asked.what {
            What::SetUp => match (&self.id, self.stream_url()) {
                (Some(_), Some(url)) => {
                    self.state = State::Starting;
                    self.ask(now, What::Play, &url, out);
                }
                _ => self.fail(
                    "the server's SETUP names no session or no stream: it is no SAT>IP server".into(),
                    out,
                ),
            },
            What::Play => {
                self.state = State::Playing;
                self.choose(now, out);
            }
            What::Choose | What::KeepAlive | What::TearDown => self.choose(now, out),
        }
    }

    fn remember(&mut self, response: &Response) {
        let session = response.field("session").unwrap_or_default();
        let mut parts = session.split(';').map(str::trim);
        self.id = parts.next().filter(is_token).map(str::to_owned);
        self.stream = response.field("com.ses.streamid").filter(is_token).map(str::to_owned);
        let timeout =
            parts.find_map(|part| part.strip_prefix("timeout=")?.parse().ok().map(Duration::from_secs));
        let (least, most) = KEEP_ALIVE;
        self.keep_alive_every = (timeout.unwrap_or(DEFAULT_TIMEOUT) / 2).clamp(least, most);
        let transport = response.field("transport").unwrap_or_default();
        self.source = transport.split(';').find_map(|part| part.trim().strip_prefix("source=")?.parse().ok());
    }

    fn refused(&mut self, now: Time, what: What, response: &Response, out: &mut Vec<Output>) {
        let Response { status, reason, .. } = response;
        if what == What::Choose && *status != 454 && !self.whole {
            // Some servers take lists only.
            self.whole = true;
            return self.choose(now, out);
        }
        let detail: String =
            response.body.trim().chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect();
        let words = if detail.is_empty() { reason.clone() } else { format!("{reason}: {detail}") };
        let words: String = words.chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect();
        let method = what.method();
        let text = match status {
            503 => format!("all tuners of the server are busy ({status} {words}); it is asked again"),
            453 => format!("the server has no bandwidth left ({status} {words})"),
            454 => format!(
                "the server knows the session no longer ({status}): it was restarted, or took the tuner back"
            ),
            404 => {
                format!("the server has no such tuner or source ({status} {words}): check src, fe and msys")
            }
            400 | 403 | 405 | 406 => {
                format!("the server does not take these parameters ({status} {words}): check the input's URL")
            }
            _ => format!("the server refuses {method} ({status} {words})"),
        };
        self.fail(text, out);
    }

    /// Has the server told of another choice of packets, unless something else is being asked.
    fn choose(&mut self, now: Time, out: &mut Vec<Output>) {
        let has_to = self.asked_for != self.wanted || self.whole;
        if self.state != State::Playing || self.asked.is_some() || !has_to {
            return;
        }
        let Some(stream) = self.stream_url() else { return };
        let query = match (&self.asked_for, &self.wanted) {
            (Pids::Only(had), Pids::Only(wanted)) if !self.whole => changes(had, wanted),
            _ => whole_choice(&self.wanted),
        };
        self.asked_for = self.wanted.clone();
        self.ask(now, What::Choose, &format!("{stream}?{query}"), out);
    }

    fn tick(&mut self, now: Time, out: &mut Vec<Output>) {
        if let Some(asked) = self.asked {
            if now >= asked.until && self.state == State::Closing {
                self.drop_connection(out);
            } else if now >= asked.until {
                let method = asked.what.method();
                self.fail(format!("no answer to {method} within {} s", ANSWER_LIMIT.as_secs()), out);
            }
            return;
        }
        self.choose(now, out);
        if self.asked.is_none() && self.keep_alive_at.is_some_and(|at| at <= now) {
            let url = self.base.clone();
            self.ask(now, What::KeepAlive, &url, out);
        }
    }

    fn close(&mut self, now: Time, out: &mut Vec<Output>) {
        match self.state {
            State::Closing | State::Over => {}
            State::New => self.drop_connection(out),
            // Whether there is a tuner to be given back is known with the response.
            State::SettingUp => {
                self.state = State::Closing;
                if let Some(asked) = &mut self.asked {
                    asked.until = now + CLOSE_LIMIT;
                }
            }
            State::Starting | State::Playing | State::Failed => {
                self.state = State::Closing;
                self.tear_down(now, out);
            }
        }
    }

    fn tear_down(&mut self, now: Time, out: &mut Vec<Output>) {
        match self.stream_url().filter(|_| self.id.is_some()) {
            Some(url) => {
                self.ask(now, What::TearDown, &url, out);
                if let Some(asked) = &mut self.asked {
                    asked.until = now + CLOSE_LIMIT;
                }
            }
            None => self.drop_connection(out),
        }
    }

    fn ask(&mut self, now: Time, what: What, url: &str, out: &mut Vec<Output>) {
        self.last_sequence = self.last_sequence.wrapping_add(1);
        let sequence = self.last_sequence;
        let transport = (what == What::SetUp).then_some(self.transport.as_str());
        let request =
            Request { method: what.method(), url, sequence, session: self.id.as_deref(), transport };
        out.push(Output::Send(request.encode()));
        self.whole &= what != What::Choose;
        self.asked = Some(Asked { what, sequence, until: now + ANSWER_LIMIT });
    }

    fn stream_url(&self) -> Option<String> {
        self.stream.as_ref().map(|stream| format!("{}stream={stream}", self.base))
    }

    fn fail(&mut self, why: String, out: &mut Vec<Output>) {
        self.state = State::Failed;
        self.asked = None;
        out.push(Output::Fail(why));
    }

    fn drop_connection(&mut self, out: &mut Vec<Output>) {
        self.state = State::Over;
        out.push(Output::Drop);
    }
}

fn is_token(text: &&str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';')
}

/// `pids=…`: all there is to be. Without any the table of programmes still comes: a stream of nothing looks like a dead one.
fn whole_choice(pids: &Pids) -> String {
    match pids {
        Pids::All => "pids=all".to_owned(),
        Pids::Only(pids) if pids.is_empty() => "pids=0".to_owned(),
        Pids::Only(pids) => format!("pids={}", list(pids.iter())),
    }
}

/// `addpids=…&delpids=…`: what is to change (specification §3.5.7).
fn changes(had: &BTreeSet<u16>, wanted: &BTreeSet<u16>) -> String {
    if had.is_empty() || wanted.is_empty() {
        return whole_choice(&Pids::Only(wanted.clone()));
    }
    let parts = [("addpids", list(wanted.difference(had))), ("delpids", list(had.difference(wanted)))];
    let parts =
        parts.iter().filter(|(_, list)| !list.is_empty()).map(|(name, list)| format!("{name}={list}"));
    parts.collect::<Vec<_>>().join("&")
}

fn list<'a>(pids: impl Iterator<Item = &'a u16>) -> String {
    pids.map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protocols::topology::InputUrl;

    use super::*;

    const SETUP: &str =
        "Session: 0521;timeout=30\r\ncom.ses.streamID: 7\r\nTransport: RTP/AVP;unicast;source=10.0.0.9";

    fn input(url: &str) -> SatipInput {
        match url.parse() {
            Ok(InputUrl::Satip(input)) => input,
            other => panic!("{other:?}"),
        }
    }

    fn only(pids: &[u16]) -> Pids {
        Pids::Only(pids.iter().copied().collect())
    }

    /// A session, and the requests that it makes: the first line of each.
    struct Talk {
        session: Session,
        now: Time,
    }

    impl Talk {
        fn begin(url: &str) -> Self {
            let mut session = Session::new(&input(url), 5000);
            let mut out = Vec::new();
            session.handle(Time::ZERO, Input::Connected, &mut out);
            assert_eq!(out.len(), 1);
            Self { session, now: Time::ZERO }
        }

        /// One that plays.
        fn playing() -> Self {
            let mut talk = Self::begin("satip://10.0.0.7/?src=1&freq=11494&msys=dvbs2");
            assert_eq!(talk.answer(200, SETUP), ["PLAY rtsp://10.0.0.7/stream=7"]);
            assert_eq!(talk.answer(200, ""), [""; 0]);
            talk
        }

        fn handle(&mut self, input: Input<'_>) -> Vec<String> {
            let mut out = Vec::new();
            self.session.handle(self.now, input, &mut out);
            let told = |output| match output {
                Output::Send(bytes) => {
                    let text = String::from_utf8(bytes).unwrap();
                    assert_eq!(text.contains("\r\nSession: 0521\r\n"), self.session.id.is_some(), "{text}");
                    text.lines().next().unwrap().strip_suffix(" RTSP/1.0").unwrap().to_owned()
                }
                Output::Fail(why) => format!("failed: {why}"),
                Output::Drop => "dropped".to_owned(),
            };
            out.into_iter().map(told).collect()
        }

        fn answer(&mut self, status: u16, fields: &str) -> Vec<String> {
            let sequence = self.session.last_sequence;
            let fields = if fields.is_empty() { String::new() } else { format!("{fields}\r\n") };
            let text = format!("RTSP/1.0 {status} Word\r\nCSeq: {sequence}\r\n{fields}\r\n");
            self.handle(Input::Bytes(text.as_bytes()))
        }

        fn at(&mut self, ms: u64) -> Vec<String> {
            self.now = Time::from_ms(ms);
            self.handle(Input::Tick)
        }
    }

    #[test]
    fn one_that_fails_with_a_tuner_gives_it_back_once() {
        let begin = || Talk::begin("satip://10.0.0.7/?src=1&freq=11494&msys=dvbs2");
        let mut talk = begin();
        assert!(talk.answer(503, "")[0].starts_with("failed: "));
        assert_eq!(talk.handle(Input::Close), ["dropped"], "it has none yet");
        let mut talk = begin();
        assert_eq!(talk.answer(200, SETUP), ["PLAY rtsp://10.0.0.7/stream=7"]);
        let failed = talk.answer(500, "");
        assert!(failed.len() == 1 && failed[0].starts_with("failed: "), "{failed:?}");
        assert_eq!((talk.session.is_over(), talk.session.deadline()), (false, None));
        assert_eq!(talk.handle(Input::Close), ["TEARDOWN rtsp://10.0.0.7/stream=7"]);
        assert_eq!(talk.handle(Input::Close), [""; 0]);
        assert_eq!(talk.answer(200, ""), ["dropped"]);
        assert!(talk.session.is_over());
    }

    #[test]
    fn a_tuner_is_set_up_played_kept_and_given_back() {
        let url = "satip://10.0.0.7:8554/?src=1&freq=11494&msys=dvbs2&pids=0,16";
        let mut session = Session::new(&input(url), 5000);
        let mut out = Vec::new();
        session.handle(Time::ZERO, Input::Connected, &mut out);
        let Some(Output::Send(bytes)) = out.pop() else { panic!() };
        let text = String::from_utf8(bytes).unwrap();
        let line = "SETUP rtsp://10.0.0.7:8554/?src=1&freq=11494&msys=dvbs2&pids=0,16 RTSP/1.0\r\n";
        assert!(
            text.starts_with(line) && text.contains("RTP/AVP;unicast;client_port=5000-5001\r\n"),
            "{text}"
        );

        let mut talk = Talk::playing();
        assert_eq!(talk.session.source(), Some("10.0.0.9".parse().unwrap()));
        assert_eq!(talk.session.deadline(), Some(Time::from_ms(15_000)));
        assert_eq!(talk.at(15_000), ["OPTIONS rtsp://10.0.0.7/"]);
        assert_eq!(talk.answer(200, ""), [""; 0]);
        assert_eq!(talk.session.deadline(), Some(Time::from_ms(30_000)));
        assert_eq!(talk.handle(Input::Close), ["TEARDOWN rtsp://10.0.0.7/stream=7"]);
        assert_eq!(talk.answer(200, ""), ["dropped"]);
        assert_eq!(talk.session.deadline(), None);
    }

    #[test]
    fn packets_are_chosen_one_request_at_a_time() {
        let mut talk = Talk::playing();
        talk.session.select(&only(&[0, 16]));
        assert_eq!(talk.at(1), ["PLAY rtsp://10.0.0.7/stream=7?pids=0,16"]);
        talk.session.select(&only(&[0, 100]));
        assert_eq!(talk.at(2), [""; 0]);
        talk.session.select(&only(&[0, 100, 101]));
        assert_eq!(talk.answer(200, ""), ["PLAY rtsp://10.0.0.7/stream=7?addpids=100,101&delpids=16"]);
        assert_eq!(talk.answer(200, ""), [""; 0]);
        talk.session.select(&only(&[0]));
        assert_eq!(talk.at(3), ["PLAY rtsp://10.0.0.7/stream=7?delpids=100,101"]);
        assert_eq!(talk.answer(200, ""), [""; 0]);
        talk.session.select(&only(&(0..=64).collect::<Vec<u16>>()));
        assert_eq!(talk.at(4), ["PLAY rtsp://10.0.0.7/stream=7?pids=all"]);
    }

    #[test]
    fn a_server_that_takes_lists_only_gets_lists() {
        let mut talk = Talk::playing();
        talk.session.select(&only(&[0]));
        talk.at(1);
        talk.answer(200, "");
        talk.session.select(&only(&[0, 5]));
        assert_eq!(talk.at(2), ["PLAY rtsp://10.0.0.7/stream=7?addpids=5"]);
        assert_eq!(talk.answer(400, ""), ["PLAY rtsp://10.0.0.7/stream=7?pids=0,5"]);
        assert_eq!(talk.answer(200, ""), [""; 0]);
        assert_eq!(talk.session.deadline(), Some(Time::from_ms(15_002)));
    }

    #[test]
    fn what_the_url_chooses_stays_chosen() {
        let mut talk = Talk::begin("satip://10.0.0.7/?freq=514&msys=dvbt&pids=all");
        talk.answer(200, SETUP);
        talk.session.select(&only(&[0]));
        assert_eq!(talk.answer(200, ""), [""; 0]);
    }

    #[test]
    fn refusals_say_what_to_do() {
        for (status, words) in [
            (503, "all tuners of the server are busy (503 Word)"),
            (404, "check src, fe and msys"),
            (403, "check the input's URL"),
            (454, "knows the session no longer"),
            (461, "refuses SETUP (461 Word)"),
        ] {
            let mut talk = Talk::begin("satip://10.0.0.7/?freq=514&msys=dvbt");
            let told = talk.answer(status, "");
            assert!(told[0].starts_with("failed: ") && told[0].contains(words), "{told:?}");
        }
        let mut talk = Talk::begin("satip://10.0.0.7/?freq=514&msys=dvbt");
        let busy =
            b"RTSP/1.0 503 Service Unavailable\r\nCSeq: 1\r\nContent-Length: 18\r\n\r\nNo-More: frontends";
        let told = talk.handle(Input::Bytes(busy));
        assert!(told[0].contains("(503 Service Unavailable: No-More: frontends)"), "{told:?}");
        let mut talk = Talk::begin("satip://10.0.0.7/?freq=514&msys=dvbt");
        assert!(talk.answer(200, "Session: 0521")[0].contains("no SAT>IP server"));
    }

    #[test]
    fn a_server_that_restarts_or_falls_silent_ends_the_session() {
        let mut talk = Talk::playing();
        talk.at(15_000);
        assert!(talk.answer(454, "")[0].starts_with("failed: the server knows the session no longer"));
        let mut talk = Talk::playing();
        talk.at(15_000);
        assert_eq!(talk.session.deadline(), Some(Time::from_ms(25_000)));
        assert_eq!(talk.at(25_000), ["failed: no answer to OPTIONS within 10 s"]);
        let mut talk = Talk::playing();
        let told = talk.handle(Input::Disconnected("reset"));
        assert_eq!(told, ["failed: the connection to the server is lost: reset"]);
        assert_eq!(talk.handle(Input::Close), [""; 0], "there is nothing left to give back");
    }

    #[test]
    fn a_tuner_is_given_back_also_when_it_has_just_been_asked_for() {
        let mut talk = Talk::begin("satip://10.0.0.7/?freq=514&msys=dvbt");
        assert_eq!(talk.handle(Input::Close), [""; 0]);
        assert_eq!(talk.answer(200, SETUP), ["TEARDOWN rtsp://10.0.0.7/stream=7"]);
        assert_eq!(talk.at(400), ["dropped"], "a server that is gone is not waited for");
        let mut talk = Talk::begin("satip://10.0.0.7/?freq=514&msys=dvbt");
        talk.handle(Input::Close);
        assert_eq!(talk.answer(503, ""), ["dropped"]);
        let mut talk = Talk::playing();
        talk.handle(Input::Close);
        assert_eq!(talk.handle(Input::Disconnected("gone")), ["dropped"]);
    }

    proptest! {
        #[test]
        fn no_server_makes_it_panic(steps in proptest::collection::vec((0_u8..7, 0_u64..20_000), 0..40)) {
            let mut session = Session::new(&input("satip://h/?freq=1&msys=dvbt"), 65_534);
            let (mut now, mut out) = (Time::ZERO, Vec::new());
            session.handle(now, Input::Connected, &mut out);
            for (step, ms) in steps {
                now += Duration::from_millis(ms);
                let status = [200, 503, 454][usize::try_from(ms % 3).unwrap()];
                let sequence = session.last_sequence;
                let text = format!("RTSP/1.0 {status} x\r\nCSeq: {sequence}\r\n{SETUP}\r\n\r\n");
                let bytes = text.as_bytes();
                match step {
                    0 => session.handle(now, Input::Tick, &mut out),
                    1 => session.handle(now, Input::Bytes(bytes), &mut out),
                    2 => session.handle(now, Input::Bytes(&bytes[..bytes.len() / 2]), &mut out),
                    3 => session.handle(now, Input::Close, &mut out),
                    4 => session.handle(now, Input::Disconnected("x"), &mut out),
                    _ => session.select(&only(&[u16::from(step), 5])),
                }
                if let Some(at) = session.deadline() && at <= now {
                    session.handle(now, Input::Tick, &mut out);
                    prop_assert!(session.deadline().is_none_or(|at| at > now), "a deadline passes");
                }
            }
            let failures = out.iter().filter(|output| matches!(output, Output::Fail(_))).count();
            let ends = out.iter().filter(|output| matches!(output, Output::Drop)).count();
            prop_assert!(failures <= 1 && ends <= 1, "a session fails once and ends once");
        }
    }
}
