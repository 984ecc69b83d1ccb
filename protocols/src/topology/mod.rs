//! `topology.toml`: who takes in which channel, who sends it where, and whose viewers see it.
//!
//! Text in, a [`Topology`] that is right in itself out, or all [`Faults`] at once with their places. Nothing is read
//! or looked up here: whether an interface exists or an address answers is found out by the servers.
//!
//! ```text
//! text ── toml ──► spanned tables ── draft ──► values with places ── check, reach, clash ──► Topology + Index
//!           └─ Syntax        └─ unknown key, type, range, form       └─ ids, references, networks, ports
//! ```
//!
//! A *network* is the set of prefixes in a destination's `serves`. Destinations with equal sets are rivals for one
//! network, and the database server assigns each channel to one of them; no prefix belongs to two networks. A viewer's
//! network is the one with the longest prefix that contains the viewer's address.
//!
//! `docs/topology.md` is the reference of the file.

mod check;
mod clash;
mod command_words;
mod describe;
mod destination;
mod draft;
mod edit;
pub mod editing;
mod failover;
mod fault;
mod findings;
mod fingerprint;
mod index;
mod input_url;
mod length;
mod nearest;
mod network;
mod place;
mod prefix;
mod reach;
mod record;
mod section;
#[cfg(test)]
mod tests;
mod warning;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::Serialize;
use toml::de::DeTable;

pub use self::command_words::{CommandError, split as command_words};
pub use self::describe::{
    AcquisitionView, CarrierView, ChannelView, Description, HostView, InputView, NetworkView, Paint,
};
pub use self::destination::{Destination, DestinationKind, Interface, InterfaceError, MAX_INTERFACE_BYTES};
use self::draft::Draft;
pub use self::edit::{Edit, Keys, MAX_EDITS, Scalar, TableName, TableNameError, Value};
pub use self::failover::{
    Backup, DEFAULT_HOLD_OFF, DEFAULT_RETURN_AFTER, Failover, FailoverTimeError, HOLD_OFFS, MAX_BACKUPS,
    RETURNS,
};
pub use self::fault::{Fault, FaultKind, Faults, Noun};
use self::findings::Findings;
use self::index::Index;
pub use self::input_url::{
    Band, Credentials, DatagramInput, Diseqc, DvbError, DvbInput, DvbSystem, FecRate, GuardInterval,
    HdhomerunChannel, HdhomerunDevice, HdhomerunInput, HdhomerunInputError, InputUrl, InputUrlError, Lnb,
    LnbError, MAX_URL_BYTES, Modulation, Passphrase, PeerAddress, PeerAddressError, Pilot, Polarization,
    Repeat, Rolloff, SatipInput, SatipInputError, SatipPids, SrtError, SrtInput, SrtMode, TransmissionMode,
    WebInput, WebInputError, WebProtocol,
};
pub use self::network::{MAX_PREFIXES_PER_NETWORK, Network, NetworkId, NetworkIdError};
use self::place::Source;
pub use self::place::{EXCERPT_BYTES, Place};
pub use self::record::{KeepError, MAX_KEEP, MIN_KEEP, Record};
pub use self::warning::{Warning, WarningKind};
use crate::ids::{AcquisitionId, ChannelId, HostId, InputId};

/// A whole site. Made by [`Topology::parse`] only, and not to be changed afterwards: the answers of its methods were
/// prepared when it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Topology {
    /// The one server that knows this file.
    pub database_server: DatabaseServer,
    /// Servers with tuners or other inputs.
    pub acquisition_servers: BTreeMap<AcquisitionId, AcquisitionServer>,
    /// Everything that can be watched.
    pub channels: BTreeMap<ChannelId, Channel>,
    /// Push server processes; each hosts one push server per channel that it lists.
    pub hosts: BTreeMap<HostId, PushHost>,
    /// Networks that at least one destination serves.
    pub networks: BTreeMap<NetworkId, Network>,
    #[serde(skip)]
    index: Index,
}

/// `[database_server]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DatabaseServer {
    /// Where the others reach it.
    pub address: IpAddr,
    /// TCP port of P1; [`DEFAULT_REGISTRATION_PORT`] unless given.
    pub registration_port: u16,
    /// TCP port of P2; [`DEFAULT_DIRECTORY_PORT`] unless given.
    pub directory_port: u16,
    /// TCP port of the console and the statistics; [`DEFAULT_HTTP_PORT`] unless given.
    pub http_port: u16,
    /// What people call the site: 1 to [`MAX_NAME_BYTES`] bytes, no control characters; [`DEFAULT_SITE_NAME`] unless given.
    pub name: String,
    /// Who may look at the console.
    pub console: Console,
    /// From where the console's player takes its pictures; [`DEFAULT_GATEWAY`] unless given.
    pub gateway: SocketAddr,
}

/// Who may look at the console and read the statistics. Changing anything always takes an account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Console {
    /// Everybody who reaches it.
    #[default]
    Open,
    /// Who has an account.
    Accounts,
}

impl fmt::Display for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Open => "open",
            Self::Accounts => "accounts",
        })
    }
}

/// `[[acquisition_server]]`; it has no address, since it calls the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AcquisitionServer {
    /// Its name.
    pub id: AcquisitionId,
    /// What it can take in.
    pub inputs: BTreeMap<InputId, Input>,
}

/// `[[acquisition_server.input]]`: one transport stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Input {
    /// Its name, unique at its acquisition server.
    pub id: InputId,
    /// Where the stream comes from.
    pub url: InputUrl,
}

/// `[[channel]]`: one programme of one input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Channel {
    /// Unique for ever.
    pub id: ChannelId,
    /// What viewers read: 1 to [`MAX_NAME_BYTES`] bytes, no control characters.
    pub name: String,
    /// Who takes it in.
    pub acquisition_server: AcquisitionId,
    /// From which of that server's inputs.
    pub input: InputId,
    /// Service id within the transport stream (`program_number`, ISO/IEC 13818-1 §2.4.4.5), 1 to 65535; `None` where
    /// the input carries one programme.
    pub service: Option<u16>,
    /// Sources to take when that one fails, best first; at most [`MAX_BACKUPS`], none from an input twice.
    pub backups: Vec<Backup>,
    /// When the channel changes between its sources.
    pub failover: Failover,
    /// UDP port of P6 at every destination, 1 to 65535; [`FIRST_CHANNEL_PORT`] + id unless given.
    pub port: u16,
    /// Web address of its picture: `http:` or `https:`, at most [`MAX_LOGO_BYTES`] bytes of printable ASCII without
    /// quotation marks and angle brackets.
    pub logo: Option<String>,
    /// Under which heading people look for it: 1 to [`MAX_NAME_BYTES`] bytes, no control characters.
    pub group: Option<String>,
}

/// `[[push_server]]`: one process, with one push server for each channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PushHost {
    /// Its name.
    pub id: HostId,
    /// Where acquisition servers, the database server and clients reach it.
    pub address: IpAddr,
    /// TCP port of P3; [`DEFAULT_FEED_PORT`] unless given.
    pub feed_port: u16,
    /// UDP port of P4; [`DEFAULT_CONTROL_PORT`] unless given.
    pub control_port: u16,
    /// What it carries, to every one of its destinations that does not name channels of its own.
    pub channels: BTreeSet<ChannelId>,
    /// Where it sends, sorted, so that a position does not depend on the order of the file.
    pub destinations: Vec<Destination>,
    /// Whether it records its channels.
    pub record: Option<Record>,
    /// Whether its viewers are to be moved to others, and no new ones sent to it.
    pub drain: bool,
}

/// Who can send a channel to a network: a host, and the position of the destination among the host's `destinations`.
pub type Carrier = (HostId, usize);

impl Topology {
    /// Reads the text of a topology file. `file_name` is only for messages.
    ///
    /// # Errors
    /// All that is wrong, in the order of the file. A text that is no TOML gets its TOML faults only, since what the
    /// rest means cannot be told then.
    pub fn parse(file_name: &str, text: &str) -> Result<(Self, Vec<Warning>), Faults> {
        let source = Source::new(file_name, text);
        let mut findings = Findings::new(&source);
        let topology = read(text, &mut findings);
        findings.finish(topology)
    }

    /// The network that an address is on: the longest prefix that contains it. An IPv4-mapped IPv6 address is the IPv4
    /// address. One binary search, no allocation.
    pub fn network_of(&self, address: IpAddr) -> Option<&NetworkId> {
        self.index.network_of(address)
    }

    /// The channels that viewers on a network see; none for an unknown network.
    pub fn channels_of(&self, network: &NetworkId) -> &BTreeSet<ChannelId> {
        self.index.channels_of(network)
    }

    /// Everybody who can send `channel` to `network`, sorted by host; more than one are rivals, of whom one is assigned.
    pub fn carriers(&self, channel: ChannelId, network: &NetworkId) -> &[Carrier] {
        self.index.carriers(channel, network)
    }

    /// The destination that a carrier stands for; `None` for one that is not of this topology.
    pub fn destination(&self, carrier: &Carrier) -> Option<&Destination> {
        self.hosts.get(&carrier.0)?.destinations.get(carrier.1)
    }

    /// The push hosts that an acquisition server has to feed with `channel`, in order of their ids.
    pub fn hosts_of(&self, channel: ChannelId) -> impl Iterator<Item = &PushHost> {
        self.hosts.values().filter(move |host| host.channels.contains(&channel))
    }

    /// The channels that an acquisition server takes in, in order of their ids.
    pub fn channels_from<'t>(&'t self, server: &AcquisitionId) -> impl Iterator<Item = &'t Channel> {
        self.channels.values().filter(move |channel| channel.acquisition_server == *server)
    }
}

impl Channel {
    /// The inputs that it may come from, best first.
    pub fn inputs(&self) -> impl Iterator<Item = &InputId> {
        std::iter::once(&self.input).chain(self.backups.iter().map(|backup| &backup.input))
    }
}

impl DatabaseServer {
    /// Where P1 is served.
    pub fn registration(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.registration_port)
    }

    /// Where P2 is served.
    pub fn directory(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.directory_port)
    }

    /// Where the console is served.
    pub fn http(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.http_port)
    }
}

impl PushHost {
    /// Where P3 is taken in.
    pub fn feed(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.feed_port)
    }

    /// Where P4 is taken in.
    pub fn control(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.control_port)
    }

    /// The channels that it may send to `destination`, one of its own, in order of their ids.
    pub fn channels_at<'h>(&'h self, destination: &'h Destination) -> impl Iterator<Item = ChannelId> + 'h {
        self.channels.iter().copied().filter(|channel| destination.carries(*channel))
    }
}

/// Text to topology; `None` goes with at least one fault.
fn read(text: &str, findings: &mut Findings<'_>) -> Option<Topology> {
    if text.len() > MAX_FILE_BYTES {
        findings.fault(0..0, FaultKind::FileTooLong(text.len()));
        return None;
    }
    let (file, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        findings.fault(span, FaultKind::Syntax(error.message().replace('\n', ", ")));
    }
    if !errors.is_empty() {
        return None;
    }
    check::topology(&Draft::read(&file, findings), findings)
}

/// Longest file in bytes; a longer one is refused unread.
pub const MAX_FILE_BYTES: usize = 16 << 20;
/// Most faults (and most warnings) that are told of one file; the others are counted.
pub const MAX_FAULTS: usize = 1_000;
/// Most acquisition servers; more are refused, as with all limits below.
pub const MAX_ACQUISITION_SERVERS: usize = 1_000;
/// Most inputs of one acquisition server.
pub const MAX_INPUTS_PER_SERVER: usize = 1_000;
/// Most channels.
pub const MAX_CHANNELS: usize = 10_000;
/// Longest plan of one acquisition server, which goes out in one frame of P1: URLs are in it once for each channel that
/// names their input.
pub const MAX_PLAN_BYTES: usize = crate::preamble::MAX_P1_FRAME_BYTES - 1_024;
/// Most push hosts.
pub const MAX_HOSTS: usize = 1_000;
/// Most destinations of one push host.
pub const MAX_DESTINATIONS_PER_HOST: usize = 1_024;
/// Most networks.
pub const MAX_NETWORKS: usize = 1_000;
/// Longest name of a channel, of a group of channels and of the site in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// Longest web address of a channel's picture in bytes: 10,000 channels with theirs fit a P2 answer.
pub const MAX_LOGO_BYTES: usize = 256;

/// TCP port of P1.
pub const DEFAULT_REGISTRATION_PORT: u16 = 7401;
/// TCP port of P2.
pub const DEFAULT_DIRECTORY_PORT: u16 = 7402;
/// TCP port of P3.
pub const DEFAULT_FEED_PORT: u16 = 7403;
/// UDP port of P4.
pub const DEFAULT_CONTROL_PORT: u16 = 7404;
/// TCP port of the database server's console.
pub const DEFAULT_HTTP_PORT: u16 = 7480;
/// What a site is called unless the file says it.
pub const DEFAULT_SITE_NAME: &str = "Masthead";
/// Where a viewer's own client serves players, unless the file says another place.
pub const DEFAULT_GATEWAY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7490);
/// A channel without `port` has this plus its id.
pub const FIRST_CHANNEL_PORT: u32 = 7600;
