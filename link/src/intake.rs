//! Datagrams by the batch: as many as wait, with one system call.
//!
//! A train that the sender gave to its kernel in one piece (GSO), or that the network card put together, arrives in one
//! piece (GRO) and is cut here; trains and single datagrams that wait together come by one `recvmmsg`. What the kernel
//! refuses is left out: without GRO a datagram a slot, without `recvmmsg` a datagram a call.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::ops::AddAssign;
use std::task::{Context, Poll};

use nix::sys::socket::{setsockopt, sockopt};
use quinn_udp::{RecvMeta, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Trains, or single datagrams, taken with one system call at most. When more wait, the next call takes them.
pub const SLOTS: usize = 16;
/// The longest train that the kernel makes is as long as the longest datagram.
const SLOT_BYTES: usize = 1 << 16;

/// A socket that is read by the batch. Needs a tokio runtime; allocates nothing once it is made.
///
/// It holds [`SLOTS`] × 64 KiB of address space, of which only what datagrams ever filled is memory.
#[derive(Debug)]
pub struct Intake {
    socket: UdpSocket,
    way: Way,
    buffer: Vec<u8>,
    counters: Counters,
}

/// How datagrams are taken.
#[derive(Debug)]
enum Way {
    /// `recvmmsg`, with GRO where the kernel has it.
    Batches(UdpSocketState),
    /// `recvfrom`, a datagram at a time.
    Single,
}

/// What an [`Intake`] has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Datagrams taken.
    pub datagrams: u64,
    /// System calls that took at least one.
    pub calls: u64,
    /// System calls that found nothing.
    pub empty_calls: u64,
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.datagrams += other.datagrams;
        self.calls += other.calls;
        self.empty_calls += other.empty_calls;
    }
}

/// What is left in the socket after a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Nothing was left; [`Intake::ready`] waits for the next datagram.
    Nothing,
    /// Perhaps more; [`Intake::ready`] is ready at once.
    Perhaps,
}

impl Intake {
    /// Reads `socket` from here on, in the best way that the kernel lets it.
    pub fn new(socket: StdSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let way = match UdpSocketState::new((&socket).into()) {
            Ok(state) => Way::Batches(state),
            Err(error) => {
                tracing::debug!(%error, "datagrams are read one by one");
                Way::Single
            }
        };
        spare_control_messages(&socket);
        let socket = UdpSocket::from_std(socket)?;
        Ok(Self { socket, way, buffer: vec![0; SLOTS * SLOT_BYTES], counters: Counters::default() })
    }

    /// Waits until something is there to take.
    pub async fn ready(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// [`Intake::ready`] for those who wait for several sockets.
    pub fn poll_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_recv_ready(context)
    }

    /// Hands what waits, or the first of it, to `each`: sender and datagram, in order of arrival.
    ///
    /// # Errors
    /// What the operating system says, such as an ICMP answer to what was sent before; the socket stays usable.
    pub fn take(&mut self, each: impl FnMut(SocketAddr, &[u8])) -> io::Result<Rest> {
        match self.take_once(each) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.counters.empty_calls += 1;
                Ok(Rest::Nothing)
            }
            // No such call in this kernel, or a sandbox that forbids it: from here on without.
            Err(error) if error.kind() == ErrorKind::Unsupported && matches!(self.way, Way::Batches(_)) => {
                tracing::debug!(%error, "datagrams are read one by one");
                self.way = Way::Single;
                Ok(Rest::Perhaps)
            }
            other => other,
        }
    }

    /// What it has done so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn take_once(&mut self, mut each: impl FnMut(SocketAddr, &[u8])) -> io::Result<Rest> {
        let Self { socket, way, buffer, counters } = self;
        let Way::Batches(state) = way else {
            let (len, from) = socket.try_recv_from(buffer)?;
            counters.calls += 1;
            counters.datagrams += 1;
            each(from, &buffer[..len]);
            return Ok(Rest::Perhaps);
        };
        let mut metas = [RecvMeta::default(); SLOTS];
        let mut received = 0;
        let outcome = socket.try_io(Interest::READABLE, || {
            let mut slots = buffer.chunks_exact_mut(SLOT_BYTES);
            let mut slices: [IoSliceMut<'_>; SLOTS] =
                std::array::from_fn(|_| IoSliceMut::new(slots.next().unwrap_or_default()));
            received = state.recv((&*socket).into(), &mut slices, &mut metas)?;
            // Slots left over: nothing waits. Said so, the runtime does not ask again before the next datagram.
            if received < SLOTS { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        if received == 0 {
            outcome?;
        }
        counters.calls += 1;
        for (slot, meta) in buffer.chunks_exact(SLOT_BYTES).zip(&metas[..received]) {
            let train = slot.get(..meta.len).unwrap_or(slot);
            // A datagram of no bytes is none for anybody here; `chunks` takes no stride of 0.
            for datagram in train.chunks(meta.stride.max(1)) {
                counters.datagrams += 1;
                each(meta.addr, datagram);
            }
        }
        Ok(if received < SLOTS { Rest::Nothing } else { Rest::Perhaps })
    }
}

/// Turns off what a datagram would be told by and nobody here asks for: each is bytes copied, and the time stamp a clock
/// read for every packet of the whole host. What cannot be turned off only costs.
fn spare_control_messages(socket: &StdSocket) {
    let _ = setsockopt(socket, sockopt::ReceiveTimestampns, &false);
    let _ = setsockopt(socket, sockopt::Ipv4PacketInfo, &false);
    let _ = setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &false);
    let _ = setsockopt(socket, sockopt::IpRecvTos, &false);
    let _ = setsockopt(socket, sockopt::Ipv6RecvTClass, &false);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PACKET_BYTES: usize = 1_328;
    const PATIENCE: Duration = Duration::from_secs(10);

    /// A receiver and a connected sender that cuts what it is given into packets.
    fn pair() -> (Intake, StdSocket) {
        let receiver = StdSocket::bind("127.0.0.1:0").unwrap();
        let sender = StdSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        setsockopt(&sender, sockopt::UdpGsoSegment, &i32::try_from(PACKET_BYTES).unwrap()).unwrap();
        (Intake::new(receiver).unwrap(), sender)
    }

    /// Packets in trains of the given numbers of packets, and behind each a datagram of an odd length. Returns all.
    fn send_trains(sender: &StdSocket, trains: &[u8]) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        for packets in trains {
            let first = u8::try_from(sent.len()).unwrap();
            let train: Vec<Vec<u8>> = (first..first + packets).map(|n| vec![n; PACKET_BYTES]).collect();
            sender.send(&train.concat()).unwrap();
            sent.extend(train);
            let odd = vec![first; usize::from(*packets) * 7];
            sender.send(&odd).unwrap();
            sent.push(odd);
        }
        sent
    }

    /// Takes until `count` datagrams have come.
    async fn take(intake: &mut Intake, count: usize) -> Vec<Vec<u8>> {
        let mut taken = Vec::new();
        while taken.len() < count {
            tokio::time::timeout(PATIENCE, intake.ready()).await.expect("datagrams come").unwrap();
            intake.take(|_, datagram| taken.push(datagram.to_vec())).unwrap();
        }
        taken
    }

    #[tokio::test]
    async fn trains_and_odd_datagrams_come_once_and_in_order_with_few_calls() {
        let (mut intake, sender) = pair();
        for round in 0..3 {
            let sent = send_trains(&sender, &[8, 1, 5, 16, 2]);
            let taken = take(&mut intake, sent.len()).await;
            assert!(taken == sent, "round {round}: {:?}", taken.iter().map(Vec::len).collect::<Vec<_>>());
        }
        let counters = intake.counters();
        assert_eq!(counters.datagrams, 3 * 37);
        assert!(counters.calls < 12, "{counters:?}");
    }

    #[tokio::test]
    async fn a_last_packet_that_is_shorter_ends_its_train() {
        let (mut intake, sender) = pair();
        let bytes: Vec<u8> = (0..=255).cycle().take(3 * PACKET_BYTES + 100).collect();
        sender.send(&bytes).unwrap();
        let taken = take(&mut intake, 4).await;
        assert_eq!(taken.iter().map(Vec::len).collect::<Vec<_>>(), [1_328, 1_328, 1_328, 100]);
        assert_eq!(taken.concat(), bytes);
    }

    #[tokio::test]
    async fn without_gro_and_without_recvmmsg_the_same_comes() {
        for single in [false, true] {
            let (mut intake, sender) = pair();
            setsockopt(&intake.socket, sockopt::UdpGroSegment, &false).unwrap();
            if single {
                intake.way = Way::Single;
            }
            let sent = send_trains(&sender, &[8, 3, 40]);
            let taken = take(&mut intake, sent.len()).await;
            assert!(taken == sent, "single: {single}");
            assert_eq!(intake.counters().calls == 54, single, "{:?}", intake.counters());
        }
    }

    #[tokio::test]
    async fn what_comes_after_the_last_was_taken_wakes_again() {
        let (mut intake, sender) = pair();
        for n in 0..200 {
            sender.send(&[n]).unwrap();
            assert_eq!(take(&mut intake, 1).await, [[n]]);
        }
        assert!(intake.counters().empty_calls < 10, "a wake-up is one call: {:?}", intake.counters());
    }

    #[tokio::test]
    async fn the_sender_is_told() {
        let (mut intake, sender) = pair();
        sender.send(b"x").unwrap();
        intake.ready().await.unwrap();
        let mut from = None;
        intake.take(|address, _| from = Some(address)).unwrap();
        assert_eq!(from, sender.local_addr().ok());
    }
}
