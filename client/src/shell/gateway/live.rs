//! `/channel/ID.ts`: a channel as one transport stream without end.

use std::time::Duration;

use axum::body::Body;
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use hyper::body::Bytes;
use protocols::p2_directory::ChannelEntry;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::Shared;
use super::answer::{Refusal, fresh, piped};
use super::hdhomerun::Taken;
use super::hub::{Reader, count};
use super::listing::inactive;
use crate::gateway::tape::{Cursor, Read};

/// How long the first random access point may take, once the channel was subscribed to.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// A stream without a random access point is given as it is after this.
const POINT_PATIENCE: Duration = Duration::from_secs(5);
/// A reader of a channel that falls silent for so long is disconnected: its player asks again.
const SILENCE: Duration = Duration::from_secs(20);

/// What a transport stream is called by HTTP.
pub(super) const TRANSPORT_STREAM: &str = "video/mp2t";

/// The channel for one reader.
pub(super) async fn stream(
    shared: &Shared,
    entry: &ChannelEntry,
    (method, tuner): (&Method, Option<Taken>),
) -> Result<Response, Refusal> {
    if method == Method::HEAD {
        inactive(entry)?;
        return Ok((fresh(TRANSPORT_STREAM), Body::empty()).into_response());
    }
    let reader = shared.hub.enter(entry.id)?;
    let (cursor, prefix) = begin(&reader).await?;
    let (sender, body) = piped();
    tokio::spawn(async move {
        let _tuner = tuner;
        if prefix.is_empty() || sender.send(prefix).await.is_ok() {
            pump(&reader, cursor, &sender).await;
        }
    });
    Ok((fresh(TRANSPORT_STREAM), body).into_response())
}

/// Waits for the place where a reader begins.
pub(super) async fn begin(reader: &Reader) -> Result<(Cursor, Bytes), Refusal> {
    let start = Instant::now();
    let mut changes = reader.channel.changes();
    loop {
        let patience = {
            let state = reader.channel.state();
            if let Some(place) = state.tape.begin() {
                return Ok(place);
            }
            if let Some(cursor) = state.tape.begin_anywhere().filter(|_| start.elapsed() >= POINT_PATIENCE) {
                return Ok((cursor, Bytes::new()));
            }
            let patience = reader.channel.patience(&state, start.elapsed(), START_PATIENCE)?;
            patience.min(POINT_PATIENCE.max(start.elapsed() + Duration::from_millis(250)))
        };
        let _ = timeout_at(start + patience, changes.changed()).await;
    }
}

/// Gives a reader the channel until it is gone, too slow, or the channel has ended.
async fn pump(reader: &Reader, mut cursor: Cursor, sender: &mpsc::Sender<Bytes>) {
    let counters = &reader.hub.counters;
    let mut changes = reader.channel.changes();
    loop {
        let (read, is_over) = reader.channel.read(&mut cursor);
        match read {
            Read::Bytes(bytes) => {
                count(&counters.bytes, bytes.len() as u64);
                if sender.send(bytes).await.is_err() {
                    return;
                }
            }
            Read::TooSlow => {
                count(&counters.too_slow, 1);
                tracing::info!(channel = %reader.channel.id, "a reader is slower than its channel and is disconnected");
                return;
            }
            Read::Nothing if is_over => return,
            Read::Nothing => {
                tokio::select! {
                    changed = tokio::time::timeout(SILENCE, changes.changed()) => {
                        if changed.is_err() {
                            return;
                        }
                    }
                    () = sender.closed() => return,
                }
            }
        }
    }
}
