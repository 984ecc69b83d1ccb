//! What is typed at the picker, and what it then has its shell do.

use protocols::ids::ChannelId;
use protocols::recording::RecordingId;

/// A key that means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// One up.
    Up,
    /// One down.
    Down,
    /// Ten up.
    PageUp,
    /// Ten down.
    PageDown,
    /// To the first.
    Home,
    /// To the last.
    End,
    /// Play.
    Enter,
    /// Back: out of the help, out of the search, out of the program.
    Escape,
    /// Takes a character of the search away.
    Backspace,
    /// To the recordings, and back.
    Tab,
    /// Back in what is on air.
    Left,
    /// Text.
    Character(char),
    /// Out of the program, whatever else.
    Quit,
}

/// What the shell must do.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Play this channel, instead of any other.
    Watch(ChannelId),
    /// Find out what is recorded: [`super::Picker::set_recordings`].
    List,
    /// Play this recording, instead of anything else.
    Play(RecordingId),
    /// Play all that is kept of this channel, from its beginning.
    PlayKept(ChannelId),
    /// Play what was just on air of the channel that plays, from its recording.
    Rewind(ChannelId),
    /// End.
    Quit,
}
