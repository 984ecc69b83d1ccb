//! The reference sender: receives the same streams over TCP and does nothing but the system calls. No push server can be
//! cheaper than this on the same kernel; it is the ceiling that others are compared with.
//!
//! Per window it wakes once, reads each channel with one `readv` that drops the RFC 4571 lengths between the packets, and
//! hands what came to each destination. It runs as a process of its own (`masthead bench-reference`), so that its CPU time
//! is counted as any other sender's.

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use nix::sys::socket::sockopt::UdpGsoSegment;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, sendmmsg, setsockopt};
use protocols::p3_feed::{LENGTH_BYTES, MAX_PACKET_BYTES};

use crate::ground;

/// Packets taken from one channel in one window at most: what one send can carry.
const BATCH_PACKETS: usize = 16;
/// Messages in one `sendmmsg` at most.
const MESSAGES: usize = 64;

/// Options of the reference sender.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Where channels come from: one connection each.
    #[arg(long)]
    pub feed: SocketAddr,
    /// Channels.
    #[arg(long, default_value_t = 1)]
    pub channels: u32,
    /// Destinations of each.
    #[arg(long)]
    pub destinations: u32,
    /// Address of the first destination; others follow.
    #[arg(long, default_value_t = ground::destinations(0, 1)[0])]
    pub first: Ipv4Addr,
    /// UDP port to send to.
    #[arg(long, default_value_t = 7_601)]
    pub port: u16,
    /// Time between wakings, ms; 0: with each packet, one channel only.
    #[arg(long, default_value_t = 10)]
    pub window_ms: u64,
    /// The system call to send by.
    #[arg(long, value_enum, default_value_t = How::Gso)]
    pub how: How,
}

/// How packets are handed to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum How {
    /// One send per destination and window: UDP generic segmentation offload.
    Gso,
    /// The same with `MSG_ZEROCOPY`.
    GsoZeroCopy,
    /// `sendmmsg` of up to 64 packets.
    Sendmmsg,
    /// `send` for every packet.
    Send,
}

/// Runs until the feed closes.
pub fn run(options: &Options) -> ExitCode {
    match carry(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reference sender: {error}");
            ExitCode::FAILURE
        }
    }
}

fn carry(options: &Options) -> std::io::Result<()> {
    let mut channels = (0..options.channels)
        .map(|index| Channel::open(options, index * options.destinations))
        .collect::<std::io::Result<Vec<_>>>()?;
    eprintln!("ready");
    let window = Duration::from_millis(options.window_ms);
    let mut next = Instant::now();
    loop {
        if !window.is_zero() {
            next += window;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        for channel in &mut channels {
            if !channel.read()? {
                return Ok(());
            }
            channel.send(options.how)?;
        }
    }
}

/// One channel: its connection, the packets of the window, a connected socket per destination.
struct Channel {
    stream: TcpStream,
    /// Packets without gaps.
    packets: Vec<u8>,
    lengths: Vec<[u8; LENGTH_BYTES]>,
    /// Bytes of the frames of this window that have come.
    filled: usize,
    sockets: Vec<UdpSocket>,
    /// For `sendmmsg`.
    headers: MultiHeaders<SockaddrIn>,
}

const FRAME: usize = LENGTH_BYTES + MAX_PACKET_BYTES;

impl Channel {
    fn open(options: &Options, first: u32) -> std::io::Result<Self> {
        let stream = TcpStream::connect(options.feed)?;
        stream.set_nonblocking(options.window_ms > 0)?;
        let open = |address: Ipv4Addr| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect(SocketAddrV4::new(address, options.port))?;
            if matches!(options.how, How::Gso | How::GsoZeroCopy) {
                let bytes = i32::try_from(MAX_PACKET_BYTES).expect("1,328 fits");
                setsockopt(&socket, UdpGsoSegment, &bytes)?;
            }
            Ok(socket)
        };
        let sockets = (first..first + options.destinations)
            .map(|index| Ipv4Addr::from_bits(options.first.to_bits() + index))
            .map(open)
            .collect::<std::io::Result<_>>()?;
        Ok(Self {
            stream,
            packets: vec![0; BATCH_PACKETS * MAX_PACKET_BYTES],
            lengths: vec![[0; LENGTH_BYTES]; BATCH_PACKETS],
            filled: 0,
            sockets,
            headers: MultiHeaders::preallocate(MESSAGES, None),
        })
    }

    /// Reads what has come; false when the feed has closed.
    fn read(&mut self) -> std::io::Result<bool> {
        let mut parts: Vec<IoSliceMut<'_>> = Vec::with_capacity(2 * BATCH_PACKETS);
        let mut skip = self.filled;
        for (length, packet) in self.lengths.iter_mut().zip(self.packets.chunks_exact_mut(MAX_PACKET_BYTES)) {
            for part in [&mut length[..], packet] {
                let done = skip.min(part.len());
                skip -= done;
                if done < part.len() {
                    parts.push(IoSliceMut::new(&mut part[done..]));
                }
            }
        }
        match self.stream.read_vectored(&mut parts) {
            Ok(0) => Ok(false),
            Ok(read) => {
                self.filled += read;
                Ok(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Sends the whole packets, and keeps the beginning of the next.
    fn send(&mut self, how: How) -> std::io::Result<()> {
        let whole = self.filled / FRAME;
        if whole == 0 {
            return Ok(());
        }
        let train = &self.packets[..whole * MAX_PACKET_BYTES];
        for socket in &self.sockets {
            match how {
                How::Gso => drop(socket.send(train)?),
                How::GsoZeroCopy => drop(rustix::net::send(socket, train, zero_copy())?),
                How::Send => {
                    for packet in train.chunks_exact(MAX_PACKET_BYTES) {
                        socket.send(packet)?;
                    }
                }
                How::Sendmmsg => {
                    let parts: Vec<[IoSlice<'_>; 1]> =
                        train.chunks_exact(MAX_PACKET_BYTES).map(|packet| [IoSlice::new(packet)]).collect();
                    let nowhere = vec![None; parts.len()];
                    let fd = std::os::fd::AsRawFd::as_raw_fd(socket);
                    let _ = sendmmsg(fd, &mut self.headers, &parts, nowhere, [], MsgFlags::empty())?;
                }
            }
        }
        let rest = self.filled % FRAME;
        self.filled = rest;
        self.lengths.swap(0, whole.min(BATCH_PACKETS - 1));
        let from = whole * MAX_PACKET_BYTES;
        let begun = rest.saturating_sub(LENGTH_BYTES);
        self.packets.copy_within(from..from + begun, 0);
        Ok(())
    }
}

fn zero_copy() -> rustix::net::SendFlags {
    const MSG_ZEROCOPY: u32 = 0x0400_0000;
    rustix::net::SendFlags::from_bits_retain(MSG_ZEROCOPY)
}
