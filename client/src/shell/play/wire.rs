//! The socket of one playback: P4 orders out, P4 answers and P5 in.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};

use link::intake::Intake;
use link::udp::{self, SocketError};

/// The socket, held twice: sending needs no readiness.
#[derive(Debug)]
pub(super) struct Wire {
    sender: UdpSocket,
    intake: Intake,
    /// Failures to send are told once in a row.
    failed: bool,
}

impl Wire {
    /// A socket on `local`, the address that the lease names.
    pub(super) fn bind(local: IpAddr) -> Result<Self, SocketError> {
        let sender = udp::ask_from(local)?;
        let intake = sender.try_clone().and_then(Intake::new);
        let intake = intake.map_err(|error| SocketError::new(format!("UDP on {local}"), error))?;
        Ok(Self { sender, intake, failed: false })
    }

    /// Sends a P4 datagram. What cannot be sent is sent again by itself; that it cannot is told once.
    pub(super) fn send(&mut self, to: SocketAddr, bytes: &[u8]) {
        match self.sender.send_to(bytes, to) {
            Ok(_) => self.failed = false,
            // A full buffer; or what an earlier datagram met, no listener there.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused) => {}
            Err(error) if !self.failed => {
                self.failed = true;
                tracing::warn!(%to, %error, "an order cannot be sent; tried again");
            }
            Err(_) => {}
        }
    }

    /// Waits until something has come.
    pub(super) async fn ready(&self) -> io::Result<()> {
        self.intake.ready().await
    }

    /// Hands what has come to `each`, those of one call.
    pub(super) fn take(&mut self, each: impl FnMut(SocketAddr, &[u8])) {
        // What an error would tell of is nothing that was sent to us; the socket is fine.
        let _ = self.intake.take(each);
    }
}
