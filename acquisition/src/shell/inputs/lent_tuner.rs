//! A tuner that a server lends: the session with it and its connection, which say together whether packets go on.

use link::clock::Clock;
use protocols::time::Time;
use tokio::net::TcpStream;

use super::Batch;
use super::peer::Conversation;
use crate::tuner_session::{Input, Output, TunerSession};

/// A session and the connection that it speaks over.
pub(super) struct LentTuner<S> {
    pub(super) session: S,
    /// For messages: `SCHEME://SERVER`.
    place: String,
    out: Vec<Output>,
    connection: Conversation,
    /// Of the first turn, with which the tuner is asked for.
    clock: Option<Clock>,
}

impl<S: TunerSession> LentTuner<S> {
    /// No tuner is taken before the first turn.
    pub(super) fn new(place: String, session: S, connection: TcpStream) -> Self {
        Self { session, place, out: Vec::new(), connection: Conversation::new(connection), clock: None }
    }

    /// For messages.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Does what the session wants done; an error ends the turns.
    pub(super) fn carry_out(&mut self) -> Result<(), String> {
        for output in self.out.drain(..) {
            match output {
                Output::Send(bytes) => self.connection.say(&bytes),
                Output::Fail(why) => return Err(why),
                Output::Drop => return Err("the tuner was given back".to_owned()),
            }
        }
        Ok(())
    }

    /// Waits until [`LentTuner::converse`] is worth it.
    pub(super) async fn ready(&self) {
        self.connection.ready().await;
    }

    pub(super) fn converse(&mut self, now: Time) {
        let Self { connection, session, out, .. } = self;
        let lost = connection.turn(|bytes| session.handle(now, Input::Bytes(bytes), out)).err();
        if let Some(why) = lost {
            session.handle(now, Input::Disconnected(&why), out);
        }
    }

    pub(super) fn tick(&mut self, now: Time) {
        self.session.handle(now, Input::Tick, &mut self.out);
    }

    fn begin(&mut self, clock: &Clock) {
        let begins = self.clock.replace(*clock).is_none();
        let input = if begins { Input::Connected } else { Input::Tick };
        self.session.handle(clock.now(), input, &mut self.out);
    }

    /// Begins to give the tuner back; `None` where none was taken.
    fn end(&mut self) -> Option<Clock> {
        let clock = self.clock?;
        self.out.clear();
        self.session.handle(clock.now(), Input::Close, &mut self.out);
        Some(clock)
    }
}

/// An input by way of a lent tuner.
pub(super) trait Lent: Sized {
    type Session: TunerSession;

    fn tuner(&mut self) -> &mut LentTuner<Self::Session>;

    /// Carries out what the session wants, waits for one thing to happen, and takes that. May be dropped while it waits.
    async fn turn(&mut self, clock: &Clock, batch: &mut Batch) -> Result<(), String>;

    /// Waits for the next packets. May be dropped at any time without losing any.
    async fn next(&mut self, clock: &Clock, batch: &mut Batch) -> Result<(), String> {
        self.tuner().begin(clock);
        while batch.is_empty() {
            if let Err(why) = self.turn(clock, batch).await {
                return Err(format!("{}: {why}", self.tuner().place()));
            }
        }
        Ok(())
    }

    /// Gives the tuner back.
    async fn close(mut self) {
        let Some(clock) = self.tuner().end() else { return };
        let mut unheard = Batch::default();
        // The session's own limit ends it; one whose connection is lost is over already.
        while !self.tuner().session.is_over() && self.turn(&clock, &mut unheard).await.is_ok() {
            unheard = Batch::default();
        }
    }
}
