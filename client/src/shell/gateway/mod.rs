//! `gateway`: the site's channels by HTTP, for players on this host and, where asked, on its networks.
//!
//! | task | owns |
//! |---|---|
//! | [`listing`] | one subscription to the channel list |
//! | [`channel`], one for each channel that is wanted | its [`Session`](super::session::Session), its tape and segments |
//! | [`live`], one for each reader | its place on the tape |

mod answer;
mod channel;
mod hls;
mod hub;
mod listing;
mod live;
mod router;

use std::net::SocketAddr;
use std::sync::Arc;

use link::http;
use link::shutdown::Shutdown;
use tokio::net::{TcpListener, lookup_host};
use tokio::task::JoinSet;

use super::{Error, Options};
use crate::target::HostPort;
use hub::Hub;
use listing::Listing;

/// Port of the gateway.
pub const GATEWAY_PORT: u16 = 7490;

/// How the gateway is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Where it listens.
    pub listen: Vec<HostPort>,
}

/// What the requests share.
#[derive(Debug)]
struct Shared {
    hub: Arc<Hub>,
    listing: Listing,
}

pub(super) async fn run(options: &Options, gateway: Gateway, shutdown: &Shutdown) -> Result<(), Error> {
    let mut listeners = Vec::new();
    for listen in &gateway.listen {
        listeners.extend(bind(listen).await?);
    }
    let hub = Hub::new(options.clone());
    let shared = Arc::new(Shared { hub: Arc::clone(&hub), listing: Listing::start(options)? });
    let mut servers = JoinSet::new();
    for (listener, address) in listeners {
        // Scripts and tests learn the port from this, where they asked for any.
        println!("gateway at http://{address}/");
        servers.spawn(http::serve(listener, router::router(&shared, address), None));
    }
    shutdown.requested().await;
    servers.shutdown().await;
    hub.release_all().await;
    Ok(())
}

async fn bind(listen: &HostPort) -> Result<Vec<(TcpListener, SocketAddr)>, Error> {
    let fault = |error| Error::Output { what: format!("gateway at {listen}"), error };
    let mut bound = Vec::new();
    for address in lookup_host((listen.host.as_str(), listen.port)).await.map_err(fault)? {
        let listener = TcpListener::bind(address).await.map_err(fault)?;
        let address = listener.local_addr().map_err(fault)?;
        bound.push((listener, address));
    }
    Ok(bound)
}
