//! The newest picture of the site, made once for all who look.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::answer::ApiError;
use super::desk::{Ask, Desk};
use super::visitor::Role;
use crate::site_view::SiteView;

/// A picture is made anew at most this often.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// And so many times less often than it takes: the machine spends at most a twentieth of its time on being looked at.
const SHARE: u32 = 20;

/// The newest picture; made when somebody looks, shared while it is new.
#[derive(Debug)]
pub(super) struct Gallery {
    desk: Desk,
    newest: Mutex<Option<Hung>>,
}

#[derive(Debug)]
struct Hung {
    picture: Arc<Picture>,
    until: Instant,
}

/// One picture as JSON.
#[derive(Debug)]
pub(super) struct Picture {
    view: Arc<SiteView>,
    /// Grows with each picture that shows anything new but its time.
    version: u64,
    for_readers: Bytes,
    for_operators: Bytes,
}

impl Picture {
    /// Grows with each picture that shows anything new but its time.
    #[cfg_attr(not(test), expect(dead_code, reason = "`/live` comes next"))]
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// What somebody of this role may see of it.
    pub(super) fn json(&self, role: Role) -> Bytes {
        if role >= Role::Operator { self.for_operators.clone() } else { self.for_readers.clone() }
    }

    async fn new(view: Arc<SiteView>, version: u64) -> Result<Self, ApiError> {
        // A site of 10,000 channels takes some ms.
        let written = tokio::task::spawn_blocking(move || {
            let json = |view: &SiteView| serde_json::to_vec(view).map(Bytes::from);
            Ok::<_, serde_json::Error>((json(&view.for_readers())?, json(&view)?, view))
        });
        match written.await {
            Ok(Ok((for_readers, for_operators, view))) => {
                Ok(Self { view, version, for_readers, for_operators })
            }
            _ => Err(ApiError::ending()),
        }
    }
}

impl Gallery {
    /// No picture yet.
    pub(super) fn new(desk: Desk) -> Self {
        Self { desk, newest: Mutex::new(None) }
    }

    /// The newest picture, not older than [`INTERVAL`] unless the site is very large.
    pub(super) async fn picture(&self) -> Result<Arc<Picture>, ApiError> {
        let mut newest = self.newest.lock().await;
        let begun = Instant::now();
        if let Some(hung) = newest.as_ref().filter(|hung| begun < hung.until) {
            return Ok(Arc::clone(&hung.picture));
        }
        let view = self.desk.ask(Ask::Site).await?;
        let before = newest.as_ref().map(|hung| &hung.picture);
        let version = match before {
            None => 1,
            Some(before) => before.version + u64::from(before.view.differs(&view)),
        };
        let picture = Arc::new(Picture::new(view, version).await?);
        let until = begun + INTERVAL.max(begun.elapsed() * SHARE);
        *newest = Some(Hung { picture: Arc::clone(&picture), until });
        Ok(picture)
    }
}
