//! Session Announcement Protocol packets (RFC 2974 §6) and the addresses that they go to (§3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// UDP port of all announcements.
pub const PORT: u16 = 9_875;

/// Whether a session is there, or no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is.
    Announcement,
    /// It is not.
    Deletion,
}

/// A packet; `hash` and `origin` together name the session, `payload` is its SDP or, of a deletion, the origin line.
pub fn packet(kind: Kind, hash: u16, origin: IpAddr, payload: &str) -> Vec<u8> {
    let version_1 = 0b0010_0000;
    let flags = u8::from(origin.is_ipv6()) << 4 | u8::from(kind == Kind::Deletion) << 2;
    let mut packet = vec![version_1 | flags, 0];
    packet.extend(hash.to_be_bytes());
    match origin {
        IpAddr::V4(v4) => packet.extend(v4.octets()),
        IpAddr::V6(v6) => packet.extend(v6.octets()),
    }
    packet.extend(b"application/sdp\0");
    packet.extend(payload.as_bytes());
    packet
}

/// Where sessions of a group are announced: the highest address of its administrative scope (RFC 2365), of others the global one.
pub fn address(group: IpAddr) -> IpAddr {
    match group {
        IpAddr::V4(v4) => match v4.octets() {
            [239, 253..=255, ..] => Ipv4Addr::new(239, 255, 255, 255).into(),
            [239, 192..=195, ..] => Ipv4Addr::new(239, 195, 255, 255).into(),
            _ => Ipv4Addr::new(224, 2, 127, 254).into(),
        },
        IpAddr::V6(v6) => {
            let scope = v6.segments()[0] & 0xf;
            Ipv6Addr::new(0xff00 | scope, 0, 0, 0, 0, 0, 2, 0x7ffe).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements_and_deletions_on_the_wire() {
        let v4 = packet(Kind::Announcement, 0x1234, IpAddr::from([10, 0, 0, 2]), "v=0\r\n");
        assert_eq!(v4, *b"\x20\0\x12\x34\x0a\0\0\x02application/sdp\0v=0\r\n");
        let v6 = packet(Kind::Deletion, 1, "fd00::2".parse().unwrap(), "o=");
        assert_eq!(v6[..4], [0x34, 0, 0, 1]);
        assert_eq!(v6[4..], *b"\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02application/sdp\0o=");
    }

    #[test]
    fn each_scope_has_its_address() {
        for (group, expected) in [
            ("239.255.1.1", "239.255.255.255"),
            ("239.192.1.1", "239.195.255.255"),
            ("239.195.255.1", "239.195.255.255"),
            ("239.1.1.1", "224.2.127.254"),
            ("224.2.200.1", "224.2.127.254"),
            ("ff15::1", "ff05::2:7ffe"),
            ("ff38::1", "ff08::2:7ffe"),
        ] {
            assert_eq!(address(group.parse().unwrap()).to_string(), expected);
        }
    }
}
