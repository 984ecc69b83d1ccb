//! A receiver that only looks: when each datagram of a stream came, by the kernel's own clock, and what was in it.

use std::io::IoSliceMut;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use lab::Host;
use media::packet::{PACKET_BYTES, SYNC_BYTE};
use media::rtp::RtpView;
use media::time::{PCR_MODULUS, TICKS_PER_SECOND};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;

use crate::arrivals::Arrival;
use crate::cbr;

/// Holds seconds of a stream while the machine is busy.
const BUFFER_BYTES: usize = 8 << 20;
/// How often the thread looks whether it should end.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What an arrival without a kernel time would be: every kernel stamps.
const STAMPED: &str = "the kernel stamps what it was asked to stamp";

/// A receiver at work.
#[derive(Debug)]
pub struct Receiver {
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    count: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Listens on `host` at `at` for a stream of `rate_bps`: the host's own address, or a group of its interface with the
    /// address `interface`.
    pub fn start(host: &Host, at: SocketAddrV4, interface: std::net::Ipv4Addr, rate_bps: u64) -> Self {
        let socket = host.enter(|| {
            let socket =
                UdpSocket::bind(at).unwrap_or_else(|error| panic!("{at} on {}: {error}", host.name()));
            if at.ip().is_multicast() {
                socket.join_multicast_v4(at.ip(), &interface).expect("a group of the laboratory");
            }
            socket
        });
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true).expect("Linux has SO_TIMESTAMPNS");
        // Past the limit for others: a bench runs as root.
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &BUFFER_BYTES);
        socket.set_read_timeout(Some(LOOK_EVERY)).expect("not zero");
        let (arrivals, count, stop): (Arc<Mutex<Vec<Arrival>>>, Arc<AtomicUsize>, Arc<AtomicBool>) =
            Default::default();
        let thread = std::thread::spawn({
            let (arrivals, count, stop) = (arrivals.clone(), count.clone(), stop.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    if let Some(arrival) = receive(&socket, rate_bps) {
                        arrivals.lock().expect("nobody panics with it").push(arrival);
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        Self { arrivals, count, stop, thread: Some(thread) }
    }

    /// Datagrams of the stream so far.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Takes what has arrived since it was last taken.
    pub fn take(&self) -> Vec<Arrival> {
        std::mem::take(&mut *self.arrivals.lock().expect("nobody panics with it"))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The next datagram of the stream; `None` after a while without, and for what is no part of it, such as announcements.
fn receive(socket: &UdpSocket, rate_bps: u64) -> Option<Arrival> {
    let mut bytes = [0; 2_048];
    let mut control = nix::cmsg_space!(TimeSpec);
    let (length, time) = {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let message =
            recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())
                .ok()?;
        let stamp = message.cmsgs().ok()?.find_map(|message| match message {
            ControlMessageOwned::ScmTimestampns(time) => Some(time),
            _ => None,
        });
        (message.bytes, stamp.expect(STAMPED))
    };
    let seconds = u64::try_from(time.tv_sec()).ok()?;
    let time_ns = seconds * 1_000_000_000 + u64::try_from(time.tv_nsec()).ok()?;
    arrival(bytes.get(..length)?, time_ns, rate_bps)
}

fn arrival(datagram: &[u8], time_ns: u64, rate_bps: u64) -> Option<Arrival> {
    let (sequence, transport) = if datagram.first() == Some(&SYNC_BYTE) {
        (None, datagram)
    } else {
        let packet = RtpView::parse(datagram).ok()?;
        (Some(packet.header.sequence.0), packet.payload)
    };
    if transport.first() != Some(&SYNC_BYTE) || !transport.len().is_multiple_of(PACKET_BYTES) {
        return None;
    }
    let pcr = cbr::first_pcr(transport).map(|(place, pcr)| {
        let before = place as u64 * PACKET_BYTES as u64 * 8 * TICKS_PER_SECOND / rate_bps;
        (pcr + PCR_MODULUS - before) % PCR_MODULUS
    });
    let payload_bytes = u32::try_from(transport.len()).ok()?;
    Some(Arrival { time_ns, sequence, payload_bytes, numbered: cbr::numbered(transport), pcr })
}
