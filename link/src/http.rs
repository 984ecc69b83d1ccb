//! HTTP/1.1 for what people and their programs look at: the console, a gateway, metrics.
//!
//! One port takes HTTP and, where it has a certificate, HTTPS: the first byte of a connection tells which (RFC 8446, section
//! 5.1: a handshake record begins with 22, a request line never does).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Extension;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::reading::Reading;

/// Connections of one port at a time; one more waits in the kernel's queue.
pub const MAX_CONNECTIONS: usize = 1_024;
/// A caller that has not sent its first byte, its TLS handshake or the head of a request within this is disconnected.
pub const OPENING_LIMIT: Duration = Duration::from_secs(10);
/// Largest head of a request, in bytes.
pub const MAX_HEAD_BYTES: usize = 16 << 10;
/// After a failure to take connections, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// First byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 22;

/// Who makes a request: an extension of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Where from; an IPv4-mapped address is the IPv4 address.
    pub address: SocketAddr,
    /// Whether by TLS.
    pub secure: bool,
}

impl Caller {
    /// Whether nobody on a network can have read or altered the request: by TLS, or from this machine.
    pub fn is_private(&self) -> bool {
        self.secure || self.address.ip().is_loopback()
    }
}

/// Serves `app` for ever; dropping the future ends all connections. `tls`: `None` where the port has no certificate.
/// A caller may leave an answer unread for as long as they like, as a paused player does.
pub async fn serve(listener: TcpListener, app: Router, tls: Option<Arc<ServerConfig>>) {
    serve_all(listener, app, tls, None).await;
}

/// As [`serve`]; a caller who reads nothing of an answer for `unread_limit` is disconnected.
pub async fn serve_within(
    listener: TcpListener,
    app: Router,
    tls: Option<Arc<ServerConfig>>,
    unread_limit: Duration,
) {
    serve_all(listener, app, tls, Some(unread_limit)).await;
}

async fn serve_all(
    listener: TcpListener,
    app: Router,
    tls: Option<Arc<ServerConfig>>,
    unread_limit: Option<Duration>,
) {
    let tls = tls.map(TlsAcceptor::from);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let taken = loop {
            tokio::select! {
                taken = listener.accept() => break taken,
                Some(_) = connections.join_next() => {}
            }
        };
        match taken {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                let address = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                let (app, tls) = (app.clone(), tls.clone());
                connections.spawn(async move {
                    if let Err(error) = connection(stream, address, Terms { app, tls, unread_limit }).await {
                        debug!(%address, error, "HTTP connection ended");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "HTTP connections cannot be taken for now; raise the limit of open files?");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// By what a connection is served.
struct Terms {
    app: Router,
    tls: Option<TlsAcceptor>,
    unread_limit: Option<Duration>,
}

async fn connection(stream: TcpStream, address: SocketAddr, terms: Terms) -> Result<(), String> {
    let Terms { app, tls, unread_limit } = terms;
    let mut first = [0];
    match timeout(OPENING_LIMIT, stream.peek(&mut first)).await {
        Ok(Ok(1)) => {}
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("silent".to_owned()),
    }
    if first == [TLS_HANDSHAKE] {
        let Some(tls) = tls else { return Err("TLS, but the port has no certificate".to_owned()) };
        let opened = timeout(OPENING_LIMIT, tls.accept(stream)).await;
        let stream =
            opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|e| e.to_string())?;
        speak(Reading::new(stream, unread_limit), Caller { address, secure: true }, app).await
    } else {
        speak(Reading::new(stream, unread_limit), Caller { address, secure: false }, app).await
    }
}

async fn speak<S>(stream: S, caller: Caller, app: Router) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(app.layer(Extension(caller)));
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(OPENING_LIMIT)
        .max_buf_size(MAX_HEAD_BYTES)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn port() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route(
            "/who",
            get(|Extension(caller): Extension<Caller>| async move {
                format!("{} {}", caller.address.ip(), caller.secure)
            }),
        );
        tokio::spawn(serve(listener, app, None));
        address
    }

    async fn ask(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        // A refused connection may end with a reset.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn a_request_knows_who_calls() {
        let answer = ask(port().await, b"GET /who HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("127.0.0.1 false"), "{answer}");
    }

    /// Goal: who asks for an endless answer and reads none of it is let go of, once the buffers on the way are full.
    #[tokio::test]
    async fn who_does_not_read_is_disconnected() {
        struct Endless(Arc<tokio::sync::Notify>);
        impl Drop for Endless {
            fn drop(&mut self) {
                self.0.notify_one();
            }
        }
        impl hyper::body::Body for Endless {
            type Data = axum::body::Bytes;
            type Error = std::convert::Infallible;
            fn poll_frame(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
                let piece = axum::body::Bytes::from_static(&[0; 4_096]);
                std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(piece))))
            }
        }
        let ended = Arc::new(tokio::sync::Notify::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let body = Arc::clone(&ended);
        let app = Router::new().route("/", get(move || async move { axum::body::Body::new(Endless(body)) }));
        tokio::spawn(serve_within(listener, app, None, Duration::from_millis(50)));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        timeout(Duration::from_secs(10), ended.notified()).await.expect("it is let go of");
    }

    #[tokio::test]
    async fn tls_to_a_port_without_certificate_and_rubbish_end_the_connection_alone() {
        let address = port().await;
        assert_eq!(ask(address, &[22, 3, 1, 0, 1, 0]).await, "");
        assert!(ask(address, b"\x00\x01rubbish\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
        let long = [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'a'; 2 * MAX_HEAD_BYTES], b"\r\n\r\n".to_vec()]
            .concat();
        assert!(ask(address, &long).await.starts_with("HTTP/1.1 431 "));
    }
}
