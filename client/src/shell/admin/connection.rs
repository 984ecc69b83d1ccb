//! The way to the database server: P2 over TLS, to a server that is known.

use std::net::SocketAddr;
use std::time::Duration;

use link::frames::{self, LinkError};
use link::key_file;
use link::tls::{self, Fingerprint};
use protocols::administration::{Answer, Failure, KEY_LOG_IN, MAX_ADMINISTRATION_BYTES, Request};
use protocols::codec::{self, CodecError};
use protocols::p2_directory::{ToClient, ToDatabase};
use protocols::preamble::{MAX_P2_ANSWER_BYTES, Protocol};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::arguments::LogInArguments;
use super::{password, pins};
use crate::shell::{Error, Options};

/// The server answers within this, also when others log in.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection that has logged in.
pub(super) struct Connection {
    stream: tokio_rustls::client::TlsStream<TcpStream>,
    server: String,
}

impl Connection {
    /// Calls, checks the certificate, and logs in.
    pub(super) async fn open(options: &Options, log_in: &LogInArguments) -> Result<Self, Error> {
        let server = options.database.to_string();
        let failed = |cause: String| Error::Unanswered { database: options.database.clone(), cause };
        let opening = async {
            let (host, port) = (options.database.host.as_str(), options.database.port);
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
            let stream = TcpStream::connect(&addresses[..]).await?;
            stream.set_nodelay(true)?;
            tls::connect(stream).await
        };
        let opened = timeout(ANSWER_TIMEOUT, opening).await.map_err(|_| failed("no answer".to_owned()))?;
        let (mut stream, seen) = opened.map_err(|error| failed(error.to_string()))?;
        let expected = match &log_in.fingerprint {
            None => None,
            Some(text) => Some(Fingerprint::read(text).ok_or_else(|| {
                Error::Usage(
                    "a fingerprint has 64 hexadecimal digits, as the server's log shows them".to_owned(),
                )
            })?),
        };
        pins::check(&server, &seen, expected.as_ref())?;
        frames::open(&mut stream, Protocol::Directory).await.map_err(|error| failed(error.to_string()))?;
        let request = match &log_in.cluster_key {
            Some(path) if log_in.name.is_none() => {
                let key = key_file::load(path).map_err(|error| Error::Usage(error.to_string()))?;
                let exporter = tls::exporter(stream.get_ref().1)
                    .ok_or_else(|| failed("the connection has no TLS 1.3".to_owned()))?;
                ToDatabase::LogInByKey { proof: key.administration_key().tag(KEY_LOG_IN, &[&exporter]).0 }
            }
            _ => {
                let Some(name) = log_in.name.clone() else {
                    let text = "who are you? --name NAME, or --cluster-key FILE for the first account";
                    return Err(Error::Usage(text.to_owned()));
                };
                let password = password::known(&name, log_in.password_file.as_deref())?;
                ToDatabase::LogIn { name, password }
            }
        };
        let mut connection = Self { stream, server };
        match connection.exchange(&request).await? {
            ToClient::LoggedIn { .. } => Ok(connection),
            other => Err(unexpected(&other)),
        }
    }

    /// Asks; a refusal is an error.
    pub(super) async fn ask(&mut self, request: Request) -> Result<Answer, Error> {
        match self.exchange(&ToDatabase::Administer(Box::new(request))).await? {
            ToClient::Administered(answer) => Ok(*answer),
            other => Err(unexpected(&other)),
        }
    }

    async fn exchange(&mut self, request: &ToDatabase) -> Result<ToClient, Error> {
        let bytes = codec::encode(request);
        if bytes.len() > MAX_ADMINISTRATION_BYTES {
            return Err(Error::Usage(format!("too much at once: {} bytes", bytes.len())));
        }
        let stream = &mut self.stream;
        let exchange = async {
            frames::write_frame(stream, &bytes).await?;
            loop {
                let body = frames::read_frame(stream, MAX_P2_ANSWER_BYTES).await?.ok_or(LinkError::Closed)?;
                match codec::decode_message::<ToClient, MAX_P2_ANSWER_BYTES>(&body) {
                    Ok(ToClient::Pong | ToClient::ListChanged) | Err(CodecError::UnknownKind(_)) => {}
                    Ok(message) => return Ok(message),
                    Err(error) => return Err(LinkError::from(error)),
                }
            }
        };
        let answered = timeout(ANSWER_TIMEOUT, exchange).await.unwrap_or(Err(LinkError::Slow("answer")));
        match answered {
            Ok(ToClient::AdministrationRefused(failure)) => Err(refused(&failure)),
            Ok(ToClient::Refused(refusal)) => Err(Error::Refused(refusal.to_string())),
            Ok(message) => Ok(message),
            Err(error) => Err(Error::Refused(format!("the database server at {}: {error}", self.server))),
        }
    }
}

fn unexpected(_message: &ToClient) -> Error {
    Error::Refused(
        "the database server answers something else than was asked: is it of an earlier version?".to_owned(),
    )
}

fn refused(failure: &Failure) -> Error {
    let mut text = failure.to_string();
    if let Failure::Conflict { difference: Some(difference), .. } = failure {
        text.push('\n');
        text.push_str(difference);
    }
    match failure {
        Failure::Invalid(_) | Failure::Faults(_) | Failure::Unknown(_) | Failure::Exists(_) => {
            Error::Usage(text)
        }
        _ => Error::Refused(text),
    }
}
