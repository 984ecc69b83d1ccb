//! The keys of a terminal, one by one, while a recording plays; or the characters of a pipe, for who has no terminal.

use std::io::{IsTerminal, Read, stderr, stdin};
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::terminal;
use tokio::sync::mpsc;

use super::super::Error;
use crate::remote_control::{Key, of_character};

/// Keys that wait to be handled; more are dropped, as by any keyboard buffer.
const KEYS_MAX: usize = 64;
/// How often the key thread looks whether it is still wanted.
const KEY_POLL: Duration = Duration::from_millis(100);

/// Where keys come from, one by one; a terminal is as it was once this is dropped.
#[derive(Debug)]
pub(super) struct Keys {
    keys: Option<mpsc::Receiver<Key>>,
    /// The terminal must be made as it was.
    raw: bool,
}

impl Keys {
    /// Of the terminal, where there is one to type at and one to look at; else none ever come.
    pub(super) fn of_terminal() -> Result<Self, Error> {
        if !stdin().is_terminal() || !stderr().is_terminal() {
            return Ok(Self { keys: None, raw: false });
        }
        terminal::enable_raw_mode().map_err(Error::Terminal)?;
        let (sender, keys) = mpsc::channel(KEYS_MAX);
        std::thread::spawn(move || {
            while !sender.is_closed() {
                match event::poll(KEY_POLL) {
                    Ok(false) => {}
                    Ok(true) => {
                        if let Some(key) = event::read().ok().as_ref().and_then(typed) {
                            let _ = sender.try_send(key);
                        }
                    }
                    // No terminal any more.
                    Err(_) => return,
                }
            }
        });
        Ok(Self { keys: Some(keys), raw: true })
    }

    /// The characters that come by standard input, whatever that is.
    pub(super) fn of_input() -> Self {
        let (sender, keys) = mpsc::channel(KEYS_MAX);
        std::thread::spawn(move || {
            for byte in stdin().lock().bytes().map_while(Result::ok) {
                // Where more wait than there is room for, the pipe waits.
                if let Some(key) = of_character(char::from(byte))
                    && sender.blocking_send(key).is_err()
                {
                    return;
                }
            }
        });
        Self { keys: Some(keys), raw: false }
    }

    /// Whether somebody types at a terminal.
    pub(super) fn are_typed(&self) -> bool {
        self.raw
    }

    /// The next key; waits for ever without a terminal.
    pub(super) async fn next(&mut self) -> Key {
        if let Some(keys) = &mut self.keys
            && let Some(key) = keys.recv().await
        {
            return key;
        }
        std::future::pending().await
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if self.raw {
            let _ = terminal::disable_raw_mode();
        }
    }
}

fn typed(event: &Event) -> Option<Key> {
    match event {
        Event::Key(event) if event.kind != KeyEventKind::Release => of_key(*event),
        _ => None,
    }
}

/// What a key of the terminal means while something plays.
pub(in crate::shell) fn of_key(event: KeyEvent) -> Option<Key> {
    if event.modifiers.contains(KeyModifiers::CONTROL) {
        return (event.code == KeyCode::Char('c')).then_some(Key::Quit);
    }
    Some(match event.code {
        KeyCode::Left => Key::Back,
        KeyCode::Right => Key::On,
        KeyCode::Down => Key::FarBack,
        KeyCode::Up => Key::FarOn,
        KeyCode::Home => Key::Begin,
        KeyCode::End => Key::Live,
        KeyCode::Esc => Key::Quit,
        KeyCode::Char(c) => return of_character(c),
        _ => return None,
    })
}
