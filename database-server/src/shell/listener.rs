//! Ports: opening them, taking connections within limits, receiving datagrams.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use link::openings::{Opening, Openings};
use link::udp::{self, SocketError};
use protocols::p4_control::MAX_DATAGRAM_BYTES;
use protocols::preamble::Protocol;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::driver::Event;
use super::tally::Tally;
use super::{Error, Events};

/// Connections of one port that may be between their call and the end of their handshake; one more waits until one is
/// through or gives way.
pub(super) const MAX_OPENING: usize = 1_024;
/// Connections that the kernel holds for us before they are taken; it may hold fewer (`net.core.somaxconn`).
const BACKLOG: i32 = 4_096;
/// After a failure to take connections, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A closed connection is read for this long, so that the last message is not lost to a reset.
pub(super) const LINGER: Duration = Duration::from_millis(500);
/// Stands for an address that the operating system did not tell.
pub(super) const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// What becomes of a connection once it is taken.
pub(super) trait Service: Clone + Send + Sync + 'static {
    /// Serves one connection to its end; the handshake is run by `opening`.
    fn connection(
        self,
        stream: TcpStream,
        peer: SocketAddr,
        opening: Opening,
    ) -> impl Future<Output = ()> + Send;
}

/// Opens a TCP port; on all addresses of both families unless `listen` names one.
pub(super) fn bind(what: &str, listen: Option<IpAddr>, port: u16) -> Result<TcpListener, Error> {
    let listener = match listen {
        Some(address) => tcp(SocketAddr::new(address, port)),
        None => match tcp((Ipv6Addr::UNSPECIFIED, port).into()) {
            // A host without IPv6.
            Err(error)
                if error.kind() != io::ErrorKind::AddrInUse
                    && error.kind() != io::ErrorKind::PermissionDenied =>
            {
                tcp((Ipv4Addr::UNSPECIFIED, port).into())
            }
            other => other,
        },
    };
    let on = listen.map_or("all addresses".to_owned(), |address| address.to_string());
    listener.map_err(|error| SocketError::new(format!("{what}: TCP port {port} on {on}"), error).into())
}

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Only lets a restarted server have its port back while old connections die; it does not share the port.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Opens the source of P4: any port, both families where the host has both.
pub(super) fn bind_control() -> Result<UdpSocket, Error> {
    let socket = udp::bind((Ipv6Addr::UNSPECIFIED, 0).into())
        .or_else(|_| udp::bind((Ipv4Addr::UNSPECIFIED, 0).into()))?;
    let open = |socket: std::net::UdpSocket| {
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket)
    };
    open(socket).map_err(|error| SocketError::new("the source of P4".to_owned(), error).into())
}

/// The address of a listener.
pub(super) fn local(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().unwrap_or(UNKNOWN)
}

/// Takes connections for ever; dropping the future ends all of them.
pub(super) async fn serve(listener: TcpListener, protocol: Protocol, service: impl Service) {
    let mut connections = JoinSet::new();
    let mut openings = Openings::new(MAX_OPENING);
    loop {
        let taken = tokio::select! {
            taken = listener.accept() => taken,
            Some(_) = connections.join_next() => continue,
        };
        match taken {
            Ok((stream, peer)) => {
                // Small messages must not wait for each other; without the option they are only later.
                let _ = stream.set_nodelay(true);
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                let opening = openings.begin().await;
                connections.spawn(service.clone().connection(stream, peer, opening));
            }
            Err(error) => {
                warn!(protocol = protocol.number(), %error, "connections cannot be taken for now; raise the limit of open files?");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Ends a connection so that what was sent last arrives.
pub(super) async fn close(mut stream: TcpStream) {
    let _ = timeout(LINGER, async {
        let _ = stream.shutdown().await;
        let mut rest = [0; 4096];
        while matches!(stream.read(&mut rest).await, Ok(1..)) {}
    })
    .await;
}

/// Receives datagrams for ever. What the driver has no place for is dropped: its sender repeats it.
pub(super) async fn receive(socket: Arc<UdpSocket>, events: Events, tally: Arc<Tally>) {
    // One byte more than allowed, so that a longer one shows.
    let mut buffer = [0; MAX_DATAGRAM_BYTES + 1];
    loop {
        // Errors of this call are those of earlier sends, such as a host's port being closed.
        let Ok((len, from)) = socket.recv_from(&mut buffer).await else { continue };
        let event = Event::Datagram { from, bytes: buffer[..len].to_vec() };
        if events.try_send(event).is_err() {
            tally.datagrams_dropped.add();
        }
    }
}

/// `to` as `socket` takes it: an IPv6 socket reaches IPv4 by mapped addresses.
pub(super) fn reachable(socket: &UdpSocket, to: SocketAddr) -> SocketAddr {
    match (socket.local_addr(), to) {
        (Ok(SocketAddr::V6(_)), SocketAddr::V4(v4)) => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
        _ => to,
    }
}
