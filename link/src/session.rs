//! Authenticated TCP connections: the handshake of P1 and P3, then sealed frames.

use protocols::authority::MacKey;
use protocols::codec;
use protocols::handshake::{Challenge, FrameSeal, Hello, Proof, Reply, Transcript, Verdict};
use protocols::ids::BootId;
use protocols::preamble::{Protocol, Refusal};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::frames::{self, LinkError};
use crate::random;

/// What a handshake leaves behind: the peer's boot id and the seals of both directions.
#[derive(Debug)]
pub struct Session {
    /// The peer's boot id.
    pub peer_boot: BootId,
    /// Seals what we send.
    pub seal: FrameSeal,
    /// Opens what we receive.
    pub opener: FrameSeal,
}

/// Who calls whom, for [`call`].
#[derive(Debug, Clone)]
pub struct Call {
    /// The protocol, P1 or P3.
    pub protocol: Protocol,
    /// Our id.
    pub caller: String,
    /// The host wanted; empty for the database server.
    pub callee: String,
    /// Our boot id.
    pub boot_id: BootId,
    /// The server key that both sides should hold.
    pub key: MacKey,
}

/// Opens a connection as its caller: preamble, handshake.
pub async fn call<S>(stream: &mut S, call: &Call) -> Result<Session, LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    frames::open(stream, call.protocol).await?;
    let hello = Hello {
        caller: call.caller.clone(),
        callee: call.callee.clone(),
        boot_id: call.boot_id,
        nonce: random::nonce(),
    };
    frames::write_opening(stream, &hello).await?;
    let challenge: Challenge = match frames::read_opening(stream).await? {
        Reply::Challenge(challenge) => challenge,
        Reply::Refused(refusal) => return Err(LinkError::Refused(refusal)),
    };
    let mut transcript = Transcript::new(call.key.clone(), &hello);
    let proof = transcript.answer(&challenge).ok_or(LinkError::Unauthenticated)?;
    frames::write_opening(stream, &proof).await?;
    match frames::read_opening(stream).await? {
        Verdict::Welcome => {}
        Verdict::Refused(refusal) => return Err(LinkError::Refused(refusal)),
    }
    let keys = transcript.session_keys();
    Ok(Session {
        peer_boot: challenge.boot_id,
        seal: FrameSeal::new(keys.caller),
        opener: FrameSeal::new(keys.callee),
    })
}

/// Takes a connection as its callee: preamble, handshake. `key_of` names the server key for a hello, or refuses it.
/// A caller without the key is refused with a message that says so.
pub async fn accept<S>(
    stream: &mut S,
    protocol: Protocol,
    boot_id: BootId,
    key_of: impl FnOnce(&Hello) -> Result<MacKey, Refusal>,
) -> Result<(Hello, Session), LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    frames::answer(stream, protocol).await?;
    let hello: Hello = frames::read_opening(stream).await?;
    let key = match key_of(&hello) {
        Ok(key) => key,
        Err(refusal) => {
            frames::write_opening(stream, &Reply::Refused(refusal.clone())).await?;
            return Err(LinkError::Refused(refusal));
        }
    };
    let mut transcript = Transcript::new(key, &hello);
    let challenge = transcript.challenge(boot_id, random::nonce());
    frames::write_opening(stream, &Reply::Challenge(challenge)).await?;
    // A caller that finds that we do not hold its key says nothing and closes: that is the same misfit.
    let proof: Proof = match frames::read_opening(stream).await {
        Err(LinkError::Closed) => return Err(LinkError::Unauthenticated),
        proof => proof?,
    };
    if !transcript.accepts(&proof) {
        frames::write_opening(stream, &Verdict::Refused(Refusal::Key)).await?;
        return Err(LinkError::Unauthenticated);
    }
    frames::write_opening(stream, &Verdict::Welcome).await?;
    let keys = transcript.session_keys();
    let session = Session {
        peer_boot: hello.boot_id,
        seal: FrameSeal::new(keys.callee),
        opener: FrameSeal::new(keys.caller),
    };
    Ok((hello, session))
}

/// Writes `message` as a sealed frame.
pub async fn write_sealed<W, T>(writer: &mut W, seal: &mut FrameSeal, message: &T) -> Result<(), LinkError>
where
    W: AsyncWrite + Unpin,
    T: Serialize,
{
    let sealed = seal.seal(codec::encode(message));
    frames::write_frame(writer, &sealed).await
}

/// Reads a sealed frame of at most `limit` bytes and returns its body. `None`: the peer closed between frames.
pub async fn read_sealed<R>(
    reader: &mut R,
    opener: &mut FrameSeal,
    limit: usize,
) -> Result<Option<Vec<u8>>, LinkError>
where
    R: AsyncRead + Unpin,
{
    let Some(sealed) = frames::read_frame(reader, limit).await? else { return Ok(None) };
    let body = opener.open(&sealed).ok_or(LinkError::Altered)?;
    Ok(Some(body.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocols::authority::ClusterKey;

    fn caller(seed: u8) -> Call {
        Call {
            protocol: Protocol::Registration,
            caller: "roof".to_owned(),
            callee: String::new(),
            boot_id: BootId(1),
            key: ClusterKey::new([seed; 32]).acquisition_key(&"roof".parse().unwrap()),
        }
    }

    fn key_of(hello: &Hello) -> Result<MacKey, Refusal> {
        match hello.caller.parse() {
            Ok(id) if hello.caller == "roof" => Ok(ClusterKey::new([1; 32]).acquisition_key(&id)),
            _ => Err(Refusal::UnknownServer(hello.caller.clone())),
        }
    }

    #[tokio::test]
    async fn servers_with_one_key_speak_in_sealed_frames() {
        let (mut ours, mut theirs) = tokio::io::duplex(1024);
        let callee = tokio::spawn(async move {
            let (_, mut session) =
                accept(&mut ours, Protocol::Registration, BootId(2), key_of).await.unwrap();
            read_sealed(&mut ours, &mut session.opener, 64).await.unwrap().unwrap()
        });
        let mut session = call(&mut theirs, &caller(1)).await.unwrap();
        assert_eq!(session.peer_boot, BootId(2));
        write_sealed(&mut theirs, &mut session.seal, &7u32).await.unwrap();
        assert_eq!(callee.await.unwrap(), [7, 0, 0, 0]);
    }

    #[tokio::test]
    async fn a_server_without_the_key_is_found_out_on_both_sides() {
        let (mut ours, mut theirs) = tokio::io::duplex(1024);
        let callee = tokio::spawn(async move {
            accept(&mut ours, Protocol::Registration, BootId(2), key_of).await.map(drop)
        });
        assert!(matches!(call(&mut theirs, &caller(9)).await, Err(LinkError::Unauthenticated)));
        drop(theirs);
        assert!(matches!(callee.await.unwrap(), Err(LinkError::Unauthenticated)));
    }

    #[tokio::test]
    async fn an_unknown_server_is_refused_by_name() {
        let (mut ours, mut theirs) = tokio::io::duplex(1024);
        tokio::spawn(
            async move { accept(&mut ours, Protocol::Registration, BootId(2), key_of).await.map(drop) },
        );
        let stranger = Call { caller: "cellar".to_owned(), ..caller(1) };
        let error = call(&mut theirs, &stranger).await.unwrap_err();
        assert_eq!(error.to_string(), "refused: the topology declares no server `cellar`");
    }
}
