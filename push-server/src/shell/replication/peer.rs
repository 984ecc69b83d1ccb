//! A connection to a peer, as the one that asks: each wait and each length has its limit.

use std::time::Duration;

use link::frames::LinkError;
use link::session::{self, Call, Session};
use protocols::authority::Tag;
use protocols::codec;
use protocols::p3_replica::{Answer, Ask, Caller, MAX_ANSWER_BYTES, PIECE_BYTES};
use protocols::preamble::Protocol;
use protocols::recording::RecordPeer;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Identity;

/// A peer that cannot be reached within this is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Why nothing more is asked of a peer for now.
#[derive(Debug, Error)]
pub(super) enum Trouble {
    /// The connection failed, or the peer refused.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// It takes too long.
    #[error("it is too slow")]
    Slow,
    /// What it said or gave cannot be.
    #[error("{0}")]
    Lie(String),
    /// This host's own disk.
    #[error("this host's disk: {0}")]
    Disk(#[from] std::io::Error),
}

/// A peer that was reached, and has shown that it holds the cluster key.
#[derive(Debug)]
pub(super) struct Peer {
    stream: TcpStream,
    session: Session,
    patience: Duration,
}

impl Peer {
    /// Calls `peer`. When it then says nothing for as long as `patience`, it is given up.
    pub(super) async fn call(
        identity: &Identity,
        peer: &RecordPeer,
        patience: Duration,
    ) -> Result<Self, Trouble> {
        let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect(peer.feed));
        let mut stream = connecting.await.map_err(|_| Trouble::Slow)?.map_err(LinkError::Io)?;
        stream.set_nodelay(true).map_err(LinkError::Io)?;
        let caller = Caller::Host(identity.host.clone());
        let call = Call {
            protocol: Protocol::Feed,
            caller: caller.to_text(),
            callee: peer.host.to_string(),
            boot_id: identity.boot_id,
            key: caller.key(&identity.key.host_key(&peer.host)),
        };
        let session = session::call(&mut stream, &call).await?;
        Ok(Self { stream, session, patience })
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&mut self, ask: &Ask) -> Result<Answer, Trouble> {
        session::write_sealed(&mut self.stream, &mut self.session.seal, ask).await?;
        let body = self.read(MAX_ANSWER_BYTES).await?;
        match codec::decode::<Answer, MAX_ANSWER_BYTES>(&body).map_err(LinkError::Codec)? {
            Answer::Refused(refusal) => Err(LinkError::Refused(refusal).into()),
            answer => Ok(answer),
        }
    }

    /// The next piece of what was said to follow, 1 to [`PIECE_BYTES`] bytes.
    pub(super) async fn piece(&mut self) -> Result<Vec<u8>, Trouble> {
        let piece = self.read(PIECE_BYTES).await?;
        if piece.is_empty() { Err(Trouble::Lie("an empty piece".to_owned())) } else { Ok(piece) }
    }

    async fn read(&mut self, limit: usize) -> Result<Vec<u8>, Trouble> {
        let reading = session::read_sealed(&mut self.stream, &mut self.session.opener, limit + Tag::BYTES);
        let body = timeout(self.patience, reading).await.map_err(|_| Trouble::Slow)??;
        body.ok_or(Trouble::Link(LinkError::Closed))
    }
}
