//! P3 connections until they have said which channel they feed: handshake and `Open`, within their time, so many at
//! a time.

use link::frames::LinkError;
use link::openings::Openings;
use link::session::{self, Session};
use protocols::authority::MacKey;
use protocols::codec;
use protocols::handshake::Hello;
use protocols::ids::{AcquisitionId, BootId, HostId};
use protocols::p3_feed::Open;
use protocols::preamble::{MAX_OPENING_BYTES, Protocol, Refusal};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Duration, sleep};

use super::driver::News;

/// Connections that are in their opening at a time; one more waits until one is through or gives way.
pub(super) const MAX_OPENINGS: usize = 64;
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
    let mut openings = Openings::new(MAX_OPENINGS);
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a feed could not be accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let place = openings.begin().await;
        let (admit, news) = (admit.clone(), news.clone());
        tokio::spawn(async move {
            match place.run(opening(stream, &admit)).await {
                // Without the driver the whole host is ending.
                Ok(opening) => drop(news.send(News::Opening(Box::new(opening))).await),
                Err(error) => tracing::info!(%from, %error, "a feed was not admitted"),
            }
        });
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
