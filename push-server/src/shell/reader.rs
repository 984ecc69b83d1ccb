//! One feed's TCP socket: takes what has come by one system call, and lays the packets into the ring.
//!
//! The bytes pass through a buffer that the thread's channels share and that stays in the processor's cache. To have the
//! kernel scatter them into the slots, by a vector of two pieces a packet, costs as much as that copy does
//! (`docs/performance.md`), and cannot know the lengths beforehand.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use protocols::p3_feed::{LENGTH_BYTES, MAX_PACKET_BYTES};
use protocols::time::Time;

use crate::deframer::{BadLength, Deframer, Step};
use crate::path::ChannelPath;
use crate::server::FeedId;

/// What one system call takes at most: 64 packets, after which other feeds have their turn.
pub(super) const READ_BYTES: usize = 64 * (LENGTH_BYTES + MAX_PACKET_BYTES);

/// A feed that was accepted.
#[derive(Debug)]
pub(super) struct FeedReader {
    pub(super) feed: FeedId,
    pub(super) stream: TcpStream,
    /// When anything, be it a keepalive, was last read.
    pub(super) heard: Time,
    deframer: Deframer,
}

/// How a turn of reading ended.
#[derive(Debug)]
pub(super) enum Turn {
    /// Nothing more is there.
    Dry,
    /// More may be there.
    More,
    /// The feed has ended; why, for the log.
    Ended(String),
}

impl FeedReader {
    pub(super) fn new(feed: FeedId, stream: TcpStream, now: Time) -> Self {
        Self { feed, stream, heard: now, deframer: Deframer::default() }
    }

    /// Takes what is there into `path`, by way of `buffer`.
    pub(super) fn read(&mut self, now: Time, path: &mut ChannelPath, buffer: &mut [u8]) -> Turn {
        match self.stream.read(buffer) {
            Ok(0) => Turn::Ended("closed by the acquisition server".to_owned()),
            Ok(len) => {
                self.heard = now;
                match self.lay(now, path, &buffer[..len]) {
                    Err(BadLength(len)) => {
                        Turn::Ended(format!("no packet has the length {len} that it gave"))
                    }
                    Ok(()) if len == buffer.len() => Turn::More,
                    Ok(()) => Turn::Dry,
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Turn::Dry,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Turn::More,
            Err(error) => Turn::Ended(error.to_string()),
        }
    }

    /// Lays the packets in `bytes` into the ring.
    fn lay(&mut self, now: Time, path: &mut ChannelPath, mut bytes: &[u8]) -> Result<(), BadLength> {
        while !bytes.is_empty() {
            match self.deframer.step() {
                Step::Length(most) => {
                    let (length, rest) = bytes.split_at(most.min(bytes.len()));
                    self.deframer.length_bytes(length)?;
                    bytes = rest;
                }
                Step::Body { from, to } => {
                    let (body, rest) = bytes.split_at((to - from).min(bytes.len()));
                    path.slot()[from..from + body.len()].copy_from_slice(body);
                    if let Some(len) = self.deframer.body_bytes(body.len()) {
                        path.commit(now, len);
                    }
                    bytes = rest;
                }
            }
        }
        Ok(())
    }

    /// Says a frame; false when the socket does not take it whole: frames are few and small, so nobody reads there.
    pub(super) fn tell(&mut self, frame: &[u8]) -> bool {
        self.stream.write(frame).is_ok_and(|len| len == frame.len())
    }

    /// Says the last frame, if the socket takes it; whoever is not read to the end does not learn why.
    pub(super) fn farewell(&mut self, frame: &[u8]) {
        let _ = self.stream.write(frame);
    }
}
