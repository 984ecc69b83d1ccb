//! Preambles and frames on a tokio stream, with a limit on every length and every wait.

use std::time::Duration;

use protocols::codec::{self, CodecError};
use protocols::preamble::{
    FRAME_HEADER_BYTES, FrameError, MAX_OPENING_BYTES, PREAMBLE_BYTES, PreambleError, Protocol, Refusal,
    frame_len, write_frame as frame,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// A peer that has not said a preamble or a handshake frame within this is disconnected.
pub const OPENING_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that does not take a frame within this is disconnected.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a connection ends.
#[derive(Debug, Error)]
pub enum LinkError {
    /// The operating system says so.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The peer closed it.
    #[error("closed by the peer")]
    Closed,
    /// The peer is too slow.
    #[error("the peer did not {0} in time")]
    Slow(&'static str),
    /// Newer connections waited for its place.
    #[error("it made room for a newer connection")]
    Crowded,
    /// The peer's preamble is wrong.
    #[error(transparent)]
    Preamble(#[from] PreambleError),
    /// A frame is too long.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame is no message.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The peer refused.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The peer does not hold the cluster key.
    #[error("the peer does not hold the same cluster key: copy `cluster.key` from the database server")]
    Unauthenticated,
    /// A sealed frame's tag is wrong: altered or out of order on the way.
    #[error("a frame was altered on the way")]
    Altered,
}

/// Sends our preamble and checks the peer's, as the side that called.
pub async fn open<S>(stream: &mut S, protocol: Protocol) -> Result<(), LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    timed("open", OPENING_TIMEOUT, async {
        stream.write_all(&protocol.preamble()).await?;
        let theirs = read_preamble(stream).await?;
        Ok(protocol.check(theirs)?)
    })
    .await
}

/// Checks the caller's preamble and sends ours; a wrong one is answered by a refusal that names what is wrong, so
/// that whoever speaks another version learns it.
pub async fn answer<S>(stream: &mut S, protocol: Protocol) -> Result<(), LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    timed("open", OPENING_TIMEOUT, async {
        let theirs = read_preamble(stream).await?;
        stream.write_all(&protocol.preamble()).await?;
        if let Err(error) = protocol.check(theirs) {
            if error != PreambleError::NotMasthead {
                let refusal = Refusal::Preamble(error.to_string());
                stream.write_all(&framed(&codec::encode(&refusal))).await?;
            }
            return Err(error.into());
        }
        Ok(())
    })
    .await
}

/// Reads one frame's body of at most `limit` bytes. `None`: the peer closed between frames.
pub async fn read_frame<R>(reader: &mut R, limit: usize) -> Result<Option<Vec<u8>>, LinkError>
where
    R: AsyncRead + Unpin,
{
    let mut header = [0; FRAME_HEADER_BYTES];
    if reader.read(&mut header[..1]).await? == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut header[1..]).await.map_err(closed)?;
    let len = frame_len(header, limit)?;
    // Grows as bytes come, so that a claimed length costs nothing until it is filled.
    let mut body = Vec::with_capacity(len.min(16 << 10));
    let read = reader.take(len as u64).read_to_end(&mut body).await?;
    if read < len { Err(LinkError::Closed) } else { Ok(Some(body)) }
}

/// Writes one frame.
pub async fn write_frame<W>(writer: &mut W, body: &[u8]) -> Result<(), LinkError>
where
    W: AsyncWrite + Unpin,
{
    timed("take a frame", WRITE_TIMEOUT, async { Ok(writer.write_all(&framed(body)).await?) }).await
}

/// Reads one short message of the opening.
pub async fn read_opening<R, T>(reader: &mut R) -> Result<T, LinkError>
where
    R: AsyncRead + Unpin,
    T: DeserializeOwned,
{
    timed("answer", OPENING_TIMEOUT, async {
        let body = read_frame(reader, MAX_OPENING_BYTES).await?.ok_or(LinkError::Closed)?;
        Ok(codec::decode::<T, MAX_OPENING_BYTES>(&body)?)
    })
    .await
}

/// Writes one short message of the opening.
pub async fn write_opening<W, T>(writer: &mut W, message: &T) -> Result<(), LinkError>
where
    W: AsyncWrite + Unpin,
    T: Serialize,
{
    write_frame(writer, &codec::encode(message)).await
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FRAME_HEADER_BYTES + body.len());
    frame(&mut bytes, body);
    bytes
}

async fn read_preamble<R: AsyncRead + Unpin>(reader: &mut R) -> Result<[u8; PREAMBLE_BYTES], LinkError> {
    let mut bytes = [0; PREAMBLE_BYTES];
    reader.read_exact(&mut bytes).await.map_err(closed)?;
    Ok(bytes)
}

fn closed(error: std::io::Error) -> LinkError {
    if error.kind() == std::io::ErrorKind::UnexpectedEof { LinkError::Closed } else { error.into() }
}

async fn timed<T>(
    what: &'static str,
    limit: Duration,
    work: impl Future<Output = Result<T, LinkError>>,
) -> Result<T, LinkError> {
    timeout(limit, work).await.unwrap_or(Err(LinkError::Slow(what)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn another_version_is_told_both_versions() {
        let (mut ours, mut theirs) = tokio::io::duplex(1024);
        let side = tokio::spawn(async move { answer(&mut ours, Protocol::Directory).await });
        theirs.write_all(b"MAST\x02\x07\0\0").await.unwrap();
        let mut preamble = [0; 8];
        theirs.read_exact(&mut preamble).await.unwrap();
        let refusal: Refusal = read_opening(&mut theirs).await.unwrap();
        let both = format!("version 7 of P2, this program version {}", Protocol::Directory.version());
        assert!(refusal.to_string().contains(&both), "{refusal}");
        assert!(matches!(side.await.unwrap(), Err(LinkError::Preamble(PreambleError::Version { .. }))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_given_up() {
        let (mut ours, _theirs) = tokio::io::duplex(1024);
        assert!(matches!(answer(&mut ours, Protocol::Feed).await, Err(LinkError::Slow("open"))));
    }

    #[tokio::test]
    async fn frames_read_as_written_and_long_ones_are_refused() {
        let (mut ours, mut theirs) = tokio::io::duplex(1024);
        write_frame(&mut theirs, b"abc").await.unwrap();
        write_frame(&mut theirs, b"abcd").await.unwrap();
        assert_eq!(read_frame(&mut ours, 3).await.unwrap().as_deref(), Some(&b"abc"[..]));
        assert!(matches!(read_frame(&mut ours, 3).await, Err(LinkError::Frame(_))));
    }

    #[tokio::test]
    async fn a_truncated_frame_is_a_closed_connection() {
        let (mut ours, mut theirs) = tokio::io::duplex(1024);
        theirs.write_all(&[5, 0, 0, 0, 1, 2]).await.unwrap();
        drop(theirs);
        assert!(matches!(read_frame(&mut ours, 8).await, Err(LinkError::Closed)));
    }
}
