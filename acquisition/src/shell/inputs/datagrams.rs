//! The socket behind `udp://` and `rtp://`.

use std::io;
use std::net::{IpAddr, SocketAddr};

use link::intake::Intake;
use link::interface;
use link::udp::{self, Listen, MEDIA_BUFFER_BYTES, SocketError};
use protocols::topology::DatagramInput;
use socket2::SockRef;

/// A socket that hears one endpoint and no other.
pub(crate) struct Datagrams {
    intake: Intake,
    source: Option<IpAddr>,
    what: String,
}

impl Datagrams {
    pub(crate) fn open(endpoint: &DatagramInput) -> Result<Self, String> {
        if endpoint.address.is_ipv6() && endpoint.source.is_some() {
            return Err(
                "source-specific multicast is IPv4 only in this version; leave the source out".to_owned()
            );
        }
        let socket = if is_ours_alone(endpoint.address) { unicast(endpoint) } else { group(endpoint) };
        let socket = socket.map_err(|error| error.to_string())?;
        let what = SocketAddr::new(endpoint.address, endpoint.port).to_string();
        let intake = Intake::new(socket).map_err(|error| format!("receiving {what}: {error}"))?;
        Ok(Self { intake, source: endpoint.source, what })
    }

    /// Waits for datagrams and hands those of the wanted sender to `take`. May be dropped without losing any.
    pub(crate) async fn receive(&mut self, mut take: impl FnMut(&[u8])) -> Result<(), String> {
        let Self { intake, source, .. } = self;
        let mut taken = intake.ready().await;
        if taken.is_ok() {
            let wanted = |from: SocketAddr| source.is_none_or(|source| source == from.ip());
            let rest = intake.take(|from, datagram| {
                if wanted(from) {
                    take(datagram);
                }
            });
            taken = rest.map(drop);
        }
        taken.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> String {
        format!("receiving {}: {error}", self.what)
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        tracing::debug!(input = self.what, counters = ?self.intake.counters(), "input closed");
    }
}

/// Whether datagrams to `address` come to one socket only, so that the port has to be free.
fn is_ours_alone(address: IpAddr) -> bool {
    !address.is_multicast() && (address.is_unspecified() || interface::is_local(address))
}

fn unicast(endpoint: &DatagramInput) -> Result<std::net::UdpSocket, SocketError> {
    let socket = udp::bind(SocketAddr::new(endpoint.address, endpoint.port))?;
    // Less than asked for is no failure: the kernel's limit is the administrator's.
    let _ = SockRef::from(&socket).set_recv_buffer_size(MEDIA_BUFFER_BYTES);
    if let Some(wanted) = endpoint.interface.as_ref().map(ToString::to_string) {
        let found = interface::find(&wanted)?;
        let bound = SockRef::from(&socket).bind_device(Some(found.name.as_bytes()));
        bound.map_err(|error| SocketError::new(format!("receiving by interface {wanted} only"), error))?;
    }
    Ok(socket)
}

/// A group or a broadcast address; other programs of this host may hear it as well.
fn group(endpoint: &DatagramInput) -> Result<std::net::UdpSocket, SocketError> {
    let source = match endpoint.source {
        Some(IpAddr::V4(source)) if endpoint.address.is_multicast() => Some(source),
        _ => None,
    };
    let interface = endpoint.interface.as_ref().map(ToString::to_string);
    udp::receive(&Listen { address: endpoint.address, port: endpoint.port, interface, source })
}
