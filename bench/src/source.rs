//! A source of one 5 Mb/s stream or any other constant rate: each datagram at its own time, by an absolute schedule.

use std::borrow::Cow;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lab::Host;
use media::rtp::{HEADER_BYTES, RtpHeader};
use media::sequence::Sequence;
use media::time::TICKS_PER_90K;

use crate::cbr::{Cbr, DATAGRAM_BYTES, PACKETS};

/// How late the kernel may wake a sleeping thread on purpose; its default is 50 µs.
const TIMER_SLACK_NS: u64 = 1;
/// Synchronisation source of all streams made here.
const SSRC: u32 = 0x6d68_6265;
/// RTP payload type of MPEG-TS (RFC 3551 §6).
const MP2T: u8 = 33;

/// What a source sends, and where.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Each datagram goes to all of these, one after the other.
    pub to: Vec<SocketAddrV4>,
    /// Address of the interface that groups are sent out of.
    pub interface: Ipv4Addr,
    /// Of the transport stream.
    pub rate_bps: u64,
    /// What is in a datagram.
    pub carriage: Carriage,
}

/// What is in a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carriage {
    /// RTP (RFC 2250) and seven packets.
    Rtp,
    /// Seven packets.
    Raw,
}

/// A source at work. It ends when this goes.
#[derive(Debug)]
pub struct Source {
    stop: Arc<AtomicBool>,
    /// The most that a datagram was late by since it was last asked, in µs.
    late_us: Arc<AtomicU64>,
    thread: Option<JoinHandle<Vec<u64>>>,
}

impl Source {
    /// Begins to send the test card on `host`.
    pub fn start(host: &Host, plan: Plan) -> Self {
        let stream = Cbr::new(plan.rate_bps);
        Self::start_stream(host, plan, stream)
    }

    /// Begins to send `film` on `host`, or the test card where there is none.
    pub fn start_film(host: &Host, plan: Plan, film: Option<&[u8]>) -> Self {
        let stream = film.map_or_else(
            || Cbr::new(plan.rate_bps),
            |film| Cbr::playing(Cow::Owned(film.to_vec()), plan.rate_bps),
        );
        Self::start_stream(host, plan, stream)
    }

    fn start_stream(host: &Host, plan: Plan, stream: Cbr) -> Self {
        let socket = host.enter(|| open(&plan));
        let stop = Arc::new(AtomicBool::new(false));
        let late_us = Arc::new(AtomicU64::new(0));
        let thread = std::thread::spawn({
            let (stop, late_us) = (stop.clone(), late_us.clone());
            move || send(&socket, &plan, stream, &stop, &late_us)
        });
        Self { stop, late_us, thread: Some(thread) }
    }

    /// The most that a datagram left late by since this was last asked.
    pub fn take_lateness(&self) -> Duration {
        Duration::from_micros(self.late_us.swap(0, Ordering::Relaxed))
    }

    /// Ends it; gives the time at which each datagram was sent, in ns since 1970.
    pub fn stop(mut self) -> Vec<u64> {
        self.end()
    }

    fn end(&mut self) -> Vec<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.end();
    }
}

fn open(plan: &Plan) -> socket2::Socket {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a host has ports");
    let socket = socket2::Socket::from(socket);
    socket.set_multicast_if_v4(&plan.interface).expect("the host has that interface");
    socket.set_multicast_loop_v4(true).expect("any UDP socket can");
    socket
}

fn send(
    socket: &socket2::Socket,
    plan: &Plan,
    mut stream: Cbr,
    stop: &AtomicBool,
    late_us: &AtomicU64,
) -> Vec<u64> {
    // Refused at worst: then the input is rougher, which the input's own row shows.
    let _ = nix::sys::prctl::set_timerslack(TIMER_SLACK_NS);
    let to: Vec<socket2::SockAddr> = plan.to.iter().map(|address| (*address).into()).collect();
    let mut sent = Vec::new();
    let begun = Instant::now();
    for number in 0_u64.. {
        let ticks = stream.ticks_of(number * PACKETS as u64);
        let datagram = datagram(&mut stream, number, ticks, plan.carriage);
        let due = begun + Duration::from_nanos(ticks * 1_000 / 27);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let late = Instant::now().saturating_duration_since(due);
        late_us.fetch_max(u64::try_from(late.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        sent.push(now_ns());
        for address in &to {
            // A unicast receiver that does not listen yet answers with ICMP: an error on the next send.
            let _ = socket.send_to(&datagram, address).or_else(|_| socket.send_to(&datagram, address));
        }
    }
    sent
}

fn datagram(stream: &mut Cbr, number: u64, ticks: u64, carriage: Carriage) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + DATAGRAM_BYTES);
    if carriage == Carriage::Rtp {
        let [.., high, low] = number.to_be_bytes();
        let [_, _, _, _, time @ ..] = (ticks / TICKS_PER_90K).to_be_bytes();
        let sequence = Sequence(u16::from_be_bytes([high, low]));
        let timestamp_90k = u32::from_be_bytes(time);
        let header = RtpHeader { marker: false, payload_type: MP2T, sequence, timestamp_90k, ssrc: SSRC };
        bytes.extend(header.encode());
    }
    bytes.extend(stream.datagram());
    bytes
}

/// The clock that the kernel stamps arriving datagrams with.
pub fn now_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    u64::try_from(now.as_nanos()).expect("it is not yet 2554")
}
