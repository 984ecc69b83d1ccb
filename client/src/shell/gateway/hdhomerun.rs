//! An HDHomeRun's streams by HTTP, and, where asked for, its discovery and control by UDP and TCP 65001.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use link::interface;
use protocols::hdhomerun::{self as wire, CONTROL_PORT, Message};
use protocols::ids::ChannelId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::super::Error;
use super::Shared;
use super::answer::Refusal;
use super::live;
use crate::gateway::hdhomerun::control::{Caller, Control, Effect};
use crate::gateway::tape::Read;

/// Control connections at a time; one more is closed.
const CONNECTIONS_MAX: usize = 16;
/// A control connection that says nothing for so long is closed, but for one that has a channel sent to it.
const IDLE: Duration = Duration::from_mins(1);
/// Discovery answers in a second, to all together; what is asked beyond that is not answered.
const ANSWERS_PER_S: u32 = 20;
/// Transport packets in a datagram.
const DATAGRAM_BYTES: usize = media::rtp::PAYLOAD_BYTES_MAX;

/// The tuners, and what is sent for them.
#[derive(Debug)]
pub(super) struct Tuners {
    control: Mutex<Control>,
    /// By tuner.
    senders: Mutex<Vec<Option<AbortHandle>>>,
}

impl Tuners {
    /// So many, all free.
    pub(super) fn new(count: u8) -> Self {
        let senders = (0..count).map(|_| None).collect();
        Self { control: Mutex::new(Control::new(count)), senders: Mutex::new(senders) }
    }

    /// Tuners that are taken.
    pub(super) fn taken(&self) -> usize {
        self.control().taken()
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_sender(&self, tuner: usize, sender: Option<AbortHandle>) {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = senders.get_mut(tuner)
            && let Some(before) = std::mem::replace(place, sender)
        {
            before.abort();
        }
    }
}

/// A tuner that an HTTP stream has.
#[derive(Debug)]
pub(super) struct Taken {
    shared: Arc<Shared>,
    tuner: usize,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.shared.tuners.control().give_back(self.tuner);
    }
}

/// `/auto/vN` and `/tunerN/vN`.
pub(super) async fn stream(
    State(shared): State<Arc<Shared>>,
    method: Method,
    Path((tuner, channel)): Path<(String, String)>,
) -> Response {
    match tuned(&shared, &method, (&tuner, &channel)).await {
        Ok(response) => response,
        Err(refusal) => {
            let code = match refusal.status() {
                StatusCode::NOT_FOUND => "801 Unknown Channel".to_owned(),
                _ if refusal.text() == ALL_IN_USE => "805 All Tuners In Use".to_owned(),
                _ => format!("807 No Video Data: {}", refusal.text()),
            };
            let mut response = refusal.into_response();
            let told: String = code.chars().filter(|c| c.is_ascii() && !c.is_ascii_control()).collect();
            if let Ok(value) = HeaderValue::try_from(told) {
                response.headers_mut().insert("x-hdhomerun-error", value);
            }
            response
        }
    }
}

const ALL_IN_USE: &str = "all tuners are in use";

async fn tuned(
    shared: &Arc<Shared>,
    method: &Method,
    (tuner, channel): (&str, &str),
) -> Result<Response, Refusal> {
    let wanted = match tuner.strip_prefix("tuner") {
        Some(number) => Some(number.parse::<usize>().map_err(|_| super::router::no_such_page())?),
        None if tuner == "auto" => None,
        None => return Err(super::router::no_such_page()),
    };
    let id = channel.strip_prefix('v').ok_or_else(super::router::no_such_page)?;
    let entry = shared.listing.select(id).await?;
    if method == Method::HEAD {
        return live::stream(shared, &entry, (method, None)).await;
    }
    let taken = shared.tuners.control().take(wanted, entry.id);
    let tuner = taken.ok_or_else(|| Refusal::unavailable(ALL_IN_USE))?;
    let taken = Taken { shared: Arc::clone(shared), tuner };
    live::stream(shared, &entry, (method, Some(taken))).await
}

/// Answers discovery and control until dropped. `port`: that of the gateway's HTTP.
pub(super) async fn serve(shared: Arc<Shared>, discovery: UdpSocket, control: TcpListener, port: u16) {
    tokio::join!(discover(&shared, &discovery, port), accept(&shared, &control));
}

/// The sockets of discovery and control.
pub(super) async fn bind() -> Result<(UdpSocket, TcpListener), Error> {
    let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), CONTROL_PORT);
    let fault = |error| Error::Output { what: format!("HDHomeRun discovery and control at {any}"), error };
    Ok((UdpSocket::bind(any).await.map_err(fault)?, TcpListener::bind(any).await.map_err(fault)?))
}

/// Discovery: answered to who is on a network of this host, and not often: an answer is longer than its request, since it says where
/// the lineup is.
async fn discover(shared: &Shared, socket: &UdpSocket, port: u16) {
    let mut buffer = [0; wire::PACKET_BYTES_MAX];
    let (mut second, mut answered) = (Instant::now(), 0);
    loop {
        let Ok((len, from)) = socket.recv_from(&mut buffer).await else {
            // What an error would tell of is an earlier answer's.
            tokio::task::yield_now().await;
            continue;
        };
        let Some(request) = Message::parse(&buffer[..len]).filter(|it| is_for(it, shared)) else { continue };
        if second.elapsed() >= Duration::from_secs(1) {
            (second, answered) = (Instant::now(), 0);
        }
        let Some(ours) = ours_toward(from).await.filter(|_| answered < ANSWERS_PER_S) else { continue };
        answered += 1;
        tracing::debug!(%from, kind = request.kind, "HDHomeRun discovery");
        let reply = Message::new(wire::DISCOVER_REPLY)
            .with(wire::DEVICE_TYPE, &wire::TUNER.to_be_bytes())
            .with(wire::DEVICE_ID, &shared.device.number().to_be_bytes())
            .with(wire::TUNER_COUNT, &[shared.tuner_count])
            .with(wire::BASE_URL, format!("http://{ours}:{port}").as_bytes());
        let _ = socket.send_to(&reply.encode(), from).await;
    }
}

fn is_for(request: &Message, shared: &Shared) -> bool {
    let is = |field, ours| request.number(field).is_none_or(|wanted| wanted == wire::ANY || wanted == ours);
    request.kind == wire::DISCOVER_REQUEST
        && is(wire::DEVICE_TYPE, wire::TUNER)
        && is(wire::DEVICE_ID, shared.device.number())
}

/// Our address toward a caller that is on one of our networks.
async fn ours_toward(caller: SocketAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.ok()?;
    socket.connect(caller).await.ok()?;
    let ours = socket.local_addr().ok()?.ip();
    interface::networks(ours).iter().any(|network| network.contains(caller.ip())).then_some(ours)
}

async fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut next = 0_u64;
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        next += 1;
        let caller = Caller { connection: next, address: peer.ip().to_canonical() };
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            converse(&shared, stream, caller).await;
            let effects = shared.tuners.control().closed(caller.connection);
            carry_out(&shared, effects);
            drop(place);
        });
    }
}

/// One control connection.
async fn converse(shared: &Arc<Shared>, mut stream: TcpStream, caller: Caller) {
    let mut held = Vec::new();
    let mut piece = [0; wire::PACKET_BYTES_MAX];
    loop {
        while let Ok(Some(len)) = Message::len(&held) {
            let Some(bytes) = held.get(..len) else { break };
            let Some(request) = Message::parse(bytes) else { return };
            held.drain(..len);
            if request.kind != wire::GETSET_REQUEST {
                continue;
            }
            let channels = shared.listing.list().await.map(|list| list.channels).unwrap_or_default();
            let (reply, effects) = shared.tuners.control().handle(caller, &request, &channels);
            carry_out(shared, effects);
            if stream.write_all(&reply.encode()).await.is_err() {
                return;
            }
        }
        if Message::len(&held).is_err() {
            return;
        }
        let read = match timeout(IDLE, stream.read(&mut piece)).await {
            Ok(read) => read,
            Err(_) if shared.tuners.control().has_target(caller.connection) => continue,
            Err(_) => return,
        };
        match read {
            Ok(got @ 1..) => held.extend_from_slice(&piece[..got]),
            _ => return,
        }
    }
}

fn carry_out(shared: &Arc<Shared>, effects: Vec<Effect>) {
    for effect in effects {
        match effect {
            Effect::Stop { tuner } => shared.tuners.set_sender(tuner, None),
            Effect::Start { tuner, channel, to } => {
                let task = tokio::spawn(send(Arc::clone(shared), channel, to));
                shared.tuners.set_sender(tuner, Some(task.abort_handle()));
            }
        }
    }
}

/// Sends a channel by UDP until aborted, or nobody is there.
async fn send(shared: Arc<Shared>, channel: ChannelId, to: SocketAddr) {
    let Ok(reader) = shared.hub.enter(channel) else { return };
    let Ok(socket) = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await else { return };
    if socket.connect(to).await.is_err() {
        return;
    }
    let Ok((mut cursor, prefix)) = live::begin(&reader).await else { return };
    let mut held = prefix.to_vec();
    let mut changes = reader.channel.changes();
    loop {
        let (read, is_over) = reader.channel.read(&mut cursor);
        match read {
            Read::Bytes(bytes) => held.extend_from_slice(&bytes),
            Read::Nothing if !is_over => {
                let _ = changes.changed().await;
            }
            _ => return,
        }
        while held.len() >= DATAGRAM_BYTES {
            let sent = socket.send(&held[..DATAGRAM_BYTES]).await;
            // Nobody listens at that port (any more).
            if sent.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused) {
                return;
            }
            held.drain(..DATAGRAM_BYTES);
        }
    }
}
