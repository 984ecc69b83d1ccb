//! The database server in the world: the machine, its connections and its disk.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use database_server::{Assignment, Config, ConnectionId, DatabaseServer, Input, Output, Record, Remembered};
use protocols::guide::Event as Shown;
use protocols::p1_registration::ToAcquisition;
use protocols::p2_directory::ToClient;
use protocols::p4_control::{Command, Configure, Kind, Sealed};
use protocols::recording::Extent;
use protocols::time::{ClusterTime, Time};
use protocols::topology::Topology;

use crate::world::fabric::{Knock, Message, Service};
use crate::world::invariants::revisions;
use crate::world::streams::{End, StreamId};
use crate::world::{Fabric, NodeId, Role};

/// The port that it sends P4 from.
const PORT: u16 = 7410;
/// What was told to be stored is on the disk this much later; a crash before loses it.
const COMMIT: Duration = Duration::from_millis(10);
/// The wall clock at the world's origin, in ms since 1970.
const WALL: u64 = 1_790_000_000_000;

/// What survives the daemon.
#[derive(Debug, Default)]
pub struct Disk {
    start: u32,
    remembered: Remembered,
    uncommitted: Vec<(Time, Record)>,
}

/// The database server.
#[derive(Debug)]
pub struct DatabaseNode {
    node: NodeId,
    machine: Option<DatabaseServer>,
    disk: Disk,
    topology: usize,
    out: Vec<Output>,
}

impl DatabaseNode {
    /// A node whose daemon has not been started, with an empty disk.
    pub fn new(fabric: &Fabric) -> Self {
        let node = fabric.site.size.node(Role::Database);
        Self { node, machine: None, disk: Disk::default(), topology: 0, out: Vec::new() }
    }

    /// Starts the daemon.
    pub fn start(&mut self, fabric: &mut Fabric) {
        let (boot_id, seed) = fabric.start(self.node);
        self.disk.start += 1;
        // Each life may find the wall clock a little off from what the one before had.
        let skew_ms = fabric.random.u64(..400);
        let wall_ms = WALL + fabric.now.as_us() / 1000 + skew_ms;
        let config = Config {
            cluster_key: fabric.site.key.clone(),
            start: self.disk.start,
            clock_base: ClusterTime(wall_ms - fabric.local(self.node).as_us() / 1000),
            remembered: self.disk.remembered.clone(),
        };
        self.machine = Some(DatabaseServer::new(config, boot_id, seed));
        self.load(fabric, self.topology);
    }

    /// Pairs of channel and network that have a push server, by what the disk was told.
    pub fn assignments(&self) -> usize {
        let told = self.disk.uncommitted.iter().filter(|(_, record)| matches!(record, Record::Assigned(_)));
        self.disk.remembered.assignments.len() + told.count()
    }

    /// Loses the disk: a fault that no daemon can make good, to show that the judges see it.
    pub fn lose_disk(&mut self) {
        self.disk = Disk::default();
    }

    /// Forgets everything that was in memory, and what the disk had not taken yet.
    pub fn stop(&mut self, now: Time) {
        self.machine = None;
        self.disk.commit(now);
        self.disk.uncommitted.clear();
    }

    /// Edits the topology file and, if the daemon runs, has it read again.
    pub fn load(&mut self, fabric: &mut Fabric, variant: usize) {
        self.topology = variant;
        let topology = Arc::clone(&fabric.site.topologies[variant]);
        for (number, host) in fabric.site.hosts.iter().enumerate() {
            fabric.checks.one_sender.declare(number, topology.hosts.contains_key(host));
        }
        self.handle(fabric, Input::Topology(topology));
    }

    /// The topology in the file.
    pub fn topology<'a>(&self, fabric: &'a Fabric) -> &'a Topology {
        &fabric.site.topologies[self.topology]
    }

    /// The machine, while the daemon runs.
    pub fn machine(&self) -> Option<&DatabaseServer> {
        self.machine.as_ref()
    }

    /// The deadline was reached, perhaps.
    pub fn wake(&mut self, fabric: &mut Fabric) {
        let local = fabric.local(self.node);
        let due = |machine: &DatabaseServer| machine.deadline().is_some_and(|(at, _)| at <= local);
        if self.machine.as_ref().is_some_and(due) {
            self.handle(fabric, Input::Tick);
        }
        let next = self.machine.as_ref().and_then(DatabaseServer::deadline).map(|(at, _)| at);
        fabric.judge_wake(self.node, next);
        fabric.arm(self.node, next);
    }

    /// A datagram came. Tells how many outputs it led to.
    pub fn datagram(&mut self, fabric: &mut Fabric, from: SocketAddr, bytes: &[u8]) -> usize {
        self.handle_counted(fabric, Input::Datagram { from, bytes: bytes.to_vec() })
    }

    /// A caller is through its handshake.
    pub fn accept(&mut self, fabric: &mut Fabric, stream: StreamId, knock: &Knock) {
        fabric.tell(stream, End::Caller, Message::Welcome(knock.attempt));
        let connection = connection(stream);
        let role = fabric.site.size.role(knock.caller);
        let input = match (knock.service, role) {
            (Service::Registration, Role::Acquisition(number)) => Input::AcquisitionConnected {
                connection,
                id: fabric.site.acquisitions[number].clone(),
                boot_id: fabric.boot_id(knock.caller),
            },
            _ => Input::ClientConnected { connection, address: fabric.site.size.address(role) },
        };
        self.handle(fabric, input);
    }

    /// A caller said something.
    pub fn told(&mut self, fabric: &mut Fabric, stream: StreamId, message: Message) {
        let connection = connection(stream);
        match message {
            Message::Register(message) => {
                self.handle(fabric, Input::AcquisitionMessage { connection, message });
            }
            Message::Ask(message) => self.handle(fabric, Input::ClientMessage { connection, message }),
            _ => {}
        }
    }

    /// A caller's connection ended.
    pub fn closed(&mut self, fabric: &mut Fabric, stream: StreamId) {
        let connection = connection(stream);
        let input = match fabric.service(stream).0 {
            Service::Registration => Input::AcquisitionClosed { connection },
            Service::Directory | Service::Feed(_) => Input::ClientClosed { connection },
        };
        self.handle(fabric, input);
    }

    fn handle(&mut self, fabric: &mut Fabric, input: Input) {
        let _ = self.handle_counted(fabric, input);
    }

    fn handle_counted(&mut self, fabric: &mut Fabric, input: Input) -> usize {
        let Some(machine) = &mut self.machine else { return 0 };
        let mut out = std::mem::take(&mut self.out);
        machine.handle(fabric.local(self.node), input, &mut out);
        let deadline = machine.deadline().map(|(at, _)| at);
        let outputs = out.len();
        for output in out.drain(..) {
            self.carry_out(fabric, output);
        }
        self.out = out;
        fabric.arm(self.node, deadline);
        outputs
    }

    fn carry_out(&mut self, fabric: &mut Fabric, output: Output) {
        match output {
            Output::SendToAcquisition { connection, message } => {
                let (node, _) = fabric.streams.at(stream(connection), End::Caller);
                if let (ToAcquisition::Plan(plan), Role::Acquisition(number)) =
                    (&message, fabric.site.size.role(node))
                {
                    let sight = fabric.checks.revisions.planned(number, plan.generation);
                    fabric.checks.note(fabric.now, revisions::RULE, sight);
                }
                fabric.tell(stream(connection), End::Caller, Message::Plan(message));
            }
            Output::RefuseAcquisition { connection, refusal } => {
                fabric.say(|| format!("database refuses an acquisition server: {refusal}"));
                fabric.hang_up(stream(connection), End::Callee);
            }
            Output::SendToClient { connection, message } => {
                judge_answer(fabric, connection, &message);
                fabric.tell(stream(connection), End::Caller, Message::Tell(message));
            }
            Output::CloseClient { connection, refusal } => {
                fabric.say(|| format!("database closes a client: {refusal}"));
                fabric.tell(stream(connection), End::Caller, Message::Tell(ToClient::Refused(refusal)));
                fabric.hang_up(stream(connection), End::Callee);
            }
            Output::Datagram { to, bytes } => {
                judge_command(fabric, to, &bytes);
                fabric.send(self.node, PORT, to, bytes);
            }
            Output::Store(record) => {
                fabric.say(|| format!("database stores {record:?}"));
                self.disk.commit(fabric.now);
                self.disk.uncommitted.push((fabric.now + COMMIT, record));
            }
        }
    }
}

impl Disk {
    /// Takes what has had its time.
    fn commit(&mut self, now: Time) {
        let due = self.uncommitted.iter().take_while(|(at, _)| *at <= now).count();
        for (_, record) in self.uncommitted.drain(..due) {
            apply(&mut self.remembered, record);
        }
    }
}

/// What the store does with a record, as far as the machine is told of it again.
fn apply(remembered: &mut Remembered, record: Record) {
    match record {
        Record::Topology { generation, fingerprint } => remembered.topology = Some((generation, fingerprint)),
        Record::Assigned(assignment) => {
            let same =
                |old: &Assignment| old.channel == assignment.channel && old.network == assignment.network;
            remembered.assignments.retain(|old| !same(old));
            remembered.assignments.push(assignment);
        }
        Record::Unassigned { channel, network } => {
            remembered.assignments.retain(|old| !(old.channel == channel && old.network == network));
        }
        Record::CommandPosted { acquisition, command } => remembered.commands.push((acquisition, command)),
        Record::CommandDone { id } => remembered.commands.retain(|(_, command)| command.id != id),
        Record::Extent { host, extent } => {
            let same = |old: &Extent| old.channel == extent.channel && old.from == extent.from;
            remembered.extents.retain(|(other, old)| !(*other == host && same(old)));
            remembered.extents.push((host, extent));
        }
        Record::ExtentGone { host, channel, from } => {
            let same = |old: &Extent| old.channel == channel && old.from == from;
            remembered.extents.retain(|(other, old)| !(*other == host && same(old)));
        }
        Record::Programme(programme) => {
            remembered.last_recording = remembered.last_recording.max(programme.id);
            remembered.programmes.push(programme);
        }
        Record::ProgrammeGone { id } => remembered.programmes.retain(|programme| programme.id != id),
        Record::GuideEvent { channel, event } => {
            let same = |old: &Shown| old.start_unix_s == event.start_unix_s;
            remembered.guide.retain(|(other, old)| !(*other == channel && same(old)));
            remembered.guide.push((channel, (*event).clone()));
        }
        Record::GuideGone { channel, start_unix_s } => {
            remembered.guide.retain(|(other, old)| !(*other == channel && old.start_unix_s == start_unix_s));
        }
        Record::GuideChannelGone { channel } => remembered.guide.retain(|(other, _)| *other != channel),
        Record::GuideOver { before_unix_s } => {
            remembered.guide.retain(|(_, old)| old.end_unix_s() > before_unix_s);
        }
        Record::Seen { .. } | Record::Lost { .. } | Record::Event(_) => {}
    }
}

fn judge_answer(fabric: &mut Fabric, connection: ConnectionId, message: &ToClient) {
    let (node, _) = fabric.streams.at(stream(connection), End::Caller);
    let Role::Viewer(viewer) = fabric.site.size.role(node) else { return };
    let lan = fabric.site.size.lan_of(viewer);
    let revisions = &mut fabric.checks.revisions;
    let sight = match message {
        ToClient::Tuning(tuning) => revisions.tuned(lan, tuning.channel, tuning.revision),
        ToClient::Channels(list) => revisions.listed(list.generation),
        _ => return,
    };
    fabric.checks.note(fabric.now, revisions::RULE, sight);
}

fn judge_command(fabric: &mut Fabric, to: SocketAddr, bytes: &[u8]) {
    let Ok(sealed) = Sealed::parse(bytes) else { return };
    let Some(Role::Host(host)) = fabric.site.size.role_of(to.ip()) else { return };
    if sealed.kind != Kind::Configure {
        return;
    }
    let Ok(command) = sealed.peek::<Command<Configure>>() else { return };
    let Configure { channel, revision, .. } = command.body;
    fabric.say(|| {
        let assigned =
            command.body.destinations.iter().filter(|order| order.assigned).map(|order| order.address);
        format!(
            "database configures host {host} channel {channel} by {revision}: {:?}",
            assigned.collect::<Vec<_>>()
        )
    });
    let sight = fabric.checks.revisions.configured(host, channel, revision);
    fabric.checks.note(fabric.now, revisions::RULE, sight);
}

fn connection(stream: StreamId) -> ConnectionId {
    ConnectionId(u64::from(stream.0))
}

fn stream(connection: ConnectionId) -> StreamId {
    StreamId(u32::try_from(connection.0).expect("made by `connection`"))
}
