//! P5's socket: what is sent to one viewer. All data threads send by it; nothing is read from it.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use link::train::{MAX_SEGMENT_BYTES, MAX_TRAIN, Train};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};
use protocols::p3_feed::MAX_PACKET_BYTES;

use crate::ring::Run;

const _: () = assert!(MAX_PACKET_BYTES <= MAX_SEGMENT_BYTES, "as many packets as may be are one train");

/// P5's end at the push server.
#[derive(Debug, Clone)]
pub(super) struct StreamSocket {
    socket: Arc<UdpSocket>,
    train: Arc<Train>,
    /// Whether IPv4 addresses are written as IPv6 ones.
    mapped: bool,
}

impl StreamSocket {
    /// Takes a bound socket that does not block.
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        let mapped = socket.local_addr()?.is_ipv6();
        Ok(Self { train: Arc::new(Train::new(&socket)), socket: Arc::new(socket), mapped })
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Sends a packet with a differentiated services code point (0 to 63); false when the operating system does not take it.
    /// Then it is lost, as on the way: who misses it asks again.
    pub(super) fn send(&self, to: SocketAddr, dscp: u8, packet: &[u8]) -> bool {
        let written = self.written(to);
        let (tos, class) = (dscp << 2, i32::from(dscp << 2));
        // A mapped address is IPv4 on the wire.
        let marked = match written.ip().to_canonical() {
            IpAddr::V4(_) => ControlMessage::Ipv4Tos(&tos),
            IpAddr::V6(_) => ControlMessage::Ipv6TClass(&class),
        };
        let (socket, packet) = (self.socket.as_raw_fd(), [IoSlice::new(packet)]);
        let address = SockaddrStorage::from(written);
        match sendmsg(socket, &packet, &[marked], MsgFlags::MSG_DONTWAIT, Some(&address)) {
            Ok(_) => true,
            Err(error) => {
                tracing::trace!(%to, %error, "a packet to one viewer was not taken");
                false
            }
        }
    }

    /// Sends the packets of a run, [`MAX_TRAIN`] by one system call. Answers how many, from the first, the operating system took.
    pub(super) fn send_run(&self, to: SocketAddr, run: Run<'_>) -> Sent {
        let (to, mut sent) = (self.written(to), Sent::default());
        for train in run.bytes().chunks(MAX_TRAIN * MAX_PACKET_BYTES) {
            let taken = self.train.send(&self.socket, to, train, MAX_PACKET_BYTES);
            sent.calls += 1;
            sent.packets += taken;
            if taken < train.len().div_ceil(MAX_PACKET_BYTES) {
                tracing::trace!(%to, "packets to one viewer were not taken");
                break;
            }
        }
        sent
    }

    fn written(&self, to: SocketAddr) -> SocketAddr {
        match to.ip().to_canonical() {
            IpAddr::V4(v4) if self.mapped => SocketAddr::new(v4.to_ipv6_mapped().into(), to.port()),
            ip @ IpAddr::V4(_) => SocketAddr::new(ip, to.port()),
            // As it is: a link-local address has a scope.
            IpAddr::V6(_) => to,
        }
    }
}

/// What came of sending a run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sent {
    /// Packets that the operating system took.
    pub(super) packets: usize,
    /// System calls.
    pub(super) calls: u64,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::sys::socket::{ControlMessageOwned, recvmsg, setsockopt, sockopt};

    use super::*;

    #[test]
    fn a_packet_carries_its_code_point_by_a_socket_of_both_families() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        setsockopt(&receiver, sockopt::IpRecvTos, &true).unwrap();
        for address in ["127.0.0.1:0", "[::]:0"] {
            let stream = StreamSocket::new(UdpSocket::bind(address).unwrap()).unwrap();
            assert!(stream.send(receiver.local_addr().unwrap(), 34, b"packet"));
            let (mut buffer, mut room) = ([0; 64], nix::cmsg_space!([u8; 16]));
            let mut slices = [io::IoSliceMut::new(&mut buffer)];
            let message =
                recvmsg::<()>(receiver.as_raw_fd(), &mut slices, Some(&mut room), MsgFlags::empty()).unwrap();
            let marks: Vec<ControlMessageOwned> = message.cmsgs().unwrap().collect();
            assert_eq!((message.bytes, marks), (6, vec![ControlMessageOwned::Ipv4Tos(34 << 2)]));
        }
    }
}
