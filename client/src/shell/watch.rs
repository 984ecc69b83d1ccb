//! `watch`: one channel, to one output, until its time is up, its reader is gone or somebody ends it.

use std::future::pending;
use std::io::{IsTerminal, stdout};
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use link::shutdown::Shutdown;
use protocols::ids::ChannelId;
use protocols::p2_directory::ChannelList;
use protocols::time::Time;

use super::caption_output::CaptionOutput;
use super::player::{self, Player, Running, Words};
use super::session::{Session, Told};
use super::sink::{self, Writing};
use super::status::StatusLine;
use super::{Destination, Error, Format, Options};
use crate::captions::CaptionWish;
use crate::listing::printable;
use crate::selection::{SelectionError, select};
use crate::viewer::{CACHE_AFTER, Input, Notice};

/// A `--duration` whose first packet never comes ends this much later than it would have.
const NOTHING_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a player that closed its input may take to say how it ended.
const PLAYER_TIMEOUT: Duration = Duration::from_millis(500);

/// What to watch.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    /// Id or name.
    pub(super) channel: String,
    /// Where to.
    pub(super) output: Destination,
    /// How long from the first packet.
    pub(super) duration: Option<Duration>,
    /// What of captions.
    pub(super) captions: CaptionWish,
}

pub(super) async fn run(options: &Options, watch: Watch, shutdown: &Shutdown) -> Result<(), Error> {
    let output = OpenOutput::open(&watch.output)?;
    let captions = CaptionOutput::open(&watch.captions)?;
    let mut watching = Watching::start(options, &watch, output)?;
    watching.follow(captions);
    let ended = watching.until_end(shutdown).await;
    let summary = watching.session.summary();
    let captioned = match watching.captions.take() {
        Some(captions) => captions.finish(&mut watching.status),
        None => Ok(()),
    };
    watching.status.clear();
    watching.session.set_sink(None);
    let finished = match watching.output.writing.take() {
        Some(writing) => writing.finish().await,
        None => Ok(()),
    };
    watch.output.sum_up(&match options.format {
        Format::Text => summary.text(),
        Format::Json => summary.json(),
    });
    ended.and(finished).and(captioned)
}

/// An output that is open, or a player that is found and will be started when there is something to play.
pub(super) struct OpenOutput {
    player: Option<(Player, PathBuf)>,
    running: Option<Running>,
    pub(super) sink: Option<sink::Sink>,
    pub(super) writing: Option<Writing>,
}

impl OpenOutput {
    pub(super) fn open(output: &Destination) -> Result<Self, Error> {
        let wanted = match output {
            Destination::Target(target) => {
                let (sink, writing) = sink::open(target)?;
                return Ok(Self { player: None, running: None, sink: Some(sink), writing: Some(writing) });
            }
            Destination::Player(wanted) => *wanted,
            Destination::Unsaid if stdout().is_terminal() => None,
            Destination::Unsaid => return Err(nowhere("standard output is no terminal")),
        };
        match player::find(wanted) {
            Ok(player) => Ok(Self { player: Some(player), running: None, sink: None, writing: None }),
            Err(error) if *output == Destination::Unsaid => Err(nowhere(&error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// Starts the player, if one is to be started.
    fn play(&mut self, title: &str, session: &mut Session) -> Result<(), Error> {
        if let Some(sink) = self.start(title, Words::Shown)? {
            session.set_sink(Some(sink));
        }
        Ok(())
    }

    /// Starts the player, if one is to be started; the sink that feeds it.
    pub(super) fn start(&mut self, title: &str, words: Words) -> Result<Option<sink::Sink>, Error> {
        let Some(player) = self.player.take() else { return Ok(None) };
        let (running, sink, writing) = player::start(player, title, words)?;
        (self.running, self.writing) = (Some(running), Some(writing));
        Ok(Some(sink))
    }

    /// Waits until all that was put is written, and a player has shown it; the sink must be dropped.
    pub(super) async fn finished(&mut self) -> Result<(), Error> {
        if let Some(writing) = &mut self.writing {
            writing.ended().await?;
        }
        match &mut self.running {
            Some(running) => running.left().await,
            None => Ok(()),
        }
    }

    /// Waits until the reader goes away.
    pub(super) async fn ended(&mut self) -> Result<(), Error> {
        let Some(writing) = &mut self.writing else { return pending().await };
        let Some(running) = &mut self.running else { return writing.ended().await };
        tokio::select! {
            left = running.left() => left,
            ended = writing.ended() => {
                let left = tokio::time::timeout(PLAYER_TIMEOUT, running.left()).await;
                left.unwrap_or(Ok(())).and(ended)
            }
        }
    }
}

fn nowhere(why: &str) -> Error {
    Error::Usage(format!(
        "where should the stream go? {why}; add --player, --output FILE, --output -, \
         --output udp://HOST:PORT or --output rtp://HOST:PORT"
    ))
}

struct Watching {
    session: Session,
    output: OpenOutput,
    captions: Option<CaptionOutput>,
    status: StatusLine,
    database: String,
    wanted: String,
    chosen: Option<ChannelId>,
    started: Time,
    duration: Option<Duration>,
    /// The last reason why there is nothing to see.
    problem: String,
    /// The user was told that there is nothing to see.
    waiting: bool,
}

impl Watching {
    fn start(options: &Options, watch: &Watch, mut output: OpenOutput) -> Result<Self, Error> {
        let mut session = Session::start(options)?;
        session.set_sink(output.sink.take());
        session.give(Input::List { tunings: true });
        let started = session.clock().now();
        let mut watching = Self {
            session,
            output,
            captions: None,
            status: StatusLine::new(),
            database: options.database.to_string(),
            wanted: watch.channel.clone(),
            chosen: None,
            started,
            duration: watch.duration,
            problem: format!("the database server at {} does not answer", options.database),
            waiting: false,
        };
        // An id needs no list; that the list has it is checked when it comes.
        if let Ok(channel) = watch.channel.parse() {
            watching.choose(channel);
        }
        Ok(watching)
    }

    fn follow(&mut self, captions: Option<CaptionOutput>) {
        if captions.is_some() {
            self.session.tap();
        }
        self.captions = captions;
    }

    async fn until_end(&mut self, shutdown: &Shutdown) -> Result<(), Error> {
        let mut requested = pin!(shutdown.requested());
        let mut second = tokio::time::interval(Duration::from_secs(1));
        let clock = self.session.clock();
        let mut by_kept_list = Some(self.started + CACHE_AFTER);
        loop {
            let end = self.end();
            tokio::select! {
                () = self.session.step() => {}
                () = &mut requested => return Ok(()),
                ended = self.output.ended() => return ended,
                () = clock.reach(end) => return self.time_is_up(),
                () = clock.reach(by_kept_list) => {
                    by_kept_list = None;
                    self.choose_from_kept();
                }
                _ = second.tick() => {
                    self.session.second();
                    let line = self.session.status();
                    self.status.show(&line);
                    if let Some(captions) = &mut self.captions {
                        captions.second(&mut self.status)?;
                    }
                }
            }
            if let Some(captions) = &mut self.captions {
                captions.packets(&self.session.tapped(), &mut self.status)?;
            }
            for told in self.session.told() {
                self.hear(told)?;
            }
        }
    }

    fn end(&self) -> Option<Time> {
        let duration = self.duration?;
        Some(match self.session.first_packet() {
            Some(first) => first + duration,
            None => self.started + duration + NOTHING_TIMEOUT,
        })
    }

    fn time_is_up(&self) -> Result<(), Error> {
        match self.session.first_packet() {
            Some(_) => Ok(()),
            None => Err(Error::Nothing(self.problem.clone())),
        }
    }

    fn choose(&mut self, channel: ChannelId) {
        self.chosen = Some(channel);
        self.session.give(Input::Watch(channel));
    }

    fn choose_from(&mut self, list: &ChannelList) -> Result<(), SelectionError> {
        let channel = select(list, &self.wanted)?;
        if self.chosen != Some(channel) {
            self.choose(channel);
        }
        Ok(())
    }

    /// While the directory is away, a name is looked up in the kept list; one that is not there may yet be in the next.
    fn choose_from_kept(&mut self) {
        if self.chosen.is_none()
            && let Some(list) = self.session.kept().map(|kept| kept.list.clone())
            && let Err(error) = self.choose_from(&list)
        {
            self.status.event(&format!("in the kept list: {error}"));
        }
    }

    fn hear(&mut self, told: Told) -> Result<(), Error> {
        match told {
            Told::Fault(error) => return Err(error.into()),
            Told::Notice(Notice::Channels(list)) => self.choose_from(&list)?,
            Told::Notice(Notice::DirectoryDown { cause }) => {
                let line =
                    format!("the database server at {} does not answer ({cause}); trying on", self.database);
                self.status.event(&line);
                self.choose_from_kept();
            }
            Told::Notice(Notice::Refused(refusal)) => {
                self.problem = refusal.to_string();
                self.status.event(&format!("the database server refuses: {refusal}; trying on"));
            }
            Told::Notice(Notice::Tuned { channel, name, push_server, group, cached }) => {
                let (name, how) = (printable(&name), if cached { ", by the kept list" } else { "" });
                let (address, port) = (group.address, group.port);
                self.status.event(&format!(
                    "tuned to {channel} {name} from {push_server} at {address} port {port}{how}"
                ));
                self.problem =
                    format!("tuned to {push_server} at {address} port {port}, but no packet arrived");
                self.output.play(&name, &mut self.session)?;
            }
            Told::Notice(Notice::Unavailable { channel, reason }) => {
                self.problem = format!("channel {channel} cannot be had: {}", printable(&reason));
                self.waiting = true;
                self.status.event(&format!("{}; waiting for it", self.problem));
            }
            Told::Notice(Notice::Playing { .. }) => {
                if std::mem::take(&mut self.waiting) {
                    self.status.event("packets arrive");
                }
            }
            Told::Notice(Notice::ByUnicast) => {
                self.status.event("multicast does not arrive here: by unicast");
            }
            Told::Notice(Notice::ByBroadcast) => {
                self.status.event("multicast arrives: no more by unicast");
            }
            Told::Notice(Notice::Full { push_server }) => {
                self.status.event(&format!("{push_server} has no room for one more by unicast; trying on"));
            }
            Told::Notice(_) => {}
        }
        Ok(())
    }
}
