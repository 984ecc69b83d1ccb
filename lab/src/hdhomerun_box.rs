//! An HDHomeRun: discovery, control, streams by UDP. `hdhomerun_config` takes it for one (`tests/live/hdhomerun.rs`).

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocols::hdhomerun::{
    ANY, DEVICE_ID, DEVICE_TYPE, DISCOVER_REPLY, DISCOVER_REQUEST, DeviceId, ERROR, GETSET_REPLY, LOCK_KEY,
    Message, NAME, PACKET_BYTES_MAX, TUNER, TUNER_COUNT, VALUE,
};

use crate::acceptor::Acceptor;
use crate::broadcast::Broadcast;

/// A datagram holds so many transport packets.
const DATAGRAM_BYTES: usize = 7 * 188;
/// How often the threads look whether it is all over.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The device. Everything of it ends when this goes.
#[derive(Debug)]
pub struct HdhomerunBox {
    shared: Arc<Shared>,
    acceptor: Acceptor,
}

#[derive(Debug)]
struct Shared {
    id: DeviceId,
    broadcast: Broadcast,
    over: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tuners: Vec<Tuner>,
    set: Vec<String>,
}

#[derive(Debug, Default, Clone)]
struct Tuner {
    channel: String,
    /// `None`: all packets.
    filter: Option<Vec<(u16, u16)>>,
    target: Option<SocketAddr>,
    lock: Option<(u32, IpAddr)>,
}

impl HdhomerunBox {
    /// A device at `address`, in the network of the calling thread, with so many tuners of what is `broadcast`; frequencies are
    /// named as channels are: `177000000`. `control`: the port of control and discovery; 65001, or 0 for any.
    pub fn start(address: Ipv4Addr, control: u16, id: DeviceId, broadcast: Broadcast, tuners: usize) -> Self {
        let listener = TcpListener::bind((address, control));
        let listener = listener.unwrap_or_else(|error| panic!("control at {address}:{control}: {error}"));
        let control = listener.local_addr().expect("a listener has an address");
        // Broadcasts do not come to a socket that is bound to one address.
        let any = if address.is_loopback() { address } else { Ipv4Addr::UNSPECIFIED };
        let discovery = UdpSocket::bind((any, control.port()));
        let discovery = discovery.unwrap_or_else(|error| panic!("discovery at {any}: {error}"));
        discovery.set_read_timeout(Some(LOOK_EVERY)).expect("a limit that is not 0");
        let state = State { tuners: vec![Tuner::default(); tuners], set: Vec::new() };
        let shared =
            Arc::new(Shared { id, broadcast, over: AtomicBool::new(false), state: Mutex::new(state) });
        start(&shared, move |shared| discover(shared, &discovery));
        let acceptor = Acceptor::start(listener, {
            let shared = shared.clone();
            move |stream, peer| converse(&shared, stream, peer.ip())
        });
        for tuner in 0..tuners {
            start(&shared, move |shared| play(shared, tuner));
        }
        Self { shared, acceptor }
    }

    /// Where it is controlled.
    pub fn control(&self) -> SocketAddr {
        self.acceptor.address()
    }

    /// What was set so far: `/tuner0/channel=…`.
    pub fn set(&self) -> Vec<String> {
        self.shared.state().set.clone()
    }

    /// Tuners that are tuned, locked or send.
    pub fn taken(&self) -> usize {
        let free =
            |tuner: &&Tuner| tuner.channel.is_empty() && tuner.lock.is_none() && tuner.target.is_none();
        let state = self.shared.state();
        state.tuners.len() - state.tuners.iter().filter(free).count()
    }

    /// As when it loses its power for a moment.
    pub fn restart(&self) {
        let mut state = self.shared.state();
        state.tuners.fill(Tuner::default());
        self.acceptor.break_connections();
    }
}

impl Drop for HdhomerunBox {
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

/// A thread that sees by itself when it is all over.
fn start(shared: &Arc<Shared>, work: impl FnOnce(&Shared) + Send + 'static) {
    let shared = shared.clone();
    std::thread::spawn(move || work(&shared));
}

fn discover(shared: &Shared, socket: &UdpSocket) {
    let mut bytes = [0; PACKET_BYTES_MAX];
    while !shared.is_over() {
        let Ok((count, from)) = socket.recv_from(&mut bytes) else { continue };
        let Some(request) = Message::parse(&bytes[..count]) else { continue };
        let is = |field, ours| request.number(field).is_none_or(|wanted| wanted == ANY || wanted == ours);
        if request.kind != DISCOVER_REQUEST || !is(DEVICE_TYPE, TUNER) || !is(DEVICE_ID, shared.id.number()) {
            continue;
        }
        let count = u8::try_from(shared.state().tuners.len()).expect("a few tuners");
        let reply = Message::new(DISCOVER_REPLY)
            .with(DEVICE_TYPE, &TUNER.to_be_bytes())
            .with(DEVICE_ID, &shared.id.number().to_be_bytes())
            .with(TUNER_COUNT, &[count]);
        let _ = socket.send_to(&reply.encode(), from);
    }
}

fn converse(shared: &Shared, mut stream: TcpStream, peer: IpAddr) {
    let mut head = [0; 4];
    while stream.read_exact(&mut head).is_ok() {
        let Ok(Some(len)) = Message::len(&head) else { return };
        let mut packet = head.to_vec();
        packet.resize(len, 0);
        if stream.read_exact(&mut packet[4..]).is_err() {
            return;
        }
        let Some(request) = Message::parse(&packet) else { return };
        let name = request.text(NAME).unwrap_or_default();
        let reply = Message::new(GETSET_REPLY).with_text(NAME, name);
        let reply = match shared.state().answer(shared, peer, &request) {
            Ok(value) => reply.with_text(VALUE, &value),
            Err(error) => reply.with_text(ERROR, &format!("ERROR: {error}")),
        };
        if stream.write_all(&reply.encode()).is_err() {
            return;
        }
    }
}

impl State {
    fn answer(&mut self, shared: &Shared, peer: IpAddr, request: &Message) -> Result<String, String> {
        let name = request.text(NAME).unwrap_or_default();
        let unknown = || "unknown getset variable".to_owned();
        match name {
            "/sys/model" | "/sys/hwmodel" => return Ok("hdhomerun_lab".into()),
            "/sys/version" => return Ok("20261122".into()),
            "/sys/features" => return Ok("channelmap: us-bcast\nmodulation: 8vsb auto\n".into()),
            _ => {}
        }
        let (number, item) =
            name.strip_prefix("/tuner").and_then(|rest| rest.split_once('/')).ok_or_else(unknown)?;
        let place: usize = number.parse().map_err(|_| unknown())?;
        let tuner = self.tuners.get_mut(place).ok_or_else(unknown)?;
        let Some(value) = request.text(VALUE) else {
            return tuner.told(item, &shared.broadcast).ok_or_else(unknown);
        };
        if let Some((key, holder)) = tuner.lock
            && request.number(LOCK_KEY) != Some(key)
            && (item, value) != ("lockkey", "force")
        {
            return Err(format!("resource locked by {holder}"));
        }
        tuner.set(peer, item, value)?;
        self.set.push(format!("{name}={value}"));
        Ok(value.to_owned())
    }
}

impl Tuner {
    fn told(&self, item: &str, broadcast: &Broadcast) -> Option<String> {
        let none = || "none".to_owned();
        let channel = if self.channel.is_empty() { "none" } else { &self.channel };
        Some(match item {
            "channel" => channel.to_owned(),
            "channelmap" => "us-bcast".into(),
            "program" => "0".into(),
            "filter" => match &self.filter {
                None => "0x0000-0x1fff".into(),
                Some(ranges) => {
                    let words = ranges.iter().map(|(first, last)| format!("0x{first:04x}-0x{last:04x}"));
                    words.collect::<Vec<_>>().join(" ")
                }
            },
            "target" => self.target.map_or_else(none, |to| format!("udp://{to}")),
            "lockkey" => self.lock.map_or_else(none, |(_, holder)| holder.to_string()),
            "status" if broadcast.stream(self.frequency()).is_some() => {
                format!("ch={channel} lock=8vsb ss=83 snq=90 seq=100 bps=5000000 pps=475")
            }
            "status" => format!("ch={channel} lock=none ss=12 snq=0 seq=0 bps=0 pps=0"),
            "streaminfo" => "1: 1 Lab\ntsid=0x0001\n".into(),
            "debug" => format!("tun: ch={channel}"),
            _ => return None,
        })
    }

    fn frequency(&self) -> &str {
        self.channel.rsplit(':').next().unwrap_or_default()
    }

    fn set(&mut self, peer: IpAddr, item: &str, value: &str) -> Result<(), String> {
        let invalid = || "invalid value".to_owned();
        match item {
            "channel" if value == "none" => {
                self.channel.clear();
                self.filter = None;
            }
            "channel" => {
                let (_, number) = value.split_once(':').ok_or("invalid channel")?;
                number.parse::<u32>().map_err(|_| "invalid channel")?;
                value.clone_into(&mut self.channel);
                self.filter = None;
            }
            "filter" => self.filter = Some(filter(value).ok_or_else(invalid)?),
            "program" => {}
            "target" if value == "none" => self.target = None,
            "target" => {
                let to = value.split_whitespace().next().and_then(|to| to.strip_prefix("udp://"));
                self.target = Some(to.and_then(|to| to.parse().ok()).ok_or_else(invalid)?);
            }
            "lockkey" if value == "none" || value == "force" => self.lock = None,
            "lockkey" => self.lock = Some((value.parse().map_err(|_| invalid())?, peer)),
            _ => return Err("unknown getset variable".into()),
        }
        Ok(())
    }

    fn lets_through(&self, packet: &[u8; 188]) -> bool {
        let pid = u16::from_be_bytes([packet[1], packet[2]]) & 0x1fff;
        let within =
            |ranges: &Vec<(u16, u16)>| ranges.iter().any(|(first, last)| (*first..=*last).contains(&pid));
        self.filter.as_ref().is_none_or(within)
    }
}

/// `0x0000 0x0010-0x0012`
fn filter(text: &str) -> Option<Vec<(u16, u16)>> {
    let number =
        |word: &str| u16::from_str_radix(word.strip_prefix("0x")?, 16).ok().filter(|pid| *pid <= 0x1fff);
    let range = |word: &str| {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        Some((number(first)?, number(last)?))
    };
    text.split_whitespace().map(range).collect()
}

/// Sends what a tuner receives to its target.
fn play(shared: &Shared, place: usize) {
    let Ok(socket) = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)) else { return };
    let mut held: Vec<u8> = Vec::new();
    shared.broadcast.play(|_, packets| {
        let tuner = shared.state().tuners[place].clone();
        held.extend(packets.iter().filter(|packet| tuner.lets_through(packet)).flatten());
        let Some(to) = tuner.target.filter(|_| !tuner.channel.is_empty()) else {
            held.clear();
            return (!shared.is_over()).then(|| tuner.frequency().to_owned());
        };
        while held.len() >= DATAGRAM_BYTES {
            let _ = socket.send_to(&held[..DATAGRAM_BYTES], to);
            held.drain(..DATAGRAM_BYTES);
        }
        (!shared.is_over()).then(|| tuner.frequency().to_owned())
    });
}
