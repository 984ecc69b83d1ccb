//! Connections to servers that inputs are fetched from.

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
