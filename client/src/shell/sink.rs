//! Where the stream is put: a thread that writes, behind a bounded queue, so that a slow reader stops nobody else.

use std::fs::File;
use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use link::udp;
use media::RtpPacket;
use media::packet::PACKET_BYTES;
use media::rtp::{PACKETS_MAX, PAYLOAD_BYTES_MAX};
use tokio::sync::oneshot;

use super::Error;
use crate::target::{HostPort, Target};

/// Packets that wait to be written, 5 MB: 8 s of a 5 Mb/s channel. When more come they are dropped and counted.
pub(super) const QUEUE_PACKETS: usize = 4_096;
/// How long the end may take to write what waits.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);
/// Hop limit of what is sent on to a group: it stays on this network.
const TTL: u8 = 1;
/// Written at once, where more than one packet waits.
const WRITE_BYTES: usize = 64 << 10;

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
    packets: SyncSender<RtpPacket>,
    overflows: u64,
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
    let (packets, receiver) = sync_channel(QUEUE_PACKETS);
    let (sender, ended) = oneshot::channel();
    std::thread::spawn(move || {
        let end = match write_all(writer, &receiver) {
            Ok(()) => Ended::Complete,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ended::Closed,
            Err(error) => Ended::Failed(error),
        };
        // Nobody waits any more when the session is over.
        let _ = sender.send(end);
    });
    (Sink { packets, overflows: 0 }, Writing { what, ended: Some(ended) })
}

impl Sink {
    /// Takes a packet, or drops it when too many wait.
    pub(super) fn put(&mut self, packet: &RtpPacket) {
        self.overflows += u64::from(matches!(self.packets.try_send(*packet), Err(TrySendError::Full(_))));
    }

    /// Packets dropped because too many waited.
    pub(super) fn overflows(&self) -> u64 {
        self.overflows
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

fn write_all(mut writer: Writer, packets: &Receiver<RtpPacket>) -> io::Result<()> {
    let mut waiting = Vec::with_capacity(WRITE_BYTES + PAYLOAD_BYTES_MAX);
    while let Ok(packet) = packets.recv() {
        match &mut writer {
            Writer::File(file) => {
                waiting.extend_from_slice(packet.payload());
                while waiting.len() < WRITE_BYTES
                    && let Ok(packet) = packets.try_recv()
                {
                    waiting.extend_from_slice(packet.payload());
                }
                file.write_all(&waiting)?;
                waiting.clear();
            }
            Writer::Udp(socket, regroup) => {
                regroup.push(packet.payload(), |datagram| send(socket, datagram))?;
            }
            Writer::Rtp(socket) => send(socket, packet.as_bytes())?,
        }
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
    use super::*;

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
