//! One destination's socket: opened when it is needed, given up when it fails, tried again each second. One log line
//! per change of state, none per packet.
//!
//! A run of packets is one system call where the socket segments ("UDP GSO"), which is found out by trying: when the
//! socket is opened, and again with each send, since it is the device that may refuse. Otherwise, and where packets
//! differ in length, `sendmmsg` takes the batch.
//!
//! An announcement does not pay for a system call of its own: it is a *rider*, the short last segment of the next batch.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use link::interface::{self, Network};
use link::udp::{self, Aim, SocketError};
use link::volley::{MAX_VOLLEY, Volley};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, sendmsg};
use protocols::ids::ChannelId;
use protocols::p3_feed::MAX_PACKET_BYTES;
use protocols::p4_control::DestinationFault;
use protocols::p6_broadcast::ANNOUNCEMENT_BYTES;
use protocols::time::Time;

use crate::lane::MAX_BATCH;
use crate::plan::{Plan, Target};
use crate::ring::Run;

/// A destination that fails is tried again after this.
pub(super) const RETRY: Duration = Duration::from_secs(1);

const _: () = assert!(MAX_BATCH <= MAX_VOLLEY, "a batch that is not segmented is one volley");

/// Segments of one send that every kernel takes (`UDP_MAX_SEGMENTS`; newer ones take more).
const MAX_SEGMENTS: usize = 64;
const _: () = assert!(MAX_BATCH < MAX_SEGMENTS, "a batch and its rider are one train");

const _: () = assert!(
    size_of::<Outlet>() <= 24,
    "each turn walks the outlets of a channel, up to a thousand of them: five of them fill two cache lines"
);

/// The socket of one target of a plan.
#[derive(Debug)]
pub(super) struct Outlet {
    socket: Option<UdpSocket>,
    /// Whether the socket cuts what it is given into packets.
    segments: bool,
    /// Whether [`Purpose::rider`] waits to leave.
    rider_waits: bool,
    fault: Option<DestinationFault>,
    retry_at: Time,
    purpose: Box<Purpose>,
}

/// What an outlet is for: looked at when something changes, fails or is announced, not for each batch.
#[derive(Debug)]
struct Purpose {
    channel: ChannelId,
    aim: Aim,
    /// The announcement taken in last.
    rider: [u8; ANNOUNCEMENT_BYTES],
    /// Those of the interface that is sent by, once somebody has asked from there.
    networks: Option<Vec<Network>>,
}

impl Outlet {
    pub(super) fn new(channel: ChannelId, plan: &Plan, target: &Target) -> Self {
        Self {
            socket: None,
            segments: true,
            rider_waits: false,
            fault: None,
            retry_at: Time::ZERO,
            purpose: Box::new(Purpose { channel, aim: aim(plan, target), rider: [0; _], networks: None }),
        }
    }

    /// Whether this outlet serves `target` of `plan` as it is.
    pub(super) fn fits(&self, plan: &Plan, target: &Target) -> bool {
        self.purpose.aim == aim(plan, target)
    }

    pub(super) fn address(&self) -> IpAddr {
        self.purpose.aim.to.ip()
    }

    pub(super) fn fault(&self) -> Option<DestinationFault> {
        self.fault
    }

    /// Whether [`Self::open`] is worth a try at `now`.
    pub(super) fn wants_open(&self, now: Time) -> bool {
        self.socket.is_none() && now >= self.retry_at
    }

    /// Opens the socket. A fault that a send found lasts until a send succeeds, or until `sending` is over.
    pub(super) fn open(&mut self, now: Time, sending: bool) {
        match udp::send(&self.purpose.aim) {
            Ok(socket) => {
                self.segments = self.segments && udp::segment(&socket, MAX_PACKET_BYTES).is_ok();
                self.socket = Some(socket);
                self.purpose.networks = None;
                if !sending || self.fault == Some(DestinationFault::NoInterface) {
                    self.recovered();
                }
            }
            Err(error) => {
                let fault = match &error {
                    SocketError::Interface(_) => DestinationFault::NoInterface,
                    SocketError::Io { error, .. } => classify(error),
                };
                self.failed(now, fault, &error);
            }
        }
    }

    /// Takes in an announcement that leaves with the next batch, or by [`Self::send_rider`]; one that waits is overtaken.
    pub(super) fn board(&mut self, announcement: &[u8; ANNOUNCEMENT_BYTES]) {
        self.purpose.rider = *announcement;
        self.rider_waits = true;
    }

    /// Whether an announcement waits to leave.
    pub(super) fn has_rider(&self) -> bool {
        self.rider_waits
    }

    /// Hands packets to the operating system, and the rider behind them where it costs no call; answers how many of the
    /// packets, from the first, it took.
    pub(super) fn send(&mut self, now: Time, runs: &[Run<'_>], volley: &mut Volley) -> usize {
        let mut taken = self.attempt(now, |outlet, socket| outlet.hand_over(socket, runs, volley));
        if taken.is_none() && !self.segments && self.socket.is_some() {
            // The device does not segment; that is known now.
            taken = self.attempt(now, |outlet, socket| outlet.hand_over(socket, runs, volley));
        }
        let (taken, packets) = (taken.unwrap_or(0), runs.iter().map(Run::len).sum());
        self.rider_waits &= taken <= packets;
        taken.min(packets)
    }

    /// Hands the rider to the operating system by itself. One that is not taken is gone: the next is not far.
    pub(super) fn send_rider(&mut self, now: Time) {
        self.rider_waits = false;
        self.attempt(now, |outlet, socket| socket.send(&outlet.purpose.rider));
    }

    /// Hands one packet once more to the operating system; false when it does not take it.
    pub(super) fn send_again(&mut self, now: Time, packet: &[u8]) -> bool {
        self.attempt(now, |_, socket| socket.send(packet)).is_some()
    }

    /// Whether `address` is on a network of the interface that is sent by. Looked up once for each socket.
    pub(super) fn is_beside(&mut self, address: IpAddr) -> bool {
        let Some(socket) = &self.socket else { return false };
        let networks = self.purpose.networks.get_or_insert_with(|| {
            socket.local_addr().map(|local| interface::networks(local.ip())).unwrap_or_default()
        });
        networks.iter().any(|network| network.contains(address))
    }

    /// Answers how many datagrams were taken: packets, and then the rider.
    fn hand_over(&mut self, socket: &UdpSocket, runs: &[Run<'_>], volley: &mut Volley) -> io::Result<usize> {
        let rider = self.rider_waits.then_some(&self.purpose.rider[..]);
        if let [run] = runs
            && (self.segments || run.len() == 1)
        {
            let rider = rider.filter(|_| self.segments && run.is_even());
            let datagrams = run.len() + usize::from(rider.is_some());
            return match send_train(socket, run, rider) {
                Err(error) if datagrams > 1 && no_segmentation(&error) => {
                    self.segments = false;
                    tracing::info!(
                        channel = %self.purpose.channel, destination = %self.purpose.aim.to, %error,
                        "the device does not segment; packets are sent one by one"
                    );
                    udp::segment(socket, 0)?;
                    Err(io::ErrorKind::Interrupted.into())
                }
                sent => sent.map(|_| datagrams),
            };
        }
        volley.send(socket, runs.iter().flat_map(Run::packets).chain(rider))
    }

    /// One attempt to send; `None` when the operating system refuses.
    fn attempt(
        &mut self,
        now: Time,
        mut send: impl FnMut(&mut Self, &UdpSocket) -> io::Result<usize>,
    ) -> Option<usize> {
        if self.wants_open(now) {
            self.open(now, true);
        }
        let socket = self.socket.take()?;
        let mut result = send(self, &socket);
        // A refused connection is what the *previous* datagram met, at a host where nobody listens; this one is not
        // sent by the call that tells of it.
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            result = send(self, &socket);
        }
        match result {
            Ok(taken) => {
                self.socket = Some(socket);
                if self.fault.is_some() {
                    self.recovered();
                }
                Some(taken)
            }
            Err(error) if passing(&error) => {
                self.socket = Some(socket);
                None
            }
            Err(error) => {
                let by = self.purpose.aim.interface.as_deref().unwrap_or("the routing table's interface");
                let what = format!("sending to {} by {by}", self.purpose.aim.to);
                let fault = classify(&error);
                self.failed(now, fault, &SocketError::new(what, error));
                None
            }
        }
    }

    fn failed(&mut self, now: Time, fault: DestinationFault, error: &SocketError) {
        self.socket = None;
        self.retry_at = now + RETRY;
        if self.fault != Some(fault) {
            self.fault = Some(fault);
            tracing::warn!(channel = %self.purpose.channel, destination = %self.purpose.aim.to, %error, "cannot send; trying each second");
        }
    }

    fn recovered(&mut self) {
        if self.fault.take().is_some() {
            tracing::info!(channel = %self.purpose.channel, destination = %self.purpose.aim.to, "can send again");
        }
    }
}

/// One system call for a run, and for what may be the short last segment behind it.
fn send_train(socket: &UdpSocket, run: &Run<'_>, rider: Option<&[u8]>) -> io::Result<usize> {
    let Some(rider) = rider else { return socket.send(run.bytes()) };
    let train = [IoSlice::new(run.bytes()), IoSlice::new(rider)];
    Ok(sendmsg::<()>(socket.as_raw_fd(), &train, &[], MsgFlags::empty(), None)?)
}

/// Full queues pass by themselves: the datagram is lost, the destination is not.
fn passing(error: &io::Error) -> bool {
    const ENOBUFS: i32 = 105;
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused
    ) || error.raw_os_error() == Some(ENOBUFS)
}

/// What a device without segmentation offload, or with too small an MTU for it, answers.
fn no_segmentation(error: &io::Error) -> bool {
    let refusals = [Errno::EIO, Errno::EINVAL, Errno::EOPNOTSUPP, Errno::EMSGSIZE];
    error.raw_os_error().is_some_and(|number| refusals.contains(&Errno::from_raw(number)))
}

fn classify(error: &io::Error) -> DestinationFault {
    const ENODEV: i32 = 19;
    match error.kind() {
        io::ErrorKind::PermissionDenied => DestinationFault::NotPermitted,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkDown => {
            DestinationFault::Unreachable
        }
        _ if error.raw_os_error() == Some(ENODEV) => DestinationFault::NoInterface,
        _ => DestinationFault::Other,
    }
}

fn aim(plan: &Plan, target: &Target) -> Aim {
    Aim {
        to: SocketAddr::new(target.address, plan.port),
        interface: target.interface.clone(),
        ttl: target.ttl,
        dscp: target.dscp,
        broadcast: target.broadcast,
    }
}
