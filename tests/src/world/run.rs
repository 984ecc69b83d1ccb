//! The world itself: takes the next event, hands it to whom it concerns, lets the judges look, and so on.

use std::net::SocketAddr;
use std::time::Duration;

use protocols::time::Time;

use super::fabric::{Event, Message, Power, Service};
use super::faults::{Fault, Plan};
use super::invariants::{forgery, limits, pictures, status};
use super::nodes::acquisition::AcquisitionNode;
use super::nodes::database::DatabaseNode;
use super::nodes::host::HostNode;
use super::nodes::viewer::ViewerNode;
use super::streams::{Arrival, End, Segment, StreamId};
use super::{Dimensions, Fabric, NodeId, Role, Site, Violation};

/// What a run is made of.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The site.
    pub size: Dimensions,
    /// Everything that is drawn is drawn from it.
    pub seed: u64,
    /// Time between two packets of a channel.
    pub period: Duration,
    /// Mean time between two forged datagrams; zero: none.
    pub forgeries: Duration,
    /// Prints what happens.
    pub verbose: bool,
}

/// A site on a virtual clock.
#[derive(Debug)]
pub struct World {
    /// What all share.
    pub fabric: Fabric,
    /// The database server.
    pub database: DatabaseNode,
    /// The acquisition servers.
    pub acquisitions: Vec<AcquisitionNode>,
    /// The hosts.
    pub hosts: Vec<HostNode>,
    /// The viewers.
    pub viewers: Vec<ViewerNode>,
    plan: Plan,
    forgeries: Duration,
    calm_since: Option<Time>,
    events: u64,
}

impl World {
    /// A world in which nothing has happened, and in which `plan` will.
    pub fn new(settings: Settings, plan: Plan) -> Self {
        let size = settings.size;
        let mut fabric = Fabric::new(Site::new(size), settings.seed, settings.verbose);
        for (index, (at, _)) in plan.iter().enumerate() {
            fabric
                .queue
                .post(*at, Event::Fault(u32::try_from(index).expect("a plan has thousands of faults")));
        }
        fabric.queue.post(Time::ZERO + HostNode::HOUSEKEEPING, Event::Inspect);
        if !settings.forgeries.is_zero() {
            fabric.queue.post(Time::ZERO + settings.forgeries, Event::Forge);
        }
        Self {
            database: DatabaseNode::new(&fabric),
            acquisitions: (0..size.acquisitions)
                .map(|a| AcquisitionNode::new(&fabric, a, settings.period))
                .collect(),
            hosts: (0..size.hosts).map(|h| HostNode::new(&fabric, h)).collect(),
            viewers: (0..size.viewers).map(|v| ViewerNode::new(&fabric, v)).collect(),
            fabric,
            plan,
            forgeries: settings.forgeries,
            calm_since: None,
            events: 0,
        }
    }

    /// Lets everything happen up to `until`, or to the first violation.
    ///
    /// # Errors
    /// The first violation.
    pub fn run(&mut self, until: Time) -> Result<(), Violation> {
        while let Some((at, event)) = self.fabric.queue.next(until) {
            self.fabric.now = at;
            self.events += 1;
            self.happen(event);
            if let Some(violation) = self.fabric.checks.violation() {
                return Err(violation.clone());
            }
        }
        self.fabric.now = until;
        Ok(())
    }

    /// Events so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Since when nothing has been broken; `None`: something is.
    pub fn calm_since(&self) -> Option<Time> {
        self.calm_since
    }

    /// One event.
    pub fn happen(&mut self, event: Event) {
        match event {
            Event::Wake(node, life) => self.wake(node, life),
            Event::Datagram { to, from, port, bytes } => {
                self.fabric.datagrams += 1;
                self.datagram(to, from, port, &bytes);
            }
            Event::Media { to, channel, bytes } => {
                if let Role::Viewer(number) = self.role(to) {
                    self.viewers[number].media(&mut self.fabric, channel, &bytes);
                }
            }
            Event::Segment(stream, end, segment) => self.segment(stream, end, *segment),
            Event::Knock(knock) => self.fabric.knocked(knock),
            Event::Accept(knock) => {
                let Some(stream) = self.fabric.accepted(knock) else { return };
                match self.role(knock.callee) {
                    Role::Database => self.database.accept(&mut self.fabric, stream, &knock),
                    Role::Host(number) => self.hosts[number].accept(&mut self.fabric, stream, &knock),
                    Role::Acquisition(_) | Role::Viewer(_) => {}
                }
            }
            Event::Refused(knock) => {
                if self.fabric.lives(knock.caller, knock.life) {
                    self.refused(knock.caller, knock.callee, knock.service, knock.attempt);
                }
            }
            Event::Capture(node, life, channel) => {
                if let Role::Acquisition(number) = self.role(node)
                    && self.fabric.lives(node, life)
                {
                    self.acquisitions[number].capture(&mut self.fabric, channel);
                }
            }
            Event::Drain(node, life, channel) => {
                if let Role::Host(number) = self.role(node)
                    && self.fabric.lives(node, life)
                {
                    self.hosts[number].drain_due(&mut self.fabric, channel);
                }
            }
            Event::Fault(index) => {
                let fault = self.plan[index as usize].1.clone();
                self.fault(&fault);
            }
            Event::Forge => self.forge(),
            Event::Inspect => self.inspect(),
        }
    }

    /// Hands a datagram to a daemon; tells how many outputs that led to.
    pub fn datagram(&mut self, to: NodeId, from: NodeId, port: u16, bytes: &[u8]) -> usize {
        let from = SocketAddr::new(self.fabric.site.size.address(self.role(from)), port);
        let fabric = &mut self.fabric;
        match fabric.site.size.role(to) {
            Role::Database => self.database.datagram(fabric, from, bytes),
            Role::Host(number) => self.hosts[number].datagram(fabric, from, bytes),
            Role::Viewer(number) => self.viewers[number].datagram(fabric, from, bytes),
            Role::Acquisition(_) => 0,
        }
    }

    fn role(&self, node: NodeId) -> Role {
        self.fabric.site.size.role(node)
    }

    fn wake(&mut self, node: NodeId, life: u32) {
        if !self.fabric.woken(node, life) {
            return;
        }
        let fabric = &mut self.fabric;
        match fabric.site.size.role(node) {
            Role::Database => self.database.wake(fabric),
            Role::Acquisition(number) => self.acquisitions[number].wake(fabric),
            Role::Host(number) => self.hosts[number].wake(fabric),
            Role::Viewer(number) => self.viewers[number].wake(fabric),
        }
    }

    fn segment(&mut self, stream: StreamId, end: End, segment: Segment<Message>) {
        let fabric = &mut self.fabric;
        let standings = &fabric.standings;
        let powered = |node: NodeId| standings[node.index()].power != Power::Off;
        match fabric.streams.arrive(&fabric.network, (stream, end), segment, powered) {
            Arrival::Take { node, segment: Segment::Message(message) } => self.told(node, stream, message),
            Arrival::Take { node, segment: Segment::End } => self.closed(node, stream),
            Arrival::Reset => {
                if fabric.streams.is_open(stream, end.peer()) {
                    fabric.post_segment(stream, end.peer(), Segment::End);
                }
            }
            Arrival::Stalled | Arrival::Dropped => {}
        }
    }

    fn told(&mut self, node: NodeId, stream: StreamId, message: Message) {
        let fabric = &mut self.fabric;
        match fabric.site.size.role(node) {
            Role::Database => self.database.told(fabric, stream, message),
            Role::Acquisition(number) => self.acquisitions[number].told(fabric, stream, message),
            Role::Host(number) => self.hosts[number].told(fabric, stream, &message),
            Role::Viewer(number) => self.viewers[number].told(fabric, stream, message),
        }
    }

    fn closed(&mut self, node: NodeId, stream: StreamId) {
        let fabric = &mut self.fabric;
        match fabric.site.size.role(node) {
            Role::Database => self.database.closed(fabric, stream),
            Role::Acquisition(number) => self.acquisitions[number].closed(fabric, stream),
            Role::Host(number) => self.hosts[number].closed(fabric, stream),
            Role::Viewer(number) => self.viewers[number].closed(fabric, stream),
        }
    }

    fn refused(&mut self, caller: NodeId, callee: NodeId, service: Service, attempt: u32) {
        let callee = self.role(callee);
        let fabric = &mut self.fabric;
        match fabric.site.size.role(caller) {
            Role::Acquisition(number) => self.acquisitions[number].refused(fabric, callee, service, attempt),
            Role::Viewer(number) => self.viewers[number].refused(fabric, attempt),
            Role::Database | Role::Host(_) => {}
        }
    }

    /// Carries out a fault.
    pub fn fault(&mut self, fault: &Fault) {
        self.fabric.say(|| format!("{fault:?}"));
        match *fault {
            Fault::Stop(node, power) => self.stop(node, power),
            Fault::Start(node) => self.start(node),
            Fault::Cut(from, to) => self.fabric.network.cut(from, to),
            Fault::Heal => {
                self.fabric.network.heal();
                self.fabric.resume_streams();
            }
            Fault::Weather(weather) => self.fabric.network.set_weather(weather),
            Fault::Burst(node, loss) => self.fabric.network.set_burst(node, loss),
            Fault::Input(channel, delivers) => self.fabric.inputs[channel] = delivers,
            Fault::Load(variant) => self.database.load(&mut self.fabric, variant),
            Fault::Watch(viewer, channel) => {
                let channel = channel.map(|number| self.fabric.site.size.channel(number));
                self.viewers[viewer].watch(&mut self.fabric, channel);
            }
            Fault::Trouble => self.set_calm(None),
            Fault::Calm => self.set_calm(Some(self.fabric.now)),
            Fault::Judge => self.judge(),
        }
    }

    fn set_calm(&mut self, since: Option<Time>) {
        self.calm_since = since;
        self.fabric.checks.one_sender.calm(since);
    }

    fn start(&mut self, node: NodeId) {
        if self.fabric.standings[node.index()].power == Power::Up {
            return;
        }
        let fabric = &mut self.fabric;
        match fabric.site.size.role(node) {
            Role::Database => self.database.start(fabric),
            Role::Acquisition(number) => self.acquisitions[number].start(fabric),
            Role::Host(number) => self.hosts[number].start(fabric),
            Role::Viewer(number) => self.viewers[number].start(fabric),
        }
    }

    fn stop(&mut self, node: NodeId, power: Power) {
        self.fabric.stop(node, power);
        match self.role(node) {
            Role::Database => self.database.stop(self.fabric.now),
            Role::Acquisition(number) => self.acquisitions[number].stop(),
            Role::Host(number) => self.hosts[number].stop(),
            Role::Viewer(number) => self.viewers[number].stop(&mut self.fabric),
        }
    }

    /// What an observer looks at from time to time.
    fn inspect(&mut self) {
        for host in &mut self.hosts {
            if host.machine().is_some() {
                host.keep_house(&mut self.fabric);
            }
        }
        self.fabric.queue.post(self.fabric.now + HostNode::HOUSEKEEPING, Event::Inspect);
    }

    fn forge(&mut self) {
        let sight = forgery::inject(self);
        self.fabric.checks.note(self.fabric.now, forgery::RULE, sight);
        let next = self.forgeries.mul_f64(2.0 * self.fabric.random.f64());
        self.fabric.queue.post(self.fabric.now + next, Event::Forge);
    }

    /// The end of a calm: everything must be as it should.
    fn judge(&mut self) {
        let Some(calm) = self.calm_since else { return };
        for host in &self.hosts {
            self.fabric.say(|| host.describe(&self.fabric));
        }
        for (number, viewer) in self.viewers.iter().enumerate() {
            self.fabric.say(|| {
                format!("viewer {number}: {:?}", viewer.machine().map(client::viewer::Viewer::counters))
            });
        }
        let now = self.fabric.now;
        let sights = [
            (status::RULE, status::check(self)),
            (pictures::RULE, self.check_pictures(calm)),
            (limits::RULE, limits::check_connections(self)),
            (limits::RULE, limits::check_states(self)),
        ];
        for (rule, sight) in sights {
            self.fabric.checks.note(now, rule, sight);
        }
    }

    fn check_pictures(&self, calm: Time) -> Result<(), String> {
        let size = self.fabric.site.size;
        self.fabric.checks.pictures.check(self.fabric.now, calm, |viewer| {
            let wanted = self.viewers[viewer].wanted().and_then(|channel| size.number(channel));
            wanted.is_some_and(|channel| status::truth(self, channel, size.lan_of(viewer)) == Some(true))
        })
    }
}
