//! P5's socket: what is sent to one viewer. All data threads send by it; nothing is read from it.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

/// P5's end at the push server.
#[derive(Debug, Clone)]
pub(super) struct StreamSocket {
    socket: Arc<UdpSocket>,
    /// Whether IPv4 addresses are written as IPv6 ones.
    mapped: bool,
}

impl StreamSocket {
    /// Takes a bound socket that does not block.
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        let mapped = socket.local_addr()?.is_ipv6();
        Ok(Self { socket: Arc::new(socket), mapped })
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

    fn written(&self, to: SocketAddr) -> SocketAddr {
        match to.ip().to_canonical() {
            IpAddr::V4(v4) if self.mapped => SocketAddr::new(v4.to_ipv6_mapped().into(), to.port()),
            ip @ IpAddr::V4(_) => SocketAddr::new(ip, to.port()),
            // As it is: a link-local address has a scope.
            IpAddr::V6(_) => to,
        }
    }
}
