//! P4 as the root machine sees it: answers of hosts, and what follows from their coming and going.

use protocols::ids::{ChannelId, HostId};
use protocols::p4_control::{Configured, DatagramError, Kind, Report, Response, Sealed};
use protocols::time::Time;
use protocols::topology::Topology;
use serde::de::DeserializeOwned;
use tracing::{info, warn};

use super::DatabaseServer;
use crate::command::Wire;
use crate::configuration::Desired;
use crate::output::Output;
use crate::presence::Change;
use crate::record::{Record, Server};

impl DatabaseServer {
    /// Takes a datagram; one that is not genuine, or that answers nothing, is counted and changes nothing.
    pub(super) fn datagram(&mut self, now: Time, bytes: &[u8], out: &mut Vec<Output>) {
        let Some(topology) = self.topology.clone() else { return };
        let changes = match Sealed::parse(bytes) {
            Ok(sealed) if sealed.kind == Kind::Report => self.report(now, &sealed, out),
            Ok(sealed) if sealed.kind == Kind::Configured => self.configured(now, &sealed),
            _ => {
                self.counters.datagrams_malformed += 1;
                None
            }
        };
        self.host_changes(now, changes.unwrap_or_default(), &topology, out);
    }

    fn report(&mut self, now: Time, sealed: &Sealed<'_>, out: &mut Vec<Output>) -> Option<Vec<Change>> {
        let response: Response<Report> = self.genuine(sealed)?;
        // A host that has restarted answers any command by a report.
        let answers = self.configuration.waits(&response.host, response.order);
        let time = self.cluster_time(now);
        let (commander, counters) = (&mut self.commander, &mut self.counters);
        let changes =
            self.presence.report(response, answers, &mut Wire { now, time, commander, counters, out });
        self.counters.responses_unexpected += u64::from(changes.is_none());
        changes
    }

    fn configured(&mut self, now: Time, sealed: &Sealed<'_>) -> Option<Vec<Change>> {
        let response: Response<Configured> = self.genuine(sealed)?;
        let host = response.host;
        let known_boot = self.presence.get(&host).and_then(|known| known.boot);
        if known_boot != Some(response.host_boot)
            || !self.configuration.acknowledged(&host, response.order, &response.body, &mut self.minter)
        {
            self.counters.responses_unexpected += 1;
            return None;
        }
        self.touched_hosts.insert(host.clone());
        Some(self.presence.acknowledged(now, &host, response.host_boot, &mut self.counters))
    }

    /// The response in `sealed` if its host is known and made the tag; otherwise counts why not. Nothing but the host's
    /// name is decoded before the tag is verified: a list in a forged report could claim a megabyte.
    fn genuine<B: DeserializeOwned>(&mut self, sealed: &Sealed<'_>) -> Option<Response<B>> {
        let Ok(claimed) = sealed.peek_front::<HostId>() else {
            self.counters.datagrams_malformed += 1;
            return None;
        };
        let Some(host) = self.presence.get(&claimed) else {
            self.counters.datagrams_unknown_host += 1;
            return None;
        };
        match sealed.open(&host.key) {
            Ok(response) => Some(response),
            Err(DatagramError::Tag) => {
                self.counters.datagrams_unauthenticated += 1;
                None
            }
            Err(_) => {
                self.counters.datagrams_malformed += 1;
                None
            }
        }
    }

    /// What follows from the coming, going and reporting of hosts.
    pub(super) fn host_changes(
        &mut self,
        now: Time,
        changes: Vec<Change>,
        topology: &Topology,
        out: &mut Vec<Output>,
    ) {
        let at = self.cluster_time(now);
        for change in changes {
            match change {
                Change::Up { host, boot, rebooted } => {
                    info!(%host, %boot, rebooted, "push server host answers");
                    let server = Server::Host(host.clone());
                    out.push(Output::event(at, &server, format!("answers, boot id {boot}")));
                    out.push(Output::Store(Record::Seen { server, boot_id: boot, at }));
                    if rebooted {
                        self.catalogue.rebooted(&host);
                    }
                    self.configuration.host_up(&host, boot, rebooted);
                    self.touch_host(&host, topology);
                    self.be_patient_with(&host);
                }
                Change::Down(host) => {
                    warn!(%host, "push server host answers no more");
                    let server = Server::Host(host.clone());
                    out.push(Output::event(at, &server, "answers no more".to_owned()));
                    out.push(Output::Store(Record::Lost { server, at }));
                    self.configuration.host_down(&host);
                    self.touch_host(&host, topology);
                }
                Change::Gone(host) => {
                    warn!(%host, "push server host has left the topology without being heard");
                    self.configuration.forget(&host);
                    self.touched_hosts.remove(&host);
                }
                Change::Server(host, channel) => self.touch_server(&host, channel, topology),
                Change::Sending(host, channel, address) => {
                    self.seen_sending(now, &host, channel, address, topology);
                }
                Change::Recorder(host, fault) => self.recorder_fault(now, &host, fault, out),
                Change::Held(host, channel, holding) => self.held(&host, channel, holding, topology),
                Change::Told(host) => self.host_told(now, &host, topology, out),
                Change::InForce(host, channel, revision) => {
                    let carries = |channel| {
                        topology.hosts.get(&host).is_some_and(|declared| declared.channels.contains(&channel))
                    };
                    if self.configuration.revision(&host, channel).is_none() && !carries(channel) {
                        self.configuration.want(&host, channel, Desired::Release, &mut self.minter);
                    }
                    self.configuration.reported(&host, channel, revision, &mut self.minter);
                    self.touched_hosts.insert(host);
                }
            }
        }
    }

    /// All places of `host` are to be looked at, and it is to be sent what it lacks.
    fn touch_host(&mut self, host: &HostId, topology: &Topology) {
        self.touched_hosts.insert(host.clone());
        let Some(declared) = topology.hosts.get(host) else { return };
        for channel in &declared.channels {
            self.touch_server(host, *channel, topology);
        }
    }

    /// A host that has just come up is given time to be fed before a rival takes what is assigned to it.
    fn be_patient_with(&mut self, host: &HostId) {
        for place in &self.touched_places {
            if let Some(row) = self.receptions.get_mut(place)
                && row.assigned.as_ref().is_some_and(|assigned| assigned.host == *host)
            {
                row.undecided_since = None;
            }
        }
    }

    /// All places of the push server of `channel` at `host` are to be looked at.
    fn touch_server(&mut self, host: &HostId, channel: ChannelId, topology: &Topology) {
        let Some(declared) = topology.hosts.get(host) else { return };
        if declared.channels.contains(&channel) {
            let sent = declared.destinations.iter().filter(|destination| destination.carries(channel));
            let places = sent.map(|destination| (channel, destination.network.clone()));
            self.touched_places.extend(places);
        }
    }
}
