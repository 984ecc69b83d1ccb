//! Capture files, as far as a test of UDP needs them.
//!
//! ```text
//! file   magic:u32 version:u16.u16 zone:i32 sigfigs:u32 snaplen:u32 linktype:u32(1 = Ethernet)
//! packet seconds:u32 fraction:u32 captured:u32 original:u32 bytes[captured]
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// First word of a file with microseconds, in the order of bytes of the machine that wrote it.
const MAGIC_MICROSECONDS: u32 = 0xa1b2_c3d4;

/// A capture: the file for other judges, and the UDP datagrams in it for us.
#[derive(Debug)]
pub struct Pcap {
    /// Where it is.
    pub file: PathBuf,
    /// All packets in it.
    pub packets: usize,
    /// The whole UDP datagrams among them, in order of capture. Fragments are not put together: they count as packets only.
    pub datagrams: Vec<Datagram>,
}

/// A UDP datagram as captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Since 1970.
    pub time: Duration,
    /// Sender.
    pub source: SocketAddr,
    /// Receiver, group or broadcast address.
    pub destination: SocketAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Differentiated services code point, 0 to 63.
    pub dscp: u8,
    /// After the UDP header; its beginning only, where the capture keeps no more.
    pub payload: Vec<u8>,
}

impl Pcap {
    /// Datagrams to `port`, in order.
    pub fn to_port(&self, port: u16) -> impl Iterator<Item = &Datagram> {
        self.datagrams.iter().filter(move |datagram| datagram.destination.port() == port)
    }

    /// All payloads to `port`, one after the other, each without its first `header_bytes` (0, or 12 for plain RTP).
    pub fn payloads_to(&self, port: u16, header_bytes: usize) -> Vec<u8> {
        self.to_port(port).flat_map(|datagram| datagram.payload.iter().skip(header_bytes)).copied().collect()
    }
}

/// Reads what is complete of `file`, which may still be growing.
pub fn read(file: &Path) -> Pcap {
    let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut pcap = Pcap { file: file.into(), packets: 0, datagrams: Vec::new() };
    if bytes.len() < 24 {
        return pcap;
    }
    assert_eq!(
        word(&bytes, 0),
        Some(MAGIC_MICROSECONDS),
        "{} is not a capture of this machine",
        file.display()
    );
    assert_eq!(word(&bytes, 20), Some(1), "{} is not of Ethernet", file.display());
    let mut rest = &bytes[24..];
    while let Some((time, packet, after)) = next_packet(rest) {
        pcap.packets += 1;
        pcap.datagrams.extend(datagram(time, packet));
        rest = after;
    }
    pcap
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn next_packet(bytes: &[u8]) -> Option<(Duration, &[u8], &[u8])> {
    let (seconds, microseconds) = (word(bytes, 0)?, word(bytes, 4)?);
    let time = Duration::from_secs(seconds.into()) + Duration::from_micros(microseconds.into());
    let end = 16 + usize::try_from(word(bytes, 8)?).ok()?;
    Some((time, bytes.get(16..end)?, &bytes[end..]))
}

fn datagram(time: Duration, frame: &[u8]) -> Option<Datagram> {
    match frame.get(12..14)? {
        [0x08, 0x00] => ipv4(time, frame.get(14..)?),
        [0x86, 0xdd] => ipv6(time, frame.get(14..)?),
        _ => None,
    }
}

fn ipv4(time: Duration, packet: &[u8]) -> Option<Datagram> {
    let header_bytes = usize::from(packet.first()? & 0x0f) * 4;
    let total_bytes = usize::from(be16(packet, 2)?);
    // More fragments, or not the first.
    let fragment = be16(packet, 6)? & 0x3fff != 0;
    if packet.get(9)? != &17 || fragment {
        return None;
    }
    let address =
        |at: usize| Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?)));
    let (ttl, dscp) = (packet[8], packet[1] >> 2);
    udp(
        time,
        [address(12)?, address(16)?],
        ttl,
        dscp,
        packet.get(header_bytes..total_bytes.min(packet.len()))?,
    )
}

fn ipv6(time: Duration, packet: &[u8]) -> Option<Datagram> {
    if packet.get(6)? != &17 {
        return None;
    }
    let end = 40 + usize::from(be16(packet, 4)?);
    let address =
        |at: usize| Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?)));
    let traffic_class = (packet[0] << 4) | (packet[1] >> 4);
    udp(
        time,
        [address(8)?, address(24)?],
        packet[7],
        traffic_class >> 2,
        packet.get(40..end.min(packet.len()))?,
    )
}

fn udp(time: Duration, [from, to]: [IpAddr; 2], ttl: u8, dscp: u8, segment: &[u8]) -> Option<Datagram> {
    let source = SocketAddr::new(from, be16(segment, 0)?);
    let destination = SocketAddr::new(to, be16(segment, 2)?);
    let payload = segment.get(8..usize::from(be16(segment, 4)?).min(segment.len()))?.to_vec();
    Some(Datagram { time, source, destination, ttl, dscp, payload })
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}
