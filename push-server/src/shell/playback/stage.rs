//! The playback thread: waits for an order, a read or the next alarm, asks the sessions once, does what they want.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use link::clock::Clock;
use protocols::authority::{LeaseKey, RecordingLease};
use protocols::p4_control::{Kind, PlayAnswer, seal};
use protocols::time::Time;

use super::frame::Frame;
use super::library::Library;
use super::post::Post;
use super::readers::{Job, Readers};
use super::reel::{Reel, Wish};
use super::{Call, Shown};
use crate::admission::{PlayMissed, Played};
use crate::session::{Input, Output, ReadOutcome, SessionKey, Sessions};
use crate::shell::recorder::reader::Haste;

/// Calls taken in a row before alarms have their turn.
const CALLS_PER_TURN: usize = 256;
/// How often reels of sessions that have ended are put away, and counters shown.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The thread's own.
pub(super) struct Stage {
    clock: Clock,
    sessions: Sessions<Frame>,
    /// Reels of sessions; `None`: at a reader thread.
    reels: BTreeMap<SessionKey, Option<Reel>>,
    library: Arc<Library>,
    readers: Readers,
    post: Post,
    /// P4's socket, by which orders are answered.
    control: UdpSocket,
    leases: LeaseKey,
    calls: Receiver<Call>,
    outputs: Vec<Output<Frame>>,
    /// Emptied after each use.
    at_hand: Vec<Output<Frame>>,
    shown: Arc<Shown>,
    sweep_at: Time,
}

/// What a stage is made of.
pub(super) struct Props {
    pub(super) clock: Clock,
    pub(super) library: Arc<Library>,
    pub(super) readers: Readers,
    pub(super) post: Post,
    pub(super) control: UdpSocket,
    pub(super) leases: LeaseKey,
    pub(super) calls: Receiver<Call>,
    pub(super) shown: Arc<Shown>,
}

impl Stage {
    pub(super) fn new(props: Props) -> Self {
        let Props { clock, library, readers, post, control, leases, calls, shown } = props;
        let now = clock.now();
        Self {
            clock,
            sessions: Sessions::new(now),
            reels: BTreeMap::new(),
            library,
            readers,
            post,
            control,
            leases,
            calls,
            outputs: Vec::new(),
            at_hand: Vec::new(),
            shown,
            sweep_at: now,
        }
    }

    /// Serves until it is told to end.
    pub(super) fn run(mut self) {
        while self.turn().is_some() {}
        // Readers that wait for this end to take what they have read see it gone.
        drop(self.calls);
        self.readers.stop();
    }

    /// Waits, and does what came or is due; `None`: end.
    fn turn(&mut self) -> Option<()> {
        let mut call = match self.sessions.deadline() {
            None => self.calls.recv().ok()?,
            Some(at) => match self.calls.recv_timeout(at.since(self.clock.now())) {
                Ok(call) => call,
                Err(RecvTimeoutError::Timeout) => {
                    self.due();
                    return Some(());
                }
                Err(RecvTimeoutError::Disconnected) => return None,
            },
        };
        for _ in 0..CALLS_PER_TURN {
            self.take(call)?;
            match self.calls.try_recv() {
                Ok(next) => call = next,
                Err(_) => break,
            }
        }
        if self.sessions.deadline().is_some_and(|at| at <= self.clock.now()) {
            self.due();
        }
        Some(())
    }

    fn due(&mut self) {
        self.handle(Input::Due);
        let now = self.clock.now();
        if now >= self.sweep_at || self.sessions.is_empty() {
            self.sweep_at = now + SWEEP_INTERVAL;
            let sessions = &self.sessions;
            self.reels.retain(|key, _| sessions.holds(key));
            self.shown.show(sessions, self.post.lost());
        }
    }

    fn take(&mut self, call: Call) -> Option<()> {
        match call {
            Call::Order(order) => {
                let Played { from, request, cluster } = *order;
                self.handle(Input::Order { from, request, cluster });
            }
            Call::Missed(missed) => {
                let PlayMissed { from, request, cluster } = *missed;
                self.handle(Input::Missing { from, request, cluster });
            }
            Call::Read { key, ticket, outcome, reel } => {
                // One that came to stand elsewhere meanwhile is the better one.
                if let Some(home) = self.reels.get_mut(&key) {
                    home.get_or_insert(reel);
                }
                self.handle(Input::Read { key, ticket, outcome });
            }
            Call::Stop => return None,
        }
        Some(())
    }

    fn handle(&mut self, input: Input<Frame>) {
        let now = self.clock.now();
        self.sessions.handle(now, input, &mut self.outputs);
        while !self.outputs.is_empty() {
            let mut at_hand = std::mem::replace(&mut self.outputs, std::mem::take(&mut self.at_hand));
            for output in at_hand.drain(..) {
                match output {
                    Output::Send { to, packets } => self.post.send(to, &packets),
                    Output::Answer { to, lease, answer } => self.answer(to, &lease, &answer),
                    Output::Read { key, ticket, channel, from, packets } => {
                        if let Some(outcome) = self.read(key, ticket, Wish { channel, from, packets }) {
                            self.sessions.handle(
                                now,
                                Input::Read { key, ticket, outcome },
                                &mut self.outputs,
                            );
                        }
                    }
                }
            }
            self.at_hand = at_hand;
        }
    }

    /// Reads what the page cache has; for the rest the reel goes to a reader thread.
    fn read(&mut self, key: SessionKey, ticket: u64, wish: Wish) -> Option<ReadOutcome<Frame>> {
        let home = self.reels.entry(key).or_default();
        let mut reel = home.take().unwrap_or_else(|| Reel::new(self.library.clone()));
        match reel.read(wish, Haste::Now) {
            Ok(outcome) => {
                *home = Some(reel);
                Some(outcome)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let job = Box::new(Job { key, ticket, wish, reel });
                let refused = self.readers.put(job).err()?;
                *home = Some(refused.reel);
                Some(ReadOutcome::Failed)
            }
            Err(error) => {
                tracing::debug!(channel = %wish.channel, %error, "a recording cannot be read");
                *home = Some(reel);
                Some(ReadOutcome::Failed)
            }
        }
    }

    fn answer(&self, to: SocketAddr, lease: &RecordingLease, answer: &PlayAnswer) {
        let bytes = seal(Kind::PlayAnswer, answer, &self.leases.recording_secret(lease));
        // P4 bears loss: whoever misses an answer asks again.
        if let Err(error) = self.control.send_to(&bytes, to) {
            tracing::debug!(%to, %error, "an answer could not be sent");
        }
    }
}
