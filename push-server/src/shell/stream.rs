//! P5's socket: what is sent to one viewer. All data threads send by it; nothing is read from it.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use link::train::{MAX_SEGMENT_BYTES, MAX_TRAIN, Train};
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

    /// Sends a packet; false when the operating system does not take it. Then it is lost, as on the way: who misses it
    /// asks again.
    pub(super) fn send(&self, to: SocketAddr, packet: &[u8]) -> bool {
        match self.socket.send_to(packet, self.written(to)) {
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
