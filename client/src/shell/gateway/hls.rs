//! `/channel/ID/…`: playlists, and the segments that they name.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Bytes;
use protocols::ids::ChannelId;
use protocols::p2_directory::ChannelEntry;
use tokio::time::{Instant, timeout_at};

use super::Shared;
use super::answer::{Refusal, fresh};
use super::channel::{Channel, State};
use super::hub::count;
use super::listing::inactive;
use crate::gateway::hls::playlist;

/// How long the first segment may take, once the channel was subscribed to.
const START_PATIENCE: Duration = Duration::from_secs(12);
/// How long it is waited for where the channel says why it cannot be had.
const PROBLEM_PATIENCE: Duration = Duration::from_secs(3);
/// What is made from here on does not change: it may be kept for as long as it is listed.
const SEGMENT_CACHE: &str = "max-age=60";

const PLAYLIST: &str = "application/vnd.apple.mpegurl";

/// Answers `/channel/ID/FILE`.
pub(super) async fn file(
    shared: &Shared,
    entry: &ChannelEntry,
    (method, file): (&Method, &str),
) -> Result<Response, Refusal> {
    match file {
        "index.m3u8" => {
            if let Some(head) = head(entry, method)? {
                return Ok(head);
            }
            let channel = shared.hub.ask(entry.id)?;
            channel.state().want_transport_stream(shared.hub.clock.now());
            let text = first(&channel, |state| {
                let window = state.transport_stream()?.window();
                (!window.is_empty()).then(|| Ok(playlist::transport_stream(window)))
            });
            Ok((fresh(PLAYLIST), text.await?).into_response())
        }
        _ => segment(shared, entry.id, file).await,
    }
}

/// What a request for the head alone of a playlist gets: nothing is subscribed to for it.
fn head(entry: &ChannelEntry, method: &Method) -> Result<Option<Response>, Refusal> {
    if method != Method::HEAD {
        return Ok(None);
    }
    inactive(entry)?;
    Ok(Some((fresh(PLAYLIST), Body::empty()).into_response()))
}

/// A segment, by its name.
async fn segment(shared: &Shared, id: ChannelId, file: &str) -> Result<Response, Refusal> {
    let name = Name::parse(file).ok_or_else(super::router::no_such_page)?;
    let gone = || Refusal::missing("this segment is no more, or not yet: ask for the playlist again");
    let channel = shared.hub.find(id).ok_or_else(gone)?;
    let (bytes, content_type) = match name {
        Name::TransportStream(sequence) => {
            let state = channel.state();
            let window = state.transport_stream().ok_or_else(gone)?.window();
            (window.segment(sequence).ok_or_else(gone)?.bytes(), super::live::TRANSPORT_STREAM)
        }
    };
    count(&shared.hub.counters.bytes, bytes.len() as u64);
    Ok(kept(bytes, content_type))
}

/// What may be kept for a while.
fn kept(bytes: Bytes, content_type: &'static str) -> Response {
    let mut headers = fresh(content_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(SEGMENT_CACHE));
    (headers, bytes).into_response()
}

/// Waits until `look` finds something.
async fn first<T>(
    channel: &Channel,
    look: impl Fn(&State) -> Option<Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let start = Instant::now();
    let mut changes = channel.changes();
    loop {
        let patience = {
            let state = channel.state();
            if let Some(found) = look(&state) {
                return found;
            }
            let problem = state.problem.clone();
            let patience = if problem.is_some() { PROBLEM_PATIENCE } else { START_PATIENCE };
            if state.is_over || start.elapsed() >= patience {
                let why = problem.unwrap_or_else(|| "nothing arrives".to_owned());
                let text = format!("channel {} cannot be had now: {why}", channel.id);
                return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text));
            }
            patience
        };
        let _ = timeout_at(start + patience, changes.changed()).await;
    }
}

/// What a file's name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    TransportStream(u64),
}

impl Name {
    fn parse(file: &str) -> Option<Self> {
        let (stem, extension) = file.rsplit_once('.')?;
        match extension {
            "ts" => Some(Self::TransportStream(stem.parse().ok()?)),
            _ => None,
        }
    }
}
