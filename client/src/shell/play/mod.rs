//! `play`: one recording, to one output, until it is over, its reader is gone or somebody ends it.

mod ask;
mod deck;
mod keys;
mod show;
mod wire;

use std::pin::pin;
use std::time::Duration;

use jiff::tz::TimeZone;
use link::shutdown::Shutdown;
use protocols::p2_directory::PlayTarget;

use super::caption_output::CaptionOutput;
use super::player::Words;
use super::status::StatusLine;
use super::watch::OpenOutput;
use super::{Destination, Error, Format, Options};
use crate::captions::CaptionWish;
use crate::playback::Wish;
use crate::programme::Wanted;
use crate::progress::State;
use crate::remote_control::HELP;
use crate::target::Target;
pub(super) use ask::{list, renew as present};
pub(super) use deck::{Deck, Event};
use keys::Keys;
pub(super) use keys::of_key;
pub(super) use show::{End, Setup, Show};

/// A playback of which nothing comes for this long, though it should, fails.
const SILENCE_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a player may take to show what it has when the recording is over.
const PLAYER_TIMEOUT: Duration = Duration::from_secs(5);
/// The status line is renewed this often.
const STATUS_INTERVAL: Duration = Duration::from_millis(500);

/// A recording to play.
#[derive(Debug, Clone, PartialEq)]
pub struct Play {
    /// Which.
    pub wanted: Wanted,
    /// Where to.
    pub output: Destination,
    /// How much is buffered, at the title's mean rate.
    pub buffer: Duration,
    /// How the buffer is kept filled.
    pub flow: Flow,
    /// How fast; `None`: at full speed to a file, else as fast as it is.
    pub speed: Option<Speed>,
    /// Where the viewer's wishes come from.
    pub remote: Remote,
    /// What of captions.
    pub captions: CaptionWish,
}

/// Where the viewer's wishes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remote {
    /// The keys of the terminal, if there is one.
    Terminal,
    /// Characters by standard input.
    Input,
}

/// How the buffer is kept filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// A rate for each level.
    Zones,
    /// Full speed, or nothing.
    Pause,
}

/// How fast a recording is handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speed {
    /// By its own clock.
    Normal,
    /// As it comes.
    Max,
}

impl Play {
    fn setup(&self) -> Setup {
        let to_file = matches!(self.output, Destination::Target(Target::File(_)));
        let usual = if to_file { Speed::Max } else { Speed::Normal };
        Setup { buffer: self.buffer, flow: self.flow, speed: self.speed.unwrap_or(usual), start: None }
    }
}

pub(super) async fn run(options: &Options, play: Play, shutdown: &Shutdown) -> Result<(), Error> {
    let mut setup = play.setup();
    setup.flow(0).map_err(|error| Error::Usage(error.to_string()))?;
    let (target, presentation) = tokio::select! {
        resolved = ask::resolve(options, &play.wanted) => resolved?,
        () = shutdown.requested() => return Ok(()),
    };
    if let PlayTarget::Channel { from, .. } = target {
        setup.start = Some(from);
    }
    let mut output = OpenOutput::open(&play.output)?;
    let mut captions = CaptionOutput::open(&play.captions)?;
    let mut show = Show::start(options, target, presentation, setup)?;
    let sink = match output.start(show.name(), Words::Shown)? {
        Some(sink) => Some(sink),
        None => output.sink.take(),
    };
    show.set_sink(sink);
    if captions.is_some() {
        show.tap();
    }
    let mut status = StatusLine::new();
    let watched = Watched { output: &mut output, captions: &mut captions, status: &mut status };
    let ended = until_end(&mut show, watched, (play.remote, shutdown)).await;
    let captioned = match captions {
        Some(captions) => captions.finish(&mut status),
        None => Ok(()),
    };
    status.clear();
    let summary = show.summary();
    show.set_sink(None);
    drop(show);
    let finished = tokio::time::timeout(PLAYER_TIMEOUT, output.finished()).await.unwrap_or(Ok(()));
    play.output.sum_up(&match options.format {
        Format::Text => summary.text(),
        Format::Json => summary.json(),
    });
    ended.and(finished).and(captioned)
}

/// Where a playback goes to.
struct Watched<'a> {
    output: &'a mut OpenOutput,
    captions: &'a mut Option<CaptionOutput>,
    status: &'a mut StatusLine,
}

async fn until_end(
    show: &mut Show,
    Watched { output, captions, status }: Watched<'_>,
    (remote, shutdown): (Remote, &Shutdown),
) -> Result<(), Error> {
    let mut requested = pin!(shutdown.requested());
    let mut keys = match remote {
        Remote::Terminal => Keys::of_terminal()?,
        Remote::Input => Keys::of_input(),
    };
    let mut tick = tokio::time::interval(STATUS_INTERVAL);
    let zone = TimeZone::system();
    if keys.are_typed() {
        status.event(HELP);
    }
    loop {
        if let Some(reason) = show.ended() {
            break match reason {
                End::Whole => Ok(()),
                End::Refused(refusal) => Err(Error::Refused(refusal.to_string())),
            };
        }
        tokio::select! {
            () = show.step() => {}
            () = &mut requested => {
                show.wish(Wish::Stop);
                break Ok(());
            }
            ended = output.ended() => {
                show.wish(Wish::Stop);
                break ended;
            }
            key = keys.next() => {
                if let Some(wish) = show.standing().wish(key) {
                    show.wish(wish);
                    status.show(&show.progress().line(&zone));
                }
            }
            _ = tick.tick() => {
                let progress = show.progress();
                status.show(&progress.line(&zone));
                if let Some(captions) = captions {
                    captions.second(status)?;
                }
                if progress.state != State::Paused && show.silence() > SILENCE_TIMEOUT {
                    break Err(Error::Nothing("no push server answers, or sends what it is asked for".to_owned()));
                }
            }
        }
        if let Some(captions) = captions {
            captions.packets(&show.tapped(), status)?;
        }
        for news in show.news() {
            status.event(&news);
        }
    }
}
