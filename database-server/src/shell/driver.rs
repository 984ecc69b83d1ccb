//! The driver: waits for an event, a deadline or the end; gives it to the machine; carries out what the machine wants.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use link::clock::Clock;
use link::shutdown::Shutdown;
use link::supervision::Supervision;
use protocols::ids::{AcquisitionId, BootId};
use protocols::p1_registration::{ToAcquisition, ToDatabase as FromAcquisition};
use protocols::p2_directory::{ToClient, ToDatabase as FromClient};
use protocols::time::Time;
use protocols::topology::Topology;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tracing::{debug, info};

use super::clients::ClientQueue;
use super::console::{Ask, Look, Measures};
use super::listener::reachable;
use super::tally::Tally;
use crate::record::Record;
use crate::store::Writer;
use crate::{ConnectionId, DatabaseServer, Input, Output};

/// How often all counters go to the log, at debug.
const STATISTICS_INTERVAL: Duration = Duration::from_mins(1);

/// Events taken before deadlines and the shutdown are looked at again: some milliseconds, should all ask for long lists.
const EVENTS_AT_ONCE: usize = 16;

/// What the other tasks tell the driver.
#[derive(Debug)]
pub(super) enum Event {
    AcquisitionConnected {
        connection: ConnectionId,
        id: AcquisitionId,
        boot_id: BootId,
        queue: mpsc::Sender<ToAcquisition>,
    },
    AcquisitionMessage {
        connection: ConnectionId,
        message: FromAcquisition,
    },
    AcquisitionClosed {
        connection: ConnectionId,
    },
    ClientConnected {
        connection: ConnectionId,
        address: IpAddr,
        queue: ClientQueue,
    },
    ClientMessage {
        connection: ConnectionId,
        message: FromClient,
    },
    ClientClosed {
        connection: ConnectionId,
    },
    Datagram {
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    Reload(Arc<Topology>),
    ReloadRefused,
}

/// The driver's end of a connection. Letting go of it ends the connection once its queue is written.
#[derive(Debug)]
enum Peer {
    Acquisition(mpsc::Sender<ToAcquisition>),
    Client(ClientQueue),
}

/// What a driver works with.
#[derive(Debug)]
pub(super) struct Tools {
    pub(super) machine: DatabaseServer,
    pub(super) clock: Clock,
    /// The source of P4.
    pub(super) control: Arc<UdpSocket>,
    pub(super) store: Writer,
    /// For those who check who may call.
    pub(super) topology: watch::Sender<Arc<Topology>>,
    pub(super) tally: Arc<Tally>,
    /// Bytes on their way to all clients.
    pub(super) unsent: Arc<AtomicUsize>,
}

/// Where events come from.
#[derive(Debug)]
pub(super) struct Inboxes {
    /// What keeps servers alive.
    pub(super) control: mpsc::Receiver<Event>,
    /// Clients.
    pub(super) clients: mpsc::Receiver<Event>,
    /// Who looks at the site.
    pub(super) asks: mpsc::Receiver<Ask>,
}

/// Owns the machine and everything that its outputs reach.
#[derive(Debug)]
pub(super) struct Driver {
    tools: Tools,
    peers: BTreeMap<ConnectionId, Peer>,
    statistics_at: Time,
    /// Lines put into the journal.
    journal: u64,
}

impl ConnectionId {
    /// One that no other connection of this process has or had.
    pub(super) fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

impl Driver {
    pub(super) fn new(tools: Tools) -> Self {
        Self { tools, peers: BTreeMap::new(), statistics_at: Time::ZERO, journal: 0 }
    }

    /// Drives the machine, from its first topology until `shutdown`.
    pub(super) async fn run(&mut self, topology: Arc<Topology>, inboxes: Inboxes, shutdown: &Shutdown) {
        let Inboxes { mut control, mut clients, mut asks } = inboxes;
        let mut supervision = Supervision::ready();
        self.give(Input::Topology(topology));
        loop {
            let deadline = self.tools.machine.deadline().map(|(time, _)| time);
            tokio::select! {
                biased;
                () = shutdown.requested() => break,
                () = supervision.due() => supervision.alive(),
                () = self.tools.clock.reach(deadline) => self.give(Input::Tick),
                Some(event) = control.recv() => self.take(event),
                Some(event) = clients.recv() => {
                    self.take(event);
                    self.take_more(&mut control, &mut clients);
                    // So that a storm of viewers can be looked at.
                    if let Ok(ask) = asks.try_recv() {
                        self.answer(ask);
                    }
                }
                Some(ask) = asks.recv() => self.answer(ask),
            }
            self.log_statistics();
        }
    }

    /// Takes what waits, servers before clients: waiting anew for each costs more than most of them.
    fn take_more(&mut self, control: &mut mpsc::Receiver<Event>, clients: &mut mpsc::Receiver<Event>) {
        for _ in 1..EVENTS_AT_ONCE {
            match control.try_recv().or_else(|_| clients.try_recv()) {
                Ok(event) => self.take(event),
                Err(_) => break,
            }
        }
    }

    /// Answers who looks; whoever does not wait any more misses it.
    fn answer(&mut self, ask: Ask) {
        let (now, machine) = (self.tools.clock.now(), &mut self.tools.machine);
        match ask {
            Ask::Site(answer) => {
                let look = Look { view: Arc::new(machine.site_view(now)), journal: self.journal };
                drop(answer.send(look));
            }
            Ask::Recordings(answer) => drop(answer.send(machine.recordings_view(now))),
            Ask::Guide(ask, answer) => drop(answer.send(machine.guide_view(now, &ask))),
            Ask::Measures(answer) => {
                let measures = Measures {
                    counters: machine.counters().described(),
                    clients: machine.clients(),
                    zaps: machine.zaps(),
                    store_dropped: self.tools.store.dropped(),
                    store_unsent: self.tools.store.unsent(),
                };
                drop(answer.send(measures));
            }
            Ask::Ready(answer) => drop(answer.send(machine.readiness(now))),
            Ask::Command(command, answer) => {
                let mut outputs = Vec::new();
                let outcome = machine.command(now, command, &mut outputs);
                for input in self.carry_out_all(outputs) {
                    self.give(input);
                }
                drop(answer.send(outcome));
            }
        }
    }

    /// Writes what the store still has to be told. Blocks a thread of the runtime's own for that.
    pub(super) async fn close(self) {
        let mut store = self.tools.store;
        // It fails only when the writing itself has panicked, which its thread has said.
        let _ = tokio::task::spawn_blocking(move || store.close()).await;
    }

    fn take(&mut self, event: Event) {
        let input = match event {
            Event::AcquisitionConnected { connection, id, boot_id, queue } => {
                self.peers.insert(connection, Peer::Acquisition(queue));
                Input::AcquisitionConnected { connection, id, boot_id }
            }
            Event::AcquisitionMessage { connection, message } => {
                Input::AcquisitionMessage { connection, message }
            }
            Event::AcquisitionClosed { connection } => {
                self.peers.remove(&connection);
                Input::AcquisitionClosed { connection }
            }
            Event::ClientConnected { connection, address, queue } => {
                self.peers.insert(connection, Peer::Client(queue));
                Input::ClientConnected { connection, address }
            }
            Event::ClientMessage { connection, message } => Input::ClientMessage { connection, message },
            Event::ClientClosed { connection } => {
                self.peers.remove(&connection);
                Input::ClientClosed { connection }
            }
            Event::Datagram { from, bytes } => Input::Datagram { from, bytes },
            Event::Reload(topology) => {
                self.tools.topology.send_replace(Arc::clone(&topology));
                Input::Topology(topology)
            }
            Event::ReloadRefused => return self.tools.tally.reloads_refused.add(),
        };
        self.give(input);
    }

    /// Gives one input to the machine and carries out the outputs, and what follows from those that could not be.
    fn give(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut outputs = Vec::new();
            self.tools.machine.handle(self.tools.clock.now(), input, &mut outputs);
            inputs.extend(self.carry_out_all(outputs));
        }
    }

    /// Carries out outputs. Returns what follows from those that could not be.
    fn carry_out_all(&mut self, outputs: Vec<Output>) -> Vec<Input> {
        let (mut records, mut inputs) = (Vec::new(), Vec::new());
        for output in outputs {
            match output {
                Output::Store(record) => records.push(record),
                other => inputs.extend(self.carry_out(other)),
            }
        }
        self.journal += records.iter().filter(|record| matches!(record, Record::Event(_))).count() as u64;
        self.tools.store.put(records);
        inputs
    }

    /// Carries out one output. Returns the end of a connection whose peer does not read.
    fn carry_out(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::SendToAcquisition { connection, message } => {
                let sent = match self.peers.get(&connection) {
                    Some(Peer::Acquisition(queue)) => queue.try_send(message).is_ok(),
                    _ => return None,
                };
                (!sent).then(|| self.give_up(connection, Input::AcquisitionClosed { connection }))
            }
            Output::SendToClient { connection, message } => {
                let sent = match self.peers.get(&connection) {
                    Some(Peer::Client(queue)) => queue.put(message, &self.tools.unsent),
                    _ => return None,
                };
                (!sent).then(|| self.give_up(connection, Input::ClientClosed { connection }))
            }
            Output::RefuseAcquisition { connection, refusal } => {
                info!(%connection, %refusal, "P1 connection closed");
                self.peers.remove(&connection);
                None
            }
            Output::CloseClient { connection, refusal } => {
                debug!(%connection, %refusal, "P2 connection closed");
                if let Some(Peer::Client(queue)) = self.peers.remove(&connection) {
                    queue.put(ToClient::Refused(refusal), &self.tools.unsent);
                }
                None
            }
            Output::Datagram { to, bytes } => {
                let to = reachable(&self.tools.control, to);
                if self.tools.control.try_send_to(&bytes, to).is_err() {
                    self.tools.tally.datagrams_unsent.add();
                }
                None
            }
            Output::Store(record) => {
                self.tools.store.put([record]);
                None
            }
        }
    }

    fn give_up(&mut self, connection: ConnectionId, closed: Input) -> Input {
        info!(%connection, "the peer does not read what is sent to it: connection given up");
        self.tools.tally.peers_not_reading.add();
        self.peers.remove(&connection);
        closed
    }

    fn log_statistics(&mut self) {
        let now = self.tools.clock.now();
        if now < self.statistics_at {
            return;
        }
        self.statistics_at = now + STATISTICS_INTERVAL;
        let machine = self.tools.machine.counters();
        let raised = |counts: Vec<(&'static str, u64)>| -> Vec<(&'static str, u64)> {
            counts.into_iter().filter(|(_, count)| *count > 0).collect()
        };
        debug!(
            clients = self.tools.machine.clients(), zaps = ?self.tools.machine.zaps(), machine = ?raised(machine.named()),
            shell = ?raised(self.tools.tally.named()), store_dropped = self.tools.store.dropped(), "statistics"
        );
    }
}
