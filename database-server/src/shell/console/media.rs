//! `/media/…`: pictures for the console's player, passed on from the gateway. The database server itself carries no media.
//!
//! ```text
//! browser ─ GET /media/channel/1.ts ─► here ─ GET /channel/1.ts ─► gateway
//!         ◄──────── bytes as fast as the browser reads ───────────
//! ```
//!
//! One connection to the gateway for each request; it ends with the caller's, and the caller's with it.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use hyper::body::{Bytes, Frame, Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::App;
use super::answer::ApiError;
use super::visitor::Visitor;

/// Requests passed on at a time; one more is refused as busy.
pub(super) const MAX_PASSED: usize = 64;
/// A gateway that has not taken the connection by then is not there.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// A gateway that has not answered by then hangs; a channel's first packets may take seconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// Longest path, in bytes.
const MAX_PATH_BYTES: usize = 1_024;

/// What of a request is passed on.
const ASKED: [HeaderName; 4] = [header::RANGE, header::IF_RANGE, header::ACCEPT, header::IF_NONE_MATCH];
/// What of an answer is passed on.
const ANSWERED: [HeaderName; 9] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::ACCEPT_RANGES,
    header::CACHE_CONTROL,
    header::ETAG,
    header::LAST_MODIFIED,
    header::RETRY_AFTER,
    header::CONTENT_DISPOSITION,
];

/// The route below.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/media/{*path}", any(media))
}

async fn media(State(app): State<App>, visitor: Visitor, request: Request) -> Result<Response, ApiError> {
    visitor.may_read(&app)?;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(ApiError::wrong_method());
    }
    let uri = request.uri();
    let path = uri.path().strip_prefix("/media").filter(|path| is_media(path));
    let Some(path) = path else { return Err(ApiError::not_found("there is no such media")) };
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let place = app.0.passed.clone().try_acquire_owned().map_err(|_| ApiError::busy())?;
    let gateway = app.0.topology.borrow().database_server.gateway;
    match pass_on(gateway, request.method().clone(), &target, request.headers(), place).await {
        Ok(response) => Ok(response),
        Err(why) => {
            app.0.tally.media_failed.add();
            let message = format!(
                "no gateway answers at {gateway} ({why}): start `masthead-client gateway` beside the database server, or \
                 name another one as `gateway` in the topology"
            );
            Err(ApiError::new(StatusCode::BAD_GATEWAY, "no_gateway", message))
        }
    }
}

/// Whether `path` names media of the gateway, plainly: no dots to climb by, nothing encoded that could hide some.
fn is_media(path: &str) -> bool {
    let kinds = ["/channel/", "/recording/", "/past/"];
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_');
    path.len() <= MAX_PATH_BYTES
        && kinds.iter().any(|kind| path.starts_with(kind))
        && path.bytes().all(plain)
        && path[1..].split('/').all(|part| !part.is_empty() && !part.starts_with('.'))
}

async fn pass_on(
    gateway: SocketAddr,
    method: Method,
    target: &str,
    headers: &HeaderMap,
    place: OwnedSemaphorePermit,
) -> Result<Response, String> {
    let stream = timeout(CONNECT_LIMIT, TcpStream::connect(gateway)).await;
    let stream = stream.map_err(|_| "no answer".to_owned())?.map_err(|error| error.to_string())?;
    // Without it, pictures are only later.
    let _ = stream.set_nodelay(true);
    let opened = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = opened.map_err(|error| error.to_string())?;
    let connection = Connection(tokio::spawn(async move {
        // Its end is the end of the body, which is what the caller sees.
        let _ = connection.await;
    }));
    let mut asked =
        hyper::Request::builder().method(method).uri(target).header(header::HOST, gateway.to_string());
    for name in ASKED {
        if let Some(value) = headers.get(&name) {
            asked = asked.header(name, value);
        }
    }
    let asked = asked.body(Body::empty()).map_err(|error| error.to_string())?;
    let answer = timeout(ANSWER_LIMIT, sender.send_request(asked)).await;
    let answer = answer.map_err(|_| "no answer".to_owned())?.map_err(|error| error.to_string())?;
    let (parts, body) = answer.into_parts();
    let body = Body::new(Passed { body, _connection: connection, _place: place });
    // Where a gateway sends the caller elsewhere, that is not passed on: nothing here leads out of this server.
    let mut response = (parts.status, body).into_response();
    response.headers_mut().remove(header::CONTENT_TYPE);
    for name in ANSWERED {
        if let Some(value) = parts.headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    Ok(response)
}

/// The connection to the gateway; letting go of it closes it.
#[derive(Debug)]
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The gateway's bytes, asked for as fast as the caller reads.
#[derive(Debug)]
struct Passed {
    body: Incoming,
    _connection: Connection,
    _place: OwnedSemaphorePermit,
}

impl hyper::body::Body for Passed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_of_media_are_passed_on() {
        for good in ["/channel/1.ts", "/channel/1/index.m3u8", "/recording/7.ts", "/past/1/0-60000.ts"] {
            assert!(is_media(good), "{good}");
        }
        let wrong =
            ["", "/", "/channel/", "/discover.json", "/channel", "/channels/1", "/channel/../discover.json"];
        let hidden = [
            "/channel/%2e%2e/x",
            "/channel//x",
            "/channel/./x",
            "/channel/a\\b",
            "/channel/é",
            "/channel/..;/x",
        ];
        for wrong in wrong.into_iter().chain(hidden) {
            assert!(!is_media(wrong), "{wrong}");
        }
        assert!(!is_media(&format!("/channel/{}", "a".repeat(MAX_PATH_BYTES))));
    }
}
