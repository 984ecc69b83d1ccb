//! Connections to servers that inputs are fetched from.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use link::udp::advice;
use protocols::topology::PeerAddress;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// How long the lookup of a name, and each of its addresses, gets.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Addresses of a name that are tried.
const MAX_ADDRESSES: usize = 4;

/// The addresses of a server, as many as are tried; the cause where there is none.
pub(crate) async fn addresses(peer: &PeerAddress) -> Result<Vec<SocketAddr>, String> {
    let host = &peer.host;
    let found = timeout(CONNECT_LIMIT, lookup_host((host.as_str(), peer.port))).await;
    let found = found.map_err(|_| format!("`{host}` is not found within {CONNECT_LIMIT:?}"))?;
    let found: Vec<SocketAddr> =
        found.map_err(|error| format!("`{host}` is not found: {error}"))?.take(MAX_ADDRESSES).collect();
    if found.is_empty() { Err(format!("`{host}` has no address")) } else { Ok(found) }
}

/// A connection to the first address that answers.
pub(crate) async fn connect(peer: &PeerAddress) -> Result<TcpStream, String> {
    let mut told = String::new();
    for address in addresses(peer).await? {
        match timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // What is sent are requests, whole.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => told = format!("cannot reach {address}: {error}{}", advice(&error)),
            Err(_) => told = format!("cannot reach {address}: no answer within {CONNECT_LIMIT:?}"),
        }
    }
    Err(told)
}

/// Bytes read at a time in a conversation.
const READ_BYTES: usize = 4 << 10;

/// Requests and answers over one connection, for those who wait for other things too.
#[derive(Debug)]
pub(crate) struct Conversation {
    stream: TcpStream,
    /// What is still to be written.
    pending: Vec<u8>,
}

impl Conversation {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, pending: Vec::new() }
    }

    /// Has `bytes` written by the next turns.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Waits until a turn is worth it.
    pub(crate) async fn ready(&self) {
        // An error shows in the turn.
        tokio::select! {
            _ = self.stream.readable() => {}
            _ = self.stream.writable(), if !self.pending.is_empty() => {}
        }
    }

    /// Writes and reads what can be at once; what was read goes to `heard`. The error says how the connection was lost.
    pub(crate) fn turn(&mut self, heard: impl FnOnce(&[u8])) -> Result<(), String> {
        if !self.pending.is_empty() {
            match self.stream.try_write(&self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        let mut bytes = [0; READ_BYTES];
        match self.stream.try_read(&mut bytes) {
            Ok(0) => Err("it was closed".to_owned()),
            Ok(count) => {
                heard(bytes.get(..count).unwrap_or_default());
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}
