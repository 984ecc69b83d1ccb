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

#[cfg(all(test, unix))]
mod tests {
    use std::io::{Read, Write, stdin};

    use nix::sys::signal::{Signal, raise};
    use rustix::io::ioctl_fionread;

    use super::super::rehearsal;
    use super::*;

    /// Says which two events it finds at once: a key and another size.
    fn find_both() -> ! {
        crossterm::terminal::enable_raw_mode().expect("there is a terminal");
        assert!(!event::poll(Duration::ZERO).expect("it can be asked"), "nothing happened yet");
        println!("press");
        while ioctl_fionread(stdin()).expect("a terminal counts what waits") == 0 {
            std::thread::yield_now();
        }
        raise(Signal::SIGWINCH).expect("a signal to itself");
        let found = [(); 2].map(|()| {
            assert!(event::poll(Duration::from_secs(5)).expect("it can be asked"), "one of the two is lost");
            match event::read().expect("there is one") {
                event::Event::Resize(..) => "resize",
                event::Event::Key(_) => "key",
                _ => "other",
            }
        });
        println!("found {} and {}", found[0], found[1]);
        std::process::exit(0)
    }

    /// Goal: who types while the window changes its size is heard at once. Method: this very program, in a terminal.
    #[test]
    fn a_key_is_not_lost_when_the_size_changes_with_it() {
        if rehearsal::is_on_stage() {
            find_both();
        }
        let pair = rehearsal::terminal();
        let name = "keys::tests::a_key_is_not_lost_when_the_size_changes_with_it";
        let mut child = rehearsal::start(&pair, name);
        drop(pair.slave);
        let mut keyboard = pair.master.take_writer().unwrap();
        let mut reader = pair.master.try_clone_reader().unwrap();
        let (mut said, mut buffer, mut pressed) = (String::new(), [0; 4_096], false);
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            said.push_str(&String::from_utf8_lossy(&buffer[..count]));
            if !pressed && said.contains("press\n") {
                pressed = true;
                keyboard.write_all(b"\t").unwrap();
            }
        }
        assert!(child.wait().unwrap().success(), "{said}");
        assert!(said.contains("found key and resize") || said.contains("found resize and key"), "{said}");
    }
}
