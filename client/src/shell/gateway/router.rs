//! Which request goes where.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::answer::Refusal;
use super::{Shared, hdhomerun, hls, live, pages, recordings};

/// The requests that are answered at a port bound to `bound`.
pub(super) fn router(shared: &Arc<Shared>, bound: SocketAddr) -> Router {
    let router = Router::new()
        .route("/channel/{file}", get(channel))
        .route("/channel/{id}/{file}", get(channel_file))
        .route("/recording/{file}", get(recordings::recording))
        .route("/past/{file}", get(recordings::past))
        .route("/{tuner}/{channel}", get(hdhomerun::stream))
        .merge(pages::routes())
        .fallback(unknown)
        .with_state(Arc::clone(shared));
    if bound.ip().is_loopback() { router.layer(middleware::from_fn(from_this_host)) } else { router }
}

/// `/channel/ID.ts`.
async fn channel(
    State(shared): State<Arc<Shared>>,
    method: Method,
    Path(file): Path<String>,
) -> Result<Response, Refusal> {
    let Some(wanted) = file.strip_suffix(".ts") else { return Err(no_such_page()) };
    let entry = shared.listing.select(wanted).await?;
    live::stream(&shared, &entry, (&method, None)).await
}

/// `/channel/ID/index.m3u8` and what it names.
async fn channel_file(
    State(shared): State<Arc<Shared>>,
    method: Method,
    Path((wanted, file)): Path<(String, String)>,
    Query(blocking): Query<hls::Blocking>,
) -> Result<Response, Refusal> {
    let entry = shared.listing.select(&wanted).await?;
    hls::file(&shared, &entry, (&method, &file, blocking)).await
}

async fn unknown() -> Refusal {
    no_such_page()
}

pub(super) fn no_such_page() -> Refusal {
    Refusal::missing("there is no such page; / lists what there is")
}

/// A page of another site that has its name resolve to this host must not read channels through a browser here: who asks a
/// loopback port calls it by a loopback name.
async fn from_this_host(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if is_loopback_name(host) {
        return next.run(request).await;
    }
    Refusal::new(
        StatusCode::MISDIRECTED_REQUEST,
        "this gateway serves this host alone: call it by 127.0.0.1, or start it with --listen",
    )
    .into_response()
}

fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, _)) => name,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_this_host() {
        for host in ["127.0.0.1", "127.0.0.1:7490", "localhost:7490", "LOCALHOST", "[::1]:7490", "[::1]"] {
            assert!(is_loopback_name(host), "{host}");
        }
        for host in
            ["", "example.org", "example.org:7490", "10.0.0.1:7490", "127.0.0.1.example.org", "[fe80::1]"]
        {
            assert!(!is_loopback_name(host), "{host}");
        }
    }
}
