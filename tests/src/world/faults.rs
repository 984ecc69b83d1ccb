//! What goes wrong in a run, drawn from its seed before it begins: cycles of trouble and calm.
//!
//! ```text
//! cycle  │ trouble: crashes, cuts, loss, reloads, zaps │ everything is back │ calm: judged strictly │
//!        0                                          10 s                  12 s                    30 s
//! ```
//!
//! In some cycles one thing is away from the beginning to the end, so that the calm also has a world to judge in which
//! not everything works.

use std::time::Duration;

use protocols::time::Time;

use super::fabric::Power;
use super::network::Weather;
use super::{Dimensions, NodeId, Role};

/// One thing that goes wrong, or right.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// A daemon ends, or its host loses power.
    Stop(NodeId, Power),
    /// A daemon starts, unless it runs.
    Start(NodeId),
    /// Nothing goes from the first to the second.
    Cut(NodeId, NodeId),
    /// All cuts end.
    Heal,
    /// The weather changes.
    Weather(Weather),
    /// Loss at one node.
    Burst(NodeId, f64),
    /// An input works or not.
    Input(usize, bool),
    /// The topology file is replaced by this variant and read again.
    Load(usize),
    /// A viewer wants another channel, or none.
    Watch(usize, Option<usize>),
    /// From now on something is broken.
    Trouble,
    /// From now on nothing is, but for what is away for the whole cycle.
    Calm,
    /// A moment at which everything must be as it should.
    Judge,
}

/// Length of a cycle.
pub const CYCLE: Duration = Duration::from_secs(30);
/// Faults begin and end within this from the beginning of a cycle.
const TROUBLE: Duration = Duration::from_secs(12);
/// Faults of one cycle at most.
const FAULTS: usize = 4;

/// The faults of a run, in order of their time.
pub type Plan = Vec<(Time, Fault)>;

/// Every daemon starts at a moment of the first second; viewers want something; then `cycles` of trouble and calm.
pub fn plan(size: Dimensions, seed: u64, cycles: u32) -> Plan {
    let mut random = fastrand::Rng::with_seed(seed ^ 0x5eed_fa17);
    let mut plan = Plan::new();
    for node in all(size) {
        plan.push((Time::from_ms(random.u64(..1_000)), Fault::Start(node)));
    }
    for viewer in 0..size.viewers {
        plan.push((Time::ZERO, Fault::Watch(viewer, Some(random.usize(..size.channels)))));
    }
    let mut variant = 0;
    for cycle in 0..cycles {
        let begin = Time::ZERO + CYCLE * cycle;
        Cycle { size, begin, random: &mut random, plan: &mut plan }.draw(&mut variant);
    }
    plan.sort_by_key(|(at, _)| *at);
    plan
}

/// All nodes.
pub fn all(size: Dimensions) -> impl Iterator<Item = NodeId> {
    (0..size.nodes()).map(|index| NodeId(u16::try_from(index).expect("few nodes")))
}

struct Cycle<'a> {
    size: Dimensions,
    begin: Time,
    random: &'a mut fastrand::Rng,
    plan: &'a mut Plan,
}

impl Cycle<'_> {
    fn draw(mut self, variant: &mut usize) {
        self.add(Duration::ZERO, Fault::Trouble);
        for channel in 0..self.size.channels {
            self.add(Duration::ZERO, Fault::Input(channel, true));
        }
        let absent = self.absent();
        for _ in 0..self.random.usize(..=FAULTS) {
            self.fault(absent);
        }
        self.weather();
        if self.random.u8(..4) == 0 {
            *variant = self.random.usize(..super::site::VARIANTS);
            let at = self.moment();
            self.add(at, Fault::Load(*variant));
        }
        for viewer in 0..self.size.viewers {
            if self.random.bool() {
                let wanted = (self.random.u8(..4) > 0).then(|| self.random.usize(..self.size.channels));
                let at = self.moment();
                self.add(at, Fault::Watch(viewer, wanted));
            }
        }
        self.add(TROUBLE, Fault::Heal);
        self.add(TROUBLE, Fault::Weather(mild()));
        for node in all(self.size) {
            self.add(TROUBLE, Fault::Burst(node, 0.0));
            if Some(node) != absent {
                self.add(TROUBLE, Fault::Start(node));
            }
        }
        self.add(TROUBLE, Fault::Calm);
        self.add(CYCLE.saturating_sub(Duration::from_millis(1)), Fault::Judge);
        if let Some(node) = absent {
            // It comes back as the next cycle begins.
            self.add(CYCLE, Fault::Start(node));
        }
    }

    /// What is away for the whole cycle; inputs that are away are no node.
    fn absent(&mut self) -> Option<NodeId> {
        let role = match self.random.u8(..8) {
            0 => Role::Acquisition(self.random.usize(..self.size.acquisitions)),
            1 => Role::Host(self.random.usize(..self.size.hosts)),
            2 => {
                let channel = self.random.usize(..self.size.channels);
                self.add(Duration::from_millis(1), Fault::Input(channel, false));
                return None;
            }
            _ => return None,
        };
        let node = self.size.node(role);
        let power = self.power();
        self.add(Duration::from_millis(1), Fault::Stop(node, power));
        Some(node)
    }

    fn fault(&mut self, absent: Option<NodeId>) {
        let at = self.moment();
        match self.random.u8(..10) {
            0..4 => {
                let node = self.any_node();
                if Some(node) != absent {
                    let power = self.power();
                    let back = at + self.up_to(8_000);
                    self.add(at, Fault::Stop(node, power));
                    self.add(back.min(TROUBLE), Fault::Start(node));
                }
            }
            4 => {
                let (a, b) = (self.any_node(), self.any_node());
                self.add(at, Fault::Cut(a, b));
            }
            5 => {
                let (a, b) = (self.any_node(), self.any_node());
                self.add(at, Fault::Cut(a, b));
                self.add(at, Fault::Cut(b, a));
            }
            6 | 7 => self.split(at),
            8 => {
                let node = self.any_node();
                let loss = 0.2 + 0.8 * self.random.f64();
                let end = at + self.up_to(3_000);
                self.add(at, Fault::Burst(node, loss));
                self.add(end.min(TROUBLE), Fault::Burst(node, 0.0));
            }
            _ => {
                let channel = self.random.usize(..self.size.channels);
                let end = at + self.up_to(6_000);
                self.add(at, Fault::Input(channel, false));
                self.add(end.min(TROUBLE), Fault::Input(channel, true));
            }
        }
        if self.random.u8(..3) == 0 {
            let at = at + self.up_to(6_000);
            self.add(at.min(TROUBLE), Fault::Heal);
        }
    }

    /// The servers fall into two halves that do not hear each other.
    fn split(&mut self, at: Duration) {
        let servers = 1 + self.size.acquisitions + self.size.hosts;
        let sides = self.random.u64(..);
        let side = |node: NodeId| sides >> node.index() & 1;
        let nodes: Vec<NodeId> = all(self.size).take(servers).collect();
        for a in &nodes {
            for b in nodes.iter().filter(|b| side(*a) != side(**b)) {
                self.add(at, Fault::Cut(*a, *b));
            }
        }
    }

    fn weather(&mut self) {
        if self.random.u8(..3) > 0 {
            return;
        }
        let share = |random: &mut fastrand::Rng, most: f64| most * random.f64() * random.f64();
        let weather = Weather {
            loss: share(self.random, 0.4),
            duplicate: share(self.random, 0.1),
            detour: share(self.random, 0.3),
            jitter: self.up_to(20),
        };
        let at = self.moment();
        self.add(at, Fault::Weather(weather));
    }

    fn any_node(&mut self) -> NodeId {
        NodeId(u16::try_from(self.random.usize(..self.size.nodes())).expect("few nodes"))
    }

    fn power(&mut self) -> Power {
        if self.random.bool() { Power::Down } else { Power::Off }
    }

    fn moment(&mut self) -> Duration {
        Duration::from_millis(2) + self.up_to(10_000)
    }

    fn up_to(&mut self, ms: u64) -> Duration {
        Duration::from_micros(self.random.u64(1..ms * 1000))
    }

    fn add(&mut self, after: Duration, fault: Fault) {
        self.plan.push((self.begin + after, fault));
    }
}

/// Weather in which nothing counts as broken: a little loss, some doubles and overtaking.
fn mild() -> Weather {
    Weather { loss: 0.002, duplicate: 0.002, detour: 0.01, jitter: Duration::from_millis(1) }
}
