//! `/channel/ID/…`: playlists, and the segments that they name.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Bytes;
use protocols::ids::ChannelId;
use protocols::p2_directory::ChannelEntry;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::Shared;
use super::answer::{Refusal, fresh};
use super::channel::{Channel, State};
use super::hub::count;
use super::listing::inactive;
use super::live::TRANSPORT_STREAM;
use crate::gateway::hls::fmp4_segmenter::Fmp4Segmenter;
use crate::gateway::hls::ts_segmenter::TsSegmenter;
use crate::gateway::hls::{TARGET_DURATION_S, playlist};

/// How long the first segment may take, once the channel was subscribed to.
const START_PATIENCE: Duration = Duration::from_secs(12);
/// What is made from here on does not change: it may be kept for as long as it is listed.
const SEGMENT_CACHE: &str = "max-age=60";

const PLAYLIST: &str = "application/vnd.apple.mpegurl";
const FRAGMENT: &str = "video/mp4";

/// A playlist asked for before its time waits so long for what was asked for: three target durations (§6.2.5.2).
const BLOCKED_MAX: Duration = Duration::from_secs(3 * TARGET_DURATION_S);
/// A playlist may be asked for so many segments before its time; further ones are an error (§6.2.5.2).
const AHEAD_MAX: u64 = 2;

/// Which playlist a player waits for (§6.2.5.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Blocking {
    /// Number of a segment.
    #[serde(rename = "_HLS_msn")]
    segment: Option<u64>,
    /// Number of a part of it.
    #[serde(rename = "_HLS_part")]
    part: Option<usize>,
}

/// Answers `/channel/ID/FILE`.
pub(super) async fn file(
    shared: &Shared,
    entry: &ChannelEntry,
    (method, file, blocking): (&Method, &str, Blocking),
) -> Result<Response, Refusal> {
    if matches!(file, "index.m3u8" | "fmp4.m3u8" | "master.m3u8")
        && let Some(head) = head(entry, method)?
    {
        return Ok(head);
    }
    let now = shared.hub.clock.now();
    let text = match file {
        "index.m3u8" => {
            let channel = shared.hub.ask(entry.id)?;
            channel.state().want_transport_stream(now);
            let listed = first(&channel, |state| {
                let window = state.transport_stream()?.window();
                window.is_startable().then(|| Ok(playlist::transport_stream(window)))
            });
            listed.await?
        }
        "fmp4.m3u8" => {
            let channel = shared.hub.ask(entry.id)?;
            channel.state().want_fragmented(now);
            fragmented(&channel, blocking).await?
        }
        "master.m3u8" => {
            let channel = shared.hub.ask(entry.id)?;
            channel.state().want_fragmented(now);
            master(&channel).await?
        }
        _ => return segment(shared, entry.id, file).await,
    };
    Ok((fresh(PLAYLIST), text).into_response())
}

/// The playlist of fragmented MP4, once it has what the player waits for.
async fn fragmented(channel: &Channel, blocking: Blocking) -> Result<String, Refusal> {
    let ready = first(channel, |state| {
        let segmenter = state.fragmented()?;
        if let Some(reason) = segmenter.unsupported() {
            return Some(Err(unsupported(channel, reason)));
        }
        let window = segmenter.window();
        // Who names a segment knows parts, and begins with them.
        let ready = if blocking.segment.is_some() { !window.is_empty() } else { window.is_startable() };
        ready.then(|| Ok(window.next_complete()))
    });
    let complete = ready.await?;
    match blocking {
        Blocking { segment: None, part: None } => {}
        Blocking { segment: Some(segment), part } if segment <= complete + AHEAD_MAX => {
            let end = Instant::now() + BLOCKED_MAX;
            let mut changes = channel.changes();
            while !has(channel, segment, part) {
                if !matches!(timeout_at(end, changes.changed()).await, Ok(Ok(()))) || channel.state().is_over
                {
                    return Err(Refusal::unavailable("the channel does not go on"));
                }
            }
        }
        Blocking { .. } => {
            let text = "_HLS_msn names a segment that is not to be expected, or _HLS_part came without it";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, text));
        }
    }
    let state = channel.state();
    let segmenter = state.fragmented().ok_or_else(gone)?;
    Ok(playlist::fragmented(segmenter.window()))
}

fn has(channel: &Channel, segment: u64, part: Option<usize>) -> bool {
    channel.state().fragmented().is_some_and(|segmenter| segmenter.window().has(segment, part))
}

/// One rendition: fragmented MP4 where it can be made, else transport stream.
async fn master(channel: &Channel) -> Result<String, Refusal> {
    first(channel, |state| {
        let segmenter = state.fragmented()?;
        if segmenter.unsupported().is_some() {
            return Some(Ok(playlist::master("index.m3u8", 0, None, None)));
        }
        let (window, init) = (segmenter.window(), segmenter.newest_init()?);
        let size = init.size.map(|size| (u32::from(size.width), u32::from(size.height)));
        let text = playlist::master("fmp4.m3u8", window.rate_bps(), Some(&init.codecs), size);
        (!window.is_empty()).then_some(Ok(text))
    })
    .await
}

fn unsupported(channel: &Channel, reason: &str) -> Refusal {
    let text = format!(
        "channel {}: {reason}; /channel/{0}/index.m3u8 and /channel/{0}.ts have it as it is",
        channel.id
    );
    Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text)
}

fn gone() -> Refusal {
    Refusal::missing("this segment is no more, or not yet: ask for the playlist again")
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
    let channel = shared.hub.find(id).ok_or_else(gone)?;
    if let Name::Part(sequence, part) = name {
        wait_for_hinted(&channel, sequence, part).await;
    }
    let found = {
        let state = channel.state();
        match name {
            Name::TransportStream(sequence) => {
                let window = state.transport_stream().map(TsSegmenter::window);
                window.and_then(|window| Some(window.segment(sequence)?.bytes()))
            }
            Name::Init(number) => state.fragmented().and_then(|segmenter| segmenter.init(number)),
            Name::Fragmented(sequence) => {
                let window = state.fragmented().map(Fmp4Segmenter::window);
                window.and_then(|window| Some(window.segment(sequence)?.bytes()))
            }
            Name::Part(sequence, part) => {
                let window = state.fragmented().map(Fmp4Segmenter::window);
                window.and_then(|window| Some(window.part(sequence, part)?.bytes.clone()))
            }
        }
    };
    let bytes = found.ok_or_else(gone)?;
    channel.state().tenancy.ask(shared.hub.clock.now());
    count(&shared.hub.counters.bytes, bytes.len() as u64);
    let content_type = if matches!(name, Name::TransportStream(_)) { TRANSPORT_STREAM } else { FRAGMENT };
    Ok(kept(bytes, content_type))
}

/// The part that the playlist hints at is asked for before it is there (§6.3.8).
async fn wait_for_hinted(channel: &Channel, sequence: u64, part: usize) {
    let end = Instant::now() + BLOCKED_MAX;
    let mut changes = channel.changes();
    let is_next = || {
        let state = channel.state();
        let next = state.fragmented().map(|segmenter| playlist::next_part(segmenter.window()));
        !state.is_over && next == Some((sequence, part))
    };
    while is_next() {
        if timeout_at(end, changes.changed()).await.is_err() {
            return;
        }
    }
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
            channel.patience(&state, start.elapsed(), START_PATIENCE)?
        };
        let _ = timeout_at(start + patience, changes.changed()).await;
    }
}

/// What a file's name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    /// `N.ts`.
    TransportStream(u64),
    /// `N.m4s`.
    Fragmented(u64),
    /// `N.P.m4s`.
    Part(u64, usize),
    /// `init-K.mp4`.
    Init(u64),
}

impl Name {
    fn parse(file: &str) -> Option<Self> {
        let (stem, extension) = file.rsplit_once('.')?;
        Some(match (extension, stem.split_once('.')) {
            ("ts", None) => Self::TransportStream(stem.parse().ok()?),
            ("m4s", None) => Self::Fragmented(stem.parse().ok()?),
            ("m4s", Some((sequence, part))) => Self::Part(sequence.parse().ok()?, part.parse().ok()?),
            ("mp4", None) => Self::Init(stem.strip_prefix("init-")?.parse().ok()?),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_playlists_write() {
        assert_eq!(Name::parse("7.ts"), Some(Name::TransportStream(7)));
        assert_eq!(Name::parse("7.m4s"), Some(Name::Fragmented(7)));
        assert_eq!(Name::parse("7.3.m4s"), Some(Name::Part(7, 3)));
        assert_eq!(Name::parse("init-7.mp4"), Some(Name::Init(7)));
        for name in ["", "7", "x.ts", "7.3.ts", "7.3.1.m4s", "init-.mp4", "../7.ts"] {
            assert_eq!(Name::parse(name), None, "{name}");
        }
    }
}
