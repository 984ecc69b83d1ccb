//! `http://` and `https://` against servers on loopback that say what each test has them say.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use link::tls;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

use super::tests::{CLIP, bring, open, refusal};
use super::*;

/// Answers each request with what `answers` has next, the last again and again, and keeps the requests.
struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(answers: Vec<Vec<u8>>) -> Self {
        Self::start_with(answers, None).await
    }

    async fn start_with(answers: Vec<Vec<u8>>, identity: Option<tls::Identity>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = requests.clone();
        let acceptor = identity.map(|identity| tokio_rustls::TlsAcceptor::from(identity.config));
        tokio::spawn(async move {
            let mut answers = answers.into_iter().peekable();
            let mut answer = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                answer = answers.next().unwrap_or(answer);
                match &acceptor {
                    None => serve(stream, &answer, &kept).await,
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            serve(stream, &answer, &kept).await;
                        }
                    }
                }
            }
        });
        Self { port, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &[u8], kept: &Mutex<Vec<String>>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    kept.lock().unwrap().push(String::from_utf8(request).unwrap());
    // One that was refused goes away in the midst of it.
    let _ = stream.write_all(answer).await;
    let _ = stream.shutdown().await;
}

fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    [head.replace('\n', "\r\n").as_bytes(), b"\r\n\r\n", body].concat()
}

fn stream(packets: usize) -> Vec<u8> {
    answer("HTTP/1.1 200 OK\nContent-Type: video/mp2t\nConnection: close", &CLIP[..packets * 188])
}

#[tokio::test]
async fn a_stream_comes_whole_and_its_end_is_told() {
    let server = Server::start(vec![stream(100)]).await;
    let mut input = open(&format!("http://127.0.0.1:{}/live?key=hush", server.port)).await;
    let (batch, end) = bring(&mut input, usize::MAX).await;
    assert!(batch.packets.as_flattened() == &CLIP[..100 * 188]);
    let told =
        format!("http://127.0.0.1:{}/live: the server ended the stream after 18800 bytes", server.port);
    assert_eq!(end, Some(End::Closed(told)));
    let request = &server.requests()[0];
    assert!(request.starts_with("GET /live?key=hush HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: 127.0.0.1:{}\r\n", server.port)), "{request}");
}

#[tokio::test]
async fn chunks_are_put_together_wherever_they_are_cut() {
    let mut body = Vec::new();
    for chunk in CLIP[..60 * 188].chunks(1000) {
        body.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
        body.extend(chunk);
        body.extend(b"\r\n");
    }
    body.extend(b"0\r\n\r\n");
    let server = Server::start(vec![answer("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", &body)]).await;
    let mut input = open(&format!("http://127.0.0.1:{}/", server.port)).await;
    let (batch, _) = bring(&mut input, usize::MAX).await;
    assert!(batch.packets.as_flattened() == &CLIP[..60 * 188]);
}

#[tokio::test]
async fn redirects_are_followed_also_to_tls_and_with_the_password() {
    let folder = tempfile::tempdir().unwrap();
    let identity = tls::load_or_make(folder.path(), vec!["127.0.0.1".to_owned()]).unwrap();
    let secure = Server::start_with(vec![stream(20)], Some(identity)).await;
    let ca = folder.path().join(tls::CERTIFICATE_NAME);
    let away = format!("HTTP/1.1 302 Found\nLocation: https://127.0.0.1:{}/b/c.ts", secure.port);
    let plain =
        Server::start(vec![answer("HTTP/1.1 301 Moved\nLocation: ../a?x", b""), answer(&away, b"")]).await;
    // An authority of one's own is for https, so the way there begins at one.
    let unvouched = refusal(&format!("http://127.0.0.1:{}/y/z", plain.port)).await;
    assert!(
        unvouched.contains("TLS failed") && unvouched.ends_with("#ca=FILE at the end of the URL"),
        "{unvouched}"
    );
    let mut input =
        open(&format!("https://anna:p%40ss@127.0.0.1:{}/b/c.ts#ca={}", secure.port, ca.display())).await;
    assert_eq!(bring(&mut input, 20).await.0.packets.len(), 20);
    let request = secure.requests().pop().unwrap();
    assert!(request.contains("authorization: Basic YW5uYTpwQHNz\r\n"), "{request}");
    let asked: Vec<_> =
        plain.requests().iter().map(|request| request.lines().next().unwrap().to_owned()).collect();
    assert_eq!(asked, ["GET /y/z HTTP/1.1", "GET /a?x HTTP/1.1"]);
    let missing: PathBuf = folder.path().join("no.pem");
    let told = refusal(&format!("https://127.0.0.1:{}/#ca={}", secure.port, missing.display())).await;
    assert!(told.contains("no.pem: No such file"), "{told}");
}

#[tokio::test]
async fn what_is_no_stream_is_refused_with_what_to_do() {
    let page = answer("HTTP/1.1 200 OK\nContent-Type: text/html", b"<html>");
    let cases = [
        (answer("HTTP/1.1 404 Not Found\nContent-Length: 0", b""), "(404)"),
        (answer("HTTP/1.1 401 Unauthorized\nContent-Length: 0", b""), "does not take this user and password"),
        (answer("HTTP/1.1 503 Busy\nX-HDHomeRun-Error: 805 All Tuners In Use", b""), "805 All Tuners In Use"),
        (answer("HTTP/1.1 302 Found\nLocation: /again", b""), "more than 5 redirects"),
        (page, "a web page"),
        (b"ICY 200 OK\r\n\r\n".to_vec(), "no HTTP answer"),
        (Vec::new(), "no HTTP answer"),
    ];
    for (answer, words) in cases {
        let server = Server::start(vec![answer]).await;
        let told = refusal(&format!("http://anna:hush@127.0.0.1:{}/?key=hush", server.port)).await;
        assert!(told.contains(words) && !told.contains("hush"), "{told}");
    }
    let text = answer("HTTP/1.1 200 OK\nContent-Type: video/mp2t", &b"hello ".repeat(20_000));
    let server = Server::start(vec![text]).await;
    let mut input = open(&format!("http://127.0.0.1:{}/", server.port)).await;
    let (_, end) = bring(&mut input, 1).await;
    assert!(matches!(&end, Some(End::Closed(cause)) if cause.contains("no MPEG-TS")), "{end:?}");
}

#[tokio::test]
async fn servers_that_are_not_there_are_told_apart() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let told = refusal(&format!("http://127.0.0.1:{port}/")).await;
    assert!(told.contains(&format!("cannot reach 127.0.0.1:{port}: Connection refused")), "{told}");
    let told = refusal("http://no-such-host.invalid/").await;
    assert!(told.contains("`no-such-host.invalid` is not found"), "{told}");
}
