//! The groups that are received, and the socket that speaks P4 and gets what is asked for by it (P5).

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket as StdSocket};
use std::task::Poll;

use link::intake::{Counters, Intake};
use link::interface;
use link::udp::{self, Listen, SocketError};
use media::rtp::RTP_BYTES_MAX;
use tokio::net::UdpSocket;

use crate::viewer::Group;

/// Datagrams taken from the P4 socket before media, and the deadlines, have their turn.
pub(super) const ANSWERS_AT_ONCE: usize = 64;
/// Room for an answer or a packet; one byte more than the longer one may have, so that a longer one shows.
pub(super) const ANSWER_BUFFER_BYTES: usize = RTP_BYTES_MAX + 1;
const _: () = assert!(RTP_BYTES_MAX > protocols::p4_control::MAX_DATAGRAM_BYTES);

/// See [`ANSWER_BUFFER_BYTES`].
pub(super) type AnswerBuffer = [u8; ANSWER_BUFFER_BYTES];

/// What a socket holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ready {
    /// Datagrams of a group.
    Media(Group),
    /// P4 answers, and P5.
    Control,
}

/// The sockets of one session.
#[derive(Debug)]
pub(super) struct Sockets {
    /// By which interface groups are received, if not by that of the local address.
    interface: Option<String>,
    groups: BTreeMap<Group, Intake>,
    /// Of groups left.
    past: Counters,
    control: Option<Control>,
}

/// One socket, held twice: sending needs no readiness, which the runtime learns only after a while.
#[derive(Debug)]
struct Control {
    bound: IpAddr,
    sender: StdSocket,
    receiver: UdpSocket,
}

impl Sockets {
    /// None yet.
    pub(super) fn new(interface: Option<String>) -> Self {
        Self { interface, groups: BTreeMap::new(), past: Counters::default(), control: None }
    }

    /// Receives `group` from here on.
    pub(super) fn join(&mut self, group: Group) -> Result<(), SocketError> {
        let listen = Listen {
            address: group.address,
            port: group.port,
            interface: self.interface.clone().or_else(|| interface_of(group.local)),
            source: None,
        };
        let socket = udp::receive(&listen)?;
        let what = || format!("receiving {}", SocketAddr::new(group.address, group.port));
        let intake = Intake::new(socket).map_err(|error| SocketError::new(what(), error))?;
        self.groups.insert(group, intake);
        Ok(())
    }

    /// Receives it no more.
    pub(super) fn leave(&mut self, group: Group) {
        if let Some(intake) = self.groups.remove(&group) {
            self.past += intake.counters();
        }
    }

    /// What has been received at all groups.
    pub(super) fn counters(&self) -> Counters {
        let mut total = self.past;
        self.groups.values().for_each(|intake| total += intake.counters());
        total
    }

    /// Sends a P4 datagram from `from`.
    pub(super) fn send_control(
        &mut self,
        from: IpAddr,
        to: SocketAddr,
        bytes: &[u8],
    ) -> Result<(), SocketError> {
        if self.control.as_ref().is_none_or(|control| control.bound != from) {
            self.control = Some(Control::bind(from)?);
        }
        let Some(control) = &self.control else { return Ok(()) };
        match control.sender.send_to(bytes, to) {
            Ok(_) => Ok(()),
            // A full buffer: the keeper repeats.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            // What an earlier datagram met (no listener there); the socket is fine.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(error) => Err(SocketError::new(format!("sending to {to}"), error)),
        }
    }

    /// Waits until a socket holds something.
    pub(super) async fn ready(&self) -> Ready {
        poll_fn(|context| {
            // Media first: their buffer is the one that overflows.
            for (group, intake) in &self.groups {
                if intake.poll_ready(context).is_ready() {
                    return Poll::Ready(Ready::Media(*group));
                }
            }
            match &self.control {
                Some(control) if control.receiver.poll_recv_ready(context).is_ready() => {
                    Poll::Ready(Ready::Control)
                }
                _ => Poll::Pending,
            }
        })
        .await
    }

    /// Hands the datagrams of a group that wait to `each`, those of one call.
    pub(super) fn media(&mut self, group: Group, mut each: impl FnMut(&[u8])) {
        // What an error would tell of is nothing that was sent to us; the socket is fine.
        let _ = self.groups.get_mut(&group).map(|intake| intake.take(|_, datagram| each(datagram)));
    }

    /// The next datagram of the P4 socket.
    pub(super) fn control<'a>(&self, buffer: &'a mut AnswerBuffer) -> Option<(SocketAddr, &'a [u8])> {
        let control = self.control.as_ref()?;
        let (len, from) = control.receiver.try_recv_from(buffer).ok()?;
        Some((from, buffer.get(..len)?))
    }
}

impl Control {
    fn bind(local: IpAddr) -> Result<Self, SocketError> {
        let sender = udp::ask_from(local)?;
        let both = sender.try_clone().and_then(adopt);
        let receiver = both.map_err(|error| SocketError::new(format!("UDP on {local}"), error))?;
        Ok(Self { bound: local, sender, receiver })
    }
}

fn adopt(socket: StdSocket) -> io::Result<UdpSocket> {
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// The interface that has `local`, if that is an address that an interface can have.
fn interface_of(local: IpAddr) -> Option<String> {
    let text = local.to_string();
    interface::find(&text).is_ok().then_some(text)
}
