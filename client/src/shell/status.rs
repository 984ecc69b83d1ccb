//! Words on standard error: one line in place on a terminal, events only elsewhere.

use std::io::{IsTerminal, Write, stderr};

use crate::listing::printable;

/// The status line.
#[derive(Debug)]
pub(super) struct StatusLine {
    in_place: bool,
    shown: bool,
    last_event: String,
}

impl StatusLine {
    /// Nothing is shown yet.
    pub(super) fn new() -> Self {
        Self { in_place: stderr().is_terminal(), shown: false, last_event: String::new() }
    }

    /// Replaces the line, on a terminal.
    pub(super) fn show(&mut self, line: &str) {
        if !self.in_place {
            return;
        }
        let columns = crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns));
        let cut: String = line.chars().take(columns.saturating_sub(1)).collect();
        // Nobody reads what cannot be written.
        let _ = write!(stderr(), "\r\x1b[K{cut}");
        let _ = stderr().flush();
        self.shown = true;
    }

    /// Tells something new; the same again is not told.
    pub(super) fn event(&mut self, line: &str) {
        if self.last_event == line {
            return;
        }
        line.clone_into(&mut self.last_event);
        self.say(line);
    }

    /// Says a line, also the same again.
    pub(super) fn say(&mut self, line: &str) {
        self.clear();
        // A terminal whose keys are read one by one does not return the carriage by itself.
        let end = if self.in_place { "\r\n" } else { "\n" };
        let _ = write!(stderr(), "{}{end}", printable(line));
    }

    /// Takes the line away.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}
