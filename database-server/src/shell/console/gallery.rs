//! The newest picture of the site, made once for all who look, and the newest lines of its journal.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::answer::ApiError;
use super::desk::{Ask, Desk, Look};
use super::journal::{self, EventView};
use super::visitor::Role;
use crate::site_view::SiteView;
use crate::store::{self, JournalQuery};

/// A picture is made anew at most this often.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// And so many times less often than it takes: the machine spends at most a twentieth of its time on being looked at.
const SHARE: u32 = 20;
/// Newest lines of the journal that hang beside the picture; who was away for longer asks for the others.
pub(super) const LINES: u32 = 100;

/// The newest picture; made when somebody looks, shared while it is new.
#[derive(Debug)]
pub(super) struct Gallery {
    desk: Desk,
    journal: store::Reader,
    newest: Mutex<Option<Hung>>,
}

#[derive(Debug)]
struct Hung {
    picture: Arc<Picture>,
    until: Instant,
    /// Lines that the journal had; `None`: they could not be read.
    written: Option<u64>,
}

/// One picture as JSON.
#[derive(Debug)]
pub(super) struct Picture {
    view: Arc<SiteView>,
    version: u64,
    for_readers: Bytes,
    for_operators: Bytes,
    lines: Arc<[EventView]>,
}

impl Picture {
    /// What it shows.
    pub(super) fn view(&self) -> &SiteView {
        &self.view
    }

    /// Grows with each picture that shows anything new but its time; above 0.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// What somebody of this role may see of it.
    pub(super) fn json(&self, role: Role) -> Bytes {
        if role >= Role::Operator { self.for_operators.clone() } else { self.for_readers.clone() }
    }

    /// The newest [`LINES`] of the journal, newest first.
    pub(super) fn lines(&self) -> &[EventView] {
        &self.lines
    }

    /// Number of the newest line of the journal; 0: there is none.
    pub(super) fn newest_line(&self) -> u64 {
        self.lines.first().map_or(0, |line| line.id)
    }

    async fn new(view: Arc<SiteView>, version: u64, lines: Arc<[EventView]>) -> Result<Self, ApiError> {
        // A site of 10,000 channels takes some ms.
        let written = tokio::task::spawn_blocking(move || {
            let json = |view: &SiteView| serde_json::to_vec(view).map(Bytes::from);
            Ok::<_, serde_json::Error>((json(&view.for_readers())?, json(&view)?, view))
        });
        let Ok(Ok((for_readers, for_operators, view))) = written.await else {
            return Err(ApiError::ending());
        };
        Ok(Self { view, version, for_readers, for_operators, lines })
    }
}

impl Gallery {
    /// No picture yet.
    pub(super) fn new(desk: Desk, journal: store::Reader) -> Self {
        Self { desk, journal, newest: Mutex::new(None) }
    }

    /// The newest picture, not older than [`INTERVAL`] unless the site is very large.
    pub(super) async fn picture(&self) -> Result<Arc<Picture>, ApiError> {
        let mut newest = self.newest.lock().await;
        let begun = Instant::now();
        if let Some(hung) = newest.as_ref().filter(|hung| begun < hung.until) {
            return Ok(Arc::clone(&hung.picture));
        }
        let Look { view, journal } = self.desk.ask(Ask::Site).await?;
        let took = begun.elapsed();
        let (mut version, mut lines, mut written) = (1, Arc::from([]), None);
        if let Some(hung) = newest.as_ref() {
            version = hung.picture.version + u64::from(hung.picture.view.differs(&view));
            (lines, written) = (Arc::clone(&hung.picture.lines), hung.written);
        }
        if written != Some(journal) {
            // All of them anew: a query by the primary key, once a second at most.
            let query = JournalQuery { after: 0, before: u64::MAX, limit: LINES };
            written = match journal::read(&self.journal, query).await {
                Ok(read) => {
                    lines = Arc::from(read);
                    Some(journal)
                }
                Err(_) => None,
            };
        }
        let picture = Arc::new(Picture::new(view, version, lines).await?);
        let until = begun + INTERVAL.max(took * SHARE);
        *newest = Some(Hung { picture: Arc::clone(&picture), until, written });
        Ok(picture)
    }
}
