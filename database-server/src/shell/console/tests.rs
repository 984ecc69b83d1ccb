//! The console without sockets: requests in, answers out, and a driver made by hand.

use axum::Router;
use axum::body::Body;
use axum::extract::Extension;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use http_body_util::BodyExt;
use link::http::Caller;
use serde_json::Value;
use tokio::sync::mpsc;
use tower::ServiceExt;

use super::*;
use crate::record::{Event, Record};
use crate::site_view::{SiteHead, SiteView};

/// A console with a journal of 3 lines, whose driver shows an empty site with a number of its own for each picture.
struct Console {
    app: Router,
    store: store::Store,
    _folder: tempfile::TempDir,
}

fn console() -> Console {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store::open(folder.path(), protocols::time::ClusterTime(1)).unwrap();
    store.writer.put((1..=3).map(line));
    let (asks, mut inbox) = mpsc::channel(QUEUED_ASKS);
    tokio::spawn(async move {
        let mut pictures = 0;
        while let Some(ask) = inbox.recv().await {
            match ask {
                Ask::Site(answer) => {
                    pictures += 1;
                    let site = SiteHead { generation: pictures, ..SiteHead::default() };
                    let view = Arc::new(SiteView { site, ..SiteView::default() });
                    drop(answer.send(Look { view, journal: pictures }));
                }
                Ask::Recordings(answer) => {
                    drop(answer.send(crate::recordings_view::RecordingsView::default()))
                }
                Ask::Ready(answer) => drop(answer.send(Err("not yet"))),
            }
        }
    });
    let means = Means { desk: Desk::new(asks), journal: store.writer.reader(), tally: Arc::default() };
    let caller = Caller { address: "192.0.2.1:9".parse().unwrap(), secure: false };
    Console { app: app(App::new(means)).layer(Extension(caller)), store, _folder: folder }
}

fn line(n: u64) -> Record {
    let at = protocols::time::ClusterTime(n);
    Record::Event(Event { at, subject: "site".to_owned(), text: n.to_string() })
}

async fn get(app: &Router, path: &str) -> Response {
    app.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap()
}

async fn json(response: Response) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

#[tokio::test]
async fn the_site_is_looked_at_once_a_second_however_many_ask() {
    let console = console();
    let generation =
        async || json(get(&console.app, "/api/v1/site").await).await["site"]["generation"].as_u64();
    assert_eq!(generation().await, Some(1));
    // From here on, time stands still but for what is said.
    tokio::time::pause();
    assert_eq!((generation().await, generation().await), (Some(1), Some(1)));
    tokio::time::advance(gallery::INTERVAL).await;
    assert_eq!(generation().await, Some(2));
}

#[tokio::test]
async fn health_is_said_and_readiness_with_the_reason() {
    let Console { app, .. } = &console();
    assert_eq!(json(get(app, "/api/v1/health").await).await["status"], "ok");
    let response = get(app, "/api/v1/ready").await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let error = json(response).await;
    assert_eq!(
        (&error["error"]["code"], &error["error"]["message"]),
        (&"not_ready".into(), &"not yet".into())
    );
}

#[tokio::test]
async fn every_answer_has_the_strict_headers_and_errors_have_one_shape() {
    let Console { app, .. } = &console();
    for (path, status) in [("/", 200), ("/api/v1/site", 200), ("/api/v1/nothing", 404), ("/nothing", 404)] {
        let response = get(app, path).await;
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
    let response = app.clone().oneshot(post).await.unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(json(response).await["error"]["code"], "wrong_method");
}

#[tokio::test]
async fn the_page_is_sent_once_and_then_known() {
    let Console { app, .. } = &console();
    let first = get(app, "/").await;
    assert_eq!(first.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
    let tag = first.headers()[header::ETAG].clone();
    let again = Request::get("/index.html").header(header::IF_NONE_MATCH, tag).body(Body::empty()).unwrap();
    assert_eq!(app.clone().oneshot(again).await.unwrap().status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn the_journal_is_told_in_pages_newest_first() {
    let console = console();
    let ids = async |path| {
        let page = json(get(&console.app, path).await).await;
        page["events"].as_array().unwrap().iter().map(|line| line["id"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ids("/api/v1/events").await, [3, 2, 1]);
    assert_eq!(ids("/api/v1/events?limit=2").await, [3, 2]);
    assert_eq!(ids("/api/v1/events?limit=2&before=2").await, [1]);
    for wrong in ["limit=0", "limit=1001", "limit=x", "before=-1", "after=1"] {
        let response = get(&console.app, &format!("/api/v1/events?{wrong}")).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{wrong}");
        assert_eq!(json(response).await["error"]["code"], "bad_request", "{wrong}");
    }
}

/// Reads the next piece of an endless answer.
async fn piece(response: &mut Response) -> String {
    let frame = response.body_mut().frame().await.unwrap().unwrap();
    String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn a_listener_hears_the_site_at_once_and_then_what_is_new() {
    let mut console = console();
    let mut response = get(&console.app, "/api/v1/live").await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    assert_eq!(piece(&mut response).await, "event: site\nid: 3\ndata: ");
    let site: Value = serde_json::from_str(&piece(&mut response).await).unwrap();
    assert_eq!((piece(&mut response).await.as_str(), &site["site"]["generation"]), ("\n\n", &1.into()));
    console.store.writer.put([line(4)]);
    assert_eq!(piece(&mut response).await, "event: site\nid: 3\ndata: ");
    (piece(&mut response).await, piece(&mut response).await);
    let events = piece(&mut response).await;
    assert!(events.starts_with("event: events\nid: 4\ndata: {\"events\":[{\"id\":4,"), "{events}");
    assert!(events.ends_with("}]}\n\n"), "{events}");
    // Who comes back says what they have.
    let again = Request::get("/api/v1/live").header("Last-Event-ID", "2").body(Body::empty()).unwrap();
    let mut response = console.app.clone().oneshot(again).await.unwrap();
    for _ in 0..3 {
        piece(&mut response).await;
    }
    assert!(piece(&mut response).await.starts_with("event: events\nid: 4\ndata: {\"events\":[{\"id\":4,"));
}

#[tokio::test]
async fn listeners_are_bounded_and_those_that_leave_make_room() {
    let console = console();
    let mut listeners = Vec::new();
    for _ in 0..live::MAX_LISTENERS_PER_ADDRESS {
        listeners.push(get(&console.app, "/api/v1/live").await);
    }
    assert_eq!(get(&console.app, "/api/v1/live").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    listeners.pop();
    let freed = async {
        while get(&console.app, "/api/v1/live").await.status() != StatusCode::OK {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), freed).await.expect("a place is free");
}
