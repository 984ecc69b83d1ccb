//! P2 connections: preamble, frames, a queue each that is bounded in messages and bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use link::frames::{self, LinkError};
use link::openings::{OPENING_LIMIT, Opening};
use link::tls;
use protocols::administration::{Answer, Failure, MAX_ADMINISTRATION_BYTES};
use protocols::codec::{self, CodecError, decode_message};
use protocols::guide::Event as Programme;
use protocols::p2_directory::{ToClient, ToDatabase};
use protocols::preamble::{MAX_P2_REQUEST_BYTES, Protocol, Refusal};
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::Events;
use super::administration::{Office, Origin, Person};
use super::driver::Event;
use super::listener::{self, Service};
use super::tally::Tally;
use crate::ConnectionId;

/// Messages that may wait for one client; when they are too many, its connection is closed.
pub(super) const QUEUE: usize = 256;
/// While more bytes than this wait for a client, its next request is not read.
pub(super) const UNSENT_BEFORE_PAUSE: usize = 256 << 10;
/// Bytes that may wait for all clients together; a client for whom more would have to wait is disconnected.
pub(super) const MAX_UNSENT_TOTAL: usize = 512 << 20;
/// Read at once: several requests, each a few bytes, with one system call.
const READ_BYTES: usize = 64;
/// What one channel of a list with its tuning takes at most, roughly: name and cause of 264 bytes, keys and addresses.
const BYTES_PER_CHANNEL: usize = 512;

/// Connections by TLS at a time, which are those of administrators; one more is closed.
const MAX_SECURE: usize = 64;
/// First byte of a TLS handshake (RFC 8446, section 5.1); that of our preamble is `M`.
const TLS_HANDSHAKE: u8 = 22;

/// Serves P2.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    events: Events,
    tally: Arc<Tally>,
    unsent_total: Arc<AtomicUsize>,
    administration: Arc<Administration>,
}

/// What administrators need.
pub(super) struct Administration {
    pub(super) office: Arc<Office>,
    pub(super) tls: TlsAcceptor,
    /// Where passwords are taken, for who comes without TLS.
    pub(super) secure_address: String,
    places: Semaphore,
}

impl Administration {
    pub(super) fn new(office: Arc<Office>, tls: TlsAcceptor, secure_address: String) -> Self {
        Self { office, tls, secure_address, places: Semaphore::new(MAX_SECURE) }
    }
}

impl std::fmt::Debug for Administration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Administration")
    }
}

/// One connection as administration sees it.
#[derive(Debug)]
struct Counter {
    address: std::net::IpAddr,
    /// What only both ends of its TLS know; `None`: it has none.
    exporter: Option<Exporter>,
    /// Who has logged in by it.
    person: Option<Person>,
    /// The queue, which ends with the driver's end of it.
    answers: mpsc::WeakSender<Waiting>,
    unsent: Arc<Unsent>,
}

/// Secret bytes.
struct Exporter([u8; protocols::administration::EXPORTER_BYTES]);

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exporter(…)")
    }
}

/// The driver's end of one client's connection.
#[derive(Debug)]
pub(super) struct ClientQueue {
    messages: mpsc::Sender<Waiting>,
    unsent: Arc<Unsent>,
}

/// A message on its way. In a box: a queue makes room for 32 of them as soon as it is made, and 10,000 clients have one.
type Waiting = Box<ToClient>;

/// Bytes on their way to one client.
#[derive(Debug, Default)]
struct Unsent {
    bytes: AtomicUsize,
    less: Notify,
}

impl Clients {
    pub(super) fn new(events: Events, tally: Arc<Tally>, administration: Arc<Administration>) -> Self {
        Self { events, tally, unsent_total: Arc::default(), administration }
    }

    pub(super) fn unsent_total(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.unsent_total)
    }

    async fn read<R: AsyncRead + Unpin>(
        &self,
        connection: ConnectionId,
        reader: &mut R,
        counter: &mut Counter,
    ) -> LinkError {
        loop {
            counter.unsent.wait().await;
            let limit =
                if counter.person.is_some() { MAX_ADMINISTRATION_BYTES } else { MAX_P2_REQUEST_BYTES };
            let body = match frames::read_frame(reader, limit).await {
                Ok(Some(body)) => body,
                Ok(None) => return LinkError::Closed,
                Err(error) => return error,
            };
            let decoded = match counter.person {
                Some(_) => decode_message::<ToDatabase, MAX_ADMINISTRATION_BYTES>(&body),
                None => decode_message::<ToDatabase, MAX_P2_REQUEST_BYTES>(&body),
            };
            match decoded {
                Ok(
                    message @ (ToDatabase::LogIn { .. }
                    | ToDatabase::LogInByKey { .. }
                    | ToDatabase::Administer(_)),
                ) => {
                    // The machine hears that the client is there.
                    let ping = Event::ClientMessage { connection, message: ToDatabase::Ping };
                    if self.events.send(ping).await.is_err() {
                        return LinkError::Closed;
                    }
                    // In a box: it takes some kilobytes, and 10,000 clients never need it.
                    let answer = Box::pin(self.administer(counter, message)).await;
                    if !counter.answer(answer, &self.unsent_total) {
                        return LinkError::Slow("take its answers");
                    }
                }
                Ok(message) => {
                    if self.events.send(Event::ClientMessage { connection, message }).await.is_err() {
                        return LinkError::Closed;
                    }
                }
                Err(CodecError::UnknownKind(_)) => self.tally.kinds_unknown.add(),
                Err(error) => return error.into(),
            }
        }
    }

    /// Answers what takes an account.
    async fn administer(&self, counter: &mut Counter, message: ToDatabase) -> ToClient {
        let Administration { office, secure_address, .. } = &*self.administration;
        let refused = |failure| ToClient::AdministrationRefused(Box::new(failure));
        let Some(exporter) = &counter.exporter else {
            return refused(Failure::Unsafe(format!(
                "by TLS (masthead-client admin does), or {secure_address}"
            )));
        };
        let origin = Origin { address: counter.address, door: "P2", session: None };
        let logged_in = match message {
            ToDatabase::LogIn { name, password } => office.log_in(name, password, origin).await,
            ToDatabase::LogInByKey { proof } => office.log_in_by_key(proof, &exporter.0, origin).await,
            ToDatabase::Administer(request) => {
                let Some(person) = &counter.person else { return refused(Failure::NotLoggedIn) };
                return match office.perform(person, origin, *request).await {
                    Ok(answer) => ToClient::Administered(Box::new(answer)),
                    Err(failure) => refused(failure),
                };
            }
            _ => return refused(Failure::NotLoggedIn),
        };
        match logged_in {
            Ok((person, role)) => {
                let name = person.name().to_owned();
                counter.person = Some(person);
                ToClient::LoggedIn { name, role }
            }
            Err(failure) => {
                counter.person = None;
                refused(failure)
            }
        }
    }

    /// Serves a connection whose preambles are through.
    async fn converse<R, W>(&self, peer: SocketAddr, exporter: Option<Exporter>, reader: R, writer: &mut W)
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let connection = ConnectionId::next();
        let (messages, mut inbox) = mpsc::channel(QUEUE);
        let unsent = Arc::new(Unsent::default());
        let mut counter = Counter {
            address: peer.ip(),
            exporter,
            person: None,
            answers: messages.downgrade(),
            unsent: Arc::clone(&unsent),
        };
        let queue = ClientQueue { messages, unsent: Arc::clone(&unsent) };
        let connected = Event::ClientConnected { connection, address: peer.ip(), queue };
        if self.events.send(connected).await.is_err() {
            return;
        }
        let mut reader = BufReader::with_capacity(READ_BYTES, reader);
        let ended = tokio::select! {
            error = self.read(connection, &mut reader, &mut counter) => error,
            error = self.write(&mut inbox, writer, &unsent) => error,
        };
        debug!(%peer, %connection, reason = %ended, "P2 connection ended");
        if matches!(ended, LinkError::Frame(_) | LinkError::Codec(_)) {
            self.tally.frames_refused.add();
            let refusal = ToClient::Refused(Refusal::Protocol(ended.to_string()));
            // It may not read any more.
            let _ = frames::write_frame(writer, &codec::encode(&refusal)).await;
        }
        inbox.close();
        while let Ok(message) = inbox.try_recv() {
            unsent.sent(weight(&message), &self.unsent_total);
        }
        let _ = self.events.send(Event::ClientClosed { connection }).await;
    }

    /// Serves a connection that begins with a TLS handshake.
    async fn secure(&self, stream: TcpStream, peer: SocketAddr) {
        let Ok(_place) = self.administration.places.try_acquire() else {
            debug!(%peer, limit = MAX_SECURE, "too many connections by TLS");
            return self.tally.openings_crowded_out.add();
        };
        let opening = async {
            let mut stream = self.administration.tls.accept(stream).await?;
            frames::answer(&mut stream, Protocol::Directory).await?;
            Ok::<_, LinkError>(stream)
        };
        let stream = match timeout(OPENING_LIMIT, opening).await.unwrap_or(Err(LinkError::Slow("open"))) {
            Ok(stream) => stream,
            Err(error) => {
                self.tally.opening_failed(&error);
                debug!(%peer, %error, "P2 connection by TLS did not open");
                return;
            }
        };
        // Before TLS 1.3 there is none: such a client cannot log in.
        let exporter = tls::exporter(stream.get_ref().1).map(Exporter);
        let (reader, mut writer) = tokio::io::split(stream);
        self.converse(peer, exporter, reader, &mut writer).await;
        let _ = timeout(listener::LINGER, tokio::io::AsyncWriteExt::shutdown(&mut writer)).await;
    }

    /// Writes what is queued; ends when the driver lets go of the queue.
    async fn write<W: AsyncWrite + Unpin>(
        &self,
        inbox: &mut mpsc::Receiver<Waiting>,
        writer: &mut W,
        unsent: &Unsent,
    ) -> LinkError {
        while let Some(message) = inbox.recv().await {
            let weight = weight(&message);
            let bytes = codec::encode(&message);
            drop(message);
            let written = frames::write_frame(writer, &bytes).await;
            unsent.sent(weight, &self.unsent_total);
            if let Err(error) = written {
                if matches!(error, LinkError::Slow(_)) {
                    self.tally.peers_not_reading.add();
                }
                return error;
            }
        }
        LinkError::Closed
    }
}

impl Service for Clients {
    async fn connection(self, mut stream: TcpStream, peer: SocketAddr, opening: Opening) {
        let opened = opening.run(async {
            let mut first = [0];
            if stream.peek(&mut first).await? == 1 && first == [TLS_HANDSHAKE] {
                return Ok(true);
            }
            frames::answer(&mut stream, Protocol::Directory).await.map(|()| false)
        });
        match opened.await {
            Ok(false) => {}
            Ok(true) => return Box::pin(self.secure(stream, peer)).await,
            Err(error) => {
                self.tally.opening_failed(&error);
                debug!(%peer, %error, "P2 connection did not open");
                return Box::pin(listener::close(stream)).await;
            }
        }
        let (reader, mut writer) = stream.split();
        self.converse(peer, None, reader, &mut writer).await;
        Box::pin(listener::close(stream)).await;
    }
}

impl Counter {
    /// Queues an answer. `false`: there is no place for it.
    fn answer(&self, message: ToClient, total: &AtomicUsize) -> bool {
        // Without the driver's end the connection ends anyway.
        let Some(messages) = self.answers.upgrade() else { return true };
        ClientQueue { messages, unsent: Arc::clone(&self.unsent) }.put(message, total)
    }
}

impl ClientQueue {
    /// Queues `message`. `false`: there is no place for it, and the connection is to be given up.
    pub(super) fn put(&self, message: ToClient, total: &AtomicUsize) -> bool {
        let weight = weight(&message);
        if total.load(Ordering::Relaxed) + weight > MAX_UNSENT_TOTAL {
            return false;
        }
        total.fetch_add(weight, Ordering::Relaxed);
        self.unsent.bytes.fetch_add(weight, Ordering::Relaxed);
        let queued = self.messages.try_send(Box::new(message)).is_ok();
        if !queued {
            self.unsent.sent(weight, total);
        }
        queued
    }
}

impl Unsent {
    fn sent(&self, weight: usize, total: &AtomicUsize) {
        total.fetch_sub(weight, Ordering::Relaxed);
        self.bytes.fetch_sub(weight, Ordering::Relaxed);
        self.less.notify_one();
    }

    /// Returns when few enough bytes wait.
    async fn wait(&self) {
        while self.bytes.load(Ordering::Relaxed) > UNSENT_BEFORE_PAUSE {
            self.less.notified().await;
        }
    }
}

/// About how many bytes `message` takes while it waits.
fn weight(message: &ToClient) -> usize {
    match message {
        ToClient::Channels(list) => BYTES_PER_CHANNEL * (1 + list.channels.len()),
        ToClient::Recordings(list) => {
            let ranges: usize = list.channels.iter().map(|channel| 1 + channel.ranges.len()).sum();
            BYTES_PER_CHANNEL * (1 + ranges + list.programmes.len())
        }
        ToClient::Guide(page) => {
            let event = |event: &Programme| {
                BYTES_PER_CHANNEL + event.title.len() + event.text.len() + event.description.len()
            };
            let events = page.channels.iter().flat_map(|channel| &channel.events);
            BYTES_PER_CHANNEL + events.map(event).sum::<usize>()
        }
        ToClient::Administered(answer) => {
            BYTES_PER_CHANNEL
                + match &**answer {
                    Answer::Topology { text, .. } => text.len(),
                    Answer::Edited { difference, .. } => difference.len(),
                    Answer::Status(json) => json.len(),
                    Answer::Accounts(accounts) => BYTES_PER_CHANNEL * accounts.len(),
                    Answer::Audit(lines) => 4 * BYTES_PER_CHANNEL * lines.len(),
                    _ => 0,
                }
        }
        _ => BYTES_PER_CHANNEL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_refuses_and_counts_nothing_for_what_it_refused() {
        let (messages, mut inbox) = mpsc::channel(QUEUE);
        let queue = ClientQueue { messages, unsent: Arc::default() };
        let total = AtomicUsize::new(0);
        let taken = (0..QUEUE + 5).filter(|_| queue.put(ToClient::Pong, &total)).count();
        assert_eq!(taken, QUEUE);
        assert_eq!(total.load(Ordering::Relaxed), QUEUE * BYTES_PER_CHANNEL);
        while let Ok(message) = inbox.try_recv() {
            queue.unsent.sent(weight(&message), &total);
        }
        assert_eq!(total.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_all_clients_wait_for_together_is_bounded() {
        let (messages, _inbox) = mpsc::channel(QUEUE);
        let queue = ClientQueue { messages, unsent: Arc::default() };
        let total = AtomicUsize::new(MAX_UNSENT_TOTAL - 10);
        assert!(!queue.put(ToClient::Pong, &total));
        assert_eq!(total.load(Ordering::Relaxed), MAX_UNSENT_TOTAL - 10);
    }
}
