//! P3 connections until they have said which channel they feed: handshake and `Open`, each within its time, so many at
//! a time.

use std::collections::VecDeque;
use std::sync::Arc;

use link::frames::LinkError;
use link::session::{self, Session};
use protocols::authority::MacKey;
use protocols::codec;
use protocols::handshake::Hello;
use protocols::ids::{AcquisitionId, BootId, HostId};
use protocols::p3_feed::Open;
use protocols::preamble::{MAX_OPENING_BYTES, Protocol, Refusal};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Duration, Instant, sleep, timeout, timeout_at};

use super::driver::News;

/// Connections that are in their opening at a time; one more waits until one is through, or takes the place of the
/// oldest when that has had its [`FAIR_SHARE`], so that a crowd of silent connections keeps nobody out for long.
pub(super) const MAX_OPENINGS: usize = 64;
/// An opening that takes longer in all is cut off.
pub(super) const OPENING_LIMIT: Duration = Duration::from_secs(5);
/// What an opening is given while others wait for its place: several round trips.
const FAIR_SHARE: Duration = Duration::from_millis(500);
/// After the operating system refused to accept (out of descriptors), the next attempt waits for this.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who we are to callers.
#[derive(Debug, Clone)]
pub(super) struct Admit {
    pub(super) host: HostId,
    pub(super) key: MacKey,
    pub(super) boot_id: BootId,
}

/// A connection that wants to feed a channel and waits for the answer.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) open: Open,
    pub(super) peer: AcquisitionId,
    pub(super) stream: TcpStream,
    pub(super) session: Session,
}

/// Accepts connections for ever.
pub(super) async fn admit(listener: TcpListener, admit: Admit, news: mpsc::Sender<News>) {
    let places = Arc::new(Semaphore::new(MAX_OPENINGS));
    let mut openings = VecDeque::with_capacity(MAX_OPENINGS);
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a feed could not be accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let place = free_place(&places, &mut openings).await;
        let (admit, news) = (admit.clone(), news.clone());
        let task = tokio::spawn(async move {
            let opened = timeout(OPENING_LIMIT, opening(stream, &admit)).await;
            match opened.unwrap_or(Err(LinkError::Slow("open"))) {
                // Without the driver the whole host is ending.
                Ok(opening) => drop(news.send(News::Opening(Box::new(opening))).await),
                Err(error) => tracing::info!(%from, %error, "a feed was not admitted"),
            }
            drop(place);
        });
        openings.push_back((Instant::now(), task.abort_handle()));
    }
}

/// A place for one more opening: a free one, or that of the oldest once it has had its share.
async fn free_place(
    places: &Arc<Semaphore>,
    openings: &mut VecDeque<(Instant, AbortHandle)>,
) -> Option<OwnedSemaphorePermit> {
    openings.retain(|(_, opening)| !opening.is_finished());
    loop {
        let free = Arc::clone(places).acquire_owned();
        let Some((begun, _)) = openings.front() else { return free.await.ok() };
        if let Ok(place) = timeout_at(*begun + FAIR_SHARE, free).await {
            return place.ok();
        }
        if let Some((_, oldest)) = openings.pop_front() {
            oldest.abort();
            tracing::debug!(limit = MAX_OPENINGS, "an opening made room for a newer one");
        }
    }
}

async fn opening(mut stream: TcpStream, admit: &Admit) -> Result<Opening, LinkError> {
    stream.set_nodelay(true)?;
    let key_of = |hello: &Hello| {
        if hello.caller.parse::<AcquisitionId>().is_err() {
            return Err(Refusal::UnknownServer(hello.caller.clone()));
        }
        if hello.callee != admit.host.as_str() {
            return Err(Refusal::UnknownServer(hello.callee.clone()));
        }
        Ok(admit.key.clone())
    };
    let (hello, mut session) = session::accept(&mut stream, Protocol::Feed, admit.boot_id, key_of).await?;
    let peer = hello.caller.parse().map_err(|_| LinkError::Refused(Refusal::UnknownServer(hello.caller)))?;
    let body = session::read_sealed(&mut stream, &mut session.opener, MAX_OPENING_BYTES).await?;
    let open = codec::decode::<Open, MAX_OPENING_BYTES>(&body.ok_or(LinkError::Closed)?)?;
    Ok(Opening { open, peer, stream, session })
}
