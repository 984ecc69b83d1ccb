//! The picker's playback: asked for, playing, or none.

use std::time::Duration;

use protocols::ids::ChannelId;
use protocols::p2_directory::{ChannelGuide, PlayTarget, Presentation, RecordingList};
use protocols::recording::RecordingId;
use protocols::time::ClusterTime;
use tokio::task::JoinHandle;

use super::super::sink::Sink;
use super::super::{Error, Options, guide};
use super::show::{End, Setup, Show};
use super::{Flow, Speed, ask};
use crate::playback::Wish;
use crate::remote_control::{Key, SHORT_STEP};

/// What a rewind out of what is on air goes back beyond its step: what is newest may not be on a disk yet.
const BEHIND: Duration = Duration::from_secs(5);
/// The picker's buffer.
const BUFFER: Duration = Duration::from_secs(8);

/// What has become of it.
#[derive(Debug)]
pub(in crate::shell) enum Event {
    /// The list of recordings came.
    List(RecordingList),
    /// What was asked for can be played: give it an output.
    Ready,
    /// What is on and next came, as of then.
    Guide(ClusterTime, Vec<ChannelGuide>),
    /// The list of recordings cannot be had.
    NoList(String),
    /// It cannot be played.
    Failed(String),
    /// It is over; why, when not for its end.
    Over(String),
    /// It goes on.
    Went,
}

/// The deck.
#[derive(Debug)]
pub(in crate::shell) struct Deck {
    options: Options,
    list: Option<JoinHandle<Result<RecordingList, Error>>>,
    guide: Option<JoinHandle<Result<guide::Told, Error>>>,
    asked: Option<Asked>,
    show: Option<Show>,
}

#[derive(Debug)]
struct Asked {
    target: PlayTarget,
    /// Begins so long before the present; else at the beginning.
    back: Option<Duration>,
    answer: JoinHandle<Result<Presentation, Error>>,
}

impl Deck {
    /// An empty one.
    pub(in crate::shell) fn new(options: &Options) -> Self {
        Self { options: options.clone(), list: None, guide: None, asked: None, show: None }
    }

    /// Asks what there is; an event follows.
    pub(in crate::shell) fn ask_list(&mut self) {
        if self.list.is_none() {
            self.list = Some(tokio::spawn(ask::list(self.options.clone())));
        }
    }

    /// Asks what is on and next; an event follows where that is known.
    pub(in crate::shell) fn ask_guide(&mut self) {
        if self.guide.is_none() {
            self.guide = Some(tokio::spawn(guide::now_and_next(self.options.clone())));
        }
    }

    /// Plays a programme from its beginning; events follow.
    pub(in crate::shell) fn play(&mut self, id: RecordingId) {
        self.ask(PlayTarget::Programme(id), None);
    }

    /// Plays all that is kept of a channel, from its beginning; events follow.
    pub(in crate::shell) fn play_kept(&mut self, channel: ChannelId) {
        self.ask(PlayTarget::Channel { channel, from: ClusterTime(0), to: None }, None);
    }

    /// Plays what was just on air; events follow.
    pub(in crate::shell) fn rewind(&mut self, channel: ChannelId) {
        let target = PlayTarget::Channel { channel, from: ClusterTime(0), to: None };
        self.ask(target, Some(SHORT_STEP + BEHIND));
    }

    fn ask(&mut self, target: PlayTarget, back: Option<Duration>) {
        if let Some(earlier) = self.asked.take() {
            earlier.answer.abort();
        }
        let answer = tokio::spawn(ask::renew(self.options.clone(), target));
        self.asked = Some(Asked { target, back, answer });
    }

    /// Whether something plays.
    pub(in crate::shell) fn plays(&self) -> bool {
        self.show.is_some()
    }

    /// Title or channel of what plays.
    pub(in crate::shell) fn name(&self) -> String {
        self.show.as_ref().map(|show| show.name().to_owned()).unwrap_or_default()
    }

    /// Where packets go.
    pub(in crate::shell) fn set_sink(&mut self, sink: Option<Sink>) {
        if let Some(show) = &mut self.show {
            show.set_sink(sink);
        }
    }

    /// Ends it; the output that it had.
    pub(in crate::shell) fn stop(&mut self) -> Option<Sink> {
        let mut show = self.show.take()?;
        show.wish(Wish::Stop);
        show.take_sink()
    }

    /// What a key asks for; `true`: to end.
    pub(in crate::shell) fn key(&mut self, key: Key) -> bool {
        if let Some(show) = &mut self.show
            && let Some(wish) = show.standing().wish(key)
        {
            if wish == Wish::Stop {
                return true;
            }
            show.wish(wish);
        }
        false
    }

    /// The line that shows how it goes.
    pub(in crate::shell) fn progress(&self) -> Option<String> {
        self.show.as_ref().map(|show| show.progress().line(&jiff::tz::TimeZone::system()))
    }

    /// Waits for one thing to happen and handles it; for ever while nothing was asked. May be dropped while it waits.
    pub(in crate::shell) async fn step(&mut self) -> Event {
        tokio::select! {
            list = joined(self.list.as_mut()) => {
                self.list = None;
                match list {
                    Ok(list) => Event::List(list),
                    Err(error) => Event::NoList(error.to_string()),
                }
            }
            told = joined(self.guide.as_mut()) => {
                self.guide = None;
                // An older database server has none, and nobody misses it.
                told.map_or(Event::Went, |(time, guide)| Event::Guide(time, guide))
            }
            answer = joined(self.asked.as_mut().map(|asked| &mut asked.answer)) => {
                self.answered(answer).unwrap_or_else(|error| Event::Failed(error.to_string()))
            }
            () = step_show(&mut self.show) => self.went(),
        }
    }

    fn answered(&mut self, answer: Result<Presentation, Error>) -> Result<Event, Error> {
        let Some(Asked { target, back, .. }) = self.asked.take() else { return Ok(Event::Went) };
        let presentation = answer?;
        let start = back.map(|back| {
            let back_ms = u64::try_from(back.as_millis()).unwrap_or(u64::MAX);
            ClusterTime(presentation.time.0.saturating_sub(back_ms))
        });
        let setup = Setup { buffer: BUFFER, flow: Flow::Zones, speed: Speed::Normal, start };
        self.show = Some(Show::start(&self.options, target, presentation, setup)?);
        Ok(Event::Ready)
    }

    fn went(&mut self) -> Event {
        let Some(show) = &mut self.show else { return Event::Went };
        let _ = show.news();
        match show.ended() {
            None => Event::Went,
            Some(End::Whole) => Event::Over(String::new()),
            Some(End::Refused(refusal)) => Event::Over(refusal.to_string()),
        }
    }
}

async fn joined<T>(task: Option<&mut JoinHandle<Result<T, Error>>>) -> Result<T, Error> {
    match task {
        Some(task) => task.await.unwrap_or_else(|error| Err(Error::System(error.to_string()))),
        None => std::future::pending().await,
    }
}

async fn step_show(show: &mut Option<Show>) {
    match show {
        Some(show) => show.step().await,
        None => std::future::pending().await,
    }
}
