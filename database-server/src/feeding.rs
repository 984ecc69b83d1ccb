//! What acquisition servers are told: whom to feed with what, and the commands of superusers.
//!
//! A plan carries the generation of the topology in which it last changed, so that a reload which does not concern an
//! acquisition server does not reach it. Commands wait here until their result is reported, also while their server is
//! away; each goes out once per connection, and the acquisition server carries out each id once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocols::ids::{AcquisitionId, Generation, InputId};
use protocols::p1_registration::{
    ChannelPlan, Command, CommandResult, FeedPlan, FeedTarget, MAX_PENDING_COMMANDS, Order, SourcePlan,
};
use protocols::topology::{Backup, Failover, Topology};

use crate::input::ConnectionId;

/// Plans and commands of all acquisition servers.
#[derive(Debug)]
pub struct Feeding {
    plans: BTreeMap<AcquisitionId, FeedPlan>,
    commands: BTreeMap<AcquisitionId, BTreeMap<u64, Pending>>,
    next_command: u64,
}

#[derive(Debug)]
struct Pending {
    order: Order,
    /// The connection by which it was last sent.
    sent_by: Option<ConnectionId>,
}

impl Feeding {
    /// No plans yet; `commands` of earlier lives wait. Ids of new ones begin with the number of this `start`, so that they
    /// are new to everybody.
    pub fn new(start: u32, commands: Vec<(AcquisitionId, Command)>) -> Self {
        let mut feeding = Self {
            plans: BTreeMap::new(),
            commands: BTreeMap::new(),
            next_command: u64::from(start) << 32 | 1,
        };
        for (acquisition, Command { id, order }) in commands {
            feeding.commands.entry(acquisition).or_default().insert(id, Pending { order, sent_by: None });
        }
        feeding
    }

    /// Makes all plans anew. Returns the servers whose plan is another now, and the ids of commands whose server is gone.
    pub fn take_up(&mut self, topology: &Topology, generation: Generation) -> (Vec<AcquisitionId>, Vec<u64>) {
        let mut fresh = plans(topology, generation);
        let mut changed = Vec::new();
        for (server, plan) in &mut fresh {
            match self.plans.get(server) {
                Some(old) if old.channels == plan.channels => plan.generation = old.generation,
                _ => changed.push(server.clone()),
            }
        }
        self.plans = fresh;
        let gone: BTreeSet<AcquisitionId> =
            self.commands.keys().filter(|server| !self.plans.contains_key(*server)).cloned().collect();
        let dropped =
            gone.iter().filter_map(|server| self.commands.remove(server)).flat_map(BTreeMap::into_keys);
        (changed, dropped.collect())
    }

    /// The plan of `server`; empty for one that the topology does not declare.
    pub fn plan(&self, server: &AcquisitionId) -> FeedPlan {
        self.plans.get(server).cloned().unwrap_or_default()
    }

    /// A command for `server`; refused, with the reason for people, when too many wait or there is no such server.
    pub fn post(&mut self, server: &AcquisitionId, order: Order) -> Result<Command, String> {
        if !self.plans.contains_key(server) {
            return Err(format!("the topology declares no acquisition server `{server}`"));
        }
        let waiting = self.commands.entry(server.clone()).or_default();
        if waiting.len() >= MAX_PENDING_COMMANDS {
            return Err(format!(
                "{MAX_PENDING_COMMANDS} commands wait for acquisition server `{server}` already"
            ));
        }
        let id = self.next_command;
        self.next_command += 1;
        waiting.insert(id, Pending { order: order.clone(), sent_by: None });
        Ok(Command { id, order })
    }

    /// Results that `server` reports; returns those of commands that waited.
    pub fn done(&mut self, server: &AcquisitionId, results: Vec<CommandResult>) -> Vec<CommandResult> {
        let Some(waiting) = self.commands.get_mut(server) else { return Vec::new() };
        results.into_iter().filter(|result| waiting.remove(&result.id).is_some()).collect()
    }

    /// Commands of `server` that have not gone out by `connection` yet, oldest first; now they have.
    pub fn collect(&mut self, server: &AcquisitionId, connection: ConnectionId) -> Vec<Command> {
        let Some(waiting) = self.commands.get_mut(server) else { return Vec::new() };
        let unsent = waiting.iter_mut().filter(|(_, pending)| pending.sent_by != Some(connection));
        unsent
            .map(|(id, pending)| {
                pending.sent_by = Some(connection);
                Command { id: *id, order: pending.order.clone() }
            })
            .collect()
    }
}

/// The plan of every acquisition server of `topology`.
fn plans(topology: &Topology, generation: Generation) -> BTreeMap<AcquisitionId, FeedPlan> {
    let empty = || FeedPlan { generation, channels: Vec::new() };
    let mut plans: BTreeMap<AcquisitionId, FeedPlan> =
        topology.acquisition_servers.keys().map(|id| (id.clone(), empty())).collect();
    let mut feeds: BTreeMap<_, Vec<FeedTarget>> = BTreeMap::new();
    for host in topology.hosts.values() {
        for channel in &host.channels {
            let target = FeedTarget { host: host.id.clone(), address: host.feed() };
            feeds.entry(*channel).or_default().push(target);
        }
    }
    for channel in topology.channels.values() {
        let server = topology.acquisition_servers.get(&channel.acquisition_server);
        let url = |input: &InputId| server.and_then(|server| Some(server.inputs.get(input)?.url.to_string()));
        // A validated topology has both; a channel without them could not be captured anyway.
        let (Some(main), Some(plan)) = (url(&channel.input), plans.get_mut(&channel.acquisition_server))
        else {
            continue;
        };
        let backup = |Backup { input, service }: &Backup| {
            Some(SourcePlan { input: input.clone(), url: url(input)?, service: *service })
        };
        let Failover { hold_off, return_after } = channel.failover;
        let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        plan.channels.push(ChannelPlan {
            channel: channel.id,
            input: channel.input.clone(),
            url: main,
            service: channel.service,
            backups: channel.backups.iter().filter_map(backup).collect(),
            hold_off_s: seconds(hold_off),
            return_after_s: seconds(return_after),
            feeds: feeds.remove(&channel.id).unwrap_or_default(),
        });
    }
    plans
}

#[cfg(test)]
mod tests {
    use protocols::codec::encode;
    use protocols::p1_registration::ToAcquisition;
    use protocols::preamble::MAX_P1_FRAME_BYTES;
    use protocols::topology::{FaultKind, Faults, MAX_PLAN_BYTES};

    use super::*;

    const SITE: &str = "[database_server]\naddress = \"10.0.0.2\"\n\
        [[acquisition_server]]\nid = \"roof\"\n\
        input = [{ id = \"a\", url = \"file:a.ts\" }, { id = \"b\", url = \"file:b.ts\" }]\n\
        [[channel]]\nid = 1\nname = \"One\"\nacquisition_server = \"roof\"\ninput = \"a\"\nhold_off = \"3s\"\n\
        backup = [{ input = \"b\", service = 9 }]\n";

    #[test]
    fn a_plan_has_the_backups_with_their_addresses() {
        let (topology, _) = Topology::parse("t.toml", SITE).unwrap();
        let plans = plans(&topology, Generation(1));
        let plan = &plans[&"roof".parse().unwrap()].channels[0];
        assert_eq!((plan.url.as_str(), plan.hold_off_s, plan.return_after_s), ("file:a.ts", 3, 30));
        let backup =
            SourcePlan { input: "b".parse().unwrap(), url: "file:b.ts".to_owned(), service: Some(9) };
        assert_eq!(plan.backups, [backup]);
    }

    /// `count` channels, each with seven backups, carried by a push server.
    fn site_of(count: u16) -> String {
        let inputs: Vec<String> = (0..8)
            .map(|n| format!("{{ id = \"input-{n}\", url = \"file:{n}{}\" }}", "x".repeat(900)))
            .collect();
        let backups: Vec<String> =
            (1..8).map(|n| format!("{{ input = \"input-{n}\", service = 65535 }}")).collect();
        let channel = |id: u32| {
            format!(
                "[[channel]]\nid = {id}\nname = \"{id}\"\nacquisition_server = \"roof\"\ninput = \"input-0\"\nservice = 65535\n\
                 hold_off = \"5m\"\nreturn_after = \"5m\"\nport = {}\nbackup = [{}]\n",
                10_000 + id % 50_000,
                backups.join(", ")
            )
        };
        let ids = || (0..u32::from(count)).map(|n| 4_000_000_000 + n);
        let listed: Vec<String> = ids().map(|id| id.to_string()).collect();
        let host = "[[push_server]]\nid = \"hall-with-a-rather-long-name\"\naddress = \"2001:db8::2\"\n";
        format!(
            "[database_server]\naddress = \"10.0.0.2\"\n[[acquisition_server]]\nid = \"roof\"\ninput = [{}]\n{}{host}channels = [{}]\n",
            inputs.join(", "),
            ids().map(channel).collect::<String>(),
            listed.join(", ")
        )
    }

    #[test]
    fn a_plan_that_is_accepted_fits_a_frame_and_one_that_does_not_fit_is_a_fault_of_the_topology() {
        let size = |count| {
            let (topology, _) = Topology::parse("t.toml", &site_of(count)).ok()?;
            let plan = plans(&topology, Generation(u64::MAX)).remove(&"roof".parse().unwrap()).unwrap();
            assert_eq!(plan.channels.len(), usize::from(count));
            Some(encode(&ToAcquisition::Plan(plan)).len())
        };
        // The most that are accepted.
        let (mut fits, mut too_many) = (1, 1_000);
        while too_many - fits > 1 {
            let middle = u16::midpoint(fits, too_many);
            if size(middle).is_some() { fits = middle } else { too_many = middle }
        }
        let most = size(fits).unwrap();
        assert!((MAX_P1_FRAME_BYTES * 98 / 100..MAX_P1_FRAME_BYTES - 64).contains(&most), "{most} bytes");
        let Err(Faults(faults)) = Topology::parse("t.toml", &site_of(too_many)) else { panic!() };
        assert!(
            matches!(faults[..], [ref fault] if matches!(fault.kind, FaultKind::TooMany { limit: MAX_PLAN_BYTES, .. })),
            "{faults:?}"
        );
        assert_eq!(faults[0].place.line, 4);
    }
}
