//! One channel that somebody wants: its subscription at work, and what readers see of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use link::clock::Clock;
use protocols::ids::ChannelId;
use protocols::time::Time;
use tokio::sync::watch;

use super::super::session::{Session, Told};
use super::super::{Error, Options};
use super::answer::Refusal;
use crate::gateway::hls::fmp4_segmenter::Fmp4Segmenter;
use crate::gateway::hls::ts_segmenter::TsSegmenter;
use crate::gateway::line::{Line, Placed};
use crate::gateway::tape::{Cursor, Read, Tape};
use crate::gateway::tenancy::Tenancy;
use crate::listing::printable;
use crate::viewer::{Input, Notice};

/// How long a channel is waited for that says why it cannot be had.
const PROBLEM_PATIENCE: Duration = Duration::from_secs(3);

/// A channel in the hub.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) id: ChannelId,
    pub(super) clock: Clock,
    state: Mutex<State>,
    /// Told when something came, or nothing more will.
    changed: watch::Sender<()>,
}

/// What readers see.
#[derive(Debug)]
pub(super) struct State {
    pub(super) tenancy: Tenancy,
    pub(super) tape: Tape,
    /// Why nothing comes, as far as that is known.
    pub(super) problem: Option<String>,
    /// Its subscription is over.
    pub(super) is_over: bool,
    /// Bytes of transport stream that came.
    pub(super) bytes: u64,
    /// Segments, while playlists are asked for.
    transport_stream: Option<TsSegmenter>,
    fragmented: Option<Fmp4Segmenter>,
}

impl State {
    /// Segments of transport stream are wanted from here on.
    pub(super) fn want_transport_stream(&mut self, now: Time) {
        self.tenancy.ask(now);
        self.transport_stream.get_or_insert_with(|| TsSegmenter::new(first_segment()));
    }

    /// Segments of transport stream, while they are wanted.
    pub(super) fn transport_stream(&self) -> Option<&TsSegmenter> {
        self.transport_stream.as_ref()
    }

    /// Segments of fragmented MP4 are wanted from here on.
    pub(super) fn want_fragmented(&mut self, now: Time) {
        self.tenancy.ask(now);
        self.fragmented.get_or_insert_with(|| Fmp4Segmenter::new(first_segment()));
    }

    /// Segments of fragmented MP4, while they are wanted.
    pub(super) fn fragmented(&self) -> Option<&Fmp4Segmenter> {
        self.fragmented.as_ref()
    }

    /// Bytes of segments held, and segments dropped for their bytes.
    pub(super) fn segments_held(&self) -> (usize, u64) {
        let windows = [
            self.transport_stream.as_ref().map(TsSegmenter::window),
            self.fragmented.as_ref().map(Fmp4Segmenter::window),
        ];
        windows
            .into_iter()
            .flatten()
            .fold((0, 0), |(bytes, dropped), window| (bytes + window.bytes(), dropped + window.dropped()))
    }

    /// Nobody asks for segments any more.
    fn drop_segments(&mut self) {
        (self.transport_stream, self.fragmented) = (None, None);
    }

    fn push(&mut self, placed: &[Placed<'_>], tables: &[u8]) {
        self.bytes += placed.iter().map(|packet| packet.payload.len() as u64).sum::<u64>();
        self.tape.push(placed, tables);
        let now_ms = Clock::wall().0;
        if let Some(segmenter) = &mut self.transport_stream {
            placed.iter().for_each(|packet| segmenter.push(packet, tables, now_ms));
        }
        if let Some(segmenter) = &mut self.fragmented {
            placed.iter().for_each(|packet| segmenter.push(packet, now_ms));
        }
    }
}

/// Number of a first segment: the second that it is begun in. Segments are longer than a second, so that the numbers of a channel
/// that was released, or of a gateway that was started anew, go on from where a player may have been.
fn first_segment() -> u64 {
    Clock::wall().0 / 1_000
}

impl Channel {
    /// One that nobody reads yet.
    pub(super) fn new(id: ChannelId, clock: Clock) -> Arc<Self> {
        let state = State {
            tenancy: Tenancy::new(clock.now()),
            tape: Tape::default(),
            problem: None,
            is_over: false,
            bytes: 0,
            transport_stream: None,
            fragmented: None,
        };
        Arc::new(Self { id, clock, state: Mutex::new(state), changed: watch::Sender::new(()) })
    }

    /// What is there now.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done by a panic that could hurt who comes next.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is there at `cursor`, which goes on behind it; and whether no more will come.
    pub(super) fn read(&self, cursor: &mut Cursor) -> (Read, bool) {
        let state = self.state();
        (state.tape.read(cursor), state.is_over)
    }

    /// How long in all who has waited for `waited` goes on waiting, `patience` at most; refused when that is over, or nothing more will come.
    pub(super) fn patience(
        &self,
        state: &State,
        waited: Duration,
        patience: Duration,
    ) -> Result<Duration, Refusal> {
        let patience = if state.problem.is_some() { PROBLEM_PATIENCE } else { patience };
        if state.is_over || waited >= patience {
            let why = state.problem.as_deref().unwrap_or("nothing arrives");
            return Err(Refusal::unavailable(format!("channel {} cannot be had now: {why}", self.id)));
        }
        Ok(patience)
    }

    /// Tells of each change from here on.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Ends its subscription, and its readers.
    pub(super) fn end(&self) {
        self.state().is_over = true;
        self.changed.send_replace(());
    }

    /// Wakes who waits for a change, be it the task that decides whether the channel is still wanted.
    pub(super) fn wake(&self) {
        self.changed.send_replace(());
    }
}

/// Subscribes to the channel and feeds it for as long as it is wanted, or until [`Channel::end`].
pub(super) async fn feed(channel: &Channel, options: &Options) -> Result<(), Error> {
    let mut session = Session::start(options)?;
    session.tap();
    session.give(Input::Watch(channel.id));
    let mut line = Line::new();
    let mut changes = channel.changes();
    loop {
        let deadline = channel.state().tenancy.deadline();
        tokio::select! {
            () = session.step() => {
                take(channel, &mut session, &mut line);
                changes.mark_unchanged();
            }
            _ = changes.changed() => {}
            () = channel.clock.reach(deadline) => {}
        }
        let now = channel.clock.now();
        let is_over = {
            let mut state = channel.state();
            if !state.tenancy.wants_segments(now) {
                state.drop_segments();
            }
            state.is_over || state.tenancy.is_over(now)
        };
        if is_over {
            session.give(Input::Stop);
            return Ok(());
        }
    }
}

/// Takes what the session has brought.
fn take(channel: &Channel, session: &mut Session, line: &mut Line) {
    let packets = session.tapped();
    let told = session.told();
    let mut state = channel.state();
    for told in told {
        match told {
            Told::Notice(Notice::Unavailable { reason, .. }) => state.problem = Some(printable(&reason)),
            Told::Notice(Notice::Refused(refusal)) => state.problem = Some(refusal.to_string()),
            Told::Notice(Notice::Playing { .. }) => state.problem = None,
            Told::Fault(error) => state.problem = Some(error.to_string()),
            Told::Notice(_) => {}
        }
    }
    if !packets.is_empty() {
        let placed: Vec<Placed<'_>> = packets.iter().map(|packet| line.push(packet)).collect();
        state.push(&placed, &line.tables());
    }
    drop(state);
    channel.changed.send_replace(());
}
