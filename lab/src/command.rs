//! What to run: a program, its arguments and environment, before it is known where.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use crate::timeline;

/// Longest that a command which is waited for may take, unless the caller says otherwise.
pub const OUTPUT_LIMIT: Duration = Duration::from_mins(1);

/// A program with its arguments. From a `&str` or `String` it is split at white space, without quoting; a program whose
/// name begins with `masthead` is the one built beside the running program.
#[derive(Debug, Clone)]
pub struct Command {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    as_nobody: bool,
}

impl Command {
    /// `program` without arguments.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref().into();
        Self { program, arguments: Vec::new(), environment: Vec::new(), as_nobody: false }
    }

    /// Splits `line` at white space: for commands without spaces in arguments, which is nearly all.
    pub fn line(line: &str) -> Self {
        let mut words = line.split_whitespace();
        Self::new(words.next().expect("a command line begins with a program")).args(words)
    }

    /// Adds one argument, whatever is in it.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().into()));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().into(), value.as_ref().into()));
        self
    }

    /// Runs it as the user nobody: VLC refuses to be root.
    #[must_use]
    pub fn as_nobody(mut self) -> Self {
        self.as_nobody = true;
        self
    }

    /// A short name for logs: the program's file name.
    pub fn name(&self) -> String {
        PathBuf::from(&self.program).file_name().unwrap_or(&self.program).to_string_lossy().into_owned()
    }

    /// Runs it in the machine's own network and waits; fails the test after [`OUTPUT_LIMIT`].
    pub fn output(&self) -> Output {
        self.output_in(None, OUTPUT_LIMIT)
    }

    /// Runs it and fails the test, with what it printed, when it did not succeed.
    pub fn succeed(&self) -> String {
        self.succeed_in(None)
    }

    pub(crate) fn succeed_in(&self, namespace: Option<&str>) -> String {
        let output = self.output_in(namespace, OUTPUT_LIMIT);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{self:?} in {namespace:?}: {}\n{told}", output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn output_in(&self, namespace: Option<&str>, limit: Duration) -> Output {
        let mut command = self.prepare(namespace);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{self:?} does not start: {error}"));
        // Read on threads of their own: a child that fills a pipe nobody reads would never end.
        let stdout = read_to_end(child.stdout.take());
        let stderr = read_to_end(child.stderr.take());
        let start = std::time::Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("own child can be waited for") {
                break status;
            }
            if start.elapsed() > limit {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{self:?} in {namespace:?} still runs after {limit:?}");
            }
            timeline::pause(Duration::from_millis(1));
        };
        let collect = |pipe: std::thread::JoinHandle<Vec<u8>>| pipe.join().expect("a reader never panics");
        Output { status, stdout: collect(stdout), stderr: collect(stderr) }
    }

    /// The real command, inside `namespace`. Every program in the chain replaces itself by the next, so that the child's
    /// process id is the program's own.
    pub(crate) fn prepare(&self, namespace: Option<&str>) -> std::process::Command {
        let mut words: Vec<OsString> = Vec::new();
        if let Some(namespace) = namespace {
            words.extend(["ip", "netns", "exec", namespace].map(OsString::from));
        }
        if self.as_nobody {
            words.extend(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"].map(OsString::from));
        }
        words.push(self.resolved());
        words.extend(self.arguments.iter().cloned());
        let mut command = std::process::Command::new(&words[0]);
        command.args(&words[1..]).envs(self.environment.iter().map(|(name, value)| (name, value)));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        folders.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
        command.env("PATH", std::env::join_paths(folders).expect("PATH stays a PATH"));
        command
    }

    fn resolved(&self) -> OsString {
        if !self.program.to_string_lossy().starts_with("masthead") {
            return self.program.clone();
        }
        let built = ours(&self.program.to_string_lossy());
        assert!(
            built.is_file(),
            "{} is not built: cargo build --release --workspace --bins",
            built.display()
        );
        built.into_os_string()
    }
}

/// Where the build that the running program belongs to puts our program `name`; it need not exist.
pub fn ours(name: &str) -> PathBuf {
    let running = std::env::current_exe().expect("a running program has a path");
    let folder = running.parent().expect("a program is in a folder");
    // A test is target/release/deps/live-0123, a program target/release/masthead.
    let built = if folder.ends_with("deps") { folder.parent().expect("deps is in a folder") } else { folder };
    built.join(name)
}

impl From<&str> for Command {
    fn from(line: &str) -> Self {
        Self::line(line)
    }
}

impl From<String> for Command {
    fn from(line: String) -> Self {
        Self::line(&line)
    }
}

fn read_to_end(pipe: Option<impl std::io::Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut all);
        }
        all
    })
}
