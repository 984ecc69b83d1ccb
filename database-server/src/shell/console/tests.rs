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
pub(super) struct Console {
    pub(super) state: App,
    app: Router,
    store: store::Store,
    _folder: tempfile::TempDir,
}

pub(super) fn console() -> Console {
    console_with("")
}

/// The same with more in the topology's `[database_server]`.
fn console_with(more: &str) -> Console {
    let text = format!("[database_server]\naddress = \"10.0.0.2\"\n{more}\n");
    let topology = Topology::parse("topology.toml", &text).expect("a site without servers").0;
    let topology = watch::channel(Arc::new(topology)).1;
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
                    drop(answer.send(crate::recordings_view::RecordingsView::default()));
                }
                Ask::Guide(ask, answer) => drop(answer.send(shown(&ask))),
                Ask::Measures(answer) => drop(answer.send(Measures::default())),
                Ask::Ready(answer) => drop(answer.send(Err("not yet"))),
                Ask::Command(_, answer) => drop(answer.send(Err("nobody is there".to_owned()))),
            }
        }
    });
    let desk = Desk::new(asks);
    let (events, _) = mpsc::channel(1);
    let clerk =
        crate::shell::administration::Clerk::new(None, topology.borrow().database_server.clone(), events);
    let key = protocols::authority::ClusterKey::new([7; 32]);
    let office = Arc::new(Office::open(folder.path(), clerk, desk.clone(), key).unwrap());
    let (journal, tally) = (store.writer.reader(), Arc::default());
    let secure_address = "https://10.0.0.2:7480/".to_owned();
    let state = App::new(Means { desk, journal, tally, office, topology, secure_address });
    let caller = Caller { address: "192.0.2.1:9".parse().unwrap(), secure: false };
    Console { app: app(state.clone()).layer(Extension(caller)), state, store, _folder: folder }
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
    for wrong in ["limit=0", "limit=1001", "limit=x", "before=-1", "before=9223372036854775808", "after=1"] {
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
    for _ in 0..2 {
        piece(&mut response).await;
    }
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

/// A guide that tells what it was asked.
fn shown(ask: &crate::guide_view::GuideAsk) -> crate::guide_view::GuideView {
    let more = ask.after.map(|place| crate::guide_view::GuidePlaceView {
        channel: place.channel.0,
        from_ms: place.start_unix_s,
    });
    let time_ms = ask.from.map_or(0, |from| from.0) + u64::from(ask.per_channel);
    crate::guide_view::GuideView { time_ms, channels: Vec::new(), more }
}

#[tokio::test]
async fn the_guide_is_told_a_part_at_a_time() {
    let console = console();
    let path = "/api/v1/guide?from_ms=5000&per_channel=2&after_channel=7&after_from_ms=-1500";
    let response = get(&console.app, path).await;
    assert_eq!(response.status(), StatusCode::OK);
    let told = json(response).await;
    assert_eq!((&told["time_ms"], &told["more"]["channel"]), (&5002.into(), &7.into()));
    assert_eq!(told["more"]["from_ms"], -2, "whole seconds, downwards");
    let told = json(get(&console.app, "/api/v1/guide?after_channel=7").await).await;
    assert_eq!(told["more"]["from_ms"], i64::MAX, "all of channel 7 is behind");
    for path in ["/api/v1/guide?after_channel=-1", "/api/v1/guide?channel=-1", "/api/v1/guide?day=1"] {
        assert_eq!(get(&console.app, path).await.status(), StatusCode::BAD_REQUEST, "{path}");
    }
}

#[tokio::test]
async fn a_site_that_asks_for_accounts_shows_nothing_to_strangers() {
    let console = console_with("console = \"accounts\"");
    let closed = [
        "/api/v1/site",
        "/api/v1/recordings",
        "/api/v1/guide",
        "/api/v1/events",
        "/api/v1/live",
        "/metrics",
        "/media/channel/1.ts",
    ];
    for path in closed {
        let response = get(&console.app, path).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(json(response).await["error"]["code"], "unauthorized", "{path}");
    }
    for path in ["/", "/api/v1/health", "/api/v1/openapi.json"] {
        assert_eq!(get(&console.app, path).await.status(), StatusCode::OK, "{path}");
    }
}

/// A gateway that answers each connection's first request with `answer`; tells the requests that it heard.
async fn gateway(answer: &'static [u8]) -> (std::net::SocketAddr, mpsc::Receiver<String>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (heard, requests) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4_096];
            let len = stream.read(&mut request).await.unwrap();
            heard.send(String::from_utf8_lossy(&request[..len]).into_owned()).await.unwrap();
            stream.write_all(answer).await.unwrap();
        }
    });
    (address, requests)
}

#[tokio::test]
async fn media_are_passed_on_with_the_range_and_without_what_could_harm() {
    let (address, mut requests) = gateway(
        b"HTTP/1.1 206 Partial Content\r\nContent-Type: video/mp2t\r\nContent-Length: 3\r\nContent-Range: bytes 0-2/9\r\n\
          Set-Cookie: a=b\r\nLocation: http://elsewhere/\r\nContent-Security-Policy: script-src *\r\n\r\nabc",
    )
    .await;
    let console = console_with(&format!("gateway = \"{address}\""));
    let request = Request::get("/media/recording/7.ts?from=1")
        .header(header::RANGE, "bytes=0-2")
        .header(header::COOKIE, "session=secret")
        .body(Body::empty());
    let response = console.app.clone().oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
    let headers = response.headers().clone();
    assert_eq!(
        (&headers[header::CONTENT_TYPE], &headers[header::CONTENT_RANGE]),
        (&"video/mp2t".parse().unwrap(), &"bytes 0-2/9".parse().unwrap())
    );
    assert!(!headers.contains_key(header::SET_COOKIE) && !headers.contains_key(header::LOCATION));
    assert_eq!(headers[header::CONTENT_SECURITY_POLICY], headers::CONTENT_SECURITY_POLICY);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "abc");
    let asked = requests.recv().await.unwrap().to_ascii_lowercase();
    assert!(asked.starts_with("get /recording/7.ts?from=1 http/1.1\r\n"), "{asked}");
    assert!(asked.contains("range: bytes=0-2\r\n") && !asked.contains("secret"), "{asked}");
}

#[tokio::test]
async fn without_a_gateway_the_error_says_what_to_do_and_only_media_are_asked_for() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let console = console_with(&format!("gateway = \"{free}\""));
    let response = get(&console.app, "/media/channel/1.ts").await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let error = json(response).await;
    assert_eq!(error["error"]["code"], "no_gateway");
    assert!(error["error"]["message"].as_str().unwrap().contains("masthead-client gateway"), "{error}");
    assert_eq!(get(&console.app, "/media/discover.json").await.status(), StatusCode::NOT_FOUND);
    let post = Request::post("/media/channel/1.ts").body(Body::empty()).unwrap();
    assert_eq!(console.app.clone().oneshot(post).await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
}

/// Goal: when the viewer goes, the gateway's connection goes, and when the gateway goes, so does the viewer's answer.
#[tokio::test]
async fn the_end_of_either_side_ends_the_other() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let console = console_with(&format!("gateway = \"{}\"", listener.local_addr().unwrap()));
    let patience = std::time::Duration::from_secs(10);
    for viewer_goes_first in [true, false] {
        let app = console.app.clone();
        let asked = tokio::spawn(async move { get(&app, "/media/channel/1.ts").await });
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1_024];
        assert_ne!(stream.read(&mut request).await.unwrap(), 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\n\r\nabc").await.unwrap();
        let mut response = asked.await.unwrap();
        assert_eq!(piece(&mut response).await, "abc");
        if viewer_goes_first {
            drop(response);
            let end = tokio::time::timeout(patience, stream.read(&mut request)).await.expect("the end");
            assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
        } else {
            drop(stream);
            let end = tokio::time::timeout(patience, response.body_mut().frame()).await.expect("the end");
            assert!(end.is_none_or(|frame| frame.is_err()));
        }
    }
}

#[tokio::test]
async fn metrics_are_text_that_names_the_site() {
    let console = console();
    let response = get(&console.app, "/metrics").await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], link::metrics::CONTENT_TYPE);
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert!(text.contains("\nmasthead_site_live 0\n"), "{text}");
    assert!(text.contains("\nmasthead_database_live_refused_total 0\n"), "{text}");
}
