//! UDP sockets as Masthead uses them: bound, joined to groups, aimed at destinations. IPv4 and IPv6 alike.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket, Type};
use thiserror::Error;

use crate::interface::{self, Interface, NoInterface};

/// Receive buffer asked for on media sockets: about three seconds of a 10 Mb/s channel. The kernel may grant less.
pub const MEDIA_BUFFER_BYTES: usize = 4 << 20;

/// Why a socket cannot be had.
#[derive(Debug, Error)]
pub enum SocketError {
    /// The interface does not exist.
    #[error(transparent)]
    Interface(#[from] NoInterface),
    /// The operating system refuses; `advice` says what to do.
    #[error("{what}: {error}{advice}")]
    Io {
        /// What was tried, with address and port.
        what: String,
        /// What the operating system says.
        error: io::Error,
        /// What to do about it; empty or beginning with `; `.
        advice: &'static str,
    },
}

impl SocketError {
    /// Wraps an error of the operating system with what was tried and what to do about it.
    pub fn new(what: String, error: io::Error) -> Self {
        let advice = advice(&error);
        Self::Io { what, error, advice }
    }
}

/// What an administrator can do about a refused socket; empty or beginning with `; `.
pub fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program (or another Masthead daemon) has this port: stop it or choose another port"
        }
        io::ErrorKind::AddrNotAvailable => "; this host has no such address: check it against `ip address`",
        io::ErrorKind::PermissionDenied => {
            "; not permitted: ports below 1024 need CAP_NET_BIND_SERVICE, broadcasts may be stopped by a firewall"
        }
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            "; no route there: check `ip route` and that the interface is up"
        }
        _ => "",
    }
}

/// A socket for a daemon's own port. Exclusive: a second daemon on the port is refused.
pub fn bind(address: SocketAddr) -> Result<UdpSocket, SocketError> {
    let attempt = || -> io::Result<UdpSocket> {
        let socket = new_socket(address.ip())?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.bind(&address.into())?;
        Ok(socket.into())
    };
    attempt()
        .map_err(|error| SocketError::new(format!("UDP port {} on {}", address.port(), address.ip()), error))
}

/// What a receiver listens to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Group, broadcast address, or an address of this host (unspecified: all of them).
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// Interface by name or address; `None`: the routing table's choice.
    pub interface: Option<String>,
    /// Only packets of this sender, by source-specific multicast; IPv4.
    pub source: Option<Ipv4Addr>,
}

/// A socket that receives what is sent to `listen`, beside other sockets of this host that do the same.
///
/// It is bound to the group or broadcast address itself, not to the port alone, so that another group on the same
/// port does not leak in.
pub fn receive(listen: &Listen) -> Result<UdpSocket, SocketError> {
    let interface = listen.interface.as_deref().map(interface::find).transpose()?;
    receive_on(listen, interface.as_ref()).map_err(|error| {
        let by = listen.interface.as_ref().map(|name| format!(" by interface {name}")).unwrap_or_default();
        SocketError::new(format!("receiving {}{by}", SocketAddr::new(listen.address, listen.port)), error)
    })
}

fn receive_on(listen: &Listen, interface: Option<&Interface>) -> io::Result<UdpSocket> {
    let socket = new_socket(listen.address)?;
    socket.set_reuse_address(true)?;
    grow_receive_buffer(&socket);
    if listen.address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&SocketAddr::new(listen.address, listen.port).into())?;
    match listen.address {
        IpAddr::V4(group) if group.is_multicast() => {
            socket.set_multicast_all_v4(false)?;
            join_v4(&socket, group, listen.source, interface)?;
        }
        IpAddr::V6(group) if group.is_multicast() => {
            socket.set_multicast_all_v6(false)?;
            socket.join_multicast_v6(&group, interface.map_or(0, |found| found.index))?;
        }
        _ => {}
    }
    Ok(socket.into())
}

fn join_v4(
    socket: &Socket,
    group: Ipv4Addr,
    source: Option<Ipv4Addr>,
    interface: Option<&Interface>,
) -> io::Result<()> {
    let by_address = interface.and_then(|found| found.ipv4).unwrap_or(Ipv4Addr::UNSPECIFIED);
    match (source, interface) {
        (Some(source), _) => socket.join_ssm_v4(&source, &group, &by_address),
        (None, Some(found)) => {
            socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(found.index))
        }
        (None, None) => socket.join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED),
    }
}

/// Where and how a sender sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aim {
    /// Destination address and port.
    pub to: SocketAddr,
    /// Interface by name or address; `None`: the routing table's choice.
    pub interface: Option<String>,
    /// Multicast TTL, unicast TTL or hop limit.
    pub ttl: u8,
    /// Differentiated services code point, 0..=63.
    pub dscp: u8,
    /// Whether `to` is a broadcast address.
    pub broadcast: bool,
}

/// A non-blocking socket connected to `aim.to`.
pub fn send(aim: &Aim) -> Result<UdpSocket, SocketError> {
    let interface = aim.interface.as_deref().map(interface::find).transpose()?;
    send_by(aim, interface.as_ref()).map_err(|error| {
        let by = aim.interface.as_ref().map(|name| format!(" by interface {name}")).unwrap_or_default();
        SocketError::new(format!("sending to {}{by}", aim.to), error)
    })
}

/// Has `socket` cut what it is given into datagrams of `bytes` each but for the last ("UDP GSO"); 0: no more. An error
/// where the kernel cannot; that the device cannot only a send tells.
pub fn segment(socket: &UdpSocket, bytes: usize) -> io::Result<()> {
    let bytes = i32::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
    Ok(nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::UdpGsoSegment, &bytes)?)
}

fn send_by(aim: &Aim, interface: Option<&Interface>) -> io::Result<UdpSocket> {
    let socket = new_socket(aim.to.ip())?;
    let tos = u32::from(aim.dscp) << 2;
    match aim.to.ip() {
        IpAddr::V4(to) => {
            socket.set_tos_v4(tos)?;
            socket.set_ttl_v4(aim.ttl.into())?;
            socket.set_broadcast(aim.broadcast)?;
            if to.is_multicast() {
                socket.set_multicast_ttl_v4(aim.ttl.into())?;
                socket.set_multicast_loop_v4(true)?;
            }
            aim_v4(&socket, to, interface)?;
        }
        IpAddr::V6(to) => {
            socket.set_tclass_v6(tos)?;
            socket.set_unicast_hops_v6(aim.ttl.into())?;
            if to.is_multicast() {
                socket.set_multicast_hops_v6(aim.ttl.into())?;
                socket.set_multicast_loop_v6(true)?;
                socket.set_multicast_if_v6(interface.map_or(0, |found| found.index))?;
            } else if let Some(found) = interface {
                socket.bind_device(Some(found.name.as_bytes()))?;
            }
        }
    }
    socket.connect(&aim.to.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn aim_v4(socket: &Socket, to: Ipv4Addr, interface: Option<&Interface>) -> io::Result<()> {
    let Some(found) = interface else { return Ok(()) };
    if !to.is_multicast() {
        return socket.bind_device(Some(found.name.as_bytes()));
    }
    if let Some(local) = found.ipv4 {
        socket.set_multicast_if_v4(&local)?;
        // The source address of the packets, which receivers of source-specific multicast ask for.
        socket.bind(&SocketAddr::from((local, 0)).into())?;
    }
    Ok(())
}

/// A socket on `local` (port 0: any) for requests, their answers and what is sent because of them; not connected.
pub fn ask_from(local: IpAddr) -> Result<UdpSocket, SocketError> {
    let socket = bind(SocketAddr::new(local, 0))?;
    grow_receive_buffer(&SockRef::from(&socket));
    Ok(socket)
}

/// The unspecified address of `like`'s family.
pub fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn new_socket(like: IpAddr) -> io::Result<Socket> {
    let domain = if like.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))
}

/// Asks for [`MEDIA_BUFFER_BYTES`]; less is no failure, the kernel's limit is the administrator's.
fn grow_receive_buffer(socket: &Socket) {
    let _ = socket.set_recv_buffer_size(MEDIA_BUFFER_BYTES);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(address: &str) -> Listen {
        Listen {
            address: address.parse().expect("a literal address"),
            port: 0,
            interface: Some("127.0.0.1".to_owned()),
            source: None,
        }
    }

    fn aim(address: &str, port: u16) -> Aim {
        Aim {
            to: SocketAddr::new(address.parse().expect("a literal address"), port),
            interface: Some("127.0.0.1".to_owned()),
            ttl: 1,
            dscp: 34,
            broadcast: address.ends_with(".255"),
        }
    }

    #[test]
    fn what_is_aimed_at_a_group_a_broadcast_or_a_host_address_arrives() {
        for address in ["239.255.77.1", "127.255.255.255", "127.0.0.1"] {
            let receiver = receive(&listen(address)).unwrap();
            receiver.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
            let port = receiver.local_addr().unwrap().port();
            send(&aim(address, port)).unwrap().send(b"x").unwrap();
            let mut bytes = [0; 4];
            assert_eq!(receiver.recv(&mut bytes).unwrap(), 1, "{address}");
        }
    }

    #[test]
    fn two_groups_on_one_port_do_not_cross() {
        let ours = receive(&listen("239.255.77.2")).unwrap();
        let port = ours.local_addr().unwrap().port();
        let theirs = receive(&Listen { port, ..listen("239.255.77.3") }).unwrap();
        theirs.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        send(&aim("239.255.77.3", port)).unwrap().send(b"theirs").unwrap();
        assert_eq!(theirs.recv(&mut [0; 8]).unwrap(), 6);
        ours.set_nonblocking(true).unwrap();
        assert_eq!(ours.recv(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_port_in_use_is_named_with_what_to_do() {
        let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = first.local_addr().unwrap();
        let error = bind(address).unwrap_err().to_string();
        assert!(error.contains(&format!("UDP port {} on 127.0.0.1", address.port())), "{error}");
        assert!(error.contains("stop it or choose another port"), "{error}");
    }

    #[test]
    fn a_missing_interface_is_named() {
        let error = send(&Aim { interface: Some("eth99".to_owned()), ..aim("239.255.77.1", 1) }).unwrap_err();
        assert!(error.to_string().starts_with("no interface `eth99`"), "{error}");
    }
}
