//! Finds the site of a client that was told no address.

use std::fs;
use std::path::Path;
use std::time::Duration;

use link::discovery;
use tokio::net::TcpStream;

use super::recordings::print;
use super::{Error, Format};
use crate::sites::{self, Known, MAX_REMEMBERED_BYTES};
use crate::target::HostPort;

/// Longest that the LAN is searched. A responder says nothing twice within a second (RFC 6762 §6), so who asks just after
/// somebody else is answered at the second question, a second after the first.
const SEARCH: Duration = Duration::from_secs(2);
/// Longest that a known address may take to answer.
const ANSWER: Duration = Duration::from_millis(300);
/// Port of the directory, P2.
const DIRECTORY_PORT: u16 = 7402;
/// The file in the cache folder that names the site of the last time.
const FILE: &str = "site";

/// The database server of a client that was told none: this host's own, the one of the last time, or the only one on the LAN,
/// which is remembered in `folder`.
pub async fn find_database(folder: Option<&Path>) -> Result<HostPort, Error> {
    let local = HostPort { host: "127.0.0.1".to_owned(), port: DIRECTORY_PORT };
    let remembered = folder.and_then(remembered);
    let last = async {
        match &remembered {
            Some(site) => answers(site).await,
            None => false,
        }
    };
    let known = async {
        let (here, last) = tokio::join!(answers(&local), last);
        Known { here, remembered: remembered.clone().map(|site| (site, last)) }
    };
    let search = discovery::browse(SEARCH, false);
    tokio::pin!(search);
    // The search begins beside the known addresses, and is given up where one of them will do.
    let mut found = None;
    tokio::pin!(known);
    let known = loop {
        tokio::select! {
            known = &mut known => break known,
            sites = &mut search, if found.is_none() => found = Some(sites),
        }
    };
    if let Some(site) = sites::without_search(&known, &local) {
        return Ok(site);
    }
    let found = match found {
        Some(found) => found,
        None => search.await,
    };
    let found = found.unwrap_or_else(|error| {
        tracing::warn!(%error, "the LAN cannot be searched for a site; give --database");
        Vec::new()
    });
    let site = sites::after_search(known, &found, &local).map_err(Error::Usage)?;
    if let (Some(folder), [_]) = (folder, &found[..]) {
        remember(folder, &site);
    }
    Ok(site)
}

/// Prints the sites of the LAN.
pub(super) async fn list(format: Format) -> Result<(), Error> {
    let found = discovery::browse(SEARCH, true).await.map_err(|error| Error::System(error.to_string()))?;
    match format {
        Format::Json => print(&sites::json(&found)),
        Format::Text if found.is_empty() => {
            return Err(Error::System(
                "no site announces itself on this network; give --database".to_owned(),
            ));
        }
        Format::Text => print(&sites::table(&found)),
    }
    Ok(())
}

async fn answers(site: &HostPort) -> bool {
    let connected = TcpStream::connect((site.host.as_str(), site.port));
    tokio::time::timeout(ANSWER, connected).await.is_ok_and(|connected| connected.is_ok())
}

fn remembered(folder: &Path) -> Option<HostPort> {
    let text =
        fs::read_to_string(folder.join(FILE)).ok().filter(|text| text.len() <= MAX_REMEMBERED_BYTES)?;
    HostPort::parse(text.trim(), Some(DIRECTORY_PORT)).ok()
}

/// That it cannot be remembered is no reason not to watch.
fn remember(folder: &Path, site: &HostPort) {
    if remembered(folder).as_ref() != Some(site) {
        let written =
            fs::create_dir_all(folder).and_then(|()| fs::write(folder.join(FILE), format!("{site}\n")));
        if let Err(error) = written {
            tracing::debug!(%error, "the site cannot be remembered");
        }
    }
}
