//! `/live`: what changes, by server-sent events (HTML standard, section 9.2).
//!
//! ```text
//! connected ─► `site` at once ─► `site` when it has changed, `events` when there are new lines: once a second at most
//!                             └► a comment after KEEP_ALIVE without either
//! ```
//!
//! Each event has the number of the newest line of the journal as its id: a browser that comes back shows it, and misses none.
//! Who does not read for [`UNREAD_LIMIT`] is let go of, and counted.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::body::Frame;
use link::http::Caller;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::App;
use super::answer::{ApiError, Fault};
use super::gallery::{INTERVAL, Picture};
use super::journal::{EventView, EventsView};
use super::visitor::Visitor;

/// Who may listen at a time; one more is refused as busy.
pub(super) const MAX_LISTENERS: usize = 256;
/// Of them, from one address: many may sit behind one translated address, and nobody shall take all places.
pub(super) const MAX_LISTENERS_PER_ADDRESS: usize = 64;
/// A comment is sent when nothing else was for this long, so that a dead connection is found.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Whoever has not read what was sent within this is let go of.
pub(super) const UNREAD_LIMIT: Duration = Duration::from_secs(15);
/// Pieces that may wait for one listener.
const QUEUED_PIECES: usize = 4;

/// The route below.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/live", get(live))
}

/// Who listens, by address.
#[derive(Debug, Default)]
pub(super) struct Listeners(Mutex<BTreeMap<IpAddr, usize>>);

/// One listener's place.
#[derive(Debug)]
struct Place {
    app: App,
    address: IpAddr,
}

impl Listeners {
    /// How many listen.
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }
}

impl Place {
    fn take(app: &App, address: IpAddr) -> Option<Self> {
        let mut listeners = app.0.listeners.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = listeners.values().sum();
        let here = listeners.get(&address).copied().unwrap_or_default();
        if all >= MAX_LISTENERS || here >= MAX_LISTENERS_PER_ADDRESS {
            return None;
        }
        listeners.insert(address, here + 1);
        Some(Self { app: app.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut listeners = self.app.0.listeners.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = listeners.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                listeners.remove(&self.address);
            }
        }
    }
}

/// What changes: `site` (as `/site`) at once and when it has changed, `events` (as `/events`) with new lines of the journal.
#[utoipa::path(get, path = "/live", tag = "site", params(
    ("Last-Event-ID" = Option<u64>, Header, description = "Number of the newest line of the journal that one has"),
), responses(
    (status = 200, description = "An endless stream of events", content_type = "text/event-stream", body = String),
    (status = 401, description = "This site asks for an account", body = Fault),
    (status = 503, description = "Too many listen, or too busy, or going down", body = Fault),
))]
pub(super) async fn live(
    State(app): State<App>,
    visitor: Visitor,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    visitor.may_read(&app)?;
    let Some(place) = Place::take(&app, caller.address.ip()) else {
        app.0.tally.live_refused.add();
        return Err(ApiError::busy());
    };
    let picture = app.gallery().picture().await?;
    let known = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let (pieces, queue) = mpsc::channel(QUEUED_PIECES);
    let teller =
        Teller { place, visitor, pieces, version: 0, newest: known.unwrap_or(picture.newest_line()) };
    tokio::spawn(teller.tell());
    Ok(([(header::CONTENT_TYPE, "text/event-stream")], Body::new(Pieces(queue))).into_response())
}

/// Tells one listener.
#[derive(Debug)]
struct Teller {
    place: Place,
    visitor: Visitor,
    pieces: mpsc::Sender<Bytes>,
    /// Of the picture that was sent last.
    version: u64,
    /// Number of the newest line that was sent.
    newest: u64,
}

impl Teller {
    /// Until the listener is gone, may not look any more, or does not read.
    async fn tell(mut self) {
        let mut silent_since = Instant::now();
        loop {
            let began = Instant::now();
            let Ok(visitor) = self.visitor.renew(&self.place.app) else { return };
            self.visitor = visitor;
            if self.visitor.may_read(&self.place.app).is_err() {
                return;
            }
            let mut news = match self.place.app.gallery().picture().await {
                Ok(picture) => self.news(&picture),
                // Busy: later.
                Err(_) => Vec::new(),
            };
            if news.is_empty() && silent_since.elapsed() >= KEEP_ALIVE {
                news.push(Bytes::from_static(b":\n\n"));
            }
            if !news.is_empty() {
                silent_since = Instant::now();
            }
            for piece in news {
                match timeout(UNREAD_LIMIT, self.pieces.send(piece)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return,
                    Err(_) => return self.place.app.0.tally.live_dropped.add(),
                }
            }
            tokio::select! {
                () = sleep_until(began + INTERVAL) => {}
                () = self.pieces.closed() => return,
            }
        }
    }

    /// What the listener has not been told of `picture`.
    fn news(&mut self, picture: &Picture) -> Vec<Bytes> {
        let mut news = Vec::new();
        if picture.version() != self.version {
            self.version = picture.version();
            news.push(Bytes::from(format!("event: site\nid: {}\ndata: ", self.newest)));
            news.push(picture.json(self.visitor.role()));
            news.push(Bytes::from_static(b"\n\n"));
        }
        let lines: Vec<EventView> =
            picture.lines().iter().filter(|line| line.id > self.newest).cloned().collect();
        if let Some(newest) = lines.first().map(|line| line.id) {
            self.newest = newest;
            if let Ok(json) = serde_json::to_string(&EventsView { events: lines }) {
                news.push(Bytes::from(format!("event: events\nid: {newest}\ndata: {json}\n\n")));
            }
        }
        news
    }
}

/// A body that is what comes out of a queue.
#[derive(Debug)]
struct Pieces(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
