//! A SAT>IP server: tuners of invented transponders, RTSP, RTP, and reports of the signal (SAT>IP specification 1.2.2).
//!
//! VLC and VDR's SAT>IP plugin take it for one (`tests/live/satip.rs`); what they accept is what our own client is judged by.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::acceptor::Acceptor;
use crate::broadcast::Broadcast;

/// RTP packets hold so many transport packets at most.
const PACKETS_PER_DATAGRAM: usize = 7;
/// Packets that wait for others to fill a datagram go out after this.
const FLUSH: Duration = Duration::from_millis(20);
/// How often the signal is reported.
const REPORT_EVERY: Duration = Duration::from_millis(200);

/// The server. Everything of it ends when this goes.
#[derive(Debug)]
pub struct SatipServer {
    shared: Arc<Shared>,
    acceptor: Acceptor,
}

#[derive(Debug)]
struct Shared {
    broadcast: Broadcast,
    tuners: usize,
    timeout: Duration,
    over: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sessions: Vec<Session>,
    requests: Vec<String>,
    last_id: u32,
}

/// A tuner that somebody has.
#[derive(Debug)]
struct Session {
    id: u32,
    query: String,
    frequency: String,
    /// `None`: the whole multiplex.
    pids: Option<BTreeSet<u16>>,
    to: SocketAddr,
    plays: bool,
    heard: Instant,
}

impl SatipServer {
    /// Listens at `address`:`port`, in the network of the calling thread, with so many tuners of what is `broadcast`.
    /// A session ends `timeout` after its client's last word.
    pub fn start(at: (Ipv4Addr, u16), broadcast: Broadcast, tuners: usize, timeout: Duration) -> Self {
        let listener = TcpListener::bind(at).unwrap_or_else(|error| panic!("{at:?}: {error}"));
        let state = Mutex::default();
        let shared = Arc::new(Shared { broadcast, tuners, timeout, over: AtomicBool::new(false), state });
        let acceptor = Acceptor::start(listener, {
            let shared = shared.clone();
            move |stream, peer| converse(&shared, stream, peer)
        });
        Self { shared, acceptor }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.acceptor.address()
    }

    /// The first lines of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.shared.state().requests.clone()
    }

    /// Tuners that somebody has.
    pub fn taken(&self) -> usize {
        self.shared.state().sessions.len()
    }

    /// As a server does that restarts: forgets all sessions and breaks all connections.
    pub fn restart(&self) {
        let mut state = self.shared.state();
        state.sessions.clear();
        self.acceptor.break_connections();
    }

    /// As a server does that takes its tuners back: forgets all sessions; connections stay.
    pub fn forget(&self) {
        self.shared.state().sessions.clear();
    }
}

impl Drop for SatipServer {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// One connection. Sessions outlive it, as the specification has it.
fn converse(shared: &Arc<Shared>, mut stream: TcpStream, peer: SocketAddr) {
    let Ok(reading) = stream.try_clone() else { return };
    let mut lines = BufReader::new(reading).lines();
    let mut head: Vec<String> = Vec::new();
    while let Some(Ok(line)) = lines.next() {
        if !line.is_empty() {
            head.push(line);
            continue;
        }
        let answer = answer(shared, &head, peer);
        head.clear();
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn answer(shared: &Arc<Shared>, head: &[String], peer: SocketAddr) -> String {
    let first = head.first().cloned().unwrap_or_default();
    let mut words = first.split(' ');
    let (method, url) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let field = |name: &str| {
        head.iter().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    let query = url.split_once('?').map_or("", |(_, query)| query).to_owned();
    let wanted: Option<u32> =
        field("session").and_then(|id| id.split(';').next().and_then(|id| id.trim().parse().ok()));
    let mut state = shared.state();
    state.requests.push(first.clone());
    if let Some(session) = state.sessions.iter_mut().find(|session| Some(session.id) == wanted) {
        session.heard = Instant::now();
    } else if wanted.is_some() {
        return response(454, "Session Not Found", &field, "", "");
    }
    match method {
        "OPTIONS" => response(200, "OK", &field, "Public: OPTIONS, SETUP, PLAY, TEARDOWN, DESCRIBE\r\n", ""),
        "DESCRIBE" => describe(shared, &state, peer, &field),
        "SETUP" => set_up(shared, &mut state, (wanted, query), peer, &field),
        "PLAY" => {
            let Some(session) = state.sessions.iter_mut().find(|session| Some(session.id) == wanted) else {
                return response(454, "Session Not Found", &field, "", "");
            };
            if let Err(why) = session.choose(&query) {
                return response(400, "Bad Request", &field, "", &format!("Check-Syntax: {why}"));
            }
            let (id, begins) = (session.id, !session.plays);
            session.plays = true;
            if begins {
                let shared = shared.clone();
                std::thread::spawn(move || play(&shared, id));
            }
            response(200, "OK", &field, &format!("Session: {id}\r\nRTP-Info: url={url}\r\n"), "")
        }
        "TEARDOWN" => {
            state.sessions.retain(|session| Some(session.id) != wanted);
            response(200, "OK", &field, "", "")
        }
        _ => response(405, "Method Not Allowed", &field, "", ""),
    }
}

fn set_up(
    shared: &Shared,
    state: &mut State,
    (again, query): (Option<u32>, String),
    peer: SocketAddr,
    field: &impl Fn(&str) -> Option<String>,
) -> String {
    let transport = field("transport").unwrap_or_default();
    let port = transport
        .split(';')
        .find_map(|part| part.trim().strip_prefix("client_port=")?.split('-').next()?.parse::<u16>().ok());
    let Some(port) = port.filter(|_| transport.contains("unicast")) else {
        return response(461, "Unsupported Transport", field, "", "");
    };
    if again.is_none() && state.sessions.len() >= shared.tuners {
        return response(503, "Service Unavailable", field, "", "No-More: frontends");
    }
    state.last_id += 1;
    let id = again.unwrap_or(1000 + state.last_id);
    let mut session = Session {
        id,
        frequency: String::new(),
        query: String::new(),
        pids: Some(BTreeSet::new()),
        to: SocketAddr::new(peer.ip(), port),
        plays: false,
        heard: Instant::now(),
    };
    if let Err(why) = session.choose(&query) {
        return response(400, "Bad Request", field, "", &format!("Check-Syntax: {why}"));
    }
    state.sessions.retain(|session| session.id != id);
    state.sessions.push(session);
    let timeout = shared.timeout.as_secs();
    let fields = format!(
        "Session: {id};timeout={timeout}\r\ncom.ses.streamID: {id}\r\n\
         Transport: RTP/AVP;unicast;client_port={port}-{}\r\n",
        port + 1
    );
    response(200, "OK", field, &fields, "")
}

/// What plays, as VDR's plugin asks for it to learn of the signal.
fn describe(
    shared: &Shared,
    state: &State,
    peer: SocketAddr,
    field: &impl Fn(&str) -> Option<String>,
) -> String {
    let mut body =
        format!("v=0\r\no=- 1 1 IN IP4 {}\r\ns=SatIPServer:1 {}\r\nt=0 0\r\n", peer.ip(), shared.tuners);
    for session in &state.sessions {
        let report = session.report(&shared.broadcast);
        body.extend([
            "m=video 0 RTP/AVP 33\r\nc=IN IP4 0.0.0.0\r\na=control:stream=",
            &session.id.to_string(),
            "\r\na=fmtp:33 ",
            &report,
            "\r\n",
        ]);
        body += if session.plays { "a=sendonly\r\n" } else { "a=inactive\r\n" };
    }
    response(200, "OK", field, "Content-Type: application/sdp\r\n", &body)
}

fn response(
    status: u16,
    reason: &str,
    field: &impl Fn(&str) -> Option<String>,
    fields: &str,
    body: &str,
) -> String {
    let sequence = field("cseq").unwrap_or_default();
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("RTSP/1.0 {status} {reason}\r\nCSeq: {sequence}\r\n{fields}{length}\r\n{body}")
}

impl Session {
    /// Takes the parameters of a SETUP or PLAY.
    fn choose(&mut self, query: &str) -> Result<(), String> {
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').ok_or(parameter)?;
            let list = || -> Result<BTreeSet<u16>, String> {
                let pids = value.split(',').map(|pid| pid.parse().ok().filter(|pid| *pid <= 0x1fff));
                pids.collect::<Option<_>>().ok_or_else(|| parameter.to_owned())
            };
            match (name, value) {
                ("pids", "all") => self.pids = None,
                ("pids", "none") => self.pids = Some(BTreeSet::new()),
                ("pids", _) => self.pids = Some(list()?),
                ("addpids", _) => self.pids.get_or_insert_default().extend(list()?),
                ("delpids", _) => {
                    let gone = list()?;
                    self.pids.get_or_insert_default().retain(|pid| !gone.contains(pid));
                }
                ("freq", _) => value.clone_into(&mut self.frequency),
                _ => {}
            }
        }
        if query.contains("freq=") {
            query.clone_into(&mut self.query);
        }
        Ok(())
    }

    fn report(&self, broadcast: &Broadcast) -> String {
        let lock = u8::from(broadcast.stream(&self.frequency).is_some());
        let pids = match &self.pids {
            None => "all".to_owned(),
            Some(pids) => pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        };
        let (level, quality) = (40 + 160 * u16::from(lock), 15 * lock);
        format!(
            "ver=1.0;src=1;tuner=1,{level},{lock},{quality},{},h,dvbs2,qpsk,on,0.35,22000,23;pids={pids}",
            self.frequency
        )
    }
}

/// Sends a session's packets until it is over.
fn play(shared: &Arc<Shared>, id: u32) {
    let Ok(socket) = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)) else { return };
    let (mut sequence, mut held, mut flushed) = (0_u16, Vec::new(), Instant::now());
    let mut reported: Option<Instant> = None;
    let ssrc = [0, 0, 0, 7];
    shared.broadcast.play(|begun, packets| {
        let (to, frequency, pids, report) = {
            let mut state = shared.state();
            state.sessions.retain(|session| session.heard.elapsed() < shared.timeout);
            let session = state.sessions.iter().find(|session| session.id == id)?;
            let report = session.report(&shared.broadcast);
            (session.to, session.frequency.clone(), session.pids.clone(), report)
        };
        if shared.is_over() {
            return None;
        }
        held.extend(
            packets
                .iter()
                .filter(|packet| pids.as_ref().is_none_or(|pids| pids.contains(&pid(packet))))
                .flatten(),
        );
        if held.len() >= PACKETS_PER_DATAGRAM * 188 || (flushed.elapsed() >= FLUSH && !held.is_empty()) {
            for group in held.chunks(PACKETS_PER_DATAGRAM * 188) {
                sequence = sequence.wrapping_add(1);
                let timestamp = u32::try_from(begun.elapsed().as_millis() * 90 % (1 << 32)).unwrap_or(0);
                let head = [[0x80, 33], sequence.to_be_bytes()].concat();
                let datagram = [&head, timestamp.to_be_bytes().as_slice(), &ssrc, group].concat();
                let _ = socket.send_to(&datagram, to);
            }
            held.clear();
            flushed = Instant::now();
        }
        if reported.is_none_or(|at| at.elapsed() >= REPORT_EVERY) {
            reported = Some(Instant::now());
            let _ = socket.send_to(&rtcp(&report, ssrc), SocketAddr::new(to.ip(), to.port() + 1));
        }
        Some(frequency)
    });
}

/// A sender report, and the application packet of SAT>IP behind it.
fn rtcp(report: &str, ssrc: [u8; 4]) -> Vec<u8> {
    let mut bytes = [[0x80, 200, 0, 6].as_slice(), &ssrc, &[0; 20]].concat();
    let mut body = [ssrc.as_slice(), b"SES1\0\0"].concat();
    body.extend(u16::try_from(report.len()).expect("a short text").to_be_bytes());
    body.extend(report.as_bytes());
    body.resize(body.len().next_multiple_of(4), 0);
    bytes.extend([0x80, 204]);
    bytes.extend(u16::try_from(body.len() / 4).expect("a short packet").to_be_bytes());
    bytes.extend(body);
    bytes
}

fn pid(packet: &[u8; 188]) -> u16 {
    u16::from_be_bytes([packet[1], packet[2]]) & 0x1fff
}
