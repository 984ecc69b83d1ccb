//! IGMP (RFC 1112, 2236, 3376), MLD (RFC 2710, 3810) and Multicast Router Discovery (RFC 4286) as whole IP packets:
//! what was heard, verified, and what is said.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::timing::Timing;

/// Longest packet looked at; a longer one comes cut off, and is then refused for its length.
pub const MAX_PACKET_BYTES: usize = 9_216;

/// A packet whose IP header and checksum are right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Who sent it.
    pub source: IpAddr,
    /// What.
    pub message: Message,
}

/// What hosts and routers say of groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Who is there?
    Query(Query),
    /// We are, or are no more.
    Report(Vec<Record>),
    /// A switch asks for routers.
    Solicitation,
    /// What routers tell switches, and what this program does not know.
    Other,
}

/// A query of a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// `None`: about all groups.
    pub group: Option<IpAddr>,
    /// Whether it asks for single sources; and then, whether for ours.
    pub sources: Option<bool>,
    /// S flag: routers' timers are not to be lowered.
    pub suppress: bool,
    /// The querier's robustness, where it says it.
    pub robustness: Option<u32>,
    /// The querier's interval, where it says it.
    pub interval: Option<Duration>,
}

/// What one report says of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// How.
    pub kind: RecordKind,
    /// The group.
    pub group: IpAddr,
    /// Whether the sources listed hold ours.
    pub lists_us: bool,
    /// The version of the report.
    pub version: Version,
}

/// RFC 3376 §4.2.12.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// `MODE_IS_INCLUDE`
    IsInclude,
    /// `MODE_IS_EXCLUDE`
    IsExclude,
    /// `CHANGE_TO_INCLUDE_MODE`
    ToInclude,
    /// `CHANGE_TO_EXCLUDE_MODE`
    ToExclude,
    /// `ALLOW_NEW_SOURCES`
    Allow,
    /// `BLOCK_OLD_SOURCES`
    Block,
}

/// Versions of IGMP; MLDv1 does what IGMPv2 does, MLDv2 what IGMPv3 does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// IGMPv1: nobody leaves.
    One,
    /// IGMPv2, MLDv1: no sources.
    Two,
    /// IGMPv3, MLDv2.
    Three,
}

/// Why a packet is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Lengths that do not fit.
    Length,
    /// A wrong checksum.
    Checksum,
    /// It came through a router, or pretends to: TTL or hop limit is not 1.
    TimeToLive,
    /// No router alert, which all but IGMPv1 have.
    RouterAlert,
    /// A source that cannot be on this network.
    Source,
    /// A general query that was not sent to all.
    Destination,
}

/// Reads an IP packet as it came from the interface. `us`: the source of our streams there.
pub fn parse(packet: &[u8], us: IpAddr) -> Result<Heard, Flaw> {
    match us {
        IpAddr::V4(us) => parse_v4(packet, us),
        IpAddr::V6(_) => parse_v6(packet, us),
    }
}

/// A query; about `group`, or about `us` as source of it, or about all.
pub fn query(from: IpAddr, about: About, suppress: bool, timing: &Timing) -> (IpAddr, Vec<u8>) {
    let (group, us) = match about {
        About::All => (None, None),
        About::Group(group) => (Some(group), None),
        About::Source { group, us } => (Some(group), Some(us)),
    };
    let response =
        if group.is_some() { timing.last_member_query_interval } else { timing.query_response_interval };
    let flags =
        u8::from(suppress) << 3 | u8::try_from(timing.robustness).ok().filter(|qrv| *qrv < 8).unwrap_or(0);
    let interval = code8(u32::try_from(timing.query_interval.as_secs()).unwrap_or(u32::MAX));
    match from {
        IpAddr::V4(from) => {
            let tenths = u32::try_from(response.as_millis() / 100).unwrap_or(u32::MAX);
            let mut body = vec![0x11, code8(tenths), 0, 0];
            body.extend(v4(group).unwrap_or(Ipv4Addr::UNSPECIFIED).octets());
            body.extend([flags, interval, 0, u8::from(us.is_some())]);
            body.extend(v4(us).into_iter().flat_map(|us| us.octets()));
            let to = v4(group).unwrap_or(ALL_SYSTEMS);
            (to.into(), packet_v4(from, to, body))
        }
        IpAddr::V6(from) => {
            let [high, low] = code16(u32::try_from(response.as_millis()).unwrap_or(u32::MAX)).to_be_bytes();
            let mut body = vec![130, 0, 0, 0, high, low, 0, 0];
            body.extend(v6(group).unwrap_or(Ipv6Addr::UNSPECIFIED).octets());
            body.extend([flags, interval, 0, u8::from(us.is_some())]);
            body.extend(v6(us).into_iter().flat_map(|us| us.octets()));
            let to = v6(group).unwrap_or(ALL_NODES);
            (to.into(), packet_v6(from, to, body))
        }
    }
}

/// What a query asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// All groups.
    All,
    /// One group.
    Group(IpAddr),
    /// One group and one source of it.
    Source {
        /// The group.
        group: IpAddr,
        /// The source.
        us: IpAddr,
    },
}

/// "Here is a multicast router", for switches (RFC 4286 §3.3.1); again within `interval`.
pub fn advertisement(from: IpAddr, interval: Duration, timing: &Timing) -> (IpAddr, Vec<u8>) {
    let seconds = u8::try_from(interval.as_secs()).unwrap_or(u8::MAX);
    let every = u16::try_from(timing.query_interval.as_secs()).unwrap_or(u16::MAX).to_be_bytes();
    let robustness = u16::try_from(timing.robustness).unwrap_or(u16::MAX).to_be_bytes();
    router_message(from, [0x30, 151], seconds, &[every, robustness].concat())
}

/// "Here is one no more" (RFC 4286 §3.3.3).
pub fn termination(from: IpAddr) -> (IpAddr, Vec<u8>) {
    router_message(from, [0x32, 153], 0, &[])
}

fn router_message(from: IpAddr, [v4_kind, v6_kind]: [u8; 2], second: u8, rest: &[u8]) -> (IpAddr, Vec<u8>) {
    match from {
        IpAddr::V4(from) => {
            let body = [&[v4_kind, second, 0, 0], rest].concat();
            (ALL_SNOOPERS.into(), packet_v4(from, ALL_SNOOPERS, body))
        }
        IpAddr::V6(from) => {
            let body = [&[v6_kind, second, 0, 0], rest].concat();
            (ALL_SNOOPERS_6.into(), packet_v6(from, ALL_SNOOPERS_6, body))
        }
    }
}

fn parse_v4(packet: &[u8], us: Ipv4Addr) -> Result<Heard, Flaw> {
    let header_bytes = usize::from(packet.first().ok_or(Flaw::Length)? & 0xf) * 4;
    let total = usize::from(u16_at(packet, 2)?);
    if packet[0] >> 4 != 4 || header_bytes < 20 || total < header_bytes + 8 {
        return Err(Flaw::Length);
    }
    let (header, body) = packet.get(..total).ok_or(Flaw::Length)?.split_at(header_bytes);
    // Fragments are none of a host's: reports fit a packet.
    if u16_at(header, 6)? & 0x3fff != 0 || header[9] != IGMP {
        return Err(Flaw::Length);
    }
    if sum(&[header]) != 0xffff || sum(&[body]) != 0xffff {
        return Err(Flaw::Checksum);
    }
    if header[8] != 1 {
        return Err(Flaw::TimeToLive);
    }
    let source = v4_at(header, 12)?;
    if source.is_multicast() || source.is_broadcast() || source.is_loopback() {
        return Err(Flaw::Source);
    }
    let alerted = options_v4(&header[20..]);
    if !alerted && body[0] != 0x12 && !is_v1_query(body) {
        return Err(Flaw::RouterAlert);
    }
    let group = v4_at(body, 4)?;
    let single =
        |kind, version| Message::Report(vec![Record { kind, group: group.into(), lists_us: false, version }]);
    let message = match body[0] {
        0x11 => {
            let about = (!group.is_unspecified()).then_some(IpAddr::V4(group));
            if about.is_none() && v4_at(header, 16)? != ALL_SYSTEMS {
                return Err(Flaw::Destination);
            }
            Message::Query(query_of(body, 8, about, us.into())?)
        }
        0x12 => single(RecordKind::IsExclude, Version::One),
        0x16 => single(RecordKind::IsExclude, Version::Two),
        0x17 => single(RecordKind::ToInclude, Version::Two),
        0x22 => Message::Report(records(body, us.into())?),
        0x31 => Message::Solicitation,
        _ => Message::Other,
    };
    Ok(Heard { source: source.into(), message })
}

fn is_v1_query(body: &[u8]) -> bool {
    body.len() == 8 && body[0] == 0x11 && body[1] == 0
}

/// Whether IPv4 options have a router alert (RFC 2113).
fn options_v4(mut options: &[u8]) -> bool {
    while let [kind, rest @ ..] = options {
        match (*kind, rest) {
            (0, _) => return false,
            (1, _) => options = rest,
            (0x94, [4, ..]) => return true,
            (_, [length, ..]) if *length >= 2 => {
                let Some(next) = options.get(usize::from(*length)..) else { return false };
                options = next;
            }
            _ => return false,
        }
    }
    false
}

fn parse_v6(packet: &[u8], us: IpAddr) -> Result<Heard, Flaw> {
    let payload = usize::from(u16_at(packet, 4)?);
    let packet = packet.get(..40 + payload).ok_or(Flaw::Length)?;
    if packet[0] >> 4 != 6 {
        return Err(Flaw::Length);
    }
    if packet[6] != 0 {
        return Err(Flaw::RouterAlert);
    }
    // Hop-by-hop options (RFC 8200 §4.3) with the router alert of MLD (RFC 2711).
    let options_bytes = 8 + 8 * usize::from(*packet.get(41).ok_or(Flaw::Length)?);
    let options = packet.get(42..40 + options_bytes).ok_or(Flaw::Length)?;
    let body = &packet[40 + options_bytes..];
    if packet[40] != ICMPV6 || body.len() < 8 {
        return Err(Flaw::Length);
    }
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    if sum(&[&packet[8..40], &length, &[0, 0, 0, ICMPV6], body]) != 0xffff {
        return Err(Flaw::Checksum);
    }
    if packet[7] != 1 {
        return Err(Flaw::TimeToLive);
    }
    if !options_v6(options) {
        return Err(Flaw::RouterAlert);
    }
    let (source, to) = (v6_at(packet, 8)?, v6_at(packet, 24)?);
    if !source.is_unicast_link_local() {
        return Err(Flaw::Source);
    }
    let group = |body: &[u8]| v6_at(body, 8);
    let single = |kind, group| {
        let record = Record { kind, group: IpAddr::V6(group), lists_us: false, version: Version::Two };
        Message::Report(vec![record])
    };
    let message = match body[0] {
        130 => {
            let group = group(body)?;
            let about = (!group.is_unspecified()).then_some(IpAddr::V6(group));
            if about.is_none() && to != ALL_NODES {
                return Err(Flaw::Destination);
            }
            Message::Query(query_of(body, 24, about, us)?)
        }
        131 => single(RecordKind::IsExclude, group(body)?),
        132 => single(RecordKind::ToInclude, group(body)?),
        143 => Message::Report(records(body, us)?),
        152 => Message::Solicitation,
        _ => Message::Other,
    };
    Ok(Heard { source: source.into(), message })
}

/// Whether hop-by-hop options have the router alert of MLD.
fn options_v6(mut options: &[u8]) -> bool {
    while let [kind, rest @ ..] = options {
        options = match (*kind, rest) {
            (0, _) => rest,
            (5, [2, 0, 0, ..]) => return true,
            (_, [length, data @ ..]) if data.len() >= usize::from(*length) => &data[usize::from(*length)..],
            _ => return false,
        };
    }
    false
}

/// What a query asks; `old` bytes long it is of an older version, which says less.
fn query_of(body: &[u8], old: usize, group: Option<IpAddr>, us: IpAddr) -> Result<Query, Flaw> {
    if body.len() == old {
        return Ok(Query { group, sources: None, suppress: false, robustness: None, interval: None });
    }
    let [flags, interval] = *body.get(old..old + 2).ok_or(Flaw::Length)? else { return Err(Flaw::Length) };
    let count = usize::from(u16_at(body, old + 2)?);
    let listed = sources(body.get(old + 4..).unwrap_or_default(), count, us)?;
    let robustness = Some(u32::from(flags & 7)).filter(|robustness| *robustness > 0);
    let interval = Some(value8(interval)).filter(|seconds| *seconds > 0);
    Ok(Query {
        group,
        sources: (count > 0).then_some(listed.0),
        suppress: flags & 8 != 0,
        robustness,
        interval: interval.map(|seconds| Duration::from_secs(seconds.into())),
    })
}

/// Whether the first `count` addresses hold ours, and how many bytes they are.
fn sources(bytes: &[u8], count: usize, us: IpAddr) -> Result<(bool, usize), Flaw> {
    let size = if us.is_ipv4() { 4 } else { 16 };
    let bytes = bytes.get(..count * size).ok_or(Flaw::Length)?;
    let ours = match us {
        IpAddr::V4(us) => bytes.chunks(size).any(|one| one == us.octets()),
        IpAddr::V6(us) => bytes.chunks(size).any(|one| one == us.octets()),
    };
    Ok((ours, bytes.len()))
}

/// The records of an IGMPv3 or MLDv2 report; those of unknown kinds are passed over (RFC 3376 §4.2.12).
fn records(body: &[u8], us: IpAddr) -> Result<Vec<Record>, Flaw> {
    let count = usize::from(u16_at(body, 6)?);
    let mut rest = body.get(8..).ok_or(Flaw::Length)?;
    let mut records = Vec::new();
    for _ in 0..count {
        let (auxiliary, listed) =
            (usize::from(*rest.get(1).ok_or(Flaw::Length)?) * 4, usize::from(u16_at(rest, 2)?));
        let (group, head): (IpAddr, usize) =
            if us.is_ipv4() { (v4_at(rest, 4)?.into(), 8) } else { (v6_at(rest, 4)?.into(), 20) };
        let (lists_us, bytes) = sources(rest.get(head..).ok_or(Flaw::Length)?, listed, us)?;
        let kind = match rest[0] {
            1 => Some(RecordKind::IsInclude),
            2 => Some(RecordKind::IsExclude),
            3 => Some(RecordKind::ToInclude),
            4 => Some(RecordKind::ToExclude),
            5 => Some(RecordKind::Allow),
            6 => Some(RecordKind::Block),
            _ => None,
        };
        records.extend(kind.map(|kind| Record { kind, group, lists_us, version: Version::Three }));
        rest = rest.get(head + bytes + auxiliary..).ok_or(Flaw::Length)?;
    }
    Ok(records)
}

/// An IGMP packet with TTL 1, internetwork control precedence and router alert.
fn packet_v4(from: Ipv4Addr, to: Ipv4Addr, mut body: Vec<u8>) -> Vec<u8> {
    let checksum = !sum(&[&body]);
    body[2..4].copy_from_slice(&checksum.to_be_bytes());
    let total = u16::try_from(24 + body.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut packet = vec![0x46, 0xc0, total[0], total[1], 0, 0, 0, 0, 1, IGMP, 0, 0];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend([0x94, 4, 0, 0]);
    let checksum = !sum(&[&packet]);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(body);
    packet
}

/// An ICMPv6 packet with hop limit 1 and router alert.
fn packet_v6(from: Ipv6Addr, to: Ipv6Addr, mut body: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let checksum = !sum(&[&from.octets(), &to.octets(), &length.to_be_bytes(), &[0, 0, 0, ICMPV6], &body]);
    body[2..4].copy_from_slice(&checksum.to_be_bytes());
    let payload = u16::try_from(8 + body.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, payload[0], payload[1], 0, 1];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend([ICMPV6, 0, 5, 2, 0, 0, 1, 0]);
    packet.extend(body);
    packet
}

/// The Internet checksum's sum (RFC 1071): 0xffff over what carries a right one.
fn sum(pieces: &[&[u8]]) -> u16 {
    let mut sum = 0_u64;
    for piece in pieces {
        for pair in piece.chunks(2) {
            sum += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}

/// A number as the standards' one-byte code (RFC 3376 §4.1.1), rounded down.
fn code8(value: u32) -> u8 {
    if value < 128 {
        return u8::try_from(value).unwrap_or(u8::MAX);
    }
    let shift = (27 - value.leading_zeros()).min(10);
    let mantissa = (value >> shift).min(0x1f) & 0xf;
    let exponent = shift - 3;
    u8::try_from(0x80 | exponent << 4 | mantissa).unwrap_or(u8::MAX)
}

fn value8(code: u8) -> u32 {
    let code = u32::from(code);
    if code < 128 { code } else { (code & 0xf | 0x10) << ((code >> 4 & 7) + 3) }
}

/// A number as MLDv2's two-byte code (RFC 3810 §5.1.3), rounded down.
fn code16(value: u32) -> u16 {
    if value < 32_768 {
        return u16::try_from(value).unwrap_or(u16::MAX);
    }
    let shift = (19 - value.leading_zeros()).min(10);
    let mantissa = (value >> shift).min(0x1fff) & 0xfff;
    u16::try_from(0x8000 | (shift - 3) << 12 | mantissa).unwrap_or(u16::MAX)
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Flaw> {
    let bytes = bytes.get(at..at + 2).ok_or(Flaw::Length)?;
    Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn v4_at(bytes: &[u8], at: usize) -> Result<Ipv4Addr, Flaw> {
    let bytes = bytes.get(at..at + 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    bytes.map(Ipv4Addr::from).ok_or(Flaw::Length)
}

fn v6_at(bytes: &[u8], at: usize) -> Result<Ipv6Addr, Flaw> {
    let bytes = bytes.get(at..at + 16).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    bytes.map(Ipv6Addr::from).ok_or(Flaw::Length)
}

fn v4(address: Option<IpAddr>) -> Option<Ipv4Addr> {
    match address {
        Some(IpAddr::V4(v4)) => Some(v4),
        _ => None,
    }
}

fn v6(address: Option<IpAddr>) -> Option<Ipv6Addr> {
    match address {
        Some(IpAddr::V6(v6)) => Some(v6),
        _ => None,
    }
}

const IGMP: u8 = 2;
const ICMPV6: u8 = 58;
const ALL_SYSTEMS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
const ALL_SNOOPERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 106);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_SNOOPERS_6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x6a);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn us() -> IpAddr {
        "10.0.1.1".parse().unwrap()
    }

    fn from_host(body: &[u8]) -> Vec<u8> {
        packet_v4("10.0.1.9".parse().unwrap(), "224.0.0.22".parse().unwrap(), body.to_vec())
    }

    fn records_of(packet: &[u8], us: IpAddr) -> Vec<Record> {
        match parse(packet, us) {
            Ok(Heard { message: Message::Report(records), .. }) => records,
            other => panic!("{other:?}"),
        }
    }

    /// A general query as Linux, tcpdump and RFC 3376 §4.1 have it.
    #[test]
    fn a_general_query_on_the_wire() {
        let (to, packet) = query(us(), About::All, false, &Timing::default());
        assert_eq!(to.to_string(), "224.0.0.1");
        let mut expected = vec![0x46, 0xc0, 0, 36, 0, 0, 0, 0, 1, 2, 0x39, 0x12, 10, 0, 1, 1, 224, 0, 0, 1];
        expected.extend([0x94, 4, 0, 0, 0x11, 100, 0xec, 0x1e, 0, 0, 0, 0, 2, 125, 0, 0]);
        assert_eq!(packet, expected);
        let heard = parse(&packet, us()).unwrap();
        let interval = Some(Duration::from_secs(125));
        let asked = Query { group: None, sources: None, suppress: false, robustness: Some(2), interval };
        assert_eq!(heard, Heard { source: us(), message: Message::Query(asked) });
    }

    #[test]
    fn queries_about_a_group_and_a_source_read_as_written() {
        let six: IpAddr = "fe80::1".parse().unwrap();
        for (us, group) in [(us(), "239.1.1.1"), (six, "ff15::1")] {
            let group: IpAddr = group.parse().unwrap();
            let (to, packet) = query(us, About::Source { group, us }, true, &Timing::default());
            assert_eq!(to, group);
            let Message::Query(heard) = parse(&packet, us).unwrap().message else { panic!() };
            assert_eq!((heard.group, heard.sources, heard.suppress), (Some(group), Some(true), true));
        }
    }

    #[test]
    fn reports_of_all_versions_are_read() {
        let group: IpAddr = "239.1.1.1".parse().unwrap();
        for (kind, expected) in [
            (0x12, (RecordKind::IsExclude, Version::One)),
            (0x16, (RecordKind::IsExclude, Version::Two)),
            (0x17, (RecordKind::ToInclude, Version::Two)),
        ] {
            let records = records_of(&from_host(&[kind, 0, 0, 0, 239, 1, 1, 1]), us());
            assert_eq!((records[0].group, (records[0].kind, records[0].version)), (group, expected));
        }
        let mut body = vec![0x22, 0, 0, 0, 0, 0, 0, 2];
        body.extend([1, 1, 0, 2, 239, 1, 1, 1, 10, 0, 1, 7, 10, 0, 1, 1, 9, 9, 9, 9]);
        body.extend([4, 0, 0, 0, 239, 1, 1, 2]);
        let records = records_of(&from_host(&body), us());
        assert_eq!(records.len(), 2);
        assert_eq!((records[0].kind, records[0].lists_us), (RecordKind::IsInclude, true));
        assert_eq!((records[1].kind, records[1].lists_us), (RecordKind::ToExclude, false));
    }

    #[test]
    fn mld_reports_of_both_versions_are_read() {
        let (host, us): (Ipv6Addr, IpAddr) = ("fe80::9".parse().unwrap(), "fe80::1".parse().unwrap());
        let group: Ipv6Addr = "ff15::1".parse().unwrap();
        let mut body = vec![131, 0, 0, 0, 0, 0, 0, 0];
        body.extend(group.octets());
        let records = records_of(&packet_v6(host, group, body), us);
        assert_eq!((records[0].group, records[0].version), (group.into(), Version::Two));
        let mut body = vec![143, 0, 0, 0, 0, 0, 0, 1, 3, 0, 0, 0];
        body.extend(group.octets());
        let records = records_of(&packet_v6(host, "ff02::16".parse().unwrap(), body), us);
        assert_eq!((records[0].kind, records[0].version), (RecordKind::ToInclude, Version::Three));
    }

    #[test]
    fn what_is_not_right_is_refused_for_its_reason() {
        let good = from_host(&[0x16, 0, 0, 0, 239, 1, 1, 1]);
        let change = |at: usize, to: u8| {
            let mut packet = good.clone();
            packet[at] = to;
            packet[10..12].fill(0);
            let checksum = !sum(&[&packet[..24]]);
            packet[10..12].copy_from_slice(&checksum.to_be_bytes());
            packet
        };
        assert_eq!(parse(&change(8, 2), us()), Err(Flaw::TimeToLive));
        assert_eq!(parse(&change(20, 0), us()), Err(Flaw::RouterAlert));
        assert_eq!(parse(&change(12, 239), us()), Err(Flaw::Source));
        assert_eq!(parse(&change(31, 2), us()), Err(Flaw::Checksum));
        assert_eq!(parse(&good[..30], us()), Err(Flaw::Length));
        let elsewhere = packet_v4(
            "10.0.1.9".parse().unwrap(),
            "10.0.1.1".parse().unwrap(),
            vec![0x11, 100, 0, 0, 0, 0, 0, 0],
        );
        assert_eq!(parse(&elsewhere, us()), Err(Flaw::Destination));
        let more = from_host(&[0x22, 0, 0, 0, 0, 0, 0xff, 0xff, 4, 0, 0, 0, 239, 1, 1, 1]);
        assert_eq!(parse(&more, us()), Err(Flaw::Length));
    }

    #[test]
    fn codes_say_what_they_can() {
        for (value, code) in
            [(0, 0), (127, 127), (128, 0x80), (3_600, 0xcc), (31_744, 0xff), (u32::MAX, 0xff)]
        {
            assert_eq!(code8(value), code, "{value}");
        }
        assert!(
            (128..31_744)
                .all(|value| value8(code8(value)) <= value && value8(code8(value)) > value - value / 16)
        );
        assert_eq!((code16(10_000), code16(32_768)), (10_000, 0x8000));
    }

    proptest! {
        /// Whatever comes, whatever its checksums, it is answered without a panic.
        #[test]
        fn hostile_packets_never_panic(
            mut packet in proptest::collection::vec(any::<u8>(), 0..200),
            kind in proptest::sample::select(vec![0x11_u8, 0x12, 0x16, 0x17, 0x22, 0x31, 130, 131, 132, 143]),
            sixth in any::<bool>(),
        ) {
            let whole = if sixth {
                packet.insert(0, kind);
                packet.resize(packet.len().max(8), 0);
                packet[1..4].fill(0);
                packet_v6("fe80::9".parse().unwrap(), ALL_NODES, packet.clone())
            } else {
                packet.insert(0, kind);
                packet.resize(packet.len().max(8), 0);
                packet[1..4].fill(0);
                packet_v4("10.0.1.9".parse().unwrap(), ALL_SYSTEMS, packet.clone())
            };
            let us: IpAddr = if sixth { "fe80::1".parse().unwrap() } else { us() };
            drop(parse(&whole, us));
            drop(parse(&packet, us));
            for end in 0..whole.len() {
                drop(parse(&whole[..end], us));
            }
        }
    }
}
