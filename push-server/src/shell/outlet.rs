//! One destination's socket: opened when it is needed, given up when it fails, tried again each second. One log line
//! per change of state, none per packet.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use link::udp::{self, Aim, SocketError};
use protocols::ids::ChannelId;
use protocols::p4_control::DestinationFault;
use protocols::time::Time;

use crate::path::Fate;
use crate::plan::{Plan, Target};

/// A destination that fails is tried again after this.
pub(super) const RETRY: Duration = Duration::from_secs(1);

/// The socket of one target of a plan.
#[derive(Debug)]
pub(super) struct Outlet {
    channel: ChannelId,
    aim: Aim,
    socket: Option<UdpSocket>,
    fault: Option<DestinationFault>,
    retry_at: Time,
}

impl Outlet {
    pub(super) fn new(channel: ChannelId, plan: &Plan, target: &Target) -> Self {
        Self { channel, aim: aim(plan, target), socket: None, fault: None, retry_at: Time::ZERO }
    }

    /// Whether this outlet serves `target` of `plan` as it is.
    pub(super) fn fits(&self, plan: &Plan, target: &Target) -> bool {
        self.aim == aim(plan, target)
    }

    pub(super) fn address(&self) -> IpAddr {
        self.aim.to.ip()
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
        match udp::send(&self.aim) {
            Ok(socket) => {
                self.socket = Some(socket);
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

    /// Hands one datagram to the operating system, which may refuse it.
    pub(super) fn send(&mut self, now: Time, datagram: &[u8]) -> Fate {
        if self.wants_open(now) {
            self.open(now, true);
        }
        let Some(socket) = &self.socket else { return Fate::Dropped };
        // A refused connection is what the *previous* datagram met, at a host where nobody listens; this one is not
        // sent by the call that tells of it.
        let mut result = socket.send(datagram);
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            result = socket.send(datagram);
        }
        match result {
            Ok(_) => {
                if self.fault.is_some() {
                    self.recovered();
                }
                Fate::Sent
            }
            Err(error) if passing(&error) => Fate::Dropped,
            Err(error) => {
                let by = self.aim.interface.as_deref().unwrap_or("the routing table's interface");
                let what = format!("sending to {} by {by}", self.aim.to);
                let fault = classify(&error);
                self.failed(now, fault, &SocketError::new(what, error));
                Fate::Dropped
            }
        }
    }

    fn failed(&mut self, now: Time, fault: DestinationFault, error: &SocketError) {
        self.socket = None;
        self.retry_at = now + RETRY;
        if self.fault != Some(fault) {
            self.fault = Some(fault);
            tracing::warn!(channel = %self.channel, destination = %self.aim.to, %error, "cannot send; trying each second");
        }
    }

    fn recovered(&mut self) {
        if self.fault.take().is_some() {
            tracing::info!(channel = %self.channel, destination = %self.aim.to, "can send again");
        }
    }
}

/// Full queues pass by themselves: the datagram is lost, the destination is not.
fn passing(error: &io::Error) -> bool {
    const ENOBUFS: i32 = 105;
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused
    ) || error.raw_os_error() == Some(ENOBUFS)
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
