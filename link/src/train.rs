//! Several datagrams to any address by one system call, cut by the kernel ("UDP GSO"): for sockets that are connected to
//! nobody.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use quinn_udp::{Transmit, UdpSocketState};

/// Datagrams of one call at most, of up to [`MAX_SEGMENT_BYTES`].
pub const MAX_TRAIN: usize = 48;
/// Longest datagram of a train: that many of them are no longer than a kernel takes at once.
pub const MAX_SEGMENT_BYTES: usize = 65_507 / MAX_TRAIN;

/// What is known of how a socket sends.
#[derive(Debug)]
pub struct Train {
    /// `None`: the kernel knows nothing of trains.
    state: Option<UdpSocketState>,
}

impl Train {
    /// Looks at what `socket` can do.
    pub fn new(socket: &UdpSocket) -> Self {
        Self { state: UdpSocketState::new(socket.into()).ok() }
    }

    /// Sends `bytes`, cut into datagrams of `segment_bytes` (the last perhaps shorter), by `socket`. Answers how many of them,
    /// from the first, the operating system took. Where it does not cut them they are sent one by one.
    pub fn send(&self, socket: &UdpSocket, to: SocketAddr, bytes: &[u8], segment_bytes: usize) -> usize {
        if bytes.len() > segment_bytes && self.cuts() {
            match self.whole(socket, to, bytes, segment_bytes) {
                Ok(()) => return bytes.len().div_ceil(segment_bytes),
                // The device does not segment; that is known now.
                Err(_) if !self.cuts() => {}
                Err(_) => return 0,
            }
        }
        bytes.chunks(segment_bytes).take_while(|datagram| socket.send_to(datagram, to).is_ok()).count()
    }

    fn cuts(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.max_gso_segments() >= MAX_TRAIN)
    }

    fn whole(
        &self,
        socket: &UdpSocket,
        to: SocketAddr,
        bytes: &[u8],
        segment_bytes: usize,
    ) -> io::Result<()> {
        let Some(state) = &self.state else { return Err(io::ErrorKind::Unsupported.into()) };
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: bytes,
            segment_size: Some(segment_bytes),
            src_ip: None,
        };
        state.try_send(socket.into(), &transmit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrived(receiver: &UdpSocket) -> Vec<Vec<u8>> {
        receiver.set_nonblocking(true).unwrap();
        let mut buffer = [0; 2_000];
        std::iter::from_fn(|| receiver.recv(&mut buffer).ok().map(|len| buffer[..len].to_vec())).collect()
    }

    #[test]
    fn a_train_arrives_in_pieces_whether_or_not_the_kernel_cuts_it() {
        let bytes: Vec<u8> = (0..4_500).map(|at| u8::try_from(at % 251).unwrap()).collect();
        for cut in [true, false] {
            let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
            let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
            let train = if cut { Train::new(&sender) } else { Train { state: None } };
            let to = receiver.local_addr().unwrap();
            assert_eq!(train.send(&sender, to, &bytes, 1_328), 4);
            assert_eq!(train.send(&sender, to, &bytes[..700], 1_328), 1);
            let arrived = arrived(&receiver);
            assert_eq!(arrived.iter().map(Vec::len).collect::<Vec<_>>(), [1_328, 1_328, 1_328, 516, 700]);
            assert!(arrived[..4].concat() == bytes, "bytes differ");
        }
    }
}
