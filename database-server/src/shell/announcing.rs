//! The site announces itself on the LAN, under the name that its topology has at present.

use std::sync::Arc;

use link::discovery::{self, Announced, Announcement};
use protocols::topology::Topology;
use tokio::sync::{oneshot, watch};
use tracing::{info, warn};

/// Announces until `end` is dropped. That it cannot is said, and hinders nothing else.
pub(super) async fn announce(
    mut announced: Announced,
    mut topology: watch::Receiver<Arc<Topology>>,
    mut end: oneshot::Receiver<()>,
) {
    let mut announcement = begin(&announced);
    loop {
        tokio::select! {
            _ = &mut end => break,
            changed = topology.changed() => if changed.is_err() { break },
        }
        let name = topology.borrow_and_update().database_server.name.clone();
        if name != announced.site {
            announced.site = name;
            if let Some(old) = announcement.take() {
                old.end().await;
            }
            announcement = begin(&announced);
        }
    }
    if let Some(announcement) = announcement {
        announcement.end().await;
    }
}

fn begin(announced: &Announced) -> Option<Announcement> {
    match discovery::announce(announced) {
        Ok(announcement) => {
            info!(site = announced.site, "announcing the site on the LAN");
            Some(announcement)
        }
        Err(error) => {
            warn!(%error, "the site is not announced; clients have to be given --database");
            None
        }
    }
}
