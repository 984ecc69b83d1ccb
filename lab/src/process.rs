//! A program that runs on a host of the lab: its logs, signals, restart, memory and time.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::command::Command;
use crate::host::Host;
use crate::timeline;

/// Lines of each log that a failure quotes.
const QUOTED_LINES: usize = 15;

/// Longest that a killed process may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// Numbers the runs, so that every run has log files of its own.
static NEXT_RUN: AtomicU32 = AtomicU32::new(1);

/// A started program. Killed, with everything that it started, when this goes.
#[derive(Debug)]
pub struct Process {
    host: Host,
    command: Command,
    child: Child,
    ended: Option<ExitStatus>,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    pub(crate) fn start(host: &Host, command: Command) -> Self {
        let run = NEXT_RUN.fetch_add(1, Ordering::Relaxed);
        let folder = host.namespace().ground().folder();
        let stem = format!("{run:03}-{}-{}", host.name(), command.name());
        let (stdout, stderr) = (folder.join(format!("{stem}.out")), folder.join(format!("{stem}.err")));
        let child = spawn(host, &command, &stdout, &stderr);
        Self { host: host.clone(), command, child, ended: None, stdout, stderr }
    }

    /// Waits until a line that contains `text` is on its standard output or error of this run, and returns the line.
    pub fn wait_for_line(&mut self, text: &str, limit: Duration) -> String {
        let claim = format!("{} on {} prints {text:?}", self.command.name(), self.host.name());
        let (stdout, stderr) = (self.stdout.clone(), self.stderr.clone());
        let search = || [&stdout, &stderr].into_iter().find_map(|log| line_with(log, text));
        timeline::obtain_or(&claim, limit, search, || self.last_words())
    }

    /// Everything that this run has printed so far: standard output, then standard error.
    pub fn log(&self) -> String {
        read(&self.stdout) + &read(&self.stderr)
    }

    /// The file that standard output of this run goes to: bytes, for programs that write a stream there.
    pub fn stdout(&self) -> &Path {
        &self.stdout
    }

    /// The file that standard error of this run goes to.
    pub fn stderr(&self) -> &Path {
        &self.stderr
    }

    /// The end of both logs, for messages of failing tests.
    pub fn last_words(&self) -> String {
        let tail = |log: &Path| {
            let text = read(log);
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(QUOTED_LINES)..].join("\n")
        };
        format!("--- {:?}\n{}\n{}\n---", self.command, tail(&self.stdout), tail(&self.stderr))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it runs (or is paused).
    pub fn is_running(&mut self) -> bool {
        self.try_status().is_none()
    }

    /// SIGKILL to it and all that it started; gone when this returns.
    pub fn kill9(&mut self) {
        if self.ended.is_none() {
            let _ = rustix::process::kill_process_group(self.raw_pid(), Signal::KILL);
            self.wait_exit(KILL_LIMIT);
        }
    }

    /// SIGTERM, then waits for its own end; fails the test when it takes longer than `limit`.
    pub fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_exit(limit)
    }

    /// SIGINT, as Ctrl-C does, then waits for its own end; fails the test when it takes longer than `limit`.
    pub fn interrupt(&mut self, limit: Duration) -> ExitStatus {
        self.signal(Signal::INT);
        self.wait_exit(limit)
    }

    /// SIGHUP: read the configuration again.
    pub fn hang_up(&mut self) {
        self.signal(Signal::HUP);
    }

    /// SIGSTOP: still there, but it neither answers nor closes anything.
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    /// Waits for its own end and returns the status; fails the test when it takes longer than `limit`.
    pub fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        let claim = format!("{} on {} ends", self.command.name(), self.host.name());
        let start = std::time::Instant::now();
        loop {
            if let Some(status) = self.try_status() {
                return status;
            }
            assert!(start.elapsed() < limit, "not within {limit:?}: {claim}\n{}", self.last_words());
            timeline::pause(Duration::from_millis(1));
        }
    }

    /// Starts the same command again (killing it first if it still runs), with fresh logs.
    pub fn restart(&mut self) {
        self.kill9();
        *self = Self::start(&self.host, self.command.clone());
    }

    /// Resident memory, in bytes.
    pub fn rss_bytes(&self) -> u64 {
        let status = read(Path::new(&format!("/proc/{}/status", self.pid())));
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kibibytes.unwrap_or_else(|| panic!("{} has no memory: it ended\n{}", self.pid(), self.last_words()))
            * 1024
    }

    /// Processor time used so far, user and system.
    pub fn cpu_time(&self) -> Duration {
        /// Ticks per second in /proc, the same on every Linux that we run on.
        const USER_HZ: u64 = 100;
        let stat = read(Path::new(&format!("/proc/{}/stat", self.pid())));
        // The name, in parentheses, may hold blanks; utime and stime are the 14th and 15th fields of all.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let ticks: u64 = fields.iter().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 1000 / USER_HZ)
    }

    /// File descriptors that it holds open.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, Iterator::count)
    }

    fn signal(&self, signal: Signal) {
        if self.ended.is_none() {
            let _ = rustix::process::kill_process(self.raw_pid(), signal);
        }
    }

    fn raw_pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn try_status(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("own child can be waited for");
        }
        self.ended
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.try_status().is_none() {
            let _ = rustix::process::kill_process_group(self.raw_pid(), Signal::KILL);
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            let _ = std::io::Write::write_all(&mut std::io::stderr(), (self.last_words() + "\n").as_bytes());
        }
    }
}

fn spawn(host: &Host, command: &Command, stdout: &Path, stderr: &Path) -> Child {
    use std::os::unix::process::CommandExt as _;
    let create =
        |path: &Path| File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut prepared = command.prepare(Some(host.namespace().name()));
    prepared.stdin(Stdio::null()).stdout(create(stdout)).stderr(create(stderr));
    // A group of its own, so that what a script starts dies with the script.
    prepared.process_group(0);
    prepared.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"))
}

/// The whole of a log, whatever bytes are in it.
fn read(log: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned()
}

fn line_with(log: &Path, text: &str) -> Option<String> {
    read(log).lines().find(|line| line.contains(text)).map(String::from)
}
