//! Passwords and consent, from a file, the environment or the person at the terminal.

use std::fs;
use std::io::{IsTerminal, Write, stderr, stdin};
use std::path::Path;

use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers, read};
use crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use protocols::administration::{MAX_PASSWORD_BYTES, Secret};

use crate::shell::Error;

/// Where the password of the one who logs in may stand.
const PASSWORD_VARIABLE: &str = "MASTHEAD_PASSWORD";

/// The password of who logs in.
pub(super) fn known(name: &str, file: Option<&Path>) -> Result<Secret, Error> {
    if let Some(file) = file {
        return from_file(file);
    }
    match std::env::var(PASSWORD_VARIABLE) {
        Ok(password) if !password.is_empty() => Ok(Secret(password)),
        _ => ask(&format!("Password of {name}: ")),
    }
}

/// A password to be, typed twice.
pub(super) fn new(name: &str, file: Option<&Path>) -> Result<Secret, Error> {
    if let Some(file) = file {
        return from_file(file);
    }
    let first = ask(&format!("New password of {name}: "))?;
    let second = ask("The same again: ")?;
    if first == second { Ok(first) } else { Err(Error::Usage("the two are not the same".to_owned())) }
}

/// Asks yes or no.
pub(super) fn confirmed(question: &str) -> Result<bool, Error> {
    eprint!("{question} [y/N] ");
    let _ = stderr().flush();
    let mut line = String::new();
    stdin().read_line(&mut line).map_err(Error::Terminal)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

fn from_file(file: &Path) -> Result<Secret, Error> {
    let text =
        fs::read_to_string(file).map_err(|error| Error::Usage(format!("{}: {error}", file.display())))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Secret(line.to_owned())),
        _ => Err(Error::Usage(format!(
            "{}: its first line is empty, and should be the password",
            file.display()
        ))),
    }
}

/// Reads a line that is not shown.
fn ask(prompt: &str) -> Result<Secret, Error> {
    if !stdin().is_terminal() {
        let text = format!(
            "there is no terminal to ask at: give {PASSWORD_VARIABLE}, --password-file or --new-password-file"
        );
        return Err(Error::Usage(text));
    }
    eprint!("{prompt}");
    let _ = stderr().flush();
    enable_raw_mode().map_err(Error::Terminal)?;
    let line = hidden_line();
    let restored = disable_raw_mode().map_err(Error::Terminal);
    eprintln!();
    restored.and(line)
}

fn hidden_line() -> Result<Secret, Error> {
    let mut line = String::new();
    loop {
        let Event::Key(key) = read().map_err(Error::Terminal)? else { continue };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        match key.code {
            KeyCode::Enter => return Ok(Secret(line)),
            KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return Err(Error::Refused("nothing was done".to_owned()));
            }
            KeyCode::Char('u') if key.modifiers.contains(KeyModifiers::CONTROL) => line.clear(),
            KeyCode::Char(c) if line.len() < MAX_PASSWORD_BYTES => line.push(c),
            KeyCode::Backspace => {
                line.pop();
            }
            _ => {}
        }
    }
}
