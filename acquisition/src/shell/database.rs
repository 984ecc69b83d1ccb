//! The P1 connection: dial, handshake, reports out, plans and commands in.

use std::sync::Arc;

use link::frames::LinkError;
use link::session::{self, Call};
use protocols::codec::{CodecError, decode_message};
use protocols::handshake::FrameSeal;
use protocols::p1_registration::{ToAcquisition, ToDatabase};
use protocols::preamble::{MAX_P1_FRAME_BYTES, Protocol};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tracing::debug;

use crate::Input;
use crate::shell::Context;
use crate::shell::driver::{Event, Run};
use crate::shell::task::Task;

/// Reports that wait for the connection at most. When one more comes, the connection is given up.
const MAX_WAITING_REPORTS: usize = 16;

/// One connection, or the attempt at one.
pub(crate) struct DatabaseHandle {
    messages: mpsc::Sender<ToDatabase>,
    _task: Task,
}

impl DatabaseHandle {
    /// Starts dialling.
    pub(crate) fn connect(context: Arc<Context>, run: Run, events: mpsc::Sender<Event>) -> Self {
        let (messages, waiting) = mpsc::channel(MAX_WAITING_REPORTS);
        let task = Task::start(async move {
            let cause = match converse(&context, run, &events, waiting).await {
                Ok(()) => "closed by the database server".to_owned(),
                Err(error) => format!("database server {}: {error}", context.database),
            };
            // Nobody hears it when the driver has ended.
            let _ = events.send(Event { run, input: Input::DatabaseClosed { cause } }).await;
        });
        Self { messages, _task: task }
    }

    /// Queues `message`; false when too many wait.
    pub(crate) fn send(&self, message: ToDatabase) -> bool {
        self.messages.try_send(message).is_ok()
    }
}

async fn converse(
    context: &Context,
    run: Run,
    events: &mpsc::Sender<Event>,
    waiting: mpsc::Receiver<ToDatabase>,
) -> Result<(), LinkError> {
    let mut stream = TcpStream::connect(&context.database).await?;
    stream.set_nodelay(true)?;
    let call = Call {
        protocol: Protocol::Registration,
        caller: context.id.to_string(),
        callee: String::new(),
        boot_id: context.boot_id,
        key: context.key.acquisition_key(&context.id),
    };
    let session = session::call(&mut stream, &call).await?;
    let (reader, writer) = stream.into_split();
    if events.send(Event { run, input: Input::DatabaseConnected }).await.is_err() {
        return Ok(());
    }
    tokio::select! {
        result = listen(reader, session.opener, run, events) => result,
        result = speak(writer, session.seal, waiting) => result,
    }
}

async fn speak(
    mut writer: OwnedWriteHalf,
    mut seal: FrameSeal,
    mut waiting: mpsc::Receiver<ToDatabase>,
) -> Result<(), LinkError> {
    while let Some(message) = waiting.recv().await {
        session::write_sealed(&mut writer, &mut seal, &message).await?;
    }
    Ok(())
}

async fn listen(
    mut reader: OwnedReadHalf,
    mut opener: FrameSeal,
    run: Run,
    events: &mpsc::Sender<Event>,
) -> Result<(), LinkError> {
    while let Some(body) = session::read_sealed(&mut reader, &mut opener, MAX_P1_FRAME_BYTES).await? {
        let message = match decode_message::<ToAcquisition, MAX_P1_FRAME_BYTES>(&body) {
            Ok(message) => message,
            Err(CodecError::UnknownKind(kind)) => {
                debug!(kind, "skipped a message of a later version");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if events.send(Event { run, input: Input::DatabaseMessage(message) }).await.is_err() {
            break;
        }
    }
    Ok(())
}
