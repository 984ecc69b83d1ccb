//! The resolved topology for people and programs: what `masthead check FILE` shows.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use super::destination::{Destination, DestinationKind};
use super::failover::Failover;
use super::input_url::InputUrl;
use super::length::Length;
use super::network::NetworkId;
use super::record::Record;
use super::{DatabaseServer, PushHost, Topology};
use crate::ids::{AcquisitionId, ChannelId, HostId, InputId, PushServerId};

/// Whether text may carry terminal colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// For a file, a pipe, or where the user wants none.
    Plain,
    /// For a terminal (ECMA-48 SGR sequences).
    Coloured,
}

/// The whole graph, references followed. Its JSON form is the output of `check --format json`; keys are only added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Description {
    /// [`Topology::fingerprint`] in 16 hexadecimal digits.
    pub fingerprint: String,
    /// As declared.
    pub database_server: DatabaseServer,
    /// In order of their ids.
    pub acquisition_servers: Vec<AcquisitionView>,
    /// In order of their ids.
    pub push_servers: Vec<HostView>,
    /// In order of their ids.
    pub networks: Vec<NetworkView>,
}

/// An acquisition server with what comes from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AcquisitionView {
    /// Its name.
    pub id: AcquisitionId,
    /// In order of their ids.
    pub inputs: Vec<InputView>,
    /// Push hosts that it feeds, in order of their ids.
    pub feeds: Vec<HostId>,
}

/// An input with its channels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InputView {
    /// Its name.
    pub id: InputId,
    /// What it reads.
    pub url: InputUrl,
    /// Channels that come from it, in order of their ids.
    pub channels: Vec<ChannelId>,
    /// Channels that come from it when a better input of theirs fails, in order of their ids.
    pub backup_of: Vec<ChannelId>,
}

/// A push host with its channels' names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostView {
    /// Its name.
    pub id: HostId,
    /// Where it is reached.
    pub address: IpAddr,
    /// TCP port of P3.
    pub feed_port: u16,
    /// UDP port of P4.
    pub control_port: u16,
    /// What it carries, in order.
    pub channels: Vec<ChannelId>,
    /// Where it sends.
    pub destinations: Vec<Destination>,
    /// Whether it records.
    pub record: Option<Record>,
    /// Whether its viewers are to be moved to others.
    pub drain: bool,
}

/// A network as its viewers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetworkView {
    /// Its name.
    pub id: NetworkId,
    /// Whose addresses make a viewer of this network.
    pub prefixes: Vec<IpNet>,
    /// The channel list, in order of the ids.
    pub channels: Vec<ChannelView>,
}

/// A line of a network's channel list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChannelView {
    /// Its id.
    pub id: ChannelId,
    /// Its name.
    pub name: String,
    /// UDP port at every destination.
    pub port: u16,
    /// Web address of its picture.
    pub logo: Option<String>,
    /// Under which heading people look for it.
    pub group: Option<String>,
    /// Who can send it here; more than one are rivals, of whom one is assigned.
    pub carriers: Vec<CarrierView>,
}

/// One push server that can send a channel to a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CarrierView {
    /// Host and channel.
    pub push_server: PushServerId,
    /// Where it would send.
    pub address: IpAddr,
    /// How that reaches the viewers.
    pub kind: DestinationKind,
}

impl Topology {
    /// The graph with references followed, for programs.
    pub fn description(&self) -> Description {
        Description {
            fingerprint: format!("{:016x}", self.fingerprint()),
            database_server: self.database_server.clone(),
            acquisition_servers: self
                .acquisition_servers
                .keys()
                .map(|id| self.acquisition_view(id))
                .collect(),
            push_servers: self.hosts.values().map(host_view).collect(),
            networks: self.networks.keys().map(|id| self.network_view(id)).collect(),
        }
    }

    /// The graph with references followed, for people; ends with a newline.
    pub fn describe(&self, paint: Paint) -> String {
        Drawing { topology: self, paint }.to_string()
    }

    fn acquisition_view(&self, id: &AcquisitionId) -> AcquisitionView {
        let mut feeds: Vec<HostId> = self
            .channels_from(id)
            .flat_map(|channel| self.hosts_of(channel.id))
            .map(|host| host.id.clone())
            .collect();
        feeds.sort_unstable();
        feeds.dedup();
        let inputs = self.acquisition_servers[id].inputs.values().map(|input| InputView {
            id: input.id.clone(),
            url: input.url.clone(),
            channels: self
                .channels_from(id)
                .filter(|channel| channel.input == input.id)
                .map(|channel| channel.id)
                .collect(),
            backup_of: self
                .channels_from(id)
                .filter(|channel| channel.inputs().skip(1).any(|backup| *backup == input.id))
                .map(|channel| channel.id)
                .collect(),
        });
        AcquisitionView { id: id.clone(), inputs: inputs.collect(), feeds }
    }

    fn network_view(&self, id: &NetworkId) -> NetworkView {
        let channels = self.channels_of(id).iter().map(|channel| {
            let channel = &self.channels[channel];
            let carriers = self.carriers(channel.id, id).iter().filter_map(|carrier| {
                let destination = self.destination(carrier)?;
                let push_server = PushServerId { host: carrier.0.clone(), channel: channel.id };
                Some(CarrierView { push_server, address: destination.address, kind: destination.kind })
            });
            let carriers = carriers.collect();
            let (logo, group) = (channel.logo.clone(), channel.group.clone());
            ChannelView {
                id: channel.id,
                name: channel.name.clone(),
                port: channel.port,
                logo,
                group,
                carriers,
            }
        });
        let prefixes = self.networks[id].prefixes.iter().copied().collect();
        NetworkView { id: id.clone(), prefixes, channels: channels.collect() }
    }

    fn write_description(&self, out: &mut fmt::Formatter<'_>, paint: Paint) -> fmt::Result {
        let DatabaseServer { address, registration_port, directory_port, http_port, name, console, gateway } =
            &self.database_server;
        let of = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        writeln!(
            out,
            "{}, {}, {}, {}; fingerprint {:016x}\n",
            of(self.channels.len(), "channel"),
            of(self.acquisition_servers.len(), "acquisition server"),
            of(self.hosts.len(), "push server"),
            of(self.networks.len(), "network"),
            self.fingerprint()
        )?;
        writeln!(out, "{}", paint.heading("database server"))?;
        let ports =
            format!("registration {registration_port}, directory {directory_port}, console {http_port}");
        writeln!(out, "  {address}, {ports}")?;
        writeln!(out, "  site {name}, console {console}, its player at {gateway}")?;
        for id in self.acquisition_servers.keys() {
            self.write_acquisition(out, &self.acquisition_view(id), paint)?;
        }
        for host in self.hosts.values() {
            Self::write_host(out, host, paint)?;
        }
        for id in self.networks.keys() {
            write_network(out, &self.network_view(id), paint)?;
        }
        Ok(())
    }

    fn write_acquisition(
        &self,
        out: &mut fmt::Formatter<'_>,
        server: &AcquisitionView,
        paint: Paint,
    ) -> fmt::Result {
        writeln!(out, "\n{}", paint.heading(&format!("acquisition server {}", server.id)))?;
        let mut table = Table::default();
        for input in &server.inputs {
            table.row([format!("input {}", input.id), paint.faint(&input.url.to_string())]);
            for channel in input.channels.iter().map(|id| &self.channels[id]) {
                let service =
                    channel.service.map_or_else(String::new, |service| format!("service {service}"));
                let group = channel.group.as_ref().map_or_else(String::new, |group| format!("in {group}"));
                table.row([format!("  channel {}", channel.id), channel.name.clone(), service, group]);
            }
            for channel in input.backup_of.iter().map(|id| &self.channels[id]) {
                let rank = channel.inputs().position(|backup| *backup == input.id).unwrap_or_default();
                let service = rank
                    .checked_sub(1)
                    .and_then(|backup| channel.backups.get(backup)?.service)
                    .map_or_else(String::new, |service| format!("service {service}"));
                let Failover { hold_off, return_after } = channel.failover;
                let times = format!("after {}, back after {}", Length(hold_off), Length(return_after));
                let name = format!("{}, backup {rank}", channel.name);
                table.row([format!("  channel {}", channel.id), name, service, times]);
            }
        }
        let feeds: Vec<&str> = server.feeds.iter().map(HostId::as_str).collect();
        table
            .row(["feeds".to_owned(), if feeds.is_empty() { "nobody".to_owned() } else { feeds.join(", ") }]);
        table.write(out)
    }

    fn write_host(out: &mut fmt::Formatter<'_>, host: &PushHost, paint: Paint) -> fmt::Result {
        writeln!(out, "\n{}", paint.heading(&format!("push server {}", host.id)))?;
        let record = host.record.map_or_else(String::new, |record| format!(", records, kept {record}"));
        let drain = if host.drain { ", drained" } else { "" };
        writeln!(
            out,
            "  {}, feed {}, control {}{record}{drain}",
            host.address, host.feed_port, host.control_port
        )?;
        writeln!(out, "  carries {}", ChannelList(&host.channels.iter().copied().collect::<Vec<_>>()))?;
        let mut table = Table::default();
        for destination in &host.destinations {
            let Destination { address, kind, interface, ttl, dscp, window_ms, network, .. } = destination;
            let through =
                interface.as_ref().map_or_else(String::new, |interface| format!("through {interface}"));
            let marks = format!("ttl {ttl} dscp {dscp} window {window_ms} ms");
            let mut to = format!("to {network}");
            if let Some(channels) = &destination.channels {
                write!(to, ", {}", ChannelList(&channels.iter().copied().collect::<Vec<_>>()))?;
            }
            to += if destination.membership { ", members are viewers" } else { "" };
            to += if destination.announce { ", announced by SAP" } else { "" };
            table.row([kind.to_string(), address.to_string(), through, marks, to]);
        }
        table.write(out)
    }
}

/// [`Topology::describe`] as something that can be written.
struct Drawing<'t> {
    topology: &'t Topology,
    paint: Paint,
}

impl fmt::Display for Drawing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.topology.write_description(f, self.paint)
    }
}

fn host_view(host: &PushHost) -> HostView {
    HostView {
        id: host.id.clone(),
        address: host.address,
        feed_port: host.feed_port,
        control_port: host.control_port,
        channels: host.channels.iter().copied().collect(),
        destinations: host.destinations.clone(),
        record: host.record,
        drain: host.drain,
    }
}

fn write_network(out: &mut fmt::Formatter<'_>, network: &NetworkView, paint: Paint) -> fmt::Result {
    writeln!(out, "\n{}", paint.heading(&format!("viewers on {}", network.id)))?;
    if network.channels.is_empty() {
        writeln!(out, "  see nothing")?;
    }
    let mut table = Table::default();
    for channel in &network.channels {
        let mut from = channel.carriers.iter().map(|carrier| {
            let address = match carrier.address {
                IpAddr::V4(v4) => format!("{v4}:{}", channel.port),
                IpAddr::V6(v6) => format!("[{v6}]:{}", channel.port),
            };
            format!("{} {address} from {}", carrier.kind, carrier.push_server.host)
        });
        let first = from.next().unwrap_or_default();
        let rivals: Vec<String> = from.map(|rival| format!(" or {rival}")).collect();
        table.row([
            channel.id.to_string(),
            channel.name.clone(),
            format!("{first}{}", paint.faint(&rivals.concat())),
        ]);
    }
    table.write(out)
}

impl Paint {
    fn heading(self, text: &str) -> String {
        self.with("1", text)
    }

    fn faint(self, text: &str) -> String {
        self.with("2", text)
    }

    fn with(self, sgr: &str, text: &str) -> String {
        match self {
            Self::Coloured if !text.is_empty() => format!("\x1b[{sgr}m{text}\x1b[0m"),
            Self::Plain | Self::Coloured => text.to_owned(),
        }
    }
}

/// Channel ids with runs drawn together: `1-3, 7`.
struct ChannelList<'a>(&'a [ChannelId]);

impl fmt::Display for ChannelList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no channel");
        }
        f.write_str(if self.0.len() == 1 { "channel " } else { "channels " })?;
        for (number, run) in self.0.chunk_by(|a, b| a.0.checked_add(1) == Some(b.0)).enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            match run {
                [first, .., last] => write!(f, "{comma}{first}-{last}")?,
                [only] => write!(f, "{comma}{only}")?,
                [] => {}
            }
        }
        Ok(())
    }
}

/// Rows whose columns are as wide as their widest cell; the last cell of a row takes what it needs.
#[derive(Default)]
struct Table(Vec<Vec<String>>);

impl Table {
    fn row<const CELLS: usize>(&mut self, cells: [String; CELLS]) {
        let mut cells = Vec::from(cells);
        while cells.last().is_some_and(String::is_empty) {
            cells.pop();
        }
        self.0.push(cells);
    }

    fn write(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or_default();
        let mut widths = vec![0; columns];
        for row in &self.0 {
            for (width, cell) in widths.iter_mut().zip(row).take(row.len().saturating_sub(1)) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &self.0 {
            out.write_str("  ")?;
            for (column, cell) in row.iter().enumerate() {
                if column + 1 == row.len() {
                    writeln!(out, "{cell}")?;
                } else {
                    write!(out, "{cell:width$}  ", width = widths[column])?;
                }
            }
        }
        Ok(())
    }
}
