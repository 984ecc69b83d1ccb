//! `srt://`: a stream that comes by SRT, called for or waited for.
//!
//! ```text
//! thread of its own: connect, or listen and accept ─► messages ─► bounded queue ─► next(): packets
//! ```
//!
//! The library waits in its own way, so a thread waits with it; closing the library's sockets ends the thread.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use media::sync::Synchroniser;
use protocols::topology::{SrtInput, SrtMode};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::info;

use super::{Batch, Faults, ToldErrors, peer};
use crate::shell::srt_library::{self, Failure, Library, Setting, Socket};

/// Messages that wait at most. When it is full the thread waits, and the library drops what comes too late.
const MAX_MESSAGES: usize = 1024;
/// Longest message of live streams.
const MESSAGE_BYTES: usize = 1456;
/// Messages taken in one turn.
const TURN_MESSAGES: usize = 64;
/// How long the thread gets to end.
const END_PATIENCE: Duration = Duration::from_millis(500);

/// An SRT connection, or a port at which one is waited for.
pub(crate) struct Srt {
    messages: mpsc::Receiver<Message>,
    line: Arc<Line>,
    synchroniser: Synchroniser,
    told: ToldErrors,
}

/// What the thread tells.
enum Message {
    /// What a sender sent.
    Bytes(Vec<u8>),
    /// Why nothing comes now, for people.
    Silent(String),
    /// Why nothing will come any more.
    Ended(String),
}

/// The sockets of one input, for closing them from outside.
struct Line {
    library: &'static Library,
    open: Mutex<Option<Vec<i32>>>,
}

impl Line {
    /// Puts a socket on the line; false when the line is closed already.
    fn holds(&self, socket: &Socket) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.as_mut().map(|numbers| numbers.push(socket.number())).is_some()
    }

    fn is_closed(&self) -> bool {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn lets_go(&self, socket: &Socket) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(numbers) = open.as_mut() {
            numbers.retain(|number| *number != socket.number());
        }
    }

    /// Closes all; the thread's next call fails.
    fn close(&self) {
        let taken = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        for number in taken.into_iter().flatten() {
            Socket::hang_up(self.library, number);
        }
    }
}

impl Srt {
    /// Begins to call or to listen.
    pub(crate) async fn open(input: &SrtInput) -> Result<Self, String> {
        let library = srt_library::library()?;
        let line = Arc::new(Line { library, open: Mutex::new(Some(Vec::new())) });
        let (sender, messages) = mpsc::channel(MAX_MESSAGES);
        let work = Work { input: input.clone(), library, line: line.clone(), messages: sender };
        let socket = work.socket()?;
        let body: Box<dyn FnOnce() + Send> = match &input.mode {
            SrtMode::Caller(server) => {
                let addresses = peer::addresses(server).await?;
                Box::new(move || work.call(socket, &addresses))
            }
            SrtMode::Listener(address) => {
                let listening = socket.listen(*address);
                listening.map_err(|failure| format!("SRT port {address}: {}", failure.text))?;
                Box::new(move || work.listen(socket))
            }
        };
        let started = thread::Builder::new().name("srt".to_owned()).spawn(body);
        started.map_err(|error| format!("a thread for SRT: {error}"))?;
        Ok(Self { messages, line, synchroniser: Synchroniser::new(), told: ToldErrors::default() })
    }

    /// Waits for packets. May be dropped without losing any.
    pub(crate) async fn next(&mut self, batch: &mut Batch) -> Result<(), String> {
        let message = self.messages.recv().await;
        let taken = self.take_all(message, batch);
        batch.sync_errors = self.told.news(&self.synchroniser);
        taken
    }

    /// Takes this one and those that wait already.
    fn take_all(&mut self, mut message: Option<Message>, batch: &mut Batch) -> Result<(), String> {
        for _ in 1..TURN_MESSAGES {
            self.take(message, batch)?;
            match self.messages.try_recv() {
                Ok(more) => message = Some(more),
                Err(_) => return Ok(()),
            }
        }
        self.take(message, batch)
    }

    fn take(&mut self, message: Option<Message>, batch: &mut Batch) -> Result<(), String> {
        match message {
            None => return Err("SRT ended without a word".to_owned()),
            Some(Message::Ended(cause)) => return Err(cause),
            Some(Message::Silent(cause)) => {
                self.synchroniser.reset();
                batch.strange = Some(cause);
            }
            Some(Message::Bytes(bytes)) => {
                if let Err(error) = self.synchroniser.push(&bytes, |packet| batch.packets.push(*packet)) {
                    batch.strange = Some(error.to_string());
                }
            }
        }
        Ok(())
    }

    /// Hangs up, and returns when no thread is in the library any more: at a program's end the library takes itself apart, and
    /// hangs where somebody is still in it.
    pub(crate) async fn close(mut self) {
        let line = self.line.clone();
        let ended = async {
            // A panic ends the call as well.
            let _ = spawn_blocking(move || line.close()).await;
            while self.messages.recv().await.is_some() {}
        };
        let _ = timeout(END_PATIENCE, ended).await;
    }

    pub(crate) fn faults(&self) -> Faults {
        Faults { sync_losses: self.synchroniser.losses(), overflows: 0 }
    }
}

impl Drop for Srt {
    fn drop(&mut self) {
        // Closing waits for the library's threads now and then; nobody has to wait for that.
        if self.line.is_closed() {
            return;
        }
        let line = self.line.clone();
        let _ = thread::Builder::new().name("srt-close".to_owned()).spawn(move || line.close());
    }
}

/// What the thread has.
struct Work {
    input: SrtInput,
    library: &'static Library,
    line: Arc<Line>,
    messages: mpsc::Sender<Message>,
}

impl Work {
    /// A socket with the input's settings, on the line.
    fn socket(&self) -> Result<Socket, String> {
        let failed = |failure: Failure| format!("SRT: {}", failure.text);
        let socket = self.library.socket().map_err(failed)?;
        if let Some(latency_ms) = self.input.latency_ms {
            socket.set_latency(latency_ms).map_err(failed)?;
        }
        if let Some(passphrase) = &self.input.passphrase {
            socket.set_text(Setting::Passphrase, passphrase.as_str()).map_err(failed)?;
        }
        if let (Some(stream_id), SrtMode::Caller(_)) = (&self.input.stream_id, &self.input.mode) {
            socket.set_text(Setting::StreamId, stream_id).map_err(failed)?;
        }
        if !self.line.holds(&socket) {
            return Err("SRT: closed".to_owned());
        }
        Ok(socket)
    }

    /// Calls the first address that answers, and takes what comes until it ends.
    fn call(self, first: Socket, addresses: &[SocketAddr]) {
        let place = self.input.place();
        let (mut next, mut cause) = (Some(first), format!("{place}: no address"));
        for address in addresses {
            let socket = match next.take().map_or_else(|| self.socket(), Ok) {
                Ok(socket) => socket,
                Err(failed) => return self.tell(Message::Ended(failed)),
            };
            match socket.connect(*address) {
                Ok(()) => {
                    info!(input = place, %address, "SRT connected");
                    let ended = self.receive(&socket);
                    return self.tell(Message::Ended(format!("{place}: the sender has gone: {ended}")));
                }
                Err(failure) => {
                    cause = format!("{place}: {}", not_taken(&failure, socket.reject_reason()));
                    self.line.lets_go(&socket);
                }
            }
        }
        self.tell(Message::Ended(cause));
    }

    /// Takes one caller after the other.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "closed before the messages end, by which `close` knows that no thread is in the library"
    )]
    fn listen(self, listener: Socket) {
        let place = self.input.place();
        self.tell(Message::Silent("no SRT sender has called".to_owned()));
        loop {
            let caller = match listener.accept() {
                Ok(caller) => caller,
                Err(failure) => return self.tell(Message::Ended(format!("{place}: {}", failure.text))),
            };
            if !self.line.holds(&caller) {
                return;
            }
            if let Some(refusal) = self.refusal(&caller) {
                self.tell(Message::Silent(refusal));
            } else {
                info!(input = place, "an SRT sender has called");
                let ended = self.receive(&caller);
                info!(input = place, cause = ended, "the SRT sender has gone");
                self.tell(Message::Silent(format!("the SRT sender has gone: {ended}")));
            }
            self.line.lets_go(&caller);
            if self.messages.is_closed() {
                return;
            }
        }
    }

    /// Why a caller is not taken: it brings another stream.
    fn refusal(&self, caller: &Socket) -> Option<String> {
        let wanted = self.input.stream_id.as_ref()?;
        match caller.stream_id() {
            Ok(brought) if brought == *wanted => None,
            Ok(_) => Some("a sender has called with another streamid".to_owned()),
            Err(failure) => Some(format!("a sender has called: {}", failure.text)),
        }
    }

    /// Hands on what comes until nothing can come any more; the answer says why.
    fn receive(&self, socket: &Socket) -> String {
        let mut buffer = [0; MESSAGE_BYTES];
        loop {
            match socket.receive(&mut buffer) {
                Ok(0) => return "it has closed".to_owned(),
                Ok(count) => {
                    let bytes = buffer.get(..count).unwrap_or_default().to_vec();
                    if self.messages.blocking_send(Message::Bytes(bytes)).is_err() {
                        return "nobody listens".to_owned();
                    }
                }
                Err(failure) => return failure.text,
            }
        }
    }

    fn tell(&self, message: Message) {
        // Nobody hears it when the input was closed.
        let _ = self.messages.blocking_send(message);
    }
}

/// What it means that a call was not taken, by `SRT_REJ_…` of `srt/srt.h`.
fn not_taken(failure: &Failure, reason: i32) -> String {
    const REJECTED: i32 = 1002;
    let why = match reason {
        _ if failure.code != REJECTED => return failure.text.clone(),
        10 => "the passphrase is another".to_owned(),
        11 => "one end has a passphrase and the other has none".to_owned(),
        5 => "the sender has as many receivers as it takes".to_owned(),
        8 => "the sender speaks a version that is too old".to_owned(),
        16 => "no answer".to_owned(),
        // The other end's program says so, in the manner of HTTP (SRT access control).
        1401 | 1403 => "the sender wants another streamid: not allowed".to_owned(),
        1404 => "the sender has no such streamid".to_owned(),
        other => format!("refused, reason {other}"),
    };
    format!("not taken: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_call_says_what_to_correct() {
        let rejected =
            Failure { code: 1002, text: "Connection setup failure: connection rejected".to_owned() };
        assert_eq!(not_taken(&rejected, 10), "not taken: the passphrase is another");
        assert!(not_taken(&rejected, 11).contains("one end has a passphrase"));
        assert_eq!(not_taken(&rejected, 1999), "not taken: refused, reason 1999");
        let silent =
            Failure { code: 1001, text: "Connection setup failure: connection timed out".to_owned() };
        assert_eq!(not_taken(&silent, 0), silent.text);
    }
}
