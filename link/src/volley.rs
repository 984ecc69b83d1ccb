//! Several datagrams to one destination by one system call (`sendmmsg`).

use std::io::{self, IoSlice};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, MultiHeaders, sendmmsg};

/// Datagrams of one call at most.
pub const MAX_VOLLEY: usize = 8;

/// The headers that the call needs, made once: a thread that sends has one.
#[derive(Debug)]
pub struct Volley {
    headers: MultiHeaders<()>,
}

impl Default for Volley {
    fn default() -> Self {
        Self { headers: MultiHeaders::preallocate(MAX_VOLLEY, None) }
    }
}

impl Volley {
    /// Sends `datagrams` by the connected `socket`, the first [`MAX_VOLLEY`] of them. Answers how many the operating
    /// system took; an error is about the first.
    pub fn send<'b>(
        &mut self,
        socket: &UdpSocket,
        datagrams: impl Iterator<Item = &'b [u8]>,
    ) -> io::Result<usize> {
        let mut slices = [[IoSlice::new(&[])]; MAX_VOLLEY];
        let mut len = 0;
        for (slice, datagram) in slices.iter_mut().zip(datagrams) {
            *slice = [IoSlice::new(datagram)];
            len += 1;
        }
        let sent = sendmmsg(
            socket.as_raw_fd(),
            &mut self.headers,
            &slices[..len],
            [None; MAX_VOLLEY],
            [],
            MsgFlags::MSG_DONTWAIT,
        )?;
        Ok(sent.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volley_arrives_in_order_whatever_the_lengths() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        let datagrams: Vec<Vec<u8>> = (1..=9_u8).map(|n| vec![n; usize::from(n) * 100]).collect();
        let mut volley = Volley::default();
        assert_eq!(volley.send(&sender, datagrams.iter().map(Vec::as_slice)).unwrap(), MAX_VOLLEY);
        let mut buffer = [0; 2_000];
        for sent in &datagrams[..MAX_VOLLEY] {
            let len = receiver.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..len], sent.as_slice());
        }
    }
}
