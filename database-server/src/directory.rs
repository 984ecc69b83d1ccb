//! Clients: who asks for lists, who watches what, and what each is told when it changes.
//!
//! ```text
//! connected ──List──► told of changes of its list, at most once in LIST_CHANGED_INTERVAL, until it asks again
//!           ──Watch──► tuning or reason now, and again at each change ──Unwatch──► not told any more
//!           ──silent for SILENCE_TIMEOUT──► closed
//! ```
//!
//! A client's network is that of its address in the present topology; a reload may move it to another one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use protocols::authority::{ClusterKey, LEASE_LIFETIME, Lease, LeaseKey, MacKey};
use protocols::ids::{ChannelId, Generation};
use protocols::p2_directory::{
    ChannelEntry, ChannelList, ChannelStatus, MAX_WATCHES_PER_CONNECTION, SILENCE_TIMEOUT, ToClient,
    ToDatabase, Tuning,
};
use protocols::preamble::Refusal;
use protocols::time::{ClusterTime, Time, earliest};
use protocols::topology::{NetworkId, Topology};

use crate::counters::Counters;
use crate::input::ConnectionId;
use crate::output::Output;
use crate::reception::{Offer, Place, Receptions, Target};
use crate::zaps::Zaps;
use protocols::timers::Timers;

/// P2 connections at a time; one more is refused as busy.
pub const MAX_CLIENTS: usize = 20_000;
/// P2 connections of one address at a time; one more is refused as busy. Many viewers may sit behind one translated address.
pub const MAX_CLIENTS_PER_ADDRESS: u32 = 1_000;
/// A client is told at most this often that its list has changed.
pub const LIST_CHANGED_INTERVAL: Duration = Duration::from_millis(500);
/// Clients told at once that their list has changed; the next ones follow after [`NUDGE_PAUSE`], because each asks for
/// its list at once, and lists are the dearest thing that is asked of this server.
pub const NUDGES_AT_ONCE: usize = 500;
/// See [`NUDGES_AT_ONCE`].
pub const NUDGE_PAUSE: Duration = Duration::from_millis(50);

/// All clients.
#[derive(Debug)]
pub struct Directory {
    key: ClusterKey,
    lease_key: LeaseKey,
    clients: BTreeMap<ConnectionId, Client>,
    per_address: BTreeMap<IpAddr, u32>,
    /// Made once for each channel; deriving one costs as much as all the rest of an answer.
    announce_keys: BTreeMap<ChannelId, MacKey>,
    /// What a network's list is made of, from the first question until it changes.
    prepared: BTreeMap<NetworkId, Vec<Row>>,
    watchers: BTreeMap<Place, BTreeSet<ConnectionId>>,
    listeners: BTreeMap<NetworkId, BTreeSet<ConnectionId>>,
    silence: Timers<ConnectionId>,
    /// Networks whose list has changed, and when to tell.
    changed: Timers<NetworkId>,
    last_told: BTreeMap<NetworkId, Time>,
    nudges: VecDeque<ConnectionId>,
    zaps: Zaps,
    next_nudge: Time,
    /// Answers that are held back while it may still turn out that a channel can be had.
    held_back: Timers<(ConnectionId, ChannelId)>,
}

#[derive(Debug)]
struct Client {
    address: IpAddr,
    network: Option<NetworkId>,
    watches: BTreeSet<ChannelId>,
    /// Has asked for a list.
    listens: bool,
    /// Has been told that the list changed, and has not asked since.
    told: bool,
    last_heard: Time,
}

/// All of a list's entry that does not depend on who asks and when.
#[derive(Debug)]
struct Row {
    id: ChannelId,
    name: String,
    status: ChannelStatus,
    target: Option<Target>,
    group: Option<String>,
    logo: Option<String>,
}

/// What the directory speaks from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) topology: &'a Topology,
    pub(crate) generation: Generation,
    pub(crate) receptions: &'a Receptions,
    pub(crate) offline: bool,
    pub(crate) time: ClusterTime,
    /// Until then, what cannot be had may only not have been heard of yet.
    pub(crate) grace_end: Time,
}

impl Directory {
    /// No clients; tunings are made with keys derived from `key`.
    pub fn new(key: ClusterKey) -> Self {
        Self {
            lease_key: key.lease_key(),
            key,
            announce_keys: BTreeMap::new(),
            prepared: BTreeMap::new(),
            clients: BTreeMap::new(),
            per_address: BTreeMap::new(),
            watchers: BTreeMap::new(),
            listeners: BTreeMap::new(),
            silence: Timers::new(),
            changed: Timers::new(),
            last_told: BTreeMap::new(),
            nudges: VecDeque::new(),
            zaps: Zaps::default(),
            next_nudge: Time::ZERO,
            held_back: Timers::new(),
        }
    }

    /// A new client; refused when there are too many.
    pub fn connect(
        &mut self,
        now: Time,
        connection: ConnectionId,
        address: IpAddr,
        topology: &Topology,
        counters: &mut Counters,
    ) -> Result<(), Refusal> {
        let address = address.to_canonical();
        if self.clients.len() >= MAX_CLIENTS {
            counters.clients_refused += 1;
            return Err(Refusal::Busy(format!(
                "{MAX_CLIENTS} clients are connected already: try again later"
            )));
        }
        let here = self.per_address.entry(address).or_default();
        if *here >= MAX_CLIENTS_PER_ADDRESS {
            counters.clients_refused_by_address += 1;
            let text = format!("{MAX_CLIENTS_PER_ADDRESS} clients are connected from {address} already");
            return Err(Refusal::Busy(text));
        }
        *here += 1;
        counters.clients_accepted += 1;
        let client = Client {
            address,
            network: topology.network_of(address).cloned(),
            watches: BTreeSet::new(),
            listens: false,
            told: false,
            last_heard: now,
        };
        self.clients.insert(connection, client);
        self.silence.set(connection, now + SILENCE_TIMEOUT);
        Ok(())
    }

    /// A client is gone.
    pub fn close(&mut self, connection: ConnectionId) {
        let Some(client) = self.clients.remove(&connection) else { return };
        self.silence.cancel(&connection);
        if let Some(here) = self.per_address.get_mut(&client.address) {
            *here -= 1;
            if *here == 0 {
                self.per_address.remove(&client.address);
            }
        }
        for channel in &client.watches {
            self.held_back.cancel(&(connection, *channel));
            unlink(
                &mut self.watchers,
                client.network.as_ref().map(|network| (*channel, network.clone())),
                connection,
            );
        }
        unlink(&mut self.listeners, client.network, connection);
    }

    /// How many clients watch `place`.
    pub(crate) fn watching(&self, place: &Place) -> u64 {
        self.watchers.get(place).map_or(0, |watchers| watchers.len() as u64)
    }

    /// How many clients of each network watch something.
    pub(crate) fn viewers(&self) -> BTreeMap<NetworkId, u64> {
        let mut viewers = BTreeMap::new();
        for client in self.clients.values().filter(|client| !client.watches.is_empty()) {
            if let Some(network) = &client.network {
                *viewers.entry(network.clone()).or_default() += 1;
            }
        }
        viewers
    }

    /// How many clients there are.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// How long clients have waited for pictures.
    pub fn zaps(&self) -> &Zaps {
        &self.zaps
    }

    /// Whether nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// A client asks.
    pub(crate) fn message(
        &mut self,
        now: Time,
        connection: ConnectionId,
        message: &ToDatabase,
        view: View<'_>,
        counters: &mut Counters,
        out: &mut Vec<Output>,
    ) {
        let Some(client) = self.clients.get_mut(&connection) else { return };
        client.last_heard = now;
        match *message {
            ToDatabase::Ping => send(out, connection, ToClient::Pong),
            ToDatabase::List { tunings } => {
                client.listens = true;
                client.told = false;
                if let Some(network) = &client.network {
                    self.listeners.entry(network.clone()).or_default().insert(connection);
                }
                let list = self.list(connection, tunings, view, counters);
                send(out, connection, ToClient::Channels(list));
            }
            ToDatabase::Watch { channel } => self.watch(now, connection, channel, view, counters, out),
            ToDatabase::Unwatch { channel } => {
                if client.watches.remove(&channel) {
                    let place = client.network.as_ref().map(|network| (channel, network.clone()));
                    unlink(&mut self.watchers, place, connection);
                    self.held_back.cancel(&(connection, channel));
                }
            }
            ToDatabase::Zapped { took_ms, .. } => self.zaps.add(took_ms),
            // Answered from the catalogue and the guide.
            ToDatabase::Recordings { .. }
            | ToDatabase::Guide(_)
            | ToDatabase::Record { .. }
            | ToDatabase::Unrecord { .. }
            | ToDatabase::Play(_)
            // Answered by the shell, which knows accounts.
            | ToDatabase::LogIn { .. } | ToDatabase::LogInByKey { .. } | ToDatabase::Administer(_) => {}
        }
    }

    /// A client says something that the directory has no answer to. Whether there is such a client.
    pub(crate) fn heard(&mut self, now: Time, connection: ConnectionId) -> bool {
        let client = self.clients.get_mut(&connection);
        client.map(|client| client.last_heard = now).is_some()
    }

    /// The network of a client; `None`: no such client, or on no network of the topology.
    pub(crate) fn network(&self, connection: ConnectionId) -> Option<&NetworkId> {
        self.clients.get(&connection)?.network.as_ref()
    }

    /// The address of a client; `None`: no such client.
    pub(crate) fn address(&self, connection: ConnectionId) -> Option<IpAddr> {
        Some(self.clients.get(&connection)?.address)
    }

    /// What who tunes to `place` is told has changed.
    pub(crate) fn offer_changed(
        &mut self,
        place: &Place,
        view: View<'_>,
        counters: &mut Counters,
        out: &mut Vec<Output>,
    ) {
        for connection in self.watchers.get(place).into_iter().flatten() {
            self.held_back.cancel(&(*connection, place.0));
            if let Some(client) = self.clients.get(connection) {
                send(out, *connection, self.answer(client, place.0, view, counters));
            }
        }
    }

    /// The list of `network` has changed: whoever has asked for it is told by `wake`.
    pub(crate) fn list_changed(&mut self, now: Time, network: &NetworkId, counters: &mut Counters) {
        self.prepared.remove(network);
        if !self.listeners.contains_key(network) {
            return;
        }
        let due = self.last_told.get(network).map_or(now, |last| (*last + LIST_CHANGED_INTERVAL).max(now));
        if self.changed.of(network).is_some() {
            counters.list_changes_coalesced += 1;
        } else {
            self.changed.set(network.clone(), due);
        }
    }

    /// A new topology: clients whose address is on another network now are told everything anew.
    pub(crate) fn take_up(&mut self, view: View<'_>, counters: &mut Counters, out: &mut Vec<Output>) {
        self.prepared.clear();
        let key_of = |channel: &ChannelId| (*channel, self.key.announce_key(*channel));
        self.announce_keys = view.topology.channels.keys().map(key_of).collect();
        let mut moved = Vec::new();
        for (connection, client) in &mut self.clients {
            let network = view.topology.network_of(client.address);
            if network == client.network.as_ref() {
                continue;
            }
            let old = std::mem::replace(&mut client.network, network.cloned());
            unlink(&mut self.listeners, old.clone(), *connection);
            for channel in &client.watches {
                unlink(&mut self.watchers, old.clone().map(|old| (*channel, old)), *connection);
                if let Some(network) = network {
                    self.watchers.entry((*channel, network.clone())).or_default().insert(*connection);
                }
            }
            if client.listens {
                if let Some(network) = network {
                    self.listeners.entry(network.clone()).or_default().insert(*connection);
                }
                client.told = true;
                send(out, *connection, ToClient::ListChanged);
            }
            moved.push(*connection);
        }
        for connection in moved {
            let Some(client) = self.clients.get(&connection) else { continue };
            for channel in &client.watches {
                send(out, connection, self.answer(client, *channel, view, counters));
            }
        }
        self.last_told.retain(|network, _| view.topology.networks.contains_key(network));
    }

    /// Does what is due: closes the silent, tells of changed lists, gives answers that were held back.
    pub(crate) fn wake(&mut self, now: Time, view: View<'_>, counters: &mut Counters, out: &mut Vec<Output>) {
        while let Some(connection) = self.silence.pop(now) {
            let Some(client) = self.clients.get(&connection) else { continue };
            let end = client.last_heard + SILENCE_TIMEOUT;
            if now < end {
                self.silence.set(connection, end);
                continue;
            }
            counters.clients_silent += 1;
            let refusal = Refusal::Protocol(format!("nothing heard for {} s", SILENCE_TIMEOUT.as_secs()));
            out.push(Output::CloseClient { connection, refusal });
            self.close(connection);
        }
        while let Some(network) = self.changed.pop(now) {
            for connection in self.listeners.get(&network).into_iter().flatten() {
                if let Some(client) = self.clients.get_mut(connection)
                    && !client.told
                {
                    client.told = true;
                    self.nudges.push_back(*connection);
                }
            }
            self.last_told.insert(network, now);
        }
        self.nudge(now, out);
        while let Some((connection, channel)) = self.held_back.pop(now) {
            if let Some(client) = self.clients.get(&connection) {
                send(out, connection, self.answer(client, channel, view, counters));
            }
        }
    }

    /// Earliest time at which `wake` has something to do.
    pub fn deadline(&self) -> Option<Time> {
        let nudge = (!self.nudges.is_empty()).then_some((self.next_nudge, ()));
        let timers = [self.silence.due(), self.changed.due(), self.held_back.due()];
        let timers = timers.into_iter().flatten().min().map(|time| (time, ()));
        earliest(nudge, timers).map(|(time, ())| time)
    }

    fn nudge(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.nudges.is_empty() || now < self.next_nudge {
            return;
        }
        for connection in self.nudges.drain(..NUDGES_AT_ONCE.min(self.nudges.len())) {
            if self.clients.contains_key(&connection) {
                send(out, connection, ToClient::ListChanged);
            }
        }
        self.next_nudge = now + NUDGE_PAUSE;
    }

    fn watch(
        &mut self,
        now: Time,
        connection: ConnectionId,
        channel: ChannelId,
        view: View<'_>,
        counters: &mut Counters,
        out: &mut Vec<Output>,
    ) {
        let Some(client) = self.clients.get_mut(&connection) else { return };
        if client.watches.len() >= MAX_WATCHES_PER_CONNECTION && !client.watches.contains(&channel) {
            counters.watches_refused += 1;
            let reason = format!("this connection watches {MAX_WATCHES_PER_CONNECTION} channels already");
            send(out, connection, ToClient::Unavailable { channel, reason });
            return;
        }
        client.watches.insert(channel);
        let listed = client.network.as_ref().and_then(|network| {
            let place = (channel, network.clone());
            self.watchers.entry(place.clone()).or_default().insert(connection);
            view.receptions.get(&place)
        });
        let unsure = listed.is_some_and(|row| !matches!(row.offer, Offer::Tune(_)));
        if unsure && now < view.grace_end {
            self.held_back.set((connection, channel), view.grace_end);
        } else if let Some(client) = self.clients.get(&connection) {
            send(out, connection, self.answer(client, channel, view, counters));
        }
    }

    /// What `client` is to be told of `channel` now.
    fn answer(
        &self,
        client: &Client,
        channel: ChannelId,
        view: View<'_>,
        counters: &mut Counters,
    ) -> ToClient {
        let unavailable = |reason| ToClient::Unavailable { channel, reason };
        let Some(network) = &client.network else {
            return unavailable(format!("no push server serves the network of {}", client.address));
        };
        match view.receptions.get(&(channel, network.clone())).map(|row| &row.offer) {
            Some(Offer::Tune(target)) => {
                ToClient::Tuning(Box::new(self.tuning(client, channel, target, view.time, counters)))
            }
            Some(Offer::Later(_, reason) | Offer::Unavailable(reason)) => unavailable(reason.clone()),
            None => unavailable(format!("channel {channel} is not listed for {network}")),
        }
    }

    fn list(
        &mut self,
        connection: ConnectionId,
        tunings: bool,
        view: View<'_>,
        counters: &mut Counters,
    ) -> ChannelList {
        counters.lists_served += 1;
        let network = self.clients.get(&connection).and_then(|client| client.network.clone());
        if let Some(network) = network.as_ref().filter(|network| !self.prepared.contains_key(*network)) {
            counters.lists_prepared += 1;
            self.prepared.insert(network.clone(), prepare(network, view));
        }
        let rows = network.as_ref().and_then(|network| self.prepared.get(network));
        let channels = self.clients.get(&connection).zip(rows).map(|(client, rows)| {
            let entry = |row: &Row| {
                let target = if tunings { row.target.as_ref() } else { None };
                ChannelEntry {
                    id: row.id,
                    name: row.name.clone(),
                    status: row.status.clone(),
                    tuning: target.map(|to| Box::new(self.tuning(client, row.id, to, view.time, counters))),
                    group: row.group.clone(),
                    logo: row.logo.clone(),
                }
            };
            rows.iter().map(entry).collect()
        });
        ChannelList {
            generation: view.generation,
            network: network.map(|network| network.to_string()),
            offline: view.offline,
            time: view.time,
            channels: channels.unwrap_or_default(),
        }
    }

    fn tuning(
        &self,
        client: &Client,
        channel: ChannelId,
        target: &Target,
        time: ClusterTime,
        counters: &mut Counters,
    ) -> Tuning {
        counters.tunings_served += 1;
        let lease = Lease {
            client: client.address,
            channel,
            destination: target.destination,
            expires: time + LEASE_LIFETIME,
        };
        Tuning {
            channel,
            name: target.name.clone(),
            destination: target.destination,
            port: target.port,
            push_server: target.push_server.clone(),
            control: target.control,
            revision: target.revision,
            secret: self.lease_key.secret(&lease),
            lease,
            announce_key: match self.announce_keys.get(&channel) {
                Some(key) => key.clone(),
                None => self.key.announce_key(channel),
            },
            time,
        }
    }
}

/// The rows of `network`'s list.
fn prepare(network: &NetworkId, view: View<'_>) -> Vec<Row> {
    let row = |channel: &ChannelId| {
        let reception = view.receptions.get(&(*channel, network.clone()))?;
        let declared = view.topology.channels.get(channel)?;
        Some(Row {
            id: *channel,
            name: declared.name.clone(),
            status: reception.status.clone(),
            target: reception.offer.target().cloned(),
            group: declared.group.clone(),
            logo: declared.logo.clone(),
        })
    };
    view.topology.channels_of(network).iter().filter_map(row).collect()
}

fn send(out: &mut Vec<Output>, connection: ConnectionId, message: ToClient) {
    out.push(Output::SendToClient { connection, message });
}

/// Takes `connection` out of the set under `key`, and the set out of the table when it is empty.
fn unlink<K: Ord>(table: &mut BTreeMap<K, BTreeSet<ConnectionId>>, key: Option<K>, connection: ConnectionId) {
    let Some(key) = key else { return };
    if let Some(set) = table.get_mut(&key) {
        set.remove(&connection);
        if set.is_empty() {
            table.remove(&key);
        }
    }
}
