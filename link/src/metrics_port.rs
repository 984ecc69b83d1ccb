//! The port of a daemon that serves nothing else by HTTP: `/metrics` and `/health`, for `--metrics ADDR:PORT`.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::http;
use crate::metrics::CONTENT_TYPE;
use crate::udp::SocketError;

/// Questions that may wait for the driver; one more is refused.
pub const QUEUED_QUESTIONS: usize = 4;
/// A driver that has not answered by then hangs, or has more urgent things to do.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// A caller that reads nothing of an answer for this long is disconnected.
const UNREAD_LIMIT: Duration = Duration::from_secs(15);

/// A question for the driver: what it knows at this moment. The answer is lost where nobody waits for it any more.
pub type Question<T> = oneshot::Sender<T>;

/// The way to a driver, and how what it knows is written.
#[derive(Debug)]
struct Source<T> {
    questions: mpsc::Sender<Question<T>>,
    write: fn(&T) -> String,
}

impl<T> Clone for Source<T> {
    fn clone(&self) -> Self {
        Self { questions: self.questions.clone(), write: self.write }
    }
}

/// Takes the port.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, SocketError> {
    let what = || format!("metrics: TCP port {} on {}", address.port(), address.ip());
    TcpListener::bind(address).await.map_err(|error| SocketError::new(what(), error))
}

/// Serves for ever, by questions to the driver, whose answers `write` makes text of; dropping the future ends it.
pub async fn serve<T: Send + 'static>(
    listener: TcpListener,
    questions: mpsc::Sender<Question<T>>,
    write: fn(&T) -> String,
) {
    http::serve_within(listener, app(Source { questions, write }), None, UNREAD_LIMIT).await;
}

fn app<T: Send + 'static>(source: Source<T>) -> Router {
    Router::new().route("/metrics", get(metrics::<T>)).route("/health", get(health::<T>)).with_state(source)
}

async fn metrics<T: Send + 'static>(State(source): State<Source<T>>) -> Response {
    let Some(known) = ask(&source.questions).await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    // Many lines, on a host that may have other things to do.
    match tokio::task::spawn_blocking(move || (source.write)(&known)).await {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Healthy is a daemon whose driver answers.
async fn health<T: Send + 'static>(State(source): State<Source<T>>) -> Response {
    match ask(&source.questions).await {
        Some(_) => ([(header::CONTENT_TYPE, "application/json")], "{\"status\":\"ok\"}").into_response(),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn ask<T>(questions: &mpsc::Sender<Question<T>>) -> Option<T> {
    let (question, answer) = oneshot::channel();
    questions.try_send(question).ok()?;
    timeout(ANSWER_LIMIT, answer).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn get(app: &Router, path: &str) -> (StatusCode, String) {
        let response = app.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn metrics_come_from_the_driver_and_health_is_that_it_answers() {
        let (questions, mut asked) = mpsc::channel::<Question<u8>>(QUEUED_QUESTIONS);
        let app = app(Source { questions, write: |up| format!("up {up}\n") });
        let driver = tokio::spawn(async move {
            for _ in 0..2 {
                asked.recv().await.unwrap().send(1).unwrap();
            }
            asked
        });
        assert_eq!(get(&app, "/metrics").await, (StatusCode::OK, "up 1\n".to_owned()));
        assert_eq!(get(&app, "/health").await.0, StatusCode::OK);
        // A driver that hangs: unanswered, and soon not even asked.
        let _hung = driver.await.unwrap();
        for _ in 0..=QUEUED_QUESTIONS {
            assert_eq!(get(&app, "/health").await.0, StatusCode::SERVICE_UNAVAILABLE);
        }
        assert_eq!(get(&app, "/other").await.0, StatusCode::NOT_FOUND);
    }
}
