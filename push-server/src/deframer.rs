//! The byte stream of a feed, cut into packets: tells the reader how many bytes belong where, so that each packet is laid
//! straight into its slot of the ring, however the stream was cut on its way.
//!
//! ```text
//! length (2 bytes) ──packet──► body (length bytes) ──► length …
//!        └──0: keepalive──► length
//! ```
//!
//! Headers alone, marks and other asides come out as packets do; [`ChannelPath::commit`](crate::path::ChannelPath::commit) knows them by their lengths.

use protocols::p3_feed::{LENGTH_BYTES, packet_len};

/// Where in the stream of RFC 4571 frames a feed is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deframer {
    length: [u8; LENGTH_BYTES],
    length_read: usize,
    body: Option<Body>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Body {
    len: usize,
    read: usize,
}

/// What the reader must do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The length comes: at most this many bytes for [`Deframer::length_bytes`].
    Length(usize),
    /// The packet comes: into the slot from `from` to `to`, then [`Deframer::body_bytes`].
    Body {
        /// First byte of the slot to write.
        from: usize,
        /// One past the last.
        to: usize,
    },
}

/// A frame's length that no packet of a channel has: the feed is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadLength(pub u16);

impl Deframer {
    /// What to read next.
    pub fn step(&self) -> Step {
        match self.body {
            Some(body) => Step::Body { from: body.read, to: body.len },
            None => Step::Length(LENGTH_BYTES - self.length_read),
        }
    }

    /// `bytes` of the length were read, at most as many as [`Step::Length`] said.
    pub fn length_bytes(&mut self, bytes: &[u8]) -> Result<(), BadLength> {
        for byte in bytes {
            self.length[self.length_read] = *byte;
            self.length_read += 1;
            if self.length_read == LENGTH_BYTES {
                self.length_read = 0;
                let len = packet_len(self.length).ok_or(BadLength(u16::from_be_bytes(self.length)))?;
                self.body = (len > 0).then_some(Body { len, read: 0 });
            }
        }
        Ok(())
    }

    /// `count` more bytes of the packet are in its slot. Answers the packet's length when it is whole.
    pub fn body_bytes(&mut self, count: usize) -> Option<usize> {
        let body = self.body.as_mut()?;
        body.read += count;
        let whole = (body.read >= body.len).then_some(body.len)?;
        self.body = None;
        Some(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `stream` in pieces of `piece` bytes at most, as a reader with a slot and a length behind it does.
    fn packets(stream: &[u8], piece: usize) -> Result<Vec<Vec<u8>>, BadLength> {
        let (mut deframer, mut slot, mut packets) = (Deframer::default(), [0; 1328], Vec::new());
        let mut rest = stream;
        while !rest.is_empty() {
            match deframer.step() {
                Step::Length(most) => {
                    let (now, later) = rest.split_at(most.min(piece).min(rest.len()));
                    deframer.length_bytes(now)?;
                    rest = later;
                }
                Step::Body { from, to } => {
                    let (now, later) = rest.split_at((to - from).min(piece).min(rest.len()));
                    slot[from..from + now.len()].copy_from_slice(now);
                    packets.extend(deframer.body_bytes(now.len()).map(|len| slot[..len].to_vec()));
                    rest = later;
                }
            }
        }
        Ok(packets)
    }

    #[test]
    fn packets_come_out_whole_however_the_stream_is_cut() {
        let sent: Vec<Vec<u8>> = (0..9_u8).map(|n| vec![n; 200 + 188 * usize::from(n % 7)]).collect();
        let mut stream = Vec::new();
        for packet in &sent {
            stream.extend([0, 0, 0, 16]);
            stream.extend([7; 16]);
            stream.extend(protocols::p3_feed::length_prefix(packet));
            stream.extend(packet);
        }
        let laid: Vec<Vec<u8>> = sent.into_iter().flat_map(|packet| [vec![7; 16], packet]).collect();
        for piece in [1, 2, 3, 7, 199, 1_400] {
            assert_eq!(packets(&stream, piece), Ok(laid.clone()), "{piece}");
        }
    }

    #[test]
    fn a_length_that_no_packet_has_ends_the_feed() {
        assert_eq!(packets(&[0, 13, 1, 2, 3], 5), Err(BadLength(13)));
        assert_eq!(packets(&[0xff, 0xff], 1), Err(BadLength(0xffff)));
    }
}
