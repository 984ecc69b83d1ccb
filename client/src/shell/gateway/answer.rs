//! Answers: bodies that go on, and refusals that say why.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::{Bytes, Frame};
use tokio::sync::mpsc;

/// Pieces that wait to be written to one reader; its task waits when there are more.
pub(super) const PIECES_MAX: usize = 2;

/// A body that another task writes; it ends when that task drops its end.
#[derive(Debug)]
struct Piped {
    pieces: mpsc::Receiver<Bytes>,
}

impl hyper::body::Body for Piped {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.pieces.poll_recv(context).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// A body, and where it is written.
pub(super) fn piped() -> (mpsc::Sender<Bytes>, Body) {
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    (sender, Body::new(Piped { pieces }))
}

/// Why a request is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    text: String,
}

impl Refusal {
    /// With a sentence for people.
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    /// There is no such thing.
    pub(super) fn missing(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, text)
    }

    /// It cannot be had now.
    pub(super) fn unavailable(text: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
    }

    /// The sentence.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The status.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, fresh("text/plain; charset=utf-8"), format!("{}\n", self.text)).into_response()
    }
}

/// Headers of what is true now and soon is not.
pub(super) fn fresh(content_type: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers
}
