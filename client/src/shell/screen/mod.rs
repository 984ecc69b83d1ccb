//! The picker on the terminal: keys from a thread of their own, the picker's picture on the alternate screen.

mod keys;
#[cfg(all(test, unix))]
mod rehearsal;
mod stage;

use std::future::pending;
use std::io::{IsTerminal, stdout};
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use crossterm::event::KeyEvent;
use jiff::tz::TimeZone;
use link::clock::Clock;
use link::shutdown::Shutdown;
use protocols::ids::ChannelId;
use protocols::time::Time;
use tokio::sync::mpsc;

use self::keys::Typed;
use self::stage::{Signals, Stage};
use super::channels::{self, for_people};
use super::play::{self, Deck, Event};
use super::player::{self, Player, Running, Words};
use super::session::{Session, Told};
use super::sink::{self, Sink, Writing};
use super::{Destination, Error, Options, colour};
use crate::picker::{Action, Palette, Picker};
use crate::viewer::{Input, Notice};

/// How often it is asked what is recorded while somebody looks at that.
const SHELF_INTERVAL: Duration = Duration::from_secs(3);
/// At every how manieth of these times it is asked also otherwise: for what is on and next, and what can be gone back in.
const GUIDE_EVERY: u32 = 10;

pub(super) async fn run(options: &Options, output: Destination, shutdown: &Shutdown) -> Result<(), Error> {
    if !stdout().is_terminal() {
        return channels::run(options, shutdown).await;
    }
    let mut screen = Screen::start(options, &output)?;
    let signals = Signals::listen().map_err(Error::Terminal)?;
    let stage = Stage::enter().map_err(Error::Terminal)?;
    let ended = screen.until_end(stage, signals, shutdown).await;
    screen.session.set_sink(None);
    if let Some(writing) = screen.writing.take() {
        let _ = writing.finish().await;
    }
    ended
}

struct Screen {
    picker: Picker,
    session: Session,
    /// The player to start at each zap: a new stream is safest in a new player.
    player: Result<(Player, PathBuf), String>,
    running: Option<Running>,
    writing: Option<Writing>,
    /// The stream goes to a target, which stays open over zaps.
    to_target: bool,
    /// Recordings.
    deck: Deck,
    keys: mpsc::Receiver<Typed>,
    /// Something on the screen changed. Packets wake the loop some hundred times a second and are no reason to draw.
    dirty: bool,
}

impl Screen {
    fn start(options: &Options, output: &Destination) -> Result<Self, Error> {
        let mut session = Session::start(options)?;
        let mut picker = Picker::new(TimeZone::system(), Palette::new(colour()));
        if let Some(kept) = session.kept() {
            let source = format!("kept list of {} ago", for_people(kept.age(Clock::wall())));
            picker.set_kept_list(kept.list.clone(), source);
        }
        session.give(Input::List { tunings: true });
        let mut writing = None;
        let player = match output {
            Destination::Target(target) => {
                let (sink, written) = sink::open(target)?;
                session.set_sink(Some(sink));
                writing = Some(written);
                Err(String::new())
            }
            Destination::Player(wanted) => Ok(player::find(*wanted)?),
            Destination::Unsaid => player::find(None).map_err(|error| format!("{error}; or add --output")),
        };
        let to_target = matches!(output, Destination::Target(_));
        let deck = Deck::new(options);
        Ok(Self {
            picker,
            session,
            player,
            running: None,
            writing,
            to_target,
            deck,
            keys: keys::read(),
            dirty: true,
        })
    }

    async fn until_end(
        &mut self,
        mut stage: Stage,
        mut signals: Signals,
        shutdown: &Shutdown,
    ) -> Result<(), Error> {
        let mut requested = pin!(shutdown.requested());
        let mut second = tokio::time::interval(Duration::from_secs(1));
        let mut recordings = (tokio::time::interval(SHELF_INTERVAL), 0_u32);
        let clock = self.session.clock();
        let mut actions = Vec::new();
        loop {
            if std::mem::take(&mut self.dirty) {
                stage.draw(|frame| self.picker.draw(clock.now(), frame)).map_err(Error::Terminal)?;
            }
            let deadline = self.picker.deadline();
            tokio::select! {
                () = self.session.step() => {}
                event = self.deck.step() => self.hear_deck(event),
                () = &mut requested => return Ok(()),
                typed = self.keys.recv() => {
                    self.dirty = true;
                    match typed {
                        Some(Typed::Key(typed)) => self.key(clock.now(), typed, &mut actions),
                        Some(Typed::Suspend) => stage.suspend().map_err(Error::Terminal)?,
                        Some(Typed::Redraw) => {}
                        None => return Ok(()),
                    }
                }
                told = signals.next() => {
                    self.dirty = true;
                    match told {
                        stage::Told::End => return Ok(()),
                        stage::Told::Suspend => stage.suspend().map_err(Error::Terminal)?,
                        stage::Told::Redraw => stage.redraw().map_err(Error::Terminal)?,
                    }
                }
                _ = recordings.0.tick() => {
                    if recordings.1.is_multiple_of(GUIDE_EVERY) {
                        self.deck.ask_guide();
                    }
                    if self.picker.shows_recordings() || recordings.1.is_multiple_of(GUIDE_EVERY) {
                        self.deck.ask_list();
                    }
                    recordings.1 = recordings.1.wrapping_add(1);
                }
                () = clock.reach(deadline) => {
                    self.dirty = true;
                    self.picker.tick(clock.now(), &mut actions);
                }
                ended = ended(&mut self.running, &mut self.writing) => {
                    if self.to_target {
                        return ended;
                    }
                    self.player_left(ended);
                }
                _ = second.tick() => {
                    self.dirty = true;
                    self.session.second();
                    self.picker.set_status(self.session.status());
                    self.picker.set_rate(clock.now(), self.session.rate_bps());
                    self.picker.set_progress(self.deck.progress());
                }
            }
            for action in actions.drain(..) {
                match action {
                    Action::Quit => return Ok(()),
                    Action::Watch(channel) => self.watch(channel),
                    Action::List => self.deck.ask_list(),
                    Action::Play(id) => self.deck.play(id),
                    Action::PlayKept(channel) => self.deck.play_kept(channel),
                    Action::Rewind(channel) => self.deck.rewind(channel),
                }
            }
            for told in self.session.told() {
                self.hear(told);
            }
        }
    }

    /// A key means something else while a recording plays.
    fn key(&mut self, now: Time, typed: KeyEvent, actions: &mut Vec<Action>) {
        if !self.deck.plays() {
            if let Some(key) = keys::of(typed) {
                self.picker.key(now, key, actions);
            }
        } else if let Some(key) = play::of_key(typed) {
            if self.deck.key(key) {
                self.stop_deck("");
            }
            self.picker.set_progress(self.deck.progress());
        }
    }

    fn watch(&mut self, channel: ChannelId) {
        if !self.to_target {
            self.session.set_sink(None);
            let title = self.picker.name(channel).unwrap_or_default().to_owned();
            match self.start_player(&title) {
                Ok(sink) => self.session.set_sink(Some(sink)),
                Err(why) => {
                    self.picker.stopped();
                    self.picker.set_message(&why);
                    return;
                }
            }
        }
        self.session.give(Input::Watch(channel));
    }

    /// A new player, instead of the one that there is.
    fn start_player(&mut self, title: &str) -> Result<Sink, String> {
        (self.running, self.writing) = (None, None);
        let player = self.player.clone()?;
        let started = player::start(player, title, Words::Hidden).map_err(|error| error.to_string());
        let (running, sink, writing) = started?;
        (self.running, self.writing) = (Some(running), Some(writing));
        Ok(sink)
    }

    /// What the recordings have come to.
    fn hear_deck(&mut self, event: Event) {
        match event {
            Event::Went => return,
            Event::List(list) => self.picker.set_recordings(self.session.clock().now(), list),
            Event::Guide(time, guide) => self.picker.set_guide(self.session.clock().now(), time, guide),
            Event::NoList(why) => self.picker.set_no_recordings(&why),
            Event::Failed(why) => self.picker.set_message(&why),
            Event::Over(why) => self.stop_deck(&why),
            Event::Ready => {
                // What is on air gives its player to its recording.
                let name = self.deck.name();
                let sink = match self.session.take_sink() {
                    Some(sink) => Ok(sink),
                    None => self.start_player(&name),
                };
                self.session.give(Input::Stop);
                self.picker.stopped();
                match sink {
                    Ok(sink) => self.deck.set_sink(Some(sink)),
                    Err(why) => self.stop_deck(&why),
                }
                self.picker.set_progress(self.deck.progress());
            }
        }
        self.dirty = true;
    }

    /// Back to the list; a player is closed, another output stays open.
    fn stop_deck(&mut self, why: &str) {
        let sink = self.deck.stop();
        if self.to_target {
            self.session.set_sink(sink);
        } else {
            drop(sink);
            (self.running, self.writing) = (None, None);
        }
        self.picker.set_progress(None);
        self.picker.set_message(why);
    }

    fn player_left(&mut self, ended: Result<(), Error>) {
        self.session.set_sink(None);
        self.deck.stop();
        self.picker.set_progress(None);
        (self.running, self.writing) = (None, None);
        self.session.give(Input::Stop);
        self.picker.stopped();
        self.picker.set_message(&ended.err().map(|error| error.to_string()).unwrap_or_default());
        self.dirty = true;
    }

    fn hear(&mut self, told: Told) {
        self.dirty = true;
        match told {
            Told::Fault(error) => self.picker.set_message(&error.to_string()),
            Told::Notice(Notice::Channels(list)) => self.picker.set_list(self.session.clock().now(), list),
            Told::Notice(Notice::DirectoryUp | Notice::Playing { .. }) => {
                self.picker.set_message("");
            }
            Told::Notice(Notice::DirectoryDown { cause }) => {
                self.picker.set_message(&format!("the database server does not answer ({cause}); trying on"));
            }
            Told::Notice(Notice::Refused(refusal)) => self.picker.set_message(&refusal.to_string()),
            Told::Notice(Notice::Unavailable { reason, .. }) => {
                self.picker.set_message(&format!("{reason}; waiting for it"));
            }
            Told::Notice(_) => {}
        }
    }
}

/// Waits until the player, or the reader of the output, goes away.
async fn ended(running: &mut Option<Running>, writing: &mut Option<Writing>) -> Result<(), Error> {
    match (running, writing) {
        (Some(running), _) => running.left().await,
        (None, Some(writing)) => writing.ended().await,
        (None, None) => pending().await,
    }
}
