//! Where the stream is put: at once where that cannot block, else by a thread that writes, behind a bounded queue, so that
//! a slow reader stops nobody else.
//!
//! ```text
//! flush ──nothing waits, nothing is being written──► written now, as much as the reader has room for
//!       └──else, and what was left of it──► queue ──► the writer's thread
//! ```

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use link::udp;
use media::RtpPacket;
use media::packet::PACKET_BYTES;
use media::rtp::{PACKETS_MAX, PAYLOAD_BYTES_MAX};
use rustix::io::{Errno, ReadWriteFlags, pwritev2};
use tokio::sync::oneshot;

use super::Error;
use crate::target::{HostPort, Target};

/// Packets that wait to be written, 5 MB: 8 s of a 5 Mb/s channel. When more come they are dropped and counted.
pub(super) const QUEUE_PACKETS: usize = 4_096;
/// How long the end may take to write what waits.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);
/// Hop limit of what is sent on to a group: it stays on this network.
const TTL: u8 = 1;
/// Packets written at once, where more than one waits: what a pipe holds, 64 KiB.
const WRITE_PACKETS: usize = 49;

/// For `pwritev2`: where the file is now, and for pipes, which are nowhere.
const PRESENT_OFFSET: u64 = u64::MAX;

/// How writing ended.
#[derive(Debug)]
enum Ended {
    /// All is written.
    Complete,
    /// The reader went away: a closed pipe, a player that was left.
    Closed,
    /// It failed.
    Failed(io::Error),
}

/// An open output: the end that packets are put into. Dropped, it lets the writer finish.
#[derive(Debug)]
pub(super) struct Sink {
    queue: Arc<Queue>,
    /// What may be tried to be written to without the writer's thread: waking it costs more than writing.
    direct: Option<File>,
    /// Put since the last flush.
    fresh: Vec<RtpPacket>,
    /// Their payloads.
    bytes: Vec<u8>,
    overflows: u64,
}

/// Packets on their way to the writer, which is woken once for all that came together.
#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    packets: VecDeque<RtpPacket>,
    /// So many bytes of the first one are written already.
    written_bytes: usize,
    /// The writer has taken some and has not written all of them.
    writing: bool,
    /// Nothing more is put, or nobody writes any more.
    closed: bool,
}

/// The other end: tells when writing is over.
#[derive(Debug)]
pub(super) struct Writing {
    what: String,
    /// `None`: it is over, and has been told.
    ended: Option<oneshot::Receiver<Ended>>,
}

/// Opens `target`.
pub(super) fn open(target: &Target) -> Result<(Sink, Writing), Error> {
    let (what, opened) = match target {
        Target::Stdout => ("-".to_owned(), stdout().map(Writer::File)),
        Target::File(path) => (path.display().to_string(), File::create(path).map(Writer::File)),
        Target::Udp(to) => {
            (format!("udp://{to}"), sender(to).map(|socket| Writer::Udp(socket, Regroup::default())))
        }
        Target::Rtp(to) => (format!("rtp://{to}"), sender(to).map(Writer::Rtp)),
    };
    match opened {
        Ok(writer) => Ok(start(what, writer)),
        Err(error) => Err(Error::Output { what, error }),
    }
}

/// Writes transport stream to a pipe.
pub(super) fn pipe(what: String, pipe: File) -> (Sink, Writing) {
    start(what, Writer::File(pipe))
}

fn start(what: String, writer: Writer) -> (Sink, Writing) {
    let queue = Arc::new(Queue::default());
    let direct = match &writer {
        Writer::File(file) => file.try_clone().ok(),
        Writer::Udp(..) | Writer::Rtp(_) => None,
    };
    let (sender, ended) = oneshot::channel();
    let ours = Arc::clone(&queue);
    std::thread::spawn(move || {
        let written = write_all(writer, &ours);
        ours.close();
        let end = match written {
            Ok(()) => Ended::Complete,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ended::Closed,
            Err(error) => Ended::Failed(error),
        };
        // Nobody waits any more when the session is over.
        let _ = sender.send(end);
    });
    (
        Sink { queue, direct, fresh: Vec::new(), bytes: Vec::new(), overflows: 0 },
        Writing { what, ended: Some(ended) },
    )
}

impl Sink {
    /// Takes a packet; it is written by the next [`Sink::flush`].
    pub(super) fn put(&mut self, packet: &RtpPacket) {
        self.fresh.push(*packet);
    }

    /// Writes what was put, or has it written; drops it when too many wait.
    pub(super) fn flush(&mut self) {
        if self.fresh.is_empty() {
            return;
        }
        let mut written_bytes = self.write_now();
        let mut whole = |packet: &RtpPacket| {
            let len = packet.payload().len();
            let is_whole = written_bytes >= len;
            written_bytes -= if is_whole { len } else { 0 };
            is_whole
        };
        let written = self.fresh.iter().position(|packet| !whole(packet)).unwrap_or(self.fresh.len());
        if written < self.fresh.len() {
            self.overflows += self.queue.put(&self.fresh[written..], written_bytes);
        }
        self.fresh.clear();
    }

    /// Writes what can be written without waiting; returns how many bytes that was.
    fn write_now(&mut self) -> usize {
        let Some(file) = self.direct.as_ref().filter(|_| self.queue.is_idle()) else { return 0 };
        self.bytes.clear();
        self.fresh.iter().for_each(|packet| self.bytes.extend_from_slice(packet.payload()));
        match pwritev2(file, &[IoSlice::new(&self.bytes)], PRESENT_OFFSET, ReadWriteFlags::NOWAIT) {
            Ok(written_bytes) => written_bytes,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            // Nothing that can be written to in this way, or nothing that can be written to at all: the writer's thread
            // finds out, and tells.
            Err(_) => {
                self.direct = None;
                0
            }
        }
    }

    /// Packets that wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.queue.lock().packets.len()
    }

    /// Packets dropped because too many waited.
    pub(super) fn overflows(&self) -> u64 {
        self.overflows
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Queue {
    /// Queues `packets`, of whose first so many bytes are written already. Returns how many had no place.
    fn put(&self, packets: &[RtpPacket], written_bytes: usize) -> u64 {
        let mut waiting = self.lock();
        if waiting.closed {
            return 0;
        }
        if waiting.packets.is_empty() {
            waiting.written_bytes = written_bytes;
        }
        let places = QUEUE_PACKETS.saturating_sub(waiting.packets.len()).min(packets.len());
        waiting.packets.extend(&packets[..places]);
        self.more.notify_one();
        (packets.len() - places) as u64
    }

    /// Whether nothing waits and nothing is being written: who puts next may write it himself.
    fn is_idle(&self) -> bool {
        let waiting = self.lock();
        waiting.packets.is_empty() && !waiting.writing && !waiting.closed
    }

    /// Waits for packets and moves the oldest to `batch`, which is empty. Returns how many bytes of the first one are
    /// written already; `None`: there are none and will be none.
    fn take(&self, batch: &mut Vec<RtpPacket>) -> Option<usize> {
        let mut waiting = self.lock();
        waiting.writing = false;
        let empty = |waiting: &mut Waiting| waiting.packets.is_empty() && !waiting.closed;
        let mut waiting = self.more.wait_while(waiting, empty).unwrap_or_else(PoisonError::into_inner);
        let count = waiting.packets.len().min(WRITE_PACKETS);
        batch.extend(waiting.packets.drain(..count));
        waiting.writing = count > 0;
        waiting.writing.then(|| std::mem::take(&mut waiting.written_bytes))
    }

    fn close(&self) {
        self.lock().closed = true;
        self.more.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing is left half done by a panic: a push and a drain are whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writing {
    /// Waits until writing is over.
    pub(super) async fn ended(&mut self) -> Result<(), Error> {
        let Some(receiver) = &mut self.ended else { return Ok(()) };
        let ended = receiver.await.unwrap_or(Ended::Complete);
        self.ended = None;
        match ended {
            Ended::Complete | Ended::Closed => Ok(()),
            Ended::Failed(error) => Err(Error::Output { what: self.what.clone(), error }),
        }
    }

    /// Waits, but not long, until what waits is written; the [`Sink`] must be dropped.
    pub(super) async fn finish(mut self) -> Result<(), Error> {
        tokio::time::timeout(CLOSE_TIMEOUT, self.ended()).await.unwrap_or(Ok(()))
    }
}

#[derive(Debug)]
enum Writer {
    File(File),
    Udp(UdpSocket, Regroup),
    Rtp(UdpSocket),
}

fn write_all(mut writer: Writer, queue: &Queue) -> io::Result<()> {
    let mut batch = Vec::with_capacity(WRITE_PACKETS);
    let mut bytes = Vec::with_capacity(WRITE_PACKETS * PAYLOAD_BYTES_MAX);
    while let Some(written_bytes) = queue.take(&mut batch) {
        match &mut writer {
            Writer::File(file) => {
                batch.iter().for_each(|packet| bytes.extend_from_slice(packet.payload()));
                file.write_all(&bytes[written_bytes..])?;
                bytes.clear();
            }
            Writer::Udp(socket, regroup) => {
                for packet in &batch {
                    regroup.push(packet.payload(), |datagram| send(socket, datagram))?;
                }
            }
            Writer::Rtp(socket) => {
                batch.iter().try_for_each(|packet| send(socket, packet.as_bytes()))?;
            }
        }
        batch.clear();
    }
    match writer {
        Writer::Udp(socket, regroup) if !regroup.bytes.is_empty() => send(&socket, &regroup.bytes),
        Writer::File(mut file) => file.flush(),
        _ => Ok(()),
    }
}

/// Sends; nobody listening is no failure, since listeners come and go.
fn send(socket: &UdpSocket, datagram: &[u8]) -> io::Result<()> {
    match socket.send(datagram) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionRefused => Err(error),
        _ => Ok(()),
    }
}

/// Makes datagrams of seven transport packets, whatever the RTP packets held.
#[derive(Debug, Default)]
struct Regroup {
    bytes: Vec<u8>,
}

impl Regroup {
    fn push(&mut self, payload: &[u8], mut send: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        if self.bytes.is_empty() && payload.len() == PACKETS_MAX * PACKET_BYTES {
            return send(payload);
        }
        self.bytes.extend_from_slice(payload);
        while self.bytes.len() >= PAYLOAD_BYTES_MAX {
            send(&self.bytes[..PAYLOAD_BYTES_MAX])?;
            self.bytes.drain(..PAYLOAD_BYTES_MAX);
        }
        Ok(())
    }
}

/// Standard output without the line buffering of [`std::io::Stdout`].
fn stdout() -> io::Result<File> {
    Ok(io::stdout().as_fd().try_clone_to_owned()?.into())
}

fn sender(to: &HostPort) -> io::Result<UdpSocket> {
    let address: SocketAddr = (to.host.as_str(), to.port)
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))?;
    let aim = udp::Aim { to: address, interface: None, ttl: TTL, dscp: 0, broadcast: false };
    let socket = udp::send(&aim).map_err(|error| match error {
        udp::SocketError::Io { error, .. } => error,
        udp::SocketError::Interface(error) => io::Error::other(error.to_string()),
    })?;
    // The writing thread may wait for the network; packets are not dropped for want of patience.
    socket.set_nonblocking(false)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use media::Sequence;
    use media::rtp::RtpHeader;

    use super::*;

    fn packet(n: u16) -> RtpPacket {
        let header =
            RtpHeader { marker: false, payload_type: 33, sequence: Sequence(n), timestamp_90k: 0, ssrc: 1 };
        RtpPacket::new(&header, &n.to_be_bytes().repeat(PAYLOAD_BYTES_MAX / 2)).unwrap()
    }

    /// Goal: what a pipe has no room for is written later, each byte once; the reader is slower than the writer at first.
    #[tokio::test]
    async fn a_reader_that_falls_behind_and_catches_up_gets_every_byte_once() {
        let (mut reader, pipe_end) = io::pipe().unwrap();
        let (mut sink, writing) = pipe("test".to_owned(), File::from(std::os::fd::OwnedFd::from(pipe_end)));
        let mut expected = Vec::new();
        let mut read = vec![0; 300_000];
        for round in 0..40 {
            for n in 0..20 {
                let packet = packet(round * 20 + n);
                expected.extend_from_slice(packet.payload());
                sink.put(&packet);
            }
            sink.flush();
            // At first nothing is read, so that the pipe is full in the middle of a packet.
            if round == 20 {
                reader.read_exact(&mut read).unwrap();
            }
        }
        assert_eq!(sink.overflows(), 0);
        drop(sink);
        let rest = std::thread::spawn(move || {
            reader.read_to_end(&mut read).unwrap();
            read
        });
        writing.finish().await.unwrap();
        assert!(rest.join().unwrap() == expected);
    }

    #[tokio::test]
    async fn packets_beyond_the_queue_are_dropped_and_counted_and_a_reader_that_leaves_ends_it() {
        /// In a pipe, written one by one: three in each of its sixteen pages.
        const PIPE_PACKETS: usize = 48;
        let (reader, pipe_end) = io::pipe().unwrap();
        let (mut sink, mut writing) =
            pipe("test".to_owned(), File::from(std::os::fd::OwnedFd::from(pipe_end)));
        let count = QUEUE_PACKETS + 1_000;
        for n in 0..count {
            sink.put(&packet(u16::try_from(n).unwrap()));
            sink.flush();
        }
        // The pipe holds some, and so may the writer's hands.
        let lost = usize::try_from(sink.overflows()).unwrap();
        assert!((1..=1_000 - PIPE_PACKETS).contains(&lost), "{lost}");
        drop(reader);
        tokio::time::timeout(Duration::from_secs(10), writing.ended()).await.expect("it ends").unwrap();
        sink.put(&packet(1));
        sink.flush();
        assert_eq!(usize::try_from(sink.overflows()).unwrap(), lost, "nobody is left to be too slow");
    }

    #[test]
    fn datagrams_have_seven_packets_whatever_came() {
        let mut regroup = Regroup::default();
        let mut sent = Vec::new();
        let mut position = 0_u8;
        for count in [7, 3, 7, 5, 6] {
            let payload: Vec<u8> = (0..count)
                .flat_map(|_| {
                    position += 1;
                    [position; PACKET_BYTES]
                })
                .collect();
            regroup
                .push(&payload, |datagram| {
                    sent.push(datagram.to_vec());
                    Ok(())
                })
                .unwrap();
        }
        assert_eq!(sent.iter().map(Vec::len).collect::<Vec<_>>(), [1316; 4]);
        let order: Vec<u8> = sent.concat().chunks(PACKET_BYTES).map(|packet| packet[0]).collect();
        assert_eq!(order, (1..=28).collect::<Vec<u8>>());
    }
}
