//! What is said of a session (SDP, RFC 4566): a channel in one group, MPEG-TS in RTP.

use std::net::IpAddr;

/// A channel as it is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session<'a> {
    /// Names it together with its origin. A session that changes is another one, so that its version never grows.
    pub id: u64,
    /// Who made it.
    pub origin: IpAddr,
    /// For people.
    pub name: &'a str,
    /// Where it is sent.
    pub group: IpAddr,
    /// To which port.
    pub port: u16,
    /// How far.
    pub ttl: u8,
}

impl Session<'_> {
    /// The origin line, which alone names the session.
    pub fn origin_line(&self) -> String {
        let Self { id, origin, .. } = self;
        format!("o=- {id} 1 IN {} {origin}\r\n", family(*origin))
    }

    /// The whole description.
    pub fn description(&self) -> String {
        let Self { name, group, port, ttl, .. } = self;
        // IPv6 has no TTL here (RFC 4566 §5.7).
        let reach = if group.is_ipv4() { format!("/{ttl}") } else { String::new() };
        format!(
            "v=0\r\n{}s={name}\r\nc=IN {} {group}{reach}\r\nt=0 0\r\na=tool:masthead\r\na=type:broadcast\r\n\
             m=video {port} RTP/AVP 33\r\na=rtpmap:33 MP2T/90000\r\na=recvonly\r\n",
            self.origin_line(),
            family(*group),
        )
    }
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IP4" } else { "IP6" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_described() {
        let session = Session {
            id: 42,
            origin: "10.0.0.2".parse().unwrap(),
            name: "Été",
            group: "239.192.1.1".parse().unwrap(),
            port: 7601,
            ttl: 4,
        };
        let expected = "v=0\r\no=- 42 1 IN IP4 10.0.0.2\r\ns=Été\r\nc=IN IP4 239.192.1.1/4\r\nt=0 0\r\n\
                        a=tool:masthead\r\na=type:broadcast\r\nm=video 7601 RTP/AVP 33\r\n\
                        a=rtpmap:33 MP2T/90000\r\na=recvonly\r\n";
        assert_eq!(session.description(), expected);
        let six = Session { group: "ff15::1".parse().unwrap(), ..session };
        assert!(six.description().contains("\r\nc=IN IP6 ff15::1\r\n"));
    }
}
