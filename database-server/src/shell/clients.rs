//! P2 connections: preamble, frames, a queue each that is bounded in messages and bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use link::frames::{self, LinkError};
use link::openings::Opening;
use protocols::codec::{self, CodecError, decode_message};
use protocols::p2_directory::{ToClient, ToDatabase};
use protocols::preamble::{MAX_P2_REQUEST_BYTES, Protocol, Refusal};
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc};
use tracing::debug;

use super::Events;
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

/// Serves P2.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    events: Events,
    tally: Arc<Tally>,
    unsent_total: Arc<AtomicUsize>,
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
    pub(super) fn new(events: Events, tally: Arc<Tally>) -> Self {
        Self { events, tally, unsent_total: Arc::default() }
    }

    pub(super) fn unsent_total(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.unsent_total)
    }

    async fn read(
        &self,
        connection: ConnectionId,
        reader: &mut BufReader<ReadHalf<'_>>,
        unsent: &Unsent,
    ) -> LinkError {
        loop {
            unsent.wait().await;
            let body = match frames::read_frame(reader, MAX_P2_REQUEST_BYTES).await {
                Ok(Some(body)) => body,
                Ok(None) => return LinkError::Closed,
                Err(error) => return error,
            };
            match decode_message::<ToDatabase, MAX_P2_REQUEST_BYTES>(&body) {
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

    /// Writes what is queued; ends when the driver lets go of the queue.
    async fn write(
        &self,
        inbox: &mut mpsc::Receiver<Waiting>,
        writer: &mut WriteHalf<'_>,
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
        if let Err(error) = opening.run(frames::answer(&mut stream, Protocol::Directory)).await {
            self.tally.opening_failed(&error);
            debug!(%peer, %error, "P2 connection did not open");
            return Box::pin(listener::close(stream)).await;
        }
        let connection = ConnectionId::next();
        let (messages, mut inbox) = mpsc::channel(QUEUE);
        let unsent = Arc::new(Unsent::default());
        let queue = ClientQueue { messages, unsent: Arc::clone(&unsent) };
        let connected = Event::ClientConnected { connection, address: peer.ip(), queue };
        if self.events.send(connected).await.is_err() {
            return;
        }
        let (reader, mut writer) = stream.split();
        let mut reader = BufReader::with_capacity(READ_BYTES, reader);
        let ended = tokio::select! {
            error = self.read(connection, &mut reader, &unsent) => error,
            error = self.write(&mut inbox, &mut writer, &unsent) => error,
        };
        debug!(%peer, %connection, reason = %ended, "P2 connection ended");
        if matches!(ended, LinkError::Frame(_) | LinkError::Codec(_)) {
            self.tally.frames_refused.add();
            let refusal = ToClient::Refused(Refusal::Protocol(ended.to_string()));
            // It may not read any more.
            let _ = frames::write_frame(&mut writer, &codec::encode(&refusal)).await;
        }
        inbox.close();
        while let Ok(message) = inbox.try_recv() {
            unsent.sent(weight(&message), &self.unsent_total);
        }
        let _ = self.events.send(Event::ClientClosed { connection }).await;
        Box::pin(listener::close(stream)).await;
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
