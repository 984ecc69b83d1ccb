//! Lists and pages: what there is here, for players, recorders, people and Prometheus.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use link::metrics::{self, Exposition};
use protocols::p2_directory::ProgrammeEntry;
use serde::Deserialize;

use super::super::play;
use super::Shared;
use super::answer::{Refusal, fresh};
use super::hub::{CHANNELS_MAX, READERS_MAX};
use crate::gateway::hdhomerun::{self, LINEUP_STATUS};
use crate::gateway::lineup::{self, Form, escaped};

const JSON: &str = "application/json";
const XML: &str = "application/xml; charset=utf-8";
const M3U: &str = "audio/x-mpegurl; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// The pages.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(index))
        .route("/health", get(async || (fresh(JSON), "{\"status\":\"ok\"}")))
        .route("/metrics", get(figures))
        .route("/playlist.m3u", get(playlist))
        .route("/recordings.m3u", get(recordings))
        .route("/xmltv.xml", get(xmltv))
        .route("/guide.xml", get(xmltv))
        .route("/discover.json", get(discover))
        .route("/device.xml", get(device))
        .route("/lineup.json", get(lineup_json))
        .route("/lineup.m3u", get(lineup_m3u))
        .route("/lineup.xml", get(lineup_xml))
        .route("/lineup_status.json", get(async || (fresh(JSON), LINEUP_STATUS)))
        // "Scan": the list is the site's, and always current.
        .route("/lineup.post", post(async || StatusCode::NO_CONTENT))
}

/// Where this is, as the caller called it.
pub(super) fn base(headers: &HeaderMap) -> Result<String, Refusal> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']' | '_');
    if host.is_empty() || host.len() > 255 || !host.chars().all(is_name) {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "the request does not say which host it is for"));
    }
    Ok(format!("http://{host}"))
}

#[derive(Debug, Default, Deserialize)]
struct Asked {
    format: Option<String>,
}

async fn playlist(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Query(asked): Query<Asked>,
) -> Result<Response, Refusal> {
    let form = match asked.format.as_deref() {
        None | Some("ts") => Form::TransportStream,
        Some("hls") => Form::Hls,
        Some(_) => return Err(Refusal::new(StatusCode::BAD_REQUEST, "format is ts or hls")),
    };
    let list = shared.listing.list().await?;
    Ok((fresh(M3U), lineup::playlist(&base(&headers)?, &list.channels, form)).into_response())
}

async fn recordings(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Result<Response, Refusal> {
    let base = base(&headers)?;
    let list = play::list(shared.options.clone()).await;
    let list = list.map_err(|error| Refusal::unavailable(error.to_string()))?;
    let begun: Vec<ProgrammeEntry> =
        list.programmes.into_iter().filter(|programme| programme.bytes > 0).collect();
    Ok((fresh(M3U), lineup::recordings(&base, &begun)).into_response())
}

async fn xmltv(State(shared): State<Arc<Shared>>) -> Result<Response, Refusal> {
    Ok((fresh(XML), shared.guide.document(&shared).await?).into_response())
}

async fn discover(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Result<Response, Refusal> {
    let text = hdhomerun::discover_json(&base(&headers)?, shared.device, shared.tuner_count);
    Ok((fresh(JSON), text).into_response())
}

async fn device(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Result<Response, Refusal> {
    Ok((fresh(XML), hdhomerun::device_xml(&base(&headers)?, shared.device)).into_response())
}

async fn lineup_json(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Result<Response, Refusal> {
    let list = shared.listing.list().await?;
    Ok((fresh(JSON), lineup::lineup_json(&base(&headers)?, &list.channels)).into_response())
}

async fn lineup_m3u(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Result<Response, Refusal> {
    let list = shared.listing.list().await?;
    Ok((fresh(M3U), lineup::lineup_m3u(&base(&headers)?, &list.channels)).into_response())
}

async fn lineup_xml(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Result<Response, Refusal> {
    let list = shared.listing.list().await?;
    Ok((fresh(XML), lineup::lineup_xml(&base(&headers)?, &list.channels)).into_response())
}

/// For people: what can be opened here.
async fn index(State(shared): State<Arc<Shared>>) -> Result<Response, Refusal> {
    let list = shared.listing.list().await?;
    let mut text = "<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
                    <title>Masthead gateway</title><h1>Masthead gateway</h1>\
                    <p>Lists: <a href=\"/playlist.m3u\">playlist.m3u</a>, <a href=\"/playlist.m3u?format=hls\">playlist.m3u with HLS</a>, \
                    <a href=\"/recordings.m3u\">recordings.m3u</a>, <a href=\"/xmltv.xml\">xmltv.xml</a>, \
                    <a href=\"/discover.json\">discover.json</a>, <a href=\"/lineup.json\">lineup.json</a>, \
                    <a href=\"/metrics\">metrics</a></p>\n<ul>\n"
        .to_owned();
    for channel in &list.channels {
        let _ = writeln!(
            text,
            "<li>{0} {1}: <a href=\"/channel/{0}.ts\">TS</a>, <a href=\"/channel/{0}/index.m3u8\">HLS</a>, \
             <a href=\"/channel/{0}/fmp4.m3u8\">HLS fMP4</a></li>",
            channel.id,
            escaped(&channel.name)
        );
    }
    text.push_str("</ul></html>\n");
    let mut headers = fresh(HTML);
    headers.insert(header::CONTENT_SECURITY_POLICY, header::HeaderValue::from_static("default-src 'none'"));
    Ok((headers, text).into_response())
}

async fn figures(State(shared): State<Arc<Shared>>) -> Response {
    (fresh(metrics::CONTENT_TYPE), exposition(&shared).into_text()).into_response()
}

/// What is counted.
fn exposition(shared: &Shared) -> Exposition {
    let mut out = Exposition::new();
    out.process("gateway", env!("CARGO_PKG_VERSION"), shared.started);
    let hub = &shared.hub;
    let channels = hub.channels();
    let (mut kept, mut segments, mut dropped) = (0, 0, 0);
    for channel in &channels {
        let state = channel.state();
        let (bytes, lost) = state.segments_held();
        (kept, segments, dropped) = (kept + state.tape.bytes(), segments + bytes, dropped + lost);
    }
    let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let counters = &hub.counters;
    out.gauge("masthead_gateway_channels", "Channels subscribed to.", channels.len() as u64);
    out.gauge("masthead_gateway_channels_limit", "Most of them at a time.", CHANNELS_MAX as u64);
    out.gauge("masthead_gateway_readers", "Readers of transport stream.", read(&counters.readers));
    out.gauge("masthead_gateway_readers_limit", "Most of them at a time.", READERS_MAX);
    out.gauge("masthead_gateway_playbacks", "Recordings being read.", shared.playbacks_under_way());
    out.gauge(
        "masthead_gateway_tuners_taken",
        "HDHomeRun tuners that somebody has.",
        shared.tuners.taken() as u64,
    );
    out.gauge("masthead_gateway_tape_bytes", "Kept of channels for readers.", kept as u64);
    out.gauge("masthead_gateway_segment_bytes", "Kept of channels in segments.", segments as u64);
    out.counter(
        "masthead_gateway_segments_dropped_total",
        "Segments of the channels watched now that went for want of room.",
        dropped,
    );
    out.counter("masthead_gateway_subscriptions_total", "Subscriptions made.", read(&counters.subscriptions));
    out.counter(
        "masthead_gateway_served_total",
        "Readers of transport stream that were served.",
        read(&counters.served),
    );
    out.counter("masthead_gateway_bytes_total", "Bytes given to readers.", read(&counters.bytes));
    out.counter(
        "masthead_gateway_too_slow_total",
        "Readers disconnected since they were slower than their channel.",
        read(&counters.too_slow),
    );
    out.counter(
        "masthead_gateway_refused_total",
        "Requests refused for want of room.",
        read(&counters.refused),
    );
    out
}
