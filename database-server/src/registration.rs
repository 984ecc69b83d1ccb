//! Acquisition servers: their P1 connections, and what they report of their channels.
//!
//! ```text
//! connected ──Register──► registered ──Poll, Poll, …──► closed, silent for SILENCE_TIMEOUT, or replaced by a newer one
//! ```
//!
//! One connection counts per acquisition server: the newest, since a restarted server cannot close its old one. What a
//! server reported is forgotten with its connection.

use std::collections::BTreeMap;

use protocols::health::MAX_INDICATORS;
use protocols::ids::{AcquisitionId, BootId, ChannelId, HostId};
use protocols::p1_registration::{
    ChannelReport, FeedState, InputState, MAX_CAUSE_BYTES, Poll, SILENCE_TIMEOUT,
};
use protocols::time::Time;
use protocols::topology::Topology;

use crate::input::ConnectionId;
use protocols::timers::Timers;

/// P1 connections at a time; one more is refused. The topology has at most 1,000 acquisition servers, each of which may
/// for a moment have an old connection beside its new one.
pub const MAX_ACQUISITION_CONNECTIONS: usize = 2_000;
/// Longest software text that is kept of a registration; the rest is cut.
pub const MAX_SOFTWARE_BYTES: usize = 64;

/// All P1 connections.
#[derive(Debug, Default)]
pub struct Registrations {
    connections: BTreeMap<ConnectionId, Connection>,
    by_server: BTreeMap<AcquisitionId, ConnectionId>,
    reports: BTreeMap<ChannelId, ChannelReport>,
    silence: Timers<ConnectionId>,
    registered: usize,
}

/// One P1 connection.
#[derive(Debug)]
pub struct Connection {
    /// Whose it is.
    pub server: AcquisitionId,
    /// The boot id that it showed.
    pub boot: BootId,
    /// Whether it has said `Register`.
    pub registered: bool,
    /// What it said of its program.
    software: String,
    last_heard: Time,
}

/// What a poll changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PollChanges {
    /// Channels whose status may be another now.
    pub channels: Vec<ChannelId>,
    /// Reports that were ignored: of foreign channels, or with a cause that is too long.
    pub faults: u64,
}

impl Registrations {
    /// A new connection; returns that of the same server which it replaces.
    pub fn connect(
        &mut self,
        now: Time,
        connection: ConnectionId,
        server: &AcquisitionId,
        boot: BootId,
    ) -> Option<ConnectionId> {
        let state = Connection {
            server: server.clone(),
            boot,
            registered: false,
            software: String::new(),
            last_heard: now,
        };
        self.connections.insert(connection, state);
        self.silence.set(connection, now + SILENCE_TIMEOUT);
        self.by_server.insert(server.clone(), connection)
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there is no connection.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// How many servers are registered.
    pub fn registered(&self) -> usize {
        self.registered
    }

    /// Whether `server` is registered now.
    pub fn is_registered(&self, server: &AcquisitionId) -> bool {
        self.of(server).is_some_and(|(_, connection)| connection.registered)
    }

    /// The connection of `server`.
    pub fn of(&self, server: &AcquisitionId) -> Option<(ConnectionId, &Connection)> {
        let id = *self.by_server.get(server)?;
        Some((id, self.connections.get(&id)?))
    }

    /// A connection.
    pub fn get(&self, connection: ConnectionId) -> Option<&Connection> {
        self.connections.get(&connection)
    }

    /// Something came by `connection`.
    pub fn heard(&mut self, now: Time, connection: ConnectionId) {
        if let Some(state) = self.connections.get_mut(&connection) {
            state.last_heard = now;
        }
    }

    /// Version of the program of `server`, once it has registered.
    pub fn software(&self, server: &AcquisitionId) -> Option<&str> {
        let (_, connection) = self.of(server)?;
        connection.registered.then_some(&connection.software)
    }

    /// `connection` has registered with a program of version `software`. `false`: it had before.
    pub fn register(&mut self, connection: ConnectionId, software: &str) -> bool {
        match self.connections.get_mut(&connection) {
            Some(state) if !state.registered => {
                state.registered = true;
                software.clone_into(&mut state.software);
                self.registered += 1;
                true
            }
            _ => false,
        }
    }

    /// `connection` is over. Returns it when it was its server's present one.
    pub fn close(&mut self, connection: ConnectionId) -> Option<Connection> {
        let state = self.connections.remove(&connection)?;
        self.silence.cancel(&connection);
        self.registered -= usize::from(state.registered);
        if self.by_server.get(&state.server) == Some(&connection) {
            self.by_server.remove(&state.server);
            return Some(state);
        }
        None
    }

    /// Forgets what was reported of `channels`.
    pub fn forget_reports(&mut self, channels: impl IntoIterator<Item = ChannelId>) {
        for channel in channels {
            self.reports.remove(&channel);
        }
    }

    /// Takes a poll of `server`, which may speak of its own channels only.
    pub fn poll(&mut self, server: &AcquisitionId, poll: Poll, topology: &Topology) -> PollChanges {
        let mut changes = PollChanges::default();
        for report in poll.channels {
            let channel = report.channel;
            let own =
                topology.channels.get(&channel).is_some_and(|known| known.acquisition_server == *server);
            if !own || !fits(&report) {
                changes.faults += 1;
                continue;
            }
            let same = self.reports.get(&channel).is_some_and(|old| {
                (&old.input, old.source) == (&report.input, report.source)
                    && old.feeds.iter().map(state).eq(report.feeds.iter().map(state))
            });
            self.reports.insert(channel, report);
            if !same {
                changes.channels.push(channel);
            }
        }
        changes
    }

    /// The last report on `channel`.
    pub fn report(&self, channel: ChannelId) -> Option<&ChannelReport> {
        self.reports.get(&channel)
    }

    /// What the source says of the input of `channel`.
    pub fn input(&self, channel: ChannelId) -> Option<&InputState> {
        self.reports.get(&channel).map(|report| &report.input)
    }

    /// Why `host` is not fed with `channel`, as far as the source knows.
    pub fn feed_cause(&self, channel: ChannelId, host: &HostId) -> Option<&str> {
        let report = self.reports.get(&channel)?;
        let feed = report.feeds.iter().find(|feed| feed.host == *host)?;
        match &feed.state {
            FeedState::Unreachable { cause } => Some(cause),
            FeedState::Connecting => Some("connecting"),
            FeedState::Connected => None,
        }
    }

    /// Connections that have been silent for too long.
    pub fn silent(&mut self, now: Time) -> Vec<ConnectionId> {
        let mut silent = Vec::new();
        while let Some(connection) = self.silence.pop(now) {
            let Some(state) = self.connections.get(&connection) else { continue };
            let end = state.last_heard + SILENCE_TIMEOUT;
            if now >= end {
                silent.push(connection);
            } else {
                self.silence.set(connection, end);
            }
        }
        silent
    }

    /// Earliest time at which [`Self::silent`] has something to do.
    pub fn deadline(&self) -> Option<Time> {
        self.silence.due()
    }
}

fn state(feed: &protocols::p1_registration::FeedReport) -> (&HostId, &FeedState) {
    (&feed.host, &feed.state)
}

/// Whether a report keeps to the limits of its texts and lists.
fn fits(report: &ChannelReport) -> bool {
    let fits = |cause: &String| cause.len() <= MAX_CAUSE_BYTES;
    let input = match &report.input {
        InputState::Failed { cause } => fits(cause),
        InputState::Starting | InputState::Delivering => true,
    };
    input
        && report.health.indicators.len() <= MAX_INDICATORS
        && report.feeds.iter().all(|feed| match &feed.state {
            FeedState::Unreachable { cause } => fits(cause),
            FeedState::Connecting | FeedState::Connected => true,
        })
}
