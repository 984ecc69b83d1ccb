//! Sites on the LAN, announced and found by DNS-SD (RFC 6763) over multicast DNS (RFC 6762). Only here is `mdns_sd` named.
//!
//! What is found was said by anybody on the LAN: it tells a client where to ask, and gives no authority.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mdns_sd::{IfKind, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use thiserror::Error;
use tokio::time::Instant;

/// The service of a database server: P2.
pub const SITE_SERVICE: &str = "_masthead._tcp.local.";
/// The service of a console.
pub const CONSOLE_SERVICE: &str = "_http._tcp.local.";
/// Sites that one search finds at most; it ends with the last of them.
pub const MAX_SITES: usize = 64;
/// Longest instance name (RFC 6763 §4.1.1).
const MAX_INSTANCE_BYTES: usize = 63;
/// A search goes on for so long after the first site, to see whether there is a second.
const SECOND_SITE: Duration = Duration::from_millis(400);
/// Longest that taking back may take.
const FAREWELL: Duration = Duration::from_millis(200);

/// What a database server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// The site's name, for people.
    pub site: String,
    /// TCP port of P2.
    pub directory_port: u16,
    /// TCP port of the console.
    pub console_port: u16,
    /// The address that is listened on; `None`, or unspecified: all but loopback.
    pub listen: Option<IpAddr>,
    /// Tells apart what runs on one host.
    pub boot: u64,
}

/// A site that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name, as it was said: not to be printed as it is.
    pub name: String,
    /// Where P2 is served.
    pub directory: SocketAddr,
    /// Where the console is served, if that was said.
    pub console_port: Option<u16>,
    /// What the server is, if that was said.
    pub version: Option<String>,
}

/// Multicast DNS does not work here.
#[derive(Debug, Error)]
#[error("multicast DNS: {0}")]
pub struct DiscoveryError(#[from] mdns_sd::Error);

/// A site that is being announced, until it is dropped or [`Announcement::end`] is called.
pub struct Announcement {
    daemon: ServiceDaemon,
    names: Vec<String>,
}

/// Announces a site and its console on the interfaces that are listened on, but never on loopback.
pub fn announce(announced: &Announced) -> Result<Announcement, DiscoveryError> {
    let daemon = quiet_on_loopback()?;
    if let Some(listen) = announced.listen.filter(|listen| !listen.is_unspecified()) {
        daemon.disable_interface(IfKind::All)?;
        daemon.enable_interface(IfKind::Addr(listen))?;
    }
    let instance = cut(&announced.site);
    // A name of its own: the host's may be claimed by the host's own responder.
    let host = format!("masthead-{:016x}.local.", announced.boot);
    let console = announced.console_port.to_string();
    let version = env!("CARGO_PKG_VERSION");
    let site = [("txtvers", "1"), ("site", &announced.site), ("version", version), ("console", &console)];
    let page = [("path", "/")];
    let services = [
        (SITE_SERVICE, announced.directory_port, &site[..]),
        (CONSOLE_SERVICE, announced.console_port, &page[..]),
    ];
    let mut names = Vec::new();
    for (service, port, text) in services {
        let info = ServiceInfo::new(service, instance, &host, "", port, text)?.enable_addr_auto();
        names.push(info.get_fullname().to_owned());
        daemon.register(info)?;
    }
    Ok(Announcement { daemon, names })
}

impl Announcement {
    /// Takes the announcement back; who misses that forgets it by itself, in two minutes.
    pub async fn end(self) {
        let taken_back = async {
            for name in &self.names {
                if let Ok(done) = self.daemon.unregister(name) {
                    let _ = done.recv_async().await;
                }
            }
        };
        let _ = tokio::time::timeout(FAREWELL, taken_back).await;
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // The daemon's thread may be gone already.
        let _ = self.daemon.shutdown();
    }
}

impl std::fmt::Debug for Announcement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Announcement").field("names", &self.names).finish_non_exhaustive()
    }
}

/// Sites that answer within `limit`, by name. Ends sooner, a while after the first, unless `all` are wanted.
pub async fn browse(limit: Duration, all: bool) -> Result<Vec<Found>, DiscoveryError> {
    let daemon = quiet_on_loopback()?;
    let events = daemon.browse(SITE_SERVICE)?;
    let mut end = Instant::now() + limit;
    let mut sites = BTreeMap::new();
    while let Ok(Ok(event)) = tokio::time::timeout_at(end, events.recv_async()).await {
        match event {
            ServiceEvent::ServiceResolved(service) => {
                if let Some(found) = found(&service) {
                    sites.insert(service.fullname.clone(), found);
                    if !all {
                        end = end.min(Instant::now() + SECOND_SITE);
                    }
                }
            }
            ServiceEvent::ServiceRemoved(_, name) => drop(sites.remove(&name)),
            _ => {}
        }
        if sites.len() >= MAX_SITES {
            break;
        }
    }
    // The daemon's thread may be gone already.
    let _ = daemon.shutdown();
    Ok(sites.into_values().collect())
}

fn quiet_on_loopback() -> Result<ServiceDaemon, DiscoveryError> {
    let daemon = ServiceDaemon::new()?;
    daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
    Ok(daemon)
}

/// What a service says, if it can be reached: by IPv4 before IPv6, and not by addresses that need an interface beside them.
fn found(service: &ResolvedService) -> Option<Found> {
    let addresses = service.addresses.iter().map(mdns_sd::ScopedIp::to_ip_addr);
    let usable = addresses.filter(|address| match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_unspecified() && !v4.is_multicast(),
        IpAddr::V6(v6) => {
            !v6.is_loopback() && !v6.is_unspecified() && !v6.is_multicast() && !v6.is_unicast_link_local()
        }
    });
    let address = usable.min()?;
    let text = |key: &str| service.txt_properties.get_property_val_str(key).map(str::to_owned);
    let instance = service.fullname.strip_suffix(SITE_SERVICE).unwrap_or(&service.fullname);
    let name = text("site").unwrap_or_else(|| instance.trim_end_matches('.').to_owned());
    (service.port != 0).then(|| Found {
        name,
        directory: SocketAddr::new(address, service.port),
        console_port: text("console").and_then(|port| port.parse().ok()),
        version: text("version"),
    })
}

/// As much of a name as an instance's may have.
fn cut(name: &str) -> &str {
    &name[..name.floor_char_boundary(MAX_INSTANCE_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(cut("Hôtel"), "Hôtel");
        let long = format!("{}é", "x".repeat(62));
        assert_eq!(cut(&long).len(), 62);
    }
}
