//! What is typed, read in a thread of its own: the terminal's file cannot be waited for beside sockets everywhere.

use std::time::Duration;

use crossterm::event::{self, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;

use crate::picker::Key;

/// Keys that wait to be handled; more are dropped, as by any keyboard buffer.
const KEYS_MAX: usize = 64;
/// How often the key thread looks whether it is still wanted.
const KEY_POLL: Duration = Duration::from_millis(100);

/// What the terminal says.
pub(super) enum Typed {
    /// A key.
    Key(KeyEvent),
    /// Somebody wants the shell back for a while.
    Suspend,
    /// The screen has another size, or is back.
    Redraw,
}

/// Reads the terminal, for as long as somebody takes the keys; the channel ends with the terminal.
pub(super) fn read() -> mpsc::Receiver<Typed> {
    let (sender, receiver) = mpsc::channel(KEYS_MAX);
    std::thread::spawn(move || {
        while !sender.is_closed() {
            let typed = match event::poll(KEY_POLL) {
                Ok(false) => continue,
                Ok(true) => event::read().ok().as_ref().and_then(typed),
                // No terminal any more.
                Err(_) => return,
            };
            if let Some(typed) = typed {
                let _ = sender.try_send(typed);
            }
        }
    });
    receiver
}

fn typed(event: &event::Event) -> Option<Typed> {
    match event {
        event::Event::Key(event) if event.kind == KeyEventKind::Release => None,
        event::Event::Key(event) if is_control(*event, 'z') => Some(Typed::Suspend),
        event::Event::Key(event) => Some(Typed::Key(*event)),
        event::Event::Resize(..) | event::Event::FocusGained => Some(Typed::Redraw),
        _ => None,
    }
}

/// What a key means to the picker.
pub(super) fn of(event: KeyEvent) -> Option<Key> {
    if event.modifiers.contains(KeyModifiers::CONTROL) {
        return is_control(event, 'c').then_some(Key::Quit);
    }
    Some(match event.code {
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Tab => Key::Tab,
        KeyCode::Left => Key::Left,
        KeyCode::Char(c) => Key::Character(c),
        _ => return None,
    })
}

fn is_control(event: KeyEvent, letter: char) -> bool {
    event.modifiers.contains(KeyModifiers::CONTROL) && event.code == KeyCode::Char(letter)
}
