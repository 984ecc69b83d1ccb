//! A session with a server that lends a tuner, whatever the two speak: what happens to it, and what it has done.
//!
//! [`crate::satip::session`] and [`crate::hdhomerun::session`] are such sessions; the shell gives all of them a connection.

use protocols::time::Time;

use crate::pids::Pids;

/// What happens to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input<'a> {
    /// The connection stands.
    Connected,
    /// It brought these bytes.
    Bytes(&'a [u8]),
    /// It is lost, for this reason.
    Disconnected(&'a str),
    /// Nobody needs the tuner any more, or the session failed: what is held is given back.
    Close,
    /// The deadline is reached, or [`TunerSession::select`] was called.
    Tick,
}

/// What has to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Output {
    /// Write this to the connection.
    Send(Vec<u8>),
    /// Give up, and close; the text says why and what to do.
    Fail(String),
    /// Drop the connection: the tuner has been given back.
    Drop,
}

/// A tuner is asked for, tuned, kept and given back.
pub trait TunerSession {
    /// Takes what happened.
    fn handle(&mut self, now: Time, input: Input<'_>, out: &mut Vec<Output>);

    /// Chooses packets; an [`Input::Tick`] then has the server told. No effect where the input's URL chooses them.
    fn select(&mut self, pids: &Pids);

    /// When [`Input::Tick`] is due.
    fn deadline(&self) -> Option<Time>;

    /// Whether nothing more is to be said.
    fn is_over(&self) -> bool;
}
