//! What hosts say to multicast routers on one interface (IGMP, MLD), and packets made by hand sent there. Linux only.
//!
//! A socket of the Internet family gives a host's reports of a group only to those who have joined it, and who joins it
//! answers queries himself, which would keep silent the very hosts that are to be heard. So this reads packets below the
//! Internet layer (packet(7)), with a filter in the kernel that lets nothing pass but IGMP, or IPv6 with hop-by-hop options
//! and ICMPv6 behind them; and has the interface take in all multicast. It needs `CAP_NET_RAW`.
#![expect(
    unsafe_code,
    reason = "no safe crate binds packet sockets to an interface or has them take in all multicast"
)]

use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd as _;

use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;

use crate::interface::Interface;

/// An open interface.
#[derive(Debug)]
pub struct Tap {
    reader: AsyncFd<Socket>,
    writer: Socket,
    index: u32,
}

impl Tap {
    /// Opens an interface for IGMP, or for MLD (`ipv6`). Call within a tokio runtime.
    pub fn open(interface: &Interface, ipv6: bool) -> io::Result<Self> {
        let reader = Socket::new(Domain::from(libc::AF_PACKET), Type::DGRAM, Some(Protocol::from(0)))?;
        reader.set_nonblocking(true)?;
        reader.attach_filter(if ipv6 { &MLD } else { &IGMP })?;
        let protocol = if ipv6 { libc::ETH_P_IPV6 } else { libc::ETH_P_IP };
        bind(&reader, interface.index, u16::try_from(protocol).unwrap_or_default())?;
        take_in_all_multicast(&reader, interface.index)?;
        let domain = if ipv6 { Domain::IPV6 } else { Domain::IPV4 };
        // Of this protocol the kernel takes whole packets, and gives none.
        let writer = Socket::new(domain, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
        writer.set_nonblocking(true)?;
        writer.bind_device(Some(interface.name.as_bytes()))?;
        if ipv6 {
            writer.set_multicast_if_v6(interface.index)?;
            writer.set_multicast_loop_v6(false)?;
        } else {
            writer.set_multicast_loop_v4(false)?;
        }
        // SAFETY: the socket stays with the `AsyncFd`, is never replaced, and is closed with it.
        let reader = unsafe { AsyncFd::register(reader) }?;
        Ok(Self { reader, writer, index: interface.index })
    }

    /// The next packet, from its IP header on; what does not fit `buffer` is cut off.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.async_io(tokio::io::Interest::READABLE, |mut socket| socket.read(buffer)).await
    }

    /// Sends an IP packet, from its header on, to a group.
    pub fn send(&self, to: IpAddr, packet: &[u8]) -> io::Result<()> {
        let to = match to {
            IpAddr::V4(_) => SocketAddr::new(to, 0),
            IpAddr::V6(v6) => SocketAddr::V6(SocketAddrV6::new(v6, 0, 0, self.index)),
        };
        self.writer.send_to(packet, &to.into()).map(drop)
    }
}

/// Lets the socket have what comes in on one interface, of one protocol of Ethernet.
fn bind(socket: &Socket, index: u32, protocol: u16) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).unwrap_or_default(),
        sll_protocol: protocol.to_be(),
        sll_ifindex: i32::try_from(index).map_err(io::Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = u32::try_from(size_of_val(&address)).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open, and `address` is a whole `sockaddr_ll` of `length` bytes that outlives the call.
    let done = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has the interface give the host all multicast for as long as the socket is open.
fn take_in_all_multicast(socket: &Socket, index: u32) -> io::Result<()> {
    let request = libc::packet_mreq {
        mr_ifindex: i32::try_from(index).map_err(io::Error::other)?,
        mr_type: u16::try_from(libc::PACKET_MR_ALLMULTI).unwrap_or_default(),
        mr_alen: 0,
        mr_address: [0; 8],
    };
    let length = u32::try_from(size_of_val(&request)).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open, and `request` is a whole `packet_mreq` of `length` bytes that outlives the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            (&raw const request).cast(),
            length,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Byte 9 of the IPv4 header is IGMP.
const IGMP: [SockFilter; 4] = [load(9), equal(2, 1), PASS, DROP];
/// Byte 6 of the IPv6 header says hop-by-hop options, which say ICMPv6.
const MLD: [SockFilter; 6] = [load(6), equal(0, 3), load(40), equal(58, 1), PASS, DROP];

const PASS: SockFilter = SockFilter::new(0x06, 0, 0, 0xffff);
const DROP: SockFilter = SockFilter::new(0x06, 0, 0, 0);

/// Loads the byte at an offset.
const fn load(at: u32) -> SockFilter {
    SockFilter::new(0x30, 0, 0, at)
}

/// Goes on where it is `value`, else behind `skip` more.
const fn equal(value: u32, skip: u8) -> SockFilter {
    SockFilter::new(0x15, 0, skip, value)
}
