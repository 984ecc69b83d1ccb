//! For tests: one test of this very program, played in a terminal of its own.

use portable_pty::{Child, CommandBuilder, PtyPair, PtySize, native_pty_system};

/// Tells this program that it is the one in the terminal.
const ON_STAGE: &str = "MASTHEAD_TEST_ON_STAGE";

/// A terminal of 80 × 24 that nothing runs in.
pub(super) fn terminal() -> PtyPair {
    let size = PtySize { rows: 24, cols: 80, ..PtySize::default() };
    native_pty_system().openpty(size).expect("there is a pseudo-terminal")
}

/// Starts the test `name`, as this folder names it, in `terminal`.
pub(super) fn start(terminal: &PtyPair, name: &str) -> Box<dyn Child + Send + Sync> {
    let mut command = CommandBuilder::new(std::env::current_exe().expect("this program has a path"));
    command.env(ON_STAGE, "1");
    command.env("RUST_BACKTRACE", "0");
    command.args(["--exact", "--nocapture", &format!("shell::screen::{name}")]);
    terminal.slave.spawn_command(command).expect("this program can be started")
}

/// Whether this program is the one in the terminal.
pub(super) fn is_on_stage() -> bool {
    std::env::var_os(ON_STAGE).is_some()
}
