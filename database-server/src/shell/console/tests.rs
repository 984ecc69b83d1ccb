//! The console without sockets: requests in, answers out, and a driver made by hand.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::sync::mpsc;
use tower::ServiceExt;

use super::*;
use crate::site_view::{SiteHead, SiteView};

/// A console whose driver shows an empty site, with a number of its own for each picture; ends with the test.
fn console() -> Router {
    let (asks, mut inbox) = mpsc::channel(QUEUED_ASKS);
    tokio::spawn(async move {
        let mut pictures = 0;
        while let Some(ask) = inbox.recv().await {
            match ask {
                Ask::Site(answer) => {
                    pictures += 1;
                    let site = SiteHead { generation: pictures, ..SiteHead::default() };
                    drop(answer.send(Arc::new(SiteView { site, ..SiteView::default() })));
                }
                Ask::Recordings(answer) => {
                    drop(answer.send(crate::recordings_view::RecordingsView::default()))
                }
                Ask::Ready(answer) => drop(answer.send(Err("not yet"))),
            }
        }
    });
    app(App::new(Desk::new(asks)))
}

async fn get(app: &Router, path: &str) -> Response {
    app.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap()
}

async fn json(response: Response) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_site_is_looked_at_once_a_second_however_many_ask() {
    let app = console();
    for _ in 0..3 {
        assert_eq!(json(get(&app, "/api/v1/site").await).await["site"]["generation"], 1);
    }
    tokio::time::advance(gallery::INTERVAL).await;
    assert_eq!(json(get(&app, "/api/v1/site").await).await["site"]["generation"], 2);
}

#[tokio::test]
async fn health_is_said_and_readiness_with_the_reason() {
    let app = console();
    assert_eq!(json(get(&app, "/api/v1/health").await).await["status"], "ok");
    let response = get(&app, "/api/v1/ready").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let error = json(response).await;
    assert_eq!(
        (&error["error"]["code"], &error["error"]["message"]),
        (&"not_ready".into(), &"not yet".into())
    );
}

#[tokio::test]
async fn every_answer_has_the_strict_headers_and_errors_have_one_shape() {
    let app = console();
    for (path, status) in [("/", 200), ("/api/v1/site", 200), ("/api/v1/nothing", 404), ("/nothing", 404)] {
        let response = get(&app, path).await;
        assert_eq!(response.status(), status, "{path}");
        let headers = response.headers();
        assert_eq!(headers[header::CONTENT_SECURITY_POLICY], headers::CONTENT_SECURITY_POLICY, "{path}");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
        if path.starts_with("/api") {
            assert_eq!(headers[header::CACHE_CONTROL], "no-store", "{path}");
        }
        if status == 404 {
            assert_eq!(json(response).await["error"]["code"], "not_found", "{path}");
        }
    }
    let post = Request::post("/api/v1/site").body(Body::empty()).unwrap();
    let response = app.oneshot(post).await.unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(json(response).await["error"]["code"], "wrong_method");
}

#[tokio::test]
async fn the_page_is_sent_once_and_then_known() {
    let app = console();
    let first = get(&app, "/").await;
    assert_eq!(first.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
    let tag = first.headers()[header::ETAG].clone();
    let again = Request::get("/index.html").header(header::IF_NONE_MATCH, tag).body(Body::empty()).unwrap();
    assert_eq!(app.oneshot(again).await.unwrap().status(), StatusCode::NOT_MODIFIED);
}
