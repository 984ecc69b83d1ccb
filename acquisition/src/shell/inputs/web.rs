//! `http://` and `https://`: a transport stream that a web server has. It is read no faster than it plays, so that a
//! recording is held back by its own connection, as a program is by its pipe.

use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, LOCATION, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use link::tls::{self, TlsError};
use protocols::topology::{WebInput, WebProtocol};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tracing::debug;

use super::End;
use super::peer;
use crate::paced_stream::PacedStream;
use crate::shell::task::Task;
use crate::web_answer::{self, Head, Verdict};

/// How long a server gets for its TLS handshake, and for the head of its answer: tuners first look for a signal.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Largest piece that is read at a time, and largest head of an answer.
const READ_BYTES: usize = 64 << 10;

/// A stream that is being read.
pub(crate) struct Web {
    place: String,
    body: Incoming,
    _connection: Task,
    read_bytes: u64,
}

impl Web {
    /// Asks for the stream, and follows where the server leads.
    pub(crate) async fn open(mut input: WebInput) -> Result<Self, String> {
        let mut redirects = 0;
        loop {
            let (answer, connection) = ask(&input).await?;
            let headers = answer.headers();
            let head = Head {
                status: answer.status().as_u16(),
                location: text(headers, LOCATION.as_str()),
                content_type: text(headers, CONTENT_TYPE.as_str()),
                tuner_error: text(headers, "x-hdhomerun-error"),
            };
            let place = input.place();
            match web_answer::judge(&input, redirects, &head) {
                Verdict::Read => {
                    return Ok(Self {
                        place,
                        body: answer.into_body(),
                        _connection: connection,
                        read_bytes: 0,
                    });
                }
                Verdict::Follow(led) => {
                    debug!(from = place, to = led.place(), "redirected");
                    input = *led;
                    redirects += 1;
                }
                Verdict::Refuse(cause) => return Err(cause),
            }
        }
    }

    /// Reads on. May be dropped at any time without losing bytes.
    pub(crate) async fn read(&mut self, stream: &mut PacedStream) -> Result<(), End> {
        let place = &self.place;
        let bytes = match self.body.frame().await {
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(error)) => return Err(End::Closed(format!("{place}: {}", causes(&error)))),
            None => {
                let read = self.read_bytes;
                return Err(End::Closed(format!("{place}: the server ended the stream after {read} bytes")));
            }
        };
        self.read_bytes += bytes.len() as u64;
        stream.push_bytes(&bytes, |_| {}).map_err(|error| End::Closed(format!("{place}: {error}")))
    }
}

async fn ask(input: &WebInput) -> Result<(Response<Incoming>, Task), String> {
    let place = input.place();
    let stream = peer::connect(&input.server).await.map_err(|why| format!("{place}: {why}"))?;
    let WebProtocol::Tls(authority) = &input.protocol else { return ask_over(stream, input).await };
    let authority = authority.clone().map(PathBuf::from);
    let secured = timeout(ANSWER_LIMIT, tls::connect_vouched(stream, &input.server.host, authority)).await;
    let secured = secured.map_err(|_| format!("{place}: no TLS handshake within {ANSWER_LIMIT:?}"))?;
    ask_over(secured.map_err(|error| refused(&place, &error))?, input).await
}

fn refused(place: &str, error: &TlsError) -> String {
    let advice = match error {
        TlsError::Unvouched(_) => "; an authority of one's own is named by #ca=FILE at the end of the URL",
        _ => "",
    };
    format!("{place}: {error}{advice}")
}

async fn ask_over<S>(stream: S, input: &WebInput) -> Result<(Response<Incoming>, Task), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let told = |error: &hyper::Error| format!("{}: no HTTP answer: {}", input.place(), causes(error));
    let handshake = hyper::client::conn::http1::Builder::new()
        .max_buf_size(READ_BYTES)
        .handshake(TokioIo::new(stream))
        .await;
    let (mut sender, connection) = handshake.map_err(|error| told(&error))?;
    let connection = Task::start(async move {
        // Its end is the end of the body, which is where it is told.
        let _ = connection.await;
    });
    let mut request = Request::get(&input.target)
        .header(HOST, input.authority())
        .header(USER_AGENT, concat!("masthead/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "*/*");
    if let Some(credentials) = &input.credentials {
        let value = web_answer::basic_authorization(&credentials.user, &credentials.password);
        request = request.header(AUTHORIZATION, value);
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("{}: cannot be asked for: {error}", input.place()))?;
    let answer = timeout(ANSWER_LIMIT, sender.send_request(request)).await;
    let answer = answer.map_err(|_| format!("{}: no answer within {ANSWER_LIMIT:?}", input.place()))?;
    Ok((answer.map_err(|error| told(&error))?, connection))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// An error with what caused it: hyper tells the cause apart.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
