//! `/recording/ID.ts` and `/past/CHANNEL.ts`: what was recorded, as a file that can be sought in by bytes.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Bytes;
use jiff::tz::TimeZone;
use media::packet::PACKET_BYTES;
use protocols::p2_directory::{PlayTarget, Presentation};
use protocols::recording::{RecordingId, Span};
use protocols::time::ClusterTime;
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

use super::super::play::{self, End, Flow, Setup, Show, Speed};
use super::super::{Error, sink};
use super::Shared;
use super::answer::{Refusal, fresh, piped};
use super::hub::count;
use super::live::TRANSPORT_STREAM;
use super::router::no_such_page;
use crate::gateway::scale::{Filler, Scale, Wanted, wanted};
use crate::playback::Wish;
use crate::when::{When, rfc3339};

/// Recordings read at a time; one more is refused with 503.
pub(super) const PLAYBACKS_MAX: usize = 16;
/// How long the first packet may take.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// A recording of which nothing comes for so long, though its reader waits, is filled up to its end.
const SILENCE: Duration = Duration::from_secs(30);
/// What is buffered of a recording.
const BUFFER: Duration = Duration::from_secs(8);
/// Read from the playback, and given to the reader, at once.
const PIECE_BYTES: usize = 350 * PACKET_BYTES;

/// `/recording/ID.ts`.
pub(super) async fn recording(
    State(shared): State<Arc<Shared>>,
    method: Method,
    headers: HeaderMap,
    Path(file): Path<String>,
) -> Result<Response, Refusal> {
    let id: Option<RecordingId> = file.strip_suffix(".ts").and_then(|id| id.parse().ok());
    let target = PlayTarget::Programme(id.ok_or_else(no_such_page)?);
    serve(&shared, target, (&method, &headers)).await
}

/// From when to when.
#[derive(Debug, Deserialize)]
pub(super) struct Stretch {
    from: String,
    to: Option<String>,
}

/// `/past/CHANNEL.ts?from=…&to=…`.
pub(super) async fn past(
    State(shared): State<Arc<Shared>>,
    method: Method,
    headers: HeaderMap,
    Path(file): Path<String>,
    Query(stretch): Query<Stretch>,
) -> Result<Response, Refusal> {
    let wanted = file.strip_suffix(".ts").ok_or_else(no_such_page)?;
    let channel = shared.listing.select(wanted).await?.id;
    let now = link::clock::Clock::wall();
    let zone = TimeZone::system();
    let bad = |error: crate::when::WhenError| Refusal::new(StatusCode::BAD_REQUEST, error.to_string());
    let when = |text: &str| text.parse::<When>().map_err(bad);
    let from = when(&stretch.from)?.begin(now, &zone).map_err(bad)?;
    let to = match stretch.to.as_deref() {
        Some(to) => when(to)?.end(now, from, &zone).map_err(bad)?,
        None => now,
    };
    let is_fixed = |text: &str| matches!(text.parse(), Ok(When::At(_)));
    if !is_fixed(&stretch.from) || !stretch.to.as_deref().is_some_and(is_fixed) {
        // A player asks again for each part: it must be the same file then.
        let place = format!("/past/{channel}.ts?from={}&to={}", rfc3339(from), rfc3339(to));
        return Ok((StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, place)]).into_response());
    }
    // A file has an end.
    serve(&shared, PlayTarget::Channel { channel, from, to: Some(to) }, (&method, &headers)).await
}

async fn serve(
    shared: &Shared,
    target: PlayTarget,
    (method, headers): (&Method, &HeaderMap),
) -> Result<Response, Refusal> {
    let presentation =
        play::present(shared.options.clone(), target).await.map_err(|error| refusal(&error))?;
    let span = whole(&presentation, target);
    let told = presentation.rate_bytes_per_s;
    let rate = if is_closed(&presentation, target) {
        shared.rates.lock().unwrap_or_else(PoisonError::into_inner).first_told(target, told)
    } else {
        told
    };
    let scale = Scale::new(span, rate);
    let len = scale.len();
    let tag = format!("\"{}-{}-{len}\"", span.from.0, span.to.0);
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    // A part of what has become another file would be of no use (RFC 9110 §13.1.5).
    let same = headers.get(header::IF_RANGE).is_none_or(|known| known.as_bytes() == tag.as_bytes());
    let wanted = wanted(range.filter(|_| same), len);
    let mut answer = fresh(TRANSPORT_STREAM);
    let value = |text: String| HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
    answer.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    answer.insert(header::ETAG, value(tag));
    let (status, first, last) = match wanted {
        Wanted::All => (StatusCode::OK, 0, len.saturating_sub(1)),
        Wanted::Part(first, last) => {
            answer.insert(header::CONTENT_RANGE, value(format!("bytes {first}-{last}/{len}")));
            (StatusCode::PARTIAL_CONTENT, first, last)
        }
        Wanted::Nothing => {
            answer.insert(header::CONTENT_RANGE, value(format!("bytes */{len}")));
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, answer).into_response());
        }
    };
    if len == 0 {
        return Err(Refusal::unavailable("nothing of it is recorded yet"));
    }
    answer.insert(header::CONTENT_LENGTH, value((last - first + 1).to_string()));
    if method == Method::HEAD {
        return Ok((status, answer, Body::empty()).into_response());
    }
    let place = Arc::clone(&shared.playbacks).try_acquire_owned().map_err(|_| {
        count(&shared.hub.counters.refused, 1);
        Refusal::unavailable(format!("{PLAYBACKS_MAX} recordings are read already"))
    })?;
    let mut playing = start(shared, target, presentation, scale.time(first), place)?;
    let mut begin = vec![0; PIECE_BYTES];
    let read = timeout(START_PATIENCE, playing.read(&mut begin)).await;
    let got = read.ok().and_then(Result::ok).filter(|got| *got > 0);
    let got = got.ok_or_else(|| Refusal::unavailable("no push server sends any of it"))?;
    begin.truncate(got);
    let (sender, body) = piped();
    tokio::spawn(fill(scale.filler(first, last), begin, playing, sender));
    Ok((status, answer, body).into_response())
}

/// What the file has: of what still grows, what there is now; of a stretch, what was asked for, be its beginning recorded or not.
fn whole(presentation: &Presentation, target: PlayTarget) -> Span {
    let Span { from, to } = presentation.span;
    match target {
        PlayTarget::Channel { to: Some(end), .. } => Span { from, to: end.min(presentation.time).max(from) },
        _ if presentation.growing => Span { from, to: presentation.time.max(from) },
        _ => Span { from, to },
    }
}

/// Whether its end has come.
fn is_closed(presentation: &Presentation, target: PlayTarget) -> bool {
    match target {
        PlayTarget::Channel { to: Some(end), .. } => end <= presentation.time,
        _ => !presentation.growing,
    }
}

fn refusal(error: &Error) -> Refusal {
    match error {
        Error::Usage(text) => Refusal::missing(text.clone()),
        other => Refusal::unavailable(other.to_string()),
    }
}

/// Begins to play into a pipe: its reader's pace becomes the playback's.
fn start(
    shared: &Shared,
    target: PlayTarget,
    presentation: Presentation,
    at: ClusterTime,
    place: OwnedSemaphorePermit,
) -> Result<pipe::Receiver, Refusal> {
    let fault = |error: std::io::Error| Refusal::unavailable(error.to_string());
    let (read, write) = std::io::pipe().map_err(fault)?;
    let reader = pipe::Receiver::from_owned_fd(OwnedFd::from(read)).map_err(fault)?;
    let (sink, mut writing) = sink::pipe("HTTP".to_owned(), File::from(OwnedFd::from(write)));
    let setup = Setup { buffer: BUFFER, flow: Flow::Zones, speed: Speed::Max, start: Some(at) };
    let show = Show::start(&shared.options, target, presentation, setup).map_err(|error| refusal(&error))?;
    tokio::spawn(async move {
        let mut show = show;
        show.set_sink(Some(sink));
        loop {
            tokio::select! {
                () = show.step() => {}
                // The reader has all that it asked for, or is gone.
                _ = writing.ended() => break,
            }
            let _ = show.news();
            match show.ended() {
                None => {}
                Some(End::Whole) => break,
                Some(End::Refused(reason)) => {
                    tracing::info!(%reason, "a recording cannot be played on");
                    break;
                }
            }
        }
        show.wish(Wish::Stop);
        show.set_sink(None);
        drop(show);
        // What waits is written by a thread of its own.
        let _ = writing.ended().await;
        drop(place);
    });
    Ok(reader)
}

/// Gives the reader exactly what was promised.
async fn fill(
    mut filler: Filler,
    mut held: Vec<u8>,
    mut playing: pipe::Receiver,
    sender: mpsc::Sender<Bytes>,
) {
    let mut piece = vec![0; PIECE_BYTES];
    while !filler.is_full() {
        let whole = held.len() / PACKET_BYTES * PACKET_BYTES;
        let bytes = filler.push(&held[..whole]);
        held.drain(..whole);
        if !bytes.is_empty() && sender.send(bytes.into()).await.is_err() {
            return;
        }
        if filler.is_full() {
            return;
        }
        match timeout(SILENCE, playing.read(&mut piece)).await {
            Ok(Ok(got @ 1..)) => held.extend_from_slice(&piece[..got]),
            // It has ended, or goes on no more.
            _ => break,
        }
    }
    while !filler.is_full() {
        if sender.send(filler.finish(PIECE_BYTES).into()).await.is_err() {
            return;
        }
    }
}
