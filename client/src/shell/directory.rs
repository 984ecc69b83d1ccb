//! The P2 connection: one task for each attempt, frames in and out, limits on all of it.

use std::io;
use std::net::{IpAddr, SocketAddr};

use link::frames::{self, LinkError};
use protocols::codec::{self, CodecError};
use protocols::p2_directory::{ToClient, ToDatabase};
use protocols::preamble::{MAX_P2_ANSWER_BYTES, Protocol};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::target::HostPort;

/// Requests that wait to be written; a connection on which more wait is stuck, and closed.
const REQUESTS_MAX: usize = 64;
/// Answers that wait to be handled; when more come the connection is read no further for the while.
const ANSWERS_MAX: usize = 16;

/// What happened to the connection.
#[derive(Debug)]
pub(super) enum Event {
    /// It is up.
    Connected,
    /// A message came.
    Message(Box<ToClient>),
    /// It is gone, or was not to be had.
    Closed(String),
}

/// The connection, or the lack of one.
#[derive(Debug)]
pub(super) struct Directory {
    database: HostPort,
    local: Option<IpAddr>,
    attempt: Option<Attempt>,
}

#[derive(Debug)]
struct Attempt {
    events: mpsc::Receiver<Event>,
    requests: mpsc::Sender<ToDatabase>,
    task: JoinHandle<()>,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Directory {
    /// Not connected. `local`: the address to connect from.
    pub(super) fn new(database: HostPort, local: Option<IpAddr>) -> Self {
        Self { database, local, attempt: None }
    }

    /// Begins to connect; events follow.
    pub(super) fn connect(&mut self) {
        let (sender, events) = mpsc::channel(ANSWERS_MAX);
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        let (database, local) = (self.database.clone(), self.local);
        let task = tokio::spawn(async move {
            let cause = match serve(&database, local, &sender, receiver).await {
                Ok(()) => "closed by the database server".to_owned(),
                Err(error) => error.to_string(),
            };
            // The receiver is gone when the attempt was dropped: nobody wants to know then.
            let _ = sender.send(Event::Closed(cause)).await;
        });
        self.attempt = Some(Attempt { events, requests, task });
    }

    /// Sends, if connected; a stuck connection is closed.
    pub(super) fn send(&mut self, request: ToDatabase) {
        let full = self.attempt.as_ref().is_some_and(|attempt| attempt.requests.try_send(request).is_err());
        if full && let Some(attempt) = &self.attempt {
            attempt.task.abort();
        }
    }

    /// Closes, or gives up.
    pub(super) fn close(&mut self) {
        self.attempt = None;
    }

    /// The next event; waits for ever without an attempt.
    pub(super) async fn event(&mut self) -> Event {
        let Some(attempt) = &mut self.attempt else { return std::future::pending().await };
        match attempt.events.recv().await {
            Some(Event::Closed(cause)) => {
                self.attempt = None;
                Event::Closed(cause)
            }
            Some(event) => event,
            None => {
                self.attempt = None;
                Event::Closed("the database server does not read its requests".to_owned())
            }
        }
    }
}

async fn serve(
    database: &HostPort,
    local: Option<IpAddr>,
    events: &mpsc::Sender<Event>,
    requests: mpsc::Receiver<ToDatabase>,
) -> Result<(), LinkError> {
    let stream = open(database, local).await?;
    if events.send(Event::Connected).await.is_err() {
        return Ok(());
    }
    let (mut reader, writer) = stream.into_split();
    let read = async {
        while let Some(body) = frames::read_frame(&mut reader, MAX_P2_ANSWER_BYTES).await? {
            match codec::decode_message::<ToClient, MAX_P2_ANSWER_BYTES>(&body) {
                Ok(message) => {
                    if events.send(Event::Message(Box::new(message))).await.is_err() {
                        break;
                    }
                }
                Err(CodecError::UnknownKind(kind)) => {
                    tracing::debug!(kind, "a message of a later version is skipped");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    };
    tokio::select! {
        ended = read => ended,
        ended = write(writer, requests) => ended,
    }
}

async fn write(
    mut writer: OwnedWriteHalf,
    mut requests: mpsc::Receiver<ToDatabase>,
) -> Result<(), LinkError> {
    while let Some(request) = requests.recv().await {
        frames::write_frame(&mut writer, &codec::encode(&request)).await?;
    }
    Ok(())
}

/// A connection of which both preambles are through.
pub(super) async fn open(database: &HostPort, local: Option<IpAddr>) -> Result<TcpStream, LinkError> {
    let mut stream = reach(database, local).await?;
    stream.set_nodelay(true)?;
    frames::open(&mut stream, Protocol::Directory).await?;
    Ok(stream)
}

/// Connects to the first of the host's addresses that answers.
async fn reach(database: &HostPort, local: Option<IpAddr>) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host((database.host.as_str(), database.port)).await? {
        match reach_one(address, local).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn reach_one(address: SocketAddr, local: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(local) = local.filter(|local| local.is_ipv4() == address.is_ipv4()) {
        socket.bind(SocketAddr::new(local, 0))?;
    }
    socket.connect(address).await
}
