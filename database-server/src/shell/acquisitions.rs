//! P1 connections: handshake, sealed frames, a bounded queue each.

use std::net::SocketAddr;
use std::sync::Arc;

use link::frames::LinkError;
use link::openings::Opening;
use link::session::{self, Session};
use protocols::authority::{ClusterKey, MacKey};
use protocols::codec::{CodecError, decode_message};
use protocols::handshake::Hello;
use protocols::ids::{AcquisitionId, BootId};
use protocols::p1_registration::{ToAcquisition, ToDatabase};
use protocols::preamble::{MAX_P1_FRAME_BYTES, Protocol, Refusal};
use protocols::topology::Topology;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};

use super::Events;
use super::driver::Event;
use super::listener::Service;
use super::tally::Tally;
use crate::ConnectionId;

/// Messages that may wait for one acquisition server; when they are too many, its connection is closed.
pub(super) const QUEUE: usize = 64;

/// Serves P1.
#[derive(Debug, Clone)]
pub(super) struct Acquisitions {
    pub(super) boot_id: BootId,
    pub(super) key: ClusterKey,
    pub(super) topology: watch::Receiver<Arc<Topology>>,
    pub(super) events: Events,
    pub(super) tally: Arc<Tally>,
}

impl Service for Acquisitions {
    async fn connection(self, mut stream: TcpStream, peer: SocketAddr, opening: Opening) {
        let handshake =
            session::accept(&mut stream, Protocol::Registration, self.boot_id, |hello| self.key_of(hello));
        let handshake = opening.run(handshake).await;
        let (hello, session) = match handshake {
            Ok(done) => done,
            Err(error) => {
                self.tally.opening_failed(&error);
                match error {
                    LinkError::Unauthenticated => warn!(
                        %peer, "an acquisition server does not hold this site's cluster key: copy `cluster.key` to it"
                    ),
                    LinkError::Refused(_) | LinkError::Preamble(_) => {
                        warn!(%peer, %error, "P1 connection refused");
                    }
                    _ => debug!(%peer, %error, "P1 connection did not open"),
                }
                return;
            }
        };
        // `key_of` has parsed it.
        let Ok(id) = hello.caller.parse::<AcquisitionId>() else { return };
        let connection = ConnectionId::next();
        let (queue, inbox) = mpsc::channel(QUEUE);
        let boot_id = hello.boot_id;
        if self.events.send(Event::AcquisitionConnected { connection, id, boot_id, queue }).await.is_err() {
            return;
        }
        let Session { seal, opener, .. } = session;
        let (reader, writer) = stream.into_split();
        let ended = tokio::select! {
            error = self.read(connection, reader, opener) => error,
            error = write(inbox, writer, seal) => error,
        };
        debug!(%peer, %connection, reason = %ended, "P1 connection ended");
        let _ = self.events.send(Event::AcquisitionClosed { connection }).await;
    }
}

impl Acquisitions {
    fn key_of(&self, hello: &Hello) -> Result<MacKey, Refusal> {
        let known = |id: &AcquisitionId| self.topology.borrow().acquisition_servers.contains_key(id);
        match hello.caller.parse() {
            Ok(id) if known(&id) => Ok(self.key.acquisition_key(&id)),
            // Cut, since it comes from a stranger and goes to the log.
            _ => Err(Refusal::UnknownServer(hello.caller.chars().take(32).collect())),
        }
    }

    async fn read(
        &self,
        connection: ConnectionId,
        mut reader: OwnedReadHalf,
        mut opener: protocols::handshake::FrameSeal,
    ) -> LinkError {
        loop {
            let body = match session::read_sealed(&mut reader, &mut opener, MAX_P1_FRAME_BYTES).await {
                Ok(Some(body)) => body,
                Ok(None) => return LinkError::Closed,
                Err(error) => {
                    if matches!(error, LinkError::Frame(_) | LinkError::Altered) {
                        self.tally.frames_refused.add();
                    }
                    return error;
                }
            };
            match decode_message::<ToDatabase, MAX_P1_FRAME_BYTES>(&body) {
                Ok(message) => {
                    let event = Event::AcquisitionMessage { connection, message };
                    if self.events.send(event).await.is_err() {
                        return LinkError::Closed;
                    }
                }
                Err(CodecError::UnknownKind(_)) => self.tally.kinds_unknown.add(),
                Err(error) => {
                    self.tally.frames_refused.add();
                    return error.into();
                }
            }
        }
    }
}

/// Writes what is queued; ends when the driver lets go of the queue.
async fn write(
    mut inbox: mpsc::Receiver<ToAcquisition>,
    mut writer: OwnedWriteHalf,
    mut seal: protocols::handshake::FrameSeal,
) -> LinkError {
    while let Some(message) = inbox.recv().await {
        if let Err(error) = session::write_sealed(&mut writer, &mut seal, &message).await {
            return error;
        }
    }
    // The peer may be gone already.
    let _ = writer.shutdown().await;
    LinkError::Closed
}
