//! RTSP 1.0 as SAT>IP uses it: requests without a body, responses with a short one.
//!
//! What comes is put together by [`Responses`]; packets in between (`$`, RFC 2326 §10.12) are passed over.

use std::fmt::Write;

/// Longest head of a response.
pub const MAX_HEAD_BYTES: usize = 4 << 10;
/// Longest body of a response: SDP of all the tuners of a server.
pub const MAX_BODY_BYTES: usize = 16 << 10;

/// A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// `OPTIONS`, `SETUP`, `PLAY` or `TEARDOWN`.
    pub method: &'a str,
    /// `rtsp://…`.
    pub url: &'a str,
    /// Its number; the response has the same.
    pub sequence: u32,
    /// The session that it is for.
    pub session: Option<&'a str>,
    /// How the stream is to come: `RTP/AVP;unicast;client_port=…`.
    pub transport: Option<&'a str>,
}

impl Request<'_> {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("{} {} RTSP/1.0\r\nCSeq: {}\r\n", self.method, self.url, self.sequence);
        for (name, value) in [("Session", self.session), ("Transport", self.transport)] {
            if let Some(value) = value {
                let _ = write!(text, "{name}: {value}\r\n");
            }
        }
        text.push_str("User-Agent: Masthead\r\n\r\n");
        text.into_bytes()
    }
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status (RFC 2326 §7.1.1).
    pub status: u16,
    /// What the server calls it.
    pub reason: String,
    /// Names in lower case, in order.
    fields: Vec<(String, String)>,
    /// The body, what is no UTF-8 replaced.
    pub body: String,
}

impl Response {
    /// The first field of this name, which is given in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The number of the request that it answers.
    pub fn sequence(&self) -> Option<u32> {
        self.field("cseq")?.parse().ok()
    }

    /// Whether the request was carried out.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// What is no RTSP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RtspError {
    /// No end within [`MAX_HEAD_BYTES`], or a body of more than [`MAX_BODY_BYTES`].
    #[error("the server's response is too long")]
    TooLong,
    /// Not `RTSP/1.0 200 OK`.
    #[error("the server speaks no RTSP: `{0}`")]
    NoRtsp(String),
}

/// Puts responses together from what a connection brings.
#[derive(Debug, Default)]
pub struct Responses {
    held: Vec<u8>,
}

impl Responses {
    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// The next whole response; `None` until more has come. After an error the connection is of no use.
    pub fn take(&mut self) -> Result<Option<Response>, RtspError> {
        loop {
            match self.held.as_slice() {
                [b'$', _, high, low, ..] => {
                    let len = 4 + usize::from(u16::from_be_bytes([*high, *low]));
                    if self.held.len() < len {
                        return Ok(None);
                    }
                    self.held.drain(..len);
                }
                // Empty lines before a message are passed over (RFC 2326 §4.1 by way of RFC 2068 §4.1).
                [b'\r' | b'\n', ..] => {
                    let text = self.held.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
                    self.held.drain(..text.unwrap_or(self.held.len()));
                }
                [b'$', ..] | [] => return Ok(None),
                _ => return self.response(),
            }
        }
    }

    fn response(&mut self) -> Result<Option<Response>, RtspError> {
        const END: &[u8] = b"\r\n\r\n";
        let end = self.held.windows(END.len()).take(MAX_HEAD_BYTES).position(|window| window == END);
        let Some(head_bytes) = end.map(|at| at + END.len()) else {
            return if self.held.len() > MAX_HEAD_BYTES { Err(RtspError::TooLong) } else { Ok(None) };
        };
        let head = String::from_utf8_lossy(self.held.get(..head_bytes).unwrap_or_default()).into_owned();
        let mut lines = head.lines();
        let mut response = status_line(lines.next().unwrap_or_default())?;
        response.fields = lines.filter_map(field).collect();
        let body_bytes = match response.field("content-length").map(str::parse) {
            None => 0,
            Some(Ok(len @ ..=MAX_BODY_BYTES)) => len,
            Some(_) => return Err(RtspError::TooLong),
        };
        let Some(body) = self.held.get(head_bytes..head_bytes + body_bytes) else { return Ok(None) };
        response.body = String::from_utf8_lossy(body).into_owned();
        self.held.drain(..head_bytes + body_bytes);
        Ok(Some(response))
    }
}

fn status_line(line: &str) -> Result<Response, RtspError> {
    let mut words = line.splitn(3, ' ');
    let (version, status) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let reason = words.next().unwrap_or_default().trim().to_owned();
    let known = version.starts_with("RTSP/1.") && status.len() == 3;
    match status.parse() {
        Ok(status) if known => Ok(Response { status, reason, fields: Vec::new(), body: String::new() }),
        _ => Err(RtspError::NoRtsp(line.chars().filter(|c| !c.is_control()).take(40).collect())),
    }
}

fn field(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As a server of the field answers SETUP.
    const SETUP: &str = "RTSP/1.0 200 OK\r\nCSeq: 2\r\nSession: 12345678;timeout=30\r\n\
                         com.ses.streamID: 7\r\nTransport: RTP/AVP;unicast;client_port=5000-5001\r\n\r\n";
    const BUSY: &str = "RTSP/1.0 503 Service Unavailable\r\nCSeq: 3\r\nContent-Type: text/parameters\r\n\
                        Content-Length: 18\r\n\r\nNo-More: frontends";

    #[test]
    fn requests_are_as_the_specification_shows_them() {
        let request = Request {
            method: "SETUP",
            url: "rtsp://10.0.0.7/?src=1",
            sequence: 1,
            session: None,
            transport: Some("RTP/AVP;unicast;client_port=5000-5001"),
        };
        let text = "SETUP rtsp://10.0.0.7/?src=1 RTSP/1.0\r\nCSeq: 1\r\n\
                    Transport: RTP/AVP;unicast;client_port=5000-5001\r\nUser-Agent: Masthead\r\n\r\n";
        assert_eq!(String::from_utf8(request.encode()).unwrap(), text);
        let request = Request { session: Some("1"), transport: None, ..request };
        assert!(String::from_utf8(request.encode()).unwrap().contains("\r\nSession: 1\r\n"));
    }

    #[test]
    fn responses_come_whole_however_they_are_cut() {
        let packet = [b"$\x00\x00\x03abc".as_slice(), b"\r\n"].concat();
        let all = [SETUP.as_bytes(), &packet, BUSY.as_bytes()].concat();
        for piece in 1..all.len() {
            let mut responses = Responses::default();
            let mut taken = Vec::new();
            for bytes in all.chunks(piece) {
                responses.push(bytes);
                while let Some(response) = responses.take().unwrap() {
                    taken.push(response);
                }
            }
            let [setup, busy] = taken.as_slice() else { panic!("{taken:?}") };
            assert_eq!((setup.status, setup.sequence()), (200, Some(2)));
            assert_eq!(setup.field("com.ses.streamid"), Some("7"));
            assert!(setup.is_success() && !busy.is_success());
            assert_eq!(
                (busy.reason.as_str(), busy.body.as_str()),
                ("Service Unavailable", "No-More: frontends")
            );
        }
    }

    #[test]
    fn what_is_no_response_or_too_long_is_refused() {
        let refused = |bytes: &[u8]| {
            let mut responses = Responses::default();
            responses.push(bytes);
            responses.take().unwrap_err()
        };
        assert_eq!(refused(b"HTTP/1.1 200 OK\r\n\r\n"), RtspError::NoRtsp("HTTP/1.1 200 OK".to_owned()));
        assert_eq!(refused(&[b'x'; MAX_HEAD_BYTES + 1]), RtspError::TooLong);
        assert_eq!(refused(b"RTSP/1.0 200 OK\r\nContent-Length: 999999\r\n\r\n"), RtspError::TooLong);
        assert_eq!(refused(b"RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n"), RtspError::TooLong);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0..SETUP.len(), by: u8) {
            let mut damaged = SETUP.as_bytes().to_vec();
            damaged[at] ^= by;
            for bytes in [bytes, damaged] {
                let mut responses = Responses::default();
                responses.push(&bytes);
                while let Ok(Some(_)) = responses.take() {}
            }
        }
    }
}
