//! The terminal while it is ours: taken whole, and given back as it was, however that comes to an end.
//!
//! | end | gives the terminal back |
//! |---|---|
//! | the picker is left; SIGINT, SIGTERM, SIGHUP | [`Stage`] is dropped |
//! | a panic | the panic hook, before the message is written |
//! | Ctrl-Z, SIGTSTP | [`Stage::suspend`], and takes it again when the process goes on |
//! | SIGKILL, SIGSTOP | nobody can: `reset` does |

use std::io::{self, Stdout, stdout};
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::backend::CrosstermBackend;
use ratatui::{Frame, Terminal};

/// Whether the terminal is ours. Given back twice, it would put the cursor where it was before the first time, into what has been
/// written since.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal, taken.
pub(super) struct Stage {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Stage {
    /// Takes the terminal: raw keys, alternate screen.
    pub(super) fn enter() -> io::Result<Self> {
        let earlier = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            earlier(panic);
        }));
        match take() {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }

    /// Draws what `picture` draws.
    pub(super) fn draw(&mut self, picture: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(picture).map(drop)
    }

    /// Gives the terminal back and stops, as Ctrl-Z has every program do; returns when the process goes on (`fg`).
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        give_back();
        stop();
        self.redraw()
    }

    /// Takes the terminal again and forgets what was drawn: a shell may have shown itself between.
    pub(super) fn redraw(&mut self) -> io::Result<()> {
        self.terminal = take()?;
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        give_back();
    }
}

/// Makes the terminal ours, and empty. It is asked nothing: one that does not answer would hold up the picker.
fn take() -> io::Result<Terminal<CrosstermBackend<Stdout>>> {
    TAKEN.store(true, Ordering::SeqCst);
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen, Clear(ClearType::All), Hide)?;
    Terminal::new(CrosstermBackend::new(stdout()))
}

/// A terminal that is gone takes nothing back.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = disable_raw_mode();
        let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    }
}

/// All of the job, as the terminal itself would; by SIGSTOP, since SIGTSTP is heard by [`Signals`].
#[cfg(unix)]
fn stop() {
    use rustix::process::{Signal, kill_current_process_group};
    let _ = kill_current_process_group(Signal::STOP);
}

#[cfg(not(unix))]
fn stop() {}

/// What a signal asks of the picker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// The terminal is gone, or somebody says so (SIGHUP).
    End,
    /// SIGTSTP.
    Suspend,
    /// The process goes on after a stop that it did not hear of (SIGCONT).
    Redraw,
}

/// The signals of terminals; SIGINT and SIGTERM are heard by `link::shutdown`.
#[cfg(unix)]
pub(super) struct Signals {
    hang_up: tokio::signal::unix::Signal,
    suspend: tokio::signal::unix::Signal,
    goes_on: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let of = |signal: rustix::process::Signal| SignalKind::from_raw(signal.as_raw());
        Ok(Self {
            hang_up: signal(SignalKind::hangup())?,
            suspend: signal(of(rustix::process::Signal::TSTP))?,
            goes_on: signal(of(rustix::process::Signal::CONT))?,
        })
    }

    /// Waits for the next one. May be dropped while it waits.
    pub(super) async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.hang_up.recv() => Told::End,
            _ = self.suspend.recv() => Told::Suspend,
            _ = self.goes_on.recv() => Told::Redraw,
        }
    }
}

/// There are none.
#[cfg(not(unix))]
pub(super) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    pub(super) async fn next(&mut self) -> Told {
        std::future::pending().await
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::Read;
    use std::process::Command;

    use super::super::rehearsal;
    use super::*;

    fn panic_on_stage() -> ! {
        let mut stage = Stage::enter().expect("there is a terminal");
        stage.draw(|frame| frame.render_widget("scenery", frame.area())).expect("it can be drawn on");
        panic!("it falls");
    }

    /// Goal: who reads why it failed does so on a terminal that works. Method: this very program, in a terminal.
    #[test]
    fn a_panic_gives_the_terminal_back_before_its_message() {
        if rehearsal::is_on_stage() {
            panic_on_stage();
        }
        let pair = rehearsal::terminal();
        let tty = pair.master.tty_name().unwrap();
        let modes = || Command::new("stty").arg("-g").arg("-F").arg(&tty).output().unwrap().stdout;
        let before = modes();
        let name = "stage::tests::a_panic_gives_the_terminal_back_before_its_message";
        let mut child = rehearsal::start(&pair, name);
        let mut reader = pair.master.try_clone_reader().unwrap();
        let reading = std::thread::spawn(move || {
            let (mut said, mut buffer) = (Vec::new(), [0; 4_096]);
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                said.extend_from_slice(&buffer[..count]);
            }
            said
        });
        assert!(!child.wait().unwrap().success());
        assert_eq!(modes(), before, "the terminal's modes");
        drop(pair);
        let said = reading.join().unwrap();
        let mut screen = vt100::Parser::default();
        screen.process(&said);
        let screen = screen.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor());
        let text = screen.contents();
        assert!(text.contains("it falls") && !text.contains("scenery"), "{text}");
        assert!(String::from_utf8_lossy(&said).contains("scenery"), "it was never on the stage");
    }
}
