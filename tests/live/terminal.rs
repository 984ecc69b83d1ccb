//! The picker as somebody sees it: real daemons, a pseudo-terminal, and an emulator of a terminal that nobody here wrote.
#![expect(clippy::disallowed_methods, reason = "live tests are all effects: a thread reads the terminal")]

use std::fs;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lab::site::{DATABASE, Daemon, Plan, READY_LIMIT, Site, file_bytes, wait_for_growth};
use lab::{Command, Host, Lab, command, timeline};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, SlavePty, native_pty_system};

/// Longest from a key to what it does; that begins a channel at most.
const LIMIT: Duration = Duration::from_secs(10);
/// Longest that the end may take.
const END_LIMIT: Duration = Duration::from_secs(3);
/// Bytes of television that show a channel plays: a fifth of a second of the test card.
const PLAYING: u64 = 20_000;

/// A program in a terminal of its own.
struct Terminal {
    master: Box<dyn MasterPty + Send>,
    /// Held, so that the terminal outlives its program and can be looked at.
    _slave: Box<dyn SlavePty + Send>,
    keyboard: Box<dyn Write + Send>,
    screen: Arc<Mutex<vt100::Parser>>,
    child: Box<dyn Child + Send + Sync>,
    tty: PathBuf,
    /// The terminal's modes before the program began.
    modes: String,
}

impl Terminal {
    fn start(command: CommandBuilder, (columns, rows): (u16, u16)) -> Self {
        let pair = native_pty_system().openpty(size(columns, rows)).unwrap();
        let tty = pair.master.tty_name().unwrap();
        let modes = modes(&tty);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(some(rows), some(columns), 0)));
        let mut reader = pair.master.try_clone_reader().unwrap();
        let shown = Arc::clone(&screen);
        // It ends with the terminal, which ends with this handle.
        std::thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                shown.lock().unwrap().process(&buffer[..count]);
            }
        });
        let keyboard = pair.master.take_writer().unwrap();
        let child = pair.slave.spawn_command(command).unwrap();
        Self { master: pair.master, _slave: pair.slave, keyboard, screen, child, tty, modes }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Row by row, without what is empty at their ends.
    fn rows(&self) -> Vec<String> {
        let parser = self.screen.lock().unwrap();
        let (_, columns) = parser.screen().size();
        parser.screen().rows(0, columns.get()).map(|row| row.trim_end().to_owned()).collect()
    }

    fn wait_for(&self, what: &str) {
        self.wait(what, |text| text.contains(what));
    }

    fn wait(&self, claim: &str, condition: impl Fn(&str) -> bool) {
        let shown = || condition(&self.text()).then_some(());
        timeline::obtain_or(&format!("the screen shows: {claim}"), LIMIT, shown, || self.text());
    }

    fn resize(&self, columns: u16, rows: u16) {
        self.screen.lock().unwrap().set_size(some(rows), some(columns));
        self.master.resize(size(columns, rows)).unwrap();
    }

    fn signal(&self, name: &str) {
        Command::line(&format!("kill -{name} {}", self.child.process_id().unwrap())).succeed();
    }

    /// Whether the terminal is as it was before the program: modes, screen, cursor.
    fn is_given_back(&self) -> bool {
        let parser = self.screen.lock().unwrap();
        modes(&self.tty) == self.modes
            && !parser.screen().alternate_screen()
            && !parser.screen().hide_cursor()
    }

    /// Waits for the program's end; what it ended with, and the terminal is as it was.
    fn end(&mut self) -> u32 {
        let code = timeline::obtain("the picker ends", END_LIMIT, || self.child.try_wait().unwrap());
        timeline::until("the terminal is given back", END_LIMIT, || self.is_given_back());
        code.exit_code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(columns: u16, rows: u16) -> PtySize {
    PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }
}

fn some(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

fn modes(tty: &Path) -> String {
    Command::line("stty -g -F").arg(tty).succeed()
}

/// A player that writes what it plays to a file named after the title, beginning anew each time.
fn false_player(lab: &Lab) -> PathBuf {
    let folder = lab.path("players");
    fs::create_dir(&folder).unwrap();
    let path = folder.join("mpv");
    let script = format!(
        "#!/bin/sh\nfor a in \"$@\"; do case $a in --title=*) t=${{a#--title=}} ;; esac; done\nexec cat >\"{}/$t.ts\"\n",
        lab.folder().display()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    folder
}

fn picker(lab: &Lab, viewer: &Host, players: &Path) -> CommandBuilder {
    let mut command = CommandBuilder::new("ip");
    command.args(["netns", "exec", viewer.namespace().name()]);
    command.arg(command::ours("masthead-client"));
    command.args(["--database", DATABASE]);
    command.env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", players.display()));
    command.env("XDG_CACHE_HOME", lab.path("cache"));
    command.env("TERM", "xterm-256color");
    command.env("TZ", "UTC");
    command
}

/// Three channels that `hall` sends to the room, the first of which it records.
fn site(lab: &Lab) -> (Site, Vec<lab::Process>) {
    let plan = Plan::testcard().with_channel(2, "Two", "testcard:").with_channel(3, "Three", "testcard:");
    let site = Site::build(lab, &plan);
    let text = plan
        .text()
        .replace("\nchannels = [1, 2, 3]\n", "\nchannels = [1, 2, 3]\nrecord = { keep = \"1d\" }\n");
    fs::write(&site.topology, text).unwrap();
    let started = [Daemon::Database, Daemon::Acquisition, Daemon::Hall].map(|daemon| {
        let mut command = site.command(daemon);
        if daemon == Daemon::Hall {
            command = command.arg("--recordings").arg(lab.path("recordings"));
        }
        let mut process = site.host_of(daemon).spawn(command);
        process.wait_for_line("ready", READY_LIMIT);
        process
    });
    (site, started.into())
}

/// Goal: all that the picker is for, at 80 × 24 and at 200 × 60. Method: a player that writes files, so that the picture that follows
/// a zap is what has arrived.
#[test]
fn picker_zaps_searches_goes_back_resizes_and_helps() {
    let Some(lab) = Lab::open("picker_zaps_searches_goes_back_resizes_and_helps", &["stty"]) else { return };
    let (site, _daemons) = site(&lab);
    let viewer = site.viewer("anna", &site.room);
    site.wait_active(&viewer, 3, LIMIT);
    let playing = |name: &str| lab.path(&format!("{name}.ts"));
    let players = false_player(&lab);
    let mut terminal = Terminal::start(picker(&lab, &viewer, &players), (80, 24));
    terminal.wait_for("10.77.1.0/24 · 3 channels");
    terminal.wait("three channels that can be had", |text| text.matches('●').count() == 3);
    assert_eq!(file_bytes(&playing("One")), 0, "nothing plays before Enter");

    terminal.press("\r");
    wait_for_growth(&playing("One"), PLAYING, LIMIT);
    terminal.wait_for(" ▶ 1 One · ");
    terminal.wait("a rate", |text| {
        text.lines().any(|row| row.contains(" 1 ● One") && row.trim_end().ends_with("b/s"))
    });
    terminal.press("\x1b[B");
    wait_for_growth(&playing("Two"), PLAYING, LIMIT);
    terminal.wait_for(" ▶ 2 Two · ");
    let one = file_bytes(&playing("One"));
    terminal.press("thr");
    terminal.wait_for("search: thr");
    terminal.wait_for("1 of 3 channels");
    terminal.press("\r");
    wait_for_growth(&playing("Three"), PLAYING, LIMIT);
    assert_eq!(file_bytes(&playing("One")), one, "what was zapped away from is played no more");
    terminal.press("\x1b");
    terminal.wait_for("· 3 channels");

    terminal.press("?");
    terminal.wait_for("any key closes");
    terminal.press(" ");
    terminal.wait("no help", |text| !text.contains("any key closes"));

    terminal.resize(200, 60);
    terminal.wait("the column of what is next", |text| text.contains("Next"));
    timeline::until("the foot is the last of 60 rows", LIMIT, || {
        terminal.rows()[59].starts_with(" ▶ 3 Three · ")
    });
    terminal.resize(30, 10);
    timeline::until("names are left on a narrow screen", LIMIT, || {
        let rows = terminal.rows();
        rows[1] == "   No.   Channel" && rows[4].ends_with("3 ● Three")
    });
    terminal.resize(80, 24);

    goes_back_in_time(&mut terminal, &playing("Three"));
    terminal.press("q");
    assert_eq!(terminal.end(), 0);
}

/// Timeshift and the recordings, of the channel that plays to `file`.
fn goes_back_in_time(terminal: &mut Terminal, file: &Path) {
    terminal.press("\t");
    terminal.wait_for("all that is kept of One");
    terminal.press("\t");
    terminal.wait_for("back in time");
    terminal.press("\x1b[D");
    terminal.wait_for("behind live");
    wait_for_growth(file, file_bytes(file) + PLAYING, LIMIT);
    terminal.press(" ");
    terminal.wait_for("❚❚");
    terminal.press(" ");
    // So little is recorded that it soon is what is on air.
    terminal.wait("it goes on", |text| text.contains("live") && !text.contains("❚❚"));
    terminal.press("q");
    terminal.wait("the list again", |text| text.contains("Enter play"));
    terminal.press("\t");
    terminal.wait_for("all that is kept of One");
    terminal.press("\r");
    terminal.wait_for("space pause");
    terminal.press("q");
    terminal.wait_for("Tab channels");
}

/// Goal: whatever ends the picker, the terminal is as it was. Needs no site: the picker waits for one.
#[test]
fn terminal_is_given_back_however_the_picker_ends() {
    let Some(lab) = Lab::open("terminal_is_given_back_however_the_picker_ends", &["stty"]) else { return };
    let viewer = lab.host("alone");
    let start = || {
        let terminal = Terminal::start(picker(&lab, &viewer, &lab.path("nothing")), (80, 24));
        terminal.wait_for("waiting for the channel list");
        assert!(!terminal.is_given_back(), "it never was the picker's");
        terminal
    };
    for keys in ["q", "\x1b", "\x03"] {
        let mut terminal = start();
        terminal.press(keys);
        assert_eq!(terminal.end(), 0, "{keys:?}");
    }
    for signal in ["INT", "TERM", "HUP"] {
        let mut terminal = start();
        terminal.signal(signal);
        assert_eq!(terminal.end(), 0, "SIG{signal}");
    }
    for stop in [None, Some("TSTP")] {
        let mut terminal = start();
        match stop {
            None => terminal.press("\x1a"),
            Some(signal) => terminal.signal(signal),
        }
        let pid = terminal.child.process_id().unwrap();
        timeline::until("the picker is stopped, the terminal given back", LIMIT, || {
            state(pid) == Some('T') && terminal.is_given_back()
        });
        terminal.signal("CONT");
        terminal.wait_for("waiting for the channel list");
        assert!(!terminal.is_given_back());
        terminal.press("q");
        assert_eq!(terminal.end(), 0);
    }
}

/// Of a process, as /proc tells it: `R`, `S`, `T` and so on.
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Goal: what reads the picker's output in a pipe gets the plain list, and no terminal's codes.
#[test]
fn picker_is_a_plain_list_without_a_terminal() {
    let Some(lab) = Lab::open("picker_is_a_plain_list_without_a_terminal", &[]) else { return };
    let (site, _daemons) = site(&lab);
    let viewer = site.viewer("anna", &site.room);
    site.wait_active(&viewer, 3, LIMIT);
    assert_eq!(
        viewer.run(site.client(&viewer)),
        "ID  NAME   STATUS\n 1  One    active\n 2  Two    active\n 3  Three  active\n"
    );
}

/// Goal: who asks for no colours gets none, and who says nothing does.
#[test]
fn picker_honours_no_color() {
    let Some(lab) = Lab::open("picker_honours_no_color", &["stty"]) else { return };
    let (site, _daemons) = site(&lab);
    let viewer = site.viewer("anna", &site.room);
    site.wait_active(&viewer, 3, LIMIT);
    for (no_color, coloured) in [("", true), ("1", false)] {
        let mut command = picker(&lab, &viewer, &lab.path("nothing"));
        command.env("NO_COLOR", no_color);
        let terminal = Terminal::start(command, (80, 24));
        terminal.wait("three channels that can be had", |text| text.matches('●').count() == 3);
        let parser = terminal.screen.lock().unwrap();
        let cells = (0..24).flat_map(|row| (0..80).map(move |column| (row, column)));
        let tinted =
            |(row, column)| parser.screen().cell(row, column).unwrap().fgcolor() != vt100::Color::Default;
        assert_eq!(cells.into_iter().any(tinted), coloured, "NO_COLOR={no_color}");
    }
}
