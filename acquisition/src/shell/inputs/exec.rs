//! `exec:`: what a program writes to its standard output. It is started without a shell, in a process group of its own
//! that ends with the input.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use super::End;
use crate::paced_stream::PacedStream;
use crate::shell::task::Task;

/// Bytes read at a time.
const READ_BYTES: usize = 32 << 10;
/// Bytes of the program's last line of complaint that are kept.
const MAX_LINE_BYTES: u64 = 1024;
/// How long a program that was told to end gets for it.
const END_PATIENCE: Duration = Duration::from_millis(300);
/// How long the exit status and the last words are waited for when the output has ended.
const LAST_WORDS_PATIENCE: Duration = Duration::from_millis(500);

/// A running program.
pub(crate) struct Exec {
    program: String,
    group: Group,
    child: Child,
    stdout: ChildStdout,
    buffer: Vec<u8>,
    last_line: Arc<Mutex<String>>,
    complaints: Option<Task>,
    /// Set when the output has ended: reading may be given up and begun again meanwhile.
    last_words_until: Option<Instant>,
}

/// Kills the process group when dropped.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // An error means that nobody is left in it.
            let _ = killpg(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

impl Exec {
    pub(crate) fn start(words: Vec<String>) -> Result<Self, String> {
        let mut words = words.into_iter();
        let program = words.next().unwrap_or_default();
        let mut command = Command::new(&program);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| {
            format!("cannot start `{program}`: {error}; install it, or give its full path in the input's URL")
        })?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let group = Group(id.map(Pid::from_raw));
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(format!("cannot read the output of `{program}`"));
        };
        let last_line = Arc::new(Mutex::new(String::new()));
        let complaints = Some(Task::start(listen(stderr, program.clone(), last_line.clone())));
        Ok(Self {
            program,
            group,
            child,
            stdout,
            buffer: vec![0; READ_BYTES],
            last_line,
            complaints,
            last_words_until: None,
        })
    }

    pub(crate) async fn read(&mut self, stream: &mut PacedStream) -> Result<(), End> {
        let program = &self.program;
        let read = self.stdout.read(&mut self.buffer).await;
        let count = read.map_err(|error| End::Closed(format!("`{program}`: {error}")))?;
        if count == 0 {
            return Err(End::Closed(self.last_words().await));
        }
        let pushed = stream.push_bytes(&self.buffer[..count], |_| {});
        pushed.map_err(|error| End::Closed(format!("`{program}`: {error}")))
    }

    /// Tells the group to end; kills what is left of it.
    pub(crate) async fn close(mut self) {
        self.group.signal(Signal::SIGTERM);
        let _ = timeout(END_PATIENCE, self.child.wait()).await;
    }

    /// What became of the program, with the last line that it wrote to its standard error.
    async fn last_words(&mut self) -> String {
        let until = *self.last_words_until.get_or_insert_with(|| Instant::now() + LAST_WORDS_PATIENCE);
        let status = timeout_at(until, self.child.wait()).await;
        if let Some(complaints) = &mut self.complaints {
            complaints.ended(until).await;
        }
        self.complaints = None;
        let end = match status {
            Ok(Ok(status)) => describe(status),
            _ => "closed its output".to_owned(),
        };
        let last_line = self.last_line.lock().unwrap_or_else(PoisonError::into_inner);
        let program = &self.program;
        if last_line.is_empty() {
            format!("`{program}` {end}")
        } else {
            format!("`{program}` {end}: {last_line}")
        }
    }
}

fn describe(status: ExitStatus) -> String {
    match status.code() {
        Some(0) => "ended".to_owned(),
        Some(code) => format!("ended with exit status {code}"),
        None => format!("was ended by a {status}"),
    }
}

/// Keeps the last line that is not blank.
async fn listen(stderr: ChildStderr, program: String, last_line: Arc<Mutex<String>>) {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim();
        if !text.is_empty() {
            debug!(program, text, "says");
            text.clone_into(&mut last_line.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}
