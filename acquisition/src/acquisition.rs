//! The root machine: follows the database server's plan, keeps inputs and feeds going, reports on them.

use std::collections::{BTreeMap, BTreeSet};

use protocols::backoff;
use protocols::guide::Schedule;
use protocols::ids::{BootId, ChannelId, Generation, HostId, InputId};
use protocols::p1_registration::{
    ChannelPlan, Command, FeedPlan, FeedState, FeedTarget, InputState, Order, POLL_INTERVAL, Poll,
    SCHEDULES_PER_POLL, SILENCE_TIMEOUT, ToAcquisition, ToDatabase, cause,
};
use protocols::time::Time;

use crate::channel::{self, Channel};
use crate::commands::CommandLedger;
use crate::database_link::{CONNECT_TIMEOUT, DatabaseLink, State};
use crate::events::{ChannelCounters, Input, Output, Reason, Source};
use crate::feed::{Feed, Link, REFUSED_RETRY};
use crate::guide_book::GuideBook;
use crate::input::{STALLED_REOPEN, SharedInput};
use protocols::timers::Timers;

/// What an acquisition server is told at its start.
#[derive(Debug, Clone)]
pub struct Config {
    /// Program version, for the database server's log and console.
    pub software: String,
}

/// One acquisition server.
#[derive(Debug)]
pub struct Acquisition {
    config: Config,
    boot_id: BootId,
    random: fastrand::Rng,
    database: DatabaseLink,
    generation: Generation,
    channels: BTreeMap<ChannelId, Channel>,
    /// By URL: those that a channel is taken from.
    inputs: BTreeMap<String, SharedInput>,
    commands: CommandLedger,
    guide: GuideBook,
    /// Not before then are further parts of the guide told.
    guide_at: Time,
    timers: Timers<Reason>,
    changed: bool,
    ignored_events: u64,
}

impl Acquisition {
    /// A server that knows nothing; its first deadline is at once. `seed` feeds the jitter of its retries.
    pub fn new(config: Config, boot_id: BootId, seed: u64) -> Self {
        let mut timers = Timers::new();
        timers.set(Reason::ConnectDatabase, Time::ZERO);
        Self {
            config,
            boot_id,
            random: fastrand::Rng::with_seed(seed),
            database: DatabaseLink::new(),
            generation: Generation::default(),
            channels: BTreeMap::new(),
            inputs: BTreeMap::new(),
            commands: CommandLedger::default(),
            guide: GuideBook::default(),
            guide_at: Time::ZERO,
            timers,
            changed: false,
            ignored_events: 0,
        }
    }

    /// Takes one event and appends what is to be done.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::DatabaseConnected => self.database_connected(now, out),
            Input::DatabaseMessage(message) => self.database_message(now, message, out),
            Input::DatabaseClosed { cause: _ } => self.database_lost(now),
            Input::FeedConnected { channel, host } => self.feed_connected(now, channel, &host),
            Input::FeedFailed { channel, host, cause } => self.feed_failed(now, channel, &host, cause),
            Input::FeedRefused { channel, host, cause } => self.feed_refused(now, channel, &host, cause),
            Input::InputState { channel, state } => self.channel_state(channel, state),
            Input::Switched { channel, source, switches, cause: _ } => {
                self.switched(channel, &source, switches);
            }
            Input::InputFlows { url } => self.input_flows(now, url),
            Input::InputStalled { url } => self.input_stalled(now, url),
            Input::InputClosed { url, cause } => self.input_closed(now, url, cause),
            Input::InputFinished { url, cause } => self.input_finished(url, cause),
            Input::Guide { schedule, unix_s } => self.announced(schedule, unix_s),
            Input::Counters { channel, counters } => self.counters(channel, &counters),
            Input::Tick => {
                while let Some(reason) = self.timers.pop(now) {
                    self.due(now, reason, out);
                }
            }
        }
        if std::mem::take(&mut self.changed) {
            self.hasten_poll(now, out);
        }
    }

    /// When [`Input::Tick`] is due, and why.
    pub fn deadline(&self) -> Option<(Time, Reason)> {
        self.timers.next()
    }

    /// Drawn at this server's start.
    pub fn boot_id(&self) -> BootId {
        self.boot_id
    }

    /// Whether the database server is connected.
    pub fn is_registered(&self) -> bool {
        self.database.is_connected()
    }

    /// Events of channels or feeds that the plan does not hold (any more).
    pub fn ignored_events(&self) -> u64 {
        self.ignored_events
    }

    /// Programmes that were left out of the guide for a limit.
    pub fn guide_events_left_out(&self) -> u64 {
        self.guide.left_out()
    }

    /// What the next poll will say, but for the results of commands.
    pub fn report(&self) -> Poll {
        Poll {
            generation: self.generation,
            channels: self.channels.iter().map(|(&id, channel)| channel.report(id)).collect(),
            done: Vec::new(),
        }
    }

    fn due(&mut self, now: Time, reason: Reason, out: &mut Vec<Output>) {
        match reason {
            Reason::ConnectDatabase => {
                self.database.state = State::Connecting;
                self.timers.set(Reason::DatabaseTimeout, now + CONNECT_TIMEOUT);
                out.push(Output::ConnectDatabase);
            }
            Reason::DatabaseTimeout | Reason::DatabaseSilence => {
                out.push(Output::DropDatabase);
                self.database_lost(now);
            }
            Reason::Poll => self.send_poll(now, out),
            Reason::OpenInput(url) => self.open_input(url, out),
            Reason::ConnectFeed(channel, host) => self.connect_feed(now, channel, host, out),
            Reason::FeedTimeout(channel, host) => {
                out.push(Output::CloseFeed { channel, host: host.clone() });
                let seconds = CONNECT_TIMEOUT.as_secs();
                self.feed_failed(now, channel, &host, format!("no answer within {seconds} s"));
            }
        }
    }
}

/// The database server's link.
impl Acquisition {
    fn database_connected(&mut self, now: Time, out: &mut Vec<Output>) {
        self.timers.cancel(&Reason::ConnectDatabase);
        self.timers.cancel(&Reason::DatabaseTimeout);
        self.timers.set(Reason::DatabaseSilence, now + SILENCE_TIMEOUT);
        self.database.state = State::Connected { polled: None };
        self.database.retry.up(now);
        let software = self.config.software.clone();
        out.push(Output::SendToDatabase(ToDatabase::Register { software }));
        self.guide.tell_anew();
        // A database server that has just started learns at once what goes on.
        self.send_poll(now, out);
    }

    fn database_lost(&mut self, now: Time) {
        for reason in [Reason::DatabaseTimeout, Reason::DatabaseSilence, Reason::Poll] {
            self.timers.cancel(&reason);
        }
        self.database.state = State::Waiting;
        let at = self.database.retry.failed(now, self.random.u32(..));
        self.timers.set(Reason::ConnectDatabase, at);
    }

    fn database_message(&mut self, now: Time, message: ToAcquisition, out: &mut Vec<Output>) {
        if !self.database.is_connected() {
            self.ignored_events += 1;
            return;
        }
        self.timers.set(Reason::DatabaseSilence, now + SILENCE_TIMEOUT);
        match message {
            ToAcquisition::Plan(plan) => self.apply(now, plan, out),
            ToAcquisition::Polled { commands } => {
                for command in commands {
                    self.carry_out(command, out);
                }
            }
        }
    }

    fn hasten_poll(&mut self, now: Time, out: &mut Vec<Output>) {
        match self.database.hastened_poll(now) {
            Some(at) if at <= now => self.send_poll(now, out),
            Some(at) => self.timers.set(Reason::Poll, at),
            None => {}
        }
    }

    fn send_poll(&mut self, now: Time, out: &mut Vec<Output>) {
        let poll = Poll { done: self.commands.take_unreported(), ..self.report() };
        out.push(Output::SendToDatabase(ToDatabase::Poll(poll)));
        self.database.state = State::Connected { polled: Some(now) };
        self.timers.set(Reason::Poll, now + POLL_INTERVAL);
        // Polls that changes bring on bring no more of it: reports must not wait behind a guide.
        if now >= self.guide_at {
            self.guide_at = now + POLL_INTERVAL;
            let schedules = self.guide.untold(SCHEDULES_PER_POLL).into_iter();
            out.extend(schedules.map(|schedule| Output::SendToDatabase(ToDatabase::Guide(schedule))));
        }
    }

    fn carry_out(&mut self, command: Command, out: &mut Vec<Output>) {
        let mut commands = std::mem::take(&mut self.commands);
        commands.carry_out(command.id, || match command.order {
            Order::RestartInput(input) => self.restart_input(&input, out),
        });
        self.commands = commands;
        self.changed = true;
    }
}

/// The plan.
impl Acquisition {
    /// Does what is needed to get from the plan before to `plan`; whatever both say alike is not touched.
    fn apply(&mut self, now: Time, plan: FeedPlan, out: &mut Vec<Output>) {
        let entries: BTreeMap<ChannelId, ChannelPlan> =
            plan.channels.into_iter().map(|entry| (entry.channel, entry)).collect();
        let gone: Vec<ChannelId> =
            self.channels.keys().filter(|channel| !entries.contains_key(channel)).copied().collect();
        for channel in gone {
            self.remove_channel(channel, out);
        }
        self.close_unused(&entries, out);
        for (id, entry) in entries {
            let sources = channel::sources(&entry);
            match self.channels.get_mut(&id) {
                None => {
                    self.channels.insert(id, Channel::new(&entry));
                    self.capture(id, sources, out);
                }
                Some(channel) => {
                    let inputs = channel::inputs(&entry);
                    let renamed = std::mem::replace(&mut channel.inputs, inputs) != channel.inputs;
                    let policy = std::mem::replace(&mut channel.policy, channel::policy(&entry));
                    let others = channel.sources != sources;
                    if channel.sources.first() != sources.first() {
                        self.guide.clear(id);
                    } else if others || renamed {
                        // The database server has forgotten what another choice of inputs told.
                        self.guide.tell_channel_anew(id);
                    }
                    if others || policy != channel::policy(&entry) {
                        self.capture(id, sources, out);
                    }
                }
            }
            self.apply_feeds(now, id, entry.feeds, out);
        }
        self.changed |= self.generation != plan.generation;
        self.generation = plan.generation;
    }

    fn apply_feeds(&mut self, now: Time, id: ChannelId, targets: Vec<FeedTarget>, out: &mut Vec<Output>) {
        let targets: BTreeMap<HostId, FeedTarget> =
            targets.into_iter().map(|target| (target.host.clone(), target)).collect();
        let Some(channel) = self.channels.get_mut(&id) else { return };
        let moved_or_gone: Vec<HostId> = channel
            .feeds
            .iter()
            .filter(|(host, feed)| targets.get(*host).is_none_or(|target| target.address != feed.address))
            .map(|(host, _)| host.clone())
            .collect();
        for host in moved_or_gone {
            self.remove_feed(id, host, out);
        }
        for (host, target) in targets {
            let Some(channel) = self.channels.get_mut(&id) else { return };
            if !channel.feeds.contains_key(&host) {
                channel.feeds.insert(host.clone(), Feed::new(&target));
                self.connect_feed(now, id, host, out);
            }
        }
    }

    fn remove_channel(&mut self, id: ChannelId, out: &mut Vec<Output>) {
        let hosts = self.channels.get(&id).map(|channel| channel.feeds.keys().cloned().collect::<Vec<_>>());
        for host in hosts.unwrap_or_default() {
            self.remove_feed(id, host, out);
        }
        self.channels.remove(&id);
        self.guide.forget(id);
        self.changed = true;
        out.push(Output::Forget { channel: id });
    }

    fn remove_feed(&mut self, id: ChannelId, host: HostId, out: &mut Vec<Output>) {
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.feeds.remove(&host);
        }
        self.timers.cancel(&Reason::ConnectFeed(id, host.clone()));
        self.timers.cancel(&Reason::FeedTimeout(id, host.clone()));
        self.changed = true;
        out.push(Output::CloseFeed { channel: id, host });
    }
}

/// Inputs.
impl Acquisition {
    /// Closes what no channel of the plan is taken from, before anything is opened: it may be the same tuner or port.
    fn close_unused(&mut self, entries: &BTreeMap<ChannelId, ChannelPlan>, out: &mut Vec<Output>) {
        let used: BTreeSet<String> =
            entries.values().flat_map(channel::sources).map(|source| source.url).collect();
        let Self { inputs, timers, .. } = self;
        inputs.retain(|url, _| {
            let kept = used.contains(url);
            if !kept {
                timers.cancel(&Reason::OpenInput(url.clone()));
                out.push(Output::CloseInput { url: url.clone() });
            }
            kept
        });
    }

    /// Takes a channel from `sources`; opens those that are not open for another.
    fn capture(&mut self, id: ChannelId, sources: Vec<Source>, out: &mut Vec<Output>) {
        let Some(channel) = self.channels.get_mut(&id) else { return };
        let before = std::mem::replace(&mut channel.sources, sources.clone());
        let stays =
            before.get(channel.in_use).and_then(|in_use| sources.iter().position(|source| source == in_use));
        channel.in_use = stays.unwrap_or(0);
        let urls: Vec<String> = sources.iter().map(|source| source.url.clone()).collect();
        out.push(Output::Capture { channel: id, sources, policy: channel.policy });
        if stays.is_none() {
            let first = urls.first().and_then(|url| self.inputs.get(url));
            let closed = first.and_then(|input| input.closed.clone());
            self.set_channel_state(id, closed.map_or(InputState::Starting, failed));
        }
        for url in urls {
            if !self.inputs.contains_key(&url) {
                self.inputs.insert(url.clone(), SharedInput::default());
                self.open_input(url, out);
            }
        }
    }

    fn open_input(&mut self, url: String, out: &mut Vec<Output>) {
        if !self.inputs.contains_key(&url) {
            return;
        }
        // The reported states stay: an input that fails at each attempt is failed, not in turns failed and starting.
        self.timers.cancel(&Reason::OpenInput(url.clone()));
        out.push(Output::OpenInput { url });
    }

    fn restart_input(&mut self, id: &InputId, out: &mut Vec<Output>) -> Result<(), String> {
        let urls: BTreeSet<String> =
            self.channels.values().filter_map(|channel| channel.url_of(id)).map(str::to_owned).collect();
        if urls.is_empty() {
            return Err(cause(format!("no channel of the plan uses an input `{id}`")));
        }
        for url in urls {
            for channel in self.channels_of(&url) {
                self.set_channel_state(channel, InputState::Starting);
            }
            self.inputs.insert(url.clone(), SharedInput::default());
            self.open_input(url, out);
        }
        Ok(())
    }

    fn input(&mut self, url: &str) -> Option<&mut SharedInput> {
        let input = self.inputs.get_mut(url);
        self.ignored_events += u64::from(input.is_none());
        input
    }

    fn channels_of(&self, url: &str) -> Vec<ChannelId> {
        let taken = self.channels.iter().filter(|(_, channel)| channel.is_taken_from(url));
        taken.map(|(&id, _)| id).collect()
    }

    fn input_flows(&mut self, now: Time, url: String) {
        let Some(input) = self.input(&url) else { return };
        input.retry.up(now);
        input.closed = None;
        self.timers.cancel(&Reason::OpenInput(url));
    }

    fn input_stalled(&mut self, now: Time, url: String) {
        if self.input(&url).is_some() {
            self.timers.set(Reason::OpenInput(url), now + STALLED_REOPEN);
        }
    }

    fn input_closed(&mut self, now: Time, url: String, cause: String) {
        let random = self.random.u32(..);
        let Some(input) = self.input(&url) else { return };
        let at = input.retry.failed(now, random);
        self.input_ended(&url, cause);
        self.timers.set(Reason::OpenInput(url), at);
    }

    fn input_finished(&mut self, url: String, cause: String) {
        if self.input(&url).is_some() {
            self.input_ended(&url, cause);
            self.timers.cancel(&Reason::OpenInput(url));
        }
    }

    fn input_ended(&mut self, url: &str, cause: String) {
        for channel in self.channels_of(url) {
            self.set_channel_state(channel, failed(cause.clone()));
        }
        if let Some(input) = self.inputs.get_mut(url) {
            input.closed = Some(cause);
        }
    }

    fn switched(&mut self, id: ChannelId, source: &Source, switches: u64) {
        let channel = self.channels.get_mut(&id);
        let known =
            channel.and_then(|channel| Some((channel.sources.iter().position(|it| it == source)?, channel)));
        let Some((in_use, channel)) = known else {
            self.ignored_events += 1;
            return;
        };
        (channel.in_use, channel.switches) = (in_use, switches);
        self.changed = true;
    }

    fn channel_state(&mut self, id: ChannelId, state: InputState) {
        match state {
            // The data path's own beginning: what was reported before still holds until something comes or fails.
            InputState::Starting => {}
            InputState::Delivering => self.set_channel_state(id, InputState::Delivering),
            InputState::Failed { cause } => self.set_channel_state(id, failed(cause)),
        }
    }

    fn set_channel_state(&mut self, id: ChannelId, state: InputState) {
        let Some(channel) = self.channels.get_mut(&id) else {
            self.ignored_events += 1;
            return;
        };
        if channel.state != state {
            if state != InputState::Delivering {
                channel.rate_bps = 0;
            }
            channel.state = state;
            self.changed = true;
        }
    }

    fn announced(&mut self, schedule: Schedule, unix_s: i64) {
        if self.channels.contains_key(&schedule.channel) && schedule.is_sound() {
            self.guide.take(unix_s, schedule);
        } else {
            self.ignored_events += 1;
        }
    }

    fn counters(&mut self, id: ChannelId, counters: &ChannelCounters) {
        let Some(channel) = self.channels.get_mut(&id) else {
            self.ignored_events += 1;
            return;
        };
        channel.packets = counters.packets;
        channel.rate_bps = counters.rate_bps;
        channel.health = counters.health.clone();
        channel.signal = counters.signal;
        for (host, &dropped) in &counters.dropped_packets {
            if let Some(feed) = channel.feeds.get_mut(host) {
                feed.dropped_packets = dropped;
            }
        }
    }
}

/// Feeds.
impl Acquisition {
    fn feed(&mut self, id: ChannelId, host: &HostId) -> Option<&mut Feed> {
        let feed = self.channels.get_mut(&id).and_then(|channel| channel.feeds.get_mut(host));
        self.ignored_events += u64::from(feed.is_none());
        feed
    }

    fn connect_feed(&mut self, now: Time, id: ChannelId, host: HostId, out: &mut Vec<Output>) {
        let Some(feed) = self.feed(id, &host) else { return };
        feed.link = Link::Connecting;
        let address = feed.address;
        self.timers.set(Reason::FeedTimeout(id, host.clone()), now + CONNECT_TIMEOUT);
        out.push(Output::ConnectFeed { channel: id, host, address });
    }

    fn feed_connected(&mut self, now: Time, id: ChannelId, host: &HostId) {
        let Some(feed) = self.feed(id, host) else { return };
        let was_away = matches!(feed.state, FeedState::Unreachable { .. });
        feed.link = Link::Connected;
        feed.retry.up(now);
        self.set_feed_state(id, host, FeedState::Connected);
        self.timers.cancel(&Reason::ConnectFeed(id, host.clone()));
        self.timers.cancel(&Reason::FeedTimeout(id, host.clone()));
        if was_away {
            self.retry_others_of_host(now, host);
        }
    }

    /// A host that has just come back is not kept waiting for its other channels; the jitter spreads them.
    fn retry_others_of_host(&mut self, now: Time, host: &HostId) {
        let waiting: Vec<ChannelId> = self
            .channels
            .iter()
            .filter(|(_, channel)| {
                channel.feeds.get(host).is_some_and(|feed| {
                    feed.link == Link::Waiting && matches!(feed.state, FeedState::Unreachable { .. })
                })
            })
            .map(|(&id, _)| id)
            .collect();
        for id in waiting {
            let at = now + backoff::FIRST.mul_f64(self.random.f64());
            self.timers.set_earlier(Reason::ConnectFeed(id, host.clone()), at);
        }
    }

    fn feed_failed(&mut self, now: Time, id: ChannelId, host: &HostId, cause: String) {
        let random = self.random.u32(..);
        let Some(feed) = self.feed(id, host) else { return };
        let at = feed.retry.failed(now, random);
        self.feed_waits(id, host, at, cause);
    }

    fn feed_refused(&mut self, now: Time, id: ChannelId, host: &HostId, cause: String) {
        let jitter = REFUSED_RETRY.mul_f64(self.random.f64() / 2.0);
        if self.feed(id, host).is_some() {
            self.feed_waits(id, host, now + REFUSED_RETRY / 2 + jitter, cause);
        }
    }

    fn feed_waits(&mut self, id: ChannelId, host: &HostId, until: Time, text: String) {
        let Some(feed) = self.feed(id, host) else { return };
        feed.link = Link::Waiting;
        self.set_feed_state(id, host, FeedState::Unreachable { cause: cause(text) });
        self.timers.cancel(&Reason::FeedTimeout(id, host.clone()));
        self.timers.set(Reason::ConnectFeed(id, host.clone()), until);
    }

    fn set_feed_state(&mut self, id: ChannelId, host: &HostId, state: FeedState) {
        let Some(feed) = self.feed(id, host) else { return };
        if feed.state != state {
            feed.state = state;
            self.changed = true;
        }
    }
}

fn failed(text: String) -> InputState {
    InputState::Failed { cause: cause(text) }
}
