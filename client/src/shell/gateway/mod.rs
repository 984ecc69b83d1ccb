//! `gateway`: the site's channels by HTTP, for players on this host and, where asked, on its networks.
//!
//! | task | owns |
//! |---|---|
//! | [`listing`] | one subscription to the channel list |
//! | [`channel`], one for each channel that is wanted | its [`Session`](super::session::Session), its tape and segments |
//! | [`live`], one for each reader | its place on the tape |
//! | [`recordings`], two for each request | a playback; what fills its response |
//! | [`hdhomerun`] | discovery and control; one for each channel that is sent by UDP |

mod answer;
mod channel;
mod guide;
mod hdhomerun;
mod hls;
mod hub;
mod listing;
mod live;
mod pages;
mod recordings;
mod router;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use link::http;
use link::shutdown::Shutdown;
use link::supervision::Supervision;
use protocols::hdhomerun::DeviceId;
use tokio::net::{TcpListener, lookup_host};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Error, Options};
use crate::gateway::hdhomerun::STREAM_PORT;
use crate::gateway::scale::Rates;
use crate::target::HostPort;
use guide::Guide;
use hdhomerun::Tuners;
use hub::Hub;
use listing::Listing;
use recordings::PLAYBACKS_MAX;

/// Port of the gateway.
pub const GATEWAY_PORT: u16 = 7490;

/// How the gateway is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Where it listens.
    pub listen: Vec<HostPort>,
    /// How many tuners an HDHomeRun's clients see.
    pub tuners: u8,
    /// Whether it is found and controlled as an HDHomeRun: UDP and TCP 65001, and streams at port 5004.
    pub hdhomerun: bool,
}

/// A caller that reads nothing for so long is disconnected.
const UNREAD_LIMIT: Duration = Duration::from_mins(1);

/// What the requests share.
#[derive(Debug)]
struct Shared {
    options: Options,
    hub: Arc<Hub>,
    listing: Listing,
    guide: Guide,
    tuners: Tuners,
    tuner_count: u8,
    device: DeviceId,
    playbacks: Arc<Semaphore>,
    rates: Mutex<Rates>,
    started: Instant,
}

impl Shared {
    fn start(options: &Options, gateway: &Gateway) -> Result<Self, Error> {
        // Where there is no such file, hosts are told apart by where they listen.
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let listen = gateway.listen.first().map(ToString::to_string).unwrap_or_default();
        Ok(Self {
            options: options.clone(),
            hub: Hub::new(options.clone()),
            listing: Listing::start(options)?,
            guide: Guide::default(),
            tuners: Tuners::new(gateway.tuners),
            tuner_count: gateway.tuners,
            device: DeviceId::of(&format!("{} {listen}", host.trim())),
            playbacks: Arc::new(Semaphore::new(PLAYBACKS_MAX)),
            rates: Mutex::default(),
            started: Instant::now(),
        })
    }

    /// Recordings being read.
    fn playbacks_under_way(&self) -> u64 {
        PLAYBACKS_MAX.saturating_sub(self.playbacks.available_permits()) as u64
    }
}

pub(super) async fn run(options: &Options, gateway: Gateway, shutdown: &Shutdown) -> Result<(), Error> {
    let mut listeners = Vec::new();
    for listen in &gateway.listen {
        listeners.extend(bind(listen).await?);
    }
    let port = listeners.first().map_or(GATEWAY_PORT, |(_, address)| address.port());
    let streams: Vec<IpAddr> = listeners.iter().map(|(_, address)| address.ip()).collect();
    let shared = Arc::new(Shared::start(options, &gateway)?);
    let mut servers = JoinSet::new();
    if gateway.hdhomerun {
        for address in streams {
            let listen = HostPort { host: address.to_string(), port: STREAM_PORT };
            listeners.extend(bind(&listen).await?);
        }
        let (discovery, control) = hdhomerun::bind().await?;
        servers.spawn(hdhomerun::serve(Arc::clone(&shared), discovery, control, port));
    }
    for (listener, address) in listeners {
        // Scripts and tests learn the port from this, where they asked for any.
        println!("gateway at http://{address}/");
        let app = router::router(&shared, address);
        servers.spawn(http::serve_within(listener, app, None, UNREAD_LIMIT));
    }
    let mut supervision = Supervision::ready();
    loop {
        tokio::select! {
            () = shutdown.requested() => break,
            () = supervision.due() => supervision.alive(),
        }
    }
    servers.shutdown().await;
    shared.hub.release_all().await;
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
