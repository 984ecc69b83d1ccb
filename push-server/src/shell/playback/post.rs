//! What sessions send leaves here: their packets by P5, several to one viewer by one system call, cut apart by the kernel
//! ("UDP GSO").

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use media::rtp;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};
use protocols::p5_stream::{HEADER_BYTES, MAX_DATAGRAM_BYTES};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::frame::Frame;
use crate::session::{BATCH_PACKETS, Departure};

/// P5's header, and that of RTP.
const HEAD_BYTES: usize = HEADER_BYTES + rtp::HEADER_BYTES;
/// What the operating system has no room for waits so long, and everything behind it; then it is lost, as on the way.
const PATIENCE: Duration = Duration::from_millis(5);
/// Destinations whose device does not cut trains apart that are remembered; when there are more, all are asked again.
const MAX_UNCUT: usize = 4_096;

const _: () = assert!(BATCH_PACKETS <= 64, "more segments than every kernel takes");
const _: () = assert!(BATCH_PACKETS * MAX_DATAGRAM_BYTES < 65_507, "one train is one datagram to begin with");

/// The way out to single viewers.
#[derive(Debug)]
pub(super) struct Post {
    socket: UdpSocket,
    heads: Vec<[u8; HEAD_BYTES]>,
    /// Where trains are not cut apart.
    uncut: BTreeSet<IpAddr>,
    lost: u64,
}

impl Post {
    /// Sends by `socket`, which does not block and has P5's port.
    pub(super) fn new(socket: UdpSocket) -> Self {
        Self { socket, heads: Vec::with_capacity(BATCH_PACKETS), uncut: BTreeSet::new(), lost: 0 }
    }

    /// Datagrams that the operating system did not take.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Sends `packets` to one viewer, in order.
    pub(super) fn send(&mut self, to: SocketAddr, packets: &[Departure<Frame>]) {
        let address = SockaddrStorage::from(to);
        for packets in packets.chunks(BATCH_PACKETS) {
            self.heads.clear();
            self.heads.extend(packets.iter().map(head));
            let mut begin = 0;
            while begin < packets.len() {
                let one = self.uncut.contains(&to.ip());
                let end = begin + if one { 1 } else { train(&packets[begin..]) };
                match self.hand_over(&address, begin, &packets[begin..end]) {
                    Err(error) if end - begin > 1 && no_segmentation(error) => {
                        if self.uncut.len() >= MAX_UNCUT {
                            self.uncut.clear();
                        }
                        self.uncut.insert(to.ip());
                        tracing::info!(%to, %error, "the device does not segment; packets are sent one by one");
                        continue;
                    }
                    Err(error) => {
                        tracing::trace!(%to, %error, "packets to one viewer were not taken");
                        self.lost += (end - begin) as u64;
                    }
                    Ok(()) => {}
                }
                begin = end;
            }
        }
    }

    /// One system call for packets that are a train; `first`: their first one's head.
    fn hand_over(
        &self,
        to: &SockaddrStorage,
        first: usize,
        packets: &[Departure<Frame>],
    ) -> Result<(), Errno> {
        let mut slices = [IoSlice::new(&[]); 2 * BATCH_PACKETS];
        let datagrams = self.heads[first..].iter().zip(packets);
        for (pair, (head, packet)) in slices.chunks_exact_mut(2).zip(datagrams) {
            pair.copy_from_slice(&[IoSlice::new(head), IoSlice::new(packet.packet.payload())]);
        }
        let slices = &slices[..2 * packets.len()];
        let segment = u16::try_from(HEAD_BYTES + packets[0].packet.payload().len()).unwrap_or(u16::MAX);
        let cut = [ControlMessage::UdpGsoSegments(&segment)];
        let cut = if packets.len() > 1 { &cut[..] } else { &[] };
        let send = || sendmsg(self.socket.as_raw_fd(), slices, cut, MsgFlags::empty(), Some(to));
        match send() {
            Err(Errno::EAGAIN | Errno::ENOBUFS) => {
                self.wait();
                send().map(drop)
            }
            sent => sent.map(drop),
        }
    }

    /// Waits until there is room again, for a moment.
    fn wait(&self) {
        let patience = Timespec::try_from(PATIENCE).ok();
        let mut writable = [PollFd::new(&self.socket, PollFlags::OUT)];
        let _: Result<usize, io::Error> = poll(&mut writable, patience.as_ref()).map_err(io::Error::from);
    }
}

/// How many packets, from the first, are a train: of one length, but for the last, which may be shorter.
fn train(packets: &[Departure<Frame>]) -> usize {
    let len = |departure: &Departure<Frame>| departure.packet.payload().len();
    let first = len(&packets[0]);
    let even = packets.iter().take_while(|packet| len(packet) == first).count();
    even + usize::from(packets.get(even).is_some_and(|next| len(next) < first))
}

fn head(departure: &Departure<Frame>) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..HEADER_BYTES].copy_from_slice(&departure.header.encode());
    head[HEADER_BYTES..].copy_from_slice(&departure.packet.header);
    head
}

/// What a device without segmentation offload, or with too small an MTU for it, answers.
fn no_segmentation(error: Errno) -> bool {
    matches!(error, Errno::EIO | Errno::EINVAL | Errno::EOPNOTSUPP | Errno::EMSGSIZE)
}
