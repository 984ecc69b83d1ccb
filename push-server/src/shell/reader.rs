//! One feed's TCP socket: reads packets straight into the ring.

use std::io::{self, IoSliceMut, Read, Write};

use mio::net::TcpStream;
use protocols::p3_feed::LENGTH_BYTES;
use protocols::time::Time;

use crate::deframer::{Deframer, Step};
use crate::path::ChannelPath;
use crate::server::FeedId;

/// Packets read from one feed before the others have their turn.
pub(super) const PACKETS_PER_TURN: usize = 64;

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

    /// Reads what is there into `path`, at most [`PACKETS_PER_TURN`] packets.
    pub(super) fn read(&mut self, now: Time, path: &mut ChannelPath) -> Turn {
        for _ in 0..PACKETS_PER_TURN {
            match self.read_once(now, path) {
                Ok(0) => return Turn::Ended("closed by the acquisition server".to_owned()),
                Ok(_) => self.heard = now,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Turn::Dry,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Turn::Ended(error.to_string()),
            }
        }
        Turn::More
    }

    /// One system call: the rest of a packet and the length of the next.
    fn read_once(&mut self, now: Time, path: &mut ChannelPath) -> io::Result<usize> {
        let mut length = [0; LENGTH_BYTES];
        let (count, of_body) = match self.deframer.step() {
            Step::Length(most) => (self.stream.read(&mut length[..most])?, 0),
            Step::Body { from, to } => {
                let body = &mut path.slot()[from..to];
                let mut places = [IoSliceMut::new(body), IoSliceMut::new(&mut length)];
                let count = self.stream.read_vectored(&mut places)?;
                (count, count.min(to - from))
            }
        };
        if let Some(len) = self.deframer.body_bytes(of_body).filter(|_| of_body > 0) {
            path.commit(now, len);
        }
        self.deframer.length_bytes(&length[..count - of_body]).map_err(|bad| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("no packet has the length {} that it gave", bad.0),
            )
        })?;
        Ok(count)
    }

    /// Says the last frame, if the socket takes it; whoever is not read to the end does not learn why.
    pub(super) fn farewell(&mut self, frame: &[u8]) {
        let _ = self.stream.write(frame);
    }
}
