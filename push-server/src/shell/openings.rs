//! P3 connections until they have said who they are, and which channel they feed: handshake and `Open`, within their time,
//! so many at a time. Other push servers, that ask for recordings, are brought to those who have them.

use link::frames::LinkError;
use link::openings::Openings;
use link::session::{self, Session};
use protocols::authority::MacKey;
use protocols::codec;
use protocols::handshake::Hello;
use protocols::ids::{AcquisitionId, BootId, HostId};
use protocols::p3_feed::Open;
use protocols::p3_replica::Caller;
use protocols::preamble::{MAX_OPENING_BYTES, Protocol, Refusal};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Duration, sleep};

use super::driver::News;
use super::replication::guests::Guest;

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
    /// Where other push servers are brought to; `None`: this host has no recordings.
    pub(super) guests: Option<mpsc::Sender<Guest>>,
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
                Ok(Opened::Feed(opening)) => drop(news.send(News::Opening(opening)).await),
                Ok(Opened::Guest(guest)) => {
                    if admit.guests.is_none_or(|guests| guests.try_send(*guest).is_err()) {
                        tracing::debug!(%from, "a peer was turned away: too many wait");
                    }
                }
                Err(error) => tracing::info!(%from, %error, "a feed was not admitted"),
            }
        });
    }
}

/// Who has come.
enum Opened {
    Feed(Box<Opening>),
    Guest(Box<Guest>),
}

async fn opening(mut stream: TcpStream, admit: &Admit) -> Result<Opened, LinkError> {
    stream.set_nodelay(true)?;
    let key_of = |hello: &Hello| {
        let caller = Caller::of(hello).ok_or_else(|| Refusal::UnknownServer(hello.caller.clone()))?;
        if hello.callee != admit.host.as_str() {
            return Err(Refusal::UnknownServer(hello.callee.clone()));
        }
        match &caller {
            Caller::Host(_) if admit.guests.is_none() => {
                Err(Refusal::Protocol("this host was started without --recordings".to_owned()))
            }
            Caller::Host(host) if *host == admit.host => Err(Refusal::UnknownServer(hello.caller.clone())),
            caller => Ok(caller.key(&admit.key)),
        }
    };
    let (hello, mut session) = session::accept(&mut stream, Protocol::Feed, admit.boot_id, key_of).await?;
    match Caller::of(&hello) {
        Some(Caller::Acquisition(peer)) => {
            let body = session::read_sealed(&mut stream, &mut session.opener, MAX_OPENING_BYTES).await?;
            let open = codec::decode::<Open, MAX_OPENING_BYTES>(&body.ok_or(LinkError::Closed)?)?;
            Ok(Opened::Feed(Box::new(Opening { open, peer, stream, session })))
        }
        Some(Caller::Host(host)) => {
            Ok(Opened::Guest(Box::new(Guest { host, stream: stream.into_std()?, session })))
        }
        None => Err(LinkError::Refused(Refusal::UnknownServer(hello.caller))),
    }
}
